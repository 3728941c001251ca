//! pgpool's own protocol: bytes ([`frame`], [`auth`]), messages ([`message`]), and one short
//! connection per batch of requests ([`client`]). proto-notes/ describes it byte by byte.

pub mod auth;
pub mod client;
mod connection;
mod endpoint;
mod error;
pub mod frame;
mod look;
pub mod message;

pub use client::PcpClient;
pub use endpoint::Endpoint;
pub use error::PcpError;
