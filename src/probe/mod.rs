//! Asks PostgreSQL servers from this host: are you there, are you writable?
//!
//! Each server is asked on a new connection, because that is what pgpool and its clients do next.
//! TCP and what follows are timed apart: a server that takes connections and then says nothing
//! would freeze pgpool's main process at a login, one that takes none would not. An answer is about
//! the server only; trouble on this side of the wire (no name service, no file handles) is never
//! reported as a dead server. Nothing is left running when `ask` returns.
//!
//! [`vigil`] holds a session to pgpool's primary, to know at once when it is lost.

mod awaiting;
mod dial;
mod greet;
mod login;
mod session;
mod sqlstate;
mod tls;
pub mod vigil;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::config::settings;
use crate::model::ids::Address;
use crate::model::reach::{Answer, Loss, Reachability};
use crate::seams::Prober;
use dial::{Dialled, Failure, Limits};
use login::Login;
use session::Stay;
pub use tls::TlsError;

/// How long a server may take when no probe is configured, and how many times.
const TIMEOUT: Duration = Duration::from_secs(1);
const FAILURE_THRESHOLD: u32 = 3;

/// A server that refuses, resets or shuts down is lost when it does so this many times in a row,
/// with this pause between.
const REFUSALS: u32 = 3;
const REFUSAL_PAUSE: Duration = Duration::from_millis(30);

/// No server on Earth is farther away than this. Longer, and `status` would wait for the dead.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);

/// The longest text of an answer, in characters: it comes from a stranger and goes to the log.
const TEXT_MAX: usize = 200;

/// The real [`Prober`].
pub struct SqlProber {
    timeout: Duration,
    interval: Duration,
    failure_threshold: u32,
    /// `None`: no probe user; a sign of life is all that is asked for.
    login: Option<Login>,
}

impl SqlProber {
    /// Reads the CA file of `sslmode: verify-*`, once: a changed file needs a new prober.
    pub fn new(probe: Option<&settings::Probe>) -> Result<Self, TlsError> {
        Ok(SqlProber {
            timeout: probe.map_or(TIMEOUT, |probe| probe.timeout),
            interval: probe.map_or(TIMEOUT, |probe| probe.interval),
            failure_threshold: probe.map_or(FAILURE_THRESHOLD, |probe| probe.failure_threshold),
            login: probe.map(Login::new).transpose()?,
        })
    }

    /// One server, within the timeout.
    async fn ask_one(&self, server: &Address) -> Answer {
        match self.measure_within(server, self.timeout).await {
            Ok((answer, _)) => answer,
            Err(failure) => failure.into(),
        }
    }

    /// The answer of one server that has this long to take the connection, and the timeout for
    /// all; and how long it took to accept it. A name has a timeout of its own: who resolves it
    /// slowly says nothing about the server.
    async fn measure_within(
        &self,
        server: &Address,
        patience: Duration,
    ) -> Result<(Answer, Duration), Failure> {
        let after = self.timeout;
        let Dialled { stream, begun, took } = self.dial(server, patience).await?;
        let talk = async {
            match &self.login {
                Some(login) => login.talk(stream, server, Stay::ForOneAnswer).await,
                None => greet::ask(stream).await,
            }
        };
        let hung = || Answer::Hung(format!("TCP connects, then no answer within {after:?}"));
        Ok((timeout_at(begun + after, talk).await.unwrap_or_else(|_| hung()), took))
    }

    async fn dial(&self, server: &Address, connect: Duration) -> Result<Dialled, Failure> {
        dial::within(Limits { lookup: self.timeout, connect }, server).await
    }

    /// How far away these servers are, as far as they take a connection: nothing is said on it.
    pub async fn round_trips(&self, servers: &BTreeSet<Address>) -> BTreeMap<Address, Duration> {
        let patience = self.timeout.min(ROUND_TRIP_MAX);
        let asked = servers.iter().map(|server| async move {
            Some((server.clone(), self.dial(server, patience).await.ok()?.took))
        });
        all(asked).await.into_iter().flatten().collect()
    }

    /// Asks on new connections until it is sure. Whoever answers, willing or not, is there.
    async fn confirm(&self, server: &Address, suspicion: Suspicion) -> Option<Loss> {
        let (mut refusals, mut silence) = (0, 0);
        let mut patience = self.timeout;
        match suspicion {
            Suspicion::None => {}
            Suspicion::Silence => silence = 1,
            Suspicion::Refusal { patience: less } => patience = less.min(self.timeout),
        }
        loop {
            let asked = Instant::now();
            let (why, refused) = match self.measure_within(server, patience).await {
                Ok((Answer::Writable | Answer::ReadOnly | Answer::Alive(_), _)) => return None,
                Ok((Answer::Dead(why), _)) | Err(Failure::Refused(why)) => (why, true),
                // It broke a session a moment ago, and now it does not even take a connection.
                Err(Failure::Late(why)) => (why, matches!(suspicion, Suspicion::Refusal { .. })),
                Ok((Answer::Hung(why) | Answer::Unreachable(why), _)) => (why, false),
                Err(Failure::Ours(why)) => (why, false),
            };
            (refusals, silence) = if refused { (refusals + 1, 0) } else { (0, silence + 1) };
            if refusals >= REFUSALS || silence >= self.failure_threshold {
                return Some(Loss { server: server.clone(), why });
            }
            match refused {
                true => sleep(REFUSAL_PAUSE).await,
                false => sleep_until(asked + self.timeout).await, // some silence is over at once
            }
        }
    }
}

/// Why a server is asked whether it is lost.
#[derive(Debug, Clone, Copy)]
enum Suspicion {
    None,
    /// It left a question unanswered.
    Silence,
    /// It ended a session. A living one then takes a connection as quickly as it took that one.
    Refusal {
        patience: Duration,
    },
}

impl Prober for SqlProber {
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability {
        let asked = servers.iter().map(|server| async move {
            let (answer, took) = match self.measure_within(server, self.timeout).await {
                Ok((answer, took)) => (answer, Some(took)),
                Err(failure) => (failure.into(), None),
            };
            tracing::debug!(%server, ?answer, ?took, "probed");
            (server, answer, took)
        });
        let mut reach = Reachability::default();
        for (server, answer, took) in all(asked).await {
            reach.answers.insert(server.clone(), answer);
            reach.round_trips.extend(took.map(|took| (server.clone(), took)));
        }
        reach
    }

    async fn is_lost(&self, server: &Address) -> Option<Loss> {
        self.confirm(server, Suspicion::None).await
    }

    async fn until_writable(&self, server: &Address, pause: &dyn Fn() -> Duration) {
        self.until_it_writes(server, pause).await;
    }
}

/// Drives futures side by side in this task: nothing is spawned, so nothing outlives the caller.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut done = Vec::with_capacity(running.len());
    poll_fn(|cx| {
        running.retain_mut(|future| match future.as_mut().poll(cx) {
            Poll::Ready(output) => {
                done.push(output);
                false
            }
            Poll::Pending => true,
        });
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

/// A stranger's text, fit for a log line.
fn told(text: &str) -> String {
    crate::model::ids::printable(&text.chars().take(TEXT_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_no_refusal() {
        let probe =
            SqlProber { timeout: Duration::from_millis(100), ..SqlProber::new(None).unwrap() };
        let nameless = Address::new("no-such-host.invalid", 5432).unwrap();
        let begun = Instant::now();
        let suspicion = Suspicion::Refusal { patience: Duration::from_millis(5) };
        let loss = probe.confirm(&nameless, suspicion).await.expect("nobody can use it");
        assert!(begun.elapsed() >= probe.timeout * (FAILURE_THRESHOLD - 1), "{}", loss.why);
    }
}
