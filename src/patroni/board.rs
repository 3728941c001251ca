//! Where the newest view is put up for the loop to see: who is woken by what, and when a view that
//! nobody confirms any more turns into "unknown".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::Seen;
use super::causes::Causes;
use super::changes::differs_in_more_than_wal;
use super::error::EtcdError;
use super::follow::CHECK_EVERY;
use crate::model::cluster::ClusterView;

pub struct Board {
    seen: watch::Sender<Seen>,
    timeout: Duration,
    endpoints: Vec<String>,
    contact: Mutex<Contact>,
    /// Tells [`Board::expire`] that its deadline has moved.
    moved: Notify,
}

/// How things stand with etcd.
struct Contact {
    confirmed: Option<Instant>,
    /// Since when there is no session.
    lost: Option<Instant>,
    /// Since the last session that lasted.
    causes: Causes,
}

impl Board {
    pub fn new(endpoints: &[String], timeout: Duration) -> (Arc<Self>, watch::Receiver<Seen>) {
        let why = "etcd has not been read yet".to_owned();
        let (seen, receiver) =
            watch::channel(Seen::Unknown { why, since: Instant::now(), last: None });
        let causes = Causes::of(endpoints.len());
        let board = Board {
            seen,
            timeout,
            endpoints: endpoints.to_vec(),
            contact: Mutex::new(Contact { confirmed: None, lost: None, causes }),
            moved: Notify::new(),
        };
        (Arc::new(board), receiver)
    }

    /// A read that was sent at `sent` found this. Wakes the receiver if it says anything new.
    pub fn read(&self, view: ClusterView, sent: Instant) {
        {
            let mut contact = self.contact();
            contact.confirmed = Some(sent);
            contact.lost = None;
        }
        let view = Arc::new(view);
        self.seen.send_if_modified(|seen| {
            warn_of_new_notes(seen.last(), &view);
            let news = match seen {
                Seen::Known { view: old, .. } => differs_in_more_than_wal(old, &view),
                Seen::Unknown { .. } => true,
            };
            *seen = Seen::Known { view, confirmed: sent };
            news
        });
        self.moved.notify_one();
    }

    /// A watch event made it this. Wakes the receiver if more than WAL positions moved. Does not
    /// make known what was unknown: an event says nothing of those that may have been lost.
    pub fn changed(&self, view: ClusterView) {
        let view = Arc::new(view);
        self.seen.send_if_modified(|seen| {
            warn_of_new_notes(seen.last(), &view);
            match seen {
                Seen::Known { view: old, .. } => {
                    let news = differs_in_more_than_wal(old, &view);
                    *old = view;
                    news
                }
                Seen::Unknown { last, .. } => {
                    *last = Some(view);
                    false
                }
            }
        });
    }

    /// A session lasts: old failures are history. Not at each reading, or else a server that can be
    /// read and not watched would be reported every few seconds.
    pub fn steady(&self) {
        self.contact().causes.forget();
    }

    /// The keys were read and cannot be followed: unknown at once.
    pub fn unusable(&self, why: &str) {
        if self.turn_unknown(why.to_owned()) {
            tracing::warn!("{why}");
        }
    }

    /// A session ended, or none came about. Returns whether that is news.
    pub fn failed(&self, endpoint: usize, why: &EtcdError) -> bool {
        let is_news = {
            let mut contact = self.contact();
            contact.lost.get_or_insert_with(Instant::now);
            contact.causes.add(endpoint, why)
        };
        let is_unknown = matches!(*self.seen.borrow(), Seen::Unknown { .. });
        if is_unknown && is_news {
            self.turn_unknown(self.why());
        }
        self.moved.notify_one();
        is_news
    }

    /// Turns the view into "unknown" once nobody has confirmed it for too long. Never returns.
    pub async fn expire(&self) {
        loop {
            let Some(deadline) = self.deadline() else {
                self.moved.notified().await;
                continue;
            };
            tokio::select! {
                () = sleep_until(deadline) => {}
                () = self.moved.notified() => {}
            }
            // Asked again: a read may have come in at that very instant.
            if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                let why = self.why();
                tracing::warn!("{why}");
                self.turn_unknown(why);
            }
        }
    }

    /// Returns when nobody looks at the board any more.
    pub async fn unwatched(&self) {
        self.seen.closed().await;
    }

    /// While a session lives, a view is confirmed at every check and each check may take the
    /// timeout; once there is none, only the timeout is left. `None` when nothing is known anyway.
    fn deadline(&self) -> Option<Instant> {
        if matches!(*self.seen.borrow(), Seen::Unknown { .. }) {
            return None;
        }
        let contact = self.contact();
        let unconfirmed = contact.confirmed.map(|at| at + CHECK_EVERY + self.timeout);
        let lost = contact.lost.map(|at| at + self.timeout);
        unconfirmed.into_iter().chain(lost).min()
    }

    /// In the order of the endpoints, so that the text stays the same from failure to failure.
    fn why(&self) -> String {
        let contact = self.contact();
        let causes = self.endpoints.iter().zip(contact.causes.each());
        let each = causes.filter_map(|(e, why)| Some((e.clone(), why?.clone())));
        EtcdError::NoEndpoint(each.collect()).to_string()
    }

    /// Returns whether that is news.
    fn turn_unknown(&self, why: String) -> bool {
        self.seen.send_if_modified(|seen| {
            match seen {
                Seen::Unknown { why: old, .. } if *old == why => return false,
                Seen::Unknown { why: old, .. } => *old = why,
                Seen::Known { view, .. } => {
                    let last = Some(Arc::clone(view));
                    *seen = Seen::Unknown { why, since: Instant::now(), last };
                }
            }
            true
        })
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn warn_of_new_notes(old: Option<&Arc<ClusterView>>, new: &ClusterView) {
    let known = |note: &String| old.is_some_and(|view| view.notes.contains(note));
    for note in new.notes.iter().filter(|note| !known(note)) {
        tracing::warn!("Patroni's keys: {note}");
    }
}
