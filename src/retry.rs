//! When to look again: a pure function of what came of the last look.

use std::time::Duration;

/// Drift is looked for this often: a pgpool that was restarted behind our back, a file that another
/// tool rewrote. One short PCP connection and two small files each time.
pub const DRIFT_EVERY: Duration = Duration::from_secs(5);

/// How often a pgpool that does not answer is looked for: it may come back with another primary,
/// and until then nobody tells it.
pub const AWAY_EVERY: Duration = Duration::from_secs(1);

/// A primary change takes a promote, an attach and a last reload. Whoever acts more often than this
/// without coming to rest is undone by somebody, or mistaken, and must not do so in a hot loop.
const AT_ONCE_MAX: u32 = 4;

/// What came of one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do, or nothing that may be done.
    Settled,
    /// pgpool does not answer.
    Away,
    /// Steps were carried out: look again at once.
    Acted,
    /// A step failed.
    Failed,
}

/// How long to wait, unless something changes before. `acted`: how many looks led to steps since
/// the last one that led to none. `backoff`: the caller's next delay.
pub fn next_look(outcome: Outcome, acted: u32, backoff: impl FnOnce() -> Duration) -> Duration {
    match outcome {
        Outcome::Settled => DRIFT_EVERY,
        Outcome::Away => AWAY_EVERY,
        Outcome::Acted if acted <= AT_ONCE_MAX => Duration::ZERO,
        Outcome::Acted | Outcome::Failed => backoff().min(DRIFT_EVERY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_delays_the_next_look_beyond_the_drift_check() {
        assert_eq!(next_look(Outcome::Failed, 1, || Duration::from_secs(60)), DRIFT_EVERY);
    }

    #[test]
    fn acting_without_an_end_is_slowed_down() {
        let backoff = || Duration::from_millis(100);
        assert_eq!(next_look(Outcome::Acted, 4, backoff), Duration::ZERO);
        assert_eq!(next_look(Outcome::Acted, 5, backoff), backoff());
    }
}
