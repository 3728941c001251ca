//! One reading, for the commands that look once.

use super::client::EtcdSource;
use super::decode::decode;
use super::error::EtcdError;
use super::follow::{in_time, patience};
use super::session::{Session, Source};
use crate::config::settings::Etcd;
use crate::model::cluster::ClusterView;

/// Reads the scope from the first endpoint that answers; each gets its share of the timeout.
pub async fn read_once(settings: &Etcd) -> Result<ClusterView, EtcdError> {
    let source = EtcdSource::new(settings);
    let mut failures = Vec::new();
    for (endpoint, name) in settings.hosts.iter().enumerate() {
        match read_from(&source, settings, endpoint).await {
            Ok(view) => return Ok(view),
            // What is there cannot be followed: no other endpoint has other keys.
            Err(why @ EtcdError::Undecodable(_)) => return Err(why),
            Err(why) => failures.push((name.clone(), why)),
        }
    }
    Err(EtcdError::NoEndpoint(failures))
}

/// Reads the scope from every endpoint, one after the other: what works and what does not.
pub async fn read_each(settings: &Etcd) -> Vec<(String, Result<ClusterView, EtcdError>)> {
    let source = EtcdSource::new(settings);
    let mut each = Vec::new();
    for (endpoint, name) in settings.hosts.iter().enumerate() {
        each.push((name.clone(), read_from(&source, settings, endpoint).await));
    }
    each
}

async fn read_from(
    source: &EtcdSource,
    settings: &Etcd,
    endpoint: usize,
) -> Result<ClusterView, EtcdError> {
    let patience = patience(settings.timeout, settings.hosts.len());
    let reading =
        in_time(patience, "reading the scope", async { source.open(endpoint).await?.read().await })
            .await?;
    let keys = reading.keys();
    decode(&settings.base, keys.revision(), keys.pairs()).map_err(EtcdError::Undecodable)
}
