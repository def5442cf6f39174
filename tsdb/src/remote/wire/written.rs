//! What a receiver says it has stored.

/// Counts float samples.
pub const SAMPLES_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Samples-Written";
/// Counts histogram samples.
pub const HISTOGRAMS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Histograms-Written";
/// Counts exemplars.
pub const EXEMPLARS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Exemplars-Written";

/// What a receiver of remote write 2.0 says it has stored of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Float samples.
    pub samples: u64,
    /// Histogram samples.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Written {
    /// Returns the three headers of an answer.
    pub fn headers(self) -> [(&'static str, String); 3] {
        [
            (SAMPLES_WRITTEN_HEADER, self.samples.to_string()),
            (HISTOGRAMS_WRITTEN_HEADER, self.histograms.to_string()),
            (EXEMPLARS_WRITTEN_HEADER, self.exemplars.to_string()),
        ]
    }

    /// Reads the headers of an answer. `None` if none of the three is there with a number: a receiver that only knows 1.0
    /// answers 2xx to a body it has not understood, so without them nothing is confirmed. One that is missing beside
    /// another counts as 0.
    pub fn parse<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Option<Self> {
        let mut written = Self::default();
        let mut is_confirmed = false;
        for (name, value) in headers {
            let count = if name.eq_ignore_ascii_case(SAMPLES_WRITTEN_HEADER) {
                &mut written.samples
            } else if name.eq_ignore_ascii_case(HISTOGRAMS_WRITTEN_HEADER) {
                &mut written.histograms
            } else if name.eq_ignore_ascii_case(EXEMPLARS_WRITTEN_HEADER) {
                &mut written.exemplars
            } else {
                continue;
            };
            if let Ok(number) = value.trim().parse() {
                *count = number;
                is_confirmed = true;
            }
        }
        is_confirmed.then_some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let written = Written {
            samples: 3,
            histograms: 0,
            exemplars: u64::MAX,
        };
        let headers = written.headers();
        let read = |headers: &[(&str, &str)]| Written::parse(headers.iter().copied());
        let borrowed = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        assert_eq!(read(&borrowed), Some(written));
        assert_eq!(read(&[("content-length", "0")]), None);
        let lower = "x-prometheus-remote-write-samples-written";
        assert_eq!(
            read(&[(lower, " 7 ")]).map(|written| written.samples),
            Some(7)
        );
        assert_eq!(read(&[(lower, "-1")]), None);
    }
}
