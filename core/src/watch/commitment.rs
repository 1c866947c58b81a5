//! What a local business commits itself to. It is handed to the coordinators; the business sees its own and nobody else's.

use super::check::{Invalid, check_code, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, codes_of, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

stored! {
    /// One commitment.
    pub struct Commitment {
        /// What the business is called.
        pub business: String,
        /// A key of `codes/commitment.json`.
        pub what: String,
        /// In the business's words; may be empty unless it is something else.
        pub detail: String,
        /// From when on, in milliseconds since the Unix epoch.
        pub from_ms: i64,
        /// Until when, in milliseconds since the Unix epoch; none if it is meant to last.
        pub until_ms: Option<i64>,
        /// A key of `codes/commitment_status.json`.
        pub status: String,
    }
}

impl WatchDocument for Commitment {
    const KIND: Kind = Kind::COMMITMENT;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("business", &self.business, LINE_CHARS_MAX)?;
        check_code("what", &self.what, codes::commitment())?;
        if self.what == "other" {
            text::check_required("detail", &self.detail, TEXT_CHARS_MAX)?;
        }
        text::check("detail", &self.detail, TEXT_CHARS_MAX)?;
        check_time("from_ms", self.from_ms)?;
        if let Some(until_ms) = self.until_ms {
            check_time("until_ms", until_ms)?;
            if until_ms <= self.from_ms {
                return Err(Invalid::new(
                    "until_ms",
                    "does not lie after the start",
                    "choose a later day or none",
                ));
            }
        }
        check_code("status", &self.status, codes::commitment_status())
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.business.clone(),
            text: self.detail.clone(),
            when_ms: Some(self.from_ms),
            codes: codes_of([&self.what, &self.status]),
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
        let commitment = Commitment {
            business: "Corner store".into(),
            what: "lighting".into(),
            from_ms: 1_777_593_600_000,
            status: "offered".into(),
            ..Commitment::default()
        };
        assert_eq!(refused(&commitment, |c| c.business.clear()), "business");
        assert_eq!(refused(&commitment, |c| c.what = "prayer".into()), "what");
        assert_eq!(refused(&commitment, |c| c.what = "other".into()), "detail");
        assert_eq!(refused(&commitment, |c| c.from_ms = 0), "from_ms");
        assert_eq!(refused(&commitment, |c| c.until_ms = Some(c.from_ms)), "until_ms");
        assert_eq!(refused(&commitment, |c| c.status = "broken".into()), "status");
    }
}
