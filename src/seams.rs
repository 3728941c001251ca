//! The outside as the loop sees it. `cli` plugs the real ones in; tests plug theirs.
#![allow(async_fn_in_trait)] // one thread, no dyn: nobody needs the futures to be Send

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::ids::{Address, SlotIndex};
use crate::model::pool::PoolView;
use crate::model::reach::{Loss, Reachability};
use crate::model::restart::{Layout, RestartNote, Restarts};
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
    /// Asks all of them at once, each within the probe's timeout once its name is resolved. Never
    /// fails: silence is an answer.
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability;

    /// Whether nobody can use this server: asks once, and again until it is sure.
    async fn is_lost(&self, server: &Address) -> Option<Loss>;

    /// Resolves when this server says that it is writable. Between two questions is `pause`.
    async fn until_writable(&self, server: &Address, pause: &dyn Fn() -> Duration);
}

/// pgpool as a set of files and processes on this host.
pub trait Health {
    /// What is missing of a pgpool that answers (proto-notes/hazards.md, 12), and what to do about
    /// it; empty when it is whole or not on this host. `settings` are pgpool's own, by name.
    fn damage(&self, settings: &BTreeMap<String, String>) -> Vec<String>;

    /// Wakes the session processes that sleep while pgpool changes a node
    /// (proto-notes/hazards.md, 14), for as long as a change takes. Only after a promote has shown:
    /// it has left no process from before, and one from before an attach would end when it is
    /// woken. Returns at once.
    fn wake(&self, pool: &PoolView);

    /// Ends that: pgpool is about to be changed again.
    fn let_sleep(&self);

    /// What is known of restarts, and the time of day that they depend on.
    fn restarts(&self) -> Restarts {
        Restarts::default()
    }
}

/// Who can end pgpool and have it started, and what is remembered of that.
pub trait Keeper {
    type Error: std::error::Error + Send + Sync + 'static;

    fn note(&self) -> RestartNote;

    /// Remembers this instead, whatever is killed from now on.
    fn keep(&self, note: &RestartNote) -> Result<(), Self::Error>;

    /// Writes which slots pgpool comes up with, to the file that it reads at its start.
    fn write_status(&self, path: &str, layout: &Layout) -> Result<(), Self::Error>;

    /// Ends pgpool. `Ok`: it is gone, or whoever starts it sees to that.
    async fn stop(&self) -> Result<(), Self::Error>;

    /// Has pgpool started; whether it came up is for PCP to say.
    async fn start(&self) -> Result<(), Self::Error>;
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
