//! A pgpool that the agent started: its main process and, in the same process group, all others. A
//! main process that is killed leaves the others serving (proto-notes/hazards.md, 6), so it is
//! always the group that is ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpgid,
};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::error::KeeperError;

/// Measured: a fast shutdown takes 0.04 to 0.16 s.
const FAST_DEADLINE: Duration = Duration::from_secs(10);
/// What SIGKILL takes.
const KILL_DEADLINE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Of a program's name the kernel keeps so many bytes.
const NAME_MAX: usize = 15;

/// A pgpool's main process, the leader of its group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// When it was started, in the kernel's ticks: another process with this number has another.
    born: u64,
    /// `None` for one that was found: its parent was another agent.
    child: Option<Child>,
}

impl Process {
    /// Starts it in a group of its own.
    pub fn start(program: &Path, arguments: &[&Path]) -> Result<Self, KeeperError> {
        let name = program.display().to_string();
        let spawn = |source| KeeperError::Spawn { program: name.clone(), source };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(spawn)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let gone = || KeeperError::Command { program: name.clone(), what: "ended at once".into() };
        let pid = pid.ok_or_else(gone)?;
        let born = born(pid).ok_or_else(gone)?;
        Ok(Process { pid, born, child: Some(child) })
    }

    /// The one that a note speaks of, if it still lives.
    pub fn find(note: &str) -> Option<Self> {
        let (pid, born_then) = note.trim().split_once(' ')?;
        let pid = Pid::from_raw(pid.parse().ok()?)?;
        let process = Process { pid, born: born_then.parse().ok()?, child: None };
        (born(pid) == Some(process.born)).then_some(process)
    }

    /// What [`find`](Process::find) needs.
    pub fn note(&self) -> String {
        format!("{} {}\n", self.pid.as_raw_nonzero(), self.born)
    }

    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// `None`: it lives. Otherwise how it ended, as far as that is known.
    pub fn ended(&mut self) -> Option<String> {
        match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(status.to_string()),
                Err(error) => Some(error.to_string()),
            },
            None => (born(self.pid) != Some(self.born)).then(|| "gone".to_owned()),
        }
    }

    /// Has it read its configuration again.
    pub fn reload(&self) {
        let _ = kill_process(self.pid, Signal::HUP); // whoever is gone reads it at its start
    }

    /// Ends it, fast, and whatever is left of its group.
    pub async fn end(&mut self) {
        if self.ended().is_none() {
            let _ = kill_process(self.pid, Signal::INT);
        }
        let started = Instant::now();
        while self.ended().is_none() && started.elapsed() < FAST_DEADLINE {
            sleep(LOOK_EVERY).await;
        }
        if self.ended().is_none() {
            warn!(pid = self.id(), "pgpool does not end and is killed");
        }
        let started = Instant::now();
        while test_kill_process_group(self.pid).is_ok() && started.elapsed() < KILL_DEADLINE {
            let _ = kill_process_group(self.pid, Signal::KILL);
            // As a container's first process the agent inherits the orphans.
            if self.ended().is_some() {
                while let Ok(Some(_)) = waitpgid(self.pid, WaitOptions::NOHANG) {}
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Ends what is left of the group of a process that is gone. The number of a group is not given
/// away while it has members; after that it may be anybody's, so the program has to be the same.
pub async fn end_leftovers(note: &str, program: &Path) {
    let pid = note.split_once(' ').and_then(|(pid, _)| Pid::from_raw(pid.parse().ok()?));
    let Some(pid) = pid.filter(|pid| born(*pid).is_none() && has_member(*pid, program)) else {
        return;
    };
    warn!(group = pid.as_raw_nonzero(), "a pgpool that was killed has left processes: they end");
    Process { pid, born: 0, child: None }.end().await;
}

/// Somebody in this group runs this program.
fn has_member(group: Pid, program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().as_encoded_bytes();
    let name = &name[..name.len().min(NAME_MAX)];
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read(entry.path().join("stat")).ok()).any(|stat| {
        let text = String::from_utf8_lossy(&stat);
        let Some((head, rest)) = text.rsplit_once(')') else { return false };
        let is_it = head.split_once('(').is_some_and(|(_, comm)| comm.as_bytes() == name);
        // state, parent, group
        is_it && rest.split_whitespace().nth(2) == Some(&group.as_raw_nonzero().to_string())
    })
}

/// Field 22 of /proc/PID/stat; the name in field 2 may have anything in it. `None` for a zombie
/// too.
fn born(pid: Pid) -> Option<u64> {
    let path = PathBuf::from("/proc").join(pid.as_raw_nonzero().to_string()).join("stat");
    let stat = fs::read_to_string(path).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    (!matches!(state, "Z" | "X")).then_some(())?;
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        let arguments = [Path::new("-c"), Path::new(script)];
        Process::start(Path::new("sh"), &arguments).unwrap()
    }

    fn lives(pid: i32) -> bool {
        Pid::from_raw(pid).and_then(born).is_some()
    }

    #[tokio::test]
    async fn the_whole_group_ends_with_it_even_after_the_main_process_died() {
        let file = std::env::temp_dir().join(format!("geo-agent-group-{}", std::process::id()));
        let script = format!("sleep 60 & echo $! >{}; wait", file.display());
        for kill_main_first in [false, true] {
            let mut process = sh(&script);
            let child = loop {
                let text = fs::read_to_string(&file).unwrap_or_default();
                if let Ok(pid) = text.trim().parse::<i32>() {
                    break pid;
                }
                sleep(LOOK_EVERY).await;
            };
            assert!(process.ended().is_none() && lives(child));
            if kill_main_first {
                kill_process(process.pid, Signal::KILL).unwrap();
                while process.ended().is_none() {
                    sleep(LOOK_EVERY).await;
                }
                assert!(lives(child));
            }
            process.end().await;
            assert!(process.ended().is_some() && !lives(child));
            fs::remove_file(&file).unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_killed_one_left_ends_but_nobody_elses_processes() {
        let mut process = sh("sleep 60 & wait");
        let note = process.note();
        while !has_member(process.pid, Path::new("/bin/sleep")) {
            sleep(LOOK_EVERY).await;
        }
        kill_process(process.pid, Signal::KILL).unwrap();
        while process.ended().is_none() {
            sleep(LOOK_EVERY).await;
        }
        let left = || test_kill_process_group(process.pid).is_ok();
        end_leftovers(&note, Path::new("/usr/sbin/pgpool")).await;
        assert!(left(), "it runs another program");
        end_leftovers(&note, Path::new("/bin/sleep")).await;
        assert!(!left());
    }

    #[tokio::test]
    async fn it_is_found_again_as_long_as_it_is_the_same() {
        let mut process = sh("sleep 60");
        let found = Process::find(&process.note()).expect("it lives");
        assert_eq!(found.id(), process.id());
        assert!(Process::find(&format!("{} 1", process.id())).is_none(), "another one");
        process.end().await;
        assert!(Process::find(&process.note()).is_none());
        assert!(Process::find("rubbish").is_none());
    }
}
