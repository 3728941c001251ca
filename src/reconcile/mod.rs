//! The loop: wait, look, plan, check, apply, look again. Events only say "look"; what to do is
//! decided from what is there, so a burst of events is one look, and a lost one is made up for by
//! the next.

mod news;
mod pace;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::apply::apply;
use crate::model::cluster::ClusterView;
use crate::model::ids::Address;
use crate::model::inputs::{Inputs, Seen};
use crate::model::past::Past;
use crate::model::plan::{Act, Disruption, Plan};
use crate::model::policy::Policy;
use crate::model::reach::Loss;
use crate::observe::{Observer, Questions};
use crate::plan::{agree, check, plan, questions};
use crate::restart::Restart;
use crate::retry::Outcome;
use crate::seams::{ConfFile, Health, Keeper, Pool, Prober, chain};
use crate::turns::Turns;
pub use news::{ClusterNews, Watch, Words};
use news::{another_leads, heard, no_longer_leads, word_on};
use pace::{Awaited, Pace, leader_awaited};

/// What one look came to; for the log and for `status`.
pub struct Round {
    pub plan: Plan,
    /// Why its steps were not carried out to the end.
    pub failure: Option<String>,
    /// What is remembered of the cluster by now.
    pub past: Arc<Past>,
}

/// The loop and what it works with.
pub struct Reconciler<P, C, R, H, K> {
    pub observer: Observer<P, C, R, H>,
    pub keeper: K,
    pub policy: Arc<Policy>,
    pub cluster: ClusterNews,
    pub watch: Watch,
    /// What is to be told to the other agents of a watchdog cluster.
    pub words: Words,
    /// What was remembered of the cluster before the start.
    pub past: Arc<Past>,
    /// Plans, and carries nothing out.
    pub observes: bool,
}

impl<P: Pool, C: ConfFile, R: Prober, H: Health, K: Keeper> Reconciler<P, C, R, H, K> {
    /// Runs until it is dropped, or until whoever follows the cluster is gone: what was known last
    /// would be believed for ever. `report` is told of every round.
    pub async fn run(self, mut report: impl FnMut(&Round)) {
        let mut pace = Pace::default();
        let mut turns = Turns::default();
        let mut news = self.cluster.clone();
        let mut lost = self.watch.lost.clone();
        let (mut past, start) = (self.past.clone(), Instant::now());
        while news.has_changed().is_ok() {
            // A signal may have broken a restart off; until it is over nothing else counts, and
            // what was known before it is old.
            let resumed = self.resume().await.err();
            let cluster = word_on(&news.borrow_and_update());
            if let Ok(view) = &cluster {
                Arc::make_mut(&mut past).see(view, start.elapsed());
            }
            let loss = lost.borrow_and_update().clone();
            let looked = self.round(cluster, loss, past.clone(), &mut turns, resumed).await;
            let Some((round, outcome, awaited)) = looked else { continue };
            report(&round);
            let pause = pace.after(&round, outcome, awaited);
            let pause = match outcome {
                Outcome::Settled => self.next_change(&turns).map_or(pause, |n| n.min(pause)),
                _ => pause,
            };
            if pause.is_zero() {
                continue;
            }
            // A failure's backoff is cut short by another leader only: news may come in bursts.
            let wakes = async {
                match outcome {
                    Outcome::Settled | Outcome::Away => drop(news.changed().await),
                    Outcome::Acted | Outcome::Failed => {
                        another_leads(news.clone(), round.plan.leader.as_ref()).await;
                    }
                }
            };
            tokio::select! {
                () = wakes => {}
                () = heard(&mut lost) => {}
                () = self.until_writable(pace.awaited.as_ref()) => {}
                () = sleep(pause) => {}
            }
        }
        error!("whoever follows the cluster in etcd is gone");
    }

    /// One look and what follows from it; `None` when the leader changed meanwhile.
    async fn round(
        &self,
        cluster: Seen<Arc<ClusterView>>,
        lost: Option<Loss>,
        past: Arc<Past>,
        turns: &mut Turns,
        resumed: Option<String>,
    ) -> Option<(Round, Outcome, Option<Address>)> {
        let undone = turns.at_a_look();
        let inputs = Inputs { undone, ..self.look(cluster, lost, past).await? };
        if !self.observes {
            self.tell(&inputs);
        }
        self.watch.server.send_if_modified(|watched| {
            let server = questions::server_to_watch(&inputs);
            let other = inputs.pool.is_ok() && *watched != server;
            if other {
                *watched = server;
            }
            other
        });
        let (round, outcome, awaited) = self.act(&inputs, turns).await;
        // It is tried again, but not as often as pgpool is looked for.
        let outcome = if resumed.is_some() { Outcome::Failed } else { outcome };
        Some((Round { failure: round.failure.or(resumed), ..round }, outcome, awaited))
    }

    /// A look may take as long as a silent server; other news do not wait for that, and what is
    /// decided on it must not be older than they are.
    async fn look(
        &self,
        cluster: Seen<Arc<ClusterView>>,
        lost: Option<Loss>,
        past: Arc<Past>,
    ) -> Option<Inputs> {
        let leader = cluster.as_ref().ok().map(|view| view.leader.clone());
        let mut other_loss = self.watch.lost.clone();
        other_loss.mark_unchanged();
        let policy = self.policy.clone();
        let questions = if self.observes { Questions::All } else { Questions::UrgentFirst };
        let look = self.observer.inputs(cluster, lost, policy, past, questions);
        let Some(leader) = leader else { return Some(look.await) };
        tokio::select! {
            biased;
            _ = no_longer_leads(self.cluster.clone(), leader.as_ref()) => None,
            () = heard(&mut other_loss) => None,
            inputs = look => Some(inputs),
        }
    }

    async fn act(&self, inputs: &Inputs, turns: &mut Turns) -> (Round, Outcome, Option<Address>) {
        let round = |plan, failure| Round { plan, failure, past: inputs.past.clone() };
        let plan = plan(inputs);
        turns.note(inputs, Some(&plan).filter(|_| !self.observes));
        let faults = check::faults(inputs, &plan);
        if !faults.is_empty() {
            error!("geo-agent's own plan is unsafe and is not carried out: {}", faults.join("; "));
            let failure = Some(format!("unsafe plan refused: {}", faults.join("; ")));
            return (round(plan, failure), Outcome::Failed, None);
        }
        if plan.steps.is_empty() || self.observes {
            let outcome = if inputs.pool.is_ok() { Outcome::Settled } else { Outcome::Away };
            return (round(plan, None), outcome, leader_awaited(inputs));
        }
        self.observer.acts();
        match self.carry_out(inputs, &plan).await {
            Ok(dropped) => (round(plan, dropped), Outcome::Acted, None),
            Err(failure) => {
                warn!("{failure}; looking again");
                (round(plan, Some(failure)), Outcome::Failed, None)
            }
        }
    }

    /// Finishes or undoes a restart that was broken off.
    async fn resume(&self) -> Result<(), String> {
        if self.observes {
            return Ok(());
        }
        let Observer { pool, file, .. } = &self.observer;
        let done = Restart { pool, file, keeper: &self.keeper }.resume().await;
        done.inspect_err(|error| error!("{error}")).map_err(|error| chain(&error))
    }

    /// How long until time alone is a reason to look again. Whoever only observes leaves its turn.
    fn next_change(&self, turns: &Turns) -> Option<Duration> {
        let turn = turns.left().filter(|_| !self.observes);
        self.observer.next_change().into_iter().chain(turn).min()
    }

    /// While too little is known, what was said before stands.
    fn tell(&self, inputs: &Inputs) {
        let Some(word) = agree::word(inputs) else { return };
        self.words.send_if_modified(|said| said.replace(word.clone()).as_ref() != Some(&word));
    }

    /// Applies a plan as long as its leader leads: after that the rest of it is worth nothing, and
    /// dropped, with the reason.
    async fn carry_out(&self, inputs: &Inputs, plan: &Plan) -> Result<Option<String>, String> {
        let Observer { pool, file, health, .. } = &self.observer;
        let promotes = plan.steps.last().is_some_and(|s| matches!(s.act, Act::Promote(_)));
        health.let_sleep();
        let apply = async {
            let done = apply(pool, file, &self.keeper, plan).await;
            if let (Ok(()), Ok(view), true) = (&done, &inputs.pool, promotes) {
                health.wake(view);
            }
            done.map(|()| None).map_err(|surprise| chain(&surprise))
        };
        if plan.disruption() == Disruption::Restart {
            return apply.await; // half of it is no pgpool
        }
        let mut lost = self.watch.lost.clone();
        lost.mark_unchanged();
        tokio::select! {
            biased; // the leader may have changed while servers were asked
            why = no_longer_leads(self.cluster.clone(), plan.leader.as_ref()) => {
                info!("{why}: the rest of this plan is dropped");
                Ok(Some(why))
            }
            () = heard(&mut lost) => {
                Ok(Some("pgpool's primary is lost, or is back".to_owned()))
            }
            done = apply => done,
        }
    }

    /// Asks the awaited leader until it is writable. Never returns when nobody is awaited.
    async fn until_writable(&self, awaited: Option<&Awaited>) {
        let Some(awaited) = awaited else { return std::future::pending().await };
        let pause = || awaited.pause();
        sleep(pause()).await; // it has just been asked
        self.observer.prober.until_writable(&awaited.leader, &pause).await;
    }
}
