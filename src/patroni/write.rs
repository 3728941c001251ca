//! Writes operators' orders, and the first slot numbers of a watchdog cluster, for the commands.
//! The daemon writes no orders.

use std::time::Duration;

use super::client::{EtcdSession, EtcdSource};
use super::error::EtcdError;
use super::follow::{in_time, patience};
use super::keys::{FOLDER, KeyRange};
use super::orders::{hold_key, hold_value, location_key};
use super::propose::propose;
use super::session::Source;
use crate::config::settings::Etcd;
use crate::model::agreed::Proposal;
use crate::model::ids::MemberName;
use crate::model::orders::Held;

/// Holds a member for so long, in place of a hold that may be there. One put: at every instant
/// there is the old hold or the new one.
pub async fn hold(
    settings: &Etcd,
    member: &MemberName,
    held: &Held,
    lasts: Duration,
) -> Result<(), EtcdError> {
    let (key, value) = (hold_key(&settings.base, member), hold_value(held));
    let put = async |etcd: EtcdSession, range: &KeyRange| {
        let lease = etcd.lease(lasts).await?;
        etcd.put(&key, &value, Some(lease), range).await
    };
    write(settings, put).await
}

pub async fn release(settings: &Etcd, member: &MemberName) -> Result<(), EtcdError> {
    let key = hold_key(&settings.base, member);
    write(settings, async |etcd, range| etcd.delete(&key, range).await).await
}

/// `value` as [`super::orders::location_value`] makes it.
pub async fn locate(settings: &Etcd, member: &MemberName, value: &str) -> Result<(), EtcdError> {
    let key = location_key(&settings.base, member);
    write(settings, async |etcd, range| etcd.put(&key, value, None, range).await).await
}

pub async fn clear_location(settings: &Etcd, member: &MemberName) -> Result<(), EtcdError> {
    let key = location_key(&settings.base, member);
    write(settings, async |etcd, range| etcd.delete(&key, range).await).await
}

/// Whether it counts or another one is seen at the next reading.
pub async fn number(settings: &Etcd, proposal: &Proposal) -> Result<(), EtcdError> {
    let base = &settings.base;
    write(settings, async |etcd, range| propose(&etcd, base, proposal, range).await).await
}

/// At the first endpoint that takes it. Each of the writes above may be done twice without harm.
async fn write(
    settings: &Etcd,
    write: impl AsyncFn(EtcdSession, &KeyRange) -> Result<(), EtcdError>,
) -> Result<(), EtcdError> {
    let source = EtcdSource::new(settings);
    let range = KeyRange::below(&format!("{}/{FOLDER}", settings.base));
    let patience = patience(settings.timeout, settings.hosts.len());
    let mut failures = Vec::new();
    for (endpoint, name) in settings.hosts.iter().enumerate() {
        let attempt = async { write(source.open(endpoint).await?, &range).await };
        match in_time(patience, "writing", attempt).await {
            Ok(()) => return Ok(()),
            // No other endpoint has other roles.
            Err(why @ EtcdError::MayNotWrite(_)) => return Err(why),
            Err(why) => failures.push((name.clone(), why)),
        }
    }
    Err(EtcdError::NotWritten(failures))
}
