//! Times as the formats write them. All in UTC: a file is read far from where it was written.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// RFC 3339, such as `2026-05-28T17:40:00Z`; empty for a time outside the years -9999 to 9999, which only a faulty device
/// writes.
pub(super) fn rfc3339(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// As [`jiff::fmt::strtime`] says, to the second, in UTC; empty as in [`rfc3339`].
pub(super) fn in_form(form: &str, ms: i64) -> String {
    utc(ms).map(|time| time.strftime(form).to_string()).unwrap_or_default()
}

/// RFC 3339 with any offset, in milliseconds since the Unix epoch.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.trim().parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn utc(ms: i64) -> Option<Zoned> {
    Timestamp::from_millisecond(ms).ok().map(|time| time.to_zoned(TimeZone::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ms in 0..=crate::watch::check::TIME_MS_MAX) {
            prop_assert_eq!(parse(&rfc3339(ms)), Some(ms));
        }

        #[test]
        fn no_time_is_too_strange_to_be_written(ms: i64) {
            let _ = (rfc3339(ms), in_form("%Y-%m-%d", ms));
        }
    }
}
