//! pgpool's own settings, and what their names tell (proto-notes/settings.md).

use super::fields::{Fields, Malformed};
use crate::model::pool::PoolVersion;

/// One parameter as pgpool reports it; its description is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

impl Setting {
    /// pgpool leaves its passwords out; should a build of it not do so, they end here.
    pub fn is_secret(&self) -> bool {
        ["password", "passphrase", "authkey"].iter().any(|word| self.name.contains(word))
    }
}

pub(super) fn row(mut fields: Fields<'_>) -> Result<Setting, Malformed> {
    let setting = Setting { name: fields.text()?, value: fields.text()? };
    fields.skip(1)?;
    fields.end()?;
    Ok(setting)
}

/// The version, by the newest name that it reports: no reply of PCP carries the version itself.
pub fn version(knows: impl Fn(&str) -> bool) -> PoolVersion {
    let first_in = [
        ("work_dir", PoolVersion::V47),
        ("log_backend_messages", PoolVersion::V46),
        ("user_redirect_preference_list", PoolVersion::V45),
        ("unix_socket_directories", PoolVersion::V44),
        ("failover_on_backend_shutdown", PoolVersion::V43),
        // Not backend_clustering_mode: 4.2.0 and 4.2.1 do not report it.
        ("read_only_function_list", PoolVersion::V42),
    ];
    first_in.iter().find(|(name, _)| knows(name)).map_or(PoolVersion::UpTo41, |(_, v)| *v)
}
