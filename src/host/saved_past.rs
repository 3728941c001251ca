//! The daemon's [`Past`] in its state file, so that `plan` and `status` show what the daemon waits
//! for. They decide nothing by it: only the daemon acts beside a daemon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::ids::{MemberName, SlotIndex};
use crate::model::past::{Past, Trial};

/// A [`Past`] in the types of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedPast {
    unproven: Vec<SavedTrial>,
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

impl From<&Past> for SavedPast {
    fn from(past: &Past) -> Self {
        let Past { unproven, restart_due, draining, by_hand } = past;
        let trial = |(member, trial): (&MemberName, &Trial)| SavedTrial {
            member: member.as_raw().to_owned(),
            lasts_ms: u64::try_from(trial.lasts.as_millis()).unwrap_or(u64::MAX),
            falls: trial.falls,
        };
        let numbers = |slots: &std::collections::BTreeSet<SlotIndex>| {
            slots.iter().map(|s| s.get()).collect::<Vec<_>>()
        };
        SavedPast {
            unproven: unproven.iter().map(trial).collect(),
            restart_due: restart_due.iter().map(|m| m.as_raw().to_owned()).collect(),
            draining: numbers(draining),
            by_hand: numbers(by_hand),
        }
    }
}

impl From<&SavedPast> for Past {
    fn from(saved: &SavedPast) -> Self {
        let trial = |t: &SavedTrial| {
            let trial = Trial { lasts: Duration::from_millis(t.lasts_ms), falls: t.falls };
            (MemberName::new(t.member.clone()), trial)
        };
        let slots =
            |numbers: &[usize]| numbers.iter().copied().filter_map(SlotIndex::new).collect();
        Past {
            unproven: saved.unproven.iter().map(trial).collect(),
            restart_due: saved.restart_due.iter().map(MemberName::new).collect(),
            draining: slots(&saved.draining),
            by_hand: slots(&saved.by_hand),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_past_comes_back_as_it_was_saved() {
        let trial = Trial { lasts: Duration::from_millis(2500), falls: 3 };
        let past = Past {
            unproven: [(MemberName::new("a\n"), trial)].into(),
            restart_due: [MemberName::new("b")].into(),
            draining: SlotIndex::new(1).into_iter().collect(),
            by_hand: SlotIndex::new(2).into_iter().collect(),
        };
        let text = serde_json::to_string(&SavedPast::from(&past)).unwrap();
        let read: SavedPast = serde_json::from_str(&text).unwrap();
        assert_eq!(Past::from(&read), past);
        let none: SavedPast = serde_json::from_str("{}").unwrap();
        assert_eq!(Past::from(&none), Past::default());
    }
}
