//! `geo-agent run`: the daemon. Starts the follower and the loop, and starts them anew when SIGHUP
//! brings another configuration.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::settings::Config;
use crate::config::{self, Loaded};
use crate::history::History;
use crate::holding::Holding;
use crate::host::lock::Lock;
use crate::host::remembered::Remembered;
use crate::host::saved_elapsed::SavedElapsed;
use crate::host::state::{AgentState, HeldSince, LastChange, StateFile};
use crate::model::past::Past;
use crate::observe::chain;
use crate::patroni::follow::Follower;
use crate::patroni::scribe::Scribe;
use crate::reconcile::{ClusterNews, Reconciler, Round};

use super::would::Would;
use super::{load, world};

/// How long the first look waits for etcd, so that a start does not begin with a hold.
const FIRST_VIEW: Duration = Duration::from_secs(2);

/// Ends with SIGTERM or SIGINT, leaving pgpool as it is.
pub async fn run(path: &Path, observes: bool) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let mut config = load(path)?;
    world::observer(&config)?; // says what is wrong with the settings before anything is locked
    let what = if observes { "run --observe" } else { "run" };
    let mut lock = Lock::take(&config.pgpool.config_path, what)?;
    let mut journal = Journal { observes, ..Journal::default() };
    journal.past = Arc::new(world::remembered(&config));
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "geo-agent starts");
    if observes {
        info!("it only observes: pgpool and pgpool.conf stay as they are");
    }
    loop {
        match follow(&config, &mut journal, &mut signals).await? {
            Wish::Stop => break,
            Wish::Reload => {
                if let Some((new, its_lock)) = reload(path, &config) {
                    lock = its_lock.unwrap_or(lock);
                    config = new;
                    journal.past = Arc::default(); // whatever it was, an operator means what is now
                }
            }
        }
    }
    drop(lock);
    info!("geo-agent ends; pgpool stays as it is");
    Ok(0)
}

enum Wish {
    Stop,
    Reload,
}

/// Works with one configuration until a signal comes.
async fn follow(
    config: &Config,
    journal: &mut Journal,
    signals: &mut Signals,
) -> anyhow::Result<Wish> {
    let observer = world::observer(config)?.remembering(journal.history.clone());
    let (watch, vigil) = world::watch(config)?;
    journal.writes_to(config);
    let (follower, mut cluster) = Follower::new(&config.etcd);
    let follower = AbortOnDrop(tokio::spawn(follower.run()));
    let (words, told) = watch::channel(None);
    let scribe = AbortOnDrop(tokio::spawn(Scribe::new(&config.etcd, told).run()));
    let work = async {
        first_view(&mut cluster).await;
        let policy = Arc::new(config.policy.clone());
        let (past, observes) = (journal.past.clone(), journal.observes);
        let reconciler = Reconciler { observer, policy, cluster, watch, words, past, observes };
        reconciler.run(|round| journal.note(round)).await;
    };
    let wish = tokio::select! {
        () = work => anyhow::bail!("nobody follows etcd any more: start geo-agent again"),
        never = vigil => match never {},
        wish = signals.next() => wish,
    };
    drop((follower, scribe));
    Ok(wish)
}

/// The follower ends with the configuration that it was started for.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn first_view(cluster: &mut ClusterNews) {
    let known = cluster.wait_for(|seen| seen.known().is_some());
    let _ = timeout(FIRST_VIEW, known).await;
    cluster.mark_changed();
}

/// The new configuration, and the lock on its pgpool if that is another one. A bad one is reported,
/// and the old one kept.
fn reload(path: &Path, old: &Config) -> Option<(Config, Option<Lock>)> {
    match usable(path, old) {
        Ok(new) => {
            info!("configuration read again");
            Some(new)
        }
        Err(why) => {
            error!("the configuration is not taken, the old one stays: {why:#}");
            None
        }
    }
}

fn usable(path: &Path, old: &Config) -> anyhow::Result<(Config, Option<Lock>)> {
    let Loaded { config, warnings } = config::load(path)?;
    for warning in warnings {
        warn!("{warning}");
    }
    world::observer(&config)?;
    let moved = config.pgpool.config_path != old.pgpool.config_path;
    let lock = moved.then(|| Lock::take(&config.pgpool.config_path, "run")).transpose()?;
    Ok((config, lock))
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            hup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.term.recv() => Wish::Stop,
            _ = self.int.recv() => Wish::Stop,
            _ = self.hup.recv() => Wish::Reload,
        }
    }
}

/// Tells the log what changed, and `status` since when things are as they are.
struct Journal {
    started: u64,
    holding: Holding,
    /// Outlives the configuration, as the world does that it is about.
    history: Rc<RefCell<History>>,
    last_change: Option<LastChange>,
    file: Option<StateFile>,
    /// The keys that `past` is about.
    base: String,
    past: Arc<Past>,
    observes: bool,
    would: Would,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            started: epoch(SystemTime::now()),
            holding: Holding::default(),
            last_change: None,
            file: None,
            base: String::new(),
            past: Arc::default(),
            observes: false,
            would: Would::default(),
            history: Rc::default(),
        }
    }
}

impl Journal {
    fn writes_to(&mut self, config: &Config) {
        self.file = StateFile::new(&config.pgpool.config_path).ok();
        self.base.clone_from(&config.etcd.base);
    }

    fn note(&mut self, round: &Round) {
        let now = SystemTime::now();
        let change = self.holding.update(&round.plan.holds, now);
        for hold in &change.begun {
            let member = hold.member.as_ref().map(|m| m.to_string()).unwrap_or_default();
            warn!(member, slot = hold.slot.map(|s| s.get()), "holds: {}", hold.reason);
        }
        for hold in &change.ended {
            let member = hold.member.as_ref().map(|m| m.to_string()).unwrap_or_default();
            info!(member, slot = hold.slot.map(|s| s.get()), "no longer holds: {}", hold.reason);
        }
        self.past = round.past.clone();
        if self.observes {
            self.would.tell(&round.plan);
        } else if let Some(step) = round.plan.steps.last() {
            let what = match &round.failure {
                None => format!("{}: {}", step.act.op(), step.reason),
                Some(why) => format!("failed: {why}"),
            };
            self.last_change = Some(LastChange { at: epoch(now), what });
        }
        self.save();
    }

    fn save(&mut self) {
        let held = |(hold, since): (&crate::model::plan::Hold, SystemTime)| HeldSince {
            member: hold.member.as_ref().map(|m| m.to_string()),
            slot: hold.slot.map(|s| s.get()),
            reason: hold.reason.clone(),
            since: epoch(since),
        };
        let state = AgentState {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            holds: self.holding.iter().map(held).collect(),
            last_change: self.last_change.clone(),
            observes: self.observes,
            remembered: Some(Remembered::new(&self.base, &self.past)),
            elapsed: SavedElapsed::from(self.history.borrow().elapsed()),
        };
        let Some(file) = &mut self.file else { return };
        if let Err(why) = file.save(&state) {
            warn!("`geo-agent status` will not show this daemon: {}", chain(&why));
            self.file = None; // said once
        }
    }
}

fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
