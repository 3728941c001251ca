//! The slot table: which member owns which backend slot, as the block in pgpool.conf says it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::ids::{Address, MemberName, SlotIndex};

/// The ports that pgpool accepts for a backend. A line with another one is skipped at a reload, and
/// pgpool does not start with it (measured on 4.3.5; the same limits in the source of 4.6 and 4.7).
pub const PORTS: RangeInclusive<u16> = 1024..=65535;

/// The slots that are assigned, by number. Slots that nobody owns are not in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlotTable {
    pub entries: BTreeMap<SlotIndex, SlotEntry>,
}

/// One slot of the table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlotEntry {
    /// Who owns the slot; `None` for an adopted backend that no member has claimed.
    pub member: Option<MemberName>,
    /// From etcd it is always an [`Address`]; an adopted line may name a socket directory.
    pub host: String,
    pub port: u16,
    /// `backend_weight`: a share of reads, not a percentage.
    pub weight: f64,
    /// `backend_data_directory` and `backend_application_name`, kept from adopted lines.
    pub data_directory: Option<String>,
    pub application_name: Option<String>,
}

impl SlotEntry {
    pub fn new(member: MemberName, address: &Address, weight: f64) -> Self {
        SlotEntry {
            member: Some(member),
            host: address.host().to_owned(),
            port: address.port(),
            weight,
            data_directory: None,
            application_name: None,
        }
    }

    pub fn address(&self) -> Option<Address> {
        Address::new(&self.host, u32::from(self.port)).ok()
    }
}

impl SlotTable {
    /// The slot of a server, whoever owns it.
    pub fn slot_at(&self, address: &Address) -> Option<SlotIndex> {
        self.entries.iter().find(|(_, e)| e.address().as_ref() == Some(address)).map(|(s, _)| *s)
    }

    /// The share of reads that pgpool computes for a slot: its weight over the sum of all weights,
    /// attached or not. NaN when all weights are 0, as in pgpool.
    pub fn share(&self, slot: SlotIndex) -> f64 {
        let sum: f64 = self.entries.values().map(|e| e.weight).sum();
        self.entries.get(&slot).map_or(0.0, |e| e.weight / sum)
    }
}
