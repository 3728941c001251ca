//! The agreement of watchdog clusters as keys: `geo-agent/slots` and `geo-agent/pgpools/<name>`
//! below the scope, each a small JSON object. Patroni passes over them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::json;
use super::keys::FOLDER;
use super::member::short;
use crate::model::agreed::{Agreed, Numbers, Peer};
use crate::model::ids::{Address, SlotIndex, printable};

pub fn numbers_key(base: &str) -> String {
    format!("{base}/{FOLDER}/slots")
}

/// A name may hold anything; in a key it is one level.
pub fn peer_key(base: &str, name: &str) -> String {
    format!("{base}/{FOLDER}/pgpools/{}", name.replace('/', "_"))
}

pub fn numbers_value(numbers: &Numbers) -> String {
    json!({"slots": object(numbers)}).to_string()
}

pub fn peer_value(name: &str, peer: &Peer) -> String {
    let Peer { knows, learns, settings } = peer;
    json!({"name": name, "knows": object(knows), "learns": learns, "settings": settings})
        .to_string()
}

fn object(numbers: &Numbers) -> Map<String, Value> {
    numbers.iter().map(|(slot, a)| (slot.to_string(), a.to_string().into())).collect()
}

/// Takes one key of the folder in; `path` is what comes after `geo-agent/`. Numbers that cannot be
/// understood are as good as none: then the agents agree anew, on what their pgpools have.
pub fn take(path: &str, value: &[u8], agreed: &mut Agreed, notes: &mut Vec<String>) {
    match path.split_once('/') {
        None if path == "slots" => {
            agreed.numbers = numbers_of(value);
            if agreed.numbers.is_none() {
                notes.push(format!("{FOLDER}/slots is no slot table and was ignored"));
            }
        }
        Some(("pgpools", _)) => match peer_of(value) {
            Some((name, peer)) => drop(agreed.peers.insert(name, peer)),
            None => notes.push(format!("{FOLDER}/{} was ignored", short(path))),
        },
        _ => {}
    }
}

pub fn numbers_of(value: &[u8]) -> Option<Numbers> {
    numbers(json::object(value)?.get("slots")?)
}

/// All of them or none, and no address twice.
fn numbers(value: &Value) -> Option<Numbers> {
    let one = |(slot, address): (&String, &Value)| {
        let (host, port) = address.as_str()?.rsplit_once(':')?;
        Some((SlotIndex::new(slot.parse().ok()?)?, Address::new(host, port.parse().ok()?).ok()?))
    };
    let numbers: Numbers = value.as_object()?.iter().map(one).collect::<Option<_>>()?;
    let mut addresses: Vec<_> = numbers.values().collect();
    addresses.sort();
    addresses.windows(2).all(|pair| pair[0] != pair[1]).then_some(numbers)
}

fn peer_of(value: &[u8]) -> Option<(String, Peer)> {
    let fields = json::object(value)?;
    let name = printable(fields.get("name")?.as_str()?);
    let text = |(k, v): (&String, &Value)| Some((printable(k), printable(v.as_str()?)));
    let settings: BTreeMap<_, _> =
        fields.get("settings")?.as_object()?.iter().filter_map(text).collect();
    let learns = fields.get("learns").and_then(json::truth) == Some(true);
    Some((name, Peer { knows: numbers(fields.get("knows")?)?, learns, settings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(slots: &[(usize, &str)]) -> Numbers {
        let one = |(n, host): &(usize, &str)| {
            (SlotIndex::new(*n).unwrap(), Address::new(host, 5432).unwrap())
        };
        slots.iter().map(one).collect()
    }

    fn taken(path: &str, value: &str) -> (Agreed, Vec<String>) {
        let (mut agreed, mut notes) = (Agreed::default(), Vec::new());
        take(path, value.as_bytes(), &mut agreed, &mut notes);
        (agreed, notes)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let numbers = table(&[(0, "10.0.0.1"), (3, "2001:db8::1")]);
        assert_eq!(taken("slots", &numbers_value(&numbers)).0.numbers, Some(numbers.clone()));
        let settings = BTreeMap::from([("location.name".to_owned(), "eu".to_owned())]);
        let peer = Peer { knows: numbers, learns: true, settings };
        let name = "wd-1:5432 Linux wd-1";
        let (agreed, notes) = taken("pgpools/x", &peer_value(name, &peer));
        assert_eq!((agreed.peers.get(name), notes.len()), (Some(&peer), 0));
    }

    #[test]
    fn a_broken_table_is_none_at_all() {
        for broken in [
            "",
            "[]",
            "{}",
            r#"{"slots": {"0": "a:5432", "1": "b'; drop:5432"}}"#,
            r#"{"slots": {"0": "a:5432", "128": "b:5432"}}"#,
            r#"{"slots": {"0": "a:5432", "1": "a:5432"}}"#,
            r#"{"slots": {"0": "a:0"}}"#,
            r#"{"slots": {"0": 7}}"#,
        ] {
            let (agreed, notes) = taken("slots", broken);
            assert_eq!((agreed.numbers, notes.len()), (None, 1), "{broken}");
        }
    }
}
