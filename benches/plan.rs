//! How long one decision takes with a full table: `cargo bench --bench plan`.

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
use geo_agent::model::reach::{Answer, Reachability};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::model::turn::Undone;
use geo_agent::plan::{check, plan, questions};

const SLOTS: usize = 128;
const RUNS: usize = 5_000;

fn main() {
    let converged = inputs(0);
    let leader_change = inputs(1);
    assert!(plan(&converged).steps.is_empty());
    assert_eq!(plan(&leader_change).steps.first().map(|s| s.act.op()), Some("promote"));
    measure("plan, converged", || plan(&converged));
    measure("plan, leader change", || plan(&leader_change));
    measure("questions, leader change", || questions::servers_to_ask(&leader_change));
    let decided = plan(&leader_change);
    measure("check, leader change", || check::faults(&leader_change, &decided));
}

fn measure<T>(what: &str, act: impl Fn() -> T) {
    let mut took: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(act());
            start.elapsed()
        })
        .collect();
    took.sort();
    let micros = |d: Duration| d.as_secs_f64() * 1e6;
    let (median, p99) = (micros(took[RUNS / 2]), micros(took[RUNS * 99 / 100]));
    println!("{what}, {SLOTS} slots: median {median:.1} us, p99 {p99:.1} us");
}

/// All local and attached; pgpool's primary is slot 0.
fn inputs(leader: usize) -> Inputs {
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
        share: 1.0 / SLOTS as f64,
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
            nodes: (0..SLOTS).map(|n| (slot(n), node(n))).collect(),
            version: PoolVersion::V46,
            ..PoolView::default()
        }),
        file_edited: false,
        file: Ok(SlotTable {
            entries: (0..SLOTS)
                .map(|n| (slot(n), SlotEntry::new(name(n), &address(n), 1.0)))
                .collect(),
        }),
        lost: None,
        reach: Reachability((0..SLOTS).map(|n| (address(n), answer(n))).collect()),
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
