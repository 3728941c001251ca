//! What pgpool says instead of, or beside, an answer (proto-notes/errors.md).

use std::fmt;

use super::fields::{Fields, Malformed};
use crate::model::ids::printable;

/// pgpool cuts each field at 255 bytes; this bounds what something else may send.
const TEXT_CHARS_MAX: usize = 300;

/// An error or a notice of pgpool's. Its texts are printable and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerError {
    pub severity: String,
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl ServerError {
    /// After a fatal error pgpool closes the connection; the requests behind it are lost.
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity.as_str(), "FATAL" | "PANIC")
    }
}

pub(super) fn decode(mut fields: Fields<'_>) -> Result<ServerError, Malformed> {
    let mut error = ServerError::default();
    loop {
        let field = fields.bytes()?;
        let Some((kind, text)) = field.split_first() else { break };
        let text = bounded(text);
        match kind {
            b'S' => error.severity = text,
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            _ => {} // its source file and line, and what later versions may add
        }
    }
    fields.end()?;
    Ok(error)
}

fn bounded(text: &[u8]) -> String {
    printable(&String::from_utf8_lossy(text)).chars().take(TEXT_CHARS_MAX).collect()
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { severity, code, message, detail, hint } = self;
        write!(f, "{severity} {code}: {message}")?;
        if let Some(detail) = detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = hint {
            write!(f, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}
