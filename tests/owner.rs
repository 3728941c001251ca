//! An agent that owns its pgpool, here a script in its place: each is killed, and a start fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use geo_agent::config::settings::{Config, Restart};
use geo_agent::config::{self};
use geo_agent::keeper::owner::{self, Owner, claim_file};
use tokio::time::{sleep, timeout};

/// A main process with a child of the same name; it hears SIGHUP, and ends at SIGINT. A shell hears
/// no signal that it was started without, as under nohup: `env` gives them back first.
const PGPOOL: &str = "#!/bin/sh
[ -n \"$HEARS\" ] || HEARS=1 exec env --default-signal \"$0\" \"$@\"
cd DIR
[ ! -e fails ] || exit 3
trap 'echo heard >>heard' HUP
trap 'exit 0' INT
echo $$ >>started
(while :; do sleep 1; done) &
while :; do sleep 0.05; done
";

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let directory = std::env::temp_dir().join(format!("geo-own-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("pgpool");
        let script = PGPOOL.replace("DIR", &directory.display().to_string());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Home(directory)
    }

    fn config(&self, append: &str) -> Config {
        let at = self.0.display();
        let text = format!(
            "{{etcd3: {{host: nowhere, scope: x}}, local_backends: [{{name: a, weight: 1}}], \
             pgpool: {{exec_path: {at}/pgpool, tmp_config_path: {at}/pgpool.conf, \
             fail_delay: 500ms, config_append: '{append}'}}}}"
        );
        let path = self.0.join("config.yaml");
        fs::write(&path, text).unwrap();
        let loaded = config::load(&path).unwrap();
        claim_file(&loaded.config.pgpool.config_path).unwrap();
        loaded.config
    }

    /// And whether pgpool runs already.
    fn prepared(&self, append: &str) -> (Owner, bool) {
        let config = self.config(append);
        let Restart::Supervise(supervise) = &config.pgpool.restart else { panic!("no owner") };
        Owner::prepared(&config, supervise).unwrap()
    }

    async fn begin(&self, append: &str) -> Owner {
        let (owner, _) = self.prepared(append);
        owner.begin().await.unwrap();
        owner
    }

    /// The main processes so far, in their order.
    fn started(&self) -> Vec<String> {
        let all = fs::read_to_string(self.0.join("started")).unwrap_or_default();
        all.lines().map(str::to_owned).collect()
    }

    fn group_of(&self, main: &str) -> usize {
        let found = Command::new("pgrep").args(["-g", main]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    }

    fn kill(&self, main: &str) {
        assert!(Command::new("kill").args(["-KILL", main]).status().unwrap().success());
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(Duration::from_secs(10), wait).await.is_ok(), "{what}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for main in self.started() {
            let _ = Command::new("pkill").args(["-KILL", "-g", &main]).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_pgpool_that_dies_is_started_again_without_its_old_processes() {
    let home = Home::new("dies");
    let owner = home.begin("").await;
    let first = home.started()[0].clone();
    home.kill(&first);
    let again = home.until("it is started again", || home.started().len() == 2);
    tokio::select! {
        () = owner.watch() => {}
        () = again => {}
    }
    assert_eq!(home.group_of(&first), 0);
    assert!(home.group_of(&home.started()[1]) > 0);
    owner.end().await;
    assert_eq!(home.group_of(&home.started()[1]), 0);
}

/// What a restart with another layout does when pgpool does not start with it.
#[tokio::test]
async fn a_pgpool_that_came_back_after_a_failed_start_is_left_alone() {
    let home = Home::new("fails");
    let owner = home.begin("").await;
    let restart = async {
        sleep(Duration::from_millis(300)).await; // the watch is under way
        fs::write(home.0.join("fails"), "").unwrap();
        owner.end().await;
        let failure = owner.start().await.unwrap_err().to_string();
        assert!(failure.contains("ended at once"), "{failure}");
        sleep(Duration::from_millis(300)).await; // the old file is written
        fs::remove_file(home.0.join("fails")).unwrap();
        owner.end().await;
        owner.start().await.unwrap();
        sleep(Duration::from_millis(1500)).await; // three times fail_delay
    };
    tokio::select! {
        () = owner.watch() => {}
        () = restart => {}
    }
    let [_, second] = &home.started()[..] else { panic!("{:?}", home.started()) };
    assert!(home.group_of(second) > 0);
    owner.end().await;
}

#[tokio::test]
async fn a_killed_agents_pgpool_is_kept_and_reads_what_changed() {
    let home = Home::new("kept");
    drop(home.begin("port = 5433").await);
    drop(home.begin("port = 5433").await);
    assert!(!home.0.join("heard").exists(), "nothing has changed");
    let owner = home.begin("port = 5433\n\n    child_life_time = 300").await;
    home.until("it reads its new file", || home.0.join("heard").exists()).await;
    assert_eq!(home.started().len(), 1);
    owner.end().await;
    assert_eq!(home.group_of(&home.started()[0]), 0);
}

#[tokio::test]
async fn a_pgpool_that_died_with_its_agent_leaves_nobody_beside_the_next() {
    let home = Home::new("both");
    drop(home.begin("").await);
    let first = home.started()[0].clone();
    home.kill(&first);
    assert!(home.group_of(&first) > 0, "its sessions outlive it");
    let owner = home.begin("").await;
    assert_eq!(home.group_of(&first), 0);
    assert_eq!(home.started().len(), 2);
    owner.end().await;
}

/// In /tmp anybody could name a process that the agent would end.
#[tokio::test]
async fn a_link_in_the_place_of_the_agents_note_names_no_pgpool() {
    let home = Home::new("note");
    drop(home.begin("").await);
    let note = home.0.join("pgpool.conf.geo-agent.pgpool");
    let elsewhere = home.0.join("note");
    let runs = || home.prepared("").1;
    assert!(runs());
    fs::rename(&note, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &note).unwrap();
    assert!(!runs());
}

/// proto-notes/hazards.md, 12. Its only way in is gone, and it would be gone for ever.
#[tokio::test]
async fn a_pgpool_that_has_lost_its_private_socket_is_started_again_once() {
    let home = Home::new("socket");
    let owner = home.begin("").await;
    let pcp = owner::pcp(&home.config("")).unwrap().unwrap();
    assert!(!pcp.or_tcp && home.0.join("pgpool.conf.geo-agent.pcp") == Path::new(&pcp.host));
    let socket = home.0.join("pgpool.conf.geo-agent.pcp/.s.PGSQL.9898");
    let lose = async || {
        fs::write(&socket, "").unwrap();
        sleep(Duration::from_millis(600)).await; // it is seen
        fs::remove_file(&socket).unwrap();
        sleep(Duration::from_millis(600)).await; // it is missed
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
    };
    let events = async {
        sleep(Duration::from_millis(600)).await;
        lose().await;
        home.until("it is started again", || home.started().len() == 2).await;
        assert_eq!(home.group_of(&home.started()[0]), 0);
        lose().await;
        sleep(Duration::from_millis(1500)).await; // three times fail_delay
    };
    tokio::select! {
        () = owner.watch() => {}
        () = events => {}
    }
    let [_, second] = &home.started()[..] else { panic!("{:?}", home.started()) };
    assert!(home.group_of(second) > 0, "once an hour is enough");
    owner.end().await;
}

/// Whoever gives the agent a pgpool.conf of theirs gets it back.
#[tokio::test]
async fn a_file_of_somebody_elses_is_kept_beside_the_agents_own() {
    let home = Home::new("theirs");
    let [conf, kept] = ["pgpool.conf", "pgpool.conf.geo-agent.orig"].map(|name| home.0.join(name));
    for append in ["", "port = 5433"] {
        drop(home.prepared(append));
        assert!(!kept.exists(), "its own file is nothing to keep");
    }
    for (theirs, append) in [("port = 1\n", "port = 5434"), ("port = 2\n", "port = 5435")] {
        fs::write(&conf, theirs).unwrap();
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o640)).unwrap();
        drop(home.prepared(append));
        assert!(fs::read_to_string(&conf).unwrap().contains(append));
        assert_eq!(fs::read_to_string(&kept).unwrap(), "port = 1\n", "the first one stays");
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o640);
    }
}
