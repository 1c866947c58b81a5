//! A release is called back: its recipient is told not to use it any more, and why.

use super::check::{Invalid, check_code, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};
use std::collections::BTreeSet;

stored! {
    /// One recall; it does not change, and a release that was recalled stays so.
    pub struct Recall {
        /// Id of the release, as text.
        pub release: String,
        /// A key of `codes/recall.json`.
        pub reason: String,
        /// What the recipient should know; may be empty.
        pub text: String,
        /// Id of the revision that takes its place, as text; empty if none does.
        pub replaced_by: String,
        /// When, in milliseconds since the Unix epoch, by the coordinator's device.
        pub at_ms: i64,
    }
}

/// A release that has to be called back, and why: what the coordinators are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecallDue {
    /// Id of the release, as text.
    pub release: String,
    /// A key of `codes/recall.json`.
    pub reason: &'static str,
}

/// Releases that rest on an observation which may not be passed on any more and are not recalled yet.
///
/// `handed_over` are pairs of a release and an observation behind it; `withdrawn` and `retracted` are observations. All are
/// ids as text.
pub fn recalls_due<'a>(
    handed_over: impl IntoIterator<Item = (&'a str, &'a str)>,
    withdrawn: &BTreeSet<String>,
    retracted: &BTreeSet<String>,
    recalled: &BTreeSet<String>,
) -> BTreeSet<RecallDue> {
    let due = handed_over.into_iter().filter(|(release, _)| !recalled.contains(*release));
    let due = due.filter_map(|(release, observation)| {
        let reason = match observation {
            gone if withdrawn.contains(gone) => "consent_withdrawn",
            wrong if retracted.contains(wrong) => "corrected",
            _ => return None,
        };
        Some(RecallDue { release: release.to_owned(), reason })
    });
    due.collect()
}

impl WatchDocument for Recall {
    const KIND: Kind = Kind::RECALL;
    const MADE_BY: Option<&str> = Some("recall");

    fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        check_code("reason", &self.reason, codes::recall())?;
        text::check("text", &self.text, TEXT_CHARS_MAX)?;
        if !self.replaced_by.is_empty() {
            check_id("replaced_by", &self.replaced_by)?;
        }
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.reason.clone(),
            text: self.text.clone(),
            codes: vec![self.reason.clone()],
            about: ids([&self.release, &self.replaced_by]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    #[test]
    fn refusals_name_the_field() {
        let recall = Recall {
            release: "rel-1".into(),
            reason: "unlinked".into(),
            at_ms: 1_767_225_600_000,
            ..Recall::default()
        };
        assert_eq!(refused(&recall, |r| r.release.clear()), "release");
        assert_eq!(refused(&recall, |r| r.reason = "regret".into()), "reason");
        assert_eq!(refused(&recall, |r| r.text = "\u{202E}".into()), "text");
        assert_eq!(refused(&recall, |r| r.replaced_by = "a b".into()), "replaced_by");
        assert_eq!(refused(&recall, |r| r.at_ms = 0), "at_ms");
    }

    #[test]
    fn what_may_not_be_used_any_more_is_due_until_it_is_recalled() {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let handed_over = [("r1", "a"), ("r1", "b"), ("r2", "c"), ("r3", "b"), ("r4", "d")];
        let due = recalls_due(handed_over, &set(&["b"]), &set(&["c"]), &set(&["r3"]));
        let due: Vec<_> = due.iter().map(|due| (due.release.as_str(), due.reason)).collect();
        assert_eq!(due, [("r1", "consent_withdrawn"), ("r2", "corrected")]);
    }
}
