//! The daemon's own account: what it tells the log, `status`, and the daemon after it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use crate::config::settings::Config;
use crate::history::History;
use crate::holding::Holding;
use crate::host::remembered::Remembered;
use crate::host::saved_elapsed::SavedElapsed;
use crate::host::state::{AgentState, HeldSince, LastChange, StateFile};
use crate::model::past::Past;
use crate::reconcile::Round;
use crate::seams::chain;

use super::would::Would;

/// Tells the log what changed, and `status` since when things are as they are.
pub struct Journal {
    started: u64,
    holding: Holding,
    /// Outlives the configuration, as the world does that it is about.
    pub history: Rc<RefCell<History>>,
    last_change: Option<LastChange>,
    file: Option<StateFile>,
    /// The keys that `past` is about.
    base: String,
    pub past: Arc<Past>,
    pub observes: bool,
    would: Would,
}

impl Default for Journal {
    fn default() -> Self {
        Journal {
            started: epoch(SystemTime::now()),
            holding: Holding::default(),
            last_change: None,
            file: None,
            base: String::new(),
            past: Arc::default(),
            observes: false,
            would: Would::default(),
            history: Rc::default(),
        }
    }
}

impl Journal {
    /// Where `status` finds it, and which scope's memory it is.
    pub fn writes_to(&mut self, config: &Config) {
        self.file = StateFile::new(&config.pgpool.config_path).ok();
        self.base.clone_from(&config.etcd.base);
    }

    pub fn note(&mut self, round: &Round) {
        let now = SystemTime::now();
        let change = self.holding.update(&round.plan.holds, now);
        for hold in &change.begun {
            let member = hold.member.as_ref().map(|m| m.to_string()).unwrap_or_default();
            warn!(member, slot = hold.slot.map(|s| s.get()), "holds: {}", hold.reason);
        }
        for hold in &change.ended {
            let member = hold.member.as_ref().map(|m| m.to_string()).unwrap_or_default();
            info!(member, slot = hold.slot.map(|s| s.get()), "no longer holds: {}", hold.reason);
        }
        self.past = round.past.clone();
        if self.observes {
            self.would.tell(&round.plan);
        } else if let Some(step) = round.plan.steps.last() {
            let what = match &round.failure {
                None => format!("{}: {}", step.act.op(), step.reason),
                Some(why) => format!("failed: {why}"),
            };
            self.last_change = Some(LastChange { at: epoch(now), what });
        }
        self.save();
    }

    fn save(&mut self) {
        let held = |(hold, since): (&crate::model::plan::Hold, SystemTime)| HeldSince {
            member: hold.member.as_ref().map(|m| m.to_string()),
            slot: hold.slot.map(|s| s.get()),
            reason: hold.reason.clone(),
            since: epoch(since),
        };
        let state = AgentState {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            holds: self.holding.iter().map(held).collect(),
            last_change: self.last_change.clone(),
            observes: self.observes,
            remembered: Some(Remembered::new(&self.base, &self.past)),
            elapsed: SavedElapsed::from(self.history.borrow().elapsed()),
        };
        let Some(file) = &mut self.file else { return };
        if let Err(why) = file.save(&state) {
            warn!("`geo-agent status` will not show this daemon: {}", chain(&why));
            self.file = None; // said once
        }
    }
}

fn epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
