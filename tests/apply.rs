//! The executor alone, in paused time: what it sends, what it waits for, and where it stops. What
//! the loop makes of that is in `reconcile.rs`.

mod support;

use std::time::Duration;

use geo_agent::apply::{Surprise, apply};
use geo_agent::model::plan::{Act, Disruption, Plan, Step};
use geo_agent::model::slots::SlotTable;
use geo_agent::seams::ConfFile;
use geo_agent::seams::PoolRequest::{Attach, Detach, Promote, Reload};
use tokio::time::Instant;

use support::lab::Lab;
use support::lab_keeper::LabKeeper;
use support::world::{World, slot, world};
use support::{Effect, Refusal};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// eu-1 leads, eu-2 reads, eu-3 and us-1 are detached.
fn usual() -> World {
    let it = world().leader("eu-1").replica("eu-2").replica("eu-3").replica("us-1");
    it.primary("eu-1").up("eu-2", 1.0).down("eu-3").down("us-1")
}

/// These steps, with the slots as the planner means them to be in this world.
fn plan_of(world: &World, acts: impl IntoIterator<Item = Act>) -> Plan {
    let step = |act| Step {
        act,
        member: None,
        reason: "because a test says so".to_owned(),
        disruption: Disruption::None,
        sessions: None,
    };
    Plan { steps: acts.into_iter().map(step).collect(), ..world.plan() }
}

async fn carry_out(lab: &Lab, plan: &Plan) -> Result<(), Surprise> {
    let keeper = LabKeeper { lab: lab.clone() };
    apply(&lab.pool(), &lab.file(), &keeper, plan).await
}

#[tokio::test(start_paused = true)]
async fn each_step_is_seen_before_the_next_is_sent() {
    let lab = Lab::of(&usual());
    lab.state().pool.delay = ms(300);
    let acts = [Act::Attach(slot(2)), Act::Detach(slot(1)), Act::Attach(slot(3))];
    let before = Instant::now();
    carry_out(&lab, &plan_of(&usual(), acts)).await.unwrap();
    let state = lab.state();
    assert_eq!(state.requests(), [Attach(slot(2)), Detach(slot(1)), Attach(slot(3))]);
    for (n, (when, request)) in state.received.iter().enumerate() {
        let waited = *when - before;
        assert!(waited >= ms(300) * n as u32, "{request:?} was sent after {waited:?}");
    }
    assert_eq!(state.pool.attached(), [0, 2, 3]);
}

/// pgpool's queue holds ten requests and loses the eleventh without a word.
#[tokio::test(start_paused = true)]
async fn more_attaches_than_the_queue_holds_all_arrive() {
    let mut it = world().leader("eu-1").primary("eu-1");
    let names: Vec<String> = (2..=22).map(|n| format!("eu-{n:02}")).collect();
    for name in &names {
        it = it.replica(name).down(name);
    }
    let lab = Lab::of(&it);
    lab.state().pool.delay = ms(200);
    let attaches = (1..=21).map(|n| Act::Attach(slot(n)));
    carry_out(&lab, &plan_of(&it, attaches)).await.unwrap();
    let state = lab.state();
    assert_eq!(state.pool.attached().len(), 22);
    assert!(!state.pool.effects.iter().any(|e| matches!(e, Effect::Lost(_))));
    let mut batches: Vec<Instant> = state.received.iter().map(|(when, _)| *when).collect();
    batches.dedup();
    assert_eq!(batches.len(), 3, "neighbours travel together");
}

#[tokio::test(start_paused = true)]
async fn a_step_without_effect_stops_what_comes_after_it() {
    let lab = Lab::of(&usual());
    lab.state().losses = 1;
    let before = Instant::now();
    let acts = [Act::Attach(slot(2)), Act::Detach(slot(1))];
    let surprise = carry_out(&lab, &plan_of(&usual(), acts)).await.unwrap_err();
    let said = surprise.to_string();
    assert!(said.starts_with("attach of slot 2 was acknowledged, but shows no effect"), "{said}");
    assert!((8..10).contains(&before.elapsed().as_secs()));
    assert_eq!(lab.state().requests(), [Attach(slot(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_what_comes_after_it_at_once() {
    let lab = Lab::of(&usual());
    lab.state().refusals = 1;
    let before = Instant::now();
    let acts = [Act::Attach(slot(2)), Act::Detach(slot(1))];
    let surprise = carry_out(&lab, &plan_of(&usual(), acts)).await.unwrap_err();
    assert_eq!(surprise.to_string(), "pgpool did not take attach of slot 2");
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(lab.state().requests(), [Attach(slot(2))]);
}

/// Somebody detached the new leader between the look and the promote: that never shows.
#[tokio::test(start_paused = true)]
async fn a_promote_that_cannot_work_any_more_is_not_waited_for() {
    let it = usual().leads_now("eu-2");
    let lab = Lab::of(&it);
    lab.state().pool.set_status(1, 3);
    let before = Instant::now();
    let acts = [Act::Promote(slot(1)), Act::Attach(slot(0))];
    let surprise = carry_out(&lab, &plan_of(&it, acts)).await.unwrap_err();
    assert!(matches!(surprise, Surprise::NoEffect { .. }), "{surprise:?}");
    assert!(before.elapsed() < ms(100));
    assert_eq!(lab.state().requests(), [Promote(slot(1))]);
}

/// pgpool searches its primary at an attach, and found nobody: the slot is up, the plan is not.
#[tokio::test(start_paused = true)]
async fn an_attach_after_which_pgpool_has_no_primary_is_no_success() {
    let it = usual();
    let lab = Lab::of(&it);
    lab.state().pool.writable.clear();
    let acts = [Act::Attach(slot(2)), Act::Detach(slot(1))];
    let surprise = carry_out(&lab, &plan_of(&it, acts)).await.unwrap_err();
    assert!(matches!(surprise, Surprise::NoEffect { .. }), "{surprise:?}");
    let state = lab.state();
    assert_eq!((state.pool.attached(), state.pool.primary), (vec![0, 1, 2], None));
    assert_eq!(state.requests(), [Attach(slot(2))]);
}

#[tokio::test(start_paused = true)]
async fn looks_that_fail_for_a_while_do_not_end_the_wait() {
    let lab = Lab::of(&usual());
    lab.state().pool.delay = ms(100);
    let there_again = lab.clone();
    let local = tokio::task::LocalSet::new();
    let plan = plan_of(&usual(), [Act::Attach(slot(2)), Act::Detach(slot(1))]);
    local.spawn_local(async move {
        tokio::time::sleep(ms(50)).await;
        there_again.state().away = true;
        tokio::time::sleep(ms(3_000)).await;
        there_again.state().away = false;
    });
    local.run_until(carry_out(&lab, &plan)).await.unwrap();
    assert_eq!(lab.state().pool.attached(), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_pgpool_that_goes_away_in_the_middle_gets_no_further_step() {
    let lab = Lab::of(&usual());
    lab.state().pool.delay = ms(100);
    let gone = lab.clone();
    let local = tokio::task::LocalSet::new();
    local.spawn_local(async move {
        tokio::time::sleep(ms(50)).await;
        gone.state().away = true;
    });
    let plan = plan_of(&usual(), [Act::Attach(slot(2)), Act::Detach(slot(1))]);
    let surprise = local.run_until(carry_out(&lab, &plan)).await.unwrap_err();
    assert!(matches!(surprise, Surprise::Refused { .. }), "{surprise:?}");
    assert_eq!(lab.state().requests(), [Attach(slot(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_counts_when_pgpool_runs_with_what_was_written() {
    let it = usual();
    let mut table = it.file.clone().unwrap();
    table.entries.get_mut(&slot(1)).expect("a slot").weight = 3.0;
    let acts = || [Act::WriteConf(table.clone()), Act::Reload, Act::Attach(slot(2))];
    let lab = Lab::of(&it);
    carry_out(&lab, &plan_of(&it, acts())).await.unwrap();
    assert_eq!(lab.state().pool.slots[1].weight, 3.0);

    let lab = Lab::of(&it);
    lab.state().syntax_error = true;
    let surprise = carry_out(&lab, &plan_of(&it, acts())).await.unwrap_err();
    assert!(surprise.to_string().contains("one line of it has a syntax error"), "{surprise}");
    assert_eq!(lab.state().requests(), [Reload]);
}

/// A disk that is full.
struct NoRoom;

impl ConfFile for NoRoom {
    type Error = Refusal;

    async fn read(&self) -> Result<Result<SlotTable, String>, Refusal> {
        Ok(Ok(usual().file.unwrap()))
    }

    async fn write(&self, _: &SlotTable) -> Result<(), Refusal> {
        Err(Refusal::error("no space left on device", ""))
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_not_reloaded() {
    let lab = Lab::of(&usual());
    let table = usual().file.unwrap();
    let plan = plan_of(&usual(), [Act::WriteConf(table), Act::Reload, Act::Attach(slot(2))]);
    let keeper = LabKeeper { lab: lab.clone() };
    let surprise = apply(&lab.pool(), &NoRoom, &keeper, &plan).await.unwrap_err();
    assert!(matches!(surprise, Surprise::File(_)), "{surprise:?}");
    assert_eq!(lab.state().requests(), []);
}
