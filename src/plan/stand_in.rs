//! Who stands in as pgpool's primary when the one it has is beyond reach. Never an opinion about
//! who leads: the leader takes over as soon as it can be attached.

use std::collections::BTreeSet;

use crate::model::ids::SlotIndex;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;
use super::wish::{Want, Wishes};

/// The best attached reader that has just answered: a synchronous standby before others, then the
/// one with most WAL, then the lowest slot.
pub fn choose(
    ground: &Ground,
    assignment: &Assignment,
    wishes: &Wishes,
    attached: &BTreeSet<SlotIndex>,
) -> Option<SlotIndex> {
    let reads = |s: &SlotIndex| matches!(wishes.want(*s), Want::Reader(_));
    let answered = |s: &SlotIndex| answer(ground, assignment, *s).is_some_and(Answer::is_alive);
    let rank = |s: &SlotIndex| {
        let member = assignment.member(*s);
        let synchronous = member.is_some_and(|m| {
            ground.cluster.sync_standbys.iter().any(|n| n.eq_ignore_ascii_case(m.name.as_raw()))
        });
        (synchronous, member.and_then(|m| m.replay_lsn), std::cmp::Reverse(*s))
    };
    attached.iter().copied().filter(|s| reads(s) && answered(s)).max_by_key(rank)
}

fn answer<'a>(ground: &Ground<'a>, assignment: &Assignment, slot: SlotIndex) -> Option<&'a Answer> {
    ground.reach.of(assignment.address(slot)?)
}
