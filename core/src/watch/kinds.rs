//! Which kinds of document a watch group has, where each lives and who may write it.
//!
//! The rules are checked on receipt, on every device alike: a change that breaks one is set aside, not applied. A kind
//! that is not in the table came from a newer version: its documents are kept and not shown.
//!
//! Numbers are written into entries and never reused. What is free has its place already:
//!
//! | numbers | for |
//! |---|---|
//! | 1–10 | a report and what becomes of it (1–9 are taken) |
//! | 11–19 | more of that: request and decision, correction, contest, recall, not duplicates |
//! | 20–29 | the group at work: problem, meeting, action plan, shift, ballot and vote |
//! | 30–39 | what the group publishes: bulletin, lesson, resource, catalogue update, the table of a month |
//! | 40–49 | partners: youth session, business commitment, partner, referral |
//! | 50–59 | sealed records: identity card, complaint, audit |
//! | 1,000 and up | other templates than the watch group's |

use minicbor::{Decode, Encode};

use super::check::Invalid;
use super::content::{Summary, WatchDocument, Writer, kinds};
use super::roles::{
    COMPARTMENT_AUDIT, COMPARTMENT_COMMON, COMPARTMENT_COORDINATORS, COMPARTMENT_GROUP, COMPARTMENT_LIAISON,
    COMPARTMENT_REFERRAL, EVERYONE, ROLE_BUSINESS, ROLE_COORDINATOR, ROLE_LIAISON, ROLE_VOLUNTEER,
};
use super::{
    ActionPlan, Annotation, AuditEntry, Ballot, Bulletin, Case, CatalogueUpdate, Commitment, Complaint,
    Contest, Correction, Decision, Disclosure, IdentityCard, InvitationRecord, Lesson, LessonRecord, Meeting,
    NotDuplicates, Observation, Outcome, Partner, Problem, Provenance, PublishedMonth, Recall, Referral,
    Release, Request, Resource, Response, Sealed, Shift, Vote, YouthSession,
};
use crate::document::{BadDocument, Document};

/// The kind of a document, as its number in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Kind(#[n(0)] pub u16);

impl Kind {
    /// Whether people read it as something by itself. The others belong to another document, or serve the app.
    pub fn is_content(self) -> bool {
        let parts = [
            Self::SEALED,
            Self::PROVENANCE,
            Self::VOTE,
            Self::LESSON_RECORD,
            Self::PUBLISHED_MONTH,
            Self::IDENTITY_CARD,
            Self::INVITATION,
            Self::AUDIT_ENTRY,
            Self::NOT_DUPLICATES,
        ];
        !parts.contains(&self)
    }
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

/// Whether entries of documents of a kind may have a last day.
pub fn may_expire(kind: Kind) -> bool {
    let expiring =
        [Kind::OBSERVATION, Kind::SEALED, Kind::ANNOTATION, Kind::RELEASE, Kind::RESPONSE, Kind::BULLETIN];
    expiring.contains(&kind)
}

/// The last day of a change, by those of the changes that it builds on: the first of them. None for never.
pub fn last_day(built_on: impl IntoIterator<Item = Option<u32>>) -> Option<u32> {
    built_on.into_iter().flatten().min()
}

/// Why a change has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would go on another day than what it builds on.
    #[error("its last day is another than that of what it builds on")]
    Expiry,
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
const COORDINATORS_AND_LIAISONS: &[u8] = &[ROLE_COORDINATOR, ROLE_LIAISON];
const BUSINESSES: &[u8] = &[ROLE_COORDINATOR, ROLE_BUSINESS];

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
    /// What the liaison asks of the group. It stays as it was asked.
    REQUEST = 11 "request" in COMPARTMENT_LIAISON by LIAISONS, frozen => Request(Request);
    /// What a coordinator says to a request.
    DECISION = 12 "decision" in COMPARTMENT_LIAISON by COORDINATORS, frozen => Decision(Decision);
    /// What an author says afterwards about something they sent.
    CORRECTION = 13 "correction" in COMPARTMENT_GROUP by VOLUNTEERS, author_only => Correction(Correction);
    /// A reporter contests what became of their report.
    CONTEST = 14 "contest" in COMPARTMENT_GROUP by VOLUNTEERS, author_only => Contest(Contest);
    /// A release is called back.
    RECALL = 15 "recall" in COMPARTMENT_LIAISON by COORDINATORS, frozen => Recall(Recall);
    /// That two reports are of two events. Any coordinator may take back what another one said.
    NOT_DUPLICATES = 16 "not_duplicates" in COMPARTMENT_GROUP by COORDINATORS => NotDuplicates(NotDuplicates);
    /// Something that the group works on for longer than one event. The liaison works on it too, so everybody reads it.
    PROBLEM = 20 "problem" in COMPARTMENT_COMMON by COORDINATORS_AND_LIAISONS => Problem(Problem);
    /// A meeting with its agenda, minutes and actions.
    MEETING = 21 "meeting" in COMPARTMENT_COMMON by COORDINATORS_AND_LIAISONS => Meeting(Meeting);
    /// What several agencies agreed to do.
    ACTION_PLAN = 22 "action_plan" in COMPARTMENT_COMMON by COORDINATORS_AND_LIAISONS => ActionPlan(ActionPlan);
    /// Hours and an area of watching, and who came.
    SHIFT = 23 "shift" in COMPARTMENT_GROUP by VOLUNTEERS => Shift(Shift);
    /// One member's vote on one ballot.
    VOTE = 24 "vote" in COMPARTMENT_GROUP by VOLUNTEERS, author_only => Vote(Vote);
    /// What the group votes on.
    BALLOT = 25 "ballot" in COMPARTMENT_GROUP by COORDINATORS => Ballot(Ballot);
    /// What everybody is told, until a day.
    BULLETIN = 30 "bulletin" in COMPARTMENT_COMMON by COORDINATORS_AND_LIAISONS => Bulletin(Bulletin);
    /// A lesson. Who passed it passed exactly this.
    LESSON = 31 "lesson" in COMPARTMENT_COMMON by COORDINATORS, frozen => Lesson(Lesson);
    /// An entry of the directory of help.
    RESOURCE = 32 "resource" in COMPARTMENT_COMMON by COORDINATORS => Resource(Resource);
    /// A member took a lesson.
    LESSON_RECORD = 33 "lesson_record" in COMPARTMENT_GROUP by VOLUNTEERS, author_only, frozen
        => LessonRecord(LessonRecord);
    /// Codes that change from a day on.
    CATALOGUE_UPDATE = 34 "catalogue_update" in COMPARTMENT_COMMON by COORDINATORS, frozen
        => CatalogueUpdate(CatalogueUpdate);
    /// What is told of a month's reports. Whoever saw two tables of one could find the report in which they differ.
    PUBLISHED_MONTH = 35 "published_month" in COMPARTMENT_COMMON by COORDINATORS, frozen
        => PublishedMonth(PublishedMonth);
    /// A session with young people, in numbers.
    YOUTH_SESSION = 40 "youth_session" in COMPARTMENT_GROUP by VOLUNTEERS => YouthSession(YouthSession);
    /// What a business commits itself to: dropped into the coordinators' compartment, so that each sees its own alone.
    COMMITMENT = 41 "commitment" in COMPARTMENT_COORDINATORS by BUSINESSES, author_only => Commitment(Commitment);
    /// An organisation that works with the group.
    PARTNER = 42 "partner" in COMPARTMENT_COMMON by COORDINATORS => Partner(Partner);
    /// Somebody asked for help; the health partners alone open it.
    REFERRAL = 43 "referral" in COMPARTMENT_REFERRAL by VOLUNTEERS, author_only => Referral(Referral);
    /// Who a member is.
    IDENTITY_CARD = 50 "identity_card" in COMPARTMENT_COORDINATORS by EVERYONE, author_only
        => IdentityCard(IdentityCard);
    /// A complaint; the auditor reads it, too.
    COMPLAINT = 51 "complaint" in COMPARTMENT_AUDIT by EVERYONE, author_only => Complaint(Complaint);
    /// Somebody may come. Any coordinator may withdraw it.
    INVITATION = 52 "invitation" in COMPARTMENT_COORDINATORS by COORDINATORS => Invitation(InvitationRecord);
    /// The auditor's copy of a disclosure.
    AUDIT_ENTRY = 53 "audit_entry" in COMPARTMENT_AUDIT by COORDINATORS, frozen => AuditEntry(AuditEntry);
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
                (11, "request"),
                (12, "decision"),
                (13, "correction"),
                (14, "contest"),
                (15, "recall"),
                (16, "not_duplicates"),
                (20, "problem"),
                (21, "meeting"),
                (22, "action_plan"),
                (23, "shift"),
                (24, "vote"),
                (25, "ballot"),
                (30, "bulletin"),
                (31, "lesson"),
                (32, "resource"),
                (33, "lesson_record"),
                (34, "catalogue_update"),
                (35, "published_month"),
                (40, "youth_session"),
                (41, "commitment"),
                (42, "partner"),
                (43, "referral"),
                (50, "identity_card"),
                (51, "complaint"),
                (52, "invitation"),
                (53, "audit_entry"),
            ]
        );
    }

    #[test]
    fn an_unknown_kind_has_no_rule() {
        for number in [0, 10, 999, u16::MAX] {
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
            Kind::CORRECTION,
            Kind::CONTEST,
            Kind::REFERRAL,
            Kind::COMPLAINT,
            Kind::AUDIT_ENTRY,
            Kind::COMMITMENT,
        ] {
            let compartment = rule(kind).unwrap().compartment;
            let row = template_rows().iter().find(|row| row.compartment == compartment).unwrap();
            assert!(!row.readers.contains(&ROLE_LIAISON), "{kind:?}");
        }
    }

    #[test]
    fn a_business_reads_what_everybody_is_told_and_no_report() {
        let read = |role: u8| {
            let reads = |rule: &&Rule| {
                let row = template_rows().iter().find(|row| row.compartment == rule.compartment).unwrap();
                row.readers.contains(&role)
            };
            rules().iter().filter(reads).map(|rule| rule.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            read(ROLE_BUSINESS),
            "outcome problem meeting action_plan bulletin lesson resource catalogue_update \
             published_month partner"
        );
        assert_eq!(read(crate::watch::roles::ROLE_HEALTH_PARTNER), read(ROLE_BUSINESS) + " referral");
    }

    #[test]
    fn what_a_person_said_is_theirs_and_what_left_is_frozen() {
        let named = |pick: fn(&Rule) -> bool| {
            let names: Vec<_> = rules().iter().filter(|r| pick(r)).map(|r| r.name).collect();
            names.join(" ")
        };
        assert_eq!(
            named(|rule| rule.author_only),
            "observation sealed annotation correction contest vote lesson_record commitment referral identity_card \
             complaint"
        );
        assert_eq!(
            named(|rule| rule.frozen),
            "release disclosure provenance request decision recall lesson lesson_record catalogue_update \
             published_month audit_entry"
        );
    }
}
