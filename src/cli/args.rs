//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::orders::{length, words};

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
Log lines go to stderr; GEO_AGENT_LOG says which (`geo_agent=debug` is -v, which comes first).
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
    /// SIGTERM and SIGINT end it, leaving pgpool as it is; in supervise mode they end pgpool too.
    /// Only one agent works on a pgpool at a time. In a watchdog cluster agents take turns, the one
    /// beside its leader first, and agree on slot numbers in etcd.
    ///
    /// SIGHUP also accepts another cluster, or an older one, under the same scope.
    ///
    /// Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start.
    Run {
        /// Plan and log what would be done, and do nothing of it: pgpool gets no command and
        /// pgpool.conf stays as it is
        #[arg(long)]
        observe: bool,
    },
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
    /// Run twice, it changes nothing the second time. With use_watchdog = on and nothing to adopt
    /// it asks etcd for the first slots: pgpool must not start without any then.
    ///
    /// Exit status: 0 the table is there, 1 error, and the file is as it was.
    Init,
    /// Show slots, members and what pgpool says of them, and whether they agree
    ///
    /// A member is local, in a tier of `locations`, or remote. The round trip is that of a
    /// connection that is made for it.
    ///
    /// Exit status: 0 in sync, 2 not in sync (steps to do, or a hold), 1 error: etcd, PCP or the
    /// slot table could not be read.
    Status {
        /// How to print it
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Keep a member out of all reads for a while, on all sites
    ///
    /// For maintenance: every agent of the cluster detaches the member's slot, sees the reason in
    /// `plan` and `status`, and gives it reads again when the time is over or it is released. A
    /// hold that is there already is replaced. It is kept in etcd beside Patroni's keys, with a
    /// lease: it ends by itself, also when no agent runs. A leader keeps its writes.
    ///
    /// Exit status: 0 it is held, 1 error: no such member, or etcd did not take it.
    Hold {
        /// The member's name in Patroni
        member: String,
        /// For how long: 10s to 7d, as in 90s, 30m, 2h, 1d
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = length)]
        lasts: Duration,
        /// Why, for whoever reads `status`
        #[arg(long, value_name = "TEXT", value_parser = words)]
        reason: Option<String>,
    },
    /// End a member's hold
    ///
    /// Exit status: 0 it is released, 1 it was not held, or error.
    Release {
        /// The member's name in Patroni
        member: String,
    },
    /// Say where a member is, for all sites, whatever its tag says
    ///
    /// Takes effect at once and until it is cleared. `local_backends` of a host's own configuration
    /// still comes first there.
    ///
    /// Exit status: 0 done, 1 error: no such member, nothing to clear, or etcd did not take it.
    Locate {
        /// The member's name in Patroni
        member: String,
        /// The location, as in `location.name` of a site's configuration
        #[arg(value_parser = words, required_unless_present = "clear", conflicts_with = "clear")]
        location: Option<String>,
        /// Take the order back: the tag counts again
        #[arg(long)]
        clear: bool,
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
    /// Reads the command line. Without a sub-command it is the daemon, and then as geo-pgpool-mgr
    /// was called: nobody starts what acts with `-v` alone, or with GEO_AGENT_CONFIG.
    pub fn of(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut clap = <Args as CommandFactory>::command();
        let matches = clap.try_get_matches_from_mut(line)?;
        let args = Args::from_arg_matches(&matches).map_err(|e| e.format(&mut clap))?;
        let config_given = matches.value_source("config") == Some(ValueSource::CommandLine);
        let (kind, why) = match (&args.command, &args.legacy_path) {
            (None, None) => (ErrorKind::MissingSubcommand, "a command is missing: `run`, `plan` …"),
            (Some(_), Some(_)) => (
                ErrorKind::ArgumentConflict,
                "PATH alone is the daemon: with a command, --config PATH",
            ),
            (None, Some(_)) if config_given => {
                (ErrorKind::ArgumentConflict, "PATH and --config are both given: keep one of them")
            }
            _ => return Ok(args),
        };
        Err(clap.error(kind, why))
    }

    pub fn config_path(&self) -> PathBuf {
        let given = self.legacy_path.as_ref().or(self.config.as_ref());
        given.cloned().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG))
    }

    /// Without a sub-command it is the daemon.
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Run { observe: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::of(["geo-agent"].into_iter().chain(line.split(' ')).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <Args as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_path_alone_runs_the_daemon_with_it() {
        let args = read("-v /tmp/x.yaml").unwrap();
        assert!(args.verbose && matches!(args.command(), Command::Run { observe: false }));
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
            let args = read(line).unwrap();
            assert!(args.verbose && matches!(args.command(), Command::Plan { .. }), "{line}");
            assert_eq!(args.config_path(), PathBuf::from("a"), "{line}");
        }
    }

    #[test]
    fn the_daemon_is_never_started_by_accident() {
        for (line, kind) in [
            ("-v", ErrorKind::MissingSubcommand),
            ("--config a", ErrorKind::MissingSubcommand),
            ("-v --config a b", ErrorKind::ArgumentConflict),
            ("a --config b", ErrorKind::ArgumentConflict),
            ("a plan", ErrorKind::ArgumentConflict),
            ("plan a", ErrorKind::UnknownArgument),
        ] {
            let refused = read(line).err().unwrap_or_else(|| panic!("{line} is taken"));
            assert_eq!(refused.kind(), kind, "{line}");
            assert!(refused.to_string().contains("--help"), "{line}: {refused}");
        }
    }
}
