//! `--output json`, as other people's scripts rely on it.

use serde_json::{Value, json};

use crate::model::ids::MemberName;
use crate::model::plan::{Plan, SlotRow, SlotState};
use crate::model::pool::Watchdog;
use crate::plan::turn;

use super::status::Status;

/// `geo-agent plan --output json`.
pub fn plan(plan: &Plan) -> Value {
    let Plan { revision, leader, steps, holds, slots } = plan;
    let step = |s: &crate::model::plan::Step| {
        json!({
            "op": s.act.op(), "slot": s.act.slot().map(|s| s.get()), "member": name(&s.member),
            "reason": s.reason, "disruption": s.disruption.as_str(), "sessions": s.sessions,
        })
    };
    let hold = |h: &crate::model::plan::Hold| {
        json!({
            "member": name(&h.member), "slot": h.slot.map(|s| s.get()), "reason": h.reason,
        })
    };
    json!({
        "revision": revision,
        "leader": name(leader),
        "changes": !steps.is_empty(),
        "disruption": plan.disruption().as_str(),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
        "holds": holds.iter().map(hold).collect::<Vec<_>>(),
        "slots": slots.iter().map(|row| {
            let mut value = slot(row);
            value["to"] = state(&row.to);
            value
        }).collect::<Vec<_>>(),
    })
}

/// `geo-agent status --output json`.
pub fn status(shown: &Status) -> Value {
    let Status { inputs, plan, in_sync, agent, .. } = shown;
    let pool = inputs.pool.as_ref().ok();
    let pgpool = pool.map(|p| {
        json!({
            "version": p.version.as_str(), "node_count": p.nodes.len(), "damage": p.damage,
        })
    });
    let holds = agent.map(|a| &a.state.holds).into_iter().flatten();
    json!({
        "in_sync": in_sync,
        "revision": plan.revision,
        "leader": name(&plan.leader),
        "slots": plan.slots.iter().map(|row| {
            let mut value = slot(row);
            let took = shown.round_trip(row);
            value["rtt_ms"] = json!(took.map(|took| took.as_micros() as f64 / 1000.0));
            value
        }).collect::<Vec<_>>(),
        "pgpool": pgpool,
        "watchdog": pool.and_then(|p| p.watchdog.as_ref()).map(watchdog),
        "errors": super::status::errors(inputs),
        "holds": plan.holds.iter().map(|h| json!({
            "member": name(&h.member), "slot": h.slot.map(|s| s.get()), "reason": h.reason,
        })).collect::<Vec<_>>(),
        "agent": agent.map(|a| json!({
            "running": a.running, "pid": a.state.pid, "version": a.state.version,
            "started": a.state.started, "observes": a.state.observes,
            "holds": holds.map(|h| json!({
                "member": h.member, "slot": h.slot, "reason": h.reason, "since": h.since,
            })).collect::<Vec<_>>(),
        })),
    })
}

fn slot(row: &SlotRow) -> Value {
    json!({
        "slot": row.slot.get(), "member": name(&row.member), "host": row.host, "port": row.port,
        "local": row.is_local(), "tier": row.tier,
        "location_order": row.located, "from": row.from.as_ref().map(state),
    })
}

fn state(state: &SlotState) -> Value {
    json!({
        "status": state.status.as_str(),
        "weight": state.weight,
        "role": if state.primary { "primary" } else { "standby" },
    })
}

fn watchdog(watchdog: &Watchdog) -> Value {
    let node = |(name, state): &(String, String)| json!({"name": name, "state": state});
    json!({
        "leader": watchdog.leader, "quorum": watchdog.quorum,
        "leads_here": watchdog.leads_here(),
        "acts_after": turn::delay(watchdog, 0).as_secs_f64(),
        "nodes": watchdog.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

/// A member's name exactly as Patroni has it: JSON escapes what has to be.
fn name(member: &Option<MemberName>) -> Option<&str> {
    member.as_ref().map(MemberName::as_raw)
}
