//! All that the loop sees, in memory and under the test's thumb: Patroni's word, pgpool with its file,
//! the servers. Meant for tokio's paused time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use geo_agent::model::agreed::Word;
use geo_agent::model::cluster::ClusterView;
use geo_agent::model::ids::Address;
use geo_agent::model::past::Past;
use geo_agent::model::policy::Policy;
use geo_agent::model::pool::PoolView;
use geo_agent::model::reach::{Answer, Loss, Reachability};
use geo_agent::model::slots::SlotTable;
use geo_agent::observe::Observer;
use geo_agent::patroni::Seen;
use geo_agent::reconcile::{Reconciler, Round, Watch};
use geo_agent::seams::{Ask, ConfFile, Pool, PoolRequest, Prober};

use super::fake_pool::FakePool;
use super::lab_keeper::{LabHealth, LabKeeper, Restarting};
use super::refusal::Refusal;
use super::world::World;

pub type Loop = Reconciler<LabPool, LabFile, LabProber, LabHealth, LabKeeper>;

/// One agent's surroundings.
#[derive(Clone)]
pub struct Lab {
    pub state: Arc<Mutex<State>>,
    pub word: Arc<watch::Sender<Seen>>,
    /// What the agent tells the others of a watchdog cluster.
    pub told: watch::Sender<Option<Word>>,
    /// Whom the agent wants watched, and what it is told of them.
    pub watched: Arc<watch::Sender<Option<Address>>>,
    pub lost: Arc<watch::Sender<Option<Loss>>>,
    policy: Arc<Policy>,
}

pub struct State {
    pub pool: FakePool,
    /// What the file holds, whatever pgpool makes of it.
    pub file: SlotTable,
    pub edited: bool,
    pub damage: Vec<String>,
    pub restarting: Restarting,
    /// How each server answers; nobody serves elsewhere.
    pub truth: BTreeMap<Address, Answer>,
    /// pgpool does not answer.
    pub away: bool,
    /// So many of the next requests are refused, before the first that is taken.
    pub refusals: usize,
    /// So many of the next requests are acknowledged and lost.
    pub losses: usize,
    /// pgpool cannot read its file.
    pub syntax_error: bool,
    pub looks: usize,
    /// How often pgpool's session processes were woken.
    pub woken: usize,
    pub writes: usize,
    /// Every request that arrived, and when.
    pub received: Vec<(Instant, PoolRequest)>,
    /// Every question to the servers, and when.
    pub asked: Vec<(Instant, BTreeSet<Address>)>,
    /// What must never happen, and happened.
    pub trouble: Vec<String>,
    /// Says what is wrong with a request at its arrival.
    pub judge: Option<Judge>,
}

pub type Judge = fn(&State, &Seen, PoolRequest) -> Option<String>;

impl Lab {
    /// A lab in which everything is as in this world.
    pub fn of(world: &World) -> Self {
        let nodes = world.pool.nodes.values();
        let backends: Vec<_> = nodes.map(|n| (n.host.as_str(), n.port, n.weight)).collect();
        let mut pool = FakePool::new(&backends).version(world.pool.version);
        for (slot, node) in pool.slots.iter_mut().zip(world.pool.nodes.values()) {
            slot.status = if node.status_is_up() { 2 } else { 3 };
        }
        pool.primary = world.pool.primary.map(|s| s.get());
        pool.watchdog = world.pool.watchdog.clone();
        if pool.watchdog.is_some() {
            pool.settings.insert("use_watchdog".to_owned(), "on".to_owned());
        }
        let file = world.file.clone().expect("a world with a file");
        let state = State {
            pool,
            file,
            edited: false,
            damage: Vec::new(),
            restarting: Restarting::default(),
            truth: world.truth.clone(),
            away: false,
            refusals: 0,
            losses: 0,
            syntax_error: false,
            looks: 0,
            woken: 0,
            writes: 0,
            received: Vec::new(),
            asked: Vec::new(),
            trouble: Vec::new(),
            judge: None,
        };
        let policy = Arc::new(world.policy.clone());
        let word = Arc::new(watch::channel(known(world)).0);
        let told = watch::channel(None).0;
        let (watched, lost) =
            (Arc::new(watch::Sender::new(None)), Arc::new(watch::Sender::new(None)));
        let state = Arc::new(Mutex::new(state));
        let lab = Lab { state, word, told, watched, lost, policy };
        lab.state().heed_the_truth();
        lab
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Patroni says what this world says, and the servers are as in it.
    pub fn becomes(&self, world: &World) {
        self.state().truth = world.truth.clone();
        self.state().heed_the_truth();
        self.word.send_replace(known(world));
    }

    pub fn etcd_is_lost(&self) {
        let last = self.word.borrow().last().cloned();
        let why = "etcd has not answered for 10 s".to_owned();
        self.word.send_replace(Seen::Unknown { why, since: Instant::now(), last });
    }

    pub fn answers(&self, address: &Address, answer: Answer) {
        let mut state = self.state();
        state.truth.insert(address.clone(), answer);
        state.heed_the_truth();
    }

    /// What the watch of pgpool's primary does, a little late.
    pub async fn vigil(&self) {
        loop {
            self.look_at_the_watched();
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn look_at_the_watched(&self) {
        let watched = self.watched.borrow().clone();
        let dead = watched.filter(|s| !self.state().truth.get(s).is_some_and(Answer::is_alive));
        let why = || "no answer".to_owned();
        let now = dead.map(|server| Loss { server, why: why() });
        self.lost.send_if_modified(|lost| {
            let other = *lost != now;
            *lost = now;
            other
        });
    }

    /// This server dies, and whoever watches it says so at once.
    pub fn dies(&self, server: &Address) {
        let why = "connection refused".to_owned();
        self.answers(server, Answer::Dead(why.clone()));
        assert_eq!(self.watched.borrow().as_ref(), Some(server), "it is not watched");
        self.lost.send_replace(Some(Loss { server: server.clone(), why }));
    }

    pub fn pool(&self) -> LabPool {
        LabPool { lab: self.clone() }
    }

    pub fn file(&self) -> LabFile {
        LabFile { lab: self.clone() }
    }

    /// The loop as the daemon runs it.
    pub fn agent(&self) -> Loop {
        let prober = LabProber { lab: self.clone() };
        let health = LabHealth { lab: self.clone() };
        Reconciler {
            observer: Observer::new(self.pool(), self.file(), prober, health),
            keeper: LabKeeper { lab: self.clone() },
            policy: self.policy.clone(),
            cluster: self.word.subscribe(),
            words: self.told.clone(),
            past: Arc::new(Past::default()),
            observes: false,
            watch: Watch { server: (*self.watched).clone(), lost: self.lost.subscribe() },
        }
    }

    /// Runs an agent for so long, then kills it where it stands.
    pub async fn run_for(&self, time: Duration) -> Vec<Round> {
        let mut rounds = Vec::new();
        let _ = tokio::time::timeout(time, self.agent().run(|r| rounds.push(copy(r)))).await;
        rounds
    }
}

fn copy(round: &Round) -> Round {
    Round { plan: round.plan.clone(), failure: round.failure.clone(), past: round.past.clone() }
}

pub fn known(world: &World) -> Seen {
    let view: Arc<ClusterView> = Arc::new(world.cluster.clone().expect("a known cluster"));
    Seen::Known { view, confirmed: Instant::now() }
}

impl State {
    /// pgpool's own logins meet the servers as they are.
    pub fn heed_the_truth(&mut self) {
        let are = |wanted: fn(&Answer) -> bool| {
            self.truth.iter().filter(|(_, a)| wanted(a)).map(|(s, _)| s.clone()).collect()
        };
        let was_frozen = self.pool.is_frozen();
        self.pool.writable = are(|a| *a == Answer::Writable);
        self.pool.hung = are(|a| !a.is_safe_to_search());
        if was_frozen {
            self.pool.settle();
        }
    }

    /// pgpool starts anew with its file; `up`: what its status file says.
    pub fn restart_pgpool(&mut self, up: impl Fn(usize) -> bool) {
        let backend = |e: &geo_agent::model::slots::SlotEntry| (e.host.clone(), e.port, e.weight);
        let known: Vec<_> = self.file.entries.values().map(backend).collect();
        let known: Vec<_> = known.iter().map(|(h, p, w)| (h.as_str(), *p, *w)).collect();
        let mut pool = FakePool::new(&known).version(self.pool.version);
        pool.delay = self.pool.delay;
        pool.started = self.pool.started + 1;
        pool.settings = self.pool.settings.clone();
        for slot in 0..pool.slots.len() {
            pool.set_status(slot, if up(slot) { 1 } else { 3 });
        }
        if pool.attached().is_empty() {
            pool.slots.iter_mut().for_each(|s| s.status = 1); // pgpool calls such a file bogus
        }
        pool.conf = Some(self.file.clone());
        self.pool = pool;
        self.heed_the_truth();
        let writable = |s: &usize| {
            let at = &self.pool.slots[*s];
            Address::new(&at.host, at.port.into()).is_ok_and(|a| self.pool.writable.contains(&a))
        };
        self.pool.primary = self.pool.attached().into_iter().rfind(writable);
    }

    pub fn requests(&self) -> Vec<PoolRequest> {
        self.received.iter().map(|(_, r)| *r).collect()
    }

    fn take(&mut self, word: &Seen, request: PoolRequest) -> Result<(), Refusal> {
        self.received.push((Instant::now(), request));
        if let Some(what) = self.judge.and_then(|judge| judge(self, word, request)) {
            self.trouble.push(format!("{request:?}: {what}"));
        }
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(Refusal::error("not now", ""));
        }
        if self.losses > 0 {
            self.losses -= 1;
            return Ok(());
        }
        self.pool.conf = (!self.syntax_error).then(|| self.file.clone());
        self.pool.request(request)
    }
}

pub struct LabPool {
    lab: Lab,
}

impl Pool for LabPool {
    type Error = Refusal;

    async fn look(&self, ask: Ask) -> Result<PoolView, Refusal> {
        tokio::task::yield_now().await;
        let mut state = self.lab.state();
        state.looks += 1;
        match state.away {
            true => Err(Refusal::fatal("connection refused", "")),
            false => Ok(state.pool.view(ask)),
        }
    }

    async fn send(&self, requests: &[PoolRequest]) -> Result<(), Refusal> {
        let delay = {
            let mut state = self.lab.state();
            if state.away {
                return Err(Refusal::fatal("connection refused", ""));
            }
            let word = self.lab.word.borrow().clone();
            for request in requests {
                state.take(&word, *request)?;
            }
            state.pool.delay
        };
        if delay.is_zero() {
            self.lab.state().pool.settle();
            return Ok(());
        }
        let lab = self.lab.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            lab.state().pool.settle();
        });
        Ok(())
    }
}

pub struct LabFile {
    lab: Lab,
}

impl ConfFile for LabFile {
    type Error = Refusal;

    async fn read(&self) -> Result<Result<SlotTable, String>, Refusal> {
        Ok(Ok(self.lab.state().file.clone()))
    }

    async fn write(&self, table: &SlotTable) -> Result<(), Refusal> {
        if !self.lab.state().restarting.may_act() {
            std::future::pending::<()>().await;
        }
        let mut state = self.lab.state();
        (state.file, state.edited) = (table.clone(), false);
        state.writes += 1;
        Ok(())
    }

    async fn edited(&self) -> Result<bool, Refusal> {
        Ok(self.lab.state().edited)
    }
}

pub struct LabProber {
    lab: Lab,
}

impl Prober for LabProber {
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability {
        self.lab.state().asked.push((Instant::now(), servers.clone()));
        sleep(Duration::from_millis(2)).await;
        let nobody = || Answer::Dead("connection refused".to_owned());
        let answer = |a: &Address| self.lab.state().truth.get(a).cloned().unwrap_or_else(nobody);
        let answers: BTreeMap<_, _> = servers.iter().map(|a| (a.clone(), answer(a))).collect();
        if answers.values().any(|a| !a.is_safe_to_search()) {
            sleep(Duration::from_secs(1)).await;
        }
        Reachability { answers, ..Reachability::default() }
    }

    async fn is_lost(&self, server: &Address) -> Option<Loss> {
        let answers = self.ask(&BTreeSet::from([server.clone()])).await;
        let why = "connection refused".to_owned();
        (!answers.of(server)?.is_alive()).then(|| Loss { server: server.clone(), why })
    }

    async fn until_writable(&self, server: &Address, pause: &dyn Fn() -> Duration) {
        let question = BTreeSet::from([server.clone()]);
        while self.ask(&question).await.of(server) != Some(&Answer::Writable) {
            sleep(pause()).await;
        }
    }
}
