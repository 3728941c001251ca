//! A TCP connection, or what its failure says about the server.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::model::ids::Address;
use crate::model::reach::Answer;

/// A connection, and how long it took: one round trip.
pub(super) struct Dialled {
    pub stream: TcpStream,
    pub took: Duration,
}

/// As [`tcp`], with this long for it.
pub(super) async fn within(patience: Duration, server: &Address) -> Result<Dialled, Answer> {
    let late = |_| Err(Answer::Unreachable(format!("no TCP connection within {patience:?}")));
    timeout(patience, tcp(server)).await.unwrap_or_else(late)
}

/// Connects to any of the host's addresses.
pub(super) async fn tcp(server: &Address) -> Result<Dialled, Answer> {
    let resolved = match lookup_host((server.host(), server.port())).await {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => return Err(unresolved(server, &error)),
    };
    let begun = Instant::now(); // the name service is not part of the way
    match TcpStream::connect(resolved.as_slice()).await {
        Ok(stream) => {
            let took = begun.elapsed();
            // Without it the small messages of a login wait for each other's acknowledgement.
            let _ = stream.set_nodelay(true);
            Ok(Dialled { stream, took })
        }
        Err(error) => Err(failed(&error)),
    }
}

/// A name that nobody resolves says nothing about the server behind it.
fn unresolved(server: &Address, error: &io::Error) -> Answer {
    Answer::Unreachable(format!("the name {} does not resolve: {error}", server.host()))
}

/// Only what the other side, or the network on its behalf, answered counts as dead. No permission,
/// no local address, no file handle left: that is this host's trouble.
fn failed(error: &io::Error) -> Answer {
    let text = format!("TCP: {error}");
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Answer::Dead(text),
        _ => Answer::Unreachable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_on_this_side_is_not_a_dead_server() {
        for (errno, dead) in [
            (111, true),  // ECONNREFUSED
            (104, true),  // ECONNRESET
            (113, true),  // EHOSTUNREACH
            (101, true),  // ENETUNREACH
            (110, false), // ETIMEDOUT
            (24, false),  // EMFILE
            (13, false),  // EACCES
            (99, false),  // EADDRNOTAVAIL
        ] {
            let answer = failed(&io::Error::from_raw_os_error(errno));
            assert_eq!(matches!(answer, Answer::Dead(_)), dead, "{answer:?}");
            assert_eq!(matches!(answer, Answer::Unreachable(_)), !dead, "{answer:?}");
        }
    }
}
