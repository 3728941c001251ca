//! The real etcd, through `etcd-client`. The only file that knows that crate.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, KeyValue,
    PutOptions, ResponseHeader, TlsOptions, Txn, TxnOp, WatchOptions, WatchResponse, WatchStream,
};

use super::error::EtcdError;
use super::failure::{self, Moment};
use super::keys::{Change, KeyRange, Stored};
use super::session::{Delivery, Head, Reading, Session, Source, Watch};
use crate::config::settings::{Etcd, Tls};

/// A server that died without closing its connection is noticed after 8 s. etcd's own lower limit
/// for the interval (`--grpc-keepalive-min-time`) is 5 s: more often, and it hangs up.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// etcd takes requests of 1.5 MiB at most; a scope has a few keys, and `history` grows for ever.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// Where systems keep the CAs they trust, for a `tls` section without a `ca`.
const SYSTEM_CAS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The configured etcd servers.
pub struct EtcdSource {
    settings: Etcd,
}

impl EtcdSource {
    pub fn new(settings: &Etcd) -> Self {
        EtcdSource { settings: settings.clone() }
    }
}

impl Source for EtcdSource {
    type Session = EtcdSession;

    fn endpoints(&self) -> &[String] {
        &self.settings.hosts
    }

    async fn open(&self, endpoint: usize) -> Result<EtcdSession, EtcdError> {
        let Some(host) = self.settings.hosts.get(endpoint) else {
            return Err(EtcdError::Unreachable("no such endpoint".to_owned()));
        };
        let range = KeyRange::below(&self.settings.base);
        let mut options = ConnectOptions::new()
            .with_keep_alive(PING_EVERY, PONG_WITHIN)
            .with_keep_alive_while_idle(true)
            .with_connect_timeout(self.settings.timeout)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(login) = &self.settings.login {
            options = options.with_user(login.username.clone(), login.password.reveal());
        }
        let scheme = match &self.settings.tls {
            Some(tls) => {
                options = options.with_tls(tls_options(tls, host).await?);
                "https"
            }
            None => "http",
        };
        let client = Client::connect([format!("{scheme}://{host}")], Some(options))
            .await
            .map_err(|e| failure::explain(Moment::Connect, &e, &range))?;
        Ok(EtcdSession { client, range })
    }
}

/// Reads the PEM files again at each connection, so that rotated certificates are picked up.
async fn tls_options(tls: &Tls, host: &str) -> Result<TlsOptions, EtcdError> {
    let mut options = TlsOptions::new().domain_name(name_in_certificate(host));
    let ca = match &tls.ca {
        Some(path) => read(path).await?,
        None => system_cas().await?,
    };
    options = options.ca_certificate(Certificate::from_pem(ca));
    if let Some((certificate, key)) = &tls.client {
        options = options.identity(Identity::from_pem(read(certificate).await?, read(key).await?));
    }
    Ok(options)
}

async fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    let failed = |e: std::io::Error| EtcdError::File { path: path.into(), why: e.to_string() };
    tokio::fs::read(path).await.map_err(failed)
}

async fn system_cas() -> Result<Vec<u8>, EtcdError> {
    for path in SYSTEM_CAS {
        if let Ok(pem) = tokio::fs::read(path).await {
            return Ok(pem);
        }
    }
    Err(EtcdError::Tls("this system has no CA bundle; set etcd3.tls.ca".to_owned()))
}

/// The host part of `host:port`, without the brackets of an IPv6 address.
fn name_in_certificate(host: &str) -> &str {
    let host = host.rsplit_once(':').map_or(host, |(host, _port)| host);
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

/// A connection to one etcd server.
pub struct EtcdSession {
    client: Client,
    range: KeyRange,
}

/// Writing; `range` is what a role needs to be granted.
impl EtcdSession {
    /// A lease that lasts so long unless it is kept.
    pub async fn lease(&self, lasts: Duration) -> Result<i64, EtcdError> {
        let seconds = i64::try_from(lasts.as_secs()).unwrap_or(i64::MAX);
        let granted = self.client.lease_client().grant(seconds, None).await;
        granted.map(|lease| lease.id()).map_err(|e| write_failed(&e, &self.range))
    }

    /// Fails when the lease is gone already.
    pub async fn keep(&self, lease: i64) -> Result<(), EtcdError> {
        let kept = self.client.lease_client().keep_alive(lease).await;
        kept.map(drop).map_err(|e| write_failed(&e, &self.range))
    }

    /// Puts a key, in place of one that may be there. With a lease: it is gone with that.
    pub async fn put(
        &self,
        key: &str,
        value: &str,
        lease: Option<i64>,
        range: &KeyRange,
    ) -> Result<(), EtcdError> {
        let options = lease.map(|lease| PutOptions::new().with_lease(lease));
        let put = self.client.kv_client().put(key, value, options).await;
        put.map(drop).map_err(|e| write_failed(&e, range))
    }

    /// Deletes a key; it may be gone already.
    pub async fn delete(&self, key: &str, range: &KeyRange) -> Result<(), EtcdError> {
        let deleted = self.client.kv_client().delete(key, None).await;
        deleted.map(drop).map_err(|e| write_failed(&e, range))
    }

    pub async fn get(&self, key: &str, range: &KeyRange) -> Result<Option<Stored>, EtcdError> {
        let got = self.client.kv_client().get(key, None).await;
        let mut got = got.map_err(|e| failure::explain(Moment::Read, &e, range))?;
        Ok(got.take_kvs().into_iter().next().map(|kv| stored(kv).1))
    }

    /// Puts a key if it was last written at this revision; 0: if there is none.
    pub async fn put_over(
        &self,
        revision: i64,
        key: &str,
        value: &str,
        range: &KeyRange,
    ) -> Result<(), EtcdError> {
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, revision);
        let put = TxnOp::put(key, value, None);
        let swap = Txn::new().when([unchanged]).and_then([put]);
        let swapped = self.client.kv_client().txn(swap).await;
        swapped.map(drop).map_err(|e| write_failed(&e, range))
    }
}

fn write_failed(error: &etcd_client::Error, range: &KeyRange) -> EtcdError {
    failure::explain(Moment::Write, error, range)
}

impl Session for EtcdSession {
    type Watch = EtcdWatch;

    async fn read(&self) -> Result<Reading, EtcdError> {
        let options = GetOptions::new().with_range(self.range.end.as_str());
        let mut kv = self.client.kv_client().max_decoding_message_size(ANSWER_MAX);
        let mut answer = kv
            .get(self.range.start.as_str(), Some(options))
            .await
            .map_err(|e| failure::explain(Moment::Read, &e, &self.range))?;
        let head = answer.header().map(head).ok_or_else(|| nameless(Moment::Read))?;
        let stored: BTreeMap<Vec<u8>, Stored> = answer.take_kvs().into_iter().map(stored).collect();
        Ok(Reading { head, stored })
    }

    async fn watch(&self, from: i64) -> Result<EtcdWatch, EtcdError> {
        let options =
            WatchOptions::new().with_range(self.range.end.as_str()).with_start_revision(from);
        let mut client = self.client.watch_client().max_decoding_message_size(ANSWER_MAX);
        let stream = client
            .watch(self.range.start.as_str(), Some(options))
            .await
            .map_err(|e| failure::explain(Moment::Watch, &e, &self.range))?;
        Ok(EtcdWatch { stream, range: self.range.clone() })
    }
}

/// A watch of the scope. Dropping it ends it at etcd.
pub struct EtcdWatch {
    stream: WatchStream,
    range: KeyRange,
}

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Delivery, EtcdError> {
        let response = match self.stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Err(EtcdError::Ended),
            Err(e) => return Err(failure::explain(Moment::Watch, &e, &self.range)),
        };
        if response.compact_revision() > 0 {
            return Err(EtcdError::Compacted { oldest: response.compact_revision() });
        }
        if response.canceled() {
            return Err(failure::cancelled(response.cancel_reason(), &self.range));
        }
        delivery(&response)
    }
}

fn delivery(response: &WatchResponse) -> Result<Delivery, EtcdError> {
    let head = response.header().map(head).ok_or_else(|| nameless(Moment::Watch))?;
    let changes = response.events().iter().filter_map(|event| {
        let kv = event.kv()?;
        // A key that exists has a version of 1 or more. The event's own type says the same, but
        // the client panics on types that it does not know.
        let value = (kv.version() > 0).then(|| kv.value().to_vec());
        Some(Change { key: kv.key().to_vec(), mod_revision: kv.mod_revision(), value })
    });
    Ok(Delivery { head, changes: changes.collect() })
}

fn head(header: &ResponseHeader) -> Head {
    Head {
        cluster_id: header.cluster_id(),
        raft_term: header.raft_term(),
        revision: header.revision(),
    }
}

fn stored(kv: KeyValue) -> (Vec<u8>, Stored) {
    let mod_revision = kv.mod_revision();
    let (key, value) = kv.into_key_value();
    (key, Stored { mod_revision, value })
}

fn nameless(moment: Moment) -> EtcdError {
    moment.error("the answer does not say who gave it".to_owned())
}
