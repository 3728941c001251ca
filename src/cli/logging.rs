//! Where log lines go: always to stderr, with colours on a terminal only.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// The daemon logs what it does; the other commands print their result and log only warnings.
pub fn start(verbose: bool, daemon: bool) {
    let level = match (verbose, daemon) {
        (true, _) => "geo_agent=debug",
        (false, true) => "geo_agent=info",
        (false, false) => "geo_agent=warn",
    };
    let filter = EnvFilter::try_from_env("GEO_AGENT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A test may have set one already; the first one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(super::text::may_colour(stderr().is_terminal()))
        .with_target(false)
        .try_init();
}
