//! As much of PostgreSQL's protocol as a server needs that is asked one question.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// AuthenticationOk, BackendKeyData, ReadyForQuery.
pub const LOGGED_IN: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";

/// The first message of a session, which has no type.
pub async fn first_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag][..], &length, body].concat()
}

/// ErrorResponse, with a text that must not reach a terminal as it is.
pub fn error(code: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{code}\0Mno\x1b[2J today\0\0");
    message(b'E', body.as_bytes())
}

/// The answer to a query: one row of one column.
pub fn row(value: &str) -> Vec<u8> {
    let column = b"\0\x01pg_is_in_recovery\0\0\0\0\0\0\0\0\0\0\x10\0\x01\xff\xff\xff\xff\0\0";
    let value = [b"\0\x01\0\0\0\x01", value.as_bytes()].concat();
    let done = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    [message(b'T', column), message(b'D', &value), done].concat()
}
