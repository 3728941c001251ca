//! Where pgpool's PCP port is, and getting through to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::error::PcpError;
use crate::config::settings::Pcp;

/// A connected socket of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Where pgpool was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// On TCP, because the socket that is configured is gone: pgpool may have lost its sockets
    /// while it lives on (pgpool 4.4 and later), or this may be the child of a dead pgpool.
    TcpInstead {
        socket: PathBuf,
        port: u16,
    },
}

impl Endpoint {
    /// Not where the configuration says, and a reason to look at pgpool.
    pub fn is_fallback(&self) -> bool {
        matches!(self, Endpoint::TcpInstead { .. })
    }

    fn of(pcp: &Pcp) -> Endpoint {
        match pcp.host.starts_with('/') {
            true => Endpoint::Unix(Path::new(&pcp.host).join(format!(".s.PGSQL.{}", pcp.port))),
            false => {
                Endpoint::Tcp { host: pcp.host.trim_matches(['[', ']']).to_owned(), port: pcp.port }
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix(socket) => write!(f, "{}", socket.display()),
            Endpoint::TcpInstead { socket, port } => {
                write!(f, "{LOOPBACK}:{port}, as nobody listens at {}", socket.display())
            }
        }
    }
}

const LOOPBACK: &str = "127.0.0.1";

/// Connects to the PCP port; where its UNIX socket is missing or refuses, to the same port on
/// this host, if that may be. If that fails too, the socket's error is the one that tells.
pub(super) async fn connect(pcp: &Pcp) -> Result<(Box<dyn Stream>, Endpoint), PcpError> {
    let endpoint = Endpoint::of(pcp);
    let failure = match open(&endpoint).await {
        Ok(stream) => return Ok((stream, endpoint)),
        Err(failure) => failure,
    };
    let may = pcp.or_tcp && is_nobody_there(&failure);
    if let (Endpoint::Unix(socket), true) = (&endpoint, may) {
        let instead = Endpoint::TcpInstead { socket: socket.clone(), port: pcp.port };
        if let Ok(stream) = open(&instead).await {
            return Ok((stream, instead));
        }
    }
    Err(PcpError::Connect { endpoint, source: failure })
}

async fn open(endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
    match endpoint {
        Endpoint::Unix(socket) => Ok(Box::new(UnixStream::connect(socket).await?)),
        Endpoint::Tcp { host, port } => tcp(host, *port).await,
        Endpoint::TcpInstead { port, .. } => tcp(LOOPBACK, *port).await,
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn is_nobody_there(failure: &io::Error) -> bool {
    matches!(failure.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
