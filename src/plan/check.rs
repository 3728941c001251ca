//! Judges a finished plan by the invariants, without knowing how it was made: it replays the steps
//! on a picture of pgpool and names each moment at which a promise would be broken. The loop
//! applies no plan that it finds fault with.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{Address, SlotIndex};
use crate::model::inputs::Inputs;
use crate::model::plan::{Act, Plan, Step};
use crate::model::policy::OnPrimaryLoss;
use crate::model::reach::Answer;
use crate::model::slots::SlotTable;

use super::check_known::Known;
use super::ground::Ground;
use super::turn::{self, Turn};
use super::{check_restart, check_tiers};

/// One sentence per broken promise; empty for a good plan.
pub fn faults(inputs: &Inputs, plan: &Plan) -> Vec<String> {
    if plan.steps.is_empty() {
        return Vec::new();
    }
    let Ok(ground) = Ground::of(inputs) else {
        return vec!["steps without a known cluster and pgpool".to_owned()];
    };
    let mut replay = Replay::start(&ground);
    let mut faults = Vec::new();
    for (number, step) in plan.steps.iter().enumerate() {
        let is_last = number + 1 == plan.steps.len();
        let why = out_of_turn(&ground, step).or_else(|| replay.why_not(step, is_last));
        replay.carry_out(&step.act);
        let both = why.into_iter().chain(replay.look_at_weights());
        faults.extend(both.map(|why| format!("step {}: {why}", number + 1)));
    }
    faults
}

/// In a watchdog cluster nobody but the agent beside the leader changes what it shares before the
/// others have had their time.
fn out_of_turn(ground: &Ground, step: &Step) -> Option<String> {
    let watchdog = ground.pool.watchdog.as_ref()?;
    step.act.slot()?;
    if ground.turn == Turn::Nobody {
        return Some("the pgpools of this watchdog cluster have different slot tables".to_owned());
    }
    let waited = ground.undone.steps_in || ground.undone.lasts >= turn::delay(watchdog, 0);
    let early = !watchdog.leads_here() && !waited;
    early.then(|| "it is the turn of another agent of this watchdog cluster".to_owned())
}

struct Replay<'a> {
    ground: &'a Ground<'a>,
    written: Option<&'a SlotTable>,
    /// What pgpool has read since the plan began; `None` before its first reload.
    in_force: Option<&'a SlotTable>,
    /// Where pgpool has its slots.
    addresses: BTreeMap<SlotIndex, Address>,
    /// What is known of the servers there.
    known: Known<'a>,
    attached: BTreeSet<SlotIndex>,
    primary: Option<SlotIndex>,
    /// Reads had somewhere to go before the first step.
    had_reads: bool,
}

impl<'a> Replay<'a> {
    fn start(ground: &'a Ground<'a>) -> Self {
        let attached: BTreeSet<_> = ground.pool.attached().map(|(s, _)| s).collect();
        let nodes = ground.pool.nodes.iter();
        let addresses = nodes.filter_map(|(s, n)| Some((*s, n.address()?))).collect();
        let reads = |s: &SlotIndex| ground.pool.nodes.get(s).is_some_and(|n| n.share > 0.0);
        Replay {
            had_reads: attached.iter().any(reads),
            primary: ground.pool.primary(),
            written: ground.file.ok(),
            in_force: None,
            known: Known::of(ground, &addresses),
            addresses,
            attached,
            ground,
        }
    }

    fn carry_out(&mut self, act: &'a Act) {
        match act {
            Act::WriteConf(table) => self.written = Some(table),
            Act::Reload => {
                self.in_force = self.written;
                self.take_up_new_slots();
            }
            Act::Attach(slot) => {
                self.attached.insert(*slot);
                self.primary = self.attached.intersection(&self.known.leading).next().copied();
            }
            Act::Detach(slot) => {
                self.attached.remove(slot);
                self.primary = self.primary.filter(|p| p != slot);
            }
            Act::Promote(slot) => {
                self.attached = BTreeSet::from([*slot]);
                self.primary = Some(*slot);
            }
            Act::Restart(layout) => {
                self.in_force = Some(&layout.table);
                self.attached = layout.attached.clone();
            }
        }
    }

    fn why_not(&self, step: &Step, is_last: bool) -> Option<String> {
        match &step.act {
            Act::WriteConf(table) => self.why_not_write(table),
            Act::Reload => None,
            Act::Attach(slot) => self.why_not_attach(*slot),
            Act::Detach(slot) => self.why_not_detach(*slot),
            Act::Promote(slot) => self.why_not_promote(*slot),
            Act::Restart(layout) => check_restart::why_not(self.ground, layout, is_last),
        }
    }

    fn why_not_write(&self, table: &SlotTable) -> Option<String> {
        if self.ground.file.is_err() {
            return Some("writes a file that could not be read".to_owned());
        }
        let moved = self.ground.pool.nodes.iter().find(|(slot, node)| {
            let then = table.entries.get(slot);
            node.port != 0
                && then.is_none_or(|e| (&e.host, e.port) != (&node.host, node.port))
                && then.is_none_or(|e| e.address().is_none() || e.address() != node.address())
        });
        if let Some((slot, _)) = moved {
            return Some(format!("slot {slot} changes its address in a live pgpool"));
        }
        let live = |s: &SlotIndex| self.ground.pool.nodes.get(s).is_some_and(|n| n.port != 0);
        let (live, new): (Vec<_>, Vec<_>) = table.entries.iter().partition(|(s, _)| live(s));
        let mut seen: BTreeSet<_> = live.iter().filter_map(|(_, e)| e.address()).collect();
        let second = new.iter().find(|(_, e)| e.address().is_some_and(|a| !seen.insert(a)));
        second.map(|(slot, _)| format!("slot {slot} gets an address that another slot has"))
    }

    fn why_not_attach(&self, slot: SlotIndex) -> Option<String> {
        let read = self.in_force.is_some_and(|t| t.entries.contains_key(&slot));
        if !read && !self.ground.pool.nodes.contains_key(&slot) {
            return Some(format!("attaches slot {slot}, which has no server"));
        }
        if let Some(slot) = self.met(&self.known.unsafe_to_search, slot).next() {
            return Some(format!("pgpool would log in to slot {slot}, which has not answered"));
        }
        if self.ground.cluster.standby_cluster {
            return None;
        }
        // The leader must come in somehow: if pgpool believes the rival, the leader is promoted
        // next.
        let led = self.primary.filter(|p| self.attached.contains(p));
        let tolerated = |s: &SlotIndex| self.leads(slot) && led.is_none_or(|p| p == *s);
        if let Some(rival) = self.met(&self.known.rivals, slot).find(|s| !tolerated(s)) {
            return Some(format!("pgpool might take slot {rival} for its primary"));
        }
        let reads = |s: &SlotIndex| self.weight(*s) > 0.0;
        let attached = self.attached.iter().copied().filter(reads);
        let members = check_tiers::Members { ground: self.ground, known: &self.known };
        if let Some(why) = members.why_not_attach(slot, attached) {
            return Some(why);
        }
        match self.met(&self.known.leading, slot).next().is_some() {
            true => self.ground.why_not_writable().map(|why| format!("attaches too early: {why}")),
            false => Some("attaches while the leader is detached".to_owned()),
        }
    }

    /// Those of `slots` that pgpool's search meets once `new` is attached.
    fn met<'b>(
        &'b self,
        slots: &'b BTreeSet<SlotIndex>,
        new: SlotIndex,
    ) -> impl Iterator<Item = SlotIndex> + 'b {
        let new = slots.get(&new);
        self.attached.intersection(slots).chain(new).copied()
    }

    fn why_not_detach(&self, slot: SlotIndex) -> Option<String> {
        if !self.attached.contains(&slot) {
            return Some(format!("detaches slot {slot}, which is not attached"));
        }
        if self.ground.leader.is_err() {
            return Some(format!("detaches slot {slot} while nobody is known to lead"));
        }
        let searches = self.primary.is_none_or(|p| p == slot);
        let mut froze = self.attached.intersection(&self.known.unsafe_to_search);
        if let Some(froze) = froze.find(|s| searches && **s != slot) {
            return Some(format!("pgpool would log in to slot {froze}, which has not answered"));
        }
        if !self.is_safe_to_search(slot) && self.was_asked(slot) {
            return None; // it hangs: nobody is served by it
        }
        let vanished = |at| self.ground.past.vanished_from(at).is_some() && !self.is_member(at);
        let no_standby = matches!(self.answer(slot), Some(Answer::Writable | Answer::Dead(_)));
        if !no_standby && self.addresses.get(&slot).is_some_and(vanished) {
            return Some(format!("detaches slot {slot}, whose member vanished with most others"));
        }
        if self.primary == Some(slot) && !self.ground.cluster.standby_cluster {
            return Some(format!("detaches pgpool's primary, slot {slot}"));
        }
        let last = self.attached.iter().all(|s| *s == slot);
        last.then(|| format!("detaches the last attached slot, {slot}"))
    }

    fn why_not_promote(&self, slot: SlotIndex) -> Option<String> {
        if !self.attached.contains(&slot) {
            return Some(format!("promotes slot {slot}, which is detached"));
        }
        if self.primary == Some(slot) {
            return Some(format!("promotes slot {slot}, which is pgpool's primary already"));
        }
        let stands_in = self.primary.is_some_and(|p| self.is_lost(p))
            && self.answer(slot).is_some_and(Answer::is_alive);
        (!self.leads(slot) && !stands_in)
            .then(|| format!("promotes slot {slot}, which does not hold the leader key"))
    }

    /// Nobody can use this primary from here. While it holds the leader key, one bad answer is not
    /// enough to say so; while nobody does and it is watched, one silence is not. A paused cluster
    /// without a leader is an operator's.
    fn is_lost(&self, primary: SlotIndex) -> bool {
        let answer = self.answer(primary);
        let watched =
            self.ground.lost.is_some_and(|loss| self.addresses.get(&primary) == Some(&loss.server));
        let Ground { cluster, policy, .. } = self.ground;
        let leaderless = cluster.leader.is_none();
        let refused = matches!(answer, Some(Answer::Dead(_)));
        let one_is_enough = !self.leads(primary) && (refused || !(leaderless && policy.sql_probe));
        policy.on_primary_loss == OnPrimaryLoss::StandIn
            && !(leaderless && cluster.paused)
            && match answer {
                Some(answer) => !answer.is_alive() && (watched || one_is_enough),
                None => watched,
            }
    }

    /// In any unit: only whether it is 0 counts.
    fn weight(&self, slot: SlotIndex) -> f64 {
        let live = || self.ground.pool.nodes.get(&slot).map_or(0.0, |n| n.share);
        self.in_force.and_then(|t| t.entries.get(&slot)).map_or_else(live, |e| e.weight)
    }

    /// I2: whatever is attached, somebody gets the reads.
    fn look_at_weights(&mut self) -> Option<String> {
        let reads = self.attached.iter().any(|s| self.weight(*s) > 0.0);
        if reads || self.attached.is_empty() || self.ground.file.is_err() {
            self.had_reads |= reads;
            return None;
        }
        self.had_reads.then(|| "every attached slot has weight 0".to_owned())
    }

    /// Whether the holder of the leader key is in this slot.
    fn leads(&self, slot: SlotIndex) -> bool {
        self.known.leading.contains(&slot)
    }

    /// Whether a listed member is there.
    fn is_member(&self, address: &Address) -> bool {
        self.ground.cluster.members.values().any(|m| m.address.as_ref() == Ok(address))
    }

    /// A used slot keeps its address; pgpool takes up the others.
    fn take_up_new_slots(&mut self) {
        let used = |s: &SlotIndex| self.ground.pool.nodes.get(s).is_some_and(|n| n.port != 0);
        let entries = self.in_force.iter().flat_map(|t| &t.entries);
        let new = entries.filter(|(slot, _)| !used(slot));
        self.addresses.extend(new.filter_map(|(slot, e)| Some((*slot, e.address()?))));
        self.known = Known::of(self.ground, &self.addresses);
    }

    fn is_safe_to_search(&self, slot: SlotIndex) -> bool {
        !self.known.unsafe_to_search.contains(&slot)
    }

    fn was_asked(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some()
    }

    fn answer(&self, slot: SlotIndex) -> Option<&Answer> {
        self.known.answers.get(&slot).copied()
    }
}
