//! Reads an index unit by unit.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::directory::{Directory, LabelPage, Page, Refusal};
use super::page::{EntityLabels, EntityPage, PER_PAGE, ValuePage};
use super::set::SetRef;
use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::fs::MappedFile;
use crate::index::postings::Postings;
use crate::labels::{EntityPacker, Labels, METRIC_NAME, SeriesLabels, SharedLabels};

/// Finds the series of a block by their labels and by matchers.
///
/// Opening verifies the directory only; every other unit is verified when it is first used, and damage to one is an
/// error for those who need it. A series is named by its ordinal in label order.
#[derive(Debug)]
pub struct IndexReader {
    pub(super) bytes: Bytes,
    path: PathBuf,
    /// Where the index begins in the file.
    offset: u64,
    pub(super) directory: Directory,
}

#[derive(Debug)]
pub(super) enum Bytes {
    Mapped {
        file: MappedFile,
        start: usize,
        len: usize,
    },
    /// Where the file cannot be mapped. An index is looked into at random, but it is small.
    Loaded(Arc<[u8]>),
}

/// Label id of the metric name.
pub(super) const METRIC_ID: u32 = 0;

/// A label value: of the metric name, a metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    pub(super) label: u32,
    pub(super) ordinal: u32,
    pub(super) set: SetRef,
}

impl IndexReader {
    /// Returns the bytes of memory it takes beside what is mapped.
    pub(crate) fn memory_bytes(&self) -> usize {
        let loaded = match &self.bytes {
            Bytes::Mapped { .. } => 0,
            Bytes::Loaded(bytes) => bytes.len(),
        };
        self.directory.memory_bytes() + loaded
    }

    /// Opens the index that takes `len` bytes of `file` from `offset` on; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corruption`](crate::error::ErrorKind::Corruption) if header, footer or directory are not what was
    /// written, [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a newer version.
    pub fn open(
        path: impl Into<PathBuf>,
        file: &MappedFile,
        offset: u64,
        len: u64,
    ) -> Result<Self> {
        let path = path.into();
        let len = usize::try_from(len)
            .map_err(|_too_large| Error::limit("the index is too large for this machine"))?;
        let found = file
            .bytes(offset, len)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    Error::corruption(&path, offset, "the index ends behind the file")
                }
                _ => Error::io("read", &path, error),
            })?;
        let bytes = match found {
            std::borrow::Cow::Borrowed(_) => Bytes::Mapped {
                file: file.clone(),
                start: offset as usize,
                len,
            },
            std::borrow::Cow::Owned(bytes) => Bytes::Loaded(bytes.into()),
        };
        let directory = Directory::open(bytes.as_slice()).map_err(|refusal| match refusal {
            Refusal::Damaged(malformed) => {
                damaged(&path, offset, malformed.offset, "index", malformed)
            }
            Refusal::Newer(version) => {
                Error::unsupported(&path, format!("index of format version {version}"))
            }
        })?;
        Ok(Self {
            bytes,
            path,
            offset,
            directory,
        })
    }

    /// Returns the number of series.
    pub fn series_count(&self) -> u32 {
        self.directory.series
    }

    /// Returns the number of entities.
    pub(super) fn entity_total(&self) -> u32 {
        self.directory.entities
    }

    /// Returns the labels of the series with `ordinal`; [`Found`](super::Found) is faster for many.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the labels depend on; [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for an
    /// ordinal past the last series.
    pub fn labels(&self, ordinal: u32) -> Result<Labels> {
        let (metric, base) = self.metric_at(ordinal)?;
        let name = self.value_text(METRIC_ID, metric.ordinal)?;
        let entity = self.read_set(metric.set)?.select(ordinal - base);
        let mut packer = EntityPacker::default();
        let range = self.pack_entity(
            entity.expect("a set has as many elements as was compared"),
            &mut packer,
        )?;
        let shared = SharedLabels {
            metric: name.into(),
            texts: packer.finish(&mut []),
        };
        Ok(SeriesLabels::new(Arc::new(shared), range).to_labels())
    }

    /// Returns the ordinal of the series with `labels`.
    ///
    /// # Errors
    ///
    /// Damage to a unit on the way to it.
    #[cfg(test)]
    pub fn ordinal_of(&self, labels: &Labels) -> Result<Option<u32>> {
        let Some(metric) = self.find_value(METRIC_ID, labels.metric())? else {
            return Ok(None);
        };
        let mut key = Vec::with_capacity(16);
        for (name, text) in labels.entity() {
            let Some(label) = self.find_label(name) else {
                return Ok(None);
            };
            let Some(value) = self.find_value(label, text)? else {
                return Ok(None);
            };
            key.push((label, value.ordinal));
        }
        let Some(entity) = self.find_entity(&key)? else {
            return Ok(None);
        };
        let rank = self.read_set(metric.set)?.rank(entity);
        Ok(match rank {
            Some(rank) => Some(self.base(metric)? + rank),
            None => None,
        })
    }

    /// Returns the id of the label called `name`.
    pub(super) fn find_label(&self, name: &str) -> Option<u32> {
        if name == METRIC_NAME {
            return Some(METRIC_ID);
        }
        let others = self.directory.labels.get(1..).unwrap_or_default();
        others
            .binary_search_by(|label| label.name.as_str().cmp(name))
            .ok()
            .map(|index| index as u32 + 1)
    }

    /// Returns the value `text` of a label.
    pub(super) fn find_value(&self, label: u32, text: &str) -> Result<Option<Value>> {
        let Some(number) = self.page_of(label, text).checked_sub(1) else {
            return Ok(None);
        };
        let (page, values) = self.value_page(label, number)?;
        let found = values
            .find(text)
            .map_err(|malformed| self.damaged_page(page, malformed))?;
        match found {
            Some(index) => {
                let set = values
                    .set(index)
                    .map_err(|malformed| self.damaged_page(page, malformed))?;
                Ok(Some(Value {
                    label,
                    ordinal: (number * PER_PAGE + index) as u32,
                    set,
                }))
            }
            None => Ok(None),
        }
    }

    /// Returns how many pages of the label begin at or before `text`: the last of them is where it would be.
    pub(super) fn page_of(&self, label: u32, text: &str) -> usize {
        let pages = &self.directory.labels[label as usize].pages;
        pages.partition_point(|page| page.first.as_str() <= text)
    }

    /// Returns a page of the label's values, verified.
    #[inline]
    pub(super) fn value_page(&self, label: u32, number: usize) -> Result<(&Page, ValuePage<'_>)> {
        let label = &self.directory.labels[label as usize];
        let Some(LabelPage { page, .. }) = label.pages.get(number) else {
            return Err(Error::corruption(
                &self.path,
                self.offset,
                "a value is named that does not exist",
            ));
        };
        let count = (label.values as usize - number * PER_PAGE).min(PER_PAGE);
        let values = page
            .body(self.bytes.as_slice())
            .and_then(|body| ValuePage::new(body, count));
        values
            .map(|values| (page, values))
            .map_err(|malformed| self.damaged_page(page, malformed))
    }

    /// Returns the text of a value.
    #[inline]
    pub(super) fn value_text(&self, label: u32, ordinal: u32) -> Result<&str> {
        let (page, values) = self.value_page(label, ordinal as usize / PER_PAGE)?;
        values
            .text(ordinal as usize % PER_PAGE)
            .map_err(|malformed| self.damaged_page(page, malformed))
    }

    /// Packs the labels of an entity and returns where they stand in the text of `packer`; a [`Batch`](super::batch::Batch)
    /// is faster for many, but does not say what is wrong with one.
    pub(super) fn pack_entity(&self, entity: u32, packer: &mut EntityPacker) -> Result<Range<u32>> {
        let (page, mut labels) = self.entity_labels(entity)?;
        let damaged = |malformed| self.damaged_page(page, malformed);
        while let Some((id, ordinal)) = labels.next().map_err(damaged)? {
            let Some(label) = self.directory.labels.get(id as usize) else {
                return Err(damaged(Malformed {
                    what: "unknown label",
                    offset: 0,
                }));
            };
            let value = self.value_text(id, ordinal)?;
            packer.push(label.name.as_bytes(), value.as_bytes());
        }
        packer.end().ok_or_else(|| {
            damaged(Malformed {
                what: "labels of an entity are no label set",
                offset: 0,
            })
        })
    }

    /// Returns a set of entities, verified.
    pub(super) fn read_set(&self, set: SetRef) -> Result<Postings> {
        set.read(self.bytes.as_slice(), self.directory.entities)
            .map_err(|malformed| {
                damaged(
                    &self.path,
                    self.offset,
                    set.at as usize,
                    "set of entities",
                    malformed,
                )
            })
    }

    /// Calls `visit` with label id and value ordinal of every label of the entity, ids ascending, until it says so.
    #[inline]
    pub(super) fn each_entity_label(
        &self,
        entity: u32,
        mut visit: impl FnMut(u32, u32) -> Result<Walk>,
    ) -> Result<()> {
        let (page, mut labels) = self.entity_labels(entity)?;
        while let Some((label, value)) = labels
            .next()
            .map_err(|malformed| self.damaged_page(page, malformed))?
        {
            if label as usize >= self.directory.labels.len() {
                return Err(self.damaged_page(
                    page,
                    Malformed {
                        what: "unknown label",
                        offset: 0,
                    },
                ));
            }
            if visit(label, value)? == Walk::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Returns how many series the metrics before this one have; its own are not past the last series.
    pub(super) fn base(&self, metric: Value) -> Result<u32> {
        let number = metric.ordinal as usize / PER_PAGE;
        let (page, metrics) = self.value_page(METRIC_ID, number)?;
        let mut base = u64::from(self.directory.labels[METRIC_ID as usize].pages[number].before);
        for index in 0..metric.ordinal as usize % PER_PAGE {
            base += u64::from(
                metrics
                    .set(index)
                    .map_err(|malformed| self.damaged_page(page, malformed))?
                    .count,
            );
        }
        if base + u64::from(metric.set.count) > self.directory.series.into() {
            return Err(self.damaged_page(
                page,
                Malformed {
                    what: "metrics have more series than there are",
                    offset: 0,
                },
            ));
        }
        Ok(base as u32)
    }

    /// Returns the metric of the series with `ordinal`, and its base.
    fn metric_at(&self, ordinal: u32) -> Result<(Value, u32)> {
        let metrics = &self.directory.labels[METRIC_ID as usize];
        if ordinal >= self.directory.series {
            return Err(Error::invalid(format!(
                "there is no series {ordinal} among {}",
                self.directory.series
            )));
        }
        let number = metrics
            .pages
            .partition_point(|page| page.before <= ordinal)
            .saturating_sub(1);
        let (page, values) = self.value_page(METRIC_ID, number)?;
        let mut rank = ordinal.checked_sub(metrics.pages[number].before);
        for index in 0..values.len() {
            let set = values
                .set(index)
                .map_err(|malformed| self.damaged_page(page, malformed))?;
            match rank {
                Some(rank) if rank < set.count => {
                    return Ok((
                        Value {
                            label: METRIC_ID,
                            ordinal: (number * PER_PAGE + index) as u32,
                            set,
                        },
                        ordinal - rank,
                    ));
                }
                _ => rank = rank.and_then(|rank| rank.checked_sub(set.count)),
            }
        }
        Err(self.damaged_page(
            page,
            Malformed {
                what: "metrics have fewer series than they should",
                offset: 0,
            },
        ))
    }

    /// Returns the entity with these label ids and value ordinals.
    #[cfg(test)]
    fn find_entity(&self, key: &[(u32, u32)]) -> Result<Option<u32>> {
        let (mut low, mut high) = (0, self.directory.entities);
        while low < high {
            let middle = low.midpoint(high);
            match self.entity_key(middle)?.as_slice().cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    #[cfg(test)]
    fn entity_key(&self, entity: u32) -> Result<Vec<(u32, u32)>> {
        let mut key = Vec::with_capacity(16);
        self.each_entity_label(entity, |label, value| {
            key.push((label, value));
            Ok(Walk::On)
        })?;
        Ok(key)
    }

    #[inline]
    fn entity_labels(&self, entity: u32) -> Result<(&Page, EntityLabels<'_>)> {
        let number = entity as usize / PER_PAGE;
        let Some(page) = self.directory.entity_pages.get(number) else {
            return Err(Error::corruption(
                &self.path,
                self.offset,
                "an entity is named that does not exist",
            ));
        };
        let count = (self.directory.entities as usize - number * PER_PAGE).min(PER_PAGE);
        let labels = page
            .body(self.bytes.as_slice())
            .and_then(|body| EntityPage::new(body, count))
            .and_then(|entities| entities.labels(entity as usize % PER_PAGE));
        labels
            .map(|labels| (page, labels))
            .map_err(|malformed| self.damaged_page(page, malformed))
    }

    #[cold]
    pub(super) fn damaged_page(&self, page: &Page, malformed: Malformed) -> Error {
        damaged(
            &self.path,
            self.offset,
            page.offset as usize,
            "page",
            malformed,
        )
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Stop,
}

impl Bytes {
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped { file, start, len } => {
                let all = file
                    .as_slice()
                    .expect("what was borrowed when opened is in memory");
                // Checked when opened, and settled bytes do not go away.
                &all[*start..][..*len]
            }
            Self::Loaded(bytes) => bytes,
        }
    }
}

#[cold]
fn damaged(
    path: &std::path::Path,
    base: u64,
    unit: usize,
    what: &str,
    malformed: Malformed,
) -> Error {
    Error::corruption(path, base + unit as u64, format!("{what}: {malformed}"))
}
