//! The fake pgpool that the other tests rely on, held against the real one: the same requests to
//! both, and the same answers and the same nodes afterwards.

use std::collections::BTreeMap;

use geo_agent::config::settings::{Login, Pcp, Secret};
use geo_agent::model::ids::{Address, SlotIndex};
use geo_agent::model::pool::{NodeRole, NodeStatus, PoolView};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::pcp::client::{DEADLINE, PcpClient};
use geo_agent::seams::{Ask, Pool, PoolRequest};

use super::cluster::{RUNTIME, ip_of};
use super::docker::{eventually, is};
use super::pgpool::CONF;
use super::scene::{HOME, Scene};
use super::support::{FakePool, InMemory};

/// A slot's status, role and share in thousandths, by number.
type Nodes = BTreeMap<SlotIndex, (NodeStatus, NodeRole, i64)>;

fn nodes(view: &PoolView) -> Nodes {
    let node = |n: &geo_agent::model::pool::PoolNode| (n.status, n.role, (n.share * 1e3) as i64);
    view.nodes.iter().map(|(slot, n)| (*slot, node(n))).collect()
}

/// Is it refused, fatally, and in which words.
type Answer = Result<(), (bool, String)>;

struct Two {
    real: PcpClient,
    fake: InMemory,
}

impl Two {
    fn of(scene: &Scene) -> Two {
        let login = Login { username: "pcp".to_owned(), password: Secret::new("pcp-test") };
        let pcp = Pcp { host: scene.eu.ip().to_string(), port: 9898, login, or_tcp: true };
        let real = PcpClient::new(&pcp, DEADLINE);
        let view = RUNTIME.block_on(real.look(Ask::default())).expect("pgpool answers");
        let backends: Vec<_> =
            view.nodes.values().map(|n| (n.host.as_str(), n.port, n.share)).collect();
        let mut fake = FakePool::new(&backends);
        fake.primary = view.primary().map(SlotIndex::get);
        for (slot, node) in &view.nodes {
            fake.set_status(slot.get(), if node.status == NodeStatus::Down { 3 } else { 2 });
        }
        let home = ip_of(HOME).and_then(|ip| Address::new(&ip.to_string(), 5432).ok());
        fake.writable = home.into_iter().collect();
        let table = |share: f64, host: &str, port| SlotEntry {
            member: None,
            host: host.to_owned(),
            port,
            weight: share,
            data_directory: None,
            application_name: None,
        };
        let entries = view.nodes.iter().map(|(s, n)| (*s, table(n.share, &n.host, n.port)));
        fake.conf = Some(SlotTable { entries: entries.collect() });
        Two { real, fake: InMemory::new(fake) }
    }

    /// Sends the same to both, and waits until the real one shows what the fake one does.
    fn send(&self, requests: &[PoolRequest]) -> Answer {
        let real = RUNTIME.block_on(self.real.send(requests)).map_err(|e| {
            let said = e.by_server().unwrap_or_else(|| panic!("{requests:?}: {e}"));
            (said.is_fatal(), said.message.clone())
        });
        let fake = RUNTIME.block_on(self.fake.send(requests));
        let fake = fake.map_err(|refusal| (refusal.is_fatal, refusal.message));
        assert_eq!(real, fake, "{requests:?}: the answers of the real and of the fake one");
        self.agree(&format!("{requests:?}"));
        real
    }

    fn agree(&self, after: &str) {
        let fake = RUNTIME.block_on(self.fake.look(Ask::default())).expect("the fake one answers");
        eventually(&format!("the same nodes after {after}"), 15, || {
            let real = RUNTIME.block_on(self.real.look(Ask::default()));
            let real = nodes(&real.map_err(|e| e.to_string())?);
            is(real == nodes(&fake), format!("real {real:?}, fake {:?}", nodes(&fake)))
        });
    }

    fn slot_of(&self, member: &str) -> SlotIndex {
        let host = ip_of(member).expect("the member is there").to_string();
        let view = RUNTIME.block_on(self.fake.look(Ask::default())).expect("it answers");
        let slot = view.nodes.iter().find(|(_, n)| n.host == host).map(|(s, _)| *s);
        slot.unwrap_or_else(|| panic!("{member} has no slot"))
    }

    /// Gives a slot another weight in both files.
    fn set_weight(&self, scene: &Scene, slot: SlotIndex, weight: u32, share: f64) {
        let line = format!("s/^backend_weight{slot} = .*/backend_weight{slot} = {weight}/");
        scene.eu.container.shell(&format!("sed -i '{line}' {CONF}"));
        let mut fake = self.fake.0.lock().expect("no panic in here");
        let entry = fake.conf.as_mut().and_then(|conf| conf.entries.get_mut(&slot));
        entry.expect("the slot is in the table").weight = share;
    }
}

#[test]
#[ignore = "needs the stack"]
fn the_fake_pgpool_is_like_the_real_one() {
    use PoolRequest::{Attach, Detach, Promote, Reload};
    let scene = Scene::set();
    scene.eu.stop_agent();
    let two = Two::of(&scene);
    two.agree("nothing");
    let (primary, replica) = (two.slot_of(HOME), two.slot_of("eu-2"));
    let beyond = SlotIndex::new(40).expect("a slot number");

    assert!(two.send(&[Attach(replica)]).is_ok(), "attached already");
    // Not attached: the real one would remember that for a slot that does not exist.
    assert!(two.send(&[Detach(beyond)]).is_err_and(|(fatal, _)| !fatal));
    assert!(two.send(&[Promote(beyond)]).is_err_and(|(fatal, _)| !fatal));
    assert!(two.send(&[Promote(primary)]).is_err_and(|(fatal, _)| fatal));
    assert!(two.send(&[Detach(replica)]).is_ok());
    assert!(two.send(&[Detach(replica)]).is_err_and(|(fatal, _)| !fatal));
    assert!(two.send(&[Promote(replica)]).is_ok(), "without effect: it is down");
    assert!(two.send(&[Attach(replica)]).is_ok());
    assert!(two.send(&[Promote(replica)]).is_ok(), "everything else is down now");
    assert!(two.send(&[Attach(primary)]).is_ok(), "and the search finds the writable one");

    two.set_weight(&scene, replica, 3, 1.5);
    two.agree("a change in the file alone");
    assert!(two.send(&[Reload]).is_ok());
    two.set_weight(&scene, replica, 1, 0.5);
    assert!(two.send(&[Reload]).is_ok());

    assert!(two.send(&[Detach(replica), Promote(primary), Reload]).is_err_and(|(fatal, _)| fatal));
    assert!(two.send(&[Detach(primary)]).is_ok(), "and nobody is left");
    assert!(two.send(&[Attach(primary), Attach(replica)]).is_ok());
    // What was to have no effect has none later either.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    two.agree("a while");
    scene.eu.start_agent();
    scene.finish();
}
