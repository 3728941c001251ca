//! PCP to a pgpool that the agent owns, without a word in the configuration: a socket and a
//! password in a directory that nobody else may enter.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::error::KeeperError;
use crate::config::settings::{Login, Pcp, Secret};
use crate::host::atomic::{self, Attributes};
use crate::host::replace::beside;
use crate::pcp::auth;
use crate::pgpool_conf::own::Own;

const SUFFIX: &str = ".geo-agent.pcp";
/// What the name of a socket begins with; its port follows.
const SOCKET: &str = ".s.PGSQL.";
const USERNAME: &str = "geo-agent";
const PORT: u16 = 9898;
const SECRET_BYTES: u64 = 16;

/// Where the access to the pgpool with this configuration file is.
#[derive(Debug, Clone)]
pub struct Access {
    directory: PathBuf,
}

impl Access {
    pub fn beside(config_path: &Path) -> Self {
        Access { directory: beside(config_path, SUFFIX) }
    }

    /// For pgpool's `-F`.
    pub fn pcp_conf(&self) -> PathBuf {
        self.directory.join("pcp.conf")
    }

    fn password(&self) -> PathBuf {
        self.directory.join("password")
    }

    /// Makes the directory with a password, or finds both there.
    pub fn prepare(&self) -> Result<(), KeeperError> {
        let failed = |source| self.failed(source);
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.directory).map_err(failed)?;
        let ours = found.uid() == rustix::process::geteuid().as_raw();
        if !(found.is_dir() && ours && found.mode().trailing_zeros() >= 6) {
            return Err(failed(io::Error::other(
                "it is not a directory that only geo-agent's user may enter: remove it",
            )));
        }
        if self.password().exists() && self.pcp_conf().exists() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let random = File::open("/dev/urandom");
        random.and_then(|f| f.take(SECRET_BYTES).read_to_end(&mut bytes)).map_err(failed)?;
        let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{USERNAME}:{}\n", auth::stored(&password));
        let write = |path: &Path, text: &str| {
            let attributes = Attributes { mode: 0o600, owner: None };
            atomic::write(path, text.as_bytes(), attributes, || Ok(())).map_err(KeeperError::File)
        };
        write(&self.pcp_conf(), &line)?;
        write(&self.password(), &password)
    }

    /// The access that a daemon has prepared.
    pub fn read(&self, port: Option<&String>) -> Result<Pcp, KeeperError> {
        let password = fs::read_to_string(self.password()).map_err(|e| self.failed(e))?;
        let host = self.directory.display().to_string();
        let port = port.and_then(|p| p.parse().ok()).unwrap_or(PORT);
        let login =
            Login { username: USERNAME.to_owned(), password: Secret::new(password.trim_end()) };
        // Its pgpool is not there: whoever is would be sent the login.
        Ok(Pcp { host, port, login, or_tcp: false })
    }

    /// pgpool listens here, at whatever port. What cannot be looked at counts as there.
    pub fn has_socket(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.directory) else { return true };
        let mut names = entries.flatten().map(|entry| entry.file_name());
        names.any(|name| name.as_encoded_bytes().starts_with(SOCKET.as_bytes()))
    }

    /// What pgpool has to be told of it.
    pub fn settings(&self) -> Vec<Own> {
        let own = |key, value: String| Own { key, value, always: true };
        vec![
            own("pcp_socket_dir", self.directory.display().to_string()),
            own("pcp_listen_addresses", String::new()),
        ]
    }

    fn failed(&self, source: io::Error) -> KeeperError {
        KeeperError::Access { directory: self.directory.clone(), source }
    }
}
