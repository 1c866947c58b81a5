//! A session with young people: counts, and nothing about any one of them.
//!
//! There is no field for a name and none for a text, and what is no code is refused on every device, so that a child's name
//! cannot be entered by any version.

use super::blur::Cell;
use super::check::Invalid;
use super::codes;
use super::content::{Summary, WatchDocument, Writer, codes_of, stored};
use super::kinds::Kind;
use super::meeting::check_span;

/// Most people of one session.
pub const COUNT_MAX: u32 = 10_000;

stored! {
    /// One session.
    pub struct YouthSession {
        /// A key of `codes/youth_activity.json`.
        pub activity: String,
        /// A key of `codes/age_band.json`.
        pub ages: String,
        /// Public grid cell; empty if it is not to be told.
        pub cell: String,
        /// When it began, in milliseconds since the Unix epoch.
        pub starts_ms: i64,
        /// When it ended, in milliseconds since the Unix epoch.
        pub ends_ms: i64,
        /// How many young people came.
        pub young_people: u32,
        /// How many mentors.
        pub mentors: u32,
        /// How many officers.
        pub officers: u32,
    }
}

/// Sums over sessions, to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct YouthTotals {
    /// Sessions.
    pub sessions: u64,
    /// Attendances, not different people: who comes twice counts twice.
    pub attendances: u64,
    /// Mentors' attendances.
    pub mentors: u64,
    /// Milliseconds of all sessions together.
    pub lasted_ms: i64,
}

/// Adds sessions up.
pub fn totals<'a>(sessions: impl IntoIterator<Item = &'a YouthSession>) -> YouthTotals {
    sessions.into_iter().fold(YouthTotals::default(), |sum, session| YouthTotals {
        sessions: sum.sessions + 1,
        attendances: sum.attendances + u64::from(session.young_people),
        mentors: sum.mentors + u64::from(session.mentors),
        lasted_ms: sum.lasted_ms.saturating_add(session.ends_ms.saturating_sub(session.starts_ms).max(0)),
    })
}

impl WatchDocument for YouthSession {
    const KIND: Kind = Kind::YOUTH_SESSION;
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        check_span(self.starts_ms, Some(self.ends_ms))?;
        let counts =
            [("young_people", self.young_people), ("mentors", self.mentors), ("officers", self.officers)];
        for (field, count) in counts {
            if count > COUNT_MAX {
                return Err(Invalid::new(field, format!("is more than {COUNT_MAX}"), "count once more"));
            }
        }
        self.check_codes_alone()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.activity.clone(),
            text: self.young_people.to_string(),
            when_ms: Some(self.starts_ms),
            cell: self.cell.clone(),
            codes: codes_of([&self.activity, &self.ages]),
            ..Summary::default()
        }
    }

    fn check_change(_: Option<&Self>, after: &Self, _: &Writer) -> Result<(), Invalid> {
        after.check_codes_alone()
    }
}

impl YouthSession {
    /// Codes of these two lists, which are therefore closed: a version that adds one gives the kind a new number.
    fn check_codes_alone(&self) -> Result<(), Invalid> {
        let fields =
            [("activity", &self.activity, codes::youth_activity()), ("ages", &self.ages, codes::age_band())];
        for (field, code, catalogue) in fields {
            if !catalogue.contains(code) {
                return Err(Invalid::new(
                    field,
                    "is no code",
                    "choose one of the list: nothing about a child is written down",
                ));
            }
        }
        if self.cell.is_empty() {
            return Ok(());
        }
        self.cell.parse::<Cell>().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_VOLUNTEER;
    use crate::watch::testing::{refused, set_aside, writer};

    const START: i64 = 1_777_593_600_000;

    fn session() -> YouthSession {
        YouthSession {
            activity: "sport".into(),
            ages: "13_to_15".into(),
            cell: "g250:17675:-35908".into(),
            starts_ms: START,
            ends_ms: START + 5_400_000,
            young_people: 14,
            mentors: 2,
            officers: 1,
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&session(), |s| s.ends_ms = START - 1), "ends_ms");
        assert_eq!(refused(&session(), |s| s.young_people = COUNT_MAX + 1), "young_people");
        assert_eq!(refused(&session(), |s| s.mentors = COUNT_MAX + 1), "mentors");
    }

    #[test]
    fn no_name_can_be_entered_and_none_has_an_effect() {
        let by = writer(1, ROLE_VOLUNTEER, Kind::YOUTH_SESSION);
        for name in ["Ana", "ana_gomez", "Ana Gómez", "sport with Ana", "sport ", ""] {
            assert_eq!(refused(&session(), |s| s.activity = name.into()), "activity", "{name}");
            assert_eq!(refused(&session(), |s| s.ages = name.into()), "ages", "{name}");
            let named = YouthSession { activity: name.into(), ..session() };
            assert_eq!(set_aside(None, &named, &by), Some("activity".into()), "{name}");
            if !name.is_empty() {
                assert_eq!(refused(&session(), |s| s.cell = name.into()), "cell", "{name}");
                let placed = YouthSession { cell: name.into(), ..session() };
                assert_eq!(set_aside(None, &placed, &by), Some("cell".into()), "{name}");
            }
        }
        assert_eq!(set_aside(None, &session(), &by), None);
    }

    #[test]
    fn totals_are_sums() {
        let totals = totals([&session(), &session()]);
        assert_eq!((totals.sessions, totals.attendances, totals.mentors), (2, 28, 4));
        assert_eq!(totals.lasted_ms, 10_800_000);
    }
}
