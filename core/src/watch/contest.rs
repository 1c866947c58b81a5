//! A reporter contests what became of their report: 'closed' is not 'fixed'.

use super::check::{Invalid, check_code, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, Writer, ids, stored};
use super::correction::check_own;
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};

stored! {
    /// One contest. The liaison does not read it: it names the report. A coordinator takes it up with them.
    pub struct Contest {
        /// Id of the outcome, as text.
        pub outcome: String,
        /// Id of the reporter's own observation, as text.
        pub observation: String,
        /// A key of `codes/contest.json`.
        pub reason: String,
        /// In the reporter's words; may be empty unless the reason is another.
        pub text: String,
        /// When, in milliseconds since the Unix epoch, by the reporter's device.
        pub at_ms: i64,
    }
}

impl WatchDocument for Contest {
    const KIND: Kind = Kind::CONTEST;
    const MADE_BY: Option<&str> = Some("contest");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        check_id("outcome", &self.outcome)?;
        check_id("observation", &self.observation)?;
        check_code("reason", &self.reason, codes::contest())?;
        if self.reason == "other" {
            text::check_required("text", &self.text, TEXT_CHARS_MAX)?;
        }
        text::check("text", &self.text, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.reason.clone(),
            text: self.text.clone(),
            codes: vec![self.reason.clone()],
            about: ids([&self.outcome, &self.observation]),
            ..Summary::default()
        }
    }

    fn check_change(_: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        check_own("observation", &after.observation, writer.member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{refused, set_aside, writer};

    fn contest() -> Contest {
        Contest {
            outcome: "out-1".into(),
            observation: writer(1, 2, Kind::OBSERVATION).document.to_string(),
            reason: "not_resolved".into(),
            text: String::new(),
            at_ms: 1_767_225_600_000,
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&contest(), |c| c.outcome.clear()), "outcome");
        assert_eq!(refused(&contest(), |c| c.observation.clear()), "observation");
        assert_eq!(refused(&contest(), |c| c.reason = "angry".into()), "reason");
        assert_eq!(refused(&contest(), |c| c.reason = "other".into()), "text");
        assert_eq!(refused(&contest(), |c| c.text = "a\tb".into()), "text");
        assert_eq!(refused(&contest(), |c| c.at_ms = 0), "at_ms");
    }

    #[test]
    fn only_the_reporter_contests() {
        assert_eq!(set_aside(None, &contest(), &writer(1, 2, Kind::CONTEST)), None);
        assert_eq!(set_aside(None, &contest(), &writer(2, 2, Kind::CONTEST)), Some("observation".into()));
    }
}
