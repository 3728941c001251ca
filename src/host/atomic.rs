//! Writing a file so that everybody finds the old content or the new one, whatever is killed when.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FileError;

/// Mode and owner of the new file. Access control lists and other extended attributes are not
/// copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u32,
    /// User and group; `None`: whoever writes.
    pub owner: Option<(u32, u32)>,
}

impl Attributes {
    /// Those of a file that is there.
    pub fn of(file: &fs::Metadata) -> Self {
        Attributes { mode: file.mode() & 0o7777, owner: Some((file.uid(), file.gid())) }
    }
}

/// The number of the next temporary file of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Writes a new file beside `target` and renames it over it, if `still_wanted` says so right
/// before. On error nothing is left behind. Also removes what killed predecessors left.
pub fn write(
    target: &Path,
    content: &[u8],
    attributes: Attributes,
    still_wanted: impl FnOnce() -> Result<(), FileError>,
) -> Result<(), FileError> {
    let (directory, name) = split(target)?;
    remove_leftovers(directory, name);
    let temporary = Temporary::create(directory, name)?;
    temporary.fill(target, content, attributes)?;
    still_wanted()?;
    temporary.rename(target)?;
    // Without this a power cut may bring the old name back; the file itself is safe already.
    File::open(directory).and_then(|d| d.sync_all()).map_err(|source| FileError::Io {
        doing: "sync the directory",
        path: directory.to_owned(),
        source,
    })
}

fn split(target: &Path) -> Result<(&Path, &OsStr), FileError> {
    let not_a_file = || FileError::NotAFile { path: target.to_owned() };
    let directory = target.parent().ok_or_else(not_a_file)?;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    Ok((directory, target.file_name().ok_or_else(not_a_file)?))
}

/// A temporary file that is removed unless it was renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(directory: &Path, name: &OsStr) -> Result<Self, FileError> {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = directory.join(temporary_name(name, process::id(), number));
        // Readable by nobody else until it has its owner: pgpool.conf carries passwords.
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = match open() {
            // This process has never used the number: it is a dead one's that had the same pid.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let _ = fs::remove_file(&path);
                open()
            }
            other => other,
        };
        match file {
            Ok(file) => Ok(Temporary { file, path, renamed: false }),
            Err(source) => Err(FileError::Directory { directory: directory.to_owned(), source }),
        }
    }

    fn fill(&self, target: &Path, content: &[u8], wanted: Attributes) -> Result<(), FileError> {
        let io = |doing| move |source| FileError::Io { doing, path: self.path.clone(), source };
        if let Some((uid, gid)) = wanted.owner {
            let now = self.file.metadata().map_err(io("look at"))?;
            if (now.uid(), now.gid()) != (uid, gid) {
                fchown(&self.file, Some(uid), Some(gid)).map_err(|source| FileError::Owner {
                    path: target.to_owned(),
                    uid,
                    gid,
                    source,
                })?;
            }
        }
        (&self.file).write_all(content).map_err(io("write"))?;
        // After the owner: chown takes some bits away.
        let mode = Permissions::from_mode(wanted.mode);
        self.file.set_permissions(mode).map_err(io("set the mode of"))?;
        self.file.sync_all().map_err(io("sync"))
    }

    fn rename(mut self, target: &Path) -> Result<(), FileError> {
        match fs::rename(&self.path, target) {
            Ok(()) => {
                self.renamed = true;
                Ok(())
            }
            Err(source) if source.kind() == io::ErrorKind::ResourceBusy => {
                Err(FileError::MountPoint { path: target.to_owned(), source })
            }
            Err(source) => Err(FileError::Io {
                doing: "rename a new file to",
                path: target.to_owned(),
                source,
            }),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn temporary_name(name: &OsStr, pid: u32, number: u64) -> OsString {
    let mut all = OsString::from(".");
    all.push(name);
    all.push(format!(".geo-agent.{pid}.{number}.tmp"));
    all
}

/// Removes temporary files of processes that are gone. Failing to is no reason not to go on.
fn remove_leftovers(directory: &Path, name: &OsStr) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let Some((pid, number)) = writer_of(&found, name) else { continue };
        let dead = match pid == process::id() {
            // Not yet used by this process, so left by one that had the same pid.
            true => number >= NEXT.load(Ordering::SeqCst),
            false => !Path::new("/proc").join(pid.to_string()).exists(),
        };
        if dead {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Pid and number in the name of a temporary file for `name`.
fn writer_of(found: &OsStr, name: &OsStr) -> Option<(u32, u64)> {
    let rest = found.to_str()?.strip_prefix('.')?.strip_prefix(name.to_str()?)?;
    let (pid, number) = rest.strip_prefix(".geo-agent.")?.strip_suffix(".tmp")?.split_once('.')?;
    Some((pid.parse().ok()?, number.parse().ok()?))
}
