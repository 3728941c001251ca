//! Settings of pgpool that fight the agent, and what to do about each.

use std::collections::BTreeMap;

use super::keys::{Field, SlotKey, slot_key};

/// A setting that should be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub setting: String,
    /// As pgpool has it; `(set)` for commands, which may carry secrets.
    pub value: String,
    pub why: &'static str,
    pub fix: &'static str,
}

/// Judges the settings that are in the map, and no others: live values from PCP are complete by
/// themselves, file values go through [`super::settings::with_defaults`] first.
pub fn findings(settings: &BTreeMap<String, String>) -> Vec<Finding> {
    let with_watchdog = settings.get("use_watchdog").is_some_and(|value| is_on(value));
    settings
        .iter()
        // Where pgpools work together, others may have to speak to this one.
        .filter(|(setting, _)| !(with_watchdog && *setting == "pcp_listen_addresses"))
        .filter_map(|(setting, value)| {
            let (why, fix) = judge(setting, value)?;
            let hidden = setting.ends_with("_command");
            let value = if hidden { "(set)".to_owned() } else { value.clone() };
            Some(Finding { setting: setting.clone(), value, why, fix })
        })
        .collect()
}

type Verdict = Option<(&'static str, &'static str)>;

/// Switches that must be off: name, why, what to do.
const MUST_BE_OFF: [(&str, &str, &str); 6] = [
    (
        "failover_on_backend_error",
        "pgpool detaches a node by itself when one session loses its connection",
        "set failover_on_backend_error = off",
    ),
    (
        "fail_over_on_backend_error",
        "pgpool up to 3.7 detaches a node by itself when one session loses its connection",
        "set fail_over_on_backend_error = off, from 4.0 on failover_on_backend_error",
    ),
    (
        "failover_on_backend_shutdown",
        "pgpool detaches a primary that is being stopped and then hangs every client; on is the \
         default up to 4.3.8 and 4.4.5",
        "set failover_on_backend_shutdown = off",
    ),
    ("auto_failback", "pgpool attaches again what the agent detached", "set auto_failback = off"),
    (
        "detach_false_primary",
        "pgpool detaches a primary by its own judgement",
        "set detach_false_primary = off",
    ),
    (
        "memory_cache_enabled",
        "cached results outlive a change of the primary",
        "set memory_cache_enabled = off, or a short memqcache_expire",
    ),
];

fn judge(setting: &str, value: &str) -> Verdict {
    if let Some(SlotKey::Of(_, Field::Flag)) = slot_key(setting) {
        return judge_flag(value);
    }
    if let Some((_, why, fix)) = MUST_BE_OFF.iter().find(|(name, ..)| *name == setting) {
        return is_on(value).then_some((*why, *fix));
    }
    if setting.ends_with("_command") {
        return judge_command(setting).filter(|_| !value.trim().is_empty());
    }
    let when = |bad: bool, why, fix| bad.then_some((why, fix));
    match setting {
        "load_balance_mode" => when(
            is_off(value),
            "pgpool sends no read to a replica",
            "set load_balance_mode = on (needs a restart of pgpool)",
        ),
        "backend_clustering_mode" => when(
            value != "streaming_replication",
            "the agent works with streaming replication only",
            "set backend_clustering_mode = 'streaming_replication' (needs a restart of pgpool)",
        ),
        "sr_check_user" => when(
            value.is_empty() || value == "nobody",
            "pgpool searches the primary with this user: an attach can leave it without a primary",
            "set sr_check_user and sr_check_password to a user that may log in on every node",
        ),
        "pcp_listen_addresses" => when(
            !value.split(',').all(|address| is_this_host(address.trim())),
            "up to 4.4 anyone who reaches the PCP port can block pgpool, without a password",
            "set pcp_listen_addresses = '127.0.0.1' (needs a restart of pgpool)",
        ),
        _ => judge_time(setting, value),
    }
}

/// What is wrong with having this command at all.
fn judge_command(setting: &str) -> Verdict {
    match setting {
        "failover_command" | "failback_command" => Some((
            "pgpool runs it at every detach or attach, next to what Patroni does",
            "set it to ''",
        )),
        "follow_primary_command" | "follow_master_command" => {
            Some(("pgpool then detaches every other node when the primary changes", "set it to ''"))
        }
        "recovery_1st_stage_command" | "recovery_2nd_stage_command" => Some((
            "pgpool refuses a configuration in which a slot has no backend_data_directory, and \
             Patroni rebuilds nodes, not pgpool",
            "set it to ''",
        )),
        _ => None,
    }
}

fn judge_time(setting: &str, value: &str) -> Verdict {
    let when = |bad: bool, why, fix| bad.then_some((why, fix));
    match setting {
        "search_primary_node_timeout" => match milliseconds(value, 1000) {
            Some(0) => Some((
                "pgpool searches a primary for ever, and does nothing else meanwhile",
                "set search_primary_node_timeout = 5",
            )),
            Some(ms) => when(
                ms >= 30_000,
                "while pgpool searches a primary its sessions wait, and end after 30 seconds",
                "set search_primary_node_timeout = 5",
            ),
            None => None,
        },
        "connect_timeout" => when(
            milliseconds(value, 1).is_some_and(|ms| ms == 0 || ms > 3000),
            "each new session waits this long for an attached node that is not reachable",
            "set connect_timeout = 3000",
        ),
        _ if setting.starts_with("health_check_period") => when(
            milliseconds(value, 1000).is_some_and(|ms| ms > 0),
            "pgpool detaches nodes by its own judgement, ends every session at a timeout, and \
             never attaches again",
            "set health_check_period = 0, for every node",
        ),
        _ => None,
    }
}

fn judge_flag(value: &str) -> Verdict {
    let has = |flag| value.split('|').any(|f| f.trim() == flag);
    if has("ALWAYS_PRIMARY") {
        return Some((
            "pgpool never looks for another primary",
            "take ALWAYS_PRIMARY out of the file (`geo-agent init` does) and restart pgpool",
        ));
    }
    has("DISALLOW_TO_FAILOVER").then_some((
        "pgpool refuses to detach this slot",
        "run `geo-agent init`, which uses ALLOW_TO_FAILOVER, and reload pgpool",
    ))
}

/// An address that only this host can reach; empty: none at all.
fn is_this_host(address: &str) -> bool {
    matches!(address, "" | "localhost" | "127.0.0.1" | "::1")
}

/// A boolean as pgpool reads it (any unique prefix counts), or as PCP prints it (`1`).
pub fn is_on(value: &str) -> bool {
    let v = value.to_ascii_lowercase();
    v == "1" || v == "on" || (!v.is_empty() && ("true".starts_with(&v) || "yes".starts_with(&v)))
}

fn is_off(value: &str) -> bool {
    let v = value.to_ascii_lowercase();
    let word = |w: &str| w.starts_with(&v);
    v == "0" || (v.len() > 1 && word("off")) || (!v.is_empty() && (word("false") || word("no")))
}

/// A time with or without its unit; `base` is what a bare number counts, in milliseconds.
fn milliseconds(value: &str, base: u64) -> Option<u64> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    let unit = match value[digits..].trim() {
        "" => base,
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(settings: &[(&str, &str)]) -> Vec<String> {
        let map = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        findings(&map).into_iter().map(|f| f.setting).collect()
    }

    #[test]
    fn the_recommended_settings_have_no_finding() {
        let good = [
            ("failover_on_backend_error", "off"),
            ("failover_on_backend_shutdown", "0"),
            ("auto_failback", "no"),
            ("detach_false_primary", "f"),
            ("failover_command", ""),
            ("health_check_period", "0"),
            ("health_check_period1", "0s"),
            ("search_primary_node_timeout", "5s"),
            ("connect_timeout", "3000"),
            ("pcp_listen_addresses", "127.0.0.1, ::1"),
            ("sr_check_user", "pgpool"),
            ("backend_flag0", "ALLOW_TO_FAILOVER"),
            ("load_balance_mode", "1"),
        ];
        assert_eq!(found(&good), [""; 0]);
    }

    #[test]
    fn both_spellings_of_a_boolean_are_found() {
        for on in ["on", "1", "true", "YES", "t"] {
            assert_eq!(found(&[("auto_failback", on)]), ["auto_failback"], "{on}");
        }
    }

    #[test]
    fn what_fights_the_agent_is_found() {
        for (setting, value) in [
            ("search_primary_node_timeout", "0"),
            ("search_primary_node_timeout", "5min"),
            ("connect_timeout", "10s"),
            ("health_check_period2", "10"),
            ("backend_flag3", "DISALLOW_TO_FAILOVER|ALWAYS_PRIMARY"),
            ("sr_check_user", ""),
            ("pcp_listen_addresses", "*"),
            ("pcp_listen_addresses", "localhost,10.0.0.1"),
            ("load_balance_mode", "off"),
        ] {
            assert_eq!(found(&[(setting, value)]), [setting], "{value}");
        }
    }

    #[test]
    fn the_pcp_port_may_be_open_where_pgpools_work_together() {
        let open = ("pcp_listen_addresses", "*");
        assert_eq!(found(&[open, ("use_watchdog", "off")]), ["pcp_listen_addresses"]);
        assert_eq!(found(&[open, ("use_watchdog", "on")]), [""; 0]);
        assert_eq!(found(&[("pcp_listen_addresses", "")]), [""; 0]);
    }

    #[test]
    fn a_command_is_not_shown() {
        let map = BTreeMap::from([("failover_command".to_owned(), "x --password=y".to_owned())]);
        assert_eq!(findings(&map)[0].value, "(set)");
    }
}
