//! Judges the attach of a replica that is not local, as [`super::check`] does: nobody may have the
//! reads nearer by.

use crate::model::cluster::Member;
use crate::model::ids::SlotIndex;
use crate::model::reach::Answer;

use super::check_known::Known;
use super::ground::Ground;
use super::lag;

/// Who is where in pgpool.
pub struct Members<'g, 'a> {
    pub ground: &'g Ground<'a>,
    pub known: &'g Known<'a>,
}

impl Members<'_, '_> {
    /// `readers`: the attached slots that have a weight.
    pub fn why_not_attach(
        &self,
        slot: SlotIndex,
        mut readers: impl Iterator<Item = SlotIndex>,
    ) -> Option<String> {
        if self.leads(slot) {
            return None;
        }
        let Some(tier) = self.tier(slot) else {
            return Some(format!("attaches slot {slot}, which is remote and in no tier"));
        };
        if tier == 0 {
            return None;
        }
        let nearer = |s: &SlotIndex| self.tier(*s).is_some_and(|t| t < tier) && self.serves(*s);
        let nearer = readers.find(nearer)?;
        Some(format!("attaches slot {slot} of tier {tier}, while slot {nearer} serves nearer by"))
    }

    /// Several members may claim one address: the leader counts, else the nearest.
    fn tier(&self, slot: SlotIndex) -> Option<usize> {
        let policy = self.ground.policy;
        match self.members(slot).find(|m| self.ground.leads(m)) {
            Some(leader) => policy.tier(leader),
            None => self.members(slot).filter_map(|m| policy.tier(m)).min(),
        }
    }

    fn leads(&self, slot: SlotIndex) -> bool {
        self.members(slot).any(|m| self.ground.leads(m))
    }

    fn serves(&self, slot: SlotIndex) -> bool {
        let Ground { policy, elapsed, .. } = self.ground;
        let answer = self.known.answers.get(&slot).copied();
        let hangs = answer.is_some_and(|a| !a.is_safe_to_search());
        let misleads = answer == Some(&Answer::Writable) && !self.leads(slot);
        let may_read = |m: &Member| {
            let leaves = m.noloadbalance || m.orders.held.is_some();
            let leaves = leaves || elapsed.restart_due.contains(&m.name);
            let lags = !self.ground.leads(m) && lag::too_far(self.ground, slot, m).is_some();
            m.is_serving() && !leaves && !lags && policy.local_weight(m).is_none_or(|w| w > 0.0)
        };
        !hangs && !misleads && self.members(slot).all(may_read)
    }

    fn members(&self, slot: SlotIndex) -> impl Iterator<Item = &Member> {
        self.known.members.get(&slot).into_iter().flatten().copied()
    }
}
