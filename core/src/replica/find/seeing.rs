//! What many reports say together, of those that a query finds.

use super::index::Index;
use super::query::Query;
use crate::replica::app::Replica;
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::watch::Kind;
use crate::watch::trends::{self, CellCount, Reported, Week};

impl Engine {
    /// How many of the reports that a query finds there are in each public cell, by behaviour family, most first: the map of
    /// whoever may read them all. Nothing of it may be shown to others; that is what [`Engine::hotspots`] is for.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn cell_counts(&mut self, query: &Query) -> Result<Vec<CellCount>, Error> {
        Ok(trends::counts(&self.reported(query)?))
    }

    /// Week by week, how many of the reports that a query finds there were, beside the effort. `shifts` are (when, minutes
    /// of watching), with times in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn weeks(&mut self, query: &Query, shifts: &[(i64, u64)]) -> Result<Vec<Week>, Error> {
        Ok(trends::weeks(&self.reported(query)?, shifts.iter().copied()))
    }

    fn reported(&mut self, query: &Query) -> Result<Vec<Reported>, Error> {
        let found = self.select(&Query { kind: Some(Kind::OBSERVATION), ..query.clone() })?;
        let index: &Index = self.index()?;
        let docs = found.iter().filter_map(|at| index.get(at.id));
        let reported = docs.map(|doc| Reported {
            at_ms: doc.time_ms(),
            cell: doc.cell,
            behaviours: doc.behaviours().cloned().collect(),
        });
        Ok(reported.collect())
    }
}

impl Replica {
    /// How many reports there are in each public cell, by behaviour family, for whoever may read them all.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn cell_counts(&self, query: Query) -> Result<Vec<CellCount>, Error> {
        self.run(move |engine| engine.cell_counts(&query)).await
    }

    /// Week by week, how many reports there were, beside the effort.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn weeks(&self, query: Query, shifts: Vec<(i64, u64)>) -> Result<Vec<Week>, Error> {
        self.run(move |engine| engine.weeks(&query, &shifts)).await
    }
}
