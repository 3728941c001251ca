//! The `etcd3` section.

use std::time::Duration;

use super::secret;
use super::section::Section;
use super::settings::{Etcd, Login, Tls};
use crate::model::ids::Address;
use crate::yaml::Node;

const PORT: u32 = 2379;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Patroni's own default.
const NAMESPACE: &str = "/service/";

pub(super) fn check(section: &Section) -> Option<Etcd> {
    let tls = tls(&section.section("tls")).or_else(|| has_https(section).then(Tls::default));
    let hosts = hosts(section, tls.is_some());
    let login = login(section);
    let timeout = timeout(section);
    let group = section.whole("group", 0..=i32::MAX.into()).and_then(|n| u32::try_from(n).ok());
    let namespace = namespace(section);
    let scope = scope(section)?;
    let mut base = format!("{namespace}/{scope}");
    if let Some(group) = group {
        base += &format!("/{group}");
    }
    Some(Etcd { hosts, login, scope, base, group, timeout, tls })
}

/// Whether a host is written with https: that is TLS by the system's CAs, as in geo-pgpool-mgr.
fn has_https(section: &Section) -> bool {
    let is_https = |node: &Node| {
        let Node::Text(text) = node else { return false };
        text.split(',').any(|one| one.trim().starts_with("https://"))
    };
    let several = match section.node("hosts") {
        Node::List(items) => items.iter().any(is_https),
        one => is_https(one),
    };
    several || is_https(section.node("host"))
}

/// `hosts`, or geo-pgpool-mgr's `host` and `port`.
fn hosts(section: &Section, tls: bool) -> Vec<String> {
    let port = port(section);
    let items: Vec<&Node> = match (section.given("hosts"), section.given("host")) {
        (true, true) => {
            section.problem("host", "is given beside hosts", "keep one of them");
            return Vec::new();
        }
        (true, false) if port.is_some() => {
            section.problem("port", "is given beside hosts", "write it behind each of the hosts");
            return Vec::new();
        }
        (true, false) => match section.node("hosts") {
            one @ Node::Text(_) => vec![one],
            _ => section.list("hosts").iter().collect(),
        },
        (false, true) => vec![section.node("host")],
        (false, false) => vec![],
    };
    if items.is_empty() {
        if !section.given("hosts") || matches!(section.node("hosts"), Node::List(_)) {
            section.missing("hosts", "hosts: [\"etcd-1:2379\", \"etcd-2:2379\"]");
        }
        return Vec::new();
    }
    let key = if section.given("hosts") { "hosts" } else { "host" };
    let mut hosts = Vec::new();
    for item in items {
        let Node::Text(text) = item else {
            section.problem(key, format!("has {} in it, not a host", item.kind()), "host:port");
            continue;
        };
        for one in text.split(',').map(str::trim) {
            match endpoint(one, port, tls) {
                Ok(endpoint) => hosts.push(endpoint),
                Err((message, hint)) => section.problem(key, message, hint),
            }
        }
    }
    hosts
}

/// `host[:port]` behind an optional scheme, to `host:port`.
fn endpoint(text: &str, port: Option<u32>, tls: bool) -> Result<String, (String, &'static str)> {
    let told = |message: &str, hint| Err((format!("\"{text}\" {message}"), hint));
    if text.contains('@') {
        return Err(("has a user or password in it".to_owned(), "use username and password_file"));
    }
    let rest = match (text.split_once("://"), tls) {
        (None, _) => text,
        (Some(("http", rest)), false) | (Some(("https", rest)), _) => rest,
        (Some(("http", _)), true) => {
            let hint = "all of them with https, or without a scheme";
            return told("contradicts tls, or the https of another host", hint);
        }
        (Some(_), _) => return told("has an unknown scheme", "write host:port"),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.matches(':').count() > 1 && !rest.starts_with('[') && port.is_none() {
        return told("is not host:port", "IPv6 addresses go into brackets: [::1]:2379");
    }
    let (host, own_port) = match rest.rsplit_once(':') {
        Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(digits.parse::<u32>().ok()))
        }
        _ => (rest, None),
    };
    let port = match (own_port, port) {
        (Some(_), Some(_)) => return told("has a port beside the key port", "keep one of them"),
        (Some(None), None) => return told("has no port number behind its colon", "host:2379"),
        (Some(Some(own)), None) => own,
        (None, port) => port.unwrap_or(PORT),
    };
    let address = Address::new(host, port);
    address.map(|a| a.to_string()).map_err(|e| (e.to_string(), "write host:port"))
}

/// geo-pgpool-mgr reads 0 as "not given", here and for `timeout`.
fn port(section: &Section) -> Option<u32> {
    match section.node("port") {
        Node::Int(0) => None,
        _ => section.whole("port", 1..=65535).and_then(|n| u32::try_from(n).ok()),
    }
}

fn timeout(section: &Section) -> Duration {
    match section.node("timeout") {
        Node::Int(0) => TIMEOUT,
        _ => section
            .span("timeout", Duration::from_millis(100)..=Duration::from_secs(300))
            .unwrap_or(TIMEOUT),
    }
}

/// geo-pgpool-mgr logs in only when it has both; so do we, and say so.
fn login(section: &Section) -> Option<Login> {
    let username = section.text("username");
    let password = secret::password(section);
    let password_given = section.given("password") || section.given("password_file");
    match (section.given("username"), password_given) {
        (true, false) => section.warn(
            "username",
            "is not used without a password",
            "give password or password_file, or remove username",
        ),
        (false, true) => section.warn(
            "password",
            "is not used without a username",
            "give username, or remove the password",
        ),
        _ => {}
    }
    Some(Login { username: username?, password: password? })
}

fn scope(section: &Section) -> Option<String> {
    if !section.given("scope") {
        section.missing("scope", "the scope in Patroni's own configuration");
        return None;
    }
    let scope = section.text("scope")?;
    let scope = scope.trim_matches('/');
    if scope.is_empty() || scope.contains('/') {
        section.problem("scope", "is not one name without slashes", "the path goes to namespace");
        return None;
    }
    Some(scope.to_owned())
}

/// Without a slash at the end, and empty for the root. An explicit `""` is the root.
fn namespace(section: &Section) -> String {
    let namespace = match section.node("namespace") {
        Node::Text(text) if text.is_empty() => String::new(),
        _ => section.text("namespace").unwrap_or_else(|| NAMESPACE.to_owned()),
    };
    let parts = namespace.split('/').filter(|part| !part.is_empty());
    parts.map(|part| format!("/{part}")).collect()
}

/// For a file that looks like geo-pgpool-mgr's, whose default is no namespace at all.
pub(super) fn warn_of_other_namespace(section: &Section) {
    if section.node("namespace") == &Node::Null {
        section.warn(
            "namespace",
            format!("is not given: {NAMESPACE} is used, where geo-pgpool-mgr used /"),
            "give the namespace in Patroni's own configuration",
        );
    }
}

fn tls(section: &Section) -> Option<Tls> {
    let ca = pem(section, "ca");
    let certificate = pem(section, "client_cert");
    let key = pem(section, "client_key");
    match (section.given("client_cert"), section.given("client_key")) {
        (true, false) => section.missing("client_key", "certificate and key come together"),
        (false, true) => section.missing("client_cert", "certificate and key come together"),
        _ => {}
    }
    let client = certificate.zip(key);
    section.any_given().then_some(Tls { ca, client })
}

/// A file that the etcd client reads later: only a warning when it cannot be read now.
fn pem(section: &Section, key: &str) -> Option<std::path::PathBuf> {
    let path = section.file(key)?;
    match secret::read(&path) {
        Err(error) => {
            let hint = format!("a PEM file that this user can read: {}", path.display());
            section.warn(key, format!("cannot be read: {error}"), hint);
        }
        Ok((_, mode)) if key == "client_key" && mode & 0o004 != 0 => {
            let hint = format!("chmod 640 {}", path.display());
            section.warn(key, format!("everyone can read it: its mode is {mode:04o}"), hint);
        }
        Ok(_) => {}
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_normalised() {
        for (text, port, tls, expected) in [
            ("etcd-1", None, false, "etcd-1:2379"),
            ("etcd-1:12379", None, false, "etcd-1:12379"),
            ("ETCD-1.", Some(4001), false, "etcd-1:4001"),
            ("http://10.0.0.1:2379/", None, false, "10.0.0.1:2379"),
            ("https://10.0.0.1", None, true, "10.0.0.1:2379"),
            ("[2001:db8::1]:2380", None, false, "[2001:db8::1]:2380"),
            ("[::1]", None, false, "[::1]:2379"),
            ("::1", Some(2379), false, "[::1]:2379"),
        ] {
            assert_eq!(endpoint(text, port, tls).as_deref(), Ok(expected), "{text}");
        }
        for (text, port, tls) in [
            ("", None, false),
            ("::1", None, false),
            ("a:1", Some(2), false),
            ("a:", None, false),
            ("a:0", None, false),
            ("a:65536", None, false),
            ("a:1x", None, false),
            ("a b", None, false),
            ("http://a", None, true),
            ("ftp://a", None, false),
            ("a/path", None, false),
            ("user:hunter2@a", None, false),
        ] {
            let error = endpoint(text, port, tls).expect_err(text);
            assert!(!error.0.contains("hunter2"));
        }
    }
}
