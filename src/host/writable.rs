//! Whether a file could be replaced, found out without touching it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use super::error::FileError;
use super::replace::{beside, resolve};

/// `Ok`: a replacement beside it can be made, with the same owner. The trial file is gone
/// afterwards.
pub fn try_beside(path: &Path) -> Result<(), FileError> {
    let target = resolve(path)?;
    let trial = beside(&target, &format!(".geo-agent.trial.{}", std::process::id()));
    let directory = |source| FileError::Directory {
        directory: target.parent().unwrap_or(Path::new("/")).to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&trial).map_err(directory)?;
    let owned = same_owner(&target, &file);
    fs::remove_file(&trial).map_err(directory)?;
    owned
}

fn same_owner(target: &Path, file: &File) -> Result<(), FileError> {
    let doing = "look at";
    let meta = fs::metadata(target).map_err(|source| FileError::Io {
        doing,
        path: target.to_owned(),
        source,
    })?;
    let (uid, gid) = (meta.uid(), meta.gid());
    fchown(file, Some(uid), Some(gid)).map_err(|source| FileError::Owner {
        path: target.to_owned(),
        uid,
        gid,
        source,
    })
}
