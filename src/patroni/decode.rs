//! etcd's keys of one scope to a [`ClusterView`]. Pure and total: only a Citus cluster whose group
//! is not configured is refused; everything else that is malformed degrades and is named in a note.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use super::keys::FOLDER;
use super::member::{self, short};
use super::{agreed, json, orders, switchover};
use crate::model::agreed::Agreed;
use crate::model::cluster::{ClusterView, Switchover};
use crate::model::ids::{Address, MemberName};
use crate::model::orders::Orders;

/// etcd itself takes requests of at most 1.5 MiB unless told otherwise.
const VALUE_MAX: usize = 2 * 1024 * 1024;

/// More than a cluster has members; keeps a flood of broken keys out of the log.
const NOTES_MAX: usize = 100;

/// Why a scope cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// The scope is a Citus cluster, and nobody said which of its groups to follow.
    CitusGroups(Vec<u32>),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::CitusGroups(groups) => {
                let list: Vec<String> = groups.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "this scope is a Citus cluster: set etcd3.group to one of [{}] (0 is the \
                     coordinator)",
                    list.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Reads the keys under `base` as they were at `revision`. Keys that are not Patroni's are ignored.
pub fn decode<'a>(
    base: &str,
    revision: i64,
    keys: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<ClusterView, DecodeError> {
    let mut scope = Scope::new(base, keys);
    if let Some(groups) = scope.groups_to_choose_from() {
        return Err(DecodeError::CitusGroups(groups));
    }
    let mut view = ClusterView { revision, ..ClusterView::default() };
    view.leader = scope.leader();
    view.system_id = scope.text("initialize").map(short);
    scope.read_config(&mut view);
    view.sync_standbys = scope.sync_standbys();
    view.switchover = scope.switchover();
    view.leader_lsn = scope.leader_lsn();
    let members = std::mem::take(&mut scope.members);
    for (name, value) in members {
        let mut read = member::decode(&name, value, &mut scope.notes);
        read.orders = scope.orders.remove(&name).unwrap_or_default();
        view.members.insert(name, read);
    }
    scope.note_shared_addresses(&view);
    scope.note_leader_without_member(&view);
    view.agreed = std::mem::take(&mut scope.agreed);
    scope.note_orders_without_member();
    view.other_orders = std::mem::take(&mut scope.orders);
    view.notes = at_most(NOTES_MAX, scope.notes);
    Ok(view)
}

/// The keys of a scope by their place in it.
struct Scope<'a> {
    members: BTreeMap<MemberName, &'a [u8]>,
    single: BTreeMap<&'a str, &'a [u8]>,
    groups: BTreeSet<u32>,
    agreed: Agreed,
    orders: BTreeMap<MemberName, Orders>,
    notes: Vec<String>,
}

impl<'a> Scope<'a> {
    fn new(base: &str, keys: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut scope = Scope {
            members: BTreeMap::new(),
            single: BTreeMap::new(),
            groups: BTreeSet::new(),
            agreed: Agreed::default(),
            orders: BTreeMap::new(),
            notes: Vec::new(),
        };
        for (key, value) in keys {
            let below = key.strip_prefix(base.as_bytes()).and_then(|k| k.strip_prefix(b"/"));
            match below.map(std::str::from_utf8) {
                Some(Ok(path)) => scope.place(path, value),
                Some(Err(_)) => {
                    let shown = short(&String::from_utf8_lossy(key));
                    scope.notes.push(format!("key {shown} is not UTF-8 and was ignored"));
                }
                None => {}
            }
        }
        scope
    }

    fn place(&mut self, path: &'a str, value: &'a [u8]) {
        match path.split_once('/') {
            None if is_patronis(path) => self.keep(path, value),
            Some(("optime", "leader")) => self.keep(path, value),
            Some(("members", "")) => {
                self.notes.push("a member without a name was ignored".to_owned());
            }
            Some(("members", name)) if !name.contains('/') => {
                self.members.insert(MemberName::new(name), value);
            }
            Some((FOLDER, own)) => {
                orders::take(own, value, &mut self.orders, &mut self.notes);
                agreed::take(own, value, &mut self.agreed, &mut self.notes);
            }
            Some((group, rest)) if is_patronis(rest.split('/').next().unwrap_or(rest)) => {
                self.groups.extend(group_number(group));
            }
            _ => {}
        }
    }

    fn keep(&mut self, path: &'a str, value: &'a [u8]) {
        match value.len() <= VALUE_MAX {
            true => drop(self.single.insert(path, value)),
            false => self.notes.push(format!("{path} is too large and was ignored")),
        }
    }

    /// Citus groups, where nothing but groups is in the scope. A plain cluster beside what is left
    /// of groups is followed as the plain cluster that it is.
    fn groups_to_choose_from(&self) -> Option<Vec<u32>> {
        let plain = !self.members.is_empty() || self.single.contains_key("leader");
        (!plain && !self.groups.is_empty()).then(|| self.groups.iter().copied().collect())
    }

    /// A value as text, without the white space around it; `None` when it is absent or empty.
    fn text(&mut self, key: &str) -> Option<&'a str> {
        match std::str::from_utf8(self.single.get(key)?) {
            Ok(text) => Some(text.trim()).filter(|t| !t.is_empty()),
            Err(_) => {
                self.notes.push(format!("{key} is not UTF-8 and was ignored"));
                None
            }
        }
    }

    /// A value as a JSON object; anything else is noted, empty and `null` are as good as absent.
    fn object(&mut self, key: &str) -> Option<Map<String, Value>> {
        let text = self.text(key).filter(|t| *t != "null")?;
        let found = json::object(text.as_bytes());
        if found.is_none() {
            self.notes.push(format!("{key} is not a JSON object and was ignored"));
        }
        found
    }

    /// The leader key holds a plain name. Patroni compares it as it is, so a member of exactly that
    /// name comes first; only then is white space around it taken off.
    fn leader(&mut self) -> Option<MemberName> {
        let trimmed = MemberName::new(self.text("leader")?);
        let exact = self.single.get("leader").and_then(|v| std::str::from_utf8(v).ok());
        Some(exact.map(MemberName::new).filter(|n| self.members.contains_key(n)).unwrap_or(trimmed))
    }

    fn read_config(&mut self, view: &mut ClusterView) {
        let Some(config) = self.object("config") else { return };
        view.paused = config.get("pause").and_then(json::truth) == Some(true);
        let standby = config.get("standby_cluster").and_then(Value::as_object);
        let names_a_source = |s: &Map<String, Value>| {
            let sources = ["host", "port", "restore_command"];
            sources.iter().any(|field| s.get(*field).is_some_and(json::is_truthy))
        };
        view.standby_cluster = standby.is_some_and(names_a_source);
    }

    /// Empty when `sync` names no leader, as in Patroni.
    fn sync_standbys(&mut self) -> Vec<String> {
        let Some(sync) = self.object("sync") else { return Vec::new() };
        let listed = match (json::text(sync.get("leader")), sync.get("sync_standby")) {
            (Some(_), Some(Value::String(list))) => list.split(',').map(str::to_owned).collect(),
            (Some(_), Some(Value::Array(list))) => {
                list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        listed.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect()
    }

    fn switchover(&mut self) -> Option<Switchover> {
        switchover::decode(self.text("failover")?)
    }

    /// `status`, or what Patroni before 2.1 wrote in its place. 0 is Patroni's "not known".
    fn leader_lsn(&mut self) -> Option<u64> {
        let key = if self.text("status").is_some() { "status" } else { "optime/leader" };
        let value: Option<Value> = serde_json::from_str(self.text(key)?).ok();
        let lsn = match &value {
            Some(Value::Object(status)) => Some(status.get("optime").and_then(json::whole)),
            Some(bare) => json::whole(bare).map(Some),
            None => None,
        };
        if lsn.is_none() {
            self.notes.push(format!("{key} holds no WAL position and was ignored"));
        }
        lsn.flatten().filter(|lsn| *lsn > 0)
    }

    fn note_shared_addresses(&mut self, view: &ClusterView) {
        let mut owners: BTreeMap<&Address, Vec<String>> = BTreeMap::new();
        for member in view.members.values() {
            if let Ok(address) = &member.address {
                owners.entry(address).or_default().push(short(member.name.as_raw()));
            }
        }
        for (address, names) in owners.into_iter().filter(|(_, names)| names.len() > 1) {
            self.notes.push(format!("members {} are both at {address}", names.join(" and ")));
        }
    }

    fn note_orders_without_member(&mut self) {
        for (name, Orders { held, location: _ }) in &self.orders {
            let what = if held.is_some() { "held" } else { "located" };
            let name = short(name.as_raw());
            self.notes.push(format!("{name} is {what} by an order, and is no member now"));
        }
    }

    fn note_leader_without_member(&mut self, view: &ClusterView) {
        if let Some(leader) = &view.leader
            && !view.members.contains_key(leader)
        {
            let name = short(leader.as_raw());
            self.notes.push(format!("{name} holds the leader key but has no member key"));
        }
    }
}

fn at_most(limit: usize, mut notes: Vec<String>) -> Vec<String> {
    if notes.len() > limit {
        let more = notes.len() - limit;
        notes.truncate(limit);
        notes.push(format!("and {more} more"));
    }
    notes
}

fn is_patronis(key: &str) -> bool {
    let known = ["initialize", "config", "leader", "status", "failover", "sync", "history"];
    known.contains(&key) || ["failsafe", "members", "optime"].contains(&key)
}

/// Patroni's `^(0|[1-9][0-9]*)$`.
fn group_number(text: &str) -> Option<u32> {
    let is_canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (is_canonical && digits).then(|| text.parse().ok()).flatten()
}
