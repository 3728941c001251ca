//! Every key that a configuration may have. What is not in here is refused.

/// The keys of each section. A list's name ends in `[]`: the keys of each of its items.
const SECTIONS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "etcd3",
            "location",
            "local_backends",
            "locations",
            "pgpool",
            "probe",
            "attach_after",
            "max_lag",
            "drain_timeout",
            "respect_manual_detach",
            "on_primary_loss",
        ],
    ),
    (
        "etcd3",
        &[
            "hosts",
            "host",
            "port",
            "username",
            "password",
            "password_file",
            "scope",
            "namespace",
            "group",
            "timeout",
            "tls",
        ],
    ),
    ("etcd3.tls", &["ca", "client_cert", "client_key"]),
    ("location", &["name", "tag"]),
    ("local_backends[]", &["name", "weight"]),
    (
        "pgpool",
        &[
            "config_path",
            "slots",
            "pcp",
            "restart",
            "wake",
            "exec_path",
            "config_append",
            "tmp_config_path",
            "tmp_status_path",
            "fail_delay",
        ],
    ),
    ("pgpool.pcp", &["host", "port", "username", "password", "password_file", "passfile"]),
    ("pgpool.restart", &["mode", "command", "window", "max_per_hour", "when_sessions_below"]),
    (
        "probe",
        &[
            "username",
            "password",
            "password_file",
            "dbname",
            "interval",
            "timeout",
            "failure_threshold",
            "sslmode",
            "sslrootcert",
        ],
    ),
];

/// Every key with its path, `etcd3.tls.ca`; sections are keys too.
pub fn all() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(|key| joined(section, key)))
}

/// The keys of the section at `path`, whose list indexes do not matter.
pub(super) fn of(path: &str) -> &'static [&'static str] {
    let kind = without_index(path);
    SECTIONS.iter().find(|(section, _)| *section == kind).map_or(&[], |(_, keys)| keys)
}

/// `section.key`, or `key` at the top.
pub(super) fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// What the operator may have meant by a key that is not known: a near miss in the same section,
/// else the same word elsewhere.
pub(super) fn advice(section: &str, unknown: &str) -> String {
    if unknown == "<<" {
        return "merge keys are not supported: write the keys out".to_owned();
    }
    let known = of(section);
    let near = known.iter().map(|key| (distance(unknown, key), *key)).min();
    if let Some((far, key)) = near
        && far <= 2
        && far < key.len()
    {
        return format!("did you mean {key}?");
    }
    let elsewhere: Vec<String> = all()
        .filter(|path| path.rsplit('.').next() == Some(unknown))
        .filter(|path| !path.starts_with("local_backends"))
        .collect();
    match elsewhere.as_slice() {
        [] => format!("known here: {}", known.join(", ")),
        paths => format!("did you mean {}?", paths.join(" or ")),
    }
}

fn without_index(path: &str) -> String {
    match (path.find('['), path.find(']')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}[]{}", &path[..open], &path[close + 1..])
        }
        _ => path.to_owned(),
    }
}

/// Levenshtein's edit distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("prot", "port"), 2);
        assert_eq!(distance("usernam", "username"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn advice_names_the_nearest_key_or_its_section() {
        assert_eq!(advice("etcd3", "prot"), "did you mean port?");
        assert_eq!(advice("", "slots"), "did you mean pgpool.slots?");
        assert_eq!(advice("local_backends[3]", "wieght"), "did you mean weight?");
        assert_eq!(advice("location", "zzzzzz"), "known here: name, tag");
    }
}
