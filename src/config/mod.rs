//! The configuration: one YAML file, checked as a whole before anything starts.
//!
//! Text to a tree (`yaml`), the tree to settings, each section in its own file. Every problem is
//! found in one reading. Files named by it are looked at (a secret is read); nothing is contacted.

mod etcd;
pub mod keys;
mod locality;
mod patience;
mod pgpool;
mod probe;
mod problem;
mod restart;
mod secret;
mod section;
pub mod settings;
mod size;
mod span;
mod tiers;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::model::policy::{OnPrimaryLoss, Policy};
use crate::yaml;
use problem::Reading;
pub use problem::{ConfigError, Problem};
use section::Section;
use settings::{Config, Restart};

/// A configuration that can be worked with, and what is doubtful about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

/// Reads and checks a configuration file. Relative paths in it start at its directory.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let (text, mode) = read(path).map_err(unreadable)?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    parse_with_mode(&text, base_dir, Some(mode))
        .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
}

/// Checks the text of a configuration. Relative paths in it start at `base_dir`.
pub fn parse(text: &str, base_dir: &Path) -> Result<Loaded, Vec<Problem>> {
    parse_with_mode(text, base_dir, None)
}

fn read(path: &Path) -> io::Result<(String, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut text = String::new();
    // One byte more than the parser takes, so that it is the parser who says "too large".
    file.take(yaml::BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok((text, mode))
}

fn parse_with_mode(text: &str, base_dir: &Path, mode: Option<u32>) -> Result<Loaded, Vec<Problem>> {
    let tree = yaml::parse(text).map_err(|error| {
        let place = |(line, column)| format!("line {line}, column {column}");
        let path = error.at.map_or_else(|| "the file".to_owned(), place);
        let hint = "the file is not YAML that can be read; nothing else was checked";
        vec![Problem { path, message: error.message, hint: hint.to_owned() }]
    })?;
    let reading = Reading::new(text, base_dir, mode);
    let config = check(&Section::new(String::new(), &tree, &reading));
    let warnings = reading.finish()?;
    // Whoever answers `None` has reported a problem; this is for the day when one forgets.
    let forgotten = || Problem {
        path: "the file".to_owned(),
        message: "is not usable".to_owned(),
        hint: "this is a mistake in geo-agent: please report it".to_owned(),
    };
    Ok(Loaded { config: config.ok_or_else(|| vec![forgotten()])?, warnings })
}

/// Every section is checked before any is missed.
fn check(top: &Section) -> Option<Config> {
    let etcd_section = top.section("etcd3");
    let etcd = etcd::check(&etcd_section);
    let locality = locality::check(top);
    let pgpool = pgpool::check(&top.section("pgpool"));
    let probe = probe::check(&top.section("probe"));
    let patience = patience::check(top);
    let on_primary_loss = on_primary_loss(top);
    let (pgpool, slots, restart) = pgpool?;
    if matches!(pgpool.restart, Restart::Supervise(_)) && pgpool.pcp.is_none() {
        etcd::warn_of_other_namespace(&etcd_section);
    }
    let policy = Policy {
        slots,
        location: locality.location,
        location_tag: locality.tag,
        local_backends: locality.local_backends,
        farther: locality.farther,
        sql_probe: probe.is_some(),
        on_primary_loss: on_primary_loss?,
        restart,
        patience,
    };
    Some(Config { etcd: etcd?, pgpool, probe, policy })
}

fn on_primary_loss(top: &Section) -> Option<OnPrimaryLoss> {
    if !top.given("on_primary_loss") {
        return Some(OnPrimaryLoss::default());
    }
    match top.text("on_primary_loss")?.as_str() {
        "stand_in" => Some(OnPrimaryLoss::StandIn),
        "wait" => Some(OnPrimaryLoss::Wait),
        other => {
            let message = format!("\"{other}\" is not known");
            top.problem("on_primary_loss", message, "stand_in or wait");
            None
        }
    }
}
