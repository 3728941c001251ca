//! One section of the file: typed access to its keys, each fault reported with the key's path.
//!
//! Every reading function answers `None` both for a key that is not given and for one that is
//! wrong; the latter has been reported. A key without a value, or with empty text, is not given:
//! geo-pgpool-mgr's files look like that.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::keys;
use super::problem::Reading;
use super::{size, span};
use crate::yaml::Node;

const EMPTY: &Node = &Node::Null;

pub(super) struct Section<'a> {
    path: String,
    entries: &'a [(String, Node)],
    reading: &'a Reading<'a>,
}

impl<'a> Section<'a> {
    /// Reports repeated and unknown keys at once, whatever is asked for later.
    pub(super) fn new(path: String, node: &'a Node, reading: &'a Reading<'a>) -> Self {
        let entries: &[(String, Node)] = match node {
            Node::Map(entries) => entries,
            Node::Null => &[],
            other => {
                let at = if path.is_empty() { "the file" } else { &path };
                let known = keys::of(&path).join(", ");
                let message = format!("is {}, not a section", other.kind());
                reading.problem(at, message, format!("keys of this section: {known}"));
                &[]
            }
        };
        for (n, (key, _)) in entries.iter().enumerate() {
            let at = keys::joined(&path, key);
            if !keys::of(&path).contains(&key.as_str()) {
                reading.problem(&at, "unknown key", keys::advice(&path, key));
            } else if entries[..n].iter().any(|(earlier, _)| earlier == key) {
                reading.problem(&at, "is given twice", "keep one of them");
            }
        }
        Section { path, entries, reading }
    }

    pub(super) fn section(&self, key: &str) -> Section<'a> {
        Section::new(self.at(key), self.node(key), self.reading)
    }

    /// The path of one of its keys.
    pub(super) fn at(&self, key: &str) -> String {
        keys::joined(&self.path, key)
    }

    pub(super) fn given(&self, key: &str) -> bool {
        match self.node(key) {
            Node::Null => false,
            Node::Text(text) => !text.is_empty(),
            _ => true,
        }
    }

    /// Whether any of its keys is given.
    pub(super) fn any_given(&self) -> bool {
        self.entries.iter().any(|(key, _)| self.given(key))
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.reading.problem(&self.at(key), message, hint);
    }

    pub(super) fn warn(&self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.reading.warn(&self.at(key), message, hint);
    }

    pub(super) fn missing(&self, key: &str, hint: &str) {
        self.problem(key, "is missing", hint);
    }

    /// One line of text that is not secret: control characters are refused.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let text = self.raw_text(key)?;
        if text.chars().any(char::is_control) {
            self.problem(key, "has a control character in it", "one line of plain text");
            return None;
        }
        Some(text)
    }

    /// Any text without NUL, in any number of lines.
    pub(super) fn raw_text(&self, key: &str) -> Option<String> {
        let text = self.text_of(key)?;
        if text.contains('\0') {
            self.problem(key, "has a NUL character in it", "plain text has none");
            return None;
        }
        Some(text)
    }

    /// geo-pgpool-mgr takes a number where text is wanted, `password: 12345`. So do we, when it can
    /// only have been written the way we print it.
    fn text_of(&self, key: &str) -> Option<String> {
        match self.node(key) {
            Node::Null => None,
            Node::Text(text) if text.is_empty() => None,
            Node::Text(text) => Some(text.clone()),
            Node::Int(n) if self.is_written_as(key, &n.to_string()) => Some(n.to_string()),
            other => {
                let hint = match other {
                    Node::List(_) | Node::Map(_) => "one value belongs here",
                    _ => "put it in quotes",
                };
                self.problem(key, format!("is {}, not text", other.kind()), hint);
                None
            }
        }
    }

    /// Whether `key: digits` stands in the file with exactly these digits: 0x1F and +5 are numbers
    /// too, but not the text that their author sees.
    fn is_written_as(&self, key: &str, digits: &str) -> bool {
        let text = self.reading.text;
        text.match_indices(digits).any(|(at, _)| {
            let before = text[..at].trim_end().trim_end_matches(':').trim_end_matches(['"', '\'']);
            let after = text[at + digits.len()..].chars().next();
            before.ends_with(key) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    }

    /// A path; a relative one starts at the directory of the configuration file.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|path| self.reading.base_dir.join(path))
    }

    /// A whole number; digits in quotes are one too.
    pub(super) fn whole(&self, key: &str, range: RangeInclusive<i128>) -> Option<i128> {
        let number = match self.node(key) {
            Node::Null => return None,
            Node::Text(text) if text.is_empty() => return None,
            Node::Int(n) => Some(*n),
            Node::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        let limits = format!("{}..={}", range.start(), range.end());
        match number {
            Some(n) if range.contains(&n) => return Some(n),
            Some(n) => {
                self.problem(key, format!("{n} is not in {limits}"), format!("choose {limits}"));
            }
            None => self.problem(key, "is not a whole number", format!("choose {limits}")),
        }
        None
    }

    /// A time span: seconds as a number, or text with a unit.
    pub(super) fn span(&self, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let parsed = match self.node(key) {
            Node::Null => return None,
            Node::Text(text) if text.is_empty() => return None,
            Node::Int(n) => span::parse(&n.to_string()),
            Node::Float(n) => span::parse(&n.to_string()),
            Node::Text(text) => span::parse(text),
            _ => None,
        };
        let limits = format!("{:?} to {:?}", range.start(), range.end());
        match parsed {
            Some(span) if range.contains(&span) => return Some(span),
            Some(span) => {
                let message = format!("{span:?} is not in the range {limits}");
                self.problem(key, message, "a number of seconds, or a unit: \"500ms\", \"2m\"");
            }
            None => self.problem(
                key,
                "is not a time span",
                format!("seconds (10, 0.5) or with a unit (\"10s\", \"500ms\", \"2m\"), {limits}"),
            ),
        }
        None
    }

    /// A number of bytes, or text with PostgreSQL's units.
    pub(super) fn size(&self, key: &str) -> Option<u64> {
        let parsed = match self.node(key) {
            Node::Null => return None,
            Node::Text(text) if text.is_empty() => return None,
            Node::Int(n) => u64::try_from(*n).ok(),
            Node::Text(text) => size::parse(text),
            _ => None,
        };
        if parsed.is_none() {
            self.problem(
                key,
                "is not a size",
                "bytes (16777216) or with a unit (\"16MB\", \"1GB\")",
            );
        }
        parsed
    }

    /// The items of a list; a list that is not one has been reported.
    pub(super) fn list(&self, key: &str) -> &'a [Node] {
        match self.node(key) {
            Node::Null => &[],
            Node::List(items) => items,
            other => {
                let message = format!("is {}, not a list", other.kind());
                self.problem(key, message, format!("{key}: [\"…\", \"…\"]"));
                &[]
            }
        }
    }

    /// The sections in a list, each with its index in its path.
    pub(super) fn sections(&self, key: &str) -> Vec<Section<'a>> {
        let at = self.at(key);
        let items = self.list(key).iter().enumerate();
        items.map(|(n, node)| Section::new(format!("{at}[{n}]"), node, self.reading)).collect()
    }

    pub(super) fn node(&self, key: &str) -> &'a Node {
        self.entries.iter().find(|(k, _)| k == key).map_or(EMPTY, |(_, node)| node)
    }

    pub(super) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }
}
