//! Who leaves on purpose while it still serves: its readers are given time to end. It gets no new
//! ones meanwhile, because its weight is 0. Whoever is dead, gone or unknown is not waited for.

use std::collections::BTreeMap;

use crate::model::ids::SlotIndex;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;
use super::why::Why;
use super::wish::{Want, Wish};

/// What Patroni calls a member that is being stopped.
const STOPPING: &str = "stopping";

/// Whether the detach of this slot is a choice, so that it may wait. An old leader is none: its
/// sessions ended when it was demoted.
pub fn is_on_purpose(ground: &Ground, slot: SlotIndex, wish: &Wish) -> bool {
    let chosen = match wish.why {
        Why::Remote(..) | Why::NoLoadBalance(_) | Why::Held(..) | Why::RestartDue(_) => true,
        Why::NotNeeded(..) | Why::FarBehind(..) => true,
        Why::NotServing(_, state) => state == STOPPING,
        _ => false,
    };
    let leaves = matches!(wish.want, Want::Detached(_) | Want::Leaving(..));
    chosen && leaves && ground.pool.is_attached(slot) && ground.pool.primary() != Some(slot)
}

/// Slots that drain stay attached, without reads.
pub fn give_readers_time(
    ground: &Ground,
    assignment: &Assignment,
    by_slot: &mut BTreeMap<SlotIndex, Wish>,
) {
    for slot in &ground.elapsed.draining {
        let Some(wish) = by_slot.get_mut(slot) else { continue };
        let leaves = is_on_purpose(ground, *slot, wish);
        if let Want::Detached(weight) = wish.want
            && leaves
            && still_serves(ground, assignment, *slot, wish)
        {
            wish.want = Want::Leaving(ground.policy.patience.drain_timeout, weight);
        }
    }
}

/// Patroni's word is enough for one that runs. One that stops may be past serving, and then it
/// would keep every new session out: it must have answered just now.
fn still_serves(ground: &Ground, assignment: &Assignment, slot: SlotIndex, wish: &Wish) -> bool {
    let answer = || ground.reach.of(assignment.address(slot)?);
    !must_be_asked(wish) || answer().is_some_and(Answer::is_alive)
}

/// Whether only the server itself can say if it still serves.
pub fn must_be_asked(wish: &Wish) -> bool {
    matches!(wish.why, Why::NotServing(_, STOPPING))
}
