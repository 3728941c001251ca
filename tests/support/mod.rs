//! What the tests share. Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub mod any_world;
pub mod fake_pgpool;
pub mod fake_pool;
mod fake_replies;
mod fake_worker;
mod in_memory;
pub mod lab;
pub mod postgres;
pub mod print;
mod refusal;
pub mod world;

pub use fake_pgpool::{FakePgpool, Manner, Received};
pub use fake_pool::{Effect, FakePool, FakeSlot};
pub use in_memory::InMemory;
pub use refusal::Refusal;
