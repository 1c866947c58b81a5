//! What is found without opening anything: the sealed rows, read once and kept in memory in short.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use super::query::{Cursor, Query, Sort};
use super::words::Words;
use crate::base::{DocumentId, MemberId};
use crate::replica::record::sealed_part;
use crate::replica::view::Row;
use crate::watch::suggest::{Place, Point, Sighting, SuggestionIndex};
use crate::watch::{Cell, Kind, codes};

/// What is kept of one row.
pub(in crate::replica) struct Doc {
    pub id: DocumentId,
    pub kind: Kind,
    pub author: MemberId,
    pub created_ms: u64,
    pub ordered_ms: u64,
    pub when_ms: Option<i64>,
    pub cell: Option<Cell>,
    /// A sealed part's own; see [`Index::exact`].
    position: Option<Point>,
    pub codes: Vec<String>,
    pub about: Vec<DocumentId>,
    words: Vec<Arc<str>>,
}

impl Doc {
    /// When it happened, or else when it was written, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> i64 {
        self.when_ms.unwrap_or_else(|| i64::try_from(self.created_ms).unwrap_or(i64::MAX))
    }

    /// Where lists have it, in milliseconds since the Unix epoch.
    fn ordered_ms(&self) -> i64 {
        i64::try_from(self.ordered_ms).unwrap_or(i64::MAX)
    }

    /// The behaviours among its codes: whatever is no activity.
    pub fn behaviours(&self) -> impl Iterator<Item = &String> {
        self.codes.iter().filter(|code| !codes::nibrs_activity().contains(code))
    }
}

/// Everything that this device may read, by identity, word, place and time.
#[derive(Default)]
pub(in crate::replica) struct Index {
    docs: Vec<Option<Doc>>,
    number_by_id: BTreeMap<DocumentId, u32>,
    free: Vec<u32>,
    /// What is about a document.
    sources_by_target: BTreeMap<DocumentId, BTreeSet<DocumentId>>,
    words: Words,
    pub suggestions: SuggestionIndex,
}

impl Index {
    /// Takes in what has become of a row; none if it is gone.
    pub fn put(&mut self, id: DocumentId, row: Option<&Row>) {
        let mut touched = self.remove(id);
        if let Some(row) = row {
            touched.extend(&row.about);
            self.insert(row);
        }
        touched.insert(id);
        // A sealed part that came or went moves the observation it belongs to.
        for id in touched {
            match self.sighting(id) {
                Some(sighting) => self.suggestions.put(id, sighting),
                None => self.suggestions.remove(id),
            }
        }
    }

    fn remove(&mut self, id: DocumentId) -> BTreeSet<DocumentId> {
        let Some(number) = self.number_by_id.remove(&id) else { return BTreeSet::new() };
        let Some(doc) = self.slot(number).and_then(Option::take) else { return BTreeSet::new() };
        self.words.remove(number, &doc.words);
        self.free.push(number);
        for target in &doc.about {
            if let Some(sources) = self.sources_by_target.get_mut(target) {
                sources.remove(&id);
                if sources.is_empty() {
                    self.sources_by_target.remove(target);
                }
            }
        }
        doc.about.into_iter().collect()
    }

    fn insert(&mut self, row: &Row) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.docs.push(None);
            u32::try_from(self.docs.len() - 1).unwrap_or(u32::MAX)
        });
        let kind = row.kind;
        // People search in their own language for what was entered as a code.
        let labels = row.codes.iter().filter_map(|code| codes::behaviours().get(code));
        let mut text = format!("{} {}", row.title, row.text);
        for entry in labels {
            text = format!("{text} {} {}", entry.en, entry.es);
        }
        for target in &row.about {
            self.sources_by_target.entry(*target).or_default().insert(row.id);
        }
        let doc = Doc {
            id: row.id,
            kind,
            author: row.author,
            created_ms: row.created_ms,
            ordered_ms: row.ordered_ms,
            when_ms: row.when_ms,
            cell: row.cell.parse().ok(),
            position: row.position_e7.map(|(lat_e7, lon_e7)| Point { lat_e7, lon_e7 }),
            codes: row.codes.clone(),
            about: row.about.clone(),
            words: self.words.insert(number, &text),
        };
        self.number_by_id.insert(row.id, number);
        if let Some(slot) = self.slot(number) {
            *slot = Some(doc);
        }
    }

    fn slot(&mut self, number: u32) -> Option<&mut Option<Doc>> {
        self.docs.get_mut(usize::try_from(number).ok()?)
    }

    /// A document.
    pub fn get(&self, id: DocumentId) -> Option<&Doc> {
        let number = usize::try_from(*self.number_by_id.get(&id)?).ok()?;
        self.docs.get(number)?.as_ref()
    }

    /// Every document of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Doc> {
        self.docs.iter().flatten().filter(move |doc| doc.kind == kind)
    }

    /// Documents of a kind that are about another one.
    pub fn about(&self, id: DocumentId, kind: Kind) -> impl Iterator<Item = &Doc> {
        let sources = self.sources_by_target.get(&id).into_iter().flatten();
        sources.filter_map(|source| self.get(*source)).filter(move |doc| doc.kind == kind)
    }

    /// The exact place of an observation, from its sealed part.
    pub fn exact(&self, observation: &Doc) -> Option<Point> {
        self.get(sealed_part(observation.author, observation.id))?.position
    }

    fn sighting(&self, id: DocumentId) -> Option<Sighting> {
        let doc = self.get(id).filter(|doc| doc.kind == Kind::OBSERVATION)?;
        let place = match self.exact(doc) {
            Some(point) => Place::Exact(point, doc.cell),
            None => Place::Cell(doc.cell?),
        };
        Some(Sighting { start_ms: doc.when_ms?, place, behaviours: doc.behaviours().cloned().collect() })
    }

    /// Whether two observations need not be suggested: they are in one case, or somebody said that they are two.
    pub fn is_settled(&self, one: DocumentId, other: DocumentId) -> bool {
        let both = |kind| self.about(one, kind).any(|doc| doc.about.contains(&other));
        both(Kind::CASE) || both(Kind::NOT_DUPLICATES)
    }

    /// Where each document that fits stands in the order asked for. `governs` tells who may give a status.
    pub fn select(&self, query: &Query, governs: impl Fn(MemberId) -> bool) -> Vec<Cursor> {
        let texts = self.words.search(&query.text, self.docs.len());
        let texts = match texts {
            Some(found) => Some(self.with_sealed_words(found)),
            None if query.text.trim().is_empty() => None,
            None => return Vec::new(),
        };
        let case =
            query.case.map(|case| self.get(case).map(|case| case.about.as_slice()).unwrap_or_default());
        let docs = self.docs.iter().enumerate().filter_map(|(number, doc)| {
            let doc = doc.as_ref()?;
            let found = texts.as_ref().is_none_or(|texts| texts.contains(number))
                && query.kind.map_or(doc.kind.is_content(), |kind| kind == doc.kind)
                && query.author.is_none_or(|author| author == doc.author)
                && query.time_ms.as_ref().is_none_or(|range| range.contains(&doc.time_ms()))
                && (query.codes.is_empty() || doc.codes.iter().any(|code| query.codes.contains(code)))
                && (query.families.is_empty()
                    || doc.behaviours().any(|code| query.families.contains(codes::family(code))))
                && case.is_none_or(|case| case.contains(&doc.id))
                && query.area.as_ref().is_none_or(|area| area.holds(doc.cell, self.exact(doc)))
                && query.status.as_ref().is_none_or(|status| self.has_status(doc, status, &governs));
            found.then(|| Cursor { key: self.sort_key(doc, query.sort), id: doc.id })
        });
        docs.collect()
    }

    /// The texts that hold every word, where the words of a sealed part count for its observation too.
    fn with_sealed_words(&self, mut found: Vec<FixedBitSet>) -> FixedBitSet {
        for texts in &mut found {
            let mut observations: Vec<u32> = Vec::new();
            for number in texts.ones() {
                let doc = self.docs.get(number).and_then(Option::as_ref);
                let Some(sealed) = doc.filter(|doc| doc.kind == Kind::SEALED) else { continue };
                let is_its_own = |id: &&DocumentId| sealed_part(sealed.author, **id) == sealed.id;
                let targets = sealed.about.iter().filter(is_its_own);
                observations.extend(targets.filter_map(|id| self.number_by_id.get(id).copied()));
            }
            observations.into_iter().filter_map(|n| usize::try_from(n).ok()).for_each(|n| texts.insert(n));
        }
        let mut all = found.pop().unwrap_or_default();
        found.iter().for_each(|texts| all.intersect_with(texts));
        all
    }

    fn has_status(&self, doc: &Doc, status: &str, governs: &impl Fn(MemberId) -> bool) -> bool {
        let mut remarks = self.about(doc.id, Kind::ANNOTATION).filter(|remark| governs(remark.author));
        if status.is_empty() {
            return remarks.next().is_none() && self.about(doc.id, Kind::CASE).next().is_none();
        }
        remarks.any(|remark| remark.codes.iter().any(|code| code == status))
    }

    fn sort_key(&self, doc: &Doc, sort: Sort) -> i64 {
        match sort {
            Sort::LatestChange => doc.ordered_ms().saturating_neg(),
            // Nothing has happened after it was told.
            Sort::Newest => doc.time_ms().min(doc.ordered_ms()).saturating_neg(),
            Sort::Oldest => doc.time_ms().min(doc.ordered_ms()),
            Sort::Nearest(point) => {
                let middle = || doc.cell.map(Cell::center).map(|(lat, lon)| Point::new(lat, lon));
                let place = self.exact(doc).or_else(middle);
                #[expect(clippy::cast_possible_truncation, reason = "at most 2e7 metres")]
                place.map_or(i64::MAX, |place| (place.distance_m(point) * 1e3) as i64)
            }
        }
    }
}
