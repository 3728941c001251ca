//! A sign of life without a login: the first message of one, as `pg_isready` sends it.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{sqlstate, told};
use crate::model::reach::Answer;

/// Protocol 3.0, as every PostgreSQL since 7.4 speaks.
const PROTOCOL: i32 = 0x0003_0000;

/// No answer to a first message comes near it; what claims more is not PostgreSQL.
const BODY_BYTES_MAX: usize = 30_000;

/// Whatever answers is alive, unless it says itself that it does not serve. Waits without end for
/// an answer: the caller has the clock.
pub(super) async fn ask(mut stream: TcpStream) -> Answer {
    match exchange(&mut stream).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Answer::Dead("it closed the connection without an answer".to_owned())
        }
        Err(error) => Answer::Dead(format!("the connection broke: {error}")),
    }
}

async fn exchange(stream: &mut TcpStream) -> io::Result<Answer> {
    stream.write_all(&startup()).await?;
    let tag = stream.read_u8().await?;
    if !matches!(tag, b'E' | b'R') {
        return Ok(Answer::Alive(told(&format!("it answered with {:?}", char::from(tag)))));
    }
    let length = stream.read_u32().await?.checked_sub(4).map(|n| n as usize);
    let Some(length) = length.filter(|n| *n <= BODY_BYTES_MAX) else {
        return Ok(Answer::Alive("it answered, but not as PostgreSQL does".to_owned()));
    };
    let mut body = vec![0; length];
    // Read to its end also when it tells nothing: closing on unread bytes resets the connection,
    // and the server would log that.
    stream.read_exact(&mut body).await?;
    if tag == b'R' {
        return Ok(Answer::Alive("it asks for a login".to_owned()));
    }
    Ok(sqlstate::answer(&field(&body, b'C'), &field(&body, b'M')))
}

/// StartupMessage for a user that need not exist.
fn startup() -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend(PROTOCOL.to_be_bytes());
    for text in ["user", "geo-agent", "database", "postgres", "application_name", "geo-agent", ""] {
        message.extend(text.as_bytes());
        message.push(0);
    }
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_be_bytes());
    message
}

/// One field of an ErrorResponse: a type byte and a NUL-terminated text each. Empty when missing.
fn field(body: &[u8], wanted: u8) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.split_first().filter(|(kind, _)| **kind == wanted))
        .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn startup_bytes() {
        let message = startup();
        assert_eq!(message[..8], [0, 0, 0, 69, 0, 3, 0, 0]);
        assert_eq!(message.len(), 69);
        assert!(message.ends_with(b"application_name\0geo-agent\0\0"));
    }

    #[test]
    fn fields_of_an_error_are_found() {
        let body = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0";
        assert_eq!(field(body, b'C'), "57P03");
        assert_eq!(field(body, b'M'), "the database system is starting up");
        assert_eq!(field(body, b'D'), "");
        assert_eq!(field(b"", b'C'), "");
        assert_eq!(field(b"C", b'C'), "");
    }
}
