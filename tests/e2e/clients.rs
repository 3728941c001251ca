//! Real clients: one write, one read, and sessions that stay and tell whether they were ended.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::cluster::RUNTIME;

const PATIENCE: Duration = Duration::from_secs(8);
const WHERE: &str = "SELECT host(inet_server_addr())";
const WRITE: &str = "CREATE TABLE IF NOT EXISTS e2e (at timestamptz DEFAULT now()); \
    INSERT INTO e2e DEFAULT VALUES RETURNING host(inet_server_addr())";
/// A busy session's pause between two statements.
const PACE: Duration = Duration::from_millis(5);

async fn in_time<T>(
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    let done = done.map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?;
    done.map_err(|e| match e.as_db_error() {
        Some(said) => said.to_string(),
        None => e.to_string(),
    })
}

async fn connect(ip: Ipv4Addr) -> Result<Client, String> {
    let url = format!("host={ip} port=5432 user=app password=app-test dbname=app");
    let (client, connection) = in_time(tokio_postgres::connect(&url, NoTls)).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Which server answered.
async fn ask(client: &Client, sql: &str) -> Result<Ipv4Addr, String> {
    let rows = in_time(client.simple_query(sql)).await?;
    let at = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse::<IpAddr>().ok(),
        _ => None,
    });
    match at {
        Some(IpAddr::V4(at)) => Ok(at),
        other => Err(format!("no address came back: {other:?}")),
    }
}

/// Writes a row on a new connection, and says where.
pub fn write(pgpool: Ipv4Addr) -> Result<Ipv4Addr, String> {
    RUNTIME.block_on(async { ask(&connect(pgpool).await?, WRITE).await })
}

/// Reads on a new connection, and says where.
pub fn read(pgpool: Ipv4Addr) -> Result<Ipv4Addr, String> {
    RUNTIME.block_on(async { ask(&connect(pgpool).await?, WHERE).await })
}

/// Sessions that stay: half of them idle, half always in a statement.
pub struct Sessions {
    over: Arc<AtomicBool>,
    running: Vec<Session>,
}

struct Session {
    reads_at: Ipv4Addr,
    is_busy: bool,
    life: JoinHandle<Result<(), String>>,
}

/// What became of a session.
#[derive(Debug)]
pub struct Fate {
    pub reads_at: Ipv4Addr,
    pub is_busy: bool,
    /// The error that ended it.
    pub ended: Option<String>,
}

impl Sessions {
    pub fn open(pgpool: Ipv4Addr, count: usize) -> Sessions {
        let over = Arc::new(AtomicBool::new(false));
        let open = |n: usize| {
            let over = Arc::clone(&over);
            RUNTIME.block_on(async move {
                let client = connect(pgpool).await.expect("pgpool takes clients");
                let reads_at = ask(&client, WHERE).await.expect("pgpool reads");
                let is_busy = n % 2 == 1;
                Session { reads_at, is_busy, life: tokio::spawn(live(client, is_busy, over)) }
            })
        };
        let running = (0..count).map(open).collect();
        Sessions { over, running }
    }

    /// Ends them all; each asks a last time first.
    pub fn close(self) -> Vec<Fate> {
        self.over.store(true, Ordering::Relaxed);
        let fate = |Session { reads_at, is_busy, life }| {
            let end = RUNTIME.block_on(life).expect("no panic in a session");
            Fate { reads_at, is_busy, ended: end.err() }
        };
        self.running.into_iter().map(fate).collect()
    }
}

async fn live(client: Client, is_busy: bool, over: Arc<AtomicBool>) -> Result<(), String> {
    while !over.load(Ordering::Relaxed) {
        if is_busy {
            ask(&client, WHERE).await?;
        }
        tokio::time::sleep(PACE).await;
    }
    ask(&client, WHERE).await.map(|_| ())
}

/// A client that writes on new connections all the time, and counts.
pub struct Writer {
    over: Arc<AtomicBool>,
    task: JoinHandle<(usize, usize)>,
}

impl Writer {
    pub fn start(pgpool: Ipv4Addr) -> Writer {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let task = RUNTIME.spawn(async move {
            let (mut good, mut bad) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let written = async { ask(&connect(pgpool).await?, WRITE).await }.await;
                if written.is_ok() {
                    good += 1
                } else {
                    bad += 1
                }
                tokio::time::sleep(4 * PACE).await;
            }
            (good, bad)
        });
        Writer { over, task }
    }

    /// Writes that worked, and that failed.
    pub fn stop(self) -> (usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        RUNTIME.block_on(self.task).expect("no panic in a writer")
    }
}
