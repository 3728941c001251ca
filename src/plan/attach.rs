//! Which slots may be attached now. An attach makes pgpool's main process search for a primary by
//! logging in to every attached server, without a time limit: so a writable leader must be among
//! them, and each must have answered just now.

use crate::model::ids::SlotIndex;
use crate::model::reach::Answer;

use super::sequence::Sequence;

/// What may be attached, leader first, and what must be detached before because it hangs.
#[derive(Default)]
pub struct Allowed {
    pub slots: Vec<SlotIndex>,
    pub blockers: Vec<SlotIndex>,
}

/// Says a hold for each slot that should be attached and may not be yet.
pub fn allowed_now(sequence: &mut Sequence) -> Allowed {
    let wanted = wanted(sequence);
    let Some(first) = wanted.first().copied() else { return Allowed::default() };
    if !sequence.may_command(first) {
        return Allowed::default();
    }
    if let Some(why) = why_no_primary_would_be_found(sequence) {
        for slot in wanted {
            sequence.hold(slot, format!("is attached as soon as the leader is writable: {why}"));
        }
        return Allowed::default();
    }
    let slots: Vec<_> = wanted.into_iter().filter(|s| answers(sequence, *s)).collect();
    if slots.is_empty() {
        return Allowed::default();
    }
    let attached: Vec<_> = sequence.attached.iter().copied().collect();
    if let Some(slot) = attached.iter().find(|s| answer(sequence, **s).is_none()) {
        sequence.hold(*slot, "has not been asked yet, and an attach needs its answer");
        return Allowed::default();
    }
    let blockers = attached.into_iter().filter(|s| would_freeze(sequence, *s)).collect();
    Allowed { slots, blockers }
}

/// Whether pgpool's main process would wait for this server in its search for a primary.
pub fn would_freeze(sequence: &Sequence, slot: SlotIndex) -> bool {
    answer(sequence, slot).is_some_and(|a| !a.is_safe_to_search())
}

/// Detached slots that should be attached: the leader's first, because a search finds only
/// attached servers.
fn wanted(sequence: &Sequence) -> Vec<SlotIndex> {
    let leader = sequence.assignment.leader;
    let slots = sequence.assignment.table.entries.keys().copied();
    let mut wanted: Vec<_> = slots
        .filter(|s| sequence.wishes.is_attached(*s) && !sequence.attached.contains(s))
        .collect();
    wanted.sort_by_key(|s| (leader != Some(*s), *s));
    wanted
}

fn why_no_primary_would_be_found(sequence: &Sequence) -> Option<String> {
    if sequence.ground.cluster.standby_cluster {
        return None; // nobody is writable, and nobody ever will be: the search ends in vain
    }
    if sequence.assignment.leader.is_none() {
        return Some("it has no slot".to_owned());
    }
    sequence.ground.why_not_writable()
}

/// Whether a slot to attach has just answered; says a hold when it has not.
fn answers(sequence: &mut Sequence, slot: SlotIndex) -> bool {
    let why = match answer(sequence, slot) {
        Some(answer) if answer.is_alive() => return true,
        Some(Answer::Dead(why) | Answer::Unreachable(why) | Answer::Hung(why)) => why.clone(),
        _ => "it has not been asked yet".to_owned(),
    };
    sequence.hold(slot, format!("is attached as soon as it answers from here: {why}"));
    false
}

fn answer<'a>(sequence: &Sequence<'a>, slot: SlotIndex) -> Option<&'a Answer> {
    let entry = sequence.assignment.table.entries.get(&slot)?;
    sequence.ground.reach.of(&entry.address()?)
}
