//! Time, memory, latencies and sizes of the running process.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// Returns the CPU time of all threads of the process.
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Measures wall and CPU time from one moment on.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

/// Seconds of a [`Stopwatch`].
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Seconds on the wall.
    pub wall_s: f64,
    /// Seconds of CPU, over all threads.
    pub cpu_s: f64,
}

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_time(),
        }
    }

    /// Returns what was spent so far.
    pub fn spent(&self) -> Spent {
        Spent {
            wall_s: self.wall.elapsed().as_secs_f64(),
            cpu_s: (cpu_time() - self.cpu).as_secs_f64(),
        }
    }
}

/// Returns the resident memory of the process in KiB.
pub fn resident_kb() -> Result<u64> {
    status("VmRSS:")
}

/// Returns the part of the resident memory that is no file, in KiB: what was allocated, and stacks.
pub fn anonymous_kb() -> Result<u64> {
    status("RssAnon:")
}

/// Returns the peak of the resident memory in KiB, since the start or [`reset_peak`].
pub fn peak_kb() -> Result<u64> {
    status("VmHWM:")
}

/// Makes the present resident memory the peak.
pub fn reset_peak() -> Result<()> {
    Ok(std::fs::write("/proc/self/clear_refs", "5")?)
}

fn status(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .ok_or_else(|| format!("/proc/self/status has no {field}"))?;
    let number = line
        .split_whitespace()
        .next()
        .ok_or("a field without a value")?;
    Ok(number.parse()?)
}

/// Returns the bytes of all files below a directory or of a file; 0 if there is none.
pub fn size_bytes(path: &Path) -> Result<u64> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        bytes += size_bytes(&entry?.path())?;
    }
    Ok(bytes)
}

/// Durations, counted in steps of three percent and less: any number of them in a fixed few kilobytes.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    max_ns: u64,
}

/// Steps between a power of two and the next.
const STEPS: u64 = 32;

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; 60 * STEPS as usize],
            max_ns: 0,
        }
    }
}

impl Latencies {
    /// Counts a duration.
    #[inline]
    pub fn add(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.max_ns = self.max_ns.max(ns);
        self.counts[step_of(ns)] += 1;
    }

    /// Adds the durations of another.
    pub fn merge(&mut self, other: &Self) {
        self.max_ns = self.max_ns.max(other.max_ns);
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
    }

    /// Returns the duration in microseconds that this share of all is not above.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return end_of(step).min(self.max_ns) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// Returns the longest in microseconds.
    pub fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1000.0
    }
}

/// Below [`STEPS`] each number has its own step; above, the leading bit and the five behind it choose.
fn step_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let exponent = u64::from(ns.ilog2() - STEPS.ilog2());
    (exponent * STEPS + (ns >> exponent)) as usize
}

/// Returns the largest number of a step.
fn end_of(step: usize) -> u64 {
    let step = step as u64;
    if step < STEPS {
        return step;
    }
    let exponent = step / STEPS - 1;
    ((step % STEPS + STEPS + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_lies_in_its_step() {
        for ns in (0..5000).chain([1 << 40, u64::MAX >> 3]) {
            let step = step_of(ns);
            assert!(ns <= end_of(step), "{ns}");
            assert!(step == 0 || end_of(step - 1) < ns, "{ns}");
        }
    }

    #[test]
    fn quantiles_are_near() {
        let mut latencies = Latencies::default();
        for us in 1..=1000 {
            latencies.add(Duration::from_micros(us));
        }
        assert!((latencies.quantile_us(0.5) / 500.0 - 1.0).abs() < 0.04);
        assert!((latencies.quantile_us(0.99) / 990.0 - 1.0).abs() < 0.04);
        assert_eq!(latencies.max_us(), 1000.0);
    }

    #[test]
    fn memory_is_read() {
        assert!(anonymous_kb().unwrap() > 0);
        assert!(resident_kb().unwrap() > anonymous_kb().unwrap());
        assert!(peak_kb().unwrap() >= resident_kb().unwrap() / 2);
    }
}
