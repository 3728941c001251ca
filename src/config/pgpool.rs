//! The `pgpool` section.

use std::path::PathBuf;

use super::section::Section;
use super::settings::{Login, Pcp, Pgpool, Restart, Secret};
use super::{restart, secret};
use crate::model::ids::{Address, SLOTS_MAX};
use crate::model::policy::Policy;
use crate::model::restart::RestartPolicy;

const PCP_HOST: &str = "127.0.0.1";
const PCP_PORT: u16 = 9898;
// geo-pgpool-mgr's default.
const TMP_CONFIG_PATH: &str = "/tmp/pgpool.conf";

/// The section, the size of its slot table, and how pgpool may be restarted.
pub(super) fn check(section: &Section) -> Option<(Pgpool, u8, RestartPolicy)> {
    let slots = section.whole("slots", 1..=SLOTS_MAX.into());
    let slots = slots.and_then(|n| u8::try_from(n).ok()).unwrap_or(Policy::default().slots);
    let (restart, policy) = restart::check(section);
    // With a mode that is wrong, nothing is called missing that supervise mode does without.
    let supervised = matches!(restart, None | Some(Restart::Supervise(_)));
    let config_path = config_path(section, supervised);
    let pcp_section = section.section("pcp");
    let without_pcp = supervised && !pcp_section.any_given();
    let pcp = if without_pcp { Some(None) } else { pcp(&pcp_section).map(Some) };
    let wake = wake(section);
    let pgpool = Pgpool { config_path: config_path?, pcp: pcp?, restart: restart?, wake: wake? };
    Some((pgpool, slots, policy?))
}

fn wake(section: &Section) -> Option<bool> {
    if !section.given("wake") {
        return Some(true);
    }
    match section.text("wake")?.as_str() {
        "auto" => Some(true),
        "never" => Some(false),
        other => {
            section.problem("wake", format!("\"{other}\" is not known"), "auto or never");
            None
        }
    }
}

fn config_path(section: &Section, supervised: bool) -> Option<PathBuf> {
    let tmp = supervised.then(|| section.file("tmp_config_path")).flatten();
    if !section.given("config_path") && !supervised {
        section.missing("config_path", "config_path: /etc/pgpool2/pgpool.conf");
        return None;
    }
    let config_path = section.file("config_path");
    if let (Some(one), Some(other)) = (&config_path, &tmp)
        && one != other
    {
        let hint = "in supervise mode both mean the file that the agent writes: keep one of them";
        section.problem("tmp_config_path", "is not the same as config_path", hint);
    }
    match section.given("config_path") {
        true => config_path,
        false => Some(tmp.unwrap_or_else(|| TMP_CONFIG_PATH.into())),
    }
}

fn pcp(section: &Section) -> Option<Pcp> {
    let port = section.whole("port", 1..=65535).and_then(|n| u16::try_from(n).ok());
    let port = port.unwrap_or(PCP_PORT);
    let host = pcp_host(section, port);
    if !section.given("username") {
        section.missing("username", "a user of pgpool's pcp.conf");
    }
    let username = section.text("username");
    let password = pcp_password(section, host.as_deref(), port, username.as_deref());
    let login = Login { username: username?, password: password? };
    Some(Pcp { host: host?, port, login, or_tcp: true })
}

fn pcp_host(section: &Section, port: u16) -> Option<String> {
    if !section.given("host") {
        return Some(PCP_HOST.to_owned());
    }
    let host = section.text("host")?;
    if host.starts_with('/') {
        return Some(host);
    }
    match Address::new(&host, port.into()) {
        Ok(address) => Some(address.host().to_owned()),
        Err(error) => {
            let hint = "a host, or the directory of pgpool's PCP socket, which starts with /";
            section.problem("host", error.to_string(), hint);
            None
        }
    }
}

fn pcp_password(
    section: &Section,
    host: Option<&str>,
    port: u16,
    username: Option<&str>,
) -> Option<Secret> {
    if !section.given("passfile") {
        if !section.given("password") && !section.given("password_file") {
            section.missing("password", "password, password_file or passfile");
        }
        return secret::password(section);
    }
    if section.given("password") || section.given("password_file") {
        section.problem("passfile", "is given beside another password", "keep one of them");
        return None;
    }
    secret::from_passfile(section, host?, port, username?)
}
