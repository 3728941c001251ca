//! Where log lines go: always to stderr, with colours on a terminal only.

use std::env;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

pub fn start(verbose: bool, daemon: bool) {
    // A test may have set one already; the first one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter(verbose, daemon, env::var("GEO_AGENT_LOG").ok()))
        .with_writer(stderr)
        .with_ansi(super::text::may_colour(stderr().is_terminal()))
        .with_target(false)
        .try_init();
}

/// The daemon logs what it does; the other commands print their result and log only warnings. `-v`
/// counts before the environment, which is set once and forgotten.
fn filter(verbose: bool, daemon: bool, from_env: Option<String>) -> EnvFilter {
    let level = match (verbose, daemon) {
        (true, _) => return EnvFilter::new("geo_agent=debug"),
        (false, true) => "geo_agent=info",
        (false, false) => "geo_agent=warn",
    };
    let given = from_env.and_then(|text| EnvFilter::try_new(text).ok());
    given.unwrap_or_else(|| EnvFilter::new(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbose_counts_before_the_environment() {
        let said = |verbose, from_env: Option<&str>| {
            filter(verbose, true, from_env.map(str::to_owned)).to_string()
        };
        assert_eq!(said(true, Some("off")), "geo_agent=debug");
        assert_eq!(said(true, None), "geo_agent=debug");
        assert_eq!(said(false, Some("geo_agent=trace")), "geo_agent=trace");
        assert_eq!(said(false, None), "geo_agent=info");
        assert_eq!(said(false, Some("=?=")), "geo_agent=info");
    }
}
