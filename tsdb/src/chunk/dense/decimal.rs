//! Floating-point numbers as integers and a power of ten.

/// The powers a decimal chunk can have. All are exact.
pub(super) const POWERS: [f64; 16] = [
    1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// The value that the integer `mantissa` stands for.
///
/// A true division: its result is the nearest to the decimal number, which is what parsing its text gave. Multiplying
/// with the inverse power, itself rounded, misses about one in five.
#[inline(always)]
pub(super) fn restore(mantissa: i64, power: f64) -> f64 {
    mantissa as f64 / power
}

/// Finds the integer that may stand for `value`; only [`restore`] can tell whether it does.
#[inline(always)]
pub(super) fn mantissa(value: f64, power: f64) -> i64 {
    // 1.5 * 2^52 in the sum leaves the nearest integer in the low bits. Beyond 2^51 they are wrong, and so is what
    // `restore` makes of them.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    ((value * power + MAGIC).to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64)
}

/// Finds the integer that is `value`, up to the ends of `i64`, if there is one.
#[inline(always)]
pub(super) fn integer(value: f64) -> i64 {
    value as i64
}

/// Tells whether `value` is exactly a decimal number with `exponent` digits behind the point.
#[inline]
pub(super) fn is_exact(value: f64, exponent: usize) -> bool {
    let power = POWERS[exponent];
    let mantissa = if exponent == 0 {
        integer(value)
    } else {
        mantissa(value, power)
    };
    restore(mantissa, power).to_bits() == value.to_bits()
}

/// Returns the smallest exponent from `from` on with which `value` is exact.
pub(super) fn smallest_exponent(value: f64, from: usize) -> Option<usize> {
    (from..POWERS.len()).find(|&exponent| is_exact(value, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_exact_up_to_the_ends_of_the_range() {
        for value in [
            0.0,
            1.0,
            -1.0,
            9_007_199_254_740_994.0,
            1.7e18,
            i64::MIN as f64,
            i64::MAX as f64,
        ] {
            assert!(is_exact(value, 0), "{value}");
        }
        for value in [-0.0, 0.5, 1e19, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            assert!(!is_exact(value, 0), "{value}");
        }
    }

    #[test]
    fn sums_that_miss_a_decimal_by_an_ulp_are_not_exact() {
        assert_eq!(smallest_exponent(0.3, 0), Some(1));
        assert_eq!(smallest_exponent(0.1 + 0.2, 0), None);
    }

    proptest! {
        #[test]
        fn every_decimal_of_fifteen_digits_is_exact(digits in 0i64..1_000_000_000_000_000, exponent in 0usize..16) {
            let value: f64 = format!("{digits}e-{exponent}").parse().unwrap();
            prop_assert!(smallest_exponent(value, 0).is_some_and(|found| found <= exponent));
            prop_assert!(is_exact(value, exponent));
        }
    }
}
