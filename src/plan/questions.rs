//! What has to be asked of the servers before a plan can be final. Asking takes time, so it is asked
//! only when an attach hangs on it.

use std::collections::BTreeSet;

use crate::model::ids::Address;
use crate::model::inputs::Inputs;

use super::ground::Ground;
use super::sequence::Sequence;
use super::{assign, wish};

/// Every server that pgpool would log in to, if something should be attached: the attached ones, the
/// ones to attach, and the leader. Empty when nothing is to be attached.
pub fn servers_to_ask(inputs: &Inputs) -> BTreeSet<Address> {
    let Ok(ground) = Ground::of(inputs) else { return BTreeSet::new() };
    let assignment = assign::members_to_slots(&ground);
    let wishes = wish::of_each_slot(&ground, &assignment);
    let attached = |s| ground.pool.is_attached(s);
    let entries = &assignment.table.entries;
    let after_promote = promote_is_due(inputs);
    if !after_promote && !entries.keys().any(|s| wishes.is_attached(*s) && !attached(*s)) {
        return BTreeSet::new();
    }
    let concerned = entries.iter().filter(|(s, _)| wishes.is_attached(**s) || attached(**s));
    let mut ask: BTreeSet<Address> = concerned.filter_map(|(_, e)| e.address()).collect();
    ask.insert(ground.leader_at.clone());
    ask
}

/// The leader's slot can be promoted at once: every millisecond counts, and nobody need be asked.
pub fn promote_is_due(inputs: &Inputs) -> bool {
    let Ok(ground) = Ground::of(inputs) else { return false };
    let assignment = assign::members_to_slots(&ground);
    let wishes = wish::of_each_slot(&ground, &assignment);
    let start = Sequence::start(&ground, &assignment, &wishes);
    let attached = assignment.leader.is_some_and(|l| ground.pool.is_attached(l));
    attached && !start.leader_leads_pgpool() && ground.may_command()
}
