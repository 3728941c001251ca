//! Pacing of retries: doubling, jittered, bounded. The only user of the `backoff` crate.

use std::time::Duration;

use backoff::SystemClock;
use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Half of the delay is random, in both directions: agents that lost the same server at the same
/// instant do not come back to it at the same instant.
const JITTER: f64 = 0.5;

/// How long to wait before the next try.
#[derive(Debug)]
pub struct Retry {
    longest: Duration,
    pace: ExponentialBackoff<SystemClock>,
}

impl Retry {
    /// Around `first`, doubling, never above `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let pace = ExponentialBackoffBuilder::new()
            .with_initial_interval(first)
            .with_randomization_factor(JITTER)
            .with_multiplier(2.0)
            // So that the longest delay still has its jitter when it is cut at `longest`.
            .with_max_interval(longest.div_f64(1.0 + JITTER))
            .with_max_elapsed_time(None)
            .build();
        Retry { longest, pace }
    }

    /// The delay before the next try; never runs out.
    pub fn next_delay(&mut self) -> Duration {
        self.pace.next_backoff().unwrap_or(self.longest).min(self.longest)
    }

    /// After a success: the next failure starts from the shortest delay again.
    pub fn reset(&mut self) {
        self.pace.reset();
    }
}

impl Default for Retry {
    /// 100 ms is about one round trip to a far server with its login; 5 s is short against the
    /// 20 s and more that Patroni's lease gives a cluster to notice a loss by itself.
    fn default() -> Self {
        Retry::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_start_over_after_a_success() {
        let mut retry = Retry::default();
        for _ in 0..3 {
            let first = retry.next_delay();
            assert!((50..=151).contains(&first.as_millis()), "{first:?}");
            let later: Vec<Duration> = (0..50).map(|_| retry.next_delay()).collect();
            assert!(later.iter().all(|d| *d <= Duration::from_secs(5)), "{later:?}");
            assert!(later[10..].iter().all(|d| *d >= Duration::from_millis(1_600)), "{later:?}");
            retry.reset();
        }
    }

    #[test]
    fn delays_are_jittered() {
        let firsts: std::collections::BTreeSet<Duration> =
            (0..20).map(|_| Retry::default().next_delay()).collect();
        assert!(firsts.len() > 10, "{firsts:?}");
    }
}
