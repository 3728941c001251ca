//! Farther tiers (`locations`): whose replicas serve while nobody local does.

use super::cluster::{MEMBERS, is_healthy, tag};
use super::docker::{Container, eventually, is};
use super::scene::{EU, HOME, Scene, US};

/// eu-1 leads, so that pgpool-us has replicas only; one of them is taken out, the other one dies.
#[test]
#[ignore = "needs the stack"]
fn the_next_tier_serves_while_nobody_local_does() {
    let scene = Scene::set();
    scene.us.set_locations("[us, eu]");
    eventually("the new configuration counts", 10, || {
        let (_, status) = scene.us.status();
        let eu = status["slots"].as_array().into_iter().flatten();
        let eu = eu.filter(|s| s["tier"] == 1 && s["rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0));
        is(eu.count() == 2, status)
    });
    scene.us.takes(HOME, &US); // a tier that is not needed changes nothing

    tag("us-1", "noloadbalance", Some("true"));
    scene.us.takes(HOME, &["us-2"]);
    let dies = Container::of("us-2");
    dies.docker("stop");
    scene.us.takes(HOME, &["eu-2"]);
    let (_, status) = scene.us.status();
    let reads = status["slots"].as_array().into_iter().flatten().find(|s| s["member"] == "eu-2");
    assert!(reads.is_some_and(|s| s["tier"] == 1 && s["local"] == false), "{status:#}");
    scene.eu.takes(HOME, &EU);

    dies.docker("start");
    eventually("us-2 streams", 60, || is_healthy(&MEMBERS));
    scene.us.takes(HOME, &["us-2"]);
    tag("us-1", "noloadbalance", None);
    scene.us.takes(HOME, &US);
    scene.us.set_locations("");
    scene.finish();
}
