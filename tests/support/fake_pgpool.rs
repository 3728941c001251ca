//! A [`FakePool`] that listens: PCP over TCP and over a UNIX socket of the same port number, with
//! pgpool's login. It can also misbehave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use geo_agent::config::settings::{Login, Pcp, Secret};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fake_pool::FakePool;
use super::fake_worker::serve;

pub const USERNAME: &str = "geo";
pub const PASSWORD: &str = "secret";

/// How the fake treats its connections.
#[derive(Debug, Clone, Default)]
pub enum Manner {
    #[default]
    Normal,
    /// Accepts, and says nothing ever.
    Hangs,
    /// Closes before a word.
    ClosesAtOnce,
    /// Lets in, and then says nothing.
    HangsAfterLogin,
    /// Answers whatever comes after the login with these bytes, and stays.
    Says(Vec<u8>),
    /// Sends so many bytes after the login, and closes in the middle of whatever it is.
    ClosesAfter(usize),
    /// Puts this many notices before each answer.
    Chatty(usize),
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub at: Instant,
    /// Which connection, counted from 1.
    pub connection: usize,
    /// pgpool's letter, `M` and `R` and `X` included.
    pub tag: char,
    /// The body up to its first NUL; empty for the login.
    pub body: String,
}

/// The running fake; it stops when it is dropped.
pub struct FakePgpool {
    addr: SocketAddr,
    socket_dir: PathBuf,
    shared: Arc<Shared>,
    listeners: Vec<JoinHandle<()>>,
}

/// What the listeners and the connections share.
pub(super) struct Shared {
    pub(super) pool: Arc<Mutex<FakePool>>,
    pub(super) manner: Mutex<Manner>,
    pub(super) log: Mutex<Vec<Received>>,
    pub(super) connections: AtomicUsize,
}

impl FakePgpool {
    pub async fn start(pool: FakePool) -> Self {
        let shared = Arc::new(Shared {
            pool: Arc::new(Mutex::new(pool)),
            manner: Mutex::default(),
            log: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = tcp.local_addr().unwrap();
        let socket_dir = std::env::temp_dir().join(format!(
            "geo-agent-fake-{}-{}",
            std::process::id(),
            addr.port()
        ));
        std::fs::create_dir_all(&socket_dir).unwrap();
        let unix = UnixListener::bind(socket_in(&socket_dir, addr.port())).unwrap();
        let listeners = vec![
            tokio::spawn(listen_on_tcp(tcp, Arc::clone(&shared))),
            tokio::spawn(listen_on_unix(unix, Arc::clone(&shared))),
        ];
        FakePgpool { addr, socket_dir, shared, listeners }
    }

    /// Its TCP address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// How to reach it over TCP.
    pub fn pcp(&self) -> Pcp {
        self.pcp_at(&self.addr.ip().to_string())
    }

    /// How to reach it over its UNIX socket.
    pub fn pcp_over_socket(&self) -> Pcp {
        self.pcp_at(self.socket_dir.to_str().unwrap())
    }

    fn pcp_at(&self, host: &str) -> Pcp {
        let login = Login { username: USERNAME.to_owned(), password: Secret::new(PASSWORD) };
        Pcp { host: host.to_owned(), port: self.addr.port(), login, or_tcp: true }
    }

    /// The pool behind it, to be shared with whoever changes it.
    pub fn state(&self) -> Arc<Mutex<FakePool>> {
        Arc::clone(&self.shared.pool)
    }

    /// The pool behind it, for one look or one change. Not to be held across an await.
    pub fn pool(&self) -> MutexGuard<'_, FakePool> {
        self.shared.pool.lock().unwrap()
    }

    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Received> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The letters of one connection's requests, counted from 1: `MRLIX`.
    pub fn letters(&self, connection: usize) -> String {
        self.log().iter().filter(|r| r.connection == connection).map(|r| r.tag).collect()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The socket is gone, TCP lives on (proto-notes/hazards.md).
    pub fn lose_socket(&self) {
        std::fs::remove_file(socket_in(&self.socket_dir, self.addr.port())).unwrap();
    }

    /// Nobody listens any more; what is connected stays.
    pub fn stop_listening(&mut self) {
        self.listeners.drain(..).for_each(|listener| listener.abort());
    }
}

impl Drop for FakePgpool {
    fn drop(&mut self) {
        self.stop_listening();
        let _ = std::fs::remove_dir_all(&self.socket_dir);
    }
}

fn socket_in(dir: &Path, port: u16) -> PathBuf {
    dir.join(format!(".s.PGSQL.{port}"))
}

async fn listen_on_tcp(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn listen_on_unix(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}
