//! Output for people: aligned, with symbols, coloured on a terminal only.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use crate::host::lock::ago;
use crate::host::state::SavedState;
use crate::model::ids::printable;
use crate::model::inputs::Inputs;
use crate::model::plan::{Disruption, Hold, Plan, SlotRow, SlotState, SlotStatus, Step};
use crate::plan::turn;

use super::status::Status;

pub const OK: &str = "✓";
pub const WARN: &str = "!";
pub const BAD: &str = "✗";

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
const BOLD: u8 = 1;

/// Colours are for terminals, and for people who have not said NO_COLOR.
pub fn may_colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn paint(code: u8, text: &str) -> String {
    match may_colour(stdout().is_terminal()) {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    }
}

/// "1 step", "2 steps".
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `geo-agent plan`.
pub fn plan(inputs: &Inputs, plan: &Plan) -> String {
    let mut out = heading(inputs, plan);
    out.push_str(&slots(&plan.slots, None));
    out.push('\n');
    out.push_str(&rest(plan));
    if plan.steps.is_empty() && plan.holds.is_empty() {
        let _ = writeln!(out, "{} nothing to do: pgpool is as it should be", paint(GREEN, OK));
    }
    out
}

/// The steps and holds of a plan.
pub fn rest(plan: &Plan) -> String {
    let mut out = String::new();
    if !plan.steps.is_empty() {
        let worst = worst(plan.disruption());
        let _ = writeln!(out, "{} ({worst})", paint(BOLD, &count(plan.steps.len(), "step")));
    }
    for (number, step) in plan.steps.iter().enumerate() {
        out.push_str(&self::step(number + 1, step));
    }
    for hold in &plan.holds {
        let _ = writeln!(out, "{} holds  {}", paint(YELLOW, WARN), self::hold(hold));
    }
    out
}

/// `geo-agent status`.
pub fn status(shown: &Status) -> String {
    let Status { inputs, plan, in_sync, agent, .. } = *shown;
    let mut out = heading(inputs, plan);
    out.push_str(&slots(&plan.slots, Some(shown)));
    out.push('\n');
    out.push_str(&watchdog(inputs));
    out.push_str(&self::agent(agent));
    for error in super::status::errors(inputs) {
        let _ = writeln!(out, "{} {error}", paint(RED, BAD));
    }
    for hold in plan.holds.iter().filter(|h| !super::status::errors(inputs).contains(&&*h.reason)) {
        let _ = writeln!(
            out,
            "{} holds  {}{}",
            paint(YELLOW, WARN),
            self::hold(hold),
            since(hold, agent)
        );
    }
    match (in_sync, plan.steps.len()) {
        (true, _) => {
            let _ = writeln!(out, "{} in sync", paint(GREEN, OK));
        }
        (false, 0) => {
            let _ =
                writeln!(out, "{} not in sync, and nothing may be done now", paint(YELLOW, WARN));
        }
        (false, n) => {
            let steps = count(n, "step");
            let _ = writeln!(
                out,
                "{} not in sync: {steps} to do, see `geo-agent plan`",
                paint(YELLOW, WARN)
            );
        }
    }
    out
}

fn heading(inputs: &Inputs, plan: &Plan) -> String {
    let mut parts = Vec::new();
    match &inputs.cluster {
        Ok(cluster) => {
            let leader = match &plan.leader {
                Some(name) if cluster.standby_cluster => format!("standby leader {name}"),
                Some(name) => format!("leader {name}"),
                None => paint(RED, "no leader"),
            };
            parts.push(leader);
            parts.push(count(cluster.members.len(), "member"));
            parts.push(format!("etcd revision {}", cluster.revision));
            if cluster.paused {
                parts.push(paint(YELLOW, "Patroni is PAUSED"));
            }
        }
        Err(_) => parts.push(paint(RED, "Patroni's state is unknown")),
    }
    match &inputs.pool {
        Ok(pool) => parts.push(format!("pgpool {}", pool.version.as_str())),
        Err(_) => parts.push(paint(RED, "pgpool does not answer")),
    }
    let mut out = parts.join(" · ") + "\n";
    let notes = inputs.cluster.iter().flat_map(|c| &c.notes);
    for note in notes {
        let _ = writeln!(out, "{} {note}", paint(YELLOW, WARN));
    }
    out + "\n"
}

/// One line per slot: who, where, what pgpool says; what shall be in a plan, else how far away.
fn slots(rows: &[SlotRow], shown: Option<&Status>) -> String {
    let with_goal = shown.is_none();
    if rows.is_empty() {
        return "  no slot is assigned\n".to_owned();
    }
    let member = |r: &SlotRow| r.member.as_ref().map_or("-".to_owned(), |m| m.to_string());
    let place = |r: &SlotRow| match r.address() {
        Some(address) => address.to_string(),
        None => format!("{}:{}", printable(&r.host), r.port),
    };
    let wide = |f: &dyn Fn(&SlotRow) -> String, least: usize| {
        rows.iter().map(|r| f(r).chars().count()).chain([least]).max().unwrap_or(least)
    };
    let (m, p) = (wide(&member, 6), wide(&place, 7));
    let last = if with_goal { "shall be" } else { "round trip" };
    let title = format!(
        "  slot  {:m$}  {:p$}  {:6}  {:22}  {last}",
        "member", "address", "place", "pgpool says"
    );
    let mut out = paint(BOLD, title.trim_end()) + "\n";
    for row in rows {
        let differs = row.from.as_ref() != Some(&row.to);
        let mark = if differs { paint(YELLOW, "~") } else { " ".to_owned() };
        let now = row.from.as_ref().map_or("not known yet".to_owned(), state);
        let then = match shown {
            Some(status) => format!("  {}", round_trip(status.round_trip(row))),
            None if differs => format!("  → {}", state(&row.to)),
            None => String::new(),
        };
        let where_ = match row.tier {
            Some(0) => "local".to_owned(),
            Some(tier) => format!("tier {tier}"),
            None => "remote".to_owned(),
        };
        let line =
            format!("{:>4}  {:m$}  {:p$}  {where_:6}  {now:22}", row.slot, member(row), place(row));
        let _ = writeln!(out, "{mark} {}", (line + &then).trim_end());
        if let Some(location) = &row.located {
            let location = printable(location);
            let _ = writeln!(out, "        in {location} by order (`geo-agent locate`)");
        }
    }
    out
}

fn round_trip(took: Option<Duration>) -> String {
    match took {
        Some(took) => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
        None => "no answer".to_owned(),
    }
}

fn state(state: &SlotState) -> String {
    let status = match state.status {
        SlotStatus::Up if state.primary => "up, primary",
        SlotStatus::Up => "up",
        SlotStatus::Down => "down",
        SlotStatus::Unused => "unused",
    };
    match state.status {
        SlotStatus::Up => format!("{status}, weight {}", state.weight),
        _ => status.to_owned(),
    }
}

fn step(number: usize, step: &Step) -> String {
    let Step { act, member, reason, disruption, sessions } = step;
    let slot = act.slot().map(|s| format!("slot {s}")).unwrap_or_default();
    let member = member.as_ref().map(|m| m.to_string()).unwrap_or_default();
    let mut out = format!("{number:>3}  {:<10} {slot:<8} {member:<12} {reason}\n", act.op());
    if *disruption != Disruption::None {
        let counted = sessions.map(|n| format!(" ({n} now)")).unwrap_or_default();
        let cost = format!("ends {}{counted}", worst(*disruption));
        let colour = if *disruption >= Disruption::All { RED } else { YELLOW };
        let _ = writeln!(out, "     {}", paint(colour, &cost));
    }
    out
}

/// Whose sessions end, in words.
fn worst(disruption: Disruption) -> &'static str {
    match disruption {
        Disruption::None => "no client session ends",
        Disruption::Busy => "sessions that run a statement at that instant",
        Disruption::Slot => "sessions that read from a slot that is detached",
        Disruption::All => "every client session",
        Disruption::Restart => "every client session: pgpool itself restarts",
    }
}

fn hold(hold: &Hold) -> String {
    let slot = hold.slot.map(|s| format!("slot {s}"));
    let who = [hold.member.as_ref().map(|m| m.to_string()), slot];
    let who: Vec<_> = who.into_iter().flatten().collect();
    match who.is_empty() {
        true => hold.reason.clone(),
        false => format!("{}: {}", who.join(", "), hold.reason),
    }
}

fn since(hold: &Hold, agent: Option<&SavedState>) -> String {
    let same = |h: &&crate::host::state::HeldSince| {
        h.reason == hold.reason && h.slot == hold.slot.map(|s| s.get())
    };
    let known = agent.filter(|a| a.running).and_then(|a| a.state.holds.iter().find(same));
    known.map(|h| format!(" (for {})", ago(h.since))).unwrap_or_default()
}

fn watchdog(inputs: &Inputs) -> String {
    let watchdog = inputs.pool.as_ref().ok().and_then(|p| p.watchdog.as_ref());
    watchdog.map_or(String::new(), |w| {
        let leader = w.leader.as_deref().map_or("nobody".to_owned(), printable);
        let quorum = if w.quorum { "" } else { ", without quorum" };
        let acts = match turn::delay(w, 0).as_secs_f64() {
            0.0 => "at once".to_owned(),
            after => format!("after {after} s, if those before it do not"),
        };
        let nodes = count(w.nodes.len(), "node");
        format!("  watchdog: {nodes}, led by {leader}{quorum}; this agent acts {acts}\n")
    })
}

fn agent(agent: Option<&SavedState>) -> String {
    let Some(SavedState { state, running: true }) = agent else {
        return format!("{} no geo-agent daemon runs beside this pgpool\n", paint(YELLOW, WARN));
    };
    let observes = if state.observes { ", only observes: it changes nothing" } else { "" };
    let change = state.last_change.as_ref();
    let change = change.map(|c| format!(", last change {} ago: {}", ago(c.at), printable(&c.what)));
    format!(
        "  agent: process {} for {}{observes}{}\n",
        state.pid,
        ago(state.started),
        change.unwrap_or_default()
    )
}
