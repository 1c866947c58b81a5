//! What the group tells of its reports: tables of months, each published once and read back as it was.

use super::app::Replica;
use super::engine::Engine;
use super::error::Error;
use crate::base::DocumentId;
use crate::watch::correction::is_retracted;
use crate::watch::statistics::{Month, Published, Table};
use crate::watch::trends::{self, Hotspots, Reported, Topic};
use crate::watch::{Correction, Kind, Observation, PublishedMonth, WatchDocument as _};

/// Audience that an author must have allowed for a report to be counted in what is published.
const STATISTICS: &str = "statistics";

const DAY_MS: i64 = 86_400_000;

impl Engine {
    /// Publishes the months that are over for two weeks, by this device's clock and by a day that a relay signed: of the
    /// reports whose authors allow it. Sync first: what arrives later is in no table. Returns the months that are new.
    ///
    /// One coordinator publishes, the one who has governed longest, so that there are no two tables of a month.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is that coordinator; [`Error::NoGroup`]; errors of the store.
    pub fn publish_statistics(&mut self) -> Result<Vec<Month>, Error> {
        self.may_write(Kind::PUBLISHED_MONTH)?;
        if !self.is_publisher()? {
            return Err(Error::Role("publish statistics; who has governed longest does"));
        }
        let (mut published, _) = self.published()?;
        let known: Vec<Month> = published.tables().map(|(month, _)| month).collect();
        let reported = self.allowed_in_statistics()?;
        published.publish(trends::counted(&reported), self.today_ms());
        let at_ms = self.now_ms();
        let new = published.tables().filter(|(month, _)| !known.contains(month));
        let new: Vec<(Month, PublishedMonth)> =
            new.map(|(month, table)| (month, PublishedMonth::of(month, table, at_ms))).collect();
        new.iter().try_for_each(|(_, table)| table.validate())?;
        let me = self.member_id();
        self.transact(|engine, batch| {
            new.iter().try_for_each(|(month, table)| {
                engine.write(batch, Kind::PUBLISHED_MONTH, PublishedMonth::id(me, *month), table)
            })
        })?;
        Ok(new.into_iter().map(|(month, _)| month).collect())
    }

    /// Where there were eleven reports or more of one behaviour family in a month, as it was published, latest month first:
    /// what may be shown to anybody.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn hotspots(&mut self) -> Result<Vec<Hotspots>, Error> {
        Ok(trends::hotspots(&self.published()?.0))
    }

    /// Every table that was published, and the months of which there are two that differ: of those the one with the smaller
    /// identity is shown, on every device alike. A table of a month that is not over, as far as this device knows, is none: no
    /// month could be published after one of 2199.
    pub(super) fn published(&mut self) -> Result<(Published<Topic>, Vec<Month>), Error> {
        let mut tables = self.all::<PublishedMonth>()?;
        tables.sort_unstable_by_key(|table| table.id);
        let (mut published, mut twice) = (Published::default(), Vec::new());
        let now_ms = self.today_ms();
        let of_months = tables.iter().filter_map(|table| table.content.hotspots());
        for Hotspots { month, total, shown } in of_months.filter(|table| table.month.end_ms() <= now_ms) {
            if !published.take_up(month, Table { total, shown }) {
                twice.push(month);
            }
        }
        Ok((published, twice))
    }

    /// Where this day began, in milliseconds since the Unix epoch: by this device's clock, and no later than a relay signed.
    fn today_ms(&self) -> i64 {
        i64::from(self.today()).saturating_mul(DAY_MS)
    }

    /// Whether this member comes first of all who govern, so that one alone publishes.
    fn is_publisher(&self) -> Result<bool, Error> {
        let state = self.state()?;
        let governing = state.members().filter(|(_, held)| state.template().governs(held.role));
        let first = governing.min_by_key(|(_, held)| held.place).map(|(member, _)| member);
        Ok(first == Some(self.member_id()))
    }

    /// What is counted of the reports whose authors allow it and have not taken them back.
    fn allowed_in_statistics(&mut self) -> Result<Vec<Reported>, Error> {
        let mut counted = Vec::new();
        for report in self.all::<Observation>()? {
            let allows = report.content.consent.iter().any(|audience| audience == STATISTICS);
            if allows && !self.was_retracted(report.id)? {
                counted.push(Reported {
                    at_ms: report.content.when.start_ms,
                    cell: report.content.cell.parse().ok(),
                    behaviours: report.content.behaviours,
                });
            }
        }
        Ok(counted)
    }

    /// Whether its author has taken a report back.
    pub(super) fn was_retracted(&mut self, observation: DocumentId) -> Result<bool, Error> {
        Ok(is_retracted(&self.about::<Correction>(observation)?))
    }
}

impl Replica {
    /// Publishes the months that are over for two weeks.
    ///
    /// # Errors
    /// As [`Engine::publish_statistics`].
    pub async fn publish_statistics(&self) -> Result<Vec<Month>, Error> {
        self.run(Engine::publish_statistics).await
    }

    /// Where there were many reports, month by month: what may be shown to anybody.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn hotspots(&self) -> Result<Vec<Hotspots>, Error> {
        self.run(Engine::hotspots).await
    }
}
