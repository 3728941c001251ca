//! Running the operator's restart command.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::error::KeeperError;

/// systemd gives a unit 90 s to start, and says then that it failed: that should be heard.
const DEADLINE: Duration = Duration::from_secs(100);
/// What it said before its end is in the pipe by then.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Of what it says on stderr.
const SAID_MAX: u64 = 4096;

/// Runs a program without a shell. Its words are passed as they are.
pub async fn run(words: &[String]) -> Result<(), KeeperError> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let spawn = |source| KeeperError::Spawn { program: program.clone(), source };
    let mut child = command.spawn().map_err(spawn)?;
    let stderr = child.stderr.take();
    let ended = timeout(DEADLINE, async {
        let mut said = Vec::new();
        let mut status = None;
        if let Some(stderr) = stderr {
            let mut head = stderr.take(SAID_MAX);
            let read = head.read_to_end(&mut said);
            tokio::pin!(read);
            tokio::select! {
                _ = &mut read => {}
                ended = child.wait() => {
                    status = Some(ended);
                    // A daemon that it started may keep the pipe for ever.
                    let _ = timeout(LAST_WORDS, read).await;
                }
            }
        }
        let status = match status {
            Some(status) => status,
            None => child.wait().await,
        };
        status.map(|status| (status, said))
    });
    let fail = |what: String| Err(KeeperError::Command { program: program.clone(), what });
    match ended.await {
        Ok(Ok((status, _))) if status.success() => Ok(()),
        Ok(Ok((status, said))) => fail(failure(status, &said)),
        Ok(Err(source)) => Err(spawn(source)),
        Err(_) => fail(format!("did not end within {} s", DEADLINE.as_secs())),
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
    async fn a_daemon_that_keeps_its_stderr_is_not_waited_for() {
        let before = tokio::time::Instant::now();
        assert_eq!(sh("sleep 5 & exit 0").await, Ok(()));
        assert!(before.elapsed() < Duration::from_secs(4));
    }
}
