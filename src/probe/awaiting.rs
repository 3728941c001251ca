//! Waits for a new leader to accept writes. It is asked over one session for as long as that lasts:
//! a login each time would cost both sides many times as much, just when they are busiest.

use std::time::Duration;

use tokio::time::sleep;

use super::SqlProber;
use super::session::Held;
use crate::model::ids::Address;
use crate::model::reach::Answer;

impl SqlProber {
    /// Resolves when the server says that it is writable.
    pub(super) async fn until_it_writes(&self, server: &Address, pause: &dyn Fn() -> Duration) {
        let held = || Held::new(is_in_recovery, pause, self.timeout);
        while self.last_word(server, &held()).await != Answer::Writable {
            sleep(pause()).await;
        }
    }

    async fn last_word(&self, server: &Address, held: &Held<'_>) -> Answer {
        let Some(login) = &self.login else { return self.ask_one(server).await };
        match self.dial(server, self.timeout).await {
            Ok(dialled) => login.hold(dialled.stream, server, held).await,
            Err(failure) => failure.into(),
        }
    }
}

fn is_in_recovery(answer: &Answer) -> bool {
    *answer == Answer::ReadOnly
}
