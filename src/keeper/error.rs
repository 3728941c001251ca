//! Why pgpool could not be ended or started, or a note not be kept.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::error::FileError;
use crate::model::ids::printable;
use crate::pcp::PcpError;

/// Each sentence says what to do about it, or names the program that knows.
#[derive(Debug)]
pub enum KeeperError {
    File(FileError),
    /// What a restart left behind cannot be understood.
    Note {
        path: PathBuf,
        what: String,
    },
    /// It is for another user.
    NoteDenied {
        path: PathBuf,
    },
    Pcp(PcpError),
    /// pgpool took the request to end, and answers on.
    StillThere {
        after: Duration,
    },
    Spawn {
        program: String,
        source: io::Error,
    },
    /// The private directory for PCP.
    Access {
        directory: PathBuf,
        source: io::Error,
    },
    /// The file of a pgpool that the agent owns.
    Own {
        path: PathBuf,
        source: io::Error,
    },
    /// It is another agent that owns it.
    NotOwner,
    /// The program ended otherwise than well, or did not end.
    Command {
        program: String,
        what: String,
    },
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeeperError::File(error) => error.fmt(f),
            KeeperError::Note { path, what } => write!(
                f,
                "{} cannot be read ({what}): see to it that pgpool runs, then delete that file",
                path.display()
            ),
            KeeperError::NoteDenied { path } => write!(
                f,
                "{} may not be read by this user: run geo-agent as pgpool's user",
                path.display()
            ),
            KeeperError::Pcp(_) => write!(f, "pgpool could not be ended over PCP"),
            KeeperError::StillThere { after } => {
                write!(f, "pgpool was told to end and answers on after {} s", after.as_secs())
            }
            KeeperError::Spawn { program, .. } => {
                write!(f, "{} cannot be run", printable(program))
            }
            KeeperError::Access { directory, .. } => write!(
                f,
                "{}, where geo-agent and its pgpool meet, cannot be used (it is made by \
                 `geo-agent run`)",
                directory.display()
            ),
            KeeperError::Own { path, .. } => {
                write!(f, "{}, the file of geo-agent's own pgpool, cannot be used", path.display())
            }
            KeeperError::NotOwner => {
                write!(f, "in supervise mode only `geo-agent run` starts and ends pgpool")
            }
            KeeperError::Command { program, what } => {
                write!(f, "{} {}", printable(program), printable(what))
            }
        }
    }
}

impl std::error::Error for KeeperError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeeperError::File(error) => error.source(),
            KeeperError::Pcp(error) => Some(error),
            KeeperError::Spawn { source, .. }
            | KeeperError::Access { source, .. }
            | KeeperError::Own { source, .. } => Some(source),
            KeeperError::Note { .. }
            | KeeperError::NoteDenied { .. }
            | KeeperError::StillThere { .. }
            | KeeperError::NotOwner
            | KeeperError::Command { .. } => None,
        }
    }
}
