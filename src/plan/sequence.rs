//! From what is to what should be, in steps that are each a safe place to stop.
//!
//! The order, and why: the leader's slot is promoted before anything else, so that writes pass the
//! moment it accepts them. New slots and higher weights come before an attach, lower ones last, so
//! that reads always have somewhere to go. What hangs is detached before an attach, because an
//! attach makes pgpool's main process log in everywhere (proto-notes/hazards.md, 10). Detaching
//! comes after the leader is attached.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::SlotIndex;
use crate::model::plan::{Act, Disruption, Hold, SlotState, SlotStatus, Step};
use crate::model::pool::{NodeStatus, PoolNode};
use crate::model::reach::Answer;
use crate::model::slots::SlotTable;

use super::assign::Assignment;
use super::ground::Ground;
use super::turn::Turn;
use super::wish::Wishes;
use super::{attach, describe, detach, stand_in, turn, weights};

/// Steps, and the world as it will be after them.
pub struct Sequence<'a> {
    pub(super) ground: &'a Ground<'a>,
    pub(super) assignment: &'a Assignment<'a>,
    pub(super) wishes: &'a Wishes<'a>,
    /// What the file says by now.
    table: Cow<'a, SlotTable>,
    /// pgpool runs with other weights or slots than the file has.
    stale: bool,
    /// The block has to be written even if its table stays the same.
    edited: bool,
    pub(super) attached: BTreeSet<SlotIndex>,
    pub(super) primary: Option<SlotIndex>,
    steps: Vec<Step>,
    pub(super) holds: Vec<Hold>,
    /// What the servers have answered, by slot; looked up when the first answer matters.
    pub(super) answers: OnceCell<BTreeMap<SlotIndex, &'a Answer>>,
}

impl<'a> Sequence<'a> {
    pub fn towards(
        ground: &'a Ground<'a>,
        assignment: &'a Assignment<'a>,
        wishes: &'a Wishes<'a>,
    ) -> Self {
        let mut sequence = Self::start(ground, assignment, wishes);
        sequence.promote_the_leader();
        sequence.stand_in_for_a_lost_primary();
        if ground.leader.is_err() {
            return sequence;
        }
        let attach = attach::allowed_now(&mut sequence);
        let detach = detach::allowed_now(&mut sequence, &attach);
        let end = sequence.attached_at_the_end(&attach, &detach);
        let goal = match ground.turn {
            Turn::Others => turn::weights_meanwhile(&sequence),
            _ => weights::when_attached(&assignment.table, wishes, assignment.leader, &end),
        };

        let before = weights::raised_after(&sequence.table, &goal, &detach);
        let bridge = sequence.bridge(&before, &attach);
        sequence.write(&bridge);
        sequence.steps.reserve(attach.slots.len() + detach.len());
        for slot in &attach.blockers {
            sequence.detach(*slot, attach::why_in_the_way(&sequence, *slot));
        }
        for slot in &attach.slots {
            sequence.attach(*slot);
        }
        for slot in detach {
            sequence.detach(slot, wishes.why(slot));
        }
        sequence.write(&goal);
        sequence
    }

    pub fn into_parts(self) -> (Vec<Step>, Vec<Hold>) {
        (self.steps, self.holds)
    }

    /// What a slot will be after all steps.
    pub fn state_then(&self, slot: SlotIndex) -> SlotState {
        let status = match self.attached.contains(&slot) {
            true => SlotStatus::Up,
            false if self.stays_unused(slot) => SlotStatus::Unused,
            false => SlotStatus::Down,
        };
        SlotState {
            status,
            weight: self.table.entries.get(&slot).map_or(0.0, |e| e.weight),
            primary: self.primary == Some(slot),
        }
    }

    /// A slot that pgpool started without is down as soon as it reads the file or promotes another.
    fn stays_unused(&self, slot: SlotIndex) -> bool {
        let unused = |n: &PoolNode| n.status == NodeStatus::Unused;
        let wakes = |s: &Step| matches!(s.act, Act::Reload | Act::Promote(_));
        self.ground.pool.nodes.get(&slot).is_some_and(unused) && !self.steps.iter().any(wakes)
    }

    fn start(
        ground: &'a Ground<'a>,
        assignment: &'a Assignment<'a>,
        wishes: &'a Wishes<'a>,
    ) -> Self {
        let table = ground.file.unwrap_or(&assignment.table);
        Sequence {
            stale: ground.file.is_ok() && !ground.pool.runs_with(table),
            edited: ground.file.is_ok() && ground.file_edited,
            table: Cow::Borrowed(table),
            attached: ground.pool.attached().map(|(slot, _)| slot).collect(),
            primary: ground.pool.primary(),
            steps: Vec::new(),
            holds: Vec::new(),
            answers: OnceCell::new(),
            ground,
            assignment,
            wishes,
        }
    }

    /// Phase one of a primary change: needs no SQL, so nothing is asked first.
    fn promote_the_leader(&mut self) {
        let Some(leader) = self.assignment.leader else { return };
        if self.leader_leads_pgpool() || !self.attached.contains(&leader) {
            return;
        }
        if self.ground.may_command() {
            let why = self.wishes.why(leader);
            self.promote(leader, &why);
        }
    }

    /// A promote needs no SQL, so what hangs does not matter.
    fn stand_in_for_a_lost_primary(&mut self) {
        let Some((slot, why)) = stand_in::chosen(self) else { return };
        let gap = |s: &SlotIndex| self.ground.pool.nodes.get(s).is_some_and(|n| n.port == 0);
        if self.assignment.table.entries.keys().any(gap) {
            self.write(&self.with_new_slots()); // a promote spoils the gaps
        }
        self.promote(slot, &why);
    }

    fn attached_at_the_end(
        &self,
        attach: &attach::Allowed,
        detach: &[SlotIndex],
    ) -> BTreeSet<SlotIndex> {
        let mut end = self.attached.clone();
        end.extend(&attach.slots);
        end.retain(|s| !detach.contains(s) && !attach.blockers.contains(s));
        end
    }

    /// The weights for the time between: everything that the goal raises, and reads for somebody at
    /// each moment: now, when the blockers are gone, and when the first slot is attached.
    fn bridge<'g>(&self, goal: &'g SlotTable, attach: &attach::Allowed) -> Cow<'g, SlotTable> {
        let Some(first) = attach.slots.first() else { return Cow::Borrowed(goal) };
        let stay: BTreeSet<_> =
            self.attached.iter().copied().filter(|s| !attach.blockers.contains(s)).collect();
        let last_to_go = attach.blockers.last().map(|s| BTreeSet::from([*s]));
        // The moments with the fewest attached: where reads have somewhere to go then, they always
        // do.
        let moments = match stay.is_empty() {
            true => [Some(BTreeSet::from([*first])), last_to_go],
            false => [Some(stay), None],
        };
        let mut table = match *goal == *self.table {
            true => Cow::Borrowed(goal),
            false => Cow::Owned(weights::raised(&self.with_new_slots(), goal, &attach.slots)),
        };
        for moment in moments.into_iter().flatten() {
            let leader = self.assignment.leader.filter(|l| moment.contains(l));
            let reader = leader.or_else(|| moment.first().copied());
            if let Some(slot) = reader.filter(|_| !weights::serves_reads(&table, &moment)) {
                table = Cow::Owned(weights::with_weight(table.into_owned(), slot, 1.0));
            }
        }
        table
    }

    /// The assigned slots with the weights of the table as it is by now.
    pub(super) fn with_new_slots(&self) -> SlotTable {
        let mut table = SlotTable::clone(&self.assignment.table);
        for (slot, entry) in &mut table.entries {
            if let Some(now) = self.table.entries.get(slot) {
                entry.weight = now.weight;
            }
        }
        table
    }

    /// Brings the file, and pgpool's reading of it, to this table.
    fn write(&mut self, table: &SlotTable) {
        if self.ground.file.is_err() {
            return;
        }
        if *table != *self.table || self.edited {
            let reason = describe::why_write(&self.table, table, self.edited);
            let reload = self.edited || describe::needs_reload(&self.table, table);
            self.edited = false;
            self.push(Act::WriteConf(table.clone()), None, reason, Disruption::None, Some(0));
            self.table = Cow::Owned(table.clone());
            self.stale |= reload;
        }
        if self.stale {
            let reason = "pgpool reads the slot table".to_owned();
            self.push(Act::Reload, None, reason, Disruption::None, Some(0));
            self.stale = false;
        }
    }

    fn promote(&mut self, slot: SlotIndex, why: &str) {
        // Every other slot goes down with a promote: this one must be able to take the reads.
        if self.weight_in_force(slot) <= 0.0 {
            let table = self.with_new_slots();
            let weight = table.entries.get(&slot).map_or(0.0, |e| e.weight);
            let weight = if weight > 0.0 { weight } else { 1.0 };
            self.write(&weights::with_weight(table, slot, weight));
        }
        let all = self.ground.pool.sessions.as_ref().map(|s| s.total);
        self.push(Act::Promote(slot), Some(slot), why.to_owned(), Disruption::All, all);
        self.attached = BTreeSet::from([slot]);
        self.primary = Some(slot);
    }

    /// What pgpool runs with, which is not the file's weight before a reload.
    fn weight_in_force(&self, slot: SlotIndex) -> f64 {
        let live = self.ground.pool.nodes.get(&slot).filter(|_| self.stale);
        let share = live.map(|n| if n.share.is_finite() { n.share } else { 0.0 });
        share.or_else(|| Some(self.table.entries.get(&slot)?.weight)).unwrap_or(0.0)
    }

    fn attach(&mut self, slot: SlotIndex) {
        let busy = self.ground.pool.version.ends_busy_sessions();
        let (disruption, sessions) =
            if busy { (Disruption::Busy, None) } else { (Disruption::None, Some(0)) };
        let why = self.wishes.why(slot);
        self.push(Act::Attach(slot), Some(slot), why, disruption, sessions);
        self.attached.insert(slot);
        // Whom a misled pgpool believes shows at the next look.
        let misled = self.assignment.leader == Some(slot) && attach::is_misled(self, &[]);
        let leader = self.assignment.leader.filter(|_| !misled);
        self.primary = leader.filter(|_| !self.ground.cluster.standby_cluster);
    }

    fn detach(&mut self, slot: SlotIndex, why: impl Into<String>) {
        if !self.attached.remove(&slot) {
            return;
        }
        let sessions = self.ground.pool.sessions.as_ref();
        // Writes go to the primary, and without one to the lowest slot: whoever takes that away
        // ends all.
        let (disruption, ended) = match self.primary.is_none_or(|p| p == slot) {
            true => (Disruption::All, sessions.map(|s| s.total)),
            false => {
                let readers = sessions.and_then(|s| s.reading.as_ref());
                (Disruption::Slot, readers.map(|r| r.get(&slot).copied().unwrap_or(0)))
            }
        };
        self.primary = self.primary.filter(|p| *p != slot);
        self.push(Act::Detach(slot), Some(slot), why.into(), disruption, ended);
    }

    fn push(
        &mut self,
        act: Act,
        slot: Option<SlotIndex>,
        reason: String,
        disruption: Disruption,
        sessions: Option<u32>,
    ) {
        let entry = slot.and_then(|s| self.assignment.table.entries.get(&s));
        let member = entry.and_then(|e| e.member.clone());
        let reason = match slot.and_then(|_| turn::remark(self.ground)) {
            Some(remark) => format!("{reason} ({remark})"),
            None => reason,
        };
        self.steps.push(Step { act, member, reason, disruption, sessions });
    }

    /// pgpool sends writes to the leader, or there is no leader to send them to.
    pub(super) fn leader_leads_pgpool(&self) -> bool {
        let attached = |l: SlotIndex| self.attached.contains(&l) && self.primary == Some(l);
        self.ground.cluster.standby_cluster || self.assignment.leader.is_some_and(attached)
    }

    pub(super) fn hold(&mut self, slot: SlotIndex, reason: impl Into<String>) {
        let entry = self.assignment.table.entries.get(&slot);
        let member = entry.and_then(|e| e.member.clone());
        self.holds.push(Hold { member, slot: Some(slot), reason: reason.into() });
    }
}
