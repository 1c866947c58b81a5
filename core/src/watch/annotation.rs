//! What other members say about an observation.
//!
//! An observation belongs to its author alone, so questions, answers and the coordinators' marks are documents of their
//! own that point at it. Who wrote an annotation is known from its signature; a `status` counts if that was a
//! coordinator.

use super::check::{Invalid, check_id, check_optional_code};
use super::codes;
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};

/// A remark on a document of the group.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Annotation {
    /// Id of the document it is about, as text.
    #[autosurgeon(missing = "Default::default")]
    pub target: String,
    /// The remark; empty if the status says it all.
    #[autosurgeon(missing = "Default::default")]
    pub text: String,
    /// What was done with the target: a key of `codes/annotation_status.json`; empty for a plain remark.
    #[autosurgeon(missing = "Default::default")]
    pub status: String,
}

impl Annotation {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When the target is missing, the annotation says nothing, asks for information without saying which, or
    /// says that a copy was called back without the reason.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("target", &self.target)?;
        check_optional_code("status", &self.status, codes::annotation_status())?;
        let says_it_all = matches!(self.status.as_str(), "seen" | "acknowledged");
        if says_it_all && self.text.is_empty() {
            return Ok(());
        }
        text::check_required("text", &self.text, TEXT_CHARS_MAX)
    }
}

impl WatchDocument for Annotation {
    const KIND: Kind = Kind::ANNOTATION;
    const MADE_BY: Option<&str> = Some("annotate");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.status.clone(),
            text: self.text.clone(),
            codes: vec![self.status.clone()],
            about: ids([&self.target]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn question() -> Annotation {
        Annotation { target: "doc-1".into(), text: "Which door was it?".into(), status: "needs_info".into() }
    }

    #[test]
    fn a_remark_or_a_mark_is_enough() {
        assert_eq!(question().validate(), Ok(()));
        let remark = Annotation { status: String::new(), ..question() };
        assert_eq!(remark.validate(), Ok(()));
        for status in ["seen", "acknowledged"] {
            let mark = Annotation { status: status.into(), text: String::new(), ..question() };
            assert_eq!(mark.validate(), Ok(()), "{status}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        let refused = |edit: fn(&mut Annotation)| {
            let mut annotation = question();
            edit(&mut annotation);
            annotation.validate().unwrap_err().field
        };
        assert_eq!(refused(|a| a.target.clear()), "target");
        assert_eq!(refused(|a| a.status = "done".into()), "status");
        assert_eq!(refused(|a| a.text.clear()), "text");
        assert_eq!(refused(|a| a.text = "a\tb".into()), "text");
        assert_eq!(refused(|a| (a.text, a.status) = (String::new(), String::new())), "text");
        assert_eq!(refused(|a| (a.text, a.status) = ("\u{202E}".into(), "seen".into())), "text");
    }

    #[test]
    fn every_status_of_the_catalogue_is_either_enough_or_needs_words() {
        for entry in codes::annotation_status().entries() {
            let mark = Annotation { status: entry.code.clone(), text: String::new(), ..question() };
            let needs_words = matches!(entry.code.as_str(), "needs_info" | "recalled");
            assert_eq!(mark.validate().is_err(), needs_words, "{}", entry.code);
        }
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&question()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(target: String, text: String, status: String) {
            let annotation = Annotation { target, text, status };
            prop_assert_eq!(stored(&annotation), annotation);
        }
    }
}
