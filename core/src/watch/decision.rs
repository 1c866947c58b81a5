//! What the coordinators say to a request of the liaison.

use super::check::{Invalid, check_code, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::request::{Request, check_wording};
use super::text::{self, TEXT_CHARS_MAX};

/// [`Decision::decision`] of an approval.
pub const APPROVED: &str = "approved";

/// [`Decision::decision`] of a refusal.
pub const REFUSED: &str = "refused";

stored! {
    /// One coordinator's word on one request; it does not change.
    pub struct Decision {
        /// Id of the request, as text.
        pub request: String,
        /// A key of `codes/decision.json`.
        pub decision: String,
        /// Why; never empty, so that the liaison and the auditor can follow it.
        pub reason: String,
        /// When it was decided, in milliseconds since the Unix epoch, by the coordinator's device.
        pub at_ms: i64,
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has decided.
    Open,
    /// Somebody approved and nobody refused.
    Approved,
    /// Somebody refused. This stays so, whoever approved before or after: of two coordinators who decide at once, the more
    /// careful one prevails on every device.
    Refused,
}

/// Where a request stands, given every decision on it in any order.
pub fn standing<'a>(decisions: impl IntoIterator<Item = &'a Decision>) -> Standing {
    decisions.into_iter().fold(Standing::Open, |so_far, decision| match decision.decision.as_str() {
        REFUSED => Standing::Refused,
        APPROVED if so_far == Standing::Open => Standing::Approved,
        _ => so_far,
    })
}

impl Decision {
    /// Judges a decision together with what it is about: what could not be asked cannot be approved.
    ///
    /// # Errors
    /// As [`WatchDocument::validate`], and when a request is approved whose wording may not pass.
    pub fn validate_on(&self, request: &Request) -> Result<(), Invalid> {
        self.validate()?;
        if self.decision == APPROVED {
            check_wording("request.asks", &request.asks)?;
        }
        Ok(())
    }
}

impl WatchDocument for Decision {
    const KIND: Kind = Kind::DECISION;
    const MADE_BY: Option<&str> = Some("decide_request");

    fn validate(&self) -> Result<(), Invalid> {
        check_id("request", &self.request)?;
        check_code("decision", &self.decision, codes::decision())?;
        text::check_required("reason", &self.reason, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.decision.clone(),
            text: self.reason.clone(),
            codes: vec![self.decision.clone()],
            about: ids([&self.request]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;
    use proptest::prelude::*;

    fn decided(decision: &str) -> Decision {
        Decision {
            request: "req-1".into(),
            decision: decision.into(),
            reason: "It asks nobody to go anywhere".into(),
            at_ms: 1_767_225_600_000,
        }
    }

    #[test]
    fn refusals_name_the_field() {
        let approval = decided(APPROVED);
        assert_eq!(refused(&approval, |d| d.request.clear()), "request");
        assert_eq!(refused(&approval, |d| d.decision = "perhaps".into()), "decision");
        assert_eq!(refused(&approval, |d| d.reason = " ".into()), "reason");
        assert_eq!(refused(&approval, |d| d.at_ms = 0), "at_ms");
        let silent = Request::default();
        assert_eq!(approval.validate_on(&silent).unwrap_err().field, "request.asks");
        assert_eq!(decided(REFUSED).validate_on(&silent), Ok(()));
    }

    proptest! {
        #[test]
        fn a_refusal_prevails_in_any_order(
            approvals in proptest::collection::vec(any::<bool>(), 0..6).prop_shuffle(),
        ) {
            let decisions: Vec<Decision> =
                approvals.iter().map(|yes| decided(if *yes { APPROVED } else { REFUSED })).collect();
            let expected = if approvals.contains(&false) {
                Standing::Refused
            } else if approvals.is_empty() {
                Standing::Open
            } else {
                Standing::Approved
            };
            prop_assert_eq!(standing(&decisions), expected);
        }
    }
}
