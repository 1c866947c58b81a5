//! Which kinds of document a watch group has, where each lives and who may write it.
//!
//! The rules are checked on receipt, on every device alike: a change that breaks one is set aside, not applied. A kind
//! that is not in the table came from a newer version: its documents are kept and not shown.
//!
//! Numbers are written into entries and never reused. What is free has its place already:
//!
//! | numbers | for |
//! |---|---|
//! | 1–9 | a report and what becomes of it (all taken) |
//! | 10 | invitation |
//! | 11–19 | more of that: request, correction, contest, recall; 15 is not duplicates |
//! | 20–29 | the group at work: problem, meeting, action plan, shift, vote |
//! | 30–39 | what the group publishes: bulletin, lesson, resource |
//! | 40–49 | partners: youth session, business commitment, partner, referral |
//! | 50–59 | sealed records: identity card, complaint |
//! | 1,000 and up | other templates than the watch group's |

use super::roles::{
    COMPARTMENT_COMMON, COMPARTMENT_COORDINATORS, COMPARTMENT_GROUP, COMPARTMENT_LIAISON, EVERYONE,
    ROLE_COORDINATOR, ROLE_LIAISON, ROLE_VOLUNTEER,
};

/// The kind of a document, as its number in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// [`Observation`](super::Observation).
    pub const OBSERVATION: Self = Self(1);
    /// [`Sealed`](super::Sealed).
    pub const SEALED: Self = Self(2);
    /// [`Annotation`](super::Annotation).
    pub const ANNOTATION: Self = Self(3);
    /// [`Case`](super::Case).
    pub const CASE: Self = Self(4);
    /// [`Release`](super::Release).
    pub const RELEASE: Self = Self(5);
    /// [`Response`](super::Response).
    pub const RESPONSE: Self = Self(6);
    /// [`Outcome`](super::Outcome).
    pub const OUTCOME: Self = Self(7);
    /// [`Disclosure`](super::Disclosure).
    pub const DISCLOSURE: Self = Self(8);
    /// [`Provenance`](super::Provenance).
    pub const PROVENANCE: Self = Self(9);
    /// [`NotDuplicates`](super::NotDuplicates).
    pub const NOT_DUPLICATES: Self = Self(15);
    /// [`IdentityCard`](super::IdentityCard).
    pub const IDENTITY_CARD: Self = Self(50);
    /// [`InvitationRecord`](super::InvitationRecord).
    pub const INVITATION: Self = Self(52);
}

/// Where documents of one kind live and who may write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The kind.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// The only compartment it is accepted in.
    pub compartment: u8,
    /// Ids of the roles that may write it.
    pub writers: &'static [u8],
    /// Whether only the member who created a document may change it, from any of their devices.
    pub author_only: bool,
    /// Whether exactly one change is ever accepted: the one that creates the document.
    pub frozen: bool,
}

/// The rule of a kind; none if this version does not know the kind.
pub fn rule(kind: Kind) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.kind == kind)
}

/// Every rule, by number.
pub fn rules() -> &'static [Rule] {
    RULES
}

static RULES: &[Rule] = &[
    Rule {
        kind: Kind::OBSERVATION,
        name: "observation",
        compartment: COMPARTMENT_GROUP,
        writers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
        author_only: true,
        frozen: false,
    },
    Rule {
        kind: Kind::SEALED,
        name: "sealed",
        compartment: COMPARTMENT_COORDINATORS,
        writers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
        author_only: true,
        frozen: false,
    },
    Rule {
        kind: Kind::ANNOTATION,
        name: "annotation",
        compartment: COMPARTMENT_GROUP,
        writers: &[ROLE_COORDINATOR, ROLE_VOLUNTEER],
        author_only: true,
        frozen: false,
    },
    Rule {
        kind: Kind::CASE,
        name: "case",
        compartment: COMPARTMENT_GROUP,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: false,
    },
    // A copy that has been handed over cannot change: a correction is a new revision.
    Rule {
        kind: Kind::RELEASE,
        name: "release",
        compartment: COMPARTMENT_LIAISON,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: true,
    },
    // Responses and outcomes move on as the work does, and a successor of the officer continues them.
    Rule {
        kind: Kind::RESPONSE,
        name: "response",
        compartment: COMPARTMENT_LIAISON,
        writers: &[ROLE_LIAISON],
        author_only: false,
        frozen: false,
    },
    Rule {
        kind: Kind::OUTCOME,
        name: "outcome",
        compartment: COMPARTMENT_COMMON,
        writers: &[ROLE_LIAISON],
        author_only: false,
        frozen: false,
    },
    // What was disclosed once stays disclosed.
    Rule {
        kind: Kind::DISCLOSURE,
        name: "disclosure",
        compartment: COMPARTMENT_GROUP,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: true,
    },
    // It proves one frozen release, so it is frozen with it.
    Rule {
        kind: Kind::PROVENANCE,
        name: "provenance",
        compartment: COMPARTMENT_COORDINATORS,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: true,
    },
    // Any coordinator may take back what another one said of two reports.
    Rule {
        kind: Kind::NOT_DUPLICATES,
        name: "not_duplicates",
        compartment: COMPARTMENT_GROUP,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: false,
    },
    Rule {
        kind: Kind::IDENTITY_CARD,
        name: "identity_card",
        compartment: COMPARTMENT_COORDINATORS,
        writers: EVERYONE,
        author_only: true,
        frozen: false,
    },
    // Who holds the link is not told of a change, so there is none.
    Rule {
        kind: Kind::INVITATION,
        name: "invitation",
        compartment: COMPARTMENT_COORDINATORS,
        writers: &[ROLE_COORDINATOR],
        author_only: false,
        frozen: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::template_rows;

    #[test]
    fn numbers_are_fixed_and_ascend() {
        let names: Vec<_> = rules().iter().map(|rule| (rule.kind.0, rule.name)).collect();
        assert_eq!(
            names,
            [
                (1, "observation"),
                (2, "sealed"),
                (3, "annotation"),
                (4, "case"),
                (5, "release"),
                (6, "response"),
                (7, "outcome"),
                (8, "disclosure"),
                (9, "provenance"),
                (15, "not_duplicates"),
                (50, "identity_card"),
                (52, "invitation"),
            ]
        );
    }

    #[test]
    fn an_unknown_kind_has_no_rule() {
        for number in [0, 11, 999, u16::MAX] {
            assert_eq!(rule(Kind(number)), None);
        }
        assert_eq!(rule(Kind::CASE).map(|rule| rule.name), Some("case"));
    }

    #[test]
    fn whoever_may_write_a_kind_may_write_its_compartment() {
        for rule in rules() {
            let row = template_rows().iter().find(|row| row.compartment == rule.compartment).unwrap();
            assert!(!rule.writers.is_empty(), "{}", rule.name);
            for writer in rule.writers {
                assert!(row.writers.contains(writer), "{} by role {writer}", rule.name);
            }
        }
    }

    #[test]
    fn the_liaison_reads_no_kind_that_names_an_observation() {
        for kind in [
            Kind::OBSERVATION,
            Kind::SEALED,
            Kind::ANNOTATION,
            Kind::CASE,
            Kind::NOT_DUPLICATES,
            Kind::DISCLOSURE,
            Kind::PROVENANCE,
            Kind::IDENTITY_CARD,
        ] {
            let compartment = rule(kind).unwrap().compartment;
            let row = template_rows().iter().find(|row| row.compartment == compartment).unwrap();
            assert!(!row.readers.contains(&ROLE_LIAISON), "{kind:?}");
        }
    }

    #[test]
    fn what_a_person_said_is_theirs_and_what_left_is_frozen() {
        let named = |pick: fn(&Rule) -> bool| {
            let names: Vec<_> = rules().iter().filter(|r| pick(r)).map(|r| r.name).collect();
            names.join(" ")
        };
        assert_eq!(named(|rule| rule.author_only), "observation sealed annotation identity_card");
        assert_eq!(named(|rule| rule.frozen), "release disclosure provenance invitation");
    }
}
