//! What is wrong with a configuration, told as an operator needs it: all at once, each with its key.

use std::collections::BTreeSet;

use geo_agent::config::{self, ConfigError};

use super::{Dir, SMALL, parsed, problems, report};

#[test]
fn every_problem_is_in_one_report() {
    let bad = "
etcd3: {host: a, hosts: [b], prot: 2379, port: 70000, scope: a/b, timeout: soon, tls: {client_cert: x}}
locatoins: {name: x}
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
        "locations: is a section of keys, not a list",
        "locatoins: unknown key",
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
fn no_problem_hides_another_one() {
    let bad = "
etcd3: {hosts: [a], scope: s}
location: {name: x}
pgpool: {pcp: {}, wake: soon, exec_path: x, restart: {mode: command}}
";
    let found = problems(bad);
    let paths: BTreeSet<&str> = found.iter().map(|p| p.path.as_str()).collect();
    let expected = [
        "pgpool.config_path",
        "pgpool.exec_path",
        "pgpool.pcp.password",
        "pgpool.pcp.username",
        "pgpool.restart.command",
        "pgpool.wake",
    ];
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn one_change_to_a_good_file_is_one_problem() {
    for (from, to, path) in [
        ("[etcd-1]", "[]", "etcd3.hosts"),
        ("[etcd-1]", "[1]", "etcd3.hosts"),
        ("[etcd-1]", "['https://etcd-1', 'http://etcd-2']", "etcd3.hosts"),
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
            "restart: {mode: pcp_shutdown, command: [x]}, config_path: /etc",
            "pgpool.restart.command",
        ),
        (
            "config_path: /etc",
            "restart: {window: [\"2-4\"]}, config_path: /etc",
            "pgpool.restart.window",
        ),
        (
            "config_path: /etc",
            "restart: {max_per_hour: 0}, config_path: /etc",
            "pgpool.restart.max_per_hour",
        ),
        (
            "config_path: /etc",
            "restart: {mode: never}, exec_path: x, config_path: /etc",
            "pgpool.exec_path",
        ),
        ("password: hunter2", "passfile: nowhere", "pgpool.pcp.passfile"),
        (", password: hunter2", "", "pgpool.pcp.password"),
        ("pgpool:", "attach_after: soon\npgpool:", "attach_after"),
        ("pgpool:", "drain_timeout: 2 days\npgpool:", "drain_timeout"),
        ("pgpool:", "respect_manual_detach: 25h\npgpool:", "respect_manual_detach"),
        ("pgpool:", "max_lag: 16 megabytes\npgpool:", "max_lag"),
        ("pgpool:", "max_lag: -1\npgpool:", "max_lag"),
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
fn every_tier_is_checked() {
    for (list, expected) in [
        ("[]", "locations: is empty"),
        ("us", "locations: is text, not a list"),
        ("[us, here]", "locations[1]: \"here\" is this host's own location"),
        ("[[us, here]]", "locations[0][1]: \"here\" is this host's own location"),
        ("[here, here]", "locations[1]: \"here\" is this host's own location"),
        ("[us, [ca, us]]", "locations[1][1]: \"us\" is in the list twice"),
        ("[any, us]", "locations[0]: any is not the last"),
        ("[us, [ca, any]]", "locations[1][1]: any is among others"),
        ("[us, []]", "locations[1]: is an empty list"),
        ("[us, {name: ca}]", "locations[1]: is a section of keys, not a location"),
        ("[us, true]", "locations[1]: is a boolean, not a location"),
        ("['']", "locations[0]: is not one line of plain text"),
        ("[\"a\\nb\"]", "locations[0]: is not one line of plain text"),
    ] {
        let found = problems(&format!("{SMALL}locations: {list}"));
        let found: Vec<_> = found.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
        assert_eq!(found, [expected], "{list}");
    }
}
