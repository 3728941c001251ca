//! geo-agent keeps a long-lived Pgpool-II in line with a Patroni cluster, over PCP, without
//! restarting it.
//!
//! # Layout, in the order in which data flows
//!
//! | module | what it does | may import |
//! |---|---|---|
//! | [`model`] | nouns: what Patroni, pgpool, the file and the probe say; the plan | std |
//! | [`seams`] | the traits through which the loop sees the outside | `model` |
//! | [`plan`] | decides: views in, a [`model::plan::Plan`] out; pure | `model` |
//! | [`pgpool_conf`] | the slot table as text in pgpool.conf; pure | `model` |
//! | [`patroni`] | etcd keys to a [`model::cluster::ClusterView`], following them, telling other agents | `model`, `config`, `backoff` |
//! | [`pcp`] | pgpool's own protocol: bytes, messages, one short connection per batch | `model`, `config`, `seams` |
//! | [`probe`] | asks a PostgreSQL: are you there, are you writable? | `model`, `config`, `seams` |
//! | [`host`] | this machine: replacing a file, holding a lock, looking at pgpool's files | `model`, `pgpool_conf`, `seams` |
//! | [`history`] | what the looks have shown of time, for a planner without a clock; pure | `model` |
//! | [`observe`] | gathers one set of inputs | `seams`, `plan`, `model`, `history` |
//! | [`restart`] | pgpool with another layout, or back to the old one, wherever it is broken off | `seams`, `model` |
//! | [`keeper`] | ends and starts pgpool: a command, PCP, or as its owner; what is noted of that | `model`, `config`, `seams`, `pcp`, `host`, `pgpool_conf` |
//! | [`apply`] | carries a plan out, step by step, and verifies each by looking again | `seams`, `model`, `restart` |
//! | [`retry`] | when to look again; pure | std |
//! | [`turns`] | when this agent's turn comes in a watchdog cluster | `plan`, `model` |
//! | [`holding`] | since when each hold holds; pure | `model` |
//! | [`reconcile`] | the loop: wait, observe, plan, apply, look again | the above, and `patroni`'s word |
//! | [`config`] | the YAML file to checked settings; every problem in one report | `yaml`, `model` |
//! | [`yaml`], [`backoff`] | the only users of two unmaintained crates | std |
//! | [`cli`] | the commands; the only place that knows all real types | everything |
//!
//! `tests/tidy.rs` holds these directions.

pub mod apply;
pub mod backoff;
pub mod cli;
pub mod config;
pub mod history;
pub mod holding;
pub mod host;
pub mod keeper;
pub mod model;
pub mod observe;
pub mod patroni;
pub mod pcp;
pub mod pgpool_conf;
pub mod plan;
pub mod probe;
pub mod reconcile;
pub mod restart;
pub mod retry;
pub mod seams;
pub mod turns;
pub mod yaml;
