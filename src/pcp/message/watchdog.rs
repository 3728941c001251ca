//! The watchdog cluster, the one reply in JSON (proto-notes/watchdog.md).

use serde::Deserialize;

use super::fields::{Fields, Malformed};
use crate::model::ids::printable;
use crate::model::pool::Watchdog;

#[derive(Deserialize)]
struct Cluster {
    #[serde(rename = "QuorumStatus")]
    quorum_status: i32,
    // Up to 4.1 the leader was called the master.
    #[serde(rename = "LeaderNodeName", alias = "MasterNodeName")]
    leader_node_name: String,
    #[serde(rename = "WatchdogNodes")]
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "NodeName")]
    name: String,
    #[serde(rename = "StateName")]
    state: String,
}

pub(super) fn decode(mut fields: Fields<'_>) -> Result<Watchdog, Malformed> {
    let json = fields.bytes()?;
    fields.end()?;
    let cluster: Cluster = serde_json::from_slice(json)
        .map_err(|e| Malformed::Value { what: "watchdog info", found: e.to_string() })?;
    Ok(Watchdog {
        nodes: cluster.nodes.iter().map(|n| (printable(&n.name), state(&n.state))).collect(),
        leader: leader(&cluster.leader_node_name),
        // 1: there is one; 0: just enough; -1: lost; -2: nobody leads.
        quorum: cluster.quorum_status >= 0,
    })
}

fn state(name: &str) -> String {
    match name {
        "MASTER" => "LEADER".to_owned(),
        other => printable(other),
    }
}

fn leader(name: &str) -> Option<String> {
    (!matches!(name, "" | "Not Set" | "Not_Set")).then(|| printable(name))
}
