//! The loop: wait, look, plan, check, apply, look again. Events only say "look"; what to do is
//! decided from what is there, so a burst of events is one look, and a lost one is made up for by
//! the next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::apply::apply;
use crate::model::agreed::Word;
use crate::model::cluster::ClusterView;
use crate::model::ids::{Address, MemberName};
use crate::model::inputs::{Inputs, Seen};
use crate::model::past::Past;
use crate::model::plan::Act;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reach::{Answer, Loss};
use crate::observe::{Observer, Questions, chain};
use crate::pace::{Awaited, Pace};
use crate::patroni;
use crate::plan::{agree, check, plan, questions};
use crate::retry::Outcome;
use crate::seams::{ConfFile, Health, Pool, Prober};
use crate::turns::Turns;

/// How often a leader that is about to become writable is asked, at first. Each question is one SQL
/// login; a longer pause is added to the write gap when the change is to a detached leader.
const LEADER_POLL: Duration = Duration::from_millis(15);
/// A leader in a long recovery is asked less and less: the pause is this part of the wait so far.
const LEADER_POLL_PART: u32 = 10;

/// The newest word on the cluster, as the follower publishes it.
pub type ClusterNews = watch::Receiver<patroni::Seen>;

/// Where the loop leaves what others are to be told.
pub type Words = watch::Sender<Option<Word>>;

/// Whoever watches pgpool's primary: told which server that is, and heard when it is lost.
#[derive(Clone)]
pub struct Watch {
    pub server: watch::Sender<Option<Address>>,
    pub lost: watch::Receiver<Option<Loss>>,
}

/// What one look came to; for the log and for `status`.
pub struct Round {
    pub plan: Plan,
    /// Why its steps were not carried out to the end.
    pub failure: Option<String>,
    /// What is remembered of the cluster by now.
    pub past: Arc<Past>,
}

/// The loop and what it works with.
pub struct Reconciler<P, C, R, H> {
    pub observer: Observer<P, C, R, H>,
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

impl Watch {
    /// Nobody watches.
    pub fn nobodys() -> Self {
        Watch { server: watch::Sender::new(None), lost: watch::channel(None).1 }
    }
}

impl<P: Pool, C: ConfFile, R: Prober, H: Health> Reconciler<P, C, R, H> {
    /// Runs until it is dropped, or until whoever follows the cluster is gone: what was known last
    /// would be believed for ever. `report` is told of every round.
    pub async fn run(self, mut report: impl FnMut(&Round)) {
        let mut pace = Pace::default();
        let mut turns = Turns::default();
        let mut news = self.cluster.clone();
        let mut lost = self.watch.lost.clone();
        let (mut past, start) = (self.past.clone(), Instant::now());
        while news.has_changed().is_ok() {
            let cluster = word_on(&news.borrow_and_update());
            if let Ok(view) = &cluster {
                Arc::make_mut(&mut past).see(view, start.elapsed());
            }
            let loss = lost.borrow_and_update().clone();
            let looked = self.round(cluster, loss, past.clone(), &mut turns).await;
            let Some((round, outcome, awaited)) = looked else { continue };
            report(&round);
            let pause = pace.after(round.plan.leader.as_ref(), outcome, awaited);
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
                        let leader = round.plan.leader.as_ref();
                        drop(no_longer_leads(news.clone(), leader).await);
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
        Some(self.act(&inputs, turns).await)
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
        if let Ok(pool) = &inputs.pool
            && plan.steps.iter().any(|step| matches!(step.act, Act::Promote(_)))
        {
            self.observer.health.wake(pool);
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
            done = apply(&self.observer.pool, &self.observer.file, plan) => {
                done.map(|()| None).map_err(|surprise| chain(&surprise))
            }
        }
    }

    /// Asks the awaited leader until it is writable. Never returns when nobody is awaited.
    async fn until_writable(&self, awaited: Option<&Awaited>) {
        let Some(Awaited { leader, since }) = awaited else {
            return std::future::pending().await;
        };
        let question = BTreeSet::from([leader.clone()]);
        loop {
            sleep(LEADER_POLL.max(since.elapsed() / LEADER_POLL_PART)).await;
            if self.observer.prober.ask(&question).await.of(leader) == Some(&Answer::Writable) {
                return;
            }
        }
    }
}

/// The leader, if it has just said by SQL that it is still in recovery, or does not serve: then
/// asking again is quicker than waiting for etcd. Where SQL cannot say, asking again is no use.
fn leader_awaited(inputs: &Inputs) -> Option<Address> {
    let leader = inputs.cluster.as_ref().ok()?.leader_member()?.address.as_ref().ok()?;
    let may_change = !matches!(inputs.reach.of(leader)?, Answer::Writable | Answer::Alive(_));
    let open = inputs.policy.sql_probe && may_change;
    (open && !questions::servers_to_ask(inputs).is_empty()).then(|| leader.clone())
}

/// Resolves at the next word of whoever watches; never when nobody does.
async fn heard(lost: &mut watch::Receiver<Option<Loss>>) {
    if lost.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Not knowing is a reason to hold, never a view.
fn word_on(seen: &patroni::Seen) -> Seen<Arc<ClusterView>> {
    match seen {
        patroni::Seen::Known { view, .. } => Ok(view.clone()),
        patroni::Seen::Unknown { why, .. } => Err(why.clone()),
    }
}

/// Resolves as soon as this leader is not known to lead, and says why.
async fn no_longer_leads(mut news: ClusterNews, leader: Option<&MemberName>) -> String {
    loop {
        let now = word_on(&news.borrow_and_update()).map(|view| view.leader.clone());
        match now {
            Ok(now) if now.as_ref() == leader => {}
            Ok(Some(other)) => return format!("{other} holds the leader key now"),
            Ok(None) => return "nobody holds the leader key any more".to_owned(),
            Err(why) => return why,
        }
        if news.changed().await.is_err() {
            return "whoever follows the cluster in etcd is gone".to_owned();
        }
    }
}
