//! What Patroni says, as read from etcd at one revision.

use std::collections::BTreeMap;

use super::agreed::Agreed;
use super::ids::{Address, MemberName};
use super::orders::Orders;

/// One consistent reading of a scope. Never mixes keys of two revisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterView {
    /// etcd's store revision at which all of this was true.
    pub revision: i64,
    /// PostgreSQL's system identifier (`initialize`); a change means another cluster.
    pub system_id: Option<String>,
    /// Who holds the leader key. `None`: the key is absent, which is not the same as "unknown".
    pub leader: Option<MemberName>,
    pub members: BTreeMap<MemberName, Member>,
    /// Patroni's maintenance mode (`config.pause`).
    pub paused: bool,
    /// The whole cluster follows another one: its leader is read-only.
    pub standby_cluster: bool,
    /// Names of the synchronous standbys (`sync`).
    pub sync_standbys: Vec<String>,
    /// A switchover that somebody asked for and that has not happened yet (`failover`).
    pub switchover: Option<Switchover>,
    /// The leader's WAL position in bytes (`status`, else `optime/leader`).
    pub leader_lsn: Option<u64>,
    /// What the agents of watchdog clusters agreed on.
    pub agreed: Agreed,
    /// Orders for names that are no members now.
    pub other_orders: BTreeMap<MemberName, Orders>,
    /// What could not be understood, in sentences that are safe to print.
    pub notes: Vec<String>,
}

impl ClusterView {
    /// The member that holds the leader key, if its own key could be read.
    pub fn leader_member(&self) -> Option<&Member> {
        self.members.get(self.leader.as_ref()?)
    }

    /// What operators ordered of this member, listed or not.
    pub fn orders_of(&self, name: &MemberName) -> Option<&Orders> {
        self.members.get(name).map(|m| &m.orders).or_else(|| self.other_orders.get(name))
    }

    /// Every order.
    pub fn orders(&self) -> impl Iterator<Item = (&MemberName, &Orders)> {
        self.members.iter().map(|(name, m)| (name, &m.orders)).chain(&self.other_orders)
    }
}

/// One `members/<name>` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: MemberName,
    /// From `conn_url`; the error says what is wrong with it, without its credentials.
    pub address: Result<Address, String>,
    pub role: Role,
    pub state: State,
    pub replication: Replication,
    /// WAL received and replayed, in bytes; replayed falls back to `xlog_location`.
    pub receive_lsn: Option<u64>,
    pub replay_lsn: Option<u64>,
    pub timeline: Option<u32>,
    /// Patroni's `noloadbalance` tag: never give it reads.
    pub noloadbalance: bool,
    /// Every tag that is a string, number or boolean, as text.
    pub tags: BTreeMap<String, String>,
    /// Patroni is going to restart this member (`scheduled_restart`).
    pub restart_scheduled: bool,
    /// What operators ordered with `geo-agent hold` and `geo-agent locate`.
    pub orders: Orders,
    /// When, in seconds since 1970, if that could be understood.
    pub restart_at: Option<u64>,
}

/// What a member says it is. Only the leader key says who leads; this is the second signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `primary` (4.x), `master` (2.x, 3.x), `leader`.
    Primary,
    /// `promoted`: told to promote, not yet confirmed.
    Promoted,
    /// `replica`, `sync_standby`, `quorum_standby`.
    Replica,
    /// Leads a standby cluster; read-only.
    StandbyLeader,
    /// `demoted`, `uninitialized`, anything unknown: serves nobody.
    Other,
}

/// What a member says it is doing. Only `Running` serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Running,
    /// Any other of Patroni's states, as it wrote it (printable).
    NotServing(String),
}

/// `replication_state`, written by Patroni 3.0.4 and later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    Streaming,
    ArchiveRecovery,
    /// Not said: a primary, an old Patroni, or a replica that receives nothing.
    Unsaid,
}

/// The `failover` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switchover {
    pub from: Option<MemberName>,
    pub to: Option<MemberName>,
    /// ISO 8601 as Patroni wrote it (printable); `None` means now.
    pub scheduled_at: Option<String>,
}

impl Member {
    /// Whether it accepts connections and answers queries, as far as Patroni knows.
    pub fn is_serving(&self) -> bool {
        self.state == State::Running && self.role != Role::Other
    }
}
