//! A plan: ordered steps and holds, each with its reason. What `plan` prints and `apply` carries
//! out.

use super::ids::{Address, MemberName, SlotIndex};
use super::restart::Layout;
use super::slots::SlotTable;

/// The outcome of one decision. Carrying it out needs no further judgement; stopping after any step
/// is safe; planning again after all of it gives no steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// etcd's revision of the view that this was decided on; `None` when etcd could not be read.
    pub revision: Option<i64>,
    pub leader: Option<MemberName>,
    pub steps: Vec<Step>,
    pub holds: Vec<Hold>,
    /// Every assigned slot, by number.
    pub slots: Vec<SlotRow>,
}

impl Plan {
    /// The worst of its steps.
    pub fn disruption(&self) -> Disruption {
        self.steps.iter().map(|s| s.disruption).max().unwrap_or(Disruption::None)
    }
}

/// One act on pgpool or its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub act: Act,
    pub member: Option<MemberName>,
    pub reason: String,
    pub disruption: Disruption,
    /// How many client sessions it ends, where pgpool says enough to count them.
    pub sessions: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Put this table into pgpool.conf.
    WriteConf(SlotTable),
    Reload,
    Attach(SlotIndex),
    Detach(SlotIndex),
    Promote(SlotIndex),
    /// End pgpool and have it started with this layout. Always the last step: slots have other
    /// numbers afterwards.
    Restart(Layout),
}

impl Act {
    /// The name in `plan --output json`; part of the contract.
    pub fn op(&self) -> &'static str {
        match self {
            Act::WriteConf(_) => "write_conf",
            Act::Reload => "reload",
            Act::Attach(_) => "attach",
            Act::Detach(_) => "detach",
            Act::Promote(_) => "promote",
            Act::Restart(_) => "restart",
        }
    }

    /// The slot it acts on; `None` when it is about the whole table.
    pub fn slot(&self) -> Option<SlotIndex> {
        match self {
            Act::Attach(s) | Act::Detach(s) | Act::Promote(s) => Some(*s),
            Act::WriteConf(_) | Act::Reload | Act::Restart(_) => None,
        }
    }
}

/// Whose sessions a step ends, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disruption {
    /// No client session ends.
    None,
    /// Sessions that run a statement at that instant end (pgpool up to 4.4).
    Busy,
    /// Sessions reading from that slot end.
    Slot,
    /// Every session ends.
    All,
    /// pgpool itself goes away.
    Restart,
}

impl Disruption {
    pub fn as_str(self) -> &'static str {
        match self {
            Disruption::None => "none",
            Disruption::Busy => "busy",
            Disruption::Slot => "slot",
            Disruption::All => "all",
            Disruption::Restart => "restart",
        }
    }
}

/// A refusal to act, and what would end it. The texts of one hold stay the same from look to look,
/// so that a reader can be told since when it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hold {
    pub member: Option<MemberName>,
    pub slot: Option<SlotIndex>,
    pub reason: String,
}

/// One slot, as pgpool has it and as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotRow {
    pub slot: SlotIndex,
    pub member: Option<MemberName>,
    pub host: String,
    pub port: u16,
    /// How far its member counts as being: 0 is local, then come the tiers of `locations`. `None`:
    /// remote, or no member.
    pub tier: Option<usize>,
    /// Where `geo-agent locate` says that it is, if that is what counts. Not safe to print.
    pub located: Option<String>,
    /// `None` for a slot that pgpool does not know yet.
    pub from: Option<SlotState>,
    pub to: SlotState,
}

impl SlotRow {
    /// Its member counts as being here.
    pub fn is_local(&self) -> bool {
        self.tier == Some(0)
    }

    /// `None` for a slot at a socket directory.
    pub fn address(&self) -> Option<Address> {
        Address::new(&self.host, u32::from(self.port)).ok()
    }
}

/// A slot's state in the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotState {
    pub status: SlotStatus,
    /// The configured weight, not pgpool's normalised share.
    pub weight: f64,
    pub primary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotStatus {
    Up,
    Down,
    Unused,
}

impl SlotStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            SlotStatus::Up => "up",
            SlotStatus::Down => "down",
            SlotStatus::Unused => "unused",
        }
    }
}
