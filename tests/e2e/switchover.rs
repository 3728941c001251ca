//! Another member leads: by an operator's wish.

use super::clients::Writer;
use super::cluster::{MEMBERS, is_healthy, leader, switch_over};
use super::docker::{Suite, eventually, script};
use super::pgpool::steps;
use super::scene::{EU, HOME, Scene, US};

#[test]
#[ignore = "needs the stack"]
fn to_a_local_member_and_back() {
    let scene = Scene::set();
    let writer = Writer::start(scene.eu.ip());
    let done = script(&["switchover", "eu-2"]);
    assert_eq!(done.status, 0, "{}", done.all());
    assert_eq!(leader().as_deref(), Some("eu-2"));
    scene.follows("eu-2");
    scene.in_sync();
    switch_over(HOME);
    scene.follows(HOME);
    let (good, bad) = writer.stop();
    println!("  a writer through both: {good} good, {bad} failed");
    assert!(good > 20, "the writer came through: {good} good, {bad} failed");
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn to_the_other_location_and_back() {
    let scene = Scene::set();
    switch_over("us-1");
    // Remote now: attached for writes, and no read goes there while local replicas serve.
    scene.take("us-1", &EU, &US);
    scene.in_sync();
    switch_over(HOME);
    // Detached again: it would cost each session a far connection.
    scene.follows(HOME);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn the_plan_says_it_first_and_apply_does_it() {
    let scene = Scene::set();
    for agent in [&scene.eu, &scene.us] {
        agent.stop_agent();
    }
    switch_over("eu-2");
    eventually("everybody streams", 30, || is_healthy(&MEMBERS));
    let (code, plan) = scene.eu.plan();
    assert_eq!(code, 2, "{plan:#}");
    assert_eq!(steps(&plan), ["promote eu-2", "attach eu-1"], "{plan:#}");
    assert_eq!((&plan["leader"], &plan["changes"]), (&"eu-2".into(), &true.into()));
    assert_eq!(plan["disruption"], "all");
    assert!(plan["revision"].as_i64() > Some(0));
    for field in ["reason", "disruption", "slot", "op", "member"] {
        assert!(!plan["steps"][0][field].is_null(), "{field}: {plan:#}");
    }
    let row = plan["slots"].as_array().and_then(|r| r.iter().find(|r| r["member"] == "eu-2"));
    let row = row.expect("a row of the new leader");
    assert_eq!((&row["from"]["role"], &row["to"]["role"]), (&"standby".into(), &"primary".into()));
    assert_eq!((&row["local"], &row["port"]), (&true.into(), &5432.into()));
    let (code, status) = scene.eu.status();
    assert_eq!((code, &status["in_sync"]), (2, &false.into()));
    assert_eq!(status["pgpool"]["version"], Suite::get().pgpool);
    let (code, plan) = scene.us.plan();
    assert_eq!(
        (code, steps(&plan)),
        (2, vec!["attach eu-2".into(), "detach eu-1".into()]),
        "{plan:#}"
    );
    for pgpool in [&scene.eu, &scene.us] {
        let applied = pgpool.agent(&["apply"]);
        assert_eq!(applied.status, 0, "{}", applied.all());
    }
    scene.follows("eu-2");
    for pgpool in [&scene.eu, &scene.us] {
        assert_eq!(pgpool.is_in_sync(), Ok(()));
        pgpool.start_agent();
    }
    scene.finish();
}
