//! Patroni through etcd v3: reading a scope, understanding it, following it.
//!
//! Everything up to [`decode`] is pure. [`follow`] is the state machine, [`client`] the only user
//! of the etcd client.

use std::sync::Arc;

use tokio::time::Instant;

use crate::model::cluster::ClusterView;

pub mod agreed;
mod board;
mod causes;
pub mod changes;
pub mod client;
pub mod conn_url;
pub mod decode;
pub mod error;
mod failure;
pub mod follow;
mod iso;
mod json;
pub mod keys;
mod member;
pub mod orders;
mod propose;
pub mod read;
pub mod scribe;
pub mod session;
mod switchover;
mod witness;
pub mod write;

/// What is known of Patroni right now. Unknown never means down: whoever reads this holds.
#[derive(Debug, Clone)]
pub enum Seen {
    Known {
        view: Arc<ClusterView>,
        /// When the last read was sent that showed etcd alive and the watch complete.
        confirmed: Instant,
    },
    Unknown {
        /// Safe to print, and the same from look to look while the cause is the same.
        why: String,
        since: Instant,
        /// What was known last, to be shown and not to be acted on.
        last: Option<Arc<ClusterView>>,
    },
}

impl Seen {
    /// The view to act on.
    pub fn known(&self) -> Option<&Arc<ClusterView>> {
        match self {
            Seen::Known { view, .. } => Some(view),
            Seen::Unknown { .. } => None,
        }
    }

    /// The newest view there ever was, to be shown.
    pub fn last(&self) -> Option<&Arc<ClusterView>> {
        match self {
            Seen::Known { view, .. } => Some(view),
            Seen::Unknown { last, .. } => last.as_ref(),
        }
    }
}
