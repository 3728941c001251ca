//! The wish: what each slot should be, by Patroni's word and the operator's policy alone. Whether
//! it can be had right now is [`super::sequence`]'s question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::cluster::{Member, State};
use crate::model::ids::{MemberName, SlotIndex};
use crate::model::plan::Hold;
use crate::model::slots::SlotTable;

use super::assign::Assignment;
use super::ground::Ground;
use super::why::{Located, Why};
use super::{farther, leaving, reader, vanished};

/// What a slot should be, and why.
pub struct Wish<'a> {
    pub want: Want,
    pub(super) why: Why<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Want {
    /// Attached, and pgpool's primary. `Some`: local, with its read weight; `None`: remote.
    Leader(Option<f64>),
    /// Attached, with this read weight.
    Reader(f64),
    /// As a reader, from a farther tier: without a weight while it is detached.
    Farther(f64),
    /// Detached, with this weight in the file: a local replica that comes back keeps its own.
    Detached(f64),
    /// Attached with the weight that it has, if it is; not to be attached again.
    WhileAttached,
    /// Attached and without reads until its readers have ended, or for so long; then detached, with
    /// this weight.
    Leaving(Duration, f64),
    /// Not known well enough to change anything.
    AsIs,
}

pub struct Wishes<'a> {
    by_slot: BTreeMap<SlotIndex, Wish<'a>>,
    /// Slots of which the nearest are to be attached: it takes an answer of each to tell.
    compared: BTreeSet<SlotIndex>,
}

impl Wishes<'_> {
    /// The slots that leave on purpose, each with its wish.
    pub fn leaving(&self, ground: &Ground) -> impl Iterator<Item = (SlotIndex, &Wish<'_>)> {
        let on_purpose = |(s, w): &(&SlotIndex, &Wish)| leaving::is_on_purpose(ground, **s, w);
        self.by_slot.iter().filter(on_purpose).map(|(s, w)| (*s, w))
    }

    pub fn want(&self, slot: SlotIndex) -> Want {
        self.by_slot.get(&slot).map_or(Want::AsIs, |w| w.want)
    }

    pub fn why(&self, slot: SlotIndex) -> String {
        self.by_slot.get(&slot).map(|w| w.why.to_string()).unwrap_or_default()
    }

    /// What has to wait, and for what, once these slots are attached.
    pub fn holds(&self, table: &SlotTable, attached: &BTreeSet<SlotIndex>) -> Vec<Hold> {
        let owner = |slot: &SlotIndex| table.entries.get(slot).and_then(|e| e.member.clone());
        let hold = |(slot, wish): (&SlotIndex, &Wish)| {
            let reason = wish.why.hold(wish.want)?;
            Some(Hold { member: owner(slot), slot: Some(*slot), reason })
        };
        let gone =
            |s: &SlotIndex, w: &Wish| matches!(w.want, Want::Leaving(..)) && !attached.contains(s);
        self.by_slot.iter().filter(|(s, w)| !gone(s, w)).filter_map(hold).collect()
    }

    /// Whether its distance decides who is attached.
    pub fn is_compared(&self, slot: SlotIndex) -> bool {
        self.compared.contains(&slot)
    }

    /// Whether it shall be attached for good.
    pub fn is_attached(&self, slot: SlotIndex) -> bool {
        matches!(self.want(slot), Want::Leader(_) | Want::Reader(_) | Want::Farther(_))
    }
}

pub fn of_each_slot<'a>(ground: &Ground<'a>, assignment: &'a Assignment<'a>) -> Wishes<'a> {
    let entries = assignment.table.entries.iter();
    let mut by_slot: BTreeMap<SlotIndex, Wish> = entries
        .map(|(slot, entry)| match assignment.member(*slot) {
            Some(member) => (*slot, of_member(ground, *slot, member)),
            None => (*slot, of_nobody(ground, assignment, *slot, entry.member.as_ref())),
        })
        .collect();
    let compared = farther::choose(ground, assignment, &mut by_slot);
    if ground.cluster.standby_cluster {
        standby_leader_as_last_reader(ground, assignment, &mut by_slot);
    }
    leaving::give_readers_time(ground, assignment, &mut by_slot);
    Wishes { by_slot, compared }
}

fn of_member<'a>(ground: &Ground<'a>, slot: SlotIndex, member: &'a Member) -> Wish<'a> {
    let local = ground.policy.local_weight(member);
    let leads = ground.leads(member);
    let name = &member.name;
    let own_weight = local.filter(|_| !member.noloadbalance);
    let held = member.orders.held.as_ref();
    if leads && !ground.cluster.standby_cluster {
        let weight = local.map(|_| own_weight.filter(|_| held.is_none()).unwrap_or(0.0));
        return Wish { want: Want::Leader(weight), why: Why::Leads(name) };
    }
    if let Some(why) = why_not_serving(member) {
        return Wish { want: Want::Detached(own_weight.unwrap_or(0.0)), why };
    }
    if let Some(held) = held {
        return Wish {
            want: Want::Detached(own_weight.unwrap_or(0.0)),
            why: Why::Held(name, held),
        };
    }
    if ground.elapsed.restart_due.contains(name) {
        let want = Want::Detached(own_weight.unwrap_or(0.0));
        return Wish { want, why: Why::RestartDue(name) };
    }
    match local {
        None => detached(Why::Remote(name, Located::of(ground.policy, member))),
        Some(_) if member.noloadbalance => detached(Why::NoLoadBalance(name)),
        Some(weight) => reader::wish(ground, slot, member, weight),
    }
}

/// A slot at an address that no listed member has. A member whose key is unreadable may still be
/// there: not knowing is no reason to detach.
fn of_nobody<'a>(
    ground: &Ground<'a>,
    assignment: &Assignment,
    slot: SlotIndex,
    owner: Option<&'a MemberName>,
) -> Wish<'a> {
    if let Some(name) = assignment.address(slot).and_then(|at| vanished::that_may_serve(ground, at))
    {
        return Wish { want: Want::WhileAttached, why: Why::Vanished(name) };
    }
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
fn standby_leader_as_last_reader(
    ground: &Ground,
    assignment: &Assignment,
    by_slot: &mut BTreeMap<SlotIndex, Wish>,
) {
    let reads = |w: &Wish| matches!(w.want, Want::Reader(w) | Want::Farther(w) if w > 0.0);
    if by_slot.values().any(reads) {
        return;
    }
    if let Some(wish) = assignment.leader.and_then(|slot| by_slot.get_mut(&slot)) {
        let own = ground.leader.as_ref().ok().and_then(|l| ground.policy.local_weight(l.member));
        wish.want = Want::Reader(own.filter(|w| *w > 0.0).unwrap_or(1.0));
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
