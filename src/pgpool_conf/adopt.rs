//! Putting the block into a pgpool.conf that has none, and taking up the `backend_*` lines of
//! others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::error::{TableError, why_not_port, why_not_text, why_not_weight};
use super::keys::{Field, SlotKey, integer, slot_key};
use super::lines::{Content, Line, Setting, lines};
use super::table::{locate, read_block, render};
use crate::model::ids::{SlotIndex, printable};
use crate::model::slots::{SlotEntry, SlotTable};

/// The outcome of `init`.
#[derive(Debug, Clone, PartialEq)]
pub struct Adopted {
    /// The whole new file. Equal to the old one when there was nothing to do.
    pub file: Vec<u8>,
    /// The table in it. Adopted slots belong to no member yet.
    pub table: SlotTable,
    /// What a DBA should know, a sentence each.
    pub notes: Vec<String>,
}

/// Takes the `backend_*` lines outside the block into it; puts the block where the first of them
/// stood, or at the end. Slots that the block has already stay as they are. Every other byte stays.
/// Adopting the result again gives the same bytes.
pub fn adopt(file: &[u8], size: u8) -> Result<Adopted, TableError> {
    let lines = lines(file);
    let block = locate(&lines)?;
    let mut table = match &block {
        Some(block) => read_block(&lines[block.clone()])?,
        None => SlotTable::default(),
    };
    let mut notes = Vec::new();
    let inside = block.clone().unwrap_or(0..0);
    let outside = (0..lines.len()).filter(|i| !inside.contains(i)).map(|i| &lines[i]);
    let (found, taken) = collect(outside, &mut notes)?;
    for (slot, fields) in found {
        let Entry::Vacant(vacant) = table.entries.entry(slot) else {
            let numbers: Vec<String> = fields.values().map(|f| f.line.to_string()).collect();
            notes.push(format!(
                "slot {slot} is in the table already; its lines outside were removed: {}",
                numbers.join(", ")
            ));
            continue;
        };
        if let Some(entry) = entry_of(slot, &fields, &mut notes)? {
            vacant.insert(entry);
        }
    }
    note_the_whole(&table, &mut notes);
    let text = render(&table, size)?;
    let home = block.map(|b| (lines[b.start].start, lines[b.end - 1].end()));
    Ok(Adopted { file: put(file, &lines, &taken, home, &text), table, notes })
}

/// One value of a slot and where it stood.
struct Found {
    line: usize,
    value: String,
}

type Slots = BTreeMap<SlotIndex, BTreeMap<Field, Found>>;

/// Every slot setting of these lines, the last one winning as in pgpool, and the lines they fill.
fn collect<'a, 'b: 'a>(
    outside: impl Iterator<Item = &'a Line<'b>>,
    notes: &mut Vec<String>,
) -> Result<(Slots, Vec<usize>), TableError> {
    let mut slots = Slots::new();
    let mut taken = Vec::new();
    for line in outside {
        if let Content::Garbled(what) = &line.content {
            return Err(TableError::Unreadable { line: line.number, what: what.clone() });
        }
        let settings = line.settings();
        let ours = settings.iter().filter(|s| slot_key(&s.key).is_some()).count();
        if ours == 0 {
            continue;
        }
        if ours < settings.len() {
            return Err(not_adoptable(
                line.number,
                "backend settings share the line with others: put each on a line of its own".into(),
            ));
        }
        for setting in settings {
            take(line.number, setting, &mut slots, notes)?;
        }
        if let Some(comment) = line.comment {
            let comment = String::from_utf8_lossy(&line.bytes[comment..]);
            let comment = printable(comment.trim_end());
            notes.push(format!("line {}: its comment went with it: {comment}", line.number));
        }
        taken.push(line.number);
    }
    Ok((slots, taken))
}

fn take(
    line: usize,
    setting: &Setting,
    slots: &mut Slots,
    notes: &mut Vec<String>,
) -> Result<(), TableError> {
    let key = printable(&setting.key);
    let Some(SlotKey::Of(slot, field)) = slot_key(&setting.key) else {
        return Err(not_adoptable(
            line,
            format!("{key} names no slot (pgpool has 0..=127): delete or correct the line"),
        ));
    };
    let Some(value) = setting.text().map(str::to_owned) else {
        let what = format!("{key} has no value that is text: correct or delete the line");
        return Err(not_adoptable(line, what));
    };
    let found = Found { line, value };
    if let Some(earlier) = slots.entry(slot).or_default().insert(field, found) {
        notes.push(format!(
            "{key} stood on lines {} and {line}; the last one counts, as in pgpool",
            earlier.line
        ));
    }
    Ok(())
}

/// The entry of an adopted slot; `None` (and a note) for a slot that pgpool does not use.
fn entry_of(
    slot: SlotIndex,
    found: &BTreeMap<Field, Found>,
    notes: &mut Vec<String>,
) -> Result<Option<SlotEntry>, TableError> {
    let Some(port_line) = found.get(&Field::Port) else {
        notes.push(format!(
            "slot {slot} had no backend_port{slot}, so pgpool did not use it: left out"
        ));
        return Ok(None);
    };
    let port = integer(&port_line.value)
        .ok_or_else(|| format!("backend_port{slot} is not a number"))
        .and_then(|port| why_not_port(port).map_or(Ok(port), Err))
        .map_err(|what| not_adoptable(port_line.line, what))?;
    let host = checked_text(found, Field::Hostname)?.ok_or_else(|| {
        not_adoptable(
            port_line.line,
            format!(
                "slot {slot} has a port and no host; pgpool takes its built-in socket directory \
                 then: write it out as backend_hostname{slot}"
            ),
        )
    })?;
    note_flags(slot, found.get(&Field::Flag), notes);
    Ok(Some(SlotEntry {
        member: None,
        host,
        port: u16::try_from(port).unwrap_or_default(),
        weight: weight_of(slot, found.get(&Field::Weight), notes)?,
        data_directory: checked_text(found, Field::DataDirectory)?,
        application_name: checked_text(found, Field::ApplicationName)?,
    }))
}

/// The text of a setting; `None` when it is missing or empty, which pgpool takes as the same.
fn checked_text(
    found: &BTreeMap<Field, Found>,
    field: Field,
) -> Result<Option<String>, TableError> {
    let Some(Found { line, value }) = found.get(&field).filter(|f| !f.value.is_empty()) else {
        return Ok(None);
    };
    match why_not_text(value, field.length_max()) {
        Some(what) => Err(not_adoptable(*line, what)),
        None => Ok(Some(value.clone())),
    }
}

fn weight_of(
    slot: SlotIndex,
    found: Option<&Found>,
    notes: &mut Vec<String>,
) -> Result<f64, TableError> {
    let Some(Found { line, value }) = found else {
        notes.push(format!("slot {slot} had no backend_weight{slot}; pgpool's default is 0"));
        return Ok(0.0);
    };
    let Ok(weight) = value.parse::<f64>() else {
        notes.push(format!(
            "line {line}: backend_weight{slot} is not a number: pgpool reads it as 0, so does this"
        ));
        return Ok(0.0);
    };
    why_not_weight(weight).map_or(Ok(weight), |what| Err(not_adoptable(*line, what)))
}

fn note_flags(slot: SlotIndex, flag: Option<&Found>, notes: &mut Vec<String>) {
    for flag in flag.into_iter().flat_map(|f| f.value.split('|')) {
        match flag.trim() {
            "" | "ALLOW_TO_FAILOVER" => {}
            "DISALLOW_TO_FAILOVER" => notes.push(format!(
                "slot {slot} had DISALLOW_TO_FAILOVER: pgpool refuses to detach such a slot, so \
                 the table uses ALLOW_TO_FAILOVER"
            )),
            "ALWAYS_PRIMARY" => notes.push(format!(
                "slot {slot} had ALWAYS_PRIMARY: the table does without it, but it stays in force \
                 until pgpool is restarted"
            )),
            other => notes
                .push(format!("slot {slot} had the unknown flag {}: left out", printable(other))),
        }
    }
}

fn note_the_whole(table: &SlotTable, notes: &mut Vec<String>) {
    let slots: Vec<usize> = table.entries.keys().map(|s| s.get()).collect();
    if let Some(last) = slots.last() {
        let gaps: Vec<String> =
            (0..*last).filter(|s| !slots.contains(s)).map(|s| s.to_string()).collect();
        if !gaps.is_empty() {
            let gaps = gaps.join(", ");
            notes.push(format!("free below slot {last}: {gaps}; new members fill these first"));
        }
    }
    if !slots.is_empty() && table.entries.values().all(|e| e.weight == 0.0) {
        notes.push(
            "all weights are 0, so pgpool sends every read to the lowest attached slot".to_owned(),
        );
    }
}

/// The file without the taken lines and with the block in its place.
fn put(
    file: &[u8],
    lines: &[Line<'_>],
    taken: &[usize],
    home: Option<(usize, usize)>,
    block: &str,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(file.len() + block.len() + 1);
    let first = taken.first().filter(|_| home.is_none());
    for line in lines {
        if home.is_some_and(|(from, _)| line.start == from) || first == Some(&line.number) {
            out.extend_from_slice(block.as_bytes());
        }
        let replaced = home.is_some_and(|(from, to)| (from..to).contains(&line.start));
        if !replaced && !taken.contains(&line.number) {
            out.extend_from_slice(line.bytes);
        }
    }
    if home.is_none() && first.is_none() {
        if out.last().is_some_and(|b| *b != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(block.as_bytes());
    }
    out
}

fn not_adoptable(line: usize, what: String) -> TableError {
    TableError::NotAdoptable { line, what }
}
