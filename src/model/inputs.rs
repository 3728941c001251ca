//! Everything that one decision depends on.

use std::sync::Arc;

use super::cluster::ClusterView;
use super::elapsed::Elapsed;
use super::past::Past;
use super::policy::Policy;
use super::pool::PoolView;
use super::reach::{Loss, Reachability};
use super::restart::Restarts;
use super::slots::SlotTable;
use super::turn::Undone;

/// A witness's word, or why there is none. "No word" never means "down".
pub type Seen<T> = Result<T, String>;

/// One set of views, gathered together, each named after the witness who says it.
#[derive(Debug, Clone)]
pub struct Inputs {
    pub cluster: Seen<Arc<ClusterView>>,
    pub pool: Seen<PoolView>,
    /// The slot table in pgpool.conf.
    pub file: Seen<SlotTable>,
    /// The block in pgpool.conf says more or other than the table: somebody edited it.
    pub file_edited: bool,
    pub reach: Reachability,
    /// pgpool's primary is lost, as whoever watches it says.
    pub lost: Option<Loss>,
    /// What this agent has left to another's turn, and for how long.
    pub undone: Undone,
    /// What the clock says: the only thing here that a look at the world does not show.
    pub elapsed: Elapsed,
    pub policy: Arc<Policy>,
    /// What was known of the cluster before this look, this look included.
    pub past: Arc<Past>,
    /// The time of day, and what came of the last restarts.
    pub restarts: Restarts,
}
