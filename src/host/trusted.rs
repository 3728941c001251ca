//! Reading what an agent has left beside pgpool.conf. That may be a directory like /tmp, where
//! everybody can put a file or a link of that name first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens no symbolic link, and waits for nobody at the other end of a pipe.
pub const AS_IT_IS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(AS_IT_IS).open(path)
}

/// The content of a regular file of this user's, of root's, or of whom pgpool.conf belongs to: the
/// agent may run as that user, and `status` as another.
pub fn read(path: &Path, config_path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let found = file.metadata()?;
    let may = [rustix::process::geteuid().as_raw(), 0].contains(&found.uid())
        || fs::metadata(config_path).is_ok_and(|config| config.uid() == found.uid());
    if !(found.is_file() && may) {
        return Err(io::Error::other("it is not a file that geo-agent has made"));
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}
