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

use super::check_restart;
use super::ground::Ground;
use super::turn::{self, Turn};

/// One sentence per broken promise; empty for a good plan.
pub fn faults(inputs: &Inputs, plan: &Plan) -> Vec<String> {
    if plan.steps.is_empty() {
        return Vec::new();
    }
    let Ok(ground) = Ground::of(inputs) else {
        return vec!["steps without a known cluster and pgpool".to_owned()];
    };
    let mut replay = Replay::start(&ground);
    for (number, step) in plan.steps.iter().enumerate() {
        let is_last = number + 1 == plan.steps.len();
        let why = out_of_turn(&ground, step).or_else(|| replay.why_not(step, is_last));
        replay.faults.extend(why.map(|why| format!("step {}: {why}", number + 1)));
        replay.carry_out(&step.act);
        replay.look_at_weights(number + 1);
    }
    replay.faults
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
    written: SlotTable,
    /// What pgpool has read since the plan began; empty before its first reload.
    in_force: SlotTable,
    /// Where pgpool has its slots.
    addresses: BTreeMap<SlotIndex, Address>,
    attached: BTreeSet<SlotIndex>,
    primary: Option<SlotIndex>,
    /// Reads had somewhere to go before the first step.
    had_reads: bool,
    faults: Vec<String>,
}

impl<'a> Replay<'a> {
    fn start(ground: &'a Ground<'a>) -> Self {
        let table = ground.file.cloned().unwrap_or_default();
        let attached: BTreeSet<_> = ground.pool.attached().map(|(s, _)| s).collect();
        let nodes = ground.pool.nodes.iter();
        let reads = |s: &SlotIndex| ground.pool.nodes.get(s).is_some_and(|n| n.share > 0.0);
        Replay {
            had_reads: attached.iter().any(reads),
            primary: ground.pool.primary(),
            written: table,
            in_force: SlotTable::default(),
            addresses: nodes.filter_map(|(s, n)| Some((*s, n.address()?))).collect(),
            attached,
            ground,
            faults: Vec::new(),
        }
    }

    fn carry_out(&mut self, act: &Act) {
        match act {
            Act::WriteConf(table) => self.written = table.clone(),
            Act::Reload => {
                self.in_force = self.written.clone();
                self.take_up_new_slots();
            }
            Act::Attach(slot) => {
                self.attached.insert(*slot);
                self.primary = self.attached.iter().copied().find(|s| self.leads(*s));
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
                self.in_force = layout.table.clone();
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
        if !self.in_force.entries.contains_key(&slot) && !self.ground.pool.nodes.contains_key(&slot)
        {
            return Some(format!("attaches slot {slot}, which has no server"));
        }
        let froze = self.attached.iter().chain([&slot]).find(|s| !self.is_safe_to_search(**s));
        if let Some(slot) = froze {
            return Some(format!("pgpool would log in to slot {slot}, which has not answered"));
        }
        if self.ground.cluster.standby_cluster {
            return None;
        }
        let rival = |s: &SlotIndex| !self.leads(*s) && self.answer(*s) == Some(&Answer::Writable);
        // The leader must come in somehow: if pgpool believes the rival, the leader is promoted
        // next.
        let led = self.primary.filter(|p| self.attached.contains(p));
        let tolerated = |s: &SlotIndex| self.leads(slot) && led.is_none_or(|p| p == *s);
        let mut met = self.attached.iter().copied().chain([slot]);
        if let Some(rival) = met.find(|s| rival(s) && !tolerated(s)) {
            return Some(format!("pgpool might take slot {rival} for its primary"));
        }
        match self.leads(slot) || self.attached.iter().any(|s| self.leads(*s)) {
            true => self.ground.why_not_writable().map(|why| format!("attaches too early: {why}")),
            false => Some("attaches while the leader is detached".to_owned()),
        }
    }

    fn why_not_detach(&self, slot: SlotIndex) -> Option<String> {
        if !self.attached.contains(&slot) {
            return Some(format!("detaches slot {slot}, which is not attached"));
        }
        if self.ground.leader.is_err() {
            return Some(format!("detaches slot {slot} while nobody is known to lead"));
        }
        let mut others = self.attached.iter().filter(|s| **s != slot);
        let searches = self.primary.is_none_or(|p| p == slot);
        if let Some(froze) = others.find(|s| searches && !self.is_safe_to_search(**s)) {
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
    /// enough to say so.
    fn is_lost(&self, primary: SlotIndex) -> bool {
        let answer = self.answer(primary);
        let watched =
            self.ground.lost.is_some_and(|loss| self.addresses.get(&primary) == Some(&loss.server));
        self.ground.policy.on_primary_loss == OnPrimaryLoss::StandIn
            && match answer {
                Some(answer) => !answer.is_alive() && (watched || !self.leads(primary)),
                None => watched,
            }
    }

    /// In any unit: only whether it is 0 counts.
    fn weight(&self, slot: SlotIndex) -> f64 {
        let live = || self.ground.pool.nodes.get(&slot).map_or(0.0, |n| n.share);
        self.in_force.entries.get(&slot).map_or_else(live, |e| e.weight)
    }

    /// I2: whatever is attached, somebody gets the reads.
    fn look_at_weights(&mut self, step: usize) {
        let reads = self.attached.iter().any(|s| self.weight(*s) > 0.0);
        if reads || self.attached.is_empty() || self.ground.file.is_err() {
            self.had_reads |= reads;
        } else if self.had_reads {
            self.faults.push(format!("step {step}: every attached slot has weight 0"));
        }
    }

    /// Whether the holder of the leader key is in this slot.
    fn leads(&self, slot: SlotIndex) -> bool {
        !self.ground.cluster.standby_cluster
            && self.ground.leader_at().is_some_and(|at| self.addresses.get(&slot) == Some(at))
    }

    /// Whether a listed member is there.
    fn is_member(&self, address: &Address) -> bool {
        self.ground.cluster.members.values().any(|m| m.address.as_ref() == Ok(address))
    }

    /// A used slot keeps its address; pgpool takes up the others.
    fn take_up_new_slots(&mut self) {
        let used = |s: &SlotIndex| self.ground.pool.nodes.get(s).is_some_and(|n| n.port != 0);
        let new = self.in_force.entries.iter().filter(|(slot, _)| !used(slot));
        self.addresses.extend(new.filter_map(|(slot, e)| Some((*slot, e.address()?))));
    }

    fn is_safe_to_search(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some_and(|a| a.is_safe_to_search())
    }

    fn was_asked(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some()
    }

    fn answer(&self, slot: SlotIndex) -> Option<&Answer> {
        self.ground.reach.of(self.addresses.get(&slot)?)
    }
}
