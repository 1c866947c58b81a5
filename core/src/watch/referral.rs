//! Somebody asked for help, and consents that a health or social service is told.
//!
//! It lives in a compartment of its own, whose key the health partners alone hold: neither the liaison nor another
//! volunteer can open it.

use super::check::{Invalid, check_code, check_codes, check_id, check_time};
use super::codes;
use super::content::{Summary, WatchDocument, Writer, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

/// What goes with each referral: statement 2 of 42 CFR 2.32(a), as amended in 2024 (89 FR 12472). Whether that part binds a group or a
/// service is for them to find out; the sentence does no harm where it does not.
pub const REDISCLOSURE_NOTICE: &str =
    "42 CFR part 2 prohibits unauthorized use or disclosure of these records.";

stored! {
    /// One referral.
    pub struct Referral {
        /// Id of the partner it is meant for, as text; empty if any may take it.
        pub partner: String,
        /// What is asked for: keys of `codes/services.json`.
        pub services: Vec<String>,
        /// A key of `codes/urgency.json`.
        pub urgency: String,
        /// What the service should know, as far as the consent goes.
        pub text: String,
        /// How the person wants to be reached.
        pub contact: String,
        /// What the person consents to.
        pub consent: Consent,
        /// [`REDISCLOSURE_NOTICE`].
        pub notice: String,
    }

    /// A consent, as it was given.
    pub struct Consent {
        /// A key of `codes/consent_giver.json`.
        pub given_by: String,
        /// When, in milliseconds since the Unix epoch.
        pub given_ms: i64,
        /// What may be told, for what, in words.
        pub covers: String,
        /// When it ends, in milliseconds since the Unix epoch.
        pub ends_ms: i64,
        /// When it was withdrawn, in milliseconds since the Unix epoch; none while it stands.
        pub withdrawn_ms: Option<i64>,
    }
}

impl Referral {
    /// Takes the consent back. What the service has read it has read; the referral does not show it any more.
    pub fn withdraw(&mut self, now_ms: i64) {
        self.consent.withdrawn_ms = Some(now_ms);
        self.text.clear();
        self.contact.clear();
    }

    /// Whether it may be acted on, at a time given in milliseconds since the Unix epoch.
    pub fn is_standing(&self, now_ms: i64) -> bool {
        self.consent.withdrawn_ms.is_none() && now_ms < self.consent.ends_ms
    }
}

impl Consent {
    fn check(&self) -> Result<(), Invalid> {
        check_code("given_by", &self.given_by, codes::consent_giver())?;
        check_time("given_ms", self.given_ms)?;
        text::check_not_blank("covers", &self.covers)?;
        check_time("ends_ms", self.ends_ms)?;
        if self.ends_ms > self.given_ms {
            return Ok(());
        }
        Err(Invalid::new("ends_ms", "does not lie after it was given", "ask until when the consent is given"))
    }
}

impl WatchDocument for Referral {
    const KIND: Kind = Kind::REFERRAL;
    const MADE_BY: Option<&str> = Some("refer");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        if !self.partner.is_empty() {
            check_id("partner", &self.partner)?;
        }
        if self.services.is_empty() {
            return Err(Invalid::new("services", "is empty", "say what is asked for"));
        }
        check_codes("services", &self.services, codes::services(), codes::services().entries().len())?;
        check_code("urgency", &self.urgency, codes::urgency())?;
        text::check("text", &self.text, TEXT_CHARS_MAX)?;
        text::check_line("contact", &self.contact, LINE_CHARS_MAX)?;
        if self.consent.withdrawn_ms.is_none() {
            text::check_required_line("contact", &self.contact, LINE_CHARS_MAX)?;
        }
        text::check("consent.covers", &self.consent.covers, TEXT_CHARS_MAX)?;
        self.check_bound()
    }

    fn summary(&self) -> Summary {
        let flag = self.consent.withdrawn_ms.map(|_| "consent_withdrawn".to_owned());
        Summary {
            title: self.services.join(", "),
            text: self.text.clone(),
            codes: self.services.iter().chain([&self.urgency]).cloned().collect(),
            flags: flag.into_iter().collect(),
            ..Summary::default()
        }
    }

    fn check_change(before: Option<&Self>, after: &Self, _: &Writer) -> Result<(), Invalid> {
        after.check_bound()?;
        let was_withdrawn = before.is_some_and(|before| before.consent.withdrawn_ms.is_some());
        if was_withdrawn && after.consent.withdrawn_ms.is_none() {
            return Err(Invalid::new(
                "consent.withdrawn_ms",
                "is undone",
                "a consent that was withdrawn is given anew by another referral",
            ));
        }
        Ok(())
    }
}

impl Referral {
    /// Whether consent and notice go with it.
    fn check_bound(&self) -> Result<(), Invalid> {
        self.consent.check().map_err(|e| e.within("consent"))?;
        if self.notice == REDISCLOSURE_NOTICE {
            return Ok(());
        }
        Err(Invalid::new("notice", "is not the notice of 42 CFR 2.32", "leave it as Lamppost fills it in"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_VOLUNTEER;
    use crate::watch::testing::{refused, set_aside, writer};

    const MAY: i64 = 1_777_593_600_000;

    fn referral() -> Referral {
        Referral {
            services: vec!["treatment".into()],
            urgency: "soon".into(),
            text: "Wants to stop, has asked twice".into(),
            contact: "By telephone after six".into(),
            consent: Consent {
                given_by: "self".into(),
                given_ms: MAY,
                covers: "That I ask for treatment, to the clinic".into(),
                ends_ms: MAY + 86_400_000,
                withdrawn_ms: None,
            },
            notice: REDISCLOSURE_NOTICE.into(),
            ..Referral::default()
        }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refused(&referral(), |r| r.partner = "a b".into()), "partner");
        assert_eq!(refused(&referral(), |r| r.services.clear()), "services");
        assert_eq!(refused(&referral(), |r| r.urgency = "now".into()), "urgency");
        assert_eq!(refused(&referral(), |r| r.contact.clear()), "contact");
        assert_eq!(refused(&referral(), |r| r.consent.given_by = "neighbour".into()), "consent.given_by");
        assert_eq!(refused(&referral(), |r| r.consent.given_ms = 0), "consent.given_ms");
        assert_eq!(refused(&referral(), |r| r.consent.covers.clear()), "consent.covers");
        assert_eq!(refused(&referral(), |r| r.consent.ends_ms = MAY), "consent.ends_ms");
        assert_eq!(refused(&referral(), |r| r.notice.clear()), "notice");
    }

    #[test]
    fn without_consent_and_notice_it_has_no_effect() {
        let by = writer(1, ROLE_VOLUNTEER, Kind::REFERRAL);
        assert_eq!(set_aside(None, &referral(), &by), None);
        let unasked = Referral { consent: Consent::default(), ..referral() };
        assert_eq!(set_aside(None, &unasked, &by), Some("consent.given_by".into()));
        let bare = Referral { notice: String::new(), ..referral() };
        assert_eq!(set_aside(None, &bare, &by), Some("notice".into()));
    }

    #[test]
    fn a_consent_that_was_withdrawn_stays_so_and_the_words_are_gone() {
        let by = writer(1, ROLE_VOLUNTEER, Kind::REFERRAL);
        let mut withdrawn = referral();
        withdrawn.withdraw(MAY + 1);
        assert_eq!(withdrawn.validate(), Ok(()));
        assert!(withdrawn.text.is_empty() && withdrawn.contact.is_empty());
        assert!(referral().is_standing(MAY) && !withdrawn.is_standing(MAY));
        assert!(!referral().is_standing(MAY + 86_400_000));
        assert_eq!(set_aside(Some(&referral()), &withdrawn, &by), None);
        assert_eq!(set_aside(Some(&withdrawn), &referral(), &by), Some("consent.withdrawn_ms".into()));
    }
}
