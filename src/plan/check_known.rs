//! What the judge knows of the servers in pgpool's slots. It is looked up once per table and not at
//! every step: a plan that attaches 127 slots asks of each step who is attached by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::cluster::Member;
use crate::model::ids::{Address, SLOTS_MAX, SlotIndex};
use crate::model::reach::Answer;

use super::ground::Ground;

/// What the servers in the slots have answered, and which of them matter to a search.
pub struct Known<'a> {
    pub answers: BTreeMap<SlotIndex, &'a Answer>,
    /// Slots in which pgpool's search would freeze, and those of which nobody knows.
    pub unsafe_to_search: BTreeSet<SlotIndex>,
    /// Slots at the address of the holder of the leader key.
    pub leading: BTreeSet<SlotIndex>,
    /// Slots that say they are writable and are not among those.
    pub rivals: BTreeSet<SlotIndex>,
    /// Who is at a slot's address; several members may claim one.
    pub members: BTreeMap<SlotIndex, Vec<&'a Member>>,
}

impl<'a> Known<'a> {
    pub fn of(ground: &'a Ground, addresses: &BTreeMap<SlotIndex, Address>) -> Self {
        let answer = |(s, at): (&SlotIndex, &_)| Some((*s, ground.reach.of(at)?));
        let answers: BTreeMap<_, _> = addresses.iter().filter_map(answer).collect();
        let is_safe = |s: &_| answers.get(s).is_some_and(|a: &&Answer| a.is_safe_to_search());
        let leader_at = ground.leader_at().filter(|_| !ground.cluster.standby_cluster);
        let leads = |s: &_| leader_at.is_some() && addresses.get(s) == leader_at;
        let rival = |s: &_| !leads(s) && answers.get(s) == Some(&&Answer::Writable);
        Known {
            unsafe_to_search: SlotIndex::all(SLOTS_MAX).filter(|s| !is_safe(s)).collect(),
            leading: addresses.keys().copied().filter(leads).collect(),
            rivals: addresses.keys().copied().filter(rival).collect(),
            members: members(ground, addresses),
            answers,
        }
    }
}

fn members<'a>(
    ground: &'a Ground,
    addresses: &BTreeMap<SlotIndex, Address>,
) -> BTreeMap<SlotIndex, Vec<&'a Member>> {
    let mut slots: HashMap<&Address, Vec<SlotIndex>> = HashMap::with_capacity(addresses.len());
    for (slot, at) in addresses {
        slots.entry(at).or_default().push(*slot);
    }
    let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for member in ground.cluster.members.values() {
        let at = member.address.as_ref().ok();
        for slot in at.and_then(|at| slots.get(at)).into_iter().flatten() {
            members.entry(*slot).or_default().push(member);
        }
    }
    members
}
