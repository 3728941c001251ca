//! `geo-agent init`: the slot table into pgpool.conf. Touches no process.

use anyhow::{Context, bail};

use crate::config::settings::Config;
use crate::host::conf_file::ConfFileOnDisk;
use crate::seams::ConfFile;

use super::{first, text, world};

pub async fn init(config: &Config) -> anyhow::Result<u8> {
    if world::is_to_be_made(config) {
        let path = config.pgpool.config_path.display();
        bail!("{path} is not there yet: `geo-agent run` makes it, with its slot table");
    }
    let file = ConfFileOnDisk::new(&config.pgpool.config_path, config.policy.slots);
    let first = first::table(config, &file).await.context(
        "pgpool.conf stays as it was, and pgpool must not be started with it; run `geo-agent init` \
         again when etcd answers, or give every pgpool of the watchdog cluster the same first \
         backend_* lines",
    )?;
    let changed = put(config, &file)?;
    if let Some(table) = &first {
        file.write(table).await.context("the slot table is still empty")?;
        let slots = text::count(table.entries.len(), "slot");
        out!("  with a watchdog it must not start empty: {slots} from etcd");
    }
    match changed || first.is_some() {
        true => out!("  pgpool was not touched. Next: `geo-agent plan`, then `geo-agent run`"),
        false => out!("{} has its slot table already: nothing to do", file.path().display()),
    }
    Ok(0)
}

/// Whether the file had no table before.
fn put(config: &Config, file: &ConfFileOnDisk) -> anyhow::Result<bool> {
    let report = file.init().context("pgpool.conf stays as it was")?;
    for note in &report.notes {
        out!("  {note}");
    }
    if !report.changed {
        return Ok(false);
    }
    let adopted = report.table.entries.len();
    out!(
        "{} has its slot table now: {} adopted, {} free",
        file.path().display(),
        text::count(adopted, "slot"),
        usize::from(config.policy.slots) - adopted,
    );
    if let Some(original) = &report.original {
        out!("  the file as it was before geo-agent: {}", original.display());
    }
    Ok(true)
}
