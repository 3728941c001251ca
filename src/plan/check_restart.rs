//! Judges a restart by the invariants: nobody who serves loses its slot, no slot is a gap, and
//! pgpool comes up with the leader and with somebody to read from.

use std::collections::BTreeSet;

use crate::model::ids::{Address, SlotIndex};
use crate::model::reach::Answer;
use crate::model::restart::{Layout, RestartMode};
use crate::model::slots::SlotEntry;

use super::ground::Ground;

pub fn why_not(ground: &Ground, layout: &Layout, is_last: bool) -> Option<String> {
    let Layout { table, attached } = layout;
    let entry = |s: &SlotIndex| table.entries.get(s);
    let address = |s: &SlotIndex| entry(s).and_then(SlotEntry::address);
    if ground.policy.restart.mode == RestartMode::Never || ground.file.is_err() {
        return Some("restarts pgpool without leave, or without a file".to_owned());
    }
    if !is_last {
        return Some("steps follow a restart, and slots have other numbers by then".to_owned());
    }
    if !table.entries.keys().map(|s| s.get()).eq(0..table.entries.len()) {
        return Some("the new table has gaps".to_owned());
    }
    let places: Vec<Address> = table.entries.values().filter_map(SlotEntry::address).collect();
    let mut attached_now = ground.pool.attached().filter_map(|(s, n)| Some((s, n.address()?)));
    let lost = attached_now.find(|(s, a)| !places.contains(a) && may_be_missed(ground, *s, a));
    if let Some((_, lost)) = lost {
        return Some(format!("{lost} is attached and loses its slot"));
    }
    let asked = |s: &SlotIndex| address(s).and_then(|a| ground.reach.of(&a).cloned());
    let bad = |s: &&SlotIndex| !asked(s).is_some_and(|a| a.is_safe_to_search());
    if let Some(slot) = attached.iter().find(bad) {
        return Some(format!("pgpool would log in to slot {slot}, which has not answered"));
    }
    let leads =
        |s: &SlotIndex| ground.leader_at().is_some_and(|at| address(s).as_ref() == Some(at));
    let rival = |s: &&SlotIndex| !leads(s) && asked(s) == Some(Answer::Writable);
    if let Some(slot) = attached.iter().find(rival) {
        return Some(format!("pgpool might take slot {slot} for its primary"));
    }
    if !ground.cluster.standby_cluster && !attached.iter().any(leads) {
        return Some("pgpool would come up without the leader".to_owned());
    }
    let reads: BTreeSet<_> =
        attached.iter().filter(|s| entry(s).is_some_and(|e| e.weight > 0.0)).collect();
    reads.is_empty().then(|| "every attached slot would have weight 0".to_owned())
}

/// A member is there, or its key is unreadable and it may be.
fn may_be_missed(ground: &Ground, slot: SlotIndex, address: &Address) -> bool {
    let owner = ground.file.ok().and_then(|f| f.entries.get(&slot)?.member.as_ref());
    ground.cluster.members.values().any(|m| match &m.address {
        Ok(at) => at == address,
        Err(_) => owner.is_none_or(|o| *o == m.name),
    })
}
