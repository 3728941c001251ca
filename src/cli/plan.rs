//! `geo-agent plan`: what would be done now. Changes nothing.

use crate::config::settings::Config;
use crate::plan::plan as decide;

use super::args::Output;
use super::{DIFFERS, FAILED, json, text, world};

pub async fn plan(config: &Config, output: Output) -> anyhow::Result<u8> {
    let observer = world::observer(config)?.counting_sessions();
    let inputs = world::look(config, &observer).await;
    let plan = decide(&inputs);
    match output {
        Output::Json => out!("{}", json::plan(&plan)),
        Output::Text => out_as_is!("{}", text::plan(&inputs, &plan)),
    }
    if let Some(why) = world::unreadable(&inputs) {
        eprintln!("geo-agent: {why}");
        return Ok(FAILED);
    }
    Ok(if plan.steps.is_empty() { 0 } else { DIFFERS })
}
