//! Lengths of time as people read them.

/// Writes milliseconds in the two largest units that say something.
pub(crate) fn format(ms: i64) -> String {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut rest = ms.unsigned_abs();
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
        // Behind the first unit only its neighbour says something.
        if parts.len() == 2 || (parts.len() == 1 && count == 0) {
            break;
        }
    }
    let sign = if ms < 0 { "-" } else { "" };
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        format!("{sign}{}", parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn two_units_are_enough() {
        let spans = [
            0, 7, 15_000, 7_200_000, 5_430_000, 90_061_001, 86_400_001, -60_000,
        ];
        assert_eq!(
            spans.map(format),
            ["0s", "7ms", "15s", "2h", "1h 30m", "1d 1h", "1d", "-1m"]
        );
    }
}
