//! Following a scope: one consistent read, then a watch from the next revision, and at any doubt
//! the same again. No event is lost, because the watch starts where the read ended; no deleted key
//! survives, because a read replaces everything.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Seen;
use super::board::Board;
use super::client::EtcdSource;
use super::decode::decode;
use super::error::EtcdError;
use super::keys::Keys;
use super::session::{Delivery, Reading, Session, Source, Watch};
use super::witness::Witness;
use crate::backoff::Retry;
use crate::config::settings::Etcd;

/// How often the keys are read beside a watch. A healthy idle Patroni cluster makes no events for
/// hours, so silence proves nothing: only a read shows that the view is fresh and the watch not
/// deaf. 10 s is Patroni's own `loop_wait`; shorter finds a deaf watch sooner and costs etcd one
/// small read per agent each time, longer keeps a stale view alive longer.
pub const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How long a watch may lag behind a read before it counts as deaf. Events are sent within
/// milliseconds; a watch that has fallen behind is caught up by etcd every 100 ms.
pub const GRACE: Duration = Duration::from_secs(1);

/// Follows a scope and keeps the newest view of it on a channel.
pub struct Follower<S: Source = EtcdSource> {
    source: S,
    base: String,
    /// For connecting, logging in and reading together, and for each later request.
    patience: Duration,
    board: Arc<Board>,
    witness: Witness,
    retry: Retry,
    failures_in_a_row: usize,
}

/// What a session has come to know, beside its connection.
struct Following {
    keys: Keys,
    /// The watch has to deliver this revision by then.
    owed: Option<(i64, Instant)>,
}

impl Follower {
    /// A follower of the configured scope. It starts with [`Follower::run`].
    pub fn new(settings: &Etcd) -> (Self, watch::Receiver<Seen>) {
        let source = EtcdSource::new(settings);
        Follower::with_source(source, &settings.base, settings.timeout)
    }
}

impl<S: Source> Follower<S> {
    /// As [`Follower::new`], with another way to etcd.
    pub fn with_source(source: S, base: &str, timeout: Duration) -> (Self, watch::Receiver<Seen>) {
        let (board, receiver) = Board::new(source.endpoints(), timeout);
        let follower = Follower {
            patience: patience(timeout, source.endpoints().len()),
            source,
            base: base.to_owned(),
            board,
            witness: Witness::default(),
            retry: Retry::default(),
            failures_in_a_row: 0,
        };
        (follower, receiver)
    }

    /// Follows until every receiver is gone. Dropping the future stops it at once.
    pub async fn run(mut self) {
        let board = Arc::clone(&self.board);
        tokio::select! {
            _ = self.sessions() => {}
            () = board.expire() => {}
            () = board.unwatched() => {}
        }
    }

    /// One session after the other, each at the next endpoint. A round through all endpoints is
    /// made without delay, then there is a pause.
    async fn sessions(&mut self) -> Infallible {
        let count = self.source.endpoints().len().max(1);
        let mut endpoint = 0;
        loop {
            let Err(why) = self.session(endpoint).await;
            let name = self.endpoint_name(endpoint);
            match self.board.failed(endpoint, &why) {
                true => tracing::warn!("etcd {name}: {why}"),
                false => tracing::debug!("etcd {name}: {why}"),
            }
            self.failures_in_a_row += 1;
            if self.failures_in_a_row.is_multiple_of(count) {
                sleep(self.retry.next_delay()).await;
            }
            endpoint = (endpoint + 1) % count;
        }
    }

    /// Read, then watch; ends with the reason why it could not go on.
    async fn session(&mut self, endpoint: usize) -> Result<Infallible, EtcdError> {
        let (session, mut following) = self.open_and_read(endpoint).await?;
        let from = following.keys.revision() + 1;
        let mut watch = in_time(self.patience, "opening a watch", session.watch(from)).await?;
        let name = self.endpoint_name(endpoint);
        tracing::info!("following {}/ at etcd {name} from revision {from}", self.base);
        let (floor, patience) = (self.witness.floor(), self.patience);
        let mut checking = pin!(check(&session, &floor, patience));
        loop {
            tokio::select! {
                delivery = watch.next() => self.on_delivery(&mut following, delivery?)?,
                checked = &mut checking => {
                    self.on_check(&mut following, checked?)?;
                    checking.set(check(&session, &floor, patience));
                }
                revision = overdue(following.owed) => return Err(EtcdError::Deaf { revision }),
            }
        }
    }

    async fn open_and_read(
        &mut self,
        endpoint: usize,
    ) -> Result<(S::Session, Following), EtcdError> {
        let (sent, floor) = (Instant::now(), self.witness.floor().load(Ordering::Relaxed));
        let source = &self.source;
        let opened = async {
            let session = source.open(endpoint).await?;
            let reading = session.read().await?;
            Ok((session, reading))
        };
        let (session, reading) = in_time(self.patience, "reading the scope", opened).await?;
        self.witness.believe_read(&reading.head, floor)?;
        let following = Following { keys: reading.keys(), owed: None };
        self.publish_read(&following.keys, sent);
        Ok((session, following))
    }

    fn on_delivery(&mut self, f: &mut Following, delivery: Delivery) -> Result<(), EtcdError> {
        let reached = delivery.changes.iter().map(|c| c.mod_revision).max();
        self.witness.believe_event(&delivery.head, reached)?;
        if f.owed.is_some_and(|(revision, _)| reached >= Some(revision)) {
            f.owed = None;
        }
        if f.keys.apply(delivery.changes) {
            tracing::debug!("{}/ changed at revision {}", self.base, f.keys.revision());
            match decode(&self.base, f.keys.revision(), f.keys.pairs()) {
                Ok(view) => self.board.changed(view),
                Err(why) => self.board.unusable(&why.to_string()),
            }
        }
        Ok(())
    }

    /// A read beside the watch. What it found is believed at once; a watch that delivered less has
    /// [`GRACE`] to catch up.
    fn on_check(&mut self, f: &mut Following, check: Checked) -> Result<(), EtcdError> {
        self.witness.believe_read(&check.reading.head, check.floor)?;
        // Events that came in after the read was answered are newer than it.
        if check.reading.head.revision >= f.keys.revision() {
            let read = check.reading.keys();
            f.owed = f.keys.owed_by_a_watch(&read).map(|rev| (rev, Instant::now() + GRACE));
            f.keys = read;
        }
        self.publish_read(&f.keys, check.sent);
        self.board.steady();
        self.failures_in_a_row = 0;
        self.retry.reset();
        Ok(())
    }

    fn publish_read(&self, keys: &Keys, sent: Instant) {
        match decode(&self.base, keys.revision(), keys.pairs()) {
            Ok(view) => self.board.read(view, sent),
            Err(why) => self.board.unusable(&why.to_string()),
        }
    }

    fn endpoint_name(&self, endpoint: usize) -> &str {
        self.source.endpoints().get(endpoint).map_or("", String::as_str)
    }
}

/// The share of the timeout that one endpoint gets, so that one that hangs does not use up the time
/// of those that would answer; at least a second, for a login over a long line.
pub fn patience(timeout: Duration, endpoints: usize) -> Duration {
    let share = timeout / u32::try_from(endpoints.max(1)).unwrap_or(u32::MAX);
    share.max(timeout.min(Duration::from_secs(1)))
}

/// `work`, or an error that says what was not answered in time.
pub async fn in_time<T>(
    patience: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, EtcdError>>,
) -> Result<T, EtcdError> {
    let silent = EtcdError::Silent { doing, after: patience };
    timeout(patience, work).await.unwrap_or(Err(silent))
}

/// A read beside a watch.
struct Checked {
    sent: Instant,
    /// The highest revision that had been seen when it was sent.
    floor: i64,
    reading: Reading,
}

async fn check<S: Session>(
    session: &S,
    floor: &AtomicI64,
    patience: Duration,
) -> Result<Checked, EtcdError> {
    sleep(CHECK_EVERY).await;
    let (sent, floor) = (Instant::now(), floor.load(Ordering::Relaxed));
    let reading = in_time(patience, "checking the watch", session.read()).await?;
    Ok(Checked { sent, floor, reading })
}

/// Waits until what is owed is overdue; for ever when nothing is.
async fn overdue(owed: Option<(i64, Instant)>) -> i64 {
    match owed {
        Some((revision, deadline)) => {
            sleep_until(deadline).await;
            revision
        }
        None => std::future::pending().await,
    }
}
