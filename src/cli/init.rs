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
        println!("  {note}");
    }
    if !report.changed {
        println!("{} has its slot table already: nothing to do", path.display());
        return Ok(0);
    }
    let adopted = report.table.entries.len();
    println!(
        "{} has its slot table now: {} adopted, {} free",
        path.display(),
        text::count(adopted, "slot"),
        usize::from(config.policy.slots) - adopted,
    );
    if let Some(backup) = &report.backup {
        println!("  the file as it was: {}", backup.display());
    }
    println!("  pgpool was not touched. Next: `geo-agent plan`, then `geo-agent run`");
    Ok(0)
}
