//! Restarts with another layout, in paused time: pgpool comes up or does not, and the agent is
//! killed after each of its acts.

mod support;

use std::time::Duration;

use geo_agent::model::reach::{Answer, Loss};
use geo_agent::model::restart::{RestartMode, RestartPolicy};
use geo_agent::restart::forget_failure;

use support::lab::{Lab, State};
use support::lab_keeper::LabKeeper;
use support::world::{World, home, world};

/// Three slots: eu-0 has left for good, and eu-2 has come.
fn full() -> World {
    let mut it = world().leader("eu-1").replica("eu-2").replica("us-1");
    it = it.down("eu-0").primary("eu-1").down("us-1");
    it.policy.slots = 3;
    it.policy.restart =
        RestartPolicy { mode: RestartMode::Command, max_per_hour: 2, ..RestartPolicy::default() };
    it
}

fn a_full_lab() -> Lab {
    with_a_status_file(&full())
}

fn with_a_status_file(it: &World) -> Lab {
    let lab = Lab::of(it);
    lab.state().pool.settings.insert("logdir".to_owned(), "/log".to_owned());
    lab
}

/// Runs an agent for a minute and more; the world becomes this one once pgpool was ended.
async fn becomes_in_the_restart(lab: &Lab, then: &World) {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let agent = tokio::task::spawn_local(lab.agent().run(|_| {}));
            while lab.state().restarting.stops == 0 {
                tokio::time::sleep(Duration::from_micros(1)).await;
            }
            lab.becomes(then);
            tokio::time::sleep(MINUTE).await;
            agent.abort();
        })
        .await;
}

fn in_file(state: &State) -> Vec<String> {
    state.file.entries.values().map(|e| e.host.clone()).collect()
}

fn in_pgpool(state: &State) -> Vec<String> {
    state.pool.slots.iter().map(|s| s.host.clone()).collect()
}

const OLD: [&str; 3] = ["eu-0.db", "eu-1.db", "us-1.db"];
const NEW: [&str; 3] = ["eu-1.db", "us-1.db", "eu-2.db"];

fn is_as_it_should_be(lab: &Lab) -> bool {
    let state = lab.state();
    !state.away
        && in_file(&state) == NEW
        && in_pgpool(&state) == NEW
        && state.pool.attached() == [0, 2]
        && state.pool.primary == Some(0)
        && state.restarting.note.under_way.is_none()
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_full_table_is_numbered_anew_in_one_restart() {
    let lab = a_full_lab();
    let rounds = lab.run_for(MINUTE).await;
    assert!(is_as_it_should_be(&lab));
    let state = lab.state();
    assert_eq!((state.restarting.stops, state.restarting.starts), (1, 1));
    assert_eq!(state.requests(), [], "it came up as it should be");
    assert!(rounds.last().unwrap().plan.holds.is_empty());
    let status = state.restarting.status.as_ref().expect("a status file");
    assert_eq!(status.attached.iter().map(|s| s.get()).collect::<Vec<_>>(), [0, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_gets_its_slot_and_is_not_attached() {
    let refused = Answer::Dead("connection refused".to_owned());
    let lab = with_a_status_file(&full().answers("eu-2", refused));
    lab.run_for(MINUTE).await;
    assert_eq!(in_pgpool(&lab.state()), NEW);
    assert_eq!(lab.state().pool.attached(), [0]);
    lab.answers(&home("eu-2"), Answer::ReadOnly);
    lab.run_for(MINUTE).await;
    assert!(is_as_it_should_be(&lab));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_killed_in_a_restart_is_followed_by_one_who_ends_it() {
    let mut acts = 0;
    for dies_after in 0.. {
        let lab = a_full_lab();
        lab.state().restarting.dies_after = Some(dies_after);
        lab.run_for(MINUTE).await;
        if !lab.state().restarting.is_dead() {
            acts = dies_after;
            assert!(is_as_it_should_be(&lab));
            break;
        }
        lab.state().restarting.dies_after = None;
        let rounds = lab.run_for(MINUTE).await;
        assert!(is_as_it_should_be(&lab), "killed after {dies_after} acts");
        assert!(rounds.last().unwrap().plan.holds.is_empty());
        assert!(lab.state().restarting.stops <= 1, "killed after {dies_after} acts");
    }
    assert!(acts >= 6, "only {acts} acts");
}

/// pgpool does not start with eu-2 in its table.
fn refuses_eu_2(state: &State) -> bool {
    in_file(state).contains(&"eu-2.db".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_pgpool_that_does_not_come_back_gets_its_old_table_again() {
    let lab = a_full_lab();
    lab.state().restarting.cannot_start = Some(refuses_eu_2);
    let rounds = lab.run_for(20 * MINUTE).await;
    let failures: Vec<_> = rounds.iter().filter_map(|r| r.failure.as_deref()).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains("pgpool2.service failed"), "{failures:?}");
    assert!(failures[0].contains("runs with the old slot table again"), "{failures:?}");
    {
        let state = lab.state();
        assert!(!state.away);
        assert_eq!([in_file(&state), in_pgpool(&state)], [OLD, OLD]);
        assert_eq!((state.pool.attached(), state.pool.primary), (vec![1], Some(1)));
    }
    let held = &rounds.last().unwrap().plan.holds;
    assert!(held[0].reason.contains("the last try failed (pgpool2.service failed"), "{held:?}");
    // The operator mends it, and says so by a SIGHUP.
    lab.state().restarting.cannot_start = None;
    lab.run_for(MINUTE).await;
    assert!(!is_as_it_should_be(&lab));
    forget_failure(&LabKeeper { lab: lab.clone() }).unwrap();
    lab.run_for(MINUTE).await;
    assert!(is_as_it_should_be(&lab));
}

#[tokio::test(start_paused = true)]
async fn the_way_back_can_be_broken_off_anywhere_too() {
    for dies_after in 0.. {
        let lab = a_full_lab();
        lab.state().restarting.cannot_start = Some(refuses_eu_2);
        lab.state().restarting.dies_after = Some(dies_after);
        lab.run_for(MINUTE).await;
        let dead = lab.state().restarting.is_dead();
        lab.state().restarting.dies_after = None;
        lab.run_for(2 * MINUTE).await;
        let state = lab.state();
        assert!(!state.away, "pgpool is down, killed after {dies_after} acts");
        assert_eq!([in_file(&state), in_pgpool(&state)], [OLD, OLD]);
        assert!(
            state.restarting.note.failed.is_some() && state.restarting.note.under_way.is_none()
        );
        if !dead {
            assert!(dies_after >= 10, "only {dies_after} acts");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pgpool_that_cannot_be_ended_keeps_its_sessions_and_its_file() {
    let lab = a_full_lab();
    lab.state().restarting.cannot_stop = true;
    let rounds = lab.run_for(20 * MINUTE).await;
    let state = lab.state();
    assert_eq!((state.restarting.stops, state.restarting.starts), (0, 0));
    assert_eq!([in_file(&state), in_pgpool(&state)], [OLD, OLD]);
    let held = &rounds.last().unwrap().plan.holds;
    assert!(held[0].reason.contains("a failover is in progress"), "{held:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_changes_meanwhile_does_not_break_a_restart_off() {
    let lab = a_full_lab();
    becomes_in_the_restart(&lab, &full().leads_now("eu-2")).await;
    let state = lab.state();
    assert_eq!(state.restarting.starts, 1);
    assert_eq!(in_file(&state), NEW);
    assert_eq!(state.pool.primary, Some(2));
    assert_eq!(state.pool.attached(), [0, 2]);
}

/// eu-3 has slot 3 before the restart and slot 2 after it.
#[tokio::test(start_paused = true)]
async fn after_a_restart_no_slot_is_taken_for_the_one_that_had_its_number() {
    let mut it = full().replica("eu-3").up("eu-3", 1.0);
    it.policy.slots = 4;
    let lab = with_a_status_file(&it);
    lab.state().restarting.start_takes = Duration::from_secs(2);
    becomes_in_the_restart(&lab, &it.clone().leads_now("eu-3")).await;
    let state = lab.state();
    assert_eq!(in_pgpool(&state), ["eu-1.db", "us-1.db", "eu-3.db", "eu-2.db"]);
    assert_eq!(state.pool.primary, Some(2), "pgpool finds it when it starts");
    assert_eq!(state.requests(), [], "nothing that was seen before the restart counts after it");
}

/// The primary was away for a moment; that is over when the restart that was broken off is.
#[tokio::test(start_paused = true)]
async fn what_was_known_before_a_restart_was_finished_is_old() {
    let lab = a_full_lab();
    lab.state().restarting.dies_after = Some(4);
    lab.run_for(MINUTE).await;
    assert!(lab.state().away, "killed after pgpool was ended");
    lab.state().restarting.dies_after = None;
    lab.state().restarting.start_takes = Duration::from_secs(5);
    let why = "connection refused".to_owned();
    lab.lost.send_replace(Some(Loss { server: home("eu-1"), why }));
    let (healed, agent) = (lab.clone(), lab.run_for(MINUTE));
    let heals = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        healed.lost.send_replace(None);
    };
    tokio::join!(agent, heals);
    assert_eq!(lab.state().requests(), [], "nobody had to stand in");
    assert!(is_as_it_should_be(&lab));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_pgpool_is_restarted_once() {
    let mut it = full().with("eu-2", |m| m.address = Ok(home("eu-0")));
    it = it.answers("eu-2", Answer::ReadOnly);
    let lab = Lab::of(&it);
    lab.state().damage = vec!["socket /x/.s.PGSQL.9898 is gone while pgpool answers".to_owned()];
    let rounds = lab.run_for(20 * MINUTE).await;
    let state = lab.state();
    assert_eq!((state.restarting.stops, state.restarting.starts), (1, 1));
    assert_eq!(in_pgpool(&state), OLD);
    let held = &rounds.last().unwrap().plan.holds;
    assert!(held[0].reason.contains("less than an hour ago"), "{held:?}");
}

/// Neither the new table nor the old one starts at first: somebody masked the unit, or the disk is
/// full.
#[tokio::test(start_paused = true)]
async fn a_pgpool_that_does_not_start_at_all_is_tried_until_it_does() {
    let lab = a_full_lab();
    lab.state().restarting.cannot_start = Some(|_| true);
    let rounds = lab.run_for(10 * MINUTE).await;
    assert!(lab.state().away);
    let said = rounds.iter().rev().find_map(|r| r.failure.as_deref()).unwrap();
    assert!(said.contains("pgpool did not come back with the old slot table either"), "{said}");
    let starts = lab.state().restarting.starts;
    assert!((100..200).contains(&starts), "tried {starts} times in 10 minutes");
    let held = &rounds.last().unwrap().plan.holds;
    assert!(held[0].reason.contains("is being undone (pgpool2.service failed"), "{held:?}");
    // Neither is it tried more often when etcd cannot be read as well.
    lab.etcd_is_lost();
    lab.state().restarting.starts = 0;
    lab.run_for(10 * MINUTE).await;
    let starts = lab.state().restarting.starts;
    assert!((100..200).contains(&starts), "tried {starts} times in 10 minutes");
    lab.state().restarting.cannot_start = None;
    lab.run_for(MINUTE).await;
    let state = lab.state();
    assert!(!state.away);
    assert_eq!([in_file(&state), in_pgpool(&state)], [OLD, OLD]);
    assert!(state.restarting.note.failed.is_some() && state.restarting.note.under_way.is_none());
}
