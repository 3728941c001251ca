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
    before: Option<Attached>,
    by_hand: BTreeMap<SlotIndex, Instant>,
}

/// What of a look tells a hand from a restart.
#[derive(Debug)]
struct Attached {
    primary: Option<SlotIndex>,
    /// With the time of the last change of each: a restart changes them all.
    slots: BTreeMap<SlotIndex, Option<u64>>,
}

impl Hands {
    pub fn see(&mut self, pool: Option<&PoolView>, respected: Duration, now: Instant) {
        let Some(pool) = pool else {
            self.before = None; // it may come back as another pgpool
            return;
        };
        let slots = pool.attached().map(|(slot, node)| (slot, node.changed)).collect();
        let after = Attached { primary: pool.primary(), slots };
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
fn taken_out(before: &Attached, after: &Attached, pool: &PoolView) -> Vec<SlotIndex> {
    let mut stayed = after.slots.iter().filter(|(slot, _)| before.slots.contains_key(slot));
    let restarted = stayed.any(|(slot, changed)| before.slots.get(slot) != Some(changed));
    let someone_stayed = after.slots.keys().any(|slot| before.slots.contains_key(slot));
    if before.primary != after.primary || restarted || !someone_stayed {
        return Vec::new();
    }
    let is_down = |n: &PoolNode| !n.quarantined;
    let gone = before.slots.keys().filter(|slot| !after.slots.contains_key(slot));
    gone.filter(|slot| pool.nodes.get(slot).is_some_and(is_down)).copied().collect()
}
