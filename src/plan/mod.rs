//! Decides: views in, a [`Plan`] out. Pure: no clock, no I/O, no log, no randomness.
//!
//! The three questions, in order: may anything be done at all ([`ground`]), which member owns which
//! slot ([`assign`]), and what should each slot be ([`wish`]). [`sequence`] turns the answers into
//! steps such that stopping after any one is safe; [`check`] judges the result by its own lights.

pub mod agree;
pub mod assign;
pub mod attach;
pub mod check;
pub mod check_known;
pub mod check_restart;
pub mod check_tiers;
pub mod compact;
pub mod contested;
pub mod describe;
pub mod detach;
pub mod farther;
pub mod first;
pub mod ground;
pub mod held;
pub mod lag;
pub mod leaving;
pub mod questions;
pub mod reader;
pub mod restart;
pub mod sequence;
pub mod stand_in;
pub mod turn;
pub mod vanished;
pub mod weights;
pub mod why;
pub mod wish;

use crate::model::cluster::Member;
use crate::model::ids::SlotIndex;
use crate::model::inputs::Inputs;
use crate::model::plan::{Hold, Plan, SlotRow, SlotState, SlotStatus};
use crate::model::policy::Policy;
use crate::model::pool::{NodeStatus, PoolView};
use crate::model::slots::SlotEntry;

use assign::Assignment;
use ground::Ground;
use sequence::Sequence;

/// What to do now, given what everybody says.
pub fn plan(inputs: &Inputs) -> Plan {
    let ground = match Ground::of(inputs) {
        Ok(ground) => ground,
        Err(hold) => return standing_still(inputs, vec![hold]),
    };
    let assignment = assign::members_to_slots(&ground);
    if let Some(hold) = contested::hold(&ground, &assignment) {
        return standing_still(inputs, vec![hold]);
    }
    let wishes = wish::of_each_slot(&ground, &assignment);
    let (ground, not_yet) = turn::take(ground, &assignment, &wishes);
    let sequence = Sequence::towards(&ground, &assignment, &wishes);

    let rows = rows(&ground, &assignment, &sequence);
    let waiting = wishes.holds(&assignment.table, &sequence.attached);
    let (steps, mut holds) = sequence.into_parts();
    holds.extend(not_yet);
    if let Err(leaderless) = &ground.leader {
        holds.insert(0, leaderless.clone());
        if steps.is_empty() {
            return standing_still(inputs, holds);
        }
    }
    holds.extend(vanished::holds(&ground, &assignment));
    holds.extend(held::holds(&ground, &assignment));
    holds.extend(waiting);
    holds.splice(0..0, assignment.holds.iter().cloned());
    holds.extend(ground.file_hold());
    let mut plan = Plan {
        revision: Some(ground.cluster.revision),
        leader: ground.cluster.leader.clone(),
        steps,
        holds,
        slots: rows,
    };
    restart::add_to(&mut plan, &ground, &assignment, &wishes);
    plan
}

/// Nothing may be done: the slots are shown as they are.
fn standing_still(inputs: &Inputs, holds: Vec<Hold>) -> Plan {
    let cluster = inputs.cluster.as_ref().ok();
    Plan {
        revision: cluster.map(|c| c.revision),
        leader: cluster.and_then(|c| c.leader.clone()),
        steps: Vec::new(),
        holds,
        slots: rows_as_they_are(inputs),
    }
}

fn rows(ground: &Ground, assignment: &Assignment, sequence: &Sequence) -> Vec<SlotRow> {
    let primary = ground.pool.primary();
    let row = |(slot, entry): (&_, &SlotEntry)| SlotRow {
        slot: *slot,
        member: entry.member.clone(),
        host: entry.host.clone(),
        port: entry.port,
        tier: tier(ground.policy, assignment.member(*slot)),
        located: located(ground.policy, assignment.member(*slot)),
        from: state_now(
            ground.pool,
            *slot,
            ground.weight_in_file(*slot).unwrap_or(entry.weight),
            primary,
        ),
        to: sequence.state_then(*slot),
    };
    assignment.table.entries.iter().map(row).collect()
}

fn rows_as_they_are(inputs: &Inputs) -> Vec<SlotRow> {
    let Ok(file) = &inputs.file else { return Vec::new() };
    let cluster = inputs.cluster.as_ref().ok();
    let row = |(slot, entry): (&_, &SlotEntry)| {
        let member = entry.member.as_ref().and_then(|m| cluster?.members.get(m));
        let now =
            inputs.pool.as_ref().ok().and_then(|p| state_now(p, *slot, entry.weight, p.primary()));
        SlotRow {
            slot: *slot,
            member: entry.member.clone(),
            host: entry.host.clone(),
            port: entry.port,
            tier: tier(&inputs.policy, member),
            located: located(&inputs.policy, member),
            from: now,
            to: now.unwrap_or(SlotState {
                status: SlotStatus::Unused,
                weight: entry.weight,
                primary: false,
            }),
        }
    };
    file.entries.iter().map(row).collect()
}

fn tier(policy: &Policy, member: Option<&Member>) -> Option<usize> {
    policy.tier(member?)
}

fn located(policy: &Policy, member: Option<&Member>) -> Option<String> {
    member.and_then(|m| policy.location_order(m)).map(str::to_owned)
}

/// What pgpool says of a slot; `None` when it does not know it yet.
fn state_now(
    pool: &PoolView,
    slot: SlotIndex,
    weight: f64,
    primary: Option<SlotIndex>,
) -> Option<SlotState> {
    let node = pool.nodes.get(&slot).filter(|n| n.port != 0)?;
    let status = match node.status {
        NodeStatus::Up => SlotStatus::Up,
        NodeStatus::Down => SlotStatus::Down,
        NodeStatus::Unused => SlotStatus::Unused,
    };
    Some(SlotState { status, weight, primary: primary == Some(slot) })
}
