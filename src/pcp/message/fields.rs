//! Taking a packet's body apart, field by field.

use std::fmt;
use std::str::FromStr;

use crate::model::ids::printable;

/// The rest of a body: strings that end in NUL, and now and then raw bytes.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Fields(body)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Malformed::Unterminated)?;
        let (field, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Ok(field)
    }

    /// Text of pgpool's, in whatever encoding its configuration file has.
    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// A number in decimal digits. `what` names it in the error.
    pub(super) fn number<T: FromStr>(&mut self, what: &'static str) -> Result<T, Malformed> {
        let text = self.text()?;
        text.parse().map_err(|_| Malformed::Value { what, found: text })
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, Malformed> {
        Ok(self.number::<u8>(what)? != 0)
    }

    pub(super) fn skip(&mut self, fields: usize) -> Result<(), Malformed> {
        (0..fields).try_for_each(|_| self.bytes().map(drop))
    }

    /// How many strings are left.
    pub(super) fn count(&self) -> usize {
        self.0.iter().filter(|b| **b == 0).count()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Leftovers mean that the message was not what it was taken for.
    pub(super) fn end(self) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            bytes => Err(Malformed::Leftover { bytes }),
        }
    }
}

/// Why a packet cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// A string without its NUL.
    Unterminated,
    /// A value that its field cannot have.
    Value { what: &'static str, found: String },
    /// More fields than the message has.
    Leftover { bytes: usize },
    /// A number of fields that no known pgpool sends.
    Shape { what: &'static str, fields: usize },
    /// A packet type, or a first string, that is not in proto-notes.
    Unknown { tag: u8 },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Unterminated => f.write_str("a string in it does not end"),
            Malformed::Value { what, found } => {
                let found: String = printable(found).chars().take(80).collect();
                write!(f, "{what} cannot be \"{found}\"")
            }
            Malformed::Leftover { bytes } => write!(f, "{bytes} bytes are left over"),
            Malformed::Shape { what, fields } => write!(
                f,
                "{what} with {fields} fields is not known; pgpool may be newer than this program"
            ),
            Malformed::Unknown { tag } => {
                write!(f, "packet '{}' is not a reply that is known", tag.escape_ascii())
            }
        }
    }
}

impl std::error::Error for Malformed {}
