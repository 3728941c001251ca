//! The configuration as an operator meets it: files in, settings or a report out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geo_agent::config::settings::{Config, Restart, SslMode};
use geo_agent::config::{self, ConfigError, Loaded, Problem, keys};
use geo_agent::model::policy::RestartMode;
use geo_agent::yaml::{self, Node};

/// The least that is a configuration.
const SMALL: &str = "
etcd3: {hosts: [etcd-1], scope: pgcluster}
location: {name: here}
pgpool: {config_path: /etc/pgpool.conf, pcp: {username: pcp, password: hunter2}}
";

/// What geo-pgpool-mgr's own documentation shows, with its empty values.
const GEO_PGPOOL_MGR: &str = "
pgpool:
  config_append: |+
    listen_addresses = '*'
    port = 5432

  tmp_status_path: /tmp/pgpool_status
  tmp_config_path: /tmp/pgpool.conf
  exec_path: /usr/bin/pgpool
  fail_delay: 5
etcd3:
  host: HOST
  port:
  username:
  password:
  scope: pgcluster
  namespace: /patroni/
  timeout: 10
local_backends:
- name: node-1
  weight: 1
- name: node-2
  weight: 1
";

fn parsed(text: &str) -> Loaded {
    config::parse(text, Path::new("/base")).unwrap_or_else(|p| panic!("{}", report(&p)))
}

fn problems(text: &str) -> Vec<Problem> {
    config::parse(text, Path::new("/base")).expect_err("a problem")
}

fn report(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

/// A directory of its own for one test, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("geo-agent-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn defaults_fill_what_is_not_given() {
    let Loaded { config: Config { etcd, pgpool, probe, policy }, warnings } = parsed(SMALL);
    assert_eq!(warnings, []);
    assert_eq!(etcd.hosts, ["etcd-1:2379"]);
    assert_eq!(etcd.base, "/service/pgcluster");
    assert_eq!(etcd.timeout, Duration::from_secs(10));
    assert_eq!((etcd.login, etcd.tls, etcd.group), (None, None, None));
    let pcp = pgpool.pcp.unwrap();
    assert_eq!((pcp.host.as_str(), pcp.port), ("127.0.0.1", 9898));
    assert_eq!(pcp.login.password.reveal(), "hunter2");
    assert_eq!(pgpool.restart, Restart::Never);
    assert_eq!(probe, None);
    assert_eq!((policy.slots, policy.sql_probe), (16, false));
    assert_eq!(policy.location_tag, "location");
    assert_eq!(policy.restart, RestartMode::Never);
}

#[test]
fn every_problem_is_in_one_report() {
    let bad = "
etcd3: {host: a, hosts: [b], prot: 2379, port: 70000, scope: a/b, timeout: soon, tls: {client_cert: x}}
locations: {name: x}
local_backends: [{name: a, weight: -1}, {name: a}, {wieght: 1}, 7]
pgpool:
  slots: 129
  slots: 128
  pcp: {host: 'a b', port: 0, password: x, passfile: /nowhere}
  restart: {command: [x]}
probe: {username: [], sslmode: verify-full, interval: 0}
";
    let found: Vec<String> =
        problems(bad).iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let expected = [
        "etcd3.host: is given beside hosts",
        "etcd3.port: 70000 is not in 1..=65535",
        "etcd3.prot: unknown key",
        "etcd3.scope: is not one name without slashes",
        "etcd3.timeout: is not a time span",
        "etcd3.tls.client_key: is missing",
        "local_backends[0].weight: is not a number from 0 up",
        "local_backends[1].name: \"a\" is in the list twice",
        "local_backends[2].name: is missing",
        "local_backends[2].wieght: unknown key",
        "local_backends[3].name: is missing",
        "local_backends[3]: is a number, not a section",
        "locations: unknown key",
        "pgpool.config_path: is missing",
        "pgpool.pcp.host: \"a b\" is not a host name or an IP address",
        "pgpool.pcp.passfile: is given beside another password",
        "pgpool.pcp.port: 0 is not in 1..=65535",
        "pgpool.pcp.username: is missing",
        "pgpool.restart.command: is given, but mode is not command",
        "pgpool.slots: 129 is not in 1..=128",
        "pgpool.slots: is given twice",
        "probe.interval: 0ns is not in the range 100ms to 3600s",
        "probe.sslrootcert: is missing",
        "probe.username: is a list, not text",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn one_change_to_a_good_file_is_one_problem() {
    for (from, to, path) in [
        ("[etcd-1]", "[]", "etcd3.hosts"),
        ("[etcd-1]", "[1]", "etcd3.hosts"),
        ("[etcd-1]", "['https://etcd-1']", "etcd3.hosts"),
        ("[etcd-1]", "[etcd-1], port: 2379", "etcd3.port"),
        ("[etcd-1]", "[etcd-1], group: -1", "etcd3.group"),
        ("[etcd-1]", "[etcd-1], password: a, password_file: b", "etcd3.password_file"),
        ("[etcd-1]", "[etcd-1], password_file: nowhere", "etcd3.password_file"),
        ("[etcd-1]", "[etcd-1], tls: yes", "etcd3.tls"),
        ("pgcluster", "", "etcd3.scope"),
        ("pgcluster", "/", "etcd3.scope"),
        ("pgcluster", "\"a\\nb\"", "etcd3.scope"),
        ("name: here", "name: true", "location.name"),
        ("name: here", "nmae: here", "location.nmae"),
        ("config_path: /etc/pgpool.conf", "slots: 1", "pgpool.config_path"),
        (
            "config_path: /etc/pgpool.conf",
            "config_path: /a, exec_path: b, tmp_config_path: /c",
            "pgpool.tmp_config_path",
        ),
        ("config_path: /etc", "slots: 1.5, config_path: /etc", "pgpool.slots"),
        ("config_path: /etc", "fail_delay: 1, config_path: /etc", "pgpool.fail_delay"),
        ("config_path: /etc", "restart: {mode: always}, config_path: /etc", "pgpool.restart.mode"),
        (
            "config_path: /etc",
            "restart: {mode: command}, config_path: /etc",
            "pgpool.restart.command",
        ),
        (
            "config_path: /etc",
            "restart: {mode: command, command: reboot}, config_path: /etc",
            "pgpool.restart.command",
        ),
        (
            "config_path: /etc",
            "restart: {mode: never}, exec_path: x, config_path: /etc",
            "pgpool.exec_path",
        ),
        ("password: hunter2", "passfile: nowhere", "pgpool.pcp.passfile"),
        (", password: hunter2", "", "pgpool.pcp.password"),
        ("pgpool:", "probe: {username: x, sslmode: on}\npgpool:", "probe.sslmode"),
        ("pgpool:", "probe: {username: x, sslrootcert: x}\npgpool:", "probe.sslrootcert"),
        (
            "pgpool:",
            "probe: {username: x, failure_threshold: 0}\npgpool:",
            "probe.failure_threshold",
        ),
        (
            "pgpool:",
            "local_backends: [{name: x, weight: .inf}]\npgpool:",
            "local_backends[0].weight",
        ),
        (
            "pgpool:",
            "local_backends: [{name: x, weight: many}]\npgpool:",
            "local_backends[0].weight",
        ),
        ("pgpool:", "- x\npgpool:", "line 4, column 1"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let found = problems(&SMALL.replace(from, to));
        let paths: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, [path], "{from} -> {to}\n{}", report(&found));
    }
}

#[test]
fn an_empty_file_is_told_what_it_lacks() {
    for text in ["", "# nothing\n", "{}"] {
        let found = problems(text);
        let paths: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
        let expected = [
            "etcd3.hosts",
            "etcd3.scope",
            "pgpool.config_path",
            "pgpool.pcp.username",
            "pgpool.pcp.password",
        ];
        assert_eq!(paths, expected);
    }
    assert_eq!(problems("just text")[0].path, "the file");
}

#[test]
fn slashes_around_the_namespace_do_not_matter() {
    for (namespace, base) in [
        ("/patroni/", "/patroni/pgcluster"),
        ("patroni", "/patroni/pgcluster"),
        ("//a//b//", "/a/b/pgcluster"),
        ("/", "/pgcluster"),
        ("''", "/pgcluster"),
        ("", "/service/pgcluster"),
        ("x, group: 0", "/x/pgcluster/0"),
    ] {
        let text = SMALL.replace("scope:", &format!("namespace: {namespace}, scope:"));
        assert_eq!(parsed(&text).config.etcd.base, base, "{namespace}");
    }
}

#[test]
fn a_file_of_geo_pgpool_mgr_loads_as_it_stands() {
    let Loaded { config, warnings } = parsed(&GEO_PGPOOL_MGR.replace("HOST", "etcd.example"));
    assert_eq!(warnings, []);
    assert_eq!(config.etcd.hosts, ["etcd.example:2379"]);
    assert_eq!(config.etcd.base, "/patroni/pgcluster");
    assert_eq!(config.etcd.login, None);
    assert_eq!(config.pgpool.config_path, Path::new("/tmp/pgpool.conf"));
    assert_eq!(config.pgpool.pcp, None);
    assert_eq!(config.policy.restart, RestartMode::Supervise);
    assert_eq!(config.policy.local_backends.get("node-2"), Some(&1.0));
    let Restart::Supervise(supervise) = config.pgpool.restart else { panic!("not supervised") };
    assert_eq!(supervise.exec_path, Path::new("/usr/bin/pgpool"));
    assert_eq!(supervise.config_append, "listen_addresses = '*'\nport = 5432\n\n");
    assert_eq!(supervise.status_path.as_deref(), Some(Path::new("/tmp/pgpool_status")));

    let empty = problems(&GEO_PGPOOL_MGR.replace("HOST", ""));
    assert_eq!(report(&empty).lines().next(), Some("etcd3.hosts: is missing"));
    assert_eq!(empty.len(), 1);
}

#[test]
fn what_geo_pgpool_mgr_tolerates_is_tolerated() {
    let short = "
etcd3: {host: 'http://etcd', port: 0, timeout: 0, username: geo, password: 12345, scope: /c/, namespace: p, tls: {ca: ''}}
local_backends: [{name: a, weight: 2}]
pgpool: {tmp_config_path: run/pgpool.conf}
";
    let config = parsed(short).config;
    assert_eq!(config.etcd.hosts, ["etcd:2379"]);
    assert_eq!(config.etcd.base, "/p/c");
    assert_eq!(config.etcd.timeout, Duration::from_secs(10));
    assert_eq!(config.etcd.login.unwrap().password.reveal(), "12345");
    assert_eq!(config.pgpool.config_path, Path::new("/base/run/pgpool.conf"));
    let Restart::Supervise(supervise) = config.pgpool.restart else { panic!("not supervised") };
    assert_eq!(supervise.exec_path, Path::new("pgpool"));
    // Its default namespace is none at all, which a file that says nothing has to be told.
    let found = parsed(&short.replace("namespace: p, ", "")).warnings;
    assert_eq!(found[0].path, "etcd3.namespace");
}

#[test]
fn a_number_that_is_not_written_as_we_print_it_is_no_text() {
    for password in ["0x1F", "+5", "1e5", "true", "1.0"] {
        let found = problems(&SMALL.replace("hunter2", password));
        assert_eq!(found[0].path, "pgpool.pcp.password", "{password}");
        assert_eq!(found[0].hint, "put it in quotes");
    }
    let config = parsed(&SMALL.replace("hunter2", "0123")).config;
    assert_eq!(config.pgpool.pcp.unwrap().login.password.reveal(), "0123");
}

#[test]
fn every_setting_arrives() {
    let dir = Dir::new("arrives");
    dir.file("p", "from file\r\n", 0o600);
    dir.file("pem", "-----", 0o600);
    dir.file("pcppass", "# ours\n*:1:*:no\nlocalhost:9999:geo:a\\:b\n", 0o600);
    let text = "
etcd3: {hosts: 'a:1,[::1]', scope: s, username: u, password_file: p, timeout: 500ms, tls: {ca: pem, client_cert: pem, client_key: pem}}
location: {name: here, tag: place}
local_backends: [{name: a}, {name: b, weight: 0.5}]
pgpool:
  config_path: c
  slots: '128'
  pcp: {host: /run/pgpool, port: 9999, username: geo, passfile: pcppass}
  restart: {mode: command, command: [systemctl, restart, pgpool2]}
probe: {username: x, dbname: d, interval: 2m, timeout: 0.5, failure_threshold: 1, sslmode: verify-ca, sslrootcert: pem}
";
    let Loaded { config, warnings } = config::parse(text, &dir.0).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.etcd.hosts, ["a:1", "[::1]:2379"]);
    assert_eq!(config.etcd.login.unwrap().password.reveal(), "from file");
    assert_eq!(config.etcd.timeout, Duration::from_millis(500));
    assert_eq!(config.etcd.tls.unwrap().client.unwrap().1, dir.0.join("pem"));
    assert_eq!(config.pgpool.pcp.unwrap().login.password.reveal(), "a:b");
    assert_eq!(config.policy.local_backends.into_values().collect::<Vec<_>>(), [1.0, 0.5]);
    assert_eq!((config.policy.slots, config.policy.restart), (128, RestartMode::Command));
    let probe = config.probe.unwrap();
    assert_eq!(probe.interval, Duration::from_secs(120));
    assert_eq!(probe.timeout, Duration::from_millis(500));
    assert_eq!(probe.sslmode, SslMode::VerifyCa(dir.0.join("pem")));
    assert_eq!(probe.login.password.reveal(), "");
}

#[test]
fn secrets_that_others_can_read_are_a_finding() {
    let dir = Dir::new("modes");
    let open = dir.file("config.yaml", SMALL, 0o644);
    let warnings = config::load(&open).unwrap().warnings;
    assert_eq!(warnings[0].path, "pgpool.pcp.password");
    assert!(warnings[0].message.contains("0644"), "{}", warnings[0]);

    let closed =
        dir.file("config.yaml", &SMALL.replace("password: hunter2", "password_file: p"), 0o644);
    dir.file("p", "hunter2\n", 0o604);
    assert_eq!(config::load(&closed).unwrap().warnings[0].path, "pgpool.pcp.password_file");
    dir.file("p", "hunter2\n", 0o640);
    assert_eq!(config::load(&closed).unwrap().warnings, []);

    let passfile =
        dir.file("config.yaml", &SMALL.replace("password: hunter2", "passfile: p"), 0o644);
    dir.file("p", "*:*:*:hunter2\n", 0o640);
    let Err(ConfigError::Invalid { problems, .. }) = config::load(&passfile) else {
        panic!("loaded")
    };
    assert!(problems[0].hint.starts_with("chmod 600 "), "{}", problems[0]);
    dir.file("p", "*:*:*:hunter2\n", 0o600);
    assert_eq!(config::load(&passfile).unwrap().warnings, []);
}

#[test]
fn nothing_printed_has_a_secret_in_it() {
    let dir = Dir::new("secrets");
    dir.file("two", "hunter2\nhunter2\n", 0o600);
    let good = parsed(SMALL);
    assert!(!format!("{good:?}").contains("hunter2"));
    for password in [
        "[hunter2]",
        "{hunter2: 1}",
        "!hunter2 hunter2",
        "\"hunter2\\0\"",
        "\"hunter2\\n\"",
        "'hunter2",
        "*hunter2",
    ] {
        let text = SMALL.replace("hunter2", password);
        let found = config::parse(&text, &dir.0).expect_err(password);
        assert!(!report(&found).contains("hunter2"), "{}", report(&found));
    }
    let text = SMALL.replace("password: hunter2", "password_file: two");
    assert!(!report(&config::parse(&text, &dir.0).unwrap_err()).contains("hunter2"));
}

#[test]
fn doubtful_settings_are_warnings() {
    for (from, to, path) in [
        ("location: {name: here}", "", "location.name"),
        ("[etcd-1]", "[etcd-1], username: x", "etcd3.username"),
        ("[etcd-1]", "[etcd-1], password: x", "etcd3.password"),
        ("[etcd-1]", "[etcd-1], tls: {ca: nowhere}", "etcd3.tls.ca"),
        ("pgpool:", "probe: {timeout: 1}\npgpool:", "probe.username"),
    ] {
        let found = parsed(&SMALL.replace(from, to)).warnings;
        let paths: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, [path], "{from} -> {to}");
    }
}

#[test]
fn the_report_is_headed_by_the_file() {
    let dir = Dir::new("report");
    let path = dir.file("config.yaml", &SMALL.replace("[etcd-1]", "[etcd-1], group: x"), 0o600);
    let text = config::load(&path).unwrap_err().to_string();
    let expected = format!(
        "{}: 1 problem\netcd3.group: is not a whole number\n    choose 0..=2147483647",
        path.display()
    );
    assert_eq!(text, expected);
    let error = config::load(&dir.0.join("nowhere")).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
}

#[test]
fn the_example_loads_without_a_word() {
    let dir = Dir::new("example");
    let text = fs::read_to_string("config.example.yaml").unwrap();
    let Loaded { config, warnings } =
        config::load(&dir.file("config.yaml", &text, 0o640)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);
    assert_eq!(config.policy.location.as_deref(), Some("eu-west"));
}

#[test]
fn the_example_shows_every_key() {
    let text = fs::read_to_string("config.example.yaml").unwrap();
    let whole: String = text.lines().map(|line| uncommented(line) + "\n").collect();
    let mut shown = BTreeSet::new();
    collect("", &yaml::parse(&whole).unwrap_or_else(|e| panic!("{e}\n{whole}")), &mut shown);
    assert_eq!(shown, keys::all().collect::<BTreeSet<_>>());
}

/// `#key: value` and `#- key: value` are settings; `# text` is prose.
fn uncommented(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    match line.trim_start().strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => format!("{}{rest}", &line[..indent]),
        _ => line.to_owned(),
    }
}

fn collect(path: &str, node: &Node, into: &mut BTreeSet<String>) {
    match node {
        Node::Map(entries) => {
            for (key, value) in entries {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&at, value, into);
                into.insert(at);
            }
        }
        Node::List(items) => {
            items.iter().for_each(|item| collect(&format!("{path}[]"), item, into))
        }
        _ => {}
    }
}
