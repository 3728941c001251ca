//! Members come, go, move and change their tags.

use super::clients::Sessions;
use super::cluster::{MEMBERS, ip_of, is_healthy, keys, schedule_restart, tag};
use super::docker::{Container, eventually, is, script};
use super::pgpool::{Shape, steps};
use super::scene::{EU, HOME, Scene, US, remove_the_extra_member};

const EU_AND_EXTRA: [&str; 3] = ["eu-1", "eu-2", "eu-3"];

#[test]
#[ignore = "needs the stack"]
fn a_replica_is_added_stopped_returned_and_removed() {
    let scene = Scene::set();
    let up = script(&["up", "eu-3"]);
    assert_eq!(up.status, 0, "{}", up.all());
    eventually("eu-3 streams", 60, || is_healthy(&[&MEMBERS[..], &["eu-3"]].concat()));
    scene.take(HOME, &EU_AND_EXTRA, &US);
    scene.in_sync();
    let extra = Container::of("eu-3");
    let (had, slots) = (extra.ip(), scene.eu.nodes().map(|n| n.len()));
    extra.docker("stop");
    scene.eu.takes(HOME, &EU);
    extra.docker("start");
    assert_eq!(extra.ip(), had, "the test counts on docker giving the address back");
    scene.eu.takes(HOME, &EU_AND_EXTRA);
    assert_eq!(scene.eu.nodes().map(|n| n.len()), slots, "back in the slot that it had");
    scene.in_sync();
    remove_the_extra_member();
    scene.eu.takes(HOME, &EU);
    scene.in_sync();
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_location_changes_both_ways() {
    let scene = Scene::set();
    tag("us-2", "location", Some("eu"));
    scene.take(HOME, &["eu-1", "eu-2", "us-2"], &["us-1"]);
    scene.in_sync();
    tag("us-2", "location", Some("us"));
    scene.follows(HOME);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn noloadbalance_is_set_and_cleared() {
    let scene = Scene::set();
    scene.eu.stop_agent();
    tag("eu-2", "noloadbalance", Some("true"));
    tag("us-1", "noloadbalance", Some("true"));
    eventually("Patroni shows the tag", 20, || {
        let value = keys()?.0.remove("members/eu-2").unwrap_or_default();
        is(value.contains("noloadbalance"), value)
    });
    let (code, plan) = scene.eu.plan();
    assert_eq!(code, 2, "{plan:#}");
    assert_eq!(steps(&plan), ["write_conf", "reload", "detach eu-2"], "{plan:#}");
    assert_eq!(plan["disruption"], "slot");
    assert!(plan["steps"][2]["reason"].as_str().is_some_and(|r| r.contains("noloadbalance")));
    assert!(scene.eu.has(&Shape::new(HOME, &EU)).is_ok(), "a plan changes nothing");
    scene.eu.start_agent();
    scene.take(HOME, &["eu-1"], &["us-2"]);
    scene.in_sync();
    tag("eu-2", "noloadbalance", None);
    tag("us-1", "noloadbalance", None);
    scene.follows(HOME);
    scene.finish();
}

/// The leader's own tag moves: to eu it becomes remote, to us local.
#[test]
#[ignore = "needs the stack"]
fn the_leader_itself_changes_its_location() {
    let scene = Scene::set();
    tag(HOME, "location", Some("us"));
    scene.take(HOME, &["eu-2"], &["eu-1", "us-1", "us-2"]);
    scene.in_sync();
    tag(HOME, "location", Some("eu"));
    scene.follows(HOME);
    scene.finish();
}

/// Twelve clients are connected; those that read from eu-2 have time to end (`drain_timeout`).
#[test]
#[ignore = "needs the stack"]
fn readers_get_time_before_their_replica_leaves() {
    let scene = Scene::set();
    let sessions = Sessions::open(scene.eu.ip(), 12);
    tag("eu-2", "noloadbalance", Some("true"));
    eventually("it drains", 20, || {
        let (code, plan) = scene.eu.plan();
        let holds = plan["holds"].to_string();
        is(code == 0 && holds.contains("when its sessions have ended"), &plan)
    });
    scene.eu.takes(HOME, &["eu-1"]);
    drop(sessions.close());
    tag("eu-2", "noloadbalance", None);
    scene.follows(HOME);
    scene.finish();
}

/// Patroni restarts eu-2 by a schedule: nobody reads there any more when it does.
#[test]
#[ignore = "needs the stack"]
fn a_replica_leaves_before_its_scheduled_restart() {
    let scene = Scene::set();
    let postmaster = || {
        let pid = ["head", "-n", "1", "/var/lib/postgresql/data/postmaster.pid"];
        Container::of("eu-2").exec(&pid)
    };
    let before = postmaster().out;
    schedule_restart("eu-2", 13);
    scene.eu.takes(HOME, &["eu-1"]);
    assert_eq!(postmaster().out, before, "it was not restarted yet");
    let (_, plan) = scene.eu.plan();
    assert_eq!(steps(&plan), [""; 0], "it stays away until then: {plan:#}");
    eventually("it is restarted", 40, || {
        let now = postmaster();
        is(now.status == 0 && now.out != before, now.all())
    });
    scene.follows(HOME);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn a_detach_by_hand_is_respected_and_so_is_an_attach() {
    let scene = Scene::set();
    let address = ip_of("eu-2").expect("eu-2 is there").to_string();
    let nodes = scene.eu.nodes().expect("pgpool answers");
    let slot = nodes.iter().position(|n| n.host == address).expect("a slot of eu-2").to_string();
    let by_hand = |command: &str| {
        let pcp = [command, "-w", "-h", "127.0.0.1", "-p", "9898", "-U", "pcp", "-n", &slot];
        let done = scene.eu.container.exec(&pcp);
        assert_eq!(done.status, 0, "{}", done.all());
    };
    by_hand("pcp_detach_node");
    eventually("it is said", 20, || {
        let (code, status) = scene.eu.status();
        is(code == 2 && status["holds"].to_string().contains("by hand"), &status)
    });
    std::thread::sleep(std::time::Duration::from_secs(12)); // two looks for drift
    scene.eu.takes(HOME, &["eu-1"]);
    by_hand("pcp_attach_node");
    scene.eu.takes(HOME, &EU);
    scene.in_sync();
    scene.finish();
}
