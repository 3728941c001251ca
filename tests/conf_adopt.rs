//! `init`: taking up the backends of a pgpool.conf, and leaving everything else alone.

use geo_agent::model::ids::SlotIndex;
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::pgpool_conf::adopt::{Adopted, adopt};
use geo_agent::pgpool_conf::findings::findings;
use geo_agent::pgpool_conf::own::compose;
use geo_agent::pgpool_conf::settings::{values, with_defaults};
use geo_agent::pgpool_conf::table::{BEGIN, END, read, render};

const SAMPLE: &str = include_str!("samples/pgpool.conf");

/// Adopts, and shows what every adoption must show.
#[track_caller]
fn adopted(file: impl AsRef<[u8]>) -> Adopted {
    let first = adopt(file.as_ref(), 16).unwrap();
    assert_eq!(read(&first.file).unwrap(), first.table, "what was written reads back");
    let second = adopt(&first.file, 16).unwrap();
    assert_eq!(second.file, first.file, "the second time changes nothing");
    first
}

#[track_caller]
fn refused(file: &str, sentence: &str) {
    let error = adopt(file.as_bytes(), 16).unwrap_err().to_string();
    assert!(error.contains(sentence), "{error}");
}

fn slot(adopted: &Adopted, n: usize) -> &SlotEntry {
    &adopted.table.entries[&SlotIndex::new(n).unwrap()]
}

#[test]
fn a_packaged_file_is_taken_up() {
    let a = adopted(SAMPLE);
    let e = slot(&a, 0);
    assert_eq!((e.host.as_str(), e.port, e.weight), ("10.0.0.1", 5432, 1.0));
    assert_eq!(e.data_directory.as_deref(), Some("/var/lib/postgresql/15/main"));
    assert_eq!(e.application_name.as_deref(), Some("walreceiver"));
    assert_eq!(e.member, None);
    let e = slot(&a, 1);
    assert_eq!((e.host.as_str(), e.port, e.weight), ("db2.example", 5433, 0.5));
    assert_eq!(
        a.notes,
        [
            "line 17: its comment went with it: # the first one",
            "slot 0 had DISALLOW_TO_FAILOVER: pgpool refuses to detach such a slot, so the table uses \
             ALLOW_TO_FAILOVER",
            "slot 1 had ALWAYS_PRIMARY: the table does without it, but it stays in force until pgpool \
             is restarted",
        ]
    );
}

#[test]
fn every_other_byte_stays() {
    for ending in ["\n", "\r\n"] {
        let file = SAMPLE.replace('\n', ending);
        let a = adopted(&file);
        let block = render(&a.table, 16).unwrap();
        let ours = |line: &&str| !line.starts_with("backend_") || line.contains("clustering");
        let (before, after) = file.split_once("backend_hostname0").unwrap();
        let rest: String = after.split_inclusive('\n').skip(1).filter(ours).collect();
        assert_eq!(String::from_utf8(a.file).unwrap(), format!("{before}{block}{rest}"));
    }
}

#[test]
fn without_backends_the_block_goes_to_the_end() {
    let empty = format!("{}\n", [BEGIN].join(""));
    let a = adopted("port = 9999");
    let text = String::from_utf8(a.file).unwrap();
    assert!(
        text.starts_with(&format!("port = 9999\n{empty}")) && text.ends_with(&format!("{END}\n"))
    );
    let a = adopted(b"# caf\xe9\n");
    assert!(a.file.starts_with(b"# caf\xe9\n#"));
    assert!(adopted("").file.starts_with(BEGIN.as_bytes()));
}

#[test]
fn lines_that_came_back_outside_go_into_the_block_that_is_there() {
    let block =
        adopted("backend_hostname0 = 'a'\nbackend_port0 = 5432\nbackend_weight0 = 1\n").file;
    let block = String::from_utf8(block).unwrap();
    let file =
        format!("{block}port = 9999\nbackend_weight0 = 7\nbackend_port3 5433 backend_hostname3 b");
    let a = adopted(&file);
    assert_eq!(slot(&a, 0).weight, 1.0, "a slot in the block stays");
    assert_eq!((slot(&a, 3).host.as_str(), slot(&a, 3).port), ("b", 5433));
    assert!(a.file.starts_with(BEGIN.as_bytes()) && a.file.ends_with(b"\nport = 9999\n"));
    assert_eq!(
        a.notes,
        [
            "slot 0 is in the table already; its lines outside were removed: 12",
            "slot 3 had no backend_weight3; pgpool's default is 0",
            "free below slot 3: 1, 2; new members fill these first",
        ]
    );
}

#[test]
fn the_last_line_of_a_key_counts() {
    let a = adopted("backend_hostname0 = 'a'\nbackend_port0 = 5432\nbackend_hostname0 = 'b'\n");
    assert_eq!(slot(&a, 0).host, "b");
    assert!(a.notes[0].contains("backend_hostname0 stood on lines 1 and 3"));
    assert!(a.notes.last().unwrap().contains("all weights are 0"));
}

#[test]
fn a_slot_that_pgpool_does_not_use_is_left_out() {
    let a = adopted("backend_hostname4 = 'a'\nbackend_weight4 = 1\n");
    assert!(a.table.entries.is_empty());
    assert_eq!(a.notes, ["slot 4 had no backend_port4, so pgpool did not use it: left out"]);
    assert!(!a.file.windows(9).any(|w| w == b"hostname4"));
}

#[test]
fn what_cannot_be_taken_up_is_refused_with_its_line() {
    refused("backend_port0 = 5432\n", "line 1: slot 0 has a port and no host");
    refused("backend_port128 = 5432\n", "line 1: backend_port128 names no slot");
    refused("backend_portx = 5432\n", "line 1: backend_portx names no slot");
    refused("backend_hostname0 = 'h'\nbackend_port0 = 80\n", "line 2: port 80 is not in 1024..");
    refused(
        "backend_hostname0 = 'a\\'b'\nbackend_port0 = 5432\n",
        "line 1: \"a\\'b\" has '\\\\' in it",
    );
    refused("port = 1 backend_port0 = 5432\n", "line 1: backend settings share the line");
    refused("\nbackend_port0 =\n", "line 2: backend_port0 has no value");
    refused("a = 'b''c'\n", "line 1: what stands at column 8 is not a setting's name");
    refused("# no newline at the end", "line 1: a comment at the end of the file needs a newline");
    refused("backend_hostname20 = 'h'\nbackend_port20 = 5432\n", "raise pgpool.slots");
    refused(&format!("{BEGIN}\n"), "the slot table's end marker is missing");
}

/// Whatever is wrong with its line.
#[test]
fn no_error_tells_a_password() {
    let table = render(&SlotTable::default(), 16).unwrap();
    for line in [
        "sr_check_password = 'ab''SecretTail'",
        "sr_check_password = ab 'SecretTail'",
        "sr_check_password =\n'SecretTail'",
        "sr_check_password = 'SecretTail\0'",
        "sr_check_password = 'SecretTail' backend_port0 = 5432",
    ] {
        let file = format!("{line}\n{table}");
        let errors = [
            adopt(file.as_bytes(), 16).unwrap_err().to_string(),
            read(file.as_bytes()).unwrap_err().to_string(),
            compose(line, &[], None, 16).unwrap_err().to_string(),
        ];
        assert!(errors.iter().all(|e| e.contains("line ") && !e.contains("Secret")), "{errors:?}");
    }
}

#[test]
fn settings_are_read_with_the_last_one_winning() {
    let all = values(format!("{SAMPLE}port = 9998\ninclude = 'x.conf'\n").as_bytes());
    assert_eq!(all["port"], "9998");
    assert_eq!(all["pcp_port"], "9898");
    assert_eq!(all["sr_check_password"], "AES#not a comment");
    assert!(!all.contains_key("include"));
    let found: Vec<String> = findings(&with_defaults(all)).into_iter().map(|f| f.setting).collect();
    assert_eq!(
        found,
        [
            "backend_flag0",
            "backend_flag1",
            "connect_timeout",
            "failover_on_backend_error",
            "failover_on_backend_shutdown",
            "search_primary_node_timeout",
        ]
    );
}
