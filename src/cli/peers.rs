//! `geo-agent check` in a watchdog cluster: do its agents want the same, and do they all speak up?

use crate::model::agreed::{Agreed, Peer};
use crate::model::ids::{Address, SlotIndex, printable};
use crate::model::policy::Policy;
use crate::model::pool::Watchdog;
use crate::plan::agree::in_common;

/// What is wrong, and what to do about it.
#[derive(Debug, PartialEq)]
pub enum Finding {
    Bad(String, &'static str),
    Advice(String, &'static str),
}

const SAME: &str = "what one agent attaches is attached for all: give every agent of this watchdog \
    cluster the same settings";
const SPEAK: &str = "does geo-agent run there, and may its etcd user write? It needs readwrite \
    below geo-agent/ in Patroni's scope (see \"Watchdog\" in the README)";
const ANEW: &str =
    "start that pgpool anew with an empty slot table (see \"Watchdog\" in the README)";

/// Every finding about the agents beside these pgpools, this one (whose daemon may run) included.
pub fn findings(
    policy: &Policy,
    watchdog: &Watchdog,
    agreed: &Agreed,
    daemon_runs: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, (name, state)) in watchdog.nodes.iter().enumerate() {
        let here = number == 0;
        let expected = if here { daemon_runs } else { matches!(&**state, "LEADER" | "STANDBY") };
        match agreed.peers.get(name) {
            Some(peer) => findings.extend(of_peer(policy, name, peer, agreed)),
            None if expected => {
                let what = format!("the agent beside {} says nothing in etcd", printable(name));
                findings.push(Finding::Advice(what, SPEAK));
            }
            None => {}
        }
    }
    findings
}

fn of_peer(policy: &Policy, name: &str, peer: &Peer, agreed: &Agreed) -> Vec<Finding> {
    let name = printable(name);
    let own = in_common(policy);
    let differs = own.iter().filter_map(|(setting, here)| {
        let there = peer.settings.get(setting)?;
        let what = format!("{setting} is \"{here}\" here and \"{there}\" beside {name}");
        (here != there).then_some(Finding::Bad(what, SAME))
    });
    let numbers = agreed.numbers.iter().flatten();
    let misplaced = numbers.filter_map(|(slot, address)| {
        let there = other_server(peer, *slot, address)?;
        let what = format!("slot {slot} is {address} by agreement, and {there} in {name}");
        Some(Finding::Bad(what, ANEW))
    });
    differs.chain(misplaced).collect()
}

fn other_server<'a>(peer: &'a Peer, slot: SlotIndex, address: &Address) -> Option<&'a Address> {
    peer.knows.get(&slot).filter(|there| *there != address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(location: &str) -> Policy {
        Policy { location: Some(location.to_owned()), sql_probe: true, ..Policy::default() }
    }

    fn trio() -> Watchdog {
        let node = |(name, state): (&str, &str)| (name.to_owned(), state.to_owned());
        let nodes = [("wd-1", "STANDBY"), ("wd-2", "LEADER"), ("wd-3", "LOST")].map(node).to_vec();
        Watchdog { nodes, leader: Some("wd-2".to_owned()), quorum: true }
    }

    fn server(n: usize, host: &str) -> (SlotIndex, Address) {
        (SlotIndex::new(n).unwrap(), Address::new(host, 5432).unwrap())
    }

    fn peer(location: &str, host: &str) -> Peer {
        let settings = in_common(&policy(location));
        Peer { knows: [server(0, host)].into(), learns: true, settings }
    }

    #[test]
    fn agents_that_want_the_same_are_fine() {
        let peers = [("wd-1".to_owned(), peer("eu", "a")), ("wd-2".to_owned(), peer("eu", "a"))];
        let agreed = Agreed { numbers: Some([server(0, "a")].into()), peers: peers.into() };
        assert_eq!(findings(&policy("eu"), &trio(), &agreed, true), []);
    }

    #[test]
    fn whoever_differs_or_says_nothing_is_named() {
        let peers = [("wd-2".to_owned(), peer("us", "b"))];
        let agreed = Agreed { numbers: Some([server(0, "a")].into()), peers: peers.into() };
        let said = findings(&policy("eu"), &trio(), &agreed, true);
        let words = |f: &Finding| match f {
            Finding::Bad(what, _) => format!("bad: {what}"),
            Finding::Advice(what, _) => format!("advice: {what}"),
        };
        assert_eq!(
            said.iter().map(words).collect::<Vec<_>>(),
            [
                "advice: the agent beside wd-1 says nothing in etcd",
                "bad: location.name is \"eu\" here and \"us\" beside wd-2",
                "bad: slot 0 is a:5432 by agreement, and b:5432 in wd-2",
            ]
        );
        // Nobody expects a word from an agent that does not run.
        assert_eq!(findings(&policy("eu"), &trio(), &agreed, false).len(), 2);
    }
}
