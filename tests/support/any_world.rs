//! Worlds by chance, the odd ones on purpose: what an operator, an old backup of pgpool.conf or a
//! bad day may leave behind. Small on every side, so that a counterexample can be read.

use std::time::Duration;

use proptest::prelude::*;

use geo_agent::model::cluster::{Role, State};
use geo_agent::model::elapsed::{Elapsed, Trial};
use geo_agent::model::ids::{Address, MemberName};
use geo_agent::model::orders::Held;
use geo_agent::model::past::{Known, Missed};
use geo_agent::model::policy::Tier;
use geo_agent::model::pool::{NodeStatus, PoolVersion, Sessions, Watchdog};
use geo_agent::model::reach::{Answer, Loss};
use geo_agent::model::slots::{SlotEntry, SlotTable};

use super::world::{Asking, Node, World, home, member, slot, world};

const NAMES: [&str; 6] = ["eu-1", "eu-2", "eu-3", "us-1", "us-2", "us-3"];

#[derive(Debug, Clone)]
struct AnyMember {
    listed: bool,
    condition: u8,
    answer: u8,
    noloadbalance: bool,
    weight: Option<u8>,
    address: u8,
}

/// One slot of pgpool and what the file says of it.
#[derive(Debug, Clone)]
struct AnySlot {
    holds: u8,
    up: u8,
    weight: u8,
    file: u8,
}

#[derive(Debug, Clone)]
struct Around {
    leader: u8,
    standby_cluster: bool,
    primary: u8,
    version: u8,
    watchdog: u8,
    file_lost: bool,
    slots: u8,
    asking: u8,
    sync: bool,
    orderly: bool,
    crisis: bool,
    elapsed: u16,
    lost: bool,
}

pub fn any_world() -> impl Strategy<Value = World> {
    let members = prop::collection::vec(any_member(), NAMES.len());
    let slots = prop::collection::vec(any_slot(), 0..7);
    let built = (members, slots, any_surroundings()).prop_map(|(m, s, a)| build(&m, &s, &a));
    let orders = prop::collection::vec(0u8..24, NAMES.len());
    let ordered = (built, orders, 0u8..6)
        .prop_map(|(world, orders, memory)| with_orders(world, &orders, memory));
    let far = prop::collection::vec(0u8..4, NAMES.len());
    (ordered, 0u8..10, far).prop_map(|(world, tiers, far)| with_tiers(world, tiers, &far))
}

/// Half of the worlds have farther tiers; in some of them nobody is local.
fn with_tiers(mut it: World, tiers: u8, far: &[u8]) -> World {
    let places = |names: &[&str]| Tier::Places(names.iter().map(|n| (*n).to_owned()).collect());
    it.policy.farther = match tiers {
        0 => vec![places(&["us"])],
        1 => vec![places(&["us"]), Tier::Any],
        2 => vec![places(&["us", "ap"])],
        3 | 4 => vec![Tier::Any],
        _ => return it,
    };
    if tiers == 4 || far[0] == 0 {
        it.policy.location = Some("here".to_owned());
    }
    if far[1] < 2 {
        let World { cluster, policy, .. } = &mut it;
        let view = cluster.as_mut().expect("etcd was read");
        let members = view.members.values_mut().filter(|m| Some(&m.name) != view.leader.as_ref());
        for member in members.filter(|m| policy.local_weight(m).is_some()) {
            member.state = State::NotServing("crashed".to_owned());
        }
    }
    if far[1] == 0 {
        it.elapsed.fell = NAMES.iter().map(|name| MemberName::new(*name)).collect();
    }
    for (name, far) in NAMES.iter().zip(far).filter(|(_, far)| **far > 0) {
        it.round_trips.insert(home(name), Duration::from_millis(u64::from(*far) * 20));
    }
    it
}

/// What operators ordered; and whether the members that are not listed vanished all at once.
fn with_orders(mut it: World, orders: &[u8], memory: u8) -> World {
    for (name, order) in NAMES.iter().map(|n| MemberName::new(*n)).zip(orders) {
        let Some(member) = it.view().members.get_mut(&name) else {
            let missed = Some(Missed { since: Duration::ZERO, with_most: true });
            let known = Known { address: Some(home(name.as_raw())), missed };
            if memory == 0 {
                it.past.members.insert(name, known);
            }
            continue;
        };
        match order {
            0 => member.orders.held = Some(Held::default()),
            1 => member.orders.location = Some("eu".to_owned()),
            2 => member.orders.location = Some("us".to_owned()),
            3 | 4 => member.orders.location = Some("ap".to_owned()),
            _ => {}
        }
    }
    it
}

fn any_member() -> impl Strategy<Value = AnyMember> {
    let weight = prop_oneof![4 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let odd = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    (odd(60), 0u8..20, 0u8..20, odd(12), weight, 0u8..24).prop_map(
        |(listed, condition, answer, noloadbalance, weight, address)| AnyMember {
            listed,
            condition,
            answer,
            noloadbalance,
            weight,
            address,
        },
    )
}

fn any_slot() -> impl Strategy<Value = AnySlot> {
    (0u8..30, 0u8..10, 0u8..5, 0u8..24).prop_map(|(holds, up, weight, file)| AnySlot {
        holds,
        up,
        weight,
        file,
    })
}

fn any_surroundings() -> impl Strategy<Value = Around> {
    let odd = |percent: u32| prop::bool::weighted(f64::from(percent) / 100.0);
    (
        0u8..18,
        odd(10),
        0u8..8,
        0u8..4,
        0u8..10,
        odd(6),
        0u8..8,
        0u8..8,
        (odd(30), odd(50), odd(15), 0u16..1024, odd(30)),
    )
        .prop_map(
            |(
                leader,
                standby_cluster,
                primary,
                version,
                watchdog,
                file_lost,
                slots,
                asking,
                (sync, orderly, crisis, elapsed, lost),
            )| {
                Around {
                    leader,
                    standby_cluster,
                    primary,
                    version,
                    watchdog,
                    file_lost,
                    slots,
                    asking,
                    sync,
                    orderly,
                    crisis,
                    elapsed,
                    lost,
                }
            },
        )
}

fn build(members: &[AnyMember], slots: &[AnySlot], around: &Around) -> World {
    let mut it = world();
    for (name, any) in NAMES.iter().zip(members).filter(|(_, m)| m.listed) {
        it = add_member(it, name, any);
    }
    it = lead(it, around);
    for (n, any) in slots.iter().enumerate() {
        let mut any = any.clone();
        if around.orderly {
            (any.holds, any.file) = ((n % NAMES.len()) as u8, 20); // each its own slot, as in the file
        }
        add_slot(&mut it, &any);
    }
    let count = it.pool.nodes.len();
    it.pool.primary = Some(usize::from(around.primary)).filter(|n| *n < count).map(slot);
    it.pool.primary =
        it.pool.primary.filter(|s| it.pool.nodes[s].port != 0 && it.pool.nodes[s].status_is_used());
    it.pool.version = [PoolVersion::V42, PoolVersion::V43, PoolVersion::V45, PoolVersion::V46]
        [usize::from(around.version)];
    it.pool.watchdog = match around.watchdog {
        0 => Some(a_watchdog("LEADER")),
        1 | 2 => Some(a_watchdog("STANDBY")),
        _ => None,
    };
    it.undone.steps_in = around.watchdog == 2;
    it.pool.sessions = Some(Sessions { total: 9, reading: None });
    it.file_edited = around.asking % 4 == 3 && it.file.is_ok();
    it.policy.slots = around.slots + 3;
    it.asking = match around.asking {
        0 => Asking::Never,
        1 => Asking::Half,
        2 => Asking::Everybody,
        _ => Asking::AsNeeded,
    };
    if around.file_lost {
        it.file = Err("pgpool.conf has no slot table: run geo-agent init".to_owned());
    }
    it.elapsed = any_past(around.elapsed);
    if around.elapsed >= 512 {
        it.policy.patience.max_lag = Some(500);
    }
    let it = if around.crisis { in_crisis(it) } else { it };
    if around.lost { with_a_watch(it) } else { it }
}

/// Whoever watches pgpool's primary knows when it is lost.
fn with_a_watch(mut it: World) -> World {
    let server = it.pool.primary.and_then(|p| it.pool.nodes[&p].address());
    let dead = |a: &Address| it.truth.get(a).is_some_and(|answer| !answer.is_alive());
    let why = "connection refused".to_owned();
    it.lost = server.filter(dead).map(|server| Loss { server, why });
    it
}

/// Half of the worlds have none; the bits of the others say whom it is about.
fn any_past(bits: u16) -> Elapsed {
    if bits.is_multiple_of(2) {
        return Elapsed::default();
    }
    let is_set = |n: usize| bits >> (n + 1) & 1 == 1;
    let slots = || (0..4).filter(|n| is_set(*n)).map(slot).collect();
    let trial = |n: usize| Trial { lasts: Duration::from_secs(2), falls: n as u32 };
    let names = || NAMES.iter().enumerate().filter(|(n, _)| is_set(n + 4));
    match bits / 2 % 4 {
        0 => Elapsed { draining: slots(), ..Elapsed::default() },
        1 => Elapsed { by_hand: slots(), ..Elapsed::default() },
        2 => Elapsed {
            fell: names().map(|(_, name)| MemberName::new(*name)).collect(),
            unproven: names().map(|(n, name)| (MemberName::new(*name), trial(n))).collect(),
            ..Elapsed::default()
        },
        _ => Elapsed {
            restart_due: names().map(|(_, name)| MemberName::new(*name)).collect(),
            draining: slots(),
            ..Elapsed::default()
        },
    }
}

/// pgpool's primary hangs, and the new leader is detached.
fn in_crisis(mut it: World) -> World {
    let leader = it.cluster.as_ref().ok().and_then(|c| c.leader_member()?.address.clone().ok());
    for node in it.pool.nodes.values_mut().filter(|n| n.port != 0) {
        let leads = leader.is_some() && node.address() == leader;
        node.status = if leads { NodeStatus::Down } else { NodeStatus::Up };
    }
    let up = it.pool.attached();
    it.pool.primary = it.pool.primary.filter(|p| up.contains(p)).or(up.first().copied());
    let primary = it.pool.primary.and_then(|p| it.pool.nodes[&p].address());
    if let Some(address) = primary {
        it.truth.insert(address, Answer::Hung("no answer within 1 s".to_owned()));
    }
    it
}

fn a_watchdog(state: &str) -> Watchdog {
    Watchdog {
        nodes: vec![("here".to_owned(), state.to_owned())],
        leader: Some("somebody".to_owned()),
        quorum: true,
    }
}

fn add_member(mut it: World, name: &str, any: &AnyMember) -> World {
    let mut m = member(name, Role::Replica);
    match any.condition {
        0 => m.state = State::NotServing("starting".to_owned()),
        1 => m.state = State::NotServing("crashed".to_owned()),
        2 => m.role = Role::Other,
        3 => m.replay_lsn = None,
        4 => m.replay_lsn = Some(2000),
        _ => {}
    }
    m.address = match any.address {
        0 => Err("conn_url has no port".to_owned()),
        1 => Ok(Address::new("moved.db", 5432).expect("a host name")),
        2 => Ok(home("eu-1")),
        _ => Ok(home(name)),
    };
    m.noloadbalance = any.noloadbalance;
    if let Some(weight) = any.weight {
        it.policy.local_backends.insert(name.to_owned(), f64::from(weight));
    }
    let it = it.add(m);
    let why = || "timed out".to_owned();
    it.answers(
        name,
        match any.answer {
            0 | 1 => Answer::Hung(why()),
            2 => Answer::Unreachable(why()),
            3 => Answer::Dead(why()),
            4 | 5 => Answer::Alive(why()),
            6 => Answer::Writable,
            _ => Answer::ReadOnly,
        },
    )
}

fn lead(mut it: World, around: &Around) -> World {
    let view = it.view();
    view.leader_lsn = Some(2000);
    view.standby_cluster = around.standby_cluster;
    if around.sync {
        view.sync_standbys = vec!["eu-2".to_owned()];
    }
    let listed: Vec<MemberName> = view.members.keys().cloned().collect();
    let Some(name) = listed.get(usize::from(around.leader) % listed.len().max(1)).cloned() else {
        return it;
    };
    match around.leader {
        16 => return it,
        17 => {
            view.leader = Some(MemberName::new("ghost"));
            return it;
        }
        _ => view.leader = Some(name.clone()),
    }
    let role = match (around.standby_cluster, around.leader) {
        (true, _) => Role::StandbyLeader,
        (false, 14 | 15) => Role::Promoted,
        (false, _) => Role::Primary,
    };
    let it = it.with(name.as_raw(), |m| m.role = role);
    match around.leader {
        _ if around.standby_cluster => it,
        0..=10 => it.answers(name.as_raw(), Answer::Writable),
        _ => it,
    }
}

/// The slot as pgpool has it, and the file's word on it: the same, or not.
fn add_slot(it: &mut World, any: &AnySlot) {
    let at = slot(it.pool.nodes.len());
    let (host, port, owner) = match any.holds {
        n @ 0..=23 => {
            let name = NAMES[usize::from(n) % NAMES.len()];
            (home(name).host().to_owned(), 5432, Some(name))
        }
        24 => ("old-eu-2.db".to_owned(), 5432, Some("eu-2")),
        25 => ("foreign.db".to_owned(), 5432, None),
        26 => ("/var/run/postgresql".to_owned(), 5432, None),
        27 => ("moved.db".to_owned(), 5432, None),
        _ => (String::new(), 0, None),
    };
    let status = match (port, any.up) {
        (0, 0) => NodeStatus::Down,
        (0, _) => NodeStatus::Unused,
        (_, 0..=5) => NodeStatus::Up,
        (_, 6..=8) => NodeStatus::Down,
        _ => NodeStatus::Unused,
    };
    let weight = if port == 0 { 0.0 } else { f64::from(any.weight) };
    it.pool.nodes.insert(at, Node { host: host.clone(), port, status, weight });
    let Ok(file) = &mut it.file else { return };
    let mut entry = SlotEntry {
        member: owner.map(MemberName::new),
        host,
        port,
        weight,
        data_directory: None,
        application_name: None,
    };
    match any.file {
        0 => return,
        3 => (entry.host, entry.port) = ("eu-1.db".to_owned(), 5432),
        5 => (entry.host, entry.port) = ("us-2.db".to_owned(), 5432),
        _ if port == 0 => return,
        1 => entry.weight = 2.0,
        2 => entry.weight = 0.0,
        4 => entry.member = None,
        _ => {}
    }
    file.entries.insert(at, entry);
    if any.file == 6 {
        add_to_file(file, at.get() + 1, "us-3");
    }
}

/// A slot that pgpool has not been told of yet.
fn add_to_file(file: &mut SlotTable, at: usize, name: &str) {
    file.entries.insert(slot(at), SlotEntry::new(MemberName::new(name), &home(name), 1.0));
}
