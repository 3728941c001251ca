//! When to look again, and whom to ask meanwhile.

use std::time::Duration;

use tokio::time::Instant;

use super::Round;
use crate::backoff::Retry;
use crate::model::ids::{Address, MemberName};
use crate::model::inputs::Inputs;
use crate::model::reach::Answer;
use crate::plan::questions;
use crate::retry::{Outcome, next_look};

/// How often a leader that is about to become writable is asked, at first. Each question is one
/// round trip; a longer pause is added to the write gap when the change is to a detached leader.
const LEADER_POLL: Duration = Duration::from_millis(5);
/// A leader in a long recovery is asked less and less: the pause is this part of the wait so far.
const LEADER_POLL_PART: u32 = 100;

/// What the loop keeps from look to look beside the [`Past`]. Nothing is decided by it but the time
/// of the next look.
#[derive(Default)]
pub(super) struct Pace {
    backoff: Retry,
    /// Looks that led to steps since the last one that led to none.
    acted: u32,
    leader: Option<MemberName>,
    pub(super) awaited: Option<Awaited>,
}

/// A leader that is not writable yet.
#[derive(Clone)]
pub(super) struct Awaited {
    pub(super) leader: Address,
    since: Instant,
}

impl Awaited {
    /// The pause before it is asked again.
    pub(super) fn pause(&self) -> Duration {
        LEADER_POLL.max(self.since.elapsed() / LEADER_POLL_PART)
    }
}

impl Pace {
    /// How long to wait after this round.
    pub(super) fn after(
        &mut self,
        round: &Round,
        outcome: Outcome,
        awaited: Option<Address>,
    ) -> Duration {
        let another = self.leader != round.plan.leader;
        if another || outcome == Outcome::Settled {
            self.backoff.reset();
            self.acted = 0;
        }
        self.leader.clone_from(&round.plan.leader);
        self.acted += u32::from(outcome == Outcome::Acted);
        let before = self.awaited.take();
        self.awaited = awaited.map(|leader| match before.filter(|b| b.leader == leader) {
            Some(before) => before,
            None => Awaited { leader, since: Instant::now() },
        });
        next_look(outcome, self.acted, || self.backoff.next_delay())
    }
}

/// The leader, if it has just said by SQL that it is still in recovery, or does not serve: then
/// asking again is quicker than waiting for etcd. Where SQL cannot say, asking again is no use.
pub(super) fn leader_awaited(inputs: &Inputs) -> Option<Address> {
    let leader = inputs.cluster.as_ref().ok()?.leader_member()?.address.as_ref().ok()?;
    let may_change = !matches!(inputs.reach.of(leader)?, Answer::Writable | Answer::Alive(_));
    let open = inputs.policy.sql_probe && may_change;
    (open && !questions::servers_to_ask(inputs).is_empty()).then(|| leader.clone())
}
