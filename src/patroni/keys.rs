//! The keys of a scope as etcd has them: one consistent read, then every change folded in.

use std::collections::BTreeMap;

/// The folder of the scope that is geo-agent's own.
pub const FOLDER: &str = "geo-agent";

/// The range `[<base>/, <base>0)`: everything below `base`, nothing beside it (`scope2` for
/// `scope`), and exactly what a role needs to be granted. `0` is the character after `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    pub start: String,
    pub end: String,
}

impl KeyRange {
    /// `base` has no slash at its end.
    pub fn below(base: &str) -> Self {
        KeyRange { start: format!("{base}/"), end: format!("{base}0") }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_bytes() <= key && key < self.end.as_bytes()
    }
}

/// A key's value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub mod_revision: i64,
    pub value: Vec<u8>,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: Vec<u8>,
    pub mod_revision: i64,
    /// `None`: the key was deleted, or its lease ended.
    pub value: Option<Vec<u8>>,
}

/// The keys at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys {
    revision: i64,
    stored: BTreeMap<Vec<u8>, Stored>,
}

impl Keys {
    /// What a read found. It replaces what was known before, so keys that are gone are gone.
    pub fn new(revision: i64, stored: BTreeMap<Vec<u8>, Stored>) -> Self {
        Keys { revision, stored }
    }

    /// Everything up to this revision is folded in.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.stored.iter().map(|(key, s)| (key.as_slice(), s.value.as_slice()))
    }

    /// Folds one watch response in, as a whole: its events are complete revisions. Events that are
    /// not newer than what is known are old news. Returns whether anything changed.
    ///
    /// The revision moves to that of the last event, not to that of the response's header: a
    /// response to a watch that is catching up carries a header from the future.
    pub fn apply(&mut self, changes: Vec<Change>) -> bool {
        let known = self.revision;
        let mut changed = false;
        for Change { key, mod_revision, value } in changes {
            let newer = self.stored.get(&key).is_none_or(|s| s.mod_revision < mod_revision);
            if mod_revision <= known || !newer {
                continue;
            }
            match value {
                Some(value) => drop(self.stored.insert(key, Stored { mod_revision, value })),
                None => drop(self.stored.remove(&key)),
            }
            self.revision = self.revision.max(mod_revision);
            changed = true;
        }
        changed
    }

    /// The lowest revision that a watch which delivered everything must reach, given that a read
    /// found `newer`; `None` when the read found what is known already.
    pub fn owed_by_a_watch(&self, newer: &Keys) -> Option<i64> {
        if self.stored == newer.stored {
            return None;
        }
        let last_write = newer.stored.values().map(|s| s.mod_revision).max().unwrap_or(0);
        // A deletion leaves no revision behind: then any event after what is known will do.
        Some(last_write.max(self.revision + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, mod_revision: i64, value: &str) -> Change {
        Change { key: key.into(), mod_revision, value: Some(value.into()) }
    }

    fn delete(key: &str, mod_revision: i64) -> Change {
        Change { key: key.into(), mod_revision, value: None }
    }

    fn at(revision: i64, keys: &[(&str, i64, &str)]) -> Keys {
        let stored = keys.iter().map(|(k, mod_revision, v)| {
            (k.as_bytes().to_vec(), Stored { mod_revision: *mod_revision, value: (*v).into() })
        });
        Keys::new(revision, stored.collect())
    }

    #[test]
    fn a_scope_is_not_its_neighbour() {
        let range = KeyRange::below("/service/scope");
        assert_eq!(range.end, "/service/scope0");
        for inside in ["/service/scope/leader", "/service/scope/members/\u{ff}"] {
            assert!(range.contains(inside.as_bytes()), "{inside}");
        }
        for beside in ["/service/scope2/leader", "/service/scope", "/service/scope-b/x"] {
            assert!(!range.contains(beside.as_bytes()), "{beside}");
        }
    }

    #[test]
    fn changes_fold_in_order_and_old_news_is_ignored() {
        let mut keys = at(10, &[("a", 9, "1"), ("b", 10, "1")]);
        assert!(keys.apply(vec![put("a", 11, "2"), delete("b", 11), put("c", 12, "1")]));
        assert_eq!(keys, at(12, &[("a", 11, "2"), ("c", 12, "1")]));
        assert!(!keys.apply(vec![put("b", 10, "1"), put("a", 9, "1"), delete("c", 12)]));
        assert_eq!(keys, at(12, &[("a", 11, "2"), ("c", 12, "1")]));
    }

    #[test]
    fn several_revisions_in_one_response_end_in_the_last() {
        let mut keys = at(10, &[("a", 9, "1")]);
        assert!(keys.apply(vec![delete("a", 11), put("a", 12, "2"), put("a", 13, "3")]));
        assert_eq!(keys, at(13, &[("a", 13, "3")]));
    }

    #[test]
    fn what_a_watch_owes() {
        let known = at(10, &[("a", 9, "1"), ("b", 10, "1")]);
        assert_eq!(known.owed_by_a_watch(&at(90, &[("a", 9, "1"), ("b", 10, "1")])), None);
        assert_eq!(known.owed_by_a_watch(&at(90, &[("a", 40, "1"), ("b", 10, "1")])), Some(40));
        assert_eq!(known.owed_by_a_watch(&at(90, &[("a", 9, "1")])), Some(11));
    }
}
