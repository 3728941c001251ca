//! Following a scope through everything that can happen to a watch, in paused time.

#[path = "patroni_watch/fake_etcd.rs"]
mod fake_etcd;
#[path = "patroni_watch/unknown.rs"]
mod unknown;

use std::time::Duration;

use fake_etcd::Etcd;
use geo_agent::model::ids::MemberName;
use geo_agent::patroni::Seen;
use geo_agent::patroni::error::EtcdError;
use geo_agent::patroni::follow::{CHECK_EVERY, Follower, GRACE};
use geo_agent::patroni::session::Delivery;
use tokio::sync::watch;
use tokio::time::{Instant, advance, sleep, timeout};

const BASE: &str = "/service/main";
const TIMEOUT: Duration = Duration::from_secs(10);

pub fn member(host: &str, role: &str, lsn: u64) -> String {
    format!(
        r#"{{"conn_url":"postgres://{host}:5432/postgres","state":"running","role":"{role}","xlog_location":{lsn}}}"#
    )
}

pub fn leader(seen: &watch::Receiver<Seen>) -> Option<String> {
    let leader = seen.borrow().known()?.leader.clone();
    leader.map(|l| l.as_raw().to_owned())
}

pub fn members(seen: &watch::Receiver<Seen>) -> Vec<String> {
    let seen = seen.borrow();
    let view = seen.known().expect("a known view");
    view.members.keys().map(|n| n.as_raw().to_owned()).collect()
}

pub fn why(seen: &watch::Receiver<Seen>) -> String {
    match &*seen.borrow() {
        Seen::Unknown { why, .. } => why.clone(),
        Seen::Known { .. } => panic!("known"),
    }
}

pub fn is_known(seen: &watch::Receiver<Seen>) -> bool {
    seen.borrow().known().is_some()
}

/// Lets every task run until it waits for time or for the test.
pub async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// The receiver is woken within `limit`.
pub async fn woken(seen: &mut watch::Receiver<Seen>, limit: Duration) -> Duration {
    let start = Instant::now();
    timeout(limit, seen.changed()).await.expect("woken in time").unwrap();
    start.elapsed()
}

/// A follower that has read the scope once and waits for events.
pub async fn known(etcd: &Etcd) -> watch::Receiver<Seen> {
    let mut seen = etcd.follow();
    seen.changed().await.unwrap();
    assert_eq!(leader(&seen).as_deref(), Some("a"));
    settle().await;
    seen.mark_unchanged();
    seen
}

#[tokio::test(start_paused = true)]
async fn an_event_wakes_the_receiver_without_any_delay() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.put("leader", "b");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
    assert_eq!(leader(&seen).as_deref(), Some("b"));
    etcd.delete("leader");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
    assert_eq!(leader(&seen), None);
    assert!(is_known(&seen), "no leader is not the same as unknown");
}

#[tokio::test(start_paused = true)]
async fn wal_positions_do_not_wake_but_can_be_read() {
    let etcd = Etcd::new(1);
    let seen = known(&etcd).await;
    etcd.put("status", r#"{"optime":200}"#);
    etcd.put("members/b", &member("10.0.0.2", "replica", 190));
    settle().await;
    assert!(!seen.has_changed().unwrap());
    let view = seen.borrow().known().unwrap().clone();
    assert_eq!(view.leader_lsn, Some(200));
    assert_eq!(view.members[&MemberName::new("b")].replay_lsn, Some(190));
    assert_eq!(view.revision, 15);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_between_the_read_and_the_watch() {
    let etcd = Etcd::new(1);
    etcd.world().in_the_gap = vec![("leader".into(), "b".into())];
    let mut seen = etcd.follow();
    while leader(&seen).as_deref() != Some("b") {
        assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
    }
    assert_eq!(etcd.world().watched_from, [14]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_ends_in_a_fresh_read_that_prunes_what_is_gone() {
    for why in [
        EtcdError::Ended,
        EtcdError::NoLeader,
        EtcdError::Cancelled("restarting".into()),
        EtcdError::Compacted { oldest: 99 },
        EtcdError::Login("invalid auth token".into()),
        EtcdError::Unreachable("broken pipe".into()),
    ] {
        let etcd = Etcd::new(1);
        let mut seen = known(&etcd).await;
        etcd.world().cut(why);
        etcd.world().deaf = true;
        etcd.delete("members/a");
        etcd.delete("leader");
        etcd.put("members/c", &member("10.0.0.3", "replica", 100));
        etcd.world().deaf = false;
        woken(&mut seen, Duration::from_secs(1)).await;
        assert_eq!((leader(&seen), members(&seen)), (None, vec!["b".into(), "c".into()]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_compaction_while_cut_off_loses_nothing() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.world().down.insert(0);
    etcd.world().cut(EtcdError::Ended);
    sleep(Duration::from_secs(2)).await;
    etcd.put("leader", "b");
    etcd.delete("members/a");
    {
        let mut world = etcd.world();
        world.compacted = world.revision;
        world.log.clear();
        world.down.clear();
    }
    woken(&mut seen, Duration::from_secs(6)).await;
    assert_eq!((leader(&seen).as_deref(), members(&seen)), (Some("b"), vec!["b".into()]));
    etcd.put("leader", "c");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_compacted_revision_reads_again() {
    let etcd = Etcd::new(1);
    etcd.world().compacted = 1_000;
    let mut seen = etcd.follow();
    woken(&mut seen, TIMEOUT).await;
    sleep(Duration::from_secs(3)).await;
    {
        let mut world = etcd.world();
        let attempts = world.opened.len();
        assert!((3..=10).contains(&attempts), "paced: {attempts}");
        world.compacted = 0;
    }
    sleep(Duration::from_secs(6)).await;
    etcd.put("leader", "b");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_deaf_watch_is_found_by_the_check_and_replaced() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.world().deaf = true;
    etcd.put("leader", "b");
    let late = woken(&mut seen, TIMEOUT * 2).await;
    assert!(late <= CHECK_EVERY, "what the check finds is seen at once: {late:?}");
    assert_eq!(leader(&seen).as_deref(), Some("b"));
    assert_eq!(etcd.world().opened.len(), 1, "it may still be on its way");
    etcd.world().deaf = false;
    sleep(GRACE + Duration::from_millis(200)).await;
    assert_eq!(etcd.world().opened.len(), 2, "a new session");
    etcd.put("leader", "c");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_only_slow_is_kept() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.world().deaf = true;
    etcd.put("leader", "b");
    etcd.delete("members/a");
    woken(&mut seen, TIMEOUT * 2).await;
    sleep(GRACE / 2).await;
    {
        let mut world = etcd.world();
        world.deaf = false;
        for delivery in std::mem::take(&mut world.held_back) {
            world.feed(Ok(delivery));
        }
    }
    sleep(CHECK_EVERY * 3).await;
    assert_eq!(etcd.world().opened.len(), 1);
    assert_eq!(members(&seen), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_overtakes_a_read_is_not_undone_by_it() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.world().slow = Duration::from_secs(2);
    sleep(CHECK_EVERY + Duration::from_secs(1)).await;
    etcd.put("leader", "b");
    woken(&mut seen, TIMEOUT).await;
    sleep(CHECK_EVERY * 3).await;
    assert_eq!(leader(&seen).as_deref(), Some("b"));
    assert!(!seen.has_changed().unwrap());
    assert_eq!(etcd.world().opened.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_stays_confirmed_and_wakes_nobody() {
    let etcd = Etcd::new(1);
    let seen = known(&etcd).await;
    sleep(Duration::from_secs(3_600)).await;
    assert!(!seen.has_changed().unwrap());
    let Seen::Known { confirmed, .. } = *seen.borrow() else { panic!("unknown") };
    assert!(confirmed.elapsed() <= CHECK_EVERY + Duration::from_millis(10));
    assert_eq!(etcd.world().opened.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_events_of_one_response_are_one_change() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    {
        let mut world = etcd.world();
        world.deaf = true;
        world.change("leader", None);
        world.change("leader", Some("b"));
        world.change("members/b", Some(&member("10.0.0.2", "primary", 1)));
        world.deaf = false;
        let changes = std::mem::take(&mut world.held_back);
        let changes = changes.into_iter().flat_map(|d| d.changes).collect();
        let delivery = Delivery { head: world.head(), changes };
        world.feed(Ok(delivery));
    }
    woken(&mut seen, TIMEOUT).await;
    assert_eq!(leader(&seen).as_deref(), Some("b"));
    settle().await;
    assert!(!seen.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_looks_any_more() {
    let etcd = Etcd::new(1);
    let (follower, seen) = Follower::with_source(etcd, BASE, TIMEOUT);
    let running = tokio::spawn(follower.run());
    advance(Duration::from_secs(1)).await;
    drop(seen);
    timeout(TIMEOUT, running).await.expect("ended").unwrap();
}
