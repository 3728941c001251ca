//! What the looks so far have shown of time: who has been good for how long, who drains since when,
//! who was detached by hand. Pure: the time comes in as an argument. The planner gets the outcome
//! as a [`Elapsed`], the loop the time at which it will be another one.

mod conduct;
mod drain;
mod hand;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use crate::model::elapsed::Elapsed;
use crate::model::ids::{MemberName, SlotIndex};
use crate::model::inputs::Inputs;

use conduct::Conducts;
use drain::Drains;
use hand::Hands;

/// One moment, by the clock that never jumps and by the one on the wall.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub steady: Instant,
    pub wall: SystemTime,
}

/// The memory of one daemon; empty at its start, when nothing has to wait.
#[derive(Debug, Default)]
pub struct History {
    conducts: Conducts,
    drains: Drains,
    hands: Hands,
    leader: Option<MemberName>,
    /// The outcome of the last look.
    elapsed: Elapsed,
    next: Option<Instant>,
}

impl History {
    /// Takes in what a look has found. Slots to drain come with [`Self::leave`].
    pub fn look(&mut self, inputs: &Inputs, now: Now) -> Elapsed {
        let patience = &inputs.policy.patience;
        let mut next = Next { now: now.steady, at: None };
        if let Ok(cluster) = inputs.cluster.as_ref().map(|c| &**c)
            && !cluster.members.is_empty()
        {
            self.conducts.see(cluster, patience.attach_after, now.steady);
            self.elapsed.leader_stays = self.leader == cluster.leader;
            self.leader.clone_from(&cluster.leader);
            self.elapsed.restart_due = drain::restarts_due(cluster, patience, now.wall, &mut next);
        }
        self.hands.see(inputs.pool.as_ref().ok(), patience.respect_manual_detach, now.steady);
        self.elapsed.unproven = self.conducts.unproven(&mut next);
        self.elapsed.fell = match inputs.policy.farther.is_empty() {
            true => BTreeSet::new(), // nobody asks, and nobody need wake up for it
            false => self.conducts.fell(patience.attach_after, &mut next),
        };
        self.elapsed.by_hand = self.hands.by_hand(patience.respect_manual_detach, &mut next);
        self.elapsed.draining.clear();
        self.next = next.at;
        self.elapsed.clone()
    }

    /// These slots should go now, in the eyes of the planner: says which have to drain first.
    pub fn leave(&mut self, inputs: &Inputs, slots: &BTreeSet<SlotIndex>, now: Now) -> Elapsed {
        let mut next = Next { now: now.steady, at: self.next };
        self.elapsed.draining = self.drains.of(inputs, slots, &mut next);
        self.next = next.at;
        self.elapsed.clone()
    }

    /// The agent is about to change pgpool: what changes now was not somebody else.
    pub fn act(&mut self) {
        self.hands.forget_the_last_look();
    }

    /// The outcome of the last look.
    pub fn elapsed(&self) -> &Elapsed {
        &self.elapsed
    }

    /// How long until time alone changes the outcome; `None` when it will not.
    pub fn next_change(&self, now: Instant) -> Option<Duration> {
        self.next.map(|at| at.saturating_duration_since(now))
    }
}

/// The earliest of the moments at which something will be over.
struct Next {
    now: Instant,
    at: Option<Instant>,
}

impl Next {
    /// Whether this moment is still to come; if so, it is one to wake up for.
    fn is_before(&mut self, at: Instant) -> bool {
        let ahead = at > self.now;
        if ahead {
            self.at = Some(self.at.map_or(at, |earlier| earlier.min(at)));
        }
        ahead
    }
}
