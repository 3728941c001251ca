//! Which differences between two views are worth a look.

use crate::model::cluster::{ClusterView, Member};

/// Whether two views differ in anything but the revision and WAL positions. Positions move with
/// every write of the cluster, several times a second when it is busy; no decision needs to be
/// taken the moment one moves, and each look finds the newest.
pub fn differs_in_more_than_wal(a: &ClusterView, b: &ClusterView) -> bool {
    // Taken apart, so that a new field cannot be forgotten here.
    let ClusterView {
        revision: _,
        system_id,
        leader,
        members,
        paused,
        standby_cluster,
        sync_standbys,
        switchover,
        leader_lsn: _,
        agreed,
        other_orders,
        notes,
    } = a;
    system_id != &b.system_id
        || leader != &b.leader
        || paused != &b.paused
        || standby_cluster != &b.standby_cluster
        || sync_standbys != &b.sync_standbys
        || switchover != &b.switchover
        || agreed != &b.agreed
        || other_orders != &b.other_orders
        || notes != &b.notes
        || members.len() != b.members.len()
        || members.values().zip(b.members.values()).any(|(a, b)| member_differs(a, b))
}

fn member_differs(a: &Member, b: &Member) -> bool {
    let Member {
        name,
        address,
        role,
        state,
        replication,
        receive_lsn: _,
        replay_lsn: _,
        timeline,
        noloadbalance,
        tags,
        restart_scheduled,
        orders,
        restart_at,
    } = a;
    name != &b.name
        || address != &b.address
        || role != &b.role
        || state != &b.state
        || replication != &b.replication
        || timeline != &b.timeline
        || noloadbalance != &b.noloadbalance
        || tags != &b.tags
        || restart_scheduled != &b.restart_scheduled
        || orders != &b.orders
        || restart_at != &b.restart_at
}
