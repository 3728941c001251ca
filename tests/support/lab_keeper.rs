//! Ends and starts the lab's pgpool, and may be killed after any of its acts.

use std::time::Duration;

use geo_agent::model::pool::PoolView;
use geo_agent::model::restart::{Layout, RestartNote, Restarts};
use geo_agent::seams::{Health, Keeper};

use super::lab::{Lab, State};
use super::refusal::Refusal;

/// What the lab knows of restarts.
#[derive(Default)]
pub struct Restarting {
    pub note: RestartNote,
    /// pgpool's status file, as the agent wrote it.
    pub status: Option<Layout>,
    pub stops: usize,
    pub starts: usize,
    /// pgpool does not start with a table of which this is true.
    pub cannot_start: Option<fn(&State) -> bool>,
    pub cannot_stop: bool,
    pub start_takes: Duration,
    /// Everything that a restart does, its notes and the file included.
    pub acts: usize,
    /// The agent is killed right after its act of this number.
    pub dies_after: Option<usize>,
}

impl Restarting {
    /// Counts an act; false when whoever does it is dead.
    pub fn may_act(&mut self) -> bool {
        let dead = self.dies_after.is_some_and(|n| self.acts >= n);
        self.acts += usize::from(!dead);
        !dead
    }

    pub fn is_dead(&self) -> bool {
        self.dies_after.is_some_and(|n| self.acts >= n)
    }
}

pub struct LabKeeper {
    pub lab: Lab,
}

impl LabKeeper {
    /// A dead agent waits for ever.
    async fn act(&self) {
        if !self.lab.state().restarting.may_act() {
            std::future::pending::<()>().await;
        }
    }
}

impl Keeper for LabKeeper {
    type Error = Refusal;

    fn note(&self) -> RestartNote {
        self.lab.state().restarting.note.clone()
    }

    fn keep(&self, note: &RestartNote) -> Result<(), Refusal> {
        let mut state = self.lab.state();
        if state.restarting.may_act() {
            state.restarting.note = note.clone();
        }
        Ok(())
    }

    fn write_status(&self, _: &str, layout: &Layout) -> Result<(), Refusal> {
        let mut state = self.lab.state();
        if state.restarting.may_act() {
            state.restarting.status = Some(layout.clone());
        }
        Ok(())
    }

    async fn stop(&self) -> Result<(), Refusal> {
        self.act().await;
        let mut state = self.lab.state();
        if state.restarting.cannot_stop {
            return Err(Refusal::error("a failover is in progress", ""));
        }
        state.restarting.stops += 1;
        state.away = true;
        Ok(())
    }

    async fn start(&self) -> Result<(), Refusal> {
        self.act().await;
        let takes = self.lab.state().restarting.start_takes;
        tokio::time::sleep(takes).await;
        let mut state = self.lab.state();
        state.restarting.starts += 1;
        assert!(
            state.restarting.starts < 1000,
            "pgpool is started again and again without a pause"
        );
        if state.restarting.cannot_start.is_some_and(|cannot| cannot(&state)) {
            state.away = true;
            return Err(Refusal::error("pgpool2.service failed", ""));
        }
        let up = state.restarting.status.clone().map(|s| s.attached);
        let is_up = |n: usize| up.as_ref().is_none_or(|up| up.iter().any(|s| s.get() == n));
        state.restart_pgpool(is_up);
        state.away = false;
        Ok(())
    }
}

/// pgpool's files are as the lab says.
pub struct LabHealth {
    pub lab: Lab,
}

impl Health for LabHealth {
    fn damage(&self, _: &std::collections::BTreeMap<String, String>) -> Vec<String> {
        self.lab.state().damage.clone()
    }

    fn wake(&self, _: &PoolView) {
        self.lab.state().woken += 1;
    }

    fn let_sleep(&self) {}

    fn restarts(&self) -> Restarts {
        let state = self.lab.state();
        Restarts {
            minute: 12 * 60,
            last_hour: state.restarting.note.began.len() as u32,
            damage_lasts: true,
            failed: state.restarting.note.failed.clone(),
            under_way: state.restarting.note.under_way.clone(),
        }
    }
}
