//! Replacing pgpool.conf on a real disk: whole or not at all, with its owner, mode and links.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use geo_agent::host::error::FileError;
use geo_agent::host::replace::{read, replace};

/// An empty directory of this test.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host_replace_{test}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn file(test: &str, content: &str) -> PathBuf {
    let path = directory(test).join("pgpool.conf");
    fs::write(&path, content).unwrap();
    path
}

/// Names in the file's directory.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const BOTH: [&str; 2] = ["pgpool.conf", "pgpool.conf.geo-agent.bak"];

#[track_caller]
fn refused(path: &Path, from: &str, sentence: &str) -> FileError {
    let error = replace(path, from.as_bytes(), b"new\n").unwrap_err();
    assert!(error.to_string().contains(sentence), "{error}");
    error
}

#[test]
fn mode_and_owner_stay_and_a_backup_is_kept() {
    let path = file("attributes", "old\n");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    // As root to somebody else; everybody else may only "change" it to themselves.
    let own = fs::metadata(&path).unwrap();
    let (uid, gid) = if own.uid() == 0 { (12345, 23456) } else { (own.uid(), own.gid()) };
    chown(&path, Some(uid), Some(gid)).unwrap();
    replace(&path, b"old\n", b"new\n").unwrap();
    for (name, content) in BOTH.into_iter().zip(["new\n", "old\n"]) {
        let path = path.with_file_name(name);
        let is = fs::metadata(&path).unwrap();
        assert_eq!((is.uid(), is.gid(), is.mode() & 0o7777), (uid, gid, 0o640), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    assert_eq!(names(&path), BOTH);
}

#[test]
fn an_owner_that_cannot_be_kept_is_a_refusal() {
    // Root becomes somebody else for this. Others have no file of somebody else's to try it on but
    // /etc/passwd, in a directory that they cannot write to either.
    let directory = std::env::temp_dir().join(format!("geo-agent-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let path = directory.join("pgpool.conf");
    fs::write(&path, "old\n").unwrap();
    if fs::metadata(&path).unwrap().uid() == 0 {
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        let out = helper("owner", &path).output().unwrap().stdout;
        let out = String::from_utf8(out).unwrap();
        let sentence = "/pgpool.conf is owned by root (uid 0, gid 0), which cannot be kept: run \
                        geo-agent as that user or root";
        assert!(out.contains(sentence), "{out}");
    } else {
        let passwd = fs::read("/etc/passwd").unwrap();
        assert!(replace(Path::new("/etc/passwd"), &passwd, b"").is_err());
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
    assert_eq!(names(&path), ["pgpool.conf"]);
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_symbolic_link_stays_one() {
    let path = file("symlink", "old\n");
    let link = path.with_file_name("link");
    symlink("pgpool.conf", &link).unwrap();
    replace(&link, b"old\n", b"new\n").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(read(&path).unwrap(), b"new\n");
    assert_eq!(names(&path), ["link", "pgpool.conf", "pgpool.conf.geo-agent.bak"]);
}

#[test]
fn the_same_content_touches_nothing() {
    let path = file("same", "old\n");
    let before = fs::metadata(&path).unwrap().ino();
    replace(&path, b"old\n", b"old\n").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(names(&path), ["pgpool.conf"]);
}

#[test]
fn what_cannot_be_replaced_is_refused_and_stays() {
    let path = file("refused", "old\n");
    refused(&path, "other\n", "was changed by another tool");
    refused(&path.with_file_name("none"), "", "does not exist");
    refused(path.parent().unwrap(), "", "is not a regular file");
    fs::hard_link(&path, path.with_file_name("link")).unwrap();
    refused(&path, "old\n", "has 2 hard links");
    fs::remove_file(path.with_file_name("link")).unwrap();
    fs::write(path.with_file_name("big"), vec![b'\n'; 4 * 1024 * 1024 + 1]).unwrap();
    refused(&path.with_file_name("big"), "", "has 4194305 bytes, more than the 4194304");
    fs::remove_file(path.with_file_name("big")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");
    assert_eq!(names(&path), ["pgpool.conf"]);
}

#[test]
fn a_directory_that_takes_no_file_is_named() {
    // Not even root creates files in /proc/PID.
    let path = Path::new("/proc/self/comm");
    let content = String::from_utf8(read(path).unwrap()).unwrap();
    let error = refused(path, &content, "no file can be created in /proc/");
    assert!(matches!(error, FileError::Directory { .. }));
}

#[test]
fn leftovers_of_killed_writers_are_removed_and_others_stay() {
    let path = file("leftovers", "old\n");
    let pid = std::process::id();
    let leftovers = [
        ".pgpool.conf.geo-agent.4294967295.0.tmp".to_owned(),
        format!(".pgpool.conf.geo-agent.{pid}.4000000000.tmp"),
        ".pgpool.conf.geo-agent.bak.geo-agent.4294967295.7.tmp".to_owned(),
    ];
    let others =
        [".pgpool.conf.geo-agent.1.0.tmp", ".pgpool.conf.geo-agent.x.tmp", ".pgpool.conf.swp"];
    for name in leftovers.iter().map(String::as_str).chain(others) {
        fs::write(path.with_file_name(name), "half").unwrap();
    }
    replace(&path, b"old\n", b"new\n").unwrap();
    assert_eq!(names(&path), [&others[..], &BOTH].concat());
}

#[test]
fn readers_never_see_a_half_file() {
    let path = file("readers", "");
    let content = |n: usize| format!("{n}\n").repeat(20_000).into_bytes();
    fs::write(&path, content(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::SeqCst) {
                let seen = fs::read_to_string(&path).unwrap();
                let first = seen.lines().next().unwrap();
                assert_eq!(seen.lines().filter(|l| *l == first).count(), 20_000);
                assert_eq!(seen.lines().count(), 20_000);
                looks += 1;
            }
            looks
        });
        for n in 0..200 {
            replace(&path, &content(n), &content(n + 1)).unwrap();
        }
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0);
    });
    assert_eq!(read(&path).unwrap(), content(200));
}

#[test]
fn a_killed_writer_leaves_the_old_file_or_the_new_one() {
    let path = file("killed", "0\n");
    let mut writer = helper("forever", &path).spawn().unwrap();
    while fs::read(&path).unwrap() == b"0\n" {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    let left = read(&path).unwrap();
    let text = String::from_utf8(left.clone()).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    replace(&path, &left, b"new\n").unwrap();
    assert_eq!(names(&path), BOTH, "the next one cleans up");
}

/// This test binary again, running only `helper_process`.
fn helper(what: &str, path: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    if what == "owner" {
        use std::os::unix::process::CommandExt;
        command.uid(12345).gid(12345);
    }
    command.args(["--exact", "helper_process", "--nocapture"]);
    command.env("GEO_AGENT_TEST_HELPER", what).env("GEO_AGENT_TEST_PATH", path);
    command
}

/// Not a test by itself: what [`helper`] runs in another process.
#[test]
fn helper_process() {
    let Ok(what) = std::env::var("GEO_AGENT_TEST_HELPER") else { return };
    let path = PathBuf::from(std::env::var_os("GEO_AGENT_TEST_PATH").unwrap());
    match what.as_str() {
        "owner" => println!("{}", replace(&path, b"old\n", b"new\n").unwrap_err()),
        _ => (0..u32::MAX).for_each(|n| {
            replace(&path, format!("{n}\n").as_bytes(), format!("{}\n", n + 1).as_bytes()).unwrap();
        }),
    }
}
