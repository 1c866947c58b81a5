//! An organisation that works with the group: what it offers, when, and how far its part goes.

use super::check::{Invalid, check_code, check_codes, check_id};
use super::codes;
use super::content::{Summary, WatchDocument, stored};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};

stored! {
    /// One partner.
    pub struct Partner {
        /// What it is called.
        pub name: String,
        /// A key of `codes/partner_kind.json`.
        pub kind: String,
        /// What it offers: keys of `codes/services.json`.
        pub services: Vec<String>,
        /// When it can be reached, in words.
        pub hours: String,
        /// How to reach it.
        pub contact: String,
        /// What it does in this group and what it does not, such as what it may be told; never empty.
        pub scope: String,
        /// Id of the member who stands for it, as text; empty if none does.
        pub member: String,
    }
}

impl WatchDocument for Partner {
    const KIND: Kind = Kind::PARTNER;

    fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("name", &self.name, LINE_CHARS_MAX)?;
        check_code("kind", &self.kind, codes::partner_kind())?;
        check_codes("services", &self.services, codes::services(), codes::services().entries().len())?;
        text::check_line("hours", &self.hours, LINE_CHARS_MAX)?;
        text::check_required_line("contact", &self.contact, LINE_CHARS_MAX)?;
        text::check_required("scope", &self.scope, TEXT_CHARS_MAX)?;
        if self.member.is_empty() { Ok(()) } else { check_id("member", &self.member) }
    }

    fn summary(&self) -> Summary {
        let codes = [&self.kind].into_iter().chain(&self.services).cloned().collect();
        Summary { title: self.name.clone(), text: self.scope.clone(), codes, ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::refused;

    #[test]
    fn refusals_name_the_field() {
        let partner = Partner {
            name: "Open Door Clinic".into(),
            kind: "health".into(),
            services: vec!["treatment".into(), "naloxone".into()],
            hours: "Mon to Fri 9 to 17 h".into(),
            contact: "555 0101".into(),
            scope: "Takes referrals; is told nothing else".into(),
            member: "member-1".into(),
        };
        assert_eq!(refused(&partner, |p| p.name.clear()), "name");
        assert_eq!(refused(&partner, |p| p.kind = "army".into()), "kind");
        assert_eq!(refused(&partner, |p| p.services[1] = "magic".into()), "services[1]");
        assert_eq!(refused(&partner, |p| p.contact.clear()), "contact");
        assert_eq!(refused(&partner, |p| p.scope.clear()), "scope");
        assert_eq!(refused(&partner, |p| p.member = "a b".into()), "member");
    }
}
