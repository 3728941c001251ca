//! pgpool's own memory of its nodes: a line per slot, `up` or `down` (proto-notes/hazards.md, 19).
//! It goes by number alone, so a table with other numbers needs another file.

use std::fs;
use std::path::Path;

use crate::host::atomic::{self, Attributes};
use crate::host::error::FileError;
use crate::model::restart::Layout;

/// What pgpool gives a file that it makes itself.
const MODE: u32 = 0o644;

/// Writes it for a pgpool that is down. A table without gaps has a line for each slot.
pub fn write(path: &Path, layout: &Layout) -> Result<(), FileError> {
    let attributes = match fs::symlink_metadata(path) {
        Ok(file) if file.is_file() => Attributes::of(&file),
        _ => Attributes { mode: MODE, owner: None },
    };
    atomic::write(path, text(layout).as_bytes(), attributes, || Ok(()))
}

fn text(layout: &Layout) -> String {
    let highest = layout.table.entries.keys().next_back().map_or(0, |s| s.get() + 1);
    let mut lines = vec!["unused\n"; highest];
    for slot in layout.table.entries.keys() {
        lines[slot.get()] = if layout.attached.contains(slot) { "up\n" } else { "down\n" };
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{Address, MemberName, SlotIndex};
    use crate::model::slots::SlotEntry;

    #[test]
    fn each_slot_has_its_line() {
        let slot = |n| SlotIndex::new(n).unwrap();
        let entry = || {
            let address = Address::new("a", 5432).unwrap();
            SlotEntry::new(MemberName::new("a"), &address, 1.0)
        };
        let mut layout = Layout::default();
        layout.table.entries.extend([(slot(0), entry()), (slot(2), entry()), (slot(3), entry())]);
        layout.attached.insert(slot(2));
        assert_eq!(text(&layout), "down\nunused\nup\ndown\n");
    }
}
