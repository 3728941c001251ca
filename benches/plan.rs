//! How long one decision takes with a full table: `cargo bench --bench plan`; only what has "check"
//! in its name: `cargo bench --bench plan -- check`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use geo_agent::model::cluster::{ClusterView, Member, Replication, Role, State};
use geo_agent::model::elapsed::Elapsed;
use geo_agent::model::ids::{Address, MemberName, SlotIndex};
use geo_agent::model::inputs::Inputs;
use geo_agent::model::orders::Orders;
use geo_agent::model::past::Past;
use geo_agent::model::policy::Policy;
use geo_agent::model::pool::{NodeRole, NodeStatus, PoolNode, PoolVersion, PoolView};
use geo_agent::model::reach::Answer;
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::model::turn::Undone;
use geo_agent::plan::{check, plan, questions};

const SLOTS: usize = 128;
const RUNS: usize = 5_000;

fn main() {
    let converged = inputs(0, SLOTS);
    let leader_change = inputs(1, SLOTS);
    let promoted = promoted(1);
    let ops = |inputs| plan(inputs).steps.iter().map(|s| s.act.op()).collect::<Vec<_>>();
    assert!(ops(&converged).is_empty());
    assert_eq!(ops(&leader_change)[0], "promote");
    assert_eq!(ops(&promoted), vec!["attach"; SLOTS - 1]);
    let first_table = inputs(0, 1);
    assert_eq!(ops(&first_table)[..3], ["write_conf", "reload", "attach"]);

    measure("look, converged", || look(&converged));
    measure("plan, converged", || plan(&converged));
    for (name, inputs) in [
        ("leader change", &leader_change),
        ("attach after the promote", &promoted),
        ("first table", &first_table),
    ] {
        let decided = plan(inputs);
        measure(&format!("look, {name}"), || look(inputs));
        measure(&format!("plan, {name}"), || plan(inputs));
        measure(&format!("questions, {name}"), || questions::servers_to_ask(inputs));
        measure(&format!("check, {name}"), || check::faults(inputs, &decided));
    }
}

/// All decisions of one look of the daemon.
fn look(inputs: &Inputs) -> impl Sized {
    let leave = questions::slots_that_leave(inputs);
    let urgent = questions::promote_is_due(inputs);
    let ask = questions::servers_to_ask(inputs);
    let plan = plan(inputs);
    (check::faults(inputs, &plan), plan, leave, urgent, ask)
}

fn measure<T>(what: &str, act: impl Fn() -> T) {
    let mut wanted = std::env::args().skip(1).filter(|a| !a.starts_with('-')).peekable();
    if wanted.peek().is_some() && !wanted.any(|w| what.contains(&w)) {
        return;
    }
    let mut took: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(act());
            start.elapsed()
        })
        .collect();
    took.sort();
    let micros = |d: Duration| d.as_secs_f64() * 1e6;
    let [best, median, p99] = [0, RUNS / 2, RUNS * 99 / 100].map(|n| micros(took[n]));
    println!("{what}, {SLOTS} slots: best {best:.1} us, median {median:.1} us, p99 {p99:.1} us");
}

/// Right after a promote: nobody but the new leader is attached.
fn promoted(leader: usize) -> Inputs {
    let mut inputs = inputs(leader, SLOTS);
    for (slot, node) in inputs.pool.iter_mut().flat_map(|p| &mut p.nodes) {
        let leads = slot.get() == leader;
        node.status = if leads { NodeStatus::Up } else { NodeStatus::Down };
        node.role = if leads { NodeRole::Primary } else { NodeRole::Standby };
    }
    inputs
}

/// All local; pgpool and the file know the first ones, all attached; pgpool's primary is slot 0.
fn inputs(leader: usize, known: usize) -> Inputs {
    let address = |n: usize| Address::new(&format!("10.0.0.{n}"), 5432).expect("an address");
    let name = |n: usize| MemberName::new(format!("node-{n:03}"));
    let slot = |n: usize| SlotIndex::new(n).expect("a slot number");
    let member = |n: usize| Member {
        name: name(n),
        address: Ok(address(n)),
        role: if n == leader { Role::Primary } else { Role::Replica },
        state: State::Running,
        replication: Replication::Streaming,
        receive_lsn: Some(1),
        replay_lsn: Some(1),
        timeline: Some(1),
        noloadbalance: false,
        tags: BTreeMap::from([("location".to_owned(), "eu".to_owned())]),
        restart_scheduled: false,
        orders: Orders::default(),
        restart_at: None,
    };
    let node = |n: usize| PoolNode {
        host: address(n).host().to_owned(),
        port: 5432,
        status: NodeStatus::Up,
        quarantined: false,
        role: if n == 0 { NodeRole::Primary } else { NodeRole::Standby },
        share: 1.0 / known as f64,
        changed: None,
    };
    let answer = |n: usize| if n == leader { Answer::Writable } else { Answer::ReadOnly };
    Inputs {
        cluster: Ok(Arc::new(ClusterView {
            leader: Some(name(leader)),
            members: (0..SLOTS).map(|n| (name(n), member(n))).collect(),
            ..ClusterView::default()
        })),
        pool: Ok(PoolView {
            nodes: (0..known).map(|n| (slot(n), node(n))).collect(),
            version: PoolVersion::V46,
            ..PoolView::default()
        }),
        file_edited: false,
        file: Ok(SlotTable {
            entries: (0..known)
                .map(|n| (slot(n), SlotEntry::new(name(n), &address(n), 1.0)))
                .collect(),
        }),
        lost: None,
        reach: (0..SLOTS).map(|n| (address(n), answer(n))).collect(),
        undone: Undone::default(),
        elapsed: Elapsed::default(),
        restarts: Default::default(),
        policy: Arc::new(Policy {
            slots: 128,
            location: Some("eu".to_owned()),
            sql_probe: true,
            ..Policy::default()
        }),
        past: Arc::new(Past::default()),
    }
}
