//! Floor 4, device: what an app holds. The only room with a clock, randomness and a network.
//!
//! [`record`] is the way out: watch → document → entry → storage → outbox. [`receive`] is the way in:
//! entry → sync → storage → document → view. Both run inside [`Engine`], which is synchronous and deterministic given
//! its [`Environment`]; [`Replica`] wraps it for apps. May import every room below, and nothing may import it.

mod alone;
mod answers;
mod app;
mod cases;
mod chunks;
mod clock;
mod community;
mod consent;
mod damage;
mod desk;
mod disclosures;
mod disk;
mod documents;
mod drafts;
mod driver;
mod effects;
mod engine;
mod error;
mod evidence;
mod exchange;
mod feed;
mod find;
mod followup;
mod identity;
mod invitations;
mod joining;
mod judge;
mod lock;
mod locked;
mod media;
mod membership;
mod outbox;
mod people;
mod recall;
mod receive;
mod recent;
mod record;
mod relay;
mod release;
mod retention;
mod schedule;
mod standing;
mod statistics;
mod steps;
mod transport;
mod vault;
mod veiled;
mod view;
mod work;

#[cfg(any(test, feature = "test-util"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use answers::{Answer, LiaisonAnswer};
pub use app::{Live, Replica};
pub use cases::{CaseRow, FactRow};
pub use clock::{Clock, SystemClock};
pub use consent::HeldBack;
pub use disclosures::Outside;
pub use documents::Typed;
pub use drafts::{DRAFT_BYTES_MAX, Draft};
pub use driver::LinkState;
pub use effects::SyncReport;
pub use engine::{Engine, Environment};
pub use error::{Error, Fault};
pub use evidence::EvidenceItem;
pub use exchange::ImportRow;
pub use feed::{Feed, FeedEvent};
pub use find::{Area, Cursor, PAGE_ROWS, Page, Query, Sort};
pub use invitations::{OpenInvitation, PendingRequest};
pub use joining::Joining;
pub use locked::Locked;
pub use media::{MediaPolicy, MediumRow, MediumState};
pub use membership::{
    Admission, CodeLanguage, Concern, Decision, DeviceRequest, DeviceRow, GroupInfo, JoinRequest,
    RecoveryCode, RemovalNotice, RoleRow, RosterRow, settings,
};
pub use recall::HandedOver;
pub use receive::{Received as ReceiveReport, Warning};
pub use record::{CaseLink, ObservationDraft};
pub use relay::{EarlierLife, RelayMemory, RollOffered};
pub use release::ReleasePlan;
pub use retention::{HeldRow, Swept};
pub use schedule::{LeavesWhen, ScheduledRelease, WaitsFor};
pub use transport::{Connection, Transport, TransportError, WebSocketTransport};
pub use vault::{FixedVault, Vault, VaultError};

pub use crate::entry::invitation::Invitation;
pub use crate::entry::link::{BadLink, GroupLink, LinkKind};
pub use crate::sync::session::Budget;
pub use crate::watch::Content;
pub use steps::Step;
pub use view::{ConflictRow, ConflictingValue, Delivery, Detail, Filter, HistoryRow, Row, SetAside};
