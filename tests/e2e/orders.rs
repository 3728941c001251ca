//! What operators order for all sites, and keys that are lost while the servers are fine.

use super::clients::Sessions;
use super::cluster::{MEMBERS, delete_members, is_healthy, keys, switch_over};
use super::docker::{eventually, is, script};
use super::pgpool::Pgpool;
use super::scene::{EU, HOME, Scene, US};

fn order(pgpool: &Pgpool, line: &str) -> String {
    let done = pgpool.agent(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(done.status, 0, "{line}: {}", done.all());
    done.out
}

#[test]
#[ignore = "needs the stack"]
fn a_hold_keeps_a_member_from_reads_on_all_sites_also_when_it_leads() {
    let scene = Scene::set();
    order(&scene.us, "hold eu-2 --for 10m --reason patching"); // from the other site
    scene.eu.takes(HOME, &["eu-1"]);
    let (code, status) = scene.us.status();
    let reason = status["holds"][0]["reason"].as_str().unwrap_or_default();
    assert!(code == 2 && reason.contains("(patching)"), "{status:#}");
    let list = script(&["list"]);
    assert!(list.status == 0 && list.out.contains("eu-2"), "{}", list.all());
    assert_eq!(is_healthy(&MEMBERS), Ok(HOME.to_owned()), "Patroni goes on");
    switch_over("eu-2");
    scene.take("eu-2", &["eu-1"], &US);
    order(&scene.eu, "release eu-2");
    scene.eu.takes("eu-2", &EU);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_hold_ends_by_itself() {
    let scene = Scene::set();
    order(&scene.eu, "hold eu-2 --for 10s");
    scene.eu.takes(HOME, &["eu-1"]);
    eventually("etcd ends the lease", 30, || {
        is(!keys()?.0.contains_key("geo-agent/holds/eu-2"), "it is still there")
    });
    scene.follows(HOME);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_member_is_located_for_all_sites_by_one_command() {
    let scene = Scene::set();
    order(&scene.eu, "locate us-2 eu");
    scene.take(HOME, &["eu-1", "eu-2", "us-2"], &["us-1"]);
    scene.in_sync();
    order(&scene.us, "locate us-2 --clear");
    scene.follows(HOME);
    scene.finish();
}

/// Patroni writes its keys again within seconds; no reader has to go meanwhile.
#[test]
#[ignore = "needs the stack"]
fn member_keys_that_are_lost_all_at_once_end_no_session() {
    let scene = Scene::set();
    let sessions = Sessions::open(scene.eu.ip(), 12);
    for _ in 0..3 {
        delete_members("");
        eventually("Patroni writes them again", 30, || is_healthy(&MEMBERS));
    }
    let lost: Vec<_> = sessions.close().into_iter().filter(|f| f.ended.is_some()).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    scene.follows(HOME);
    scene.finish();
}
