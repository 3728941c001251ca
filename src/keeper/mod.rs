//! Whoever ends and starts the pgpool on this host: the real [`Keeper`](crate::seams::Keeper), in
//! each restart mode.
//!
//! [`ending`] ends pgpool over PCP and [`command`] runs the operator's command; [`notebook`] is
//! what survives the agent, [`status_file`] what survives pgpool.

pub mod command;
pub mod ending;
pub mod error;
pub mod host;
pub mod notebook;
pub mod status_file;
