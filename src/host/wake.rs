//! Wakes pgpool's session processes. From 4.5 on they wait out a node change in whole seconds, and
//! any signal ends the second early (proto-notes/hazards.md, 14): SIGHUP, which pgpool
//! sends them at every reload itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tracing::debug;

/// A change is over within a second; the processes are woken this often in it.
const EVERY: Duration = Duration::from_millis(30);
const TIMES: u32 = 36;

/// What the titles of pgpool's processes begin with, once they have one.
const TITLE: &str = "pgpool: ";
/// Children of pgpool that serve no client.
const NOT_SESSIONS: [&str; 7] = [
    "PCP:",
    "worker process",
    "health check",
    "watchdog",
    "lifecheck",
    "heartbeat",
    "PgpoolLogger",
];

/// Wakes the session processes of the pgpool with this pid file until the change must be over.
pub async fn wake(pid_file: &Path) {
    for _ in 0..TIMES {
        let woken = wake_once(pid_file);
        if let Err(why) = woken {
            debug!("pgpool's session processes are not woken: {why}");
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn wake_once(pid_file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(pid_file).map_err(|error| format!("pid file: {error}"))?;
    let main: u32 = text
        .trim_matches(|c: char| c == '\0' || c.is_whitespace())
        .parse()
        .map_err(|_| "the pid file has no number in it".to_owned())?;
    for child in sessions(main)? {
        match kill_process(child, Signal::HUP) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(format!("SIGHUP to process {child}: {error}")),
        }
    }
    Ok(())
}

/// A process that has no title of its own yet is left alone: it has just been born.
fn sessions(main: u32) -> Result<Vec<Pid>, String> {
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"))
        .map_err(|error| format!("the children of process {main}: {error}"))?;
    let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
    let is_session = |pid: &Pid| {
        let title = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        serves_clients(&String::from_utf8_lossy(&title))
    };
    Ok(pids.filter_map(Pid::from_raw).filter(is_session).collect())
}

fn serves_clients(title: &str) -> bool {
    let Some(work) = title.strip_prefix(TITLE) else { return false };
    !NOT_SESSIONS.iter().any(|other| work.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_session_processes_are_woken() {
        for session in [
            "pgpool: wait for connection request",
            "pgpool: app app 172.18.0.5(43112) idle",
            "pgpool: worker app 10.0.0.1(1) idle", // a user of that name
        ] {
            assert!(serves_clients(session), "{session}");
        }
        for other in [
            "pgpool: PCP: wait for connection request",
            "pgpool: worker process",
            "pgpool: health check process(0)",
            "pgpool: watchdog",
            "pgpool: lifecheck",
            "pgpool: heartbeat receiver",
            "pgpool: heartbeat sender",
            "pgpool: PgpoolLogger",
            "/usr/sbin/pgpool\0-n\0",
            "sleep 10",
            "",
        ] {
            assert!(!serves_clients(other), "{other}");
        }
    }
}
