//! The PCP client against a fake pgpool that speaks the same bytes, over real sockets.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use geo_agent::config::settings::{Pcp, Secret};
use geo_agent::model::ids::SlotIndex;
use geo_agent::model::pool::{NodeStatus, PoolVersion, Watchdog};
use geo_agent::pcp::message::ShutdownMode;
use geo_agent::pcp::{Endpoint, PcpClient, PcpError};
use geo_agent::seams::{Ask, Pool, PoolRequest};
use support::{Effect, FakePgpool, FakePool, FakeSlot, Manner};

const PATIENCE: Duration = Duration::from_secs(20);
const NOTHING: Ask = Ask { settings: false, watchdog: false, sessions: false };
const EVERYTHING: Ask = Ask { settings: true, watchdog: true, sessions: true };

fn slot(n: usize) -> SlotIndex {
    SlotIndex::new(n).unwrap()
}

fn three_nodes() -> FakePool {
    FakePool::new(&[("10.0.0.1", 5432, 1.0), ("10.0.0.2", 5432, 3.0), ("10.0.0.3", 5432, 0.0)])
}

fn client(pcp: &Pcp) -> PcpClient {
    PcpClient::new(pcp, PATIENCE)
}

/// Every sentence of the chain, as the program prints it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

async fn failure(manner: Manner) -> PcpError {
    let pgpool = FakePgpool::start(three_nodes()).await;
    pgpool.behave(manner);
    client(&pgpool.pcp()).look(EVERYTHING).await.unwrap_err()
}

#[tokio::test]
async fn a_look_is_one_connection_with_everything_in_it() {
    let mut pool = three_nodes();
    pool.set_status(2, 3);
    pool.sessions = BTreeMap::from([(11, 1), (12, 1), (13, 0)]);
    pool.settings.insert("backend_weight0".to_owned(), "0.25".to_owned());
    let nodes = vec![("here".to_owned(), "LEADER".to_owned()), ("b".to_owned(), "LOST".to_owned())];
    pool.watchdog = Some(Watchdog { nodes, leader: Some("here".to_owned()), quorum: false });
    let pgpool = FakePgpool::start(pool).await;

    let view = client(&pgpool.pcp()).look(EVERYTHING).await.unwrap();

    assert_eq!(view, pgpool.pool().view(EVERYTHING));
    assert_eq!((view.version, view.primary()), (PoolVersion::V46, Some(slot(0))));
    assert_eq!(view.nodes[&slot(2)].status, NodeStatus::Down);
    assert_eq!((pgpool.connections(), pgpool.letters(1).as_str()), (1, "MRLIBWPX"));
}

#[tokio::test]
async fn only_what_is_asked_is_sent() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let view = client(&pgpool.pcp()).look(NOTHING).await.unwrap();
    assert_eq!((view.settings.len(), view.sessions, view.watchdog), (0, None, None));
    // 4.4 and later look alike without their settings.
    assert_eq!(view.version, PoolVersion::V44);
    assert_eq!(pgpool.letters(1), "MRLIX");
}

#[tokio::test]
async fn every_version_is_recognised_by_its_settings() {
    for version in [
        PoolVersion::UpTo41,
        PoolVersion::V42,
        PoolVersion::V43,
        PoolVersion::V44,
        PoolVersion::V45,
        PoolVersion::V46,
        PoolVersion::V47,
    ] {
        let pool = three_nodes().version(version);
        let pgpool = FakePgpool::start(pool).await;
        let view = client(&pgpool.pcp()).look(EVERYTHING).await.unwrap();
        assert_eq!(view, pgpool.pool().view(EVERYTHING), "{}", version.as_str());
    }
}

#[tokio::test]
async fn up_to_4_2_each_node_is_asked_for_and_the_detour_is_paid_once() {
    let pgpool = FakePgpool::start(three_nodes().version(PoolVersion::V42)).await;
    let client = client(&pgpool.pcp());
    for _ in 0..2 {
        assert_eq!(client.look(NOTHING).await.unwrap().nodes.len(), 3);
    }
    let letters: Vec<String> = (1..=3).map(|c| pgpool.letters(c)).collect();
    assert_eq!(letters, ["MRLIX", "MRLIIIX", "MRLIIIX"]);
    assert_eq!(pgpool.connections(), 3);
}

#[tokio::test]
async fn up_to_4_2_a_slot_that_was_added_is_noticed() {
    let pgpool = FakePgpool::start(three_nodes().version(PoolVersion::UpTo41)).await;
    let client = client(&pgpool.pcp());
    client.look(NOTHING).await.unwrap();
    pgpool.pool().slots.push(FakeSlot::unused());
    assert_eq!(client.look(NOTHING).await.unwrap().nodes.len(), 4);
    // An upgrade: the first look still asks one by one, the next one does not.
    pgpool.pool().version = PoolVersion::V46;
    assert_eq!(client.look(NOTHING).await.unwrap().version, PoolVersion::V44);
    client.look(NOTHING).await.unwrap();
    assert_eq!(pgpool.letters(pgpool.connections()), "MRLIX");
}

#[tokio::test]
async fn a_batch_is_one_connection_and_in_order() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let requests = [
        PoolRequest::Promote(slot(2)),
        PoolRequest::Attach(slot(0)),
        PoolRequest::Attach(slot(1)),
        PoolRequest::Reload,
    ];
    pgpool.pool().set_writable(&[2]);
    client(&pgpool.pcp()).send(&requests).await.unwrap();
    assert_eq!((pgpool.connections(), pgpool.letters(1).as_str()), (1, "MRJCCZX"));
    let pool = pgpool.pool();
    assert_eq!((pool.primary, pool.attached()), (Some(2), vec![0, 1, 2]));
}

#[tokio::test]
async fn nothing_to_send_is_no_connection() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    client(&pgpool.pcp()).send(&[]).await.unwrap();
    assert_eq!(pgpool.connections(), 0);
}

#[tokio::test]
async fn one_refusal_does_not_stop_the_rest() {
    let mut pool = three_nodes();
    pool.set_status(1, 3);
    let pgpool = FakePgpool::start(pool).await;
    let requests = [PoolRequest::Detach(slot(1)), PoolRequest::Detach(slot(2))];
    let error = client(&pgpool.pcp()).send(&requests).await.unwrap_err();
    assert_eq!(
        told(&error),
        "pgpool refused a request: detach slot 1: ERROR XX000: invalid degenerate backend request, \
         node id : 1 status: [3] is not valid for failover"
    );
    assert_eq!(pgpool.pool().effects, [Effect::Detached(2)]);
}

#[tokio::test]
async fn a_fatal_refusal_stops_the_rest() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let requests = [PoolRequest::Promote(slot(0)), PoolRequest::Detach(slot(2))];
    let error = client(&pgpool.pcp()).send(&requests).await.unwrap_err();
    assert!(error.by_server().is_some_and(|e| e.is_fatal()), "{}", told(&error));
    assert_eq!(pgpool.pool().effects, []);
}

#[tokio::test]
async fn an_acknowledgement_is_not_an_effect() {
    let mut pool = three_nodes();
    pool.delay = Duration::from_millis(50);
    let pgpool = FakePgpool::start(pool).await;
    let client = client(&pgpool.pcp());
    client.send(&[PoolRequest::Detach(slot(1))]).await.unwrap();
    assert!(client.look(NOTHING).await.unwrap().is_attached(slot(1)));
    while client.look(NOTHING).await.unwrap().is_attached(slot(1)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_says_where_to_look_and_not_what_it_was() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let mut pcp = pgpool.pcp();
    pcp.login.password = Secret::new("hunter2");
    let client = client(&pcp);
    let error = client.look(NOTHING).await.unwrap_err();
    assert!(matches!(error, PcpError::Login { .. }));
    let text = format!("{} {error:?} {client:?}", told(&error));
    assert!(text.contains("pcp.conf") && text.contains("username and/or password"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_user_that_pcp_conf_cannot_have_is_not_sent() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    for name in [String::new(), "u".repeat(128), "a\0b".to_owned()] {
        let mut pcp = pgpool.pcp();
        pcp.login.username = name;
        let error = client(&pcp).look(NOTHING).await.unwrap_err();
        assert!(matches!(error, PcpError::UnusableUser));
    }
    assert_eq!(pgpool.log(), []);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    for manner in [Manner::Hangs, Manner::HangsAfterLogin] {
        let pgpool = FakePgpool::start(three_nodes()).await;
        pgpool.behave(manner.clone());
        let client = PcpClient::new(&pgpool.pcp(), Duration::from_millis(200));
        let start = Instant::now();
        let error = client.look(NOTHING).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(10));
        let waited_for = if matches!(manner, Manner::Hangs) { "salt" } else { "node count" };
        let text = told(&error);
        assert!(text.contains(waited_for) && text.contains("within 0.2 s"), "{text}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_early_is_told_from_silence() {
    for manner in [Manner::ClosesAtOnce, Manner::ClosesAfter(1), Manner::ClosesAfter(60)] {
        let error = failure(manner).await;
        assert!(matches!(error, PcpError::Closed { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_packet_that_does_not_answer_the_question_is_an_error() {
    let error = failure(Manner::Says(b"z\0\0\0\x14CommandComplete\0".to_vec())).await;
    assert!(matches!(error, PcpError::Unexpected { tag: b'z', .. }), "{error:?}");
    let error = failure(Manner::Says(b"l\0\0\0\x09what\0".to_vec())).await;
    assert!(matches!(error, PcpError::Malformed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_reply_without_end_is_not_read() {
    let error = failure(Manner::Says(b"l\x7f\xff\xff\xff".to_vec())).await;
    assert!(matches!(error, PcpError::Frame { .. }), "{error:?}");
    let many = b"l\0\0\0\x18CommandComplete\x00129\0".to_vec();
    assert!(matches!(failure(Manner::Says(many)).await, PcpError::TooMany { what: "nodes", .. }));
    let rows = b"l\0\0\0\x16CommandComplete\x003\0i\0\0\0\x12ArraySize\x00129\0".to_vec();
    assert!(matches!(failure(Manner::Says(rows)).await, PcpError::TooMany { what: "nodes", .. }));
}

#[tokio::test]
async fn rows_that_were_not_announced_are_an_error() {
    let bytes =
        b"l\0\0\0\x16CommandComplete\x003\0i\0\0\0\x10ArraySize\x003\0i\0\0\0\x14CommandComplete\0";
    let error = failure(Manner::Says(bytes.to_vec())).await;
    assert!(matches!(error, PcpError::Rows { announced: 3, came: 0, .. }), "{error:?}");
}

#[tokio::test]
async fn notices_are_passed_over_up_to_a_limit() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    pgpool.behave(Manner::Chatty(5));
    client(&pgpool.pcp()).look(EVERYTHING).await.unwrap();
    let error = failure(Manner::Chatty(600)).await;
    assert!(matches!(error, PcpError::TooMany { what: "notices", .. }), "{error:?}");
}

#[tokio::test]
async fn the_unix_socket_is_used_where_it_is_configured() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let client = client(&pgpool.pcp_over_socket());
    assert_eq!(client.last_endpoint(), None);
    client.look(NOTHING).await.unwrap();
    assert!(matches!(client.last_endpoint(), Some(Endpoint::Unix(_))));
}

#[tokio::test]
async fn a_pgpool_that_lost_its_socket_is_reached_over_tcp_and_it_shows() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    let client = client(&pgpool.pcp_over_socket());
    pgpool.lose_socket();
    client.look(NOTHING).await.unwrap();
    let endpoint = client.last_endpoint().unwrap();
    assert!(endpoint.is_fallback());
    assert!(endpoint.to_string().contains("nobody listens at"), "{endpoint}");
}

/// The private socket of an owned pgpool, say: another pgpool may listen on TCP.
#[tokio::test]
async fn where_the_socket_is_the_only_way_in_nobody_else_is_sent_the_login() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    pgpool.lose_socket();
    let pcp = Pcp { or_tcp: false, ..pgpool.pcp_over_socket() };
    let error = client(&pcp).look(NOTHING).await.unwrap_err();
    assert!(matches!(error, PcpError::Connect { .. }), "{error:?}");
    assert_eq!(pgpool.log(), []);
}

#[tokio::test]
async fn when_nobody_is_there_the_configured_place_is_named() {
    let mut pgpool = FakePgpool::start(three_nodes()).await;
    pgpool.stop_listening();
    tokio::task::yield_now().await;
    for pcp in [pgpool.pcp(), pgpool.pcp_over_socket()] {
        let client = client(&pcp);
        let error = client.look(NOTHING).await.unwrap_err();
        assert!(matches!(error, PcpError::Connect { .. }), "{error:?}");
        let text = told(&error);
        assert!(text.contains(&pcp.host) && text.contains("pcp_socket_dir"), "{text}");
        assert_eq!(client.last_endpoint(), None);
    }
}

#[tokio::test]
async fn shutdown() {
    let pgpool = FakePgpool::start(three_nodes()).await;
    client(&pgpool.pcp()).shutdown(ShutdownMode::Fast).await.unwrap();
    let mode = pgpool.log().into_iter().find(|r| r.tag == 'T').map(|r| r.body);
    assert_eq!((pgpool.letters(1).as_str(), mode.as_deref()), ("MRTX", Some("f")));
}
