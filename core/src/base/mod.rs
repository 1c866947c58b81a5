//! Floor 0: the vocabulary every other room speaks. Imports nothing of Lamppost.
//!
//! Identities, canonical CBOR, signatures, limits, and the shape of a group. No IO, no clock, no randomness.

pub mod address;
pub mod cbor;
pub mod cose;
pub mod day;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod template;

pub use ids::{
    ChunkId, CompartmentId, DeviceId, DocumentId, EntryHash, EpochId, GroupId, Hash, Incarnation, MailboxId,
    MemberId, RelayId, RoleId,
};
pub use template::{CompartmentRow, RoleRow, Template};
