//! What a broken pgpool has lost on this host: its pid file and its UNIX sockets.
//!
//! From 4.4 on a session process that is killed at its birth takes them with it, and pgpool goes on
//! serving TCP without them and without its semaphores (proto-notes/hazards.md, 12).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The files that a whole pgpool has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    pub pid_file: Option<PathBuf>,
    pub sockets: Vec<PathBuf>,
}

/// What is there of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub pid_file: Option<(PathBuf, PidFile)>,
    pub missing_sockets: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PidFile {
    Gone,
    /// The process in it does not exist.
    Stale(u32),
    /// Its process exists, or it cannot be told.
    Fine,
}

/// Sentences on what a pgpool that answers has lost; empty when it is whole, or cannot be looked
/// at, as it runs elsewhere. `settings` are pgpool's live ones if they are known, else its file's,
/// which may have changed since pgpool started. A path that is not in them is not looked for.
/// `pcp_host` is where the agent reaches pgpool.
pub fn damage(settings: &BTreeMap<String, String>, pcp_host: &str) -> Vec<String> {
    damage_if(|| sees_pgpool(Path::new("/proc")), settings, pcp_host)
}

fn damage_if(
    sees_pgpool: impl FnOnce() -> bool,
    settings: &BTreeMap<String, String>,
    pcp_host: &str,
) -> Vec<String> {
    if !is_this_host(pcp_host) {
        return Vec::new();
    }
    let mut sentences = judge(&look(&files(settings)));
    // Another container shares no more than its network with this one: whatever is missing here is
    // there. Looking for processes takes milliseconds, so only who misses something does.
    if !sentences.is_empty() && !sees_pgpool() {
        sentences.clear();
    }
    sentences
}

/// Some pgpool on this host has the same files. It is the root directory that is compared, as
/// systemd gives a unit that it protects a mount namespace of its own. One that may not be looked
/// at counts as the same.
fn sees_pgpool(proc: &Path) -> bool {
    let root = |path: &Path| fs::metadata(path).map(|root| (root.dev(), root.ino())).ok();
    let own = root(Path::new("/"));
    let mut processes = fs::read_dir(proc).into_iter().flatten().flatten().map(|e| e.path());
    processes.any(|process| {
        let is_pgpool = fs::read(process.join("comm")).is_ok_and(|name| name == b"pgpool\n");
        is_pgpool && root(&process.join("root")).is_none_or(|its| Some(its) == own)
    })
}

/// A socket directory, or a loopback address.
pub fn is_this_host(pcp_host: &str) -> bool {
    let bare = pcp_host.trim_start_matches('[').trim_end_matches(']');
    pcp_host.starts_with('/')
        || pcp_host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Which files these settings make pgpool have. Relative paths are left out. A file may still have
/// the `socket_dir` of 4.3 beside the `unix_socket_directories` of 4.4 and later; then the latter
/// counts.
pub fn files(settings: &BTreeMap<String, String>) -> Files {
    let sockets = |directories: &str, port: &str| -> Vec<PathBuf> {
        let (Some(list), Some(port)) = (settings.get(directories), settings.get(port)) else {
            return Vec::new();
        };
        list.split(',')
            .map(|directory| Path::new(directory.trim()))
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(format!(".s.PGSQL.{port}")))
            .collect()
    };
    let newer = settings.contains_key("unix_socket_directories");
    let name = if newer { "unix_socket_directories" } else { "socket_dir" };
    let mut all = sockets(name, "port");
    all.extend(sockets("pcp_socket_dir", "pcp_port"));
    let pid_file = settings.get("pid_file_name").map(PathBuf::from).filter(|p| p.is_absolute());
    Files { pid_file, sockets: all }
}

/// Looks at the files. What cannot be looked at counts as there.
pub fn look(files: &Files) -> Seen {
    let is_gone =
        |path: &Path| fs::symlink_metadata(path).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    Seen {
        pid_file: files.pid_file.as_ref().map(|path| (path.clone(), look_at_pid(path))),
        missing_sockets: files.sockets.iter().filter(|p| is_gone(p)).cloned().collect(),
    }
}

fn look_at_pid(path: &Path) -> PidFile {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(e) if e.kind() == ErrorKind::NotFound => return PidFile::Gone,
        Err(_) => return PidFile::Fine,
    };
    // Where /proc hides the processes of others it hides the first one as well.
    let exists = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
    match parse_pid(&content) {
        Some(pid) if !exists(pid) && exists(1) => PidFile::Stale(pid),
        _ => PidFile::Fine,
    }
}

/// pgpool writes decimal text and a NUL byte.
fn parse_pid(content: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(content).ok()?;
    text.trim_end_matches(['\0', '\n']).trim().parse().ok()
}

/// The sentences, for a pgpool that answers.
pub fn judge(seen: &Seen) -> Vec<String> {
    let mut sentences = Vec::new();
    match &seen.pid_file {
        Some((path, PidFile::Gone)) => {
            sentences.push(format!("pid file {} is gone while pgpool answers", path.display()))
        }
        Some((path, PidFile::Stale(pid))) => sentences.push(format!(
            "pid file {} names process {pid}, which is gone, while pgpool answers: its processes \
             may be left over from a killed one",
            path.display()
        )),
        Some((_, PidFile::Fine)) | None => {}
    }
    for path in &seen.missing_sockets {
        sentences.push(format!("socket {} is gone while pgpool answers", path.display()));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_files_come_from_the_settings() {
        let settings = [
            ("pid_file_name", "/run/p.pid"),
            ("unix_socket_directories", "/a, /b, relative"),
            ("socket_dir", "/old"),
            ("port", "9999"),
            ("pcp_socket_dir", "/c"),
        ];
        let settings = settings.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let files = files(&settings);
        assert_eq!(files.pid_file, Some("/run/p.pid".into()));
        assert_eq!(files.sockets, ["/a/.s.PGSQL.9999", "/b/.s.PGSQL.9999"].map(PathBuf::from));
    }

    #[test]
    fn a_pid_file_ends_with_a_nul() {
        assert_eq!(parse_pid(b"1234\0"), Some(1234));
        assert_eq!(parse_pid(b"12x"), None);
        assert_eq!(parse_pid(b""), None);
    }

    #[test]
    fn what_is_lost_is_said() {
        assert_eq!(judge(&Seen::default()), [""; 0]);
        let lost = Seen {
            pid_file: Some(("/run/p.pid".into(), PidFile::Gone)),
            missing_sockets: vec!["/a/.s.PGSQL.1".into()],
        };
        let sentences = judge(&lost);
        assert!(sentences[0].starts_with("pid file /run/p.pid is gone while pgpool answers"));
        assert!(sentences[1].starts_with("socket /a/.s.PGSQL.1 is gone"));
    }

    #[test]
    fn only_this_host_is_looked_at() {
        for (host, here) in [
            ("/run/postgresql", true),
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("10.0.0.1", false),
            ("pgpool", false),
        ] {
            assert_eq!(is_this_host(host), here, "{host}");
        }
        let gone = BTreeMap::from([("pid_file_name".to_owned(), "/nowhere/p.pid".to_owned())]);
        assert_eq!(damage_if(|| true, &gone, "10.0.0.1"), [""; 0]);
        assert_eq!(damage_if(|| true, &gone, "localhost").len(), 1);
        assert_eq!(damage_if(|| false, &gone, "localhost"), [""; 0], "in another container");
        let never = || panic!("nothing is missing");
        assert_eq!(damage_if(never, &BTreeMap::new(), "localhost"), [""; 0]);
    }

    #[test]
    fn a_pgpool_with_another_root_is_not_here() {
        let proc = std::env::temp_dir().join(format!("geo-agent-proc-{}", std::process::id()));
        let process = proc.join("7");
        fs::create_dir_all(&process).unwrap();
        let is_seen = |comm: &str, root: Option<&str>| {
            fs::write(process.join("comm"), comm).unwrap();
            let _ = fs::remove_file(process.join("root"));
            if let Some(root) = root {
                symlink(root, process.join("root")).unwrap();
            }
            sees_pgpool(&proc)
        };
        assert!(is_seen("pgpool\n", Some("/")));
        assert!(is_seen("pgpool\n", None), "it may not be looked at");
        assert!(!is_seen("pgpool\n", Some("/proc")));
        assert!(!is_seen("postgres\n", Some("/")));
        fs::remove_dir_all(&proc).unwrap();
        assert!(!sees_pgpool(&proc));
    }
}
