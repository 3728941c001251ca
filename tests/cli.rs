//! The built binary: what it prints and how it exits. What needs a cluster is tested on the stack.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Nobody listens here, so every connection is refused at once.
const NOBODY: &str = "127.0.0.1:1";

fn geo_agent(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geo-agent"));
    command.args(arguments).env_remove("GEO_AGENT_CONFIG").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder of its own, with a pgpool.conf and a configuration that points to nobody.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("geo-agent-cli-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("pgpool.conf"),
            "port = 9999\nbackend_hostname0 = '10.0.0.1'\n\
             backend_port0 = 5432\nbackend_weight0 = 1\n",
        )
        .unwrap();
        let scratch = Scratch(folder);
        scratch.configure("");
        scratch
    }

    fn configure(&self, more: &str) {
        let conf = self.conf();
        let text = format!(
            "etcd3: {{hosts: ['{NOBODY}'], scope: demo, timeout: 1}}\n\
             location: {{name: eu}}\n\
             pgpool:\n  config_path: {}\n  \
             pcp: {{host: 127.0.0.1, port: 1, username: pcp, password: hush-hush}}\n{more}",
            conf.display()
        );
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.0.join("config.yaml")
    }

    fn conf(&self) -> PathBuf {
        self.0.join("pgpool.conf")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        geo_agent(&[&["--config", config.to_str().unwrap()], arguments].concat())
    }

    /// The daemon, once it has the lock.
    fn daemon(&self) -> Daemon {
        self.daemon_with(&["run"])
    }

    fn daemon_with(&self, arguments: &[&str]) -> Daemon {
        let mut child = Command::new(env!("CARGO_BIN_EXE_geo-agent"))
            .args(arguments)
            .args(["--config", self.config().to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        wait_for(&mut log, "geo-agent starts");
        Daemon { child, log }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Daemon {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
}

impl Daemon {
    fn signal(&self, name: &str) {
        let kill = format!("kill {name} {}", self.child.id()); // the shell's own
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log up to a line; fails at its end.
fn wait_for(log: &mut impl BufRead, what: &str) {
    let mut seen = String::new();
    while log.read_line(&mut seen).unwrap() > 0 {
        if seen.contains(what) {
            return;
        }
    }
    panic!("the log ended without {what:?}:\n{seen}");
}

#[test]
fn every_command_explains_itself() {
    for command in ["run", "plan", "apply", "init", "status", "hold", "release", "locate", "check"]
    {
        let help = geo_agent(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{command}");
        assert!(text(&help.stdout).contains("Usage: geo-agent"), "{command}");
        assert!(text(&geo_agent(&["--help"]).stdout).contains(&format!("  {command} ")));
    }
}

#[test]
fn a_command_line_that_cannot_be_understood_is_an_error_and_not_a_difference() {
    assert_eq!(geo_agent(&["plan", "--output", "xml"]).status.code(), Some(1));
    assert_eq!(geo_agent(&["plan", "--frobnicate"]).status.code(), Some(1));
    assert_eq!(geo_agent(&[]).status.code(), Some(1));
}

#[test]
fn the_daemon_starts_by_its_name_or_a_path_only() {
    for line in [&[][..], &["-v"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_geo-agent"));
        let refused = command.args(line).env("GEO_AGENT_CONFIG", "/nonexistent").output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{line:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("Usage: geo-agent"), "{line:?}: {said}");
    }
}

#[test]
fn a_bad_configuration_reports_every_problem_and_no_secret() {
    let scratch = Scratch::new("bad");
    scratch.configure("  slots: 999\n  slotz: 3\nprobe: {username: a, password: [hush-hush]}\n");
    for command in ["plan", "check", "run", "apply", "status", "init"] {
        let refused = scratch.run(&[command]);
        let said = text(&refused.stdout) + &text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{command}: {said}");
        for problem in ["pgpool.slots", "pgpool.slotz", "probe.password"] {
            assert!(said.contains(problem), "{command} does not say {problem}: {said}");
        }
        assert!(!said.contains("hush-hush"), "{command}: {said}");
    }
}

#[test]
fn a_missing_configuration_is_named() {
    let refused = geo_agent(&["plan", "--config", "/nonexistent/geo.yaml"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("/nonexistent/geo.yaml"));
    let check = geo_agent(&["check", "--config", "/nonexistent/geo.yaml"]);
    assert_eq!(check.status.code(), Some(1));
    for said in ["/nonexistent/geo.yaml", "No such file", "→ name it with --config", "1 thing to"]
    {
        assert!(text(&check.stdout).contains(said), "no {said} in: {}", text(&check.stdout));
    }
}

#[test]
fn init_adopts_what_is_there_and_changes_nothing_the_second_time() {
    let scratch = Scratch::new("init");
    let before = fs::read(scratch.conf()).unwrap();
    let first = scratch.run(&["init"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let after = fs::read(scratch.conf()).unwrap();
    assert!(text(&after).starts_with("port = 9999\n") && text(&after).contains("'10.0.0.1'"));
    assert_eq!(fs::read(scratch.0.join("pgpool.conf.geo-agent.orig")).unwrap(), before);
    assert_eq!(scratch.run(&["init"]).status.code(), Some(0));
    assert_eq!(fs::read(scratch.conf()).unwrap(), after);
}

#[test]
fn a_pgpool_with_a_watchdog_is_not_left_with_an_empty_table_without_a_word() {
    let scratch = Scratch::new("init-watchdog");
    fs::write(scratch.conf(), "use_watchdog = on\n").unwrap();
    for _ in 0..2 {
        let init = scratch.run(&["init"]);
        assert_eq!(init.status.code(), Some(1));
        for said in ["must not be started", "crashes", NOBODY] {
            assert!(text(&init.stderr).contains(said), "no {said} in: {}", text(&init.stderr));
        }
        assert_eq!(fs::read(scratch.conf()).unwrap(), b"use_watchdog = on\n");
    }
    assert!(text(&scratch.run(&["check"]).stdout).contains("crashes"));
    let all = "use_watchdog = on\nbackend_hostname0 = '10.0.0.1'\nbackend_port0 = 5432\n";
    fs::write(scratch.conf(), all).unwrap();
    assert_eq!(scratch.run(&["init"]).status.code(), Some(0));
    assert!(!text(&scratch.run(&["check"]).stdout).contains("crashes"));
}

#[test]
fn without_etcd_a_plan_is_an_error_with_its_reason() {
    let scratch = Scratch::new("no-etcd");
    scratch.run(&["init"]);
    let plan = scratch.run(&["plan", "--output", "json"]);
    assert_eq!(plan.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(json["changes"], false);
    assert!(json["leader"].is_null() && json["revision"].is_null());
    assert!(json["holds"][0]["reason"].as_str().unwrap().contains(NOBODY), "{json}");
    assert!(text(&plan.stderr).contains(NOBODY));
    let status = scratch.run(&["status", "--output", "json"]);
    assert_eq!(status.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(json["in_sync"], false);
    assert!(json["pgpool"].is_null() && json["watchdog"].is_null());
}

#[test]
fn check_reports_everything_in_one_run() {
    let scratch = Scratch::new("check");
    let check = scratch.run(&["check"]);
    let said = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{said}");
    for finding in ["geo-agent init", NOBODY, "127.0.0.1:1"] {
        assert!(said.contains(finding), "no {finding} in: {said}");
    }
    assert!(!said.contains("hush-hush"));
}

#[test]
fn check_looks_on_when_pgpool_conf_cannot_be_read() {
    let scratch = Scratch::new("check-unreadable");
    fs::remove_file(scratch.conf()).unwrap();
    fs::create_dir(scratch.conf()).unwrap();
    let said = text(&scratch.run(&["check"]).stdout);
    for finding in ["is not a regular file", "no daemon runs", NOBODY] {
        assert!(said.contains(finding), "no {finding} in: {said}");
    }
}

#[test]
fn before_its_first_run_supervise_mode_lacks_nothing() {
    let scratch = Scratch::new("supervised");
    fs::remove_file(scratch.conf()).unwrap();
    scratch.configure("  exec_path: /usr/sbin/pgpool\n");
    let check = text(&scratch.run(&["check"]).stdout);
    let conf = format!("! pgpool.conf    {} is not there yet", scratch.conf().display());
    assert!(check.contains(&conf) && check.contains("`geo-agent run` makes it"), "{check}");
    assert!(!check.contains("path right?") && check.contains("1 thing to mend"), "{check}"); // etcd
    let init = scratch.run(&["init"]);
    assert_eq!(init.status.code(), Some(1));
    assert!(text(&init.stderr).contains("`geo-agent run` makes it"), "{}", text(&init.stderr));
}

#[test]
fn check_looks_for_the_program_that_restarts_pgpool() {
    let scratch = Scratch::new("check-restart");
    let with = |program: &str| {
        scratch.configure(&format!("  restart: {{mode: command, command: ['{program}', 'x']}}\n"));
        text(&scratch.run(&["check"]).stdout)
    };
    let said = with("sh");
    assert!(said.contains("over PCP, then by sh"), "{said}");
    for missing in ["no-such-program", "/no/such/program"] {
        let said = with(missing);
        assert!(said.contains(&format!("{missing} cannot be run")), "{said}");
        assert!(said.contains("→ give the whole path"), "{said}");
    }
}

#[test]
fn a_second_agent_refuses_to_start_and_names_the_first() {
    let scratch = Scratch::new("second");
    let daemon = scratch.daemon();
    for command in ["run", "apply"] {
        let second = scratch.run(&[command]);
        assert_eq!(second.status.code(), Some(1));
        let pid = daemon.child.id().to_string();
        assert!(text(&second.stderr).contains(&pid), "{}", text(&second.stderr));
    }
}

#[test]
fn the_daemon_keeps_its_configuration_at_a_bad_sighup_and_ends_at_sigterm() {
    let scratch = Scratch::new("signals");
    let mut daemon = scratch.daemon();
    scratch.configure("  slots: 999\n");
    daemon.signal("-HUP");
    wait_for(&mut daemon.log, "the old one stays");
    scratch.configure("  slots: 20\n");
    daemon.signal("-HUP");
    wait_for(&mut daemon.log, "configuration read again");
    daemon.signal("-TERM");
    wait_for(&mut daemon.log, "geo-agent ends");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_path_alone_is_the_daemon_as_geo_pgpool_mgr_was_called() {
    let scratch = Scratch::new("legacy");
    let missing = scratch.0.join("missing.yaml");
    let refused = geo_agent(&["-v", missing.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("missing.yaml"));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let scratch = Scratch::new("pipe");
    let script = format!(
        "{} --config {} check | true",
        env!("CARGO_BIN_EXE_geo-agent"),
        Path::display(&scratch.config())
    );
    let piped = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(!text(&piped.stderr).contains("panicked"), "{}", text(&piped.stderr));
}

#[test]
fn an_observer_says_so_and_holds_the_lock() {
    let scratch = Scratch::new("observer");
    scratch.run(&["init"]);
    let mut daemon = scratch.daemon_with(&["run", "--observe"]);
    wait_for(&mut daemon.log, "it only observes: pgpool and pgpool.conf stay as they are");
    wait_for(&mut daemon.log, "observes: nothing to do");
    let status = text(&scratch.run(&["status"]).stdout);
    assert!(status.contains("only observes: it changes nothing"), "{status}");
    let json = scratch.run(&["status", "--output", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        (&json["agent"]["observes"], &json["agent"]["running"]),
        (&true.into(), &true.into())
    );
    let second = text(&scratch.run(&["apply"]).stderr);
    assert!(second.contains("run --observe"), "{second}");
    // So does the lock that it takes when a SIGHUP gives it another pgpool.
    let moved = scratch.0.join("other.conf");
    fs::rename(scratch.conf(), &moved).unwrap();
    let config = fs::read_to_string(scratch.config()).unwrap();
    fs::write(scratch.config(), config.replace("pgpool.conf", "other.conf")).unwrap();
    daemon.signal("-HUP");
    wait_for(&mut daemon.log, "configuration read again");
    let second = text(&scratch.run(&["apply"]).stderr);
    assert!(second.contains("run --observe"), "{second}");
}

#[test]
fn a_sighup_that_is_refused_writes_nothing() {
    let scratch = Scratch::new("refused");
    let pgpool = scratch.0.join("pgpool");
    fs::write(&pgpool, "#!/bin/sh\nexec sleep 20\n").unwrap();
    fs::set_permissions(&pgpool, fs::Permissions::from_mode(0o755)).unwrap();
    let configure = |append: &str, probe: &str| {
        let path = pgpool.display();
        scratch.configure(&format!("  exec_path: {path}\n  config_append: '{append}'\n{probe}"));
    };
    configure("port = 5433", "");
    let mut daemon = scratch.daemon();
    let before = fs::read_to_string(scratch.conf()).unwrap();
    assert!(before.contains("port = 5433"), "{before}");
    let probe = "probe: {username: x, sslmode: verify-ca, sslrootcert: /nonexistent}\n";
    configure("port = 5434", probe);
    daemon.signal("-HUP");
    wait_for(&mut daemon.log, "the old one stays");
    assert_eq!(fs::read_to_string(scratch.conf()).unwrap(), before);
    daemon.signal("-TERM");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_order_without_etcd_is_an_error_with_its_reason() {
    let scratch = Scratch::new("orders");
    for line in [&["hold", "eu-1"][..], &["release", "eu-1"], &["locate", "eu-1", "us"]] {
        let refused = scratch.run(line);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(NOBODY), "{}", text(&refused.stderr));
    }
    for nonsense in ["2", "0s", "8d", "-1h", "1y"] {
        let refused = scratch.run(&["hold", "eu-1", &format!("--for={nonsense}")]);
        assert_eq!(refused.status.code(), Some(1), "{nonsense}");
        assert!(!text(&refused.stderr).contains(NOBODY), "{nonsense} got as far as etcd");
    }
}
