//! The primary dies, or falls silent.

use super::cluster::{MEMBERS, end_the_lease, is_healthy, leader, tag};
use super::docker::{Container, eventually, is};
use super::loss;
use super::scene::{EU, HOME, Scene, US};

fn another_leads() -> String {
    eventually("another leader", 60, || {
        leader().filter(|l| l != HOME).ok_or("nobody else leads".to_owned())
    })
}

#[test]
#[ignore = "needs the stack"]
fn the_primary_is_killed_and_comes_back() {
    let scene = Scene::set();
    for member in US {
        tag(member, "nofailover", Some("true"));
    }
    let home = Container::of(HOME);
    home.docker("kill");
    loss::stands_in(&scene.eu, "eu-2", 8);
    assert_eq!(leader().as_deref(), Some(HOME), "Patroni's lease runs on");
    end_the_lease();
    assert_eq!(another_leads(), "eu-2");
    scene.take("eu-2", &["eu-2"], &US);
    for member in US {
        tag(member, "nofailover", None);
    }
    home.docker("start");
    eventually("eu-1 is a replica", 60, || {
        let leader = is_healthy(&EU)?;
        is(leader == "eu-2", leader)
    });
    scene.follows("eu-2");
    scene.in_sync();
    scene.finish();
}

/// The whole host freezes: connections to it neither work nor fail.
fn frozen_primary(heir: &str, until_it_is_over: fn()) {
    let scene = Scene::set();
    let others: Vec<_> = ["eu-2", "us-1", "us-2"].into_iter().filter(|m| *m != heir).collect();
    for member in &others {
        tag(member, "nofailover", Some("true"));
    }
    let home = Container::of(HOME);
    home.docker("pause");
    until_it_is_over();
    assert_eq!(another_leads(), heir);
    scene.take(heir, &["eu-2"], &US);
    home.docker("unpause");
    for member in others {
        tag(member, "nofailover", None);
    }
    // An old Patroni may take the key back when it thaws, and with it the timeline of before.
    let leader = eventually("a healthy cluster", 60, || is_healthy(&MEMBERS));
    if leader == HOME {
        accept_the_old_timeline(&scene);
    }
    scene.follows(&leader);
    scene.finish();
}

/// What the heir wrote is lost. An agent that saw the heir's timeline says so and waits for a word.
fn accept_the_old_timeline(scene: &Scene) {
    println!("  Patroni gave the leadership back to the member that had been frozen");
    for pgpool in [&scene.eu, &scene.us] {
        eventually("it holds, or has seen no other timeline", 20, || {
            let log = pgpool.log(200);
            let holds = log.contains("timeline went back");
            is(holds || pgpool.is_in_sync().is_ok(), log)
        });
        pgpool.reload_agent();
    }
}

#[test]
#[ignore = "needs the stack"]
fn the_primary_freezes_and_a_local_member_takes_over() {
    frozen_primary("eu-2", || {}); // the lease runs out by itself
}

#[test]
#[ignore = "needs the stack"]
fn the_primary_freezes_and_the_other_location_takes_over() {
    frozen_primary("us-1", end_the_lease);
}

/// pgpool's main process must not wait for the frozen one while another replica joins.
#[test]
#[ignore = "needs the stack"]
fn a_replica_freezes_while_another_joins() {
    let scene = Scene::set();
    let frozen = Container::of("eu-2");
    frozen.docker("pause");
    tag("us-2", "location", Some("eu"));
    scene.eu.takes(HOME, &["eu-1", "us-2"]);
    frozen.docker("unpause");
    scene.eu.takes(HOME, &["eu-1", "eu-2", "us-2"]);
    tag("us-2", "location", Some("us"));
    scene.follows(HOME);
    scene.finish();
}
