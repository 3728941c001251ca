//! A PCP packet: one byte of type, a length that counts itself and the body, the body
//! (proto-notes/framing.md). Bytes only: no socket, no clock, no log.

use std::fmt;

/// The largest reply that is read. pgpool itself has no limit; the largest that it really sends,
/// a watchdog description, is a few kilobytes.
pub const REPLY_LEN_MAX: usize = 1024 * 1024;

/// The largest length that pgpool accepts in a request (`MAX_PCP_PACKET_LENGTH` - 1).
pub const REQUEST_LEN_MAX: usize = 259;

/// Type and length.
const HEAD: usize = 5;

/// One packet, borrowed from the buffer that it arrived in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes of the buffer it takes.
    pub fn size(&self) -> usize {
        HEAD + self.body.len()
    }
}

/// The packet at the start of `buffer`; `Ok(None)` when not all of it has arrived yet.
pub fn first_frame(buffer: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((&[tag, a, b, c, d], rest)) = buffer.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if len < HEAD - 1 {
        return Err(FrameError::TooShort { tag, len });
    }
    if len > REPLY_LEN_MAX {
        return Err(FrameError::TooLong { tag, len });
    }
    Ok(rest.get(..len - (HEAD - 1)).map(|body| Frame { tag, body }))
}

/// Appends a packet; `body` appends what is in it. The one place that writes a length.
pub fn framed(tag: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend([0; HEAD - 1]);
    body(out);
    let len = (out.len() - at) as u32;
    out[at..at + HEAD - 1].copy_from_slice(&len.to_be_bytes());
}

/// Appends a string as PCP has it: its bytes and a NUL.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// Why the bytes cannot be a packet of pgpool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    TooShort { tag: u8, len: usize },
    TooLong { tag: u8, len: usize },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooShort { tag, len } => {
                write!(f, "packet '{}' claims a length of {len} bytes", tag.escape_ascii())
            }
            FrameError::TooLong { tag, len } => write!(
                f,
                "packet '{}' claims {len} bytes, more than the {REPLY_LEN_MAX} that are read",
                tag.escape_ascii()
            ),
        }
    }
}

impl std::error::Error for FrameError {}
