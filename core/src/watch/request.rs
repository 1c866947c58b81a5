//! What the liaison asks of the group, and the gate it passes through before a volunteer sees it.
//!
//! A request is addressed to the coordinators: volunteers cannot read it. A coordinator decides (see
//! [`decision`](super::decision)), and what is approved is passed on as a bulletin or a remark.

use super::check::{Invalid, check_id, check_time};
use super::content::{Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};

stored! {
    /// One request.
    pub struct Request {
        /// What is asked, such as 'if you happen to see the van again, note when'.
        pub asks: String,
        /// What the answer is wanted for.
        pub purpose: String,
        /// Id of the release or problem it follows from, as text; empty if none.
        pub about: String,
        /// Until when an answer helps, in milliseconds since the Unix epoch.
        pub until_ms: Option<i64>,
        /// When it was asked, in milliseconds since the Unix epoch, by the liaison's device.
        pub at_ms: i64,
    }
}

impl WatchDocument for Request {
    const KIND: Kind = Kind::REQUEST;
    const MADE_BY: Option<&str> = Some("ask");

    fn validate(&self) -> Result<(), Invalid> {
        check_wording("asks", &self.asks)?;
        text::check_required("purpose", &self.purpose, TEXT_CHARS_MAX)?;
        if !self.about.is_empty() {
            check_id("about", &self.about)?;
        }
        if let Some(until_ms) = self.until_ms {
            check_time("until_ms", until_ms)?;
        }
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "request".to_owned(),
            text: self.asks.clone(),
            when_ms: self.until_ms,
            about: ids([&self.about]),
            ..Summary::default()
        }
    }
}

/// What may be asked of residents: the one place at which the wording of a request is judged, when it is written and again
/// when it is approved.
pub(super) fn check_wording(field: &str, asks: &str) -> Result<(), Invalid> {
    text::check_required(field, asks, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    #[test]
    fn refusals_name_the_field() {
        let request = Request {
            asks: "If you happen to see the van again, please note when.".into(),
            purpose: "To know whether it still comes".into(),
            at_ms: 1_767_225_600_000,
            ..Request::default()
        };
        assert_eq!(refused(&request, |r| r.asks.clear()), "asks");
        assert_eq!(refused(&request, |r| r.purpose = " ".into()), "purpose");
        assert_eq!(refused(&request, |r| r.about = "a b".into()), "about");
        assert_eq!(refused(&request, |r| r.until_ms = Some(0)), "until_ms");
        assert_eq!(refused(&request, |r| r.at_ms = 0), "at_ms");
    }
}
