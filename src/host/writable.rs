//! Whether a file could be replaced, found out without touching it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use super::error::FileError;
use super::replace::{beside, resolve};

/// `Ok`: a replacement beside it can be made, with the same owner. The trial file is gone afterwards.
pub fn try_beside(path: &Path) -> Result<(), FileError> {
    let target = resolve(path)?;
    let trial = beside(&target, &format!(".geo-agent.trial.{}", std::process::id()));
    let io = |source| FileError::io("try a file beside", &target, source);
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&trial).map_err(io)?;
    let owned = fs::metadata(&target).and_then(|m| fchown(&file, Some(m.uid()), Some(m.gid())));
    fs::remove_file(&trial).map_err(io)?;
    owned.map_err(io)
}
