//! Which client sessions survive which change.

use super::clients::{Fate, Sessions};
use super::cluster::{ip_of, tag};
use super::docker::{Suite, eventually, is};
use super::pgpool::{RELOAD, steps};
use super::scene::{EU, HOME, Scene};

const COUNT: usize = 20;

/// Every session that this pgpool version promises to keep has lived, and each kind was there.
fn assert_kept(fates: &[Fate], suite: &Suite, promised: impl Fn(&Fate) -> bool) {
    let promised = |f: &&Fate| promised(f) && (!f.is_busy || suite.busy_survive);
    let kept: Vec<_> = fates.iter().filter(promised).collect();
    assert!(kept.len() >= 2, "too few sessions to tell: {fates:#?}");
    let lost: Vec<_> = kept.into_iter().filter(|f| f.ended.is_some()).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

/// The plan announces what an attach costs on this version.
fn assert_announced(scene: &Scene, suite: &Suite, member: &str) {
    let plan = eventually("a plan", 20, || {
        let (code, plan) = scene.eu.plan();
        is(code == 2, &plan)?;
        Ok(plan)
    });
    assert!(steps(&plan).contains(&format!("attach {member}")), "{plan:#}");
    assert_eq!(plan["disruption"], suite.attach_ends, "{plan:#}");
}

#[test]
#[ignore = "needs the stack"]
fn all_live_on_when_a_replica_joins() {
    let (scene, suite) = (Scene::set(), Suite::get());
    scene.eu.stop_agent();
    tag("us-2", "location", Some("eu"));
    let sessions = Sessions::open(scene.eu.ip(), COUNT);
    assert_announced(&scene, &suite, "us-2");
    scene.eu.start_agent();
    scene.eu.takes(HOME, &["eu-1", "eu-2", "us-2"]);
    assert_kept(&sessions.close(), &suite, |_| true);
    tag("us-2", "location", Some("us"));
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn those_that_read_elsewhere_live_on_when_a_replica_leaves() {
    let (scene, suite) = (Scene::set(), Suite::get());
    let sessions = Sessions::open(scene.eu.ip(), COUNT);
    let leaving = ip_of("eu-2").expect("eu-2 is there");
    tag("eu-2", "location", Some("us"));
    scene.eu.takes(HOME, &["eu-1"]);
    let fates = sessions.close();
    assert!(fates.iter().any(|f| f.reads_at == leaving), "the balance is not that bad: {fates:?}");
    assert_kept(&fates, &suite, |f| f.reads_at != leaving);
    tag("eu-2", "location", Some("eu"));
    scene.follows(HOME);
    scene.finish();
}

#[test]
#[ignore = "needs the stack"]
fn all_live_on_when_a_weight_changes() {
    let (scene, suite) = (Scene::set(), Suite::get());
    let config = super::pgpool::CONFIG;
    let sessions = Sessions::open(scene.eu.ip(), COUNT);
    let weights = "local_backends:\\n  - {name: eu-1, weight: 1}\\n  - {name: eu-2, weight: 3}";
    scene.eu.container.shell(&format!(
        "cp -p {config} /tmp/config.yaml; sed -i 's/^location:/{weights}\\n&/' {config}; {RELOAD}"
    ));
    let share_of_eu_2 = || {
        let host = ip_of("eu-2").map(|ip| ip.to_string());
        let nodes = scene.eu.nodes()?;
        let node = nodes.into_iter().find(|n| Some(&n.host) == host.as_ref());
        node.map(|n| n.share).ok_or("no slot of eu-2".to_owned())
    };
    let becomes = |share: f64| {
        let is_it = || share_of_eu_2().and_then(|s| is((s - share).abs() < 0.01, s));
        eventually("the weight", 20, is_it);
    };
    becomes(0.75);
    scene.in_sync();
    let fates = sessions.close();
    let lost: Vec<_> = fates.iter().filter(|f| f.ended.is_some()).collect();
    assert!(lost.is_empty(), "{}: {lost:#?}", suite.name);
    scene.eu.container.shell(&format!("cp -p /tmp/config.yaml {config}; {RELOAD}"));
    becomes(0.5);
    scene.eu.takes(HOME, &EU);
    scene.finish();
}
