//! Restarting pgpool with another layout: note, new file, end, status file, start, verify; and the
//! way back when it does not come up. What is under way is noted before each act that could leave
//! pgpool down, so whoever is killed in between is followed by one who finishes or undoes it.
//!
//! The file comes before the end of pgpool: where something else starts pgpool again, it does so at
//! once. Nobody reads the file in between, as nobody is told to.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::model::pool::PoolView;
use crate::model::restart::{Failed, Layout, RestartNote, Stage, UnderWay};
use crate::model::slots::SlotTable;
use crate::seams::{Ask, ConfFile, Keeper, Pool, chain};

/// pgpool is there in 0.4 s, or, when nobody is writable, after `search_primary_node_timeout` (5 s
/// recommended). Shorter would undo a restart that is about to succeed; longer would leave clients
/// without pgpool when it cannot start.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Each look makes pgpool fork.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why pgpool does not run with the new layout.
#[derive(Debug)]
pub enum RestartError {
    /// pgpool and its file are as before.
    NotBegun { why: String },
    /// pgpool runs with the old layout again.
    Undone { why: String },
    /// pgpool does not run.
    Down { why: String, and: String },
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartError::NotBegun { why } => write!(f, "pgpool was not restarted: {why}"),
            RestartError::Undone { why } => {
                write!(f, "the restart failed ({why}); pgpool runs with the old slot table again")
            }
            RestartError::Down { why, and } => write!(
                f,
                "the restart failed ({why}), and pgpool did not come back with the old slot table \
                 either ({and}): geo-agent tries on; look at pgpool's log"
            ),
        }
    }
}

impl Error for RestartError {}

/// A pgpool, its file, and who can end and start it.
pub struct Restart<'a, P, C, K> {
    pub pool: &'a P,
    pub file: &'a C,
    pub keeper: &'a K,
}

impl<P: Pool, C: ConfFile, K: Keeper> Restart<'_, P, C, K> {
    /// Restarts pgpool with this layout. It must answer: who ends it by hand is not interfered
    /// with.
    pub async fn with(&self, to: &Layout) -> Result<(), RestartError> {
        let it = self.prepare(to).await.map_err(|why| RestartError::NotBegun { why })?;
        self.forth(it).await
    }

    /// Finishes or undoes what a predecessor left; nothing when nothing is under way.
    pub async fn resume(&self) -> Result<(), RestartError> {
        let Some(it) = self.keeper.note().under_way else { return Ok(()) };
        warn!("a restart of pgpool was broken off: it is finished or undone now");
        if it.stage == Stage::Back {
            return self.back(it).await;
        }
        match self.pool.look(Ask::default()).await {
            Err(_) => self.forth_from_the_end(it).await,
            Ok(view) if has_slots_of(&view, &it.to.table) => self.done(),
            // pgpool was not ended yet; whether it still has to be is for a new plan to say.
            Ok(_) => self.write(&it.from.table).await.and_then(|()| self.close(None)).map_err(down),
        }
    }

    async fn prepare(&self, to: &Layout) -> Result<UnderWay, String> {
        let ask = Ask { settings: true, ..Ask::default() };
        let view = self.pool.look(ask).await.map_err(|e| chain(&e))?;
        let table = self.file.read().await.map_err(|e| chain(&e))??;
        let attached = view.attached().map(|(slot, _)| slot).collect();
        let it = UnderWay {
            stage: Stage::Forth,
            from: Layout { table, attached },
            to: to.clone(),
            status_file: status_file(&view),
            why_back: None,
        };
        let mut note = self.keeper.note();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        note.began = note.in_last_hour(now).chain([now]).collect();
        note.under_way = Some(it.clone());
        self.keep(&note)?;
        Ok(it)
    }

    async fn forth(&self, it: UnderWay) -> Result<(), RestartError> {
        let ended = async {
            self.write(&it.to.table).await?;
            self.stop().await
        };
        match ended.await {
            Ok(()) => self.forth_from_the_end(it).await,
            Err(why) => self.turn_back(it, why).await,
        }
    }

    /// pgpool is down, or so it seems.
    async fn forth_from_the_end(&self, it: UnderWay) -> Result<(), RestartError> {
        let started = async {
            self.write(&it.to.table).await?;
            self.start(&it, &it.to).await
        };
        match started.await {
            Ok(()) => self.done(),
            Err(why) => self.turn_back(it, why).await,
        }
    }

    async fn turn_back(&self, mut it: UnderWay, why: String) -> Result<(), RestartError> {
        warn!("the restart fails: {why}; the old slot table comes back");
        (it.stage, it.why_back) = (Stage::Back, Some(why));
        let mut note = self.keeper.note();
        note.under_way = Some(it.clone());
        self.keep(&note).map_err(down)?;
        self.back(it).await
    }

    /// The old file; and pgpool started anew, unless it still runs with it. It stays under way
    /// until that is so: who has ended pgpool does not leave it down.
    async fn back(&self, it: UnderWay) -> Result<(), RestartError> {
        let why = it.why_back.clone().unwrap_or_default();
        let failed = Failed { with: it.to.table.clone(), why: why.clone() };
        let returned = async {
            self.write(&it.from.table).await?;
            let view = self.pool.look(Ask::default()).await;
            if view.is_ok_and(|view| has_slots_of(&view, &it.from.table)) {
                return Ok(());
            }
            if let Err(why) = self.stop().await {
                warn!("pgpool could not be ended: {why}");
            }
            self.start(&it, &it.from).await
        };
        if let Err(and) = returned.await {
            return Err(RestartError::Down { why, and });
        }
        self.close(Some(failed)).map_err(down)?;
        Err(RestartError::Undone { why })
    }

    async fn write(&self, table: &SlotTable) -> Result<(), String> {
        self.file.write(table).await.map_err(|e| chain(&e))
    }

    async fn stop(&self) -> Result<(), String> {
        self.keeper.stop().await.map_err(|e| chain(&e))
    }

    async fn start(&self, it: &UnderWay, layout: &Layout) -> Result<(), String> {
        if let Some(path) = &it.status_file
            && let Err(e) = self.keeper.write_status(path, layout)
        {
            // pgpool comes up with some states wrong, and is put right by the next plan.
            warn!("pgpool's status file is left as it is: {}", chain(&e));
        }
        self.keeper.start().await.map_err(|e| chain(&e))?;
        self.verify(&layout.table).await
    }

    /// Every slot is where the table says, and shares are those of the table.
    async fn verify(&self, table: &SlotTable) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let seen = self.pool.look(Ask::default()).await;
            let why = match seen {
                Ok(view) if has_slots_of(&view, table) && view.runs_with(table) => {
                    info!(ms = started.elapsed().as_millis() as u64, "pgpool is back");
                    return Ok(());
                }
                Ok(_) => "pgpool runs, but not with the slots of its file".to_owned(),
                Err(e) => chain(&e),
            };
            if started.elapsed() >= START_DEADLINE {
                let seconds = START_DEADLINE.as_secs();
                return Err(format!("it did not come back within {seconds} s: {why}"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn done(&self) -> Result<(), RestartError> {
        self.close(None).map_err(down)
    }

    fn close(&self, failed: Option<Failed>) -> Result<(), String> {
        let note = RestartNote { under_way: None, failed, ..self.keeper.note() };
        self.keep(&note)
    }

    fn keep(&self, note: &RestartNote) -> Result<(), String> {
        self.keeper.keep(note).map_err(|e| chain(&e))
    }
}

/// The operator has changed something: what failed may be tried again.
pub fn forget_failure<K: Keeper>(keeper: &K) -> Result<(), K::Error> {
    let note = keeper.note();
    if note.failed.is_none() {
        return Ok(());
    }
    keeper.keep(&RestartNote { failed: None, ..note })
}

/// Where pgpool keeps which slots are up: `work_dir` from 4.7 on, `logdir` before.
fn status_file(view: &PoolView) -> Option<String> {
    let directory = view.settings.get("work_dir").or_else(|| view.settings.get("logdir"))?;
    directory.starts_with('/').then(|| format!("{directory}/pgpool_status"))
}

/// pgpool has exactly the servers of this table, each in its slot.
fn has_slots_of(view: &PoolView, table: &SlotTable) -> bool {
    let used = view.nodes.iter().filter(|(_, n)| n.port != 0);
    let same = |(slot, node): (_, &crate::model::pool::PoolNode)| {
        table.entries.get(slot).is_some_and(|e| {
            let as_text = (&e.host, e.port) == (&node.host, node.port);
            as_text || (e.address().is_some() && e.address() == node.address())
        })
    };
    used.clone().count() == table.entries.len() && used.into_iter().all(same)
}

fn down(and: String) -> RestartError {
    RestartError::Down { why: "what is under way could not be noted".to_owned(), and }
}
