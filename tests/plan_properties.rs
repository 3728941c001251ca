//! What holds in every world, tried on thousands that are drawn by chance. A run is repeatable: the
//! seed is fixed, and a failure prints it; `PLAN_SEED` and `PLAN_CASES` draw others.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use geo_agent::model::cluster::{ClusterView, Member};
use geo_agent::model::elapsed::Elapsed;
use geo_agent::model::ids::SlotIndex;
use geo_agent::model::inputs::Inputs;
use geo_agent::model::past::Past;
use geo_agent::model::plan::{Act, Disruption, Plan, SlotStatus, Step};
use geo_agent::model::pool::NodeStatus;
use geo_agent::model::reach::{Answer, Reachability};
use geo_agent::model::restart::{RestartMode, RestartPolicy};
use geo_agent::plan::ground::Ground;
use geo_agent::plan::{check, questions};

use support::any_world::any_world;
use support::print::{line_of_step, print};
use support::world::{Asking, World};

/// How often the agent looks and acts until a world that stands still is as it should be.
const ROUNDS: usize = 5;

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[track_caller]
fn in_every_world(claim: impl Fn(World) -> Result<(), String>) {
    let seed = number_from("PLAN_SEED", 20_261_121);
    let config = Config {
        cases: u32::try_from(number_from("PLAN_CASES", 4_000)).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let tried = TestRunner::new(config)
        .run(&any_world(), |world| claim(world).map_err(TestCaseError::fail));
    if let Err(found) = tried {
        panic!("PLAN_SEED={seed}: {found}");
    }
}

fn same<T: PartialEq + Debug>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what}:\n{a:#?}\nis not\n{b:#?}")) }
}

fn same_world(a: &World, b: &World) -> Result<(), String> {
    let pool = |w: &World| format!("{:?}", (w.pool.view(), w.pool.primary)); // NaN is NaN
    let statuses = |w: &World| w.pool.nodes.values().map(|n| n.status).collect::<Vec<_>>();
    // The weight of a slot that may be a malformed member's stays as it is found.
    let malformed = a.cluster.iter().flat_map(|c| c.members.values()).any(|m| m.address.is_err());
    // And while nobody who should read can, the reads stay with whoever happens to have them.
    let led = a.pool.primary.is_some() && a.cluster.as_ref().is_ok_and(|c| !c.standby_cluster);
    // While nobody leads, only a stand-in is of interest: weights and new slots wait for a leader.
    if a.cluster.as_ref().is_ok_and(|c| c.leader.is_none()) {
        return same(
            "who serves",
            &(a.pool.attached(), a.pool.primary),
            &(b.pool.attached(), b.pool.primary),
        );
    }
    let same = match malformed || !led {
        true => statuses(a) == statuses(b) && a.pool.primary == b.pool.primary,
        false => pool(a) == pool(b) && a.file == b.file,
    };
    if same { Ok(()) } else { Err(format!("{a:?}is not\n{b:?}")) }
}

fn none<T: Debug>(what: &str, found: &[T], plan: &Plan) -> Result<(), String> {
    if found.is_empty() { Ok(()) } else { Err(format!("{what}: {found:#?}\n{}", print(plan))) }
}

/// Plans and applies until nothing is left to do.
fn settle(world: &mut World) -> Result<(), String> {
    for _ in 0..ROUNDS {
        let plan = world.plan();
        if plan.steps.is_empty() {
            return Ok(());
        }
        none("faults on the way", &check::faults(&world.inputs(), &plan), &plan)?;
        world.apply_all(&plan);
    }
    Err(format!("still at work after {ROUNDS} rounds: {}", print(&world.plan())))
}

#[test]
fn the_same_inputs_give_the_same_plan() {
    in_every_world(|w| same("second plan", &w.plan(), &w.clone().plan()));
}

#[test]
fn the_judge_finds_no_fault() {
    in_every_world(|w| {
        let plan = w.plan();
        none("faults", &check::faults(&w.inputs(), &plan), &plan)
    });
}

#[test]
fn nothing_bad_happens_while_a_plan_is_applied() {
    in_every_world(|mut w| {
        let plan = w.plan();
        let effects = w.apply_all(&plan);
        let trouble: Vec<_> = effects.iter().flat_map(|e| &e.trouble).collect();
        none("trouble", &trouble, &plan)
    });
}

#[test]
fn no_session_ends_unannounced() {
    in_every_world(|mut w| {
        let plan = w.plan();
        let effects = w.apply_all(&plan);
        let quiet = plan.steps.iter().zip(&effects).filter(|(s, e)| e.ended > s.disruption);
        none("ended more than announced", &quiet.collect::<Vec<_>>(), &plan)
    });
}

#[test]
fn after_all_of_a_plan_nothing_is_left_to_do() {
    in_every_world(|mut w| {
        let plan = w.plan();
        if two_are_writable(&w) || w.asking == Asking::Half {
            return settle(&mut w); // pgpool may find the wrong one, and is told again
        }
        if w.pool.nodes.values().any(|n| n.port == 0 || n.address().is_none()) {
            return settle(&mut w); // a gap waits for a promote, a socket directory blocks an attach
        }
        if a_server_has_two_slots(&w) {
            return settle(&mut w); // the owner moves to the slot that stays attached
        }
        if w.lost.is_some() {
            return settle(&mut w); // who could stand in is asked before the leader is
        }
        w.apply_all(&plan);
        let then = w.plan();
        if a_farther_one_leaves(&then) {
            return settle(&mut w);
        }
        let left: Vec<_> = then.steps.iter().map(line_of_step).collect();
        none("left to do", &left, &plan)
    });
}

#[test]
fn every_prefix_is_a_safe_place_to_stop() {
    in_every_world(|w| {
        let plan = w.plan();
        let w = World { asking: Asking::AsNeeded, ..w };
        let mut whole = w.clone();
        whole.apply_all(&plan);
        settle(&mut whole)?;
        let mut stopped = w;
        for step in &plan.steps {
            let effect = stopped.apply(step);
            none("trouble", &effect.trouble, &plan)?;
            let mut resumed = stopped.clone();
            settle(&mut resumed)?;
            if a_server_has_two_slots(&whole) {
                continue; // whichever of them is attached when the file is written stays
            }
            if somebody_waits(&whole) {
                continue; // who is attached now needs no time to come back, and who is not does
            }
            same_world(&resumed, &whole)?;
        }
        Ok(())
    });
}

#[test]
fn what_the_servers_say_in_the_end_is_all_that_matters() {
    in_every_world(|w| {
        // A vanished member keeps its reads until it has been asked: there the order matters.
        let w = World { past: Past::default(), ..w };
        let mut told_later = World { asking: Asking::Never, ..w.clone() };
        settle(&mut told_later)?;
        told_later.asking = Asking::AsNeeded;
        settle(&mut told_later)?;
        let mut told_now = World { asking: Asking::AsNeeded, ..w.clone() };
        settle(&mut told_now)?;
        let turns = w.pool.watchdog.as_ref().is_some_and(|d| !d.leads_here());
        let waits = turns || somebody_waits(&w);
        if hung_readers_differ(&w) || a_server_has_two_slots(&w) || waits {
            return Ok(());
        }
        told_later.asking = told_now.asking;
        same_world(&told_later, &told_now)
    });
}

/// In the end the reads are with the nearest who can have them, and nobody else is attached for it.
#[test]
fn no_farther_tier_serves_beside_a_nearer_one() {
    let seen = std::cell::Cell::new((0, 0));
    in_every_world(|mut w| {
        w.asking = Asking::AsNeeded;
        settle(&mut w)?;
        let known = w.inputs_are_known() && w.file.is_ok() && w.leader_is_attached();
        if !known || w.policy.farther.is_empty() || a_server_has_two_slots(&w) {
            return Ok(());
        }
        if somebody_waits(&w) || w.pool.watchdog.is_some() || w.asking == Asking::Never {
            return Ok(());
        }
        let leader = w.view_of().and_then(|c| c.leader.clone());
        let inputs = w.inputs();
        let plan = w.plan();
        let reads = plan.slots.iter().filter(|r| {
            let from = r.from.filter(|f| f.status == SlotStatus::Up && f.weight > 0.0);
            from.is_some() && r.member != leader
        });
        let tiers: BTreeSet<_> = reads.filter_map(|r| r.tier).collect();
        if tiers.len() > 1 {
            return Err(format!("tiers {tiers:?} serve: {}", print(&plan)));
        }
        let (near, far) = seen.get();
        seen.set((near + usize::from(tiers.contains(&0)), far + usize::from(tiers > [0].into())));
        // Nobody has the reads but the leader, though it is far: then nobody can.
        let members = inputs.cluster.iter().flat_map(|c| c.members.values());
        let local = |m: &&Member| w.policy.local_weight(m).is_some();
        let leads = |m: &Member| Some(&m.name) == leader.as_ref();
        let can = |m: &&Member| {
            let answers = m.address.as_ref().is_ok_and(|a| w.is(a) == Answer::ReadOnly);
            let shared = members_at(&w, m) > 1 || m.orders.held.is_some() || m.noloadbalance;
            let far = w.policy.tier(m).is_some_and(|tier| tier > 0);
            far && m.is_serving() && answers && !shared && w.policy.patience.max_lag.is_none()
        };
        let idle = members.clone().filter(can).find(|m| !leads(m));
        let of_a_leader = members.filter(local).any(leads);
        let Some(idle) = idle.filter(|_| tiers.is_empty() && !of_a_leader) else { return Ok(()) };
        let leads_at = Ground::of(&inputs).ok().and_then(|g| g.why_not_writable());
        let nearer = w.policy.tier(idle) <= leader_tier(&w).or(Some(usize::MAX));
        let (calm, has_slot) = (plan.holds.is_empty(), slot_of(&plan, idle));
        match leads_at.is_none() && nearer && calm && has_slot {
            true => Err(format!("{} does not serve: {}", idle.name, print(&plan))),
            false => Ok(()),
        }
    });
    let (near, far) = seen.get();
    assert!(near >= 20 && far >= 20, "{near} {far}");
}

/// At a quiet moment a restart is allowed: whoever served serves on, and what it was for is done.
#[test]
fn a_restart_loses_nobody_and_leaves_nothing_to_do() {
    let seen = std::cell::Cell::new((0, 0));
    in_every_world(|mut w| {
        w.asking = Asking::AsNeeded;
        settle(&mut w)?;
        w.policy.restart = RestartPolicy { max_per_hour: 1, ..w.policy.restart.clone() };
        w.policy.restart.mode = RestartMode::Command;
        if w.pool.sessions.is_some() && w.policy.slots % 3 == 0 {
            w.damage = vec!["pid file /run/pgpool.pid is gone while pgpool answers".to_owned()];
            w.restarts.damage_lasts = true;
        }
        let plan = w.plan();
        let [Step { act: Act::Restart(layout), .. }] = &plan.steps[..] else { return Ok(()) };
        let (for_room, for_damage) = seen.get();
        seen.set(match w.damage.is_empty() {
            true => (for_room + 1, for_damage),
            false => (for_room, for_damage + 1),
        });
        none("faults", &check::faults(&w.inputs(), &plan), &plan)?;
        let listed = |a: &_| {
            let members = w.cluster.iter().flat_map(|c| c.members.values());
            members.into_iter().any(|m| m.address.as_ref() == Ok(a))
        };
        let view = w.pool.view();
        let places: Vec<_> = layout.table.entries.values().filter_map(|e| e.address()).collect();
        let served = view.attached().filter_map(|(_, n)| n.address()).filter(listed);
        let lost = served.filter(|a| !places.contains(a));
        none("lost", &lost.collect::<Vec<_>>(), &plan)?;
        let effects = w.apply_all(&plan);
        let trouble: Vec<_> = effects.iter().flat_map(|e| &e.trouble).collect();
        none("trouble", &trouble, &plan)?;
        for row in &plan.slots {
            let node = &w.pool.nodes[&row.slot];
            same("status", &(row.to.status == SlotStatus::Up), &node.status_is_up())?;
            if w.inputs_are_known() {
                same("primary", &row.to.primary, &(w.pool.primary == Some(row.slot)))?;
            }
        }
        if two_are_writable(&w) || a_server_has_two_slots(&w) {
            return settle(&mut w);
        }
        if a_farther_one_leaves(&w.plan()) {
            return settle(&mut w);
        }
        let left: Vec<_> = w.plan().steps.iter().map(line_of_step).collect();
        none("left to do", &left, &plan)
    });
    let (for_room, for_damage) = seen.get();
    assert!(for_room >= 20 && for_damage >= 20, "{for_room} {for_damage}");
}

#[test]
fn a_row_says_what_will_be() {
    in_every_world(|mut w| {
        let plan = w.plan();
        if two_are_writable(&w) {
            return Ok(());
        }
        w.apply_all(&plan);
        for row in &plan.slots {
            let Some(node) = w.pool.nodes.get(&row.slot) else { continue };
            if row.from.is_none() && plan.steps.is_empty() {
                continue; // standing still: nothing is said of a slot that pgpool cannot use
            }
            let status = match node.status {
                NodeStatus::Up => SlotStatus::Up,
                NodeStatus::Down => SlotStatus::Down,
                NodeStatus::Unused => SlotStatus::Unused,
            };
            same(&format!("status of {row:?}"), &row.to.status, &status)?;
            let primary = w.pool.primary == Some(row.slot);
            if w.inputs_are_known() {
                same(&format!("primary of {row:?}"), &row.to.primary, &primary)?;
            }
            if let Some(entry) = w.file.as_ref().ok().and_then(|f| f.entries.get(&row.slot)) {
                same(&format!("weight of {row:?}"), &row.to.weight, &entry.weight)?;
            }
        }
        Ok(())
    });
}

#[test]
fn not_knowing_is_no_reason_to_act() {
    in_every_world(|w| {
        let blind: [fn(&mut World); 6] = [
            |w| w.cluster = Err("etcd does not answer".to_owned()),
            |w| w.pool_seen = Err("pgpool does not answer".to_owned()),
            |w| w.view().members.clear(),
            |w| w.view().leader = None,
            |w| w.lose_the_leaders_address(),
            |w| (w.view().system_id, w.past.system_id) = (Some("8".into()), Some("7".into())),
        ];
        for cover in blind {
            let mut w = w.clone();
            cover(&mut w);
            let plan = w.plan();
            let stands_in = w.cluster.is_ok() && w.pool_seen.is_ok() && w.primary_is_gone();
            let act = |s: &&Step| matches!(s.act, Act::Attach(_) | Act::Detach(_)) || !stands_in;
            none("steps", &plan.steps.iter().filter(act).collect::<Vec<_>>(), &plan)?;
            same("says why", &plan.holds.is_empty(), &false)?;
        }
        Ok(())
    });
}

#[test]
fn only_the_leader_or_a_stand_in_is_promoted() {
    in_every_world(|w| {
        let plan = w.plan();
        for step in &plan.steps {
            let Act::Promote(slot) = step.act else { continue };
            let at = w.pool.nodes.get(&slot).and_then(|n| n.address());
            let leader = w.cluster.as_ref().ok().and_then(|c| c.leader_member());
            let leads = leader.is_some_and(|m| m.address.as_ref().ok() == at.as_ref());
            let answers = at.is_some_and(|a| w.is(&a).is_alive());
            let stands_in = w.primary_is_gone() && answers;
            if !leads && !stands_in {
                return Err(format!("promotes slot {slot}: {}", print(&plan)));
            }
        }
        Ok(())
    });
}

/// Not being readable is not being gone: where a member's key is malformed, no slot that may be its
/// own is detached, unless it hangs.
#[test]
fn the_slot_of_a_malformed_member_is_left_alone() {
    in_every_world(|w| {
        let plan = w.plan();
        let Ok(cluster) = &w.cluster else { return Ok(()) };
        let malformed: BTreeSet<_> =
            cluster.members.values().filter(|m| m.address.is_err()).map(|m| &m.name).collect();
        for step in &plan.steps {
            let Act::Detach(slot) = step.act else { continue };
            let address = w.pool.nodes[&slot].address();
            let hangs = address.as_ref().is_some_and(|a| !w.is(a).is_safe_to_search());
            let rival = address.as_ref().is_some_and(|a| w.is(a) == Answer::Writable);
            let claimed =
                cluster.members.values().any(|m| m.address.as_ref().ok() == address.as_ref());
            let owner = w.file.as_ref().ok().and_then(|f| f.entries.get(&slot)?.member.as_ref());
            let may_be_its_own = owner.is_none_or(|o| malformed.contains(o));
            if !malformed.is_empty() && !claimed && may_be_its_own && !hangs && !rival {
                return Err(format!("detaches slot {slot}: {}", print(&plan)));
            }
        }
        Ok(())
    });
}

#[test]
fn the_last_server_is_never_taken_away() {
    in_every_world(|mut w| {
        let plan = w.plan();
        for (n, step) in plan.steps.iter().enumerate() {
            let some = !w.pool.attached().is_empty();
            w.apply(step);
            let attach_follows =
                plan.steps.get(n + 1).is_some_and(|s| matches!(s.act, Act::Attach(_)));
            if some && w.pool.attached().is_empty() && !attach_follows {
                return Err(format!("nobody is attached after {step:?} of {}", print(&plan)));
            }
        }
        Ok(())
    });
}

#[test]
fn a_watchdog_standby_leaves_the_shared_states_to_others_until_its_turn_comes() {
    in_every_world(|w| {
        if w.pool.watchdog.as_ref().is_none_or(|d| d.leads_here()) || w.undone.steps_in {
            return Ok(());
        }
        let plan = w.plan();
        let commands =
            plan.steps.iter().filter(|s| !matches!(s.act, Act::WriteConf(_) | Act::Reload));
        none("commands", &commands.collect::<Vec<_>>(), &plan)
    });
}

#[test]
fn a_used_slot_keeps_its_address_and_a_spoilt_one_gets_none() {
    in_every_world(|w| {
        let plan = w.plan();
        for step in &plan.steps {
            let Act::WriteConf(table) = &step.act else { continue };
            for (slot, node) in
                w.pool.nodes.iter().filter(|(_, n)| n.port != 0 || n.status_is_used())
            {
                let entry = table.entries.get(slot);
                let keeps = match node.port {
                    0 => entry.is_none(),
                    _ => entry.is_some_and(|e| e.host == node.host && e.port == node.port),
                };
                if !keeps {
                    return Err(format!("slot {slot}, {node:?}, becomes {entry:?}"));
                }
            }
            let addresses: Vec<_> = table.entries.values().filter_map(|e| e.address()).collect();
            let live: Vec<_> =
                w.pool.nodes.values().filter(|n| n.port != 0).filter_map(|n| n.address()).collect();
            let twice = |v: &[_]| v.len() - v.iter().collect::<BTreeSet<_>>().len();
            if twice(&addresses) > twice(&live) {
                return Err(format!("an address gets a second slot: {table:#?}"));
            }
        }
        Ok(())
    });
}

/// The keys of most members are gone: whoever serves on stays, and nobody else is waited for.
#[test]
fn a_vanished_member_that_answers_is_not_detached() {
    in_every_world(|w| {
        let plan = w.plan();
        for step in &plan.steps {
            let Act::Detach(slot) = step.act else { continue };
            let Some(at) = w.pool.nodes[&slot].address() else { continue };
            let listed = w
                .view_of()
                .is_some_and(|c| c.members.values().any(|m| m.address.as_ref() == Ok(&at)));
            let serves = matches!(w.is(&at), Answer::ReadOnly | Answer::Alive(_));
            if w.past.vanished_from(&at).is_some() && !listed && serves {
                return Err(format!("detaches slot {slot}: {}", print(&plan)));
            }
        }
        Ok(())
    });
}

/// The memory of who vanished keeps readers; it never keeps the leader from its place.
#[test]
fn no_leader_waits_for_the_memory() {
    in_every_world(|w| {
        let w = World { asking: Asking::Everybody, ..w };
        let leader = w.view_of().and_then(|c| c.leader_member()?.address.clone().ok());
        let to_the_front = |w: &World| {
            let plan = w.plan();
            let acts = plan.steps.iter().map(|s| s.act.clone()).filter(|act| match act {
                Act::Promote(_) => true,
                Act::Attach(s) => w.pool.nodes.get(s).and_then(|n| n.address()) == leader,
                _ => false,
            });
            acts.collect::<Vec<_>>()
        };
        let forgetful = World { past: Past::default(), ..w.clone() };
        same("promotes and the leader's attach", &to_the_front(&w), &to_the_front(&forgetful))
    });
}

/// No hold takes the last reader away, and none gives a leader's writes away.
#[test]
fn a_held_member_gets_no_reads_while_another_local_one_has_them() {
    in_every_world(|mut w| {
        settle(&mut w)?;
        let Some(view) = w.view_of().filter(|_| w.inputs_are_known() && w.file.is_ok()) else {
            return Ok(());
        };
        if w.pool.watchdog.is_some() || w.asking == Asking::Never {
            return Ok(()); // not all that is wished for may be done
        }
        let at = |m: &Member| {
            let mut nodes = w.pool.nodes.values();
            nodes
                .find(|n| n.status_is_up() && m.address.as_ref().ok() == n.address().as_ref())
                .cloned()
        };
        let others_read = view
            .members
            .values()
            .any(|m| m.orders.held.is_none() && at(m).is_some_and(|n| n.weight > 0.0));
        for m in view.members.values().filter(|m| m.orders.held.is_some()) {
            let reads = at(m).is_some_and(|n| n.weight > 0.0);
            let shared = view.members.values().filter(|o| o.address == m.address).count() > 1;
            if reads && others_read && !shared && w.leader_is_attached() {
                return Err(format!("{} reads: {}", m.name, print(&w.plan())));
            }
        }
        Ok(())
    });
}

/// An attach hangs on it when there would be one if everybody answered well. In a standby cluster
/// pgpool has no primary, and logs in everywhere at a detach as well. While the leader is not
/// attached, a stand-in for pgpool's primary may hang on it. Whoever waits for its turn asks too.
#[test]
fn servers_are_asked_exactly_when_an_attach_or_a_stand_in_hangs_on_it() {
    in_every_world(|w| {
        // The vanished are asked at every look; who is known to be lost is not asked again.
        let w = World { past: Past::default(), lost: None, ..w };
        let ignorant = Inputs { reach: Reachability::default(), ..w.inputs() };
        let asks = !questions::servers_to_ask(&ignorant).is_empty();
        let mut all_well = World { asking: Asking::Everybody, ..w.clone() };
        all_well.undone.steps_in = true;
        let leader_at = Ground::of(&ignorant).ok().and_then(|g| g.leader_at().cloned());
        let seen = ignorant
            .pool
            .as_ref()
            .map(|p| p.nodes.values().filter_map(|n| n.address()).collect::<Vec<_>>())
            .unwrap_or_default();
        let members = ignorant
            .cluster
            .as_ref()
            .map(|c| c.members.values().filter_map(|m| m.address.clone().ok()).collect::<Vec<_>>())
            .unwrap_or_default();
        for address in seen.into_iter().chain(members) {
            let leads = Some(&address) == leader_at.as_ref();
            all_well.truth.insert(address, if leads { Answer::Writable } else { Answer::ReadOnly });
        }
        let standby = all_well.cluster.as_ref().is_ok_and(|c| c.standby_cluster);
        let attaches = all_well.plan().steps.iter().any(|s| match s.act {
            Act::Attach(_) => true,
            Act::Detach(_) => standby,
            _ => false,
        });
        let unaskable = all_well.plan().holds.iter().any(|h| h.reason.contains("socket"));
        let attached = |w: &World| {
            let at = |s: &SlotIndex| w.pool.nodes[s].address();
            let mut attached = w.pool.attached().into_iter();
            leader_at.is_some() && attached.any(|s| at(&s) == leader_at)
        };
        let primary = w.pool.primary.filter(|p| w.pool.nodes[p].status == NodeStatus::Up);
        let in_doubt = Ground::of(&ignorant).is_ok()
            && primary.is_some_and(|p| w.pool.nodes[&p].address().is_some())
            && !attached(&w);
        if asks == (attaches || unaskable || in_doubt) {
            return Ok(());
        }
        Err(format!("asks: {asks}, attaches: {attaches}: {}", print(&all_well.plan())))
    });
}

#[test]
fn a_plan_says_how_bad_it_is_by_its_worst_step() {
    in_every_world(|w| {
        let plan = w.plan();
        let worst = plan.steps.iter().map(|s| s.disruption).max().unwrap_or(Disruption::None);
        same("disruption", &plan.disruption(), &worst)
    });
}

#[test]
fn every_reason_is_one_printable_line() {
    in_every_world(|w| {
        let plan = w.plan();
        let steps = plan.steps.iter().map(|s| &s.reason);
        for text in steps.chain(plan.holds.iter().map(|h| &h.reason)) {
            if text.is_empty() || text.chars().any(char::is_control) || text.len() > 300 {
                return Err(format!("{text:?}"));
            }
        }
        Ok(())
    });
}

/// The draw is only worth something if it reaches the worlds that the rules are about.
#[test]
fn the_draw_reaches_every_kind_of_plan() {
    let seen = std::cell::RefCell::new(BTreeMap::<&str, usize>::new());
    in_every_world(|w| {
        let plan = w.plan();
        let mut seen = seen.borrow_mut();
        let mut count = |what| *seen.entry(what).or_default() += 1;
        for step in &plan.steps {
            count(step.act.op());
        }
        for (word, what) in [
            ("stands in", "stand-in"),
            ("freeze", "hung one first"),
            ("noloadbalance", "noloadbalance"),
            ("remote", "remote"),
            ("no longer", "departed"),
            ("no member", "foreign"),
            ("standby leader", "standby leader reads"),
            ("in place of", "another's turn"),
            ("held", "held one goes"),
            ("no nearer replica", "farther one comes"),
            ("at least as near", "farther one goes"),
            ("by order", "located by order"),
        ] {
            if plan.steps.iter().any(|s| s.reason.contains(word)) {
                count(what);
            }
        }
        for (word, what) in [
            ("no free slot", "table full"),
            ("is the turn of", "watchdog standby"),
            ("unusable", "malformed"),
            ("same address", "same address"),
            ("nobody holds", "no leader"),
            ("writable", "leader not writable"),
            ("answers from here", "target silent"),
            ("held", "held"),
            ("vanished", "vanished"),
            ("has been good", "unproven"),
            ("by hand", "detached by hand"),
            ("nearer replica is back", "nearer one awaited"),
            ("sessions have ended", "draining"),
            ("gets no reads", "far behind"),
        ] {
            if plan.holds.iter().any(|h| h.reason.contains(word)) {
                count(what);
            }
        }
        match plan.steps.len() {
            0 => count("nothing to do"),
            1..=3 => count("short plan"),
            4..=6 => count("middling plan"),
            _ => count("long plan"),
        }
        Ok(())
    });
    let seen = seen.into_inner();
    println!("{seen:#?}");
    assert_eq!(seen.len(), 35, "{seen:#?}");
    assert!(seen.values().all(|n| *n >= 10), "{seen:#?}");
}

/// Not before a nearer one is seen to be attached, which is one look later.
fn a_farther_one_leaves(plan: &Plan) -> bool {
    let steps = plan.steps.iter().map(|s| &s.reason);
    let mut reasons = steps.chain(plan.holds.iter().map(|h| &h.reason));
    reasons.any(|r| r.contains("at least as near"))
}

fn members_at(w: &World, member: &Member) -> usize {
    let members = w.cluster.iter().flat_map(|c| c.members.values());
    members.filter(|m| m.address == member.address).count()
}

fn leader_tier(w: &World) -> Option<usize> {
    w.policy.tier(w.view_of()?.leader_member()?)
}

fn slot_of(plan: &Plan, member: &Member) -> bool {
    plan.slots.iter().any(|r| r.member.as_ref() == Some(&member.name))
}

fn two_are_writable(w: &World) -> bool {
    let in_pool = w.pool.nodes.values().filter_map(|n| n.address());
    let writable: BTreeSet<_> = in_pool
        .filter(|a| w.is(a) == Answer::Writable)
        .chain(w.cluster.as_ref().ok().and_then(|c| c.leader_member()?.address.clone().ok()))
        .collect();
    writable.len() > 1
}

fn a_server_has_two_slots(w: &World) -> bool {
    let addresses: Vec<_> = w.pool.nodes.values().filter_map(|n| n.address()).collect();
    addresses.len() > addresses.iter().collect::<BTreeSet<_>>().len()
}

/// Time keeps somebody out as long as he is out, or in as long as he is in.
fn somebody_waits(w: &World) -> bool {
    let Elapsed { unproven, fell, restart_due: _, draining, by_hand, leader_stays: _ } = &w.elapsed;
    !(unproven.is_empty() && fell.is_empty() && draining.is_empty() && by_hand.is_empty())
}

/// A reader that hangs stays attached until an attach makes it an obstacle: whether one comes depends
/// on what came before.
fn hung_readers_differ(w: &World) -> bool {
    w.truth.values().any(|a| !a.is_safe_to_search())
}

impl World {
    fn view_of(&self) -> Option<&ClusterView> {
        self.cluster.as_ref().ok()
    }

    fn leader_is_attached(&self) -> bool {
        let leader = self.view_of().and_then(|c| c.leader_member()?.address.clone().ok());
        leader.is_some()
            && self.pool.nodes.values().any(|n| n.status_is_up() && n.address() == leader)
    }

    fn inputs_are_known(&self) -> bool {
        Ground::of(&self.inputs()).is_ok_and(|g| !g.cluster.standby_cluster)
    }

    fn lose_the_leaders_address(&mut self) {
        let view = self.view();
        if let Some(m) = view.leader.clone().and_then(|l| view.members.get_mut(&l)) {
            m.address = Err("no port".to_owned());
        }
    }
}
