//! The outside as the loop sees it. `cli` plugs the real ones in; tests plug theirs.
#![allow(async_fn_in_trait)] // one thread, no dyn: nobody needs the futures to be Send

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{Address, SlotIndex};
use crate::model::pool::PoolView;
use crate::model::reach::{Loss, Reachability};
use crate::model::slots::SlotTable;

/// What to ask of pgpool beyond its node table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ask {
    /// Its settings (PCP `B`), which also tell its version.
    pub settings: bool,
    /// Its watchdog (PCP `W`); an error in pgpool's log where there is none, so ask only if there
    /// is.
    pub watchdog: bool,
    /// Its client sessions (PCP `P`).
    pub sessions: bool,
}

/// A request that changes pgpool. An answer to it means "queued", never "done".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolRequest {
    Attach(SlotIndex),
    Detach(SlotIndex),
    Promote(SlotIndex),
    Reload,
}

/// A running pgpool.
pub trait Pool {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads its node table, and what else is asked, over one short connection.
    async fn look(&self, ask: Ask) -> Result<PoolView, Self::Error>;

    /// Sends requests in order over one short connection. `Ok` means that each was acknowledged.
    async fn send(&self, requests: &[PoolRequest]) -> Result<(), Self::Error>;
}

/// pgpool.conf on this host.
pub trait ConfFile {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads the slot table. `Ok(Err(why))`: the file is there but has no table that can be used.
    async fn read(&self) -> Result<Result<SlotTable, String>, Self::Error>;

    /// Replaces the block, atomically, and compares what is on disk afterwards.
    async fn write(&self, table: &SlotTable) -> Result<(), Self::Error>;

    /// The block says more or other than its table: somebody edited a flag or a comment in it,
    /// which [`read`](ConfFile::read) does not show. Writing the same table again puts it right.
    async fn edited(&self) -> Result<bool, Self::Error> {
        Ok(false)
    }
}

/// PostgreSQL servers, asked from this host.
pub trait Prober {
    /// Asks all of them at once, each within the probe's timeout. Never fails: silence is an
    /// answer.
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability;

    /// Whether nobody can use this server: asks once, and again until it is sure.
    async fn is_lost(&self, server: &Address) -> Option<Loss>;
}

/// pgpool as a set of files and processes on this host.
pub trait Health {
    /// What is missing of a pgpool that answers (pgpool-facts hazard 12), and what to do about it;
    /// empty when it is whole or not on this host. `settings` are pgpool's own, by name.
    fn damage(&self, settings: &BTreeMap<String, String>) -> Vec<String>;

    /// Wakes the session processes that sleep while pgpool changes a node (pgpool-facts hazard 14),
    /// for as long as a change takes. Returns at once.
    fn wake(&self, pool: &PoolView);
}
