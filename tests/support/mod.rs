//! What several tests share.
#![allow(dead_code, unused_imports)] // each test binary uses its part

pub mod fake_pgpool;
pub mod fake_pool;
mod fake_replies;
mod fake_worker;
mod in_memory;
mod refusal;

pub use fake_pgpool::{FakePgpool, Manner, Received};
pub use fake_pool::{Effect, FakePool, FakeSlot};
pub use in_memory::InMemory;
pub use refusal::Refusal;
