//! The judge of plans must be able to find fault: each good plan here is spoilt in one way, and the
//! judge has to name it.

mod support;

use std::time::Duration;

use geo_agent::model::plan::{Act, Disruption, Plan, Step};
use geo_agent::model::policy::OnPrimaryLoss;
use geo_agent::model::pool::Watchdog;
use geo_agent::model::reach::{Answer, Loss};
use geo_agent::plan::check;

use support::world::{Asking, World, home, slot, world};

fn step(act: Act) -> Step {
    let reason = "because a test says so".to_owned();
    Step { act, member: None, reason, disruption: Disruption::None, sessions: None }
}

#[track_caller]
fn finds(fault: &str, world: &World, steps: impl IntoIterator<Item = Act>) {
    let plan = Plan { steps: steps.into_iter().map(step).collect(), ..world.plan() };
    let faults = check::faults(&world.inputs(), &plan);
    assert!(faults.iter().any(|f| f.contains(fault)), "{fault:?} is not in {faults:?}");
}

#[track_caller]
fn finds_nothing(world: &World, steps: impl IntoIterator<Item = Act>) {
    let plan = Plan { steps: steps.into_iter().map(step).collect(), ..world.plan() };
    assert_eq!(check::faults(&world.inputs(), &plan), Vec::<String>::new());
}

/// eu-1 leads, eu-2 reads, us-1 is detached; every server has been asked.
fn usual() -> World {
    let it = world().leader("eu-1").replica("eu-2").replica("us-1");
    let it = it.primary("eu-1").up("eu-2", 1.0).down("us-1");
    World { asking: Asking::Everybody, ..it }
}

fn silent(name: &str, world: World) -> World {
    world.answers(name, Answer::Hung("no answer within 1 s".to_owned()))
}

#[test]
fn a_good_plan_is_not_complained_of() {
    finds_nothing(&usual(), [Act::Attach(slot(2)), Act::Detach(slot(1))]);
    finds_nothing(&usual().leads_now("eu-2"), [Act::Promote(slot(1)), Act::Attach(slot(0))]);
    finds_nothing(&usual().leads_now("us-1"), [Act::Attach(slot(2)), Act::Detach(slot(0))]);
    finds_nothing(&silent("eu-2", usual()), [Act::Detach(slot(1)), Act::Attach(slot(2))]);
}

#[test]
fn steps_without_knowledge_are_found() {
    let mut blind = usual();
    blind.view().leader = None;
    finds("while nobody is known to lead", &blind, [Act::Detach(slot(1))]);
    finds("might take slot 0 for its primary", &blind, [Act::Attach(slot(2))]);
    finds("does not hold the leader key", &blind, [Act::Promote(slot(1))]);
    blind.cluster = Err("etcd does not answer".to_owned());
    finds("without a known cluster", &blind, [Act::Reload]);
}

#[test]
fn a_detach_of_a_member_that_vanished_with_most_is_found() {
    let mut it = usual();
    it.past.see(it.cluster.as_ref().unwrap(), Duration::ZERO);
    it.view().members.retain(|name, _| name.as_raw() == "eu-1");
    it.past.see(it.cluster.as_ref().unwrap(), Duration::ZERO);
    finds("vanished with most others", &it, [Act::Detach(slot(1))]);
    let dead = it.clone().answers("eu-2", Answer::Dead("connection refused".to_owned()));
    finds_nothing(&dead, [Act::Detach(slot(1))]);
    it.asking = Asking::Never;
    finds("vanished with most others", &it, [Act::Detach(slot(1))]);
}

#[test]
fn a_stand_in_needs_a_lost_primary_and_an_answer() {
    let gone = |w: World| w.answers("eu-1", Answer::Dead("connection refused".to_owned()));
    let lost = |w: World| {
        let why = "connection refused".to_owned();
        World { lost: Some(Loss { server: home("eu-1"), why }), ..gone(w) }
    };
    finds("does not hold the leader key", &gone(usual()), [Act::Promote(slot(1))]);
    finds_nothing(&lost(usual()), [Act::Promote(slot(1))]);
    finds("does not hold the leader key", &silent("eu-2", lost(usual())), [Act::Promote(slot(1))]);
    let mut wait = lost(usual());
    wait.policy.on_primary_loss = OnPrimaryLoss::Wait;
    finds("does not hold the leader key", &wait, [Act::Promote(slot(1))]);
    let mut leaderless = gone(usual());
    leaderless.view().leader = None;
    finds_nothing(&leaderless, [Act::Promote(slot(1))]);
}

#[test]
fn a_wrong_promote_is_found() {
    finds("does not hold the leader key", &usual(), [Act::Promote(slot(1))]);
    finds("which is detached", &usual().leads_now("us-1"), [Act::Promote(slot(2))]);
    finds("primary already", &usual(), [Act::Promote(slot(0))]);
}

#[test]
fn a_change_out_of_turn_is_found() {
    let mut it = usual();
    let nodes = [("wd-2", "STANDBY"), ("wd-1", "LEADER")];
    let nodes = nodes.map(|(n, s)| (n.to_owned(), s.to_owned())).to_vec();
    it.pool.watchdog = Some(Watchdog { nodes, leader: Some("wd-1".to_owned()), quorum: true });
    finds("the turn of another agent", &it, [Act::Attach(slot(2))]);
    finds_nothing(&it, [Act::Reload]);
    it.undone.lasts = Duration::from_millis(1500);
    finds_nothing(&it, [Act::Attach(slot(2))]);
}

#[test]
fn a_wrong_detach_is_found() {
    finds("detaches pgpool's primary", &usual(), [Act::Detach(slot(0))]);
    finds("not attached", &usual(), [Act::Detach(slot(2))]);
    let mut standby = usual();
    standby.view().standby_cluster = true;
    finds("last attached", &standby, [Act::Detach(slot(0)), Act::Detach(slot(1))]);
    let dark = silent("eu-1", silent("eu-2", usual().leads_now("us-1")));
    finds("would log in to slot 1", &dark, [Act::Detach(slot(0)), Act::Detach(slot(1))]);
}

#[test]
fn a_wrong_attach_is_found() {
    let unasked = World { asking: Asking::Never, ..usual() };
    finds("has not answered", &unasked, [Act::Attach(slot(2))]);
    finds("would log in to slot 1", &silent("eu-2", usual()), [Act::Attach(slot(2))]);
    finds("would log in to slot 2", &silent("us-1", usual()), [Act::Attach(slot(2))]);
    finds("no server", &usual(), [Act::Attach(slot(5))]);
    let early = usual().leads_now("us-1").answers("us-1", Answer::ReadOnly);
    finds("attaches too early", &early, [Act::Attach(slot(2))]);
    let elsewhere = usual().replica("eu-3").down("eu-3").leads_now("us-1");
    finds("while the leader is detached", &elsewhere, [Act::Attach(slot(3))]);
    let two = usual().answers("eu-2", Answer::Writable);
    finds("might take slot 1", &two, [Act::Attach(slot(2))]);
    finds("might take slot 2", &usual().answers("us-1", Answer::Writable), [Act::Attach(slot(2))]);
}

#[test]
fn a_wrong_table_is_found() {
    let world = usual();
    let good = world.file.clone().expect("a table");
    let with = |change: fn(&mut geo_agent::model::slots::SlotTable)| {
        let mut table = good.clone();
        change(&mut table);
        table
    };
    let moved = with(|t| t.entries.values_mut().for_each(|e| e.port = 1));
    finds("changes its address", &world, [Act::WriteConf(moved)]);
    let dropped = with(|t| drop(t.entries.remove(&slot(2))));
    finds("changes its address", &world, [Act::WriteConf(dropped)]);
    let twice = with(|t| {
        let copy = t.entries[&slot(0)].clone();
        t.entries.insert(slot(3), copy);
    });
    finds("that another slot has", &world, [Act::WriteConf(twice)]);
    let readless = with(|t| t.entries.values_mut().for_each(|e| e.weight = 0.0));
    finds("weight 0", &world, [Act::WriteConf(readless.clone()), Act::Reload]);
    finds_nothing(&world, [Act::WriteConf(readless)]);
    let lost = World { file: Err("no table".to_owned()), ..world };
    finds("could not be read", &lost, [Act::WriteConf(good)]);
}

#[test]
fn a_promote_of_a_slot_without_reads_is_found() {
    let world = world().leader("eu-2").replica("eu-1").primary("eu-1").up("eu-2", 0.0);
    finds("weight 0", &world, [Act::Promote(slot(1))]);
}
