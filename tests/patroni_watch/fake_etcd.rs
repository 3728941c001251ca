//! A small etcd made of a map and a log of revisions, with everything that can go wrong as a knob.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use geo_agent::patroni::Seen;
use geo_agent::patroni::error::EtcdError;
use geo_agent::patroni::follow::Follower;
use geo_agent::patroni::keys::{Change, Stored};
use geo_agent::patroni::session::{Delivery, Head, Reading, Session, Source, Watch};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::{BASE, TIMEOUT, member};

type Feed = mpsc::UnboundedSender<Result<Delivery, EtcdError>>;

#[derive(Default)]
pub struct World {
    pub cluster_id: u64,
    pub raft_term: u64,
    pub revision: i64,
    pub stored: BTreeMap<Vec<u8>, Stored>,
    pub log: Vec<Change>,
    pub compacted: i64,
    /// Endpoints that refuse connections.
    pub down: BTreeSet<usize>,
    /// Reads never answer.
    pub mute: bool,
    /// Reads are answered so much later than they are made.
    pub slow: Duration,
    /// Watches are created and then say nothing; what they would have said is kept back.
    pub deaf: bool,
    pub held_back: Vec<Delivery>,
    pub feeds: Vec<Feed>,
    pub opened: Vec<usize>,
    pub watched_from: Vec<i64>,
    /// Puts that happen between the read and the watch.
    pub in_the_gap: Vec<(String, String)>,
}

impl World {
    pub fn head(&self) -> Head {
        let Self { cluster_id, raft_term, revision, .. } = *self;
        Head { cluster_id, raft_term, revision }
    }

    pub fn change(&mut self, key: &str, value: Option<&str>) {
        self.revision += 1;
        let (key, mod_revision) = (format!("{BASE}/{key}").into_bytes(), self.revision);
        let value = value.map(|v| v.as_bytes().to_vec());
        match value.clone() {
            Some(value) => drop(self.stored.insert(key.clone(), Stored { mod_revision, value })),
            None => drop(self.stored.remove(&key)),
        }
        let change = Change { key, mod_revision, value };
        self.log.push(change.clone());
        let delivery = Delivery { head: self.head(), changes: vec![change] };
        match self.deaf {
            true => self.held_back.push(delivery),
            false => self.feed(Ok(delivery)),
        }
    }

    pub fn feed(&mut self, item: Result<Delivery, EtcdError>) {
        self.feeds.retain(|feed| feed.send(item.clone()).is_ok());
    }

    pub fn cut(&mut self, why: EtcdError) {
        self.feed(Err(why));
        self.feeds.clear();
    }
}

#[derive(Clone)]
pub struct Etcd {
    world: Arc<Mutex<World>>,
    endpoints: Vec<String>,
}

impl Etcd {
    pub fn new(endpoints: usize) -> Self {
        let names = (1..=endpoints).map(|n| format!("etcd-{n}:2379"));
        let world = World { cluster_id: 7, raft_term: 2, revision: 10, ..World::default() };
        let etcd = Etcd { world: Arc::new(Mutex::new(world)), endpoints: names.collect() };
        etcd.put("leader", "a");
        etcd.put("members/a", &member("10.0.0.1", "primary", 100));
        etcd.put("members/b", &member("10.0.0.2", "replica", 100));
        etcd
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn put(&self, key: &str, value: &str) {
        self.world().change(key, Some(value));
    }

    pub fn delete(&self, key: &str) {
        self.world().change(key, None);
    }

    pub fn follow(&self) -> watch::Receiver<Seen> {
        let (follower, seen) = Follower::with_source(self.clone(), BASE, TIMEOUT);
        tokio::spawn(follower.run());
        seen
    }
}

impl Source for Etcd {
    type Session = FakeSession;

    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    async fn open(&self, endpoint: usize) -> Result<FakeSession, EtcdError> {
        let mut world = self.world();
        world.opened.push(endpoint);
        match world.down.contains(&endpoint) {
            true => Err(EtcdError::Unreachable("connection refused".into())),
            false => Ok(FakeSession(self.clone())),
        }
    }
}

pub struct FakeSession(Etcd);

impl Session for FakeSession {
    type Watch = FakeWatch;

    async fn read(&self) -> Result<Reading, EtcdError> {
        if self.0.world().mute {
            std::future::pending::<()>().await;
        }
        let (slow, reading) = {
            let world = self.0.world();
            (world.slow, Reading { head: world.head(), stored: world.stored.clone() })
        };
        if !slow.is_zero() {
            sleep(slow).await;
        }
        Ok(reading)
    }

    async fn watch(&self, from: i64) -> Result<FakeWatch, EtcdError> {
        let mut world = self.0.world();
        for (key, value) in std::mem::take(&mut world.in_the_gap) {
            world.change(&key, Some(&value));
        }
        world.watched_from.push(from);
        let (feed, received) = mpsc::unbounded_channel();
        if from <= world.compacted {
            feed.send(Err(EtcdError::Compacted { oldest: world.compacted })).unwrap();
            return Ok(FakeWatch(received));
        }
        let past: Vec<Change> =
            world.log.iter().filter(|c| c.mod_revision >= from).cloned().collect();
        feed.send(Ok(Delivery { head: world.head(), changes: past })).unwrap();
        world.feeds.push(feed);
        Ok(FakeWatch(received))
    }
}

pub struct FakeWatch(mpsc::UnboundedReceiver<Result<Delivery, EtcdError>>);

impl Watch for FakeWatch {
    async fn next(&mut self) -> Result<Delivery, EtcdError> {
        self.0.recv().await.unwrap_or(Err(EtcdError::Ended))
    }
}
