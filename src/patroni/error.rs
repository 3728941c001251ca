//! What can go wrong between this agent and etcd, named after the moment in which it went wrong.
//! Every sentence is safe to print and says what to do where that is not plain.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::decode::DecodeError;
use super::keys::KeyRange;

/// Why a reading, or a watch, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdError {
    /// A TLS file cannot be read.
    File { path: PathBuf, why: String },
    /// The TLS files were read but cannot be used, or no CA is known.
    Tls(String),
    /// No connection, or it broke.
    Unreachable(String),
    /// Nothing came back in time.
    Silent { doing: &'static str, after: Duration },
    /// User or password were refused, or are missing.
    Login(String),
    /// The user may not read the scope.
    Forbidden(KeyRange),
    /// The user may not write what is geo-agent's own.
    MayNotWrite(KeyRange),
    /// This etcd server is cut off from its cluster's leader.
    NoLeader,
    /// A request for the keys was answered with an error.
    Read(String),
    /// A key could not be written.
    Write(String),
    /// A request for a watch was answered with an error, or the watch broke.
    Watch(String),
    /// etcd took the watch back.
    Cancelled(String),
    /// Events that the watch would have needed have been compacted away.
    Compacted { oldest: i64 },
    /// etcd closed the watch without a word.
    Ended,
    /// The watch stays silent although the keys have changed.
    Deaf { revision: i64 },
    /// The answer is another etcd cluster's.
    OtherCluster { expected: u64, found: u64 },
    /// The answer is older than what was seen before.
    OlderRevision { expected: i64, found: i64 },
    /// The answer comes from an older term of etcd's own leader election.
    OlderTerm { expected: u64, found: u64 },
    /// The keys were read but cannot be followed.
    Undecodable(DecodeError),
    /// No endpoint gave a reading.
    NoEndpoint(Vec<(String, EtcdError)>),
    /// No endpoint took an order.
    NotWritten(Vec<(String, EtcdError)>),
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EtcdError::File { path, why } => write!(f, "cannot read {}: {why}", path.display()),
            EtcdError::Tls(why) => write!(f, "cannot set up TLS: {why}"),
            EtcdError::Unreachable(why) => write!(f, "cannot reach etcd: {why}"),
            EtcdError::Silent { doing, after } => {
                write!(f, "no answer within {:.1} s while {doing}", after.as_secs_f64())
            }
            EtcdError::Login(why) => {
                write!(f, "etcd refuses the login: {why}; check etcd3.username and etcd3.password")
            }
            EtcdError::Forbidden(KeyRange { start, end }) => write!(
                f,
                "etcd does not let this user read the scope; it needs: \
                 etcdctl role grant-permission ROLE read {start} {end}"
            ),
            EtcdError::MayNotWrite(KeyRange { start, end }) => write!(
                f,
                "etcd does not let this user write; it needs: \
                 etcdctl role grant-permission ROLE readwrite {start} {end}"
            ),
            EtcdError::NoLeader => {
                f.write_str("this etcd server has no leader: it is cut off, or quorum is lost")
            }
            EtcdError::Read(why) => write!(f, "reading the scope failed: {why}"),
            EtcdError::Write(why) => write!(f, "writing failed: {why}"),
            EtcdError::Watch(why) => write!(f, "watching the scope failed: {why}"),
            EtcdError::Cancelled(why) => write!(f, "etcd cancelled the watch: {why}"),
            EtcdError::Compacted { oldest } => {
                write!(f, "etcd has compacted its history up to revision {oldest}")
            }
            EtcdError::Ended => f.write_str("etcd closed the watch"),
            EtcdError::Deaf { revision } => {
                write!(f, "the watch did not deliver what changed up to revision {revision}")
            }
            EtcdError::OtherCluster { expected, found } => write!(
                f,
                "etcd's cluster id changed from {expected:x} to {found:x}: is a foreign server in \
                 etcd3.hosts? Reload or restart geo-agent if the change is intended"
            ),
            EtcdError::OlderRevision { expected, found } => write!(
                f,
                "etcd answers with revision {found} after {expected} was seen: a restored backup? \
                 Reload or restart geo-agent if that is intended"
            ),
            EtcdError::OlderTerm { expected, found } => write!(
                f,
                "etcd answers from raft term {found} after {expected} was seen: a server that \
                 was left behind? Reload or restart geo-agent if it is the right one"
            ),
            EtcdError::Undecodable(e) => e.fmt(f),
            EtcdError::NoEndpoint(each) => at_each(f, "etcd cannot be read", each),
            EtcdError::NotWritten(each) => at_each(f, "nothing could be written to etcd", each),
        }
    }
}

fn at_each(f: &mut fmt::Formatter<'_>, what: &str, each: &[(String, EtcdError)]) -> fmt::Result {
    f.write_str(what)?;
    let mut separator = ": ";
    for (endpoint, why) in each {
        write!(f, "{separator}{endpoint}: {why}")?;
        separator = "; ";
    }
    Ok(())
}

impl std::error::Error for EtcdError {}

impl EtcdError {
    /// The same, but for numbers: a revision or a time in it is another one at each try.
    pub fn is_like(&self, other: &EtcdError) -> bool {
        let words = |error: &EtcdError| error.to_string().replace(|c: char| c.is_ascii_digit(), "");
        words(self) == words(other)
    }
}
