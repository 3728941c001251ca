//! Whoever ends and starts the pgpool on this host: the real [`Keeper`](crate::seams::Keeper), in
//! each restart mode, is in [`host`].
//!
//! [`ending`] ends pgpool over PCP and [`command`] runs the operator's command; [`owner`] starts
//! and owns pgpool as a [`process`], with a PCP [`access`] of its own, whose [`socket`] it misses
//! when that is gone. [`notebook`] is what survives the agent, [`status_file`] what survives
//! pgpool.

pub mod access;
pub mod command;
pub mod ending;
pub mod error;
pub mod host;
pub mod notebook;
pub mod owner;
pub mod process;
pub mod socket;
pub mod status_file;
