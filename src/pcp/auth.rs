//! The md5 answer to pgpool's salt (proto-notes/authentication.md). Pure.

use md5::{Digest, Md5};

/// What pgpool hands out for one login.
pub type Salt = [u8; 4];

/// The 32 hex digits that prove knowledge of the password without showing it.
pub fn answer(username: &str, password: &str, salt: Salt) -> String {
    let with_user = hex_md5(&[stored(password).as_bytes(), username.as_bytes()]);
    hex_md5(&[with_user.as_bytes(), &salt])
}

/// What pcp.conf has behind the user's name.
pub fn stored(password: &str) -> String {
    hex_md5(&[password.as_bytes()])
}

fn hex_md5(parts: &[&[u8]]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
