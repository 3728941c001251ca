//! The stage of every test: a converged cluster led by eu-1 before it, and after it again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::cluster::{self, MEMBERS, ip_of, is_healthy, keys, switch_over, tag};
use super::docker::{Container, docker, eventually, is, is_our_stack, script};
use super::pgpool::{Pgpool, Shape};

pub const HOME: &str = "eu-1";
pub const EU: [&str; 2] = ["eu-1", "eu-2"];
pub const US: [&str; 2] = ["us-1", "us-2"];

/// There is one stack, so there is one test at a time. `true`: the one before left the stage as it
/// should be, so that the next one finds it set.
static STAGE: Mutex<bool> = Mutex::new(false);

/// Made at the beginning of a test and finished at its end. When the test fails in between, it says
/// what everybody has to say.
pub struct Scene {
    pub eu: Pgpool,
    pub us: Pgpool,
    /// Of each pgpool, as it should still be in the end.
    pids: Mutex<BTreeMap<String, String>>,
    started: Instant,
    is_set: MutexGuard<'static, bool>,
}

impl Scene {
    pub fn set() -> Scene {
        let is_set = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        is_our_stack();
        let [eu, us] = Pgpool::both();
        let mut scene = Scene { eu, us, pids: Default::default(), started, is_set };
        if !std::mem::take(&mut *scene.is_set) {
            clean_up();
            scene.settle();
        }
        scene.pids = Mutex::new(scene.pids_now());
        println!("  set after {:.1} s", started.elapsed().as_secs_f64());
        scene.started = Instant::now();
        scene
    }

    /// eu-1 leads, everybody streams, both pgpools are right and their agents say so.
    pub fn settle(&self) {
        cluster::make_followers_follow();
        switch_over(HOME);
        eventually("a healthy cluster led by eu-1", 60, || {
            let leader = is_healthy(&MEMBERS)?;
            is(leader == HOME, leader)
        });
        self.both(|pgpool, readers| {
            let shape = Shape::new(HOME, &readers);
            eventually("the usual shape", 45, || pgpool.has(&shape));
        });
        self.in_sync();
    }

    /// Back to the beginning, with the same pgpool processes as there.
    pub fn finish(mut self) {
        self.settle();
        self.both(|pgpool, readers| pgpool.serves(&Shape::new(HOME, &readers)));
        assert_eq!(*self.pids.lock().unwrap(), self.pids_now(), "pgpool was never restarted");
        *self.is_set = true;
        println!("  took {:.1} s", self.started.elapsed().as_secs_f64());
    }

    /// This pgpool was restarted, and rightly.
    pub fn remember_pid(&self, pgpool: &Pgpool) {
        self.pids.lock().unwrap().insert(pgpool.container.service.clone(), pgpool.pid());
    }

    fn pids_now(&self) -> BTreeMap<String, String> {
        [&self.eu, &self.us].map(|p| (p.container.service.clone(), p.pid())).into()
    }

    /// Looks at both pgpools at the same time, each with the readers of its location.
    pub fn both(&self, look: impl Fn(&Pgpool, [&str; 2]) + Sync) {
        let look = &look;
        thread::scope(|scope| {
            scope.spawn(|| look(&self.eu, EU));
            look(&self.us, US);
        });
    }

    /// Every pgpool has this primary; from the other location it is remote, with weight 0.
    pub fn follows(&self, primary: &str) {
        self.take(primary, &EU, &US);
    }

    /// Both pgpools have this primary, and each has these readers.
    pub fn take(&self, primary: &str, eu: &[&str], us: &[&str]) {
        self.both(|pgpool, at| pgpool.takes(primary, if at == EU { eu } else { us }));
    }

    /// Both agents say so. pgpool 4.4 and later may lose its files at a promote
    /// (proto-notes/hazards.md, 12). That is a fault of pgpool's, which the agent names; no test
    /// shall fail for it.
    pub fn in_sync(&self) {
        self.both(|pgpool, _| {
            eventually("in sync", 30, || {
                let not_yet = pgpool.is_in_sync();
                if not_yet.is_err() && pgpool.mend() {
                    self.remember_pid(pgpool);
                }
                not_yet
            });
        });
    }
}

/// Undoes what a test that failed may have left.
fn clean_up() {
    for service in MEMBERS.iter().chain(&["etcd"]) {
        let container = Container::of(service);
        match container.state().as_str() {
            "running" => {}
            "paused" => container.docker("unpause"),
            _ => container.docker("start"),
        }
    }
    remove_the_extra_member();
    for pgpool in Pgpool::both() {
        pgpool.heal();
        pgpool.mend();
        pgpool.agent(&["init"]);
        if pgpool.has_locations() {
            pgpool.set_locations("");
        }
        pgpool.start_agent();
    }
    eventually("etcd", 30, || keys().map(|_| ()));
    cluster::delete_members("evil");
    cluster::delete_orders();
    for member in MEMBERS {
        let location = member.split('-').next().unwrap_or_default();
        let tags = "sed -n '/^tags:/,/^restapi:/p' /etc/patroni/patroni.yml";
        let wanted = format!("tags:\n  location: {location}\nrestapi:");
        if Container::of(member).shell(tags) != wanted {
            tag(member, "noloadbalance", None);
            tag(member, "nofailover", None);
            tag(member, "location", Some(location));
        }
    }
    cluster::make_followers_follow();
    for pgpool in Pgpool::both() {
        pgpool.reload_agent();
    }
}

pub fn remove_the_extra_member() {
    if let Some(extra) = Container::find("eu-3") {
        extra.docker("rm");
        eventually("eu-3 is forgotten", 40, || {
            cluster::delete_members("eu-3");
            is(!keys()?.0.contains_key("members/eu-3"), "it is still there")
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say_everything();
        }
    }
}

/// What a reader of a failed run wants to see.
fn say_everything() {
    for pgpool in Pgpool::both() {
        let name = &pgpool.container.service;
        eprintln!("--- {name}: pcp_node_info\n{}", pgpool.pcp("pcp_node_info").all());
        eprintln!("--- {name}: the end of the agent's log\n{}", pgpool.log(40));
    }
    for member in MEMBERS {
        eprintln!("--- {member} is at {:?}", ip_of(member));
        if let Some(container) = Container::find(member) {
            eprintln!("{}", container.log(25));
        }
    }
    eprintln!("--- patronictl list\n{}", script(&["list"]).all());
    eprintln!("--- containers\n{}", docker(&["ps", "--format", "{{.Names}} {{.Status}}"]));
}
