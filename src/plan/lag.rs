//! Who is too far behind to be read from. It stays attached, with weight 0: its sessions live on,
//! and giving it reads again takes no more than a reload.

use crate::model::cluster::Member;
use crate::model::ids::SlotIndex;

use super::ground::Ground;

/// How far behind a replica loses its reads, and how near it must come to get them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub max: u64,
    pub again: u64,
}

/// `None`: it may be read from, as far as anybody knows. Weight 0 in the file is the memory of who
/// was too far behind, so a restarted agent goes on where it was, and a replica that swings around
/// one limit does not make pgpool reload at each swing. A local one that is detached has weight 0
/// for other reasons.
pub fn too_far(ground: &Ground, slot: SlotIndex, member: &Member) -> Option<Limits> {
    let max = ground.policy.patience.max_lag?;
    let limits = Limits { max, again: max / 2 };
    let behind = ground.cluster.leader_lsn?.saturating_sub(member.replay_lsn?);
    let local = ground.policy.local_weight(member).is_some();
    let remembered = !local || ground.pool.is_attached(slot);
    let limit = match ground.weight_in_file(slot).filter(|_| remembered) {
        Some(0.0) => limits.again,
        _ => limits.max,
    };
    (behind > limit).then_some(limits)
}
