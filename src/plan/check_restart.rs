//! Judges a restart by the invariants: nobody who serves loses its slot, no slot is a gap, and
//! pgpool comes up with the writable leader, with nobody new who does not serve, and with somebody
//! to read from.

use std::collections::BTreeSet;

use crate::model::ids::{Address, SlotIndex};
use crate::model::reach::Answer;
use crate::model::restart::{Layout, RestartMode};
use crate::model::slots::{SlotEntry, SlotTable};

use super::ground::Ground;

pub fn why_not(ground: &Ground, layout: &Layout, is_last: bool) -> Option<String> {
    if ground.policy.restart.mode == RestartMode::Never || ground.file.is_err() {
        return Some("restarts pgpool without leave, or without a file".to_owned());
    }
    if !is_last {
        return Some("steps follow a restart, and slots have other numbers by then".to_owned());
    }
    why_not_this_table(ground, &layout.table).or_else(|| why_not_come_up(ground, layout))
}

fn why_not_this_table(ground: &Ground, table: &SlotTable) -> Option<String> {
    if !table.entries.keys().map(|s| s.get()).eq(0..table.entries.len()) {
        return Some("the new table has gaps".to_owned());
    }
    let places: Vec<Address> = table.entries.values().filter_map(SlotEntry::address).collect();
    if ground.pool.watchdog.is_some() && moves_any(ground, table) {
        return Some("other pgpools of the watchdog cluster have the old numbers".to_owned());
    }
    let mut attached_now = ground.pool.attached().filter_map(|(s, n)| Some((s, n.address()?)));
    let lost = attached_now.find(|(s, a)| !places.contains(a) && may_be_missed(ground, *s, a));
    lost.map(|(_, lost)| format!("{lost} is attached and loses its slot"))
}

fn why_not_come_up(ground: &Ground, layout: &Layout) -> Option<String> {
    let Layout { table, attached } = layout;
    let entry = |s: &SlotIndex| table.entries.get(s);
    let address = |s: &SlotIndex| entry(s).and_then(SlotEntry::address);
    let asked = |s: &SlotIndex| address(s).and_then(|a| ground.reach.of(&a).cloned());
    let bad = |s: &&SlotIndex| !asked(s).is_some_and(|a| a.is_safe_to_search());
    if let Some(slot) = attached.iter().find(bad) {
        return Some(format!("pgpool would log in to slot {slot}, which has not answered"));
    }
    let now: BTreeSet<Address> = ground.pool.attached().filter_map(|(_, n)| n.address()).collect();
    let comes = |s: &&SlotIndex| address(s).is_none_or(|a| !now.contains(&a));
    let serves = |s: &SlotIndex| asked(s).is_some_and(|a| a.is_alive());
    if let Some(slot) = attached.iter().filter(comes).find(|s| !serves(s)) {
        return Some(format!("slot {slot} would come up attached, and nobody serves there"));
    }
    let leads =
        |s: &SlotIndex| ground.leader_at().is_some_and(|at| address(s).as_ref() == Some(at));
    let rival = |s: &&SlotIndex| !leads(s) && asked(s) == Some(Answer::Writable);
    if let Some(slot) = attached.iter().find(rival) {
        return Some(format!("pgpool might take slot {slot} for its primary"));
    }
    if !ground.cluster.standby_cluster {
        if !attached.iter().any(leads) {
            return Some("pgpool would come up without the leader".to_owned());
        }
        if let Some(why) = ground.why_not_writable() {
            return Some(format!("pgpool would find no primary: {why}"));
        }
    }
    let reads: BTreeSet<_> =
        attached.iter().filter(|s| entry(s).is_some_and(|e| e.weight > 0.0)).collect();
    reads.is_empty().then(|| "every attached slot would have weight 0".to_owned())
}

/// A server that pgpool has is in another slot of this table, or in none.
fn moves_any(ground: &Ground, table: &SlotTable) -> bool {
    ground.pool.nodes.iter().any(|(slot, node)| {
        let then = table.entries.get(slot).and_then(SlotEntry::address);
        node.address().is_some_and(|now| then != Some(now))
    })
}

/// A member is there, or its key is unreadable and it may be.
fn may_be_missed(ground: &Ground, slot: SlotIndex, address: &Address) -> bool {
    let owner = ground.file.ok().and_then(|f| f.entries.get(&slot)?.member.as_ref());
    ground.cluster.members.values().any(|m| match &m.address {
        Ok(at) => at == address,
        Err(_) => owner.is_none_or(|o| *o == m.name),
    })
}
