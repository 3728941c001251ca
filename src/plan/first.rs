//! The first slots of a pgpool with a watchdog, from before it starts. Without any, it crashes the
//! watchdog's leader when it joins (proto-notes/watchdog.md).

use std::collections::BTreeSet;

use crate::model::agreed::{Numbers, Proposal};
use crate::model::cluster::{ClusterView, Member};
use crate::model::ids::{Address, SlotIndex};
use crate::model::policy::Policy;
use crate::model::slots::{PORTS, SlotEntry, SlotTable};

/// What to propose to the other agents; `None`: they have agreed on numbers already, or there is
/// nobody to number.
pub fn proposal(cluster: &ClusterView, policy: &Policy) -> Option<Proposal> {
    let instead_of = cluster.agreed.numbers.clone();
    if instead_of.as_ref().is_some_and(|numbers| !numbers.is_empty()) {
        return None;
    }
    let mut seen = BTreeSet::new();
    let addresses = leader_first(cluster).into_iter().filter_map(|m| m.address.clone().ok());
    let usable = addresses.filter(|a| PORTS.contains(&a.port()) && seen.insert(a.clone()));
    let numbers: Numbers = SlotIndex::all(policy.slots).zip(usable).collect();
    (!numbers.is_empty()).then_some(Proposal { instead_of, numbers })
}

/// The agreed numbers as a table. pgpool attaches all of them when it starts, so somebody has a
/// weight; the daemon does the rest.
pub fn table(cluster: &ClusterView, policy: &Policy) -> SlotTable {
    let numbers = cluster.agreed.numbers.iter().flatten();
    let usable = numbers.filter(|(slot, _)| slot.get() < usize::from(policy.slots));
    let members = leader_first(cluster);
    let at = |address| members.iter().copied().find(|m| m.address.as_ref() == Ok(address));
    let entries = usable.map(|(slot, address)| (*slot, entry(at(address), policy, address)));
    let mut table = SlotTable { entries: entries.collect() };
    if table.entries.values().all(|entry| entry.weight <= 0.0) {
        let leader = cluster.leader_member().and_then(|m| m.address.as_ref().ok());
        let leader = leader.and_then(|at| table.slot_at(at));
        let reads = leader.or_else(|| table.entries.keys().next().copied());
        if let Some(entry) = reads.and_then(|slot| table.entries.get_mut(&slot)) {
            entry.weight = 1.0;
        }
    }
    table
}

fn entry(member: Option<&Member>, policy: &Policy, address: &Address) -> SlotEntry {
    let reads = member.filter(|m| m.is_serving() && !m.noloadbalance);
    let weight = reads.and_then(|m| policy.local_weight(m)).unwrap_or(0.0);
    SlotEntry {
        member: member.map(|m| m.name.clone()),
        host: address.host().to_owned(),
        port: address.port(),
        weight,
        ..SlotEntry::default()
    }
}

fn leader_first(cluster: &ClusterView) -> Vec<&Member> {
    let mut members: Vec<&Member> = cluster.members.values().collect();
    members.sort_by_cached_key(|m| (cluster.leader.as_ref() != Some(&m.name), !m.is_serving()));
    members
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::cluster::{Replication, Role, State};
    use crate::model::ids::MemberName;
    use crate::model::orders::Orders;

    fn member(name: &str, port: u32) -> Member {
        Member {
            name: MemberName::new(name),
            address: Address::new(name, port).map_err(|e| e.to_string()),
            role: Role::Replica,
            state: State::Running,
            replication: Replication::Unsaid,
            receive_lsn: None,
            replay_lsn: None,
            timeline: None,
            noloadbalance: false,
            tags: BTreeMap::from([("location".to_owned(), name[..2].to_owned())]),
            restart_scheduled: false,
            orders: Orders::default(),
            restart_at: None,
        }
    }

    fn cluster(leader: &str, members: &[Member]) -> ClusterView {
        let members = members.iter().map(|m| (m.name.clone(), m.clone())).collect();
        ClusterView { leader: Some(MemberName::new(leader)), members, ..ClusterView::default() }
    }

    fn policy(location: &str) -> Policy {
        Policy { slots: 3, location: Some(location.to_owned()), ..Policy::default() }
    }

    fn hosts(numbers: &Numbers) -> Vec<(usize, &str)> {
        numbers.iter().map(|(slot, a)| (slot.get(), a.host())).collect()
    }

    #[test]
    fn the_leader_comes_first_and_what_pgpool_cannot_take_or_has_already_is_left_out() {
        let twin = Member {
            address: Address::new("eu-1", 5432).map_err(|e| e.to_string()),
            ..member("eu-3", 5432)
        };
        let broken = Member { address: Err("no host".to_owned()), ..member("eu-4", 5432) };
        let all = [
            member("eu-1", 5432),
            member("eu-2", 80),
            twin,
            broken,
            member("us-1", 5432),
            member("us-2", 5432),
            member("us-3", 5432),
        ];
        let cluster = cluster("us-2", &all);
        let proposal = proposal(&cluster, &policy("eu")).unwrap();
        assert_eq!(proposal.instead_of, None);
        assert_eq!(hosts(&proposal.numbers), [(0, "us-2"), (1, "eu-1"), (2, "us-1")]);
    }

    #[test]
    fn agreed_numbers_stay_and_an_empty_agreement_is_none() {
        let mut cluster = cluster("eu-1", &[member("eu-1", 5432)]);
        cluster.agreed.numbers = Some(Numbers::new());
        let first = proposal(&cluster, &policy("eu")).unwrap();
        assert_eq!(first.instead_of, Some(Numbers::new()));
        cluster.agreed.numbers = Some(first.numbers);
        assert_eq!(proposal(&cluster, &policy("eu")), None);
    }

    #[test]
    fn nobody_is_no_proposal() {
        assert_eq!(proposal(&ClusterView::default(), &policy("eu")), None);
    }

    #[test]
    fn local_members_read_else_the_leader_and_numbers_beyond_the_table_are_left_out() {
        let resting = Member { noloadbalance: true, ..member("eu-2", 5432) };
        let mut cluster = cluster("us-1", &[member("eu-1", 5432), resting, member("us-1", 5432)]);
        let slots = ["gone", "eu-1", "us-1", "eu-2"].map(|h| Address::new(h, 5432).unwrap());
        cluster.agreed.numbers = Some(SlotIndex::all(4).zip(slots).collect());
        let weights = |location| {
            let table = table(&cluster, &policy(location));
            let entries = table.entries.values();
            let row = |e: &SlotEntry| (e.host.clone(), e.member.is_some(), e.weight);
            entries.map(row).collect::<Vec<_>>()
        };
        let row = |host: &str, known, weight| (host.to_owned(), known, weight);
        let eu = [row("gone", false, 0.0), row("eu-1", true, 1.0), row("us-1", true, 0.0)];
        assert_eq!(weights("eu"), eu);
        let nowhere = [row("gone", false, 0.0), row("eu-1", true, 0.0), row("us-1", true, 1.0)];
        assert_eq!(weights("asia"), nowhere);
    }
}
