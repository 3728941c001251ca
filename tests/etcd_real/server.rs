//! An etcd process of one's own, with its data in a directory of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::net::TcpStream;
use tokio::time::sleep;

pub struct Server {
    process: Child,
    command: Vec<String>,
    host: String,
    _data: Scratch,
}

/// A directory that goes away with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("geo-agent-etcd-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub async fn start(extra: &[&str]) -> Self {
        Server::launch("http", extra).await
    }

    pub async fn start_tls(ca: &str, cert: &str, key: &str) -> Self {
        let mutual = ["--client-cert-auth", "--trusted-ca-file", ca];
        let own = ["--cert-file", cert, "--key-file", key];
        Server::launch("https", &[&mutual[..], &own[..]].concat()).await
    }

    /// Two servers of one cluster: without either, the other has no quorum.
    pub async fn start_pair() -> (Self, Self) {
        let peers = [free_port(), free_port()];
        let url = |n: usize| format!("http://127.0.0.1:{}", peers[n]);
        let cluster = format!("s0={},s1={}", url(0), url(1));
        let one = Server::spawned("http", "s0", &url(0), &cluster, &[]);
        let two = Server::spawned("http", "s1", &url(1), &cluster, &[]);
        one.is_up().await;
        two.is_up().await;
        (one, two)
    }

    async fn launch(scheme: &str, extra: &[&str]) -> Self {
        let peer = format!("http://127.0.0.1:{}", free_port());
        let server = Server::spawned(scheme, "s0", &peer, &format!("s0={peer}"), extra);
        server.is_up().await;
        server
    }

    fn spawned(scheme: &str, name: &str, peer: &str, cluster: &str, extra: &[&str]) -> Self {
        let data = Scratch::new();
        let port = free_port();
        let host = format!("127.0.0.1:{port}");
        let url = format!("{scheme}://{host}");
        let data_dir = data.path().to_str().unwrap();
        let mut command: Vec<&str> = vec!["--name", name, "--data-dir", data_dir];
        command.extend(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.extend(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
        command.extend(["--initial-cluster", cluster, "--log-level", "error"]);
        command.extend(extra);
        let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
        Server { process: spawn(&command), command, host, _data: data }
    }

    /// As a crash: no goodbye.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub async fn start_again(&mut self) {
        self.process = spawn(&self.command);
        self.is_up().await;
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub async fn client(&self) -> Client {
        Client::connect([self.host()], None).await.unwrap()
    }

    async fn is_up(&self) {
        for _ in 0..200 {
            if TcpStream::connect(&self.host).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd did not come up at {}", self.host);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(command: &[String]) -> Child {
    let binary = std::env::var("ETCD_BIN").unwrap_or_else(|_| "etcd".into());
    Command::new(&binary)
        .args(command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{binary}: {e}; set ETCD_BIN"))
}

/// Two CAs; below the first a server's and two clients' certificates.
pub fn certificates() -> Scratch {
    let dir = Scratch::new();
    let script = r#"
        set -e
        ca() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout $1.key -out $1.pem; }
        cert() {
            openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout $1.key -out $1.csr
            printf "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n" > $1.ext
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $1.ext -out $1.pem
        }
        ca ca; ca other-ca; cert server; cert client; cert client2
    "#;
    let done = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    dir
}
