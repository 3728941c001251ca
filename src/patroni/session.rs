//! What following needs of etcd: one server, a consistent read, a watch. The real one is in
//! [`super::client`]; tests script their own.

use std::collections::BTreeMap;

use super::error::EtcdError;
use super::keys::{Change, Keys, Stored};

/// Who answered, and when in etcd's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub cluster_id: u64,
    pub raft_term: u64,
    /// The store's revision when the answer was made.
    pub revision: i64,
}

/// A linearizable read of the whole scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub head: Head,
    pub stored: BTreeMap<Vec<u8>, Stored>,
}

impl Reading {
    pub fn keys(&self) -> Keys {
        Keys::new(self.head.revision, self.stored.clone())
    }
}

/// One response of a watch: complete revisions, oldest first. None at all is a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub head: Head,
    pub changes: Vec<Change>,
}

/// The etcd servers of the configuration.
pub trait Source: Send + Sync + 'static {
    type Session: Session;

    /// As they are shown to people.
    fn endpoints(&self) -> &[String];

    /// Connects to one of them, and logs in.
    fn open(
        &self,
        endpoint: usize,
    ) -> impl Future<Output = Result<Self::Session, EtcdError>> + Send;
}

/// One connection to one server.
pub trait Session: Send + Sync {
    type Watch: Watch;

    fn read(&self) -> impl Future<Output = Result<Reading, EtcdError>> + Send;

    /// Asks for every change of revision `from` and later.
    fn watch(&self, from: i64) -> impl Future<Output = Result<Self::Watch, EtcdError>> + Send;
}

/// A running watch. Any error is its end.
pub trait Watch: Send {
    /// Waits for the next response. Dropping the future loses nothing.
    fn next(&mut self) -> impl Future<Output = Result<Delivery, EtcdError>> + Send;
}
