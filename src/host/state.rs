//! What the daemon thinks, in a small file beside pgpool.conf, for `geo-agent status` and `plan` to
//! show. The only thing decided from it by the next daemon is a doubt: whether the cluster is still
//! the one it was. Times are seconds since 1970.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::FileError;
use super::lock::holder;
use super::remembered::Remembered;
use super::replace::{beside, resolve};
use super::saved_elapsed::SavedElapsed;
use super::trusted;

const SUFFIX: &str = ".geo-agent.state";

/// The daemon's state. It carries no secret, and of etcd's values only names, addresses, reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    pub pid: u32,
    pub version: String,
    pub started: u64,
    #[serde(default)]
    pub holds: Vec<HeldSince>,
    /// When it last changed anything, and what.
    #[serde(default)]
    pub last_change: Option<LastChange>,
    /// `run --observe`: it changes nothing.
    #[serde(default)]
    pub observes: bool,
    /// The cluster as it knows it.
    #[serde(default)]
    pub remembered: Option<Remembered>,
    /// What time has shown to the daemon, and to nobody else.
    #[serde(default)]
    pub elapsed: SavedElapsed,
}

/// A hold, and since when it has been the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSince {
    pub member: Option<String>,
    pub slot: Option<usize>,
    pub reason: String,
    pub since: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    pub at: u64,
    pub what: String,
}

/// The daemon's side: writes the state when it is another one than last time.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    written: Option<AgentState>,
}

impl StateFile {
    /// For the pgpool.conf at this path.
    pub fn new(config_path: &Path) -> Result<Self, FileError> {
        Ok(StateFile { path: beside(&resolve(config_path)?, SUFFIX), written: None })
    }

    /// Says whether anything was written.
    pub fn save(&mut self, state: &AgentState) -> Result<bool, FileError> {
        if self.written.as_ref() == Some(state) {
            return Ok(false);
        }
        let text = serde_json::to_string(state).unwrap_or_default() + "\n";
        // Whole for every reader, but never synced: that would hold the agent up for milliseconds
        // in the middle of a change of leader, and after a power cut there is no daemon to tell of.
        let temporary = beside(&self.path, ".new");
        let io = |source| FileError::Io { doing: "write", path: self.path.clone(), source };
        // Whatever is there, a link that somebody has put there, say, is not written to.
        let _ = fs::remove_file(&temporary);
        let mut file = File::create_new(&temporary).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
        fs::rename(&temporary, &self.path).map_err(io)?;
        self.written = Some(state.clone());
        Ok(true)
    }
}

/// The state that was written last, and whether its writer is still at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    pub state: AgentState,
    pub running: bool,
}

/// `None` when there is none, or none that can be read.
pub fn read(config_path: &Path) -> Option<SavedState> {
    let path = beside(&resolve(config_path).ok()?, SUFFIX);
    let content = trusted::read(&path, config_path).ok()?;
    let state: AgentState = serde_json::from_slice(&content).ok()?;
    let running = holder(config_path).is_some_and(|h| h.pid == state.pid);
    Some(SavedState { state, running })
}
