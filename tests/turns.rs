//! Taking turns in a watchdog cluster, in paused time: the loop beside a pgpool that does not lead.

mod support;

use std::time::Duration;

use geo_agent::model::pool::Watchdog;
use geo_agent::model::reach::Answer;
use geo_agent::seams::PoolRequest::{Attach, Promote};
use tokio::time::{Instant, sleep};

use support::lab::Lab;
use support::world::{World, home, slot, world};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// eu-1 leads and eu-2 reads; of this watchdog's pgpools the first is the one here.
fn beside(nodes: &[(&str, &str)]) -> World {
    let mut it = world().leader("eu-1").replica("eu-2").primary("eu-1").up("eu-2", 1.0);
    it.pool.watchdog = Some(watchdog(nodes));
    it
}

fn watchdog(nodes: &[(&str, &str)]) -> Watchdog {
    let leader = nodes.iter().find(|(_, state)| *state == "LEADER");
    Watchdog {
        nodes: nodes.iter().map(|(n, s)| ((*n).to_owned(), (*s).to_owned())).collect(),
        leader: leader.map(|(name, _)| (*name).to_owned()),
        quorum: true,
    }
}

const SECOND: [(&str, &str); 3] = [("wd-2", "STANDBY"), ("wd-1", "LEADER"), ("wd-3", "STANDBY")];
const THIRD: [(&str, &str); 3] = [("wd-3", "STANDBY"), ("wd-1", "LEADER"), ("wd-2", "STANDBY")];
const ELECTED: [(&str, &str); 3] = [("wd-2", "LEADER"), ("wd-1", "LOST"), ("wd-3", "STANDBY")];

async fn with_an_agent(it: &World, story: impl AsyncFnOnce(&Lab)) {
    let lab = Lab::of(it);
    let local = tokio::task::LocalSet::new();
    let play = async {
        let agent = tokio::task::spawn_local(lab.agent().run(|_| {}));
        sleep(ms(100)).await;
        story(&lab).await;
        agent.abort();
    };
    local.run_until(play).await;
}

/// A word to the others is a promise to keep pace with them: an observer gives none.
#[tokio::test(start_paused = true)]
async fn an_observer_tells_the_others_nothing_and_leaves_its_turn() {
    for observes in [false, true] {
        let lab = Lab::of(&beside(&SECOND));
        lab.becomes(&beside(&SECOND).leads_now("eu-2"));
        let mut looks = 0;
        let agent = geo_agent::reconcile::Reconciler { observes, ..lab.agent() };
        let run = agent.run(|_| looks += 1);
        let _ = tokio::time::timeout(ms(60_000), run).await;
        let acts = !lab.state().requests().is_empty();
        assert_eq!((lab.told.borrow().is_some(), acts), (!observes, !observes));
        assert!(looks < 30, "{looks} looks in a minute");
    }
}

/// When the first request came, and all of them.
fn sent(lab: &Lab, since: Instant) -> (Option<Duration>, Vec<geo_agent::seams::PoolRequest>) {
    let state = lab.state();
    (state.received.first().map(|(when, _)| *when - since), state.requests())
}

#[tokio::test(start_paused = true)]
async fn each_standby_steps_in_after_its_own_time_and_finishes_the_work() {
    for (nodes, turn) in [(SECOND, ms(1_500)), (THIRD, ms(3_000))] {
        with_an_agent(&beside(&nodes), async |lab| {
            let before = Instant::now();
            lab.becomes(&beside(&nodes).leads_now("eu-2"));
            sleep(turn + ms(300)).await;
            let (first, requests) = sent(lab, before);
            assert_eq!(requests, [Promote(slot(1)), Attach(slot(0))]);
            assert!((turn..turn + ms(20)).contains(&first.unwrap()), "{first:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_leaders_agent_does_is_not_done_twice() {
    with_an_agent(&beside(&SECOND), async |lab| {
        lab.becomes(&beside(&SECOND).leads_now("eu-2").answers("eu-2", Answer::ReadOnly));
        sleep(ms(300)).await;
        lab.state().pool.request(Promote(slot(1))).unwrap();
        lab.state().pool.settle();
        sleep(ms(4_000)).await;
        assert_eq!(lab.state().requests(), []);
        // The new leader takes writes: the attach has its own time from here on.
        let before = Instant::now();
        lab.answers(&home("eu-2"), Answer::Writable);
        sleep(ms(2_500)).await;
        let (first, requests) = sent(lab, before);
        assert_eq!(requests, [Attach(slot(0))]);
        assert!((ms(1_500)..ms(2_200)).contains(&first.unwrap()), "{first:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whoever_the_watchdog_elects_acts_at_its_next_look() {
    with_an_agent(&beside(&THIRD), async |lab| {
        lab.becomes(&beside(&THIRD).leads_now("eu-2"));
        sleep(ms(500)).await;
        assert_eq!(lab.state().requests(), []);
        lab.state().pool.watchdog = Some(watchdog(&ELECTED));
        let mut news = beside(&THIRD).leads_now("eu-2");
        news.view().revision += 1;
        lab.becomes(&news);
        sleep(ms(300)).await;
        assert_eq!(lab.state().requests(), [Promote(slot(1)), Attach(slot(0))]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_nobody_leads_nothing_is_sent_and_the_election_is_not_slept_through() {
    with_an_agent(&beside(&SECOND), async |lab| {
        lab.state().pool.watchdog = Some(watchdog(&[("wd-2", "STANDBY"), ("wd-1", "LOST")]));
        lab.becomes(&beside(&SECOND).leads_now("eu-2"));
        sleep(ms(20_000)).await;
        assert_eq!(lab.state().requests(), []);
        let looks = lab.state().looks;
        assert!(looks < 100, "{looks} looks in 20 s");
        let before = Instant::now();
        lab.state().pool.watchdog = Some(watchdog(&THIRD));
        sleep(ms(1_000)).await;
        let (first, requests) = sent(lab, before);
        assert_eq!(requests, [Promote(slot(1)), Attach(slot(0))]);
        assert!(first.unwrap() <= ms(520), "{first:?}");
    })
    .await;
}

/// Its own etcd is silent: another agent has moved the primary to where writes work.
#[tokio::test(start_paused = true)]
async fn a_standby_with_an_old_word_does_not_take_writes_from_where_they_work() {
    with_an_agent(&beside(&SECOND), async |lab| {
        sleep(ms(5_000)).await;
        lab.answers(&home("eu-1"), Answer::ReadOnly);
        lab.answers(&home("eu-2"), Answer::Writable);
        lab.state().pool.primary = Some(1);
        let before = lab.state().looks;
        sleep(ms(12_000)).await;
        assert_eq!(lab.state().requests(), []);
        let looks = lab.state().looks - before;
        assert!(looks < 30, "{looks} looks in 12 s");
    })
    .await;
}

/// The agent beside the leader has other settings, and detaches what this one attaches.
#[tokio::test(start_paused = true)]
async fn two_agents_that_want_different_things_do_not_fight_for_long() {
    with_an_agent(&beside(&SECOND), async |lab| {
        for _ in 0..36_000 {
            lab.state().pool.set_status(1, 3);
            sleep(ms(100)).await;
        }
        let fights = lab.state().requests().len();
        assert!((5..=25).contains(&fights), "{fights} attaches in an hour");
    })
    .await;
}
