//! How long clients cannot read when pgpool's primary dies, on the real stack, with a stand-in and
//! without (`on_primary_loss: wait`), in one run.
//!
//! A client reads through pgpool-eu on a new connection every 10 ms. eu-1 leads; then either its
//! PostgreSQL is killed and its Patroni stopped (`EVENT=crash`), or its host falls silent (`EVENT=silence`:
//! every packet is dropped). Printed are the longest time without a read, and the failed reads.
//!
//! ```text
//! SUITE=trixie scripts/stack binary release; SUITE=trixie scripts/stack up; SUITE=trixie scripts/stack wait
//! SUITE=trixie EVENT=silence ROUNDS=3 cargo bench --bench primary_loss
//! ```

#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use support::{
    CONFIG, READ, address, client, line, longest_without, rounds, runtime, stack, suite,
};

/// Longer than the lease of 20 s, a failover and pgpool's own search.
const UNTIL_IT_IS_OVER: Duration = Duration::from_secs(40);

fn main() {
    let event = std::env::var("EVENT").unwrap_or_else(|_| "crash".to_owned());
    runtime().block_on(measure(&event, rounds(2)));
}

async fn measure(event: &str, rounds: usize) {
    println!("{}: {event} of the primary, {rounds} rounds each", suite());
    println!("round   policy     without a read   failed reads");
    for policy in ["stand_in", "wait"] {
        configure(policy);
        let mut outages = Vec::new();
        for round in 1..=rounds {
            let (outage, failed) = lose_the_primary(event).await;
            println!("{round:>5}   {policy:<8}   {outage:>11.0} ms   {failed:>12}");
            outages.push(outage);
        }
        println!("{policy}: {}", line(outages));
    }
    configure("stand_in");
}

async fn lose_the_primary(event: &str) -> (f64, usize) {
    stack(&["wait"]);
    if stack(&["leader"]).trim() != "eu-1" {
        stack(&["switchover", "eu-1"]);
        stack(&["wait"]);
    }
    sleep(Duration::from_secs(6)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let reader = client(address("pgpool-eu"), READ, stop.clone());
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
    stack(&["exec", "eu-1", "bash", "-c", begin]);
    tokio::time::sleep(UNTIL_IT_IS_OVER).await;
    stop.store(true, Ordering::Relaxed);
    let tries = reader.await.expect("the reader");
    stack(&["exec", "eu-1", "bash", "-c", end]);
    (longest_without(&tries), tries.iter().filter(|(_, ok)| !ok).count())
}

/// Sets the policy of the agent beside pgpool-eu.
fn configure(policy: &str) {
    let edit = format!(
        "sed -i '/^on_primary_loss:/d' {CONFIG}; echo 'on_primary_loss: {policy}' >>{CONFIG}; \
         pkill -HUP -f '^geo-agent run'"
    );
    stack(&["exec", "pgpool-eu", "bash", "-c", &edit]);
}
