//! A TCP connection, or what its failure says about the server.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::model::ids::Address;
use crate::model::reach::Answer;

/// A connection.
pub(super) struct Dialled {
    pub stream: TcpStream,
    /// When it was begun: the name service is not part of the way.
    pub begun: Instant,
    /// One round trip.
    pub took: Duration,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no, or the network on its behalf.
    Refused(String),
    /// Nobody said anything in time.
    Late(String),
    /// A name that nobody resolves, no permission, no local address, no file handle left: that is
    /// this host's trouble, and says nothing about the server.
    Ours(String),
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(why) => Answer::Dead(why),
            Failure::Late(why) | Failure::Ours(why) => Answer::Unreachable(why),
        }
    }
}

/// How long each part may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub lookup: Duration,
    pub connect: Duration,
}

/// Connects to any of the host's addresses.
pub(super) async fn within(limits: Limits, server: &Address) -> Result<Dialled, Failure> {
    let lookup = async { Ok(lookup_host((server.host(), server.port())).await?.collect()) };
    looked_up_by(lookup, limits, server).await
}

async fn looked_up_by(
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    limits: Limits,
    server: &Address,
) -> Result<Dialled, Failure> {
    let unresolved =
        |why: String| Failure::Ours(format!("the name {} does not resolve: {why}", server.host()));
    let addresses = match timeout(limits.lookup, lookup).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(unresolved(error.to_string())),
        Err(_) => return Err(unresolved(format!("no answer within {:?}", limits.lookup))),
    };
    let late = |_| Err(Failure::Late(format!("no TCP connection within {:?}", limits.connect)));
    timeout(limits.connect, tcp(&addresses)).await.unwrap_or_else(late)
}

/// Connects to any of these.
pub(super) async fn tcp(addresses: &[SocketAddr]) -> Result<Dialled, Failure> {
    let begun = Instant::now();
    match TcpStream::connect(addresses).await {
        Ok(stream) => {
            let took = begun.elapsed();
            // Without it the small messages of a login wait for each other's acknowledgement.
            let _ = stream.set_nodelay(true);
            Ok(Dialled { stream, begun, took })
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Only what the other side, or the network on its behalf, answered is a refusal.
fn failed(error: &io::Error) -> Failure {
    let text = format!("TCP: {error}");
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Failure::Refused(text),
        ErrorKind::TimedOut => Failure::Late(text),
        _ => Failure::Ours(text),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn trouble_on_this_side_is_not_a_dead_server() {
        for (errno, expected) in [
            (111, "Refused"), // ECONNREFUSED
            (104, "Refused"), // ECONNRESET
            (113, "Refused"), // EHOSTUNREACH
            (101, "Refused"), // ENETUNREACH
            (110, "Late"),    // ETIMEDOUT
            (24, "Ours"),     // EMFILE
            (13, "Ours"),     // EACCES
            (99, "Ours"),     // EADDRNOTAVAIL
        ] {
            let failure = failed(&io::Error::from_raw_os_error(errno));
            assert!(format!("{failure:?}").starts_with(expected), "{failure:?}");
            let is_dead = matches!(Answer::from(failure), Answer::Dead(_));
            assert_eq!(is_dead, expected == "Refused", "{errno}");
        }
    }

    const LIMITS: Limits =
        Limits { lookup: Duration::from_secs(5), connect: Duration::from_millis(100) };

    /// Dials these addresses after a lookup that takes so long.
    async fn dial(limits: Limits, takes: Duration, to: SocketAddr) -> Result<Dialled, Failure> {
        let lookup = async {
            sleep(takes).await;
            Ok(vec![to])
        };
        let server = Address::new("db.example", to.port().into()).unwrap();
        looked_up_by(lookup, limits, &server).await
    }

    #[tokio::test]
    async fn a_slow_name_service_is_not_a_late_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let dialled = dial(LIMITS, LIMITS.connect * 3, to).await.expect("a connection");
        assert!(dialled.took < LIMITS.connect && dialled.begun.elapsed() < LIMITS.connect * 2);
        let short = Limits { lookup: LIMITS.connect, ..LIMITS };
        let failure = dial(short, LIMITS.connect * 3, to).await.err().expect("no name");
        assert!(matches!(&failure, Failure::Ours(why) if why.contains("db.example")));
    }

    #[tokio::test]
    async fn a_server_that_takes_no_connection_is_late() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let to = listener.local_addr().unwrap();
        let mut taken = Vec::new(); // as many as wait to be accepted
        let failure = loop {
            match dial(LIMITS, Duration::ZERO, to).await {
                Ok(dialled) => taken.push(dialled.stream),
                Err(failure) => break failure,
            }
            assert!(taken.len() < 10);
        };
        assert!(matches!(failure, Failure::Late(_)), "{failure:?}");
    }
}
