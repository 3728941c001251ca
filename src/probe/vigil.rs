//! Watches pgpool's primary, so that its end is known in milliseconds and not when Patroni's lease
//! runs out.
//!
//! A session is held there and asked a few times per interval. A crash resets it, a shutdown says
//! goodbye (57P01), and whoever falls silent leaves a question unanswered. Each of these is a
//! suspicion, no more: only new connections tell whether clients are served.

use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::dial;
use super::session::{Held, Stay};
use super::{SqlProber, Suspicion};
use crate::model::ids::Address;
use crate::model::reach::{Answer, Loss};

/// Questions per `probe.interval`: silence is then dated to a fraction of it.
const QUESTIONS_PER_INTERVAL: u32 = 4;

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
                sleep(self.pause()).await; // it may end every session at once, for a while
                continue;
            };
            warn!(%server, "pgpool's primary is lost: {}", loss.why);
            lost.send_replace(Some(loss));
            while !self.ask_one(server).await.is_alive() {
                sleep(self.pause()).await;
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
                    sleep(self.pause()).await;
                }
            }
        }
    }

    /// Holds a session until it ends, and says with which answer. `patience`: how long the next
    /// connection may take, by what this one took.
    async fn hold(&self, server: &Address, patience: &mut Duration) -> Answer {
        let Some(login) = &self.login else { return self.ask_one(server).await };
        let (after, dialled) = (self.timeout, Instant::now());
        let stream = match dial::within(after, server).await {
            Ok(stream) => stream,
            Err(answer) => return answer,
        };
        *patience = PATIENCE + dialled.elapsed() * PATIENCE_FACTOR;
        let held = Held { every: self.pause(), timeout: after, open: Notify::new() };
        tokio::select! {
            answer = login.talk(stream, server, Stay::Until(&held)) => answer,
            () = late(after, &held) => Answer::Hung(format!("no login within {after:?}")),
        }
    }

    fn pause(&self) -> Duration {
        self.interval / QUESTIONS_PER_INTERVAL
    }
}

/// Resolves when the session is not open by then; never once it is.
async fn late(after: Duration, held: &Held) {
    if timeout(after, held.open.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}
