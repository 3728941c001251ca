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
    /// Until the server ends it, or leaves a question unanswered.
    Until(&'a Held),
}

pub(super) struct Held {
    /// The pause between two questions.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Told when the first answer is there.
    pub open: Notify,
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
        while answer.is_alive() {
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
    held: &Held,
) -> Answer {
    tokio::select! {
        ended = connection.as_mut() => return farewell(ended),
        () = sleep(held.every) => {}
    }
    match timeout(held.timeout, question(client, connection)).await {
        Ok(answer) => answer.unwrap_or_else(|error| answer_of(&error)),
        Err(_) => Answer::Hung(format!("no answer within {:?}", held.timeout)),
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
