//! Whose turn it is in a watchdog cluster. Its pgpools share who is attached and who is primary;
//! weights and slot tables are each one's own. The agent beside the watchdog's leader changes the
//! shared part at once. The others leave it to that one, and step in, one after another, when it
//! stays undone: pgpool forwards what a standby is told (proto-notes/hazards.md, 20). What the
//! watchdog thinks of its quorum does not matter: etcd says who leads, and who reads it may act.

use std::time::Duration;

use crate::model::ids::{SlotIndex, printable};
use crate::model::inputs::Inputs;
use crate::model::plan::{Act, Hold, Step};
use crate::model::pool::Watchdog;
use crate::model::slots::SlotTable;
use crate::model::turn::Undone;

use super::assign::{self, Assignment};
use super::ground::Ground;
use super::sequence::Sequence;
use super::weights;
use super::wish::{self, Wishes};
use super::{agree, contested};

/// How long each agent waits for the one before it. pgpool's main process sleeps a second after
/// every change, so a second change shows only after that: shorter, and agents would do things
/// twice. Longer is only added to the write gap when the agent beside the leader is dead.
const EACH: Duration = Duration::from_millis(1500);

/// How often an election is looked after, when this agent's turn has come: a forked process at
/// pgpool each time, against half of this added to a write gap of many seconds.
const ELECTION_POLL: Duration = Duration::from_millis(500);

/// How often the wait may double when somebody undoes what this agent did: up to some six minutes
/// for the first in line. Two agents that want different things must not fight for long.
const DOUBLED_MAX: u32 = 8;

/// Who may change the shared states now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This agent: there is no watchdog, or this pgpool leads it.
    Own,
    /// This agent, in the place of those before it.
    StepsIn,
    /// Another.
    Others,
    /// Nobody here: this pgpool has other servers in its slots than the others.
    Nobody,
}

impl Turn {
    pub fn at_first(watchdog: Option<&Watchdog>) -> Self {
        match watchdog.is_none_or(Watchdog::leads_here) {
            true => Turn::Own,
            false => Turn::Others,
        }
    }
}

/// When this agent steps in for what is left undone.
pub fn delay(watchdog: &Watchdog, again: u32) -> Duration {
    EACH * watchdog.place() * 2_u32.pow(again.min(DOUBLED_MAX))
}

/// The ground with the turn taken if it has come, else a hold for each change that waits.
pub fn take<'a>(
    ground: Ground<'a>,
    assignment: &Assignment,
    wishes: &Wishes,
) -> (Ground<'a>, Vec<Hold>) {
    let Some(watchdog) = ground.watchdog_of_others() else {
        let conflict = agree::conflict(&ground);
        return (ground, conflict.into_iter().collect());
    };
    let due = due_steps(&ground, assignment, wishes);
    let again = times_undone(ground.undone, &acts(&due));
    let delay = delay(watchdog, again);
    // With nothing due it makes no difference but one: the holds say what is waited for.
    let is_taken = watchdog.leader.is_some() && ground.undone.is_over(delay, &acts(&due));
    if due.is_empty() || is_taken {
        return (Ground { turn: Turn::StepsIn, ..ground }, Vec::new());
    }
    let why = why_not_yet(watchdog, delay, again);
    let hold = |s: &Step| Hold {
        member: s.member.clone(),
        slot: s.act.slot(),
        reason: format!("{} {why}", s.act.op()),
    };
    (ground, due.iter().map(hold).collect())
}

/// What to remember of this look, and how long to wait for the turn. `made`: the due changes were
/// made by this agent.
pub fn remember(inputs: &Inputs, made: bool) -> (Undone, Option<Duration>) {
    let Some(due) = due_acts(inputs) else { return (Undone::default(), None) };
    let undone = inputs.undone.clone().after(due, made);
    let watchdog = inputs.pool.as_ref().ok().and_then(|p| p.watchdog.as_ref());
    let waits = watchdog.filter(|_| !undone.due.is_empty());
    let delay = waits.map(|w| delay(w, times_undone(&undone, &undone.due)));
    let left = delay.map(|delay| delay.saturating_sub(undone.lasts));
    let elected = watchdog.is_some_and(|w| w.leader.is_some());
    let left = left.map(|left| if elected { left } else { left.max(ELECTION_POLL) });
    (undone, left)
}

/// The changes of shared states that are due and not this agent's first; `None` where all are its
/// own, or too little is known.
fn due_acts(inputs: &Inputs) -> Option<Vec<Act>> {
    let ground = Ground::of(inputs).ok()?;
    ground.watchdog_of_others()?;
    let assignment = assign::members_to_slots(&ground);
    if contested::hold(&ground, &assignment).is_some() {
        return None;
    }
    let wishes = wish::of_each_slot(&ground, &assignment);
    Some(acts(&due_steps(&ground, &assignment, &wishes)))
}

/// The changes of shared states that this agent would make if it were its turn.
fn due_steps(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> Vec<Step> {
    let acting = Ground { turn: Turn::Own, ..ground.clone() };
    let (mut steps, _) = Sequence::towards(&acting, assignment, wishes).into_parts();
    steps.retain(|s| s.act.slot().is_some());
    steps
}

/// The weights while others are about to change what is attached: nothing is lowered yet, and
/// whatever they do first, the attached slots do not all have weight 0 here.
pub fn weights_meanwhile(sequence: &Sequence) -> SlotTable {
    let Assignment { table, leader, .. } = sequence.assignment;
    let wanted = table.entries.keys().copied().filter(|s| sequence.wishes.is_attached(*s));
    let goal = weights::when_attached(table, sequence.wishes, *leader, &wanted.collect());
    let now = sequence.with_new_slots();
    let is_wanted = |s: &SlotIndex| sequence.wishes.is_attached(*s);
    let leaving: Vec<_> = sequence.attached.iter().copied().filter(|s| !is_wanted(s)).collect();
    let incoming: Vec<_> = table
        .entries
        .keys()
        .copied()
        .filter(|s| is_wanted(s) && !sequence.attached.contains(s))
        .collect();
    let goal = weights::raised_after(&now, &goal, &leaving);
    let meanwhile = weights::raised(&now, &goal, &incoming);
    // A promote, or an attach of the leader, may leave nobody but it for a while.
    let unread = |s: &SlotIndex| meanwhile.entries.get(s).is_some_and(|e| e.weight <= 0.0);
    let meanwhile = match leader.filter(unread).filter(|_| !sequence.leader_leads_pgpool()) {
        Some(leader) => weights::with_weight(meanwhile, leader, 1.0),
        None => meanwhile,
    };
    // Nor do those that are attached now, whatever the file has had before.
    match sequence.attached.first() {
        Some(first) if !weights::serves_reads(&meanwhile, &sequence.attached) => {
            weights::with_weight(meanwhile, *first, 1.0)
        }
        _ => meanwhile,
    }
}

fn acts(steps: &[Step]) -> Vec<Act> {
    steps.iter().map(|s| s.act.clone()).collect()
}

/// How often this agent has made these changes and found them undone.
fn times_undone(undone: &Undone, due: &[Act]) -> u32 {
    if undone.made == due && !undone.steps_in { undone.again + 1 } else { 0 }
}

impl Undone {
    fn is_over(&self, delay: Duration, due: &[Act]) -> bool {
        self.steps_in || (self.due.first() == due.first() && self.lasts >= delay)
    }
}

const NOBODY_LEADS: &str = "waits until the watchdog has elected a leader: pgpool takes no changes \
    before";

fn why_not_yet(watchdog: &Watchdog, delay: Duration, again: u32) -> String {
    let Some(leader) = &watchdog.leader else { return NOBODY_LEADS.to_owned() };
    let first = format!("is the turn of the agent beside {}", printable(leader));
    let after = delay.as_secs_f64();
    let undone = match again {
        0 => "",
        _ => " (somebody undid it before: do all agents here have the same location and settings?)",
    };
    format!("{first}; this one steps in if it stays undone for {after} s{undone}")
}

/// What the reason of a shared change says besides.
pub fn remark(ground: &Ground) -> Option<String> {
    let watchdog = ground.pool.watchdog.as_ref()?;
    let leader = watchdog.leader.as_ref().filter(|_| ground.turn == Turn::StepsIn);
    let place = leader.map(|name| format!("in place of the agent beside {}", printable(name)));
    let quorum = (!watchdog.quorum).then(|| "without watchdog quorum, by etcd's word".to_owned());
    let said: Vec<_> = place.into_iter().chain(quorum).collect();
    (!said.is_empty()).then(|| said.join(", "))
}
