//! Who watches pgpool's primary for the daemon, and when that is believed.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::time::sleep;
use tracing::warn;

use crate::config::settings::{Config, Etcd};
use crate::model::reach::Loss;
use crate::patroni::read::read_once;
use crate::probe::{SqlProber, vigil};
use crate::reconcile::Watch;
use crate::seams::chain;

/// The pause before an etcd that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What the loop hears of pgpool's primary, and the watch itself, which has to be kept running.
/// Without a probe user nobody watches: then only Patroni's lease tells that it is gone.
pub fn of_primary(config: &Config) -> anyhow::Result<(Watch, impl Future<Output = Infallible>)> {
    let prober = config.probe.as_ref().map(|probe| SqlProber::new(Some(probe))).transpose()?;
    let (server, watched) = channel(None);
    let (suspect, suspected) = channel(None);
    let (tell, lost) = channel(None);
    let watch = async move {
        if let Some(prober) = prober {
            tokio::join!(
                vigil::keep(&prober, watched, suspect),
                heard_with_etcd(&config.etcd, suspected, tell)
            );
        }
        std::future::pending().await
    };
    Ok((Watch { server, lost }, watch))
}

/// Passes a loss on once etcd has answered after it. A Patroni that has lost etcd demotes its
/// primary, which is then away for a moment and comes back as a replica: without etcd nothing is
/// known, and nothing is done.
async fn heard_with_etcd(
    etcd: &Etcd,
    mut suspected: Receiver<Option<Loss>>,
    tell: Sender<Option<Loss>>,
) {
    loop {
        let loss = suspected.borrow_and_update().clone();
        let told = async {
            if loss.is_some() {
                until_it_answers(etcd).await;
            }
            tell.send_if_modified(|told| {
                let news = *told != loss;
                told.clone_from(&loss);
                news
            });
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = told => {}
            changed = suspected.changed() => if changed.is_err() { return },
        }
    }
}

async fn until_it_answers(etcd: &Etcd) {
    let mut said = false;
    while let Err(error) = read_once(etcd).await {
        if !said {
            let why = chain(&error);
            warn!("nobody stands in for pgpool's primary while etcd does not answer: {why}");
            said = true;
        }
        sleep(ASK_AGAIN).await;
    }
}
