//! The fake pgpool's own surprises, as proto-notes/changes.md has them: tests of the planner and
//! the executor rely on them.

mod support;

use geo_agent::model::ids::SlotIndex;
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::seams::{Ask, Pool, PoolRequest};
use support::{Effect, FakePool, FakeSlot, InMemory};

fn slot(n: usize) -> SlotIndex {
    SlotIndex::new(n).unwrap()
}

fn three_nodes() -> FakePool {
    FakePool::new(&[("10.0.0.1", 5432, 1.0), ("10.0.0.2", 5432, 3.0), ("10.0.0.3", 5432, 0.0)])
}

fn after(pool: &mut FakePool, requests: &[PoolRequest]) -> Vec<Effect> {
    pool.effects.clear();
    for request in requests {
        pool.request(*request).unwrap();
    }
    pool.settle();
    pool.effects.clone()
}

#[test]
fn an_attach_searches_the_primary_anew() {
    let mut pool = three_nodes();
    pool.set_status(2, 3);
    pool.set_writable(&[1]);
    let attach = [PoolRequest::Attach(slot(2))];
    let effects = after(&mut pool, &attach);
    assert_eq!(effects, [Effect::Attached(2), Effect::Searched(Some(1))]);
    assert_eq!(after(&mut pool, &attach), [Effect::NoOp(attach[0])]);
    pool.set_status(2, 3);
    pool.set_writable(&[]);
    after(&mut pool, &attach);
    assert_eq!(pool.primary, None);
}

#[test]
fn of_two_writable_servers_the_highest_slot_wins_beside_a_standby() {
    let mut pool = three_nodes();
    pool.set_status(1, 3);
    pool.set_writable(&[0, 2]);
    after(&mut pool, &[PoolRequest::Attach(slot(1))]);
    assert_eq!(pool.primary, Some(2));
}

#[test]
fn promote_takes_everything_else_down_gaps_too() {
    let mut pool = three_nodes();
    pool.slots[2] = FakeSlot::unused();
    after(&mut pool, &[PoolRequest::Promote(slot(1))]);
    let status: Vec<u8> = pool.slots.iter().map(|s| s.status).collect();
    assert_eq!((status, pool.primary), (vec![3, 2, 3], Some(1)));
    let again = pool.request(PoolRequest::Promote(slot(1))).unwrap_err();
    assert!(again.is_fatal);
    let down = PoolRequest::Promote(slot(0));
    assert_eq!(after(&mut pool, &[down]), [Effect::NoOp(down)]);
}

#[test]
fn a_server_that_hangs_freezes_a_search_until_it_thaws() {
    let mut pool = three_nodes();
    pool.set_status(1, 3);
    pool.hung = pool.writable.clone();
    let effects = after(&mut pool, &[PoolRequest::Attach(slot(1)), PoolRequest::Detach(slot(0))]);
    assert_eq!(effects, [Effect::Attached(1), Effect::Froze]);
    assert!(pool.is_frozen());
    pool.hung.clear();
    pool.settle();
    let rest = [Effect::Searched(Some(0)), Effect::Detached(0), Effect::Searched(None)];
    assert_eq!(pool.effects[2..], rest);
}

#[test]
fn the_queue_holds_ten_and_loses_the_rest() {
    let mut pool = three_nodes();
    let attach = PoolRequest::Attach(slot(1));
    let effects = after(&mut pool, &[attach; 12]);
    assert_eq!(effects.iter().filter(|e| **e == Effect::Lost(attach)).count(), 2);
}

#[test]
fn a_reload_adds_slots_as_down_and_never_moves_one() {
    let mut pool = three_nodes();
    let entry = |host: &str| SlotEntry {
        member: None,
        host: host.to_owned(),
        port: 5432,
        weight: 2.0,
        data_directory: None,
        application_name: None,
    };
    let entries = [(slot(0), entry("10.9.9.9")), (slot(4), entry("10.0.0.5"))];
    pool.conf = Some(SlotTable { entries: entries.into_iter().collect() });
    assert_eq!(after(&mut pool, &[PoolRequest::Reload]), [Effect::Reloaded]);
    assert_eq!((pool.slots[0].host.as_str(), pool.slots[0].weight), ("10.0.0.1", 2.0));
    assert_eq!((pool.slots[3].status, pool.slots[4].status), (0, 3));
    pool.conf = None;
    assert_eq!(after(&mut pool, &[PoolRequest::Reload]), [Effect::ReloadFailed]);
}

#[tokio::test]
async fn in_memory_a_fatal_refusal_stops_the_rest_as_on_the_wire() {
    let pool = InMemory::new(three_nodes());
    let batch = [PoolRequest::Detach(slot(2)), PoolRequest::Promote(slot(0)), PoolRequest::Reload];
    assert!(pool.send(&batch).await.unwrap_err().is_fatal);
    assert_eq!(pool.0.lock().unwrap().effects, [Effect::Detached(2)]);
    assert!(!pool.look(Ask::default()).await.unwrap().is_attached(slot(2)));
}
