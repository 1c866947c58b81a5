//! CSV (RFC 4180): a table with our columns or with somebody else's.

use std::collections::BTreeMap;
use std::io::Cursor;

use ::csv::{Position, Reader, ReaderBuilder, StringRecord};
use serde_json::{Map, Number, Value, json};

use super::{Draft, Imported, ImportedRow, ROW_BYTES_MAX, ROWS_COUNT_MAX, TEXT_KEYS, Unreadable, draft};
use crate::exchange::csv::{CODE_SEPARATOR, restored};

/// Columns that stand for more than a field of the same name, and what they become.
pub const COLUMNS: &[(&str, &str)] = &[
    ("latitude or lat, longitude or lon", "sealed.position"),
    ("address, notes, accuracy_m, method", "sealed, field by field"),
    ("behaviours, activity, flags, consent", "several codes, joined as D;U"),
    ("substances, substance_catalogues, substance_bases", "substances, joined in the same order"),
    ("quantity, unit", "quantity"),
    ("event, drug_types", "not used: they follow from the rest"),
];

/// How often reading begins again behind a row whose quotes are wrong: each time may read to the end of the file.
const FRESH_STARTS_MAX: usize = 16;

/// An open quote swallows lines until the next one.
const OPEN_QUOTE: &str = "; a field goes over several lines: is a quote (\") left open here?";

const LISTS: [&str; 4] = ["behaviours", "activity", "flags", "consent"];
const SEALED_TEXTS: [&str; 3] = ["address", "notes", "method"];

pub(super) fn parse(text: &str, undated_ms: i64) -> Result<Imported, Unreadable> {
    let mut builder = ReaderBuilder::new();
    let delimiter = delimiter(text);
    builder.flexible(true).delimiter(delimiter);
    let mut reader = builder.from_reader(Cursor::new(text.as_bytes()));
    let header = reader.headers().map_err(|_| Unreadable::Empty)?.clone();
    let columns = columns(&header)?;
    let mut imported = Imported::default();
    let mut record = StringRecord::new();
    let mut fresh_starts = 0;
    let mut number = 0;
    // The text is UTF-8 and in memory, and rows of every length are welcome: nothing is left that could fail.
    while reader.read_record(&mut record).unwrap_or(false) {
        number += 1;
        if number > ROWS_COUNT_MAX {
            return Err(Unreadable::TooManyRows);
        }
        let start = first_line(text, record.position());
        let row = Row { columns: &columns, record: &record, header: &header };
        let raw = between(text, &start, reader.position());
        let broken = row.broken(raw, delimiter);
        let is_broken = broken.is_some();
        let line = usize::try_from(start.line()).unwrap_or(usize::MAX);
        let draft = broken.map_or_else(|| row.draft(undated_ms), Err);
        imported.rows.push(ImportedRow { number, line, draft });
        if is_broken && raw.trim_ascii_end().contains(&b'\n') && fresh_starts < FRESH_STARTS_MAX {
            fresh_starts += 1;
            read_on_behind_first_line(&mut reader, text, &start);
        }
    }
    if imported.rows.is_empty() { Err(Unreadable::Empty) } else { Ok(imported) }
}

/// The sign that the first line has most of: European spreadsheets separate columns by semicolons.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
    // Of equals the last one wins.
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Names of the columns, in lower case and without white space around them.
fn columns(header: &StringRecord) -> Result<Vec<String>, Unreadable> {
    let names: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut index_by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (again, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if let Some(first) = index_by_name.insert(name, again) {
            return Err(Unreadable::DuplicateColumn { first, again });
        }
    }
    let texts: Vec<&str> = std::iter::once("what_happened").chain(TEXT_KEYS.iter().copied()).collect();
    if !texts.iter().any(|name| index_by_name.contains_key(name)) {
        return Err(Unreadable::Header { missing: texts, hint: open_quote(header) });
    }
    Ok(names)
}

fn open_quote(record: &StringRecord) -> &'static str {
    if record.iter().any(|field| field.contains('\n')) { OPEN_QUOTE } else { "" }
}

/// Where a record begins: the parser's position is before the blank lines and the line feeds that it passes over.
fn first_line(text: &str, position: Option<&Position>) -> Position {
    let mut start = position.cloned().unwrap_or_else(Position::new);
    let at = usize::try_from(start.byte()).unwrap_or(usize::MAX);
    let ahead = text.as_bytes().get(at..).unwrap_or_default();
    let passed: Vec<_> = ahead.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).collect();
    let lines = passed.iter().filter(|byte| ***byte == b'\n').count();
    let (byte, line) = (start.byte() + passed.len() as u64, start.line() + lines as u64);
    start.set_byte(byte).set_line(line);
    start
}

fn between<'a>(text: &'a str, start: &Position, end: &Position) -> &'a [u8] {
    let at = |position: &Position| usize::try_from(position.byte()).unwrap_or(usize::MAX);
    text.as_bytes().get(at(start)..at(end)).unwrap_or_default()
}

/// Lines that a quote swallowed are rows as well.
fn read_on_behind_first_line(reader: &mut Reader<Cursor<&[u8]>>, text: &str, start: &Position) {
    let at = usize::try_from(start.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    let Some(line_bytes) = rest.iter().position(|byte| *byte == b'\n') else { return };
    let mut next = start.clone();
    next.set_byte(start.byte() + line_bytes as u64 + 1).set_line(start.line() + 1);
    // Within memory no place cannot be gone to; if it could not, the rows behind are read as they come.
    let _ = reader.seek(next);
}

struct Row<'a> {
    columns: &'a [String],
    record: &'a StringRecord,
    header: &'a StringRecord,
}

impl Row<'_> {
    /// What is wrong with its form.
    fn broken(&self, raw: &[u8], delimiter: u8) -> Option<String> {
        let (found, expected) = (self.record.len(), self.columns.len());
        if raw.len() > ROW_BYTES_MAX {
            let hint = open_quote(self.record);
            return Some(format!("it has {} bytes, at most {ROW_BYTES_MAX} are read{hint}", raw.len()));
        }
        if !are_quotes_right(raw, delimiter) {
            let hint = open_quote(self.record);
            return Some(format!(
                "a quote (\") is not where one can be: write one within a text twice{hint}"
            ));
        }
        if found != expected {
            return Some(format!("{found} columns, expected {expected}{}", open_quote(self.record)));
        }
        (self.record == self.header).then(|| "it is the header again".to_owned())
    }

    fn draft(&self, undated_ms: i64) -> Result<Draft, String> {
        let cells = self.columns.iter().zip(self.record).map(|(name, cell)| (name.as_str(), restored(cell)));
        let mut cells: BTreeMap<&str, String> =
            cells.filter(|(name, cell)| !name.is_empty() && !cell.trim().is_empty()).collect();
        let point = point(&mut cells)?;
        if !cells.contains_key("what_happened") {
            let properties = cells.into_iter().map(|(name, cell)| (name.to_owned(), Value::String(cell)));
            return draft::of(properties.collect(), point, undated_ms);
        }
        cells.remove("event");
        cells.remove("drug_types");
        let mut properties = Map::new();
        for name in LISTS {
            let codes = list(cells.remove(name));
            properties.insert(name.to_owned(), codes.into());
        }
        if let Some(substances) = substances(&mut cells)? {
            properties.insert("substances".to_owned(), substances);
        }
        if let Some(amount) = cells.remove("quantity") {
            let quantity = json!({ "amount": number("quantity", &amount)?, "unit": cells.remove("unit").unwrap_or_default() });
            properties.insert("quantity".to_owned(), quantity);
        }
        let mut sealed = Map::new();
        for name in SEALED_TEXTS {
            sealed.extend(cells.remove(name).map(|cell| (name.to_owned(), Value::String(cell))));
        }
        if let Some(accuracy) = cells.remove("accuracy_m") {
            sealed.insert("accuracy_m".to_owned(), number("accuracy_m", &accuracy)?.into());
        }
        if !sealed.is_empty() {
            properties.insert("sealed".to_owned(), sealed.into());
        }
        properties.extend(cells.into_iter().map(|(name, cell)| (name.to_owned(), Value::String(cell))));
        draft::of(properties, point, undated_ms)
    }
}

/// Whether no quote is left open and nothing stands between a closing one and the end of its field (RFC 4180, section 2).
/// The parser takes both as it can, and so would make one row of two. In a field that begins without one, a quote is a letter.
fn are_quotes_right(raw: &[u8], delimiter: u8) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Start,
        Plain,
        Quoted,
        Closed,
    }
    let is_end = |byte: u8| byte == delimiter || matches!(byte, b'\r' | b'\n');
    let mut at = At::Start;
    for &byte in raw {
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Closed | At::Start, b'"') => At::Quoted,
            (_, byte) if is_end(byte) => At::Start,
            (At::Closed, _) => return false,
            (At::Start | At::Plain, _) => At::Plain,
        };
    }
    at != At::Quoted
}

/// Latitude and longitude, if both are there.
fn point(cells: &mut BTreeMap<&str, String>) -> Result<Option<(f64, f64)>, String> {
    let mut take = |long, short| {
        let (long_cell, short_cell) = (cells.remove(long), cells.remove(short));
        long_cell.or(short_cell).map(|cell| degrees(long, &cell)).transpose()
    };
    match (take("latitude", "lat")?, take("longitude", "lon")?) {
        (Some(lat), Some(lon)) => Ok(Some((lat, lon))),
        (None, None) => Ok(None),
        _ => Err("only one of latitude and longitude is there, expected both or none".to_owned()),
    }
}

fn degrees(name: &str, cell: &str) -> Result<f64, String> {
    let limit = if name == "latitude" { 90.0 } else { 180.0 };
    let degrees = number(name, cell)?.as_f64().filter(|value| value.abs() <= limit);
    degrees.ok_or_else(|| format!("{name} is not within {limit} degrees of zero"))
}

fn number(name: &str, cell: &str) -> Result<Number, String> {
    let parsed = cell.trim().parse::<f64>().ok().and_then(Number::from_f64);
    parsed.ok_or_else(|| format!("{name} is not a number, expected digits such as 12.5"))
}

fn substances(cells: &mut BTreeMap<&str, String>) -> Result<Option<Value>, String> {
    let codes = list(cells.remove("substances"));
    let mut column = |name: &str| {
        let found = list(cells.remove(name));
        let fits = found.is_empty() || found.len() == codes.len();
        fits.then_some(found).ok_or_else(|| {
            format!("{name} does not have as many items as substances, expected one for each, joined by ;")
        })
    };
    let (catalogues, bases) = (column("substance_catalogues")?, column("substance_bases")?);
    let item = |list: &[String], at: usize| list.get(at).cloned().unwrap_or_default();
    let found = codes.iter().enumerate().map(
        |(at, code)| json!({ "code": code, "catalogue": item(&catalogues, at), "basis": item(&bases, at) }),
    );
    Ok((!codes.is_empty()).then(|| found.collect()))
}

fn list(cell: Option<String>) -> Vec<String> {
    cell.map(|cell| cell.split(CODE_SEPARATOR).map(|code| code.trim().to_owned()).collect())
        .unwrap_or_default()
}
