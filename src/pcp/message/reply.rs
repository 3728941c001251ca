//! What pgpool answers, packet by packet.

use super::fields::{Fields, Malformed};
use super::node_info::{self, NodeInfo};
use super::process_info::{self, ProcessInfo};
use super::server_error::{self, ServerError};
use super::settings::{self, Setting};
use super::watchdog;
use crate::model::pool::Watchdog;
use crate::pcp::auth::Salt;
use crate::pcp::frame::Frame;

/// One packet of pgpool's. Node info, process info and pool status come in several.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Salt(Salt),
    LoggedIn,
    NodeCount(usize),
    /// `ArraySize`: so many rows follow, and then [`Reply::Complete`].
    Rows(usize),
    Node(NodeInfo),
    Setting(Setting),
    Process(ProcessInfo),
    Watchdog(Watchdog),
    /// `CommandComplete`. For a request that changes pgpool it means "queued", never "done".
    Complete,
    Error(ServerError),
    /// Not an answer: one still comes.
    Notice(ServerError),
}

impl Reply {
    pub fn decode(frame: Frame<'_>) -> Result<Reply, Malformed> {
        let fields = Fields::of(frame.body);
        match frame.tag {
            b'm' => salt(frame.body),
            b'E' => server_error::decode(fields).map(Reply::Error),
            b'N' => server_error::decode(fields).map(Reply::Notice),
            tag => worded(tag, fields),
        }
    }
}

/// Every other reply starts with a word that says what the rest is.
fn worded(tag: u8, mut fields: Fields<'_>) -> Result<Reply, Malformed> {
    let word = fields.bytes()?;
    match (tag, word) {
        (b'r', b"AuthenticationOK") => ended(fields, Reply::LoggedIn),
        (b'l', b"CommandComplete") => node_count(fields),
        (b'i' | b'p', b"ArraySize") => rows(fields),
        (b'b', b"ArraySize") => binary_rows(fields),
        (b'i', b"NodeInfo") => node_info::row(fields).map(Reply::Node),
        (b'b', b"ProcessConfig") => settings::row(fields).map(Reply::Setting),
        (b'p', b"ProcessInfo") => process_info::row(fields).map(Reply::Process),
        (b'w', b"CommandComplete") => watchdog::decode(fields).map(Reply::Watchdog),
        // Up to 4.2 node info is this one packet; later the word alone ends the rows.
        (b'i', b"CommandComplete") if fields.count() > 0 => {
            node_info::single(fields).map(Reply::Node)
        }
        (b'i' | b'b' | b'p' | b'c' | b'd' | b'z' | b't', b"CommandComplete") => {
            ended(fields, Reply::Complete)
        }
        _ => Err(Malformed::Unknown { tag }),
    }
}

fn salt(body: &[u8]) -> Result<Reply, Malformed> {
    let salt = Salt::try_from(body);
    salt.map(Reply::Salt).map_err(|_| Malformed::Shape { what: "a salt", fields: body.len() })
}

fn node_count(mut fields: Fields<'_>) -> Result<Reply, Malformed> {
    let nodes = fields.number("a node count")?;
    ended(fields, Reply::NodeCount(nodes))
}

fn rows(mut fields: Fields<'_>) -> Result<Reply, Malformed> {
    let rows = fields.number("a number of rows")?;
    ended(fields, Reply::Rows(rows))
}

/// Pool status counts its rows in binary, the only reply that does.
fn binary_rows(fields: Fields<'_>) -> Result<Reply, Malformed> {
    let rest = fields.rest();
    let rows = <[u8; 4]>::try_from(rest)
        .map_err(|_| Malformed::Shape { what: "a number of rows", fields: rest.len() })?;
    Ok(Reply::Rows(u32::from_be_bytes(rows) as usize))
}

fn ended(fields: Fields<'_>, reply: Reply) -> Result<Reply, Malformed> {
    fields.end().map(|()| reply)
}
