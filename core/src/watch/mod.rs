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
//! | [`annotation`] | what others of the group say about it |
//! | [`case`] | observations of the same event, linked by coordinators |
//! | [`not_duplicates`] | two reports that are of two events, so that nobody is asked again |
//! | [`suggest`] | reports that may tell of one event or one pattern, and why |
//! | [`release`] | the frozen, redacted copy for the liaison, and how it is redacted |
//! | [`response`] | what the liaison answers |
//! | [`outcome`] | what every member may know of that answer |
//! | [`disclosure`] | who got what, and why |
//! | [`provenance`] | what proves a release's sources later |
//! | [`identity_card`] | who a member is, for the coordinators alone |
//! | [`invitation`] | who may come, until when, as what |
//! | [`kinds`] | the table of kinds: number, type, where each lives and who may write it |
//! | [`content`] | what every kind has in common |
//! | [`roles`] | roles, compartments and the template of a watch group |
//! | [`guard`] | what is held before it is filed, and what members may be asked to do |
//! | [`emergency`] | what comes before a report: the number, the first steps |
//! | [`statistics`] | what may be published of many reports |
//! | [`codes`] | versioned code lists with labels |
//! | [`blur`] | public grid cells instead of positions |
//! | [`text`], [`check`] | what input is refused, and how a refusal reads |

pub mod annotation;
pub mod blur;
pub mod case;
pub mod check;
pub mod codes;
pub mod content;
pub mod disclosure;
pub mod emergency;
pub mod guard;
pub mod identity_card;
pub mod invitation;
pub mod kinds;
pub mod not_duplicates;
pub mod observation;
pub mod outcome;
pub mod provenance;
pub mod release;
pub mod response;
pub mod roles;
pub mod statistics;
pub mod suggest;
pub mod text;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod testing;

pub use annotation::Annotation;
pub use blur::Cell;
pub use case::{Case, Fact, FactValue, Link, Resolution};
pub use check::Invalid;
pub use codes::Catalogue;
pub use content::{Keyed, Summary, WatchDocument, Writer};
pub use disclosure::Disclosure;
pub use identity_card::IdentityCard;
pub use invitation::InvitationRecord;
pub use kinds::{Content, Kind, Rule};
pub use not_duplicates::NotDuplicates;
pub use observation::{Observation, People, Position, Quantity, Sealed, Substance, Vehicle, When};
pub use outcome::Outcome;
pub use provenance::{Provenance, Source};
pub use release::{OpenFact, OptionalField, Redaction, Release, ReleasedItem, Span, redact};
pub use response::Response;
