//! What time has shown, as far as decisions depend on it. The planner has no clock: whoever has one
//! says here what is over, what is due and what has to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ids::{MemberName, SlotIndex};

/// Facts about what went before. The default is all that an agent knows that has just started:
/// nothing has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elapsed {
    /// Members that serve again, but not for long enough yet to be attached.
    pub unproven: BTreeMap<MemberName, Trial>,
    /// Members that have only just stopped serving: they may be back in a moment.
    pub fell: BTreeSet<MemberName>,
    /// Who leads did so at the last look already: its key is no news.
    pub leader_stays: bool,
    /// Members that Patroni is about to restart, by the schedule in its keys.
    pub restart_due: BTreeSet<MemberName>,
    /// Slots whose readers are given time to end before it is detached.
    pub draining: BTreeSet<SlotIndex>,
    /// Slots that somebody else detached, and that are left so for a while.
    pub by_hand: BTreeSet<SlotIndex>,
}

/// What a member has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// How long it has to have been good.
    pub lasts: Duration,
    /// How often it stopped being good lately.
    pub falls: u32,
}
