//! Whether pgpool has to be restarted, and whether it may be now. A restart ends every session, so
//! it comes when nothing else helps: the slots are used up while departed members keep some, or
//! pgpool itself is damaged.

use crate::model::cluster::Member;
use crate::model::plan::{Act, Disruption, Hold, Plan, Step};
use crate::model::restart::RestartMode;

use super::assign::{Assignment, lost_writes};
use super::compact::{self, Compacted};
use super::ground::Ground;
use super::wish::Wishes;

/// The members and the damage that only a restart would help.
struct Need<'a> {
    homeless: &'a [&'a Member],
    /// So many slots a new numbering would free.
    gain: usize,
}

/// A restart may be due: then the servers that pgpool would come up with have to be asked.
pub fn is_wanted(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> bool {
    ground.policy.restart.mode != RestartMode::Never
        && ground.file.is_ok()
        && (gain(ground, assignment, wishes) > 0 || !ground.pool.damage.is_empty())
}

/// Adds the restart to a plan that has nothing else to do, or why there is none.
pub fn add_to(plan: &mut Plan, ground: &Ground, assignment: &Assignment, wishes: &Wishes) {
    let need = Need { homeless: &assignment.homeless, gain: gain(ground, assignment, wishes) };
    let damaged = !ground.pool.damage.is_empty();
    if need.gain == 0 && !damaged {
        return plan.holds.extend(need.holds(ground, None));
    }
    let hold = |plan: &mut Plan, why: &str| {
        plan.holds.extend(need.holds(ground, Some(why)));
        plan.holds.extend(ground.damage_holds(why));
    };
    if let Some(why) = why_not_at_all(ground, assignment) {
        return hold(plan, why);
    }
    let then = match need.gain {
        0 => compact::unchanged(ground, assignment),
        _ => compact::compacted(ground, assignment, wishes),
    };
    match why_not_now(plan, ground, &need, &then) {
        Some(why) => hold(plan, &why),
        None => {
            let Compacted { layout, rows, .. } = then;
            let helped = rows.iter().filter(|r| r.from.is_none()).count();
            let left_out = need.homeless.get(helped..).unwrap_or_default();
            let left_out = Need { homeless: left_out, gain: 0 };
            plan.holds.extend(left_out.holds(ground, None));
            plan.slots = rows;
            plan.steps.push(Step {
                act: Act::Restart(layout),
                member: need.homeless.first().filter(|_| need.gain > 0).map(|m| m.name.clone()),
                reason: need.reason(ground),
                disruption: Disruption::Restart,
                sessions: ground.pool.sessions.as_ref().map(|s| s.total),
            });
        }
    }
}

/// How many slots a restart would free, where some are needed. The pgpools of a watchdog cluster
/// must have the same slots, so there none is renumbered alone.
fn gain(ground: &Ground, assignment: &Assignment, wishes: &Wishes) -> usize {
    match assignment.homeless.is_empty() || ground.pool.watchdog.is_some() {
        true => 0,
        false => compact::gain(ground, assignment, wishes),
    }
}

/// What no time and no patience changes.
fn why_not_at_all(ground: &Ground, assignment: &Assignment) -> Option<&'static str> {
    if ground.policy.restart.mode == RestartMode::Never {
        return Some("pgpool.restart.mode is never");
    }
    if ground.file.is_err() {
        return Some("the slot table must be readable first");
    }
    let used = &assignment.table.entries;
    let has_gaps = !used.keys().map(|s| s.get()).eq(0..used.len());
    // The others of a watchdog cluster would take these servers for others.
    (ground.pool.watchdog.is_some() && has_gaps)
        .then_some("its slots have a gap, which geo-agent would close: restart pgpool by hand")
}

/// What a restart waits for. The sentences stay the same from look to look.
fn why_not_now(plan: &Plan, ground: &Ground, need: &Need, then: &Compacted) -> Option<String> {
    let policy = &ground.policy.restart;
    let known = ground.restarts;
    if !plan.steps.is_empty() {
        return Some("it waits for the steps of this plan".to_owned());
    }
    if !ground.cluster.standby_cluster {
        if let Some(why) = ground.why_not_writable() {
            return Some(format!("it waits for a writable leader: {why}"));
        }
        if then.leader.is_none_or(|l| !then.layout.attached.contains(&l)) {
            return Some("it waits for a leader that has a slot and answers from here".to_owned());
        }
    }
    if then.layout.attached.is_empty() {
        return Some("it waits for a server that answers from here".to_owned());
    }
    if let Some(failed) = known.failed.as_ref().filter(|f| same_servers(f, then)) {
        return Some(format!(
            "the last try failed ({}); the next one comes when the members change or geo-agent \
             gets a SIGHUP",
            failed.why
        ));
    }
    if need.gain == 0 && known.last_hour > 0 {
        return Some("it was restarted less than an hour ago: pgpool's log says more".to_owned());
    }
    if known.last_hour >= policy.max_per_hour {
        let max = policy.max_per_hour;
        return Some(format!("it waits, by pgpool.restart.max_per_hour ({max})"));
    }
    if !policy.window.is_empty() && !policy.window.iter().any(|w| w.contains(known.minute)) {
        return Some(format!("it waits for pgpool.restart.window ({})", policy.window_text()));
    }
    let few = |limit| ground.pool.sessions.as_ref().is_some_and(|s| s.total < limit);
    if let Some(limit) = policy.when_sessions_below.filter(|limit| !few(*limit)) {
        return Some(format!("it waits until fewer than {limit} clients are connected"));
    }
    // The last: a command that looks once does not know how long it lasts.
    (need.gain == 0 && !known.damage_lasts)
        .then(|| "it waits some seconds, in case somebody is stopping pgpool".to_owned())
}

fn same_servers(failed: &crate::model::restart::Failed, then: &Compacted) -> bool {
    let places = |t: &crate::model::slots::SlotTable| {
        t.entries.iter().map(|(s, e)| (*s, e.host.clone(), e.port)).collect::<Vec<_>>()
    };
    places(&failed.with) == places(&then.layout.table)
}

impl Need<'_> {
    fn reason(&self, ground: &Ground) -> String {
        let damage = ground.pool.damage.first();
        let full = self.homeless.first().filter(|_| self.gain > 0).map(|m| {
            format!(
                "no slot is free for {}: the table is numbered anew without departed members",
                m.name
            )
        });
        match (full, damage) {
            (Some(full), None) => full,
            (Some(full), Some(_)) => format!("{full}, and pgpool is damaged"),
            (None, damage) => damage.map_or_else(String::new, |d| format!("it is damaged: {d}")),
        }
    }

    /// `why`: what keeps the restart that would help; `None`: no restart would.
    fn holds(&self, ground: &Ground, why: Option<&str>) -> Vec<Hold> {
        let slots = ground.policy.slots;
        let lost = |m: &Member| lost_writes(ground, m);
        let reason = |m: &Member| match why.filter(|_| self.gain > 0) {
            None => format!(
                "{}no free slot: all {slots} are taken, or kept for departed members; raise \
                 pgpool.slots (at most 128) and send geo-agent a SIGHUP",
                lost(m)
            ),
            Some(why) => format!(
                "{}no free slot: a restart of pgpool would free those of departed members, but \
                 {why}; or raise pgpool.slots (at most 128) and send a SIGHUP: that ends no \
                 session",
                lost(m)
            ),
        };
        let hold =
            |m: &&Member| Hold { member: Some(m.name.clone()), slot: None, reason: reason(m) };
        self.homeless.iter().map(hold).collect()
    }
}
