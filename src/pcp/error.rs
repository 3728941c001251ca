//! Why a conversation with pgpool failed, and what to do about it. No text in here holds a secret.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::frame::FrameError;
use super::message::{Malformed, ServerError};

/// `during` names the request that was waiting for its answer.
#[derive(Debug)]
pub enum PcpError {
    Connect {
        endpoint: Endpoint,
        source: io::Error,
    },
    /// Nothing, or not all, within the deadline.
    Silent {
        during: String,
        after: Duration,
    },
    /// pgpool closed the connection before it had answered.
    Closed {
        during: String,
    },
    Transport {
        during: String,
        source: io::Error,
    },
    /// A user name that no pcp.conf can have.
    UnusableUser,
    /// The user or the password, most likely.
    Login {
        source: Box<ServerError>,
    },
    /// pgpool answered with an error. The other requests of the batch may have been taken.
    Refused {
        during: String,
        source: Box<ServerError>,
    },
    /// A packet of another type than the request is answered with.
    Unexpected {
        during: String,
        tag: u8,
    },
    Frame {
        during: String,
        source: FrameError,
    },
    Malformed {
        during: String,
        source: Malformed,
    },
    /// pgpool sent another number of rows than it had announced.
    Rows {
        during: String,
        announced: usize,
        came: usize,
    },
    TooMany {
        during: String,
        what: &'static str,
        max: usize,
    },
    /// The number of nodes was another one each time.
    Unsteady,
}

impl PcpError {
    /// What pgpool itself said, when it answered with an error.
    pub fn by_server(&self) -> Option<&ServerError> {
        match self {
            PcpError::Login { source } | PcpError::Refused { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Only this request failed: the connection goes on.
    pub(super) fn is_refusal_only(&self) -> bool {
        matches!(self, PcpError::Refused { source, .. } if !source.is_fatal())
    }
}

impl fmt::Display for PcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcpError::Connect { endpoint, .. } => write!(
                f,
                "cannot connect to pgpool's PCP port at {endpoint}: is pgpool running, and do \
                 pgpool.pcp.host and port agree with pcp_socket_dir, pcp_listen_addresses and \
                 pcp_port in pgpool.conf?"
            ),
            PcpError::Silent { during, after } => write!(
                f,
                "pgpool did not answer ({during}) within {} s: it may be busy with a failover or \
                 stuck at a node that hangs; look at its log",
                after.as_secs_f64()
            ),
            PcpError::Closed { during } => write!(
                f,
                "pgpool closed the PCP connection before it had answered ({during}): it may be \
                 going down; look at its log"
            ),
            PcpError::Transport { during, .. } => {
                write!(f, "the PCP connection to pgpool broke ({during})")
            }
            PcpError::UnusableUser => f.write_str(
                "pgpool.pcp.username has to be 1 to 127 bytes long, without a NUL: pcp.conf cannot \
                 have another",
            ),
            PcpError::Login { .. } => f.write_str(
                "PCP user or password refused (pcp.conf): does pgpool.pcp.username have a line \
                 there, with the md5 of this password (pg_md5)?",
            ),
            PcpError::Refused { during, .. } => write!(f, "pgpool refused a request: {during}"),
            other => other.fmt_surprise(f),
        }
    }
}

impl PcpError {
    /// Replies that are not PCP as it is known.
    fn fmt_surprise(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const IS_IT: &str = "is this pgpool's PCP port, and not the one for SQL?";
        match self {
            PcpError::Unexpected { during, tag } => write!(
                f,
                "pgpool answered with an unexpected packet '{}' ({during}): {IS_IT}",
                tag.escape_ascii()
            ),
            PcpError::Frame { during, .. } => {
                write!(f, "the answer is not a PCP packet ({during}): {IS_IT}")
            }
            PcpError::Malformed { during, .. } => {
                write!(f, "an answer of pgpool's cannot be read ({during})")
            }
            PcpError::Rows { during, announced, came } => write!(
                f,
                "pgpool announced {announced} rows and sent {came} ({during}): it may have been \
                 reloaded meanwhile; ask again"
            ),
            PcpError::TooMany { during, what, max } => write!(
                f,
                "pgpool has more {what} than the {max} that are read ({during}): please report it"
            ),
            _ => f.write_str(
                "pgpool's number of nodes changed each time it was asked: ask again when its \
                 configuration is settled",
            ),
        }
    }
}

impl Error for PcpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PcpError::Connect { source, .. } | PcpError::Transport { source, .. } => Some(source),
            PcpError::Login { source } | PcpError::Refused { source, .. } => Some(&**source),
            PcpError::Frame { source, .. } => Some(source),
            PcpError::Malformed { source, .. } => Some(source),
            PcpError::Silent { .. }
            | PcpError::Closed { .. }
            | PcpError::UnusableUser
            | PcpError::Unexpected { .. }
            | PcpError::Rows { .. }
            | PcpError::TooMany { .. }
            | PcpError::Unsteady => None,
        }
    }
}
