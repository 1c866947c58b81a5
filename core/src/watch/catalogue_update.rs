//! Codes that are added or changed from a day on, without a new version of the app.
//!
//! An update never changes what an old report says: it takes no code out and gives no code that exists another meaning. It
//! adds codes, marks codes as not to be chosen any more, says which code takes the place of which, and gives schedules.

use super::check::{Invalid, check_count, check_time};
use super::codes::{Catalogue, Entry, Schedule};
use super::content::{Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX};
use crate::base::DocumentId;
use std::collections::{BTreeMap, BTreeSet};

/// Most codes of one update.
pub const CODES_COUNT_MAX: usize = 500;

stored! {
    /// One update of one catalogue; it does not change.
    pub struct CatalogueUpdate {
        /// Name of the catalogue, such as `substances`.
        pub catalogue: String,
        /// Version that it makes of it, as year and month, such as `2026-07`.
        pub version: String,
        /// Where the changes come from.
        pub source: String,
        /// From when on it holds, in milliseconds since the Unix epoch.
        pub from_ms: i64,
        /// The changes, by code.
        pub codes: BTreeMap<String, CodeChange>,
    }

    /// What an update says of one code.
    pub struct CodeChange {
        /// English label of a new code; ignored for one that exists.
        pub en: String,
        /// Spanish label, likewise.
        pub es: String,
        /// NIBRS drug type that a new code is reported as; may be empty.
        pub nibrs: String,
        /// Whether it is not to be chosen any more.
        pub retired: bool,
        /// The code that takes its place; empty if none.
        pub replaced_by: String,
        /// Whose law the schedule is, such as `US federal`; empty if no schedule is given.
        pub jurisdiction: String,
        /// `I` to `V`; empty if the substance was taken out of the schedules.
        pub class: String,
        /// First day of that schedule, as `YYYY-MM-DD`.
        pub since: String,
    }
}

/// A catalogue as it stands at a time, with every update until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its codes in the order to show them, the new ones last.
    pub entries: Vec<Entry>,
    /// Codes in whose place others are chosen.
    pub replaced_by: BTreeMap<String, String>,
    /// Updates of which a part could not hold, because it would have led in a circle.
    pub refused: BTreeSet<DocumentId>,
}

/// The catalogue at a time given in milliseconds since the Unix epoch. Updates count in the order of the days they hold
/// from, and of equals by version and identity, so the order they arrive in does not matter.
pub fn standing<'a>(
    base: &Catalogue,
    updates: impl IntoIterator<Item = (DocumentId, &'a CatalogueUpdate)>,
    time_ms: i64,
) -> Standing {
    let mut standing =
        Standing { entries: base.entries().to_vec(), replaced_by: BTreeMap::new(), refused: BTreeSet::new() };
    let mut updates: Vec<_> = updates.into_iter().collect();
    updates.retain(|(_, update)| update.catalogue == base.name() && update.from_ms <= time_ms);
    updates.sort_by(|(a, one), (b, other)| {
        (one.from_ms, &one.version, a).cmp(&(other.from_ms, &other.version, b))
    });
    updates.dedup_by_key(|(id, _)| *id);
    for (id, update) in updates {
        for (code, change) in &update.codes {
            if !change.replaced_by.is_empty() {
                if leads_to(&standing.replaced_by, &change.replaced_by, code) {
                    standing.refused.insert(id);
                    continue;
                }
                standing.replaced_by.insert(code.clone(), change.replaced_by.clone());
            }
            standing.take(code, change);
        }
    }
    standing
}

impl Standing {
    /// The code to choose today in the place of one of an old report.
    pub fn current<'a>(&'a self, code: &'a str) -> &'a str {
        let mut code = code;
        while let Some(next) = self.replaced_by.get(code) {
            code = next;
        }
        code
    }

    /// The entry of a code.
    pub fn get(&self, code: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.code == code)
    }

    fn take(&mut self, code: &str, change: &CodeChange) {
        let known = self.entries.iter().position(|entry| entry.code == code);
        if known.is_none() {
            self.entries.push(Entry {
                family: None,
                code: code.to_owned(),
                en: change.en.clone(),
                es: change.es.clone(),
                nibrs: Some(change.nibrs.clone()).filter(|nibrs| !nibrs.is_empty()),
                schedules: Vec::new(),
                retired: false,
            });
        }
        let at = known.unwrap_or(self.entries.len() - 1);
        let Some(entry) = self.entries.get_mut(at) else { return };
        entry.retired |= change.retired;
        if !change.jurisdiction.is_empty() {
            entry.schedules.push(Schedule {
                jurisdiction: change.jurisdiction.clone(),
                class: change.class.clone(),
                since: change.since.clone(),
            });
        }
    }
}

/// Whether replacing step by step leads from one code to the other.
fn leads_to(replaced_by: &BTreeMap<String, String>, from: &str, to: &str) -> bool {
    let mut at = from;
    // Nothing is put into the map that would close a circle, so this ends.
    loop {
        if at == to {
            return true;
        }
        match replaced_by.get(at) {
            Some(next) => at = next,
            None => return false,
        }
    }
}

impl WatchDocument for CatalogueUpdate {
    const KIND: Kind = Kind::CATALOGUE_UPDATE;

    fn validate(&self) -> Result<(), Invalid> {
        let catalogue = super::codes::all().into_iter().find(|known| known.name() == self.catalogue);
        let catalogue = catalogue
            .ok_or_else(|| Invalid::new("catalogue", "is none of this version", "name one that there is"))?;
        let is_month = self.version.len() == 7
            && self
                .version
                .bytes()
                .enumerate()
                .all(|(at, b)| if at == 4 { b == b'-' } else { b.is_ascii_digit() });
        if !is_month {
            return Err(Invalid::new("version", "is not a year and month", "write it like 2026-07"));
        }
        text::check_required_line("source", &self.source, LINE_CHARS_MAX)?;
        check_time("from_ms", self.from_ms)?;
        if self.codes.is_empty() {
            return Err(Invalid::new("codes", "is empty", "say what changes"));
        }
        check_count("codes", self.codes.len(), CODES_COUNT_MAX)?;
        let mut replaced_by = BTreeMap::new();
        for (code, change) in &self.codes {
            let named = |e: Invalid| e.within(&format!("codes.{code}"));
            let exists = |code: &str| catalogue.contains(code) || self.codes.contains_key(code);
            change.check(code, catalogue.contains(code)).map_err(named)?;
            if change.replaced_by.is_empty() {
                continue;
            }
            if !exists(&change.replaced_by) {
                return Err(named(Invalid::new(
                    "replaced_by",
                    "is no code of the catalogue",
                    "name one that is",
                )));
            }
            if leads_to(&replaced_by, &change.replaced_by, code) {
                return Err(named(Invalid::new(
                    "replaced_by",
                    "leads in a circle",
                    "let the last code stand",
                )));
            }
            replaced_by.insert(code.clone(), change.replaced_by.clone());
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        Summary {
            title: format!("{}@{}", self.catalogue, self.version),
            text: self.source.clone(),
            when_ms: Some(self.from_ms),
            codes: self.codes.keys().cloned().collect(),
            ..Summary::default()
        }
    }
}

impl CodeChange {
    fn check(&self, code: &str, exists: bool) -> Result<(), Invalid> {
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if code.is_empty() || code.len() > 40 || !plain(code) {
            return Err(Invalid::new("code", "is not a plain word", "use letters, digits and '_'"));
        }
        let check_label = if exists { text::check_line } else { text::check_required_line };
        check_label("en", &self.en, LINE_CHARS_MAX)?;
        check_label("es", &self.es, LINE_CHARS_MAX)?;
        if !self.nibrs.is_empty() && !super::codes::nibrs_drug().contains(&self.nibrs) {
            return Err(Invalid::new("nibrs", "is no NIBRS drug type", "choose one of 'nibrs_drug'"));
        }
        text::check_line("jurisdiction", &self.jurisdiction, LINE_CHARS_MAX)?;
        if self.jurisdiction.is_empty() {
            return Ok(());
        }
        if !["", "I", "II", "III", "IV", "V"].contains(&self.class.as_str()) {
            return Err(Invalid::new("class", "is no schedule", "write I to V, or nothing"));
        }
        let is_day = self.since.len() == 10
            && self
                .since
                .bytes()
                .enumerate()
                .all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        if is_day { Ok(()) } else { Err(Invalid::new("since", "is not a day", "write it like 2026-07-01")) }
    }
}

#[cfg(test)]
mod tests;
