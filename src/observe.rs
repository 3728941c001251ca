//! Gathers one set of inputs: pgpool.conf, pgpool over PCP and, where a plan hangs on it, the
//! servers themselves. The only gatherer; it decides nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::history::{History, Now};
use crate::model::cluster::ClusterView;
use crate::model::elapsed::Elapsed;
use crate::model::inputs::{Inputs, Seen};
use crate::model::past::Past;
use crate::model::policy::Policy;
use crate::model::pool::{PoolVersion, PoolView, Watchdog};
use crate::model::reach::{Loss, Reachability};
use crate::model::slots::SlotTable;
use crate::model::turn::Undone;
use crate::plan::questions;
use crate::seams::{Ask, ConfFile, Health, Pool, Prober, chain};

/// How long pgpool's settings are taken as read. They change by a reload or a restart only, and
/// what hangs on them (version, watchdog, paths) is not urgent; asking costs pgpool some 250 rows.
const SETTINGS_LAST: Duration = Duration::from_secs(30);

/// How old a reading of pgpool and the file may be to promote on it: the drift check renews it
/// every five seconds. Should the slot have been detached since, pgpool does nothing; should it be
/// the primary already, pgpool refuses. Looking first would add some ten milliseconds to the write
/// gap.
const PROMOTE_ON: Duration = Duration::from_secs(6);

/// Whether to ask the servers before an urgent promote too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Questions {
    /// As the daemon does: a promote that is due goes first and asks nobody.
    UrgentFirst,
    /// As `plan` and `apply` do: the whole plan in one.
    All,
}

/// The witnesses on this host.
pub struct Observer<P, C, R, H> {
    pub pool: P,
    pub file: C,
    pub prober: R,
    pub health: H,
    history: Rc<RefCell<History>>,
    settings: RefCell<Option<Settings>>,
    /// The last word of pgpool on its watchdog.
    watchdog: RefCell<Watchdog>,
    /// The last full look, before anybody was asked.
    last: RefCell<Option<(Instant, Inputs)>>,
    /// Count client sessions too (for `plan`).
    count_sessions: Cell<bool>,
}

struct Settings {
    read: Instant,
    values: BTreeMap<String, String>,
    version: PoolVersion,
}

impl<P: Pool, C: ConfFile, R: Prober, H: Health> Observer<P, C, R, H> {
    pub fn new(pool: P, file: C, prober: R, health: H) -> Self {
        Observer {
            pool,
            file,
            prober,
            health,
            history: Rc::default(),
            settings: RefCell::default(),
            watchdog: RefCell::default(),
            last: RefCell::default(),
            count_sessions: Cell::default(),
        }
    }

    /// Goes on with what another observer has seen.
    pub fn remembering(self, history: Rc<RefCell<History>>) -> Self {
        Observer { history, ..self }
    }

    /// Count client sessions at every look from now on.
    pub fn counting_sessions(self) -> Self {
        self.count_sessions.set(true);
        self
    }

    /// One set of inputs. What cannot be read is said to be unknown, with the reason. `lost` is the
    /// word of whoever watches pgpool's primary.
    pub async fn inputs(
        &self,
        cluster: Seen<Arc<ClusterView>>,
        lost: Option<Loss>,
        policy: Arc<Policy>,
        past: Arc<Past>,
        questions: Questions,
    ) -> Inputs {
        if questions == Questions::UrgentFirst
            && let Some(inputs) = self.promote_from_memory(&cluster, &policy, &past)
        {
            return inputs;
        }
        let (file, file_edited) = self.file().await;
        let pool = self.pool().await;
        let (reach, elapsed) = (Reachability::default(), Elapsed::default());
        let (restarts, undone) = (self.health.restarts(), Undone::default());
        let mut inputs = Inputs {
            cluster,
            pool,
            file,
            file_edited,
            reach,
            lost,
            undone,
            elapsed,
            policy,
            past,
            restarts,
        };
        self.remember(&mut inputs).await;
        let urgent = questions::promote_is_due(&inputs);
        // A promote that follows from this look must not follow from it once more.
        *self.last.borrow_mut() = (!urgent).then(|| (Instant::now(), inputs.clone()));
        if questions == Questions::All
            && let Some(primary) = questions::server_to_watch(&inputs)
        {
            inputs.lost = self.prober.is_lost(&primary).await; // nobody watches for a single plan
        }
        // A leader key that has just come is believed without a question.
        let doubts = inputs.elapsed.leader_stays;
        if questions == Questions::All || !urgent || doubts {
            self.ask(&mut inputs).await;
        }
        inputs
    }

    /// Asks whom a plan hangs on. Answers may raise further questions: when nobody near answers,
    /// those who are farther away are next.
    async fn ask(&self, inputs: &mut Inputs) {
        let mut servers = questions::servers_to_ask(inputs);
        while !servers.is_empty() {
            inputs.reach.extend(self.prober.ask(&servers).await);
            servers = questions::servers_left_to_ask(inputs);
        }
    }

    /// What time has to say to these inputs. Who reads where is asked only when somebody leaves.
    async fn remember(&self, inputs: &mut Inputs) {
        let now = Now { steady: Instant::now().into_std(), wall: SystemTime::now() };
        inputs.elapsed = self.history.borrow_mut().look(inputs, now);
        let leave = questions::slots_that_leave(inputs);
        if !leave.is_empty() && inputs.pool.as_ref().is_ok_and(|p| p.sessions.is_none()) {
            match self.look(Ask { sessions: true, ..Ask::default() }).await {
                Ok(counted) => {
                    inputs.pool.iter_mut().for_each(|p| p.sessions = counted.sessions.clone())
                }
                Err(why) => inputs.pool = Err(why),
            }
        }
        inputs.elapsed = self.history.borrow_mut().leave(inputs, &leave, now);
    }

    /// pgpool is about to be changed from here: what was seen of it is memory only.
    pub fn acts(&self) {
        self.last.take();
        self.history.borrow_mut().act();
    }

    /// How long until time alone is a reason to look again.
    pub fn next_change(&self) -> Option<Duration> {
        self.history.borrow().next_change(Instant::now().into_std())
    }

    /// The inputs of a promote that is due by the last look; used once, because it changes pgpool.
    /// A stand-in is never decided from memory: pgpool may have another primary by now.
    fn promote_from_memory(
        &self,
        cluster: &Seen<Arc<ClusterView>>,
        policy: &Arc<Policy>,
        past: &Arc<Past>,
    ) -> Option<Inputs> {
        let (_, last) = self.last.take().filter(|(at, _)| at.elapsed() < PROMOTE_ON)?;
        let (cluster, policy, past) = (cluster.clone(), policy.clone(), past.clone());
        let inputs = Inputs { cluster, policy, past, ..last };
        questions::promote_is_ours(&inputs).then_some(inputs)
    }

    /// The slot table, and whether its block was edited in a way that the table does not show.
    async fn file(&self) -> (Seen<SlotTable>, bool) {
        let read = async {
            let table = self.file.read().await?;
            Ok((table, self.file.edited().await?))
        };
        read.await.unwrap_or_else(|error: C::Error| (Err(chain(&error)), false))
    }

    /// pgpool's word, with its settings from memory while they are fresh.
    async fn pool(&self) -> Seen<PoolView> {
        let fresh = |s: &Settings| s.read.elapsed() < SETTINGS_LAST;
        let ask = Ask {
            settings: !self.settings.borrow().as_ref().is_some_and(fresh),
            watchdog: self.has_watchdog(),
            sessions: self.count_sessions.get(),
        };
        let mut view = self.look(ask).await?;
        if self.has_watchdog() && !ask.watchdog {
            view = self.look(Ask { watchdog: true, ..ask }).await?;
        }
        if self.has_watchdog() {
            view.watchdog = Some(self.watchdog(view.watchdog));
        }
        view.damage = self.health.damage(&view.settings);
        Ok(view)
    }

    async fn look(&self, ask: Ask) -> Seen<PoolView> {
        let mut view = self.pool.look(ask).await.map_err(|error| {
            *self.settings.borrow_mut() = None; // it may come back as another pgpool
            chain(&error)
        })?;
        let mut known = self.settings.borrow_mut();
        if ask.settings {
            let values = view.settings.clone();
            *known = Some(Settings { read: Instant::now(), values, version: view.version });
        } else if let Some(settings) = known.as_ref() {
            view.settings = settings.values.clone();
            view.version = settings.version;
        }
        Ok(view)
    }

    /// A pgpool that does not say is joining the others, or an election is on: then nothing is
    /// known of anybody's state, but the names stay.
    fn watchdog(&self, said: Option<Watchdog>) -> Watchdog {
        let mut known = self.watchdog.borrow_mut();
        *known = said.unwrap_or_else(|| known.in_doubt());
        known.clone()
    }

    fn has_watchdog(&self) -> bool {
        let on = |value: &String| matches!(value.as_str(), "1" | "on" | "true" | "yes");
        let known = self.settings.borrow();
        known.as_ref().and_then(|s| s.values.get("use_watchdog")).is_some_and(on)
    }
}
