//! Carries a plan out: step by step, each verified by looking again, because an acknowledgement
//! from pgpool means "queued" and its queue drops silently. Decides nothing: at the first surprise
//! it stops, and the loop looks again and makes a new plan.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use crate::model::ids::SlotIndex;
use crate::model::plan::{Act, Plan, Step};
use crate::model::pool::{NodeStatus, PoolView};
use crate::model::slots::SlotTable;
use crate::restart::{Restart, RestartError};
use crate::seams::{Ask, ConfFile, Keeper, Pool, PoolRequest};

/// How long an effect may take to show. pgpool sleeps a second after each change and searches for a
/// primary for up to `search_primary_node_timeout` (5 s recommended); shorter would call both a
/// failure, longer would delay the next look.
const EFFECT_DEADLINE: Duration = Duration::from_secs(8);
/// The pause between two looks for an effect: short at first (an attach shows in some 20 ms), then
/// longer, because each look makes pgpool fork a worker.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(5);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);
/// Requests in one connection. pgpool's queue holds 10 and drops the rest without a word.
const BATCH_MAX: usize = 8;

/// Why a plan was not carried out to its end. What was done so far is a safe place to stop.
#[derive(Debug)]
pub enum Surprise {
    /// pgpool did not take the request.
    Refused { what: String, error: Box<dyn std::error::Error + Send + Sync> },
    /// pgpool.conf could not be replaced.
    File(Box<dyn std::error::Error + Send + Sync>),
    /// pgpool does not run with the new layout.
    Restart(RestartError),
    /// pgpool acknowledged the request and the effect did not show.
    NoEffect { what: String, after: Duration, hint: &'static str },
}

impl fmt::Display for Surprise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Surprise::Refused { what, .. } => write!(f, "pgpool did not take {what}"),
            Surprise::File(_) => write!(f, "the slot table could not be written"),
            Surprise::Restart(error) => error.fmt(f),
            Surprise::NoEffect { what, after, hint } => {
                let seconds = after.as_secs();
                write!(f, "{what} was acknowledged, but shows no effect after {seconds} s: {hint}")
            }
        }
    }
}

impl std::error::Error for Surprise {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Surprise::Refused { error, .. } | Surprise::File(error) => Some(error.as_ref()),
            Surprise::Restart(_) | Surprise::NoEffect { .. } => None,
        }
    }
}

/// Carries out every step in order and verifies it before the next.
pub async fn apply<P: Pool, C: ConfFile, K: Keeper>(
    pool: &P,
    file: &C,
    keeper: &K,
    plan: &Plan,
) -> Result<(), Surprise> {
    let mut hands = Hands { pool, file, plan, written: None };
    for batch in batches(&plan.steps) {
        for step in batch {
            announce(step);
        }
        match &batch[0].act {
            Act::WriteConf(table) => hands.write(table).await?,
            Act::Reload => hands.reload().await?,
            Act::Restart(layout) => {
                let restart = Restart { pool, file, keeper };
                restart.with(layout).await.map_err(Surprise::Restart)?;
            }
            _ => hands.change_nodes(batch).await?,
        }
    }
    Ok(())
}

/// Neighbouring steps of one kind travel in one connection: pgpool then works through them in one
/// go, with one second of sleep instead of several (proto-notes/hazards.md, 13).
fn batches(steps: &[Step]) -> Vec<&[Step]> {
    let same = |a: &Step, b: &Step| a.act.op() == b.act.op();
    steps.chunk_by(same).flat_map(|run| run.chunks(BATCH_MAX)).collect()
}

struct Hands<'a, P, C> {
    pool: &'a P,
    file: &'a C,
    plan: &'a Plan,
    /// What the file holds since this plan wrote it.
    written: Option<SlotTable>,
}

impl<P: Pool, C: ConfFile> Hands<'_, P, C> {
    async fn write(&mut self, table: &SlotTable) -> Result<(), Surprise> {
        self.file.write(table).await.map_err(|e| Surprise::File(Box::new(e)))?;
        self.written = Some(table.clone());
        Ok(())
    }

    async fn reload(&mut self) -> Result<(), Surprise> {
        let table = match self.written.take() {
            Some(table) => table,
            None => match self.file.read().await.map_err(|e| Surprise::File(Box::new(e)))? {
                Ok(table) => table,
                Err(why) => return Err(Surprise::File(why.into())),
            },
        };
        self.send("the reload", &[PoolRequest::Reload]).await?;
        let hint = "pgpool ignores the whole file when one line of it has a syntax error; \
                    its log names the line";
        self.wait_for("the reload", hint, |view| Progress::when(view.runs_with(&table))).await
    }

    async fn change_nodes(&mut self, batch: &[Step]) -> Result<(), Surprise> {
        let requests: Vec<_> = batch.iter().filter_map(|step| request(&step.act)).collect();
        let what = describe(batch);
        self.send(&what, &requests).await?;
        let hint = "pgpool's log says why; geo-agent looks again and makes a new plan";
        let primary = self.primary_after(batch);
        self.wait_for(&what, hint, |view| {
            let found = primary.is_none_or(|p| view.primary() == Some(p));
            let shown = found && batch.iter().all(|step| shows(view, &step.act));
            let hopeless = batch.iter().any(|step| cannot_show(view, &step.act));
            if hopeless { Progress::Hopeless } else { Progress::when(shown) }
        })
        .await
    }

    /// After an attach pgpool searches for its primary and has to find the leader, if the leader is
    /// attached by then.
    fn primary_after(&self, batch: &[Step]) -> Option<SlotIndex> {
        let attaches = batch.iter().any(|s| matches!(s.act, Act::Attach(_)));
        let primary = self.plan.slots.iter().find(|row| row.to.primary).map(|row| row.slot);
        primary.filter(|_| attaches)
    }

    async fn send(&self, what: &str, requests: &[PoolRequest]) -> Result<(), Surprise> {
        let refused = |e| Surprise::Refused { what: what.to_owned(), error: Box::new(e) };
        self.pool.send(requests).await.map_err(refused)
    }

    /// Looks until the effect shows. A look that fails is tried again within the deadline: pgpool
    /// restarts its PCP process after each change.
    async fn wait_for(
        &self,
        what: &str,
        hint: &'static str,
        effect: impl Fn(&PoolView) -> Progress,
    ) -> Result<(), Surprise> {
        let started = Instant::now();
        let mut pause = LOOK_AGAIN_FIRST;
        loop {
            let seen = self.pool.look(Ask::default()).await;
            let progress = seen.as_ref().map_or(Progress::Pending, &effect);
            if progress == Progress::Done {
                info!(ms = started.elapsed().as_millis() as u64, "{what}: done");
                return Ok(());
            }
            let after = started.elapsed();
            if progress == Progress::Hopeless || after >= EFFECT_DEADLINE {
                return Err(match seen {
                    Ok(_) => Surprise::NoEffect { what: what.to_owned(), after, hint },
                    Err(e) => Surprise::Refused { what: what.to_owned(), error: Box::new(e) },
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }
}

/// How far an effect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Done,
    Pending,
    /// It will never show: waiting out the deadline would only delay the next plan.
    Hopeless,
}

impl Progress {
    fn when(shown: bool) -> Self {
        if shown { Progress::Done } else { Progress::Pending }
    }
}

/// A promote of a slot that somebody detached meanwhile: pgpool acknowledged it and did nothing.
fn cannot_show(view: &PoolView, act: &Act) -> bool {
    matches!(act, Act::Promote(slot) if !view.is_attached(*slot))
}

fn request(act: &Act) -> Option<PoolRequest> {
    match act {
        Act::Attach(slot) => Some(PoolRequest::Attach(*slot)),
        Act::Detach(slot) => Some(PoolRequest::Detach(*slot)),
        Act::Promote(slot) => Some(PoolRequest::Promote(*slot)),
        Act::Reload => Some(PoolRequest::Reload),
        Act::WriteConf(_) | Act::Restart(_) => None,
    }
}

/// Whether pgpool's node table shows the effect of a step.
fn shows(view: &PoolView, act: &Act) -> bool {
    let status = |slot: &SlotIndex| view.nodes.get(slot).map(|n| n.status);
    match act {
        Act::Attach(slot) => status(slot) == Some(NodeStatus::Up),
        Act::Detach(slot) => status(slot) == Some(NodeStatus::Down),
        Act::Promote(slot) => {
            let attached: BTreeSet<_> = view.attached().map(|(s, _)| s).collect();
            view.primary() == Some(*slot) && attached == BTreeSet::from([*slot])
        }
        Act::WriteConf(_) | Act::Reload | Act::Restart(_) => true,
    }
}

fn announce(step: &Step) {
    let Step { act, member, reason, disruption, sessions: _ } = step;
    let slot = act.slot().map(|s| s.to_string()).unwrap_or_default();
    let member = member.as_ref().map(|m| m.to_string()).unwrap_or_default();
    info!(op = act.op(), slot, member, disruption = disruption.as_str(), "{reason}");
}

fn describe(batch: &[Step]) -> String {
    let slots: Vec<_> = batch.iter().filter_map(|s| s.act.slot()).map(|s| s.to_string()).collect();
    format!("{} of slot {}", batch[0].act.op(), slots.join(", "))
}
