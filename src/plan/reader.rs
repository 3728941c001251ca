//! What a local replica that serves should be: a reader, as soon as it has shown that it stays, if
//! nobody took it out by hand, and with reads if it is not too far behind.

use crate::model::cluster::Member;
use crate::model::ids::SlotIndex;

use super::ground::Ground;
use super::lag;
use super::why::{Located, Why};
use super::wish::{Want, Wish};

/// The wish for a member that may be read from, with this weight.
pub fn wish<'a>(ground: &Ground<'a>, slot: SlotIndex, member: &'a Member, weight: f64) -> Wish<'a> {
    let far = lag::too_far(ground, slot, member).filter(|_| weight > 0.0);
    let weight = if far.is_some() { 0.0 } else { weight };
    if let Some(why) = why_not_yet(ground, slot, member) {
        return Wish { want: Want::Detached(weight), why };
    }
    let replica = Why::LocalReplica(&member.name, Located::of(ground.policy, member));
    let why = far.map_or(replica, |limits| Why::FarBehind(&member.name, limits));
    Wish { want: Want::Reader(weight), why }
}

/// Nothing of this is a reason to detach anybody. And while nobody at all is attached, nothing is
/// worth waiting for.
fn why_not_yet<'a>(ground: &Ground<'a>, slot: SlotIndex, member: &'a Member) -> Option<Why<'a>> {
    if ground.pool.is_attached(slot) || ground.pool.attached().next().is_none() {
        return None;
    }
    if ground.elapsed.by_hand.contains(&slot) {
        let respected = ground.policy.patience.respect_manual_detach;
        return Some(Why::ByHand(&member.name, respected));
    }
    let trial = ground.elapsed.unproven.get(&member.name)?;
    Some(Why::Unproven(&member.name, *trial))
}
