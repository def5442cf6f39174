//! A database is opened to be read while a writer goes on.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tsdb::fs::{AppendFile, DirEntry, Fs, LockMode, MappedFile, ReadFile, SimFs};
use tsdb::{Db, Event, Task};

use crate::support::{DIR, T0, World, labels, read};

/// What the writer does in between.
type Action = Box<dyn FnOnce() + Send>;

/// A disk on which something happens just before one of the calls that look at it.
struct Meanwhile {
    fs: SimFs,
    calls: AtomicUsize,
    at: usize,
    action: Mutex<Option<Action>>,
}

impl Meanwhile {
    fn look(&self) -> &SimFs {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
            let action = self.action.lock().unwrap().take();
            action.into_iter().for_each(|action| action());
        }
        &self.fs
    }

    fn has_acted(&self) -> bool {
        self.action.lock().unwrap().is_none()
    }
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "something happens at call {}", self.at)
    }
}

impl Fs for Meanwhile {
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.look().open_read(path)
    }

    fn map(&self, path: &Path, len: u64) -> io::Result<MappedFile> {
        self.look().map(path, len)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.look().read_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.look().exists(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        panic!("a reader creates {}", path.display());
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        panic!("a reader appends to {}", path.display());
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        panic!("a reader creates {}", path.display());
    }

    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("a reader renames {}", from.display());
    }

    fn hard_link(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("a reader links {}", from.display());
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        panic!("a reader removes {}", path.display());
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        panic!("a reader removes {}", path.display());
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        panic!("a reader syncs {}", path.display());
    }

    fn lock(&self, path: &Path, _: LockMode) -> io::Result<Box<dyn Any + Send + Sync>> {
        panic!("a reader locks {}", path.display());
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.fs.free_space(path)
    }
}

/// Appends scrapes of a minute each.
fn scrape(world: &World, db: &Db, minutes: std::ops::Range<i64>) {
    for minute in minutes {
        let timestamp = T0 + minute * 60_000;
        world.clock.set(timestamp);
        let mut appender = db.appender().unwrap();
        for number in 0..10 {
            let name = labels(&format!("metric{{number=\"{number}\"}}"));
            let value = (minute * number) as f64;
            appender.append(&name, timestamp, value).unwrap();
        }
        assert_eq!(appender.commit().unwrap().accepted, 10);
    }
}

/// At each look that a reader takes at the disk a writer commits, flushes or merges, and cuts its log: the reader has all that was
/// committed before, or that and what came then.
#[test]
fn reader_sees_one_moment_of_a_busy_writer() {
    type Step = fn(&Db);
    let steps: [(&str, Step); 3] = [
        ("a checkpoint", |db| db.checkpoint().unwrap()),
        ("a flush", |db| {
            db.flush().unwrap();
        }),
        ("a flush and merges", |db| {
            db.flush().unwrap();
            for _ in 0..4 {
                db.step(Task::Compact).unwrap();
            }
        }),
    ];
    for (what, step) in steps {
        for at in 0.. {
            let world = Arc::new(World::new());
            let db = world.open();
            for hours in 0..4 {
                scrape(&world, &db, hours * 150..hours * 150 + 150);
                db.step(Task::Flush).unwrap();
            }
            let before = read(&db, "metric");
            let action: Action = {
                let (world, db) = (Arc::clone(&world), db.clone());
                Box::new(move || {
                    scrape(&world, &db, 600..610);
                    step(&db);
                })
            };
            let fs = Arc::new(Meanwhile {
                fs: world.fs.clone(),
                calls: AtomicUsize::new(0),
                at,
                action: Mutex::new(Some(action)),
            });
            let told = Arc::new(Mutex::new(Vec::new()));
            let options = {
                let told = Arc::clone(&told);
                let listener = move |event: &Event| told.lock().unwrap().push(event.clone());
                world
                    .options()
                    .with_fs(Arc::clone(&fs) as Arc<dyn Fs>)
                    .with_listener(Some(Arc::new(listener)))
            };
            let reader = Db::open_read_only(DIR, options).unwrap();
            let found = read(&reader, "metric");
            let place = format!("{what} at look {at}");
            assert!(found == before || found == read(&db, "metric"), "{place}");
            assert_eq!(reader.stats().damaged_units, 0, "{place}");
            let told = told.lock().unwrap();
            assert!(
                matches!(told[..], [Event::Opened { .. }]),
                "{place}: {told:?}"
            );
            if !fs.has_acted() {
                assert!(at > 20, "{at} looks");
                break;
            }
        }
    }
}
