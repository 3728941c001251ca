//! House rules as a test: who may import whom, how long things may be, what is not written.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 300;
const FN_LINES_MAX: usize = 60;
/// Rows of a table in a comment cannot be wrapped.
const LINE_WIDTH_MAX: usize = 100;

/// One file of `src/`, its path as in `plan/wish.rs`, cut off at its tests.
struct Source {
    path: String,
    text: String,
}

/// What a folder or file may import of this crate, as the table in `src/lib.rs` says. The longest
/// matching path counts; whatever lies in one folder may import the rest of it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model/", &[]),
    ("plan/", &["model"]),
    ("pgpool_conf/", &["model"]),
    ("patroni/", &["model", "config", "backoff"]),
    ("patroni/decode", &["model"]),
    ("pcp/", &["model", "config", "seams"]),
    ("probe", &["model", "config", "seams"]),
    ("host/", &["model", "pgpool_conf", "seams"]),
    ("seams", &["model"]),
    ("history/", &["model"]),
    ("observe", &["seams", "plan", "model", "history"]),
    ("restart", &["seams", "model"]),
    ("keeper/", &["model", "config", "seams", "pcp", "host", "pgpool_conf"]),
    ("apply", &["seams", "model", "restart"]),
    (
        "reconcile",
        &[
            "seams", "plan", "model", "observe", "apply", "restart", "retry", "turns", "patroni",
            "backoff",
        ],
    ),
    ("config/", &["yaml", "model"]),
    ("retry", &[]),
    ("turns", &["plan", "model"]),
    ("pace", &["model", "retry", "backoff"]),
    ("holding", &["model"]),
    ("yaml", &[]),
    ("backoff", &[]),
];

/// Values in, values out.
const PURE: &[&str] =
    &["model/", "plan/", "pgpool_conf/", "patroni/decode", "pcp/frame", "pcp/message", "pcp/auth"];

const NOT_IN_PURE: &[&str] = &[
    "tokio",
    "tracing",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "rand::",
    "println!",
];

/// A word, where it may stand, and what to write in its place.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("serde_yaml", &["yaml"], "crate::yaml"),
    ("backoff::", &["backoff", "patroni/", "reconcile/"], "crate::backoff"),
    ("println!", &["cli/"], "tracing, or return the text"),
    ("eprintln!", &["cli/", "main"], "tracing"),
    (".unwrap()", &[], "a match, or `?`"),
    (".expect(", &[], "a match, or `?`"),
    ("panic!(", &[], "an error"),
    ("unreachable!(", &[], "a type that makes it so"),
    ("todo!(", &[], "the thing itself"),
    ("unimplemented!(", &[], "the thing itself"),
    ("dbg!(", &[], "nothing"),
    ("FIXME", &[], "the mended thing"),
    ("XXX", &[], "the mended thing"),
];

/// Files that may break one rule, each with its reason.
const ALLOWED: &[(&str, &str, &str)] = &[];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    assert!(files.len() > 20, "src/ was read");
    let faults: Vec<String> = files.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn untidiness_is_found() {
    let long = format!("fn f() {{\n{}}}\n", "    f();\n".repeat(FN_LINES_MAX));
    let huge = "// x\n".repeat(FILE_LINES_MAX + 1);
    let wide = "x".repeat(LINE_WIDTH_MAX + 1);
    for (path, text) in [
        ("plan/wish.rs", "use crate::apply::run;"),
        ("plan/wish.rs", "fn f() { crate::pcp::client::call() }"),
        ("plan/wish.rs", "use crate::{apply, model};"),
        ("apply.rs", "use crate::plan::check;"),
        ("apply/verify.rs", "use crate::plan::check;"),
        ("model/pool.rs", "use std::time::Instant;"),
        ("plan/wish.rs", "fn f() { tracing::info!(\"x\") }"),
        ("pcp/frame.rs", "use tokio::io::AsyncRead;"),
        ("patroni/decode.rs", "use crate::config::settings::Settings;"),
        ("config/raw.rs", "use serde_yaml::Value;"),
        ("pcp/client.rs", "use backoff::ExponentialBackoff;"),
        ("observe.rs", "fn f() { x.unwrap() }"),
        ("observe.rs", "fn f() { x.expect(\"y\") }"),
        ("observe.rs", "fn f() { println!(\"x\") }"),
        ("cli/mod.rs", "fn f() { todo!() }"),
        ("cli/mod.rs", long.as_str()),
        ("cli/mod.rs", huge.as_str()),
        ("cli/mod.rs", wide.as_str()),
    ] {
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        assert!(!faults(&source).is_empty(), "{path}: {}", text.lines().next().unwrap_or(""));
    }
}

#[test]
fn tidiness_is_not_complained_of() {
    let text = "//! Not `.unwrap()`.\nuse crate::model::ids::SlotIndex;\nuse super::ground::Ground;\n\n\
                fn f() {\n    let x = \"panic!()\"; // never panic!()\n}\n";
    let source = Source { path: "plan/wish.rs".to_owned(), text: text.to_owned() };
    assert_eq!(faults(&source), Vec::<String>::new());
    let tests = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap() }\n}\n";
    let source = Source { path: "plan/wish.rs".to_owned(), text: without_tests(tests) };
    assert_eq!(faults(&source), Vec::<String>::new());
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of src/")
        .map(|e| e.expect("a directory entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = without_tests(&fs::read_to_string(&path).expect("a source file"));
            let path = path.strip_prefix(root).expect("below src/");
            into.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
}

/// Test modules stand last in a file.
fn without_tests(text: &str) -> String {
    let end = text.find("\n#[cfg(test)]\nmod ").map_or(text.len(), |n| n + 1);
    text[..end].to_owned()
}

fn faults(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", source.path));
    }
    for (number, line) in source.text.lines().enumerate() {
        let width = line.chars().count();
        let mut found = words(source, &code_of(line));
        if width > LINE_WIDTH_MAX && !line.starts_with("//! |") {
            found.push(format!("{width} columns, at most {LINE_WIDTH_MAX}"));
        }
        let here = |what| format!("{}:{}: {what}", source.path, number + 1);
        faults.extend(found.into_iter().map(here));
    }
    faults.extend(long_functions(source));
    let allowed = |fault: &String| {
        ALLOWED.iter().any(|(path, what, _)| source.path == *path && fault.contains(what))
    };
    faults.retain(|fault| !allowed(fault));
    faults
}

/// A line without its comment and its string literals.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (in_string, c) {
            (true, '\\') => drop(rest.next()),
            (false, '\'') if rest.peek() == Some(&'"') => drop(rest.next()),
            (_, '"') => in_string = !in_string,
            (false, '/') if rest.peek() == Some(&'/') => break,
            (false, c) => code.push(c),
            (true, _) => {}
        }
    }
    code
}

fn words(source: &Source, code: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let within = |folders: &[&str]| folders.iter().any(|f| is_in(&source.path, f));
    if within(PURE) {
        for word in NOT_IN_PURE.iter().filter(|w| has_word(code, w)) {
            faults.push(format!("`{word}` in a pure module: take the value as an argument"));
        }
    }
    for (word, folders, instead) in ONLY_IN {
        if has_word(code, word) && !within(folders) {
            faults.push(format!("`{word}`: write {instead}"));
        }
    }
    let rule = MAY_IMPORT.iter().filter(|(path, _)| is_in(&source.path, path));
    if let Some((_, may)) = rule.max_by_key(|(path, _)| path.len()) {
        let own = source.path.split(['/', '.']).next().unwrap_or_default();
        for module in imports(code).into_iter().filter(|m| m != own && !may.contains(&m.as_str())) {
            faults.push(format!("imports {module}, and may only import {may:?}"));
        }
    }
    faults
}

/// `apply` is `apply.rs` and all of `apply/`; `pcp/` is the folder.
fn is_in(path: &str, place: &str) -> bool {
    let Some(rest) = path.strip_prefix(place) else { return false };
    place.ends_with('/') || rest.starts_with(['.', '/'])
}

/// The word as it stands, not as the end of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        word.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The modules of this crate that a line names: `crate::x`, `crate::{x, y::z}`.
fn imports(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        let rest = &code[at + word.len()..];
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(|item| name(item.trim()))),
            None => found.push(name(rest)),
        }
    }
    found.retain(|module| !module.is_empty());
    found
}

/// As rustfmt lays them out: a function ends at the first `}` with the indent of its `fn`.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut faults = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = code_of(line);
        if !has_word(&code, "fn ") || code.trim_end().ends_with(';') {
            continue;
        }
        let is_end = |l: &str| l.trim_start().starts_with('}') && indent(l) == indent(line);
        let Some(length) = lines[start..].iter().position(|l| is_end(l)) else { continue };
        if length + 1 > FN_LINES_MAX && !line.contains('}') {
            let (path, at, lines) = (&source.path, start + 1, length + 1);
            faults.push(format!("{path}:{at}: fn of {lines} lines, at most {FN_LINES_MAX}"));
        }
    }
    faults
}
