//! An agent that owns a pgpool with a watchdog does not start it without any backend: that would
//! crash the watchdog's leader (proto-notes/watchdog.md).

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn it_waits_for_etcd_and_ends_at_sigterm_meanwhile() {
    let folder = std::env::temp_dir().join(format!("geo-agent-supervised-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let [pgpool, config] = ["pgpool", "config.yaml"].map(|name| folder.join(name));
    let started = folder.join("started");
    fs::write(&pgpool, format!("#!/bin/sh\ntouch {}\nsleep 60\n", started.display())).unwrap();
    fs::set_permissions(&pgpool, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "etcd3: {{hosts: ['{NOBODY}'], scope: demo, timeout: 1}}\n\
         pgpool:\n  config_path: {0}/pgpool.conf\n  exec_path: {0}/pgpool\n  \
         config_append: use_watchdog = on\n",
        folder.display()
    );
    fs::write(&config, text).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_geo-agent"))
        .args(["run", "--config", config.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(agent.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut refusals = log.by_ref().filter(|line| line.contains("pgpool is not started yet"));
    assert!(refusals.next().expect("a refusal").contains(NOBODY));
    refusals.next().expect("another try");
    let kill = format!("kill -TERM {}", agent.id()); // the shell's own
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(agent.wait().unwrap().code(), Some(0));
    assert!(!started.exists(), "pgpool was started");
    fs::remove_dir_all(&folder).unwrap();
}
