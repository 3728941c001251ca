//! What the agent remembers of Patroni's word from look to look: enough to see that a view cannot
//! be taken as it is.
//!
//! *Another cluster, or an older one.* PostgreSQL's system identifier changed, or a writable leader
//! is on a lower timeline than its predecessor: somebody bootstrapped anew or restored a backup
//! under the same scope. Everything holds until an operator says that it is meant so.
//!
//! *Mass vanishing.* Most members lose their keys at about the same time. It may be the keys alone
//! (`patronictl remove`, a lost etcd, Patroni killed everywhere while PostgreSQL runs on); then
//! all readers would be taken away from a healthy database. Or it may be the servers (a region is
//! dark), and then leaving them attached would make every new session wait for the dead. The
//! memory cannot tell one from the other, but the servers can: so this never holds everything, it
//! only keeps a vanished member attached *for as long as its server answers as a standby*. Promotes
//! and attaches go on as always; a server that is dead, hangs, or calls itself writable is let go.
//! "Most" is more than half, and at least two: one site of two that goes dark, and members that
//! leave one at a time, are what they seem.
//!
//! Pure: the time is an argument, counted from any fixed point.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{ClusterView, Role};
use super::ids::{Address, MemberName, printable};

/// Members that vanish within this time vanish together. Keys of servers that die together end up
/// to one lease apart (Patroni's `ttl`, 30 s by default); twice that leaves room for a longer one.
/// Longer would mistake a planned dismantling, member by member, for an accident.
pub const TOGETHER: Duration = Duration::from_secs(60);

/// The cluster as it was known so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    pub system_id: Option<String>,
    /// The highest timeline on which a leader was writable.
    pub timeline: Option<u32>,
    pub members: BTreeMap<MemberName, Known>,
}

/// A member that is listed, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub address: Option<Address>,
    /// `None` while it is listed.
    pub missed: Option<Missed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub since: Duration,
    /// It vanished together with most others. Stays so until it is back, or an operator says that
    /// it is gone for good: the others may come back one by one.
    pub with_most: bool,
}

impl Past {
    /// Takes a view in. One that contradicts the past teaches nothing.
    pub fn see(&mut self, view: &ClusterView, now: Duration) {
        if self.contradiction(view).is_some() {
            return;
        }
        if view.system_id.is_some() {
            self.system_id.clone_from(&view.system_id);
        }
        self.timeline = self.timeline.max(timeline(view));
        let recent = |missed: &Missed| now < missed.since + TOGETHER;
        self.members.retain(|_, k| k.missed.is_none_or(|m| m.with_most || recent(&m)));
        for (name, known) in &mut self.members {
            if !view.members.contains_key(name) {
                known.missed.get_or_insert(Missed { since: now, with_most: false });
            }
        }
        for member in view.members.values() {
            let address = member.address.clone().ok();
            self.members.insert(member.name.clone(), Known { address, missed: None });
        }
        let mut gone: Vec<_> = self
            .members
            .values_mut()
            .filter_map(|k| k.missed.as_mut().filter(|m| recent(m)))
            .collect();
        if gone.len() >= 2 && gone.len() > view.members.len() {
            gone.iter_mut().for_each(|missed| missed.with_most = true);
        }
    }

    /// Why this view cannot be the same cluster's, a little later; and what would end that.
    pub fn contradiction(&self, view: &ClusterView) -> Option<String> {
        const ACCEPT: &str = "if that is meant, reload geo-agent (SIGHUP) to accept it";
        if let (Some(was), Some(is)) = (&self.system_id, &view.system_id)
            && was != is
        {
            let (was, is) = (printable(was), printable(is));
            return Some(format!(
                "another cluster is in this scope: its id (`initialize`) was {was} and is {is}; \
                 {ACCEPT}"
            ));
        }
        let (was, is) = (self.timeline?, timeline(view)?);
        (is < was).then(|| {
            format!(
                "the leader's timeline went back from {was} to {is}: a restored backup? {ACCEPT}"
            )
        })
    }

    /// The members that vanished together with most others, and are not back.
    pub fn vanished(&self) -> impl Iterator<Item = (&MemberName, &Known)> {
        self.members.iter().filter(|(_, k)| k.missed.is_some_and(|m| m.with_most))
    }

    /// The member that vanished from this address together with most others.
    pub fn vanished_from(&self, address: &Address) -> Option<&MemberName> {
        self.vanished().find(|(_, k)| k.address.as_ref() == Some(address)).map(|(name, _)| name)
    }
}

/// The timeline of a leader that has been promoted. At the moment when the leader key moves, the
/// new leader's own key may still tell of its time as a replica.
fn timeline(view: &ClusterView) -> Option<u32> {
    let leader = view.leader_member().filter(|m| m.role == Role::Primary && m.is_serving())?;
    leader.timeline
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cluster::{Member, Replication, State};
    use crate::model::orders::Orders;

    const START: Duration = Duration::ZERO;

    fn view(names: &[&str]) -> ClusterView {
        let mut view = ClusterView { leader: Some(MemberName::new("a")), ..ClusterView::default() };
        for name in names {
            let role = if *name == "a" { Role::Primary } else { Role::Replica };
            view.members.insert(MemberName::new(*name), member(name, role, 5));
        }
        view
    }

    fn member(name: &str, role: Role, timeline: u32) -> Member {
        Member {
            name: MemberName::new(name),
            address: Address::new(name, 5432).map_err(|e| e.to_string()),
            role,
            state: State::Running,
            replication: Replication::Unsaid,
            receive_lsn: None,
            replay_lsn: None,
            timeline: Some(timeline),
            noloadbalance: false,
            tags: BTreeMap::new(),
            restart_scheduled: false,
            restart_at: None,
            orders: Orders::default(),
        }
    }

    fn seen(views: &[(&[&str], u64)]) -> Past {
        let mut past = Past::default();
        for (names, at) in views {
            past.see(&view(names), Duration::from_secs(*at));
        }
        past
    }

    fn vanished(past: &Past) -> Vec<&str> {
        past.vanished().map(|(name, _)| name.as_raw()).collect()
    }

    const NOBODY: [&str; 0] = [];

    #[test]
    fn most_at_once_is_more_than_half_and_at_least_two() {
        let vanish = |before: &[&str], after: &[&str]| seen(&[(before, 0), (after, 1)]);
        assert_eq!(vanished(&vanish(&["a", "b"], &["a"])), NOBODY, "one is only one");
        assert_eq!(
            vanished(&vanish(&["a", "b", "c", "d"], &["a", "b"])),
            NOBODY,
            "one site of two"
        );
        assert_eq!(vanished(&vanish(&["a", "b"], &[])), ["a", "b"]);
        let past = vanish(&["a", "b", "c"], &["a"]);
        assert_eq!(vanished(&past), ["b", "c"]);
        let at = |host| Address::new(host, 5432).unwrap();
        assert_eq!(past.vanished_from(&at("b")), Some(&MemberName::new("b")));
        assert_eq!(past.vanished_from(&at("a")), None);
    }

    #[test]
    fn leases_that_end_one_after_the_other_are_one_accident() {
        let story = |third, fourth| {
            let all: &[&str] = &["a", "b", "c", "d"];
            seen(&[(all, 0), (&["a", "b", "c"], 1), (&["a", "b"], third), (&["a"], fourth)])
        };
        assert_eq!(vanished(&story(20, 50)), ["b", "c", "d"]);
        assert_eq!(vanished(&story(70, 140)), NOBODY, "planned, with a minute between them");
    }

    #[test]
    fn an_accident_is_not_forgotten_and_ends_for_each_when_it_is_back() {
        let all: &[&str] = &["a", "b", "c"];
        let mut past = seen(&[(all, 0), (&["a"], 1), (&["a"], 100_000), (&["a", "b"], 100_001)]);
        assert_eq!(vanished(&past), ["c"]);
        past.see(&view(&["a"]), Duration::from_secs(200_000));
        assert_eq!(vanished(&past), ["c"], "one that leaves later leaves in order");
        past.see(&view(all), Duration::from_secs(200_001));
        assert_eq!(vanished(&past), NOBODY);
    }

    #[test]
    fn another_clusters_id_is_refused_and_teaches_nothing() {
        let mut past = Past::default();
        let ours = ClusterView { system_id: Some("7".into()), ..view(&["a", "b"]) };
        let theirs = ClusterView { system_id: Some("8".into()), ..view(&["x"]) };
        past.see(&ours, START);
        let before = past.clone();
        assert!(past.contradiction(&theirs).unwrap().contains("was 7 and is 8"));
        past.see(&theirs, START);
        assert_eq!(past, before);
        // Patroni empties the key while it bootstraps: not known is not another.
        assert_eq!(past.contradiction(&view(&["a"])), None);
        assert_eq!(past.contradiction(&ours), None);
    }

    #[test]
    fn only_a_writable_leaders_timeline_counts() {
        let mut past = seen(&[(&["a", "b"], 0)]);
        assert_eq!(past.timeline, Some(5));
        let led_by_b = |role, timeline| {
            let mut view = view(&["a", "b"]);
            view.leader = Some(MemberName::new("b"));
            view.members.insert(MemberName::new("b"), member("b", role, timeline));
            view
        };
        // The leader key has just moved to a replica that had not said its newest timeline.
        assert_eq!(past.contradiction(&led_by_b(Role::Replica, 4)), None);
        assert!(past.contradiction(&led_by_b(Role::Primary, 4)).unwrap().contains("from 5 to 4"));
        past.see(&led_by_b(Role::Primary, 6), START);
        assert_eq!(past.timeline, Some(6));
    }
}
