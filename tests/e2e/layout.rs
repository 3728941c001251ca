//! Restarts of pgpool by the agent: for a full table, broken off by a failure or a kill, for a
//! damaged pgpool, and by an agent that owns pgpool.

use super::clients::Sessions;
use super::cluster::{MEMBERS, delete_members, ip_of, is_healthy, put};
use super::docker::{eventually, is, script};
use super::pgpool::{CONF, CONFIG, Node, Pgpool, RELOAD, Shape, steps};
use super::scene::{EU, HOME, Scene, remove_the_extra_member};

const EU_AND_EXTRA: [&str; 3] = ["eu-1", "eu-2", "eu-3"];
/// A member that never was; by its name it gets a slot between those of the others. Nobody serves
/// where it is said to be: that is etcd's host.
const DEPARTED: &str = "eu-0";
const NOTE: &str = "/etc/pgpool2/pgpool.conf.geo-agent.restart";
/// What pgpool makes when it starts and needs while it runs.
const FILES: &str = "/var/run/postgresql/.s.PGSQL.* /var/run/postgresql/pgpool.pid";
const STATUS_FILE: &str = "/var/lib/pgpool/pgpool_status";

/// The operator's command. Each call takes a word from its file: `fail`, `block` until it is killed,
/// or `vanish`, which is a success that leaves no pgpool; without a word pgpool is started.
const COMMAND: &str = r#"#!/bin/bash
word=$(head -n 1 /tmp/restart/words); rest=$(sed 1d /tmp/restart/words); echo "$rest" >/tmp/restart/words
echo "${word:-start}" >>/tmp/restart/calls
[ "$word" != fail ] || { echo "unit pgpool2 is masked" >&2; exit 1; }
[ "$word" != block ] || sleep 600
pkill -KILL -x pgpool; while pgrep -x pgpool >/dev/null; do sleep 0.05; done
[ "$word" != vanish ] || exit 0
setsid pgpool -n -f /etc/pgpool2/pgpool.conf -F /etc/pgpool2/pcp.conf -a /etc/pgpool2/pool_hba.conf \
    </dev/null >>/var/log/pgpool.log 2>&1 &
"#;

/// What a service manager does: it starts pgpool whenever none runs.
const SERVICE: &str = r#"while :; do
    pgrep -x pgpool >/dev/null || pgpool -n -f /etc/pgpool2/pgpool.conf -F /etc/pgpool2/pcp.conf \
        -a /etc/pgpool2/pool_hba.conf >>/var/log/pgpool.log 2>&1
    sleep 0.2
done
"#;
const END_SERVICE: &str = "pkill -f '^bash /tmp/restart/service' || true";

/// A pgpool whose configuration is the usual one again at the end, however that comes.
struct Guarded<'a>(&'a Pgpool);

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        let usual = format!("test ! -e /tmp/usual.yaml || mv /tmp/usual.yaml {CONFIG}");
        self.0.container.exec(&["bash", "-c", &format!("{END_SERVICE}; {usual}; {RELOAD}")]);
        delete_members(DEPARTED);
    }
}

impl<'a> Guarded<'a> {
    fn new(pgpool: &'a Pgpool) -> Self {
        pgpool.container.shell(&format!(
            "cp -p {CONFIG} /tmp/usual.yaml; install -d -o postgres /tmp/restart; \
             cd /tmp/restart; cat >pgpool <<'END'\n{COMMAND}END\n\
             cat >service <<'END'\n{SERVICE}END\n\
             >words; >calls; chown postgres pgpool words calls"
        ));
        Guarded(pgpool)
    }

    /// Five slots, and these lines in place of `mode: never`; the agent is told. A busy machine is no
    /// reason to wait.
    fn configure(&self, restart: &str) {
        self.0.container.shell(&format!(
            "sed -e 's|^  slots: .*|  slots: 5|' -e 's|^    mode: never|    {restart}|' \
             -e 's|^probe:|&\\n  timeout: 5|' \
             /tmp/usual.yaml >{CONFIG}; {RELOAD}"
        ));
    }

    /// Mode `command`, with a note for its next calls.
    fn configure_command(&self, words: &str, more: &str) {
        self.0
            .container
            .shell(&format!("printf '{words}' >/tmp/restart/words; >/tmp/restart/calls"));
        let command = "mode: command\\n    command: [\"bash\", \"/tmp/restart/pgpool\"]";
        self.configure(&format!("{command}\\n    max_per_hour: 60{more}"));
    }

    /// The command was called so often, and this is what it did.
    fn calls(&self, expected: &[&str]) {
        eventually(&format!("the command's calls are {expected:?}"), 90, || {
            let calls = self.0.container.shell("cat /tmp/restart/calls");
            is(calls.lines().eq(expected.iter().copied()), calls)
        });
    }

    /// The agent dies, and its command with it.
    fn kill_agent(&self) {
        self.0.container.shell("agent-stop -KILL; pkill -KILL -f '^bash /tmp/restart/pgpool'");
        assert!(self.0.nodes().is_err(), "pgpool is down");
    }

    fn says(&self, what: &str) {
        eventually(&format!("plan and status say {what:?}"), 30, || {
            let (code, plan) = self.0.plan();
            is(code == 0 && plan["holds"].to_string().contains(what), &plan)?;
            let (code, status) = self.0.status();
            is(code == 2 && status["holds"].to_string().contains(what), &status)
        });
    }

    /// The order of the hosts in pgpool itself.
    fn hosts(&self) -> Vec<String> {
        self.0.nodes().expect("pgpool answers").into_iter().map(|n: Node| n.host).collect()
    }
}

fn address(member: &str) -> String {
    let host = if member == DEPARTED { "etcd" } else { member };
    ip_of(host).expect("it runs").to_string()
}

/// Numbers the slots anew, with one for a member that never was between those of the others.
fn number_with_another_member(pgpool: &Pgpool) -> Vec<String> {
    pgpool.stop_agent();
    let at = address(DEPARTED);
    let member = format!(
        "{{\"conn_url\":\"postgres://{at}:5432/postgres\",\"role\":\"replica\",\
         \"state\":\"running\",\"tags\":{{\"location\":\"eu\"}}}}"
    );
    put(&format!("members/{DEPARTED}"), &member);
    pgpool.container.shell(&format!("sed -i '/>>> geo-agent/,/<<< geo-agent/d' {CONF}"));
    let init = pgpool.agent(&["init"]);
    assert_eq!(init.status, 0, "{}", init.all());
    pgpool.container.shell(&format!(
        "pkill -INT -f '^pgpool -n '; while pgrep -x pgpool >/dev/null; do sleep 0.05; done; \
         rm -f {STATUS_FILE} {NOTE}; pgpool-restart; agent-start"
    ));
    pgpool.takes(HOME, &EU);
    eventually("five slots", 20, || is(pgpool.nodes()?.len() == 5, "fewer"));
    [HOME, DEPARTED, "eu-2", "us-1", "us-2"].map(address).to_vec()
}

/// One story, because each scene of it begins where the one before ends.
#[test]
#[ignore = "needs the stack"]
fn pgpool_is_restarted_by_policy_whatever_breaks_that_off() {
    let scene = Scene::set();
    let eu = scene.eu.clone();
    let guarded = Guarded::new(&eu);
    guarded.configure("mode: never");
    let old = number_with_another_member(&eu);
    assert_eq!(guarded.hosts(), old);
    let up = script(&["up", "eu-3"]);
    assert_eq!(up.status, 0, "{}", up.all());

    a_damaged_pgpool_is_restarted(&guarded);
    assert_eq!(guarded.hosts(), old);
    a_damaged_pgpool_is_shut_down_for_somebody_else_to_start(&guarded);
    assert_eq!(guarded.hosts(), old);

    guarded.configure("mode: never");
    delete_members(DEPARTED);
    eventually("eu-3 streams", 60, || is_healthy(&[&MEMBERS[..], &["eu-3"]].concat()));
    guarded.says("pgpool.restart.mode is never");
    a_failed_command_is_undone(&guarded, &old);
    a_pgpool_that_does_not_come_back_is_undone(&guarded, &old);
    the_way_back_is_finished_by_the_next_agent(&guarded, &old);
    the_way_forth_is_finished_by_the_next_agent(&guarded);
    drop(guarded);
    remove_the_extra_member();
    scene.remember_pid(&scene.eu);
    scene.finish();
}

/// The same damage as in `damage.rs`, with leave to mend it.
fn a_damaged_pgpool_is_restarted(guarded: &Guarded) {
    let eu = guarded.0;
    let hour: u32 = eu.container.shell("date -u +%H").parse().expect("an hour");
    let later = (hour + 12) % 24;
    let window = format!("\\n    window: [\"{later:02}:00-{later:02}:01\"]");
    guarded.configure_command("", &window);
    eu.container.shell(&format!("rm {FILES}"));
    guarded.says("pgpool.pid is gone while pgpool answers: it waits for pgpool.restart.window");
    let sessions = Sessions::open(eu.ip(), 4);
    guarded.configure_command("", "\\n    when_sessions_below: 3");
    guarded.says("it waits until fewer than 3 clients are connected");
    guarded.calls(&[]);
    assert!(sessions.close().iter().all(|fate| fate.ended.is_none()), "they were waited for");
    guarded.calls(&["start"]);
    eventually("it is whole again", 20, || is_whole(eu));
    eu.takes(HOME, &EU);
}

fn is_whole(pgpool: &Pgpool) -> Result<(), String> {
    let found = pgpool.container.exec(&["bash", "-c", &format!("ls {FILES}")]);
    is(found.status == 0, found.all())
}

/// Mode `pcp_shutdown`.
fn a_damaged_pgpool_is_shut_down_for_somebody_else_to_start(guarded: &Guarded) {
    let eu = guarded.0;
    let before = eu.pid();
    eu.stop_agent();
    eu.container.shell(&format!(
        "rm {NOTE} {FILES}; \
         setsid setpriv --reuid=postgres --regid=postgres --init-groups \
         bash /tmp/restart/service </dev/null >/dev/null 2>&1 &"
    ));
    guarded.configure("mode: pcp_shutdown");
    eu.start_agent();
    eventually("another one is there, and whole", 60, || {
        is(![before.as_str(), ""].contains(&eu.pid().as_str()), "the same, or none")?;
        is_whole(eu)
    });
    eu.takes(HOME, &EU);
    eu.container.shell(END_SERVICE);
}

fn a_failed_command_is_undone(guarded: &Guarded, old: &[String]) {
    guarded.configure_command("fail\\n", "");
    guarded.calls(&["fail", "start"]);
    guarded.says("the last try failed (bash failed with exit status: 1: unit pgpool2 is masked)");
    assert_eq!(guarded.hosts(), old);
    guarded.0.takes(HOME, &EU);
}

fn a_pgpool_that_does_not_come_back_is_undone(guarded: &Guarded, old: &[String]) {
    guarded.configure_command("vanish\\n", "");
    guarded.calls(&["vanish"]);
    let status = guarded.0.agent(&["status"]);
    assert!(status.status == 1 && status.out.contains("is under way"), "{}", status.all());
    guarded.calls(&["vanish", "start"]);
    guarded.says("the last try failed (it did not come back within 60 s");
    assert_eq!(guarded.hosts(), old);
    guarded.0.takes(HOME, &EU);
}

fn the_way_back_is_finished_by_the_next_agent(guarded: &Guarded, old: &[String]) {
    guarded.configure_command("fail\\nblock\\n", "");
    guarded.calls(&["fail", "block"]);
    guarded.kill_agent();
    guarded.0.start_agent();
    guarded.calls(&["fail", "block", "start"]);
    guarded.says("the last try failed");
    assert_eq!(guarded.hosts(), old);
    guarded.0.takes(HOME, &EU);
}

fn the_way_forth_is_finished_by_the_next_agent(guarded: &Guarded) {
    let eu = guarded.0;
    let new = [HOME, "eu-2", "us-1", "us-2", "eu-3"].map(address);
    eu.stop_agent();
    eu.container.shell(&format!("rm {NOTE}"));
    guarded.configure_command("block\\n", "");
    let plan = eventually("a plan to restart", 30, || {
        let (code, plan) = eu.plan();
        is(code == 2 && steps(&plan) == ["restart eu-3"], &plan)?;
        Ok(plan)
    });
    assert_eq!(plan["disruption"], "restart");
    let planned = plan["slots"].as_array().expect("a list of slots").iter();
    assert!(planned.map(|s| s["host"].as_str().unwrap_or("")).eq(new.iter()), "{plan:#}");
    eu.start_agent();
    guarded.calls(&["block"]);
    guarded.kill_agent();
    eu.start_agent();
    guarded.calls(&["block", "start"]);
    let shape = Shape::new(HOME, &EU_AND_EXTRA);
    eventually("the new slots", 20, || eu.has(&shape));
    assert_eq!(guarded.hosts(), new);
    eu.serves(&shape);
    eventually("in sync", 30, || eu.is_in_sync());
    let after = "tac /var/log/geo-agent.log | sed '/was broken off/q' | grep -c op= || true";
    assert_eq!(eu.container.shell(after), "0", "it came up as it should be");
}
