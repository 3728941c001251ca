//! How long a client of pgpool waits at a planned switchover, on the real stack.
//!
//! Three clients side by side, each on a new connection every 10 ms: one writes straight to the member
//! that becomes leader, one writes through pgpool, one reads through pgpool. The **gap** is the first
//! write through pgpool minus the first write straight on the new leader; beside it stands the longest
//! time without a read. THROUGH=pgpool-eu (the default) watches the pgpool to which the leader is
//! local, THROUGH=pgpool-us the one to which it is remote. One at a time: more clients than these three
//! keep two cores so busy that the clients are what is measured.
//!
//! ```text
//! SUITE=trixie scripts/stack binary release; SUITE=trixie scripts/stack up; SUITE=trixie scripts/stack wait
//! SUITE=trixie ROUNDS=20 cargo bench --bench switchover
//! ```

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Config, NoTls};

const EVERY: Duration = Duration::from_millis(10);
/// A client that hangs for longer than this would be a finding of its own.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(rounds));
}

async fn measure(rounds: usize) {
    let pgpool = std::env::var("THROUGH").unwrap_or_else(|_| "pgpool-eu".to_owned());
    let mut figures = Figures::default();
    println!("{}: {rounds} switchovers between eu-1 and eu-2, through {pgpool}", suite());
    println!("round   to     write gap   without a read");
    for round in 1..=rounds {
        let target = if stack(&["leader"]).trim() == "eu-1" { "eu-2" } else { "eu-1" };
        let Round { gap, no_read } = switchover(target, &pgpool).await;
        println!("{round:>5}   {target}  {gap:>8.1} ms  {no_read:>8.1} ms");
        figures.gaps.push(gap);
        figures.no_reads.push(no_read);
    }
    figures.print();
}

struct Round {
    gap: f64,
    no_read: f64,
}

#[derive(Default)]
struct Figures {
    gaps: Vec<f64>,
    no_reads: Vec<f64>,
}

impl Figures {
    fn print(self) {
        let line = |mut of: Vec<f64>| {
            of.sort_by(f64::total_cmp);
            format!("median {:.1} ms, worst {:.1} ms", of[of.len() / 2], of[of.len() - 1])
        };
        println!("write gap:      {}", line(self.gaps));
        println!("without a read: {}", line(self.no_reads));
    }
}

async fn switchover(target: &str, pgpool: &str) -> Round {
    stack(&["wait"]);
    sleep(Duration::from_secs(3)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let direct = client(address(target), WRITE, stop.clone());
    let writer = client(address(pgpool), WRITE, stop.clone());
    let reader = client(address(pgpool), READ, stop.clone());
    sleep(Duration::from_millis(500)).await;
    let target = target.to_owned();
    let ordered = tokio::task::spawn_blocking(move || stack(&["switchover", &target]));
    ordered.await.expect("the switchover was ordered");
    sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let writable = first_success_after_a_failure(&direct.await.expect("the direct writer"));
    judge(writer, reader, writable).await
}

type Client = JoinHandle<Vec<(Instant, bool)>>;

async fn judge(writer: Client, reader: Client, writable: Instant) -> Round {
    let through = first_success_after_a_failure(&writer.await.expect("the writer"));
    let gap = match through >= writable {
        true => ms(through - writable),
        false => -ms(writable - through),
    };
    Round { gap, no_read: longest_without(&reader.await.expect("the reader")) }
}

/// The end of the outage that the switchover is: the first success after the first failure.
fn first_success_after_a_failure(tries: &[(Instant, bool)]) -> Instant {
    let outage = tries.iter().skip_while(|(_, ok)| *ok);
    let success = outage.into_iter().find(|(_, ok)| *ok);
    success.expect("a switchover has an outage, and it ends before the client does").0
}

fn longest_without(tries: &[(Instant, bool)]) -> f64 {
    let successes: Vec<_> = tries.iter().filter(|(_, ok)| *ok).map(|(at, _)| *at).collect();
    successes.windows(2).map(|pair| ms(pair[1] - pair[0])).fold(0.0, f64::max)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

const WRITE: &str = "INSERT INTO bench_switchover VALUES (1)";
const READ: &str = "SELECT 1";

/// One statement on a new connection every 10 ms, until told to stop: when each ended, and how.
fn client(config: Config, statement: &'static str, stop: Arc<AtomicBool>) -> Client {
    tokio::spawn(async move {
        let mut tries = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let ok = matches!(timeout(PATIENCE, once(&config, statement)).await, Ok(Ok(())));
            tries.push((Instant::now(), ok));
            sleep(EVERY).await;
        }
        tries
    })
}

async fn once(config: &Config, statement: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let done = client.batch_execute(statement).await;
    drop(client);
    let _ = connection.await;
    done
}

fn suite() -> String {
    std::env::var("SUITE").unwrap_or_else(|_| "bookworm".to_owned())
}

fn stack(arguments: &[&str]) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/scripts/stack"));
    command.args(arguments).env("SUITE", suite()).stderr(Stdio::inherit());
    let output = command.output().expect("scripts/stack runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How the application user reaches a service, from this host.
fn address(service: &str) -> Config {
    let host = stack(&["exec", service, "hostname", "-i"]);
    let mut config = Config::new();
    config.host(host.trim()).port(5432).dbname("app").user("app").password("app-test");
    config.connect_timeout(Duration::from_secs(3));
    if service.starts_with("pgpool") {
        create_table(service);
    }
    config
}

fn create_table(service: &str) {
    let sql =
        "SET client_min_messages = error; CREATE TABLE IF NOT EXISTS bench_switchover (n int)";
    let uri = "postgresql://app:app-test@localhost:5432/app";
    stack(&["exec", service, "psql", "-qc", sql, uri]);
}
