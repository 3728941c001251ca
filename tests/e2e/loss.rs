//! pgpool's primary is lost: a local replica stands in, reads go on, and etcd still says who leads.

use std::time::Duration;

use super::clients::{read, write};
use super::cluster::{MEMBERS, ip_of, is_healthy, leader, switch_over};
use super::docker::{Container, eventually, is};
use super::pgpool::{Pgpool, Shape};
use super::scene::{EU, HOME, Scene, US};

/// Reads go to the one that stands in, and writes meet PostgreSQL's own error.
pub fn stands_in(pgpool: &Pgpool, member: &str, seconds: u64) {
    let shape = Shape::new(member, &[member]);
    eventually("a stand-in", seconds, || pgpool.has(&shape));
    let at = ip_of(member).expect("it runs");
    eventually("reads", 3, || is(read(pgpool.ip()) == Ok(at), read(pgpool.ip())));
    let refused = write(pgpool.ip()).expect_err("nobody is writable");
    assert!(refused.contains("read-only"), "{refused}");
}

/// The candidate of the switchover stands in at the goodbye of the old leader, so that there is
/// nothing left to do when Patroni names it.
#[test]
#[ignore = "needs the stack"]
fn at_a_switchover_the_candidate_stands_in() {
    let scene = Scene::set();
    let before = promotes(&scene.eu);
    switch_over("eu-2");
    scene.follows("eu-2");
    let promotes = promotes(&scene.eu)[before.len()..].to_vec();
    assert_eq!(promotes.len(), 1, "{promotes:?}");
    assert!(promotes[0].contains("stands in") && promotes[0].contains("eu-2"), "{promotes:?}");
    scene.finish();
}

/// Patroni says goodbye in good order, and gives the lease back.
#[test]
#[ignore = "needs the stack"]
fn the_primary_is_stopped_cleanly() {
    let scene = Scene::set();
    let home = Container::of(HOME);
    home.docker("stop");
    let heir = eventually("another leader", 60, || {
        leader().filter(|l| l != HOME).ok_or("nobody else leads".to_owned())
    });
    scene.take(&heir, &["eu-2"], &US);
    home.docker("start");
    eventually("everybody", 60, || is_healthy(&MEMBERS));
    scene.finish();
}

/// The wire to the other location is cut: etcd goes on naming us-1, and rightly so.
#[test]
#[ignore = "needs the stack"]
fn the_wire_to_a_remote_primary_is_cut() {
    let scene = Scene::set();
    switch_over("us-1");
    scene.follows("us-1");
    scene.in_sync();
    scene.eu.cut_from("us-1"); // dropped, not refused
    let local = EU.map(|m| ip_of(m).expect("it runs").to_string());
    eventually("a stand-in", 15, || {
        let nodes = scene.eu.nodes()?;
        is(nodes.iter().any(|n| n.up && n.primary && local.contains(&n.host)), nodes)
    });
    let at = read(scene.eu.ip()).expect("reads go on");
    assert!(local.contains(&at.to_string()), "{at}");
    assert_eq!(leader().as_deref(), Some("us-1"));
    let (_, plan) = scene.eu.plan();
    let why = plan["holds"].as_array().into_iter().flatten().find(|h| h["member"] == "us-1");
    assert!(why.is_some(), "{plan:#}");
    scene.eu.heal();
    scene.follows("us-1");
    scene.in_sync();
    scene.finish();
}

/// PostgreSQL crashes and Patroni starts it again before the lease is over.
#[test]
#[ignore = "needs the stack"]
fn the_primary_is_restarted_in_place() {
    let scene = Scene::set();
    let before = promotes(&scene.eu);
    Container::of(HOME).shell("kill -9 $(head -n 1 /var/lib/postgresql/data/postmaster.pid)");
    eventually("a stand-in", 10, || {
        let promotes = promotes(&scene.eu)[before.len()..].to_vec();
        is(promotes.iter().any(|p| p.contains("stands in")), promotes)
    });
    eventually("the same leader, restarted", 60, || is_healthy(&MEMBERS));
    scene.finish();
}

/// A probe that is turned away says nothing about the primary.
#[test]
#[ignore = "needs the stack"]
fn a_probe_that_is_turned_away_changes_nothing() {
    let scene = Scene::set();
    let before = promotes(&scene.eu);
    let home = Container::of(HOME);
    let sql = |sql: &str| {
        let done = home.exec_as_postgres(&["psql", "-c", sql]);
        assert_eq!(done.status, 0, "{}", done.all());
    };
    sql("ALTER ROLE geo_probe NOLOGIN");
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'geo_probe'");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(promotes(&scene.eu), before);
    assert_eq!(scene.eu.has(&Shape::new(HOME, &EU)), Ok(()));
    sql("ALTER ROLE geo_probe LOGIN");
    eventually("a new watch", 10, || {
        let watching = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'geo_probe'";
        let seen = home.exec_as_postgres(&["psql", "-tAc", watching]).all();
        is(seen.trim().parse().is_ok_and(|n: u32| n >= 2), seen)
    });
    scene.finish();
}

/// The agent's own account of its promotes, from the log.
fn promotes(pgpool: &Pgpool) -> Vec<String> {
    let log = pgpool.log(100_000);
    log.lines().filter(|l| l.contains("op=\"promote\"")).map(str::to_owned).collect()
}
