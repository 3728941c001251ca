//! `geo-agent run`: the daemon. Starts the follower and the loop, and starts them anew when SIGHUP
//! brings another configuration. In supervise mode it owns pgpool as well.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::settings::{Config, Restart};
use crate::config::{self, Loaded};
use crate::host::lock::Lock;
use crate::keeper::command::Running;
use crate::keeper::host::PoolKeeper;
use crate::keeper::owner::{Owner, claim_file};
use crate::patroni::follow::Follower;
use crate::patroni::scribe::Scribe;
use crate::reconcile::{ClusterNews, Reconciler};
use crate::restart::{Restart as RestartOf, forget_failure};

use super::journal::Journal;
use super::{first, load, vigil, world};

/// How long the first look waits for etcd, so that a start does not begin with a hold.
const FIRST_VIEW: Duration = Duration::from_secs(2);
/// Reading etcd has its own time limit; this is so that the log is not flooded.
const SLOTS_AGAIN: Duration = Duration::from_secs(2);

/// Ends with SIGTERM or SIGINT, leaving pgpool as it is, unless it is the agent's own.
pub async fn run(path: &Path, observes: bool) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let mut config = load(path)?;
    match &config.pgpool.restart {
        Restart::Supervise(_) if observes => anyhow::bail!(
            "--observe starts nothing, and in supervise mode nobody else starts pgpool: use `plan`"
        ),
        Restart::Supervise(_) => claim_file(&config.pgpool.config_path)?,
        _ => drop(world::observer(&config)?), // says what is wrong before anything is locked
    }
    let what = if observes { "run --observe" } else { "run" };
    let mut lock = Lock::take(&config.pgpool.config_path, what)?;
    let mut journal = Journal::default();
    journal.observes = observes;
    journal.past = Arc::new(world::remembered(&config));
    let owner = match own(&config, &mut signals).await? {
        Pgpool::Owned(owner) => Some(owner),
        Pgpool::OfSomebodyElse => None,
        Pgpool::NotStarted => return Ok(0),
    };
    info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "geo-agent starts");
    if observes {
        info!("it only observes: pgpool and pgpool.conf stay as they are");
    }
    let command = Rc::default();
    loop {
        match follow(&config, owner.clone(), &command, &mut journal, &mut signals).await? {
            Wish::Stop => break,
            Wish::Reload => {
                if let Some((new, its_lock)) = reload(path, &config, owner.as_deref(), what) {
                    lock = its_lock.unwrap_or(lock);
                    config = new;
                    journal.past = Arc::default(); // whatever it was, an operator means what is now
                    if !observes && let Err(why) = forget_old_failure(&config) {
                        warn!("a restart that failed may not be tried again yet: {why:#}");
                    }
                }
            }
        }
    }
    match owner {
        Some(owner) => {
            owner.end().await;
            info!("geo-agent ends, and its pgpool with it");
        }
        None => {
            if !observes {
                finish_restart(&config, command).await;
            }
            info!("geo-agent ends; pgpool stays as it is");
        }
    }
    drop(lock);
    Ok(0)
}

/// The operator has changed something, so what failed may be tried again.
fn forget_old_failure(config: &Config) -> anyhow::Result<()> {
    Ok(forget_failure(&world::hands(config, None)?.1)?)
}

/// The pgpool beside this agent, when the work begins.
enum Pgpool {
    /// In supervise mode: started, or found running.
    Owned(Rc<Owner>),
    OfSomebodyElse,
    /// A signal to end came first.
    NotStarted,
}

async fn own(config: &Config, signals: &mut Signals) -> anyhow::Result<Pgpool> {
    let Restart::Supervise(supervise) = &config.pgpool.restart else {
        return Ok(Pgpool::OfSomebodyElse);
    };
    let (owner, runs) = Owner::prepared(config, supervise)?;
    if !runs && !first_slots(config, signals).await {
        return Ok(Pgpool::NotStarted);
    }
    owner.begin().await?;
    Ok(Pgpool::Owned(Rc::new(owner)))
}

/// Waits for etcd where pgpool must not be started with an empty table; false: a signal came first.
async fn first_slots(config: &Config, signals: &mut Signals) -> bool {
    loop {
        let filled = async {
            while let Err(why) = first::fill(config).await {
                error!("pgpool is not started yet: {why:#}");
                sleep(SLOTS_AGAIN).await;
            }
        };
        tokio::select! {
            () = filled => return true,
            wish = signals.next() => if matches!(wish, Wish::Stop) { return false },
        }
    }
}

/// A restart of pgpool that a signal broke off is brought to its end: pgpool may be down.
async fn finish_restart(config: &Config, command: Rc<Running>) {
    let finished = async {
        let (observer, keeper) = world::hands(config, None)?;
        let keeper = PoolKeeper { command, ..keeper };
        let (pool, file) = (&observer.pool, &observer.file);
        RestartOf { pool, file, keeper: &keeper }.resume().await?;
        anyhow::Ok(())
    };
    if let Err(why) = finished.await {
        error!("{why:#}");
    }
}

enum Wish {
    Stop,
    Reload,
}

/// Works with one configuration until a signal comes.
async fn follow(
    config: &Config,
    owner: Option<Rc<Owner>>,
    command: &Rc<Running>,
    journal: &mut Journal,
    signals: &mut Signals,
) -> anyhow::Result<Wish> {
    let (observer, keeper) = world::hands(config, owner.clone())?;
    let keeper = PoolKeeper { command: command.clone(), ..keeper };
    let observer = observer.remembering(journal.history.clone());
    let (watch, vigil) = vigil::of_primary(config)?;
    journal.writes_to(config);
    let (follower, mut cluster) = Follower::new(&config.etcd);
    let follower = AbortOnDrop(tokio::spawn(follower.run()));
    let (words, told) = watch::channel(None);
    let scribe = AbortOnDrop(tokio::spawn(Scribe::new(&config.etcd, told).run()));
    let work = async {
        first_view(&mut cluster).await;
        let policy = Arc::new(config.policy.clone());
        let (past, observes) = (journal.past.clone(), journal.observes);
        let reconciler =
            Reconciler { observer, keeper, policy, cluster, watch, words, past, observes };
        reconciler.run(|round| journal.note(round)).await;
    };
    let wish = tokio::select! {
        () = work => anyhow::bail!("nobody follows etcd any more: start geo-agent again"),
        never = vigil => match never {},
        () = keep_running(owner.as_deref()) => Wish::Stop, // it never ends
        wish = signals.next() => wish,
    };
    drop((follower, scribe));
    Ok(wish)
}

/// Sees to it that pgpool runs, where that is the agent's business.
async fn keep_running(owner: Option<&Owner>) {
    match owner {
        Some(owner) => owner.watch().await,
        None => std::future::pending().await,
    }
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
fn reload(
    path: &Path,
    old: &Config,
    owner: Option<&Owner>,
    what: &str,
) -> Option<(Config, Option<Lock>)> {
    match usable(path, old, owner, what) {
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

fn usable(
    path: &Path,
    old: &Config,
    owner: Option<&Owner>,
    what: &str,
) -> anyhow::Result<(Config, Option<Lock>)> {
    let Loaded { config, warnings } = config::load(path)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let moved = config.pgpool.config_path != old.pgpool.config_path;
    let mine = match (&config.pgpool.restart, owner) {
        (Restart::Supervise(new), Some(owner)) if !moved => Some((new, owner)),
        (Restart::Supervise(_), _) | (_, Some(_)) => {
            bail!("to enter or leave supervise mode, or to move its file, start geo-agent anew")
        }
        _ => None,
    };
    world::observer(&config)?;
    let lock = moved.then(|| Lock::take(&config.pgpool.config_path, what)).transpose()?;
    // Last: it writes pgpool's file, which no refusal takes back.
    if let Some((new, owner)) = mine {
        owner.reconfigure(&config, new)?;
    }
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
