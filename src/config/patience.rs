//! How long the agent waits, and how far a replica may be behind.

use std::time::Duration;

use super::section::Section;
use crate::model::patience::Patience;

/// A day: whoever wants longer wants for ever, and should say so to Patroni (`noloadbalance`).
const LONGEST: Duration = Duration::from_secs(86_400);

pub(super) fn check(top: &Section) -> Patience {
    let default = Patience::default();
    let span = |key| top.span(key, Duration::ZERO..=LONGEST);
    Patience {
        attach_after: span("attach_after").unwrap_or(default.attach_after),
        drain_timeout: span("drain_timeout").unwrap_or(default.drain_timeout),
        respect_manual_detach: span("respect_manual_detach")
            .unwrap_or(default.respect_manual_detach),
        max_lag: top.size("max_lag"),
    }
}
