//! A plan as text, for golden files and counterexamples.

use std::fmt::Write;

use geo_agent::model::plan::{Act, Disruption, Hold, Plan, SlotRow, SlotState, Step};

pub fn print(plan: &Plan) -> String {
    let mut out = String::new();
    let leader = plan.leader.as_ref().map_or("nobody".to_owned(), |l| l.to_string());
    let verdict = match plan.steps.len() {
        0 => "nothing to do".to_owned(),
        1 => format!("1 step, ends {}", ends(plan.disruption(), None)),
        n => format!("{n} steps, ends {}", ends(plan.disruption(), None)),
    };
    let _ = writeln!(out, "{leader} leads: {verdict}");
    for row in &plan.slots {
        let _ = writeln!(out, "  slot {}", line_of(row));
    }
    for (n, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(out, "  {}. {}", n + 1, line_of_step(step));
    }
    for hold in &plan.holds {
        let _ = writeln!(out, "  hold {}", line_of_hold(hold));
    }
    out
}

pub fn line_of_step(step: &Step) -> String {
    let what = match &step.act {
        Act::WriteConf(_) | Act::Reload => step.act.op().to_owned(),
        Act::Restart(_) => match &step.member {
            Some(member) => format!("restart for {member}"),
            None => "restart".to_owned(),
        },
        Act::Attach(slot) | Act::Detach(slot) | Act::Promote(slot) => {
            let member = step.member.as_ref().map_or("?".to_owned(), |m| m.to_string());
            format!("{} {slot} {member}", step.act.op())
        }
    };
    let cost = match step.disruption {
        Disruption::None => String::new(),
        cost => format!(" [ends {}]", ends(cost, step.sessions)),
    };
    format!("{what}{cost}: {}", step.reason)
}

fn ends(cost: Disruption, sessions: Option<u32>) -> String {
    match sessions {
        Some(n) => format!("{}, {n} sessions", cost.as_str()),
        None => cost.as_str().to_owned(),
    }
}

fn line_of(row: &SlotRow) -> String {
    let member = row.member.as_ref().map_or("?".to_owned(), |m| m.to_string());
    let order = row.located.as_ref().map(|l| format!(" ({l} by order)")).unwrap_or_default();
    let place = match row.tier {
        Some(0) => "local".to_owned(),
        Some(n) => format!("tier {n}"),
        None => "remote".to_owned(),
    };
    let place = format!("{place}{order}");
    let from = row.from.map_or("not known".to_owned(), state);
    let to = state(row.to);
    let change = if row.from == Some(row.to) { from } else { format!("{from} -> {to}") };
    format!("{} {member} {}:{} {place}: {change}", row.slot, row.host, row.port)
}

fn state(state: SlotState) -> String {
    let role = if state.primary { " primary" } else { "" };
    format!("{} {}{role}", state.status.as_str(), state.weight)
}

fn line_of_hold(hold: &Hold) -> String {
    let slot = hold.slot.map(|s| format!("slot {s} ")).unwrap_or_default();
    let member = hold.member.as_ref().map(|m| format!("{m} ")).unwrap_or_default();
    match slot.is_empty() && member.is_empty() {
        true => format!("everything: {}", hold.reason),
        false => format!("{}: {}", format!("{slot}{member}").trim_end(), hold.reason),
    }
}
