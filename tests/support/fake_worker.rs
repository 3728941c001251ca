//! pgpool's process for one PCP connection, well-mannered or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use geo_agent::pcp::auth;
use geo_agent::pcp::frame::{first_frame, framed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::fake_pgpool::{Manner, PASSWORD, Received, Shared, USERNAME};
use super::fake_replies::{self, packet};
use super::refusal::Refusal;

/// One connection; the client's end is the end of it.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let manner = shared.manner.lock().unwrap().clone();
    let mut worker = Worker { shared, manner, number, salt: None, is_let_in: false, budget: None };
    if let Manner::ClosesAfter(bytes) = worker.manner {
        worker.budget = Some(bytes);
    }
    let mut buffer = Vec::new();
    while !matches!(worker.manner, Manner::ClosesAtOnce) {
        match stream.read_buf(&mut buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let mut out = Vec::new();
        let goes_on = worker.take_all(&mut buffer, &mut out);
        if stream.write_all(&out).await.is_err() || !goes_on {
            return;
        }
    }
}

struct Worker {
    shared: Arc<Shared>,
    manner: Manner,
    number: usize,
    salt: Option<auth::Salt>,
    is_let_in: bool,
    /// How many more bytes it sends after the login.
    budget: Option<usize>,
}

impl Worker {
    /// Answers the requests that are there whole. `false`: it closes.
    fn take_all(&mut self, buffer: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let was_let_in = self.is_let_in;
        let mut goes_on = true;
        while let Some((tag, body)) = next_request(buffer) {
            self.note(tag, &body);
            if matches!(self.manner, Manner::Hangs) {
                continue;
            }
            match self.take(tag, &body, out) {
                Ok(stays) => goes_on = stays,
                Err(refusal) => {
                    fake_replies::error(&refusal, out);
                    goes_on = !refusal.is_fatal;
                }
            }
            if !goes_on {
                break;
            }
        }
        self.let_effects_come();
        let is_spent = was_let_in && !self.cut(out);
        goes_on && !is_spent
    }

    fn take(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<bool, Refusal> {
        match tag {
            b'X' => return Ok(matches!(self.manner, Manner::HangsAfterLogin)),
            b'M' => self.send_salt(out),
            b'R' => self.log_in(body, out)?,
            _ if !self.is_let_in => {
                let message = "authentication failed for new PCP connection";
                return Err(Refusal::fatal(message, "connection not authorized"));
            }
            _ => self.answer(tag, body, out)?,
        }
        Ok(true)
    }

    fn send_salt(&mut self, out: &mut Vec<u8>) {
        let salt = (0xc0ff_ee00 + self.number as u32).to_be_bytes();
        self.salt = Some(salt);
        framed(b'm', out, |body| body.extend(salt));
    }

    fn log_in(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        let answer = self.salt.take().map(|salt| auth::answer(USERNAME, PASSWORD, salt));
        let right = answer.map(|answer| format!("{USERNAME}\0{answer}\0"));
        if right.as_deref().map(str::as_bytes) != Some(body) {
            let message = "authentication failed for user \"geo\"";
            return Err(Refusal::fatal(message, "username and/or password does not match"));
        }
        self.is_let_in = true;
        packet(out, b'r', &["AuthenticationOK"]);
        Ok(())
    }

    fn answer(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.manner {
            Manner::HangsAfterLogin => return Ok(()),
            Manner::Says(bytes) => {
                out.extend(bytes);
                self.manner = Manner::HangsAfterLogin;
                return Ok(());
            }
            Manner::Chatty(notices) => {
                for _ in 0..*notices {
                    packet(out, b'N', &["SLOG", "CXX000", "Mjust saying", ""]);
                }
            }
            _ => {}
        }
        fake_replies::answer(&mut self.shared.pool.lock().unwrap(), tag, body, out)
    }

    /// Keeps to the budget. `false`: it is spent.
    fn cut(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(left) = &mut self.budget else { return true };
        out.truncate(*left);
        *left -= out.len();
        *left > 0
    }

    fn let_effects_come(&self) {
        let pool = Arc::clone(&self.shared.pool);
        let delay = pool.lock().unwrap().delay;
        if delay == Duration::ZERO {
            return pool.lock().unwrap().settle();
        }
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            pool.lock().unwrap().settle();
        });
    }

    fn note(&self, tag: u8, body: &[u8]) {
        let text = body.split(|b| *b == 0).next().unwrap_or_default();
        let body = if tag == b'R' { String::new() } else { String::from_utf8_lossy(text).into() };
        let (at, tag) = (Instant::now(), char::from(tag));
        let received = Received { at, connection: self.number, tag, body };
        self.shared.log.lock().unwrap().push(received);
    }
}

/// Takes a whole request off the buffer. A length that pgpool refuses is a bug of the agent's.
fn next_request(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let frame = first_frame(buffer).unwrap()?;
    assert!(frame.size() <= 260, "pgpool refuses a request of {} bytes", frame.size());
    let (tag, body, size) = (frame.tag, frame.body.to_vec(), frame.size());
    let has_body = matches!(tag, b'M' | b'X') || !body.is_empty();
    assert!(has_body, "pgpool would crash: '{}' without a body", char::from(tag));
    buffer.drain(..size);
    Some((tag, body))
}
