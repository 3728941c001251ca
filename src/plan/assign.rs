//! Members to slots: sticky by address, lowest free number first. A slot's address never changes in
//! a live pgpool, so where pgpool and the file disagree on one, pgpool is right.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::cluster::Member;
use crate::model::ids::{Address, SlotIndex};
use crate::model::plan::Hold;
use crate::model::pool::{NodeStatus, PoolNode};
use crate::model::slots::{PORTS, SlotEntry, SlotTable};

use super::agree;
use super::ground::Ground;

/// Who owns which slot from now on. Weights in `table` are still those of the file.
pub struct Assignment<'a> {
    pub table: Cow<'a, SlotTable>,
    /// Where the slots are, as far as they have an address.
    addresses: BTreeMap<SlotIndex, Address>,
    /// The member that is at a slot's address now.
    members: BTreeMap<SlotIndex, &'a Member>,
    /// The leader's slot; `None` when it could not get one.
    pub leader: Option<SlotIndex>,
    pub holds: Vec<Hold>,
    /// Members for whom no slot is free.
    pub homeless: Vec<&'a Member>,
}

impl<'a> Assignment<'a> {
    pub fn member(&self, slot: SlotIndex) -> Option<&'a Member> {
        self.members.get(&slot).copied()
    }

    /// `None` for a slot at a socket directory.
    pub fn address(&self, slot: SlotIndex) -> Option<&Address> {
        self.addresses.get(&slot)
    }

    /// Every slot's address, except of those at a socket directory.
    pub fn addresses(&self) -> impl Iterator<Item = (SlotIndex, &Address)> {
        self.addresses.iter().map(|(slot, at)| (*slot, at))
    }
}

/// Every member with a usable address gets a slot; every slot in use keeps its owner.
pub fn members_to_slots<'a>(ground: &Ground<'a>) -> Assignment<'a> {
    let mut table = slots_in_use(ground);
    agree::merge(ground, &mut table);
    let mut addresses = addresses_of(ground, &mut table);
    let promote = may_promote(ground, &addresses);
    if promote {
        give_up_gaps(ground, &mut table, &mut addresses);
    }
    let mut taken = slot_of_each_address(ground, &table, &addresses);
    let mut new = Vec::new();
    let mut numbers = SlotIndex::all(ground.policy.slots);
    let mut members = BTreeMap::new();
    let (mut holds, mut homeless) = (Vec::new(), Vec::new());

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
            None if !PORTS.contains(&address.port()) => {
                holds.push(no_such_port(ground, member, address));
                continue;
            }
            None if ground.file.is_err() => continue,
            None if ground.agreed.is_some() => {
                match agree::why_no_slot(ground, member) {
                    Some(hold) => holds.push(hold),
                    None => homeless.push(member),
                }
                continue;
            }
            None => match numbers.find(|s| is_free(ground, &table, promote, *s)) {
                Some(slot) => {
                    new.push((slot, address.clone()));
                    taken.insert(address, slot);
                    slot
                }
                None => {
                    homeless.push(member);
                    continue;
                }
            },
        };
        members.insert(slot, member);
        own(&mut table, slot, member, address);
    }
    if taken.len() < addresses.len() + new.len() {
        disown_second_slots(&mut table, &addresses, &taken, &members);
    }
    let leader = ground.leader_at().and_then(|at| taken.get(at)).copied();
    addresses.extend(new);
    Assignment { table, addresses, members, leader, holds, homeless }
}

/// The slots that pgpool or the file has, with pgpool's address where they differ.
pub fn slots_in_use<'a>(ground: &Ground<'a>) -> Cow<'a, SlotTable> {
    let mut table = ground.file.map_or_else(|_| Cow::default(), Cow::Borrowed);
    for (slot, node) in &ground.pool.nodes {
        if is_spoilt(node) {
            if table.entries.contains_key(slot) {
                table.to_mut().entries.remove(slot);
            }
            continue;
        }
        if node.port == 0 {
            continue;
        }
        match table.entries.get(slot) {
            Some(entry) if entry.host == node.host && entry.port == node.port => {}
            Some(entry) if entry.address().is_some() && entry.address() == node.address() => {}
            _ => {
                table.to_mut().entries.insert(*slot, as_pgpool_has_it(node));
            }
        }
    }
    table
}

/// Where two slots have one address, the attached one counts, then the one that has an owner, then
/// the lowest. The owner is written down, so the choice stays when that slot is detached.
fn slot_of_each_address<'b>(
    ground: &Ground,
    table: &SlotTable,
    addresses: &'b BTreeMap<SlotIndex, Address>,
) -> HashMap<&'b Address, SlotIndex> {
    let mut taken = HashMap::with_capacity(addresses.len());
    for (slot, address) in addresses {
        let known = taken.entry(address).or_insert(*slot);
        if known == slot {
            continue;
        }
        let claim = |s: &SlotIndex| {
            let owned = table.entries.get(s).is_some_and(|e| e.member.is_some());
            (ground.pool.is_attached(*s), owned)
        };
        if claim(slot) > claim(known) {
            *known = *slot;
        }
    }
    taken
}

/// Writes down who owns a slot; a new one comes into the table with that.
fn own(table: &mut Cow<SlotTable>, slot: SlotIndex, member: &Member, address: &Address) {
    let now = table.entries.get(&slot);
    if now.is_some_and(|e| e.member.as_ref() == Some(&member.name)) {
        return;
    }
    let new = || SlotEntry::new(member.name.clone(), address, 0.0);
    let entry = table.to_mut().entries.entry(slot).or_insert_with(new);
    entry.member = Some(member.name.clone());
}

fn disown_second_slots(
    table: &mut Cow<SlotTable>,
    addresses: &BTreeMap<SlotIndex, Address>,
    taken: &HashMap<&Address, SlotIndex>,
    members: &BTreeMap<SlotIndex, &Member>,
) {
    for (slot, entry) in &mut table.to_mut().entries {
        let first = addresses.get(slot).and_then(|a| taken.get(a));
        if first.is_some_and(|first| first != slot && members.contains_key(first)) {
            entry.member = None;
        }
    }
}

/// Each slot's address. A slot that only the file has gives way to one that pgpool has at the same
/// address.
fn addresses_of(ground: &Ground, table: &mut Cow<SlotTable>) -> BTreeMap<SlotIndex, Address> {
    let mut addresses: BTreeMap<SlotIndex, Address> =
        table.entries.iter().filter_map(|(s, e)| Some((*s, e.address()?))).collect();
    let live = |s: &SlotIndex| is_live(ground, *s);
    if table.entries.keys().all(live) {
        return addresses;
    }
    let mut served: HashSet<Address> =
        addresses.iter().filter(|(s, _)| live(s)).map(|(_, a)| a.clone()).collect();
    addresses.retain(|slot, address| live(slot) || served.insert(address.clone()));
    let second = |s: &SlotIndex, e: &SlotEntry| !addresses.contains_key(s) && e.address().is_some();
    if table.entries.iter().any(|(slot, entry)| !live(slot) && second(slot, entry)) {
        table.to_mut().entries.retain(|slot, entry| live(slot) || !second(slot, entry));
    }
    addresses
}

/// The slots that a promote is about to spoil: nobody is there yet.
fn give_up_gaps(
    ground: &Ground,
    table: &mut Cow<SlotTable>,
    addresses: &mut BTreeMap<SlotIndex, Address>,
) {
    let gap = |s: &SlotIndex| ground.pool.nodes.get(s).is_some_and(|n| n.port == 0);
    if table.entries.keys().any(gap) {
        table.to_mut().entries.retain(|slot, _| !gap(slot));
        addresses.retain(|slot, _| !gap(slot));
    }
}

/// Whether pgpool has an address in this slot that it will not change.
pub fn is_live(ground: &Ground, slot: SlotIndex) -> bool {
    ground.pool.nodes.get(&slot).is_some_and(|n| n.port != 0)
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
/// is restarted (proto-notes/hazards.md, 18).
fn is_spoilt(node: &PoolNode) -> bool {
    node.status != NodeStatus::Unused && node.port == 0
}

pub fn is_spoilt_slot(ground: &Ground, slot: SlotIndex) -> bool {
    ground.pool.nodes.get(&slot).is_some_and(is_spoilt)
}

/// Whether a member without a slot may get this one.
fn is_free(ground: &Ground, table: &SlotTable, promote: bool, slot: SlotIndex) -> bool {
    let gap = ground.pool.nodes.get(&slot).filter(|n| n.port == 0);
    !table.entries.contains_key(&slot) && gap.is_none_or(|gap| !promote && !is_spoilt(gap))
}

/// Whether this plan may promote the leader, which comes before all else and spoils every gap.
fn may_promote(ground: &Ground, addresses: &BTreeMap<SlotIndex, Address>) -> bool {
    let primary = ground.pool.primary();
    let leader_at = ground.leader_at();
    let mut leaders = addresses.iter().filter(|(_, a)| Some(*a) == leader_at).map(|(s, _)| *s);
    leaders.any(|slot| Some(slot) != primary && ground.pool.is_attached(slot))
}

/// The leader first, so that a nearly full table serves it before anybody else; then by name. Of
/// two members that claim one address, the one that serves comes first.
pub fn leader_first<'a>(ground: &Ground<'a>) -> Vec<&'a Member> {
    let mut members: Vec<&Member> = ground.cluster.members.values().collect();
    members.sort_by_cached_key(|m| (!ground.leads(m), !m.is_serving()));
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

/// One such line in pgpool.conf, and pgpool would not start the next time.
fn no_such_port(ground: &Ground, member: &Member, address: &Address) -> Hold {
    let (low, high) = (PORTS.start(), PORTS.end());
    Hold {
        member: Some(member.name.clone()),
        slot: None,
        reason: format!(
            "{}it gets no slot: pgpool takes backend ports from {low} to {high} only, and it \
             listens on {}",
            lost_writes(ground, member),
            address.port(),
        ),
    }
}

/// How a hold on a member without a slot begins.
pub fn lost_writes(ground: &Ground, member: &Member) -> &'static str {
    match ground.leads(member) {
        true => "leads, but pgpool cannot send writes to it: ",
        false => "",
    }
}
