//! What many reports say together: where, week by week, and beside the effort of watching.
//!
//! [`counts`] and [`weeks`] are for the screens of those who may read every report behind them. What is shown to anybody
//! else, or leaves the group, is [`hotspots`]: what was published, as [`statistics`](super::statistics) decides.

use std::collections::{BTreeMap, BTreeSet};

use super::Cell;
use super::codes;
use super::statistics::{Month, Published, Table, rate_per_100_hours};

const DAY_MS: i64 = 86_400_000;
const WEEK_MS: i64 = 7 * DAY_MS;

/// 1970-01-01 was a Thursday: weeks begin three days earlier, on a Monday.
const MONDAY_MS: i64 = -3 * DAY_MS;

/// What is counted of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The public cell; none if the place is unknown.
    pub cell: Option<Cell>,
    /// Keys of `codes/behaviours.json`, or codes of a later version.
    pub behaviours: Vec<String>,
}

/// Where, and of what family: what is counted together.
pub type Topic = (Cell, String);

/// How many reports of a behaviour family there are in a public cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellCount {
    /// The cell.
    pub cell: Cell,
    /// A key of `codes/behaviour_families.json`.
    pub family: String,
    /// How many reports. Never to be shown to anybody who may not read them all.
    pub reports: u64,
}

/// One week, from Monday 00:00 UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Week {
    /// Its first millisecond, since the Unix epoch.
    pub start_ms: i64,
    /// How many reports.
    pub reports: u64,
    /// How long people watched, in minutes.
    pub shift_minutes: u64,
    /// Reports per 100 hours of watching; none where chance rules, see [`rate_per_100_hours`].
    pub per_100_hours: Option<f64>,
}

/// One month of the hotspot table: what may be told to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hotspots {
    /// The month.
    pub month: Month,
    /// Reports of the whole group by family and cell; a report of two families counts in both. None if there were few.
    pub total: Option<u64>,
    /// Where there were many, and of what family. Whatever is not here had few or none.
    pub shown: BTreeSet<Topic>,
}

/// How many reports of each family there are in each cell, most first; then by cell and family.
pub fn counts<'a>(reports: impl IntoIterator<Item = &'a Reported>) -> Vec<CellCount> {
    let mut reports_by_topic: BTreeMap<Topic, u64> = BTreeMap::new();
    for topic in reports.into_iter().flat_map(topics) {
        *reports_by_topic.entry(topic).or_default() += 1;
    }
    let mut counts: Vec<CellCount> = reports_by_topic
        .into_iter()
        .map(|((cell, family), reports)| CellCount { cell, family, reports })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.reports));
    counts
}

/// Every week from the first report or shift to the last, also those without any. `shifts` are (when, minutes of
/// watching), in any order; several in one week add up.
pub fn weeks<'a>(
    reports: impl IntoIterator<Item = &'a Reported>,
    shifts: impl IntoIterator<Item = (i64, u64)>,
) -> Vec<Week> {
    let mut by_number: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for report in reports {
        by_number.entry(week(report.at_ms)).or_default().0 += 1;
    }
    for (at_ms, minutes) in shifts {
        let sum = &mut by_number.entry(week(at_ms)).or_default().1;
        *sum = sum.saturating_add(minutes);
    }
    let (Some((first, _)), Some((last, _))) = (by_number.first_key_value(), by_number.last_key_value())
    else {
        return Vec::new();
    };
    // Somebody's wrong clock must not make a list of a million weeks.
    let first = (*first).max(last.saturating_sub(WEEKS_MAX - 1));
    let weeks = (first..=*last).map(|number| {
        let (reports, shift_minutes) = by_number.get(&number).copied().unwrap_or_default();
        let per_100_hours = rate_per_100_hours(reports, shift_minutes);
        Week { start_ms: MONDAY_MS + number * WEEK_MS, reports, shift_minutes, per_100_hours }
    });
    weeks.collect()
}

/// Most weeks that are told of, the latest: ten years.
pub const WEEKS_MAX: i64 = 520;

/// What is counted for the tables of months: (topic, month, 1) for each family that a report is of.
pub fn counted<'a>(
    reports: impl IntoIterator<Item = &'a Reported>,
) -> impl Iterator<Item = (Topic, Month, u64)> {
    let dated = reports.into_iter().filter_map(|report| Some((report, Month::of_ms(report.at_ms).ok()?)));
    dated.flat_map(|(report, month)| topics(report).map(move |topic| (topic, month, 1)))
}

/// The tables that are published, latest month first.
pub fn hotspots(published: &Published<Topic>) -> Vec<Hotspots> {
    let tables = published.tables().map(|(month, table)| {
        let Table { total, shown } = table.clone();
        Hotspots { month, total, shown }
    });
    let mut tables: Vec<_> = tables.collect();
    tables.reverse();
    tables
}

fn week(at_ms: i64) -> i64 {
    at_ms.saturating_sub(MONDAY_MS).div_euclid(WEEK_MS)
}

fn topics(report: &Reported) -> impl Iterator<Item = Topic> {
    let families: BTreeSet<&str> =
        report.behaviours.iter().map(|behaviour| codes::family(behaviour)).collect();
    report.cell.into_iter().flat_map(move |cell| {
        families.clone().into_iter().map(move |family| (cell, family.to_owned())).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::blur;
    use proptest::prelude::*;

    /// 2026-05-04, a Monday.
    const MONDAY: i64 = 1_777_852_800_000;

    fn report(day: i64, place: u8, behaviours: &[&str]) -> Reported {
        let cell = blur::cell(39.7 + f64::from(place) / 100.0, -104.9, blur::CELL_SIZE_M).ok();
        let behaviours = behaviours.iter().map(|b| (*b).to_owned()).collect();
        Reported { at_ms: MONDAY + day * DAY_MS, cell, behaviours }
    }

    #[test]
    fn twice_the_hours_and_twice_the_reports_leave_the_rate_flat() {
        let reports: Vec<_> = (0..12)
            .map(|_| report(1, 0, &["threat"]))
            .chain(
                (0..24)
                    .map(|_| report(6, 0, &["threat"]))
                    .map(|r| Reported { at_ms: r.at_ms + WEEK_MS, ..r }),
            )
            .collect();
        let weeks = weeks(&reports, [(MONDAY, 1_000), (MONDAY + 6 * DAY_MS, 200), (MONDAY + WEEK_MS, 2_400)]);
        assert_eq!(weeks.len(), 2);
        assert_eq!((weeks[0].start_ms, weeks[1].start_ms), (MONDAY, MONDAY + WEEK_MS));
        assert_eq!((weeks[0].reports, weeks[1].reports), (12, 24));
        assert_eq!(weeks[0].per_100_hours, Some(60.0));
        assert_eq!(weeks[0].per_100_hours, weeks[1].per_100_hours);
    }

    #[test]
    fn weeks_without_anything_are_there_and_few_reports_have_no_rate() {
        let weeks = weeks(&[report(0, 0, &["threat"]), report(15, 0, &["threat"])], [(MONDAY, 6_000)]);
        assert_eq!(weeks.iter().map(|week| week.reports).collect::<Vec<_>>(), [1, 0, 1]);
        assert!(weeks.iter().all(|week| week.per_100_hours.is_none()));
        assert_eq!(super::weeks(&[], []), []);
        let wrong_clock = [Reported { at_ms: i64::MAX, ..report(0, 0, &[]) }, report(0, 0, &[])];
        assert!(super::weeks(&wrong_clock, []).len() <= 520);
    }

    fn hotspots(reports: &[Reported], now_ms: i64) -> Vec<Hotspots> {
        let mut published = Published::default();
        published.publish(counted(reports), now_ms);
        super::hotspots(&published)
    }

    #[test]
    fn a_cell_with_few_reports_is_in_no_hotspot_table() {
        let many = (0..11).map(|_| report(0, 1, &["hand_to_hand", "offer_to_sell"]));
        let reports: Vec<_> = many.chain((0..10).map(|_| report(0, 2, &["threat"]))).collect();
        assert_eq!(counts(&reports).iter().map(|count| count.reports).collect::<Vec<_>>(), [11, 10]);
        assert_eq!(hotspots(&reports, MONDAY + 20 * DAY_MS), [], "the month is not over");
        let tables = hotspots(&reports, MONDAY + 60 * DAY_MS);
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].total, Some(21));
        let cell = report(0, 1, &[]).cell.unwrap();
        assert_eq!(tables[0].shown, BTreeSet::from([(cell, "dealing".to_owned())]));
    }

    proptest! {
        /// Every count is of reports that are there, and nothing below eleven is ever shown, whatever is asked when.
        #[test]
        fn nothing_small_is_shown(
            reports in proptest::collection::vec((0i64..90, 0u8..3, 0usize..3), 0..80),
            day in 0i64..150,
        ) {
            let names = ["hand_to_hand", "threat", "overdose"];
            let reports: Vec<_> =
                reports.iter().map(|(day, place, what)| report(*day, *place, &[names[*what]])).collect();
            let all: u64 = counts(&reports).iter().map(|count| count.reports).sum();
            prop_assert_eq!(all, reports.len() as u64);
            prop_assert_eq!(weeks(&reports, []).iter().map(|week| week.reports).sum::<u64>(), all);
            for table in hotspots(&reports, MONDAY + day * DAY_MS) {
                let of_month = reports.iter().filter(|r| Month::of_ms(r.at_ms).unwrap() == table.month);
                let of_month: Vec<_> = of_month.cloned().collect();
                for count in counts(&of_month) {
                    let shown = table.shown.contains(&(count.cell, count.family.clone()));
                    prop_assert_eq!(shown, count.reports >= 11);
                }
            }
        }
    }
}
