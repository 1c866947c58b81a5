//! A shift of watching: hours and an area, who came and when they left. There is no field for where anybody went.

use super::blur::Cell;
use super::check::{Invalid, check_count, check_distinct, check_id, check_time};
use super::content::{Keyed, Summary, WatchDocument, Writer, stored};
use super::kinds::Kind;
use super::roles::ROLE_COORDINATOR;
use super::text::{self, LINE_CHARS_MAX};

/// Most cells of one area.
pub const CELLS_COUNT_MAX: usize = 60;

/// Most people of one shift.
pub const ATTENDANCE_COUNT_MAX: usize = 100;

/// Longest attendance that counts as effort in milliseconds: who forgot to check out did not watch for days.
pub const ATTENDANCE_MS_MAX: i64 = 12 * 3_600_000;

stored! {
    /// One shift.
    pub struct Shift {
        /// What it is called.
        pub title: String,
        /// When it begins, in milliseconds since the Unix epoch.
        pub starts_ms: i64,
        /// When it ends, in milliseconds since the Unix epoch.
        pub ends_ms: i64,
        /// The area as public grid cells.
        pub cells: Vec<String>,
        /// Who came, by the member's id as text.
        pub attendance: Keyed<Attendance>,
    }

    /// When somebody came and left, by their own device.
    pub struct Attendance {
        /// In milliseconds since the Unix epoch.
        pub checked_in_ms: i64,
        /// In milliseconds since the Unix epoch; none while they are there.
        pub checked_out_ms: Option<i64>,
    }
}

impl Shift {
    /// Milliseconds of watching by everybody together: the denominator of a rate. Who has not checked out counts up to the
    /// end of the shift, and nobody for longer than [`ATTENDANCE_MS_MAX`].
    pub fn effort_ms(&self) -> i64 {
        let each = self.attendance.values().map(|a| {
            let out_ms = a.checked_out_ms.unwrap_or(self.ends_ms);
            out_ms.saturating_sub(a.checked_in_ms).clamp(0, ATTENDANCE_MS_MAX)
        });
        each.fold(0, i64::saturating_add)
    }
}

impl WatchDocument for Shift {
    const KIND: Kind = Kind::SHIFT;
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        super::meeting::check_span(self.starts_ms, Some(self.ends_ms))?;
        if self.cells.is_empty() {
            return Err(Invalid::new("cells", "is empty", "say which area is watched"));
        }
        check_count("cells", self.cells.len(), CELLS_COUNT_MAX)?;
        self.cells.iter().try_for_each(|cell| cell.parse::<Cell>().map(|_| ()))?;
        check_distinct("cells", self.cells.iter().map(String::as_str))?;
        check_count("attendance", self.attendance.len(), ATTENDANCE_COUNT_MAX)?;
        for (member, attendance) in self.attendance.iter() {
            check_id("attendance", member)?;
            attendance.check().map_err(|e| e.within(&format!("attendance.{member}")))?;
        }
        Ok(())
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.title.clone(),
            when_ms: Some(self.starts_ms),
            cell: self.cells.first().cloned().unwrap_or_default(),
            ..Summary::default()
        }
    }

    /// Coordinators plan shifts; everybody else says when they themselves came and left, and nothing for others.
    fn check_change(before: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        if writer.role == ROLE_COORDINATOR {
            return Ok(());
        }
        let own = writer.member.to_string();
        let without_own = |shift: &Self| {
            let mut shift = shift.clone();
            shift.attendance.remove(&own);
            shift
        };
        if before.is_some_and(|before| without_own(before) == without_own(after)) {
            return Ok(());
        }
        Err(Invalid::new(
            "attendance",
            "is not the author's own, or more than that was changed",
            "a coordinator plans the shift; each checks in for themselves",
        ))
    }
}

impl Attendance {
    fn check(&self) -> Result<(), Invalid> {
        check_time("checked_in_ms", self.checked_in_ms)?;
        let Some(out_ms) = self.checked_out_ms else { return Ok(()) };
        check_time("checked_out_ms", out_ms)?;
        if out_ms < self.checked_in_ms {
            return Err(Invalid::new(
                "checked_out_ms",
                "lies before the check-in",
                "look at the phone's clock",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_VOLUNTEER;
    use crate::watch::testing::{refused, set_aside, writer};

    const START: i64 = 1_777_593_600_000;
    const HOUR: i64 = 3_600_000;

    fn shift(attendance: &[(&str, Attendance)]) -> Shift {
        Shift {
            title: "Friday evening".into(),
            starts_ms: START,
            ends_ms: START + 4 * HOUR,
            cells: vec!["g250:17675:-35908".into()],
            attendance: attendance.iter().cloned().collect(),
        }
    }

    fn came(checked_in_ms: i64, checked_out_ms: Option<i64>) -> Attendance {
        Attendance { checked_in_ms, checked_out_ms }
    }

    #[test]
    fn refusals_name_the_field() {
        let valid = shift(&[("member-1", came(START, Some(START + HOUR)))]);
        assert_eq!(refused(&valid, |s| s.title.clear()), "title");
        assert_eq!(refused(&valid, |s| s.ends_ms = START - 1), "ends_ms");
        assert_eq!(refused(&valid, |s| s.cells.clear()), "cells");
        assert_eq!(refused(&valid, |s| s.cells[0] = "39.73,-104.99".into()), "cell");
        assert_eq!(refused(&valid, |s| s.cells.push(s.cells[0].clone())), "cells[1]");
        let out = |s: &mut Shift| s.attendance.get_mut("member-1").unwrap().checked_out_ms = Some(START - 1);
        assert_eq!(refused(&valid, out), "attendance.member-1.checked_out_ms");
    }

    #[test]
    fn effort_is_the_hours_of_all_and_no_forgotten_check_out() {
        let everybody = shift(&[
            ("a", came(START, Some(START + 2 * HOUR))),
            ("b", came(START + HOUR, None)),
            ("c", came(START, Some(START + 90 * HOUR))),
            ("d", came(START + 9 * HOUR, None)),
        ]);
        assert_eq!(everybody.effort_ms(), (2 + 3 + 12) * HOUR);
        assert_eq!(shift(&[]).effort_ms(), 0);
    }

    #[test]
    fn each_checks_in_for_themselves_alone() {
        let volunteer = writer(1, ROLE_VOLUNTEER, Kind::SHIFT);
        let own = volunteer.member.to_string();
        let planned = shift(&[("other", came(START, None))]);
        let mut with_own = planned.clone();
        with_own.attendance.insert(own, came(START, None));
        let mut with_two = with_own.clone();
        with_two.attendance.insert("another".into(), came(START, None));
        let longer = Shift { ends_ms: START + 9 * HOUR, ..with_own.clone() };
        let aside = Some("attendance".to_owned());
        assert_eq!(set_aside(Some(&planned), &with_own, &volunteer), None);
        assert_eq!(set_aside(Some(&planned), &with_two, &volunteer), aside);
        assert_eq!(set_aside(Some(&planned), &longer, &volunteer), aside);
        assert_eq!(set_aside(None, &planned, &volunteer), aside);
        assert_eq!(set_aside(None, &planned, &writer(1, ROLE_COORDINATOR, Kind::SHIFT)), None);
    }
}
