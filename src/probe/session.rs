//! What is said after a login: `SELECT pg_is_in_recovery()`, once, or again and again.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::login::answer_of;
use crate::model::reach::Answer;

/// How long a session lasts.
#[derive(Clone, Copy)]
pub(super) enum Stay<'a> {
    ForOneAnswer,
    /// Until the server ends it, leaves a question unanswered, or says what was waited for.
    Until(&'a Held<'a>),
}

pub(super) struct Held<'a> {
    /// Whether to ask again after this answer.
    goes_on: fn(&Answer) -> bool,
    /// The pause before the next question.
    pause: &'a dyn Fn() -> Duration,
    /// How long the login with the first answer may take.
    login: Duration,
    /// How long each further answer may take.
    answer: Duration,
    /// Told when the first answer is there.
    open: Notify,
}

impl<'a> Held<'a> {
    pub(super) fn new(
        goes_on: fn(&Answer) -> bool,
        pause: &'a dyn Fn() -> Duration,
        timeout: Duration,
    ) -> Self {
        Held { goes_on, pause, login: timeout, answer: timeout, open: Notify::new() }
    }

    /// Answers after the first may take this long only.
    pub(super) fn answering_within(self, answer: Duration) -> Self {
        Held { answer, ..self }
    }

    /// Resolves with an answer when the session is not open in time; never once it is.
    pub(super) async fn late(&self) -> Answer {
        if timeout(self.login, self.open.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
        Answer::Hung(format!("no login within {:?}", self.login))
    }
}

/// The first answer, or the one that ended the session. Says goodbye as a client should: the server
/// logs a lost connection otherwise.
pub(super) async fn talk(
    client: Client,
    connection: impl Future<Output = Result<(), Error>>,
    stay: Stay<'_>,
) -> Result<Answer, Error> {
    let mut connection = pin!(connection);
    let mut answer = question(&client, connection.as_mut()).await?;
    if let Stay::Until(held) = stay {
        held.open.notify_one();
        while (held.goes_on)(&answer) {
            answer = next_answer(&client, connection.as_mut(), held).await;
        }
    }
    if answer.is_alive() {
        // Without its client the connection says Terminate and closes.
        drop(client);
        let _ = connection.await;
    }
    Ok(answer)
}

/// A goodbye in the pause is an answer too: it comes with the shutdown, not with the next question.
async fn next_answer(
    client: &Client,
    mut connection: Pin<&mut impl Future<Output = Result<(), Error>>>,
    held: &Held<'_>,
) -> Answer {
    tokio::select! {
        ended = connection.as_mut() => return farewell(ended),
        () = sleep((held.pause)()) => {}
    }
    match timeout(held.answer, question(client, connection)).await {
        Ok(answer) => answer.unwrap_or_else(|error| answer_of(&error)),
        Err(_) => Answer::Hung(format!("no answer within {:?}", held.answer)),
    }
}

async fn question(
    client: &Client,
    connection: Pin<&mut impl Future<Output = Result<(), Error>>>,
) -> Result<Answer, Error> {
    let query = client.simple_query("SELECT pg_is_in_recovery()");
    let rows = tokio::select! {
        biased;
        rows = query => rows?,
        ended = connection => return ended.map(|()| farewell(Ok(()))),
    };
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
        _ => None,
    });
    Ok(match row {
        Some("f") => Answer::Writable,
        Some("t") => Answer::ReadOnly,
        _ => Answer::Alive("it did not say whether it is in recovery".to_owned()),
    })
}

fn farewell(ended: Result<(), Error>) -> Answer {
    match ended {
        Ok(()) => Answer::Dead("it closed the connection".to_owned()),
        Err(error) => answer_of(&error),
    }
}
