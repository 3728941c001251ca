//! Whether an answer may be believed: it must come from the same etcd cluster as all answers before
//! it, and must not be older than they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::error::EtcdError;
use super::session::Head;

/// What etcd has shown so far, through all sessions.
#[derive(Debug, Default)]
pub struct Witness {
    cluster_id: Option<u64>,
    raft_term: u64,
    revision: Arc<AtomicI64>,
}

impl Witness {
    /// The highest revision seen. A linearizable read that is sent now must not come back with a
    /// lower one.
    pub fn floor(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.revision)
    }

    /// Judges a linearizable read; `floor` is the highest revision seen when it was sent.
    pub fn believe_read(&mut self, head: &Head, floor: i64) -> Result<(), EtcdError> {
        self.believe_cluster(head)?;
        if head.revision < floor {
            return Err(EtcdError::OlderRevision { expected: floor, found: head.revision });
        }
        // Only a linearizable read proves its term: a server that is cut off counts terms up alone.
        if head.raft_term < self.raft_term {
            let (expected, found) = (self.raft_term, head.raft_term);
            return Err(EtcdError::OlderTerm { expected, found });
        }
        self.raft_term = head.raft_term;
        self.saw(head.revision);
        Ok(())
    }

    /// Judges a watch response, whose last event is of `revision`.
    pub fn believe_event(&mut self, head: &Head, revision: Option<i64>) -> Result<(), EtcdError> {
        self.believe_cluster(head)?;
        self.saw(revision.unwrap_or(0));
        Ok(())
    }

    fn saw(&self, revision: i64) {
        self.revision.fetch_max(revision, Ordering::Relaxed);
    }

    fn believe_cluster(&mut self, head: &Head) -> Result<(), EtcdError> {
        let expected = *self.cluster_id.get_or_insert(head.cluster_id);
        match expected == head.cluster_id {
            true => Ok(()),
            false => Err(EtcdError::OtherCluster { expected, found: head.cluster_id }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(cluster_id: u64, raft_term: u64, revision: i64) -> Head {
        Head { cluster_id, raft_term, revision }
    }

    #[test]
    fn a_stale_or_foreign_answer_is_refused_and_leaves_no_trace() {
        let mut witness = Witness::default();
        assert_eq!(witness.believe_read(&head(7, 3, 100), 0), Ok(()));
        assert_eq!(witness.believe_event(&head(7, 3, 120), Some(120)), Ok(()));
        assert_eq!(witness.floor().load(Ordering::Relaxed), 120);
        let foreign = EtcdError::OtherCluster { expected: 7, found: 8 };
        assert_eq!(witness.believe_read(&head(8, 9, 500), 120), Err(foreign.clone()));
        assert_eq!(witness.believe_event(&head(8, 9, 500), Some(500)), Err(foreign));
        let older = EtcdError::OlderRevision { expected: 120, found: 119 };
        assert_eq!(witness.believe_read(&head(7, 3, 119), 120), Err(older));
        let behind = EtcdError::OlderTerm { expected: 3, found: 2 };
        assert_eq!(witness.believe_read(&head(7, 2, 130), 120), Err(behind));
        assert_eq!(witness.believe_read(&head(7, 3, 120), 120), Ok(()));
    }
}
