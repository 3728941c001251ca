//! How long clients cannot read when pgpool's primary dies, on the real stack, with a stand-in and
//! without (`on_primary_loss: wait`), in one run.
//!
//! A client reads through pgpool-eu on a new connection every 10 ms. eu-1 leads; then either its
//! PostgreSQL is killed and its Patroni stopped (`EVENT=crash`), or its host falls silent (`EVENT=silence`:
//! every packet is dropped). Printed are the longest time without a read that begins within 10 s of that, the
//! longest in all (pgpool 4.6 also stops for a moment when the old primary is attached again), and the
//! failed reads. The agent has its default waits. `POLICY` names one of the two.
//!
//! ```text
//! SUITE=trixie scripts/stack binary release; SUITE=trixie scripts/stack up; SUITE=trixie scripts/stack wait
//! SUITE=trixie EVENT=silence ROUNDS=3 cargo bench --bench primary_loss
//! ```

#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use support::{
    READ, address, client, fresh_agent, give_back, line, longest_without, longest_without_before,
    rounds, runtime, stack, suite,
};

/// Longer than the lease of 20 s, a failover and pgpool's own search.
const UNTIL_IT_IS_OVER: Duration = Duration::from_secs(40);
/// Shorter than the lease: nobody else can lead yet.
const AT_THE_LOSS: Duration = Duration::from_secs(10);

const PGPOOL: &str = "pgpool-eu";

fn main() {
    let event = std::env::var("EVENT").unwrap_or_else(|_| "crash".to_owned());
    runtime().block_on(measure(&event, rounds(2)));
}

async fn measure(event: &str, rounds: usize) {
    println!("{}: {event} of the primary, {rounds} rounds each", suite());
    println!("round   policy     no read: at the loss       in all   failed reads");
    let only = std::env::var("POLICY").ok();
    let wanted = |policy: &&str| only.as_ref().is_none_or(|only| only == policy);
    for policy in ["stand_in", "wait"].into_iter().filter(wanted) {
        let mut outages = Vec::new();
        for round in 1..=rounds {
            fresh_agent(PGPOOL, &format!("on_primary_loss: {policy}"));
            let Loss { at_first, in_all, failed } = lose_the_primary(event).await;
            println!(
                "{round:>5}   {policy:<8}   {at_first:>17.0} ms   {in_all:>7.0} ms   {failed:>12}"
            );
            outages.push(at_first);
        }
        println!("{policy}, at the loss: {}", line(outages));
    }
    give_back(PGPOOL);
}

struct Loss {
    /// The longest time without a read that begins while nobody else can lead yet, in milliseconds.
    at_first: f64,
    in_all: f64,
    failed: usize,
}

async fn lose_the_primary(event: &str) -> Loss {
    stack(&["wait"]);
    if stack(&["leader"]).trim() != "eu-1" {
        stack(&["switchover", "eu-1"]);
        stack(&["wait"]);
    }
    sleep(Duration::from_secs(6)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = client(address(PGPOOL), READ, stop.clone());
    sleep(Duration::from_secs(1)).await;
    let (begin, end) = match event {
        "silence" => (
            "iptables -A INPUT -j DROP; iptables -A OUTPUT -j DROP",
            "iptables -F INPUT; iptables -F OUTPUT",
        ),
        _ => (
            "pkill -STOP -f '[b]in/patroni'; kill -9 $(head -n 1 /var/lib/postgresql/data/postmaster.pid)",
            "pkill -CONT -f '[b]in/patroni'",
        ),
    };
    let lost = Instant::now();
    stack(&["exec", "eu-1", "bash", "-c", begin]);
    sleep(UNTIL_IT_IS_OVER).await;
    stop.store(true, Ordering::Relaxed);
    let tries = reader.await.expect("the reader");
    stack(&["exec", "eu-1", "bash", "-c", end]);
    Loss {
        at_first: longest_without_before(&tries, lost + AT_THE_LOSS),
        in_all: longest_without(&tries),
        failed: tries.iter().filter(|(_, ok)| !ok).count(),
    }
}
