//! Whether a program is there to be run, found out without running it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why this user cannot run it; a bare name is looked up in PATH, as when it is run.
pub fn why_not(program: &str) -> Option<String> {
    if program.contains('/') {
        return why_not_file(Path::new(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| why_not_file(&folder.join(program)).is_none());
    (!found).then(|| "is not in PATH, or not executable".to_owned())
}

/// Mode bits are enough here: what they cannot tell, the first restart says.
fn why_not_file(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => Some("is not a file".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
        Err(why) => Some(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name_or_its_path() {
        assert_eq!(why_not("sh"), None);
        assert_eq!(why_not("/bin/sh"), None);
        for (program, why) in [
            ("no-such-program", "not in PATH"),
            ("/no/such/program", "No such file"),
            ("/etc/passwd", "not executable"),
            ("/etc", "not a file"),
        ] {
            let said = why_not(program).unwrap_or_default();
            assert!(said.contains(why), "{program}: {said}");
        }
    }
}
