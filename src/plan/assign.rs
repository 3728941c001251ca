//! Members to slots: sticky by address, lowest free number first. A slot's address never changes in
//! a live pgpool, so where pgpool and the file disagree on one, pgpool is right.

use std::collections::{BTreeMap, HashMap};

use crate::model::cluster::Member;
use crate::model::ids::{Address, SlotIndex};
use crate::model::plan::Hold;
use crate::model::pool::{NodeStatus, PoolNode};
use crate::model::slots::{SlotEntry, SlotTable};

use super::ground::Ground;

/// Who owns which slot from now on. Weights in `table` are still those of the file.
pub struct Assignment<'a> {
    pub table: SlotTable,
    /// The member that is at a slot's address now.
    members: BTreeMap<SlotIndex, &'a Member>,
    /// The leader's slot; `None` when it could not get one.
    pub leader: Option<SlotIndex>,
    pub holds: Vec<Hold>,
}

impl<'a> Assignment<'a> {
    pub fn member(&self, slot: SlotIndex) -> Option<&'a Member> {
        self.members.get(&slot).copied()
    }
}

/// Every member with a usable address gets a slot; every slot in use keeps its owner.
pub fn members_to_slots<'a>(ground: &Ground<'a>) -> Assignment<'a> {
    let mut table = slots_in_use(ground);
    let mut taken: HashMap<Address, SlotIndex> =
        table.entries.iter().filter_map(|(s, e)| Some((e.address()?, *s))).collect();
    let mut free = free_slots(ground, &table).into_iter();
    let mut members = BTreeMap::new();
    let mut holds = Vec::new();

    for member in leader_first(ground) {
        let Ok(address) = &member.address else {
            holds.push(unusable(member));
            continue;
        };
        let slot = match taken.get(address) {
            Some(slot) if members.contains_key(slot) => {
                holds.push(same_address(member, *slot));
                continue;
            }
            Some(slot) => *slot,
            None if ground.file.is_err() => continue,
            None => match free.next() {
                Some(slot) => {
                    table.entries.insert(slot, SlotEntry::new(member.name.clone(), address, 0.0));
                    taken.insert(address.clone(), slot);
                    slot
                }
                None => {
                    holds.push(table_full(ground, member));
                    continue;
                }
            },
        };
        members.insert(slot, member);
        if let Some(entry) = table.entries.get_mut(&slot) {
            entry.member = Some(member.name.clone());
        }
    }
    let leader = taken.get(ground.leader_at).copied();
    Assignment { table, members, leader, holds }
}

/// The slots that pgpool or the file has, with pgpool's address where they differ.
fn slots_in_use(ground: &Ground) -> SlotTable {
    let mut table = ground.file.cloned().unwrap_or_default();
    for (slot, node) in &ground.pool.nodes {
        if is_spoilt(node) {
            table.entries.remove(slot);
            continue;
        }
        if node.status == NodeStatus::Unused {
            continue;
        }
        match table.entries.get(slot) {
            Some(entry) if entry.host == node.host && entry.port == node.port => {}
            Some(entry) if entry.address().is_some() && entry.address() == node.address() => {}
            _ => {
                table.entries.insert(*slot, as_pgpool_has_it(node));
            }
        }
    }
    table
}

fn as_pgpool_has_it(node: &PoolNode) -> SlotEntry {
    SlotEntry {
        member: None,
        host: node.host.clone(),
        port: node.port,
        weight: if node.share.is_finite() { node.share } else { 0.0 },
        data_directory: None,
        application_name: None,
    }
}

/// A gap in the table that a promote turned into "down" for ever: it takes no address until pgpool
/// is restarted (pgpool-facts C).
fn is_spoilt(node: &PoolNode) -> bool {
    node.status != NodeStatus::Unused && node.port == 0
}

fn free_slots(ground: &Ground, table: &SlotTable) -> Vec<SlotIndex> {
    let spoilt = |s: &SlotIndex| ground.pool.nodes.get(s).is_some_and(is_spoilt);
    SlotIndex::all(ground.policy.slots)
        .filter(|s| !table.entries.contains_key(s) && !spoilt(s))
        .collect()
}

/// The leader first, so that a nearly full table serves it before anybody else; then by name. Of two
/// members that claim one address, the one that serves comes first.
fn leader_first<'a>(ground: &Ground<'a>) -> Vec<&'a Member> {
    let mut members: Vec<&Member> = ground.cluster.members.values().collect();
    members.sort_by_key(|m| (m.name != ground.leader.name, !m.is_serving()));
    members
}

fn unusable(member: &Member) -> Hold {
    let why = member.address.as_ref().err().map_or("", String::as_str);
    Hold {
        member: Some(member.name.clone()),
        slot: None,
        reason: format!(
            "its key in etcd is unusable ({why}): it stays as it is until that is mended"
        ),
    }
}

fn same_address(member: &Member, slot: SlotIndex) -> Hold {
    Hold {
        member: Some(member.name.clone()),
        slot: Some(slot),
        reason: "another member has the same address: remove the stale one from Patroni".to_owned(),
    }
}

fn table_full(ground: &Ground, member: &Member) -> Hold {
    Hold {
        member: Some(member.name.clone()),
        slot: None,
        reason: format!(
            "no free slot: all {} are taken, or kept for departed members; raise pgpool.slots (at \
             most 128) and send geo-agent a SIGHUP",
            ground.policy.slots
        ),
    }
}
