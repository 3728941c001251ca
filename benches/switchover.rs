//! How long a client of pgpool waits at a planned switchover, on the real stack.
//!
//! Three clients side by side, each on a new connection every 10 ms: one writes straight to the member
//! that becomes leader, one writes through pgpool, one reads through pgpool. The **gap** is the first
//! write through pgpool minus the first write straight on the new leader. How finely that is known
//! hangs on the 10 ms and on what a connection takes; so two more clients write every 3 ms, each on
//! one session that it keeps as long as it lasts (**held**). Beside it stands the longest
//! time without a read: until the new leader is writable, which is around the promote, and in all, the
//! later attach of the old leader included. THROUGH=pgpool-eu (the default) watches the pgpool to which the leader is
//! local, THROUGH=pgpool-us the one to which it is remote. One at a time: more clients than these three
//! keep two cores so busy that the clients are what is measured.
//!
//! ```text
//! SUITE=trixie scripts/stack binary release; SUITE=trixie scripts/stack up; SUITE=trixie scripts/stack wait
//! SUITE=trixie ROUNDS=20 cargo bench --bench switchover
//! ```

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use support::{
    Client, READ, WRITE, address, client, first_success_after_a_failure, fresh_agent, give_back,
    holder, line, longest_without, longest_without_before, ms, rounds, runtime, stack, suite,
};

/// Until the old leader is a standby, has been good for two seconds, and is attached.
const UNTIL_IT_IS_OVER: Duration = Duration::from_secs(8);

fn main() {
    runtime().block_on(measure(rounds(3)));
}

async fn measure(rounds: usize) {
    let pgpool = std::env::var("THROUGH").unwrap_or_else(|_| "pgpool-eu".to_owned());
    let mut figures = Figures::default();
    println!("{}: {rounds} switchovers between eu-1 and eu-2, through {pgpool}", suite());
    println!("round   to     write gap         held   no read: promote       in all");
    if !stack(&["leader"]).starts_with("eu") {
        switchover("eu-1", &pgpool).await; // away from a remote leader: another thing
    }
    for round in 1..=rounds {
        let target = if stack(&["leader"]).trim() == "eu-1" { "eu-2" } else { "eu-1" };
        let Round { gap, held, at_promote, in_all } = switchover(target, &pgpool).await;
        println!(
            "{round:>5}   {target}  {gap:>8.1} ms  {held:>8.1} ms   {at_promote:>9.0} ms   {in_all:>9.0} ms"
        );
        figures.gaps.push(gap);
        figures.held.push(held);
        figures.at_promote.push(at_promote);
        figures.in_all.push(in_all);
    }
    give_back(&pgpool);
    figures.print();
}

struct Round {
    gap: f64,
    held: f64,
    at_promote: f64,
    in_all: f64,
}

#[derive(Default)]
struct Figures {
    gaps: Vec<f64>,
    held: Vec<f64>,
    at_promote: Vec<f64>,
    in_all: Vec<f64>,
}

impl Figures {
    fn print(self) {
        println!("write gap:                          {}", line(self.gaps));
        println!("write gap, sessions held:           {}", line(self.held));
        println!("without a read, around the promote: {}", line(self.at_promote));
        println!("without a read, in all:             {}", line(self.in_all));
    }
}

async fn switchover(target: &str, pgpool: &str) -> Round {
    fresh_agent(pgpool, "");
    stack(&["wait"]);
    sleep(Duration::from_secs(3)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let direct = client(address(target), WRITE, stop.clone());
    let writer = client(address(pgpool), WRITE, stop.clone());
    let reader = client(address(pgpool), READ, stop.clone());
    let held_direct = holder(address(target), WRITE, stop.clone());
    let held_through = holder(address(pgpool), WRITE, stop.clone());
    sleep(Duration::from_millis(500)).await;
    let target = target.to_owned();
    let ordered = tokio::task::spawn_blocking(move || stack(&["switchover", &target]));
    ordered.await.expect("the switchover was ordered");
    sleep(UNTIL_IT_IS_OVER).await;
    stop.store(true, Ordering::Relaxed);
    let writable = end_of_outage(direct).await;
    let gap = later(writable, end_of_outage(writer).await);
    let held = later(end_of_outage(held_direct).await, end_of_outage(held_through).await);
    let reads = reader.await.expect("the reader");
    let at_promote = longest_without_before(&reads, writable);
    Round { gap, held, at_promote, in_all: longest_without(&reads) }
}

async fn end_of_outage(writer: Client) -> Instant {
    first_success_after_a_failure(&writer.await.expect("a writer"))
}

fn later(direct: Instant, through: Instant) -> f64 {
    match through >= direct {
        true => ms(through - direct),
        false => -ms(direct - through),
    }
}
