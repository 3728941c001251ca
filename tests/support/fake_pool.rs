//! pgpool's slots and how they really change: a pure state machine, without bytes, sockets and
//! clock. Its rules are those of proto-notes/changes.md, the surprising ones included.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use geo_agent::model::ids::{Address, SlotIndex};
use geo_agent::model::pool::{PoolVersion, Watchdog};
use geo_agent::model::slots::SlotTable;
use geo_agent::seams::PoolRequest;

use super::refusal::Refusal;

/// pgpool's ring of waiting requests; what does not fit is acknowledged and lost.
const QUEUE_MAX: usize = 10;

/// A pgpool. Every field may be set at any time; what it then does is what pgpool would do.
#[derive(Debug, Clone)]
pub struct FakePool {
    pub version: PoolVersion,
    /// By slot number, gaps included.
    pub slots: Vec<FakeSlot>,
    /// When it was started: no status is older.
    pub started: u64,
    /// `primary_node_id`.
    pub primary: Option<usize>,
    /// The pgpool.conf that the next reload reads; `None`: one with a syntax error.
    pub conf: Option<SlotTable>,
    /// Whose SQL answers "not in recovery".
    pub writable: BTreeSet<Address>,
    /// Whose SQL never answers: a search that meets one freezes pgpool until it is taken out here.
    pub hung: BTreeSet<Address>,
    /// Reported by `B`, beside the names that tell the version.
    pub settings: BTreeMap<String, String>,
    pub watchdog: Option<Watchdog>,
    /// Clients: process id and the slot that each reads from.
    pub sessions: BTreeMap<u32, usize>,
    /// Acknowledges every change and does none.
    pub ignores_changes: bool,
    /// How long after its acknowledgement a change takes effect; kept by whoever holds a clock.
    pub delay: Duration,
    /// What really happened, in order.
    pub effects: Vec<Effect>,
    queue: VecDeque<PoolRequest>,
    is_searching: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct FakeSlot {
    pub host: String,
    pub port: u16,
    pub weight: f64,
    /// 0..=3, as pgpool has it.
    pub status: u8,
}

/// What a request led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Attached(usize),
    Detached(usize),
    Promoted(usize),
    Reloaded,
    /// A reload of a file with a syntax error.
    ReloadFailed,
    /// pgpool asked the attached servers who is writable, and believed this.
    Searched(Option<usize>),
    /// The search met a server that hangs.
    Froze,
    /// Acknowledged, and without effect.
    NoOp(PoolRequest),
    /// The queue was full.
    Lost(PoolRequest),
}

impl FakePool {
    /// A pgpool 4.6 that has been up for a while: every slot attached, slot 0 its primary and the
    /// only writable server.
    pub fn new(backends: &[(&str, u16, f64)]) -> Self {
        let slot = |&(host, port, weight): &(&str, u16, f64)| FakeSlot {
            host: host.to_owned(),
            port,
            weight,
            status: 2,
        };
        let mut pool = FakePool {
            version: PoolVersion::V46,
            slots: backends.iter().map(slot).collect(),
            started: 1_795_224_985,
            primary: (!backends.is_empty()).then_some(0),
            conf: Some(SlotTable::default()),
            writable: BTreeSet::new(),
            hung: BTreeSet::new(),
            settings: BTreeMap::new(),
            watchdog: None,
            sessions: BTreeMap::new(),
            ignores_changes: false,
            delay: Duration::ZERO,
            effects: Vec::new(),
            queue: VecDeque::new(),
            is_searching: false,
        };
        if !backends.is_empty() {
            pool.set_writable(&[0]);
        }
        pool
    }

    pub fn version(mut self, version: PoolVersion) -> Self {
        self.version = version;
        self
    }

    /// The servers in these slots are the writable ones, and no others.
    pub fn set_writable(&mut self, slots: &[usize]) {
        self.writable = slots.iter().filter_map(|s| self.address(*s)).collect();
    }

    pub fn set_status(&mut self, slot: usize, status: u8) {
        self.slots[slot].status = status;
    }

    pub fn is_attached(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|s| matches!(s.status, 1 | 2))
    }

    pub fn attached(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|s| self.is_attached(*s)).collect()
    }

    /// pgpool's main process waits for a server that hangs, and does nothing else.
    pub fn is_frozen(&self) -> bool {
        self.is_searching && self.hung_attached()
    }

    /// Takes a request, as a PCP worker does: `Ok` means "queued" and nothing more.
    pub fn request(&mut self, request: PoolRequest) -> Result<(), Refusal> {
        self.check(request)?;
        if self.ignores_changes {
            self.effects.push(Effect::NoOp(request));
        } else if self.queue.len() >= QUEUE_MAX && request != PoolRequest::Reload {
            self.effects.push(Effect::Lost(request));
        } else {
            self.queue.push_back(request);
        }
        Ok(())
    }

    /// Does what is queued, as the main process does.
    pub fn settle(&mut self) {
        while !self.is_frozen() {
            if self.is_searching {
                self.search();
            }
            let Some(request) = self.queue.pop_front() else { return };
            match request {
                PoolRequest::Attach(slot) => self.attach(slot.get()),
                PoolRequest::Detach(slot) => self.detach(slot.get()),
                PoolRequest::Promote(slot) => self.promote(slot.get()),
                PoolRequest::Reload => self.reload(),
            }
        }
    }

    /// Reads the file again, as at SIGHUP.
    pub fn reload(&mut self) {
        let Some(conf) = self.conf.clone() else {
            return self.effects.push(Effect::ReloadFailed);
        };
        for (slot, entry) in &conf.entries {
            while self.slots.len() <= slot.get() {
                self.slots.push(FakeSlot::unused());
            }
            let live = &mut self.slots[slot.get()];
            // Host and port of a slot that is in use cannot change.
            if live.status == 0 {
                live.host.clone_from(&entry.host);
                live.port = entry.port;
                live.status = 3;
            }
            live.weight = entry.weight;
        }
        self.effects.push(Effect::Reloaded);
    }

    fn check(&self, request: PoolRequest) -> Result<(), Refusal> {
        match request {
            PoolRequest::Detach(slot) if !self.is_attached(slot.get()) => {
                let status = self.slots.get(slot.get()).map_or(0, |s| s.status);
                Err(Refusal::error(
                    format!(
                        "invalid degenerate backend request, node id : {slot} status: [{status}] \
                         is not valid for failover"
                    ),
                    "",
                ))
            }
            PoolRequest::Promote(slot) if slot.get() >= self.slots.len() => Err(Refusal::error(
                "could not process promote request",
                format!("node id {slot} is not valid"),
            )),
            PoolRequest::Promote(slot) if self.primary == Some(slot.get()) => Err(Refusal::fatal(
                "invalid promote request",
                format!("specified node is already primary node, can't promote node id {slot}"),
            )),
            PoolRequest::Reload if !self.version.can_reload_over_pcp() => {
                Err(Refusal::fatal("PCP processing request", "unknown PCP packet type \"Z\""))
            }
            _ => Ok(()),
        }
    }

    fn attach(&mut self, slot: usize) {
        if self.is_attached(slot) || slot >= self.slots.len() {
            return self.no_op(PoolRequest::Attach, slot);
        }
        self.slots[slot].status = 1; // an unused gap too
        self.effects.push(Effect::Attached(slot));
        self.search();
    }

    fn detach(&mut self, slot: usize) {
        if !self.is_attached(slot) {
            return self.no_op(PoolRequest::Detach, slot);
        }
        self.slots[slot].status = 3;
        self.effects.push(Effect::Detached(slot));
        match self.primary {
            Some(primary) if primary != slot => self.sessions.retain(|_, reads| *reads != slot),
            _ => {
                self.sessions.clear();
                self.search();
            }
        }
    }

    fn promote(&mut self, slot: usize) {
        if !self.is_attached(slot) {
            return self.no_op(PoolRequest::Promote, slot);
        }
        for (number, other) in self.slots.iter_mut().enumerate() {
            if number != slot {
                other.status = 3; // gaps too
            }
        }
        self.sessions.clear();
        self.primary = Some(slot);
        self.effects.push(Effect::Promoted(slot));
    }

    /// Asks the attached servers one after the other. Of two writable ones the highest slot wins
    /// where a standby is attached, the lowest where none is.
    fn search(&mut self) {
        self.is_searching = self.hung_attached();
        if self.is_searching {
            return self.effects.push(Effect::Froze);
        }
        let attached = self.attached();
        let is_writable =
            |slot: &usize| self.address(*slot).is_some_and(|a| self.writable.contains(&a));
        let writable: Vec<usize> = attached.iter().copied().filter(is_writable).collect();
        self.primary = match writable.len() == attached.len() {
            true => writable.first().copied(),
            false => writable.last().copied(),
        };
        self.effects.push(Effect::Searched(self.primary));
    }

    fn hung_attached(&self) -> bool {
        let is_hung = |slot: usize| self.address(slot).is_some_and(|a| self.hung.contains(&a));
        self.attached().into_iter().any(is_hung)
    }

    fn no_op(&mut self, request: fn(SlotIndex) -> PoolRequest, slot: usize) {
        let slot = SlotIndex::new(slot).expect("it came as one");
        self.effects.push(Effect::NoOp(request(slot)));
    }

    fn address(&self, slot: usize) -> Option<Address> {
        let slot = self.slots.get(slot)?;
        Address::new(&slot.host, u32::from(slot.port)).ok()
    }
}

impl FakeSlot {
    pub fn unused() -> Self {
        FakeSlot { host: String::new(), port: 0, weight: 0.0, status: 0 }
    }
}
