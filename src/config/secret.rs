//! Passwords: from the configuration itself, from a file of their own, or from a `.pcppass` file.
//! What they say never leaves this module but inside a [`Secret`].

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::section::Section;
use super::settings::Secret;

/// The largest secret file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const READABLE_BY_ALL: u32 = 0o004;
const ANY_ACCESS_BY_OTHERS: u32 = 0o077;

/// The password of a section with `password` and `password_file`.
pub(super) fn password(section: &Section) -> Option<Secret> {
    if section.given("password") && section.given("password_file") {
        section.problem("password_file", "is given beside password", "keep one of them");
        return None;
    }
    inline(section).or_else(|| from_file(section))
}

fn inline(section: &Section) -> Option<Secret> {
    let text = section.raw_text("password")?;
    if text.contains(['\n', '\r']) {
        section.problem("password", "has more than one line", "a password is one line");
        return None;
    }
    if let Some(mode) = section.reading().mode.filter(|mode| mode & READABLE_BY_ALL != 0) {
        section.warn(
            "password",
            format!("everyone on this host can read it: the file's mode is {mode:04o}"),
            "chmod 640 the configuration file, or use password_file",
        );
    }
    Some(Secret::new(text))
}

fn from_file(section: &Section) -> Option<Secret> {
    let path = section.file("password_file")?;
    let (text, mode) = match read(&path) {
        Ok(read) => read,
        Err(error) => {
            let hint = format!("a file of one line that this user can read: {}", path.display());
            section.problem("password_file", format!("cannot be read: {error}"), hint);
            return None;
        }
    };
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() || password.contains(['\n', '\r', '\0']) {
        let what = if password.is_empty() { "is empty" } else { "has more than one line" };
        section.problem("password_file", what, "the file's one line is the password");
        return None;
    }
    if mode & READABLE_BY_ALL != 0 {
        section.warn(
            "password_file",
            format!("everyone on this host can read it: its mode is {mode:04o}"),
            format!("chmod 640 {}", path.display()),
        );
    }
    Some(Secret::new(password))
}

/// The password for one PCP login, from a file like libpcp's: `host:port:user:password`, the first
/// line that fits, `*` for anything, a backslash before `:` and `\`. Like libpcp, we do not use one
/// that others may read.
pub(super) fn from_passfile(
    section: &Section,
    host: &str,
    port: u16,
    username: &str,
) -> Option<Secret> {
    let path = section.file("passfile")?;
    let (text, mode) = match read(&path) {
        Ok(read) => read,
        Err(error) => {
            let hint = format!("one line host:port:user:password in {}", path.display());
            section.problem("passfile", format!("cannot be read: {error}"), hint);
            return None;
        }
    };
    if mode & ANY_ACCESS_BY_OTHERS != 0 {
        section.problem(
            "passfile",
            format!("others have access to it: its mode is {mode:04o}"),
            format!("chmod 600 {}", path.display()),
        );
        return None;
    }
    let found = text.lines().find_map(|line| password_in(line, host, port, username));
    if found.is_none() {
        section.problem(
            "passfile",
            "has no line for this host, port and username",
            format!("add {host}:{port}:{username}:<password> to {}", path.display()),
        );
    }
    found.map(Secret::new)
}

/// A socket directory may also be called `localhost`, as in libpq's files.
fn password_in(line: &str, host: &str, port: u16, username: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line.chars();
    let mut field = || {
        let mut field = (String::new(), false);
        while let Some(c) = rest.next() {
            match c {
                ':' => return Some(field),
                '\\' => field = (field.0 + &rest.next()?.to_string(), true),
                _ => field.0.push(c),
            }
        }
        None
    };
    let fits =
        |(is, escaped): (String, bool), wanted: &str| is == wanted || (is == "*" && !escaped);
    let line_host = field()?;
    let host_fits = host.starts_with('/') && line_host.0 == "localhost" || fits(line_host, host);
    let port_fits = fits(field()?, &port.to_string());
    let user_fits = fits(field()?, username);
    let password = unescaped(rest.as_str());
    (host_fits && port_fits && user_fits && !password.is_empty()).then_some(password)
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// The text and the permission bits of a regular file; the bits of what was read, not of what the
/// name means a moment later. A pipe is refused: reading it could wait for ever.
pub(super) fn read(path: &Path) -> io::Result<(String, u32)> {
    let refused = |why: &str| Err(io::Error::other(why.to_owned()));
    if !fs::metadata(path)?.is_file() {
        return refused("not a regular file");
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return refused("larger than 64 KiB");
    }
    // The standard error would do, but it carries the bytes along.
    match String::from_utf8(bytes) {
        Ok(text) => Ok((text, mode)),
        Err(_) => refused("not UTF-8 text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passfile_line_fits_by_all_three_fields() {
        let fits = |line: &str| password_in(line, "127.0.0.1", 9898, "pcp");
        assert_eq!(fits("127.0.0.1:9898:pcp:secret").as_deref(), Some("secret"));
        assert_eq!(fits("*:*:*:se\\:cr\\\\et").as_deref(), Some("se:cr\\et"));
        assert_eq!(fits("*:*:*:with:colon").as_deref(), Some("with:colon"));
        for other in
            ["", "#*:*:*:x", "127.0.0.2:9898:pcp:x", "*:9899:*:x", "*:*:other:x", "*:*:pcp"]
        {
            assert_eq!(fits(other), None, "{other}");
        }
        assert_eq!(fits("*:*:\\*:x"), None);
        assert_eq!(fits("*:*:*:"), None);
    }

    #[test]
    fn a_socket_directory_is_also_localhost() {
        let fits = |line: &str| password_in(line, "/var/run/postgresql", 9898, "pcp").is_some();
        assert!(fits("localhost:9898:pcp:x"));
        assert!(fits("/var/run/postgresql:9898:pcp:x"));
        assert!(!fits("127.0.0.1:9898:pcp:x"));
        assert!(password_in("fe80\\:\\:1:9898:pcp:x", "fe80::1", 9898, "pcp").is_some());
    }
}
