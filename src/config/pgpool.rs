//! The `pgpool` section.

use std::path::PathBuf;
use std::time::Duration;

use super::secret;
use super::section::Section;
use super::settings::{Login, Pcp, Pgpool, Restart, Secret, Supervise};
use crate::model::ids::{Address, SLOTS_MAX};
use crate::yaml::Node;

const SLOTS: u8 = 16;
const PCP_HOST: &str = "127.0.0.1";
const PCP_PORT: u16 = 9898;
// geo-pgpool-mgr's defaults.
const EXEC_PATH: &str = "pgpool";
const TMP_CONFIG_PATH: &str = "/tmp/pgpool.conf";
const TMP_STATUS_PATH: &str = "/tmp/pgpool_status";
const FAIL_DELAY: Duration = Duration::from_secs(5);

/// Keys that only make sense when the agent owns pgpool.
const SUPERVISE_ONLY: [&str; 5] =
    ["exec_path", "config_append", "tmp_config_path", "tmp_status_path", "fail_delay"];

/// The section and the size of its slot table.
pub(super) fn check(section: &Section) -> Option<(Pgpool, u8)> {
    let slots = section.whole("slots", 1..=SLOTS_MAX.into());
    let slots = slots.and_then(|n| u8::try_from(n).ok()).unwrap_or(SLOTS);
    let restart = restart(section);
    // With a mode that is wrong, nothing is called missing that supervise mode does without.
    let supervised = matches!(restart, None | Some(Restart::Supervise(_)));
    let config_path = config_path(section, supervised);
    let pcp_section = section.section("pcp");
    let pcp = if supervised && !pcp_section.any_given() { None } else { Some(pcp(&pcp_section)?) };
    let wake = wake(section);
    Some((Pgpool { config_path: config_path?, pcp, restart: restart?, wake: wake? }, slots))
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

fn restart(section: &Section) -> Option<Restart> {
    let restart = section.section("restart");
    let mode = restart.text("mode");
    if restart.given("mode") && mode.is_none() {
        return None;
    }
    match mode.as_deref() {
        Some("never") => only_without(section, &restart, Restart::Never),
        Some("command") => {
            let command = command(&restart)?;
            supervise_keys_refused(section);
            Some(Restart::Command(command))
        }
        Some("supervise") => {
            command_refused(&restart);
            Some(Restart::Supervise(supervise(section)))
        }
        None if supervise_is_implied(section) => {
            command_refused(&restart);
            Some(Restart::Supervise(supervise(section)))
        }
        None => only_without(section, &restart, Restart::Never),
        Some(other) => {
            let message = format!("\"{other}\" is not a mode");
            restart.problem("mode", message, "never, command or supervise");
            None
        }
    }
}

/// `config_append` or `exec_path` say it (the contract); a file without `config_path` that has any
/// other key of geo-pgpool-mgr is one of its files.
fn supervise_is_implied(section: &Section) -> bool {
    let certain = section.given("exec_path") || section.given("config_append");
    let any = SUPERVISE_ONLY.iter().any(|key| section.given(key));
    certain || (any && !section.given("config_path"))
}

fn only_without(section: &Section, restart: &Section, mode: Restart) -> Option<Restart> {
    command_refused(restart);
    supervise_keys_refused(section);
    Some(mode)
}

fn command_refused(restart: &Section) {
    if restart.given("command") {
        restart.problem("command", "is given, but mode is not command", "mode: command");
    }
}

fn supervise_keys_refused(section: &Section) {
    for key in SUPERVISE_ONLY.iter().filter(|key| section.given(key)) {
        section.problem(key, "is only for restart.mode supervise", "remove it, or change the mode");
    }
}

fn command(restart: &Section) -> Option<Vec<String>> {
    const HINT: &str = "command: [\"systemctl\", \"restart\", \"pgpool2\"]";
    if !restart.given("command") {
        restart.missing("command", HINT);
        return None;
    }
    let Node::List(items) = restart.node("command") else {
        restart.problem("command", "is not a list of words", HINT);
        return None;
    };
    let words: Option<Vec<String>> = items
        .iter()
        .map(|item| match item {
            Node::Text(word) if !word.contains('\0') => Some(word.clone()),
            _ => None,
        })
        .collect();
    match words {
        Some(words) if words.first().is_some_and(|program| !program.is_empty()) => Some(words),
        _ => {
            restart.problem("command", "is not a list of words", HINT);
            None
        }
    }
}

fn supervise(section: &Section) -> Supervise {
    let exec_path = match section.text("exec_path") {
        // A bare name is looked up in PATH.
        Some(name) if !name.contains('/') => name.into(),
        Some(_) => section.file("exec_path").unwrap_or_default(),
        None => EXEC_PATH.into(),
    };
    Supervise {
        exec_path,
        config_append: section.raw_text("config_append").unwrap_or_default(),
        status_path: section.file("tmp_status_path").or_else(|| Some(TMP_STATUS_PATH.into())),
        fail_delay: section
            .span("fail_delay", Duration::ZERO..=Duration::from_secs(3600))
            .unwrap_or(FAIL_DELAY),
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
    Some(Pcp { host: host?, port, login: Login { username: username?, password: password? } })
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
