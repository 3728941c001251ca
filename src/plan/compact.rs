//! The layout to restart with: the slots of departed members dropped, the rest moved up in their
//! order, those without a slot behind them, and everybody attached who should be and has answered.

use std::collections::BTreeMap;

use crate::model::elapsed::Elapsed;
use crate::model::ids::SlotIndex;
use crate::model::plan::{SlotRow, SlotState, SlotStatus};
use crate::model::pool::{NodeStatus, PoolNode, PoolView};
use crate::model::reach::Answer;
use crate::model::restart::Layout;
use crate::model::slots::{SlotEntry, SlotTable};

use super::assign::{self, Assignment};
use super::ground::Ground;
use super::wish::{self, Want, Wishes};
use super::{located, state_now, tier, weights};

/// Slots that nobody will miss: nobody in the cluster is or may be at their address. One of them
/// that could not be detached yet would come up detached.
fn departed(assignment: &Assignment, wishes: &Wishes) -> Vec<SlotIndex> {
    let missed = |s: &SlotIndex| {
        assignment.member(*s).is_some() || !matches!(wishes.want(*s), Want::Detached(_))
    };
    assignment.table.entries.keys().copied().filter(|s| !missed(s)).collect()
}

/// How many slots a new numbering would free; those that a promote spoilt are among them.
pub fn gain(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> usize {
    let kept = assignment.table.entries.len() - departed(assignment, wishes).len();
    usize::from(ground.policy.slots).saturating_sub(kept)
}

/// A layout and its rows for the plan.
pub struct Compacted {
    pub layout: Layout,
    pub leader: Option<SlotIndex>,
    pub rows: Vec<SlotRow>,
}

/// The numbering without the departed, and with room for those who have no slot.
pub fn compacted(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> Compacted {
    let departed = departed(assignment, wishes);
    let entries = &assignment.table.entries;
    let kept = entries.iter().filter(|(s, _)| !departed.contains(s));
    let kept: Vec<_> = kept.map(|(slot, entry)| (Some(*slot), entry.clone())).collect();
    let room = usize::from(ground.policy.slots).saturating_sub(kept.len());
    let new = assignment.homeless.iter().take(room).filter_map(|m| {
        let address = m.address.as_ref().ok()?;
        Some((None, SlotEntry::new(m.name.clone(), address, 0.0)))
    });
    let all: Vec<_> = kept.into_iter().chain(new).collect();
    of_entries(ground, all)
}

/// The numbering as it is.
pub fn unchanged(ground: &Ground, assignment: &Assignment) -> Compacted {
    let entries = &assignment.table.entries;
    of_entries(ground, entries.iter().map(|(s, e)| (Some(*s), e.clone())).collect())
}

/// `entries` in their new order, each with the slot that it has now.
fn of_entries(ground: &Ground, entries: Vec<(Option<SlotIndex>, SlotEntry)>) -> Compacted {
    let numbered: BTreeMap<SlotIndex, (Option<SlotIndex>, SlotEntry)> =
        (0..).map_while(SlotIndex::new).zip(entries).collect();
    let table = SlotTable { entries: numbered.iter().map(|(s, (_, e))| (*s, e.clone())).collect() };
    let node = |(slot, (old, e)): (&SlotIndex, &(Option<SlotIndex>, SlotEntry))| {
        let now = old.and_then(|s| ground.pool.nodes.get(&s));
        (*slot, node_for(e, now))
    };
    let pool = PoolView { nodes: numbered.iter().map(node).collect(), ..ground.pool.clone() };
    // What is known by a slot's number is not true of the new one.
    let Elapsed { unproven, fell, restart_due, .. } = ground.elapsed.clone();
    let elapsed = &Elapsed { unproven, fell, restart_due, ..Elapsed::default() };
    let file = Ok(&table);
    let then = Ground { pool: &pool, elapsed, file, file_edited: false, ..ground.clone() };
    let assignment = assign::members_to_slots(&then);
    let wishes = wish::of_each_slot(&then, &assignment);
    let slots = assignment.table.entries.keys().copied();
    let attached = slots
        .filter(|s| match wishes.want(*s) {
            Want::Leader(_) | Want::Reader(_) | Want::Farther(_) => {
                serves(ground, &assignment, *s) && may_come_up(ground, &assignment, *s)
            }
            Want::AsIs | Want::WhileAttached => {
                pool.is_attached(*s) && may_come_up(ground, &assignment, *s)
            }
            Want::Detached(_) | Want::Leaving(..) => false,
        })
        .collect();
    let leader = assignment.leader;
    let table = weights::when_attached(&assignment.table, &wishes, leader, &attached);
    let layout = Layout { table, attached };
    let rows = layout.table.entries.keys().map(|slot| {
        let old = numbered.get(slot).and_then(|(old, _)| *old);
        row(ground, &assignment, &layout, *slot, old)
    });
    Compacted { rows: rows.collect(), leader, layout }
}

fn node_for(entry: &SlotEntry, now: Option<&PoolNode>) -> PoolNode {
    let mut node = now.cloned().unwrap_or(PoolNode {
        host: String::new(),
        port: 0,
        status: NodeStatus::Down,
        quarantined: false,
        role: crate::model::pool::NodeRole::Standby,
        share: 0.0,
        changed: None,
    });
    (node.host, node.port) = (entry.host.clone(), entry.port);
    node
}

/// The same answer as for an attach: a server that is gone would cost each session a connection.
fn serves(ground: &Ground, assignment: &Assignment, slot: SlotIndex) -> bool {
    let answer = assignment.address(slot).and_then(|a| ground.reach.of(a));
    answer.is_some_and(Answer::is_alive)
}

/// A pgpool that starts logs in to every slot that is up, and believes who says it is writable.
fn may_come_up(ground: &Ground, assignment: &Assignment, slot: SlotIndex) -> bool {
    let leads = assignment.leader == Some(slot);
    let answer = assignment.address(slot).and_then(|a| ground.reach.of(a));
    answer.is_some_and(|a| a.is_safe_to_search() && (leads || *a != Answer::Writable))
}

fn row(
    ground: &Ground,
    assignment: &Assignment,
    layout: &Layout,
    slot: SlotIndex,
    old: Option<SlotIndex>,
) -> SlotRow {
    let entry = &layout.table.entries[&slot];
    let attached = layout.attached.contains(&slot);
    let leads = !ground.cluster.standby_cluster && assignment.leader == Some(slot);
    let now = |old| {
        let weight = ground.weight_in_file(old).unwrap_or(entry.weight);
        state_now(ground.pool, old, weight, ground.pool.primary())
    };
    SlotRow {
        slot,
        member: entry.member.clone(),
        host: entry.host.clone(),
        port: entry.port,
        tier: tier(ground.policy, assignment.member(slot)),
        located: located(ground.policy, assignment.member(slot)),
        from: old.and_then(now),
        to: SlotState {
            status: if attached { SlotStatus::Up } else { SlotStatus::Down },
            weight: entry.weight,
            primary: leads && attached,
        },
    }
}
