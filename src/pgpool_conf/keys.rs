//! The settings that make up a backend slot: `backend_hostname0`, `backend_port0`, ….

use crate::model::ids::SlotIndex;

/// One setting of a slot, in the order in which the block has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    Hostname,
    Port,
    Weight,
    DataDirectory,
    Flag,
    ApplicationName,
}

impl Field {
    /// Host before port: at a reload pgpool gives a slot that gets its port first the default
    /// socket directory as its host, and keeps it until the next restart (proto-notes/hazards.md,
    /// 11).
    pub const ALL: [Field; 6] = [
        Field::Hostname,
        Field::Port,
        Field::Weight,
        Field::DataDirectory,
        Field::Flag,
        Field::ApplicationName,
    ];

    /// The setting's name without the slot number.
    pub fn name(self) -> &'static str {
        match self {
            Field::Hostname => "backend_hostname",
            Field::Port => "backend_port",
            Field::Weight => "backend_weight",
            Field::DataDirectory => "backend_data_directory",
            Field::Flag => "backend_flag",
            Field::ApplicationName => "backend_application_name",
        }
    }

    /// The longest value that pgpool keeps whole.
    pub fn length_max(self) -> usize {
        match self {
            Field::Hostname => 252,
            Field::DataDirectory => 254,
            Field::ApplicationName => 62,
            Field::Port | Field::Weight | Field::Flag => 64,
        }
    }
}

/// Which slot setting a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKey {
    Of(SlotIndex, Field),
    /// It starts like one, but what follows is not a slot number: pgpool does not start with it, or
    /// (128, on 4.3) writes past the end of its table.
    NoSlot(Field),
}

/// `None` for every other setting. Names are case-sensitive, as in pgpool; `backend_port07` is slot
/// 7.
pub fn slot_key(key: &str) -> Option<SlotKey> {
    let (field, number) =
        Field::ALL.iter().find_map(|f| key.strip_prefix(f.name()).map(|rest| (*f, rest)))?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let slot = number.parse::<usize>().ok().filter(|_| digits).and_then(SlotIndex::new);
    Some(slot.map_or(SlotKey::NoSlot(field), |slot| SlotKey::Of(slot, field)))
}

/// The largest `backend_weight` that pgpool accepts.
pub const WEIGHT_MAX: f64 = 100_000_000.0;

/// An integer the way pgpool reads it: decimal, `0x` hexadecimal, leading-zero octal, or a
/// fraction, which is rounded to even.
pub fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if digits.len() > 1 && digits.starts_with('0') && !digits.contains('.') {
        i64::from_str_radix(digits, 8).ok()
    } else if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        let value = digits.parse::<f64>().ok()?.round_ties_even();
        (value.abs() < 9e15).then_some(value as i64)
    } else {
        None
    }?;
    Some(if negative { -whole } else { whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_slots() {
        let slot = |n| SlotIndex::new(n).unwrap();
        assert_eq!(slot_key("backend_port07"), Some(SlotKey::Of(slot(7), Field::Port)));
        assert_eq!(slot_key("backend_hostname127"), Some(SlotKey::Of(slot(127), Field::Hostname)));
        assert_eq!(slot_key("backend_weight128"), Some(SlotKey::NoSlot(Field::Weight)));
        assert_eq!(slot_key("backend_flag"), Some(SlotKey::NoSlot(Field::Flag)));
        assert_eq!(slot_key("backend_portx"), Some(SlotKey::NoSlot(Field::Port)));
        assert_eq!(slot_key("backend_clustering_mode"), None);
        assert_eq!(slot_key("Backend_port0"), None);
    }

    #[test]
    fn integers_are_read_as_pgpool_reads_them() {
        assert_eq!(integer("5432"), Some(5432));
        assert_eq!(integer("0x1538"), Some(5432));
        assert_eq!(integer("012470"), Some(5432));
        assert_eq!(integer("5432.4"), Some(5432));
        assert_eq!(integer("-1"), Some(-1));
        for bad in ["", "abc", "5432x", "--1", "+", "0x", "é", "inf"] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
    }
}
