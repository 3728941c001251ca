//! The loop, in paused time: what it does when things go wrong, and how often it looks.

mod support;

use std::time::Duration;

use geo_agent::model::reach::Answer;
use geo_agent::seams::PoolRequest::{self, Attach, Detach, Promote, Reload};

use support::lab::Lab;
use support::world::{World, home, slot, world};

/// eu-1 leads, eu-2 reads, us-1 is far away.
fn settled() -> World {
    world()
        .leader("eu-1")
        .replica("eu-2")
        .replica("us-1")
        .primary("eu-1")
        .up("eu-2", 1.0)
        .with_far()
}

trait Far {
    fn with_far(self) -> World;
}

impl Far for World {
    fn with_far(self) -> World {
        self.down("us-1")
    }
}

fn at(n: usize, request: fn(geo_agent::model::ids::SlotIndex) -> PoolRequest) -> PoolRequest {
    request(slot(n))
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn in_background(lab: &Lab) -> tokio::task::JoinHandle<()> {
    let agent = lab.agent();
    let task = tokio::task::spawn_local(agent.run(|_| {}));
    tokio::time::sleep(ms(100)).await;
    task
}

/// Plays a story beside an agent.
async fn beside_an_agent(lab: &Lab, story: impl AsyncFnOnce(&Lab)) {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let agent = in_background(lab).await;
            story(lab).await;
            agent.abort();
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_world_at_rest_is_looked_at_every_five_seconds_and_left_alone() {
    let lab = Lab::of(&settled());
    lab.run_for(Duration::from_secs(60)).await;
    let state = lab.state();
    assert_eq!(state.requests(), []);
    assert_eq!(state.writes, 0);
    assert!((12..=13).contains(&state.looks), "{}", state.looks);
}

#[tokio::test(start_paused = true)]
async fn a_promote_goes_out_before_anybody_is_asked() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        let before = tokio::time::Instant::now();
        lab.becomes(&settled().leads_now("eu-2"));
        tokio::time::sleep(ms(500)).await;
        let state = lab.state();
        assert_eq!(state.requests(), [at(1, Promote), at(0, Attach)]);
        assert_eq!(state.received[0].0 - before, Duration::ZERO);
        assert!(state.asked.iter().all(|(when, _)| *when > before || *when >= state.received[0].0));
        assert_eq!((state.pool.primary, state.pool.attached()), (Some(1), vec![0, 1]));
    })
    .await;
}

/// Another agent of a watchdog cluster has moved the primary, by a word of etcd that has not come
/// here yet.
#[tokio::test(start_paused = true)]
async fn a_leader_key_that_is_no_news_does_not_take_the_writes_from_where_they_work() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.answers(&home("eu-1"), Answer::ReadOnly);
        lab.answers(&home("eu-2"), Answer::Writable);
        lab.state().pool.primary = Some(1);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(lab.state().requests(), []);
        lab.becomes(&settled().leads_now("eu-2"));
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(lab.state().requests(), []);
        assert_eq!(lab.state().pool.primary, Some(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_goes_out_once_it_has_answered_itself() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        let looks = lab.state().looks;
        lab.dies(&home("eu-1"));
        tokio::time::sleep(ms(3)).await;
        let state = lab.state();
        assert_eq!(state.requests(), [at(1, Promote)]);
        // Before it the stand-in alone; after it eu-1 as well, to come back.
        let asked: Vec<_> = state.asked.iter().rev().map(|(_, whom)| whom.clone()).collect();
        assert_eq!(asked[..2], [[home("eu-1"), home("eu-2")].into(), [home("eu-2")].into()]);
        assert_eq!(state.looks, looks + 3, "before it, for its effect, and after it");
        assert_eq!(state.woken, 1, "who sleeps through a promote is woken");
    })
    .await;
    assert_eq!(lab.state().pool.attached(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_was_restarted_in_place_comes_back() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.dies(&home("eu-1"));
        tokio::time::sleep(ms(700)).await;
        assert_eq!(lab.watched.borrow().as_ref(), Some(&home("eu-2")), "the stand-in is watched");
        lab.lost.send_replace(None);
        lab.answers(&home("eu-1"), Answer::Writable);
        tokio::time::sleep(ms(300)).await;
        let state = lab.state();
        assert_eq!(state.requests(), [at(1, Promote), at(0, Attach)]);
        assert_eq!((state.pool.primary, state.pool.attached()), (Some(0), vec![0, 1]));
    })
    .await;
}

/// A look that asks a silent server takes its timeout; a new leader does not wait for that.
#[tokio::test(start_paused = true)]
async fn a_new_leader_interrupts_a_look() {
    let nobody = settled().answers("eu-1", Answer::Hung("no answer".to_owned()));
    let mut nobody = nobody.replica("eu-3").up("eu-3", 1.0);
    nobody.view().leader = None;
    let lab = Lab::of(&nobody);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            tokio::task::spawn_local(lab.agent().run(|_| {}));
            tokio::time::sleep(ms(500)).await;
            assert_eq!(lab.state().requests(), [], "the look goes on");
            let before = tokio::time::Instant::now();
            lab.becomes(&nobody.clone().leads_now("eu-2"));
            tokio::time::sleep(ms(300)).await;
            let (when, first) = lab.state().received[0];
            assert_eq!(first, at(1, Promote));
            assert_eq!(when - before, Duration::ZERO);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_detached_leader_is_attached_the_moment_it_is_writable() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&settled().leads_now("us-1").answers("us-1", Answer::ReadOnly));
        tokio::time::sleep(ms(2_000)).await;
        assert_eq!(lab.state().requests(), []);
        let asked = lab.state().asked.len();
        assert!((100..=300).contains(&asked), "asked {asked} times in 2 s");
        lab.answers(&home("us-1"), Answer::Writable);
        tokio::time::sleep(ms(300)).await;
        assert_eq!(lab.state().requests()[0], at(2, Attach));
        assert_eq!(lab.state().pool.primary, Some(2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stays_in_recovery_is_asked_less_and_less() {
    let lab = Lab::of(&settled().leads_now("us-1").answers("us-1", Answer::ReadOnly));
    lab.run_for(Duration::from_secs(600)).await;
    let asked = lab.state().asked.len();
    assert!(asked < 1_000, "asked {asked} times in 10 minutes");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_sql_cannot_judge_is_not_asked_in_a_hurry() {
    let why = || Answer::Alive("password authentication failed".to_owned());
    let hung = Answer::Hung("no answer".to_owned());
    let it = settled().replica("eu-3").down("eu-3").answers("eu-3", hung).answers("eu-1", why());
    let lab = Lab::of(&it);
    lab.run_for(Duration::from_secs(60)).await;
    assert!(lab.state().asked.len() <= 13, "{}", lab.state().asked.len());
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_events_is_few_looks() {
    let lab = Lab::of(&settled());
    lab.state().pool.delay = ms(1_000);
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&settled().leads_now("eu-2"));
        tokio::time::sleep(ms(100)).await;
        let looks = lab.state().looks;
        for n in 0..100 {
            let mut it = settled().leads_now("eu-2");
            it.view().revision += n;
            lab.becomes(&it);
            tokio::time::sleep(ms(5)).await;
        }
        let busy = lab.state().looks - looks;
        assert!(busy <= 12, "{busy} looks for 100 events while one effect was awaited");
        tokio::time::sleep(ms(5_000)).await;
        assert_eq!(lab.state().requests(), [at(1, Promote), at(0, Attach)]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_changes_behind_its_back_is_put_right_within_the_drift_check() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().pool.set_status(1, 3);
        tokio::time::sleep(ms(5_100)).await;
        assert_eq!(lab.state().pool.attached(), [0, 1]);
        lab.state().edited = true;
        tokio::time::sleep(ms(5_100)).await;
        assert!(!lab.state().edited);
        assert_eq!(lab.state().requests(), [at(1, Attach), Reload]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_word_from_etcd_pgpool_is_left_alone() {
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    lab.etcd_is_lost();
    let rounds = lab.run_for(Duration::from_secs(60)).await;
    assert_eq!(lab.state().requests(), []);
    assert!(rounds.iter().all(|r| r.plan.steps.is_empty() && r.plan.holds.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_plan_is_dropped_when_its_leader_goes() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().losses = 1; // the reload is waited for, in vain
        lab.becomes(&settled().replica("eu-3"));
        tokio::time::sleep(ms(1_000)).await;
        assert_eq!(lab.state().requests(), [Reload]);
        lab.etcd_is_lost();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(lab.state().requests(), [Reload], "nothing without a word from etcd");
        lab.becomes(&settled().replica("eu-3").leads_now("eu-2"));
        tokio::time::sleep(ms(1)).await;
        assert_eq!(lab.state().requests()[1], at(1, Promote));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_without_effect_is_no_success() {
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    lab.state().losses = 1;
    let rounds = lab.run_for(Duration::from_secs(30)).await;
    let failure = rounds[0].failure.as_deref().unwrap_or_default();
    assert!(failure.contains("shows no effect after 8 s"), "{failure}");
    assert_eq!(lab.state().requests(), [at(1, Attach), at(1, Attach)]);
    assert_eq!(lab.state().pool.attached(), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_reload_is_tried_again_at_a_bounded_pace() {
    let lab = Lab::of(&settled());
    lab.state().syntax_error = true;
    lab.becomes(&settled().replica("eu-3"));
    lab.run_for(Duration::from_secs(120)).await;
    let reloads = lab.state().requests().len();
    assert!((8..=20).contains(&reloads), "{reloads}");
    assert_eq!(lab.state().writes, 1);
    lab.state().syntax_error = false;
    lab.run_for(Duration::from_secs(10)).await;
    assert_eq!(lab.state().pool.attached(), [0, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_retried_with_growing_pauses_until_one_is_taken() {
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    lab.state().refusals = 10;
    beside_an_agent(&lab, async |lab| {
        for n in 0..200 {
            let mut it = settled();
            it.view().revision += n; // news in plenty do not hurry it
            lab.becomes(&it);
            tokio::time::sleep(ms(10)).await;
        }
        let early = lab.state().requests().len();
        assert!(early <= 8, "{early} tries in 2 s");
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(lab.state().requests().len(), 11);
        assert_eq!(lab.state().pool.attached(), [0, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_ends_the_pause_after_a_failure() {
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    lab.state().refusals = 9;
    beside_an_agent(&lab, async |lab| {
        tokio::time::sleep(Duration::from_secs(20)).await;
        lab.state().refusals = 0;
        lab.state().pool.set_status(1, 2);
        let before = tokio::time::Instant::now();
        lab.becomes(&settled().leads_now("eu-2"));
        tokio::time::sleep(ms(1)).await;
        let (when, last) = *lab.state().received.last().unwrap();
        assert!(when >= before && last == at(1, Promote));
    })
    .await;
}

/// Somebody else detaches what the agent attaches, for ever.
#[tokio::test(start_paused = true)]
async fn whoever_undoes_its_work_does_not_make_it_spin() {
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    beside_an_agent(&lab, async |lab| {
        for _ in 0..60_000 {
            lab.state().pool.set_status(1, 3);
            tokio::time::sleep(ms(1)).await;
        }
        let tries = lab.state().requests().len();
        assert!((8..=40).contains(&tries), "{tries} attaches in 60 s");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pgpool_that_comes_back_otherwise_is_put_right_within_a_second() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        lab.state().away = true;
        tokio::time::sleep(Duration::from_secs(20)).await;
        lab.state().away = false;
        lab.state().restart_pgpool(|_| true);
        tokio::time::sleep(ms(1_100)).await;
        assert_eq!(lab.state().requests(), [at(2, Detach)]);
        assert_eq!(lab.state().pool.primary, Some(0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pgpool_that_dies_between_request_and_effect_is_waited_for() {
    let lab = Lab::of(&settled());
    lab.state().pool.delay = ms(1_000);
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&settled().leads_now("eu-2"));
        tokio::time::sleep(ms(50)).await;
        lab.state().away = true;
        tokio::time::sleep(Duration::from_secs(15)).await;
        lab.state().away = false;
        lab.state().restart_pgpool(|s| s < 2);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let state = lab.state();
        assert_eq!((state.pool.primary, state.pool.attached()), (Some(1), vec![0, 1]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_whoever_follows_the_cluster() {
    let lab = Lab::of(&settled());
    let agent = lab.agent();
    let (gone, news) = tokio::sync::watch::channel(lab.word.borrow().clone());
    let agent = geo_agent::reconcile::Reconciler { cluster: news, ..agent };
    drop(gone);
    tokio::time::timeout(ms(10), agent.run(|_| {})).await.expect("it ends");
    assert_eq!(lab.state().looks, 0);
}

#[tokio::test(start_paused = true)]
async fn an_observer_plans_and_sends_nothing() {
    let it = settled().replica("eu-3");
    let lab = Lab::of(&settled());
    lab.state().pool.set_status(1, 3);
    lab.state().edited = true;
    lab.becomes(&it);
    let mut plans = Vec::new();
    let agent = geo_agent::reconcile::Reconciler { observes: true, ..lab.agent() };
    let run = agent.run(|round| plans.push(round.plan.clone()));
    let _ = tokio::time::timeout(Duration::from_secs(60), run).await;
    assert!(plans.iter().all(|p| p.steps.iter().any(|s| s.act.op() == "attach")), "whole plans");
    assert!((12..=16).contains(&plans.len()), "{} looks in a minute", plans.len());
    let state = lab.state();
    assert_eq!((state.requests(), state.writes, state.edited), (vec![], 0, true));
}

#[tokio::test(start_paused = true)]
async fn members_that_vanish_with_most_keep_their_reads_while_they_answer() {
    let lab = Lab::of(&settled());
    beside_an_agent(&lab, async |lab| {
        let mut alone = settled();
        alone.view().members.retain(|name, _| name.as_raw() == "eu-1");
        lab.becomes(&alone);
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(lab.state().requests(), []);
        lab.answers(&home("eu-2"), Answer::Dead("connection refused".to_owned()));
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(lab.state().pool.attached(), [0]);
        lab.becomes(&settled());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(lab.state().pool.attached(), [0, 1], "back, and itself again");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_cluster_under_the_same_keys_is_not_followed() {
    let of_cluster = |id: &str, mut world: World| {
        world.view().system_id = Some(id.to_owned());
        world
    };
    let lab = Lab::of(&of_cluster("7", settled()));
    beside_an_agent(&lab, async |lab| {
        lab.becomes(&of_cluster("8", settled().leads_now("eu-2")));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(lab.state().requests(), []);
        lab.becomes(&of_cluster("7", settled().leads_now("eu-2")));
        tokio::time::sleep(ms(10)).await;
        assert_eq!(lab.state().requests()[0], at(1, Promote));
    })
    .await;
}
