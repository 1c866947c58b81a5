//! What an author says afterwards about something they have sent: an amendment or a retraction, linked to it.
//!
//! What was sent stays as it was signed. Only its author can correct it: whose it is, its identity says, so every device
//! can tell without having it.

use super::check::{Invalid, check_code, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, Writer, ids, stored};
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};
use crate::base::{DocumentId, MemberId};
use crate::document::is_created_by;

/// [`Correction::correction`] of a retraction.
pub const RETRACTION: &str = "retraction";

stored! {
    /// One correction.
    pub struct Correction {
        /// Id of what is corrected, as text.
        pub target: String,
        /// A key of `codes/correction.json`.
        pub correction: String,
        /// What is right instead, or why it is taken back; never empty.
        pub text: String,
        /// When, in milliseconds since the Unix epoch, by the author's device.
        pub at_ms: i64,
    }
}

/// Whether any of the corrections takes its target back.
pub fn is_retracted<'a>(corrections: impl IntoIterator<Item = &'a Correction>) -> bool {
    corrections.into_iter().any(|correction| correction.correction == RETRACTION)
}

impl WatchDocument for Correction {
    const KIND: Kind = Kind::CORRECTION;
    const MADE_BY: Option<&str> = Some("correct");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        check_id("target", &self.target)?;
        check_code("correction", &self.correction, codes::correction())?;
        text::check_required("text", &self.text, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.correction.clone(),
            text: self.text.clone(),
            codes: vec![self.correction.clone()],
            about: ids([&self.target]),
            ..Summary::default()
        }
    }

    fn check_change(_: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        check_own("target", &after.target, writer.member)
    }
}

/// Numbers of the kinds of a watch group: not only those of this version, as later ones must judge alike.
const KINDS: std::ops::RangeInclusive<u16> = 1..=59;

/// Accepts the identity of a document of the watch group that `member` created.
pub(super) fn check_own(field: &str, id: &str, member: MemberId) -> Result<(), Invalid> {
    let id = DocumentId::parse(id).ok();
    if id.is_some_and(|id| KINDS.into_iter().any(|kind| is_created_by(id, member, kind))) {
        return Ok(());
    }
    Err(Invalid::new(field, "is not the author's own", "annotate what somebody else has written instead"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{refused, set_aside, writer};

    #[test]
    fn refusals_name_the_field() {
        let correction = Correction {
            target: "doc-1".into(),
            correction: "amendment".into(),
            text: "It was the other corner.".into(),
            at_ms: 1_767_225_600_000,
        };
        assert_eq!(refused(&correction, |c| c.target.clear()), "target");
        assert_eq!(refused(&correction, |c| c.correction = "undo".into()), "correction");
        assert_eq!(refused(&correction, |c| c.text.clear()), "text");
        assert_eq!(refused(&correction, |c| c.at_ms = -1), "at_ms");
        assert!(!is_retracted([&correction]));
        assert!(is_retracted([
            &correction,
            &Correction { correction: RETRACTION.into(), ..correction.clone() }
        ]));
    }

    #[test]
    fn nobody_corrects_what_somebody_else_wrote() {
        let report = writer(1, 2, Kind::OBSERVATION).document.to_string();
        let correction = Correction { target: report, ..Correction::default() };
        assert_eq!(set_aside(None, &correction, &writer(1, 2, Kind::CORRECTION)), None);
        assert_eq!(set_aside(None, &correction, &writer(2, 1, Kind::CORRECTION)), Some("target".into()));
        let nothing = Correction { target: "doc-1".into(), ..correction };
        assert_eq!(set_aside(None, &nothing, &writer(1, 2, Kind::CORRECTION)), Some("target".into()));
    }
}
