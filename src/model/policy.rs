//! What the operator allows and prefers: the part of the configuration that decisions depend on.

use std::collections::BTreeMap;
use std::fmt;

use super::cluster::Member;
use super::patience::Patience;
use super::restart::RestartPolicy;

/// Everything the planner needs to know from the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Size of the slot table, 1..=128.
    pub slots: u8,
    /// Where this pgpool is (`location.name`).
    pub location: Option<String>,
    /// The Patroni tag that carries a member's location (`location.tag`).
    pub location_tag: String,
    /// `local_backends`: local members by name with their read weight; wins over the tag.
    pub local_backends: BTreeMap<String, f64>,
    /// `locations`: whose replicas serve while nobody local does, nearest first.
    pub farther: Vec<Tier>,
    /// A probe user is configured, so SQL can say who is writable.
    pub sql_probe: bool,
    pub on_primary_loss: OnPrimaryLoss,
    /// How pgpool may be restarted, and when.
    pub restart: RestartPolicy,
    /// How long to wait for what, and how far behind is too far.
    pub patience: Patience,
}

/// Locations that are equally far from here, as far as the operator is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    Places(Vec<String>),
    /// Wherever a member is, and also when nobody says where.
    Any,
}

/// "us+ca", "any".
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tier::Places(names) => f.write_str(&names.join("+")),
            Tier::Any => f.write_str("any"),
        }
    }
}

/// What to do while pgpool's primary is dead and nobody can take its place for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPrimaryLoss {
    /// A local replica takes its place in pgpool, so that reads go on.
    #[default]
    StandIn,
    /// No client can connect until Patroni has a new leader.
    Wait,
}

/// What holds when the configuration says nothing.
impl Default for Policy {
    fn default() -> Self {
        Policy {
            slots: 16,
            location: None,
            location_tag: "location".to_owned(),
            local_backends: BTreeMap::new(),
            farther: Vec::new(),
            sql_probe: false,
            on_primary_loss: OnPrimaryLoss::default(),
            restart: RestartPolicy::default(),
            patience: Patience::default(),
        }
    }
}

impl Policy {
    /// The read weight of a member that is local to this pgpool; `None` when it is remote. This
    /// host's `local_backends` comes first, then `geo-agent locate`, then the member's own tag.
    pub fn local_weight(&self, member: &Member) -> Option<f64> {
        if let Some(weight) = self.local_backends.get(member.name.as_raw()) {
            return Some(*weight);
        }
        let here = self.location.as_deref()?;
        (self.place(member) == Some(here)).then_some(1.0)
    }

    /// How far away a member counts as being: 0 is local, then come the tiers of `locations`.
    /// `None`: remote, and never read from unless it leads.
    pub fn tier(&self, member: &Member) -> Option<usize> {
        if self.local_weight(member).is_some() {
            return Some(0);
        }
        let place = self.place(member);
        let is_in = |tier: &Tier| match tier {
            Tier::Any => true,
            Tier::Places(names) => place.is_some_and(|p| names.iter().any(|name| name == p)),
        };
        self.farther.iter().position(is_in).map(|n| n + 1)
    }

    /// The location that a member says, or that was ordered.
    pub fn place<'a>(&self, member: &'a Member) -> Option<&'a str> {
        let tag = || member.tags.get(&self.location_tag).map(String::as_str);
        self.location_order(member).or_else(tag)
    }

    /// Where a member is by order, unless this host's `local_backends` says better.
    pub fn location_order<'a>(&self, member: &'a Member) -> Option<&'a str> {
        let own_word = self.local_backends.contains_key(member.name.as_raw());
        member.orders.location.as_deref().filter(|_| !own_word)
    }
}
