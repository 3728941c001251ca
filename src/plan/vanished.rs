//! Members that vanished from Patroni together with most others: [`crate::model::past`] says why
//! they are not simply gone. Each keeps its slot as it is for as long as its server answers.

use crate::model::ids::{Address, MemberName, SlotIndex};
use crate::model::plan::Hold;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;

/// The vanished member at this address, unless its server is known not to serve reads any more: one
/// that is dead or hangs makes every new session wait, one that is writable is another cluster's.
pub fn that_may_serve<'a>(ground: &Ground<'a>, address: &Address) -> Option<&'a MemberName> {
    let name = ground.past.vanished_from(address)?;
    match ground.reach.of(address) {
        None | Some(Answer::ReadOnly | Answer::Alive(_)) => Some(name),
        Some(Answer::Writable) => None,
        Some(Answer::Dead(_) | Answer::Unreachable(_) | Answer::Hung(_)) => None,
    }
}

/// Attached servers of vanished members: whether they answer decides.
pub fn attached<'a>(
    ground: &'a Ground,
    assignment: &'a Assignment,
) -> impl Iterator<Item = (SlotIndex, &'a Address)> {
    let attached = ground.pool.attached().map(|(slot, _)| slot);
    let address = |slot| Some((slot, assignment.address(slot)?));
    let unlisted = |(slot, _): &(SlotIndex, _)| assignment.member(*slot).is_none();
    let vanished = |(_, at): &(_, &Address)| ground.past.vanished_from(at).is_some();
    attached.filter_map(address).filter(unlisted).filter(vanished)
}

pub fn holds(ground: &Ground, assignment: &Assignment) -> Vec<Hold> {
    const REASON: &str = "vanished from Patroni together with most other members: it stays \
                          attached while it answers, until it is back; if it is gone for good, \
                          reload geo-agent (SIGHUP)";
    let kept = attached(ground, assignment)
        .filter_map(|(slot, at)| Some((slot, that_may_serve(ground, at)?.clone())));
    kept.map(|(slot, name)| Hold {
        member: Some(name),
        slot: Some(slot),
        reason: REASON.to_owned(),
    })
    .collect()
}
