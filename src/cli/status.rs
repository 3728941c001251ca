//! `geo-agent status`: slots, members, what pgpool says, and whether they agree.

use crate::config::settings::Config;
use crate::host::state;
use crate::model::inputs::Inputs;
use crate::model::plan::SlotRow;
use crate::plan::plan as decide;

use super::args::Output;
use super::{DIFFERS, FAILED, json, text, world};

pub async fn status(config: &Config, output: Output) -> anyhow::Result<u8> {
    let observer = world::observer(config)?;
    let inputs = world::look(config, &observer).await;
    let plan = decide(&inputs);
    let unreadable = world::unreadable(&inputs);
    let in_sync = unreadable.is_none() && plan.steps.is_empty() && plan.holds.is_empty();
    let servers = plan.slots.iter().filter_map(SlotRow::address).collect();
    let far = observer.prober.round_trips(&servers).await;
    let agent = state::read(&config.pgpool.config_path);
    match output {
        Output::Json => out!("{}", json::status(&inputs, &plan, in_sync, agent.as_ref(), &far)),
        Output::Text => {
            let fallback = observer.pool.last_endpoint().filter(|e| e.is_fallback());
            out_as_is!("{}", text::status(&inputs, &plan, in_sync, agent.as_ref(), &far));
            if let Some(endpoint) = fallback {
                out!("{} PCP goes over {endpoint}", text::WARN);
            }
        }
    }
    match (unreadable, in_sync) {
        (Some(_), _) => Ok(FAILED),
        (None, true) => Ok(0),
        (None, false) => Ok(DIFFERS),
    }
}

/// Which witnesses could not be heard, and why.
pub fn errors(inputs: &Inputs) -> Vec<&str> {
    let words =
        [inputs.cluster.as_ref().err(), inputs.pool.as_ref().err(), inputs.file.as_ref().err()];
    words.into_iter().flatten().map(String::as_str).collect()
}
