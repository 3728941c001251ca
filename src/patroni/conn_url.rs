//! A member's `conn_url` to an [`Address`]. Tolerant in form, strict in result; nothing that may be
//! a credential gets into an error.

use std::fmt;

use crate::model::ids::{Address, AddressError};

const POSTGRES_PORT: u32 = 5432;

/// Longest `conn_url` that is looked at: 16 host names of the longest kind and a long password.
const LONGEST: usize = 8 * 1024;

/// What is wrong with a `conn_url`. Never quotes the part that carries user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnUrlError {
    TooLong,
    NotPostgres,
    /// An `@` after the host part: most likely a password with an unescaped `/` or `#`, and then
    /// what looks like the host is a piece of it.
    Unescaped,
    NoHost,
    Brackets,
    PortNotNumber,
    Address(AddressError),
}

impl fmt::Display for ConnUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnUrlError::TooLong => write!(f, "conn_url is longer than {LONGEST} bytes"),
            ConnUrlError::NotPostgres => f.write_str("conn_url does not start with postgres://"),
            ConnUrlError::Unescaped => {
                f.write_str("conn_url has an @ after its host (an unescaped password?)")
            }
            ConnUrlError::NoHost => f.write_str("conn_url names no host"),
            ConnUrlError::Brackets => {
                f.write_str("conn_url has an IPv6 address without matching brackets")
            }
            ConnUrlError::PortNotNumber => f.write_str("conn_url has a port that is not a number"),
            ConnUrlError::Address(e) => write!(f, "conn_url: {e}"),
        }
    }
}

impl std::error::Error for ConnUrlError {}

/// The server that a `conn_url` points to. Of several hosts (`h1,h2:5432`) it is the first usable
/// one, with its own port or else the last one given, which is how Patroni writes a port for all.
pub fn address_of(conn_url: &str) -> Result<Address, ConnUrlError> {
    if conn_url.len() > LONGEST {
        return Err(ConnUrlError::TooLong);
    }
    let (scheme, rest) = conn_url.trim().split_once("://").ok_or(ConnUrlError::NotPostgres)?;
    if !["postgres", "postgresql"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
        return Err(ConnUrlError::NotPostgres);
    }
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A query may hold an @ (`application_name`); nothing before it may.
    if tail.split('?').next().is_some_and(|path| path.contains('@')) {
        return Err(ConnUrlError::Unescaped);
    }
    let hosts = authority.rsplit_once('@').map_or(authority, |(_login, hosts)| hosts);
    first_usable(&entries(hosts)?)
}

fn first_usable(entries: &[(&str, Option<u32>)]) -> Result<Address, ConnUrlError> {
    let port_for_all = entries.last().and_then(|(_, port)| *port).unwrap_or(POSTGRES_PORT);
    let mut first_error = None;
    for (host, port) in entries.iter().filter(|(host, _)| !host.is_empty()) {
        match Address::new(host, port.unwrap_or(port_for_all)) {
            Ok(address) => return Ok(address),
            Err(e) => first_error = first_error.or(Some(ConnUrlError::Address(e))),
        }
    }
    Err(first_error.unwrap_or(ConnUrlError::NoHost))
}

/// `host[:port]` entries between the commas that stand outside brackets.
fn entries(hosts: &str) -> Result<Vec<(&str, Option<u32>)>, ConnUrlError> {
    let mut in_brackets = false;
    let outside_comma = |c: char| {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ => {}
        }
        c == ',' && !in_brackets
    };
    let mut found = Vec::new();
    for entry in hosts.split(outside_comma) {
        let (host, port) = host_and_port(entry.trim())?;
        // Patroni puts one pair of brackets around a whole list when any of it is IPv6.
        found.extend(host.split(',').map(|h| (h.trim(), port)));
    }
    Ok(found)
}

fn host_and_port(entry: &str) -> Result<(&str, Option<u32>), ConnUrlError> {
    let (host, port) = match entry.strip_prefix('[') {
        Some(inside) => {
            let (host, rest) = inside.split_once(']').ok_or(ConnUrlError::Brackets)?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => (host, ""),
                None => return Err(ConnUrlError::Brackets),
            }
        }
        None => entry.split_once(':').unwrap_or((entry, "")),
    };
    if port.contains(':') {
        return Err(ConnUrlError::Brackets);
    }
    if port.is_empty() {
        return Ok((host, None));
    }
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ConnUrlError::PortNotNumber);
    }
    // More digits than a u32 holds are no port either; the address says so.
    Ok((host, Some(port.parse().unwrap_or(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(url: &str, host: &str, port: u32) {
        assert_eq!(address_of(url), Ok(Address::new(host, port).unwrap()), "{url}");
    }

    #[test]
    fn every_form_that_patroni_writes() {
        is("postgres://10.0.0.1:5432/postgres", "10.0.0.1", 5432);
        is("postgres://h/postgres", "h", 5432);
        is("postgres://h", "h", 5432);
        is("postgresql://h:6000/db", "h", 6000);
        is("POSTGRES://h:6000/db", "h", 6000);
        is("postgres://[2001:db8::1]:5433/postgres", "2001:db8::1", 5433);
        is("postgres://[2001:db8::1]/postgres", "2001:db8::1", 5432);
        is("postgres://u:p%40ss@h:5432/db?x=y", "h", 5432);
        is("postgres://u:p@ss@h:5432/db", "h", 5432);
        is("postgres://DB1.Example.:5432/postgres", "db1.example", 5432);
        is("postgres://h:5432/db?application_name=http://u@h:8008/patroni", "h", 5432);
        is(" postgres://h:5432/postgres\n", "h", 5432);
    }

    #[test]
    fn of_several_hosts_the_first_usable_one() {
        is("postgres://h1,h2:5433/postgres", "h1", 5433);
        is("postgres://h1:5001,h2:5002/postgres", "h1", 5001);
        is("postgres://bad host,h2:5433/postgres", "h2", 5433);
        is("postgres://[2001:db8::1,10.0.0.1]:5433/postgres", "2001:db8::1", 5433);
        is("postgres://[::1]:5001,[::2]:5002/x", "::1", 5001);
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        let refused = |url: &str, why: ConnUrlError| assert_eq!(address_of(url), Err(why), "{url}");
        refused("", ConnUrlError::NotPostgres);
        refused("http://h:1/", ConnUrlError::NotPostgres);
        refused("postgres:///postgres", ConnUrlError::NoHost);
        refused("postgres://:5432/postgres", ConnUrlError::NoHost);
        refused("postgres://h:0/x", ConnUrlError::Address(AddressError::Port(0)));
        refused("postgres://h:65536/x", ConnUrlError::Address(AddressError::Port(65_536)));
        let many = format!("postgres://h:{}/x", "9".repeat(40));
        refused(&many, ConnUrlError::Address(AddressError::Port(u32::MAX)));
        refused("postgres://h:x/y", ConnUrlError::PortNotNumber);
        refused("postgres://h:+1/y", ConnUrlError::PortNotNumber);
        refused("postgres://2001:db8::1:5432/y", ConnUrlError::Brackets);
        refused("postgres://[::1:5432/y", ConnUrlError::Brackets);
        refused("postgres://[::1]x/y", ConnUrlError::Brackets);
        refused(&format!("postgres://{}", "h".repeat(9_000)), ConnUrlError::TooLong);
    }

    #[test]
    fn no_error_shows_a_credential() {
        for url in [
            "postgres://user:sec/ret@h:5432/db",
            "postgres://sec/ret@h:5432/db",
            "postgres://user:sec#ret@h:5432/db",
            "postgres://user:secret@bad host:5432/db",
            "postgres://user:secret@h:port/db",
            "http://user:secret@h/db",
            "postgres://user:secret@h:0/db",
        ] {
            let error = address_of(url).unwrap_err();
            assert!(!error.to_string().contains("sec"), "{url} -> {error}");
            assert!(!format!("{error:?}").contains("sec"), "{url} -> {error:?}");
        }
    }
}
