//! The plain settings of a pgpool.conf, and pgpool's defaults for those that the agent looks at.

use std::collections::BTreeMap;

use super::lines::lines;

/// Every setting of one file, the last one winning, as pgpool has it. Lines that pgpool cannot read
/// are skipped, and so are the files that it includes. The values include passwords: never print
/// the map.
pub fn values(file: &[u8]) -> BTreeMap<String, String> {
    lines(file)
        .iter()
        .flat_map(|line| line.settings())
        .filter(|setting| setting.key != "include")
        .map(|setting| {
            let value = String::from_utf8_lossy(&setting.value);
            (setting.key.clone(), value.trim_end_matches('\n').to_owned())
        })
        .collect()
}

/// What pgpool uses when the file is silent, where that is the same for every packager. Not here,
/// as packagers change them: `pid_file_name` (`/var/run/pgpool/pgpool.pid`, Debian
/// `/var/run/postgresql/pgpool.pid`) and the socket directories (`/tmp`, Debian
/// `/var/run/postgresql`). Where versions differ it is the default that is worst for the agent.
pub fn default_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "port" => "9999",
        "pcp_port" => "9898",
        "listen_addresses" | "pcp_listen_addresses" => "localhost",
        "failover_on_backend_error" => "on",
        // 4.3.0 to 4.3.8 and 4.4.0 to 4.4.5; off later, and always on before 4.3.
        "failover_on_backend_shutdown" => "on",
        "auto_failback" | "detach_false_primary" | "use_watchdog" | "memory_cache_enabled" => "off",
        "failover_command" | "failback_command" | "follow_primary_command" => "",
        "recovery_1st_stage_command" | "recovery_2nd_stage_command" => "",
        "health_check_period" => "0",
        "search_primary_node_timeout" => "300",
        "connect_timeout" => "10000",
        "sr_check_user" => "",
        "load_balance_mode" => "on",
        "backend_clustering_mode" => "streaming_replication",
        _ => return None,
    })
}

/// File values, with pgpool's defaults for the settings that the agent judges.
pub fn with_defaults(mut values: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let names = [
        "failover_on_backend_error",
        "failover_on_backend_shutdown",
        "search_primary_node_timeout",
        "connect_timeout",
        "sr_check_user",
    ];
    for name in names {
        if let (false, Some(value)) = (values.contains_key(name), default_of(name)) {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    values
}
