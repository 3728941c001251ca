//! Why a slot should be what it should be, in a sentence for steps and holds.

use std::fmt;
use std::time::Duration;

use crate::model::cluster::Member;
use crate::model::elapsed::Trial;
use crate::model::ids::{MemberName, printable};
use crate::model::orders::Held;
use crate::model::patience::{bytes, spelled};
use crate::model::policy::Policy;

use super::lag::Limits;
use super::wish::Want;

/// The reason for a wish. Most slots need nothing done, so a sentence is only made on demand.
#[derive(Clone, Copy)]
pub enum Why<'a> {
    Leads(&'a MemberName),
    LocalReplica(&'a MemberName, Located<'a>),
    /// A replica that serves, but what it serves is old.
    FarBehind(&'a MemberName, Limits),
    Remote(&'a MemberName, Located<'a>),
    /// A replica of a farther tier, and nobody nearer serves.
    Farther(&'a MemberName, Located<'a>),
    /// As before, but somebody nearer may be back before this time is over.
    Awaiting(&'a MemberName, Duration),
    /// A replica of a farther tier, and somebody else serves.
    NotNeeded(&'a MemberName, Located<'a>),
    NoLoadBalance(&'a MemberName),
    Held(&'a MemberName, &'a Held),
    NotServing(&'a MemberName, &'a str),
    NoRoleThatServes(&'a MemberName),
    RestartDue(&'a MemberName),
    /// A local replica that serves again, and what it has to show first.
    Unproven(&'a MemberName, Trial),
    /// Somebody detached it, and is respected for so long.
    ByHand(&'a MemberName, Duration),
    LastReader,
    UnusableKey(&'a MemberName),
    MayBeUnusable,
    Vanished(&'a MemberName),
    Elsewhere(&'a MemberName),
    Nobody,
}

/// Where a member counts as being by order, for the sentence that depends on it.
#[derive(Clone, Copy)]
pub struct Located<'a>(Option<&'a str>);

impl<'a> Located<'a> {
    pub fn of(policy: &Policy, member: &'a Member) -> Self {
        Located(policy.location_order(member))
    }
}

impl fmt::Display for Located<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(location) => write!(f, " (located in {} by order)", printable(location)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Leads(name) => write!(f, "{name} holds the leader key"),
            Why::LocalReplica(name, located) => {
                write!(f, "{name} is a local replica{located} that serves")
            }
            Why::FarBehind(name, limits) => {
                write!(f, "{name} is more than {} behind", bytes(limits.max))
            }
            Why::Remote(name, located) => {
                let cost = "attached, it would cost every session a far connection";
                write!(f, "{name} is remote{located}: {cost}")
            }
            Why::Farther(name, located) => {
                write!(f, "no nearer replica than {name}{located} serves")
            }
            Why::Awaiting(name, _) => write!(f, "a nearer replica than {name} may be back soon"),
            Why::NotNeeded(name, located) => {
                write!(
                    f,
                    "{name} is remote{located}, and somebody at least as near takes the reads"
                )
            }
            Why::Held(name, held) => write!(f, "{name} is {held}"),
            Why::Vanished(name) => write!(f, "{name} vanished from Patroni with most others"),
            Why::NoLoadBalance(name) => write!(f, "{name} has the tag noloadbalance"),
            Why::NotServing(name, state) => write!(f, "{name} is {state}"),
            Why::NoRoleThatServes(name) => write!(f, "{name} has no role that serves"),
            Why::RestartDue(name) => write!(f, "{name} is about to be restarted by Patroni"),
            Why::Unproven(name, Trial { falls: 0 | 1, .. }) => {
                write!(f, "{name} has only just become a replica that serves")
            }
            Why::Unproven(name, Trial { falls, .. }) => {
                write!(f, "{name} stopped serving {falls} times lately")
            }
            Why::ByHand(name, _) => write!(f, "{name} was detached by hand"),
            Why::LastReader => {
                f.write_str("no other replica serves: reads go to the standby leader")
            }
            Why::UnusableKey(name) => write!(f, "{name}'s key in etcd is unusable"),
            Why::MayBeUnusable => {
                f.write_str("it may belong to a member whose key in etcd is unusable")
            }
            Why::Elsewhere(name) => write!(f, "{name} is no longer at this address in Patroni"),
            Why::Nobody => f.write_str("no member of the cluster has this address"),
        }
    }
}

impl Why<'_> {
    /// What has to wait because of this, and what ends that; `None` where nothing waits.
    pub fn hold(&self, want: Want) -> Option<String> {
        match (want, self) {
            (Want::Leaving(timeout, _), _) => Some(format!(
                "is detached when its sessions have ended, at the latest after {}: {self}",
                spelled(timeout)
            )),
            (_, Why::Unproven(_, trial)) => Some(format!(
                "is attached once it has been good for {}: {self}",
                spelled(trial.lasts)
            )),
            (_, Why::Awaiting(_, soon)) => Some(format!(
                "is attached unless a nearer replica is back within {}",
                spelled(*soon)
            )),
            (_, Why::ByHand(_, respected)) => Some(format!(
                "was detached by hand (pcp_detach_node): it is left so for {}, or until it is \
                 attached by hand",
                spelled(*respected)
            )),
            (_, Why::FarBehind(_, limits)) => Some(format!(
                "gets no reads: it is more than {} behind the leader; it gets them again at {}",
                bytes(limits.max),
                bytes(limits.again)
            )),
            _ => None,
        }
    }
}
