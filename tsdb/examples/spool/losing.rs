//! A connection that breaks now and then, after the remote has stored what it was sent.

use std::sync::atomic::{AtomicUsize, Ordering};

use tsdb::remote::transport::{HttpTransport, Request, Response, Transport, TransportError};

/// Posts over HTTP and loses every so many answers that say that all is stored.
#[derive(Debug)]
pub struct Losing {
    transport: HttpTransport,
    every: usize,
    stored: AtomicUsize,
}

impl Losing {
    /// Returns one that loses the first answer and each `every`th behind it.
    pub fn new(transport: HttpTransport, every: usize) -> Self {
        Self {
            transport,
            every,
            stored: AtomicUsize::new(0),
        }
    }
}

impl Transport for Losing {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let response = self.transport.send(request)?;
        if response.status / 100 == 2 {
            let before = self.stored.fetch_add(1, Ordering::Relaxed);
            if before.is_multiple_of(self.every) {
                return Err(TransportError::Timeout(String::from("lost on purpose")));
            }
        }
        Ok(response)
    }
}
