//! The whole pgpool.conf of a pgpool that the agent owns: the operator's text, the settings that
//! the agent adds where that is silent, and the slot table.

use super::adopt::adopt;
use super::error::{TableError, why_not_text};
use super::settings::values;
use super::table;
use crate::model::slots::SlotTable;

/// What pgpool must not decide by itself, and how long it may search (README, pgpool's settings).
/// Names that a version does not know are passed over by it.
const DEFAULTS: [(&str, &str); 6] = [
    ("failover_on_backend_error", "off"),
    ("failover_on_backend_shutdown", "off"),
    ("search_primary_node_timeout", "5"),
    ("connect_timeout", "3000"),
    ("health_check_period", "0"),
    ("sr_check_period", "0"),
];

/// What the file begins with.
const HEADER: &str = "# Written by geo-agent from its pgpool.config_append.\n";

/// More than any value that is put in here has, and less than pgpool reads.
const VALUE_LENGTH_MAX: usize = 1000;

/// A setting of the agent's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub key: &'static str,
    pub value: String,
    /// It holds even if the operator's text says otherwise.
    pub always: bool,
}

/// The file, and what of `own` could not be put in. `backend_*` lines of the operator's text become
/// slots, unless there is a table already.
pub fn compose(
    append: &str,
    own: &[Own],
    table: Option<&SlotTable>,
    size: u8,
) -> Result<(Vec<u8>, Vec<&'static str>), TableError> {
    let given = values(append.as_bytes());
    let mut text = format!("{HEADER}{append}\n");
    let mut refused = Vec::new();
    text.push_str("# What geo-agent adds.\n");
    for (key, value) in DEFAULTS.iter().filter(|(key, _)| !given.contains_key(*key)) {
        text.push_str(&format!("{key} = {value}\n"));
    }
    for Own { key, value, .. } in own.iter().filter(|o| o.always || !given.contains_key(o.key)) {
        match why_not_text(value, VALUE_LENGTH_MAX) {
            None => text.push_str(&format!("{key} = '{value}'\n")),
            Some(_) => refused.push(*key),
        }
    }
    let adopted = adopt(text.as_bytes(), size)?;
    // A table that no longer fits is given up: nothing but its numbers is lost.
    let kept = table.and_then(|table| table::replace(&adopted.file, table, size).ok());
    Ok((kept.unwrap_or(adopted.file), refused))
}

/// Somebody else's work, which an agent that owns pgpool puts its own in the place of.
pub fn is_foreign(file: &[u8]) -> bool {
    !file.is_empty() && !file.starts_with(HEADER.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{Address, MemberName, SlotIndex};
    use crate::model::slots::SlotEntry;

    fn own(key: &'static str, value: &str, always: bool) -> Own {
        Own { key, value: value.to_owned(), always }
    }

    #[test]
    fn the_operators_word_counts_before_the_defaults() {
        let append = "port = 5433\nsr_check_period = 10\nlogdir = '/var/log'";
        let ours = [
            own("logdir", "/tmp", false),
            own("pcp_socket_dir", "/x", true),
            own("sr_check_password", "it's", false),
        ];
        let (file, refused) = compose(append, &ours, None, 4).unwrap();
        let all = values(&file);
        assert_eq!(all["port"], "5433");
        assert_eq!(all["sr_check_period"], "10");
        assert_eq!(all["logdir"], "/var/log");
        assert_eq!(all["pcp_socket_dir"], "/x");
        assert_eq!(all["failover_on_backend_error"], "off");
        assert_eq!(refused, ["sr_check_password"]);
        assert_eq!(table::read(&file).unwrap(), SlotTable::default());
    }

    #[test]
    fn the_table_stays_when_the_text_changes() {
        let mut old = SlotTable::default();
        let address = Address::new("10.0.0.1", 5432).unwrap();
        let entry = SlotEntry::new(MemberName::new("a"), &address, 1.0);
        old.entries.insert(SlotIndex::new(0).unwrap(), entry);
        let (file, _) = compose("port = 1", &[], Some(&old), 4).unwrap();
        assert_eq!(table::read(&file).unwrap(), old);
        let (file, _) = compose("port = 1\n", &[], None, 4).unwrap();
        assert_eq!(table::read(&file).unwrap(), SlotTable::default());
    }
}
