//! pgpool's own protocol: bytes ([`frame`], [`auth`]) and messages ([`message`]). proto-notes/
//! describes it byte by byte.

pub mod auth;
pub mod frame;
pub mod message;
