//! The loop's memory of turns in a watchdog cluster: for how long changes have been left undone,
//! and when this agent's turn comes.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::inputs::Inputs;
use crate::model::plan::Plan;
use crate::model::turn::Undone;
use crate::plan::turn;

/// See [`Undone`]; this one holds the clock.
pub struct Turns {
    undone: Undone,
    looked: Instant,
    left: Option<Duration>,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { undone: Undone::default(), looked: Instant::now(), left: None }
    }
}

impl Turns {
    /// What to decide on at a look that begins now.
    pub fn at_a_look(&mut self) -> Undone {
        self.undone.lasts += self.looked.elapsed();
        self.looked = Instant::now();
        self.undone.clone()
    }

    /// What that look came to. `plan`: what this agent does now.
    pub fn note(&mut self, inputs: &Inputs, plan: Option<&Plan>) {
        let made = plan.is_some_and(|p| p.steps.iter().any(|s| s.act.slot().is_some()));
        (self.undone, self.left) = turn::remember(inputs, made);
    }

    /// How long to wait for the next look at most, so that the turn is not missed.
    pub fn left(&self) -> Option<Duration> {
        self.left
    }
}
