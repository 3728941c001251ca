//! Why a file was not read or replaced. Whenever one of these is returned before the rename, the
//! file is as it was.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Each sentence says what to do about it.
#[derive(Debug)]
pub enum FileError {
    Missing {
        path: PathBuf,
    },
    NotAFile {
        path: PathBuf,
    },
    TooBig {
        path: PathBuf,
        size: u64,
        size_max: u64,
    },
    /// A rename would leave the other names with the old content.
    HardLinks {
        path: PathBuf,
        links: u64,
    },
    /// The file is not the one that the new content was made from.
    Changed {
        path: PathBuf,
    },
    Owner {
        path: PathBuf,
        uid: u32,
        gid: u32,
        source: io::Error,
    },
    Directory {
        directory: PathBuf,
        source: io::Error,
    },
    MountPoint {
        path: PathBuf,
        source: io::Error,
    },
    /// What is on disk after the rename is not what was written.
    NotAsWritten {
        path: PathBuf,
        what: &'static str,
    },
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Missing { path } => {
                write!(f, "{} does not exist: is the path right?", path.display())
            }
            FileError::NotAFile { path } => {
                write!(f, "{} is not a regular file: is the path right?", path.display())
            }
            FileError::TooBig { path, size, size_max } => write!(
                f,
                "{} has {size} bytes, more than the {size_max} that a pgpool.conf may have here: \
                 is the path right?",
                path.display()
            ),
            FileError::HardLinks { path, links } => write!(
                f,
                "{} has {links} hard links, and replacing it would part them: use a symbolic link \
                 instead",
                path.display()
            ),
            FileError::Changed { path } => write!(
                f,
                "{} was changed by another tool at the same moment; nothing was written",
                path.display()
            ),
            FileError::Owner { path, uid, gid, .. } => write!(
                f,
                "{} is owned by {} (uid {uid}, gid {gid}), which cannot be kept: run geo-agent as \
                 that user or root",
                path.display(),
                user_name(*uid)
            ),
            FileError::Directory { directory, .. } => write!(
                f,
                "no file can be created in {}: a file is replaced by renaming a new one over it, \
                 so geo-agent must be able to write to the directory",
                directory.display()
            ),
            FileError::MountPoint { path, .. } => write!(
                f,
                "{} cannot be replaced, as it is a mount of its own: mount its directory instead",
                path.display()
            ),
            FileError::NotAsWritten { path, what } => write!(
                f,
                "{} was replaced, but its {what} is not what was written: another tool changed it, \
                 or the disk is faulty",
                path.display()
            ),
            FileError::Io { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Owner { source, .. }
            | FileError::Directory { source, .. }
            | FileError::MountPoint { source, .. }
            | FileError::Io { source, .. } => Some(source),
            FileError::Missing { .. }
            | FileError::NotAFile { .. }
            | FileError::TooBig { .. }
            | FileError::HardLinks { .. }
            | FileError::Changed { .. }
            | FileError::NotAsWritten { .. } => None,
        }
    }
}

/// The name in /etc/passwd; directory services are not asked.
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| "another user".to_owned())
}
