//! Who drains: since when, and whether anybody still reads there. And who is about to be restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Next;
use crate::model::cluster::ClusterView;
use crate::model::ids::{MemberName, SlotIndex};
use crate::model::inputs::Inputs;
use crate::model::patience::Patience;

/// How often to count the readers of a slot that drains: pgpool does not tell when the last one has
/// gone. Each look makes pgpool fork a process.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How much earlier than its restart a member should be detached: what a reload and a detach take.
const AHEAD: Duration = Duration::from_secs(5);

/// Patroni drops a schedule that it could not keep: one that is older than this is nobody's.
const STALE_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub struct Drains {
    leaving: BTreeMap<SlotIndex, Leaving>,
}

#[derive(Debug)]
struct Leaving {
    since: Instant,
    /// It got reads when it began to leave.
    had_reads: bool,
}

impl Drains {
    /// Which of the slots that leave have to drain first. The others may go at once.
    pub fn of(
        &mut self,
        inputs: &Inputs,
        slots: &BTreeSet<SlotIndex>,
        next: &mut Next,
    ) -> BTreeSet<SlotIndex> {
        let now = next.now;
        self.leaving.retain(|slot, _| slots.contains(slot));
        for slot in slots {
            let had_reads = || inputs.file.as_ref().is_ok_and(|f| f.share(*slot) > 0.0);
            self.leaving
                .entry(*slot)
                .or_insert_with(|| Leaving { since: now, had_reads: had_reads() });
        }
        let timeout = inputs.policy.patience.drain_timeout;
        let drains = self.leaving.iter().filter(|(slot, leaving)| {
            has_readers(inputs, **slot, leaving.had_reads)
                && next.is_before(leaving.since + timeout)
        });
        let drains: BTreeSet<_> = drains.map(|(slot, _)| *slot).collect();
        if !drains.is_empty() && counts_readers(inputs) {
            next.is_before(now + COUNT_EVERY);
        }
        drains
    }
}

/// Whether a detach would end sessions. Before 4.5 pgpool does not say who reads where: any session
/// may, if the slot got reads.
fn has_readers(inputs: &Inputs, slot: SlotIndex, had_reads: bool) -> bool {
    let sessions = inputs.pool.as_ref().ok().and_then(|p| p.sessions.as_ref());
    sessions.is_some_and(|s| match &s.reading {
        Some(readers) => readers.get(&slot).is_some_and(|n| *n > 0),
        None => s.total > 0 && had_reads,
    })
}

fn counts_readers(inputs: &Inputs) -> bool {
    let sessions = inputs.pool.as_ref().ok().and_then(|p| p.sessions.as_ref());
    sessions.is_some_and(|s| s.reading.is_some())
}

/// Members whose scheduled restart is near enough to let their readers go.
pub fn restarts_due(
    cluster: &ClusterView,
    patience: &Patience,
    wall: SystemTime,
    next: &mut Next,
) -> BTreeSet<MemberName> {
    let mut due = BTreeSet::new();
    let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    for member in cluster.members.values() {
        let Some(at) = member.restart_at.map(Duration::from_secs) else { continue };
        let from = at.saturating_sub(patience.drain_timeout + AHEAD);
        if from > wall {
            let ahead = next.now.checked_add(from - wall);
            ahead.map(|at| next.is_before(at));
        } else if wall < at + STALE_AFTER {
            due.insert(member.name.clone());
        }
    }
    due
}
