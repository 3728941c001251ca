//! The configuration as an operator meets it: files in, settings out. What is wrong with one is in
//! `findings`.

mod findings;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geo_agent::config::settings::{Config, Restart, SslMode, Tls};
use geo_agent::config::{self, Loaded, Problem, keys};
use geo_agent::model::patience::Patience;
use geo_agent::model::policy::Tier;
use geo_agent::model::restart::RestartMode;
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
    assert_eq!(policy.restart.mode, RestartMode::Never);
    assert_eq!(policy.patience, Patience::default());
}

#[test]
fn a_host_with_https_turns_tls_on() {
    let etcd = |hosts: &str| parsed(&SMALL.replace("[etcd-1]", hosts)).config.etcd;
    for hosts in ["https://a", "'https://a,b'", "['https://a', b]", "[b, ' https://a ']"] {
        assert_eq!(etcd(hosts).tls, Some(Tls::default()), "{hosts}");
    }
    assert_eq!(etcd("['http://a', b]").tls, None);
    let dir = Dir::new("https");
    let pem = dir.file("pem", "-----", 0o600);
    let with_ca = etcd(&format!("'https://a', tls: {{ca: {}}}", pem.display())).tls;
    assert_eq!(with_ca, Some(Tls { ca: Some(pem), client: None }));
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
    assert_eq!(config.policy.restart.mode, RestartMode::Supervise);
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
    // Its way to TLS, with the system's CAs.
    let https = parsed(&short.replace("http://", "https://")).config.etcd;
    assert_eq!((https.hosts, https.tls), (vec!["etcd:2379".to_owned()], Some(Tls::default())));
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
  restart: {mode: command, command: [systemctl, restart, pgpool2], window: ['02:00-04:00', '23:30-00:10'], max_per_hour: 3, when_sessions_below: 5}
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
    assert_eq!((config.policy.slots, config.policy.restart.mode), (128, RestartMode::Command));
    let restart = &config.policy.restart;
    assert_eq!((restart.max_per_hour, restart.when_sessions_below), (3, Some(5)));
    assert_eq!(restart.window_text(), "02:00-04:00, 23:30-00:10 UTC");
    let probe = config.probe.unwrap();
    assert_eq!(probe.interval, Duration::from_secs(120));
    assert_eq!(probe.timeout, Duration::from_millis(500));
    assert_eq!(probe.sslmode, SslMode::VerifyCa(dir.0.join("pem")));
    assert_eq!(probe.login.password.reveal(), "");
}

#[test]
fn patience_is_read_with_its_units() {
    let given = "attach_after: 500ms\nmax_lag: 16MB\ndrain_timeout: 2m\nrespect_manual_detach: 0";
    let patience = parsed(&format!("{SMALL}{given}")).config.policy.patience;
    let expected = Patience {
        attach_after: Duration::from_millis(500),
        max_lag: Some(16 << 20),
        drain_timeout: Duration::from_secs(120),
        respect_manual_detach: Duration::ZERO,
    };
    assert_eq!(patience, expected);
    let bytes = parsed(&format!("{SMALL}max_lag: 1000")).config.policy.patience.max_lag;
    assert_eq!(bytes, Some(1000));
}

#[test]
fn tiers_are_read_from_near_to_far() {
    let tiers = |list: &str| parsed(&format!("{SMALL}locations: {list}")).config.policy.farther;
    let places = |names: &[&str]| Tier::Places(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(tiers("[us, [ca, 7], any]"), [places(&["us"]), places(&["ca", "7"]), Tier::Any]);
    assert_eq!(tiers("[here, us]"), [places(&["us"])], "the own location is the first anyway");
    assert_eq!(tiers("[here]"), []);
    assert_eq!(parsed(SMALL).config.policy.farther, []);
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
