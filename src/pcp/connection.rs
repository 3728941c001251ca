//! One PCP connection: requests out, replies in, in order. Every wait in here is under the
//! deadline of [`super::client::PcpClient`].

use std::cell::RefCell;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::endpoint::Stream;
use super::error::PcpError;
use super::frame::first_frame;
use super::message::{Reply, Request};

/// Notices are sent at most a few to a request; more than this is not pgpool talking.
const NOTICES_MAX: usize = 1000;

/// How much is read at once: pool status, the longest common reply, is about 13 kB.
const READ_SIZE: usize = 16 * 1024;

pub(super) struct Connection<'a> {
    stream: Box<dyn Stream>,
    /// What has arrived; the bytes up to `taken` are dealt with.
    buffer: Vec<u8>,
    taken: usize,
    notices: usize,
    /// What is waited for, for whoever has to report that it did not come.
    doing: &'a RefCell<String>,
}

impl<'a> Connection<'a> {
    pub(super) fn new(stream: Box<dyn Stream>, doing: &'a RefCell<String>) -> Self {
        Connection { stream, buffer: Vec::new(), taken: 0, notices: 0, doing }
    }

    /// Sends requests in one write, so that pgpool meets them together.
    pub(super) async fn send(&mut self, requests: &[Request<'_>]) -> Result<(), PcpError> {
        let mut bytes = Vec::new();
        for request in requests {
            request.encode(&mut bytes);
        }
        if let Some(first) = requests.first() {
            self.now(first);
        }
        let sent = self.stream.write_all(&bytes).await;
        sent.map_err(|source| self.broken(source))
    }

    /// The next packet that belongs to the answer of `request`. Notices are passed over.
    pub(super) async fn reply(&mut self, request: &Request<'_>) -> Result<Reply, PcpError> {
        self.now(request);
        loop {
            match self.next(request).await? {
                Reply::Notice(notice) => self.pass_over(&notice.to_string())?,
                Reply::Error(source) => {
                    let (during, source) = (self.during(), Box::new(source));
                    return Err(PcpError::Refused { during, source });
                }
                reply => return Ok(reply),
            }
        }
    }

    /// A run of rows: their number, the rows, the end. `take` gets each row.
    pub(super) async fn rows(
        &mut self,
        request: &Request<'_>,
        what: &'static str,
        max: usize,
        mut take: impl FnMut(Reply),
    ) -> Result<(), PcpError> {
        let Reply::Rows(announced) = self.reply(request).await? else {
            return Err(self.unexpected(request));
        };
        self.rows_after(request, (announced, what, max), &mut take).await
    }

    /// The rest of [`Connection::rows`], for a caller that has read the number already.
    pub(super) async fn rows_after(
        &mut self,
        request: &Request<'_>,
        (announced, what, max): (usize, &'static str, usize),
        take: &mut impl FnMut(Reply),
    ) -> Result<(), PcpError> {
        if announced > max {
            return Err(PcpError::TooMany { during: self.during(), what, max });
        }
        let mut came = 0;
        loop {
            match self.reply(request).await? {
                Reply::Complete if came == announced => return Ok(()),
                row @ (Reply::Node(_) | Reply::Setting(_) | Reply::Process(_)) => {
                    came += 1;
                    if came > announced {
                        return Err(PcpError::Rows { during: self.during(), announced, came });
                    }
                    take(row);
                }
                Reply::Complete => {
                    return Err(PcpError::Rows { during: self.during(), announced, came });
                }
                _ => return Err(self.unexpected(request)),
            }
        }
    }

    /// The packet was of the right type, but not what comes at this point.
    pub(super) fn unexpected(&self, request: &Request<'_>) -> PcpError {
        PcpError::Unexpected { during: self.during(), tag: request.answer_tag() }
    }

    /// What is waited for, as errors name it.
    pub(super) fn during(&self) -> String {
        self.doing.borrow().clone()
    }

    async fn next(&mut self, request: &Request<'_>) -> Result<Reply, PcpError> {
        loop {
            let frame = first_frame(&self.buffer[self.taken..])
                .map_err(|source| PcpError::Frame { during: self.during(), source })?;
            let Some(frame) = frame else {
                self.fill().await?;
                continue;
            };
            if ![request.answer_tag(), b'E', b'N'].contains(&frame.tag) {
                return Err(PcpError::Unexpected { during: self.during(), tag: frame.tag });
            }
            let reply = Reply::decode(frame)
                .map_err(|source| PcpError::Malformed { during: self.during(), source })?;
            self.taken += frame.size();
            return Ok(reply);
        }
    }

    async fn fill(&mut self) -> Result<(), PcpError> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.reserve(READ_SIZE);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(PcpError::Closed { during: self.during() }),
            Ok(_) => Ok(()),
            Err(source) => Err(self.broken(source)),
        }
    }

    fn broken(&self, source: io::Error) -> PcpError {
        let during = self.during();
        match source.kind() {
            // pgpool went away with bytes of ours unread.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                PcpError::Closed { during }
            }
            _ => PcpError::Transport { during, source },
        }
    }

    fn pass_over(&mut self, notice: &str) -> Result<(), PcpError> {
        tracing::debug!("pgpool says over PCP: {notice}");
        self.notices += 1;
        match self.notices > NOTICES_MAX {
            true => {
                let during = self.during();
                Err(PcpError::TooMany { during, what: "notices", max: NOTICES_MAX })
            }
            false => Ok(()),
        }
    }

    fn now(&self, request: &Request<'_>) {
        self.doing.replace(request.to_string());
    }
}
