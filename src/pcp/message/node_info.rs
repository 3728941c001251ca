//! One backend slot (proto-notes/node-info.md).

use super::fields::{Fields, Malformed};
use crate::model::pool::{NodeRole, NodeStatus, PoolNode, PoolVersion};

/// pgpool multiplies a slot's share of reads by glibc's `RAND_MAX`.
const WHOLE_SHARE: f64 = 2_147_483_647.0;

/// One `NodeInfo`, and the shape that it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    pub node: PoolNode,
    pub generation: Generation,
}

/// Node info's shapes, told apart by the number of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 3.7: 6 fields.
    Six,
    /// 4.0: 8 fields.
    Eight,
    /// 4.1 and 4.2: 10 fields.
    Ten,
    /// 4.3: 12 fields, and every node in one answer.
    Twelve,
    /// 4.4 and later: 13 fields.
    Thirteen,
}

impl Generation {
    /// Whether `I -1` lists every node; before, each node has to be asked for.
    pub fn lists_all(self) -> bool {
        self >= Generation::Twelve
    }

    /// The oldest pgpool that answers like this.
    pub fn oldest_version(self) -> PoolVersion {
        match self {
            Generation::Six | Generation::Eight | Generation::Ten => PoolVersion::UpTo41,
            Generation::Twelve => PoolVersion::V43,
            Generation::Thirteen => PoolVersion::V44,
        }
    }
}

/// A reply of up to 4.2: the fields follow `CommandComplete`.
pub(super) fn single(fields: Fields<'_>) -> Result<NodeInfo, Malformed> {
    let generation = match fields.count() {
        6 => Generation::Six,
        8 => Generation::Eight,
        10 => Generation::Ten,
        fields => return Err(Malformed::Shape { what: "node info", fields }),
    };
    decode(fields, generation)
}

/// One row of 4.3 and later.
pub(super) fn row(fields: Fields<'_>) -> Result<NodeInfo, Malformed> {
    let generation = match fields.count() {
        12 => Generation::Twelve,
        13 => Generation::Thirteen,
        fields => return Err(Malformed::Shape { what: "node info", fields }),
    };
    decode(fields, generation)
}

fn decode(mut fields: Fields<'_>, generation: Generation) -> Result<NodeInfo, Malformed> {
    let host = fields.text()?;
    let port = fields.number("a port")?;
    let status = status(&mut fields)?;
    let quarantined = fields.flag("quarantine")?;
    if generation.lists_all() {
        fields.skip(1)?; // pg_status
    }
    let share = fields.number::<f64>("a weight")? / WHOLE_SHARE;
    let role = role(&mut fields)?;
    // What PostgreSQL says of the node, its lag: the agent has better witnesses.
    let unread = match generation {
        Generation::Six => 0,
        Generation::Eight => 1,
        Generation::Ten => 3,
        Generation::Twelve => 4,
        Generation::Thirteen => 5,
    };
    fields.skip(unread)?;
    let changed = match generation {
        Generation::Six => None,
        _ => fields.text()?.parse().ok(),
    };
    fields.end()?;
    let node = PoolNode { host, port, status, quarantined, role, share, changed };
    Ok(NodeInfo { node, generation })
}

fn status(fields: &mut Fields<'_>) -> Result<NodeStatus, Malformed> {
    match fields.text()?.as_str() {
        "0" => Ok(NodeStatus::Unused),
        "1" | "2" => Ok(NodeStatus::Up),
        "3" => Ok(NodeStatus::Down),
        // Not taken for down: what is not understood must not lead to an act.
        found => Err(Malformed::Value { what: "a node's status", found: found.to_owned() }),
    }
}

fn role(fields: &mut Fields<'_>) -> Result<NodeRole, Malformed> {
    match fields.text()?.as_str() {
        "2" => Ok(NodeRole::Primary),
        // 0 and 1 are the main node and a replica outside streaming replication mode.
        "0" | "1" | "3" => Ok(NodeRole::Standby),
        found => Err(Malformed::Value { what: "a node's role", found: found.to_owned() }),
    }
}
