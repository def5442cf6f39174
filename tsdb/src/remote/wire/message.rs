//! Which message a body is.

use super::CONTENT_TYPE_PROTOBUF;
use super::error::WireError;

/// The message of a remote write request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// `prometheus.WriteRequest` of remote write 1.0: every series repeats the text of its labels.
    V1,
    /// `io.prometheus.write.v2.Request` of remote write 2.0: labels refer to a table of symbols.
    V2,
}

impl Message {
    /// Returns the `Content-Type` that names the message.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1 => CONTENT_TYPE_PROTOBUF,
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// Returns the value of [`VERSION_HEADER`](super::VERSION_HEADER).
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    /// Returns what a `Content-Type` names. None means 1.0, and so does one without a message: 1.0 did not ask for it.
    ///
    /// # Errors
    ///
    /// [`WireError::Unsupported`], whose status a sender takes as "try an older message".
    pub fn negotiate(content_type: Option<&str>) -> Result<Self, WireError> {
        let content_type = content_type.unwrap_or_default().trim();
        let refused = || WireError::unsupported("Content-Type", content_type);
        let mut parts = content_type.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        if !media_type.is_empty() && !media_type.eq_ignore_ascii_case(CONTENT_TYPE_PROTOBUF) {
            return Err(refused());
        }
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(refused());
            };
            if key.trim().eq_ignore_ascii_case("proto") {
                return match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Ok(Self::V1),
                    "io.prometheus.write.v2.Request" => Ok(Self::V2),
                    _ => Err(refused()),
                };
            }
        }
        Ok(Self::V1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_messages() {
        for (content_type, message) in [
            (None, Message::V1),
            (Some(""), Message::V1),
            (Some("application/x-protobuf"), Message::V1),
            (Some("Application/X-Protobuf ; charset=utf-8"), Message::V1),
            (
                Some("application/x-protobuf;proto=prometheus.WriteRequest"),
                Message::V1,
            ),
            (
                Some("application/x-protobuf; proto=\"io.prometheus.write.v2.Request\""),
                Message::V2,
            ),
            (Some(Message::V1.content_type()), Message::V1),
            (Some(Message::V2.content_type()), Message::V2),
        ] {
            assert_eq!(
                Message::negotiate(content_type),
                Ok(message),
                "{content_type:?}"
            );
        }
        for content_type in [
            "application/json",
            "application/x-protobuf;proto=io.prometheus.write.v3.Request",
            "application/x-protobuf;proto",
        ] {
            let error = Message::negotiate(Some(content_type)).unwrap_err();
            assert_eq!(error.status(), 415);
        }
    }
}
