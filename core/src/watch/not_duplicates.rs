//! That two reports tell of two events, said by a coordinator, so that nobody is asked again.
//!
//! Each statement is a document of its own: two coordinators who say so at once do not meet. The two reports are suggested
//! again once every such statement was taken back.

use super::check::{Invalid, check_id};
use super::content::{Summary, WatchDocument, Writer, ids};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};

/// Two reports that are not of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct NotDuplicates {
    /// Id of one observation, as text: the smaller of the two.
    #[autosurgeon(missing = "Default::default")]
    pub first: String,
    /// Id of the other observation, as text.
    #[autosurgeon(missing = "Default::default")]
    pub second: String,
    /// Why; may be empty.
    #[autosurgeon(missing = "Default::default")]
    pub reason: String,
    /// Id of the member who took it back, as text; empty while it stands.
    #[autosurgeon(missing = "Default::default")]
    pub taken_back_by: String,
}

impl NotDuplicates {
    /// The statement about two observations, in whichever order they are given.
    pub fn new(one: impl Into<String>, other: impl Into<String>, reason: impl Into<String>) -> Self {
        let (one, other) = (one.into(), other.into());
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        Self { first, second, reason: reason.into(), taken_back_by: String::new() }
    }

    /// Whether it has not been taken back.
    pub fn stands(&self) -> bool {
        self.taken_back_by.is_empty()
    }

    /// Judges the coordinator's own input.
    ///
    /// # Errors
    /// When an observation is missing, both are the same, or the reason is too long.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("first", &self.first)?;
        check_id("second", &self.second)?;
        if self.first >= self.second {
            return Err(Invalid::new(
                "second",
                "is not another observation, in order",
                "name two, with `NotDuplicates::new`",
            ));
        }
        text::check_line("reason", &self.reason, LINE_CHARS_MAX)?;
        if self.stands() {
            return Ok(());
        }
        check_id("taken_back_by", &self.taken_back_by)
    }
}

impl WatchDocument for NotDuplicates {
    const KIND: Kind = Kind::NOT_DUPLICATES;
    const MADE_BY: Option<&str> = Some("not_duplicates");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "not duplicates".to_owned(),
            text: self.reason.clone(),
            about: if self.stands() { ids([&self.first, &self.second]) } else { Vec::new() },
            ..Summary::default()
        }
    }

    fn check_change(before: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        let refused = |field: &str, problem: &str| {
            Err(Invalid::new(field, problem, "say it in your own name, or take back what was said"))
        };
        let said = |it: &Self| (it.first.clone(), it.second.clone(), it.reason.clone());
        if before.is_some_and(|before| said(before) != said(after)) {
            return refused("first", "is not what was said");
        }
        let taken_back_before = before.map_or("", |before| before.taken_back_by.as_str());
        let by_writer = after.taken_back_by == writer.member.to_string();
        if after.taken_back_by == taken_back_before || (taken_back_before.is_empty() && by_writer) {
            return Ok(());
        }
        refused("taken_back_by", "names somebody else")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{keeps_what_it_does_not_know, set_aside, stored, writer};
    use proptest::prelude::*;

    #[test]
    fn order_does_not_matter_and_two_are_two() {
        let said = NotDuplicates::new("obs-2", "obs-1", "another car");
        assert_eq!(said, NotDuplicates::new("obs-1", "obs-2", "another car"));
        assert_eq!(said.validate(), Ok(()));
        let refused = |said: NotDuplicates| said.validate().unwrap_err().field;
        assert_eq!(refused(NotDuplicates::new("obs-1", "obs-1", "")), "second");
        assert_eq!(refused(NotDuplicates::new("", "obs-1", "")), "first");
        assert_eq!(refused(NotDuplicates::new("obs-1", "obs-2", "a\nb")), "reason");
        assert_eq!(refused(NotDuplicates { taken_back_by: "a b".into(), ..said }), "taken_back_by");
    }

    #[test]
    fn nobody_takes_back_in_anothers_name() {
        let (ana, said) =
            (writer(1, 1, Kind::NOT_DUPLICATES), NotDuplicates::new("obs-1", "obs-2", "another car"));
        let by = |who: &str| NotDuplicates { taken_back_by: who.to_owned(), ..said.clone() };
        let own = by(&ana.member.to_string());
        assert_eq!(set_aside(None, &said, &ana), None);
        assert_eq!(set_aside(Some(&said), &own, &ana), None);
        assert_eq!(set_aside(Some(&said), &by("ben"), &ana), Some("taken_back_by".into()));
        assert_eq!(set_aside(Some(&by("ben")), &own, &ana), Some("taken_back_by".into()));
        assert_eq!(set_aside(Some(&own), &said, &ana), Some("taken_back_by".into()));
        let other = NotDuplicates::new("obs-1", "obs-3", "another car");
        assert_eq!(set_aside(Some(&said), &other, &ana), Some("first".into()));
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&NotDuplicates::new("obs-1", "obs-2", "another car")));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(one: String, other: String, reason: String, taken_back_by: String) {
            let said = NotDuplicates { taken_back_by, ..NotDuplicates::new(one, other, reason) };
            prop_assert_eq!(stored(&said), said);
        }
    }
}
