//! pgpool itself is restarted, or broken. The only tests in which its process changes.

use super::cluster::switch_over;
use super::docker::{eventually, is};
use super::pgpool::Pgpool;
use super::scene::{EU, HOME, Scene};

const RUN_DIR: &str = "/var/run/postgresql";

fn restart(pgpool: &Pgpool) {
    let before = pgpool.pid();
    pgpool.container.shell("pgpool-restart");
    assert_ne!(pgpool.pid(), before);
}

#[test]
#[ignore = "needs the stack"]
fn pgpool_is_restarted_by_hand() {
    let scene = Scene::set();
    // While it is down the leader moves, so that what it remembers is wrong.
    scene.eu.stop_agent();
    switch_over("eu-2");
    restart(&scene.eu);
    scene.eu.start_agent();
    scene.follows("eu-2");
    scene.in_sync();
    // And under a running agent.
    restart(&scene.eu);
    scene.eu.takes("eu-2", &EU);
    scene.in_sync();
    scene.remember_pid(&scene.eu);
    scene.finish();
}

/// What pgpool 4.4 and later do to themselves under load: files gone, TCP alive.
#[test]
#[ignore = "needs the stack"]
fn pgpool_has_lost_its_sockets() {
    let scene = Scene::set();
    scene.eu.container.shell(&format!("rm {RUN_DIR}/.s.PGSQL.* {RUN_DIR}/pgpool.pid"));
    eventually("status says so", 20, || {
        let (code, status) = scene.eu.status();
        let damage = status["pgpool"]["damage"].to_string();
        let named = damage.contains("pgpool.pid") && damage.contains(".s.PGSQL.5432");
        let advised = status["holds"].to_string().contains("restart pgpool");
        is(code == 2 && named && advised, (code, &status))
    });
    let plan = scene.eu.agent(&["plan"]);
    assert!(plan.status == 0 && plan.out.contains("restart pgpool"), "{plan:?}");
    let check = scene.eu.agent(&["check"]);
    assert!(check.status == 1 && check.out.contains("is gone"), "{check:?}");
    // PCP goes on over TCP.
    switch_over("eu-2");
    scene.follows("eu-2");
    restart(&scene.eu);
    scene.eu.takes("eu-2", &EU);
    scene.in_sync();
    scene.remember_pid(&scene.eu);
    switch_over(HOME);
    scene.finish();
}
