//! What a probe from this host found: who answers, and who is writable.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ids::Address;

/// Answers of the servers that were asked just now. A server that is not in it was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reachability {
    pub answers: BTreeMap<Address, Answer>,
    /// How long each took to accept the connection: one round trip. Nothing is known of those that
    /// did not.
    pub round_trips: BTreeMap<Address, Duration>,
}

impl Reachability {
    pub fn of(&self, address: &Address) -> Option<&Answer> {
        self.answers.get(address)
    }

    pub fn round_trip(&self, address: &Address) -> Option<Duration> {
        self.round_trips.get(address).copied()
    }

    /// Takes in the answers to further questions.
    pub fn extend(&mut self, more: Reachability) {
        self.answers.extend(more.answers);
        self.round_trips.extend(more.round_trips);
    }
}

impl FromIterator<(Address, Answer)> for Reachability {
    fn from_iter<I: IntoIterator<Item = (Address, Answer)>>(answers: I) -> Self {
        Reachability { answers: answers.into_iter().collect(), round_trips: BTreeMap::new() }
    }
}

/// A server that nobody can use from here, which is more than one bad answer: the probe asked
/// again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub server: Address,
    pub why: String,
}

/// One server's answer to a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// SQL says that it is not in recovery.
    Writable,
    /// SQL says that it is in recovery.
    ReadOnly,
    /// It answered, but not the question: no probe user, a wrong password, too many connections.
    Alive(String),
    /// Nobody serves there, and a connection fails at once: refused, reset, starting up, shutting
    /// down.
    Dead(String),
    /// No TCP connection within the time: pgpool would lose its `connect_timeout` at each try.
    Unreachable(String),
    /// TCP connects and then nothing comes: logging in there would freeze pgpool's main process.
    Hung(String),
}

impl Answer {
    /// Whether pgpool may log in there without freezing its main process
    /// (proto-notes/hazards.md, 10).
    pub fn is_safe_to_search(&self) -> bool {
        !matches!(self, Answer::Hung(_) | Answer::Unreachable(_))
    }

    /// Whether a backend answered, willing or not.
    pub fn is_alive(&self) -> bool {
        matches!(self, Answer::Writable | Answer::ReadOnly | Answer::Alive(_))
    }
}
