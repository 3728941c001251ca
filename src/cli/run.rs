//! `geo-agent run`: the daemon. Starts the follower and the loop, and starts them anew when SIGHUP
//! brings another configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::settings::Config;
use crate::config::{self, Loaded};
use crate::holding::Holding;
use crate::host::lock::Lock;
use crate::host::state::{AgentState, HeldSince, LastChange, StateFile};
use crate::observe::chain;
use crate::patroni::follow::Follower;
use crate::patroni::scribe::Scribe;
use crate::reconcile::{ClusterNews, Reconciler, Round};

use super::{load, world};

/// How long the first look waits for etcd, so that a start does not begin with a hold.
const FIRST_VIEW: Duration = Duration::from_secs(2);

/// Ends with SIGTERM or SIGINT, leaving pgpool as it is.
pub async fn run(path: &Path) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let mut config = load(path)?;
    world::observer(&config)?; // says what is wrong with the settings before anything is locked
    let mut journal = Journal::default();
    let mut lock = Lock::take(&config.pgpool.config_path, "run")?;
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "geo-agent starts");
    loop {
        match follow(&config, &mut journal, &mut signals).await? {
            Wish::Stop => break,
            Wish::Reload => {
                if let Some((new, its_lock)) = reload(path, &config) {
                    lock = its_lock.unwrap_or(lock);
                    config = new;
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
    let observer = world::observer(config)?;
    let (watch, vigil) = world::watch(config)?;
    journal.writes_to(&config.pgpool.config_path);
    let (follower, mut cluster) = Follower::new(&config.etcd);
    let follower = AbortOnDrop(tokio::spawn(follower.run()));
    let (words, told) = watch::channel(None);
    let scribe = AbortOnDrop(tokio::spawn(Scribe::new(&config.etcd, told).run()));
    let work = async {
        first_view(&mut cluster).await;
        let policy = Arc::new(config.policy.clone());
        let reconciler = Reconciler { observer, policy, cluster, watch, words };
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
    last_change: Option<LastChange>,
    file: Option<StateFile>,
}

impl Default for Journal {
    fn default() -> Self {
        let (holding, last_change, file) = (Holding::default(), None, None);
        Journal { started: epoch(SystemTime::now()), holding, last_change, file }
    }
}

impl Journal {
    fn writes_to(&mut self, config_path: &Path) {
        self.file = StateFile::new(config_path).ok();
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
        if let Some(step) = round.plan.steps.last() {
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
