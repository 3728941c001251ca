//! pgpool's way of saying no.

use std::fmt;

/// An error that pgpool answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub is_fatal: bool,
    pub message: String,
    pub detail: String,
}

impl Refusal {
    pub fn error(message: impl Into<String>, detail: impl Into<String>) -> Self {
        Refusal { is_fatal: false, message: message.into(), detail: detail.into() }
    }

    pub fn fatal(message: impl Into<String>, detail: impl Into<String>) -> Self {
        Refusal { is_fatal: true, ..Refusal::error(message, detail) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.detail)
    }
}

impl std::error::Error for Refusal {}
