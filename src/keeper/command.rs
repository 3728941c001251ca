//! Running the operator's restart command, one at a time.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{Mutex, Notify};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{sleep, timeout};
use tracing::info;

use super::error::KeeperError;

/// systemd gives a unit 90 s to start, and says then that it failed: that should be heard.
const DEADLINE: Duration = Duration::from_secs(100);
/// What it said before its end is in the pipe by then.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Of what it says on stderr the last of it counts, and is a line or two.
const SAID_MAX: usize = 4096;

/// The command that runs. Whoever waits for it may be dropped, by a signal, and it runs on.
#[derive(Debug, Default)]
pub struct Running(Mutex<Option<JoinHandle<Result<(), KeeperError>>>>);

impl Running {
    /// Runs the command; or, as two of them would get in each other's way, waits for the one that
    /// runs, and takes its result.
    pub async fn run(&self, words: &[String]) -> Result<(), KeeperError> {
        let mut running = self.0.lock().await;
        let task = match &mut *running {
            Some(task) if !task.is_finished() => {
                info!("the restart command runs already: it is waited for");
                task
            }
            none => {
                let words = words.to_vec();
                none.insert(tokio::spawn(async move { run(&words).await }))
            }
        };
        let result = task.await;
        *running = None;
        let program = words.first().cloned().unwrap_or_default();
        let broken = |e: JoinError| Err(KeeperError::Command { program, what: e.to_string() });
        result.unwrap_or_else(broken)
    }
}

/// Runs a program without a shell. Its words are passed as they are.
async fn run(words: &[String]) -> Result<(), KeeperError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let spawn = |source| KeeperError::Spawn { program: program.clone(), source };
    let child = command.spawn().map_err(spawn)?;
    let fail = |what: String| Err(KeeperError::Command { program: program.clone(), what });
    match timeout(DEADLINE, end_of(child)).await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => fail(failure(status, &said)),
        Ok(Err(source)) => Err(spawn(source)),
        Err(_) => fail(format!("did not end within {} s", DEADLINE.as_secs())),
    }
}

/// How it ended, and the last of what it said. A daemon that it started may keep the pipe for ever,
/// so that is not read much longer than the child lives.
async fn end_of(mut child: Child) -> io::Result<(ExitStatus, Vec<u8>)> {
    let stderr = child.stderr.take();
    let (ended, mut said) = (Notify::new(), Vec::new());
    let wait = async {
        let status = child.wait().await;
        ended.notify_one();
        status
    };
    let listen = async {
        tokio::select! {
            () = hear(stderr, &mut said) => {}
            () = async { ended.notified().await; sleep(LAST_WORDS).await } => {}
        }
    };
    let (status, ()) = tokio::join!(wait, listen);
    Ok((status?, said))
}

/// Reads all of it, as who is not listened to dies of SIGPIPE, and keeps the last of it.
async fn hear(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut part = [0; SAID_MAX];
    while let Ok(length @ 1..) = stderr.read(&mut part).await {
        said.extend_from_slice(&part[..length]);
        said.drain(..said.len().saturating_sub(SAID_MAX));
    }
}

fn failure(status: ExitStatus, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    match said.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("failed with {status}: {}", last.trim()),
        None => format!("failed with {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str) -> Result<(), String> {
        let words = ["sh", "-c", script].map(str::to_owned);
        run(&words).await.map_err(|e| e.to_string())
    }

    #[tokio::test]
    async fn a_failure_is_told_with_its_last_word() {
        assert_eq!(sh("exit 0").await, Ok(()));
        let said = sh("echo one >&2; echo two >&2; exit 3").await.unwrap_err();
        assert!(said.ends_with("exit status: 3: two"), "{said}");
        let missing = run(&["/no/such/program".to_owned()]).await.unwrap_err().to_string();
        assert!(missing.contains("/no/such/program"), "{missing}");
    }

    #[tokio::test]
    async fn who_says_much_is_heard_to_the_end() {
        let much = "head -c 5000 /dev/zero >&2; sleep 0.2; echo x >&2";
        assert_eq!(sh(&format!("{much}; exit 0")).await, Ok(()));
        let said = sh(&format!("{much}; yes | head -c 100000 >&2; echo last >&2; exit 3")).await;
        assert!(said.as_ref().is_err_and(|said| said.ends_with("status: 3: last")), "{said:?}");
    }

    #[tokio::test]
    async fn who_comes_while_it_runs_waits_for_it() {
        let log = std::env::temp_dir().join(format!("geo-agent-command-{}", std::process::id()));
        let script = "echo begin >>LOG; sleep 0.8; echo end >>LOG; echo why >&2; exit 1";
        let words = ["sh", "-c", &script.replace("LOG", &log.display().to_string())];
        let (running, words) = (Running::default(), words.map(str::to_owned));
        let so_far = || std::fs::read_to_string(&log).unwrap_or_default();
        let dropped = timeout(Duration::from_millis(400), running.run(&words)).await;
        assert!(dropped.is_err() && so_far() == "begin\n");
        let why = running.run(&words).await.unwrap_err().to_string();
        assert_eq!((so_far().as_str(), why.ends_with("why")), ("begin\nend\n", true), "{why}");
        // What ended while nobody waited is nobody's result.
        let dropped = timeout(Duration::from_millis(400), running.run(&words)).await;
        sleep(Duration::from_secs(1)).await;
        assert!(dropped.is_err() && running.run(&words).await.is_err());
        assert_eq!(so_far(), "begin\nend\n".repeat(3));
        std::fs::remove_file(&log).unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_its_stderr_is_not_waited_for() {
        let before = tokio::time::Instant::now();
        assert_eq!(sh("sleep 5 & exit 0").await, Ok(()));
        assert!(before.elapsed() < Duration::from_secs(4));
    }
}
