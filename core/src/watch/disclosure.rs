//! The log of what left the group: one frozen document per outbound copy, saying what, to whom, why and when. A file that is
//! made of a release, and proof of its sources, are copies of their own.
//!
//! It names observations, so it lives where the liaison cannot read it.

use super::check::{Invalid, check_count, check_distinct, check_id, check_time};
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::roles::role_name;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};

/// Most observations, and most field names, of one disclosure.
pub const LIST_COUNT_MAX: usize = 1_000;

/// One outbound copy.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Disclosure {
    /// Id of the release, as text.
    #[autosurgeon(missing = "Default::default")]
    pub release: String,
    /// Ids of the observations it was made from, as text.
    #[autosurgeon(missing = "Default::default")]
    pub observations: Vec<String>,
    /// Id of the member who received it, as text; empty if nobody of the group did.
    #[autosurgeon(missing = "Default::default")]
    pub recipient: String,
    /// Who received it outside the group, in words: an office, such as 'Street lighting, City Hall'. Empty for a member.
    #[autosurgeon(missing = "Default::default")]
    pub outside: String,
    /// Id of the role in which a member received it; 0 outside the group.
    #[autosurgeon(missing = "Default::default")]
    pub recipient_role: u8,
    /// What for.
    #[autosurgeon(missing = "Default::default")]
    pub purpose: String,
    /// When, in milliseconds since the Unix epoch, by the coordinator's device.
    #[autosurgeon(missing = "Default::default")]
    pub at_ms: i64,
    /// Names of the fields that left, as [`Release::fields`](super::Release::fields) lists them.
    #[autosurgeon(missing = "Default::default")]
    pub what: Vec<String>,
}

impl Disclosure {
    /// Judges the coordinator's own input.
    ///
    /// # Errors
    /// When it does not say which observations and fields left, to whom, in which role, why or when.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        check_list("observations", &self.observations)?;
        for (i, observation) in self.observations.iter().enumerate() {
            check_id(&format!("observations[{i}]"), observation)?;
        }
        check_recipient(&self.recipient, &self.outside, self.recipient_role)?;
        text::check_required("purpose", &self.purpose, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)?;
        check_list("what", &self.what)?;
        for (i, field) in self.what.iter().enumerate() {
            text::check_required_line(&format!("what[{i}]"), field, LINE_CHARS_MAX)?;
        }
        Ok(())
    }
}

/// Accepts a member in their role, or somebody outside.
pub(super) fn check_recipient(recipient: &str, outside: &str, role: u8) -> Result<(), Invalid> {
    if !outside.is_empty() {
        if !recipient.is_empty() || role != 0 {
            return Err(Invalid::new("outside", "stands beside a member", "log one recipient at a time"));
        }
        return text::check_required_line("outside", outside, LINE_CHARS_MAX);
    }
    check_id("recipient", recipient)?;
    if role_name(role).is_none() {
        return Err(Invalid::new(
            "recipient_role",
            "is not a role of a watch group",
            "give the role the recipient has in the group",
        ));
    }
    Ok(())
}

fn check_list(field: &str, items: &[String]) -> Result<(), Invalid> {
    if items.is_empty() {
        return Err(Invalid::new(field, "is empty", "list everything that left"));
    }
    check_count(field, items.len(), LIST_COUNT_MAX)?;
    check_distinct(field, items.iter().map(String::as_str))
}

impl WatchDocument for Disclosure {
    const KIND: Kind = Kind::DISCLOSURE;
    const MADE_BY: Option<&str> = Some("release");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "disclosure".to_owned(),
            text: self.purpose.clone(),
            about: ids(self.observations.iter().chain([&self.release])),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_LIAISON;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn disclosure() -> Disclosure {
        Disclosure {
            release: "rel-1".into(),
            observations: vec!["obs-1".into(), "obs-2".into()],
            recipient: "officer".into(),
            outside: String::new(),
            recipient_role: ROLE_LIAISON,
            purpose: "Problem solving with the sector officer".into(),
            at_ms: 1_767_225_600_000,
            what: vec!["behaviours".into(), "when".into()],
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(disclosure().validate(), Ok(()));
        let refused = |edit: fn(&mut Disclosure)| {
            let mut disclosure = disclosure();
            edit(&mut disclosure);
            disclosure.validate().unwrap_err().field
        };
        assert_eq!(refused(|d| d.release.clear()), "release");
        assert_eq!(refused(|d| d.observations.clear()), "observations");
        assert_eq!(refused(|d| d.observations[1] = "obs-1".into()), "observations[1]");
        assert_eq!(refused(|d| d.observations[0].clear()), "observations[0]");
        assert_eq!(refused(|d| d.recipient.clear()), "recipient");
        assert_eq!(refused(|d| d.recipient_role = 0), "recipient_role");
        assert_eq!(refused(|d| d.outside = "City Hall".into()), "outside");
        let outside = Disclosure {
            recipient: String::new(),
            recipient_role: 0,
            outside: "City Hall".into(),
            ..disclosure()
        };
        assert_eq!(outside.validate(), Ok(()));
        assert_eq!(refused(|d| d.purpose.clear()), "purpose");
        assert_eq!(refused(|d| d.at_ms = 0), "at_ms");
        assert_eq!(refused(|d| d.what.clear()), "what");
        assert_eq!(refused(|d| d.what[1] = "a\nb".into()), "what[1]");
        let many = |d: &mut Disclosure| d.what = (0..=LIST_COUNT_MAX).map(|i| i.to_string()).collect();
        assert_eq!(refused(many), "what");
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&disclosure()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            (release, recipient, outside, purpose) in any::<(String, String, String, String)>(),
            observations in proptest::collection::vec(any::<String>(), 0..4),
            what in proptest::collection::vec(any::<String>(), 0..4),
            recipient_role: u8, at_ms: i64,
        ) {
            let disclosure = Disclosure {
                release, observations, recipient, outside, recipient_role, purpose, at_ms, what,
            };
            prop_assert_eq!(stored(&disclosure), disclosure);
        }
    }
}
