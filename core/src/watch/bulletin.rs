//! What the group is told, until a day, in several languages.

use super::blur::Cell;
use super::check::{Invalid, check_code, check_time};
use super::codes;
use super::content::{Keyed, Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::language::{Said, check_said, in_language};

/// Longest time that a bulletin stays on the front page in milliseconds: 90 days. What holds for longer is a resource.
pub const LASTS_MS_MAX: i64 = 90 * 86_400_000;

stored! {
    /// One bulletin. It is about things and places, never about a person.
    pub struct Bulletin {
        /// A key of `codes/bulletin_category.json`.
        pub category: String,
        /// What it says, by language.
        pub texts: Keyed<Said>,
        /// Public grid cell; empty if it is for everywhere.
        pub cell: String,
        /// When it was issued, in milliseconds since the Unix epoch, by the author's device.
        pub issued_ms: i64,
        /// When it leaves the front page, in milliseconds since the Unix epoch.
        pub expires_ms: i64,
        /// Whether it was taken back before.
        pub cancelled: bool,
    }
}

impl Bulletin {
    /// Whether it is on the front page at a time given in milliseconds since the Unix epoch.
    pub fn is_current(&self, now_ms: i64) -> bool {
        !self.cancelled && now_ms < self.expires_ms
    }

    /// What a reader of a language is shown.
    pub fn said(&self, lang: &str) -> Option<&Said> {
        in_language(&self.texts, lang)
    }
}

impl WatchDocument for Bulletin {
    const KIND: Kind = Kind::BULLETIN;

    fn validate(&self) -> Result<(), Invalid> {
        check_code("category", &self.category, codes::bulletin_category())?;
        check_said("texts", &self.texts)?;
        if !self.cell.is_empty() {
            self.cell.parse::<Cell>()?;
        }
        check_time("issued_ms", self.issued_ms)?;
        check_time("expires_ms", self.expires_ms)?;
        if (1..=LASTS_MS_MAX).contains(&self.expires_ms.saturating_sub(self.issued_ms)) {
            return Ok(());
        }
        Err(Invalid::new(
            "expires_ms",
            "does not lie within 90 days after it is issued",
            "say until when it matters; what stays true belongs into the directory",
        ))
    }

    fn summary(&self) -> Summary {
        let said = self.said("en").cloned().unwrap_or_default();
        Summary {
            title: said.title,
            text: said.text,
            when_ms: Some(self.expires_ms),
            cell: self.cell.clone(),
            codes: vec![self.category.clone()],
            flags: if self.cancelled { vec!["cancelled".to_owned()] } else { Vec::new() },
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    const MAY: i64 = 1_777_593_600_000;

    fn bulletin() -> Bulletin {
        let said = |title: &str| Said { title: title.into(), text: "At seven.".into() };
        Bulletin {
            category: "meeting".into(),
            texts: Keyed::from_iter([("en", said("Meeting")), ("es", said("Reunión"))]),
            issued_ms: MAY,
            expires_ms: MAY + 86_400_000,
            ..Bulletin::default()
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&bulletin(), |b| b.category = "wanted".into()), "category");
        assert_eq!(refused(&bulletin(), |b| b.texts.clear()), "texts");
        assert_eq!(refused(&bulletin(), |b| b.texts.get_mut("es").unwrap().title.clear()), "texts.es.title");
        assert_eq!(refused(&bulletin(), |b| _ = b.texts.insert("Spanish".into(), Said::default())), "texts");
        assert_eq!(refused(&bulletin(), |b| b.cell = "here".into()), "cell");
        assert_eq!(refused(&bulletin(), |b| b.issued_ms = 0), "issued_ms");
        assert_eq!(refused(&bulletin(), |b| b.expires_ms = MAY), "expires_ms");
        assert_eq!(refused(&bulletin(), |b| b.expires_ms = MAY + LASTS_MS_MAX + 1), "expires_ms");
    }

    #[test]
    fn what_has_expired_or_was_taken_back_leaves_the_front_page() {
        assert!(bulletin().is_current(MAY + 86_399_999));
        assert!(!bulletin().is_current(MAY + 86_400_000));
        assert!(!Bulletin { cancelled: true, ..bulletin() }.is_current(MAY));
        assert_eq!(bulletin().said("es-MX").unwrap().title, "Reunión");
    }
}
