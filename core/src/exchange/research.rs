//! The `research` profile: what of many reports may be published.
//!
//! Cells with too few reports are not in it, no text is, and no count of a cell: [`watch`](crate::watch) decides that
//! when a month is published, once, and this room only writes it down.

use std::collections::BTreeSet;

use crate::watch::Cell;

/// What is published of one calendar month in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthTable {
    /// The month, such as `2026-05`.
    pub month: String,
    /// Reports of the whole group; none if there were too few.
    pub total: Option<u64>,
    /// Cells that had enough reports to be told of. Every other is withheld, whether it had few or none.
    pub shown: BTreeSet<Cell>,
}

/// Fewest reports that a cell is told of: k = 11, as the Centers for Medicare & Medicaid Services suppress 1 to 10.
pub const REPORTS_COUNT_MIN: u64 = 11;
