//! Out and in: typed documents become files that other programs read, and files become drafts.
//!
//! Pure: content in, bytes out, and the other way round. Whoever calls decides what may leave; what leaves here holds no
//! member, no device, no vantage point and nothing of a sealed part, as a release holds none. This room may import `base`
//! and `watch`.
//!
//! | room | standard | of |
//! |---|---|---|
//! | [`csv`] | RFC 4180 | releases (the `precise` profile), hotspots (the `research` profile) |
//! | [`geojson`] | RFC 7946 | the same |
//! | [`page`] | HTML, one sheet of paper | a release, the outcome ledger |
//! | [`ledger`] | | what became of all reports, in sums |
//! | [`cap`] | OASIS CAP 1.2 | bulletins |
//! | [`open311`] | GeoReport v2, the form of a new request | conditions of a place |
//! | [`icalendar`] | RFC 5545 | meetings and shifts |
//! | [`import`] | RFC 4180, RFC 7946 | observations that somebody else wrote down |
//!
//! Every format but Open311's, for which there is no validator, is checked in the tests by a program that others keep
//! (`tests/formats/check.py`).

pub mod cap;
pub mod csv;
pub mod geojson;
pub mod icalendar;
pub mod import;
pub mod ledger;
pub mod open311;
pub mod page;
mod properties;
mod text;
mod time;

#[cfg(test)]
mod tests;

pub use import::{Imported, ImportedRow, Unreadable, import};
pub use ledger::Ledger;
pub use page::Language;

/// What a release is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table for a spreadsheet: [`csv::release`].
    Csv,
    /// Features for a map: [`geojson::release`].
    GeoJson,
    /// One sheet of paper: [`page::release`].
    Page(Language),
}

/// Names of the fields of a release that a file of it holds, sorted: photos are in none, and a table has no place for what
/// the reports disagree about.
pub fn fields(release: &crate::watch::Release, format: Format) -> Vec<String> {
    let mut fields = release.fields();
    fields.retain(|field| match field.as_str() {
        "media" => false,
        "open_facts" => format != Format::Csv,
        _ => true,
    });
    fields
}

/// Writes a release, which holds nothing but what its recipient may have.
pub fn release(release: &crate::watch::Release, format: Format) -> Vec<u8> {
    match format {
        Format::Csv => csv::release(release),
        Format::GeoJson => geojson::release(release),
        Format::Page(language) => page::release(release, language).into_bytes(),
    }
}
