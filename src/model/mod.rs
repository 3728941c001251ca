//! The nouns: values that the readers produce, the planner compares and the executor carries out.
//!
//! Nothing here does I/O, reads a clock or logs. Each view is named after the witness who says it:
//! [`cluster`] is Patroni's word, [`pool`] is pgpool's, [`slots`] is the file's, [`reach`] is the
//! probe's, [`elapsed`] is the clock's; [`orders`] are the operators', and [`past`] is the agent's
//! own memory.

pub mod agreed;
pub mod cluster;
pub mod elapsed;
pub mod ids;
pub mod inputs;
pub mod orders;
pub mod past;
pub mod patience;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod reach;
pub mod restart;
pub mod slots;
pub mod turn;
