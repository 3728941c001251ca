//! Replacing pgpool.conf: atomically, with the same owner and mode, with a backup, and compared
//! afterwards. A symbolic link stays one; its target is replaced.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::atomic::{self, Attributes};
use super::error::FileError;

/// More than any pgpool.conf, and little enough to be read at every look.
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// Appended to the file's name: its content before the last replacement.
pub const BACKUP: &str = ".geo-agent.bak";
/// Appended to the file's name: its content before geo-agent's first change.
pub const ORIGINAL: &str = ".geo-agent.orig";

/// The content of a regular file, symbolic links followed.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    Ok(Snapshot::take(path)?.content)
}

/// Replaces the content `planned_from` by `new`. Refuses when the file has another content by now.
/// Equal contents touch nothing, the backup included.
///
/// A file with hard links is refused: the other names would keep the old content without notice.
pub fn replace(path: &Path, planned_from: &[u8], new: &[u8]) -> Result<(), FileError> {
    let before = Snapshot::take(path)?;
    if before.content != planned_from {
        return Err(FileError::Changed { path: before.path });
    }
    if new == planned_from {
        return Ok(());
    }
    if before.metadata.nlink() > 1 {
        return Err(FileError::HardLinks { path: before.path, links: before.metadata.nlink() });
    }
    let attributes = Attributes::of(&before.metadata);
    before.copy_to(BACKUP)?;
    atomic::write(&before.path, new, attributes, || before.is_still_there())?;
    compare(&before.path, new, attributes)
}

/// Keeps a copy of the file as it is now under the name of [`ORIGINAL`], unless there is one. Says
/// where.
pub fn keep_original(path: &Path) -> Result<PathBuf, FileError> {
    let now = Snapshot::take(path)?;
    let original = beside(&now.path, ORIGINAL);
    if !original.exists() {
        now.copy_to(ORIGINAL)?;
    }
    Ok(original)
}

/// Where the file really is, symbolic links followed.
pub fn resolve(path: &Path) -> Result<PathBuf, FileError> {
    fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned() },
        _ => FileError::Io { doing: "find", path: path.to_owned(), source },
    })
}

/// The path with something appended to its last part.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut all = path.as_os_str().to_owned();
    all.push(suffix);
    PathBuf::from(all)
}

/// A file as it was at one moment.
struct Snapshot {
    path: PathBuf,
    content: Vec<u8>,
    metadata: Metadata,
}

impl Snapshot {
    fn take(path: &Path) -> Result<Self, FileError> {
        let path = resolve(path)?;
        let io = |doing| {
            let path = path.clone();
            move |source| FileError::Io { doing, path, source }
        };
        // Before opening it: opening a pipe would block.
        if !fs::metadata(&path).map_err(io("look at"))?.is_file() {
            return Err(FileError::NotAFile { path });
        }
        let file = File::open(&path).map_err(io("open"))?;
        let metadata = file.metadata().map_err(io("look at"))?;
        let mut content = Vec::new();
        file.take(SIZE_MAX + 1).read_to_end(&mut content).map_err(io("read"))?;
        if content.len() as u64 > SIZE_MAX {
            return Err(FileError::TooBig { path, size: metadata.len(), size_max: SIZE_MAX });
        }
        Ok(Snapshot { path, content, metadata })
    }

    /// Writes its content beside it, with its owner and mode.
    fn copy_to(&self, suffix: &str) -> Result<(), FileError> {
        let attributes = Attributes::of(&self.metadata);
        let copy = beside(&self.path, suffix);
        atomic::write(&copy, &self.content, attributes, || Ok(())).map_err(|error| match error {
            // It is the file's own owner that could not be kept.
            FileError::Owner { path: _, uid, gid, source } => {
                FileError::Owner { path: self.path.clone(), uid, gid, source }
            }
            other => other,
        })
    }

    /// Nobody replaced or wrote the file since. What happens between this look and the rename, a
    /// few microseconds later, is lost, as with every editor.
    fn is_still_there(&self) -> Result<(), FileError> {
        let seen = |m: &Metadata| (m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime());
        let now = fs::metadata(&self.path).ok();
        if now.as_ref().map(seen) != Some(seen(&self.metadata)) {
            return Err(FileError::Changed { path: self.path.clone() });
        }
        Ok(())
    }
}

fn compare(path: &Path, content: &[u8], attributes: Attributes) -> Result<(), FileError> {
    let after = Snapshot::take(path)?;
    let wrong = |what| Err(FileError::NotAsWritten { path: path.to_owned(), what });
    if after.content != content {
        return wrong("content");
    }
    if Attributes::of(&after.metadata) != attributes {
        return wrong("owner or mode");
    }
    Ok(())
}
