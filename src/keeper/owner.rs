//! Supervise mode: the agent writes pgpool's file, starts pgpool, starts it again when it dies, and
//! ends it when the agent ends. A pgpool that outlived a killed agent is found and kept.

use std::cell::{Cell, RefCell};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::access::Access;
use super::error::KeeperError;
use super::process::{self, Process};
use super::socket::SocketWatch;
use crate::config::settings::{Config, Pcp, Restart, Supervise};
use crate::host::atomic::{self, Attributes};
use crate::host::replace::{beside, keep_original};
use crate::host::trusted;
use crate::pgpool_conf::own::{Own, compose, is_foreign};
use crate::pgpool_conf::settings::values;
use crate::pgpool_conf::table;

/// pgpool is missed after this long; looking is a handful of system calls.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A pgpool that cannot read its file ends within this.
const FIRST_STEPS: Duration = Duration::from_millis(300);
const NOTE_SUFFIX: &str = ".geo-agent.pgpool";
const PID_SUFFIX: &str = ".pid";
/// pgpool.conf has passwords in it.
const MODE: u32 = 0o600;

/// The pgpool of an agent in supervise mode.
pub struct Owner {
    config_path: PathBuf,
    supervise: RefCell<Supervise>,
    /// `None` where the configuration has `pgpool.pcp`.
    access: RefCell<Option<Access>>,
    socket: RefCell<SocketWatch>,
    /// Locked while it is ended or started: whoever does that may be dropped in the middle.
    process: Mutex<Option<Process>>,
    /// It is down on purpose.
    at_rest: Cell<bool>,
}

/// How PCP goes to the pgpool of this configuration, which may be one that the agent owns.
pub fn pcp(config: &Config) -> Result<Option<Pcp>, KeeperError> {
    match (&config.pgpool.pcp, &config.pgpool.restart) {
        (Some(pcp), _) => Ok(Some(pcp.clone())),
        (None, Restart::Supervise(supervise)) => {
            let given = values(supervise.config_append.as_bytes());
            Access::beside(&config.pgpool.config_path).read(given.get("pcp_port")).map(Some)
        }
        (None, _) => Ok(None),
    }
}

/// Makes sure that there is a file to hold a lock beside, and that it is nobody else's.
pub fn claim_file(config_path: &Path) -> Result<(), KeeperError> {
    let failed = |source| KeeperError::Own { path: config_path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(config_path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    let found = fs::symlink_metadata(config_path).map_err(failed)?;
    let ours = found.is_file() && found.uid() == rustix::process::geteuid().as_raw();
    if ours { Ok(()) } else { Err(failed(io::Error::other("it is not a file of this user's"))) }
}

impl Owner {
    /// Writes pgpool's file; whether pgpool runs already, started by an agent before this one.
    pub fn prepared(config: &Config, supervise: &Supervise) -> Result<(Self, bool), KeeperError> {
        let config_path = config.pgpool.config_path.clone();
        let found = Process::find(&noted(&config_path));
        let runs = found.is_some();
        let mut owner = Owner {
            config_path,
            supervise: RefCell::new(supervise.clone()),
            access: RefCell::default(),
            socket: RefCell::default(),
            at_rest: Cell::new(!runs),
            process: Mutex::new(found),
        };
        let changed = owner.prepare(config)?;
        if let Some(process) = owner.process.get_mut().as_ref().filter(|_| changed) {
            process.reload();
        }
        Ok((owner, runs))
    }

    /// Starts pgpool, or keeps it running. What is left of one that was killed ends: it would go on
    /// serving beside the new one.
    pub async fn begin(&self) -> Result<(), KeeperError> {
        let running = self.process.lock().await.as_ref().map(Process::id);
        match running {
            Some(pid) => info!(pid, "pgpool runs already and is kept"),
            None => {
                let program = self.supervise.borrow().exec_path.clone();
                process::end_leftovers(&noted(&self.config_path), &program).await;
                self.start().await?;
            }
        }
        Ok(())
    }

    /// Takes up another configuration: pgpool reads its new file. What it cannot change while it
    /// runs waits for its next start.
    pub fn reconfigure(&self, config: &Config, supervise: &Supervise) -> Result<(), KeeperError> {
        *self.supervise.borrow_mut() = supervise.clone();
        if self.prepare(config)? {
            info!("pgpool reads its new file; settings that need a restart of pgpool wait for one");
            if let Ok(Some(process)) = self.process.try_lock().as_deref() {
                process.reload();
            }
        }
        Ok(())
    }

    /// Starts pgpool again, some time after it died. Never returns.
    pub async fn watch(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            let Some(why) = self.missed().await else { continue };
            let delay = self.supervise.borrow().fail_delay;
            error!("pgpool {why}; it is started again in {} s", delay.as_secs_f64());
            sleep(delay).await;
            // A restart may have ended or started it meanwhile.
            if self.missed().await.is_some()
                && let Err(why) = self.start().await
            {
                error!("pgpool does not start: {why}");
            }
        }
    }

    /// It should run and does not, or cannot be reached, and why; what is left of it is ended.
    async fn missed(&self) -> Option<String> {
        let mut process = self.process.lock().await;
        if self.at_rest.get() {
            return None;
        }
        let why = match process.as_mut().map(Process::ended) {
            Some(Some(how)) => format!("has died ({how})"),
            Some(None) if self.has_lost_its_socket() => {
                "has lost its PCP socket and is ended".to_owned()
            }
            Some(None) => return None,
            None => "did not start".to_owned(),
        };
        end(&mut process).await;
        Some(why)
    }

    /// Nobody else reaches it over another one.
    fn has_lost_its_socket(&self) -> bool {
        let access = self.access.borrow();
        let is_there = access.as_ref().is_none_or(Access::has_socket);
        self.socket.borrow_mut().look(is_there, Instant::now())
    }

    /// Ends pgpool, and leaves it so.
    pub async fn end(&self) {
        self.at_rest.set(true);
        self.end_process().await;
    }

    pub async fn start(&self) -> Result<(), KeeperError> {
        let mut process = self.process.lock().await;
        end(&mut process).await;
        let supervise = self.supervise.borrow().clone();
        let pcp_conf = self.access.borrow().as_ref().map(Access::pcp_conf);
        let mut arguments = vec![Path::new("-n"), Path::new("-f"), &self.config_path];
        if let Some(pcp_conf) = &pcp_conf {
            arguments.extend([Path::new("-F"), pcp_conf]);
        }
        // Whoever watches tries again, also after a start that failed.
        self.at_rest.set(false);
        self.socket.borrow_mut().begin();
        let new = Process::start(&supervise.exec_path, &arguments)?;
        let attributes = Attributes { mode: MODE, owner: None };
        let note = beside(&self.config_path, NOTE_SUFFIX);
        if let Err(why) = atomic::write(&note, new.note().as_bytes(), attributes, || Ok(())) {
            warn!("pgpool will not be found again if geo-agent is killed: {why}");
        }
        info!(pid = new.id(), "pgpool is started");
        *process = Some(new);
        sleep(FIRST_STEPS).await;
        let ended = process.as_mut().and_then(Process::ended);
        let program = supervise.exec_path.display().to_string();
        let failed = |how| KeeperError::Command { program, what: format!("ended at once: {how}") };
        ended.map_or(Ok(()), |how| Err(failed(how)))
    }

    async fn end_process(&self) {
        end(&mut *self.process.lock().await).await;
    }

    /// Writes the file, if it is another one than before, and says so.
    fn prepare(&self, config: &Config) -> Result<bool, KeeperError> {
        let mut own = self.own_settings(config);
        if config.pgpool.pcp.is_none() {
            let access = Access::beside(&self.config_path);
            access.prepare()?;
            own.extend(access.settings());
            *self.access.borrow_mut() = Some(access);
        }
        let path = &self.config_path;
        let before = fs::read(path).map_err(|source| self.failed(source))?;
        let table = table::read(&before).ok();
        let append = self.supervise.borrow().config_append.clone();
        let (content, refused) = compose(&append, &own, table.as_ref(), config.policy.slots)
            .map_err(|e| self.failed(io::Error::other(e.to_string())))?;
        for key in refused {
            warn!("{key} has a character that pgpool.conf cannot express: set it there yourself");
        }
        if content == before {
            return Ok(false);
        }
        if is_foreign(&before) {
            let original = keep_original(path).map_err(KeeperError::File)?;
            let (path, original) = (path.display(), original.display());
            warn!("{path} is not geo-agent's and is replaced: its original is kept as {original}");
        }
        let attributes = Attributes { mode: MODE, owner: None };
        atomic::write(path, &content, attributes, || Ok(())).map_err(KeeperError::File)?;
        Ok(true)
    }

    /// Where pgpool keeps its files, and how it searches its primary, unless `config_append` says.
    fn own_settings(&self, config: &Config) -> Vec<Own> {
        let own = |key, value: String| Own { key, value, always: false };
        let mut all = Vec::new();
        let status = self.supervise.borrow().status_path.clone();
        if let Some(directory) = status.as_deref().and_then(Path::parent) {
            let directory = directory.display().to_string();
            all.push(own("logdir", directory.clone()));
            all.push(own("work_dir", directory));
        }
        let pid_file = beside(&self.config_path, PID_SUFFIX);
        all.push(own("pid_file_name", pid_file.display().to_string()));
        if let Some(probe) = &config.probe {
            all.push(own("sr_check_user", probe.login.username.clone()));
            all.push(own("sr_check_password", probe.login.password.reveal().to_owned()));
            all.push(own("sr_check_database", probe.dbname.clone()));
        }
        all
    }

    fn failed(&self, source: io::Error) -> KeeperError {
        KeeperError::Own { path: self.config_path.clone(), source }
    }
}

/// Which pgpool an agent has started here last. It is signalled and ended, so nobody else may say.
fn noted(config_path: &Path) -> String {
    let note = trusted::read(&beside(config_path, NOTE_SUFFIX), config_path);
    String::from_utf8(note.unwrap_or_default()).unwrap_or_default()
}

async fn end(process: &mut Option<Process>) {
    if let Some(running) = process {
        running.end().await;
        *process = None;
    }
}
