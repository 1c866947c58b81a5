//! What every member may know of a liaison's answer: that there is one, and what became of the matter.
//!
//! It names the release and no observation. A volunteer's device finds out which report it concerns through the
//! [`Disclosure`](super::Disclosure), which the liaison cannot read.

use super::check::{Invalid, check_code, check_id, check_optional_code, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::response::Response;
use crate::base::{DocumentId, MemberId};
use crate::document::derive_id;
use autosurgeon::{Hydrate, Reconcile};

/// What the identities of a release's response and outcome are derived by.
pub(super) const ANSWER: &[u8] = b"lamppost/1/answer";

/// The public part of a response.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Outcome {
    /// Id of the release, as text.
    #[autosurgeon(missing = "Default::default")]
    pub release: String,
    /// Where the release stands: a key of `codes/response_status.json`.
    #[autosurgeon(missing = "Default::default")]
    pub status: String,
    /// What became of it: a key of `codes/outcome.json`; empty until known.
    #[autosurgeon(missing = "Default::default")]
    pub outcome: String,
    /// When it was answered, in milliseconds since the Unix epoch, by the liaison's device.
    #[autosurgeon(missing = "Default::default")]
    pub at_ms: i64,
}

impl Outcome {
    /// The identity of a member's outcome to a release (PROTOCOL.md §6.2): one, from however many devices.
    pub fn id(member: MemberId, release: DocumentId) -> DocumentId {
        derive_id(member, Kind::OUTCOME.0, ANSWER, release.as_bytes())
    }

    /// Judges the liaison's own input.
    ///
    /// # Errors
    /// When the release or the status is missing or unknown, or it is closed without an outcome.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        check_code("status", &self.status, codes::response_status())?;
        check_optional_code("outcome", &self.outcome, codes::outcome())?;
        check_closed(&self.status, &self.outcome)?;
        check_time("at_ms", self.at_ms)
    }

    /// Which of several answers to a release stands, should two liaisons have begun one each: the greatest. Each moves on by
    /// itself, whatever clocks say.
    pub fn order(&self) -> (i64, &str, &str) {
        (self.at_ms, &self.status, &self.outcome)
    }

    /// Whether it says what became of the matter. Two who answer at once can leave it closed without an outcome: then it is
    /// open.
    pub fn is_closed(&self) -> bool {
        self.status == "closed" && !self.outcome.is_empty()
    }
}

impl From<&Response> for Outcome {
    fn from(response: &Response) -> Self {
        Self {
            release: response.release.clone(),
            status: response.status.clone(),
            outcome: response.outcome.clone(),
            at_ms: response.at_ms,
        }
    }
}

/// Accepts `closed` only with an outcome; `cannot_say` is one.
pub(super) fn check_closed(status: &str, outcome: &str) -> Result<(), Invalid> {
    if status == "closed" && outcome.is_empty() {
        return Err(Invalid::new(
            "outcome",
            "is missing although the matter is closed",
            "say what became of it, or that it cannot be told",
        ));
    }
    Ok(())
}

impl WatchDocument for Outcome {
    const KIND: Kind = Kind::OUTCOME;
    const MADE_BY: Option<&str> = Some("respond");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.status.clone(),
            codes: vec![self.status.clone(), self.outcome.clone()],
            about: ids([&self.release]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn closed() -> Outcome {
        Outcome {
            release: "rel-1".into(),
            status: "closed".into(),
            outcome: "cannot_say".into(),
            at_ms: 1_767_225_600_000,
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(closed().validate(), Ok(()));
        let refused = |edit: fn(&mut Outcome)| {
            let mut outcome = closed();
            edit(&mut outcome);
            outcome.validate().unwrap_err().field
        };
        assert_eq!(refused(|o| o.release.clear()), "release");
        assert_eq!(refused(|o| o.status = "solved".into()), "status");
        assert_eq!(refused(|o| o.outcome = "arrest".into()), "outcome");
        assert_eq!(refused(|o| o.outcome.clear()), "outcome");
        assert_eq!(refused(|o| o.at_ms = 0), "at_ms");
    }

    #[test]
    fn the_public_part_leaves_the_reason_behind() {
        let response = Response {
            release: "rel-1".into(),
            status: "closed".into(),
            outcome: "warning".into(),
            reason: "REASON".into(),
            at_ms: 7,
        };
        let outcome = Outcome::from(&response);
        assert_eq!((outcome.outcome.as_str(), outcome.at_ms), ("warning", 7));
        assert!(!format!("{outcome:?}").contains("REASON"));
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&closed()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(release: String, status: String, outcome: String, at_ms: i64) {
            let outcome = Outcome { release, status, outcome, at_ms };
            prop_assert_eq!(stored(&outcome), outcome);
        }
    }
}
