//! One `members/<name>` value to a [`Member`]. Whatever it holds, the member is there afterwards,
//! usable or not, and what was wrong is in a note that names it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::conn_url::address_of;
use super::iso::seconds_since_1970;
use super::json;
use crate::model::cluster::{Member, Replication, Role, State};
use crate::model::ids::{Address, MemberName, printable};
use crate::model::orders::Orders;

/// Patroni writes a few hundred bytes; this leaves room for tags and for restart reasons.
const VALUE_MAX: usize = 256 * 1024;

/// No location, weight or comment in a tag is longer.
pub const TAG_MAX: usize = 1024;

/// Longest piece of foreign text in a note or a state.
pub const TEXT_MAX: usize = 120;

/// Reads a member; notes say what could not be understood.
pub fn decode(name: &MemberName, value: &[u8], notes: &mut Vec<String>) -> Member {
    let mut note = |what: &str| notes.push(format!("member {}: {what}", short(name.as_raw())));
    if value.len() > VALUE_MAX {
        note("its value is too large to be a member's");
        return unusable(name, "its value is too large");
    }
    // The form that Patroni inherited from Governor: the bare URL, nothing else.
    if value.starts_with(b"postgres") {
        let url = String::from_utf8_lossy(value);
        return Member { address: address(&url, &mut note), ..unusable(name, "") };
    }
    match json::object(value) {
        Some(fields) => from_fields(name, &fields, &mut note),
        None => {
            note("its value is not a JSON object");
            unusable(name, "its value is not a JSON object")
        }
    }
}

/// At most [`TEXT_MAX`] characters of `text`, safe to print.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    }
}

fn unusable(name: &MemberName, why: &str) -> Member {
    Member {
        name: name.clone(),
        address: Err(why.to_owned()),
        role: Role::Other,
        state: State::NotServing("unknown".to_owned()),
        replication: Replication::Unsaid,
        receive_lsn: None,
        replay_lsn: None,
        timeline: None,
        noloadbalance: false,
        tags: BTreeMap::new(),
        restart_scheduled: false,
        orders: Orders::default(),
        restart_at: None,
    }
}

fn from_fields(
    name: &MemberName,
    fields: &Map<String, Value>,
    note: &mut impl FnMut(&str),
) -> Member {
    let whole = |field: &str| fields.get(field).and_then(json::whole);
    let (state, shown) = state(fields.get("state"));
    let empty = Map::new();
    let tags = fields.get("tags").and_then(Value::as_object).unwrap_or(&empty);
    Member {
        name: name.clone(),
        address: match fields.get("conn_url").and_then(Value::as_str) {
            Some(url) => address(url, note),
            None => {
                note("it has no conn_url");
                Err("it has no conn_url".to_owned())
            }
        },
        role: role(fields.get("role"), note),
        state,
        replication: match json::text(fields.get("replication_state")).or(shown) {
            Some("streaming") => Replication::Streaming,
            Some("in archive recovery") => Replication::ArchiveRecovery,
            _ => Replication::Unsaid,
        },
        receive_lsn: whole("receive_lsn"),
        replay_lsn: whole("replay_lsn").or_else(|| whole("xlog_location")),
        timeline: whole("timeline").and_then(|t| u32::try_from(t).ok()).filter(|t| *t > 0),
        noloadbalance: tags.get("noloadbalance").is_some_and(is_set),
        tags: text_tags(tags, note),
        restart_scheduled: fields.get("scheduled_restart").is_some_and(json::is_truthy),
        orders: Orders::default(),
        restart_at: json::text(fields.get("scheduled_restart").and_then(|r| r.get("schedule")))
            .and_then(seconds_since_1970),
    }
}

fn address(conn_url: &str, note: &mut impl FnMut(&str)) -> Result<Address, String> {
    address_of(conn_url).map_err(|e| {
        let why = short(&e.to_string());
        note(&why);
        why
    })
}

fn role(value: Option<&Value>, note: &mut impl FnMut(&str)) -> Role {
    match json::text(value) {
        Some("primary" | "master" | "leader") => Role::Primary,
        Some("promoted") => Role::Promoted,
        Some("replica" | "sync_standby" | "quorum_standby") => Role::Replica,
        Some("standby_leader") => Role::StandbyLeader,
        Some("demoted" | "uninitialized") => Role::Other,
        Some(other) => {
            note(&format!("its role \"{}\" is not known", short(other)));
            Role::Other
        }
        None => {
            note("it says no role");
            Role::Other
        }
    }
}

/// The state, and the replication state where it stands in its place, as in Patroni's REST output.
fn state(value: Option<&Value>) -> (State, Option<&str>) {
    match json::text(value) {
        Some("running") => (State::Running, None),
        Some(shown @ ("streaming" | "in archive recovery")) => (State::Running, Some(shown)),
        Some(other) => (State::NotServing(short(other)), None),
        None => (State::NotServing("unknown".to_owned()), None),
    }
}

/// Patroni takes any non-empty string for true. "false" in quotes is what an operator writes who
/// means false, so the words for it count as false here.
fn is_set(tag: &Value) -> bool {
    json::truth(tag).unwrap_or_else(|| json::is_truthy(tag))
}

fn text_tags(tags: &Map<String, Value>, note: &mut impl FnMut(&str)) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (tag, value) in tags {
        let text = match value {
            Value::String(s) => s.clone(),
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        match tag.len().max(text.len()) <= TAG_MAX {
            true => drop(kept.insert(tag.clone(), text)),
            false => note(&format!("its tag \"{}\" is too long", short(tag))),
        }
    }
    kept
}
