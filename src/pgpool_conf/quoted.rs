//! Any text as a JSON string of printable ASCII: one line, no quote inside, and back again.
//!
//! Member names are free text from etcd and stand in comments of pgpool.conf; none may end its
//! line.

/// A JSON string with everything but printable ASCII escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// The text of one JSON string; `None` when it is not exactly one.
pub fn unquote(json: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    let mut chars = json.strip_prefix('"')?.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => units.push(escaped(&mut chars)?),
            c if c.is_control() => return None,
            c => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
        }
    }
    String::from_utf16(&units).ok()
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<u16> {
    let plain = |c: char| Some(c as u16);
    match chars.next()? {
        c @ ('"' | '\\' | '/') => plain(c),
        'n' => plain('\n'),
        't' => plain('\t'),
        'r' => plain('\r'),
        'b' => plain('\u{8}'),
        'f' => plain('\u{c}'),
        'u' => {
            let digits: String = chars.by_ref().take(4).collect();
            let hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            u16::from_str_radix(&digits, 16).ok().filter(|_| hex)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_fits_on_one_line_and_comes_back() {
        for text in
            ["", "node-1", "a\nbackend_port0 = 1", "\"'\\", "Zürich 🐘", "\0\u{7f}\u{2028}\"\r"]
        {
            let json = quote(text);
            assert!(json.bytes().all(|b| (b' '..=b'~').contains(&b)), "{json}");
            assert_eq!(unquote(&json).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_not_one_string_is_nothing() {
        for bad in
            ["", "\"", "a", "\"a", "\"\\\"", "\"\\ud800\"", "\"\\u+123\"", "\"a\"b\"", "\"\\x\""]
        {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }
}
