//! What pgpool says of itself, as read over PCP.

use std::collections::BTreeMap;

use super::ids::{Address, SlotIndex};
use super::slots::SlotTable;

/// One reading of pgpool's node table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolView {
    /// Every slot up to the highest configured one; unused gaps are in it with
    /// [`NodeStatus::Unused`].
    pub nodes: BTreeMap<SlotIndex, PoolNode>,
    /// Which pgpool this is, by what it can do.
    pub version: PoolVersion,
    /// pgpool's own settings as its processes run with them (PCP `B`); empty when not asked.
    pub settings: BTreeMap<String, String>,
    /// `None`: no watchdog, or not asked.
    pub watchdog: Option<Watchdog>,
    /// Client sessions right now; `None` when not asked (`plan` asks, and whoever drains a slot).
    pub sessions: Option<Sessions>,
    /// What is broken in pgpool itself (proto-notes/hazards.md, 12); empty when it is whole.
    pub damage: Vec<String>,
}

impl PoolView {
    /// The slot that pgpool sends writes to; `None` when it knows of none.
    pub fn primary(&self) -> Option<SlotIndex> {
        self.nodes.iter().find(|(_, n)| n.role == NodeRole::Primary).map(|(slot, _)| *slot)
    }

    pub fn is_attached(&self, slot: SlotIndex) -> bool {
        self.nodes.get(&slot).is_some_and(|n| n.status == NodeStatus::Up)
    }

    /// Whether pgpool's slots and shares are what it would compute from this table. A detached slot
    /// counts: pgpool normalises over all of them. A slot outside the table does not: no reload
    /// would change its weight.
    pub fn runs_with(&self, table: &SlotTable) -> bool {
        let live = |slot| self.nodes.get(slot).filter(|n| n.status != NodeStatus::Unused);
        let sum: f64 = table.entries.values().map(|e| e.weight).sum();
        let shares: f64 = table.entries.keys().filter_map(live).map(|n| n.share).sum();
        table.entries.iter().all(|(slot, entry)| {
            live(slot).is_some_and(|n| same_share(n.share / shares, entry.weight / sum))
        })
    }

    /// Whether somebody other than an operator may detach a slot: pgpool itself by its settings, as
    /// far as they are known, or another pgpool of its watchdog.
    pub fn detaches_by_itself(&self) -> bool {
        let is_off = |name| {
            let value = self.settings.get(name).map(String::as_str);
            matches!(value, Some("0" | "off" | "no" | "false"))
        };
        let checks = |(name, value): (&String, &String)| {
            name.starts_with("health_check_period") && !matches!(value.as_str(), "0" | "0s")
        };
        self.watchdog.is_some()
            || !is_off("failover_on_backend_error")
            || !is_off("failover_on_backend_shutdown")
            || !is_off("detach_false_primary")
            || self.settings.iter().any(checks)
    }

    /// Attached slots, lowest first.
    pub fn attached(&self) -> impl Iterator<Item = (SlotIndex, &PoolNode)> {
        self.nodes.iter().filter(|(_, n)| n.status == NodeStatus::Up).map(|(s, n)| (*s, n))
    }
}

/// pgpool prints shares with few digits; all-zero weights are NaN on both sides.
fn same_share(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-4
}

/// One `NodeInfo` of pgpool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolNode {
    /// As pgpool has it: a host, a socket directory, or empty for an unused slot.
    pub host: String,
    pub port: u16,
    pub status: NodeStatus,
    /// Set by a watchdog without quorum; such a node has status down.
    pub quarantined: bool,
    pub role: NodeRole,
    /// pgpool's normalised share of reads, 0.0..=1.0; NaN when all weights are 0.
    pub share: f64,
    /// When its status changed last, in seconds since 1970. A restart of pgpool sets it for all.
    pub changed: Option<u64>,
}

impl PoolNode {
    /// `None` for an unused slot or a socket directory.
    pub fn address(&self) -> Option<Address> {
        Address::new(&self.host, u32::from(self.port)).ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// 0: the slot has no backend.
    Unused,
    /// 1 (attached, nobody has connected yet) and 2.
    Up,
    /// 3.
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    Primary,
    Standby,
}

/// pgpool's version by what it can do, told from the names in its settings and, failing that, from
/// the shape of node info. Ordered: later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PoolVersion {
    /// 3.7 to 4.1: no reload over PCP.
    #[default]
    UpTo41,
    V42,
    V43,
    V44,
    V45,
    V46,
    /// 4.7 or later.
    V47,
}

impl PoolVersion {
    /// Up to 4.4 pgpool ends the sessions that run a statement while it changes a node
    /// (proto-notes/hazards.md, 2).
    pub fn ends_busy_sessions(self) -> bool {
        self <= PoolVersion::V44
    }

    /// From 4.5 on session processes wait out a node change in whole seconds
    /// (proto-notes/hazards.md, 14).
    pub fn sleeps_in_whole_seconds(self) -> bool {
        !self.ends_busy_sessions()
    }

    /// PCP `Z` exists (4.2 and later).
    pub fn can_reload_over_pcp(self) -> bool {
        self >= PoolVersion::V42
    }

    pub fn as_str(self) -> &'static str {
        match self {
            PoolVersion::UpTo41 => "4.1 or older",
            PoolVersion::V42 => "4.2",
            PoolVersion::V43 => "4.3",
            PoolVersion::V44 => "4.4",
            PoolVersion::V45 => "4.5",
            PoolVersion::V46 => "4.6",
            PoolVersion::V47 => "4.7 or newer",
        }
    }
}

/// Client sessions, counted from process info.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    pub total: u32,
    /// Sessions by the slot they read from; `None` where pgpool does not say (before 4.5).
    pub reading: Option<BTreeMap<SlotIndex, u32>>,
}

/// The watchdog cluster as this pgpool sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watchdog {
    /// Node names with their state (`LEADER`, `STANDBY`, …), this pgpool first.
    pub nodes: Vec<(String, String)>,
    pub leader: Option<String>,
    pub quorum: bool,
}

impl Watchdog {
    /// The same nodes, with nothing known of their states.
    pub fn in_doubt(&self) -> Self {
        let unknown = |(name, _): &(String, String)| (name.clone(), "UNKNOWN".to_owned());
        let nodes = self.nodes.iter().map(unknown).collect();
        Watchdog { nodes, leader: None, quorum: false }
    }

    /// What the others call this pgpool.
    pub fn name(&self) -> Option<&str> {
        self.nodes.first().map(|(name, _)| name.as_str())
    }

    pub fn leads_here(&self) -> bool {
        self.nodes.first().is_some_and(|(_, state)| state == "LEADER")
    }

    /// Where this pgpool stands in the order in which agents act: 0 leads, then come the other
    /// ones that are alive, by name, which is the same order wherever it is worked out.
    pub fn place(&self) -> u32 {
        if self.leads_here() {
            return 0;
        }
        let Some((here, others)) = self.nodes.split_first() else { return 1 };
        let before = |(name, state): &&(String, String)| match state.as_str() {
            "LEADER" => true,
            "STANDBY" => *name < here.0,
            _ => false,
        };
        // Without a leader, or with one that only this pgpool has not heard of, nobody is 0.
        let led = others.iter().any(|(_, state)| state == "LEADER");
        u32::try_from(others.iter().filter(before).count() + usize::from(!led)).unwrap_or(u32::MAX)
    }
}
