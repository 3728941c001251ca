//! When the view turns to "unknown", and what brings it back.

use std::time::Duration;

use geo_agent::patroni::error::EtcdError;
use geo_agent::patroni::follow::CHECK_EVERY;
use tokio::time::{Instant, sleep};

use super::fake_etcd::{Etcd, World};
use super::{TIMEOUT, is_known, known, leader, settle, why, woken};

#[tokio::test(start_paused = true)]
async fn a_lost_etcd_is_unknown_after_the_timeout_and_known_again_when_it_is_back() {
    let etcd = Etcd::new(2);
    let mut seen = known(&etcd).await;
    let at_loss = Instant::now();
    etcd.world().down.extend([0, 1]);
    etcd.world().cut(EtcdError::Ended);
    woken(&mut seen, TIMEOUT * 2).await;
    let took = at_loss.elapsed();
    assert!((TIMEOUT..TIMEOUT + Duration::from_millis(10)).contains(&took), "{took:?}");
    assert_eq!(
        why(&seen),
        "etcd cannot be read: etcd-1:2379: cannot reach etcd: connection refused; \
         etcd-2:2379: cannot reach etcd: connection refused"
    );
    assert_eq!(seen.borrow().last().unwrap().members.len(), 2, "for show");
    sleep(Duration::from_secs(60)).await;
    assert!(!seen.has_changed().unwrap(), "the same cause has the same text");
    etcd.world().down.clear();
    woken(&mut seen, Duration::from_secs(6)).await;
    assert_eq!(leader(&seen).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_short_loss_is_no_loss() {
    let etcd = Etcd::new(1);
    let seen = known(&etcd).await;
    for _ in 0..5 {
        etcd.world().down.insert(0);
        etcd.world().cut(EtcdError::Ended);
        sleep(TIMEOUT / 4).await;
        etcd.world().down.clear();
        sleep(TIMEOUT).await;
    }
    assert!(is_known(&seen) && !seen.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_etcd_that_hangs_is_unknown_after_check_and_timeout() {
    let etcd = Etcd::new(1);
    let mut seen = known(&etcd).await;
    etcd.world().mute = true;
    let took = woken(&mut seen, TIMEOUT * 5).await;
    assert!(took <= CHECK_EVERY + TIMEOUT, "{took:?}");
    assert!(!is_known(&seen));
    sleep(TIMEOUT * 3).await;
    assert!(why(&seen).contains("no answer within 10.0 s while reading the scope"));
    etcd.world().mute = false;
    while !is_known(&seen) {
        woken(&mut seen, TIMEOUT * 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_dies_is_left_for_the_next_at_once() {
    let etcd = Etcd::new(3);
    let mut seen = known(&etcd).await;
    etcd.world().down.extend([0, 1]);
    etcd.world().cut(EtcdError::Unreachable("reset".into()));
    settle().await;
    assert_eq!(etcd.world().opened, [0, 1, 2]);
    etcd.put("leader", "b");
    assert_eq!(woken(&mut seen, TIMEOUT).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_etcd_that_is_never_there_is_asked_in_bounded_paces() {
    let etcd = Etcd::new(1);
    etcd.world().down.insert(0);
    let mut seen = etcd.follow();
    woken(&mut seen, Duration::from_secs(1)).await;
    assert!(why(&seen).contains("connection refused"), "said at once: {}", why(&seen));
    sleep(Duration::from_secs(600)).await;
    let attempts = etcd.world().opened.len();
    assert!((120..450).contains(&attempts), "{attempts} in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn an_older_or_a_foreign_etcd_is_not_believed() {
    type Spoil = fn(&mut World);
    let spoils: [(Spoil, &str); 3] = [
        (|w| w.revision -= 5, "etcd answers with revision 8 after 13 was seen"),
        (|w| w.raft_term = 1, "etcd answers from raft term 1 after 2 was seen"),
        (|w| w.cluster_id = 0xbad, "cluster id changed from 7 to bad"),
    ];
    for (spoil, text) in spoils {
        let etcd = Etcd::new(1);
        let mut seen = known(&etcd).await;
        {
            let mut world = etcd.world();
            spoil(&mut world);
            world.stored.clear();
            world.cut(EtcdError::Ended);
        }
        woken(&mut seen, TIMEOUT * 2).await;
        let why = why(&seen);
        assert!(why.contains(text) && why.contains("restart geo-agent"), "{why}");
        assert_eq!(seen.borrow().last().unwrap().members.len(), 2, "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cause_that_lasts_is_told_once_although_its_numbers_change() {
    let etcd = Etcd::new(1);
    etcd.world().revision = 1000;
    etcd.put("leader", "a");
    let mut seen = known(&etcd).await;
    etcd.world().revision = 10;
    etcd.world().cut(EtcdError::Ended);
    woken(&mut seen, TIMEOUT * 2).await;
    let first = why(&seen);
    assert!(first.contains("after 1001 was seen"), "{first}");
    for _ in 0..120 {
        sleep(Duration::from_secs(1)).await;
        etcd.world().revision += 1;
    }
    assert!(!seen.has_changed().unwrap(), "{}", why(&seen));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_event_ends_the_session() {
    let etcd = Etcd::new(1);
    let seen = known(&etcd).await;
    {
        let mut world = etcd.world();
        world.cluster_id = 8;
        world.change("leader", Some("evil"));
        world.cluster_id = 7;
    }
    settle().await;
    assert_eq!(leader(&seen).as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn a_citus_scope_without_a_group_is_unknown_with_the_list() {
    let etcd = Etcd::new(1);
    for key in ["leader", "members/a", "members/b"] {
        etcd.delete(key);
    }
    etcd.put("0/leader", "a");
    etcd.put("2/leader", "b");
    let mut seen = etcd.follow();
    woken(&mut seen, TIMEOUT).await;
    assert!(why(&seen).contains("etcd3.group to one of [0, 2]"), "{}", why(&seen));
}
