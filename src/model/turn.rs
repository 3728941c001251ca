//! Taking turns in a watchdog cluster: its pgpools share who is attached and who is primary, so
//! their agents must not all change that at once.

use std::time::Duration;

use super::plan::Act;

/// What this agent remembers of the changes of shared states that it leaves to another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Undone {
    /// The changes that were due at the last look.
    pub due: Vec<Act>,
    /// For how long the first of them has been due now.
    pub lasts: Duration,
    /// Those that this agent began with when it last stepped in, and how often it made them again
    /// because somebody had undone them.
    pub made: Vec<Act>,
    pub again: u32,
    /// It acts in another's place, and goes on until nothing is left to do.
    pub steps_in: bool,
}

impl Undone {
    /// The memory after a look at which these were due. `made`: this agent has made them.
    pub fn after(mut self, due: Vec<Act>, made: bool) -> Self {
        // Another change comes first than before, and not by this agent: somebody is at work, or
        // something new has happened. Either gives the others their time anew.
        if due.first() != self.due.first() && !self.steps_in {
            self.lasts = Duration::ZERO;
        }
        if made && !self.steps_in {
            self.again = if due == self.made { self.again.saturating_add(1) } else { 0 };
            self.made.clone_from(&due);
        }
        self.steps_in = made || (self.steps_in && !due.is_empty());
        self.due = due;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::SlotIndex;

    fn attach(n: usize) -> Vec<Act> {
        vec![Act::Attach(SlotIndex::new(n).unwrap())]
    }

    fn after_a_second(undone: Undone, due: Vec<Act>, made: bool) -> Undone {
        let lasts = undone.lasts + Duration::from_secs(1);
        Undone { lasts, ..undone }.after(due, made)
    }

    #[test]
    fn time_counts_while_the_same_is_due_and_starts_anew_with_every_progress() {
        let first = after_a_second(Undone::default(), attach(1), false);
        assert_eq!(first.lasts, Duration::ZERO);
        let same = after_a_second(first, attach(1), false);
        assert_eq!(same.lasts, Duration::from_secs(1));
        assert_eq!(after_a_second(same, attach(2), false).lasts, Duration::ZERO);
    }

    #[test]
    fn what_comes_later_in_the_list_takes_no_time_from_the_first() {
        let both = [attach(1), attach(2)].concat();
        let first = after_a_second(Undone::default(), both, false);
        assert_eq!(after_a_second(first, attach(1), false).lasts, Duration::from_secs(1));
    }

    #[test]
    fn whoever_steps_in_goes_on_until_nothing_is_left() {
        let due =
            after_a_second(after_a_second(Undone::default(), attach(1), false), attach(1), true);
        let next = after_a_second(due, attach(2), true);
        assert!(next.steps_in && next.lasts == Duration::from_secs(2));
        assert!(!after_a_second(next, Vec::new(), false).steps_in);
    }

    #[test]
    fn what_somebody_undoes_again_and_again_is_counted() {
        let mut undone = Undone::default();
        for again in 0..3 {
            undone = undone.after(attach(1), true).after(Vec::new(), false);
            assert_eq!(undone.again, again);
        }
        assert_eq!(undone.after(attach(2), true).again, 0);
    }
}
