//! The loop and the clock, in paused time: what it waits for, and that it wakes up when that is
//! over, without looking more often than it has to.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use geo_agent::history::History;
use geo_agent::model::cluster::State;
use geo_agent::seams::PoolRequest::{Attach, Detach, Promote, Reload};

use support::lab::Lab;
use support::world::{World, slot, world};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// eu-1 leads, eu-2 and eu-3 read.
fn settled() -> World {
    let cluster = world().leader("eu-1").replica("eu-2").replica("eu-3");
    cluster.primary("eu-1").up("eu-2", 1.0).up("eu-3", 1.0)
}

fn state(it: World, name: &str, state: &str) -> World {
    it.with(name, |m| m.state = State::NotServing(state.to_owned()))
}

fn noloadbalance(name: &str) -> World {
    settled().with(name, |m| m.noloadbalance = true)
}

/// A pgpool that detaches nobody by itself.
fn lab_of(world: &World) -> Lab {
    let lab = Lab::of(world);
    for name in
        ["failover_on_backend_error", "failover_on_backend_shutdown", "detach_false_primary"]
    {
        lab.state().pool.settings.insert(name.to_owned(), "off".to_owned());
    }
    lab
}

/// Plays a story beside an agent.
async fn beside_an_agent(lab: &Lab, story: impl AsyncFnOnce(&Lab)) {
    let local = tokio::task::LocalSet::new();
    let told = local.run_until(async {
        let agent = lab.agent();
        let task = tokio::task::spawn_local(agent.run(|_| {}));
        sleep(ms(100)).await;
        story(lab).await;
        task.abort();
    });
    told.await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_returns_is_attached_when_it_has_been_good_for_two_seconds() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        let before = Instant::now();
        lab.becomes(&state(settled(), "eu-3", "crashed"));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Detach(slot(2))], "a dead one is never waited for");
        assert_eq!(lab.state().received[0].0, before);
        lab.becomes(&settled());
        let looks = lab.state().looks;
        let good = Instant::now();
        sleep(ms(2_100)).await;
        assert_eq!(lab.state().requests(), [Detach(slot(2)), Attach(slot(2))]);
        let attached = lab.state().received[1].0 - good;
        assert!((s(2)..ms(2_020)).contains(&attached), "attached after {attached:?}");
        let looks = lab.state().looks - looks;
        assert!(looks <= 6, "{looks} looks for one wait");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_flaps_is_attached_less_and_less_often() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        for _ in 0..60 {
            lab.becomes(&state(settled(), "eu-3", "starting"));
            sleep(s(1)).await;
            lab.becomes(&settled());
            sleep(s(4)).await;
        }
        let attaches = lab.state().requests().iter().filter(|r| **r == Attach(slot(2))).count();
        assert!((1..=2).contains(&attaches), "{attaches} attaches in five minutes");
        sleep(s(60)).await;
        assert_eq!(lab.state().pool.attached(), [0, 1, 2], "a minute is always enough");
    })
    .await;
}

/// A promote detaches everybody: the others come back in one batch, and do not wait for the old
/// primary, which restarts.
#[tokio::test(start_paused = true)]
async fn a_switchover_delays_nobody_but_the_old_primary() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        let moved = settled().leads_now("eu-2");
        let before = Instant::now();
        lab.becomes(&state(moved.clone(), "eu-1", "stopping"));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Promote(slot(1)), Attach(slot(2))]);
        assert!(lab.state().received[1].0 - before < ms(10));
        lab.becomes(&state(moved.clone(), "eu-1", "starting"));
        sleep(s(1)).await;
        lab.becomes(&moved);
        sleep(ms(2_100)).await;
        assert_eq!(lab.state().requests()[2..], [Attach(slot(0))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_is_attached_however_new_it_is() {
    let far = || settled().replica("us-1").down("us-1");
    let lab = lab_of(&far());
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&state(far(), "us-1", "starting"));
        sleep(ms(50)).await;
        lab.becomes(&far().leads_now("us-1"));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Attach(slot(3))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn wal_that_moves_within_its_limits_reaches_pgpool_not_at_all() {
    let mut it = settled();
    it.policy.patience.max_lag = Some(16 << 20);
    let lab = lab_of(&it);
    let behind = |mut it: World, leader: u64, lag: u64| {
        it.view().leader_lsn = Some(leader);
        it.with("eu-2", |m| m.replay_lsn = Some(leader - lag))
            .with("eu-3", |m| m.replay_lsn = Some(leader))
    };
    beside_an_agent(&lab, async |lab| {
        for n in 0..100 {
            lab.becomes(&behind(it.clone(), (1 << 30) + (n << 20), (n % 17) << 20));
            sleep(ms(500)).await;
        }
        assert_eq!(lab.state().requests(), []);
        assert_eq!(lab.state().writes, 0);
        lab.becomes(&behind(it.clone(), 1 << 32, 17 << 20));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Reload]);
        for n in 0..100 {
            lab.becomes(&behind(it.clone(), 1 << 33, (9 + n % 20) << 20));
            sleep(ms(500)).await;
        }
        assert_eq!(lab.state().requests(), [Reload], "it swings above the lower limit");
        lab.becomes(&behind(it.clone(), 1 << 34, 8 << 20));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Reload, Reload]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_detached_within_a_second_of_its_last_reader() {
    let lab = lab_of(&settled());
    lab.state().pool.sessions = [(41, 0), (42, 2), (43, 2)].into();
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&noloadbalance("eu-3"));
        sleep(s(10)).await;
        assert_eq!(lab.state().requests(), [Reload], "no new readers");
        assert_eq!(lab.state().file.entries[&slot(2)].weight, 0.0);
        lab.state().pool.sessions.remove(&42);
        sleep(s(2)).await;
        assert_eq!(lab.state().requests(), [Reload]);
        lab.state().pool.sessions.remove(&43);
        sleep(ms(1_010)).await;
        assert_eq!(lab.state().requests(), [Reload, Detach(slot(2))]);
        lab.becomes(&settled());
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests()[2..], [Reload, Attach(slot(2))], "it has not fallen");
        assert_eq!(lab.state().file.entries[&slot(2)].weight, 1.0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn readers_that_stay_are_waited_for_thirty_seconds() {
    let lab = lab_of(&settled());
    lab.state().pool.sessions = [(42, 2)].into();
    beside_an_agent(&lab, async |lab| {
        let before = Instant::now();
        lab.becomes(&noloadbalance("eu-3"));
        sleep(s(31)).await;
        assert_eq!(lab.state().requests(), [Reload, Detach(slot(2))]);
        assert_eq!((lab.state().received[1].0 - before).as_secs(), 30);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_there_or_it_is_dead_so_nothing_is_waited_for() {
    let lab = lab_of(&settled());
    lab.state().pool.sessions = [(41, 0), (42, 1)].into();
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&noloadbalance("eu-3"));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests(), [Reload, Detach(slot(2))]);
        lab.becomes(&state(noloadbalance("eu-3"), "eu-2", "crashed"));
        sleep(ms(50)).await;
        assert_eq!(lab.state().requests()[2..], [Detach(slot(1))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_detach_by_hand_is_left_for_ten_minutes() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().pool.set_status(2, 3);
        sleep(s(599)).await;
        assert_eq!(lab.state().requests(), []);
        sleep(s(7)).await;
        assert_eq!(lab.state().requests(), [Attach(slot(2))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_leaders_slot_is_attached_again_whoever_detached_it() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().pool.set_status(0, 3);
        sleep(ms(5_100)).await;
        assert_eq!(lab.state().requests(), [Attach(slot(0))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_restart_of_pgpool_left_down_is_attached_again() {
    let lab = lab_of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().restart_pgpool(|slot| slot != 2);
        sleep(ms(5_100)).await;
        assert_eq!(lab.state().requests(), [Attach(slot(2))]);
    })
    .await;
}

/// SIGHUP starts the loop anew, with what it knew.
#[tokio::test(start_paused = true)]
async fn another_configuration_forgets_nobodys_hand() {
    let lab = lab_of(&settled());
    let history: Rc<RefCell<History>> = Rc::default();
    let run = async |time| {
        let mut agent = lab.agent();
        agent.observer = agent.observer.remembering(history.clone());
        drop(timeout(time, agent.run(|_| {})).await);
    };
    run(s(1)).await;
    lab.state().pool.set_status(2, 3);
    run(s(60)).await;
    run(s(60)).await;
    assert_eq!(lab.state().requests(), []);
    lab.run_for(s(1)).await;
    assert_eq!(lab.state().requests(), [Attach(slot(2))], "a new agent knows of no hand");
}

/// While nobody leads nothing is detached, and no reader's time runs.
#[tokio::test(start_paused = true)]
async fn a_drain_does_not_begin_while_nobody_leads() {
    let lab = lab_of(&settled());
    lab.state().pool.sessions = [(42, 2)].into();
    beside_an_agent(&lab, async |lab| {
        let mut leaderless = noloadbalance("eu-3");
        leaderless.view().leader = None;
        lab.becomes(&leaderless);
        sleep(s(60)).await;
        assert_eq!(lab.state().requests(), []);
        lab.becomes(&noloadbalance("eu-3"));
        sleep(s(29)).await;
        assert_eq!(lab.state().requests(), [Reload]);
        sleep(s(2)).await;
        assert_eq!(lab.state().requests(), [Reload, Detach(slot(2))]);
    })
    .await;
}
