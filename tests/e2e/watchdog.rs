//! Three pgpools with a watchdog and a delegate IP. Whatever of them dies, a switchover reaches
//! those that are left, once, and none of them flaps.

use super::trio::{NAMES, Trio, cut_off, kill};

/// One test: the stage is the same for all of it, and setting it takes longest.
#[test]
#[ignore = "needs the stack"]
fn whatever_dies_a_switchover_reaches_who_is_left() {
    let trio = Trio::start();
    trio.begin();
    trio.follow_a_switchover("all well", &NAMES);

    let leader = trio.begin();
    leader.stop_agent();
    trio.follow_a_switchover("the leader's agent is dead", &NAMES);
    leader.start_agent();

    let leader = trio.begin();
    leader.cut_from_etcd(false); // its agent takes what it saw last for the truth, for 10 s
    trio.follow_a_switchover("the leader's agent is cut off from etcd", &NAMES);
    leader.heal();

    let leader = trio.begin();
    kill(leader);
    trio.follow_a_switchover("the leader's pgpool was killed", &trio.others(leader));
    trio.settle();

    let leader = trio.begin();
    cut_off(leader);
    trio.follow_a_switchover("the leader's host has no network", &trio.others(leader));
    trio.settle();

    let leader = trio.begin();
    let left = trio.others(leader);
    kill(leader);
    kill(trio.of(left[0]));
    trio.follow_a_switchover("two of three are dead", &left[1..]);
    trio.settle();
}
