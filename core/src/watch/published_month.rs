//! What the group tells of one month: published once, by one member, and frozen.
//!
//! Whoever saw two tables of a month could find the report in which they differ. So nobody makes a table when it is asked for:
//! it is read from here, the same for everybody and for ever.

use super::Cell;
use super::check::{Invalid, check_count, check_time};
use super::content::{Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::statistics::{GRACE_MS, Month, REPORTS_COUNT_MIN, Table};
use super::text::{self, LINE_CHARS_MAX};
use super::trends::{Hotspots, Topic};
use crate::base::{DocumentId, MemberId};
use crate::document::derive_id;

/// Most topics of a month: a fifth of a body.
pub const TOPICS_COUNT_MAX: usize = 1_000;

stored! {
    /// The table of one month; it does not change.
    pub struct PublishedMonth {
        /// The month in UTC, such as `2026-05`.
        pub month: String,
        /// Reports of the whole group whose authors allow it, by family and cell; none below [`REPORTS_COUNT_MIN`].
        pub total: Option<u64>,
        /// Where there were [`REPORTS_COUNT_MIN`] or more, and of what family; ascending by cell and family.
        pub shown: Vec<ShownTopic>,
        /// When it was published, in milliseconds since the Unix epoch, by the coordinator's device.
        pub at_ms: i64,
    }

    /// Where, and of what family.
    pub struct ShownTopic {
        /// The public cell.
        pub cell: String,
        /// A key of `codes/behaviour_families.json`.
        pub family: String,
    }
}

impl PublishedMonth {
    /// The identity of a member's table of a month (PROTOCOL.md §6.2): one, from however many devices.
    pub fn id(member: MemberId, month: Month) -> DocumentId {
        let month = month.to_string();
        derive_id(member, Kind::PUBLISHED_MONTH.0, b"lamppost/1/published-month", month.as_bytes())
    }

    /// A table to be published.
    pub fn of(month: Month, table: &Table<Topic>, at_ms: i64) -> Self {
        let topic = |(cell, family): &Topic| ShownTopic { cell: cell.to_string(), family: family.clone() };
        Self {
            month: month.to_string(),
            total: table.total,
            shown: table.shown.iter().map(topic).collect(),
            at_ms,
        }
    }

    /// What it tells; none if it names no month. Cells of a later version are left out.
    pub fn hotspots(&self) -> Option<Hotspots> {
        let topic = |topic: &ShownTopic| Some((topic.cell.parse::<Cell>().ok()?, topic.family.clone()));
        let shown = self.shown.iter().filter_map(topic).collect();
        Some(Hotspots { month: Month::parse(&self.month)?, total: self.total, shown })
    }
}

impl WatchDocument for PublishedMonth {
    const KIND: Kind = Kind::PUBLISHED_MONTH;
    const MADE_BY: Option<&str> = Some("publish_statistics");

    fn validate(&self) -> Result<(), Invalid> {
        let refused = |field: &str, problem: &str| {
            Err(Invalid::new(field, problem, "publish with `publish_statistics`, and nothing else"))
        };
        let Some(month) = Month::parse(&self.month) else { return refused("month", "is no month") };
        check_time("at_ms", self.at_ms)?;
        if self.at_ms < month.end_ms().saturating_add(GRACE_MS) {
            return refused("at_ms", "lies before phones that were offline had their time");
        }
        check_count("shown", self.shown.len(), TOPICS_COUNT_MAX)?;
        for ShownTopic { cell, family } in &self.shown {
            cell.parse::<Cell>()?;
            text::check_required_line("family", family, LINE_CHARS_MAX)?;
        }
        let least = if self.shown.is_empty() { None } else { Some(REPORTS_COUNT_MIN) };
        if self.total.is_some_and(|total| total < REPORTS_COUNT_MIN) || self.total < least {
            return refused("total", "is too small to be told, or for what is shown");
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.month.clone(),
            when_ms: Month::parse(&self.month).map(Month::start_ms),
            codes: self.shown.iter().map(|topic| topic.family.clone()).collect(),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;
    use std::collections::BTreeSet;

    #[test]
    fn a_table_comes_back_as_it_was_published() {
        let month = Month::parse("2026-03").unwrap();
        let cell: Cell = "g250:17675:-35908".parse().unwrap();
        let shown = BTreeSet::from([(cell, "dealing".to_owned())]);
        let at_ms = month.end_ms() + GRACE_MS;
        let published = PublishedMonth::of(month, &Table { total: Some(12), shown: shown.clone() }, at_ms);
        assert_eq!(published.hotspots(), Some(Hotspots { month, total: Some(12), shown }));
        assert_eq!(refused(&published, |p| p.month = "2026-3".into()), "month");
        assert_eq!(refused(&published, |p| p.at_ms -= 1), "at_ms");
        assert_eq!(refused(&published, |p| p.total = Some(10)), "total");
        assert_eq!(refused(&published, |p| p.total = None), "total");
        assert_eq!(refused(&published, |p| p.shown[0].family.clear()), "family");
        let few = PublishedMonth { total: None, shown: Vec::new(), ..published };
        assert_eq!(few.validate(), Ok(()));
        assert_eq!(refused(&few, |p| p.total = Some(3)), "total");
    }
}
