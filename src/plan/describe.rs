//! What changes between two slot tables, in a sentence.

use crate::model::ids::SlotIndex;
use crate::model::slots::{SlotEntry, SlotTable};

/// How many changes are spelled out before "and N more".
const SPELLED_OUT: usize = 4;

/// The reason of a `write_conf`.
pub fn why_write(from: &SlotTable, to: &SlotTable, edited: bool) -> String {
    const EDITED: &str = "the block was edited by hand: it belongs to geo-agent";
    let changes = changes(from, to);
    match (edited, changes.is_empty()) {
        (false, _) => changes,
        (true, true) => EDITED.to_owned(),
        (true, false) => format!("{changes}; {EDITED}"),
    }
}

fn changes(from: &SlotTable, to: &SlotTable) -> String {
    let mut changes: Vec<String> = Vec::new();
    for (slot, then) in &to.entries {
        match from.entries.get(slot) {
            Some(now) if now == then => {}
            Some(now) => changes.push(format!("slot {slot}: {}", change(now, then))),
            None => changes.push(format!("slot {slot} := {}", owner_and_address(then))),
        }
    }
    for slot in from.entries.keys().filter(|s| !to.entries.contains_key(s)) {
        changes.push(format!("slot {slot} is dropped: pgpool cannot use it until it is restarted"));
    }
    let more = changes.len().saturating_sub(SPELLED_OUT);
    changes.truncate(SPELLED_OUT);
    match more {
        0 => changes.join("; "),
        n => format!("{}; and {n} more", changes.join("; ")),
    }
}

/// Whether pgpool has to read the file again: owners are comments to it.
pub fn needs_reload(from: &SlotTable, to: &SlotTable) -> bool {
    !matters(from).eq(matters(to))
}

/// What pgpool reads of each slot.
fn matters(table: &SlotTable) -> impl Iterator<Item = (SlotIndex, &str, u16, f64)> {
    table.entries.iter().map(|(slot, e)| (*slot, e.host.as_str(), e.port, e.weight))
}

fn change(now: &SlotEntry, then: &SlotEntry) -> String {
    if now.host != then.host || now.port != then.port {
        return format!("{}, as pgpool has it", owner_and_address(then));
    }
    if now.weight != then.weight {
        return format!("weight {} -> {}", now.weight, then.weight);
    }
    format!("now {}", owner_and_address(then))
}

fn owner_and_address(entry: &SlotEntry) -> String {
    let address = match entry.address() {
        Some(address) => address.to_string(),
        None => format!("{} port {}", crate::model::ids::printable(&entry.host), entry.port),
    };
    match &entry.member {
        Some(member) => format!("{member} ({address})"),
        None => address,
    }
}
