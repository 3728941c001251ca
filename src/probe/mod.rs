//! Asks PostgreSQL servers from this host: are you there, are you writable?
//!
//! Each server is asked on a new connection, because that is what pgpool and its clients do next.
//! TCP and what follows are timed apart: a server that takes connections and then says nothing
//! would freeze pgpool's main process at a login, one that takes none would not. An answer is about
//! the server only; trouble on this side of the wire (no name service, no file handles) is never
//! reported as a dead server. Nothing is left running when `ask` returns.

mod dial;
mod greet;
mod login;
mod sqlstate;
mod tls;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::settings;
use crate::model::ids::Address;
use crate::model::reach::{Answer, Reachability};
use crate::seams::Prober;
use login::Login;
pub use tls::TlsError;

/// How long a server may take when no probe is configured.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest text of an answer, in characters: it comes from a stranger and goes to the log.
const TEXT_MAX: usize = 200;

/// The real [`Prober`].
pub struct SqlProber {
    timeout: Duration,
    /// `None`: no probe user; a sign of life is all that is asked for.
    login: Option<Login>,
}

impl SqlProber {
    /// Reads the CA file of `sslmode: verify-*`, once: a changed file needs a new prober.
    pub fn new(probe: Option<&settings::Probe>) -> Result<Self, TlsError> {
        let timeout = probe.map_or(TIMEOUT, |probe| probe.timeout);
        Ok(SqlProber { timeout, login: probe.map(Login::new).transpose()? })
    }

    /// One server, within the timeout.
    async fn ask_one(&self, server: &Address) -> Answer {
        let deadline = Instant::now() + self.timeout;
        let after = self.timeout;
        let stream = match timeout_at(deadline, dial::tcp(server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(answer)) => return answer,
            Err(_) => return Answer::Unreachable(format!("no TCP connection within {after:?}")),
        };
        let talk = async {
            match &self.login {
                Some(login) => login.ask(stream, server).await,
                None => greet::ask(stream).await,
            }
        };
        match timeout_at(deadline, talk).await {
            Ok(answer) => answer,
            Err(_) => Answer::Hung(format!("TCP connects, then no answer within {after:?}")),
        }
    }
}

impl Prober for SqlProber {
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability {
        let asked = servers.iter().map(|server| async move {
            let answer = self.ask_one(server).await;
            tracing::debug!(%server, ?answer, "probed");
            (server.clone(), answer)
        });
        Reachability(all(asked).await.into_iter().collect())
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
