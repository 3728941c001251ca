//! What operators ordered of a member for all sites at once. Kept in etcd beside Patroni's keys,
//! so every agent sees it with the same watch.

use std::fmt;

/// The orders that concern one member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders {
    /// `geo-agent hold`: no reads here for a while.
    pub held: Option<Held>,
    /// `geo-agent locate`: where the member counts as being, whatever its tag says.
    pub location: Option<String>,
}

/// Who wants a member left out, until when, and why. Every text is printable and short. etcd ends
/// a hold, with its lease; `until` only tells people when that will be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    pub by: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub reason: Option<String>,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { by, since: _, until, reason } = self;
        f.write_str("held")?;
        if let Some(by) = by {
            write!(f, " by {by}")?;
        }
        match until {
            Some(until) => write!(f, " until {until}")?,
            None => f.write_str(" for a time that its key does not say")?,
        }
        match reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}
