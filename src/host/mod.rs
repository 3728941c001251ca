//! This machine: pgpool.conf on its disk, the lock and the state beside it, pgpool's own files.
//!
//! [`atomic`] writes one file whole or not at all, [`replace`] does that to pgpool.conf with
//! everything that keeps its owner from harm, [`includes`] looks into the files that it includes,
//! [`conf_file`] is all of that behind the seam. [`lock`] keeps a second agent out, [`state`] tells
//! `status` what the daemon thinks, [`damage`] looks for files that a broken pgpool lost,
//! [`writable`] tries whether a file could be replaced, [`wake`] signals its session processes.
//! [`trusted`] reads what was left beside pgpool.conf, if it was an agent that left it.
//!
//! File calls block: the files are a few kilobytes on a local disk, and the agent has nothing
//! better to do meanwhile.

pub mod atomic;
pub mod conf_file;
pub mod damage;
pub mod error;
pub mod includes;
pub mod lock;
pub mod remembered;
pub mod replace;
pub mod saved_elapsed;
pub mod state;
pub mod trusted;
pub mod wake;
pub mod writable;
