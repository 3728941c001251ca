//! The whole thing against the real thing: `SUITE=… scripts/stack up`, `scripts/stack wait`, then
//! `SUITE=… cargo test --test e2e -- --ignored --test-threads=1`. Judged by pgpool's own
//! `pcp_node_info` and by what real clients meet, never by the agent's word alone.

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod clients;
mod cluster;
mod damage;
mod docker;
mod pgpool;
mod scene;
mod trio;

mod failover;
mod fake_vs_real;
mod layout;
mod loss;
mod members;
mod orders;
mod sessions;
mod supervise;
mod switchover;
mod tiers;
mod unknown;
mod watchdog;
