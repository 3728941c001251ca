//! The real [`Keeper`], and pgpool's files on this host.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::warn;

use super::command::Running;
use super::error::KeeperError;
use super::notebook::Notebook;
use super::owner::Owner;
use super::{ending, status_file};
use crate::config::settings::Restart;
use crate::host::{damage, lock, wake};
use crate::model::pool::PoolView;
use crate::model::restart::{Layout, RestartNote, Restarts};
use crate::pcp::client::PcpClient;
use crate::seams::{Health, Keeper};

/// Somebody who stops pgpool takes its files away too, a moment before it is gone.
const DAMAGE_LASTS: Duration = Duration::from_secs(10);

/// pgpool, as the configuration says that it is ended and started.
pub struct PoolKeeper {
    pub restart: Restart,
    /// In supervise mode: who owns it, if that is this process.
    pub owner: Option<Rc<Owner>>,
    /// The restart command, which outlives whoever runs it.
    pub command: Rc<Running>,
    pub pcp: PcpClient,
    pub notebook: Rc<Notebook>,
}

impl Keeper for PoolKeeper {
    type Error = KeeperError;

    fn note(&self) -> RestartNote {
        self.notebook.note()
    }

    fn keep(&self, note: &RestartNote) -> Result<(), KeeperError> {
        self.notebook.keep(note)
    }

    fn write_status(&self, path: &str, layout: &Layout) -> Result<(), KeeperError> {
        status_file::write(Path::new(path), layout).map_err(KeeperError::File)
    }

    async fn stop(&self) -> Result<(), KeeperError> {
        if let Restart::Supervise(_) = &self.restart {
            self.owner.as_ref().ok_or(KeeperError::NotOwner)?.end().await;
            return Ok(());
        }
        let ended = ending::end_over_pcp(&self.pcp).await;
        match &self.restart {
            // A damaged pgpool may not take it; the command ends it as well.
            Restart::Command(_) => {
                if let Err(error) = ended {
                    warn!("{error}: the restart command has to end it");
                }
                Ok(())
            }
            _ => ended,
        }
    }

    async fn start(&self) -> Result<(), KeeperError> {
        match &self.restart {
            Restart::Command(words) => self.command.run(words).await,
            Restart::Supervise(_) => {
                self.owner.as_ref().ok_or(KeeperError::NotOwner)?.start().await
            }
            // Somebody else starts it.
            Restart::PcpShutdown | Restart::Never => Ok(()),
        }
    }
}

/// pgpool's files, looked for on this host, and the notes on its restarts.
pub struct PoolOnThisHost {
    pcp_host: String,
    /// `pgpool.wake`.
    wake: bool,
    waking: RefCell<Option<AbortHandle>>,
    notebook: Rc<Notebook>,
    damaged_since: Cell<Option<Instant>>,
}

impl PoolOnThisHost {
    pub fn new(pcp_host: &str, wake: bool, notebook: Rc<Notebook>) -> Self {
        let (pcp_host, damaged_since) = (pcp_host.to_owned(), Cell::default());
        PoolOnThisHost { pcp_host, wake, waking: RefCell::default(), notebook, damaged_since }
    }
}

impl Health for PoolOnThisHost {
    fn damage(&self, settings: &BTreeMap<String, String>) -> Vec<String> {
        let damage = damage::damage(settings, &self.pcp_host);
        let since = self.damaged_since.get().unwrap_or_else(Instant::now);
        self.damaged_since.set((!damage.is_empty()).then_some(since));
        damage
    }

    fn let_sleep(&self) {
        if let Some(waking) = self.waking.take() {
            waking.abort();
        }
    }

    fn wake(&self, pool: &PoolView) {
        let pid_file = damage::files(&pool.settings).pid_file;
        let here = self.wake && damage::is_this_host(&self.pcp_host);
        if let Some(pid_file) = pid_file.filter(|_| here && pool.version.sleeps_in_whole_seconds())
        {
            let task = tokio::spawn(async move { wake::wake(&pid_file).await });
            *self.waking.borrow_mut() = Some(task.abort_handle());
        }
    }

    fn restarts(&self) -> Restarts {
        let now = lock::now();
        let note = self.notebook.note();
        let recent = note.in_last_hour(now).count();
        Restarts {
            minute: u16::try_from(now % 86_400 / 60).unwrap_or_default(),
            last_hour: u32::try_from(recent).unwrap_or(u32::MAX),
            damage_lasts: self.damaged_since.get().is_some_and(|s| s.elapsed() >= DAMAGE_LASTS),
            failed: note.failed,
            under_way: note.under_way,
        }
    }
}
