//! Which slots may be detached now: only once the leader is attached and pgpool's primary, so that
//! neither the last server nor the primary is taken away.

use crate::model::ids::SlotIndex;

use super::attach::{self, Allowed};
use super::sequence::Sequence;
use super::wish::Want;

/// Attached slots that should not be, as far as they may go after this attach.
pub fn allowed_now(sequence: &mut Sequence, attach: &Allowed) -> Vec<SlotIndex> {
    let unwanted = |s: &SlotIndex| matches!(sequence.wishes.want(*s), Want::Detached(_));
    let detach: Vec<_> = sequence.attached.iter().copied().filter(unwanted).collect();
    if detach.is_empty() {
        return detach;
    }
    let leader = sequence.assignment.leader;
    let safe = match sequence.ground.cluster.standby_cluster {
        true => readers_stay(sequence, attach) && may_search(sequence, &attach.blockers),
        false => {
            let comes = leader.is_some_and(|l| attach.slots.contains(&l));
            sequence.leader_leads_pgpool()
                || (comes && !attach::is_misled(sequence, &attach.blockers))
        }
    };
    if safe && sequence.ground.may_command() { detach } else { Vec::new() }
}

/// In a standby cluster: somebody who should be attached is, or is being.
fn readers_stay(sequence: &Sequence, attach: &Allowed) -> bool {
    let stays = |s: &SlotIndex| sequence.wishes.is_attached(*s) && !attach.blockers.contains(s);
    !attach.slots.is_empty() || sequence.attached.iter().any(stays)
}

/// In a standby cluster pgpool has no primary, and searches for one at each detach as well.
fn may_search(sequence: &mut Sequence, gone: &[SlotIndex]) -> bool {
    let mut stay = sequence.attached.iter().copied().filter(|s| !gone.contains(s));
    let Some(met) = stay.find(|s| !attach::is_safe_to_search(sequence, *s)) else { return true };
    if sequence.ground.may_command() {
        let why = attach::why_not_searched(sequence, met);
        sequence.hold(met, why);
    }
    false
}
