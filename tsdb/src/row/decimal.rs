//! Decimal scaling: the integer whose quotient by a power of ten is a float, bit for bit.

/// Largest decimal scale that is tried.
pub(crate) const SCALE_MAX: u8 = 9;

/// The scale of a position whose integer is the bits of its value.
pub(crate) const SCALE_BITS: u8 = 31;

/// Powers of ten by scale. NaN beyond [`SCALE_MAX`], so that no value seems to fit such a scale.
static POWERS: [f64; 32] = {
    let mut powers = [f64::NAN; 32];
    let mut scale = 0;
    let mut power = 1.0;
    while scale <= SCALE_MAX as usize {
        powers[scale] = power;
        power *= 10.0;
        scale += 1;
    }
    powers
};

/// Adding this to a float of magnitude below 2^51 rounds it to an integer, which then stands in the low mantissa bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const ROUNDER_BITS: i64 = 0x4338_0000_0000_0000;

/// Magnitude below which the rounding trick holds.
const INTEGER_LIMIT: f64 = 2_251_799_813_685_248.0;

/// Returns `value` times 10^`scale`, rounded, and whether dividing it again gives the bits of `value`.
#[inline(always)]
pub(crate) fn to_integer(value: f64, scale: u8) -> (i64, bool) {
    let power = POWERS[usize::from(scale & 31)];
    let scaled = value * power;
    let shifted = scaled + ROUNDER;
    let rounded = shifted - ROUNDER;
    let integer = (shifted.to_bits() as i64).wrapping_sub(ROUNDER_BITS);
    let exact = ((rounded / power).to_bits() == value.to_bits()) & (scaled.abs() < INTEGER_LIMIT);
    (integer, exact)
}

/// Returns the value of an integer at a scale.
#[inline(always)]
pub(crate) fn to_value(integer: i64, scale: u8) -> f64 {
    if scale == SCALE_BITS {
        f64::from_bits(integer as u64)
    } else {
        integer as f64 / POWERS[usize::from(scale & 31)]
    }
}

/// Returns the smallest scale that holds `value`, with its integer; bit patterns where no decimal does.
#[cold]
pub(crate) fn fit(value: f64) -> (u8, i64) {
    for scale in 0..=SCALE_MAX {
        let (integer, exact) = to_integer(value, scale);
        if exact {
            return (scale, integer);
        }
    }
    (SCALE_BITS, value.to_bits() as i64)
}

/// Tells whether `scale` is one a state can have.
pub(crate) fn is_valid_scale(scale: u8) -> bool {
    scale <= SCALE_MAX || scale == SCALE_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fitted_value_comes_back_bit_for_bit() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -1.5,
            0.1,
            33.096,
            1e15,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            123456.789,
        ] {
            let (scale, integer) = fit(value);
            assert_eq!(
                to_value(integer, scale).to_bits(),
                value.to_bits(),
                "{value}"
            );
        }
    }

    #[test]
    fn negative_zero_and_nan_are_bit_patterns() {
        assert_eq!(fit(-0.0).0, SCALE_BITS);
        assert_eq!(fit(f64::from_bits(0x7ff0_0000_0000_0002)).0, SCALE_BITS);
        assert_eq!(fit(2.5), (1, 25));
    }
}
