//! Opening a database to read it, beside whoever writes it.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tsdb::{Db, Event, Options};

use crate::Outcome;
use crate::console::{Console, complain};

/// A database and what was found while it was opened.
pub(crate) struct Opened {
    pub(crate) db: Db,
    /// What is damaged, in words.
    pub(crate) damage: Vec<String>,
}

/// Opens a database read-only.
pub(crate) fn open(dir: &Path, console: &Console) -> anyhow::Result<Opened> {
    let damage = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&damage);
    let listener = move |event: &Event| {
        if let Event::Damaged { message } = event {
            found.lock().push(message.clone());
        }
    };
    let bar = console.progress("reading the log", Some(0));
    let shown = bar.clone();
    let progress = move |done, total| {
        shown.set_length(total);
        shown.set_position(done);
        true
    };
    let options = Options::default()
        .with_listener(Some(Arc::new(listener)))
        .with_replay_progress(Some(Arc::new(progress)));
    let result = Db::open_read_only(dir, options);
    bar.finish_and_clear();
    let damage = std::mem::take(&mut *damage.lock());
    Ok(Opened {
        db: result?,
        damage,
    })
}

impl Opened {
    /// Says on standard error what is damaged; the answer misses what it held.
    pub(crate) fn warn(&self) -> Outcome {
        for damage in &self.damage {
            complain("warning", damage);
        }
        if self.damage.is_empty() {
            Outcome::Done
        } else {
            Outcome::Findings
        }
    }
}
