//! pgpool.conf on this disk: the real [`ConfFile`], and `init`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::includes::{self, IncludeError};
use super::replace::{self, ORIGINAL};
use crate::model::slots::SlotTable;
use crate::pgpool_conf::adopt::adopt;
use crate::pgpool_conf::error::TableError;
use crate::pgpool_conf::table;
use crate::seams::ConfFile;

/// The file that the slot table is kept in.
#[derive(Debug, Clone)]
pub struct ConfFileOnDisk {
    path: PathBuf,
    size: u8,
}

/// Why pgpool.conf was not read or written.
#[derive(Debug)]
pub enum ConfFileError {
    File(FileError),
    Table {
        path: PathBuf,
        source: TableError,
    },
    Include(IncludeError),
    /// A mistake of ours, caught before the file was touched.
    NotReadBack {
        path: PathBuf,
    },
}

impl fmt::Display for ConfFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfFileError::File(source) => source.fmt(f),
            ConfFileError::Table { path, source } => write!(f, "{}: {source}", path.display()),
            ConfFileError::Include(source) => source.fmt(f),
            ConfFileError::NotReadBack { path } => write!(
                f,
                "{} was not touched: the new slot table does not read back as it was meant",
                path.display()
            ),
        }
    }
}

impl Error for ConfFileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Their own sentence is this one's, so only what is behind them follows.
            ConfFileError::File(error) => error.source(),
            ConfFileError::Include(error) => error.source(),
            ConfFileError::Table { .. } | ConfFileError::NotReadBack { .. } => None,
        }
    }
}

/// What `init` did.
#[derive(Debug, Clone, PartialEq)]
pub struct InitReport {
    /// False when the file had its table already.
    pub changed: bool,
    pub table: SlotTable,
    pub notes: Vec<String>,
    /// Where the content of before the first `init` is, if anything was changed. The backup that
    /// each write makes is one step behind only.
    pub original: Option<PathBuf>,
}

impl ConfFileOnDisk {
    /// `size`: how many slots the table may have (`pgpool.slots`).
    pub fn new(path: impl Into<PathBuf>, size: u8) -> Self {
        ConfFileOnDisk { path: path.into(), size }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The table that the file has, or would have after [`ConfFileOnDisk::init`].
    pub fn adopted(&self) -> Result<SlotTable, ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        Ok(adopt(&content, self.size).map_err(|e| self.table_error(e))?.table)
    }

    /// Puts the table into the file, or finds it there. Touches no process; the second time
    /// nothing.
    pub fn init(&self) -> Result<InitReport, ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        includes::refuse_slot_keys(&self.path, &content).map_err(ConfFileError::Include)?;
        let adopted = adopt(&content, self.size).map_err(|e| self.table_error(e))?;
        let changed = adopted.file != content;
        if changed {
            self.must_read_back(&adopted.file, &adopted.table)?;
            replace::keep_original(&self.path).map_err(ConfFileError::File)?;
            self.put(&content, &adopted.file)?;
        }
        let original = replace::resolve(&self.path).ok().map(|p| replace::beside(&p, ORIGINAL));
        Ok(InitReport {
            changed,
            table: adopted.table,
            notes: adopted.notes,
            original: original.filter(|_| changed),
        })
    }

    /// Plain settings of the file and what it includes, the last one winning, without defaults.
    /// The values include passwords: never print the map.
    pub fn settings(&self) -> Result<BTreeMap<String, String>, ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        let mut all = BTreeMap::new();
        includes::each_setting(&self.path, &content, &mut |_, setting| {
            let value = String::from_utf8_lossy(&setting.value);
            all.insert(setting.key.clone(), value.trim_end_matches('\n').to_owned());
            Ok(())
        })
        .map_err(ConfFileError::Include)?;
        Ok(all)
    }

    fn table_error(&self, source: TableError) -> ConfFileError {
        ConfFileError::Table { path: self.path.clone(), source }
    }

    fn must_read_back(&self, content: &[u8], wanted: &SlotTable) -> Result<(), ConfFileError> {
        match table::read(content) {
            Ok(read) if read == *wanted => Ok(()),
            Ok(_) => Err(ConfFileError::NotReadBack { path: self.path.clone() }),
            Err(error) => Err(self.table_error(error)),
        }
    }

    fn put(&self, planned_from: &[u8], new: &[u8]) -> Result<(), ConfFileError> {
        replace::replace(&self.path, planned_from, new).map_err(ConfFileError::File)
    }
}

impl ConfFile for ConfFileOnDisk {
    type Error = ConfFileError;

    async fn read(&self) -> Result<Result<SlotTable, String>, ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        if let Err(error) = includes::refuse_slot_keys(&self.path, &content) {
            let source = error.source().map(|s| format!(": {s}")).unwrap_or_default();
            return Ok(Err(format!("{error}{source}")));
        }
        Ok(table::read(&content).map_err(|error| self.table_error(error).to_string()))
    }

    async fn write(&self, table: &SlotTable) -> Result<(), ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        includes::refuse_slot_keys(&self.path, &content).map_err(ConfFileError::Include)?;
        let new =
            table::replace(&content, table, self.size).map_err(|error| self.table_error(error))?;
        self.must_read_back(&new, table)?;
        self.put(&content, &new)
    }

    async fn edited(&self) -> Result<bool, ConfFileError> {
        let content = replace::read(&self.path).map_err(ConfFileError::File)?;
        let again = table::read(&content).and_then(|t| table::replace(&content, &t, self.size));
        Ok(again.is_ok_and(|again| again != content))
    }
}
