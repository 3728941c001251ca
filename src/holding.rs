//! Since when each hold holds. Pure: the time comes in as an argument.

use std::time::SystemTime;

use crate::model::plan::Hold;

/// The holds of the last plan, each with the time at which it was first seen without a break.
#[derive(Debug, Default)]
pub struct Holding {
    holds: Vec<(Hold, SystemTime)>,
}

/// What a new plan changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub begun: Vec<Hold>,
    pub ended: Vec<Hold>,
}

impl Holding {
    pub fn update(&mut self, holds: &[Hold], now: SystemTime) -> Change {
        let before = std::mem::take(&mut self.holds);
        let since = |hold: &Hold| before.iter().find(|(h, _)| h == hold).map(|(_, since)| *since);
        let begun = holds.iter().filter(|h| since(h).is_none()).cloned().collect();
        let ended = before.iter().map(|(h, _)| h).filter(|h| !holds.contains(h)).cloned().collect();
        self.holds = holds.iter().map(|h| (h.clone(), since(h).unwrap_or(now))).collect();
        Change { begun, ended }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Hold, SystemTime)> {
        self.holds.iter().map(|(hold, since)| (hold, *since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hold(reason: &str) -> Hold {
        Hold { member: None, slot: None, reason: reason.to_owned() }
    }

    #[test]
    fn a_hold_keeps_its_time_while_it_lasts_and_loses_it_when_it_ends() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let mut holding = Holding::default();
        assert_eq!(holding.update(&[hold("a")], at(1)).begun, [hold("a")]);
        let change = holding.update(&[hold("a"), hold("b")], at(2));
        assert_eq!(change, Change { begun: vec![hold("b")], ended: vec![] });
        let since: Vec<_> = holding.iter().map(|(_, since)| since).collect();
        assert_eq!(since, [at(1), at(2)]);
        assert_eq!(holding.update(&[hold("b")], at(3)).ended, [hold("a")]);
        holding.update(&[hold("a")], at(4));
        assert_eq!(holding.iter().next().unwrap().1, at(4));
    }
}
