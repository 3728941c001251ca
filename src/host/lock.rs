//! One agent per pgpool.conf: a lock on a file beside it that dies with its holder.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::FileError;
use super::replace::{beside, resolve};
use super::trusted;

const SUFFIX: &str = ".geo-agent.lock";
const IS_LINK: i32 = Errno::LOOP.raw_os_error();

/// `status` holds the lock for an instant to see whether anybody does; wait that out.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// Who holds the lock, as the lock file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// Seconds since 1970.
    pub since: u64,
    /// The command: `run` or `apply`.
    pub what: String,
}

/// The lock, held until this is dropped or the process ends. The file stays: its content means
/// nothing without the lock, and removing it would let two agents lock two files.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another agent is at work on this pgpool.
    Held {
        path: PathBuf,
        by: Option<Holder>,
    },
    File(FileError),
    Io {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, by: Some(Holder { pid, since, what }) } => write!(
                f,
                "another geo-agent works on this pgpool: process {pid} (geo-agent {}), for {} (it \
                 holds {})",
                crate::model::ids::printable(what),
                ago(*since),
                path.display()
            ),
            LockError::Held { path, by: None } => write!(
                f,
                "another geo-agent works on this pgpool: it holds {}, and `fuser` on it tells who",
                path.display()
            ),
            LockError::File(error) => error.fmt(f),
            LockError::Io { path, source } if source.raw_os_error() == Some(IS_LINK) => write!(
                f,
                "{} is a symbolic link, which geo-agent never makes: see who does, and remove it",
                path.display()
            ),
            LockError::Io { path, .. } => write!(
                f,
                "cannot lock {}: run geo-agent as a user that may write beside pgpool.conf",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Held { .. } => None,
            LockError::File(error) => error.source(),
            LockError::Io { source, .. } => Some(source),
        }
    }
}

impl Lock {
    /// Takes the lock for this pgpool.conf, or says who has it.
    pub fn take(config_path: &Path, what: &str) -> Result<Lock, LockError> {
        let path = lock_path(config_path).map_err(LockError::File)?;
        let io = |source| LockError::Io { path: path.clone(), source };
        // No secret in it, and `status` of another user reads it.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(trusted::AS_IT_IS)
            .open(&path)
            .map_err(io)?;
        for left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if left > 0 => thread::sleep(TRY_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let by = read_holder(&mut file);
                    return Err(LockError::Held { path, by });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        let holder = Holder { pid: std::process::id(), since: now(), what: what.to_owned() };
        let line = serde_json::to_string(&holder).unwrap_or_default() + "\n";
        file.set_len(0).and_then(|()| file.write_all(line.as_bytes())).map_err(io)?;
        Ok(Lock { _file: file })
    }
}

/// Who holds the lock right now; `None` when nobody does, or it cannot be told.
pub fn holder(config_path: &Path) -> Option<Holder> {
    let mut file = trusted::open(&lock_path(config_path).ok()?).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_holder(&mut file),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn lock_path(config_path: &Path) -> Result<PathBuf, FileError> {
    Ok(beside(&resolve(config_path)?, SUFFIX))
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long ago a time in seconds since 1970 was, to the unit that matters.
pub fn ago(since: u64) -> String {
    match now().saturating_sub(since) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
