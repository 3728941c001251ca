//! What the agent does not know: nothing is done, and nothing is lost when it knows again.

use super::cluster::{self, switch_over};
use super::docker::{Container, eventually, is};
use super::pgpool::{Pgpool, Shape};
use super::scene::{EU, HOME, Scene, US};

/// Longer than the agent's `etcd3.timeout`.
const LONGER_THAN_THE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(13);

fn status_says_it(pgpool: &Pgpool) -> Result<(), String> {
    let (code, status) = pgpool.status();
    let said = status["errors"][0].as_str().is_some_and(|e| e.contains("etcd"));
    is(code == 1 && status["in_sync"] == false && said, (code, &status))
}

fn plan_says_it(pgpool: &Pgpool) -> Result<(), String> {
    let (code, plan) = pgpool.plan();
    let held = plan["holds"][0]["reason"].as_str().is_some_and(|r| r.contains("etcd"));
    is(code == 1 && plan["changes"] == false && held, (code, &plan))
}

/// The daemon itself says so, in its log.
fn holds(pgpool: &Pgpool) -> Result<(), String> {
    let log = pgpool.log(5);
    is(log.contains("WARN") && log.contains("etcd"), log)
}

/// pgpool still has what it had, for this long.
fn nothing_changes(pgpools: [(&Pgpool, &Shape); 2], time: std::time::Duration) {
    let started = std::time::Instant::now();
    while started.elapsed() < time {
        for (pgpool, shape) in pgpools {
            assert_eq!(pgpool.has(shape), Ok(()));
        }
    }
}

#[test]
#[ignore = "needs the stack"]
fn etcd_stops_and_starts() {
    let scene = Scene::set();
    let (eu, us) = (Shape::new(HOME, &EU), Shape::new(HOME, &US));
    let etcd = Container::of("etcd");
    etcd.docker("stop");
    nothing_changes([(&scene.eu, &eu), (&scene.us, &us)], LONGER_THAN_THE_TIMEOUT);
    scene.both(|pgpool, _| {
        eventually("status says so", 20, || status_says_it(pgpool));
        eventually("plan says so", 20, || plan_says_it(pgpool));
        eventually("the daemon holds", 20, || holds(pgpool));
    });
    nothing_changes([(&scene.eu, &eu), (&scene.us, &us)], std::time::Duration::ZERO);
    etcd.docker("start");
    eventually("etcd", 30, || cluster::keys().map(|_| ()));
    scene.finish();
}

/// Only the agents: Patroni goes on, and moves the leader meanwhile.
#[test]
#[ignore = "needs the stack"]
fn the_agents_are_cut_off_while_the_leader_moves() {
    let scene = Scene::set();
    let (eu, us) = (Shape::new(HOME, &EU), Shape::new(HOME, &US));
    for pgpool in [&scene.eu, &scene.us] {
        pgpool.cut_from_etcd(false);
    }
    switch_over("us-2");
    nothing_changes([(&scene.eu, &eu), (&scene.us, &us)], LONGER_THAN_THE_TIMEOUT);
    for pgpool in [&scene.eu, &scene.us] {
        eventually("the daemon holds", 20, || holds(pgpool));
    }
    eventually("status says so", 40, || status_says_it(&scene.eu));
    nothing_changes([(&scene.eu, &eu), (&scene.us, &us)], std::time::Duration::ZERO);
    for pgpool in [&scene.eu, &scene.us] {
        pgpool.heal();
    }
    scene.follows("us-2");
    scene.finish();
}

/// The agent's watch starts at a revision that etcd no longer has.
#[test]
#[ignore = "needs the stack"]
fn etcd_forgets_what_happened_meanwhile() {
    let scene = Scene::set();
    for pgpool in [&scene.eu, &scene.us] {
        pgpool.cut_from_etcd(true);
    }
    switch_over("eu-2");
    cluster::tag("us-1", "noloadbalance", Some("true"));
    eventually("Patroni shows the tag", 20, || {
        let value = cluster::keys()?.0.remove("members/us-1").unwrap_or_default();
        is(value.contains("noloadbalance"), value)
    });
    cluster::compact();
    for pgpool in [&scene.eu, &scene.us] {
        pgpool.heal();
    }
    scene.take("eu-2", &EU, &["us-2"]);
    cluster::tag("us-1", "noloadbalance", None);
    scene.finish();
}
