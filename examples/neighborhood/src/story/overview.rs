//! What the coordinator's phone finds in many reports, without a network.

use lamppost_core::base::DocumentId;
use lamppost_core::watch::Cell;
use lamppost_core::watch::codes;

use super::{Failure, Story};
use crate::narrator::{say, sees, shortened, thousands};

/// Suggestions and patterns that are told in full.
const TOLD: usize = 3;

/// Months and hotspots that are told in full.
const HOTSPOTS_TOLD: usize = 5;

impl Story {
    /// Suggests what may be one event, and what is a pattern; and shows where there was much, as anybody may see it.
    pub(super) async fn overview(&self) -> Result<(), Failure> {
        let phone = &self.coordinator.replica;
        let pairs = phone.duplicates().await?;
        let mut lines = Vec::new();
        for pair in pairs.iter().take(TOLD) {
            lines.push(pair.reason("en"));
            for id in pair.reports {
                lines.push(format!("  {}", self.words(id).await?));
            }
        }
        say(format_args!(
            "{} may tell of one event; nothing is merged by itself",
            counted(pairs.len(), "pair of reports", "pairs of reports")
        ));
        if !lines.is_empty() {
            sees("the coordinator", lines);
        }
        let patterns = phone.patterns().await?;
        say(format_args!(
            "{} where the same kind of thing was reported again and again",
            counted(patterns.len(), "place", "places")
        ));
        if !patterns.is_empty() {
            sees("the coordinator", patterns.iter().take(TOLD).map(|pattern| pattern.reason("en")));
        }
        phone.publish_statistics().await?;
        let months = phone.hotspots().await?;
        let mut rows = Vec::new();
        for month in months.iter().filter(|month| !month.shown.is_empty()).take(HOTSPOTS_TOLD) {
            let total = month.total.map_or_else(|| "few".to_owned(), thousands);
            rows.push(format!("{}: {total} reports in all; many (11 or more) in", month.month));
            rows.extend(month.shown.iter().take(TOLD).map(topic));
            let more = month.shown.len().saturating_sub(TOLD);
            if more > 0 {
                rows.push(format!("  … and {more} more"));
            }
        }
        if rows.is_empty() {
            rows.push(
                "no place has 11 reports of one kind by people who allow counting in one month that is over: nothing is shown"
                    .to_owned(),
            );
        }
        sees("anybody who is shown hotspots", rows);
        Ok(())
    }

    async fn words(&self, id: DocumentId) -> Result<String, Failure> {
        Ok(shortened(&self.coordinator.replica.get(id).await?.row.text, 90))
    }
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{} {}", thousands(count as u64), if count == 1 { one } else { several })
}

fn topic((cell, family): &(Cell, String)) -> String {
    format!("  {cell}: {}", codes::behaviour_families().label(family, "en"))
}
