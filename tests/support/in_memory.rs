//! A [`FakePool`] without a wire: what it would report, and the seam of the loop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use geo_agent::model::ids::SlotIndex;
use geo_agent::model::pool::{NodeRole, NodeStatus, PoolNode, PoolVersion, PoolView, Sessions};
use geo_agent::seams::{Ask, Pool, PoolRequest};

use super::fake_pool::FakePool;
use super::refusal::Refusal;

/// A [`Pool`] without a wire, for tests of the loop. Changes take effect at once, or at
/// [`FakePool::settle`] when the pool has a delay.
#[derive(Debug, Clone)]
pub struct InMemory(pub Arc<Mutex<FakePool>>);

impl InMemory {
    pub fn new(pool: FakePool) -> Self {
        InMemory(Arc::new(Mutex::new(pool)))
    }
}

impl Pool for InMemory {
    type Error = Refusal;

    async fn look(&self, ask: Ask) -> Result<PoolView, Refusal> {
        Ok(self.0.lock().unwrap().view(ask))
    }

    async fn send(&self, requests: &[PoolRequest]) -> Result<(), Refusal> {
        let mut pool = self.0.lock().unwrap();
        let mut first_refusal = Ok(());
        for request in requests {
            let answer = pool.request(*request);
            let is_over = answer.as_ref().is_err_and(|refusal| refusal.is_fatal);
            first_refusal = first_refusal.and(answer);
            if is_over {
                break; // pgpool closes the connection
            }
        }
        if pool.delay.is_zero() {
            pool.settle();
        }
        first_refusal
    }
}

impl FakePool {
    /// What a look would report, without the wire.
    pub fn view(&self, ask: Ask) -> PoolView {
        let nodes = (0..self.slots.len()).filter_map(|n| Some((SlotIndex::new(n)?, self.node(n))));
        PoolView {
            nodes: nodes.collect(),
            version: self.version,
            settings: if ask.settings { self.all_settings() } else { BTreeMap::new() },
            watchdog: self.watchdog.clone().filter(|_| ask.watchdog),
            sessions: ask.sessions.then(|| self.session_count()),
            damage: Vec::new(),
        }
    }

    /// `B`: the settings, and the names that this version has and older ones have not.
    pub fn all_settings(&self) -> BTreeMap<String, String> {
        let first_in = [
            ("read_only_function_list", PoolVersion::V42),
            ("failover_on_backend_shutdown", PoolVersion::V43),
            ("unix_socket_directories", PoolVersion::V44),
            ("user_redirect_preference_list", PoolVersion::V45),
            ("log_backend_messages", PoolVersion::V46),
            ("work_dir", PoolVersion::V47),
        ];
        let known = first_in.iter().filter(|(_, since)| self.version >= *since);
        let mut settings: BTreeMap<_, _> =
            known.map(|(name, _)| ((*name).to_owned(), "0".to_owned())).collect();
        settings.extend(self.settings.clone());
        settings
    }

    /// A slot's share of reads; NaN when all weights are 0.
    pub fn share(&self, slot: usize) -> f64 {
        self.slots[slot].weight / self.slots.iter().map(|s| s.weight).sum::<f64>()
    }

    fn node(&self, number: usize) -> PoolNode {
        let slot = &self.slots[number];
        PoolNode {
            host: slot.host.clone(),
            port: slot.port,
            status: match slot.status {
                0 => NodeStatus::Unused,
                3 => NodeStatus::Down,
                _ => NodeStatus::Up,
            },
            quarantined: false,
            role: match self.primary == Some(number) {
                true => NodeRole::Primary,
                false => NodeRole::Standby,
            },
            share: self.share(number),
            changed: Some(self.started),
        }
    }

    fn session_count(&self) -> Sessions {
        let mut reading = BTreeMap::new();
        for slot in self.sessions.values().filter_map(|s| SlotIndex::new(*s)) {
            *reading.entry(slot).or_insert(0) += 1;
        }
        Sessions {
            total: self.sessions.len() as u32,
            reading: (self.version >= PoolVersion::V45).then_some(reading),
        }
    }
}
