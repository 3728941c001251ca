//! What reaches the loop from outside: the follower's word, and that of whoever watches pgpool's
//! primary.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::agreed::Word;
use crate::model::cluster::ClusterView;
use crate::model::ids::{Address, MemberName};
use crate::model::inputs::Seen;
use crate::model::reach::Loss;
use crate::patroni;

/// The newest word on the cluster, as the follower publishes it.
pub type ClusterNews = watch::Receiver<patroni::Seen>;

/// Where the loop leaves what others are to be told.
pub type Words = watch::Sender<Option<Word>>;

/// Whoever watches pgpool's primary: told which server that is, and heard when it is lost.
#[derive(Clone)]
pub struct Watch {
    pub server: watch::Sender<Option<Address>>,
    pub lost: watch::Receiver<Option<Loss>>,
}

impl Watch {
    /// Nobody watches.
    pub fn nobodys() -> Self {
        Watch { server: watch::Sender::new(None), lost: watch::channel(None).1 }
    }
}

/// Resolves at the next word of whoever watches; never when nobody does.
pub(super) async fn heard(lost: &mut watch::Receiver<Option<Loss>>) {
    if lost.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Not knowing is a reason to hold, never a view.
pub(super) fn word_on(seen: &patroni::Seen) -> Seen<Arc<ClusterView>> {
    match seen {
        patroni::Seen::Known { view, .. } => Ok(view.clone()),
        patroni::Seen::Unknown { why, .. } => Err(why.clone()),
    }
}

/// Resolves at news of another leader than this one, or of none. That nothing is known any more is
/// no such news.
pub(super) async fn another_leads(mut news: ClusterNews, leader: Option<&MemberName>) {
    while news.changed().await.is_ok() {
        let now = word_on(&news.borrow_and_update());
        if now.is_ok_and(|view| view.leader.as_ref() != leader) {
            return;
        }
    }
}

/// Resolves as soon as this leader is not known to lead, and says why.
pub(super) async fn no_longer_leads(mut news: ClusterNews, leader: Option<&MemberName>) -> String {
    loop {
        let now = word_on(&news.borrow_and_update()).map(|view| view.leader.clone());
        match now {
            Ok(now) if now.as_ref() == leader => {}
            Ok(Some(other)) => return format!("{other} holds the leader key now"),
            Ok(None) => return "nobody holds the leader key any more".to_owned(),
            Err(why) => return why,
        }
        if news.changed().await.is_err() {
            return "whoever follows the cluster in etcd is gone".to_owned();
        }
    }
}
