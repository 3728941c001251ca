//! `geo-agent check`: everything that the agent needs, looked at in one run.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::settings::{Config, Restart};
use crate::config::{self, ConfigError, Loaded};
use crate::host::conf_file::ConfFileOnDisk;
use crate::host::{lock, writable};
use crate::model::cluster::ClusterView;
use crate::model::ids::{Address, printable};
use crate::model::reach::Answer;
use crate::observe::Questions;
use crate::patroni::read::read_each;
use crate::pgpool_conf::findings::findings;
use crate::pgpool_conf::settings::with_defaults;
use crate::probe::SqlProber;
use crate::seams::{Ask, ConfFile, Pool, Prober, chain};

use super::peers::{self, Finding};
use super::report::Report;
use super::{first, program, text, world};

/// Prints every finding; 0 when nothing has to be mended.
pub async fn check(path: &Path) -> u8 {
    let mut report = Report::default();
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(why) => {
            let todo = match why {
                ConfigError::Read { .. } => "name it with --config, and let this user read it",
                ConfigError::Invalid { .. } => "", // each problem says it
            };
            report.bad("configuration", &chain(&why), todo);
            return report.status();
        }
    };
    let Loaded { config, warnings } = loaded;
    report.ok("configuration", &path.display().to_string());
    for warning in &warnings {
        report.warn("configuration", &warning.to_string(), "");
    }
    let file_has_table = pgpool_conf(&config, &mut report).await;
    let cluster = etcd(&config, &mut report).await;
    pgpool(&config, &mut report, file_has_table).await;
    restart(&config, &mut report);
    watchdog(&config, cluster.as_ref(), &mut report).await;
    if let Some(cluster) = cluster {
        postgres(&config, &cluster, &mut report).await;
    }
    report.status()
}

/// The file and its table; says whether the table is there.
async fn pgpool_conf(config: &Config, report: &mut Report) -> bool {
    let path = &config.pgpool.config_path;
    if world::is_to_be_made(config) {
        let what = format!("{} is not there yet", path.display());
        report.warn("pgpool.conf", &what, "`geo-agent run` makes it, and starts pgpool with it");
        return false;
    }
    let file = ConfFileOnDisk::new(path, config.policy.slots);
    let wrong = match file.read().await {
        Ok(Ok(table)) => {
            let used = text::count(table.entries.len(), "slot");
            report.ok("pgpool.conf", &format!("{}: {used} in the table", path.display()));
            None
        }
        Ok(Err(why)) => Some(why),
        Err(why) => Some(chain(&why)),
    };
    if let Some(why) = &wrong {
        report.bad("pgpool.conf", why, "");
    }
    if first::are_missing(&file) {
        let todo = "run `geo-agent init` before pgpool is started with this file";
        report.bad("watchdog", first::WHY, todo);
    }
    let closed = writable::try_beside(path).err().map(|why| chain(&why));
    if let Some(why) = closed.filter(|why| wrong.as_ref() != Some(why)) {
        report.bad("pgpool.conf", &why, "");
    }
    match lock::holder(path) {
        Some(holder) => {
            report.ok("agent", &format!("process {} works on this pgpool", holder.pid));
        }
        None => report.warn("agent", "no daemon runs beside this pgpool", "start `geo-agent run`"),
    }
    wrong.is_none()
}

/// Every endpoint; the view that the first of them gave.
async fn etcd(config: &Config, report: &mut Report) -> Option<ClusterView> {
    let mut first = None;
    for (endpoint, read) in read_each(&config.etcd).await {
        match read {
            Ok(view) => {
                report.ok("etcd", &format!("{endpoint} answers, revision {}", view.revision));
                first = first.or(Some(view));
            }
            Err(why) => report.bad("etcd", &format!("{endpoint}: {}", chain(&why)), ""),
        }
    }
    let view = first?;
    let (base, members) = (&config.etcd.base, view.members.len());
    let hint =
        "compare etcd3.scope and etcd3.namespace with `scope` and `namespace` in patroni.yml";
    match (&view.leader, members) {
        (_, 0) => report.bad("patroni", &format!("no member under {base}/"), hint),
        (None, _) => report.warn("patroni", "nobody holds the leader key", "see `patronictl list`"),
        (Some(leader), n) => {
            report.ok(
                "patroni",
                &format!("{} under {base}/, led by {leader}", text::count(n, "member")),
            );
        }
    }
    for note in &view.notes {
        report.warn("patroni", note, "");
    }
    let nobody_local = !view.members.values().any(|m| config.policy.local_weight(m).is_some());
    if members > 0 && nobody_local {
        let here = config.policy.location.as_deref().unwrap_or("(not set)");
        let what =
            format!("no member is local: location.name is {here}, so reads go to the leader");
        let tag = &config.policy.location_tag;
        report.warn(
            "location",
            &what,
            &format!("set the tag `{tag}` in patroni.yml of the near members"),
        );
    }
    Some(view)
}

/// PCP, and the settings that pgpool runs with (or would start with, when it does not answer).
async fn pgpool(config: &Config, report: &mut Report, file_has_table: bool) {
    if world::is_to_be_made(config) {
        return; // said already
    }
    let file = ConfFileOnDisk::new(&config.pgpool.config_path, config.policy.slots);
    let observer = match world::observer(config) {
        Ok(observer) => observer,
        Err(why) => return report.bad("pgpool", &format!("{why:#}"), ""),
    };
    let ask = Ask { settings: true, ..Ask::default() };
    let settings = match observer.pool.look(ask).await {
        Ok(view) => {
            let slots = text::count(view.nodes.len(), "slot");
            let version = view.version.as_str();
            report.ok("pgpool", &format!("version {version} answers over PCP, {slots}"));
            if !view.version.can_reload_over_pcp() {
                let todo = "upgrade pgpool to 4.2 or newer";
                report.bad("pgpool", "this version cannot be reloaded over PCP", todo);
            }
            for damage in crate::seams::Health::damage(&observer.health, &view.settings) {
                report.bad("pgpool", &damage, "");
            }
            view.settings
        }
        Err(why) => {
            report.bad("pgpool", &chain(&why), "");
            match file.settings() {
                Ok(settings) if file_has_table => with_defaults(settings),
                _ => return,
            }
        }
    };
    for finding in findings(&settings) {
        let what = format!("{} = {}: {}", finding.setting, finding.value, finding.why);
        report.warn("pgpool", &what, finding.fix);
    }
}

/// Who starts pgpool again, where it may be restarted.
fn restart(config: &Config, report: &mut Report) {
    match &config.pgpool.restart {
        Restart::Never => {
            report.ok("restart", "never: a layout that cannot change live is held, and said");
        }
        Restart::Command(words) => {
            let program = words.first().map_or("", String::as_str);
            match program::why_not(program) {
                None => report.ok("restart", &format!("over PCP, then by {}", printable(program))),
                Some(why) => {
                    let what = format!("{} cannot be run: {why}", printable(program));
                    let todo = "give the whole path of a program that this user may run, in \
                                pgpool.restart.command; until then pgpool would stay down";
                    report.bad("restart", &what, todo);
                }
            }
        }
        Restart::PcpShutdown => report.ok(
            "restart",
            "pgpool is ended over PCP when its layout has to change; something else must start it",
        ),
        Restart::Supervise(_) => report.ok("restart", "by geo-agent, which starts and owns pgpool"),
    }
}

/// The other agents of a watchdog cluster, by what they say in etcd.
async fn watchdog(config: &Config, cluster: Option<&ClusterView>, report: &mut Report) {
    let (Some(cluster), Ok(observer)) = (cluster, world::observer(config)) else { return };
    let policy = Arc::new(config.policy.clone());
    let cluster_seen = Ok(Arc::new(cluster.clone()));
    let past = Arc::default();
    let inputs = observer.inputs(cluster_seen, None, policy, past, Questions::UrgentFirst);
    let Some(watchdog) = inputs.await.pool.ok().and_then(|pool| pool.watchdog) else { return };
    let runs = lock::holder(&config.pgpool.config_path).is_some();
    let findings = peers::findings(&config.policy, &watchdog, &cluster.agreed, runs);
    if findings.is_empty() {
        let nodes = text::count(watchdog.nodes.len(), "node");
        report.ok("watchdog", &format!("{nodes}; their agents want the same"));
    }
    for finding in findings {
        match finding {
            Finding::Bad(what, todo) => report.bad("watchdog", &what, todo),
            Finding::Advice(what, todo) => report.warn("watchdog", &what, todo),
        }
    }
}

/// Every member, from this host.
async fn postgres(config: &Config, cluster: &ClusterView, report: &mut Report) {
    let prober = match SqlProber::new(config.probe.as_ref()) {
        Ok(prober) => prober,
        Err(why) => return report.bad("probe", &chain(&why), ""),
    };
    if config.probe.is_none() {
        let todo =
            "set probe.username and probe.password_file: a login without any privilege will do";
        report.warn("probe", "no probe user: only etcd says when a leader is writable", todo);
    }
    let servers: BTreeSet<Address> =
        cluster.members.values().filter_map(|m| m.address.clone().ok()).collect();
    let answers = prober.ask(&servers).await;
    for member in cluster.members.values() {
        let Ok(address) = &member.address else { continue };
        let who = format!("{} ({address})", member.name);
        match answers.of(address) {
            Some(Answer::Writable) => report.ok("postgres", &format!("{who} is writable")),
            Some(Answer::ReadOnly) => report.ok("postgres", &format!("{who} is read-only")),
            Some(Answer::Alive(_)) if config.probe.is_none() => {
                report.ok("postgres", &format!("{who} answers"));
            }
            Some(Answer::Alive(why)) => {
                let todo = "check probe.username, its password and pg_hba.conf";
                report.bad("postgres", &format!("{who} answers, but: {why}"), todo);
            }
            Some(Answer::Dead(why) | Answer::Unreachable(why) | Answer::Hung(why)) => {
                let todo = "check network, firewall and listen_addresses";
                report.warn("postgres", &format!("{who} does not serve from here: {why}"), todo);
            }
            None => report.warn("postgres", &format!("{who} was not asked"), ""),
        }
    }
}
