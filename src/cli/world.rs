//! The real things behind the seams, and one look at all of them.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;

use crate::config::settings::{Config, Pcp, Restart};
use crate::host::conf_file::ConfFileOnDisk;
use crate::host::state;
use crate::keeper::host::{PoolKeeper, PoolOnThisHost};
use crate::keeper::notebook::Notebook;
use crate::keeper::owner::{self, Owner};
use crate::model::elapsed::Elapsed;
use crate::model::inputs::Inputs;
use crate::model::past::Past;
use crate::model::policy::Policy;
use crate::observe::{Observer, Questions};
use crate::patroni::read::read_once;
use crate::pcp::client::{DEADLINE, PcpClient};
use crate::probe::SqlProber;
use crate::seams::chain;

pub type RealObserver = Observer<PcpClient, ConfFileOnDisk, SqlProber, PoolOnThisHost>;

/// What observes and acts on the pgpool of this configuration, and who restarts it.
pub fn hands(
    config: &Config,
    owner: Option<Rc<Owner>>,
) -> anyhow::Result<(RealObserver, PoolKeeper)> {
    let pcp = pcp(config)?;
    let client = PcpClient::new(&pcp, DEADLINE);
    let file = ConfFileOnDisk::new(&config.pgpool.config_path, config.policy.slots);
    let prober = SqlProber::new(config.probe.as_ref()).context("probe.sslmode cannot be set up")?;
    let notebook = Rc::new(Notebook::open(&config.pgpool.config_path)?);
    let health = PoolOnThisHost::new(&pcp.host, config.pgpool.wake, notebook.clone());
    let restart = config.pgpool.restart.clone();
    let (pcp, command) = (PcpClient::new(&pcp, DEADLINE), Rc::default());
    let keeper = PoolKeeper { restart, owner, command, pcp, notebook };
    let observer = Observer::new(client, file, prober, health);
    Ok(match config.policy.restart.when_sessions_below {
        Some(_) => (observer.counting_sessions(), keeper),
        None => (observer, keeper),
    })
}

/// What observes the pgpool of this configuration.
pub fn observer(config: &Config) -> anyhow::Result<RealObserver> {
    Ok(hands(config, None)?.0)
}

/// Whether pgpool.conf is still to be made, by the first `geo-agent run` in supervise mode.
pub fn is_to_be_made(config: &Config) -> bool {
    let pgpool = &config.pgpool;
    matches!(pgpool.restart, Restart::Supervise(_)) && !pgpool.config_path.exists()
}

/// How to speak to pgpool.
pub fn pcp(config: &Config) -> anyhow::Result<Pcp> {
    owner::pcp(config)?.context("pgpool.pcp is missing: without it pgpool takes no commands")
}

/// Everything that a whole plan needs, read once.
pub async fn look(config: &Config, observer: &RealObserver) -> Inputs {
    let cluster = read_once(&config.etcd).await.map(Arc::new).map_err(|error| chain(&error));
    let policy: Arc<Policy> = Arc::new(config.policy.clone());
    let daemon = state::read(&config.pgpool.config_path).filter(|daemon| daemon.running);
    let past = match daemon.as_ref().and_then(|daemon| daemon.state.remembered.clone()) {
        // A command that looks once beside the daemon knows what the daemon knows.
        Some(it) => it.whole(&config.etcd.base),
        None => remembered(config),
    };
    let past = Arc::new(past);
    let mut inputs = observer.inputs(cluster, None, policy, past, Questions::All).await;
    if let Some(daemon) = daemon {
        inputs.elapsed = Elapsed::from(&daemon.state.elapsed); // only the daemon has seen time pass
    }
    inputs
}

/// Which cluster it was when an agent last saw it.
pub fn remembered(config: &Config) -> Past {
    let saved = state::read(&config.pgpool.config_path).and_then(|s| s.state.remembered);
    saved.map_or_else(Past::default, |it| it.identity(&config.etcd.base))
}

/// The first thing that could not be read: then a command has failed, whatever it prints.
pub fn unreadable(inputs: &Inputs) -> Option<&str> {
    let cluster = inputs.cluster.as_ref().err();
    cluster.or(inputs.pool.as_ref().err()).or(inputs.file.as_ref().err()).map(String::as_str)
}
