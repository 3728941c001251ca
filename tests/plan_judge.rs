//! The judge of plans must be able to find fault: each good plan here is spoilt in one way, and the
//! judge has to name it.

mod support;

use std::time::Duration;

use geo_agent::model::orders::Held;
use geo_agent::model::plan::{Act, Disruption, Plan, Step};
use geo_agent::model::policy::{OnPrimaryLoss, Policy, Tier};
use geo_agent::model::pool::Watchdog;
use geo_agent::model::reach::{Answer, Loss};
use geo_agent::model::restart::{Layout, RestartMode};
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

/// eu-1 leads, eu-2 reads, us-1 is detached and as good as local; every server has been asked.
fn usual() -> World {
    let it = world().leader("eu-1").replica("eu-2").replica("us-1");
    let mut it = it.primary("eu-1").up("eu-2", 1.0).down("us-1");
    it.policy.local_backends.insert("us-1".to_owned(), 1.0);
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
fn a_far_attach_beside_a_nearer_reader_is_found() {
    let tiered = |tier: &str, mut w: World| {
        w.policy.local_backends.clear();
        w.policy.farther = vec![Tier::Places(vec![tier.to_owned()]), Tier::Any];
        w
    };
    finds("of tier 1, while slot 0", &tiered("us", usual()), [Act::Attach(slot(2))]);
    let untiered = World { policy: Policy::default(), ..usual() };
    finds("in no tier", &untiered, [Act::Attach(slot(2))]);
    let held = |w: World, name| w.with(name, |m| m.orders.held = Some(Held::default()));
    let alone = held(tiered("us", held(usual(), "eu-1")), "eu-2");
    finds_nothing(&alone, [Act::Attach(slot(2))]);
    let two = World { asking: Asking::Everybody, ..alone.replica("ap-1").down("ap-1") };
    finds("slot 3 of tier 2, while slot 2", &two, attaches_with_reads(&two));
    finds("of tier 2, while slot 0", &tiered("ca", usual()), [Act::Attach(slot(2))]);
}

/// Both far ones get a weight, then the nearer and the farther one are attached.
fn attaches_with_reads(world: &World) -> Vec<Act> {
    let mut table = world.file.clone().expect("a table");
    table.entries.values_mut().for_each(|e| e.weight = 1.0);
    vec![Act::WriteConf(table), Act::Reload, Act::Attach(slot(2)), Act::Attach(slot(3))]
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

/// Three slots: eu-0 has left for good and eu-3 has come; a restart is allowed.
fn full() -> World {
    let it = world().leader("eu-1").replica("eu-2").replica("eu-3");
    let mut it = it.down("eu-0").primary("eu-1").up("eu-2", 1.0);
    it.policy.slots = 3;
    it.policy.restart.mode = RestartMode::Command;
    it.policy.restart.max_per_hour = 1;
    World { asking: Asking::Everybody, ..it }
}

/// The layout that the planner itself wants: eu-1, eu-2, eu-3, all attached.
fn wanted(world: &World) -> Layout {
    match &world.plan().steps[..] {
        [Step { act: Act::Restart(layout), .. }] => layout.clone(),
        other => panic!("no restart, but {other:?}"),
    }
}

/// The wanted restart, with its layout changed before, in a world that is changed after.
#[track_caller]
fn finds_in_restart(fault: &str, layout: fn(&mut Layout), world: fn(World) -> World) {
    let mut spoilt = wanted(&full());
    layout(&mut spoilt);
    finds(fault, &world(full()), [Act::Restart(spoilt)]);
}

#[test]
fn a_restart_against_the_policy_is_found() {
    finds_nothing(&full(), [Act::Restart(wanted(&full()))]);
    let never = |mut w: World| {
        w.policy.restart.mode = RestartMode::Never;
        w
    };
    finds_in_restart("without leave", |_| {}, never);
    let blind = |w| World { file: Err("no table".to_owned()), ..w };
    finds_in_restart("without a file", |_| {}, blind);
    let layout = wanted(&full());
    finds("steps follow a restart", &full(), [Act::Restart(layout), Act::Reload]);
    let watched = |mut w: World| {
        let nodes = vec![("wd-1".to_owned(), "LEADER".to_owned())];
        w.pool.watchdog = Some(Watchdog { nodes, leader: Some("wd-1".to_owned()), quorum: true });
        w
    };
    finds_in_restart("have the old numbers", |_| {}, watched);
    let mut as_it_is = watched(full());
    as_it_is.damage = vec!["the pid file is gone".to_owned()];
    as_it_is.restarts.damage_lasts = true;
    finds_nothing(&as_it_is, [Act::Restart(wanted(&as_it_is))]);
}

#[test]
fn a_restart_with_a_wrong_table_is_found() {
    let gap = |l: &mut Layout| {
        let last = l.table.entries.remove(&slot(2)).expect("a third slot");
        l.table.entries.insert(slot(3), last);
    };
    finds_in_restart("has gaps", gap, |w| w);
    let without_eu_2 = |l: &mut Layout| {
        let last = l.table.entries.remove(&slot(2)).expect("a third slot");
        l.table.entries.insert(slot(1), last);
        l.attached.remove(&slot(2));
    };
    let lost = "eu-2.db:5432 is attached and loses its slot";
    finds_in_restart(lost, without_eu_2, |w| w);
    let unreadable = |w: World| w.with("eu-2", |m| m.address = Err("no port".to_owned()));
    finds_in_restart(lost, without_eu_2, unreadable);
    let mut departed = full();
    departed.view().members.retain(|name, _| name.as_raw() != "eu-2");
    let mut layout = wanted(&full());
    without_eu_2(&mut layout);
    finds_nothing(&departed, [Act::Restart(layout)]);
    let readless = |l: &mut Layout| l.table.entries.values_mut().for_each(|e| e.weight = 0.0);
    finds_in_restart("weight 0", readless, |w| w);
}

#[test]
fn a_restart_that_comes_up_wrong_is_found() {
    let as_wanted = |_: &mut Layout| {};
    finds_in_restart("log in to slot 1", as_wanted, |w| silent("eu-2", w));
    finds_in_restart("log in to slot 0", as_wanted, |w| World { asking: Asking::Never, ..w });
    let beyond = |l: &mut Layout| l.attached.extend([slot(7)]);
    finds_in_restart("log in to slot 7", beyond, |w| w);
    let gone = |w: World| w.answers("eu-3", Answer::Dead("connection refused".to_owned()));
    finds_in_restart("slot 2 would come up attached, and nobody", as_wanted, gone);
    let rival = |w: World| w.answers("eu-3", Answer::Writable);
    finds_in_restart("might take slot 2 for its primary", as_wanted, rival);
    let without = |l: &mut Layout| l.attached.retain(|s| *s != slot(0));
    finds_in_restart("without the leader", without, |w| w);
    let leaderless = |mut w: World| {
        w.view().leader = None;
        w.answers("eu-1", Answer::ReadOnly)
    };
    finds_in_restart("without the leader", as_wanted, leaderless);
    let recovers = |w: World| w.answers("eu-1", Answer::ReadOnly);
    finds_in_restart("find no primary: eu-1 is still in recovery", as_wanted, recovers);
}
