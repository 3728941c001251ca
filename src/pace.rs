//! How long the loop waits between two looks, and what it has to remember for that.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Retry;
use crate::model::ids::{Address, MemberName};
use crate::retry::{Outcome, next_look};

/// What the loop keeps from look to look. Nothing is decided by it but the time of the next look.
#[derive(Default)]
pub struct Pace {
    backoff: Retry,
    /// Looks that led to steps since the last one that led to none.
    acted: u32,
    leader: Option<MemberName>,
    pub awaited: Option<Awaited>,
}

/// A leader that is not writable yet.
#[derive(Clone)]
pub struct Awaited {
    pub leader: Address,
    pub since: Instant,
}

impl Pace {
    /// How long to wait after a round.
    /// `leader`: whom it found leading. `awaited`: the leader that is not writable yet.
    pub fn after(
        &mut self,
        leader: Option<&MemberName>,
        outcome: Outcome,
        awaited: Option<Address>,
    ) -> Duration {
        let another = self.leader.as_ref() != leader;
        if another || outcome == Outcome::Settled {
            self.backoff.reset();
            self.acted = 0;
        }
        self.leader = leader.cloned();
        self.acted += u32::from(outcome == Outcome::Acted);
        let before = self.awaited.take();
        self.awaited = awaited.map(|leader| match before.filter(|b| b.leader == leader) {
            Some(before) => before,
            None => Awaited { leader, since: Instant::now() },
        });
        next_look(outcome, self.acted, || self.backoff.next_delay())
    }
}
