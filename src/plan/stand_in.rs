//! Who stands in as pgpool's primary when the one it has is lost. Every new session connects to
//! every attached server, so with a dead primary no client can even read. A local replica in its
//! place takes the reads, and refuses writes with PostgreSQL's own error until a leader is there.
//! Never an opinion about who leads: the leader takes over as soon as it can be attached.

use crate::model::cluster::{Member, Role};
use crate::model::ids::{Address, SlotIndex};
use crate::model::policy::OnPrimaryLoss;
use crate::model::reach::Answer;

use super::assign::Assignment;
use super::attach;
use super::ground::Ground;
use super::sequence::Sequence;
use super::wish::{Want, Wishes};

/// pgpool's primary, which nobody can use from here.
struct Lost {
    slot: SlotIndex,
    why: String,
}

/// pgpool's primary, if it is lost: by the word of whoever watches it or, once the leader key is no
/// longer its own, by one answer. While nobody leads, one silence is not enough where somebody
/// watches: a primary whose Patroni is gone still takes writes, and there is no way back to it.
fn lost(ground: &Ground, assignment: &Assignment) -> Option<Lost> {
    let slot = ground.pool.primary().filter(|p| ground.pool.is_attached(*p))?;
    if is_left_to_the_operator(ground) {
        return None;
    }
    let server = assignment.address(slot)?;
    let answer = ground.reach.of(server);
    if answer.is_some_and(Answer::is_alive) {
        return None;
    }
    if let Some(loss) = ground.lost.filter(|loss| loss.server == *server) {
        return Some(Lost { slot, why: loss.why.clone() });
    }
    let watch_decides = ground.cluster.leader.is_none() && ground.policy.sql_probe;
    let why = match answer? {
        Answer::Unreachable(_) | Answer::Hung(_) if watch_decides => return None,
        Answer::Dead(why) | Answer::Unreachable(why) | Answer::Hung(why) => why.clone(),
        Answer::Writable | Answer::ReadOnly | Answer::Alive(_) => return None,
    };
    (assignment.leader != Some(slot)).then_some(Lost { slot, why })
}

/// Patroni is paused and nobody leads: who stops and starts servers then is an operator, and nobody
/// will be elected who could take over from a stand-in.
fn is_left_to_the_operator(ground: &Ground) -> bool {
    ground.cluster.paused && ground.cluster.leader.is_none()
}

/// Who takes the place of pgpool's primary, and why, when it is lost and the leader's slot cannot
/// be promoted. Says a hold when it would have to be somebody and is nobody.
pub fn chosen(sequence: &mut Sequence) -> Option<(SlotIndex, String)> {
    let (ground, assignment) = (sequence.ground, sequence.assignment);
    let Lost { slot, why } = lost(ground, assignment)?;
    if sequence.primary != Some(slot) {
        return None; // the leader takes it
    }
    let leader_comes =
        assignment.leader.is_some_and(|l| l != slot) && ground.why_not_writable().is_none();
    if leader_comes && !attach::would_freeze(sequence, slot) {
        return None; // attaching it is as quick, and ends nobody's session
    }
    if ground.policy.on_primary_loss == OnPrimaryLoss::Wait {
        let wait = "no client can connect until there is a leader (on_primary_loss: wait)";
        sequence.hold(slot, format!("pgpool's primary is lost: {why}; {wait}"));
        return None;
    }
    let candidates = candidates(ground, assignment, sequence.wishes).into_iter();
    let best = candidates.filter(|s| is_alive(ground, assignment, *s));
    let Some(best) = best.max_by_key(|s| rank(ground, assignment, *s)) else {
        let nobody = "no attached replica answers that could stand in";
        sequence.hold(slot, format!("pgpool's primary is lost: {why}; {nobody}"));
        return None;
    };
    let reason = format!("stands in: pgpool's primary is lost ({why})");
    sequence.ground.may_command().then_some((best, reason))
}

/// The servers to ask before one of them stands in. Whoever is lost by the watch's word is not
/// asked again: its silence would delay the others.
pub fn servers_to_ask(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> Vec<Address> {
    let Some(primary) = ground.pool.primary().filter(|p| ground.pool.is_attached(*p)) else {
        return Vec::new();
    };
    if assignment.address(primary).is_none() {
        return Vec::new();
    }
    let known = |a: &Address| ground.lost.is_some_and(|loss| loss.server == *a);
    // A leader that is attached is pgpool's primary, or becomes it without a question.
    let leads = assignment.leader.is_some_and(|l| ground.pool.is_attached(l));
    let needs_nobody = leads && !is_watched_and_lost(ground, assignment);
    if needs_nobody || is_left_to_the_operator(ground) {
        return Vec::new();
    }
    let asked = [primary].into_iter().chain(candidates(ground, assignment, wishes));
    asked.filter_map(|s| assignment.address(s)).filter(|a| !known(a)).cloned().collect()
}

/// pgpool's primary is lost by the word of whoever watches it. A word on the primary before it is
/// old.
pub fn is_watched_and_lost(ground: &Ground, assignment: &Assignment) -> bool {
    let primary = ground.pool.primary().and_then(|p| assignment.address(p));
    ground.lost.is_some_and(|loss| Some(&loss.server) == primary)
}

fn is_alive(ground: &Ground, assignment: &Assignment, slot: SlotIndex) -> bool {
    let answer = assignment.address(slot).and_then(|server| ground.reach.of(server));
    answer.is_some_and(Answer::is_alive)
}

/// Attached local replicas that serve.
fn candidates(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> Vec<SlotIndex> {
    let primary = ground.pool.primary();
    let replica = |s: SlotIndex| assignment.member(s).is_some_and(|m| m.role == Role::Replica);
    let wanted = |s: SlotIndex| matches!(wishes.want(s), Want::Reader(_) | Want::Farther(_));
    let reads = |s: SlotIndex| wanted(s) && replica(s);
    let attached = ground.pool.attached().map(|(slot, _)| slot);
    attached.filter(|s| Some(*s) != primary && reads(*s)).collect()
}

/// The candidate of a pending switchover before a synchronous standby, before the one with most
/// WAL, before the lowest slot.
fn rank(
    ground: &Ground,
    assignment: &Assignment,
    slot: SlotIndex,
) -> (bool, bool, Option<u64>, std::cmp::Reverse<SlotIndex>) {
    let member = assignment.member(slot);
    let is = |wanted: &dyn Fn(&Member) -> bool| member.is_some_and(wanted);
    let candidate = ground.cluster.switchover.as_ref().and_then(|s| s.to.as_ref());
    let synchronous = |m: &Member| {
        ground.cluster.sync_standbys.iter().any(|n| n.eq_ignore_ascii_case(m.name.as_raw()))
    };
    let wal = member.and_then(|m| m.receive_lsn.max(m.replay_lsn));
    (is(&|m| Some(&m.name) == candidate), is(&synchronous), wal, std::cmp::Reverse(slot))
}
