//! The first slots of a pgpool with a watchdog: from etcd, before pgpool starts.

use anyhow::{Context, bail};

use crate::config::settings::Config;
use crate::host::conf_file::ConfFileOnDisk;
use crate::model::cluster::ClusterView;
use crate::model::slots::SlotTable;
use crate::patroni::read::read_once;
use crate::patroni::write;
use crate::pgpool_conf::findings::is_on;
use crate::plan::first;
use crate::seams::ConfFile;

/// What is wrong with a pgpool that has a watchdog and no backend.
pub const WHY: &str = "the slot table is empty and use_watchdog is on: a pgpool without any \
    backend crashes the watchdog process of the one that leads";

/// Whether pgpool must not be started with this file. One that cannot be read is another matter.
pub fn are_missing(file: &ConfFileOnDisk) -> bool {
    let settings = file.settings().unwrap_or_default();
    let has_watchdog = settings.get("use_watchdog").is_some_and(|value| is_on(value));
    has_watchdog && file.adopted().is_ok_and(|table| table.entries.is_empty())
}

/// The first table, if pgpool needs one: with the numbers that the agents have agreed on, or with
/// new ones that are agreed on hereby.
pub async fn table(config: &Config, file: &ConfFileOnDisk) -> anyhow::Result<Option<SlotTable>> {
    if !are_missing(file) {
        return Ok(None);
    }
    let cluster = agreed(config).await.context(WHY)?;
    let table = first::table(&cluster, &config.policy);
    if table.entries.is_empty() {
        bail!("{WHY}, and Patroni lists no member at {} to put in", config.etcd.base);
    }
    Ok(Some(table))
}

/// Fills a table that is there.
pub async fn fill(config: &Config) -> anyhow::Result<()> {
    let file = ConfFileOnDisk::new(&config.pgpool.config_path, config.policy.slots);
    if let Some(table) = table(config, &file).await? {
        file.write(&table).await?;
    }
    Ok(())
}

/// The cluster, with numbers that count for all agents.
async fn agreed(config: &Config) -> anyhow::Result<ClusterView> {
    let cluster = read_once(&config.etcd).await?;
    let Some(proposal) = first::proposal(&cluster, &config.policy) else { return Ok(cluster) };
    write::number(&config.etcd, &proposal).await?;
    Ok(read_once(&config.etcd).await?)
}
