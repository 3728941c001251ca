//! pgpool.conf behind the seam: init, read, write, edits of others, and included files.

use std::fs;
use std::path::{Path, PathBuf};

use geo_agent::host::conf_file::ConfFileOnDisk;
use geo_agent::model::ids::{Address, MemberName, SlotIndex};
use geo_agent::model::slots::{SlotEntry, SlotTable};
use geo_agent::seams::ConfFile;

const SAMPLE: &str = include_str!("samples/pgpool.conf");

fn conf(test: &str, content: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host_conf_file_{test}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("pgpool.conf");
    fs::write(&path, content).unwrap();
    path
}

fn one_member() -> SlotTable {
    let entry =
        SlotEntry::new(MemberName::new("a\nb"), &Address::new("10.0.0.9", 5432).unwrap(), 0.5);
    SlotTable { entries: [(SlotIndex::new(0).unwrap(), entry)].into() }
}

#[tokio::test]
async fn init_then_write_then_read() {
    let path = conf("life", SAMPLE);
    let file = ConfFileOnDisk::new(&path, 16);
    assert!(file.read().await.unwrap().unwrap_err().contains("run `geo-agent init`"));
    let report = file.init().unwrap();
    let original = report.original.unwrap();
    assert!(report.changed && fs::read_to_string(&original).unwrap() == SAMPLE);
    assert_eq!(file.read().await.unwrap(), Ok(report.table.clone()));
    let after = fs::read(&path).unwrap();
    let again = file.init().unwrap();
    assert_eq!((again.changed, again.original), (false, None));
    assert_eq!(fs::read(&path).unwrap(), after);
    file.write(&one_member()).await.unwrap();
    assert_eq!(file.read().await.unwrap(), Ok(one_member()));
    let backup = path.with_file_name("pgpool.conf.geo-agent.bak");
    assert_eq!(fs::read(&backup).unwrap(), after, "the backup is one step behind");
    assert_eq!(fs::read_to_string(original).unwrap(), SAMPLE, "the file before geo-agent is kept");
}

#[tokio::test]
async fn an_edit_that_the_table_does_not_show_is_noticed() {
    let path = conf("edited", "");
    let file = ConfFileOnDisk::new(&path, 16);
    file.init().unwrap();
    file.write(&one_member()).await.unwrap();
    assert!(!file.edited().await.unwrap());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("'ALLOW", "'DISALLOW")).unwrap();
    assert_eq!(file.read().await.unwrap(), Ok(one_member()));
    assert!(file.edited().await.unwrap());
    file.write(&one_member()).await.unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn backends_in_an_included_file_are_refused_with_their_place() {
    let path = conf("include", "include = 'conf.d/a.conf'\nport = 1\n");
    let directory = path.with_file_name("conf.d");
    fs::create_dir(&directory).unwrap();
    let file = ConfFileOnDisk::new(&path, 16);
    let error = file.init().unwrap_err();
    assert!(error.to_string().contains("pgpool.conf:1 includes a file that cannot be read"));

    fs::write(directory.join("a.conf"), "port = 2\ninclude b.conf\n").unwrap();
    fs::write(directory.join("b.conf"), "port = 3\npcp_port = 4\n").unwrap();
    file.init().unwrap();
    assert!(file.read().await.unwrap().is_ok());
    let settings = file.settings().unwrap();
    assert_eq!((settings["port"].as_str(), settings["pcp_port"].as_str()), ("1", "4"));

    fs::write(directory.join("b.conf"), "\nbackend_weight0 = 1\n").unwrap();
    let why = file.read().await.unwrap().unwrap_err();
    assert!(why.contains("conf.d/b.conf:2 sets backend_weight0 in an included file"), "{why}");
    assert_eq!(file.init().unwrap_err().to_string(), why);

    fs::write(directory.join("b.conf"), "include = 'b.conf'\n").unwrap();
    assert!(file.init().unwrap_err().to_string().contains("or in a circle"));
}

#[tokio::test]
async fn a_table_that_pgpool_would_misread_is_not_written() {
    let path = conf("unwritable", "");
    let file = ConfFileOnDisk::new(&path, 1);
    file.init().unwrap();
    let before = fs::read(&path).unwrap();
    let mut table = one_member();
    table.entries.values_mut().for_each(|e| e.port = 432);
    let error = file.write(&table).await.unwrap_err().to_string();
    assert!(error.contains("slot 0 cannot be written to pgpool.conf: port 432"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}
