//! `pgpool.restart`, and the keys of supervise mode.

use std::time::Duration;

use super::section::Section;
use super::settings::{Restart, Supervise};
use crate::model::restart::{DaySpan, RestartMode, RestartPolicy};
use crate::yaml::Node;

/// Two are one that mends, and one that mends that.
const MAX_PER_HOUR: u32 = 2;
// geo-pgpool-mgr's defaults.
const EXEC_PATH: &str = "pgpool";
const TMP_STATUS_PATH: &str = "/tmp/pgpool_status";
const FAIL_DELAY: Duration = Duration::from_secs(5);

/// Keys that only make sense when the agent owns pgpool.
const SUPERVISE_ONLY: [&str; 5] =
    ["exec_path", "config_append", "tmp_config_path", "tmp_status_path", "fail_delay"];

/// How pgpool is restarted, and when that may be. `None`: reported.
pub(super) fn check(pgpool: &Section) -> (Option<Restart>, Option<RestartPolicy>) {
    let section = pgpool.section("restart");
    let mode = mode(pgpool, &section);
    let window = window(&section);
    let max_per_hour = section.whole("max_per_hour", 1..=60).and_then(|n| u32::try_from(n).ok());
    let sessions = section.whole("when_sessions_below", 1..=100_000);
    let policy = mode.as_ref().map(|mode| RestartPolicy {
        mode: match mode {
            Restart::Never => RestartMode::Never,
            Restart::Command(_) => RestartMode::Command,
            Restart::PcpShutdown => RestartMode::PcpShutdown,
            Restart::Supervise(_) => RestartMode::Supervise,
        },
        window,
        max_per_hour: max_per_hour.unwrap_or(MAX_PER_HOUR),
        when_sessions_below: sessions.and_then(|n| u32::try_from(n).ok()),
    });
    (mode, policy)
}

fn window(section: &Section) -> Vec<DaySpan> {
    const HINT: &str = "times of day in UTC: [\"02:00-04:00\"]";
    let span = |node: &Node| match node {
        Node::Text(text) => day_span(text),
        _ => None,
    };
    let spans: Vec<_> = section.list("window").iter().map(span).collect();
    if spans.contains(&None) {
        section.problem("window", "has an item that is not a span of the day", HINT);
    }
    spans.into_iter().flatten().collect()
}

/// `02:00-04:00`
fn day_span(text: &str) -> Option<DaySpan> {
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let two = |t: &str| t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit());
        let (hour, minute) = (two(hour).then_some(hour)?, two(minute).then_some(minute)?);
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-')?;
    let span = DaySpan { from: minute(from)?, to: minute(to)? };
    (span.from != span.to).then_some(span)
}

fn mode(section: &Section, restart: &Section) -> Option<Restart> {
    let mode = restart.text("mode");
    if restart.given("mode") && mode.is_none() {
        return None;
    }
    match mode.as_deref() {
        Some("never") => only_without(section, restart, Restart::Never),
        Some("pcp_shutdown") => only_without(section, restart, Restart::PcpShutdown),
        Some("command") => {
            supervise_keys_refused(section);
            // One that is missing has been reported, and the mode is known all the same.
            Some(Restart::Command(command(restart).unwrap_or_default()))
        }
        Some("supervise") => {
            command_refused(restart);
            Some(Restart::Supervise(supervise(section)))
        }
        None if supervise_is_implied(section) => {
            command_refused(restart);
            Some(Restart::Supervise(supervise(section)))
        }
        None => only_without(section, restart, Restart::Never),
        Some(other) => {
            let message = format!("\"{other}\" is not a mode");
            restart.problem("mode", message, "never, command, pcp_shutdown or supervise");
            None
        }
    }
}

/// `config_append` or `exec_path` say it (the contract); a file without `config_path` that has any
/// other key of geo-pgpool-mgr is one of its files.
fn supervise_is_implied(section: &Section) -> bool {
    let certain = section.given("exec_path") || section.given("config_append");
    let any = SUPERVISE_ONLY.iter().any(|key| section.given(key));
    certain || (any && !section.given("config_path"))
}

fn only_without(section: &Section, restart: &Section, mode: Restart) -> Option<Restart> {
    command_refused(restart);
    supervise_keys_refused(section);
    Some(mode)
}

fn command_refused(restart: &Section) {
    if restart.given("command") {
        restart.problem("command", "is given, but mode is not command", "mode: command");
    }
}

fn supervise_keys_refused(section: &Section) {
    for key in SUPERVISE_ONLY.iter().filter(|key| section.given(key)) {
        section.problem(key, "is only for restart.mode supervise", "remove it, or change the mode");
    }
}

fn command(restart: &Section) -> Option<Vec<String>> {
    const HINT: &str = "command: [\"systemctl\", \"restart\", \"pgpool2\"]";
    if !restart.given("command") {
        restart.missing("command", HINT);
        return None;
    }
    let Node::List(items) = restart.node("command") else {
        restart.problem("command", "is not a list of words", HINT);
        return None;
    };
    let words: Option<Vec<String>> = items
        .iter()
        .map(|item| match item {
            Node::Text(word) if !word.contains('\0') => Some(word.clone()),
            _ => None,
        })
        .collect();
    match words {
        Some(words) if words.first().is_some_and(|program| !program.is_empty()) => Some(words),
        _ => {
            restart.problem("command", "is not a list of words", HINT);
            None
        }
    }
}

fn supervise(section: &Section) -> Supervise {
    let exec_path = match section.text("exec_path") {
        // A bare name is looked up in PATH.
        Some(name) if !name.contains('/') => name.into(),
        Some(_) => section.file("exec_path").unwrap_or_default(),
        None => EXEC_PATH.into(),
    };
    Supervise {
        exec_path,
        config_append: section.raw_text("config_append").unwrap_or_default(),
        status_path: section.file("tmp_status_path").or_else(|| Some(TMP_STATUS_PATH.into())),
        fail_delay: section
            .span("fail_delay", Duration::ZERO..=Duration::from_secs(3600))
            .unwrap_or(FAIL_DELAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_the_day_are_read() {
        assert_eq!(day_span("02:00-04:30"), Some(DaySpan { from: 120, to: 270 }));
        assert_eq!(day_span("23:00 - 01:00"), Some(DaySpan { from: 1380, to: 60 }));
        for bad in
            ["", "2:00-4:00", "02:00", "02:00-24:00", "02:60-03:00", "02:00-02:00", "+2:00-04:00"]
        {
            assert_eq!(day_span(bad), None, "{bad}");
        }
    }
}
