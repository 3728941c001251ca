//! Whether pgpool's PCP socket is still there. pgpool may lose it and live on
//! (proto-notes/hazards.md, 12); where it is the only way in, nobody reaches pgpool then.

use std::time::Duration;

use tokio::time::Instant;
use tracing::error;

/// Somebody who stops pgpool takes its socket away too, a moment before it is gone.
const GONE_LASTS: Duration = Duration::from_secs(10);
/// Each time every session ends. One that loses it more often needs a look at its host.
const ENDED_EVERY: Duration = Duration::from_secs(3600);

/// What the looks have shown.
#[derive(Debug, Default)]
pub struct SocketWatch {
    /// This pgpool has had it.
    seen: bool,
    gone_since: Option<Instant>,
    ended: Option<Instant>,
    told: bool,
}

impl SocketWatch {
    /// Another pgpool, which has none yet.
    pub fn begin(&mut self) {
        *self = SocketWatch { ended: self.ended, ..SocketWatch::default() };
    }

    /// Takes a look; whether pgpool has to be ended.
    pub fn look(&mut self, is_there: bool, now: Instant) -> bool {
        if is_there {
            *self = SocketWatch { seen: true, ended: self.ended, ..SocketWatch::default() };
            return false;
        }
        let since = *self.gone_since.get_or_insert(now);
        if !self.seen || now - since < GONE_LASTS {
            return false;
        }
        let again = self.ended.is_some_and(|then| now - then < ENDED_EVERY);
        if !again {
            self.ended = Some(now);
        } else if !self.told {
            error!("pgpool has lost its PCP socket once more within an hour and is left so");
            self.told = true;
        }
        !again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_that_was_there_is_missed_and_once_an_hour() {
        let start = Instant::now();
        let mut watch = SocketWatch::default();
        let mut look = |is_there, second| watch.look(is_there, start + Duration::from_secs(second));
        assert!(!look(false, 0) && !look(false, 100), "it never was there");
        assert!(!look(true, 110) && !look(false, 111) && !look(false, 120));
        assert!(!look(true, 122) && !look(false, 123), "it came back");
        assert!(!look(false, 132) && look(false, 133));
        watch.begin();
        let mut look = |is_there, second| watch.look(is_there, start + Duration::from_secs(second));
        assert!(!look(false, 134) && !look(false, 200), "the next one has none yet");
        assert!(!look(true, 210) && !look(false, 220) && !look(false, 3732));
        assert!(look(false, 3733), "an hour later");
    }
}
