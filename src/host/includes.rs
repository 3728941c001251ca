//! The files that pgpool.conf includes: no `backend_*` setting may hide in them.
//!
//! A slot's setting in two files is the same setting twice, and pgpool's processes flip between the
//! two at every reload. The agent keeps its block in one file only, so it refuses, on purpose.
//! pgpool knows `include` from 4.3 on; up to 4.2 it ignores it, as it does any unknown setting.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::replace;
use crate::pgpool_conf::keys::slot_key;
use crate::pgpool_conf::lines::{Content, Setting, lines};

/// As deep as pgpool follows.
const DEPTH_MAX: usize = 10;
/// Far more than anybody has; ends a file that includes itself several times.
const FILES_MAX: usize = 200;

/// What is wrong with an included file.
#[derive(Debug)]
pub enum IncludeError {
    /// A slot's setting outside the main file.
    SlotKey {
        path: PathBuf,
        line: usize,
        key: String,
    },
    /// pgpool does not load a file whose include it cannot read.
    Unreadable {
        from: PathBuf,
        line: usize,
        source: FileError,
    },
    /// A syntax error.
    Garbled {
        path: PathBuf,
        line: usize,
        what: String,
    },
    TooMany {
        from: PathBuf,
        line: usize,
    },
}

impl fmt::Display for IncludeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IncludeError::SlotKey { path, line, key } => write!(
                f,
                "{}:{line} sets {key} in an included file: move its backend_* lines to the main \
                 file, or point pgpool.config_path at the included file itself",
                path.display()
            ),
            IncludeError::Unreadable { from, line, .. } => {
                write!(
                    f,
                    "{}:{line} includes a file that cannot be read, so pgpool loads none of them",
                    from.display()
                )
            }
            IncludeError::Garbled { path, line, what } => write!(
                f,
                "{}:{line}: {what}: pgpool ignores the whole configuration until this is corrected",
                path.display()
            ),
            IncludeError::TooMany { from, line } => write!(
                f,
                "{}:{line} includes files more than {DEPTH_MAX} deep, or in a circle",
                from.display()
            ),
        }
    }
}

impl std::error::Error for IncludeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IncludeError::Unreadable { source, .. } => Some(source),
            IncludeError::SlotKey { .. }
            | IncludeError::Garbled { .. }
            | IncludeError::TooMany { .. } => None,
        }
    }
}

/// Where a setting stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub path: &'a Path,
    pub line: usize,
    /// 0 for the main file.
    pub depth: usize,
}

/// Calls `visit` for every setting of a pgpool.conf and of what it includes, in pgpool's order.
pub fn each_setting(
    main: &Path,
    content: &[u8],
    visit: &mut impl FnMut(Place<'_>, &Setting) -> Result<(), IncludeError>,
) -> Result<(), IncludeError> {
    walk(main, content, 0, &mut 0, visit)
}

fn walk(
    path: &Path,
    content: &[u8],
    depth: usize,
    files: &mut usize,
    visit: &mut impl FnMut(Place<'_>, &Setting) -> Result<(), IncludeError>,
) -> Result<(), IncludeError> {
    for line in lines(content) {
        let place = Place { path, line: line.number, depth };
        // Of the main file the table's reader says so itself.
        if let (Content::Garbled(what), 1..) = (&line.content, depth) {
            let (path, line, what) = (path.to_owned(), line.number, what.clone());
            return Err(IncludeError::Garbled { path, line, what });
        }
        for setting in line.settings() {
            if setting.key != "include" {
                visit(place, setting)?;
                continue;
            }
            *files += 1;
            if depth == DEPTH_MAX || *files > FILES_MAX {
                return Err(IncludeError::TooMany { from: path.to_owned(), line: line.number });
            }
            // Relative to the including file by the name it was given: pgpool follows no symbolic
            // link here.
            let included = path.with_file_name("").join(OsStr::from_bytes(&setting.value));
            let content = replace::read(&included).map_err(|source| IncludeError::Unreadable {
                from: path.to_owned(),
                line: line.number,
                source,
            })?;
            walk(&included, &content, depth + 1, files, visit)?;
        }
    }
    Ok(())
}

/// Makes sure that no included file sets anything of a slot.
pub fn refuse_slot_keys(main: &Path, content: &[u8]) -> Result<(), IncludeError> {
    each_setting(main, content, &mut |place, setting| {
        if place.depth == 0 || slot_key(&setting.key).is_none() {
            return Ok(());
        }
        let (path, key) = (place.path.to_owned(), setting.key.clone());
        Err(IncludeError::SlotKey { path, line: place.line, key })
    })
}
