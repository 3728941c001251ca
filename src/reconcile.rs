//! The loop: wait, look, plan, check, apply, look again. Events only say "look"; what to do is
//! decided from what is there, so a burst of events is one look, and a lost one is made up for by
//! the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::apply::apply;
use crate::backoff::Retry;
use crate::model::cluster::ClusterView;
use crate::model::ids::{Address, MemberName};
use crate::model::inputs::{Inputs, Seen};
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reach::Answer;
use crate::observe::{Observer, Questions, chain};
use crate::patroni;
use crate::plan::{check, plan, questions};
use crate::retry::{Outcome, next_look};
use crate::seams::{ConfFile, Health, Pool, Prober};

/// How often a leader that is about to become writable is asked. Each question is one SQL login; a
/// longer pause is added to the write gap when the change is to a detached leader.
const LEADER_POLL: Duration = Duration::from_millis(15);

/// The newest word on the cluster, as the follower publishes it.
pub type ClusterNews = watch::Receiver<patroni::Seen>;

/// What one look came to; for the log and for `status`.
pub struct Round {
    pub plan: Plan,
    /// Why its steps were not carried out to the end.
    pub failure: Option<String>,
}

/// The loop and what it works with.
pub struct Reconciler<P, C, R, H> {
    pub observer: Observer<P, C, R, H>,
    pub policy: Arc<Policy>,
    pub cluster: ClusterNews,
}

impl<P: Pool, C: ConfFile, R: Prober, H: Health> Reconciler<P, C, R, H> {
    /// Runs until it is dropped. `report` is told of every round.
    pub async fn run(self, mut report: impl FnMut(&Round)) {
        let mut retry = Retry::default();
        let mut news = self.cluster.clone();
        loop {
            let cluster = word_on(&news.borrow_and_update());
            let (round, outcome, awaited) = self.round(cluster, &mut retry).await;
            report(&round);
            let pause = next_look(outcome);
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                () = changed(&mut news) => {}
                () = self.until_writable(awaited) => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// One look and what follows from it.
    async fn round(
        &self,
        cluster: Seen<Arc<ClusterView>>,
        retry: &mut Retry,
    ) -> (Round, Outcome, Option<Address>) {
        let policy = self.policy.clone();
        let inputs = self.observer.inputs(cluster, policy, Questions::UrgentFirst).await;
        let plan = plan(&inputs);
        let awaited = leader_awaited(&inputs);
        let faults = check::faults(&inputs, &plan);
        if !faults.is_empty() {
            error!("geo-agent's own plan is unsafe and is not carried out: {}", faults.join("; "));
            let failure = Some(format!("unsafe plan refused: {}", faults.join("; ")));
            return (Round { plan, failure }, Outcome::Failed(retry.next_delay()), None);
        }
        if plan.steps.is_empty() {
            retry.reset();
            return (Round { plan, failure: None }, Outcome::Settled, awaited);
        }
        match self.carry_out(&plan).await {
            Ok(()) => {
                retry.reset();
                (Round { plan, failure: None }, Outcome::Acted, None)
            }
            Err(failure) => {
                warn!("{failure}; looking again");
                (Round { plan, failure: Some(failure) }, Outcome::Failed(retry.next_delay()), None)
            }
        }
    }

    /// Applies a plan, unless another leader appears meanwhile: then the rest of it is worth nothing.
    async fn carry_out(&self, plan: &Plan) -> Result<(), String> {
        tokio::select! {
            biased;
            done = apply(&self.observer.pool, &self.observer.file, plan) => {
                done.map_err(|surprise| chain(&surprise))
            }
            leader = another_leader(self.cluster.clone(), plan.leader.as_ref()) => {
                info!("{leader} holds the leader key now: the rest of this plan is dropped");
                Ok(())
            }
        }
    }

    /// Asks the awaited leader until it is writable. Never returns when nobody is awaited.
    async fn until_writable(&self, awaited: Option<Address>) {
        let Some(leader) = awaited else { return std::future::pending().await };
        let question = BTreeSet::from([leader.clone()]);
        loop {
            sleep(LEADER_POLL).await;
            if self.observer.prober.ask(&question).await.of(&leader) == Some(&Answer::Writable) {
                return;
            }
        }
    }
}

/// The leader, if it has just said by SQL that it is still in recovery or does not serve: then
/// asking again is quicker than waiting for etcd.
fn leader_awaited(inputs: &Inputs) -> Option<Address> {
    let leader = inputs.cluster.as_ref().ok()?.leader_member()?.address.as_ref().ok()?;
    let answer = inputs.reach.of(leader)?;
    let open = inputs.policy.sql_probe && *answer != Answer::Writable;
    (open && !questions::servers_to_ask(inputs).is_empty()).then(|| leader.clone())
}

/// Not knowing is a reason to hold, never a view.
fn word_on(seen: &patroni::Seen) -> Seen<Arc<ClusterView>> {
    match seen {
        patroni::Seen::Known { view, .. } => Ok(view.clone()),
        patroni::Seen::Unknown { why, .. } => Err(why.clone()),
    }
}

/// Resolves when there is news. A follower that is gone brings none: the drift check goes on.
async fn changed(news: &mut ClusterNews) {
    if news.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn another_leader(mut news: ClusterNews, than: Option<&MemberName>) -> MemberName {
    loop {
        changed(&mut news).await;
        let leader = news.borrow().known().and_then(|view| view.leader.clone());
        if let Some(leader) = leader.filter(|l| Some(l) != than) {
            return leader;
        }
    }
}
