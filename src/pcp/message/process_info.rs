//! Client sessions, by pgpool's table of pooled connections (proto-notes/process-info.md).

use std::collections::BTreeMap;

use super::fields::{Fields, Malformed};
use crate::model::ids::SlotIndex;
use crate::model::pool::Sessions;

/// What one row says: a child process, one of its pooled connections, one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    pub pid: u32,
    /// `None` where it is not read (up to 4.2), and for a number that no slot can have.
    pub slot: Option<SlotIndex>,
    /// A client is using this connection.
    pub in_session: bool,
    /// The client's reads go to this backend; `None` where pgpool does not say (before 4.5).
    pub reads_here: Option<bool>,
}

pub(super) fn row(fields: Fields<'_>) -> Result<ProcessInfo, Malformed> {
    match fields.count() {
        11 => row_up_to_4_2(fields),
        17 => row_since_4_3(fields, false),
        18.. => row_since_4_3(fields, true),
        fields => Err(Malformed::Shape { what: "process info", fields }),
    }
}

fn row_up_to_4_2(mut fields: Fields<'_>) -> Result<ProcessInfo, Malformed> {
    let pid = fields.number("a process id")?;
    fields.skip(9)?;
    let in_session = fields.flag("connected")?;
    fields.end()?;
    Ok(ProcessInfo { pid, slot: None, in_session, reads_here: None })
}

fn row_since_4_3(mut fields: Fields<'_>, says_reader: bool) -> Result<ProcessInfo, Malformed> {
    let pid = fields.number("a process id")?;
    fields.skip(3)?;
    let slot = SlotIndex::new(fields.number("a backend id")?);
    fields.skip(10)?;
    let connected = fields.flag("connected")?;
    // A slot that was detached during a session keeps its flag until the child ends, too.
    let is_waiting = fields.bytes()? == b"Wait for connection";
    // What a later version appends is not worth failing for: this only counts.
    let reads_here = says_reader.then(|| fields.flag("load_balance_node")).transpose()?;
    Ok(ProcessInfo { pid, slot, in_session: connected && !is_waiting, reads_here })
}

/// Counts sessions row by row: a child serves one client at a time, in one row per backend.
#[derive(Debug, Clone, Default)]
pub struct SessionCount {
    /// By process id; where its session reads.
    sessions: BTreeMap<u32, Option<SlotIndex>>,
    says_reader: bool,
}

impl SessionCount {
    pub fn add(&mut self, row: &ProcessInfo) {
        self.says_reader |= row.reads_here.is_some();
        if row.pid == 0 || !row.in_session {
            return;
        }
        let reads_from = self.sessions.entry(row.pid).or_default();
        if row.reads_here == Some(true) {
            *reads_from = row.slot;
        }
    }

    pub fn finish(self) -> Sessions {
        let mut reading = BTreeMap::new();
        for slot in self.sessions.values().flatten() {
            *reading.entry(*slot).or_insert(0) += 1;
        }
        Sessions {
            total: u32::try_from(self.sessions.len()).unwrap_or(u32::MAX),
            reading: self.says_reader.then_some(reading),
        }
    }
}
