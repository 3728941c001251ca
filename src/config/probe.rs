//! The `probe` section.

use std::time::Duration;

use super::secret;
use super::section::Section;
use super::settings::{Login, Probe, Secret, SslMode};

const DBNAME: &str = "postgres";
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
const FAILURE_THRESHOLD: u32 = 3;

/// `None` without a probe user, and when its keys are wrong.
pub(super) fn check(section: &Section) -> Option<Probe> {
    let username = section.text("username");
    let password = secret::password(section);
    let dbname = section.text("dbname").unwrap_or_else(|| DBNAME.to_owned());
    let span = |key, least_ms, most_s| {
        section.span(key, Duration::from_millis(least_ms)..=Duration::from_secs(most_s))
    };
    let interval = span("interval", 100, 3600).unwrap_or(INTERVAL);
    let timeout = span("timeout", 10, 60).unwrap_or(TIMEOUT);
    let threshold = section.whole("failure_threshold", 1..=1000);
    let threshold = threshold.and_then(|n| u32::try_from(n).ok()).unwrap_or(FAILURE_THRESHOLD);
    let sslmode = sslmode(section)?;
    if !section.given("username") && section.any_given() {
        section.warn(
            "username",
            "is missing, so the section has no effect",
            "give a PostgreSQL user that may log in, or remove the section",
        );
    }
    Some(Probe {
        // No password is an answer too: trust, or a client certificate map.
        login: Login { username: username?, password: password.unwrap_or(Secret::new("")) },
        dbname,
        interval,
        timeout,
        failure_threshold: threshold,
        sslmode,
    })
}

fn sslmode(section: &Section) -> Option<SslMode> {
    let ca = section.file("sslrootcert");
    if let Some(path) = &ca
        && let Err(error) = secret::read(path)
    {
        let hint = format!("a PEM file that this user can read: {}", path.display());
        section.warn("sslrootcert", format!("cannot be read: {error}"), hint);
    }
    let mode = match section.given("sslmode") {
        true => section.text("sslmode")?,
        false => "prefer".to_owned(),
    };
    let verified = match mode.as_str() {
        "disable" => return without_ca(section, SslMode::Disable),
        "prefer" => return without_ca(section, SslMode::Prefer),
        "require" => return without_ca(section, SslMode::Require),
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        other => {
            let hint = "disable, prefer, require, verify-ca or verify-full";
            section.problem("sslmode", format!("\"{other}\" is not a mode"), hint);
            return None;
        }
    };
    if !section.given("sslrootcert") {
        section.missing("sslrootcert", "the CA that the servers' certificates are checked against");
    }
    Some(verified(ca?))
}

/// libpq turns `require` with a CA into `verify-ca` without a word; here the word is asked for.
fn without_ca(section: &Section, mode: SslMode) -> Option<SslMode> {
    if section.given("sslrootcert") {
        let hint = "sslmode: verify-full (or verify-ca), or remove sslrootcert";
        section.problem("sslrootcert", "is not used with this sslmode", hint);
    }
    Some(mode)
}
