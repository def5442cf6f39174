//! When a server says it may be asked again.

use std::time::Duration;

use crate::time::Timestamp;

/// The longest that a server's wish is followed: one that says a year has a wrong clock.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// Reads `Retry-After`: seconds, or a date in one of HTTP's three forms, which is compared with `now_ms`. A date that has
/// passed is no wait; more than [`RETRY_AFTER_MAX`] is that. `None` for anything else, so that the caller waits as if
/// there had been no header.
pub fn retry_after(value: &str, now_ms: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits to be a number are more than the most.
        let wait = value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs);
        return Some(wait.min(RETRY_AFTER_MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let at = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
    Some(at.saturating_sub(now).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_clamped() {
        // 1994-11-06 08:49:37 UTC, the example of the specification, a minute before.
        let now_ms = 784_111_777_000 - 60_000;
        let minute = Some(Duration::from_secs(60));
        for (value, wait) in [
            ("0", Some(Duration::ZERO)),
            (" 60 ", minute),
            ("86400", Some(RETRY_AFTER_MAX)),
            ("99999999999999999999999999", Some(RETRY_AFTER_MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", minute),
            ("Sunday, 06-Nov-94 08:49:37 GMT", minute),
            ("Sun Nov  6 08:49:37 1994", minute),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(Duration::ZERO)),
            ("Fri, 31 Dec 2094 23:59:59 GMT", Some(RETRY_AFTER_MAX)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after(value, now_ms), wait, "{value}");
        }
    }
}
