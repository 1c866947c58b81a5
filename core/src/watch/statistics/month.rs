//! Calendar months in UTC, the only bucket of published statistics.

use crate::watch::check::{Invalid, check_time};
use std::fmt;

const DAY_MS: i64 = 86_400_000;

/// A calendar month in UTC, from 1970 to 2200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since January 1970.
    number: i64,
}

impl Month {
    /// The month of a time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the time is not between 1970 and 2200.
    pub fn of_ms(time_ms: i64) -> Result<Self, Invalid> {
        check_time("time_ms", time_ms)?;
        // Howard Hinnant, 'chrono-Compatible Low-Level Date Algorithms', civil_from_days: years begin in March, so that
        // the leap day comes last. Every time here is after 1970, so no era is negative.
        let days = time_ms / DAY_MS + 719_468;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let year = year_of_era + days / 146_097 * 400;
        Ok(Self { number: (year - 1970) * 12 + month_from_march + 2 })
    }

    /// The month that is written so, as in `2026-05`; none if it is none from 1970 to 2200, or written otherwise.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
        let number = year.checked_sub(1970)?.checked_mul(12)?.checked_add(month)?.checked_sub(1)?;
        let range = 0..=(2200 - 1970) * 12;
        Some(Self { number }).filter(|parsed| range.contains(&number) && parsed.to_string() == text)
    }

    /// The one after it.
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1) }
    }

    /// The one so many months before it, or the first of all.
    pub fn before(self, months: u16) -> Self {
        Self { number: self.number.saturating_sub(i64::from(months)).max(0) }
    }

    /// Its first millisecond.
    pub fn start_ms(self) -> i64 {
        // days_from_civil of the same source, for the first day of the month.
        let from_march = self.number - 2;
        let (year, month) = (1970 + from_march.div_euclid(12), from_march.rem_euclid(12));
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5;
        (era * 146_097 + day_of_era - 719_468) * DAY_MS
    }

    /// The first millisecond after it.
    pub fn end_ms(self) -> i64 {
        self.next().start_ms()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", 1970 + self.number / 12, self.number % 12 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::check::TIME_MS_MAX;
    use proptest::prelude::*;

    #[test]
    fn months_have_their_edges() {
        let may = Month::of_ms(1_779_990_000_000).unwrap();
        assert_eq!(may.to_string(), "2026-05");
        assert_eq!(Month::of_ms(may.start_ms()).unwrap(), may);
        assert_eq!(Month::of_ms(may.end_ms() - 1).unwrap(), may);
        assert_eq!(Month::of_ms(may.end_ms()).unwrap().to_string(), "2026-06");
        assert_eq!(Month::of_ms(1).unwrap().to_string(), "1970-01");
        assert!(
            Month::of_ms(0).is_err() && Month::of_ms(i64::MAX).is_err() && Month::of_ms(i64::MIN).is_err()
        );
    }

    #[test]
    fn what_is_no_month_is_not_read() {
        for text in
            ["", "2026", "2026-5", "2026-13", "2026-00", "1969-12", "2201-01", "+2026-05", "2026-05-01"]
        {
            assert_eq!(Month::parse(text), None, "{text}");
        }
        assert_eq!(Month::of_ms(1).unwrap().before(3), Month::of_ms(1).unwrap());
    }

    proptest! {
        #[test]
        fn months_are_those_of_the_calendar(time_ms in 1..=TIME_MS_MAX) {
            let month = Month::of_ms(time_ms).unwrap();
            let date = jiff::Timestamp::from_millisecond(time_ms).unwrap();
            prop_assert_eq!(month.to_string(), date.strftime("%Y-%m").to_string());
            prop_assert_eq!(Month::parse(&month.to_string()), Some(month));
            prop_assert_eq!(month.next().before(1), month);
            prop_assert!((month.start_ms()..month.end_ms()).contains(&time_ms));
            if month.number > 0 {
                prop_assert_eq!(Month { number: month.number - 1 }.end_ms(), month.start_ms());
            }
        }
    }
}
