//! What the agents of a watchdog cluster tell each other.

use std::time::Duration;

use geo_agent::config::settings::{Etcd, Login, Secret};
use geo_agent::model::agreed::{Numbers, Peer, Proposal, Word};
use geo_agent::model::cluster::ClusterView;
use geo_agent::model::ids::{Address, SlotIndex};
use geo_agent::patroni::Seen;
use geo_agent::patroni::agreed::peer_key;
use geo_agent::patroni::read::read_once;
use geo_agent::patroni::scribe::Scribe;
use geo_agent::patroni::write::number;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::access::with_auth;
use super::server::Server;
use super::{SECOND, fill, follow, settings};

fn numbers(hosts: &[&str]) -> Numbers {
    let address = |host: &&str| Address::new(host, 5432).unwrap();
    (0..).map(|n| SlotIndex::new(n).unwrap()).zip(hosts.iter().map(address)).collect()
}

fn word(name: &str, hosts: &[&str]) -> Word {
    let peer = Peer { knows: numbers(hosts), learns: true, ..Peer::default() };
    let proposal = Some(Proposal { instead_of: None, numbers: numbers(hosts) });
    Word { name: name.to_owned(), peer, proposal }
}

/// An agent that keeps saying this.
fn tell(settings: &Etcd, word: Word) -> (watch::Sender<Option<Word>>, JoinHandle<()>) {
    let (words, told) = watch::channel(Some(word));
    (words, tokio::spawn(Scribe::new(settings, told).run()))
}

async fn until(
    seen: &mut watch::Receiver<Seen>,
    limit: Duration,
    so: impl Fn(&ClusterView) -> bool,
) -> ClusterView {
    let is = |s: &Seen| s.known().is_some_and(|v| so(v));
    let found = timeout(limit, seen.wait_for(is)).await.expect("in time").expect("followed");
    found.known().expect("known").as_ref().clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn of_two_proposals_the_first_wins_and_both_agents_are_heard_while_they_live() {
    let server = Server::start(&[]).await;
    let etcd = settings(&[server.host()]);
    fill(&mut server.client().await).await;
    let mut seen = follow(&etcd);
    let (_one, first) = tell(&etcd, word("wd-1", &["a", "b"]));
    let (_two, second) = tell(&etcd, word("wd-2", &["b", "a"]));
    // Of agents that are heard, once numbers are agreed on.
    let told = |v: &ClusterView| v.agreed.numbers.as_ref().map_or(0, |_| v.agreed.peers.len());
    let view = until(&mut seen, 3 * SECOND, |v| told(v) == 2).await;
    let agreed = view.agreed.numbers.expect("one of the two");
    assert!(agreed == numbers(&["a", "b"]) || agreed == numbers(&["b", "a"]), "{agreed:?}");
    // Longer than the lease: both go on, and the loser's proposal stays without effect.
    sleep(13 * SECOND).await;
    let view = until(&mut seen, SECOND, |_| true).await;
    assert_eq!((view.agreed.peers.len(), view.agreed.numbers), (2, Some(agreed)));
    // One is deleted behind its back, and says it again.
    let key = peer_key(&etcd.base, "wd-1");
    server.client().await.delete(key, None).await.expect("etcd takes it");
    until(&mut seen, SECOND, |v| told(v) == 1).await;
    until(&mut seen, 8 * SECOND, |v| told(v) == 2).await;
    second.abort();
    let left = until(&mut seen, 15 * SECOND, |v| told(v) == 1).await;
    assert!(left.agreed.peers.contains_key("wd-1"));
    first.abort();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn numbers_that_were_agreed_on_before_any_agent_lives_stay() {
    let server = Server::start(&[]).await;
    let etcd = settings(&[server.host()]);
    fill(&mut server.client().await).await;
    for hosts in [["a", "b"], ["b", "a"]] {
        let first = Proposal { instead_of: None, numbers: numbers(&hosts) };
        number(&etcd, &first).await.expect("etcd takes it");
    }
    let view = read_once(&etcd).await.expect("etcd answers");
    assert_eq!(view.agreed.numbers, Some(numbers(&["a", "b"])));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an etcd binary"]
async fn whoever_may_not_write_tells_nothing_and_keeps_following() {
    let server = Server::start(&[]).await;
    drop(with_auth(&server).await);
    let login = Some(Login { username: "geo".into(), password: Secret::new("secret") });
    let etcd = Etcd { login, ..settings(&[server.host()]) };
    let mut seen = follow(&etcd);
    let (_words, scribe) = tell(&etcd, word("wd-1", &["a"]));
    sleep(2 * SECOND).await;
    let view = until(&mut seen, SECOND, |v| v.leader.is_some()).await;
    assert_eq!(view.agreed, Default::default());
    assert!(!scribe.is_finished());
}
