//! What the agent asks of pgpool, as bytes. A body is never empty where pgpool reads one: it would
//! follow a null pointer and its process would die (proto-notes/framing.md).

use std::fmt;

use crate::model::ids::SlotIndex;
use crate::pcp::frame::{framed, text};

/// One request. Each is answered, except the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// `M`
    Salt,
    /// `R`, with what [`crate::pcp::auth::answer`] gives.
    Login { username: &'a str, answer: &'a str },
    /// `L`
    NodeCount,
    /// `I -1`: 4.3 and later; an error before.
    AllNodes,
    /// `I`
    Node(SlotIndex),
    /// `C`
    Attach(SlotIndex),
    /// `D`; the graceful `d` waits for every client of pgpool and is not used.
    Detach(SlotIndex),
    /// `J`, with the option that only changes pgpool's own view: Patroni promotes PostgreSQL.
    Promote(SlotIndex),
    /// `Z`, this pgpool only: 4.2 and later.
    Reload,
    /// `B`
    Settings,
    /// `P 0`
    Processes,
    /// `W -1`
    Watchdog,
    /// `T`, this pgpool only.
    Shutdown(ShutdownMode),
    /// `X`: pgpool closes the connection.
    Goodbye,
}

/// How pgpool goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Once the last client has left. Meanwhile new clients hang.
    Smart,
    Fast,
    Immediate,
}

impl Request<'_> {
    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Request::Salt => framed(b'M', out, |_| ()),
            Request::Login { username, answer } => framed(b'R', out, |body| {
                text(body, username);
                text(body, answer);
            }),
            Request::NodeCount => framed(b'L', out, |body| text(body, "")),
            Request::AllNodes => framed(b'I', out, |body| text(body, "-1")),
            Request::Node(slot) => framed(b'I', out, |body| text(body, &slot.to_string())),
            Request::Attach(slot) => framed(b'C', out, |body| text(body, &slot.to_string())),
            Request::Detach(slot) => framed(b'D', out, |body| text(body, &slot.to_string())),
            // The option stands two bytes behind the number; without the NUL it would be misread.
            Request::Promote(slot) => framed(b'J', out, |body| {
                text(body, &format!("{slot} "));
                body.push(b'n');
            }),
            Request::Reload => framed(b'Z', out, |body| text(body, "l")),
            Request::Settings => framed(b'B', out, |body| text(body, "")),
            Request::Processes => framed(b'P', out, |body| text(body, "0")),
            Request::Watchdog => framed(b'W', out, |body| text(body, "-1")),
            Request::Shutdown(mode) => framed(b'T', out, |body| text(body, mode.as_str())),
            Request::Goodbye => framed(b'X', out, |_| ()),
        }
    }

    /// The packet type that answers it; promote shares detach's.
    pub fn answer_tag(&self) -> u8 {
        match self {
            Request::Salt => b'm',
            Request::Login { .. } => b'r',
            Request::NodeCount => b'l',
            Request::AllNodes | Request::Node(_) => b'i',
            Request::Attach(_) => b'c',
            Request::Detach(_) | Request::Promote(_) => b'd',
            Request::Reload => b'z',
            Request::Settings => b'b',
            Request::Processes => b'p',
            Request::Watchdog => b'w',
            Request::Shutdown(_) => b't',
            Request::Goodbye => b'x', // never comes
        }
    }
}

impl ShutdownMode {
    fn as_str(self) -> &'static str {
        match self {
            ShutdownMode::Smart => "s",
            ShutdownMode::Fast => "f",
            ShutdownMode::Immediate => "i",
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Salt => f.write_str("the login's salt"),
            Request::Login { .. } => f.write_str("login"),
            Request::NodeCount => f.write_str("node count"),
            Request::AllNodes => f.write_str("node info"),
            Request::Node(slot) => write!(f, "node info of slot {slot}"),
            Request::Attach(slot) => write!(f, "attach slot {slot}"),
            Request::Detach(slot) => write!(f, "detach slot {slot}"),
            Request::Promote(slot) => write!(f, "promote slot {slot}"),
            Request::Reload => f.write_str("reload"),
            Request::Settings => f.write_str("pool status"),
            Request::Processes => f.write_str("process info"),
            Request::Watchdog => f.write_str("watchdog info"),
            Request::Shutdown(_) => f.write_str("shutdown"),
            Request::Goodbye => f.write_str("goodbye"),
        }
    }
}
