//! What the benchmarks on the real stack share: its clients and its levers.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Config, NoTls};

const EVERY: Duration = Duration::from_millis(10);
/// Of a client that holds its session: a statement costs next to nothing.
const EVERY_HELD: Duration = Duration::from_millis(3);
/// A client that hangs for longer than this would be a finding of its own.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// `ROUNDS`, or this many.
pub fn rounds(usual: usize) -> usize {
    std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Figures in milliseconds, as a line.
pub fn line(mut of: Vec<f64>) -> String {
    of.sort_by(f64::total_cmp);
    format!("median {:.1} ms, worst {:.1} ms", of[of.len() / 2], of[of.len() - 1])
}

pub type Client = JoinHandle<Vec<(Instant, bool)>>;

/// The end of the outage that the switchover is: the first success after the first failure.
pub fn first_success_after_a_failure(tries: &[(Instant, bool)]) -> Instant {
    let outage = tries.iter().skip_while(|(_, ok)| *ok);
    let success = outage.into_iter().find(|(_, ok)| *ok);
    success.expect("a switchover has an outage, and it ends before the client does").0
}

/// The longest time between two successes, as far as it begins before that moment.
pub fn longest_without_before(tries: &[(Instant, bool)], end: Instant) -> f64 {
    let until = tries.iter().position(|(at, ok)| *ok && *at >= end).unwrap_or(tries.len() - 1);
    longest_without(&tries[..=until])
}

pub fn longest_without(tries: &[(Instant, bool)]) -> f64 {
    // An outage that outlasts the client counts to its end.
    let counts = tries.iter().enumerate().filter(|(n, (_, ok))| *ok || n + 1 == tries.len());
    let successes: Vec<_> = counts.map(|(_, (at, _))| *at).collect();
    successes.windows(2).map(|pair| ms(pair[1] - pair[0])).fold(0.0, f64::max)
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub const WRITE: &str = "INSERT INTO bench_switchover VALUES (1)";
pub const READ: &str = "SELECT 1";

/// One statement on a new connection every 10 ms, until told to stop: when each ended, and how.
pub fn client(config: Config, statement: &'static str, stop: Arc<AtomicBool>) -> Client {
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

/// The same statement on one session, every 3 ms; on another one when that has ended.
pub fn holder(config: Config, statement: &'static str, stop: Arc<AtomicBool>) -> Client {
    tokio::spawn(async move {
        let mut tries = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Ok(Ok((client, connection))) = timeout(PATIENCE, config.connect(NoTls)).await
            else {
                tries.push((Instant::now(), false));
                sleep(EVERY).await;
                continue;
            };
            let connection = tokio::spawn(connection);
            while !stop.load(Ordering::Relaxed) && !connection.is_finished() {
                let done = timeout(PATIENCE, client.batch_execute(statement)).await;
                tries.push((Instant::now(), matches!(done, Ok(Ok(())))));
                sleep(EVERY_HELD).await;
            }
            connection.abort();
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

const CONFIG: &str = "/etc/geo-agent/config.yaml";
const USUAL: &str = "/tmp/before-the-bench.yaml";

/// A freshly started agent with the product's own waits. The stack's are shorter, so that tests are;
/// and an agent that has seen twenty switchovers in a row makes members wait for a minute.
/// `line` is added to its configuration.
pub fn fresh_agent(pgpool: &str, line: &str) {
    let edit = format!(
        "test -e {USUAL} || cp -p {CONFIG} {USUAL}; cp {USUAL} {CONFIG}; echo '{line}' >>{CONFIG}; \
         sed -i '/^attach_after:/d; /^drain_timeout:/d' {CONFIG}"
    );
    stack(&["exec", pgpool, "bash", "-c", &format!("{edit}; agent-stop; agent-start")]);
}

/// The stack's waits again.
pub fn give_back(pgpool: &str) {
    let back = format!("mv {USUAL} {CONFIG}; pkill -HUP -f '^geo-agent run'");
    stack(&["exec", pgpool, "bash", "-c", &back]);
}

pub fn suite() -> String {
    std::env::var("SUITE").unwrap_or_else(|_| "bookworm".to_owned())
}

pub fn stack(arguments: &[&str]) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(format!("{root}/scripts/stack"));
    command.args(arguments).env("SUITE", suite()).stderr(Stdio::inherit());
    let output = command.output().expect("scripts/stack runs");
    assert!(output.status.success(), "scripts/stack {}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How the application user reaches a service, from this host.
pub fn address(service: &str) -> Config {
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
