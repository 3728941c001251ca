//! Following a real etcd. Ignored by default; `cargo test --test etcd_real -- --ignored` with `etcd`
//! in PATH or in ETCD_BIN. Everything listens on 127.0.0.1 only.

#[path = "etcd_real/access.rs"]
mod access;

#[path = "etcd_real/orders.rs"]
mod orders;

#[path = "etcd_real/scribe.rs"]
mod scribe;

#[path = "etcd_real/server.rs"]
mod server;

#[path = "etcd_real/wire.rs"]
mod wire;

mod support;

use std::time::{Duration, Instant};

use etcd_client::{Client, PutOptions};
use geo_agent::config::settings::Etcd;
use geo_agent::patroni::Seen;
use geo_agent::patroni::follow::Follower;
use geo_agent::patroni::read::{read_each, read_once};
use server::Server;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use wire::Wire;

const BASE: &str = "/service/main";
const SECOND: Duration = Duration::from_secs(1);

fn settings(hosts: &[&str]) -> Etcd {
    Etcd {
        hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        login: None,
        scope: "main".into(),
        base: BASE.into(),
        group: None,
        timeout: Duration::from_secs(5),
        tls: None,
    }
}

fn follow(settings: &Etcd) -> watch::Receiver<Seen> {
    let (follower, seen) = Follower::new(settings);
    tokio::spawn(follower.run());
    seen
}

fn key(name: &str) -> String {
    format!("{BASE}/{name}")
}

fn member(role: &str, n: u8) -> String {
    format!(
        r#"{{"conn_url":"postgres://10.0.0.{n}:5432/postgres","state":"running","role":"{role}"}}"#
    )
}

fn leader(seen: &watch::Receiver<Seen>) -> Option<String> {
    seen.borrow().known()?.leader.as_ref().map(|l| l.as_raw().to_owned())
}

/// Waits until the view has this leader; how long it took.
async fn until_leader(
    seen: &mut watch::Receiver<Seen>,
    wanted: Option<&str>,
    limit: Duration,
) -> Duration {
    let start = Instant::now();
    let is = |s: &Seen| s.known().is_some_and(|v| v.leader.as_ref().map(|l| l.as_raw()) == wanted);
    let found = timeout(limit, seen.wait_for(is)).await.map(|found| drop(found.unwrap()));
    found.unwrap_or_else(|_| panic!("no leader {wanted:?} within {limit:?}: {:?}", *seen.borrow()));
    start.elapsed()
}

async fn fill(client: &mut Client) {
    client.put(key("leader"), "a", None).await.unwrap();
    client.put(key("members/a"), member("primary", 1), None).await.unwrap();
    client.put(key("members/b"), member("replica", 2), None).await.unwrap();
    client.put("/service/main2/members/x", member("primary", 9), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn puts_deletions_and_leases_are_followed_within_milliseconds() {
    let server = Server::start(&[]).await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let mut seen = follow(&settings(&[server.host()]));
    until_leader(&mut seen, Some("a"), SECOND).await;
    assert_eq!(seen.borrow().known().unwrap().members.len(), 2, "nothing of scope main2");

    // A watch that has to catch up is served by etcd every 100 ms; the others at once.
    sleep(SECOND).await;
    let mut latencies = Vec::new();
    for n in 0..200 {
        let name = format!("n{n}");
        let watched = tokio::spawn({
            let (mut seen, name) = (seen.clone(), name.clone());
            async move {
                until_leader(&mut seen, Some(&name), SECOND).await;
                Instant::now()
            }
        });
        let put = Instant::now();
        client.put(key("leader"), name, None).await.unwrap();
        let acknowledged = put.elapsed();
        latencies.push((watched.await.unwrap() - put, acknowledged));
    }
    latencies.sort();
    println!(
        "put sent -> receiver woken: median {:?}, p99 {:?}, worst {:?}",
        latencies[100].0, latencies[198].0, latencies[199].0
    );
    latencies.sort_by_key(|l| l.1);
    println!("put sent -> acknowledged: median {:?}, p99 {:?}", latencies[100].1, latencies[198].1);

    let lease = client.lease_grant(2, None).await.unwrap().id();
    client.put(key("leader"), "leased", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    until_leader(&mut seen, Some("leased"), SECOND).await;
    until_leader(&mut seen, None, 5 * SECOND).await;
    client.delete(key("members/b"), None).await.unwrap();
    client.put(key("leader"), "a", None).await.unwrap();
    until_leader(&mut seen, Some("a"), SECOND).await;
    assert_eq!(seen.borrow().known().unwrap().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn what_was_compacted_while_cut_off_is_read() {
    let server = Server::start(&[]).await;
    let wire = Wire::to(server.host()).await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let mut seen = follow(&settings(&[wire.host()]));
    until_leader(&mut seen, Some("a"), SECOND).await;
    wire.cut();
    client.delete(key("members/b"), None).await.unwrap();
    for n in 0..20 {
        client.put(key("leader"), format!("n{n}"), None).await.unwrap();
    }
    let now = client.get(key("leader"), None).await.unwrap().header().unwrap().revision();
    client.compact(now, None).await.unwrap();
    sleep(SECOND).await;
    wire.mend();
    until_leader(&mut seen, Some("n19"), 6 * SECOND).await;
    assert_eq!(seen.borrow().known().unwrap().members.len(), 1, "pruned");
    client.put(key("leader"), "a", None).await.unwrap();
    until_leader(&mut seen, Some("a"), SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_line_that_falls_silent_is_left_and_taken_up_again() {
    let server = Server::start(&[]).await;
    let (wire, spare) = (Wire::to(server.host()).await, Wire::to(server.host()).await);
    let mut client = server.client().await;
    fill(&mut client).await;
    let mut seen = follow(&settings(&[wire.host(), spare.host()]));
    until_leader(&mut seen, Some("a"), SECOND).await;
    sleep(SECOND).await;
    wire.silence();
    client.put(key("leader"), "b", None).await.unwrap();
    let took = until_leader(&mut seen, Some("b"), 12 * SECOND).await;
    println!("line silent -> followed at the other endpoint: {took:?}");
    sleep(SECOND).await;
    spare.silence();
    let lost = Instant::now();
    timeout(30 * SECOND, seen.wait_for(|s| s.known().is_none())).await.expect("unknown").unwrap();
    println!("both lines silent -> unknown: {:?}", lost.elapsed());
    client.put(key("leader"), "c", None).await.unwrap();
    spare.cut();
    spare.mend();
    until_leader(&mut seen, Some("c"), 15 * SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn an_etcd_that_restarts_is_followed_on() {
    let mut server = Server::start(&[]).await;
    let mut client = server.client().await;
    fill(&mut client).await;
    let mut seen = follow(&settings(&[server.host()]));
    until_leader(&mut seen, Some("a"), SECOND).await;
    for (n, name) in ["b", "c"].into_iter().enumerate() {
        server.kill();
        sleep(SECOND).await;
        server.start_again().await;
        let mut client = server.client().await;
        client.put(key("leader"), name, None).await.unwrap();
        let took = until_leader(&mut seen, Some(name), 8 * SECOND).await;
        println!("restart {n}: put -> seen {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_dead_first_endpoint_costs_nothing() {
    let server = Server::start(&[]).await;
    fill(&mut server.client().await).await;
    let dead = format!("127.0.0.1:{}", server::free_port());
    let settings = settings(&[&dead, server.host()]);
    let start = Instant::now();
    let view = read_once(&settings).await.unwrap();
    assert_eq!(view.members.len(), 2);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    let mut seen = follow(&settings);
    until_leader(&mut seen, Some("a"), SECOND).await;
    let each = read_each(&settings).await;
    let refused = each[0].1.as_ref().unwrap_err();
    assert!(refused.to_string().contains("Connection refused"), "{refused}");
    assert!(each[1].1.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn a_server_without_a_leader_is_not_trusted() {
    let (one, mut two) = Server::start_pair().await;
    fill(&mut one.client().await).await;
    let mut seen = follow(&settings(&[one.host()]));
    until_leader(&mut seen, Some("a"), 5 * SECOND).await;
    two.kill();
    let lost = Instant::now();
    timeout(30 * SECOND, seen.wait_for(|s| s.known().is_none())).await.expect("unknown").unwrap();
    let Seen::Unknown { why, .. } = seen.borrow().clone() else { panic!("known") };
    println!("quorum lost -> unknown: {:?}: {why}", lost.elapsed());
    two.start_again().await;
    let took = until_leader(&mut seen, Some("a"), 15 * SECOND).await;
    println!("quorum back -> known: {took:?}");
}
