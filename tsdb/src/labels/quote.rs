//! Quoted strings of selectors: Go's, as Prometheus reads and writes them.

use std::fmt::{self, Write as _};

/// Writes a string in double quotes; what cannot be seen is escaped.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Tells whether `name` needs no quotes before the braces of a selector.
pub(super) fn is_legacy_metric_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte == b':' || is_word(byte))
}

/// Tells whether `name` needs no quotes inside the braces of a selector.
pub(super) fn is_legacy_label_name(name: &str) -> bool {
    is_legacy_metric_name(name) && !name.contains(':')
}

/// Tells whether `byte` may stand in a name without quotes.
pub(super) fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Returns what stands in quotes at the start of `text`, and how many bytes that took, quotes included.
///
/// Double and single quotes know Go's escapes; between backticks every character stands for itself.
///
/// # Errors
///
/// What is wrong, and at which byte of `text`.
pub(super) fn unquote(text: &str) -> Result<(String, usize), (&'static str, usize)> {
    let bytes = text.as_bytes();
    let Some(&quote @ (b'"' | b'\'' | b'`')) = bytes.first() else {
        return Err(("expected a quoted string", 0));
    };
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None => return Err(("unterminated string", 0)),
            Some(&byte) if byte == quote => break,
            Some(b'\n') if quote != b'`' => {
                return Err((
                    "a string in quotes ends at the line: write \\n or use backticks",
                    at,
                ));
            }
            Some(b'\\') if quote != b'`' => {
                let escape = bytes.get(at + 1..).unwrap_or_default();
                at += 1 + unescape(escape, quote, &mut out).map_err(|what| (what, at))?;
            }
            Some(&byte) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    // Escaped bytes need not be UTF-8 together; labels always are.
    let unquoted = String::from_utf8(out).map_err(|_not_utf8| ("string is not UTF-8", 0))?;
    Ok((unquoted, at + 1))
}

/// Appends what the escape after a backslash stands for, and returns how many bytes of `escape` it took.
fn unescape(escape: &[u8], quote: u8, out: &mut Vec<u8>) -> Result<usize, &'static str> {
    let simple = match escape.first() {
        Some(b'a') => 0x07,
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'v') => 0x0b,
        Some(b'\\') => b'\\',
        Some(&byte) if byte == quote => quote,
        Some(b'0'..=b'7') => {
            let byte = digits(escape, 0, 3, 8)?;
            out.push(u8::try_from(byte).map_err(|_above_255| "octal escape exceeds 255")?);
            return Ok(3);
        }
        Some(b'x') => {
            out.push(digits(escape, 1, 2, 16)? as u8);
            return Ok(3);
        }
        Some(letter @ (b'u' | b'U')) => {
            let count = if *letter == b'u' { 4 } else { 8 };
            let c =
                char::from_u32(digits(escape, 1, count, 16)?).ok_or("escape is not a character")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(1 + count);
        }
        _ => return Err("unknown escape"),
    };
    out.push(simple);
    Ok(1)
}

/// Reads `count` digits of `escape` from `start` on; at most eight fit.
fn digits(escape: &[u8], start: usize, count: usize, radix: u32) -> Result<u32, &'static str> {
    let digits = escape
        .get(start..start + count)
        .ok_or("escape is too short")?;
    digits.iter().try_fold(0u32, |value, &digit| {
        let digit = char::from(digit)
            .to_digit(radix)
            .ok_or("escape needs more digits")?;
        Ok(value * radix + digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_quotes_and_escapes_is_read() {
        let unquoted = |text: &str| unquote(text).map(|(text, _)| text);
        assert_eq!(unquote(r#""a'b" tail"#), Ok((String::from("a'b"), 5)));
        assert_eq!(unquoted(r#"'a"b\''"#).as_deref(), Ok("a\"b'"));
        assert_eq!(unquoted("`a\\n\n\"`").as_deref(), Ok("a\\n\n\""));
        assert_eq!(
            unquoted(r#""\a\b\f\n\r\t\v\\\"""#).as_deref(),
            Ok("\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"")
        );
        assert_eq!(
            unquoted(r#""\101\x42\u00e9\U0001F600\xc3\xa9""#).as_deref(),
            Ok("ABé😀é")
        );
    }

    #[test]
    fn what_is_no_string_is_refused_at_its_byte() {
        let refused = |text: &str| unquote(text).unwrap_err().1;
        for (text, offset) in [
            ("", 0),
            ("a", 0),
            ("\"a", 0),
            ("\"a\nb\"", 2),
            (r#""a\q""#, 2),
            (r#""\'""#, 1),
            (r#""\x4""#, 1),
            (r#""\400""#, 1),
            (r#""\ud800""#, 1),
            (r#""\UFFFFFFFF""#, 1),
            (r#""\xff""#, 0),
            (r#""\"#, 1),
        ] {
            assert_eq!(refused(text), offset, "{text}");
        }
    }
}
