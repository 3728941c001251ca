//! Who serves while nobody local does: the list `locations`.

use super::section::Section;
use crate::model::policy::Tier;
use crate::yaml::Node;

const ANY: &str = "any";

const EXAMPLE: &str = "locations: [eu-west, [eu-north, eu-south], any]: from near to far, each a \
    location, a list of locations that are equally far, or at the end any";

/// The tiers after the local one. The own location may stand at the head of the list, or not at
/// all: it is the first tier anyway.
pub(super) fn check(top: &Section, own: Option<&str>) -> Vec<Tier> {
    if !top.given("locations") {
        return Vec::new();
    }
    let items = top.list("locations");
    if items.is_empty() && matches!(top.node("locations"), Node::List(_)) {
        top.problem("locations", "is empty", EXAMPLE);
    }
    let mut found = Found { top, own, seen: Vec::new() };
    let mut tiers = Vec::new();
    for (n, item) in items.iter().enumerate() {
        let at = format!("locations[{n}]");
        match item {
            Node::List(names) => tiers.extend(found.several(&at, names)),
            one if word(one).is_some_and(|word| word == ANY) => {
                if n + 1 < items.len() {
                    top.problem(&at, "any is not the last", "nobody is left for what follows it");
                }
                tiers.push(Tier::Any);
            }
            one if n == 0 && own.is_some() && word(one).as_deref() == own => {}
            one => tiers.extend(found.name(&at, one).map(|name| Tier::Places(vec![name]))),
        }
    }
    tiers
}

struct Found<'a> {
    top: &'a Section<'a>,
    own: Option<&'a str>,
    seen: Vec<String>,
}

impl Found<'_> {
    fn several(&mut self, at: &str, names: &[Node]) -> Option<Tier> {
        if names.is_empty() {
            self.top.problem(at, "is an empty list", "the locations that are equally far");
        }
        let mut places = Vec::new();
        for (n, item) in names.iter().enumerate() {
            let at = format!("{at}[{n}]");
            match word(item).is_some_and(|word| word == ANY) {
                true => self.top.problem(&at, "any is among others", "any alone, as the last"),
                false => places.extend(self.name(&at, item)),
            }
        }
        (!places.is_empty()).then_some(Tier::Places(places))
    }

    /// The name of a location that was not named before.
    fn name(&mut self, at: &str, item: &Node) -> Option<String> {
        let Some(name) = word(item) else {
            self.top.problem(at, format!("is {}, not a location", item.kind()), EXAMPLE);
            return None;
        };
        if name.is_empty() || name.chars().any(char::is_control) {
            self.top.problem(at, "is not one line of plain text", "a location's name");
            return None;
        }
        if self.own == Some(&*name) {
            let hint = "leave it out, or put it first, alone";
            self.top.problem(at, format!("\"{name}\" is this host's own location"), hint);
            return None;
        }
        if self.seen.contains(&name) {
            self.top.problem(at, format!("\"{name}\" is in the list twice"), "keep one of them");
            return None;
        }
        self.seen.push(name.clone());
        Some(name)
    }
}

/// Tags may be numbers in patroni.yml, and count as text.
fn word(node: &Node) -> Option<String> {
    match node {
        Node::Text(text) => Some(text.clone()),
        Node::Int(number) => Some(number.to_string()),
        _ => None,
    }
}
