//! Identities: slot numbers, member names and server addresses, each valid by construction.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// pgpool's compile-time limit on backend slots (`MAX_NUM_BACKENDS`, pool.h).
pub const SLOTS_MAX: u8 = 128;

/// The number of a backend slot, the `N` of `backend_hostnameN`: 0..=127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex(u8);

impl SlotIndex {
    /// `None` when the number is not a slot that pgpool can have.
    pub fn new(n: usize) -> Option<Self> {
        u8::try_from(n).ok().filter(|n| *n < SLOTS_MAX).map(SlotIndex)
    }

    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// Every slot of a table of `size` slots, lowest first.
    pub fn all(size: u8) -> impl Iterator<Item = SlotIndex> {
        (0..size.min(SLOTS_MAX)).map(SlotIndex)
    }
}

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Patroni member's name: free text from etcd. Displaying it escapes control characters, so that
/// it is safe on a terminal, in a log line and in a one-line comment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Arc<str>);

impl MemberName {
    pub fn new(name: impl Into<String>) -> Self {
        MemberName(Arc::from(name.into()))
    }

    /// The name exactly as Patroni wrote it. Not safe to print.
    pub fn as_raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&printable(&self.0))
    }
}

/// `text` with every control character, line separator and direction override escaped.
pub fn printable(text: &str) -> String {
    let tricky = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(tricky) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let escaped: Vec<char> = if tricky(c) { c.escape_default().collect() } else { vec![c] };
            escaped
        })
        .collect()
}

/// Where a PostgreSQL server listens. Constructed only from a valid host name or IP address and a
/// port in 1..=65535, and normalised (lower case, no trailing dot, canonical IPv6 without
/// brackets), so two spellings of one address are equal and nothing else can reach pgpool.conf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

/// Why a host and port cannot be an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    Host(String),
    Port(u32),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Host(host) => {
                write!(f, "\"{}\" is not a host name or an IP address", printable(host))
            }
            AddressError::Port(port) => write!(f, "port {port} is not in 1..=65535"),
        }
    }
}

impl std::error::Error for AddressError {}

impl Address {
    pub fn new(host: &str, port: u32) -> Result<Self, AddressError> {
        let host = normal_host(host).ok_or_else(|| AddressError::Host(host.to_owned()))?;
        match u16::try_from(port) {
            Ok(port) if port > 0 => Ok(Address { host, port }),
            _ => Err(AddressError::Port(port)),
        }
    }

    /// A host name or an IP address; IPv6 without brackets, as pgpool.conf wants it.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => f.pad(&format!("[{}]:{}", self.host, self.port)),
            false => f.pad(&format!("{}:{}", self.host, self.port)),
        }
    }
}

fn normal_host(host: &str) -> Option<Arc<str>> {
    if host.parse::<Ipv4Addr>().is_ok() {
        return Some(host.into()); // there is one spelling of an IPv4 address
    }
    let unbracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = unbracketed.parse::<Ipv6Addr>() {
        return Some(ip.to_string().into());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    is_host_name(&name).then(|| name.into())
}

/// RFC 1123, with the underscore that container names use. 252 is the longest that pgpool keeps
/// whole (proto-notes/hazards.md, 17). A last label of digits only would be a malformed IPv4
/// address.
fn is_host_name(name: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 252
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_equal() {
        let same = |a: &str, b: &str| assert_eq!(Address::new(a, 5432), Address::new(b, 5432));
        same("DB1.Example.", "db1.example");
        same("[2001:DB8:0::1]", "2001:db8::1");
        same("10.0.0.1", "10.0.0.1");
    }

    #[test]
    fn nothing_but_a_host_and_a_port_is_an_address() {
        for bad in [
            "",
            ".",
            "a b",
            "a'b",
            "a\nb",
            "a\\b",
            "/var/run",
            "-a",
            "a-",
            "a..b",
            "10.0.0",
            "1.2.3.999",
            "a#b",
            "a=b",
            "[::1",
            "h1,h2",
            "ü",
            "\u{202e}a",
        ] {
            assert!(Address::new(bad, 5432).is_err(), "{bad:?}");
        }
        assert!(Address::new(&"a".repeat(64), 5432).is_err());
        assert_eq!(Address::new("a", 0), Err(AddressError::Port(0)));
        assert_eq!(Address::new("a", 65_536), Err(AddressError::Port(65_536)));
    }

    #[test]
    fn ipv6_prints_with_brackets() {
        assert_eq!(Address::new("::1", 5432).unwrap().to_string(), "[::1]:5432");
    }

    #[test]
    fn a_hostile_name_prints_on_one_line() {
        let name = MemberName::new("a\nbackend_port0 = 1\u{1b}[2J\u{202e}");
        assert_eq!(name.to_string(), "a\\nbackend_port0 = 1\\u{1b}[2J\\u{202e}");
    }
}
