//! Tells the other agents of a watchdog cluster what this one has to say. Only there anything is
//! written to etcd: where nothing is said, no connection is made either.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::agreed::{peer_key, peer_value};
use super::causes::Causes;
use super::client::{EtcdSession, EtcdSource};
use super::error::EtcdError;
use super::follow::{in_time, patience};
use super::keys::{FOLDER, KeyRange};
use super::propose::propose;
use super::session::Source;
use crate::backoff::Retry;
use crate::config::settings::Etcd;
use crate::model::agreed::{Peer, Word};

/// What an agent says of itself is gone so long after it is: others wait that long for its pgpool
/// to learn a new slot. Shorter, and a slow etcd would make agents vanish.
const LASTS: Duration = Duration::from_secs(10);
/// Two may be lost before what was said is gone.
const AGAIN_EVERY: Duration = Duration::from_secs(3);

/// Writes until it is dropped.
pub struct Scribe {
    settings: Etcd,
    source: EtcdSource,
    words: watch::Receiver<Option<Word>>,
}

impl Scribe {
    pub fn new(settings: &Etcd, words: watch::Receiver<Option<Word>>) -> Self {
        Scribe { settings: settings.clone(), source: EtcdSource::new(settings), words }
    }

    pub async fn run(mut self) {
        let mut retry = Retry::default();
        let mut causes = Causes::of(self.settings.hosts.len());
        for endpoint in (0..self.settings.hosts.len()).cycle() {
            if self.words.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let Err(why) = self.session(endpoint, &mut retry, &mut causes).await;
            if causes.add(endpoint, &why) {
                tracing::warn!("cannot tell the other agents of this watchdog cluster: {why}");
            }
            sleep(retry.next_delay()).await;
        }
    }

    async fn session(
        &mut self,
        endpoint: usize,
        retry: &mut Retry,
        causes: &mut Causes,
    ) -> Result<Infallible, EtcdError> {
        let patience = patience(self.settings.timeout, self.settings.hosts.len());
        let opened = async {
            let etcd = self.source.open(endpoint).await?;
            let lease = etcd.lease(LASTS).await?;
            Ok((etcd, lease))
        };
        let (etcd, lease) = in_time(patience, "opening a lease", opened).await?;
        let own = KeyRange::below(&format!("{}/{FOLDER}", self.settings.base));
        let mut said = None;
        loop {
            let word = self.words.borrow_and_update().clone();
            if let Some(word) = word {
                let work = self.write(&etcd, lease, &word, &mut said, &own);
                in_time(patience, "writing", work).await?;
                retry.reset();
                causes.forget();
            }
            let changed = timeout(AGAIN_EVERY, self.words.changed()).await;
            match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(EtcdError::Ended),
                Err(_) => {
                    in_time(patience, "keeping a lease", etcd.keep(lease)).await?;
                    let work = self.forget_what_is_gone(&etcd, &mut said, &own);
                    in_time(patience, "looking after what was said", work).await?;
                }
            }
        }
    }

    /// An operator may have deleted it, with the keys of Patroni that it stands beside.
    async fn forget_what_is_gone(
        &self,
        etcd: &EtcdSession,
        said: &mut Option<Peer>,
        own: &KeyRange,
    ) -> Result<(), EtcdError> {
        let name = self.words.borrow().as_ref().map(|word| word.name.clone());
        if let Some(name) = name
            && etcd.get(&peer_key(&self.settings.base, &name), own).await?.is_none()
        {
            *said = None;
        }
        Ok(())
    }

    async fn write(
        &self,
        etcd: &EtcdSession,
        lease: i64,
        word: &Word,
        said: &mut Option<Peer>,
        own: &KeyRange,
    ) -> Result<(), EtcdError> {
        let base = &self.settings.base;
        if said.as_ref() != Some(&word.peer) {
            let value = peer_value(&word.name, &word.peer);
            etcd.put(&peer_key(base, &word.name), &value, Some(lease), own).await?;
            *said = Some(word.peer.clone());
        }
        match &word.proposal {
            Some(proposal) => propose(etcd, base, proposal, own).await,
            None => Ok(()),
        }
    }
}
