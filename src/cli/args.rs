//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

const DEFAULT_CONFIG: &str = "/etc/geo-agent/config.yaml";

const ABOUT: &str =
    "Keeps a long-lived Pgpool-II in line with a Patroni cluster, over PCP, without restarting it";

const LONG_ABOUT: &str = "\
Keeps a long-lived Pgpool-II in line with a Patroni cluster, over PCP, without restarting it.

geo-agent follows Patroni's state in etcd v3, keeps a table of backend slots in pgpool.conf, and
attaches, detaches and promotes backends as roles and locations change. Writes go to the leader
wherever it is, reads to the replicas nearby.

First steps:
  1. geo-agent check     is everything there, readable and reachable?
  2. geo-agent init      put the slot table into pgpool.conf (keeps a backup)
  3. geo-agent plan      what would be done now, why, and whose sessions it would end
  4. geo-agent run       the daemon";

const AFTER_HELP: &str = "\
Exit status: 0 done, or nothing to do; 1 error; 2 `plan` has steps, `status` is not in sync.
Log lines go to stderr; GEO_AGENT_LOG says which (`geo_agent=debug` is what -v does).
`geo-agent [-v] PATH` means `geo-agent run --config PATH`, as geo-pgpool-mgr was called.";

#[derive(Parser)]
#[command(name = "geo-agent", version, about = ABOUT, long_about = LONG_ABOUT)]
#[command(after_help = AFTER_HELP)]
#[command(subcommand_precedence_over_arg = true, arg_required_else_help = true)]
pub struct Args {
    /// Debug logging
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// The configuration file; /etc/geo-agent/config.yaml without this
    #[arg(long, global = true, env = "GEO_AGENT_CONFIG", value_name = "PATH")]
    config: Option<PathBuf>,

    /// Run as the daemon with this configuration (the way geo-pgpool-mgr was called)
    #[arg(value_name = "PATH")]
    legacy_path: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Clone)]
pub enum Command {
    /// The daemon: follow Patroni and keep pgpool in line
    ///
    /// Acts when Patroni's keys change, compares everything again every few seconds, and holds
    /// still, saying why, when it does not know enough. SIGHUP reads the configuration again;
    /// SIGTERM and SIGINT end it, leaving pgpool as it is. Only one agent works on a pgpool at a
    /// time. In a watchdog cluster agents take turns, the one beside its leader first, and agree
    /// on slot numbers in etcd.
    ///
    /// Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start.
    Run,
    /// Show what would be done now, in order, why, and whom it would disturb; changes nothing
    ///
    /// Exit status: 0 nothing to do, 2 there are steps, 1 error: etcd, PCP or the slot table could
    /// not be read.
    Plan {
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Carry out one plan, verify it, and exit
    ///
    /// Exit status: 0 in sync, 1 error or not in sync; a hold is not in sync. Refuses to start
    /// beside a running daemon.
    Apply,
    /// Put the slot table into pgpool.conf, adopting the backend_* lines that are there
    ///
    /// Every other line stays byte for byte. Beside the file are kept what it was before this
    /// change (.geo-agent.bak) and before the first one ever (.geo-agent.orig). Touches no process.
    /// Run twice, it changes nothing the second time.
    ///
    /// Exit status: 0 the table is there, 1 error, and the file is as it was.
    Init,
    /// Show slots, members and what pgpool says of them, and whether they agree
    ///
    /// Exit status: 0 in sync, 2 not in sync (steps to do, or a hold), 1 error: etcd, PCP or the
    /// slot table could not be read.
    Status {
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Check configuration, files, etcd, PCP, PostgreSQL: every finding, with what to do about it
    ///
    /// In a watchdog cluster also whether its agents want the same, and have the same slots.
    ///
    /// Exit status: 0 fine (perhaps with advice), 1 something has to be mended.
    Check,
}

#[derive(ValueEnum, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
}

impl Args {
    pub fn config_path(&self) -> PathBuf {
        let given = self.legacy_path.as_ref().or(self.config.as_ref());
        given.cloned().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }

    /// Without a sub-command it is the daemon.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        <Args as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_path_alone_runs_the_daemon_with_it() {
        let args = Args::try_parse_from(["geo-agent", "-v", "/tmp/x.yaml"]).unwrap();
        assert!(args.verbose && matches!(args.command(), Command::Run));
        assert_eq!(args.config_path(), PathBuf::from("/tmp/x.yaml"));
    }

    #[test]
    fn the_help_names_the_default_configuration() {
        let help = <Args as CommandFactory>::command().render_long_help().to_string();
        assert!(help.contains(DEFAULT_CONFIG), "{help}");
    }

    #[test]
    fn verbose_and_config_go_anywhere() {
        for line in ["plan -v --config a", "-v plan --config a", "--config a -v plan"] {
            let words = ["geo-agent"].into_iter().chain(line.split(' '));
            let args = Args::try_parse_from(words).unwrap();
            assert!(args.verbose && matches!(args.command(), Command::Plan { .. }), "{line}");
            assert_eq!(args.config_path(), PathBuf::from("a"), "{line}");
        }
    }
}
