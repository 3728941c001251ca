//! What the agents of watchdog clusters tell each other through etcd. Their pgpools match servers
//! by slot number, so every one of them needs the same table.

use std::collections::BTreeMap;

use super::ids::{Address, SlotIndex};

/// Which server is in which slot.
pub type Numbers = BTreeMap<SlotIndex, Address>;

/// Everything that was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agreed {
    /// The numbers that all take; `None` before anybody proposed any.
    pub numbers: Option<Numbers>,
    /// By the name that the watchdog has for the pgpool. Gone with its agent.
    pub peers: BTreeMap<String, Peer>,
}

/// What one agent says of itself and its pgpool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// The slots that its pgpool knows.
    pub knows: Numbers,
    /// Its agent can teach it new ones: nobody waits for a pgpool.conf that cannot be written.
    pub learns: bool,
    /// The settings that all agents of one watchdog cluster need in common, by name.
    pub settings: BTreeMap<String, String>,
}

/// What this agent has to say. Said again and again, until it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The watchdog's name for this pgpool.
    pub name: String,
    pub peer: Peer,
    pub proposal: Option<Proposal>,
}

/// Numbers to take in the place of others, provided that nobody has changed those meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub instead_of: Option<Numbers>,
    pub numbers: Numbers,
}
