//! Why a pgpool.conf has no slot table that can be used, or a table cannot be put into it.

use std::fmt;

use super::keys::WEIGHT_MAX;
use crate::model::ids::{SlotIndex, printable};
use crate::model::slots::PORTS;

/// Each sentence says what to do about it. Line numbers are those of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableError {
    /// Neither marker is there.
    NoBlock,
    /// The markers are not one start followed by one end.
    Torn { line: usize, what: &'static str },
    /// Inside the block: not something to read a table from.
    Garbled { line: usize, what: String },
    /// Outside the block: pgpool cannot read it either.
    Unreadable { line: usize, what: String },
    /// Outside the block: a slot's setting, which may be in the block as well, or soon will be.
    Duplicate { line: usize, key: String },
    /// The table asked for has a value that pgpool would refuse or misread.
    Unwritable { slot: SlotIndex, what: String },
    /// `init` cannot take this line up as it stands.
    NotAdoptable { line: usize, what: String },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "delete geo-agent's marker lines that are left (the backend_* lines \
                             may stay) and run `geo-agent init`, which takes the slots up again";
        match self {
            TableError::NoBlock => write!(f, "there is no slot table yet: run `geo-agent init`"),
            TableError::Torn { line, what } => write!(f, "line {line}: {what}: {AGAIN}"),
            TableError::Garbled { line, what } => {
                write!(f, "line {line}, inside the slot table: {what}: correct it, or {AGAIN}")
            }
            TableError::Unreadable { line, what } => {
                write!(
                    f,
                    "line {line}: {what}: pgpool ignores the whole file until this is corrected"
                )
            }
            TableError::Duplicate { line, key } => write!(
                f,
                "line {line}: {} is set outside the slot table, so pgpool's processes may flip \
                 between two values: run `geo-agent init` to take it up, or delete the line",
                printable(key)
            ),
            TableError::Unwritable { slot, what } => {
                write!(f, "slot {slot} cannot be written to pgpool.conf: {what}")
            }
            TableError::NotAdoptable { line, what } => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for TableError {}

/// Why pgpool would not take this text as it is. There is no escape that pgpool would undo, so a
/// value that needs one is refused.
pub fn why_not_text(value: &str, length_max: usize) -> Option<String> {
    let bad = value.chars().find(|c| *c == '\'' || *c == '\\' || c.is_control());
    if let Some(bad) = bad {
        let value = printable(value);
        return Some(format!("\"{value}\" has {bad:?} in it, which pgpool.conf cannot express"));
    }
    (value.len() > length_max)
        .then(|| format!("\"{value}\" is longer than {length_max} bytes, and pgpool cuts it there"))
}

/// Why pgpool would not take this port.
pub fn why_not_port(port: i64) -> Option<String> {
    let fits = u16::try_from(port).is_ok_and(|p| PORTS.contains(&p));
    let (low, high) = (PORTS.start(), PORTS.end());
    (!fits).then(|| format!("port {port} is not in {low}..={high}, and pgpool takes no other"))
}

/// Why pgpool would not take this weight.
pub fn why_not_weight(weight: f64) -> Option<String> {
    let fits = (0.0..=WEIGHT_MAX).contains(&weight);
    (!fits)
        .then(|| format!("weight {weight} is not in 0..={WEIGHT_MAX}, and pgpool takes no other"))
}
