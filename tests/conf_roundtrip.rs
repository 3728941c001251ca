//! The slot table goes into any pgpool.conf and comes back, and no other byte changes.

use geo_agent::model::ids::{MemberName, SlotIndex};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::pgpool_conf::error::TableError;
use geo_agent::pgpool_conf::lines::lines;
use geo_agent::pgpool_conf::table::{BEGIN, END, read, render, replace};
use proptest::prelude::*;

fn entry(member: Option<&str>, host: &str, port: u16, weight: f64) -> SlotEntry {
    SlotEntry {
        member: member.map(MemberName::new),
        host: host.to_owned(),
        port,
        weight,
        data_directory: None,
        application_name: None,
    }
}

fn table(entries: &[(usize, SlotEntry)]) -> SlotTable {
    SlotTable {
        entries: entries.iter().map(|(n, e)| (SlotIndex::new(*n).unwrap(), e.clone())).collect(),
    }
}

fn sample() -> SlotTable {
    table(&[
        (0, entry(Some("node-1"), "10.0.0.1", 5432, 1.0)),
        (2, entry(None, "/run/postgresql", 5433, 0.5)),
    ])
}

#[test]
fn a_block_reads_like_this() {
    let mut table = sample();
    table.entries.values_mut().for_each(|e| e.application_name = Some("app".to_owned()));
    let expected = r#"# >>> geo-agent: backend slots >>>
# Which cluster member has which backend slot; 2 of 16 slots are used.
# geo-agent keeps these lines: an edit between the two markers is overwritten, an edit
# outside them is never touched. A member that left keeps its slot until it is back.
# slot 0: member "node-1"
backend_hostname0 = '10.0.0.1'
backend_port0 = 5432
backend_weight0 = 1
backend_flag0 = 'ALLOW_TO_FAILOVER'
backend_application_name0 = 'app'
# slot 2: nobody
backend_hostname2 = '/run/postgresql'
backend_port2 = 5433
backend_weight2 = 0.5
backend_flag2 = 'ALLOW_TO_FAILOVER'
backend_application_name2 = 'app'
# <<< geo-agent: backend slots <<<
"#;
    assert_eq!(render(&table, 16).unwrap(), expected);
}

#[test]
fn only_the_block_changes() {
    let block = render(&sample(), 16).unwrap();
    let (before, after) = (&b"port = 9999\r\n# caf\xe9 \xff\n"[..], &b"\r\nlog_hostname on\n'"[..]);
    let file = [before, block.as_bytes(), after].concat();
    let other = table(&[(0, entry(Some("b"), "h", 6000, 0.0))]);
    let changed = replace(&file, &other, 16).unwrap();
    let expected = [before, render(&other, 16).unwrap().as_bytes(), after].concat();
    assert_eq!(changed, expected);
    assert_eq!(replace(&changed, &other, 16).unwrap(), changed, "twice is once");
}

#[test]
fn an_edit_in_the_block_is_overwritten() {
    let block = render(&sample(), 16).unwrap();
    for (from, to) in [
        ("backend_weight0 = 1\n", "backend_weight0 = 1 # more\nport = 1\n"),
        ("'ALLOW_TO_FAILOVER'", "'DISALLOW_TO_FAILOVER'"),
        ("# Which", "# which"),
        ("\n", "\r\n"),
    ] {
        let edited = block.replace(from, to);
        assert_eq!(read(edited.as_bytes()).unwrap(), sample(), "{to:?}");
        assert_eq!(replace(edited.as_bytes(), &sample(), 16).unwrap(), block.as_bytes());
    }
    let without_newline = &block.as_bytes()[..block.len() - 1];
    assert_eq!(read(without_newline).unwrap(), sample());
    assert_eq!(replace(without_newline, &sample(), 16).unwrap(), block.as_bytes());
}

#[track_caller]
fn refuses(file: &str, sentence: &str) {
    let error = read(file.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(sentence), "{error}");
}

#[test]
fn a_block_that_cannot_be_read_says_so_and_what_to_do() {
    let block = render(&sample(), 16).unwrap();
    refuses("port = 1\n", "run `geo-agent init`");
    refuses(&format!("{BEGIN}\n"), "line 1: the slot table's end marker is missing");
    refuses(&format!("\n{END}\n"), "line 2: the slot table's start marker is missing");
    refuses(&format!("{END}\n{BEGIN}\n"), "line 2: the slot table's start marker stands after");
    refuses(&format!("{block}{block}"), "line 16: this is a second start marker");
    refuses(&format!("{block}backend_weight7 = 1\n"), "line 16: backend_weight7 is set outside");
    refuses(&format!("a = 'b''c'\n{block}"), "line 1: what stands at column 8 is not a setting's");
    let edit = |from: &str, to: &str| block.replacen(from, to, 1);
    refuses(&edit("backend_port0 = 5432\n", ""), "slot 0 has no backend_port0");
    refuses(&edit("port0 = 5432", "port0 = 80"), "port 80 is not in 1024..=65535");
    refuses(&edit("# slot 0: member \"node-1\"\n", ""), "no comment line that says whose");
    refuses(&edit("\"node-1\"", "node-1"), "line 5, inside the slot table: a slot's comment must");
    refuses(&edit("weight0 = 1", "port0 = 1"), "backend_port0 is set a second time");
    refuses(&edit("'10.0.0.1'", "'10.0.0.1"), "line 6, inside the slot table");
}

#[test]
fn what_pgpool_would_misread_is_refused() {
    let bad = |e: SlotEntry| render(&table(&[(0, e)]), 16).unwrap_err();
    for host in ["", "a'b", "a\\b", "a\nb", "a\0b", &"h".repeat(253)] {
        let error = bad(entry(None, host, 5432, 1.0));
        assert!(matches!(error, TableError::Unwritable { .. }), "{host:?}: {error}");
    }
    for weight in [f64::NAN, -1.0, f64::INFINITY] {
        bad(entry(None, "h", 5432, weight));
    }
    bad(entry(None, "h", 0, 1.0));
    bad(entry(None, "h", 1023, 1.0));
    bad(SlotEntry { data_directory: Some("a'b".into()), ..entry(None, "h", 5432, 1.0) });
    let error = render(&table(&[(16, entry(None, "h", 5432, 1.0))]), 16).unwrap_err();
    assert_eq!(
        error.to_string(),
        "slot 16 cannot be written to pgpool.conf: the table has 16 slots; raise pgpool.slots"
    );
}

#[test]
fn the_host_line_always_stands_before_the_port_line() {
    let text = render(&sample(), 16).unwrap();
    for n in [0, 2] {
        let at = |key: &str| text.find(&format!("\n{key}{n} ")).unwrap();
        assert!(at("backend_hostname") < at("backend_port"));
    }
}

fn any_entry() -> impl Strategy<Value = SlotEntry> {
    let text = || prop::option::of("[a-zA-Z0-9_/. é#=-]{1,20}");
    (prop::option::of(any::<String>()), "[a-z0-9.:/_-]{1,30}", 1024u16.., weight(), text(), text())
        .prop_map(|(member, host, port, weight, data_directory, application_name)| SlotEntry {
            member: member.map(MemberName::new),
            host,
            port,
            weight,
            data_directory,
            application_name,
        })
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(-0.0), Just(1.0), 0.0..1e8, 0.0..1e-9]
}

fn any_table() -> impl Strategy<Value = SlotTable> {
    prop::collection::btree_map(0usize..128, any_entry(), 0..10).prop_map(|entries| SlotTable {
        entries: entries.into_iter().map(|(n, e)| (SlotIndex::new(n).unwrap(), e)).collect(),
    })
}

/// Lines of other people, whole or broken, in any encoding.
fn others() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"port = 9999\n".to_vec()),
        Just(b"log_line_prefix = '%m # %p'\r\n".to_vec()),
        Just(b"#backend_hostname0 = 'x'\n".to_vec()),
        Just(b"# \xff\xfe caf\xe9\n".to_vec()),
        Just(b"\n".to_vec()),
        "[ a-z]{0,8}# [^\n]{0,20}\n".prop_map(String::into_bytes),
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn lines_lose_no_byte(file in prop::collection::vec(any::<u8>(), 0..300)) {
        let again: Vec<u8> = lines(&file).iter().flat_map(|l| l.bytes).copied().collect();
        prop_assert_eq!(again, file);
    }

    #[test]
    fn every_table_comes_back_and_every_other_byte_stays(
        first in any_table(), second in any_table(), before in others(), after in others(),
    ) {
        let file = [&before, render(&first, 128).unwrap().as_bytes(), &after].concat();
        prop_assert_eq!(&read(&file).unwrap(), &first);
        let new = replace(&file, &second, 128).unwrap();
        prop_assert_eq!(&read(&new).unwrap(), &second);
        prop_assert!(new.starts_with(&before) && new.ends_with(&after));
        prop_assert_eq!(replace(&new, &first, 128).unwrap(), file);
    }

    #[test]
    fn reading_garbage_never_panics(file in "(# [<>]{3} geo-agent: backend slots [<>]{3}\n|backend_[a-z]{4}0 = '?[a-z0-9'\\\\]{0,9}\n|# slot 0: [a-z\"]{0,5}\n){0,9}") {
        let _ = read(file.as_bytes());
    }
}
