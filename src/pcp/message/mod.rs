//! PCP's messages, one file per command group, each described byte by byte in proto-notes/. Values
//! and bytes only: no socket, no clock, no log.

mod fields;
mod node_info;
mod process_info;
mod reply;
mod request;
mod server_error;
mod settings;
mod watchdog;

pub use fields::Malformed;
pub use node_info::{Generation, NodeInfo};
pub use process_info::{ProcessInfo, SessionCount};
pub use reply::Reply;
pub use request::{Request, ShutdownMode};
pub use server_error::ServerError;
pub use settings::{Setting, version};
