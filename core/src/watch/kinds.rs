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

use super::check::Invalid;
use super::content::{Summary, WatchDocument, Writer, kinds};
use super::roles::{
    COMPARTMENT_COMMON, COMPARTMENT_COORDINATORS, COMPARTMENT_GROUP, COMPARTMENT_LIAISON, EVERYONE,
    ROLE_COORDINATOR, ROLE_LIAISON, ROLE_VOLUNTEER,
};
use super::{
    Annotation, Case, Disclosure, IdentityCard, InvitationRecord, NotDuplicates, Observation, Outcome,
    Provenance, Release, Response, Sealed,
};
use crate::document::{BadDocument, Document};

/// The kind of a document, as its number in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

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

impl Rule {
    const fn new(kind: Kind, name: &'static str, compartment: u8, writers: &'static [u8]) -> Self {
        Self { kind, name, compartment, writers, author_only: false, frozen: false }
    }

    const fn author_only(self) -> Self {
        Self { author_only: true, ..self }
    }

    const fn frozen(self) -> Self {
        Self { frozen: true, ..self }
    }
}

/// The rule of a kind; none if this version does not know the kind.
pub fn rule(kind: Kind) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.kind == kind)
}

/// Every rule, by number.
pub fn rules() -> &'static [Rule] {
    RULES
}

/// Why a change has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The kind does not allow it.
    #[error("{0}")]
    Rule(#[from] Invalid),
    /// It does not leave a document of its kind.
    #[error("{0}")]
    Document(#[from] BadDocument),
}

const COORDINATORS: &[u8] = &[ROLE_COORDINATOR];
const VOLUNTEERS: &[u8] = &[ROLE_COORDINATOR, ROLE_VOLUNTEER];
const LIAISONS: &[u8] = &[ROLE_LIAISON];

kinds! {
    /// What a volunteer saw; shown with its sealed sibling if this device may read it.
    OBSERVATION = 1 "observation" in COMPARTMENT_GROUP by VOLUNTEERS, author_only
        => Observation(Observation, Option<Sealed>);
    /// The sealed sibling of an observation by itself.
    SEALED = 2 "sealed" in COMPARTMENT_COORDINATORS by VOLUNTEERS, author_only => Sealed(Sealed);
    /// A remark on a document of the group.
    ANNOTATION = 3 "annotation" in COMPARTMENT_GROUP by VOLUNTEERS, author_only => Annotation(Annotation);
    /// Observations of the same event.
    CASE = 4 "case" in COMPARTMENT_GROUP by COORDINATORS => Case(Case);
    /// What was handed to the liaison. It cannot change: a correction is a new revision.
    RELEASE = 5 "release" in COMPARTMENT_LIAISON by COORDINATORS, frozen => Release(Release);
    /// The liaison's answer. It moves on as the work does, and a successor of the officer continues it.
    RESPONSE = 6 "response" in COMPARTMENT_LIAISON by LIAISONS => Response(Response);
    /// What everybody sees of it.
    OUTCOME = 7 "outcome" in COMPARTMENT_COMMON by LIAISONS => Outcome(Outcome);
    /// The record that something was handed over. What was disclosed once stays disclosed.
    DISCLOSURE = 8 "disclosure" in COMPARTMENT_GROUP by COORDINATORS, frozen => Disclosure(Disclosure);
    /// Which entries a release was made of; frozen with it.
    PROVENANCE = 9 "provenance" in COMPARTMENT_COORDINATORS by COORDINATORS, frozen => Provenance(Provenance);
    /// That two reports are of two events. Any coordinator may take back what another one said.
    NOT_DUPLICATES = 15 "not_duplicates" in COMPARTMENT_GROUP by COORDINATORS => NotDuplicates(NotDuplicates);
    /// Who a member is.
    IDENTITY_CARD = 50 "identity_card" in COMPARTMENT_COORDINATORS by EVERYONE, author_only
        => IdentityCard(IdentityCard);
    /// Somebody may come. Who holds the link is not told of a change, so there is none.
    INVITATION = 52 "invitation" in COMPARTMENT_COORDINATORS by COORDINATORS, frozen
        => Invitation(InvitationRecord);
}

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
