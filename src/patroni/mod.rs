//! Patroni through etcd v3: reading a scope, understanding it, following it.
//!
//! Everything up to [`decode`] is pure. [`follow`] is the state machine, [`client`] the only user of
//! the etcd client.

pub mod changes;
pub mod conn_url;
pub mod decode;
mod json;
pub mod keys;
mod member;
mod switchover;
