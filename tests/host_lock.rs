//! One agent per pgpool.conf, and what it leaves for `status` to read.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use geo_agent::host::lock::{Lock, LockError, holder};
use geo_agent::host::saved_elapsed::SavedElapsed;
use geo_agent::host::state::{self, AgentState, HeldSince, StateFile};
use geo_agent::keeper::notebook::Notebook;

fn conf(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host_lock_{test}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("pgpool.conf");
    fs::write(&path, "port = 9999\n").unwrap();
    path
}

/// Another process that holds the lock until it is killed.
fn other_agent(conf: &Path) -> Child {
    let child = Command::new("/proc/self/exe")
        .args(["--exact", "helper_process", "--nocapture"])
        .env("GEO_AGENT_TEST_CONF", conf)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while holder(conf).is_none_or(|h| h.pid != child.id()) {
        assert!(Instant::now() < deadline, "the other process never got the lock");
        sleep(Duration::from_millis(5));
    }
    child
}

/// Not a test by itself: what [`other_agent`] runs in another process.
#[test]
fn helper_process() {
    let Some(conf) = std::env::var_os("GEO_AGENT_TEST_CONF") else { return };
    let _lock = Lock::take(Path::new(&conf), "run").unwrap();
    sleep(Duration::from_secs(60));
}

#[test]
fn the_second_agent_is_told_who_holds_the_lock_and_kill_9_frees_it() {
    let conf = conf("second");
    let mut first = other_agent(&conf);
    let error = Lock::take(&conf, "apply").unwrap_err();
    let LockError::Held { by: Some(by), .. } = &error else { panic!("{error}") };
    assert_eq!((by.pid, by.what.as_str()), (first.id(), "run"));
    let sentence = format!("process {} (geo-agent run), for ", first.id());
    assert!(error.to_string().contains(&sentence), "{error}");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(holder(&conf), None, "what a dead holder wrote means nothing");
    let lock = Lock::take(&conf, "apply").unwrap();
    assert_eq!(holder(&conf).unwrap().pid, std::process::id());
    drop(lock);
    assert_eq!(holder(&conf), None);
}

#[test]
fn two_names_of_one_file_are_one_lock() {
    let conf = conf("link");
    let link = conf.with_file_name("link");
    std::os::unix::fs::symlink(&conf, &link).unwrap();
    let _lock = Lock::take(&conf, "run").unwrap();
    assert!(matches!(Lock::take(&link, "run"), Err(LockError::Held { .. })));
}

#[test]
fn without_a_pgpool_conf_there_is_nothing_to_lock() {
    let error = Lock::take(&conf("missing").with_file_name("none"), "run").unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

fn some_state() -> AgentState {
    AgentState {
        pid: std::process::id(),
        version: "1".to_owned(),
        started: 5,
        holds: vec![HeldSince { member: None, slot: Some(1), reason: "r".to_owned(), since: 7 }],
        last_change: None,
        observes: false,
        remembered: None,
        elapsed: SavedElapsed::default(),
    }
}

#[test]
fn the_state_is_written_when_it_changes_and_read_with_whether_its_writer_runs() {
    let conf = conf("state");
    assert_eq!(state::read(&conf), None);
    let mut file = StateFile::new(&conf).unwrap();
    let mut now = some_state();
    assert!(file.save(&now).unwrap());
    assert!(!file.save(&now).unwrap(), "the same is not written again");
    now.started = 6;
    assert!(file.save(&now).unwrap());
    let saved = state::read(&conf).unwrap();
    assert_eq!((&saved.state, saved.running), (&now, false));
    let _lock = Lock::take(&conf, "run").unwrap();
    assert!(state::read(&conf).unwrap().running);
    fs::write(conf.with_file_name("pgpool.conf.geo-agent.state"), "{\"pid\": gar").unwrap();
    assert_eq!(state::read(&conf), None);
}

/// In a directory like /tmp anybody can put them there before the agent.
#[test]
fn what_somebody_else_has_put_beside_pgpool_conf_is_neither_written_to_nor_believed() {
    let conf = conf("planted");
    let beside = |suffix: &str| conf.with_file_name(format!("pgpool.conf.geo-agent.{suffix}"));
    let victim = conf.with_file_name("victim");
    fs::write(&victim, "precious").unwrap();
    for name in ["lock", "state.new", "restart"] {
        symlink(&victim, beside(name)).unwrap();
    }
    let refusal = Lock::take(&conf, "run").unwrap_err().to_string();
    assert!(refusal.contains("geo-agent.lock is a symbolic link"), "{refusal}");
    assert!(StateFile::new(&conf).unwrap().save(&some_state()).unwrap());
    assert!(state::read(&conf).is_some());
    let refusal = Notebook::open(&conf).unwrap_err().to_string();
    assert!(refusal.contains("geo-agent.restart cannot be read"), "{refusal}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

    fs::remove_file(beside("restart")).unwrap();
    fs::write(beside("restart"), r#"{"under_way":null,"failed":null,"began":[7]}"#).unwrap();
    assert_eq!(Notebook::open(&conf).unwrap().note().began, [7]);
    if fs::metadata(&conf).unwrap().uid() != 0 {
        return; // only root can give a file away
    }
    chown(beside("restart"), Some(12345), None).unwrap();
    chown(beside("state"), Some(12345), None).unwrap();
    let refusal = Notebook::open(&conf).unwrap_err().to_string();
    assert!(refusal.contains("not a file that geo-agent has made"), "{refusal}");
    assert_eq!(state::read(&conf), None);
    chown(&conf, Some(12345), None).unwrap(); // then it is the agent's user
    assert_eq!(Notebook::open(&conf).unwrap().note().began, [7]);
    assert!(state::read(&conf).is_some());
}
