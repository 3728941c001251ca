//! An agent that owns pgpool, from a file of geo-pgpool-mgr. Either of them is killed, or both.

use super::docker::{eventually, is};
use super::pgpool::{Pgpool, Shape};
use super::scene::{EU, HOME, Scene};

const FILE: &str = "etcd3: {host: etcd, port: 2379, scope: demo, namespace: /service/}
local_backends: [{name: eu-1, weight: 1}, {name: eu-2, weight: 1}]
probe: {username: geo_probe, password_file: /etc/geo-agent/probe.password, dbname: postgres}
attach_after: 50ms
pgpool:
  exec_path: /usr/sbin/pgpool
  tmp_config_path: /tmp/own/pgpool.conf
  tmp_status_path: /tmp/own/pgpool_status
  fail_delay: 1
  config_append: |
    listen_addresses = '*'
    port = 5432
    backend_clustering_mode = 'streaming_replication'
    load_balance_mode = on
    enable_pool_hba = on
    pool_passwd = 'pool_passwd'
";
const RUN: &str = "setsid setpriv --reuid=postgres --regid=postgres --init-groups \
    env HOME=/var/lib/postgresql geo-agent /tmp/own/config.yaml </dev/null >>/var/log/geo-agent.log 2>&1 &";
const AGENT: &str = "'^geo-agent /tmp/own'";

/// A pgpool that is the usual one again at the end, however that comes.
struct Owned<'a>(&'a Pgpool);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        let undo = format!(
            "pkill -KILL -f {AGENT}; rm -rf /tmp/own /var/run/postgresql/.s.PGSQL.9898; \
             pgpool-restart; agent-start"
        );
        self.0.container.exec(&["bash", "-c", &undo]);
    }
}

impl<'a> Owned<'a> {
    fn new(pgpool: &'a Pgpool) -> Self {
        pgpool.stop_agent();
        pgpool.container.shell(&format!(
            "pkill -INT -f '^pgpool -n '; while pgrep -x pgpool >/dev/null; do sleep 0.05; done; \
             install -d -o postgres /tmp/own; cd /tmp/own; cp -p /etc/pgpool2/pool_passwd .; \
             cat >config.yaml <<'END'\n{FILE}END\nchmod 600 config.yaml; chown postgres *"
        ));
        let owned = Owned(pgpool);
        owned.start_agent();
        // So that pcp_node_info gets in, as it does elsewhere.
        eventually("a private way in", 20, || {
            let access = "/tmp/own/pgpool.conf.geo-agent.pcp";
            let way = format!(
                "cat /etc/pgpool2/pcp.conf >>{access}/pcp.conf && \
                 ln -sf {access}/.s.PGSQL.9898 /var/run/postgresql/"
            );
            let made = pgpool.container.exec(&["bash", "-c", &format!("cd {access} && {way}")]);
            is(made.status == 0, made.all())
        });
        owned
    }

    fn start_agent(&self) {
        self.0.container.shell(RUN);
    }

    fn signal_agent(&self, signal: &str) {
        self.0.container.shell(&format!(
            "pkill {signal} -f {AGENT}; while pgrep -f {AGENT} >/dev/null; do sleep 0.05; done"
        ));
    }

    fn is_in_sync(&self) {
        eventually("in sync", 30, || {
            let status = self.0.agent(&["status", "--config", "/tmp/own/config.yaml"]);
            is(status.status == 0, status.all())
        });
    }

    /// The processes that one main process has left, or has.
    fn group_of(&self, main: &str) -> usize {
        self.0.container.exec(&["pgrep", "-g", main]).out.lines().count()
    }

    /// Another pgpool than this one runs, alone, and serves.
    fn has_another_than(&self, main: &str) {
        eventually("another pgpool", 20, || {
            let now = self.0.pid();
            is(!now.is_empty() && now != main && self.group_of(main) == 0, now)
        });
        self.0.takes(HOME, &EU);
        self.is_in_sync();
    }
}

#[test]
#[ignore = "needs the stack"]
fn an_agent_owns_its_pgpool() {
    let scene = Scene::set();
    let eu = scene.eu.clone();
    let owned = Owned::new(&eu);
    let kill_pgpool = || eu.container.shell("kill -KILL $(pgrep -o -x pgpool)");
    eu.takes(HOME, &EU);
    owned.is_in_sync();

    let first = eu.pid();
    kill_pgpool();
    owned.has_another_than(&first);

    let second = eu.pid();
    owned.signal_agent("-KILL");
    eu.serves(&Shape::new(HOME, &EU));
    owned.start_agent();
    owned.is_in_sync();
    assert_eq!(eu.pid(), second, "it is kept");

    owned.signal_agent("-KILL");
    kill_pgpool();
    assert!(owned.group_of(&second) > 0, "its sessions outlive it");
    owned.start_agent();
    owned.has_another_than(&second);

    owned.signal_agent("-TERM");
    assert_eq!(eu.pid(), "", "who owns it ends it");
    drop(owned);
    scene.remember_pid(&scene.eu);
    scene.finish();
}
