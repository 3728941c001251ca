//! The agent's block in pgpool.conf: reading it, rendering it, replacing it.
//!
//! Between the two markers everything belongs to the agent; outside them it changes no byte. The
//! block says by itself which member owns which slot, so a restarted agent needs no other memory.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::{TableError, why_not_port, why_not_text, why_not_weight};
use super::keys::{Field, SlotKey, integer, slot_key};
use super::lines::{Content, Line, Setting, lines};
use super::quoted::{quote, unquote};
use crate::model::ids::{MemberName, SlotIndex};
use crate::model::slots::{SlotEntry, SlotTable};

/// The first line of the block.
pub const BEGIN: &str = "# >>> geo-agent: backend slots >>>";
/// The last line of the block.
pub const END: &str = "# <<< geo-agent: backend slots <<<";

const NOBODY: &str = "nobody";

/// The block as text, for a table of `size` slots. Refuses what pgpool would refuse or misread.
pub fn render(table: &SlotTable, size: u8) -> Result<String, TableError> {
    let used = table.entries.len();
    let mut text = format!(
        "{BEGIN}\n\
         # Which cluster member has which backend slot; {used} of {size} slots are used.\n\
         # geo-agent keeps these lines: an edit between the two markers is overwritten, an edit\n\
         # outside them is never touched. A member that left keeps its slot until it is back.\n"
    );
    for (slot, entry) in &table.entries {
        if slot.get() >= usize::from(size) {
            let what = format!("the table has {size} slots; raise pgpool.slots");
            return Err(TableError::Unwritable { slot: *slot, what });
        }
        if let Some(what) = why_not_entry(entry) {
            return Err(TableError::Unwritable { slot: *slot, what });
        }
        render_slot(*slot, entry, &mut text);
    }
    text.push_str(END);
    text.push('\n');
    Ok(text)
}

fn render_slot(slot: SlotIndex, entry: &SlotEntry, text: &mut String) {
    let SlotEntry { member, host, port, weight, data_directory, application_name } = entry;
    match member {
        Some(name) => text.push_str(&format!("# slot {slot}: member {}\n", quote(name.as_raw()))),
        None => text.push_str(&format!("# slot {slot}: {NOBODY}\n")),
    }
    for field in Field::ALL {
        let value = match field {
            Field::Hostname => Some(format!("'{host}'")),
            Field::Port => Some(port.to_string()),
            Field::Weight => Some((weight + 0.0).to_string()), // + 0.0: no "-0"
            Field::DataDirectory => data_directory.as_ref().map(|v| format!("'{v}'")),
            Field::Flag => Some("'ALLOW_TO_FAILOVER'".to_owned()),
            Field::ApplicationName => application_name.as_ref().map(|v| format!("'{v}'")),
        };
        if let Some(value) = value {
            text.push_str(&format!("{}{slot} = {value}\n", field.name()));
        }
    }
}

fn why_not_entry(entry: &SlotEntry) -> Option<String> {
    let text = |value: &Option<String>, field: Field| {
        value.as_ref().and_then(|v| why_not_text(v, field.length_max()))
    };
    if entry.host.is_empty() {
        return Some("it has no host".to_owned());
    }
    why_not_text(&entry.host, Field::Hostname.length_max())
        .or_else(|| why_not_port(i64::from(entry.port)))
        .or_else(|| why_not_weight(entry.weight))
        .or_else(|| text(&entry.data_directory, Field::DataDirectory))
        .or_else(|| text(&entry.application_name, Field::ApplicationName))
}

/// Reads the table of a whole pgpool.conf, and makes sure that nothing outside the block gets in
/// its way.
pub fn read(file: &[u8]) -> Result<SlotTable, TableError> {
    let lines = lines(file);
    let block = locate(&lines)?.ok_or(TableError::NoBlock)?;
    for line in lines[..block.start].iter().chain(&lines[block.end..]) {
        if let Content::Garbled(what) = &line.content {
            return Err(TableError::Unreadable { line: line.number, what: what.clone() });
        }
        let setting = line.settings().iter().find(|s| slot_key(&s.key).is_some());
        if let Some(Setting { key, .. }) = setting {
            return Err(TableError::Duplicate { line: line.number, key: key.clone() });
        }
    }
    read_block(&lines[block])
}

/// The file with the block of this table in the place of the block that it has.
pub fn replace(file: &[u8], table: &SlotTable, size: u8) -> Result<Vec<u8>, TableError> {
    let block = render(table, size)?;
    let lines = lines(file);
    let old = locate(&lines)?.ok_or(TableError::NoBlock)?;
    let (from, to) = (lines[old.start].start, lines[old.end - 1].end());
    Ok([&file[..from], block.as_bytes(), &file[to..]].concat())
}

/// Which lines are the block, both markers included; `None` when there is no marker at all.
pub(super) fn locate(lines: &[Line<'_>]) -> Result<Option<Range<usize>>, TableError> {
    let find = |marker: &str| -> Vec<usize> {
        (0..lines.len()).filter(|i| lines[*i].comment_text() == Some(marker)).collect()
    };
    let torn = |index: usize, what| Err(TableError::Torn { line: lines[index].number, what });
    match (find(BEGIN).as_slice(), find(END).as_slice()) {
        ([], []) => Ok(None),
        ([begin], [end]) if begin < end => Ok(Some(*begin..*end + 1)),
        ([begin], [_]) => torn(*begin, "the slot table's start marker stands after its end marker"),
        ([begin], []) => torn(*begin, "the slot table's end marker is missing"),
        ([], [end, ..]) => torn(*end, "the slot table's start marker is missing"),
        ([_, second, ..], _) => torn(*second, "this is a second start marker of a slot table"),
        (_, [_, second, ..]) => torn(*second, "this is a second end marker of a slot table"),
    }
}

/// What the block says of one slot, as far as it has been read.
#[derive(Default)]
struct Draft {
    line: usize,
    /// The slot's comment line was there.
    owned: bool,
    member: Option<MemberName>,
    fields: BTreeMap<Field, String>,
}

/// Reads the lines of a block, markers included. Foreign comments and settings in it are skipped,
/// and so is a newline that an editor took off the end marker: the next write puts all of that
/// right.
pub(super) fn read_block(lines: &[Line<'_>]) -> Result<SlotTable, TableError> {
    let mut drafts: BTreeMap<SlotIndex, Draft> = BTreeMap::new();
    for line in lines.iter().filter(|l| l.comment_text() != Some(END)) {
        let garbled = |what: String| TableError::Garbled { line: line.number, what };
        if let Content::Garbled(what) = &line.content {
            return Err(garbled(what.clone()));
        }
        if let Some((slot, member)) = read_owner(line).map_err(garbled)? {
            let draft = drafts.entry(slot).or_default();
            if std::mem::replace(&mut draft.owned, true) {
                return Err(garbled(format!("a second owner of slot {slot}")));
            }
            (draft.line, draft.member) = (line.number, member);
        }
        for Setting { key, value } in line.settings() {
            let (slot, field) = match slot_key(key) {
                Some(SlotKey::Of(slot, field)) => (slot, field),
                Some(SlotKey::NoSlot(_)) => return Err(garbled(format!("{key} names no slot"))),
                None => continue,
            };
            let draft = drafts.entry(slot).or_default();
            draft.line = line.number;
            let text = String::from_utf8(value.clone())
                .map_err(|_| garbled(format!("the value of {key} is not UTF-8")))?;
            if draft.fields.insert(field, text).is_some() {
                return Err(garbled(format!("{key} is set a second time")));
            }
        }
    }
    let mut table = SlotTable::default();
    for (slot, draft) in drafts {
        let line = draft.line;
        let entry = entry_of(slot, draft).map_err(|what| TableError::Garbled { line, what })?;
        table.entries.insert(slot, entry);
    }
    Ok(table)
}

/// The slot and owner that a comment line of the block names; `None` for every other line.
fn read_owner(line: &Line<'_>) -> Result<Option<(SlotIndex, Option<MemberName>)>, String> {
    let Some(rest) = line.comment_text().and_then(|c| c.strip_prefix("# slot ")) else {
        return Ok(None);
    };
    let bad = || {
        String::from("a slot's comment must read `# slot N: member \"NAME\"` or `# slot N: nobody`")
    };
    let (number, owner) = rest.split_once(": ").ok_or_else(bad)?;
    let slot = number.parse().ok().and_then(SlotIndex::new).ok_or_else(bad)?;
    if owner == NOBODY {
        return Ok(Some((slot, None)));
    }
    let name = owner.strip_prefix("member ").and_then(unquote).ok_or_else(bad)?;
    Ok(Some((slot, Some(MemberName::new(name)))))
}

fn entry_of(slot: SlotIndex, mut draft: Draft) -> Result<SlotEntry, String> {
    if !draft.owned {
        return Err(format!("slot {slot} has no comment line that says whose it is"));
    }
    let missing = |field: Field| format!("slot {slot} has no {}{slot}", field.name());
    let host = draft.fields.remove(&Field::Hostname).ok_or_else(|| missing(Field::Hostname))?;
    let port = draft.fields.remove(&Field::Port).ok_or_else(|| missing(Field::Port))?;
    let port = integer(&port).ok_or_else(|| format!("the port of slot {slot} is not a number"))?;
    if let Some(why) = why_not_port(port) {
        return Err(why);
    }
    // pgpool's own default; the next write puts the line back.
    let weight = draft.fields.remove(&Field::Weight).unwrap_or_else(|| "0".to_owned());
    let weight =
        weight.parse().map_err(|_| format!("the weight of slot {slot} is not a number"))?;
    let entry = SlotEntry {
        member: draft.member,
        host,
        port: u16::try_from(port).unwrap_or_default(),
        weight,
        data_directory: draft.fields.remove(&Field::DataDirectory),
        application_name: draft.fields.remove(&Field::ApplicationName),
    };
    why_not_entry(&entry).map_or(Ok(entry), Err)
}
