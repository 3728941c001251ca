//! What the looks show of time, by clocks that the tests turn.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use geo_agent::history::{History, Now};
use geo_agent::model::cluster::State;
use geo_agent::model::elapsed::{Elapsed, Trial};
use geo_agent::model::ids::{MemberName, SlotIndex};
use geo_agent::model::policy::Tier;
use geo_agent::model::pool::Sessions;

use support::world::{World, slot, world};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A daemon's memory, and the time since its start.
struct Watch {
    history: History,
    start: Instant,
}

impl Watch {
    fn start() -> Self {
        Watch { history: History::default(), start: Instant::now() }
    }

    fn now(&self, at: Duration) -> Now {
        Now { steady: self.start + at, wall: UNIX_EPOCH + s(1_000_000) + at }
    }

    /// What time has to say of the members; whose key is no news has a test of its own.
    fn look(&mut self, at: Duration, world: &World) -> Elapsed {
        let now = self.now(at);
        Elapsed { leader_stays: false, ..self.history.look(&world.inputs(), now) }
    }

    fn leader_stays(&mut self, at: Duration, world: &World) -> bool {
        let now = self.now(at);
        self.history.look(&world.inputs(), now).leader_stays
    }

    fn leave(&mut self, at: Duration, world: &World, slots: &[usize]) -> BTreeSet<SlotIndex> {
        let now = self.now(at);
        let leave = slots.iter().map(|n| slot(*n)).collect();
        self.history.look(&world.inputs(), now);
        self.history.leave(&world.inputs(), &leave, now).draining
    }

    fn next(&self, at: Duration) -> Option<Duration> {
        self.history.next_change(self.start + at)
    }
}

#[test]
fn a_leader_key_is_news_once() {
    let mut it = Watch::start();
    let moved = good().leads_now("eu-2");
    let looks = [good(), good(), moved.clone(), moved].map(|world| it.leader_stays(s(1), &world));
    assert_eq!(looks, [false, true, false, true]);
}

fn good() -> World {
    let cluster = world().leader("eu-1").replica("eu-2").replica("us-1");
    let mut it = cluster.primary("eu-1").up("eu-2", 1.0).down("us-1");
    it.pool.settings = never_detaches();
    it
}

fn never_detaches() -> std::collections::BTreeMap<String, String> {
    let off = ["failover_on_backend_error", "failover_on_backend_shutdown", "detach_false_primary"];
    let off = off.map(|name| (name.to_owned(), "off".to_owned()));
    off.into_iter().chain([("health_check_period0".to_owned(), "0".to_owned())]).collect()
}

fn bad() -> World {
    good().with("eu-2", |m| m.state = State::NotServing("starting".to_owned()))
}

fn trial_of_eu_2(elapsed: &Elapsed) -> Option<Trial> {
    elapsed.unproven.get(&MemberName::new("eu-2")).copied()
}

#[test]
fn who_is_good_at_the_start_has_nothing_to_show() {
    let mut watch = Watch::start();
    assert_eq!(watch.look(s(0), &good()), Elapsed::default());
    assert_eq!(watch.next(s(0)), None);
    let mut unknown_first = Watch::start();
    let mut blind = good();
    blind.cluster = Err("etcd has not been read yet".to_owned());
    unknown_first.look(s(0), &blind);
    assert_eq!(unknown_first.look(s(9), &good()), Elapsed::default());
}

#[test]
fn who_comes_back_or_is_new_has_to_be_good_for_a_while() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    assert_eq!(trial_of_eu_2(&watch.look(s(1), &bad())), None);
    let trial = Trial { lasts: s(2), falls: 1 };
    assert_eq!(trial_of_eu_2(&watch.look(s(10), &good())), Some(trial));
    assert_eq!(watch.next(s(10)), Some(s(2)));
    assert_eq!(trial_of_eu_2(&watch.look(s(11), &good())), Some(trial));
    assert_eq!(watch.look(s(12), &good()), Elapsed::default());
    assert_eq!(watch.next(s(12)), None);
    let elapsed = watch.look(s(20), &good().replica("eu-3"));
    assert_eq!(elapsed.unproven[&MemberName::new("eu-3")], Trial { lasts: s(2), falls: 0 });
}

#[test]
fn each_fall_doubles_what_has_to_be_shown_up_to_a_minute() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    let mut shown = Vec::new();
    for round in 0..8 {
        watch.look(s(100 * round + 1), &bad());
        shown.extend(trial_of_eu_2(&watch.look(s(100 * round + 2), &good())));
    }
    let seconds: Vec<_> = shown.iter().map(|t| t.lasts.as_secs()).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(shown.last().map(|t| t.falls), Some(8));
}

#[test]
fn five_good_minutes_are_a_new_start_and_four_are_not() {
    for (quiet, expected) in [(299, 4), (300, 2)] {
        let mut watch = Watch::start();
        watch.look(s(0), &good());
        watch.look(s(1), &bad());
        watch.look(s(2), &good());
        watch.look(s(2 + quiet), &good());
        watch.look(s(3 + quiet), &bad());
        let trial = trial_of_eu_2(&watch.look(s(4 + quiet), &good()));
        assert_eq!(trial.map(|t| t.lasts), Some(s(expected)), "{quiet}");
    }
}

#[test]
fn a_member_whose_key_is_gone_has_fallen_but_an_empty_listing_says_nothing() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    let mut empty = good();
    empty.view().members.clear();
    watch.look(s(1), &empty);
    assert_eq!(watch.look(s(2), &good()), Elapsed::default());
    let mut gone = good();
    gone.view().members.remove(&MemberName::new("eu-2"));
    watch.look(s(3), &gone);
    assert_eq!(trial_of_eu_2(&watch.look(s(4), &good())).map(|t| t.falls), Some(1));
}

#[test]
fn a_change_of_role_is_no_fall() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    assert_eq!(watch.look(s(1), &good().leads_now("eu-2")), Elapsed::default());
    assert_eq!(watch.look(s(2), &good().leads_now("eu-1")), Elapsed::default());
}

#[test]
fn attach_after_0_waits_for_nobody() {
    let mut watch = Watch::start();
    let world = |mut it: World| {
        it.policy.patience.attach_after = s(0);
        it
    };
    watch.look(s(0), &world(good()));
    for n in 1..6 {
        watch.look(s(2 * n), &world(bad()));
        assert_eq!(watch.look(s(2 * n + 1), &world(good())), Elapsed::default());
    }
}

fn with_sessions(total: u32, reading: Option<&[(usize, u32)]>) -> World {
    let mut it = good();
    let reading = reading.map(|r| r.iter().map(|(n, count)| (slot(*n), *count)).collect());
    it.pool.sessions = Some(Sessions { total, reading });
    it
}

#[test]
fn a_slot_drains_while_somebody_reads_there_and_30_s_at_most() {
    let mut watch = Watch::start();
    let read = with_sessions(9, Some(&[(0, 5), (1, 4)]));
    assert_eq!(watch.leave(s(0), &read, &[1]), [slot(1)].into());
    assert_eq!(watch.next(s(0)), Some(s(1)), "pgpool does not tell when the last one has gone");
    assert_eq!(watch.leave(s(29), &read, &[1]), [slot(1)].into());
    assert_eq!(watch.leave(s(30), &read, &[1]), [].into());
    assert_eq!(watch.leave(s(31), &read, &[]), [].into());
    assert_eq!(watch.leave(s(40), &read, &[1]), [slot(1)].into(), "another departure");
    assert_eq!(watch.leave(s(41), &with_sessions(5, Some(&[(0, 5)])), &[1]), [].into());
}

#[test]
fn before_4_5_any_session_may_read_from_a_slot_that_got_reads() {
    let mut watch = Watch::start();
    let somebody = with_sessions(1, None);
    assert_eq!(watch.leave(s(0), &somebody, &[1, 2]), [slot(1)].into(), "us-1 has weight 0");
    assert_eq!(watch.next(s(0)), Some(s(30)), "nothing to count");
    let mut lowered = somebody.clone();
    lowered.file.iter_mut().for_each(|f| f.entries.get_mut(&slot(1)).unwrap().weight = 0.0);
    assert_eq!(watch.leave(s(29), &lowered, &[1]), [slot(1)].into());
    assert_eq!(watch.leave(s(29), &with_sessions(0, None), &[1]), [].into());
    assert_eq!(watch.leave(s(30), &lowered, &[1]), [].into());
    assert_eq!(Watch::start().leave(s(0), &good(), &[1]), [].into(), "nobody could count");
}

#[test]
fn a_drain_timeout_of_0_drains_nobody() {
    let mut at_once = with_sessions(9, Some(&[(1, 9)]));
    at_once.policy.patience.drain_timeout = s(0);
    assert_eq!(Watch::start().leave(s(0), &at_once, &[1]), [].into());
}

#[test]
fn a_scheduled_restart_is_due_a_drain_before_its_time() {
    let mut watch = Watch::start();
    let wall = |at: u64| good().with("eu-2", |m| m.restart_at = Some(1_000_000 + at));
    assert_eq!(watch.look(s(0), &wall(3_600)), Elapsed::default());
    assert_eq!(watch.next(s(0)), Some(s(3_600 - 35)));
    let due = BTreeSet::from([MemberName::new("eu-2")]);
    assert_eq!(watch.look(s(3_565), &wall(3_600)).restart_due, due);
    assert_eq!(watch.look(s(3_700), &wall(3_600)).restart_due, due);
    assert_eq!(
        watch.look(s(3_900), &wall(3_600)),
        Elapsed::default(),
        "nobody keeps that schedule"
    );
    let far = good().with("eu-2", |m| m.restart_at = Some(u64::MAX));
    assert_eq!(watch.look(s(3_901), &far), Elapsed::default());
}

fn without(it: &World, n: usize) -> World {
    let mut it = it.clone();
    let node = it.pool.nodes.get_mut(&slot(n)).unwrap();
    node.status = geo_agent::model::pool::NodeStatus::Down;
    it
}

#[test]
fn a_slot_that_somebody_else_detached_is_his_for_ten_minutes() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    let by_hand = BTreeSet::from([slot(1)]);
    assert_eq!(watch.look(s(5), &without(&good(), 1)).by_hand, by_hand);
    assert_eq!(watch.next(s(5)), Some(s(600)));
    assert_eq!(watch.look(s(604), &without(&good(), 1)).by_hand, by_hand);
    assert_eq!(watch.look(s(605), &without(&good(), 1)).by_hand, [].into());
    watch.look(s(606), &good());
    assert_eq!(watch.look(s(607), &without(&good(), 1)).by_hand, by_hand);
    assert_eq!(watch.look(s(608), &good()).by_hand, [].into(), "attached by hand");
    assert_eq!(watch.look(s(609), &good()).by_hand, [].into());
}

#[test]
fn a_first_session_elsewhere_is_no_restart() {
    let mut watch = Watch::start();
    watch.look(s(0), &good());
    let mut after = without(&good(), 1);
    after.pool.changed.insert(slot(0), after.pool.started + 3);
    assert_eq!(watch.look(s(5), &after).by_hand, BTreeSet::from([slot(1)]));
}

#[test]
fn what_may_not_have_been_a_hand_is_none() {
    let restarted = |mut it: World| {
        it.pool.started += 1;
        it
    };
    let mut primary_moved = without(&good(), 1);
    primary_moved.pool.primary = None;
    let checks = |name: &str, value: &str| {
        let mut it = without(&good(), 1);
        it.pool.settings.insert(name.to_owned(), value.to_owned());
        it
    };
    let mut never_told = without(&good(), 1);
    never_told.pool.settings.clear();
    let mut respects_none = without(&good(), 1);
    respects_none.policy.patience.respect_manual_detach = s(0);
    for (why, after) in [
        ("pgpool was restarted", restarted(without(&good(), 1))),
        ("it has another primary", primary_moved),
        ("nothing else stayed", without(&without(&good(), 1), 0)),
        ("pgpool checks by itself", checks("health_check_period0", "10")),
        ("pgpool fails over by itself", checks("failover_on_backend_error", "on")),
        ("its settings are not known", never_told),
        ("the operator wants it undone", respects_none),
    ] {
        let mut watch = Watch::start();
        watch.look(s(0), &good());
        assert_eq!(watch.look(s(5), &after).by_hand, [].into(), "{why}");
    }
    let mut acted = Watch::start();
    acted.look(s(0), &good());
    acted.history.act();
    assert_eq!(acted.look(s(5), &without(&good(), 1)).by_hand, [].into(), "the agent did it");
    let mut away = Watch::start();
    away.look(s(0), &good());
    let silent = World { pool_seen: Err("connection refused".to_owned()), ..good() };
    away.look(s(1), &silent);
    assert_eq!(away.look(s(5), &without(&good(), 1)).by_hand, [].into(), "pgpool was away");
}

#[test]
fn who_has_just_fallen_is_known_where_farther_tiers_wait_for_it() {
    let tiered = |mut it: World| {
        it.policy.farther = vec![Tier::Any];
        it
    };
    let crashed = |it: World| it.with("eu-2", |m| m.state = State::NotServing("crashed".into()));
    let eu_2 = BTreeSet::from([MemberName::new("eu-2")]);
    let mut watch = Watch::start();
    watch.look(s(0), &tiered(good()));
    assert_eq!(watch.look(s(5), &tiered(crashed(good()))).fell, eu_2);
    assert_eq!(watch.next(s(5)), Some(s(2)), "attach_after");
    assert_eq!(watch.look(s(6), &tiered(crashed(good()))).fell, eu_2);
    assert_eq!(watch.look(s(7), &tiered(crashed(good()))).fell, [].into());
    watch.look(s(8), &tiered(good()));
    assert_eq!(watch.look(s(20), &tiered(crashed(good()))).fell, eu_2, "again");
    assert_eq!(watch.look(s(20), &crashed(good())).fell, [].into(), "nobody asks");
    let mut new = Watch::start();
    assert_eq!(new.look(s(0), &tiered(crashed(good()))).fell, [].into(), "it never served");
}

#[test]
fn the_wall_clock_may_stand_before_1970() {
    let mut history = History::default();
    let now = Now { steady: Instant::now(), wall: SystemTime::UNIX_EPOCH - s(1) };
    let soon = good().with("eu-2", |m| m.restart_at = Some(10));
    assert_eq!(history.look(&soon.inputs(), now).restart_due.len(), 1);
}
