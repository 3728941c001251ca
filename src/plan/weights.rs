//! Read weights: readers get theirs, a remote leader gets reads only when nobody local serves, and
//! the attached slots never all have weight 0 (pgpool would compute NaN shares).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::model::ids::SlotIndex;
use crate::model::slots::SlotTable;

use super::wish::{Want, Wishes};

/// `table` with the weights that are right once exactly `attached` is attached. A local
/// replica keeps its weight while it is detached: such a slot gets no reads whatever its weight
/// is, and bringing it back then takes no reload.
pub fn when_attached(
    table: &SlotTable,
    wishes: &Wishes,
    leader: Option<SlotIndex>,
    attached: &BTreeSet<SlotIndex>,
) -> SlotTable {
    let mut then = table.clone();
    for (slot, entry) in &mut then.entries {
        entry.weight = match wishes.want(*slot) {
            Want::AsIs => entry.weight,
            Want::WhileAttached if attached.contains(slot) => entry.weight,
            Want::Farther(weight) if attached.contains(slot) => weight,
            Want::Reader(weight) | Want::Leader(Some(weight)) => weight,
            Want::Detached(weight) | Want::Leaving(_, weight) if !attached.contains(slot) => weight,
            Want::Leader(None) | Want::Farther(_) | Want::WhileAttached => 0.0,
            Want::Detached(_) | Want::Leaving(..) => 0.0,
        };
    }
    if serves_reads(&then, attached) || attached.is_empty() {
        return then;
    }
    if let Some(leader) = leader.filter(|l| attached.contains(l)) {
        return with_weight(then, leader, 1.0);
    }
    // Nobody who should read is attached and the leader is not either: who has the reads keeps
    // them.
    if serves_reads(table, attached) {
        let kept = |s: &SlotIndex| table.entries.get(s).map_or(0.0, |e| e.weight);
        return attached.iter().fold(then, |then, s| with_weight(then, *s, kept(s)));
    }
    match attached.first() {
        Some(lowest) => with_weight(then, *lowest, 1.0),
        None => then,
    }
}

/// `from` with every weight that `to` raises. Raising comes before an attach, lowering after it, so
/// that at no moment in between all attached slots have weight 0. Who comes in has its weight from
/// its first moment on.
pub fn raised(from: &SlotTable, to: &SlotTable, incoming: &[SlotIndex]) -> SlotTable {
    let mut raised = from.clone();
    for (slot, entry) in &mut raised.entries {
        let then = to.entries.get(slot).map_or(0.0, |e| e.weight);
        entry.weight = match incoming.contains(slot) {
            true => then,
            false => entry.weight.max(then),
        };
    }
    raised
}

/// `to` without what it raises for those who leave: such a weight waits until they are gone, or
/// else they would get new sessions just before they end.
pub fn raised_after<'a>(
    from: &SlotTable,
    to: &'a SlotTable,
    leaving: &[SlotIndex],
) -> Cow<'a, SlotTable> {
    let now = |slot| from.entries.get(slot).map_or(0.0, |e| e.weight);
    let raised = |slot| to.entries.get(slot).is_some_and(|e| e.weight > now(slot));
    let mut before = Cow::Borrowed(to);
    for slot in leaving.iter().filter(|s| raised(s)) {
        before = Cow::Owned(with_weight(before.into_owned(), *slot, now(slot)));
    }
    before
}

/// Whether at least one of these slots has a weight above 0.
pub fn serves_reads(table: &SlotTable, slots: &BTreeSet<SlotIndex>) -> bool {
    slots.iter().any(|s| table.entries.get(s).is_some_and(|e| e.weight > 0.0))
}

pub fn with_weight(mut table: SlotTable, slot: SlotIndex, weight: f64) -> SlotTable {
    if let Some(entry) = table.entries.get_mut(&slot) {
        entry.weight = weight;
    }
    table
}
