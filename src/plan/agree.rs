//! Agreeing on slot numbers in a watchdog cluster. pgpools with a watchdog match servers by slot
//! number, and lowest-free-first depends on the order in which each saw the members come. So a new
//! number is proposed in etcd, where the first proposal wins, and taken from there by all.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::agreed::{Agreed, Numbers, Peer, Proposal, Word};
use crate::model::cluster::Member;
use crate::model::ids::{Address, SlotIndex};
use crate::model::inputs::Inputs;
use crate::model::patience::spelled;
use crate::model::plan::Hold;
use crate::model::policy::{Policy, Tier};
use crate::model::slots::{PORTS, SlotEntry, SlotTable};

use super::assign;
use super::ground::Ground;

/// The agreed numbers go into a table of what pgpool and the file have. What pgpool does not have
/// yet gives way to them.
pub fn merge(ground: &Ground, table: &mut Cow<SlotTable>) {
    let Some(agreed) = ground.agreed else { return };
    let table = table.to_mut();
    table.entries.retain(|slot, _| assign::is_live(ground, *slot) || agreed.numbers.is_none());
    let mut known: BTreeSet<_> = table.entries.values().filter_map(SlotEntry::address).collect();
    for (slot, address) in agreed.numbers.iter().flatten() {
        let taken = table.entries.contains_key(slot) || assign::is_spoilt_slot(ground, *slot);
        if taken || !known.insert(address.clone()) {
            continue;
        }
        let (host, port) = (address.host().to_owned(), address.port());
        let kept = ground.file.ok().and_then(|file| file.entries.get(slot));
        let kept = kept.filter(|e| e.address().as_ref() == Some(address)).cloned();
        let new = SlotEntry { host, port, ..SlotEntry::default() };
        table.entries.insert(*slot, kept.unwrap_or(new));
    }
}

/// pgpool has another server in a slot than was agreed: what it shares with the others would be
/// about the wrong servers.
pub fn conflict(ground: &Ground) -> Option<Hold> {
    let numbers = ground.agreed?.numbers.as_ref()?;
    let live = live_numbers(ground);
    let differs = |(slot, here): &(&SlotIndex, &Address)| {
        numbers.get(slot).is_some_and(|there| there != *here)
            || numbers.iter().any(|(s, a)| a == *here && s != *slot)
    };
    let (slot, here) = live.iter().find(differs)?;
    let there = match numbers.get(slot).filter(|there| *there != here) {
        Some(there) => format!("agreed on {there} for it"),
        None => "agreed on another slot for that".to_owned(),
    };
    Some(Hold {
        member: None,
        slot: Some(*slot),
        reason: format!(
            "has {here} here, but the agents of the watchdog cluster {there}: nothing is attached, \
             detached or promoted from here until this pgpool starts anew with an empty slot table \
             (see \"Watchdog\" in the README)"
        ),
    })
}

/// Why a member has no slot yet; `None`: all are taken.
pub fn why_no_slot(ground: &Ground, member: &Member) -> Option<Hold> {
    let numbers = ground.agreed.and_then(|a| a.numbers.as_ref());
    if numbers.is_some_and(|n| n.len() >= usize::from(ground.policy.slots)) {
        return None;
    }
    let reason = "gets its slot as soon as the agents of the watchdog cluster have agreed on it in \
                  etcd (the log says so if this one may not write there)";
    Some(Hold { member: Some(member.name.clone()), slot: None, reason: reason.to_owned() })
}

/// Another pgpool of the watchdog cluster that does not know this slot yet: attached before, it
/// would stay detached there. The leader's slot does not wait for a pgpool that is gone.
pub fn who_lacks<'a>(ground: &Ground<'a>, slot: SlotIndex, address: &Address) -> Option<&'a str> {
    let (agreed, watchdog) = (ground.agreed?, ground.pool.watchdog.as_ref()?);
    let leads = ground.leader_at() == Some(address);
    let is_there = |state: &str| matches!(state, "LEADER" | "STANDBY");
    let others = watchdog.nodes.iter().skip(1);
    let mut others = others.filter(|(_, state)| !leads || is_there(state)).map(|(name, _)| name);
    // One that has something else there has a hold of its own, and will never have this.
    let will_know = |peer: &Peer| {
        let elsewhere = peer.knows.values().any(|known| known == address);
        peer.learns && !elsewhere && !peer.knows.contains_key(&slot)
    };
    let lacks = |name: &&String| agreed.peers.get(*name).is_some_and(will_know);
    others.find(lacks).map(String::as_str)
}

/// What this agent has to tell the others; `None` without a watchdog, or while too little is known.
pub fn word(inputs: &Inputs) -> Option<Word> {
    let ground = Ground::of(inputs).ok()?;
    let agreed = ground.agreed?;
    let name = ground.pool.watchdog.as_ref()?.name()?;
    let (knows, learns) = (live_numbers(&ground), ground.file.is_ok());
    let peer = Peer { knows, learns, settings: in_common(ground.policy) };
    let numbers = proposed(&ground, agreed);
    let instead_of = agreed.numbers.clone();
    let new = |n: &Numbers| !n.is_empty() && instead_of.as_ref() != Some(n);
    let proposal = numbers.filter(new).map(|numbers| Proposal { instead_of, numbers });
    Some(Word { name: name.to_owned(), peer, proposal })
}

/// What must be the same beside every pgpool of a watchdog cluster, because it decides who is
/// attached in all of them.
pub fn in_common(policy: &Policy) -> BTreeMap<String, String> {
    let patience = &policy.patience;
    let names: Vec<_> = policy.local_backends.keys().map(String::as_str).collect();
    let tiers: Vec<_> = policy.farther.iter().map(Tier::to_string).collect();
    let settings = [
        ("pgpool.slots", policy.slots.to_string()),
        ("location.name", policy.location.clone().unwrap_or_default()),
        ("location.tag", policy.location_tag.clone()),
        ("locations", tiers.join(", ")),
        ("local_backends", names.join(", ")),
        ("on_primary_loss", format!("{:?}", policy.on_primary_loss)),
        ("attach_after", spelled(patience.attach_after)),
        ("drain_timeout", spelled(patience.drain_timeout)),
        ("probe", if policy.sql_probe { "with a user" } else { "without a user" }.to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The agreed numbers, with what this pgpool has besides, and then with the members that have none.
fn proposed(ground: &Ground, agreed: &Agreed) -> Option<Numbers> {
    ground.file.ok()?;
    let mut numbers = agreed.numbers.clone().unwrap_or_default();
    let mut taken: BTreeSet<Address> = numbers.values().cloned().collect();
    let table = assign::slots_in_use(ground);
    let own = table.entries.iter().filter_map(|(slot, e)| Some((*slot, e.address()?)));
    for (slot, address) in own {
        if !numbers.contains_key(&slot) && taken.insert(address.clone()) {
            numbers.insert(slot, address);
        }
    }
    let usable =
        |s: &SlotIndex| !table.entries.contains_key(s) && !assign::is_spoilt_slot(ground, *s);
    for member in assign::leader_first(ground) {
        let Ok(address) = &member.address else { continue };
        if !PORTS.contains(&address.port()) || !taken.insert(address.clone()) {
            continue;
        }
        let mut all = SlotIndex::all(ground.policy.slots);
        let free = all.find(|s| !numbers.contains_key(s) && usable(s));
        if let Some(slot) = free {
            numbers.insert(slot, address.clone());
        }
    }
    Some(numbers)
}

fn live_numbers(ground: &Ground) -> Numbers {
    let nodes = ground.pool.nodes.iter();
    nodes.filter_map(|(slot, n)| Some((*slot, n.address()?))).collect()
}
