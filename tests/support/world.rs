//! A world in memory: a Patroni cluster, a pgpool with its file, and the servers' true condition.
//! Built in domain words; plans are applied to it step by step, with pgpool's real reactions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use geo_agent::model::cluster::{ClusterView, Member, Replication, Role, State};
use geo_agent::model::elapsed::Elapsed;
use geo_agent::model::ids::{Address, MemberName, SlotIndex};
use geo_agent::model::inputs::{Inputs, Seen};
use geo_agent::model::orders::Orders;
use geo_agent::model::past::Past;
use geo_agent::model::patience::Patience;
use geo_agent::model::plan::{Act, Disruption, Plan, Step};
use geo_agent::model::policy::{OnPrimaryLoss, Policy};
use geo_agent::model::pool::{
    NodeRole, NodeStatus, PoolNode, PoolVersion, PoolView, Sessions, Watchdog,
};
use geo_agent::model::reach::{Answer, Loss, Reachability};
use geo_agent::model::restart::{Layout, RestartPolicy, Restarts};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::model::turn::Undone;
use geo_agent::plan::{plan, questions, turn};

/// What the agent has been told about the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// Nobody was asked.
    Never,
    /// Whom the planner names, as the loop does.
    AsNeeded,
    /// Everybody, always.
    Everybody,
    /// Whom the planner names, but the slots with an odd number did not make it into the answer.
    Half,
}

#[derive(Clone)]
pub struct World {
    pub cluster: Seen<ClusterView>,
    pub pool_seen: Result<(), String>,
    pub pool: Pgpool,
    pub file: Seen<SlotTable>,
    pub file_edited: bool,
    pub damage: Vec<String>,
    pub restarts: Restarts,
    /// What the agent has left to another in the looks before.
    pub undone: Undone,
    pub policy: Policy,
    /// What the clock says.
    pub elapsed: Elapsed,
    /// How each server would answer, whether or not it is asked.
    pub truth: BTreeMap<Address, Answer>,
    /// How far away each server is.
    pub round_trips: BTreeMap<Address, Duration>,
    pub asking: Asking,
    /// What the agent remembers.
    pub past: Past,
    /// What whoever watches pgpool's primary says.
    pub lost: Option<Loss>,
}

/// One line per thing, so that a counterexample can be read.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = &self.pool;
        writeln!(
            f,
            "asking {:?}, {:?}, {:?}, {:?}",
            self.asking, pool.version, self.policy, self.elapsed
        )?;
        if let Ok(c) = &self.cluster {
            writeln!(f, "leader {:?} standby_cluster {}", c.leader, c.standby_cluster)?;
            for m in c.members.values() {
                let truth = m.address.as_ref().ok().map(|a| self.is(a));
                let (address, nlb) = (&m.address, m.noloadbalance);
                writeln!(f, "  {} {:?} {:?} {address:?} {truth:?} {nlb}", m.name, m.role, m.state)?;
            }
        }
        writeln!(f, "pgpool, primary {:?}, {:?}", pool.primary, pool.watchdog)?;
        for (slot, n) in &pool.nodes {
            let truth = n.address().map(|a| self.is(&a));
            writeln!(f, "  {slot} {}:{} {:?} {} {truth:?}", n.host, n.port, n.status, n.weight)?;
        }
        match &self.file {
            Err(why) => writeln!(f, "file {why}"),
            Ok(file) => file.entries.iter().try_for_each(|(slot, e)| {
                writeln!(f, "  file {slot} {:?} {}:{} {}", e.member, e.host, e.port, e.weight)
            }),
        }
    }
}

/// pgpool as it runs: its shared memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pgpool {
    pub nodes: BTreeMap<SlotIndex, Node>,
    pub primary: Option<SlotIndex>,
    pub version: PoolVersion,
    pub watchdog: Option<Watchdog>,
    pub sessions: Option<Sessions>,
    pub settings: BTreeMap<String, String>,
    /// When it was started: no status is older.
    pub started: u64,
    /// The slots whose status is younger than that.
    pub changed: BTreeMap<SlotIndex, u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub host: String,
    pub port: u16,
    pub status: NodeStatus,
    pub weight: f64,
}

/// What a step did besides what it was meant to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// Whose sessions ended in truth.
    pub ended: Disruption,
    /// What must never happen, and happened.
    pub trouble: Vec<String>,
}

pub fn world() -> World {
    World {
        cluster: Ok(ClusterView { revision: 10, ..ClusterView::default() }),
        pool_seen: Ok(()),
        pool: Pgpool {
            nodes: BTreeMap::new(),
            primary: None,
            version: PoolVersion::V46,
            watchdog: None,
            sessions: None,
            settings: BTreeMap::new(),
            started: 1_795_224_985,
            changed: BTreeMap::new(),
        },
        file: Ok(SlotTable::default()),
        file_edited: false,
        damage: Vec::new(),
        restarts: Restarts::default(),
        undone: Undone::default(),
        policy: Policy {
            slots: 8,
            location: Some("eu".to_owned()),
            sql_probe: true,
            ..Policy::default()
        },
        elapsed: Elapsed::default(),
        truth: BTreeMap::new(),
        round_trips: BTreeMap::new(),
        asking: Asking::AsNeeded,
        past: Past::default(),
        lost: None,
    }
}

pub fn slot(n: usize) -> SlotIndex {
    SlotIndex::new(n).expect("a slot number")
}

/// Where a member listens unless a test says otherwise.
pub fn home(name: &str) -> Address {
    Address::new(&format!("{name}.db"), 5432).expect("a test name is a host name")
}

/// A running member; `eu-1` is in location `eu`.
pub fn member(name: &str, role: Role) -> Member {
    let place = name.split('-').next().unwrap_or(name).to_owned();
    Member {
        name: MemberName::new(name),
        address: Ok(home(name)),
        role,
        state: State::Running,
        replication: if role == Role::Primary {
            Replication::Unsaid
        } else {
            Replication::Streaming
        },
        receive_lsn: Some(1000),
        replay_lsn: Some(1000),
        timeline: Some(1),
        noloadbalance: false,
        tags: BTreeMap::from([("location".to_owned(), place)]),
        restart_scheduled: false,
        orders: Orders::default(),
        restart_at: None,
    }
}

impl World {
    // ---- Patroni

    /// The first member that holds the leader key; it is writable.
    pub fn leader(self, name: &str) -> Self {
        let mut world = self.add(member(name, Role::Primary));
        world.view().leader = Some(MemberName::new(name));
        world.truth.insert(home(name), Answer::Writable);
        world
    }

    pub fn replica(self, name: &str) -> Self {
        let mut world = self.add(member(name, Role::Replica));
        world.truth.insert(home(name), Answer::ReadOnly);
        world
    }

    pub fn add(mut self, member: Member) -> Self {
        self.view().members.insert(member.name.clone(), member);
        self
    }

    pub fn with(mut self, name: &str, change: impl FnOnce(&mut Member)) -> Self {
        let member = self.view().members.get_mut(&MemberName::new(name));
        change(member.expect("a member of this world"));
        self
    }

    /// The leader key moves; the new holder is writable at once unless a test says otherwise.
    pub fn leads_now(mut self, name: &str) -> Self {
        let view = self.view();
        view.revision += 1;
        view.leader = Some(MemberName::new(name));
        for member in view.members.values_mut() {
            member.role = match member.name.as_raw() == name {
                true => Role::Primary,
                false => Role::Replica,
            };
        }
        let others: Vec<Address> =
            view.members.values().filter_map(|m| m.address.clone().ok()).collect();
        for address in others {
            self.truth.insert(address, Answer::ReadOnly);
        }
        self.answers(name, Answer::Writable)
    }

    pub fn answers(mut self, name: &str, answer: Answer) -> Self {
        let known = self.view().members.get(&MemberName::new(name)).cloned();
        let address = known.and_then(|m| m.address.ok()).unwrap_or_else(|| home(name));
        self.truth.insert(address, answer);
        self
    }

    pub fn view(&mut self) -> &mut ClusterView {
        self.cluster.as_mut().expect("etcd was read")
    }

    // ---- pgpool and its file: slots from 0 up, each in both

    pub fn primary(mut self, name: &str) -> Self {
        self.pool.primary = Some(slot(self.pool.nodes.len()));
        self.up(name, 1.0)
    }

    pub fn up(self, name: &str, weight: f64) -> Self {
        self.slot_of(name, NodeStatus::Up, weight)
    }

    pub fn down(self, name: &str) -> Self {
        self.slot_of(name, NodeStatus::Down, 0.0)
    }

    fn slot_of(mut self, name: &str, status: NodeStatus, weight: f64) -> Self {
        let at = slot(self.pool.nodes.len());
        let address = home(name);
        let (host, port) = (address.host().to_owned(), address.port());
        self.pool.nodes.insert(at, Node { host, port, status, weight });
        if let Ok(file) = &mut self.file {
            let entry = SlotEntry::new(MemberName::new(name), &address, weight);
            file.entries.insert(at, entry);
        }
        self
    }

    // ---- deciding and acting

    pub fn plan(&self) -> Plan {
        plan(&self.inputs())
    }

    /// What the agent sees, the servers' answers included.
    pub fn inputs(&self) -> Inputs {
        let mut inputs = Inputs {
            cluster: self.cluster.clone().map(Arc::new),
            pool: self.pool_seen.clone().map(|()| self.pool.view()),
            file: self.file.clone(),
            file_edited: self.file_edited,
            reach: Reachability::default(),
            lost: self.lost.clone(),
            undone: self.undone.clone(),
            policy: Arc::new(self.policy.clone()),
            past: Arc::new(self.past.clone()),
            elapsed: self.elapsed.clone(),
            restarts: self.restarts.clone(),
        };
        if let Ok(pool) = &mut inputs.pool {
            pool.damage.clone_from(&self.damage);
        }
        let mut asked: BTreeSet<Address> = match self.asking {
            Asking::Never => BTreeSet::new(),
            Asking::AsNeeded => questions::servers_to_ask(&inputs),
            Asking::Everybody => {
                let in_pool = self.pool.nodes.values().filter_map(Node::address);
                self.truth.keys().cloned().chain(in_pool).collect()
            }
            Asking::Half => questions::servers_to_ask(&inputs).into_iter().step_by(2).collect(),
        };
        while !asked.is_empty() {
            inputs.reach.extend(self.told_by(asked));
            asked = match self.asking {
                Asking::AsNeeded => questions::servers_left_to_ask(&inputs),
                _ => BTreeSet::new(),
            };
        }
        inputs
    }

    fn told_by(&self, asked: BTreeSet<Address>) -> Reachability {
        let round_trips = self.round_trips.iter().filter(|(server, _)| asked.contains(server));
        let round_trips = round_trips.map(|(server, took)| (server.clone(), *took)).collect();
        let answers = asked.iter().map(|server| (server.clone(), self.is(server))).collect();
        Reachability { answers, round_trips }
    }

    /// The true condition of a server; nobody serves at an address that no test speaks of.
    pub fn is(&self, address: &Address) -> Answer {
        let nobody = || Answer::Dead("connection refused".to_owned());
        self.truth.get(address).cloned().unwrap_or_else(nobody)
    }

    /// What the loop keeps of a look that led to this plan.
    pub fn remember(&mut self, plan: &Plan) {
        let commands = plan.steps.iter().any(|s| s.act.slot().is_some());
        self.undone = turn::remember(&self.inputs(), commands).0;
    }

    /// pgpool's primary is attached, and nobody serves there.
    pub fn primary_is_gone(&self) -> bool {
        let node = self.pool.primary.and_then(|p| self.pool.nodes.get(&p));
        let attached = node.filter(|n| n.status == NodeStatus::Up);
        attached.and_then(Node::address).is_some_and(|a| !self.is(&a).is_alive())
    }

    pub fn apply_all(&mut self, plan: &Plan) -> Vec<Effect> {
        plan.steps.iter().map(|s| self.apply(s)).collect()
    }

    pub fn apply(&mut self, step: &Step) -> Effect {
        let had_reads = self.pool.has_reads();
        let mut effect = Effect { ended: Disruption::None, trouble: Vec::new() };
        match &step.act {
            Act::WriteConf(table) => {
                self.file = Ok(table.clone());
                self.file_edited = false;
            }
            Act::Reload => match &self.file {
                Ok(table) => self.pool.reload(table),
                Err(why) => effect.trouble.push(format!("reloads a bad file: {why}")),
            },
            Act::Attach(slot) => self.attach(*slot, &mut effect),
            Act::Detach(slot) => self.detach(*slot, &mut effect),
            Act::Promote(slot) => self.promote(*slot, &mut effect),
            Act::Restart(layout) => self.restart(layout, &mut effect),
        }
        let all_down = self.pool.attached().is_empty();
        if had_reads && !self.pool.has_reads() && !all_down && self.file.is_ok() {
            effect.trouble.push("every attached slot has weight 0".to_owned());
        }
        effect
    }

    /// pgpool comes up with the table, and the states that its status file was given.
    fn restart(&mut self, layout: &Layout, effect: &mut Effect) {
        effect.ended = Disruption::Restart;
        // Whoever keeps time starts anew with pgpool, for what it knows by slot.
        self.elapsed.by_hand.clear();
        self.elapsed.draining.clear();
        let node = |(slot, e): (&SlotIndex, &SlotEntry)| {
            let up = layout.attached.contains(slot);
            let status = if up { NodeStatus::Up } else { NodeStatus::Down };
            (*slot, Node { host: e.host.clone(), port: e.port, status, weight: e.weight })
        };
        self.pool.nodes = layout.table.entries.iter().map(node).collect();
        self.file = Ok(layout.table.clone());
        self.file_edited = false;
        self.damage.clear();
        self.search(effect);
    }

    fn attach(&mut self, slot: SlotIndex, effect: &mut Effect) {
        let busy = self.pool.version.ends_busy_sessions();
        let Some(node) = self.pool.nodes.get_mut(&slot) else {
            effect.trouble.push(format!("attaches slot {slot}, which pgpool does not have"));
            return;
        };
        if node.port == 0 {
            effect.trouble.push(format!("attaches slot {slot}, a gap"));
        }
        if node.status == NodeStatus::Up {
            effect.trouble.push(format!("attaches slot {slot}, which is attached"));
            return;
        }
        node.status = NodeStatus::Up;
        effect.ended = if busy { Disruption::Busy } else { Disruption::None };
        if self.pool.primary != Some(slot) {
            self.search(effect);
        }
    }

    fn detach(&mut self, slot: SlotIndex, effect: &mut Effect) {
        let writes_went_here = self.pool.writes_go_to() == Some(slot);
        let Some(node) = self.pool.nodes.get_mut(&slot).filter(|n| n.status == NodeStatus::Up)
        else {
            effect.trouble.push(format!("detaches slot {slot}, which is not attached"));
            return;
        };
        node.status = NodeStatus::Down;
        effect.ended = if writes_went_here { Disruption::All } else { Disruption::Slot };
        if self.pool.primary == Some(slot) || self.pool.primary.is_none() {
            self.search(effect);
        }
    }

    fn promote(&mut self, slot: SlotIndex, effect: &mut Effect) {
        if self.pool.primary == Some(slot) {
            effect.trouble.push(format!("promotes slot {slot}, which is pgpool's primary"));
            return;
        }
        if !self.pool.attached().contains(&slot) {
            effect.trouble.push(format!("promotes slot {slot}, which is down"));
            return;
        }
        for (other, node) in &mut self.pool.nodes {
            if *other != slot {
                node.status = NodeStatus::Down;
            }
        }
        self.pool.primary = Some(slot);
        effect.ended = Disruption::All;
    }

    /// pgpool logs in to every attached server and takes the one that is not in recovery; of several
    /// the highest slot, or the lowest when none of them is a standby.
    fn search(&mut self, effect: &mut Effect) {
        let attached = self.pool.attached();
        let condition =
            |s: &SlotIndex| self.pool.nodes[s].address().map_or(Answer::ReadOnly, |a| self.is(&a));
        for slot in attached.iter().filter(|s| !condition(s).is_safe_to_search()) {
            effect.trouble.push(format!("pgpool freezes on slot {slot}"));
        }
        let writable: Vec<SlotIndex> =
            attached.iter().copied().filter(|s| self.is_writable(*s)).collect();
        self.pool.primary = match writable.len() < attached.len() {
            true => writable.last().copied(),
            false => writable.first().copied(),
        };
    }

    fn is_writable(&self, slot: SlotIndex) -> bool {
        let Some(address) = self.pool.nodes[&slot].address() else { return false };
        let leads = self.cluster.as_ref().ok().and_then(|c| c.leader_member());
        match self.is(&address) {
            Answer::Writable => true,
            Answer::Alive(_) => {
                leads.is_some_and(|m| m.address.as_ref() == Ok(&address) && m.role == Role::Primary)
            }
            _ => false,
        }
    }
}

impl Pgpool {
    pub fn view(&self) -> PoolView {
        let sum: f64 = self.nodes.values().map(|n| n.weight).sum();
        let node = |(slot, n): (&SlotIndex, &Node)| {
            let primary = self.primary == Some(*slot);
            let role = if primary { NodeRole::Primary } else { NodeRole::Standby };
            let share = n.weight / sum;
            let (host, port) = (n.host.clone(), n.port);
            let status = n.status;
            (
                *slot,
                PoolNode {
                    host,
                    port,
                    status,
                    quarantined: false,
                    role,
                    share,
                    changed: Some(*self.changed.get(slot).unwrap_or(&self.started)),
                },
            )
        };
        PoolView {
            nodes: self.nodes.iter().map(node).collect(),
            version: self.version,
            settings: self.settings.clone(),
            watchdog: self.watchdog.clone(),
            sessions: self.sessions.clone(),
            damage: Vec::new(),
        }
    }

    pub fn attached(&self) -> BTreeSet<SlotIndex> {
        self.nodes.iter().filter(|(_, n)| n.status == NodeStatus::Up).map(|(s, _)| *s).collect()
    }

    pub fn has_reads(&self) -> bool {
        self.nodes.values().any(|n| n.status == NodeStatus::Up && n.weight > 0.0)
    }

    /// Without a primary, pgpool sends writes to the lowest attached slot.
    fn writes_go_to(&self) -> Option<SlotIndex> {
        self.primary.or_else(|| self.attached().first().copied())
    }

    /// New slots appear down; the address of a used slot never changes; weights always do.
    fn reload(&mut self, table: &SlotTable) {
        let highest = table.entries.keys().next_back().map_or(0, |s| s.get() + 1);
        for number in 0..highest {
            self.nodes.entry(slot(number)).or_insert_with(Node::gap);
        }
        for (slot, entry) in &table.entries {
            let Some(node) = self.nodes.get_mut(slot) else { continue };
            node.weight = entry.weight;
            if node.status == NodeStatus::Unused {
                *node = Node {
                    host: entry.host.clone(),
                    port: entry.port,
                    status: NodeStatus::Down,
                    weight: entry.weight,
                };
            }
        }
    }
}

impl Node {
    pub fn gap() -> Self {
        Node { host: String::new(), port: 0, status: NodeStatus::Unused, weight: 0.0 }
    }

    pub fn status_is_up(&self) -> bool {
        self.status == NodeStatus::Up
    }

    pub fn status_is_used(&self) -> bool {
        self.status != NodeStatus::Unused
    }

    pub fn address(&self) -> Option<Address> {
        Address::new(&self.host, u32::from(self.port)).ok()
    }
}
