//! The same kind of thing, at the same place, again and again.

use std::collections::BTreeMap;

use super::{ByPlace, MINUTE_MS, PATTERN_MINUTES_MAX, Sighting};
use crate::base::DocumentId;

/// Fewest reports of a pattern: two are a coincidence.
pub const PATTERN_REPORTS_MIN: usize = 3;

/// Reports of one behaviour family within 100 m of the first of them, none more than 14 days after the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The reports, earliest first.
    pub reports: Vec<DocumentId>,
    /// The behaviour family: a key of `codes/behaviour_families.json`.
    pub family: String,
    /// When the first began, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// When the last began, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

/// Every pattern, the largest first. The same for the same reports, in whatever order they came.
pub(super) fn find(sightings: &BTreeMap<DocumentId, Sighting>) -> Vec<Pattern> {
    let mut in_time: Vec<(&DocumentId, &Sighting)> = sightings.iter().collect();
    in_time.sort_by_key(|(id, sighting)| (sighting.start_ms, **id));
    // Around the first report, not around each: else a chain of reports along a street would be one place.
    let mut anchors: BTreeMap<&str, ByPlace> = BTreeMap::new();
    let mut open: BTreeMap<(&str, DocumentId), Pattern> = BTreeMap::new();
    let mut closed = Vec::new();
    for (id, sighting) in in_time {
        for family in sighting.families() {
            let anchors = anchors.entry(family).or_default();
            let mut near = None;
            for anchor in anchors.around(&sighting.place, 0, 0..=0) {
                let Some(pattern) = open.get(&(family, anchor)) else { continue };
                let place = sightings.get(&anchor).map(|anchor| &anchor.place);
                if is_over(pattern, sighting.start_ms) {
                    place.into_iter().for_each(|place| anchors.remove(place, 0, anchor));
                    closed.extend(open.remove(&(family, anchor)));
                } else if near.is_none() && place.is_some_and(|place| place.near(&sighting.place).is_some()) {
                    near = Some(anchor);
                }
            }
            let pattern = open.entry((family, near.unwrap_or(*id))).or_insert_with(|| {
                anchors.insert(&sighting.place, 0, *id);
                Pattern {
                    reports: Vec::new(),
                    family: family.to_owned(),
                    first_ms: sighting.start_ms,
                    last_ms: sighting.start_ms,
                }
            });
            pattern.reports.push(*id);
            pattern.last_ms = sighting.start_ms;
        }
    }
    closed.extend(open.into_values());
    closed.retain(|pattern| pattern.reports.len() >= PATTERN_REPORTS_MIN);
    closed.sort_by_key(|pattern| {
        (
            std::cmp::Reverse(pattern.reports.len()),
            std::cmp::Reverse(pattern.last_ms),
            pattern.reports.first().copied(),
        )
    });
    closed
}

fn is_over(pattern: &Pattern, now_ms: i64) -> bool {
    now_ms.saturating_sub(pattern.last_ms) > i64::from(PATTERN_MINUTES_MAX) * MINUTE_MS
}
