//! Reports that may tell of one event, or of one pattern, found by place, time and behaviour.
//!
//! It suggests and says why; it never merges. Two reports are suggested as one event if they share a behaviour family and
//! lie within 100 m and 2 hours of each other, and as a pattern if they lie at the same place within 14 days. Where a
//! device knows no exact position, the same public cell stands for the same place: a volunteer's phone suggests less
//! sharply than a coordinator's.
//!
//! [`SuggestionIndex`] keeps reports by tile and time. It answers from what list rows hold and loads no document.

mod pattern;
mod place;
mod reason;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::DocumentId;
use crate::watch::codes;

pub use pattern::{PATTERN_REPORTS_MIN, Pattern};
use place::ByPlace;
pub use place::{APART_M_MAX, Apart, Place, Point};

const MINUTE_MS: i64 = 60_000;

/// Longest that two reports of one event may lie apart, in minutes: 2 hours.
pub const EVENT_MINUTES_MAX: u32 = 120;

/// Longest that two reports of one pattern may lie apart, in minutes: 14 days.
pub const PATTERN_MINUTES_MAX: u32 = 14 * 24 * 60;

/// Most suggestions for one report, best first: nobody judges more.
pub const SUGGESTIONS_MAX: usize = 20;

/// What is compared of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it began, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Where.
    pub place: Place,
    /// Keys of `codes/behaviours.json`, or codes of a later version.
    pub behaviours: Vec<String>,
}

impl Sighting {
    /// The families of what was done.
    pub fn families(&self) -> BTreeSet<&str> {
        self.behaviours.iter().map(|behaviour| codes::family(behaviour)).collect()
    }
}

/// What two reports may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// They may tell of one event.
    SameEvent,
    /// They may belong to one pattern: the same kind of thing at the same place, on another occasion.
    Pattern,
}

/// Two reports that may belong together, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The two reports; the one that was asked about comes first, otherwise the earlier one.
    pub reports: [DocumentId; 2],
    /// What they may have in common.
    pub likeness: Likeness,
    /// How far apart in place.
    pub apart: Apart,
    /// How far apart they began, in whole minutes.
    pub minutes: u32,
    /// Behaviours that both name; may be empty.
    pub behaviours: Vec<String>,
    /// Behaviour families that both belong to; never empty.
    pub families: Vec<String>,
}

impl Suggestion {
    /// Smaller is more alike: an event before a pattern, a shared behaviour before a shared family, then what is nearer
    /// in place and time, where 100 m count as much as 2 hours.
    fn unlikeness(&self) -> (Likeness, bool, u32) {
        let metres = match self.apart {
            Apart::Metres(metres) => metres,
            Apart::SameCell => APART_M_MAX,
        };
        let apart = metres.saturating_mul(EVENT_MINUTES_MAX) + self.minutes.saturating_mul(APART_M_MAX);
        (self.likeness, self.behaviours.is_empty(), apart)
    }
}

/// Reports by place and time.
#[derive(Debug, Default)]
pub struct SuggestionIndex {
    sightings: BTreeMap<DocumentId, Sighting>,
    places: ByPlace,
}

impl SuggestionIndex {
    /// Takes in a report, or what has become of it.
    pub fn put(&mut self, id: DocumentId, sighting: Sighting) {
        self.remove(id);
        self.places.insert(&sighting.place, sighting.start_ms, id);
        self.sightings.insert(id, sighting);
    }

    /// Forgets a report. One that is not here is forgotten already.
    pub fn remove(&mut self, id: DocumentId) {
        if let Some(old) = self.sightings.remove(&id) {
            self.places.remove(&old.place, old.start_ms, id);
        }
    }

    /// How many reports it holds.
    pub fn len(&self) -> usize {
        self.sightings.len()
    }

    /// Whether it holds no report.
    pub fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }

    /// What may belong together with a report, most alike first; at most [`SUGGESTIONS_MAX`]. `settled` says of another
    /// report that it need not be suggested: it is in the same case, or somebody said that they are two.
    pub fn near(&self, id: DocumentId, settled: impl Fn(DocumentId) -> bool) -> Vec<Suggestion> {
        let Some(sighting) = self.sightings.get(&id) else { return Vec::new() };
        let reach_ms = i64::from(PATTERN_MINUTES_MAX) * MINUTE_MS;
        let from_ms = sighting.start_ms.saturating_sub(reach_ms);
        let times = from_ms..=sighting.start_ms.saturating_add(reach_ms);
        let around = self.places.around(&sighting.place, sighting.start_ms, times);
        let found = around.into_iter().filter(|other| *other != id && !settled(*other));
        best(found.filter_map(|other| self.compare([id, other])).collect())
    }

    /// Every two reports that may tell of one event, most alike first; of each report at most [`SUGGESTIONS_MAX`] with
    /// later ones. `settled` says of two that they need not be suggested.
    pub fn duplicates(&self, settled: impl Fn(DocumentId, DocumentId) -> bool) -> Vec<Suggestion> {
        let reach_ms = i64::from(EVENT_MINUTES_MAX) * MINUTE_MS;
        let mut all = Vec::new();
        for (id, sighting) in &self.sightings {
            let times = sighting.start_ms..=sighting.start_ms.saturating_add(reach_ms);
            let around = self.places.around(&sighting.place, sighting.start_ms, times);
            let later = around.into_iter().filter(|other| {
                let place = self.sightings.get(other).map(|other| other.start_ms);
                place.is_some_and(|start_ms| (start_ms, *other) > (sighting.start_ms, *id))
            });
            let found = later.filter(|other| !settled(*id, *other));
            let pairs = found.filter_map(|other| self.compare([*id, other]));
            all.extend(best(pairs.filter(|pair| pair.likeness == Likeness::SameEvent).collect()));
        }
        all.sort_by_key(|pair| (pair.unlikeness(), pair.reports));
        all
    }

    /// Places where the same kind of thing was reported again and again, the largest first.
    pub fn patterns(&self) -> Vec<Pattern> {
        pattern::find(&self.sightings)
    }

    /// What two reports have in common; none if they do not lie near each other or share no behaviour family.
    fn compare(&self, reports: [DocumentId; 2]) -> Option<Suggestion> {
        let [one, other] = [self.sightings.get(&reports[0])?, self.sightings.get(&reports[1])?];
        let minutes = one.start_ms.abs_diff(other.start_ms) / MINUTE_MS.unsigned_abs();
        let minutes = u32::try_from(minutes).ok().filter(|minutes| *minutes <= PATTERN_MINUTES_MAX)?;
        let apart = one.place.near(&other.place)?;
        let families = one.families();
        let families: Vec<String> =
            other.families().intersection(&families).map(|family| (*family).to_owned()).collect();
        if families.is_empty() {
            return None;
        }
        let mut behaviours = one.behaviours.clone();
        behaviours.retain(|behaviour| other.behaviours.contains(behaviour));
        let likeness = if minutes <= EVENT_MINUTES_MAX { Likeness::SameEvent } else { Likeness::Pattern };
        Some(Suggestion { reports, likeness, apart, minutes, behaviours, families })
    }
}

fn best(mut found: Vec<Suggestion>) -> Vec<Suggestion> {
    found.sort_by_key(|pair| (pair.unlikeness(), pair.reports));
    found.truncate(SUGGESTIONS_MAX);
    found
}

#[cfg(test)]
mod tests;
