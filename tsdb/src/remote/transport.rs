//! Sending a request and waiting for its answer.
//!
//! [`Transport`] is what a sender needs of HTTP; a program that has a client of its own brings it. [`HttpTransport`] is one
//! with blocking calls and TLS. It follows no redirect, so that credentials go where they were meant to and nowhere else: an
//! answer of 3xx is an answer. It does not retry and does not wait; that is the sender's.

use std::fmt;
use std::io::Read;
use std::time::Duration;

/// Bytes of an answer that are worth reading, unless a protocol says more.
pub const DEFAULT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// Sends requests. One transport serves any number of threads.
pub trait Transport: Send + Sync {
    /// Posts a request and waits for the answer, whatever its status. A sender takes a panic for a broken connection.
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError>;
}

/// A request to post.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Follows the address of the transport: a path, a query or nothing.
    pub path: &'r str,
    /// Headers besides those of the transport, its credentials and the length.
    pub headers: &'r [(&'r str, &'r str)],
    /// The body, sent with its length.
    pub body: &'r [u8],
    /// For everything, from the connection to the end of the answer.
    pub timeout: Duration,
    /// Bytes of the answer's body to read.
    pub answer_bytes_max: usize,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers that mean something to a sender: `Retry-After`, `Content-Type` and those of
    /// [`Written`](super::wire::Written). Names are in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The beginning of the body, if it came: a status is an answer even if the connection breaks behind it.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// It did not come in time.
    Timeout(String),
    /// The connection could not be made, or broke. Whether the request arrived is not known.
    Connection(String),
    /// The address, a header or a certificate is wrong: sending again will not help.
    Invalid(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(text) => write!(f, "no answer in time: {text}"),
            Self::Connection(text) => write!(f, "no connection: {text}"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for TransportError {}

/// A text that is not to be seen: its `Debug` form says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// How a sender says who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// A user and a password.
    Basic {
        /// The user; without a colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
    /// A header of the server's own.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

impl Credentials {
    fn header(&self) -> Option<(String, Secret)> {
        let authorization =
            |value: String| Some((String::from("Authorization"), Secret::new(value)));
        match self {
            Self::None => None,
            Self::Basic { user, password } => authorization(format!(
                "Basic {}",
                base64(format!("{user}:{}", password.reveal()).as_bytes())
            )),
            Self::Bearer(token) => authorization(format!("Bearer {}", token.reveal())),
            Self::Header { name, value } => Some((name.clone(), value.clone())),
        }
    }
}

/// Posts over HTTP/1.1, with TLS for `https` addresses. Connections are kept and used again.
pub struct HttpTransport {
    agent: ureq::Agent,
    address: String,
    credentials: Option<(String, Secret)>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("address", &self.address)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl HttpTransport {
    /// Returns a transport to `address`, such as `https://host:9090/api/v1/write`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`TransportError::Invalid`] for an address that is no `http` or `https` one, or that has a user in it: addresses are
    /// printed, so credentials are given apart.
    pub fn new(address: &str, credentials: &Credentials) -> Result<Self, TransportError> {
        let rest = address
            .strip_prefix("http://")
            .or_else(|| address.strip_prefix("https://"))
            .ok_or_else(|| {
                TransportError::Invalid(String::from("the address is neither http nor https"))
            })?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err(TransportError::Invalid(String::from(
                "the address has no host, or credentials in it",
            )));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_response_header_size(HEADER_BYTES_MAX)
            .user_agent(concat!("tsdb-engine/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            address: address.to_owned(),
            credentials: credentials.header(),
        })
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let mut post = self
            .agent
            .post(format!("{}{}", self.address, request.path))
            .config()
            .timeout_global(Some(request.timeout))
            .build();
        for (name, value) in request.headers {
            post = post.header(*name, *value);
        }
        if let Some((name, value)) = &self.credentials {
            post = post.header(name, value.reveal());
        }
        let mut answer = post.send(request.body).map_err(|error| failed(&error))?;
        let headers = HEADERS.into_iter().filter_map(|name| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        });
        let headers = headers.collect();
        let mut body = Vec::new();
        let mut reader = answer
            .body_mut()
            .as_reader()
            .take(request.answer_bytes_max as u64);
        // The status has been told. What breaks behind it costs the words around it, no more.
        drop(reader.read_to_end(&mut body));
        Ok(Response {
            status: answer.status().as_u16(),
            headers,
            body,
        })
    }
}

/// Tells why there was no answer. None of the texts has a header of the request in it.
fn failed(error: &ureq::Error) -> TransportError {
    let text = error.to_string();
    match error {
        ureq::Error::Timeout(_) => TransportError::Timeout(text),
        ureq::Error::Http(_)
        | ureq::Error::BadUri(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::Pem(_) => TransportError::Invalid(text),
        _ => TransportError::Connection(text),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index > chunk.len() {
                '='
            } else {
                char::from(digit)
            });
        }
    }
    out
}

/// Headers of answers that are kept, in lower case.
const HEADERS: [&str; 5] = [
    "retry-after",
    "content-type",
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer's status line and headers.
const HEADER_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::remote::wire::{
        EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, SAMPLES_WRITTEN_HEADER,
    };

    /// Answers one request with `answer`, and returns the request's head and the outcome.
    fn exchange(
        credentials: &Credentials,
        answer: &[u8],
        timeout: Duration,
    ) -> (String, Result<Response, TransportError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/api", listener.local_addr().unwrap());
        let transport = HttpTransport::new(&address, credentials).unwrap();
        std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).unwrap();
                }
                let mut body = [0; 4];
                reader.read_exact(&mut body).unwrap();
                assert_eq!(&body, b"body");
                // The client may be gone before all is written.
                drop(stream.write_all(answer));
                if answer.is_empty() {
                    // Says nothing until the client gives up.
                    drop(reader.read(&mut [0]));
                }
                head.to_ascii_lowercase()
            });
            let outcome = transport.send(&Request {
                path: "/put?details",
                headers: &[("Content-Type", "text/x")],
                body: b"body",
                timeout,
                answer_bytes_max: 1000,
            });
            (server.join().unwrap(), outcome)
        })
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let secret = || Secret::new("open sesame");
        let basic = Credentials::Basic {
            user: String::from("Aladdin"),
            password: secret(),
        };
        let own = Credentials::Header {
            name: String::from("X-Token"),
            value: secret(),
        };
        for (credentials, line) in [
            (basic, "authorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq=="),
            (
                Credentials::Bearer(secret()),
                "authorization: bearer open sesame",
            ),
            (own, "x-token: open sesame"),
        ] {
            let (head, outcome) = exchange(&credentials, b"HTTP/1.1 204 No Content\r\n\r\n", LONG);
            assert!(
                head.starts_with("post /api/put?details http/1.1\r\n"),
                "{head}"
            );
            assert!(
                head.contains(line) && head.contains("content-length: 4\r\n"),
                "{head}"
            );
            assert_eq!(outcome.unwrap().status, 204);
            let transport = HttpTransport::new("http://a", &credentials).unwrap();
            let shown = format!("{credentials:?} {transport:?}");
            assert!(
                !shown.contains("sesame") && !shown.contains("QWxh"),
                "{shown}"
            );
        }
    }

    #[test]
    fn redirects_are_answers() {
        let answer =
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        let (_, outcome) = exchange(&Credentials::Bearer(Secret::new("x")), answer, LONG);
        assert_eq!(outcome.unwrap().status, 302);
    }

    #[test]
    fn an_answer_is_its_status_and_the_beginning_of_its_body() {
        let mut answer =
            b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nX-Other: 1\r\nContent-Length: 100000\r\n\r\n"
                .to_vec();
        answer.resize(answer.len() + 100_000, b'x');
        let (_, outcome) = exchange(&Credentials::None, &answer, LONG);
        let response = outcome.unwrap();
        assert_eq!(
            (response.status, response.header("Retry-After")),
            (503, Some("7"))
        );
        assert_eq!((response.body.len(), response.headers.len()), (1000, 1));
        // The body is said to be longer than it is.
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort";
        let (_, outcome) = exchange(&Credentials::None, answer, LONG);
        assert_eq!(outcome.unwrap().body, b"short");
    }

    #[test]
    fn silence_and_nonsense_are_told_apart() {
        let (_, outcome) = exchange(&Credentials::None, b"", Duration::from_millis(50));
        assert!(
            matches!(outcome, Err(TransportError::Timeout(_))),
            "{outcome:?}"
        );
        let (_, outcome) = exchange(&Credentials::None, b"nonsense\r\n\r\n", LONG);
        assert!(
            matches!(outcome, Err(TransportError::Connection(_))),
            "{outcome:?}"
        );
        for address in [
            "ftp://a",
            "http://",
            "https://user:password@host/",
            "host:9090",
        ] {
            let refused = HttpTransport::new(address, &Credentials::None).unwrap_err();
            assert!(matches!(refused, TransportError::Invalid(_)), "{address}");
            assert!(!refused.to_string().contains("password"));
        }
    }

    #[test]
    fn headers_are_those_that_are_read() {
        for name in [
            SAMPLES_WRITTEN_HEADER,
            HISTOGRAMS_WRITTEN_HEADER,
            EXEMPLARS_WRITTEN_HEADER,
        ] {
            assert!(HEADERS.contains(&name.to_ascii_lowercase().as_str()));
        }
    }
}
