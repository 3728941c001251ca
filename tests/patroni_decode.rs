//! What every supported Patroni writes, and what nobody should write, as a cluster view.

#[path = "patroni_decode/hostile.rs"]
mod hostile;
#[path = "patroni_decode/members.rs"]
mod members;
#[path = "patroni_decode/orders.rs"]
mod orders;

use std::collections::BTreeMap;

use geo_agent::model::cluster::{ClusterView, Member, Replication, Role, State};
use geo_agent::model::ids::{Address, MemberName};
use geo_agent::patroni::decode::{DecodeError, decode};

const BASE: &str = "/service/main";

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

fn sample(name: &str) -> Keys {
    let path = format!("{}/tests/samples/patroni/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ').expect("a key and a value");
        (key.as_bytes().to_vec(), value.as_bytes().to_vec())
    };
    text.lines().map(pair).collect()
}

fn read(base: &str, keys: &Keys) -> Result<ClusterView, DecodeError> {
    decode(base, 42, keys.iter().map(|(k, v)| (k.as_slice(), v.as_slice())))
}

fn view_of(name: &str) -> ClusterView {
    read(BASE, &sample(name)).expect("readable")
}

/// A view of these keys below the base.
fn view(keys: &[(&str, &str)]) -> ClusterView {
    let full = |(k, v): &(&str, &str)| (format!("{BASE}/{k}").into_bytes(), v.as_bytes().to_vec());
    read(BASE, &keys.iter().map(full).collect()).expect("readable")
}

fn member(view: &ClusterView, name: &str) -> Member {
    view.members.get(&MemberName::new(name)).unwrap_or_else(|| panic!("no member {name}")).clone()
}

fn at(host: &str, port: u32) -> Result<Address, String> {
    Ok(Address::new(host, port).unwrap())
}

fn name(name: &str) -> Option<MemberName> {
    Some(MemberName::new(name))
}

#[test]
fn patroni_2_1() {
    let view = view_of("2.1");
    assert_eq!(view.revision, 42);
    assert_eq!(view.system_id.as_deref(), Some("7100000000000000021"));
    assert_eq!(view.leader, name("node-1"));
    assert_eq!(view.leader_lsn, Some(67_108_864));
    assert!(!view.paused && !view.standby_cluster && view.switchover.is_none());
    let (leader, replica) = (member(&view, "node-1"), member(&view, "node-2"));
    assert_eq!((leader.role, leader.timeline), (Role::Primary, Some(2)));
    assert_eq!(leader.address, at("10.0.0.1", 5432));
    assert_eq!((replica.role, replica.replication), (Role::Replica, Replication::Unsaid));
    assert!(replica.noloadbalance && replica.is_serving());
    let tags: Vec<_> = replica.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(tags, [("location", "eu-west"), ("noloadbalance", "true"), ("weight", "3")]);
    assert_eq!(replica.replay_lsn, Some(67_108_800));
    assert_eq!(view.notes, Vec::<String>::new());
}

#[test]
fn patroni_3_0() {
    let view = view_of("3.0");
    assert_eq!(view.sync_standbys, ["node-2"]);
    let starting = member(&view, "node-3");
    assert_eq!(starting.state, State::NotServing("starting".into()));
    assert_eq!((starting.timeline, starting.is_serving()), (None, false));
    assert_eq!(view.notes, Vec::<String>::new());
}

#[test]
fn patroni_3_3() {
    let view = view_of("3.3");
    assert!(view.paused);
    let asked = view.switchover.clone().expect("a scheduled switchover");
    assert_eq!((asked.from, asked.to), (name("node-1"), name("node-2")));
    assert_eq!(asked.scheduled_at.as_deref(), Some("2024-07-01T03:00:00+00:00"));
    assert!(member(&view, "node-2").restart_scheduled);
    assert_eq!(member(&view, "node-2").restart_at, Some(1_719_802_800));
    assert!(!member(&view, "node-1").restart_scheduled);
    assert_eq!(member(&view, "node-2").replication, Replication::Streaming);
    assert_eq!(member(&view, "node-3").replication, Replication::ArchiveRecovery);
    assert_eq!(view.notes, Vec::<String>::new());
}

#[test]
fn patroni_4_0() {
    let view = view_of("4.0");
    assert_eq!(view.leader, name("node-2"));
    assert_eq!(view.leader_member().map(|m| m.role), Some(Role::Primary));
    assert_eq!(view.sync_standbys, ["node-1", "node-3"]);
    assert_eq!(member(&view, "node-1").address, at("2001:db8::1", 5432));
    assert_eq!(view.notes, Vec::<String>::new());
}

#[test]
fn patroni_4_1() {
    let view = view_of("4.1");
    assert!(!view.paused, "\"off\" is a way to say false");
    assert!(!view.standby_cluster, "an empty section is none");
    let replica = member(&view, "node-2");
    assert_eq!(replica.receive_lsn, Some(134_217_000));
    assert_eq!(replica.replay_lsn, Some(134_216_000), "replay_lsn wins over xlog_location");
    assert_eq!(replica.address, at("10.4.0.2", 5433), "the server, not the pooler before it");
    assert_eq!(member(&view, "node-3").role, Role::Other);
    assert_eq!(view.notes, Vec::<String>::new());
}

#[test]
fn a_standby_cluster_has_a_leader_that_is_no_primary() {
    let view = view_of("standby-cluster");
    assert!(view.standby_cluster);
    assert_eq!(view.leader_member().map(|m| m.role), Some(Role::StandbyLeader));
}

#[test]
fn a_citus_cluster_needs_a_group() {
    let keys = sample("citus");
    let error = read(BASE, &keys).unwrap_err();
    assert_eq!(error, DecodeError::CitusGroups(vec![0, 1, 2]));
    assert!(error.to_string().contains("etcd3.group to one of [0, 1, 2]"), "{error}");
    let coordinator = read("/service/main/0", &keys).unwrap();
    assert_eq!(coordinator.leader, name("coord-1"));
    assert_eq!(coordinator.members.len(), 1);
    assert_eq!(read("/service/main/1", &keys).unwrap().leader, name("work-1"));
}

#[test]
fn what_is_left_of_groups_does_not_hide_a_plain_cluster() {
    let mut keys = sample("citus");
    keys.extend(sample("4.1"));
    assert_eq!(read(BASE, &keys).unwrap().leader, name("node-1"));
}

#[test]
fn another_scope_is_another_scope() {
    let mut keys = sample("4.1");
    keys.insert(b"/service/main2/members/x".to_vec(), b"{}".to_vec());
    keys.insert(b"/service/main/members/a/b".to_vec(), b"{}".to_vec());
    keys.insert(b"/service/main/unknown".to_vec(), b"?".to_vec());
    assert_eq!(read(BASE, &keys).unwrap(), view_of("4.1"));
}

#[test]
fn an_empty_scope_is_an_empty_view() {
    let view = view(&[]);
    assert_eq!(view, ClusterView { revision: 42, ..ClusterView::default() });
}

#[test]
fn a_leader_without_a_member_is_still_the_leader() {
    let view = view(&[("leader", "ghost")]);
    assert_eq!(view.leader, name("ghost"));
    assert!(view.leader_member().is_none());
    assert_eq!(view.notes, ["ghost holds the leader key but has no member key"]);
}

#[test]
fn the_leaders_name_is_exact_before_it_is_trimmed() {
    let keys = |leader: &'static str, m: &'static str| view(&[("leader", leader), (m, "{}")]);
    assert_eq!(keys("a\n", "members/a").leader, name("a"));
    assert_eq!(keys(" a", "members/ a").leader, name(" a"));
    assert_eq!(keys("", "members/a").leader, None);
    assert_eq!(keys(" ", "members/a").leader, None);
}

#[test]
fn a_name_reused_on_the_same_server_is_noted() {
    let m = r#"{"conn_url":"postgres://H:5432/","role":"replica","state":"running"}"#;
    let view = view(&[("members/a", m), ("members/b", &m.replace("H:", "h:"))]);
    assert_eq!(view.notes, ["members a and b are both at h:5432"]);
}

#[test]
fn positions_from_status_or_from_optime() {
    let lsn = |keys: &[(&str, &str)]| view(keys).leader_lsn;
    assert_eq!(lsn(&[("status", "77")]), Some(77));
    assert_eq!(lsn(&[("status", r#"{"optime":"77"}"#)]), Some(77));
    assert_eq!(lsn(&[("status", r#"{"optime":0}"#)]), None);
    assert_eq!(lsn(&[("optime/leader", "77")]), Some(77));
    assert_eq!(lsn(&[("status", ""), ("optime/leader", "77")]), Some(77));
    assert_eq!(lsn(&[("status", "88"), ("optime/leader", "77")]), Some(88));
    let broken = view(&[("status", "{"), ("optime/leader", "77")]);
    assert_eq!((broken.leader_lsn, broken.notes.len()), (None, 1));
}

#[test]
fn pause_and_standby_cluster_in_every_spelling() {
    let view_with = |config: &str| view(&[("config", config)]);
    for yes in ["true", "\"on\"", "\"True\"", "1"] {
        assert!(view_with(&format!(r#"{{"pause":{yes}}}"#)).paused, "{yes}");
    }
    for no in ["false", "null", "\"off\"", "{}"] {
        assert!(!view_with(&format!(r#"{{"pause":{no}}}"#)).paused, "{no}");
    }
    for yes in [r#"{"host":"h"}"#, r#"{"port":5432}"#, r#"{"restore_command":"x"}"#] {
        assert!(view_with(&format!(r#"{{"standby_cluster":{yes}}}"#)).standby_cluster, "{yes}");
    }
    for no in ["{}", "null", r#"{"host":""}"#, r#"{"primary_slot_name":"s"}"#, "\"h\""] {
        assert!(!view_with(&format!(r#"{{"standby_cluster":{no}}}"#)).standby_cluster, "{no}");
    }
    assert_eq!(view_with("{").notes, ["config is not a JSON object and was ignored"]);
}

#[test]
fn hostile_names_and_hosts_stay_on_one_line() {
    let view = view(&[
        ("leader", "a\nbackend_port0 = 1\u{1b}[2J"),
        ("members/x\n\u{202e}y", "{"),
        ("members/h", r#"{"conn_url":"postgres://a'\nb:5432/"}"#),
        ("initialize", "1\n2"),
    ]);
    for note in view.notes.iter().chain(&view.system_id) {
        assert!(!note.chars().any(|c| c.is_control() || c == '\u{202e}'), "{note:?}");
    }
    assert!(member(&view, "h").address.is_err());
    let long = "n".repeat(100_000);
    let view = self::view(&[(&format!("members/{long}"), "{")]);
    assert!(view.notes[0].len() < 400);
}
