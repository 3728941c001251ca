//! The slot table as text in pgpool.conf. Pure: bytes in, bytes out.
//!
//! Bottom-up: [`lines`] reads a file the way pgpool's own lexer does, [`keys`] knows the
//! `backend_*N` settings, [`quoted`] puts any name on one comment line, [`table`] reads, renders
//! and replaces the agent's block, [`adopt`] takes up the lines of others, [`settings`] and
//! [`findings`] look at the rest. Nothing here ever changes a byte outside the block, except
//! `adopt`, which removes what it adopts.

pub mod adopt;
pub mod error;
pub mod findings;
pub mod keys;
pub mod lines;
pub mod own;
pub mod quoted;
pub mod settings;
pub mod table;
