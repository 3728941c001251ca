//! Watches pgpool's primary, so that its end is known in milliseconds and not when Patroni's lease
//! runs out.
//!
//! A session is held there and asked a few times per interval. A crash resets it, a shutdown says
//! goodbye (57P01), and whoever falls silent leaves a question unanswered. Each of these is a
//! suspicion, no more: only new connections tell whether clients are served.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::dial::Dialled;
use super::session::Held;
use super::{SqlProber, Suspicion};
use crate::model::ids::Address;
use crate::model::reach::{Answer, Loss};

/// Questions per `probe.interval`. Each costs both sides some tenths of a millisecond, all day.
const QUESTIONS_PER_INTERVAL: u32 = 2;
/// New connections per interval while something is wrong.
const TRIES_PER_INTERVAL: u32 = 4;

/// A server that has just broken a session has this long to take the next connection, and some
/// times what the last one took: a lost packet is not sent again within it.
const PATIENCE: Duration = Duration::from_millis(50);
const PATIENCE_FACTOR: u32 = 4;

/// Watches whom `watched` names and says in `lost` when nobody can use it, until somebody can
/// again. Ends when nobody listens any more.
pub async fn keep(
    prober: &SqlProber,
    mut watched: watch::Receiver<Option<Address>>,
    lost: watch::Sender<Option<Loss>>,
) {
    loop {
        let server = watched.borrow_and_update().clone();
        let over = async {
            match &server {
                Some(server) => prober.watch(server, &lost).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = over => match never {},
            changed = watched.changed() => if changed.is_err() { return },
        }
        lost.send_if_modified(|loss| loss.take().is_some());
    }
}

/// A watch has no end of its own.
enum Never {}

impl SqlProber {
    async fn watch(&self, server: &Address, lost: &watch::Sender<Option<Loss>>) -> Never {
        loop {
            let suspicion = self.until_suspect(server).await;
            let Some(loss) = self.confirm(server, suspicion).await else {
                sleep(self.soon()).await; // it may end every session at once, for a while
                continue;
            };
            warn!(%server, "pgpool's primary is lost: {}", loss.why);
            lost.send_replace(Some(loss));
            while !self.ask_one(server).await.is_alive() {
                sleep(self.soon()).await;
            }
            info!(%server, "answers again");
            lost.send_replace(None);
        }
    }

    /// Resolves when there is a reason to doubt that the server serves.
    async fn until_suspect(&self, server: &Address) -> Suspicion {
        loop {
            let mut patience = self.timeout;
            let ended = self.hold(server, &mut patience).await;
            debug!(%server, ?ended, "the watch's session ended");
            match ended {
                Answer::Hung(_) | Answer::Unreachable(_) => return Suspicion::Silence,
                Answer::Dead(_) => return Suspicion::Refusal { patience },
                // It turns the probe away, but it is there.
                Answer::Alive(_) | Answer::Writable | Answer::ReadOnly => {
                    sleep(self.soon()).await;
                }
            }
        }
    }

    /// Holds a session until it ends, and says with which answer. `patience`: how long the next
    /// connection may take, by what this one took.
    async fn hold(&self, server: &Address, patience: &mut Duration) -> Answer {
        let Some(login) = &self.login else { return self.ask_one(server).await };
        let after = self.timeout;
        let Dialled { stream, took, .. } = match self.dial(server, after).await {
            Ok(dialled) => dialled,
            Err(failure) => return failure.into(),
        };
        *patience = PATIENCE + took * PATIENCE_FACTOR;
        let pause = || self.pause();
        let held = Held::new(Answer::is_alive, &pause, after).answering_within(self.patience());
        login.hold(stream, server, &held).await
    }

    /// How long a held session may leave a question unanswered. The pause before it was silence
    /// too, so that silence is told `failure_threshold` timeouts after the last sign of life.
    fn patience(&self) -> Duration {
        self.timeout.saturating_sub(self.pause()).max(self.timeout / 2)
    }

    fn pause(&self) -> Duration {
        self.interval / QUESTIONS_PER_INTERVAL
    }

    fn soon(&self) -> Duration {
        self.interval / TRIES_PER_INTERVAL
    }
}
