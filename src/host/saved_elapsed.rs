//! The daemon's [`Elapsed`] in its state file, so that `plan` and `status` show what it waits for.
//! They decide nothing by it: only the daemon acts beside a daemon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::elapsed::{Elapsed, Trial};
use crate::model::ids::{MemberName, SlotIndex};

/// A [`Elapsed`] in the types of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedElapsed {
    unproven: Vec<SavedTrial>,
    fell: Vec<String>,
    restart_due: Vec<String>,
    draining: Vec<usize>,
    by_hand: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedTrial {
    member: String,
    lasts_ms: u64,
    falls: u32,
}

impl From<&Elapsed> for SavedElapsed {
    fn from(elapsed: &Elapsed) -> Self {
        let Elapsed { unproven, fell, restart_due, draining, by_hand, leader_stays: _ } = elapsed;
        let trial = |(member, trial): (&MemberName, &Trial)| SavedTrial {
            member: member.as_raw().to_owned(),
            lasts_ms: u64::try_from(trial.lasts.as_millis()).unwrap_or(u64::MAX),
            falls: trial.falls,
        };
        let names = |members: &std::collections::BTreeSet<MemberName>| {
            members.iter().map(|m| m.as_raw().to_owned()).collect::<Vec<_>>()
        };
        let numbers = |slots: &std::collections::BTreeSet<SlotIndex>| {
            slots.iter().map(|s| s.get()).collect::<Vec<_>>()
        };
        SavedElapsed {
            unproven: unproven.iter().map(trial).collect(),
            fell: names(fell),
            restart_due: names(restart_due),
            draining: numbers(draining),
            by_hand: numbers(by_hand),
        }
    }
}

impl From<&SavedElapsed> for Elapsed {
    fn from(saved: &SavedElapsed) -> Self {
        let trial = |t: &SavedTrial| {
            let trial = Trial { lasts: Duration::from_millis(t.lasts_ms), falls: t.falls };
            (MemberName::new(t.member.clone()), trial)
        };
        let slots =
            |numbers: &[usize]| numbers.iter().copied().filter_map(SlotIndex::new).collect();
        Elapsed {
            unproven: saved.unproven.iter().map(trial).collect(),
            fell: saved.fell.iter().map(MemberName::new).collect(),
            restart_due: saved.restart_due.iter().map(MemberName::new).collect(),
            draining: slots(&saved.draining),
            by_hand: slots(&saved.by_hand),
            leader_stays: false, // a single look cannot know
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_comes_back_as_it_was_saved() {
        let trial = Trial { lasts: Duration::from_millis(2500), falls: 3 };
        let elapsed = Elapsed {
            unproven: [(MemberName::new("a\n"), trial)].into(),
            fell: [MemberName::new("c")].into(),
            restart_due: [MemberName::new("b")].into(),
            draining: SlotIndex::new(1).into_iter().collect(),
            by_hand: SlotIndex::new(2).into_iter().collect(),
            leader_stays: false,
        };
        let text = serde_json::to_string(&SavedElapsed::from(&elapsed)).unwrap();
        let read: SavedElapsed = serde_json::from_str(&text).unwrap();
        assert_eq!(Elapsed::from(&read), elapsed);
        let none: SavedElapsed = serde_json::from_str("{}").unwrap();
        assert_eq!(Elapsed::from(&none), Elapsed::default());
    }
}
