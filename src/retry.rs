//! When to look again: a pure function of what came of the last look.

use std::time::Duration;

/// Drift is looked for this often: a pgpool that was restarted behind our back, a file that another
/// tool rewrote. One short PCP connection and two small files each time.
pub const DRIFT_EVERY: Duration = Duration::from_secs(5);

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do, or nothing that may be done.
    Settled,
    /// Steps were carried out: look again at once.
    Acted,
    /// A step failed; the delay comes from the caller's backoff.
    Failed(Duration),
}

/// How long to wait, unless something changes before.
pub fn next_look(outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Settled => DRIFT_EVERY,
        Outcome::Acted => Duration::ZERO,
        Outcome::Failed(delay) => delay.min(DRIFT_EVERY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_delays_the_next_look_beyond_the_drift_check() {
        assert_eq!(next_look(Outcome::Failed(Duration::from_secs(60))), DRIFT_EVERY);
    }
}
