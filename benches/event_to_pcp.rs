//! From the put of a leader key into a real etcd to the first byte that pgpool's PCP port reads: the
//! whole agent in between, with a listening fake in pgpool's place, so that the arrival can be timed.
//!
//! ```text
//! scripts/stack up etcd        # any etcd will do
//! ETCD=$(scripts/stack exec etcd hostname -i):2379 cargo bench --bench event_to_pcp
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use geo_agent::config::settings::Etcd;
use geo_agent::model::ids::Address;
use geo_agent::model::policy::Policy;
use geo_agent::model::pool::PoolView;
use geo_agent::model::reach::{Answer, Loss, Reachability};
use geo_agent::model::restart::{Layout, RestartNote};
use geo_agent::model::slots::SlotTable;
use geo_agent::observe::Observer;
use geo_agent::patroni::follow::Follower;
use geo_agent::pcp::client::{DEADLINE, PcpClient};
use geo_agent::reconcile::{Reconciler, Watch};
use geo_agent::seams::{ConfFile, Health, Keeper, Prober};
use support::{FakePgpool, FakePool};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 300;
const SCOPE: &str = "/bench/event_to_pcp";

fn main() {
    let endpoint = std::env::var("ETCD").unwrap_or_else(|_| "127.0.0.1:2379".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), measure(&endpoint));
}

async fn measure(endpoint: &str) {
    let mut etcd = Client::connect([endpoint], None).await.expect("an etcd at $ETCD");
    let writable = Rc::new(RefCell::new(address(0)));
    let fake =
        FakePgpool::start(FakePool::new(&[("10.0.0.1", 5432, 1.0), ("10.0.0.2", 5432, 1.0)])).await;
    publish_members(&mut etcd).await;
    start_agent(endpoint, &fake, writable.clone());

    let mut latencies = Vec::new();
    for round in 0..ROUNDS {
        let leader = (round + 1) % 2;
        converged(&fake, round % 2).await;
        sleep(Duration::from_millis(20)).await;
        *writable.borrow_mut() = address(leader);
        fake.pool().set_writable(&[leader]);
        let seen = fake.log().len();
        let sent = Instant::now();
        etcd.put(format!("{SCOPE}/leader"), format!("node-{leader}"), None).await.expect("a put");
        while fake.log().len() == seen {
            sleep(Duration::from_micros(200)).await;
        }
        latencies.push((fake.log()[seen].at - sent).as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "put of the leader key to the first PCP byte, {ROUNDS} times: median {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn address(node: usize) -> Address {
    Address::new(&format!("10.0.0.{}", node + 1), 5432).expect("an address")
}

async fn publish_members(etcd: &mut Client) {
    for (node, role) in [(0, "primary"), (1, "replica")] {
        let member = format!(
            r#"{{"conn_url":"postgres://10.0.0.{}:5432/postgres","state":"running","role":"{role}",
                "tags":{{"location":"here"}}}}"#,
            node + 1
        );
        etcd.put(format!("{SCOPE}/members/node-{node}"), member, None).await.expect("a put");
    }
    etcd.put(format!("{SCOPE}/leader"), "node-0", None).await.expect("a put");
}

/// Both nodes attached, and this one pgpool's primary.
async fn converged(fake: &FakePgpool, leader: usize) {
    let there = || {
        let pool = fake.pool();
        pool.attached() == [0, 1] && pool.primary == Some(leader)
    };
    while !there() {
        sleep(Duration::from_millis(1)).await;
    }
}

fn start_agent(endpoint: &str, fake: &FakePgpool, writable: Rc<RefCell<Address>>) {
    let etcd = Etcd {
        hosts: vec![endpoint.to_owned()],
        login: None,
        scope: "event_to_pcp".to_owned(),
        base: SCOPE.to_owned(),
        group: None,
        timeout: Duration::from_secs(5),
        tls: None,
    };
    let policy = Policy { location: Some("here".to_owned()), sql_probe: true, ..Policy::default() };
    let (follower, cluster) = Follower::new(&etcd);
    tokio::spawn(follower.run());
    let pool = PcpClient::new(&fake.pcp_over_socket(), DEADLINE);
    let file = InMemoryFile(RefCell::default());
    let observer = Observer::new(pool, file, OneWritable(writable), Whole);
    let (policy, watch, keeper) = (Arc::new(policy), Watch::nobodys(), NeverRestarts);
    let (words, past, observes) = (tokio::sync::watch::channel(None).0, Arc::default(), false);
    let reconciler = Reconciler { observer, keeper, policy, cluster, watch, words, past, observes };
    tokio::task::spawn_local(reconciler.run(|_| ()));
}

struct InMemoryFile(RefCell<SlotTable>);

impl ConfFile for InMemoryFile {
    type Error = Infallible;

    async fn read(&self) -> Result<Result<SlotTable, String>, Infallible> {
        Ok(Ok(self.0.borrow().clone()))
    }

    async fn write(&self, table: &SlotTable) -> Result<(), Infallible> {
        *self.0.borrow_mut() = table.clone();
        Ok(())
    }
}

struct OneWritable(Rc<RefCell<Address>>);

impl Prober for OneWritable {
    async fn ask(&self, servers: &BTreeSet<Address>) -> Reachability {
        let answer = |server: &Address| match *server == *self.0.borrow() {
            true => Answer::Writable,
            false => Answer::ReadOnly,
        };
        servers.iter().map(|s| (s.clone(), answer(s))).collect()
    }

    async fn is_lost(&self, _: &Address) -> Option<Loss> {
        None
    }

    async fn until_writable(&self, _: &Address, _: &dyn Fn() -> Duration) {
        std::future::pending().await
    }
}

struct Whole;

impl Health for Whole {
    fn damage(&self, _: &BTreeMap<String, String>) -> Vec<String> {
        Vec::new()
    }

    fn wake(&self, _: &PoolView) {}

    fn let_sleep(&self) {}
}

struct NeverRestarts;

impl Keeper for NeverRestarts {
    type Error = Infallible;

    fn note(&self) -> RestartNote {
        RestartNote::default()
    }

    fn keep(&self, _: &RestartNote) -> Result<(), Infallible> {
        Ok(())
    }

    fn write_status(&self, _: &str, _: &Layout) -> Result<(), Infallible> {
        Ok(())
    }

    async fn stop(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn start(&self) -> Result<(), Infallible> {
        Ok(())
    }
}
