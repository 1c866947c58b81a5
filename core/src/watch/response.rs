//! What the liaison answers to a release.
//!
//! One document per release moves from `received` to `closed`; its history keeps every step under the signature of who
//! took it. The reason stays between the liaison and the coordinators; what every member sees is the
//! [`Outcome`](super::Outcome).

use super::check::{Invalid, check_code, check_id, check_optional_code, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::outcome::{ANSWER, check_closed};
use super::text::{self, TEXT_CHARS_MAX};
use crate::base::{DocumentId, MemberId};
use crate::document::derive_id;
use autosurgeon::{Hydrate, Reconcile};

/// The liaison's answer.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Response {
    /// Id of the release it answers, as text.
    #[autosurgeon(missing = "Default::default")]
    pub release: String,
    /// Where the release stands: a key of `codes/response_status.json`.
    #[autosurgeon(missing = "Default::default")]
    pub status: String,
    /// What became of it: a key of `codes/outcome.json`; empty until known.
    #[autosurgeon(missing = "Default::default")]
    pub outcome: String,
    /// Why, or what is needed; may be empty.
    #[autosurgeon(missing = "Default::default")]
    pub reason: String,
    /// When it was answered, in milliseconds since the Unix epoch, by the liaison's device.
    #[autosurgeon(missing = "Default::default")]
    pub at_ms: i64,
}

impl Response {
    /// The identity of a member's response to a release (PROTOCOL.md §6.2): one, from however many devices.
    pub fn id(member: MemberId, release: DocumentId) -> DocumentId {
        derive_id(member, Kind::RESPONSE.0, ANSWER, release.as_bytes())
    }

    /// Judges the liaison's own input.
    ///
    /// # Errors
    /// When the release or the status is missing or unknown, it is closed without an outcome, or asks for information
    /// without saying which.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        check_code("status", &self.status, codes::response_status())?;
        check_optional_code("outcome", &self.outcome, codes::outcome())?;
        check_closed(&self.status, &self.outcome)?;
        if self.status == "needs_info" {
            text::check_required("reason", &self.reason, TEXT_CHARS_MAX)?;
        }
        text::check("reason", &self.reason, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)
    }
}

impl WatchDocument for Response {
    const KIND: Kind = Kind::RESPONSE;
    const MADE_BY: Option<&str> = Some("respond");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.status.clone(),
            text: self.reason.clone(),
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

    fn closed() -> Response {
        Response {
            release: "rel-1".into(),
            status: "closed".into(),
            outcome: "city_services".into(),
            reason: "Light repaired, lock replaced".into(),
            at_ms: 1_767_225_600_000,
        }
    }

    #[test]
    fn every_status_can_be_given() {
        for entry in codes::response_status().entries() {
            let response = Response { status: entry.code.clone(), ..closed() };
            assert_eq!(response.validate(), Ok(()), "{}", entry.code);
        }
        let received =
            Response { status: "received".into(), outcome: String::new(), reason: String::new(), ..closed() };
        assert_eq!(received.validate(), Ok(()));
    }

    #[test]
    fn refusals_name_the_field() {
        let refused = |edit: fn(&mut Response)| {
            let mut response = closed();
            edit(&mut response);
            response.validate().unwrap_err().field
        };
        assert_eq!(refused(|r| r.release.clear()), "release");
        assert_eq!(refused(|r| r.status.clear()), "status");
        assert_eq!(refused(|r| r.status = "solved".into()), "status");
        assert_eq!(refused(|r| r.outcome = "arrest".into()), "outcome");
        assert_eq!(refused(|r| r.outcome.clear()), "outcome");
        assert_eq!(refused(|r| (r.status, r.reason) = ("needs_info".into(), " ".into())), "reason");
        assert_eq!(refused(|r| r.reason = "a\u{202E}b".into()), "reason");
        assert_eq!(refused(|r| r.at_ms = -1), "at_ms");
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&closed()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            release: String, status: String, outcome: String, reason: String, at_ms: i64,
        ) {
            let response = Response { release, status, outcome, reason, at_ms };
            prop_assert_eq!(stored(&response), response);
        }
    }
}
