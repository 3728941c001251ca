//! One proposal of slot numbers: the first one counts.

use super::agreed::{numbers_key, numbers_of, numbers_value};
use super::client::EtcdSession;
use super::error::EtcdError;
use super::keys::KeyRange;
use crate::model::agreed::Proposal;

/// Writes it, unless somebody was quicker: then a watch or the next reading brings the news.
pub async fn propose(
    etcd: &EtcdSession,
    base: &str,
    proposal: &Proposal,
    own: &KeyRange,
) -> Result<(), EtcdError> {
    let key = numbers_key(base);
    let found = etcd.get(&key, own).await?;
    let current = found.as_ref().and_then(|stored| numbers_of(&stored.value));
    if current != proposal.instead_of {
        return Ok(());
    }
    let revision = found.map_or(0, |stored| stored.mod_revision);
    etcd.put_over(revision, &key, &numbers_value(&proposal.numbers), own).await
}
