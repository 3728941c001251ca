//! The agent is killed, doubled, misconfigured, and fed with what it must not swallow.

use std::time::Duration;

use super::cluster::{delete_members, put, switch_over, tag, until_another_leads};
use super::docker::{Output, eventually, is};
use super::pgpool::{CONF, CONFIG, Pgpool, Shape};
use super::scene::{EU, HOME, Scene, US};

/// How long after the leader key has moved the agent is killed: before its promote, in it, while it
/// waits for the effect, in the attach that follows, and in the second that pgpool sleeps.
const KILLED_AFTER_MS: [u64; 4] = [0, 30, 250, 1300];

#[test]
#[ignore = "needs the stack"]
fn it_is_killed_in_the_middle_of_a_change() {
    let scene = Scene::set();
    for (round, delay) in KILLED_AFTER_MS.into_iter().enumerate() {
        let to = if round % 2 == 0 { "eu-2" } else { HOME };
        let kill = |p: &Pgpool| p.container.ready("pkill -KILL -f '^geo-agent run'");
        let (eu, us) = (kill(&scene.eu), kill(&scene.us));
        let wait = until_another_leads();
        let change = std::thread::spawn(move || switch_over(to));
        assert_eq!(wait(), to);
        std::thread::sleep(Duration::from_millis(delay));
        eu.go();
        us.go();
        change.join().expect("the switchover works");
        for pgpool in [&scene.eu, &scene.us] {
            assert_eq!(pgpool.agent_pid(), "", "it is dead");
            pgpool.start_agent();
        }
        scene.follows(to);
        scene.in_sync();
        for pgpool in [&scene.eu, &scene.us] {
            let left = pgpool.container.shell("ls -A /etc/pgpool2 | grep -c tmp || true");
            assert_eq!(left, "0", "no half-written file is left beside pgpool.conf");
        }
    }
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_second_one_refuses_to_start() {
    let scene = Scene::set();
    let pid = scene.eu.agent_pid();
    for command in ["run", "apply"] {
        let second = scene.eu.agent(&[command, "--config", CONFIG]);
        let names = second.all().contains(&format!("process {pid} "));
        assert!(second.status == 1 && names, "{second:?}");
    }
    assert_eq!(scene.eu.agent_pid(), pid);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_wrong_pcp_password_is_said_and_no_secret_with_it() {
    let scene = Scene::set();
    let with = "sed 's|password_file: /etc/geo-agent/pcp.password|password: hunter-two|'";
    scene.eu.container.shell(&format!(
        "{with} {CONFIG} >/tmp/wrong.yaml; chmod 0600 /tmp/wrong.yaml; \
         chown postgres: /tmp/wrong.yaml"
    ));
    let run = |args: &[&str]| scene.eu.agent(&[args, &["--config", "/tmp/wrong.yaml"]].concat());
    for args in
        [&["check"][..], &["plan"], &["plan", "--output", "json"], &["status"], &["-v", "plan"]]
    {
        let Output { status, out, err } = run(args);
        let all = format!("{out}{err}");
        assert_eq!(status, 1, "{args:?}: {all}");
        assert!(all.contains("PCP user or password refused"), "{args:?}: {all}");
        for secret in ["hunter-two", "pcp-test", "probe-test"] {
            assert!(!all.contains(secret), "{args:?}: {all}");
        }
    }
    let well = scene.eu.agent(&["check"]);
    assert_eq!(well.status, 0, "{}", well.all());
    scene.eu.container.shell("rm /tmp/wrong.yaml");
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn another_tool_rewrites_pgpool_conf() {
    let scene = Scene::set();
    let before = scene.eu.conf();
    let without = "sed '/^# >>> geo-agent/,/^# <<< geo-agent/d'";
    scene.eu.container.shell(&format!("{without} {CONF} >/tmp/conf; cat /tmp/conf >{CONF}"));
    assert!(!scene.eu.conf().contains("backend_hostname"));
    eventually("it is said", 20, || {
        let (code, status) = scene.eu.status();
        let said = status.to_string().contains("geo-agent init");
        is(code != 0 && status["in_sync"] == false && said, (code, &status))
    });
    // Without a table pgpool can still be told who leads.
    switch_over("eu-2");
    let shape = Shape { readers: Vec::new(), ..Shape::new("eu-2", &[]) };
    eventually("the primary is right all the same", 30, || {
        let nodes = scene.eu.nodes()?;
        is(nodes.iter().any(|n| n.primary && n.up && n.host == shape.primary.to_string()), nodes)
    });
    let init = scene.eu.agent(&["init"]);
    assert_eq!(init.status, 0, "{}", init.all());
    scene.follows("eu-2");
    switch_over(HOME);
    scene.follows(HOME);
    scene.in_sync();
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&scene.eu.conf()), lines(&before), "every slot has its member again");
    scene.finish();
}

fn hostile(url: &str) -> String {
    let url = serde_json::Value::from(url);
    format!(
        "{{\"conn_url\":{url},\"state\":\"running\",\"role\":\"replica\",\
             \"tags\":{{\"location\":\"eu\"}}}}"
    )
}

#[test]
#[ignore = "needs the stack"]
fn hostile_keys_in_etcd_stay_there() {
    let scene = Scene::set();
    let hosts = [
        ("evil-newline", "postgres://10.9.9.9\nbackend_hostname9 = 'evil':5432/postgres"),
        ("evil-quote", "postgres://10.9.9.9'evil:5432/postgres"),
        ("evil-space", "postgres://evil host:5432/postgres"),
        ("evil-port", "postgres://10.9.9.9:70000/postgres"),
        ("evil-80", "postgres://10.9.9.9:80/postgres"), // a port, but not for pgpool
        ("evil-zero", "postgres://10.9.9.9:0/postgres"),
    ];
    let slots = scene.eu.nodes().map(|n| n.len());
    for (name, url) in hosts {
        put(&format!("members/{name}"), &hostile(url));
    }
    put("members/evil-json", "{\"conn_url\":");
    // The others go on.
    tag("us-1", "location", Some("eu"));
    scene.eu.takes(HOME, &["eu-1", "eu-2", "us-1"]);
    let (code, status) = scene.eu.status();
    assert_eq!(code, 2, "{status:#}");
    let holds = status["holds"].as_array().expect("a list of holds");
    for name in hosts.map(|(name, _)| name).into_iter().chain(["evil-json"]) {
        assert!(holds.iter().any(|h| h["member"] == name), "{name}: {status:#}");
    }
    for pgpool in [&scene.eu, &scene.us] {
        let conf = pgpool.conf();
        for word in ["evil", "10.9.9.9", "70000", "backend_hostname9"] {
            assert!(!conf.contains(word), "{word}: {conf}");
        }
        assert_eq!(pgpool.nodes().map(|n| n.len()), slots);
    }
    tag("us-1", "location", Some("us"));
    eventually("us-1 is back", 30, || scene.us.has(&Shape::new(HOME, &US)));
    eventually("us-1 is gone", 30, || scene.eu.has(&Shape::new(HOME, &EU)));
    delete_members("evil");
    scene.in_sync();
    scene.finish();
}
