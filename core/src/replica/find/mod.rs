//! Finding: lists with filters, order and pages, a search over what this device may read, and reports that may belong
//! together. All of it offline, and without loading a document.
//!
//! The index lives in memory and nowhere else: it is made from the sealed rows when it is first asked, and follows every
//! row that changes or goes. Nothing new lies on the disk that a wipe would have to find.

mod index;
mod query;
mod seeing;
mod words;

use std::collections::BTreeSet;

use super::app::Replica;
use super::engine::Engine;
use super::error::Error;
use super::view::Filter;
use crate::base::{DocumentId, MemberId};
use crate::watch::Kind;
use crate::watch::suggest::{Pattern, Suggestion};

use index::Index;
pub use query::{Area, Cursor, PAGE_ROWS, Page, Query, Sort};

/// The index of an engine, and what has changed since it was made.
#[derive(Default)]
pub(super) struct Finder {
    index: Option<Index>,
    changed: BTreeSet<DocumentId>,
}

impl Finder {
    /// Remembers that rows may be other than they were.
    pub fn note<'a>(&mut self, ids: impl IntoIterator<Item = &'a DocumentId>) {
        if self.index.is_some() {
            self.changed.extend(ids);
        }
    }
}

impl Engine {
    /// Finds documents, a page at a time. Loads none.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn find(&mut self, query: &Query) -> Result<Page, Error> {
        let mut found = self.select(query)?;
        let rows_total = found.len();
        found.retain(|at| query.after.is_none_or(|after| *at > after));
        let rows_max = query.rows_max.max(1);
        let more = found.len() > rows_max;
        if more {
            found.select_nth_unstable(rows_max - 1);
            found.truncate(rows_max);
        }
        found.sort_unstable();
        let mut rows = Vec::with_capacity(found.len());
        for at in &found {
            if let Some(row) = self.row(at.id)? {
                rows.push((row, self.delivery(at.id)));
            }
        }
        Ok(Page { rows, next: found.last().copied().filter(|_| more), rows_total })
    }

    /// What may belong together with an observation and is neither in a case with it nor said to be another event; most
    /// alike first.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn suggestions(&mut self, observation: DocumentId) -> Result<Vec<Suggestion>, Error> {
        let index = self.index()?;
        index.get(observation).ok_or(Error::NotHere(observation))?;
        Ok(index.suggestions.near(observation, |other| index.is_settled(observation, other)))
    }

    /// Every two observations that may be of one event and are neither in one case nor said to be two; most alike first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn duplicates(&mut self) -> Result<Vec<Suggestion>, Error> {
        let index = self.index()?;
        Ok(index.suggestions.duplicates(|one, other| index.is_settled(one, other)))
    }

    /// Places where the same kind of thing was reported again and again; the largest first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn patterns(&mut self) -> Result<Vec<Pattern>, Error> {
        Ok(self.index()?.suggestions.patterns())
    }

    /// Where everything that fits stands, in no order.
    fn select(&mut self, query: &Query) -> Result<Vec<Cursor>, Error> {
        let state = self.state().ok().map(std::sync::Arc::clone);
        let governs = |member| state.as_ref().is_some_and(|state| state.ever_governed(member));
        let mut found = self.index()?.select(query, governs);
        if let Some(delivery) = query.delivery {
            found.retain(|at| self.delivery(at.id) == delivery);
        }
        Ok(found)
    }

    /// Documents of a kind with who created them, latest change first: from the index if there is one, else from the rows.
    pub(super) fn of_kind(&mut self, kind: Kind) -> Result<Vec<(DocumentId, MemberId)>, Error> {
        if self.finder.index.is_none() {
            let rows = self.list(&Filter { kind: Some(kind), ..Filter::default() })?;
            return Ok(rows.into_iter().map(|(row, _)| (row.id, row.author)).collect());
        }
        let mut found: Vec<_> = self.index()?.of_kind(kind).collect();
        found.sort_unstable_by_key(|doc| (std::cmp::Reverse(doc.ordered_ms), doc.id));
        Ok(found.into_iter().map(|doc| (doc.id, doc.author)).collect())
    }

    /// The index, as the rows on disk are now.
    pub(super) fn index(&mut self) -> Result<&Index, Error> {
        self.refresh()?;
        let mut finder = std::mem::take(&mut self.finder);
        let brought = self.bring_up_to_date(&mut finder);
        self.finder = finder;
        brought?;
        self.finder.index.as_ref().ok_or(Error::Closed)
    }

    fn bring_up_to_date(&self, finder: &mut Finder) -> Result<(), Error> {
        let Some(index) = &mut finder.index else {
            let mut index = Index::default();
            self.each_row(|row| index.put(row.id, Some(&row)))?;
            finder.index = Some(index);
            return Ok(());
        };
        // What changed within this call is not told to anybody yet.
        finder.changed.extend(self.changed.union(&self.gone));
        while let Some(id) = finder.changed.first().copied() {
            index.put(id, self.row(id)?.as_ref());
            finder.changed.remove(&id);
        }
        Ok(())
    }
}

impl Replica {
    /// Finds documents, a page at a time, without loading any.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn find(&self, query: Query) -> Result<Page, Error> {
        self.run(move |engine| engine.find(&query)).await
    }

    /// What may belong together with an observation, most alike first.
    ///
    /// # Errors
    /// As [`Engine::suggestions`].
    pub async fn suggestions(&self, observation: DocumentId) -> Result<Vec<Suggestion>, Error> {
        self.run(move |engine| engine.suggestions(observation)).await
    }

    /// Every two observations that may be of one event, most alike first.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn duplicates(&self) -> Result<Vec<Suggestion>, Error> {
        self.run(Engine::duplicates).await
    }

    /// Places where the same kind of thing was reported again and again; the largest first.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn patterns(&self) -> Result<Vec<Pattern>, Error> {
        self.run(Engine::patterns).await
    }
}
