//! Scenario scripts, `tests/plan/*.txt`, played line by line; what they print is compared with the
//! file of the same name in `tests/golden/`. `UPDATE_GOLDEN=1` writes the golden files anew.
//!
//! | line | meaning |
//! |---|---|
//! | `location eu`, `slots 3`, `version 4.3`, `weight eu-1=2` | the operator's policy |
//! | `locations us+ca any` | the tiers after the local one |
//! | `cluster eu-1=leader eu-2=replica us-1=replica` | what Patroni says; `eu-1` is in location `eu` |
//! | `cluster eu-1=leader eu-2=starting eu-3=malformed eu-4=replica,noloadbalance@new.db:5433` | oddities |
//! | `cluster id:7 eu-1=leader,timeline:3 eu-2=replica,held us-1=replica,in:eu` | cluster id; orders |
//! | `remember 20` | the loop sees this view, 20 s after its start |
//! | `cluster unknown`, `cluster empty`, `cluster standby eu-1=leader …` | etcd silent, … |
//! | `pool 0:eu-1=primary 1:eu-2=up 2:us-1=down 3:gap 4:spoilt`, `pool unknown` | pgpool |
//! | `file 0:eu-1=1 1:eu-2=1`, `file as pool`, `file lost`, `file edited` | the slot table and its weights |
//! | `reach eu-1=writable eu-2=hung`, `reach well`, `reach nobody` | how servers answer if asked |
//! | `far us-1=80ms ca-1=20ms` | their round trips, if they are asked |
//! | `lsn eu-2=100`, `sync eu-2`, `switchover eu-1 eu-2` | more of Patroni's word; `cluster` ends it |
//! | `lost eu-1`, `lost nobody`, `loss wait` | what the watch of pgpool's primary says; the policy |
//! | `elapsed unproven:eu-3=8/3 draining:1 by-hand:2 restart:eu-2 fell:eu-4 stays:leader`, `elapsed nothing` | the clock: 8 s after 3 falls, … |
//! | `max_lag 16MB`, `behind eu-2=20MB eu-3=0MB` | how far is too far, and how far each is |
//! | `restart command 02:00-04:00 max=2 below=10`, `minute 180`, `restarts 1`, `failed why` | restarts: policy, time, past |
//! | `damage pid file is gone`, `damage new …` | pgpool is broken, for long or only now |
//! | `sessions 12 0:3 1:9` | more of pgpool |
//! | `watchdog wd-2=standby wd-1=leader wd-3=lost`, `watchdog … no-quorum` | its watchdog, this pgpool first |
//! | `agreed 0:eu-1 1:eu-2`, `agreed nothing` | what the agents of the watchdog cluster agreed on in etcd |
//! | `peer wd-1 0:eu-1 1:eu-2` | what the agent beside wd-1 says that its pgpool knows |
//! | `tell` | what this agent tells the others |
//! | `later 1.5` | another look after so many seconds, at which nothing else has changed |
//! | `plan`, `apply 2`, `apply all` | decide; carry out, as a crash would stop it, or in full |

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use geo_agent::model::agreed::{Numbers, Peer};
use geo_agent::model::cluster::{Role, State, Switchover};
use geo_agent::model::elapsed::{Elapsed, Trial};
use geo_agent::model::ids::{Address, MemberName, SlotIndex};
use geo_agent::model::orders::Held;
use geo_agent::model::plan::{Act, Step};
use geo_agent::model::policy::{OnPrimaryLoss, Tier};
use geo_agent::model::pool::{NodeStatus, PoolVersion, Sessions, Watchdog};
use geo_agent::model::reach::{Answer, Loss};
use geo_agent::model::restart::{DaySpan, Failed, RestartMode, RestartPolicy};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::plan::{agree, check};

use support::print::{line_of_step, print};
use support::world::{Asking, Node, World, home, member, slot, world};

#[test]
fn every_script_prints_its_golden_file() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(tests.join("plan")).expect("tests/plan") {
        let script = entry.expect("a directory entry").path();
        let name = script.file_name().expect("a file name").to_owned();
        let text = std::fs::read_to_string(&script).expect("a script");
        let printed = Play::of(&text);
        let golden = tests.join("golden").join(&name);
        if update {
            std::fs::write(&golden, &printed).expect("a golden file is written");
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if let Some(difference) = first_difference(&expected, &printed) {
            wrong.push(format!("{}: {difference}", name.display()));
        }
        names.insert(name);
    }
    let golden = std::fs::read_dir(tests.join("golden")).expect("tests/golden");
    let golden: BTreeSet<_> = golden.map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(golden, names, "golden files and scripts");
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 accepts this:\n{}", wrong.join("\n"));
}

fn first_difference(expected: &str, printed: &str) -> Option<String> {
    if expected == printed {
        return None;
    }
    let lines = expected.lines().zip(printed.lines()).enumerate();
    let (n, (was, is)) = lines.clone().find(|(_, (a, b))| a != b).unwrap_or((0, ("?", "?")));
    Some(format!("line {}:\n  - {was}\n  + {is}", n + 1))
}

/// One script on its way.
struct Play {
    world: World,
    /// A condition that the script set by name; for the others `well` decides.
    said: BTreeMap<String, Answer>,
    out: String,
}

impl Play {
    fn of(script: &str) -> String {
        let mut play = Play { world: world(), said: BTreeMap::new(), out: String::new() };
        for line in script.lines() {
            let command = line.split('#').next().unwrap_or_default().trim();
            let _ = match command.is_empty() {
                true => writeln!(play.out, "{line}"),
                false => writeln!(play.out, "> {line}"),
            };
            play.carry_out(command);
        }
        play.out
    }

    fn carry_out(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let Some(verb) = words.next() else { return };
        let rest: Vec<&str> = words.collect();
        match verb {
            "location" => self.world.policy.location = rest.first().map(|l| (*l).to_owned()),
            "locations" => self.world.policy.farther = tiers(&rest),
            "slots" => self.world.policy.slots = rest[0].parse().expect("a number of slots"),
            "version" => self.world.pool.version = version(rest[0]),
            "weight" => self.weights(&rest),
            "cluster" => self.cluster(&rest),
            "pool" => self.pool(&rest),
            "file" => self.file(&rest),
            "reach" => self.reach(&rest),
            "far" => self.far(&rest),
            "remember" => self.remember(rest[0]),
            "lsn" => self.lsns(&rest),
            "sync" => self.world.view().sync_standbys = rest.iter().map(|n| (*n).into()).collect(),
            "switchover" => self.switchover(rest[0], rest[1]),
            "lost" => self.lost(rest[0]),
            "loss" => self.world.policy.on_primary_loss = on_loss(rest[0]),
            "sessions" => self.world.pool.sessions = Some(sessions(&rest)),
            "watchdog" => self.world.pool.watchdog = Some(watchdog(&rest)),
            "later" => self.later(rest[0]),
            "agreed" => {
                self.world.view().agreed.numbers = (rest != ["nothing"]).then(|| numbers(&rest));
            }
            "peer" => {
                let peer = Peer { knows: numbers(&rest[1..]), learns: true, ..Peer::default() };
                self.world.view().agreed.peers.insert(rest[0].to_owned(), peer);
            }
            "tell" => self.tell(),
            "elapsed" => self.elapsed(&rest),
            "max_lag" => self.world.policy.patience.max_lag = Some(megabytes(rest[0])),
            "behind" => self.behind(&rest),
            "restart" => self.world.policy.restart = restart_policy(&rest),
            "minute" => self.world.restarts.minute = rest[0].parse().expect("a minute"),
            "restarts" => self.world.restarts.last_hour = rest[0].parse().expect("a number"),
            "failed" => self.restart_failed(&rest),
            "damage" => {
                self.world.restarts.damage_lasts = rest.first() != Some(&"new");
                self.world.damage = vec![rest.join(" ")];
            }
            "plan" => self.plan(),
            "apply" => self.apply(rest[0]),
            other => panic!("no such command: {other}"),
        }
        if matches!(verb, "cluster" | "reach") {
            self.settle_truth();
        }
    }

    fn plan(&mut self) {
        let plan = self.world.plan();
        self.out += &print(&plan);
        if plan.steps.is_empty() {
            self.world.remember(&plan);
        }
        for fault in check::faults(&self.world.inputs(), &plan) {
            let _ = writeln!(self.out, "  FAULT {fault}");
        }
    }

    fn tell(&mut self) {
        let word = agree::word(&self.world.inputs());
        let told = |numbers: &Numbers| {
            numbers.iter().map(|(s, a)| format!(" {s}:{a}")).collect::<String>()
        };
        if let Some(word) = &word {
            let _ = writeln!(self.out, "{} knows{}", word.name, told(&word.peer.knows));
        }
        match word.and_then(|w| w.proposal) {
            Some(proposal) => {
                let _ = writeln!(self.out, "  proposes{}", told(&proposal.numbers));
            }
            None => self.out += "  proposes nothing\n",
        }
    }

    fn later(&mut self, seconds: &str) {
        let seconds = seconds.parse().expect("a number of seconds");
        self.world.undone.lasts += Duration::from_secs_f64(seconds);
    }

    fn apply(&mut self, how_many: &str) {
        let plan = self.world.plan();
        self.world.remember(&plan);
        let count = match how_many {
            "all" => plan.steps.len(),
            n => n.parse().expect("a number of steps"),
        };
        for step in plan.steps.iter().take(count) {
            let effect = self.world.apply(step);
            for trouble in effect.trouble {
                let _ = writeln!(self.out, "  TROUBLE {}: {trouble}", line_of_step(step));
            }
        }
    }

    fn elapsed(&mut self, words: &[&str]) {
        let elapsed = &mut self.world.elapsed;
        *elapsed = Elapsed::default();
        let at = |number: &str| slot(number.parse().expect("a slot number"));
        for (what, whom) in words.iter().filter(|w| **w != "nothing").map(|w| pair(w, ':')) {
            match what {
                "unproven" => {
                    let (name, trial) = pair(whom, '=');
                    let (seconds, falls) = trial.split_once('/').unwrap_or((trial, "1"));
                    let lasts = Duration::from_secs(seconds.parse().expect("seconds"));
                    let trial = Trial { lasts, falls: falls.parse().expect("a number of falls") };
                    elapsed.unproven.insert(MemberName::new(name), trial);
                }
                "stays" => elapsed.leader_stays = true,
                "fell" => drop(elapsed.fell.insert(MemberName::new(whom))),
                "restart" => drop(elapsed.restart_due.insert(MemberName::new(whom))),
                "draining" => drop(elapsed.draining.insert(at(whom))),
                "by-hand" => drop(elapsed.by_hand.insert(at(whom))),
                other => panic!("no such fact: {other}"),
            }
        }
    }

    fn far(&mut self, pairs: &[&str]) {
        for (name, took) in pairs.iter().map(|p| pair(p, '=')) {
            let took = took.strip_suffix("ms").and_then(|n| n.parse().ok());
            let took = Duration::from_millis(took.expect("milliseconds"));
            self.world.round_trips.insert(at_home(name), took);
        }
    }

    fn behind(&mut self, pairs: &[&str]) {
        let leader = 1 << 40;
        self.world.view().leader_lsn = Some(leader);
        for (name, lag) in pairs.iter().map(|p| pair(p, '=')) {
            let behind = megabytes(lag);
            let member = self.world.view().members.get_mut(&MemberName::new(name));
            member.expect("a member").replay_lsn = Some(leader - behind);
        }
    }

    /// The restart that would be planned now has been tried.
    fn restart_failed(&mut self, words: &[&str]) {
        let plan = self.world.plan();
        let Some(Step { act: Act::Restart(layout), .. }) = plan.steps.first() else {
            panic!("no restart is planned: {}", print(&plan))
        };
        let with = layout.table.clone();
        self.world.restarts.failed = Some(Failed { with, why: words.join(" ") });
    }

    fn lsns(&mut self, pairs: &[&str]) {
        for (name, lsn) in pairs.iter().map(|p| pair(p, '=')) {
            let member = self.world.view().members.get_mut(&MemberName::new(name));
            let (member, lsn) = (member.expect("a member"), lsn.parse().ok());
            (member.receive_lsn, member.replay_lsn) = (lsn, lsn);
        }
    }

    fn switchover(&mut self, from: &str, to: &str) {
        let (from, to) = (Some(MemberName::new(from)), Some(MemberName::new(to)));
        self.world.view().switchover = Some(Switchover { from, to, scheduled_at: None });
    }

    fn lost(&mut self, name: &str) {
        let why = "connection refused".to_owned();
        self.world.lost = (name != "nobody").then(|| Loss { server: home(name), why });
    }

    fn weights(&mut self, pairs: &[&str]) {
        for (name, weight) in pairs.iter().map(|p| pair(p, '=')) {
            let weight = weight.parse().expect("a weight");
            self.world.policy.local_backends.insert(name.to_owned(), weight);
        }
    }

    fn cluster(&mut self, words: &[&str]) {
        if words == ["unknown"] {
            self.world.cluster = Err("etcd has not answered for 10 s".to_owned());
            return;
        }
        let revision = self.world.cluster.as_ref().map_or(10, |c| c.revision);
        let mut next = world();
        next.view().revision = revision + 1;
        next.view().agreed =
            self.world.cluster.as_ref().map(|c| c.agreed.clone()).unwrap_or_default();
        for word in words {
            match *word {
                "empty" => {}
                "standby" => next.view().standby_cluster = true,
                "paused" => next.view().paused = true,
                word => match word.strip_prefix("id:") {
                    Some(id) => next.view().system_id = Some(id.to_owned()),
                    None => add_member(&mut next, word),
                },
            }
        }
        self.world.cluster = next.cluster;
    }

    fn remember(&mut self, seconds: &str) {
        let now = Duration::from_secs(seconds.parse().expect("seconds"));
        if let Ok(view) = &self.world.cluster {
            self.world.past.see(view, now);
        }
    }

    fn pool(&mut self, words: &[&str]) {
        self.world.pool_seen = Ok(());
        if words == ["unknown"] {
            self.world.pool_seen = Err("pgpool does not answer on its PCP port".to_owned());
            return;
        }
        self.world.pool.nodes.clear();
        self.world.pool.primary = None;
        for word in words {
            let (number, what) = pair(word, ':');
            let at = slot(number.parse().expect("a slot number"));
            let (name, state) = if what.contains('=') { pair(what, '=') } else { ("", what) };
            let (host, port) = match name {
                "" => (String::new(), 0),
                socket if socket.starts_with('/') => (socket.to_owned(), 5432),
                name => (at_home(name).host().to_owned(), 5432),
            };
            let status = match state {
                "up" | "primary" => NodeStatus::Up,
                "down" | "spoilt" => NodeStatus::Down,
                "gap" => NodeStatus::Unused,
                other => panic!("no such state: {other}"),
            };
            if state == "primary" {
                self.world.pool.primary = Some(at);
            }
            let weight = if status == NodeStatus::Up { 1.0 } else { 0.0 };
            self.world.pool.nodes.insert(at, Node { host, port, status, weight });
        }
    }

    fn file(&mut self, words: &[&str]) {
        match words {
            ["edited"] => self.world.file_edited = true,
            ["lost"] => self.world.file = Err("pgpool.conf has no slot table".to_owned()),
            ["as", "pool"] => {
                let used = self.world.pool.nodes.iter().filter(|(_, n)| n.port != 0);
                let entry = |(s, n): (&SlotIndex, &Node)| (*s, entry_like(n, n.weight));
                self.world.file = Ok(SlotTable { entries: used.map(entry).collect() });
            }
            words => {
                let mut table = SlotTable::default();
                for word in words {
                    let (number, what) = pair(word, ':');
                    let at = slot(number.parse().expect("a slot number"));
                    let (name, weight) = pair(what, '=');
                    let weight = weight.parse().expect("a weight");
                    let entry = SlotEntry::new(MemberName::new(name), &at_home(name), weight);
                    table.entries.insert(at, entry);
                }
                for (slot, entry) in &table.entries {
                    if let Some(node) = self.world.pool.nodes.get_mut(slot) {
                        node.weight = entry.weight;
                    }
                }
                self.world.file = Ok(table);
            }
        }
    }

    fn reach(&mut self, words: &[&str]) {
        self.world.asking = Asking::AsNeeded;
        match words {
            ["nobody"] => self.world.asking = Asking::Never,
            ["well"] => self.said.clear(),
            words => {
                for (name, answer) in words.iter().map(|w| pair(w, '=')) {
                    self.said.insert(name.to_owned(), answer_called(answer));
                }
            }
        }
    }

    /// The leader is writable and the running ones are standbys, unless the script says otherwise.
    fn settle_truth(&mut self) {
        let Ok(cluster) = &self.world.cluster else { return };
        for m in cluster.members.values() {
            let Ok(address) = &m.address else { continue };
            let usual = match (m.is_serving(), cluster.leader.as_ref() == Some(&m.name)) {
                (false, _) => Answer::Dead("connection refused".to_owned()),
                (true, true) if !cluster.standby_cluster => Answer::Writable,
                _ => Answer::ReadOnly,
            };
            let answer = self.said.get(m.name.as_raw()).cloned().unwrap_or(usual);
            self.world.truth.insert(address.clone(), answer);
        }
        for (name, answer) in &self.said {
            let listed = cluster.members.contains_key(&MemberName::new(name));
            if !listed {
                self.world.truth.insert(at_home(name), answer.clone());
            }
        }
    }
}

fn pair(text: &str, by: char) -> (&str, &str) {
    text.split_once(by).unwrap_or_else(|| panic!("no {by:?} in {text:?}"))
}

/// A member's name, or an address as it stands.
fn at_home(name: &str) -> Address {
    match name.contains('.') {
        true => {
            let (host, port) = name.split_once(':').unwrap_or((name, "5432"));
            Address::new(host, port.parse().expect("a port")).expect("a host name")
        }
        false => home(name),
    }
}

fn entry_like(node: &Node, weight: f64) -> SlotEntry {
    let name = node.host.strip_suffix(".db").filter(|n| n.contains('-'));
    SlotEntry {
        member: name.map(MemberName::new),
        host: node.host.clone(),
        port: node.port,
        weight,
        data_directory: None,
        application_name: None,
    }
}

/// `eu-1=replica,noloadbalance@new.db`
fn add_member(world: &mut World, word: &str) {
    let (name, what) = pair(word, '=');
    let (what, at) = what.split_once('@').unwrap_or((what, ""));
    let mut kinds = what.split(',');
    let kind = kinds.next().unwrap_or_default();
    let mut m = member(name, Role::Replica);
    match kind {
        "leader" | "leader?" => {
            m.role = match (kind, world.view().standby_cluster) {
                ("leader?", _) => Role::Promoted,
                (_, true) => Role::StandbyLeader,
                (_, false) => Role::Primary,
            };
            world.view().leader = Some(m.name.clone());
        }
        "replica" => {}
        "malformed" => m.address = Err("conn_url has no host".to_owned()),
        state => m.state = State::NotServing(state.to_owned()),
    }
    for kind in kinds {
        match kind.split_once(':').unwrap_or((kind, "")) {
            ("noloadbalance", "") => m.noloadbalance = true,
            ("held", "") => m.orders.held = Some(held()),
            ("in", location) => m.orders.location = Some(location.to_owned()),
            ("timeline", n) => m.timeline = Some(n.parse().expect("a timeline")),
            _ => panic!("no such oddity: {kind}"),
        }
    }
    if !at.is_empty() {
        m.address = Ok(at_home(at));
    }
    world.view().members.insert(m.name.clone(), m);
}

fn held() -> Held {
    Held {
        by: Some("ops@desk".to_owned()),
        since: Some("2026-11-21T05:00:00Z".to_owned()),
        until: Some("2026-11-21T07:00:00Z".to_owned()),
        reason: Some("kernel update".to_owned()),
    }
}

/// `us+ca any`
fn tiers(words: &[&str]) -> Vec<Tier> {
    let places = |word: &str| word.split('+').map(str::to_owned).collect();
    let tier = |word: &&str| if *word == "any" { Tier::Any } else { Tier::Places(places(word)) };
    words.iter().map(tier).collect()
}

fn answer_called(name: &str) -> Answer {
    let silence = "no answer within 1 s".to_owned();
    match name {
        "writable" => Answer::Writable,
        "readonly" => Answer::ReadOnly,
        "alive" => Answer::Alive("password authentication failed".to_owned()),
        "dead" => Answer::Dead("connection refused".to_owned()),
        "unreachable" => Answer::Unreachable(silence),
        "hung" => Answer::Hung(silence),
        other => panic!("no such answer: {other}"),
    }
}

fn megabytes(text: &str) -> u64 {
    let number = text.strip_suffix("MB").and_then(|n| n.parse::<u64>().ok());
    number.expect("megabytes") << 20
}

fn version(name: &str) -> PoolVersion {
    match name {
        "4.1" => PoolVersion::UpTo41,
        "4.3" => PoolVersion::V43,
        "4.6" => PoolVersion::V46,
        other => panic!("no such version: {other}"),
    }
}

fn restart_policy(words: &[&str]) -> RestartPolicy {
    let mode = match words[0] {
        "never" => RestartMode::Never,
        "command" => RestartMode::Command,
        other => panic!("no such mode: {other}"),
    };
    let mut policy = RestartPolicy { mode, max_per_hour: 2, ..RestartPolicy::default() };
    let minute = |text| {
        let (hour, minute) = pair(text, ':');
        let number = |t: &str| t.parse::<u16>().expect("a time");
        number(hour) * 60 + number(minute)
    };
    for word in &words[1..] {
        match word.split_once(['=', '-']) {
            Some(("max", n)) => policy.max_per_hour = n.parse().expect("a number"),
            Some(("below", n)) => policy.when_sessions_below = n.parse().ok(),
            Some((from, to)) => {
                policy.window.push(DaySpan { from: minute(from), to: minute(to) });
            }
            None => panic!("no such limit: {word}"),
        }
    }
    policy
}

fn sessions(words: &[&str]) -> Sessions {
    let number = |w: &str| w.parse::<u32>().expect("a number of sessions");
    let by_slot = words[1..].iter().map(|w| pair(w, ':'));
    let reading = by_slot.map(|(s, n)| (slot(number(s) as usize), number(n))).collect();
    Sessions {
        total: number(words[0]),
        reading: if words.len() > 1 { Some(reading) } else { None },
    }
}

/// `wd-2=standby wd-1=leader no-quorum`
fn watchdog(words: &[&str]) -> Watchdog {
    let nodes = words.iter().filter_map(|w| w.split_once('='));
    let nodes: Vec<_> = nodes.map(|(n, s)| (n.to_owned(), s.to_uppercase())).collect();
    let leader = nodes.iter().find(|(_, state)| state == "LEADER").map(|(name, _)| name.clone());
    Watchdog { nodes, leader, quorum: !words.contains(&"no-quorum") }
}

/// `0:eu-1 1:eu-2`
fn numbers(words: &[&str]) -> Numbers {
    let one = |word: &&str| {
        let (number, name) = pair(word, ':');
        (slot(number.parse().expect("a slot number")), at_home(name))
    };
    words.iter().map(one).collect()
}

fn on_loss(word: &str) -> OnPrimaryLoss {
    match word {
        "stand_in" => OnPrimaryLoss::StandIn,
        "wait" => OnPrimaryLoss::Wait,
        other => panic!("no such policy: {other}"),
    }
}
