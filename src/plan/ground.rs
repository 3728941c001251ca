//! The ground to stand on: may anything be done at all? Without a word from Patroni or pgpool, with
//! nobody listed, the answer is no, and nothing is ever detached for it. Without a leader the only
//! act is a stand-in for a primary that is lost.

use crate::model::agreed::Agreed;
use crate::model::cluster::{ClusterView, Member, Role};
use crate::model::elapsed::Elapsed;
use crate::model::ids::{Address, SlotIndex};
use crate::model::inputs::Inputs;
use crate::model::past::Past;
use crate::model::plan::Hold;
use crate::model::policy::Policy;
use crate::model::pool::{PoolView, Watchdog};
use crate::model::reach::{Answer, Loss, Reachability};
use crate::model::restart::{RestartMode, Restarts};
use crate::model::slots::SlotTable;
use crate::model::turn::Undone;

use super::agree;
use super::turn::Turn;

/// The views of a moment in which acting is allowed.
#[derive(Clone)]
pub struct Ground<'a> {
    pub cluster: &'a ClusterView,
    pub pool: &'a PoolView,
    /// `Err`: the file cannot be written, but pgpool's own node table can still be worked with.
    pub file: Result<&'a SlotTable, &'a str>,
    /// The block was edited in a way that the table does not show.
    pub file_edited: bool,
    pub reach: &'a Reachability,
    pub elapsed: &'a Elapsed,
    pub lost: Option<&'a Loss>,
    pub policy: &'a Policy,
    /// Who may change what a watchdog cluster shares.
    pub turn: Turn,
    pub undone: &'a Undone,
    /// What the agents agreed on; `None` without a watchdog.
    pub agreed: Option<&'a Agreed>,
    pub past: &'a Past,
    pub restarts: &'a Restarts,
    /// `Err`: nobody leads, or nobody knows where.
    pub leader: Result<Leader<'a>, Hold>,
}

/// The member that holds the leader key, and where it is.
#[derive(Clone, Copy)]
pub struct Leader<'a> {
    pub member: &'a Member,
    pub at: &'a Address,
}

impl<'a> Ground<'a> {
    /// `Err` names why nothing may be done, and what would end that.
    pub fn of(inputs: &'a Inputs) -> Result<Self, Hold> {
        let cluster = inputs.cluster.as_ref().map_err(|why| hold(why.clone()))?;
        if let Some(why) = inputs.past.contradiction(cluster) {
            return Err(hold(why));
        }
        if cluster.members.is_empty() {
            return Err(hold(
                "Patroni lists no member at all: nothing is changed until one appears in etcd",
            ));
        }
        let leader = leader_of(cluster);
        let pool = match &inputs.pool {
            Ok(pool) => pool,
            Err(why) => return Err(without_pgpool(inputs, leader, why)),
        };
        let mut ground = Ground {
            cluster,
            pool,
            file: inputs.file.as_ref().map_err(String::as_str),
            file_edited: inputs.file_edited,
            reach: &inputs.reach,
            elapsed: &inputs.elapsed,
            lost: inputs.lost.as_ref(),
            policy: &inputs.policy,
            turn: Turn::at_first(pool.watchdog.as_ref()),
            undone: &inputs.undone,
            agreed: pool.watchdog.as_ref().map(|_| &cluster.agreed),
            past: &inputs.past,
            restarts: &inputs.restarts,
            leader,
        };
        if agree::conflict(&ground).is_some() {
            ground.turn = Turn::Nobody;
        }
        Ok(ground)
    }

    pub fn leads(&self, member: &Member) -> bool {
        self.leader.as_ref().is_ok_and(|leader| leader.member.name == member.name)
    }

    /// Where the leader is; `None` while there is none.
    pub fn leader_at(&self) -> Option<&'a Address> {
        self.leader.as_ref().ok().map(|leader| leader.at)
    }

    /// `None`: it is. Otherwise why the leader cannot be taken for writable.
    pub fn why_not_writable(&self) -> Option<String> {
        let Leader { member, at } = match &self.leader {
            Ok(leader) => *leader,
            Err(hold) => return Some(hold.reason.clone()),
        };
        let leader = &member.name;
        match self.reach.of(at) {
            Some(Answer::Writable) => None,
            Some(Answer::ReadOnly) => Some(format!("{leader} is still in recovery")),
            // SQL could not say (no probe user, or it was refused): the role in etcd must do.
            Some(Answer::Alive(_)) if member.role == Role::Primary => None,
            Some(Answer::Alive(_)) => Some(format!("{leader} does not call itself primary yet")),
            Some(Answer::Dead(why) | Answer::Unreachable(why) | Answer::Hung(why)) => {
                Some(format!("{leader} does not serve from here ({why})"))
            }
            None => Some(format!("{leader} has not been asked yet")),
        }
    }

    /// It is for this agent to attach, detach and promote.
    pub fn may_command(&self) -> bool {
        matches!(self.turn, Turn::Own | Turn::StepsIn)
    }

    /// The watchdog, if it is led from elsewhere.
    pub fn watchdog_of_others(&self) -> Option<&'a Watchdog> {
        self.pool.watchdog.as_ref().filter(|_| self.turn == Turn::Others)
    }

    /// The weight that the file gives a slot now, 0 for a slot that is not in it; `None` without a
    /// file.
    pub fn weight_in_file(&self, slot: SlotIndex) -> Option<f64> {
        let file = self.file.ok()?;
        Some(file.entries.get(&slot).map_or(0.0, |e| e.weight))
    }

    /// pgpool itself is broken, and why it is not restarted: work goes on over TCP.
    pub fn damage_holds(&self, why_not: &str) -> Vec<Hold> {
        let never = self.policy.restart.mode == RestartMode::Never;
        let say = |what: &String| match never {
            true => {
                hold(format!("{what}: restart pgpool when convenient (see README, damaged pgpool)"))
            }
            false => hold(format!("{what}: {why_not}")),
        };
        self.pool.damage.iter().map(say).collect()
    }

    /// The file cannot be used: slots and weights stay as they are.
    pub fn file_hold(&self) -> Option<Hold> {
        self.file.err().map(hold)
    }
}

/// Why pgpool does not answer, or what matters more.
fn without_pgpool(inputs: &Inputs, leader: Result<Leader, Hold>, why: &str) -> Hold {
    let restart = inputs.restarts.under_way.as_ref().map(|it| hold(it.to_string()));
    restart.or(leader.err()).unwrap_or_else(|| hold(why))
}

fn leader_of(cluster: &ClusterView) -> Result<Leader<'_>, Hold> {
    let Some(name) = &cluster.leader else {
        return Err(hold(match cluster.paused {
            true => {
                "nobody holds Patroni's leader key (Patroni is paused): nothing is changed \
                     until somebody does"
            }
            false => "nobody holds Patroni's leader key: nothing is changed until somebody does",
        }));
    };
    let member = cluster.leader_member().ok_or_else(|| Hold {
        member: Some(name.clone()),
        slot: None,
        reason: "holds the leader key but has no member key in etcd, so its address is unknown"
            .to_owned(),
    })?;
    let at = member.address.as_ref().map_err(|why| Hold {
        member: Some(name.clone()),
        slot: None,
        reason: format!("the leader's address is unusable ({why}): its conn_url must be mended"),
    })?;
    Ok(Leader { member, at })
}

/// A hold on everything.
fn hold(reason: impl Into<String>) -> Hold {
    Hold { member: None, slot: None, reason: reason.into() }
}
