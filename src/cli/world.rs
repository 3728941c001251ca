//! The real things behind the seams, and one look at all of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::config::settings::{Config, Pcp, Restart};
use crate::host::conf_file::ConfFileOnDisk;
use crate::host::{damage, state, wake};
use crate::model::elapsed::Elapsed;
use crate::model::inputs::Inputs;
use crate::model::past::Past;
use crate::model::policy::Policy;
use crate::model::pool::PoolView;
use crate::observe::{Observer, Questions, chain};
use crate::patroni::read::read_once;
use crate::pcp::client::{DEADLINE, PcpClient};
use crate::probe::{SqlProber, vigil};
use crate::reconcile::Watch;
use crate::seams::Health;

pub type RealObserver = Observer<PcpClient, ConfFileOnDisk, SqlProber, PoolOnThisHost>;

/// pgpool's files, looked for on this host.
pub struct PoolOnThisHost {
    pcp_host: String,
    /// `pgpool.wake`.
    wake: bool,
}

impl Health for PoolOnThisHost {
    fn damage(&self, settings: &BTreeMap<String, String>) -> Vec<String> {
        damage::damage(settings, &self.pcp_host)
    }

    fn wake(&self, pool: &PoolView) {
        let pid_file = damage::files(&pool.settings).pid_file;
        let here = self.wake && damage::is_this_host(&self.pcp_host);
        if let Some(pid_file) = pid_file.filter(|_| here && pool.version.sleeps_in_whole_seconds())
        {
            tokio::spawn(async move { wake::wake(&pid_file).await });
        }
    }
}

/// What observes and acts on the pgpool of this configuration.
pub fn observer(config: &Config) -> anyhow::Result<RealObserver> {
    let pcp = pcp(config)?;
    let client = PcpClient::new(pcp, DEADLINE);
    let file = ConfFileOnDisk::new(&config.pgpool.config_path, config.policy.slots);
    let prober = SqlProber::new(config.probe.as_ref()).context("probe.sslmode cannot be set up")?;
    let here = PoolOnThisHost { pcp_host: pcp.host.clone(), wake: config.pgpool.wake };
    Ok(Observer::new(client, file, prober, here))
}

/// Who watches pgpool's primary, and the watch itself, which has to be kept running. Without a
/// probe user nobody does: then only Patroni's lease tells that it is gone.
pub fn watch(config: &Config) -> anyhow::Result<(Watch, impl Future<Output = Infallible>)> {
    let prober = config.probe.as_ref().map(|probe| SqlProber::new(Some(probe))).transpose()?;
    let (server, watched) = watch::channel(None);
    let (tell, lost) = watch::channel(None);
    let vigil = async move {
        if let Some(prober) = prober {
            vigil::keep(&prober, watched, tell).await;
        }
        std::future::pending().await
    };
    Ok((Watch { server, lost }, vigil))
}

/// How to speak to pgpool.
pub fn pcp(config: &Config) -> anyhow::Result<&Pcp> {
    if matches!(config.pgpool.restart, Restart::Supervise(_)) {
        anyhow::bail!(
            "this version does not start pgpool by itself (supervise mode): let systemd or your \
             container start pgpool, and set pgpool.config_path, pgpool.pcp and \
             pgpool.restart.mode: never"
        );
    }
    config.pgpool.pcp.as_ref().context("pgpool.pcp is missing: without it pgpool takes no commands")
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
