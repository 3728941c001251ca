//! What operators order, with the built binary: an etcd, a fake pgpool, and the commands between.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use tokio::time::sleep;

use super::server::{Scratch, Server};
use super::support::fake_pgpool::{PASSWORD, USERNAME};
use super::support::{FakePgpool, FakePool};
use super::{SECOND, key};

/// a leads, b and c read, all of them in eu; pgpool has them in slots 0, 1 and 2.
struct Site {
    etcd: Server,
    pgpool: FakePgpool,
    folder: Scratch,
}

impl Site {
    async fn new() -> Self {
        let etcd = Server::start(&[]).await;
        let mut client = etcd.client().await;
        client.put(key("initialize"), "7001", None).await.unwrap();
        client.put(key("leader"), "a", None).await.unwrap();
        for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
            client.put(key(&format!("members/{name}")), member(n), None).await.unwrap();
        }
        let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let mut pool = FakePool::new(&hosts.map(|h| (h, 5432, 1.0)));
        pool.primary = Some(0);
        let site = Site { etcd, pgpool: FakePgpool::start(pool).await, folder: Scratch::new() };
        let backend = |(n, host): (usize, &str)| {
            format!(
                "backend_hostname{n} = '{host}'\nbackend_port{n} = 5432\nbackend_weight{n} = 1\n"
            )
        };
        let conf: String = hosts.into_iter().enumerate().map(backend).collect();
        fs::write(site.file("pgpool.conf"), conf).unwrap();
        site.configure("");
        site.done("init");
        site.done("apply"); // the slots get their owners' names
        site
    }

    fn configure(&self, login: &str) {
        let text = format!(
            "etcd3: {{hosts: ['{}'], scope: main, timeout: 5{login}}}\nlocation: {{name: eu}}\n\
             pgpool:\n  config_path: {}\n  \
             pcp: {{host: 127.0.0.1, port: {}, username: {USERNAME}, password: {PASSWORD}}}\n",
            self.etcd.host(),
            self.file("pgpool.conf").display(),
            self.pgpool.addr().port(),
        );
        fs::write(self.file("config.yaml"), text).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_geo-agent"));
        command.arg("--config").arg(self.file("config.yaml")).args(line.split(' '));
        command.env("USER", "ops").env_remove("SUDO_USER");
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What a command that succeeds says.
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
        text(&output)
    }

    /// What a command that fails says.
    fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "{line}: {}", text(&output));
        text(&output)
    }

    fn plan(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run("plan --output json").stdout).unwrap()
    }

    fn daemon(&self, line: &str) -> Daemon {
        let mut child = self.command(line).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (line, lines) = mpsc::channel();
        thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|l| line.send(l)));
        Daemon { child, lines }
    }
}

struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Daemon {
    fn says(&self, what: &str) {
        let mut seen = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(30 * SECOND) {
            if line.contains(what) {
                return;
            }
            seen.push(line);
        }
        panic!("the log has no {what:?}:\n{}", seen.join("\n"));
    }

    fn hang_up(&self) {
        let kill = format!("kill -HUP {}", self.child.id()); // the shell's own
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn member(n: usize) -> String {
    let role = if n == 0 { "primary" } else { "replica" };
    format!(
        r#"{{"conn_url":"postgres://10.0.0.{}:5432/postgres","state":"running","role":"{role}",
        "timeline":1,"tags":{{"location":"eu"}}}}"#,
        n + 1
    )
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_hold_is_seen_by_every_agent_and_ends_by_release() {
    let site = Site::new().await;
    assert_eq!(site.plan()["steps"], serde_json::json!([]));
    let said = site.done("hold b --for 2h --reason kernel");
    assert!(said.starts_with("b is held until 20"), "{said}");
    let plan = site.plan();
    assert_eq!(
        (&plan["steps"][0]["op"], &plan["steps"][0]["member"]),
        (&"detach".into(), &"b".into())
    );
    let reason = plan["holds"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("held by ops@") && reason.contains("(kernel)"), "{reason}");
    assert_eq!((&plan["holds"][0]["member"], &plan["holds"][0]["slot"]), (&"b".into(), &1.into()));
    assert!(text(&site.run("status")).contains("held by ops@"));

    let said = site.done("hold b --for 30m");
    assert!(said.contains("before, it was held by ops@") && said.contains("(kernel)"), "{said}");
    assert!(!site.plan()["holds"][0]["reason"].as_str().unwrap().contains("kernel"));
    assert!(site.done("hold a").contains("warning: a leads: writes still go to it"));
    assert_eq!(site.plan()["steps"][0]["op"], "write_conf", "its reads go to c");

    assert!(site.done("release b").contains("b is released"));
    assert!(site.refused("release b").contains("b is not held; held: a"));
    site.done("release a");
    assert!(site.refused("release a").contains("nobody is held"));
    assert_eq!(site.plan()["holds"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_hold_ends_by_itself_while_an_agent_watches() {
    let site = Site::new().await;
    let agent = site.daemon("run");
    agent.says("following /service/main/");
    site.done("hold b --for 10s");
    agent.says("holds: held by ops@");
    agent.says("no longer holds: held by ops@");
    assert!(site.run("status --output json").status.code() != Some(1));
    assert_eq!(
        site.plan()["holds"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|h| { h["reason"].as_str().unwrap().starts_with("held") })
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_location_is_ordered_for_all_sites_and_taken_back() {
    let site = Site::new().await;
    let said = site.done("locate b us");
    assert!(said.starts_with("b counts as being in us on all sites from now on (its tag says eu)"));
    assert!(said.contains("warning: neither this host nor any other member is in us"), "{said}");
    let plan = site.plan();
    assert_eq!(plan["slots"][1]["local"], false);
    assert_eq!(plan["slots"][1]["location_order"], "us");
    assert!(plan["slots"][0]["location_order"].is_null());
    assert!(text(&site.run("status")).contains("in us by order"));
    assert!(site.done("locate b --clear").contains("b is where its tag says again"));
    assert!(
        site.refused("locate b --clear").contains("no order says where b is; nobody is located")
    );
    assert_eq!(site.plan()["slots"][1]["local"], true);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn nonsense_is_refused_and_writes_nothing() {
    let site = Site::new().await;
    for line in ["hold x", "locate x us"] {
        assert!(
            site.refused(line).contains("x is no member under /service/main/; there are: a, b, c")
        );
    }
    assert!(site.refused("hold b --for 8d").contains("from 10s to 7d"));
    assert!(site.refused("hold b --for 2").contains("90s, 30m, 2h, 1d"));
    site.refused("locate b");
    site.refused("locate b us --clear");
    let mut client = site.etcd.client().await;
    let all = etcd_client::GetOptions::new().with_prefix();
    let orders = client.get(key("geo-agent/"), Some(all)).await.unwrap();
    assert_eq!(orders.kvs().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_missing_permission_is_named_and_the_one_named_is_enough() {
    let site = Site::new().await;
    let mut client = site.etcd.client().await;
    for user in ["root", "geo"] {
        client.user_add(user, "secret", None).await.unwrap();
        client.role_add(user).await.unwrap();
        client.user_grant_role(user, user).await.unwrap();
    }
    let read = Permission::new(PermissionType::Read, "/service/main/");
    client.role_grant_permission("geo", read.with_range_end("/service/main0")).await.unwrap();
    client.auth_enable().await.unwrap();
    site.configure(", username: geo, password: secret");
    for line in ["hold b", "locate b us"] {
        let said = site.refused(line);
        let needs = "readwrite /service/main/geo-agent/ /service/main/geo-agent0";
        assert!(said.contains(needs) && !said.contains("secret"), "{said}");
    }
    let options = ConnectOptions::new().with_user("root", "secret");
    let mut root = Client::connect([site.etcd.host()], Some(options)).await.unwrap();
    let write = Permission::new(PermissionType::Readwrite, "/service/main/geo-agent/");
    let write = write.with_range_end("/service/main/geo-agent0");
    root.role_grant_permission("geo", write).await.unwrap();
    for line in ["hold b", "release b", "locate b us", "locate b --clear"] {
        site.done(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn an_observer_tells_each_plan_once_and_does_nothing() {
    let site = Site::new().await;
    let conf = fs::read(site.file("pgpool.conf")).unwrap();
    let observer = site.daemon("run --observe");
    observer.says("it only observes");
    observer.says("observes: nothing to do");
    site.done("hold b");
    observer.says("observes: 1 step would be taken now");
    observer.says("would 1/1: detach slot 1 b, ends slot: b is held by ops@");
    sleep(7 * SECOND).await; // past a look by the clock
    site.done("release b");
    observer.says("observes: nothing to do");
    let status = text(&site.run("status"));
    assert!(status.contains("only observes: it changes nothing"), "{status}");
    assert!(site.refused("run").contains("run --observe"));
    let changes = site.pgpool.log().into_iter().filter(|r| !"MRLIBXWPwm".contains(r.tag));
    assert_eq!(changes.collect::<Vec<_>>(), []);
    assert_eq!(fs::read(site.file("pgpool.conf")).unwrap(), conf);
    assert_eq!(site.pgpool.pool().attached(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn another_cluster_is_held_until_sighup_also_over_a_restart() {
    let site = Site::new().await;
    let mut client = site.etcd.client().await;
    let agent = site.daemon("run");
    agent.says("following /service/main/");
    sleep(SECOND).await;
    client.put(key("initialize"), "8002", None).await.unwrap();
    agent.says("another cluster is in this scope: its id (`initialize`) was 7001 and is 8002");
    drop(agent);
    client.put(key("leader"), "b", None).await.unwrap();
    let plan = site.plan();
    assert_eq!(plan["steps"], serde_json::json!([]));
    assert!(plan["holds"][0]["reason"].as_str().unwrap().contains("was 7001 and is 8002"));
    let agent = site.daemon("run");
    agent.says("was 7001 and is 8002");
    assert_eq!(site.pgpool.pool().primary, Some(0));
    agent.hang_up();
    agent.says("no longer holds: another cluster");
    sleep(SECOND).await;
    assert_eq!(site.pgpool.pool().primary, Some(1));
}
