//! Three pgpools with a watchdog and a delegate IP, each with its agent. Whatever of them dies, a
//! switchover reaches those that are left, once, and none of them flaps.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::clients;
use super::cluster::{MEMBERS, is_healthy, switch_over};
use super::docker::{Container, eventually, is, script};
use super::pgpool::{Pgpool, Shape};
use super::scene::{EU, HOME};

const NAMES: [&str; 3] = ["pgpool-wd-1", "pgpool-wd-2", "pgpool-wd-3"];

/// From the switchover's end until the last pgpool has the new shape: the election of another
/// watchdog leader included.
const PATIENCE: u64 = 40;

struct Trio {
    pgpools: Vec<Pgpool>,
}

impl Trio {
    fn start() -> Trio {
        let up = script(&[&["up"], &NAMES[..]].concat());
        assert_eq!(up.status, 0, "{}", up.all());
        let pgpool = |name: &&str| Pgpool { container: Container::of(name) };
        Trio { pgpools: NAMES.iter().map(pgpool).collect() }
    }

    /// Everything runs, and everybody agrees.
    fn settle(&self) {
        for pgpool in &self.pgpools {
            if pgpool.container.state() != "running" {
                pgpool.container.docker("start");
            }
            pgpool.heal();
            if pgpool.pid().is_empty() {
                // pgpool 4.6.1's watchdog may crash when nodes change while it forms.
                self.pgpools.iter().for_each(Pgpool::stop_agent);
                pgpool.container.shell("pgpool-restart");
            }
        }
        for pgpool in &self.pgpools {
            pgpool.container.shell("watchdog-wait");
        }
        self.pgpools.iter().for_each(Pgpool::start_agent);
        eventually("a healthy cluster", 90, || is_healthy(&MEMBERS));
        switch_over(HOME);
        self.take(HOME, &NAMES);
        eventually("a watchdog of three", 60, || {
            let all = self.pgpools.iter().all(|p| p.status().1["watchdog"]["quorum"] == true);
            is(all, "no quorum yet")
        });
        for pgpool in &self.pgpools {
            eventually("in sync", 40, || pgpool.is_in_sync());
        }
        self.has_one_table();
    }

    fn of(&self, name: &str) -> &Pgpool {
        let found = self.pgpools.iter().find(|p| p.container.service == name);
        found.expect("one of the three")
    }

    /// Whom the watchdog made its leader.
    fn leader(&self) -> String {
        eventually("one leader of the watchdog", 60, || {
            let leads = |p: &&Pgpool| {
                let alive = p.container.state() == "running" && !p.pid().is_empty();
                alive && p.status().1["watchdog"]["leads_here"] == true
            };
            let leaders: Vec<_> = self.pgpools.iter().filter(leads).collect();
            is(leaders.len() == 1, leaders.len())?;
            Ok(leaders[0].container.service.clone())
        })
    }

    fn others(&self, name: &str) -> Vec<&'static str> {
        NAMES.into_iter().filter(|n| *n != name).collect()
    }

    /// These have the shape that belongs to this leader.
    fn take(&self, primary: &str, names: &[&str]) {
        let shape = Shape::new(primary, &EU);
        for name in names {
            let what = format!("{name} with {primary}");
            eventually(&what, PATIENCE, || self.of(name).has(&shape));
        }
    }

    fn has_one_table(&self) {
        let tables: Vec<Vec<String>> = self.pgpools.iter().map(table).collect();
        assert!(tables.iter().all(|t| *t == tables[0]), "{tables:#?}");
    }

    /// A switchover, and what it costs these: the gap in the writes through each, and that nothing
    /// changes any more afterwards.
    fn follow_a_switchover(&self, state: &str, to: &str, names: &[&str]) {
        let before: Vec<usize> = names.iter().map(|n| self.changes_of(n)).collect();
        let gaps: Vec<Gap> = names.iter().map(|n| Gap::start(self.of(n).ip())).collect();
        switch_over(to);
        self.take(to, names);
        eventually("everybody streams", 60, || is_healthy(&MEMBERS));
        self.take(to, names);
        std::thread::sleep(Duration::from_secs(2));
        for ((name, gap), before) in names.iter().zip(gaps).zip(before) {
            let (gap, changes) = (gap.stop(), self.changes_of(name) - before);
            println!(
                "  {state}: {name}: longest time without a write {gap:.2?}, {changes} changes"
            );
            // A promote and an attach, of which a member that comes back late may need a second.
            assert!(changes <= 4, "{state}: {name} flaps: {}", self.of(name).log(60));
        }
    }

    /// How many changes of shared states its agent has sent.
    fn changes_of(&self, name: &str) -> usize {
        let count = "grep -cE 'op=\"(attach|detach|promote)\"' /var/log/geo-agent.log || true";
        self.of(name).container.shell(count).parse().expect("a number")
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pgpool in &self.pgpools {
                let name = &pgpool.container.service;
                eprintln!("--- {name}: the agent\n{}", pgpool.log(60));
                let log = "grep -E ' (main|watchdog) pid ' /var/log/pgpool.log | tail -n 40";
                eprintln!(
                    "--- {name}: pgpool\n{}",
                    pgpool.container.exec(&["sh", "-c", log]).all()
                );
            }
        }
        for pgpool in &self.pgpools {
            pgpool.container.docker("rm");
        }
    }
}

fn table(pgpool: &Pgpool) -> Vec<String> {
    let nodes = pgpool.nodes().expect("pgpool answers");
    nodes.iter().map(|n| format!("{}:{}", n.host, n.port)).collect()
}

/// Writes all the time, and knows the longest time between two that worked.
struct Gap {
    over: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Gap {
    fn start(ip: Ipv4Addr) -> Gap {
        let (over, stop) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while stop.recv_timeout(Duration::from_millis(20)).is_err() {
                if clients::write(ip).is_ok() {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
            }
            longest.max(last.elapsed())
        });
        Gap { over, thread }
    }

    fn stop(self) -> Duration {
        self.over.send(()).expect("the writer is there");
        self.thread.join().expect("no panic in a writer")
    }
}

/// Who has the delegate IP; nobody, or several, while the watchdog elects.
fn holders(trio: &Trio) -> Vec<String> {
    let has = |p: &&Pgpool| {
        p.container.state() == "running"
            && p.container.exec(&["ip", "-4", "-o", "addr"]).out.contains(".250/32")
    };
    trio.pgpools.iter().filter(has).map(|p| p.container.service.clone()).collect()
}

/// One test: the stage is the same for all of it, and setting it takes longest.
#[test]
#[ignore = "needs the stack"]
fn whatever_dies_a_switchover_reaches_who_is_left() {
    let trio = Trio::start();
    trio.settle();
    let leader = trio.leader();
    eventually("the delegate IP beside the leader", 30, || {
        let holders = holders(&trio);
        is(holders == [leader.clone()], holders)
    });
    trio.follow_a_switchover("all well", "eu-2", &NAMES);

    trio.of(&leader).stop_agent();
    trio.follow_a_switchover("the leader's agent is dead", HOME, &NAMES);
    trio.of(&leader).start_agent();

    trio.of(&leader).cut_from_etcd(false);
    std::thread::sleep(Duration::from_secs(12)); // until its agent knows that it knows nothing
    trio.follow_a_switchover("the leader's agent is cut off from etcd", "eu-2", &NAMES);
    trio.settle();

    let leader = trio.leader();
    trio.of(&leader).container.shell("pkill -KILL -x pgpool");
    let left = trio.others(&leader);
    trio.follow_a_switchover("the leader's pgpool was killed", "eu-2", &left);
    trio.settle();

    let leader = trio.leader();
    trio.of(&leader).container.docker("pause");
    let left = trio.others(&leader);
    trio.follow_a_switchover("the leader's host is silent", "eu-2", &left);
    trio.of(&leader).container.docker("unpause");
    trio.settle();

    let leader = trio.leader();
    let left = trio.others(&leader);
    for name in [leader.as_str(), left[0]] {
        trio.of(name).container.shell("pkill -KILL -x pgpool");
    }
    trio.follow_a_switchover("two of three are dead", "eu-2", &left[1..]);
    trio.settle();
}
