//! pgpool's primary accepts writes and the holder of the leader key does not: then etcd's last word
//! may be old. In a watchdog cluster another agent, with a newer one, has moved the primary; to
//! move it back would take the writes from where they work. A leader key that has just come is
//! believed without a question.

use crate::model::plan::Hold;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::ground::Ground;
use super::questions;

/// Nothing is changed until one of the two says otherwise.
pub fn hold(ground: &Ground, assignment: &Assignment) -> Option<Hold> {
    let leader = ground.leader.as_ref().ok().filter(|_| ground.elapsed.leader_stays)?;
    let primary = ground.pool.primary().filter(|_| questions::is_due(ground, assignment))?;
    let writes = ground.reach.of(assignment.address(primary)?) == Some(&Answer::Writable);
    let recovers = ground.reach.of(leader.at) == Some(&Answer::ReadOnly);
    let name = &leader.member.name;
    (writes && recovers).then(|| Hold {
        member: Some(name.clone()),
        slot: assignment.leader,
        reason: format!(
            "holds the leader key, as far as is known here, but is in recovery, and pgpool's \
             primary, slot {primary}, is writable: nothing is changed until that is no longer so"
        ),
    })
}
