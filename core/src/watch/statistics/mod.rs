//! What may be published of many reports: where there were many, how many there were in all, and how that compares with
//! the effort. Never a small number.
//!
//! An attacker is assumed to know this code, the exact number of reports of every month, and everything ever published.
//! So these are decided:
//!
//! - **A cell is shown or it is not.** Shown means [`REPORTS_COUNT_MIN`] or more; no count is given. Exact counts beside
//!   an exact total give the rest away, and withholding a second cell to hide that tells, by which one was chosen, what it
//!   hides: trying out all small tables shows it. Of a table that shows a cell, any withheld one may as well be zero.
//! - **One bucket length**: the calendar month in UTC. A week inside a month, or a month that begins a day later, would
//!   give away the difference. One grid and one classification, for the same reason.
//! - **A month is published once**, [`GRACE_MS`] after its end, by one member, and frozen: a report that comes later is in no
//!   table. Months follow each other without a gap, from the first that has enough reports on, so that a month without a table
//!   says no more than an empty table would. Until there is a first table every month is open, and a report counts in the month
//!   that it claims.
//! - **No total of a cell over several months**: it would be a count of that cell. Totals are of the whole group.

mod month;

pub use month::Month;

use std::collections::{BTreeMap, BTreeSet};

/// Fewest reports that are ever told of: k = 11, as the Centers for Medicare & Medicaid Services suppress cells of 1 to 10.
pub const REPORTS_COUNT_MIN: u64 = 11;

/// Most months that are published at once: twenty years, as an imported record of a town may go back that far. Reports that
/// claim to be of 1970 make no longer list.
pub const MONTHS_AT_ONCE_MAX: u16 = 240;

/// How long after its end a month waits for phones that were offline: 14 days, in milliseconds.
pub const GRACE_MS: i64 = 14 * 86_400_000;

/// Shortest effort that a rate is given for, in minutes: below ten hours chance rules.
pub const EFFORT_MIN_MINUTES: u64 = 600;

/// What is published of one month. `C` is a public cell, such as [`Cell`](super::Cell), or another place or topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<C> {
    /// Reports of the whole group; none below [`REPORTS_COUNT_MIN`].
    pub total: Option<u64>,
    /// Cells with [`REPORTS_COUNT_MIN`] reports or more. Every other is withheld, whether it had ten or none.
    pub shown: BTreeSet<C>,
}

/// Every table published so far. It only grows, and nothing in it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published<C> {
    table_by_month: BTreeMap<Month, Table<C>>,
}

impl<C> Default for Published<C> {
    fn default() -> Self {
        Self { table_by_month: BTreeMap::new() }
    }
}

impl<C: Ord + Clone> Published<C> {
    /// Publishes every month that is over for [`GRACE_MS`], from the one after the last published on, or from the first that
    /// has [`REPORTS_COUNT_MIN`] reports, but at most the latest [`MONTHS_AT_ONCE_MAX`]. Counts are (cell, month, reports), in
    /// any order; several of the same cell and month add up. Whatever is of an earlier month comes too late.
    pub fn publish(&mut self, counts: impl IntoIterator<Item = (C, Month, u64)>, now_ms: i64) {
        let mut reports_by_month: BTreeMap<Month, BTreeMap<C, u64>> = BTreeMap::new();
        let is_over = |month: &Month| month.end_ms().saturating_add(GRACE_MS) <= now_ms;
        for (cell, month, reports) in counts.into_iter().filter(|(_, month, _)| is_over(month)) {
            let sum = reports_by_month.entry(month).or_default().entry(cell).or_default();
            *sum = sum.saturating_add(reports);
        }
        let after_last = self.table_by_month.last_key_value().map(|(last, _)| last.next());
        let has_enough = |cells: &BTreeMap<C, u64>| sum(cells) >= REPORTS_COUNT_MIN;
        let first = || reports_by_month.iter().find(|(_, cells)| has_enough(cells)).map(|(month, _)| *month);
        let Some(mut month) = after_last.or_else(first) else { return };
        let latest = Month::of_ms(now_ms).unwrap_or(month);
        month = month.max(latest.before(MONTHS_AT_ONCE_MAX));
        while is_over(&month) {
            let reports_by_cell = reports_by_month.remove(&month).unwrap_or_default();
            self.table_by_month.insert(month, suppress(reports_by_cell, REPORTS_COUNT_MIN));
            month = month.next();
        }
    }

    /// Takes up a table as it was published, by another device or before a restart.
    ///
    /// Returns false and changes nothing if the month has another one: two tables of one month may give away the report
    /// in which they differ, so whoever sees this tells a coordinator.
    pub fn take_up(&mut self, month: Month, table: Table<C>) -> bool {
        *self.table_by_month.entry(month).or_insert_with(|| table.clone()) == table
    }

    /// The table of a month, if there is one.
    pub fn table(&self, month: Month) -> Option<&Table<C>> {
        self.table_by_month.get(&month)
    }

    /// Every table, by month.
    pub fn tables(&self) -> impl Iterator<Item = (Month, &Table<C>)> {
        self.table_by_month.iter().map(|(month, table)| (*month, table))
    }
}

/// Reports per 100 hours of shifts: twice the hours and twice the reports leave it as it is. None below
/// [`REPORTS_COUNT_MIN`] reports or [`EFFORT_MIN_MINUTES`] minutes.
pub fn rate_per_100_hours(reports: u64, shift_minutes: u64) -> Option<f64> {
    let told = reports >= REPORTS_COUNT_MIN && shift_minutes >= EFFORT_MIN_MINUTES;
    // One division of whole numbers, so that equal fractions give equal bits on every phone.
    told.then(|| as_f64(reports.saturating_mul(6_000)) / as_f64(shift_minutes))
}

/// The table of one month, for a given `k`.
fn suppress<C: Ord>(reports_by_cell: BTreeMap<C, u64>, k: u64) -> Table<C> {
    let total = sum(&reports_by_cell);
    let shown =
        reports_by_cell.into_iter().filter(|(_, reports)| *reports >= k).map(|(cell, _)| cell).collect();
    Table { total: (total >= k).then_some(total), shown }
}

fn sum<C>(reports_by_cell: &BTreeMap<C, u64>) -> u64 {
    reports_by_cell.values().fold(0, |sum: u64, reports| sum.saturating_add(*reports))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53, far beyond any number of reports or minutes"
)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
