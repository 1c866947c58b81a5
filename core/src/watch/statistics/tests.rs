//! Tests of published statistics, most of them by an attacker who knows all totals, all tables and the code.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn month(number: i64) -> Month {
    let mut month = Month::of_ms(1_767_225_600_000).unwrap(); // 2026-01
    for _ in 0..number {
        month = Month::of_ms(month.end_ms()).unwrap();
    }
    month
}

fn due_ms(month: Month) -> i64 {
    month.end_ms() + GRACE_MS
}

fn published(counts: &[(u8, Month, u64)], now_ms: i64) -> Published<u8> {
    let mut published = Published::default();
    published.publish(counts.iter().copied(), now_ms);
    published
}

/// Every way in which `cells` cells can hold `total` reports.
fn worlds(cells: usize, total: u64) -> Vec<Vec<u64>> {
    if cells == 1 {
        return vec![vec![total]];
    }
    (0..=total)
        .flat_map(|first| {
            worlds(cells - 1, total - first).into_iter().map(move |mut world| {
                world.push(first);
                world
            })
        })
        .collect()
}

fn table_of(world: &[u64], k: u64) -> Table<usize> {
    suppress(world.iter().copied().enumerate().collect(), k)
}

/// For every cell that is not shown, the values it has in some world that gives the same total and the same table.
fn possible_values(world: &[u64], k: u64) -> Vec<BTreeSet<u64>> {
    let table = table_of(world, k);
    let alike: Vec<_> = worlds(world.len(), world.iter().sum())
        .into_iter()
        .filter(|other| table_of(other, k) == table)
        .collect();
    (0..world.len())
        .filter(|cell| !table.shown.contains(cell))
        .map(|cell| alike.iter().map(|other| other[cell]).collect())
        .collect()
}

#[test]
fn whoever_knows_the_total_and_the_table_cannot_tell_whether_a_withheld_cell_had_any_report() {
    let mut told = 0;
    for k in 2..=4 {
        for cells in 1..=4 {
            for world in (0..=11).flat_map(|total| worlds(cells, total)) {
                let table = table_of(&world, k);
                let total: u64 = world.iter().sum();
                // Where nothing is shown and nearly every cell is nearly full, the total alone says so.
                let room = (k - 1) * (cells as u64 - 1);
                for values in possible_values(&world, k) {
                    if !table.shown.is_empty() || total <= room {
                        assert!(values.contains(&0), "{world:?}, k = {k}: {values:?}");
                    }
                    // And nothing is told of it but that it is below k.
                    let shown = table.shown.len() as u64;
                    if shown > 0 && total >= k * shown + k - 1 {
                        assert_eq!(values, (0..k).collect(), "{world:?}, k = {k}");
                        told += 1;
                    }
                }
            }
        }
    }
    assert!(told > 1_000, "{told}");
}

#[test]
fn the_attacker_finds_out_what_a_table_with_counts_would_hide() {
    // The same attacker on tables with exact counts: a lone small cell is the rest of the total.
    let counts = |world: &[u64]| -> Vec<Option<u64>> {
        world.iter().map(|reports| (*reports >= 3).then_some(*reports)).collect()
    };
    let world = [7, 2, 4];
    let alike: BTreeSet<u64> = worlds(3, 13)
        .into_iter()
        .filter(|other| counts(other) == counts(&world))
        .map(|other| other[1])
        .collect();
    assert_eq!(alike, BTreeSet::from([2]));
}

#[test]
fn ten_reports_are_not_shown_and_eleven_are() {
    let table = published(&[(1, month(0), 10), (2, month(0), 11), (3, month(0), 0)], due_ms(month(0)));
    let table = table.table(month(0)).unwrap();
    assert_eq!(table.shown, BTreeSet::from([2]));
    assert_eq!(table.total, Some(21));
    let few = published(&[(1, month(0), 11), (1, month(1), 10)], due_ms(month(1)));
    assert_eq!(few.table(month(1)), Some(&Table { total: None, shown: BTreeSet::new() }));
    // The list begins with the first month that has something to tell.
    assert_eq!(published(&[(1, month(0), 10)], due_ms(month(0))).tables().count(), 0);
}

#[test]
fn a_month_is_not_published_before_it_is_over_and_phones_had_time() {
    let counts = [(1, month(0), 50), (1, month(1), 50)];
    assert_eq!(published(&counts, due_ms(month(0)) - 1).tables().count(), 0);
    let first = published(&counts, due_ms(month(0)));
    assert_eq!(first.tables().map(|(month, _)| month).collect::<Vec<_>>(), [month(0)]);
}

#[test]
fn months_follow_each_other_and_what_comes_late_is_in_none() {
    let mut counts = vec![(1, month(1), 50), (1, month(3), 5)];
    let mut told = published(&counts, due_ms(month(4)));
    let months = |published: &Published<u8>| published.tables().map(|(month, _)| month).collect::<Vec<_>>();
    assert_eq!(months(&told), [month(1), month(2), month(3), month(4)]);
    assert_eq!(told.table(month(2)), told.table(month(3)), "none and few look alike");
    counts.extend([(1, month(0), 50), (1, month(2), 50)]);
    told.publish(counts.iter().copied(), due_ms(month(5)));
    assert_eq!(months(&told).len(), 5);
    assert_eq!(told.table(month(2)), told.table(month(4)));
    let ancient = |reports| [(1, Month::of_ms(1).unwrap(), reports), (1, month(0), 11)];
    assert_eq!(published(&ancient(10), due_ms(month(0))).tables().count(), 1);
    assert_eq!(published(&ancient(11), due_ms(month(0))).tables().count(), usize::from(MONTHS_AT_ONCE_MAX));
}

#[test]
fn another_table_of_the_same_month_is_not_taken_up() {
    let mut published = published(&[(1, month(0), 50)], due_ms(month(0)));
    let same = published.table(month(0)).unwrap().clone();
    assert!(published.take_up(month(0), same.clone()));
    assert!(!published.take_up(month(0), Table { total: Some(51), ..same.clone() }));
    assert_eq!(published.table(month(0)), Some(&same));
    assert!(published.take_up(month(1), same));
}

#[test]
fn rates_are_given_only_of_enough_reports_and_effort() {
    assert_eq!(rate_per_100_hours(20, 6_000), Some(20.0));
    assert_eq!(rate_per_100_hours(10, 6_000), None);
    assert_eq!(rate_per_100_hours(20, 599), None);
    assert_eq!(rate_per_100_hours(20, 0), None);
    assert!(rate_per_100_hours(u64::MAX, u64::MAX).unwrap().is_finite());
}

proptest! {
    /// Reports come in one by one and a table is asked for after each: all answers about a month are the same, so the
    /// difference of any two is nothing.
    #[test]
    fn successive_queries_differ_by_nothing(
        reports in vec((0u8..4, 0i64..3, 0i64..90), 0..120),
    ) {
        let mut published = Published::default();
        let mut counts = Vec::new();
        let mut seen: BTreeMap<Month, Table<u8>> = BTreeMap::new();
        let mut now_ms = month(0).start_ms();
        for (cell, number, days) in reports {
            counts.push((cell, month(number), 1));
            now_ms += days * 86_400_000 / 10;
            published.publish(counts.iter().copied(), now_ms);
            for (month, table) in published.tables() {
                prop_assert!(due_ms(month) <= now_ms);
                prop_assert_eq!(seen.entry(month).or_insert_with(|| table.clone()), table);
            }
        }
    }

    /// Two groups that differ in one report of a cell that stays withheld publish the same table but for the total.
    #[test]
    fn one_report_more_in_a_withheld_cell_changes_no_cell(counts in vec(0u64..30, 1..8), at: prop::sample::Index) {
        let at = at.index(counts.len());
        prop_assume!(counts[at] + 1 < REPORTS_COUNT_MIN);
        let mut more = counts.clone();
        more[at] += 1;
        prop_assert_eq!(
            table_of(&counts, REPORTS_COUNT_MIN).shown,
            table_of(&more, REPORTS_COUNT_MIN).shown
        );
    }

    #[test]
    fn order_and_portions_of_the_input_do_not_matter(
        counts in vec((0u8..4, 0i64..3, 0u64..30), 0..30).prop_shuffle(),
    ) {
        let now_ms = due_ms(month(3));
        let whole: Vec<_> = counts.iter().map(|&(cell, number, n)| (cell, month(number), n)).collect();
        let single: Vec<_> = whole.iter().rev()
            .flat_map(|&(cell, month, n)| std::iter::once((cell, month, 0)).chain((0..n).map(move |_| (cell, month, 1))))
            .collect();
        prop_assert_eq!(published(&whole, now_ms), published(&single, now_ms));
    }

    #[test]
    fn twice_the_hours_and_twice_the_reports_leave_the_rate_flat(
        reports in 11u64..1_000_000, minutes in 600u64..10_000_000, times in 2u64..100,
    ) {
        prop_assert_eq!(
            rate_per_100_hours(reports, minutes),
            rate_per_100_hours(reports * times, minutes * times)
        );
        prop_assert!(rate_per_100_hours(reports * 2, minutes) > rate_per_100_hours(reports, minutes));
    }
}
