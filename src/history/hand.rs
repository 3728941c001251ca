//! Who was detached by somebody else. Only what can be nothing but a hand counts: pgpool detaches
//! nobody by its settings, has no watchdog, was not restarted, kept its primary, and the agent did
//! nothing between the two looks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Next;
use crate::model::ids::SlotIndex;
use crate::model::pool::{PoolNode, PoolView};

#[derive(Debug, Default)]
pub struct Hands {
    /// The last look, unless the agent has acted since.
    before: Option<Seen>,
    by_hand: BTreeMap<SlotIndex, Instant>,
}

/// What of a look tells a hand from a restart.
#[derive(Debug)]
struct Seen {
    primary: Option<SlotIndex>,
    attached: BTreeSet<SlotIndex>,
    /// When each slot changed last, the detached ones too: a restart changes them all, a first
    /// session only the one that it reaches.
    changed: BTreeMap<SlotIndex, Option<u64>>,
}

impl Hands {
    pub fn see(&mut self, pool: Option<&PoolView>, respected: Duration, now: Instant) {
        let Some(pool) = pool else {
            self.before = None; // it may come back as another pgpool
            return;
        };
        let after = Seen {
            primary: pool.primary(),
            attached: pool.attached().map(|(slot, _)| slot).collect(),
            changed: pool.nodes.iter().map(|(slot, node)| (*slot, node.changed)).collect(),
        };
        if let Some(before) = &self.before
            && !pool.detaches_by_itself()
        {
            for slot in taken_out(before, &after, pool) {
                self.by_hand.insert(slot, now);
            }
        }
        self.by_hand.retain(|slot, since| {
            !pool.is_attached(*slot) && now.saturating_duration_since(*since) < respected
        });
        self.before = Some(after);
    }

    pub fn by_hand(&self, respected: Duration, next: &mut Next) -> BTreeSet<SlotIndex> {
        let held = self.by_hand.iter().filter(|(_, since)| next.is_before(**since + respected));
        held.map(|(slot, _)| *slot).collect()
    }

    pub fn forget_the_last_look(&mut self) {
        self.before = None;
    }
}

/// The slots that were attached and are not, if nothing else has changed.
fn taken_out(before: &Seen, after: &Seen, pool: &PoolView) -> Vec<SlotIndex> {
    let gone: BTreeSet<_> = before.attached.difference(&after.attached).copied().collect();
    let mut others = after.changed.iter().filter(|(slot, _)| !gone.contains(slot));
    let restarted = !others.any(|(slot, changed)| before.changed.get(slot) == Some(changed));
    let nobody_stayed = before.attached.is_disjoint(&after.attached);
    if before.primary != after.primary || restarted || nobody_stayed {
        return Vec::new();
    }
    let is_down = |n: &PoolNode| !n.quarantined;
    gone.into_iter().filter(|slot| pool.nodes.get(slot).is_some_and(is_down)).collect()
}
