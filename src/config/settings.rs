//! Checked settings: what the rest of the program works with. A value of these types is valid.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::policy::Policy;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub etcd: Etcd,
    pub pgpool: Pgpool,
    /// `None`: no probe user; members are only asked for a sign of life.
    pub probe: Option<Probe>,
    pub policy: Policy,
}

/// How to reach etcd, and which keys are Patroni's.
#[derive(Debug, Clone, PartialEq)]
pub struct Etcd {
    /// `host:port`, at least one.
    pub hosts: Vec<String>,
    pub login: Option<Login>,
    pub scope: String,
    /// `/namespace/scope`, or `/namespace/scope/group` for a Citus group: no slash at the end.
    pub base: String,
    /// The Citus group, when one is configured (`etcd3.group`).
    pub group: Option<u32>,
    /// For a connection and for each request.
    pub timeout: Duration,
    pub tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    pub username: String,
    pub password: Secret,
}

/// PEM files; `client` is (certificate, key). Without a `ca` the system's count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tls {
    pub ca: Option<PathBuf>,
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The pgpool beside this agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Pgpool {
    /// The live pgpool.conf (in supervise mode: the file that the agent writes and starts pgpool
    /// with).
    pub config_path: PathBuf,
    /// `None` only in supervise mode, where pgpool is restarted instead.
    pub pcp: Option<Pcp>,
    pub restart: Restart,
    /// `wake: auto`: wake pgpool's session processes after a promote, where this user may.
    pub wake: bool,
}

/// pgpool's PCP port.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcp {
    /// A host name, an IP address, or the directory of a UNIX socket (starts with `/`).
    pub host: String,
    pub port: u16,
    pub login: Login,
    /// Where the socket is gone, TCP on this host is tried.
    pub or_tcp: bool,
}

/// How pgpool is restarted when the slot layout has to change.
#[derive(Debug, Clone, PartialEq)]
pub enum Restart {
    Never,
    Command(Vec<String>),
    /// The agent ends pgpool over PCP, and something else starts it again.
    PcpShutdown,
    Supervise(Supervise),
}

/// The agent starts and owns pgpool, as geo-pgpool-mgr does.
#[derive(Debug, Clone, PartialEq)]
pub struct Supervise {
    pub exec_path: PathBuf,
    /// The operator's own pgpool.conf text.
    pub config_append: String,
    pub status_path: Option<PathBuf>,
    pub fail_delay: Duration,
}

/// SQL from this host to the members.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub login: Login,
    pub dbname: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub failure_threshold: u32,
    pub sslmode: SslMode,
}

/// libpq's meaning of each.
#[derive(Debug, Clone, PartialEq)]
pub enum SslMode {
    Disable,
    Prefer,
    Require,
    /// With the CA file that it verifies against.
    VerifyCa(PathBuf),
    VerifyFull(PathBuf),
}

/// A password: never printed, in no form.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
