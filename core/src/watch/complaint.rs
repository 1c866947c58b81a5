//! A complaint. Whoever belongs may make one; the coordinators and the auditor read it, so that a complaint about a
//! coordinator reaches somebody else too.

use super::check::{Invalid, check_code, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, ids, stored};
use super::kinds::Kind;
use super::text::{self, TEXT_CHARS_MAX};

stored! {
    /// One complaint.
    pub struct Complaint {
        /// A key of `codes/complaint.json`.
        pub category: String,
        /// What happened.
        pub text: String,
        /// Id of a document it is about, as text; empty if none.
        pub about: String,
        /// Whether somebody should get in touch.
        pub wants_answer: bool,
        /// When, in milliseconds since the Unix epoch, by the author's device.
        pub at_ms: i64,
    }
}

impl WatchDocument for Complaint {
    const KIND: Kind = Kind::COMPLAINT;
    const MADE_BY: Option<&str> = Some("complain");

    fn validate(&self) -> Result<(), Invalid> {
        check_code("category", &self.category, codes::complaint())?;
        text::check_required("text", &self.text, TEXT_CHARS_MAX)?;
        if !self.about.is_empty() {
            check_id("about", &self.about)?;
        }
        check_time("at_ms", self.at_ms)
    }

    fn summary(&self) -> Summary {
        let flag = self.wants_answer.then(|| "wants_answer".to_owned());
        Summary {
            title: self.category.clone(),
            text: self.text.clone(),
            codes: vec![self.category.clone()],
            flags: flag.into_iter().collect(),
            about: ids([&self.about]),
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
        let complaint = Complaint {
            category: "profiling".into(),
            text: "A report said nothing but who was there.".into(),
            at_ms: 1_777_593_600_000,
            ..Complaint::default()
        };
        assert_eq!(refused(&complaint, |c| c.category = "weather".into()), "category");
        assert_eq!(refused(&complaint, |c| c.text = " ".into()), "text");
        assert_eq!(refused(&complaint, |c| c.about = "a b".into()), "about");
        assert_eq!(refused(&complaint, |c| c.at_ms = 0), "at_ms");
    }
}
