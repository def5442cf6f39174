//! Where a command writes: the answer to standard output, the rest to standard error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Format, Report};

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// If standard error is a terminal.
    Auto,
    /// Not at all.
    Never,
}

/// The streams of the process and how to write to them.
pub(crate) struct Console {
    format: Option<Format>,
    progress: ProgressMode,
    out: BufWriter<StdoutLock<'static>>,
}

impl Console {
    pub(crate) fn new(format: Option<Format>, progress: ProgressMode) -> Self {
        Self {
            format,
            progress,
            out: BufWriter::new(io::stdout().lock()),
        }
    }

    /// Returns the format that was asked for.
    pub(crate) fn asked_format(&self) -> Option<Format> {
        self.format
    }

    /// Returns the format to write.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or_else(|| {
            if io::stdout().is_terminal() {
                Format::Table
            } else {
                Format::Ndjson
            }
        })
    }

    /// Returns standard output.
    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Writes a report.
    pub(crate) fn report(&mut self, report: &Report) -> io::Result<()> {
        let format = self.format();
        report.write(format, &mut self.out)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Returns a bar that counts bytes; of how many, if that is known. It is invisible where nobody would see it.
    pub(crate) fn progress(&self, what: &'static str, total_bytes: Option<u64>) -> ProgressBar {
        if self.progress == ProgressMode::Never {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr());
        let template = match total_bytes {
            Some(_) => "{msg} {bar:32} {binary_bytes} of {binary_total_bytes}, {eta} left",
            None => "{msg} {spinner} {binary_bytes}",
        };
        bar.set_style(
            ProgressStyle::with_template(template).expect("the templates are well formed"),
        );
        bar.set_message(what);
        bar
    }
}

/// Writes a line to standard error.
pub(crate) fn complain(kind: &str, message: &str) {
    // Without a standard error there is nobody to tell.
    drop(writeln!(io::stderr().lock(), "{kind}: {message}"));
}
