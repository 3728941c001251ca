//! What has to be asked of the servers before a plan can be final. Asking takes time, so it is
//! asked only when an attach, a stand-in or the time of one that is being stopped hangs on it.

use std::collections::BTreeSet;

use crate::model::ids::{Address, SlotIndex};
use crate::model::inputs::Inputs;
use crate::model::policy::OnPrimaryLoss;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;
use super::turn::Turn;
use super::wish::{Want, Wishes};
use super::{assign, leaving, restart, stand_in, vanished, wish};

/// Every server that pgpool would log in to, if something should be attached: the attached ones,
/// the ones to attach, and the leader. When pgpool's primary may be lost: it, and who could stand
/// in. Empty when nothing is, or may be, done.
pub fn servers_to_ask(inputs: &Inputs) -> BTreeSet<Address> {
    let Ok(ground) = Ground::of(inputs) else { return BTreeSet::new() };
    if ground.turn == Turn::Nobody {
        return BTreeSet::new();
    }
    let assignment = assign::members_to_slots(&ground);
    let wishes = wish::of_each_slot(&ground, &assignment);
    let candidates = stand_in::servers_to_ask(&ground, &assignment, &wishes);
    let may_answer = |server| ground.reach.of(server).is_none_or(Answer::is_alive);
    if stand_in::is_watched_and_lost(&ground, &assignment) && candidates.iter().any(may_answer) {
        return BTreeSet::from_iter(candidates); // first things first: the others may be silent
    }
    let mut ask = to_attach(&ground, &assignment, &wishes);
    ask.extend(candidates);
    if ground.elapsed.leader_stays && is_due(&ground, &assignment) {
        let primary = ground.pool.primary().and_then(|p| assignment.address(p));
        ask.extend(primary.into_iter().chain(ground.leader_at()).cloned());
    }
    ask
}

/// Whom the answers so far make it necessary to ask as well: replicas of farther tiers; the leader,
/// when nobody can stand in.
pub fn servers_left_to_ask(inputs: &Inputs) -> BTreeSet<Address> {
    if inputs.policy.farther.is_empty() && inputs.lost.is_none() {
        return BTreeSet::new();
    }
    let mut left = servers_to_ask(inputs);
    left.retain(|server| inputs.reach.of(server).is_none());
    left
}

fn to_attach(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> BTreeSet<Address> {
    let standby = ground.cluster.standby_cluster;
    let restart = restart::is_wanted(ground, assignment, wishes);
    let no_attach = assignment.leader.is_none() && !standby;
    if ground.leader.is_err() || (no_attach && !restart) {
        return BTreeSet::new();
    }
    // A promote that is due leaves nobody but the leader attached.
    let promote = is_due(ground, assignment);
    let attached = |s: &SlotIndex| match promote {
        true => assignment.leader == Some(*s),
        false => ground.pool.is_attached(*s),
    };
    let wanted = |s: &SlotIndex| wishes.is_attached(*s);
    let entries = &assignment.table.entries;
    let attach = entries.keys().any(|s| wanted(s) && !attached(s));
    // Without a primary pgpool searches at a detach as well.
    let unwanted = |s: &SlotIndex| {
        attached(s) && matches!(wishes.want(*s), Want::Detached(_) | Want::WhileAttached)
    };
    let detach = standby && entries.keys().any(wanted) && entries.keys().any(unwanted);
    let address = |s: SlotIndex| assignment.address(s).cloned();
    // A vanished member stays attached while it answers, so each look has to ask it.
    let vanished = vanished::attached(ground, assignment).filter(|(slot, _)| attached(slot));
    let mut ask: BTreeSet<Address> = vanished.map(|(_, address)| address.clone()).collect();
    let leaving = wishes.leaving(ground).filter(|(_, w)| leaving::must_be_asked(w));
    ask.extend(leaving.filter_map(|(s, _)| address(s)));
    if !attach && !detach && !restart {
        return ask;
    }
    // A restart ends what keeps a slot out for a while: everybody may come up.
    let concerned = entries
        .iter()
        .filter(|(s, _)| restart || wanted(s) || attached(s) || wishes.is_compared(**s));
    ask.extend(concerned.filter_map(|(s, _)| address(*s)));
    ask.extend(ground.leader_at().cloned());
    if restart {
        ask.extend(assignment.homeless.iter().filter_map(|m| m.address.clone().ok()));
    }
    ask
}

/// As [`promote_is_due`], and this agent need not even look whether another has done it.
pub fn promote_is_ours(inputs: &Inputs) -> bool {
    let ours = |ground: &Ground| ground.turn == Turn::Own;
    Ground::of(inputs).as_ref().is_ok_and(ours) && promote_is_due(inputs)
}

/// The attached slots that should go, on purpose and not at once if that would end sessions.
/// While nobody leads nothing is detached, so nobody's time to leave begins.
pub fn slots_that_leave(inputs: &Inputs) -> BTreeSet<SlotIndex> {
    let ground = Ground::of(inputs).ok().filter(|ground| ground.leader.is_ok());
    let Some(ground) = ground else { return BTreeSet::new() };
    let assignment = assign::members_to_slots(&ground);
    let wishes = wish::of_each_slot(&ground, &assignment);
    wishes.leaving(&ground).map(|(slot, _)| slot).collect()
}

/// The leader's slot can be promoted at once: every millisecond counts, and nobody need be asked.
pub fn promote_is_due(inputs: &Inputs) -> bool {
    let Ok(ground) = Ground::of(inputs) else { return false };
    if ground.turn == Turn::Nobody {
        return false;
    }
    is_due(&ground, &assign::members_to_slots(&ground))
}

/// The server whose loss would call for a stand-in: pgpool's primary.
pub fn server_to_watch(inputs: &Inputs) -> Option<Address> {
    let pool = inputs.pool.as_ref().ok()?;
    let primary = pool.primary().filter(|p| pool.is_attached(*p))?;
    let stands_in = inputs.policy.on_primary_loss == OnPrimaryLoss::StandIn;
    pool.nodes.get(&primary)?.address().filter(|_| stands_in)
}

/// As [`promote_is_due`].
pub(super) fn is_due(ground: &Ground, assignment: &Assignment) -> bool {
    let attached = assignment.leader.is_some_and(|l| ground.pool.is_attached(l));
    attached && !ground.cluster.standby_cluster && ground.pool.primary() != assignment.leader
}
