//! Observations that somebody else wrote down: a GeoJSON or CSV file becomes drafts to look at before they are filed.
//!
//! A file that cannot be read at all is an error. A single feature or row that cannot be used is named with its number and
//! its line, and the rest goes on. What a file says of whom it saw, and where exactly, becomes the sealed part.
//!
//! A feature or row with `what_happened` is one of ours: of every release that [`release`](super::release) writes as
//! CSV or GeoJSON comes back what it says of each event. Of somebody else's a text and a time are used, and `place_condition`
//! is the behaviour, as it accuses nobody; whatever else it says goes into the sealed notes.

mod csv;
mod draft;
mod geojson;

use serde_json::{Map, Value};

use crate::watch::{Observation, Sealed};

pub use csv::COLUMNS;
pub use draft::{PROPERTIES, TEXT_KEYS, TIME_KEYS};

/// Largest file in bytes: it is held in memory, beside its drafts, on an old phone. 32 MiB are some 60,000 reports.
pub const FILE_BYTES_MAX: usize = 32 << 20;

/// Most features or rows of a file.
pub const ROWS_COUNT_MAX: usize = 100_000;

/// Largest feature or row in bytes: four times what the longest texts of one observation take.
pub const ROW_BYTES_MAX: usize = 256 << 10;

/// What a file gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Every feature or row in the order of the file, those that cannot be used as well.
    pub rows: Vec<ImportedRow>,
}

/// One feature of a collection, or one row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedRow {
    /// Its number in the file, from 1; a header is not counted.
    pub number: usize,
    /// Line of the file where it starts, from 1.
    pub line: usize,
    /// What may be filed, or what is wrong with it, for the person who keeps the file.
    pub draft: Result<Draft, String>,
}

/// What may be filed. Both parts pass the checks of an author's own input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The part for the group.
    pub observation: Observation,
    /// The part for coordinators; its `observation` is empty until there is one.
    pub sealed: Option<Sealed>,
    /// Properties or columns that none of the two has a field for.
    pub rest: Map<String, Value>,
}

/// A file that cannot be read as observations at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The file is too large.
    #[error("the file has {bytes} bytes, at most {bytes_max} are read: split it first")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is read at most.
        bytes_max: usize,
    },
    /// It has too many features or rows.
    #[error("the file has more than {ROWS_COUNT_MAX} features or rows: split it first")]
    TooManyRows,
    /// The file is not text.
    #[error("the file is not UTF-8 (first bad byte at offset {offset}): save it as UTF-8 text")]
    NotUtf8 {
        /// Offset of the first bad byte, in bytes.
        offset: usize,
    },
    /// The file has nothing in it, or a header and no rows.
    #[error("the file is empty")]
    Empty,
    /// The collection is empty.
    #[error("the file has no features")]
    NoFeatures,
    /// The table's header names nothing that says what happened.
    #[error("the header names none of {}{hint}", missing.join(", "))]
    Header {
        /// Of these columns it needs at least one.
        missing: Vec<&'static str>,
        /// What may have gone wrong; empty if nothing comes to mind.
        hint: &'static str,
    },
    /// The header names a column twice.
    #[error("the header names column {} again (it is column {} already): rename one of them", again + 1, first + 1)]
    DuplicateColumn {
        /// Index of the first one, from 0.
        first: usize,
        /// Index of the second one, from 0.
        again: usize,
    },
    /// The file looks like JSON and is not.
    #[error("not valid GeoJSON, line {line}, column {column}: {what}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        what: String,
    },
    /// The file is JSON, but holds no collection of features.
    #[error("{found}, not `FeatureCollection`")]
    NotFeatureCollection {
        /// The type it states, in words.
        found: String,
    },
}

/// Reads a file of either kind; what it begins with decides. A feature or row without a time is dated with `undated_ms`,
/// in milliseconds since the Unix epoch, to the day.
///
/// # Errors
/// [`Unreadable`], if nothing of it can be used and it is known why before any row is looked at.
pub fn import(bytes: &[u8], undated_ms: i64) -> Result<Imported, Unreadable> {
    let text = text(bytes, FILE_BYTES_MAX)?;
    if text.trim_start().starts_with(['{', '[']) { geojson(text, undated_ms) } else { csv(text, undated_ms) }
}

/// Reads a GeoJSON text.
///
/// # Errors
/// As [`import`].
pub fn geojson(text: &str, undated_ms: i64) -> Result<Imported, Unreadable> {
    geojson::parse(text, undated_ms)
}

/// Reads a CSV text; its columns may be separated by `,`, `;` or a tab.
///
/// # Errors
/// As [`import`].
pub fn csv(text: &str, undated_ms: i64) -> Result<Imported, Unreadable> {
    csv::parse(text, undated_ms)
}

/// The text of a file, without the byte order mark that spreadsheets like to put first.
///
/// # Errors
/// [`Unreadable::TooLarge`], [`Unreadable::NotUtf8`], [`Unreadable::Empty`] if it is blank.
pub fn text(bytes: &[u8], bytes_max: usize) -> Result<&str, Unreadable> {
    if bytes.len() > bytes_max {
        return Err(Unreadable::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let text =
        std::str::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8 { offset: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim().is_empty() { Err(Unreadable::Empty) } else { Ok(text) }
}
