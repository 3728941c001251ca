//! What is wrong with a configuration, collected until all of it has been read.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::ids::printable;

/// One finding: where, what, and what to do about it. Never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The key, `etcd3.port`; or a place in the file, `line 3, column 5`.
    pub path: String,
    pub message: String,
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(&self.path), printable(&self.message))?;
        if !self.hint.is_empty() {
            write!(f, "\n    {}", printable(&self.hint))?;
        }
        Ok(())
    }
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum ConfigError {
    Read { path: PathBuf, source: io::Error },
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Read { path, source: _ } => {
                write!(f, "cannot read the configuration {}", path.display())
            }
            ConfigError::Invalid { path, problems } => {
                let s = if problems.len() == 1 { "" } else { "s" };
                write!(f, "{}: {} problem{s}", path.display(), problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::Read { source, .. } => Some(source),
            ConfigError::Invalid { .. } => None,
        }
    }
}

/// One reading of one text: what was found so far, and what relative paths are relative to.
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) base_dir: &'a Path,
    /// The permission bits of the file that the text comes from, where it comes from one.
    pub(super) mode: Option<u32>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str, base_dir: &'a Path, mode: Option<u32>) -> Self {
        Reading { text, base_dir, mode, problems: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn problem(&self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        push(&self.problems, path, message.into(), hint.into());
    }

    pub(super) fn warn(&self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        push(&self.warnings, path, message.into(), hint.into());
    }

    /// `Err` when there was any problem; otherwise the warnings.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.problems.into_inner();
        if problems.is_empty() { Ok(self.warnings.into_inner()) } else { Err(problems) }
    }
}

fn push(to: &RefCell<Vec<Problem>>, path: &str, message: String, hint: String) {
    to.borrow_mut().push(Problem { path: path.to_owned(), message, hint });
}
