//! How members behave: how long each has been good, and how often it stopped being so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Next;
use crate::model::cluster::{ClusterView, Member};
use crate::model::elapsed::Trial;
use crate::model::ids::MemberName;

/// A member that has been good, or gone, for so long starts anew. Longer than the longest trial, or
/// else it would be forgotten within it; not so long that last night's trouble counts today.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// No trial is longer, however often a member falls: a replica that has been good for a minute is
/// worth a try.
const TRIAL_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Conducts {
    /// `None` before the first look: who is good then has been so all along, as far as anybody
    /// knows.
    members: Option<BTreeMap<MemberName, Conduct>>,
}

#[derive(Debug, Clone, Copy)]
struct Conduct {
    is_good: bool,
    since: Instant,
    /// What it has to show this time.
    trial: Trial,
}

impl Conducts {
    pub fn see(&mut self, cluster: &ClusterView, attach_after: Duration, now: Instant) {
        let Some(members) = &mut self.members else {
            let good = cluster.members.values().filter(|m| m.is_serving());
            let trusted = Trial { lasts: Duration::ZERO, falls: 0 };
            let conduct = |is_good| Conduct { is_good, since: now, trial: trusted };
            self.members = Some(good.map(|m| (m.name.clone(), conduct(true))).collect());
            return;
        };
        for (name, conduct) in members.iter_mut() {
            let is_good = cluster.members.get(name).is_some_and(Member::is_serving);
            conduct.see(is_good, attach_after, now);
        }
        members.retain(|_, conduct| conduct.is_good || conduct.is_recent(now));
        for member in cluster.members.values().filter(|m| m.is_serving()) {
            let trial = Trial { lasts: attach_after, falls: 0 };
            let first_seen = Conduct { is_good: true, since: now, trial };
            members.entry(member.name.clone()).or_insert(first_seen);
        }
    }

    /// Who stopped being good less than so long ago.
    pub fn fell(&self, lately: Duration, next: &mut Next) -> BTreeSet<MemberName> {
        let members = self.members.iter().flatten();
        let bad = members.filter(|(_, c)| !c.is_good);
        bad.filter(|(_, c)| next.is_before(c.since + lately))
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub fn unproven(&self, next: &mut Next) -> BTreeMap<MemberName, Trial> {
        let members = self.members.iter().flatten();
        let good = members.filter(|(_, c)| c.is_good);
        let on_trial = good.filter(|(_, c)| next.is_before(c.since + c.trial.lasts));
        on_trial.map(|(name, c)| (name.clone(), c.trial)).collect()
    }
}

impl Conduct {
    fn see(&mut self, is_good: bool, attach_after: Duration, now: Instant) {
        match (self.is_good, is_good) {
            (true, true) if !self.is_recent(now) => self.trial.falls = 0,
            (true, true) | (false, false) => {}
            (true, false) => {
                self.trial.falls += 1;
                (self.is_good, self.since) = (false, now);
            }
            (false, true) => {
                self.trial.lasts = trial_after(self.trial.falls, attach_after);
                (self.is_good, self.since) = (true, now);
            }
        }
    }

    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < FORGOTTEN_AFTER
    }
}

/// The first fall is free; each more doubles what has to be shown.
fn trial_after(falls: u32, attach_after: Duration) -> Duration {
    let factor = 1u32.checked_shl(falls.saturating_sub(1)).unwrap_or(u32::MAX);
    attach_after.saturating_mul(factor).min(TRIAL_MAX.max(attach_after))
}
