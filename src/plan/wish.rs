//! The wish: what each slot should be, by Patroni's word and the operator's policy alone. Whether
//! it can be had right now is [`super::sequence`]'s question.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::cluster::{Member, State};
use crate::model::ids::{MemberName, SlotIndex};

use super::assign::Assignment;
use super::ground::Ground;

/// What a slot should be, and why.
pub struct Wish<'a> {
    pub want: Want,
    why: Why<'a>,
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

/// The reason for a wish. Most slots need nothing done, so a sentence is only made on demand.
#[derive(Clone, Copy)]
enum Why<'a> {
    Leads(&'a MemberName),
    LocalReplica(&'a MemberName),
    Remote(&'a MemberName),
    NoLoadBalance(&'a MemberName),
    NotServing(&'a MemberName, &'a str),
    NoRoleThatServes(&'a MemberName),
    LastReader,
    UnusableKey(&'a MemberName),
    MayBeUnusable,
    Elsewhere(&'a MemberName),
    Nobody,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Leads(name) => write!(f, "{name} holds the leader key"),
            Why::LocalReplica(name) => write!(f, "{name} is a local replica that serves"),
            Why::Remote(name) => {
                write!(
                    f,
                    "{name} is remote: attached, it would cost every session a far connection"
                )
            }
            Why::NoLoadBalance(name) => write!(f, "{name} has the tag noloadbalance"),
            Why::NotServing(name, state) => write!(f, "{name} is {state}"),
            Why::NoRoleThatServes(name) => write!(f, "{name} has no role that serves"),
            Why::LastReader => {
                f.write_str("no local replica serves: reads go to the standby leader")
            }
            Why::UnusableKey(name) => write!(f, "{name}'s key in etcd is unusable"),
            Why::MayBeUnusable => {
                f.write_str("it may belong to a member whose key in etcd is unusable")
            }
            Why::Elsewhere(name) => write!(f, "{name} is no longer at this address in Patroni"),
            Why::Nobody => f.write_str("no member of the cluster has this address"),
        }
    }
}

pub struct Wishes<'a> {
    by_slot: BTreeMap<SlotIndex, Wish<'a>>,
}

impl Wishes<'_> {
    pub fn want(&self, slot: SlotIndex) -> Want {
        self.by_slot.get(&slot).map_or(Want::AsIs, |w| w.want)
    }

    pub fn why(&self, slot: SlotIndex) -> String {
        self.by_slot.get(&slot).map(|w| w.why.to_string()).unwrap_or_default()
    }

    pub fn is_attached(&self, slot: SlotIndex) -> bool {
        matches!(self.want(slot), Want::Leader(_) | Want::Reader(_))
    }
}

pub fn of_each_slot<'a>(ground: &Ground<'a>, assignment: &'a Assignment<'a>) -> Wishes<'a> {
    let entries = assignment.table.entries.iter();
    let mut by_slot: BTreeMap<SlotIndex, Wish> = entries
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

fn of_member<'a>(ground: &Ground<'a>, member: &'a Member) -> Wish<'a> {
    let local = ground.policy.local_weight(member);
    let leads = ground.leads(member);
    let name = &member.name;
    let own_weight = local.filter(|_| !member.noloadbalance);
    if leads && !ground.cluster.standby_cluster {
        let weight = local.map(|_| own_weight.unwrap_or(0.0));
        return Wish { want: Want::Leader(weight), why: Why::Leads(name) };
    }
    if let Some(why) = why_not_serving(member) {
        return Wish { want: Want::Detached(own_weight.unwrap_or(0.0)), why };
    }
    match local {
        None => detached(Why::Remote(name)),
        Some(_) if member.noloadbalance => detached(Why::NoLoadBalance(name)),
        Some(weight) => Wish { want: Want::Reader(weight), why: Why::LocalReplica(name) },
    }
}

/// A slot at an address that no listed member has. A member whose key is unreadable may still be
/// there: not knowing is no reason to detach.
fn of_nobody<'a>(ground: &Ground<'a>, owner: Option<&'a MemberName>) -> Wish<'a> {
    let members = &ground.cluster.members;
    let unreadable = |name| members.get(name).is_some_and(|m| m.address.is_err());
    match owner {
        Some(name) if unreadable(name) => Wish { want: Want::AsIs, why: Why::UnusableKey(name) },
        Some(name) => detached(Why::Elsewhere(name)),
        None if members.values().any(|m| m.address.is_err()) => {
            Wish { want: Want::AsIs, why: Why::MayBeUnusable }
        }
        None => detached(Why::Nobody),
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
        wish.why = Why::LastReader;
    }
}

fn why_not_serving(member: &Member) -> Option<Why<'_>> {
    let name = &member.name;
    match &member.state {
        State::NotServing(state) => Some(Why::NotServing(name, state)),
        State::Running if !member.is_serving() => Some(Why::NoRoleThatServes(name)),
        State::Running => None,
    }
}

fn detached(why: Why<'_>) -> Wish<'_> {
    Wish { want: Want::Detached(0.0), why }
}
