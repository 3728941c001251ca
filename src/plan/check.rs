//! Judges a finished plan by the invariants, without knowing how it was made: it replays the steps
//! on a picture of pgpool and names each moment at which a promise would be broken. The loop applies
//! no plan that it finds fault with.

use std::collections::BTreeSet;

use crate::model::ids::SlotIndex;
use crate::model::inputs::Inputs;
use crate::model::plan::{Act, Plan, Step};
use crate::model::slots::SlotTable;

use super::ground::Ground;

/// One sentence per broken promise; empty for a good plan.
pub fn faults(inputs: &Inputs, plan: &Plan) -> Vec<String> {
    if plan.steps.is_empty() {
        return Vec::new();
    }
    let Ok(ground) = Ground::of(inputs) else {
        return vec!["steps without a known cluster, leader and pgpool".to_owned()];
    };
    let mut replay = Replay::start(&ground);
    for (number, step) in plan.steps.iter().enumerate() {
        replay.faults.extend(replay.why_not(step).map(|why| format!("step {}: {why}", number + 1)));
        replay.carry_out(&step.act);
        replay.look_at_weights(number + 1);
    }
    replay.faults
}

struct Replay<'a> {
    ground: &'a Ground<'a>,
    written: SlotTable,
    in_force: SlotTable,
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
        let reads = |s: &SlotIndex| ground.pool.nodes.get(s).is_some_and(|n| n.share > 0.0);
        Replay {
            had_reads: attached.iter().any(reads),
            primary: ground.pool.primary(),
            written: table.clone(),
            in_force: table,
            attached,
            ground,
            faults: Vec::new(),
        }
    }

    fn carry_out(&mut self, act: &Act) {
        match act {
            Act::WriteConf(table) => self.written = table.clone(),
            Act::Reload => self.in_force = self.written.clone(),
            Act::Attach(slot) => {
                self.attached.insert(*slot);
                self.primary = self.leader_slot().filter(|l| self.attached.contains(l));
            }
            Act::Detach(slot) => {
                self.attached.remove(slot);
            }
            Act::Promote(slot) => {
                self.attached = BTreeSet::from([*slot]);
                self.primary = Some(*slot);
            }
        }
    }

    fn why_not(&self, step: &Step) -> Option<String> {
        match &step.act {
            Act::WriteConf(table) => self.why_not_write(table),
            Act::Reload => None,
            Act::Attach(slot) => self.why_not_attach(*slot),
            Act::Detach(slot) => self.why_not_detach(*slot),
            Act::Promote(slot) => self.why_not_promote(*slot),
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
        let addresses: Vec<_> = table.entries.values().filter_map(|e| e.address()).collect();
        let distinct: BTreeSet<_> = addresses.iter().collect();
        let was: Vec<_> = self.written.entries.values().filter_map(|e| e.address()).collect();
        let distinct_before = was.iter().collect::<BTreeSet<_>>().len() == was.len();
        (distinct_before && distinct.len() != addresses.len())
            .then(|| "one address gets two slots".to_owned())
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
        let leader = self.leader_slot();
        let found = leader.is_some_and(|l| l == slot || self.attached.contains(&l));
        match found {
            true => self.ground.why_not_writable().map(|why| format!("attaches too early: {why}")),
            false => Some("attaches while the leader is detached".to_owned()),
        }
    }

    fn why_not_detach(&self, slot: SlotIndex) -> Option<String> {
        if !self.is_safe_to_search(slot) && self.was_asked(slot) {
            return None; // it hangs: nobody is served by it
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
        let hangs = |p: SlotIndex| self.was_asked(p) && !self.is_safe_to_search(p);
        let leads = self.leader_slot() == Some(slot);
        (!leads && !self.primary.is_some_and(hangs))
            .then(|| format!("promotes slot {slot}, which does not hold the leader key"))
    }

    /// I2: whatever is attached, somebody gets the reads.
    fn look_at_weights(&mut self, step: usize) {
        let reads = super::weights::serves_reads(&self.in_force, &self.attached);
        if reads || self.attached.is_empty() || self.ground.file.is_err() {
            self.had_reads |= reads;
        } else if self.had_reads {
            self.faults.push(format!("step {step}: every attached slot has weight 0"));
        }
    }

    fn leader_slot(&self) -> Option<SlotIndex> {
        let at = |s: &SlotTable| s.slot_at(self.ground.leader_at);
        let live = self.ground.pool.nodes.iter();
        at(&self.in_force).or_else(|| {
            live.clone()
                .find(|(_, n)| n.address().as_ref() == Some(self.ground.leader_at))
                .map(|(s, _)| *s)
        })
    }

    fn is_safe_to_search(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some_and(|a| a.is_safe_to_search())
    }

    fn was_asked(&self, slot: SlotIndex) -> bool {
        self.answer(slot).is_some()
    }

    fn answer(&self, slot: SlotIndex) -> Option<&crate::model::reach::Answer> {
        let in_file = self.in_force.entries.get(&slot).and_then(|e| e.address());
        let live = || self.ground.pool.nodes.get(&slot).and_then(|n| n.address());
        self.ground.reach.of(&in_file.or_else(live)?)
    }
}
