//! Labels while rules are applied to them.

/// Labels that may be set and deleted. Those that were there from the start and were not touched come first.
#[derive(Debug, Clone)]
pub(super) struct Working<'l> {
    untouched: Vec<(&'l str, &'l str)>,
    set: Vec<(String, String)>,
}

impl<'l> Working<'l> {
    pub(super) fn new(labels: impl Iterator<Item = (&'l str, &'l str)>) -> Self {
        Self {
            untouched: labels.collect(),
            set: Vec::new(),
        }
    }

    /// Walks the labels, each once.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let set = self
            .set
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.untouched.iter().copied().chain(set)
    }

    /// Returns the value of a label, empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.pairs().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Sets a label; the empty value deletes it.
    pub(super) fn set(&mut self, name: &str, value: String) {
        if value.is_empty() {
            return self.delete(name);
        }
        self.untouched.retain(|(known, _)| *known != name);
        match self.set.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.set.push((name.to_owned(), value)),
        }
    }

    /// Deletes a label.
    pub(super) fn delete(&mut self, name: &str) {
        self.retain(|known| known != name);
    }

    /// Keeps the labels with these names.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.untouched.retain(|(name, _)| keep(name));
        self.set.retain(|(name, _)| keep(name));
    }
}
