//! `geo-agent status`: slots, members, what pgpool says, and whether they agree.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::settings::Config;
use crate::host::state::{self, SavedState};
use crate::model::ids::Address;
use crate::model::inputs::Inputs;
use crate::model::plan::{Plan, SlotRow};
use crate::plan::plan as decide;

use super::args::Output;
use super::{DIFFERS, FAILED, json, text, world};

/// What `status` shows, in either form.
pub struct Status<'a> {
    pub inputs: &'a Inputs,
    pub plan: &'a Plan,
    pub in_sync: bool,
    /// What the daemon says of itself.
    pub agent: Option<&'a SavedState>,
    /// Of the servers that took a connection just now.
    pub round_trips: &'a BTreeMap<Address, Duration>,
}

impl Status<'_> {
    /// How far away the server of this slot is.
    pub fn round_trip(&self, row: &SlotRow) -> Option<Duration> {
        self.round_trips.get(&row.address()?).copied()
    }
}

pub async fn status(config: &Config, output: Output) -> anyhow::Result<u8> {
    let observer = world::observer(config)?;
    let inputs = world::look(config, &observer).await;
    let plan = decide(&inputs);
    let unreadable = world::unreadable(&inputs);
    let in_sync = unreadable.is_none() && plan.steps.is_empty() && plan.holds.is_empty();
    let servers = plan.slots.iter().filter_map(SlotRow::address).collect();
    let round_trips = &observer.prober.round_trips(&servers).await;
    let agent = state::read(&config.pgpool.config_path);
    let agent = agent.as_ref();
    let shown = Status { inputs: &inputs, plan: &plan, in_sync, agent, round_trips };
    match output {
        Output::Json => out!("{}", json::status(&shown)),
        Output::Text => {
            let fallback = observer.pool.last_endpoint().filter(|e| e.is_fallback());
            out_as_is!("{}", text::status(&shown));
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
