//! One member: every role, state and tag, and what is malformed.

use geo_agent::model::cluster::{Member, Role, State};

use super::{at, member, view};

/// A member with this JSON; `conn_url` and a role are there unless given.
fn one(fields: &str) -> (Member, Vec<String>) {
    let base =
        r#""conn_url":"postgres://10.0.0.1:5432/postgres","role":"replica","state":"running""#;
    let comma = if fields.is_empty() { "" } else { "," };
    let view = view(&[("members/a", &format!("{{{base}{comma}{fields}}}"))]);
    (member(&view, "a"), view.notes)
}

#[test]
fn every_role() {
    for (text, role, serves) in [
        ("primary", Role::Primary, true),
        ("master", Role::Primary, true),
        ("leader", Role::Primary, true),
        ("promoted", Role::Promoted, true),
        ("replica", Role::Replica, true),
        ("sync_standby", Role::Replica, true),
        ("quorum_standby", Role::Replica, true),
        ("standby_leader", Role::StandbyLeader, true),
        ("demoted", Role::Other, false),
        ("uninitialized", Role::Other, false),
        ("Primary", Role::Other, false),
        ("something new", Role::Other, false),
    ] {
        let (member, _) = one(&format!(r#""role":"{text}""#));
        assert_eq!((member.role, member.is_serving()), (role, serves), "{text}");
    }
    assert_eq!(one(r#""role":7"#).0.role, Role::Other);
    assert!(one(r#""role":"new""#).1[0].contains("role \"new\" is not known"));
}

#[test]
fn every_state() {
    for text in ["running", "streaming", "in archive recovery"] {
        assert_eq!(one(&format!(r#""state":"{text}""#)).0.state, State::Running, "{text}");
    }
    for text in [
        "starting",
        "starting after custom bootstrap",
        "start failed",
        "restarting",
        "restart failed",
        "stopping",
        "stopped",
        "stop failed",
        "crashed",
        "creating replica",
        "initializing new cluster",
        "initdb failed",
        "running custom bootstrap script",
        "custom bootstrap failed",
        "something new",
    ] {
        let (member, _) = one(&format!(r#""state":"{text}""#));
        assert_eq!(member.state, State::NotServing(text.into()));
        assert!(!member.is_serving());
    }
    assert_eq!(one(r#""state":null"#).0.state, State::NotServing("unknown".into()));
}

#[test]
fn a_tag_may_be_anything() {
    let (m, notes) = one(r#""tags":{"site":"a","n":1.5,"b":false,"list":[1],"o":{},"z":null}"#);
    let tags: Vec<_> = m.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(tags, [("b", "false"), ("n", "1.5"), ("site", "a")]);
    assert!(notes.is_empty(), "{notes:?}");
    for (text, set) in
        [("true", true), ("\"on\"", true), ("1", true), ("false", false), ("\"false\"", false)]
    {
        let (m, _) = one(&format!(r#""tags":{{"noloadbalance":{text}}}"#));
        assert_eq!(m.noloadbalance, set, "{text}");
    }
    assert!(one(r#""tags":[]"#).0.tags.is_empty());
    let (m, notes) = one(&format!(r#""tags":{{"t":"{}"}}"#, "x".repeat(5_000)));
    assert!(m.tags.is_empty() && notes.len() == 1, "{notes:?}");
}

#[test]
fn a_malformed_member_is_there_but_unusable_and_named() {
    for broken in ["{", "", "[]", "null", "7", "\"x\"", "{\"conn_url\":\"\\ud800\"}"] {
        let view = view(&[
            ("members/bad", broken),
            ("members/good", r#"{"conn_url":"postgres://h/","role":"replica","state":"running"}"#),
        ]);
        let bad = member(&view, "bad");
        assert!(bad.address.is_err() && !bad.is_serving(), "{broken}");
        assert!(view.notes.iter().any(|n| n.starts_with("member bad: ")), "{:?}", view.notes);
        assert!(member(&view, "good").is_serving());
    }
    let huge = format!("{{\"conn_url\":\"{}\"}}", "x".repeat(300_000));
    let view = view(&[("members/bad", &huge)]);
    assert!(member(&view, "bad").address.is_err());
    assert!(view.notes[0].contains("too large"), "{:?}", view.notes);
}

#[test]
fn a_member_without_a_usable_address_is_named() {
    let (member, notes) = one(r#""conn_url":"postgres://u:secret@h:99999/db""#);
    assert_eq!(member.address, Err("conn_url: port 99999 is not in 1..=65535".into()));
    assert_eq!(notes, ["member a: conn_url: port 99999 is not in 1..=65535"]);
    let (member, _) = one(r#""conn_url":5"#);
    assert_eq!(member.address, Err("it has no conn_url".into()));
}

#[test]
fn governors_bare_url_is_a_member() {
    let url = "postgres://u:p@10.0.0.7:5433/postgres?application_name=http://10.0.0.7:8008/patroni";
    let view = view(&[("members/a", url)]);
    assert_eq!(member(&view, "a").address, at("10.0.0.7", 5433));
    assert!(!member(&view, "a").is_serving());
}

#[test]
fn escapes_outside_the_basic_plane_are_text() {
    let (member, notes) = one(r#""tags":{"t":"\ud83d\ude00"}"#);
    assert_eq!(member.tags["t"], "\u{1f600}");
    assert!(notes.is_empty());
}
