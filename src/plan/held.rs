//! Members that an operator holds (`geo-agent hold`): said in every plan, on every site, for as
//! long as it lasts. What a hold does to the member's slot is [`super::wish`]'s matter.

use crate::model::plan::Hold;

use super::assign::Assignment;
use super::ground::Ground;

pub fn holds(ground: &Ground, assignment: &Assignment) -> Vec<Hold> {
    let members = ground.cluster.members.values();
    let held = members.filter_map(|m| m.orders.held.as_ref().map(|held| (m, held)));
    held.map(|(member, held)| {
        let mut slots = assignment.table.entries.keys().copied();
        let its_own = |s: &_| assignment.member(*s).is_some_and(|m| m.name == member.name);
        let leads = ground.cluster.leader.as_ref() == Some(&member.name);
        let effect = match (leads, ground.cluster.standby_cluster) {
            (false, _) => "it gets no reads",
            (true, false) => {
                "it leads, so writes still go to it, and reads while nobody else has them"
            }
            (true, true) => "it leads, so reads go to it while nobody else has them",
        };
        let reason = format!("{held}: {effect}; geo-agent release ends it earlier");
        Hold { member: Some(member.name.clone()), slot: slots.find(its_own), reason }
    })
    .collect()
}
