//! Where the example's reports come from: the bundled sample, a GeoJSON file, or a city's incident table.
//!
//! Reading happens once and offline. A file that is not of a known kind is an error; a single row or feature
//! that cannot be used is counted and named in [`Loaded::refused`] and the rest goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use lamppost_core::exchange::Unreadable;
use lamppost_core::exchange::import;
use lamppost_core::watch::guard::{self, Place};
use lamppost_core::watch::{Observation, Sealed};

mod csv;
mod observations;
mod offences;

/// Largest file that is read, in bytes: an example should not fill a small computer's memory.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Shortest piece of text worth a byte search, in bytes; shorter ones turn up by chance.
pub const PHRASE_BYTES_MIN: usize = 12;

/// Shortest address, plate, name or number worth a byte search, in bytes.
pub const SECRET_BYTES_MIN: usize = 6;

/// The catalogue the substance codes of every input are taken from.
pub const CATALOGUE: &str = "substances@2026-01";

const SAMPLE: &str = include_str!("../../data/lanternfield.geojson");

/// One thing a volunteer records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What the group reads. `cell` is empty: it is derived from [`Sealed::position`] when the report is filed.
    pub observation: Observation,
    /// What only coordinators read. `observation` is empty until the report has a document id.
    pub sealed: Sealed,
    /// What the author adds later; empty if nothing.
    pub comment: String,
    /// Addresses, plates, names and phrases that no byte search may find at the relay.
    pub planted: Vec<String>,
    /// Reports with the same value tell of one event. Ground truth for checks; it is never filed.
    pub same_event: Option<String>,
}

/// What a file gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The usable reports, in the order of the file.
    pub reports: Vec<Report>,
    /// What was left out, and why.
    pub refused: Vec<Refused>,
    /// Where each column or property went: its name, and the field it fills.
    pub mapping: &'static [(&'static str, &'static str)],
}

/// One row or feature that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Line of the file where it starts, from 1.
    pub line: usize,
    /// What is wrong with it, for the person who keeps the file.
    pub what: String,
}

/// A file that cannot be read as reports at all.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no file of observations.
    #[error("{0}; expected {EXPECTED}")]
    Unreadable(#[from] Unreadable),
    /// The first line is no header this version knows.
    #[error("no known header: {} missing{hint}; expected {EXPECTED}", missing.join(", "))]
    Header {
        /// The columns that were looked for and not found.
        missing: Vec<&'static str>,
        /// What may have gone wrong; empty if nothing comes to mind.
        hint: &'static str,
    },
}

impl InputError {
    /// What a file of this kind may hold, to be shown beside the error: names, and the fields they fill.
    pub fn mapping(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Header { .. } => csv::MAPPING,
            Self::Unreadable(
                Unreadable::Json { .. } | Unreadable::NoFeatures | Unreadable::NotFeatureCollection { .. },
            ) => &observations::MAPPING,
            Self::Read { .. } | Self::Unreadable(_) => &[],
        }
    }
}

const EXPECTED: &str = "a GeoJSON FeatureCollection of Points, a CSV file of observations, or one of incidents in \
     Denver's format, whose header names at least OFFENSE_TYPE_ID and FIRST_OCCURRENCE_DATE";

/// Reads a file of either kind. What the file starts with decides; its extension only breaks ties.
///
/// A feature without a time is dated with the day the file was last changed.
///
/// # Errors
/// If the file cannot be read, is too large, is not UTF-8, is empty, or is of no known kind.
pub fn load(path: &Path) -> Result<Loaded, InputError> {
    let read = |source| InputError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(read)?;
    // Before it is in memory.
    let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if bytes > FILE_BYTES_MAX {
        return Err(Unreadable::TooLarge { bytes, bytes_max: FILE_BYTES_MAX }.into());
    }
    let modified_ms = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default();
    let bytes = fs::read(path).map_err(read)?;
    let is_json =
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("geojson") || e.eq_ignore_ascii_case("json"));
    parse(&bytes, is_json, modified_ms)
}

/// Reads the sample that is part of the program.
pub fn sample() -> Loaded {
    observations::parse(SAMPLE, 0).unwrap_or_else(|error| Loaded {
        refused: vec![Refused { line: 0, what: error.to_string() }],
        ..Loaded::default()
    })
}

fn parse(bytes: &[u8], is_json: bool, modified_ms: i64) -> Result<Loaded, InputError> {
    let text = import::text(bytes, FILE_BYTES_MAX)?;
    if is_json || text.trim_start().starts_with(['{', '[']) {
        return observations::parse(text, modified_ms);
    }
    match csv::parse(text) {
        // Not Denver's: then it has our columns, or those that say something to anybody.
        Err(why @ InputError::Header { .. }) => observations::parse_table(text, modified_ms).map_err(|_| why),
        parsed => parsed,
    }
}

/// What a phone would not take down is left out with its reason, and what the bias guard holds: its author is not here to say it
/// otherwise.
fn acceptable(report: Report) -> Result<Report, String> {
    report.observation.validate().map_err(|why| why.to_string())?;
    // The id that the sealed part refers to is drawn when the report is filed.
    let filed = Sealed { observation: "not-filed-yet".to_owned(), ..report.sealed.clone() };
    filed.validate().map_err(|why| why.to_string())?;
    guard::check_report(&report.observation, Some(&report.sealed)).map_err(|held| held.to_string())?;
    let amended = format!("{} {}", report.observation.what_happened, report.comment);
    guard::check("what_happened", &amended, Place::Report).map_err(|held| held.to_string())?;
    Ok(report)
}

/// Collects what a byte search must not find, each string once and none so short that chance could produce it.
#[derive(Default)]
struct Planted(Vec<String>);

impl Planted {
    /// An address, plate, name or number, whole.
    fn secret(&mut self, text: &str) {
        self.add(text, SECRET_BYTES_MIN);
    }

    /// Running text, clause by clause: a leak of part of it is a leak.
    fn phrases(&mut self, text: &str) {
        // A dot or colon inside a word belongs to a time, a number or an abbreviation.
        for sentence in text.split(". ").flat_map(|part| part.split(": ")) {
            for clause in sentence.split([',', ';', '?', '!', '\n']) {
                self.add(clause.trim().trim_end_matches('.'), PHRASE_BYTES_MIN);
            }
        }
    }

    fn add(&mut self, text: &str, bytes_min: usize) {
        let text = text.trim();
        if text.len() >= bytes_min && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
