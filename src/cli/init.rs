//! `geo-agent init`: the slot table into pgpool.conf. Touches no process.

use anyhow::Context;

use crate::config::settings::Config;
use crate::host::conf_file::ConfFileOnDisk;

use super::text;

pub fn init(config: &Config) -> anyhow::Result<u8> {
    let path = &config.pgpool.config_path;
    let file = ConfFileOnDisk::new(path, config.policy.slots);
    let report = file.init().context("pgpool.conf stays as it was")?;
    for note in &report.notes {
        out!("  {note}");
    }
    if !report.changed {
        out!("{} has its slot table already: nothing to do", path.display());
        return Ok(0);
    }
    let adopted = report.table.entries.len();
    out!(
        "{} has its slot table now: {} adopted, {} free",
        path.display(),
        text::count(adopted, "slot"),
        usize::from(config.policy.slots) - adopted,
    );
    if let Some(original) = &report.original {
        out!("  the file as it was before geo-agent: {}", original.display());
    }
    out!("  pgpool was not touched. Next: `geo-agent plan`, then `geo-agent run`");
    Ok(0)
}
