//! Which slots may be attached now. An attach makes pgpool's main process search for a primary by
//! logging in to every attached server, without a time limit: so a writable leader must be among
//! them, each must have answered just now, and nobody else may say that it is writable: pgpool
//! would take the highest such slot, whoever holds the leader key (proto-notes/hazards.md, 5).

use crate::model::ids::{SlotIndex, printable};
use crate::model::reach::Answer;

use super::sequence::Sequence;
use super::{agree, farther};

/// What may be attached, leader first, and what must be detached before because it would freeze or
/// mislead the search.
#[derive(Default)]
pub struct Allowed {
    pub slots: Vec<SlotIndex>,
    pub blockers: Vec<SlotIndex>,
}

/// Says a hold for each slot that should be attached and may not be yet.
pub fn allowed_now(sequence: &mut Sequence) -> Allowed {
    let mut wanted = wanted(sequence);
    wanted.retain(|slot| is_known_to_all(sequence, *slot));
    if wanted.is_empty() || !sequence.ground.may_command() {
        return Allowed::default();
    }
    if leader_stays_out(sequence, &wanted) {
        for slot in wanted {
            sequence.hold(slot, "is attached as soon as the leader is");
        }
        return Allowed::default();
    }
    if let Some(why) = why_no_primary_would_be_found(sequence) {
        for slot in wanted {
            sequence.hold(slot, format!("is attached as soon as the leader is writable: {why}"));
        }
        return Allowed::default();
    }
    let slots: Vec<_> = wanted.into_iter().filter(|s| answers(sequence, *s)).collect();
    let Sequence { ground, assignment, wishes, .. } = sequence;
    let slots = farther::without_those_behind(ground, assignment, wishes, slots);
    if slots.is_empty() {
        return Allowed::default();
    }
    if let Some(slot) = unanswered(sequence) {
        sequence.hold(slot, why_not_searched(sequence, slot));
        return Allowed::default();
    }
    let blockers = blockers(sequence);
    let hung = blockers.iter().filter(|s| would_freeze(sequence, **s)).count();
    if hung > 1 && sequence.primary.is_none() {
        // Without a primary pgpool searches at each detach too, and would freeze on the next one.
        for slot in slots {
            sequence.hold(slot, NO_WAY_BUT_A_RESTART);
        }
        return Allowed::default();
    }
    // pgpool may believe a rival that stays: then the leader alone comes in now, and is promoted
    // next.
    let slots = match is_misled(sequence, &blockers) {
        true => slots.into_iter().filter(|s| sequence.assignment.leader == Some(*s)).collect(),
        false => slots,
    };
    Allowed { slots, blockers }
}

/// In a watchdog cluster: says a hold while a pgpool does not know the slot yet.
fn is_known_to_all(sequence: &mut Sequence, slot: SlotIndex) -> bool {
    let Some(address) = sequence.assignment.address(slot) else { return true };
    let Some(name) = agree::who_lacks(sequence.ground, slot, address) else { return true };
    let reason = format!("is attached as soon as {} knows this slot", printable(name));
    sequence.hold(slot, reason);
    false
}

/// The leader is detached, and may not come in yet: a search would not find it.
fn leader_stays_out(sequence: &Sequence, wanted: &[SlotIndex]) -> bool {
    let out = |l: SlotIndex| !sequence.attached.contains(&l) && !wanted.contains(&l);
    !sequence.ground.cluster.standby_cluster && sequence.assignment.leader.is_some_and(out)
}

/// Whether a search would meet somebody who wrongly says that it is writable.
pub fn is_misled(sequence: &Sequence, blockers: &[SlotIndex]) -> bool {
    let mut stay = sequence.attached.iter().filter(|s| !blockers.contains(s));
    stay.any(|s| claims_to_lead(sequence, *s))
}

const NO_WAY_BUT_A_RESTART: &str = "cannot be attached: pgpool has no primary and several attached \
    servers hang; it waits until they answer or pgpool is restarted";

/// Attached servers that the search must not meet: those that wrongly say they are writable, then
/// those that hang; pgpool's primary last, because its detaching is itself a search.
fn blockers(sequence: &Sequence) -> Vec<SlotIndex> {
    let attached = || sequence.attached.iter().copied();
    let primary = |s: &SlotIndex| sequence.primary == Some(*s);
    let mut hung: Vec<_> = attached().filter(|s| would_freeze(sequence, *s)).collect();
    hung.sort_by_key(primary);
    let led = attached().any(|s| primary(&s));
    let misleading = attached().filter(|s| led && claims_to_lead(sequence, *s) && !primary(s));
    misleading.chain(hung).collect()
}

/// Whether a server that does not hold the leader key says that it is writable.
pub fn claims_to_lead(sequence: &Sequence, slot: SlotIndex) -> bool {
    !sequence.ground.cluster.standby_cluster
        && sequence.assignment.leader != Some(slot)
        && answer(sequence, slot) == Some(&Answer::Writable)
}

/// The first attached slot whose server has given no answer.
pub fn unanswered(sequence: &Sequence) -> Option<SlotIndex> {
    sequence.attached.iter().copied().find(|s| answer(sequence, *s).is_none())
}

/// Why pgpool must not be made to log in to this attached server, and what would end that.
pub fn why_not_searched(sequence: &Sequence, slot: SlotIndex) -> &'static str {
    if sequence.assignment.address(slot).is_none() {
        return "is a socket directory, which cannot be asked: nothing is attached or detached \
                until it is detached by hand (pcp_detach_node)";
    }
    match answer(sequence, slot) {
        Some(_) => "does not answer from here: nothing is detached until it does",
        None => "has not been asked yet: nothing is attached or detached until it has answered",
    }
}

/// Whether pgpool's main process would wait for this server in its search for a primary.
pub fn would_freeze(sequence: &Sequence, slot: SlotIndex) -> bool {
    answer(sequence, slot).is_some_and(|a| !a.is_safe_to_search())
}

pub fn is_safe_to_search(sequence: &Sequence, slot: SlotIndex) -> bool {
    answer(sequence, slot).is_some_and(Answer::is_safe_to_search)
}

pub fn why_in_the_way(sequence: &Sequence, slot: SlotIndex) -> &'static str {
    match would_freeze(sequence, slot) {
        true => "does not answer: an attach now would freeze pgpool on it",
        false => "says that it is writable without holding the leader key: pgpool might believe it",
    }
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

const CLAIMS_TO_LEAD: &str = "says that it is writable without holding the leader key: it is \
    attached as soon as it is a standby";

/// Whether a slot to attach has just answered; says a hold when it has not.
fn answers(sequence: &mut Sequence, slot: SlotIndex) -> bool {
    if claims_to_lead(sequence, slot) {
        sequence.hold(slot, CLAIMS_TO_LEAD);
        return false;
    }
    let why = match answer(sequence, slot) {
        Some(answer) if answer.is_alive() => return true,
        Some(Answer::Dead(why) | Answer::Unreachable(why) | Answer::Hung(why)) => why.clone(),
        _ => "it has not been asked yet".to_owned(),
    };
    sequence.hold(slot, format!("is attached as soon as it answers from here: {why}"));
    false
}

fn answer<'a>(sequence: &Sequence<'a>, slot: SlotIndex) -> Option<&'a Answer> {
    let answer = |(slot, at): (_, &_)| Some((slot, sequence.ground.reach.of(at)?));
    let all = || sequence.assignment.addresses().filter_map(answer).collect();
    sequence.answers.get_or_init(all).get(&slot).copied()
}
