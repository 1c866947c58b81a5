//! The domain of a watch group: what is written down, by whom, for whom, and what may leave.
//!
//! Pure data and pure rules: no clock, no randomness, no network, no disk. Times and positions come in as arguments.
//! This room may import `base` and `document`.
//!
//! Types are stored as one Automerge document each and keep what they do not know: unknown kinds, fields and codes of a
//! newer version survive. `validate` judges an author's own input before it is written, never what was received.
//!
//! | room | holds |
//! |---|---|
//! | [`observation`] | what a volunteer saw, and its sealed sibling |
//! | [`media`] | photos: what of one is shown, and how it is made clean |
//! | [`annotation`] | what others of the group say about it |
//! | [`case`] | observations of the same event, linked by coordinators |
//! | [`not_duplicates`] | two reports that are of two events, so that nobody is asked again |
//! | [`suggest`] | reports that may tell of one event or one pattern, and why |
//! | [`release`] | the frozen, redacted copy for the liaison, and how it is redacted |
//! | [`response`] | what the liaison answers |
//! | [`outcome`] | what every member may know of that answer |
//! | [`disclosure`] | who got what, and why |
//! | [`provenance`] | what proves a release's sources later |
//! | [`request`], [`decision`] | what the liaison asks, and what the coordinators say to it |
//! | [`correction`], [`contest`], [`recall`] | what authors, reporters and coordinators take up again |
//! | [`problem`] | scanning, analysis, response, assessment |
//! | [`ballot`], [`vote`] | what comes first, as the members say |
//! | [`meeting`], [`action_plan`], [`shift`] | the group at work |
//! | [`bulletin`], [`lesson`], [`lesson_record`], [`resource`] | what the group publishes, and who has learned it |
//! | [`catalogue_update`] | codes that change from a day on |
//! | [`published_month`] | what is told of a month's reports, once |
//! | [`youth_session`], [`commitment`], [`partner`] | young people, businesses, organisations |
//! | [`referral`] | help for somebody who consents |
//! | [`complaint`], [`audit_entry`] | what the auditor reads |
//! | [`identity_card`] | who a member is, for the coordinators alone |
//! | [`invitation`] | who may come, until when, as what |
//! | [`kinds`] | the table of kinds: number, type, where each lives and who may write it |
//! | [`content`] | what every kind has in common |
//! | [`roles`] | roles, compartments and the template of a watch group |
//! | [`guard`] | what is held before it is filed, and what members may be asked to do |
//! | [`emergency`] | what comes before a report: the number, the first steps |
//! | [`statistics`] | what may be published of many reports |
//! | [`trends`] | where and how often, week by week, beside the effort |
//! | [`codes`] | versioned code lists with labels |
//! | [`blur`] | public grid cells instead of positions |
//! | [`language`] | texts in several languages |
//! | [`text`], [`check`] | what input is refused, and how a refusal reads |

pub mod action_plan;
pub mod annotation;
pub mod audit_entry;
pub mod ballot;
pub mod blur;
pub mod bulletin;
pub mod case;
pub mod catalogue_update;
pub mod check;
pub mod codes;
pub mod commitment;
pub mod complaint;
pub mod content;
pub mod contest;
pub mod correction;
pub mod decision;
pub mod disclosure;
pub mod emergency;
pub mod guard;
pub mod identity_card;
pub mod invitation;
pub mod kinds;
pub mod language;
pub mod lesson;
pub mod lesson_record;
pub mod media;
pub mod meeting;
pub mod not_duplicates;
pub mod observation;
pub mod outcome;
pub mod partner;
pub mod problem;
pub mod provenance;
pub mod published_month;
pub mod recall;
pub mod referral;
pub mod release;
pub mod request;
pub mod resource;
pub mod response;
pub mod roles;
pub mod shift;
pub mod statistics;
pub mod suggest;
pub mod text;
pub mod trends;
pub mod vote;
pub mod youth_session;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod testing;

pub use action_plan::ActionPlan;
pub use annotation::Annotation;
pub use audit_entry::{AuditEntry, Finding};
pub use ballot::{Ballot, Choice, Closing, Tally};
pub use blur::Cell;
pub use bulletin::Bulletin;
pub use case::{Case, Fact, FactValue, Link, Resolution};
pub use catalogue_update::{CatalogueUpdate, CodeChange};
pub use check::Invalid;
pub use codes::Catalogue;
pub use commitment::Commitment;
pub use complaint::Complaint;
pub use content::{Keyed, Summary, WatchDocument, Writer};
pub use contest::Contest;
pub use correction::Correction;
pub use decision::Decision;
pub use disclosure::Disclosure;
pub use identity_card::IdentityCard;
pub use invitation::InvitationRecord;
pub use kinds::{Content, Kind, Rule};
pub use language::Said;
pub use lesson::{Lesson, Question, QuestionText};
pub use lesson_record::LessonRecord;
pub use media::Medium;
pub use meeting::{Action, AgendaItem, CarriedAction, Meeting};
pub use not_duplicates::NotDuplicates;
pub use observation::{Observation, People, Position, Quantity, Sealed, Substance, Vehicle, When};
pub use outcome::Outcome;
pub use partner::Partner;
pub use problem::{Analysis, Assessment, Opening, PlannedResponse, Problem};
pub use provenance::{LinkedIn, Provenance, Source};
pub use published_month::{PublishedMonth, ShownTopic};
pub use recall::{Recall, RecallDue};
pub use referral::{Consent, Referral};
pub use release::{
    Difference, OpenFact, OptionalField, Redaction, Release, ReleasedItem, Span, difference, redact,
};
pub use request::Request;
pub use resource::Resource;
pub use response::Response;
pub use shift::{Attendance, Shift};
pub use vote::Vote;
pub use youth_session::{YouthSession, YouthTotals};
