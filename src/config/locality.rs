//! Which members are local: the sections `location` and `local_backends`; and who comes
//! next, [`tiers`].

use std::collections::BTreeMap;

use super::section::Section;
use super::tiers;
use crate::model::policy::{Policy, Tier};
use crate::yaml::Node;

const WEIGHT: f64 = 1.0;

pub(super) struct Locality {
    pub(super) location: Option<String>,
    pub(super) tag: String,
    pub(super) local_backends: BTreeMap<String, f64>,
    pub(super) farther: Vec<Tier>,
}

pub(super) fn check(top: &Section) -> Locality {
    let location = top.section("location");
    if !location.given("name") && !top.given("local_backends") {
        top.warn(
            "location.name",
            "neither it nor local_backends is given: every member is remote",
            "give the value of the location tag that Patroni's members at this place have",
        );
    }
    let name = location.text("name");
    Locality {
        farther: tiers::check(top, name.as_deref()),
        location: name,
        tag: location.text("tag").unwrap_or_else(|| Policy::default().location_tag),
        local_backends: local_backends(top),
    }
}

fn local_backends(top: &Section) -> BTreeMap<String, f64> {
    let mut backends = BTreeMap::new();
    for item in top.sections("local_backends") {
        if !item.given("name") {
            item.missing("name", "a member's name in Patroni");
        }
        let weight = weight(&item);
        let Some(name) = item.text("name") else { continue };
        if backends.insert(name.clone(), weight).is_some() {
            item.problem("name", format!("\"{name}\" is in the list twice"), "keep one of them");
        }
    }
    backends
}

fn weight(item: &Section) -> f64 {
    let weight = match item.node("weight") {
        Node::Null => return WEIGHT,
        Node::Int(n) => *n as f64,
        Node::Float(n) => *n,
        _ => f64::NAN,
    };
    if !(weight.is_finite() && weight >= 0.0) {
        let hint = "a share of reads, as pgpool's backend_weight: 0, 1, 2.5";
        item.problem("weight", "is not a number from 0 up", hint);
        return WEIGHT;
    }
    weight
}
