//! Three pgpools with a watchdog and a delegate IP, each with its agent.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::clients;
use super::cluster::{self, MEMBERS, is_healthy, leader, switch_over};
use super::docker::{Container, eventually, is, is_our_stack, script};
use super::pgpool::{Pgpool, Shape};
use super::scene::EU;

pub const NAMES: [&str; 3] = ["pgpool-wd-1", "pgpool-wd-2", "pgpool-wd-3"];

/// From the switchover's end until the last pgpool has the new shape: the election of another
/// watchdog leader included.
const PATIENCE: u64 = 40;

/// Somebody who flaps does it within this: pgpool's main process takes a second for a change, and
/// the last agent in line steps in after three.
const QUIET: Duration = Duration::from_secs(4);

/// Writes every state of pgpool's node table that differs from the one before to a file, until the
/// container ends: `+` is attached, `*` the primary. A pgpool that does not answer has no state.
/// Each state lasts: pgpool's main process takes a second for a change.
const RECORDER: &str = r#"
cat >/tmp/record <<'END'
last=
while sleep 0.2; do
    now=$(for host in /var/run/postgresql 127.0.0.1; do
        timeout 2 pcp_node_info -w -h $host -p 9898 -U pcp 2>/dev/null && break
    done | awk '{ printf "%s%s%s ", $1, ($3 == 3 ? "-" : "+"), ($7 == "primary" ? "*" : "") }') || true
    [ -n "$now" ] && [ "$now" != "$last" ] || continue
    last=$now
    echo "$now" >>/tmp/states
done
END
touch /tmp/states
setsid bash /tmp/record </dev/null >/dev/null 2>&1 &"#;

const ALONE: &str = "for end in 'INPUT ! -i' 'OUTPUT ! -o'; do iptables -A $end lo -j DROP; done";

pub struct Trio {
    pgpools: Vec<Pgpool>,
    started: Instant,
}

impl Trio {
    pub fn start() -> Trio {
        is_our_stack();
        let started = Instant::now();
        eventually("a healthy cluster", 90, || is_healthy(&MEMBERS));
        cluster::delete_orders(); // with what the agents of an earlier trio agreed on
        let up = script(&[&["up"], &NAMES[..]].concat());
        assert_eq!(up.status, 0, "{}", up.all());
        let pgpool = |name: &&str| Pgpool { container: Container::of(name) };
        let trio = Trio { pgpools: NAMES.iter().map(pgpool).collect(), started };
        for pgpool in &trio.pgpools {
            pgpool.container.shell(RECORDER);
        }
        trio.settle();
        trio
    }

    /// Whom the watchdog made its leader, once no pgpool is damaged.
    pub fn begin(&self) -> &Pgpool {
        if self.pgpools.iter().any(Pgpool::is_damaged) {
            self.settle();
        }
        self.leader()
    }

    /// Everything runs, and everybody agrees.
    pub fn settle(&self) {
        for pgpool in &self.pgpools {
            pgpool.heal();
            pgpool.mend();
            if pgpool.pid().is_empty() {
                pgpool.container.shell("pgpool-restart");
            }
            pgpool.start_agent();
        }
        eventually("a healthy cluster", 90, || is_healthy(&MEMBERS));
        eventually("a watchdog of three, as each of them sees it", 60, || {
            let seen: Vec<_> = self.pgpools.iter().map(|p| alive(p).len()).collect();
            is(seen == [3, 3, 3], seen)
        });
        let primary = leader().expect("a healthy cluster has a leader");
        self.take(&primary, &NAMES);
        for pgpool in &self.pgpools {
            eventually("in sync", 40, || pgpool.is_in_sync());
        }
        let tables: Vec<Vec<String>> = self.pgpools.iter().map(table).collect();
        assert!(tables.iter().all(|t| *t == tables[0]), "{tables:#?}");
        println!("  all is well after {:.0?}", self.started.elapsed());
    }

    pub fn of(&self, name: &str) -> &Pgpool {
        let found = self.pgpools.iter().find(|p| p.container.service == name);
        found.expect("one of the three")
    }

    /// The watchdog's leader has the delegate IP, and nobody else.
    fn leader(&self) -> &Pgpool {
        eventually("one leader of the watchdog, with the delegate IP", 60, || {
            let leads = |p: &&Pgpool| {
                let name = &p.container.service;
                alive(p).iter().any(|line| line.contains(" LEADER ") && line.contains(name))
            };
            let leaders: Vec<_> = self.pgpools.iter().filter(leads).collect();
            let holders: Vec<_> = self.pgpools.iter().filter(|p| has_delegate_ip(p)).collect();
            let names = |all: &[&Pgpool]| -> Vec<String> {
                all.iter().map(|p| p.container.service.clone()).collect()
            };
            let (leaders_names, holders_names) = (names(&leaders), names(&holders));
            is(
                leaders.len() == 1 && leaders_names == holders_names,
                (leaders_names, holders_names),
            )?;
            Ok(leaders[0])
        })
    }

    pub fn others(&self, pgpool: &Pgpool) -> Vec<&'static str> {
        NAMES.into_iter().filter(|n| *n != pgpool.container.service).collect()
    }

    /// These have the shape that belongs to this leader.
    fn take(&self, primary: &str, names: &[&str]) {
        let shape = Shape::new(primary, &EU);
        for name in names {
            let what = format!("{name} with {primary}");
            eventually(&what, PATIENCE, || self.of(name).has(&shape));
        }
    }

    /// A switchover to the other local member, and what it means to these: each takes it, without
    /// coming back to a state that it has left, and then nothing changes any more.
    pub fn follow_a_switchover(&self, state: &str, names: &[&str]) {
        let to = EU.into_iter().find(|m| leader().as_deref() != Some(m)).expect("there are two");
        let counts: Vec<usize> = names.iter().map(|n| self.states(n).len()).collect();
        let gaps: Vec<Gap> = names.iter().map(|n| Gap::start(self.of(n).ip())).collect();
        switch_over(to);
        let switched = Instant::now();
        self.take(to, names);
        let taken = switched.elapsed();
        eventually("everybody streams", 60, || is_healthy(&MEMBERS));
        self.take(to, names);
        let settled: Vec<usize> = names.iter().map(|n| self.states(n).len()).collect();
        std::thread::sleep(QUIET);
        let shape = Shape::new(to, &EU);
        for (n, (name, gap)) in names.iter().zip(gaps).enumerate() {
            let (gap, all) = (gap.stop(), self.states(name));
            let seen = &all[counts[n].saturating_sub(1)..];
            println!(
                "  {state}: {name}: longest time without a write {gap:.2?}, {} states",
                seen.len()
            );
            assert!(seen.len() > 1, "{state}: nothing was recorded of {name}: {all:#?}");
            assert_eq!(all.len(), settled[n], "{state}: {name} does not come to rest: {seen:#?}");
            let again = (1..seen.len()).find(|i| seen[..*i].contains(&seen[*i]));
            assert_eq!(again, None, "{state}: {name} flaps: {seen:#?}");
            self.of(name).serves(&shape);
        }
        let so_far = self.started.elapsed();
        println!("  {state}: all have it {taken:.1?} after the leader key, at {so_far:.0?}");
    }

    /// Every state that this pgpool was seen in since the beginning.
    fn states(&self, name: &str) -> Vec<String> {
        let all = self.of(name).container.shell("cat /tmp/states");
        all.lines().map(str::to_owned).collect()
    }
}

impl Drop for Trio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pgpool in &self.pgpools {
                let name = &pgpool.container.service;
                eprintln!("--- {name}: the agent\n{}", pgpool.log(60));
                let log = "grep -aE ' (main|watchdog) pid ' /var/log/pgpool.log | tail -n 60";
                let log = pgpool.container.exec(&["sh", "-c", log]).all();
                eprintln!("--- {name}: pgpool\n{log}");
            }
        }
        for pgpool in &self.pgpools {
            pgpool.container.docker("rm");
        }
    }
}

/// A host that is gone takes the delegate IP along.
pub fn kill(pgpool: &Pgpool) {
    pgpool.container.shell(
        "pkill -KILL -x pgpool; \
         for ip in $(ip -4 -o addr | grep -o '[0-9.]*\\.250/32'); do ip addr del $ip dev eth0; done",
    );
}

/// Nothing comes in or goes out any more. Whoever was connected hears nothing of it.
pub fn cut_off(pgpool: &Pgpool) {
    pgpool.container.shell(ALONE);
}

/// The lines of the pgpools that are in the watchdog cluster, as this one sees it.
fn alive(pgpool: &Pgpool) -> Vec<String> {
    let said = pgpool.pcp("pcp_watchdog_info").out;
    let is_in = |l: &&str| l.contains(" LEADER ") || l.contains(" STANDBY ");
    said.lines().filter(is_in).map(str::to_owned).collect()
}

fn has_delegate_ip(pgpool: &Pgpool) -> bool {
    pgpool.container.exec(&["ip", "-4", "-o", "addr"]).out.contains(".250/32")
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
            while stop.recv_timeout(Duration::from_millis(50)).is_err() {
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
