//! The wish: what each slot should be, by Patroni's word and the operator's policy alone. Whether
//! it can be had right now is [`super::sequence`]'s question.

use std::collections::BTreeMap;

use crate::model::cluster::{Member, State};
use crate::model::ids::{MemberName, SlotIndex};

use super::assign::Assignment;
use super::ground::Ground;

/// What a slot should be, and why.
pub struct Wish {
    pub want: Want,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Want {
    /// Attached, and pgpool's primary. `Some`: local, with its read weight; `None`: remote.
    Leader(Option<f64>),
    /// Attached, with this read weight.
    Reader(f64),
    /// Detached, with this weight in the file: a local replica that comes back keeps its own.
    Detached(f64),
    /// Not known well enough to change anything.
    AsIs,
}

pub struct Wishes {
    by_slot: BTreeMap<SlotIndex, Wish>,
}

impl Wishes {
    pub fn want(&self, slot: SlotIndex) -> Want {
        self.by_slot.get(&slot).map_or(Want::AsIs, |w| w.want)
    }

    pub fn why(&self, slot: SlotIndex) -> &str {
        self.by_slot.get(&slot).map_or("", |w| &w.why)
    }

    pub fn is_attached(&self, slot: SlotIndex) -> bool {
        matches!(self.want(slot), Want::Leader(_) | Want::Reader(_))
    }
}

pub fn of_each_slot(ground: &Ground, assignment: &Assignment) -> Wishes {
    let mut by_slot: BTreeMap<SlotIndex, Wish> = assignment
        .table
        .entries
        .iter()
        .map(|(slot, entry)| match assignment.member(*slot) {
            Some(member) => (*slot, of_member(ground, member)),
            None => (*slot, of_nobody(ground, entry.member.as_ref())),
        })
        .collect();
    if ground.cluster.standby_cluster {
        standby_leader_as_last_reader(assignment, &mut by_slot);
    }
    Wishes { by_slot }
}

fn of_member(ground: &Ground, member: &Member) -> Wish {
    let local = ground.policy.local_weight(member);
    let leads = member.name == ground.leader.name;
    let name = &member.name;
    if leads && !ground.cluster.standby_cluster {
        let weight = local.map(|w| if member.noloadbalance { 0.0 } else { w });
        return Wish { want: Want::Leader(weight), why: format!("{name} holds the leader key") };
    }
    if let Some(why) = why_not_serving(member) {
        let weight = local.filter(|_| !member.noloadbalance).unwrap_or(0.0);
        return Wish { want: Want::Detached(weight), why };
    }
    match local {
        None => detached(format!(
            "{name} is remote: attached, it would cost every session a far connection"
        )),
        Some(_) if member.noloadbalance => detached(format!("{name} has the tag noloadbalance")),
        Some(weight) => Wish {
            want: Want::Reader(weight),
            why: format!("{name} is a local replica that serves"),
        },
    }
}

/// A slot at an address that no listed member has. A member whose key is unreadable may still be
/// there: not knowing is no reason to detach.
fn of_nobody(ground: &Ground, owner: Option<&MemberName>) -> Wish {
    let members = &ground.cluster.members;
    let unreadable = |name| members.get(name).is_some_and(|m| m.address.is_err());
    match owner {
        Some(name) if unreadable(name) => {
            Wish { want: Want::AsIs, why: format!("{name}'s key in etcd is unusable") }
        }
        Some(name) => detached(format!("{name} is no longer at this address in Patroni")),
        None if members.values().any(|m| m.address.is_err()) => Wish {
            want: Want::AsIs,
            why: "it may belong to a member whose key in etcd is unusable".to_owned(),
        },
        None => detached("no member of the cluster has this address".to_owned()),
    }
}

/// A standby cluster has no primary; its leader serves reads when no local replica does.
fn standby_leader_as_last_reader(assignment: &Assignment, by_slot: &mut BTreeMap<SlotIndex, Wish>) {
    let reads = |w: &Wish| matches!(w.want, Want::Reader(weight) if weight > 0.0);
    if by_slot.values().any(reads) {
        return;
    }
    if let Some(wish) = assignment.leader.and_then(|slot| by_slot.get_mut(&slot)) {
        wish.want = Want::Reader(1.0);
        wish.why = "no local replica serves: reads go to the standby leader".to_owned();
    }
}

fn why_not_serving(member: &Member) -> Option<String> {
    let name = &member.name;
    match &member.state {
        State::NotServing(state) => Some(format!("{name} is {state}")),
        State::Running if !member.is_serving() => Some(format!("{name} has no role that serves")),
        State::Running => None,
    }
}

fn detached(why: String) -> Wish {
    Wish { want: Want::Detached(0.0), why }
}
