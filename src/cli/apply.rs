//! `geo-agent apply`: one plan, carried out and verified.

use anyhow::{Context, bail};

use crate::apply::apply as carry_out;
use crate::config::settings::{Config, Restart as Mode};
use crate::host::lock::Lock;
use crate::model::plan::Disruption;
use crate::plan::{check, plan as decide};
use crate::restart::Restart;
use crate::seams::Keeper;

use super::{FAILED, text, world};

pub async fn apply(config: &Config) -> anyhow::Result<u8> {
    let _lock = Lock::take(&config.pgpool.config_path, "apply")?;
    let (observer, keeper) = world::hands(config, None)?;
    let observer = observer.counting_sessions();
    let (pool, file) = (&observer.pool, &observer.file);
    // In supervise mode only the daemon, which owns pgpool, can end and start it.
    let is_owned = matches!(config.pgpool.restart, Mode::Supervise(_));
    if !is_owned {
        Restart { pool, file, keeper: &keeper }.resume().await?;
    }
    let inputs = world::look(config, &observer).await;
    let plan = decide(&inputs);
    out_as_is!("{}", text::plan(&inputs, &plan));
    let faults = check::faults(&inputs, &plan);
    if !faults.is_empty() {
        bail!("this plan is unsafe and was not carried out: {}", faults.join("; "));
    }
    let restarts = plan.disruption() == Disruption::Restart || keeper.note().under_way.is_some();
    if is_owned && restarts {
        bail!("pgpool has to be restarted: start `geo-agent run`, which owns it in supervise mode");
    }
    if !plan.steps.is_empty() {
        out!("\ncarrying out {} …", text::count(plan.steps.len(), "step"));
        let done = carry_out(pool, file, &keeper, &plan).await;
        done.context("the plan was not carried out to its end; what was done is safe to leave")?;
    }
    let after = world::look(config, &observer).await;
    let rest = decide(&after);
    match world::unreadable(&after) {
        Some(why) => out!("not in sync: {why}"),
        None if rest.steps.is_empty() && rest.holds.is_empty() => {
            out!("in sync: pgpool is as it should be");
            return Ok(0);
        }
        None => out_as_is!("not in sync yet:\n{}", text::rest(&rest)),
    }
    Ok(FAILED)
}
