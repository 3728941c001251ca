//! The commands: what they read, what they print, how they exit. The only place that knows the real
//! types behind the seams.

#[macro_use]
mod stdout;

mod apply;
mod args;
mod check;
mod first;
mod init;
mod journal;
mod json;
mod logging;
mod orders;
mod peers;
mod plan;
mod program;
mod report;
mod run;
mod status;
mod text;
mod utc;
mod vigil;
mod world;
mod would;

use std::path::Path;

use anyhow::Context;

use crate::config::settings::Config;
use crate::config::{self, Loaded};
use args::{Args, Command};

/// Exit status of a command that failed, and of a command line that cannot be understood.
const FAILED: u8 = 1;
/// `plan`: there are steps. `status`: not in sync.
const DIFFERS: u8 = 2;

/// Runs the command line and says how the process ends.
pub fn main() -> u8 {
    let args = match Args::of(std::env::args_os()) {
        Ok(args) => args,
        Err(refused) => {
            let _ = refused.print();
            return if refused.use_stderr() { FAILED } else { 0 };
        }
    };
    match execute(args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("geo-agent: {error:#}");
            FAILED
        }
    }
}

/// One thread does: the agent waits nearly all the time.
fn execute(args: Args) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let path = args.config_path();
    let command = args.command();
    logging::start(args.verbose, matches!(command, Command::Run { .. }));
    let done = runtime.block_on(async {
        match command {
            Command::Run { observe } => run::run(&path, observe).await,
            Command::Check => Ok(check::check(&path).await),
            Command::Plan { output } => plan::plan(&load(&path)?, output).await,
            Command::Apply => apply::apply(&load(&path)?).await,
            Command::Init => init::init(&load(&path)?).await,
            Command::Hold { member, lasts, reason } => {
                orders::hold(&load(&path)?, &member, lasts, reason).await
            }
            Command::Release { member } => orders::release(&load(&path)?, &member).await,
            Command::Locate { member, location: Some(location), .. } => {
                orders::locate(&load(&path)?, &member, &location).await
            }
            Command::Locate { member, location: None, .. } => {
                orders::clear_location(&load(&path)?, &member).await
            }
            Command::Status { output } => status::status(&load(&path)?, output).await,
        }
    });
    // A name lookup that hangs must not keep a finished command from ending.
    runtime.shutdown_background();
    done
}

/// Reads the configuration and says its warnings.
fn load(path: &Path) -> anyhow::Result<Config> {
    let Loaded { config, warnings } = config::load(path)?;
    for warning in &warnings {
        eprintln!("geo-agent: warning: {warning}");
    }
    Ok(config)
}
