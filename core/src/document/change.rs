//! One Automerge change, and who made it.

use automerge::Change;

use crate::base::{DeviceId, limits};

/// A change whose actor is the device that signed the entry it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthoredChange(Change);

/// Why bytes are not an acceptable change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Not exactly one uncompressed change chunk.
    #[error("the content is not one uncompressed Automerge change")]
    NotOneChange,
    /// A chunk that Automerge refuses.
    #[error("the Automerge change cannot be read: {0}")]
    Unreadable(String),
    /// It claims to be somebody else's change.
    #[error("the change names another device as its author than the one that signed it")]
    ForeignActor,
    /// More operations than a form can have.
    #[error("the change has {0} operations, {max} are allowed", max = limits::CHANGE_OPERATIONS_MAX)]
    TooLong(usize),
}

/// Automerge's storage format: four bytes of magic, four of checksum, then the chunk's type.
const CHUNK_TYPE_AT: usize = 8;
const CHANGE_CHUNK: u8 = 1;

impl AuthoredChange {
    /// Reads a change that `author` signed.
    ///
    /// # Errors
    /// [`BadChange`] if it is none, is compressed, is too long, or names another actor.
    pub fn parse(bytes: &[u8], author: DeviceId) -> Result<Self, BadChange> {
        // A compressed chunk could unpack to any size, and our own compression is bounded already.
        if bytes.get(CHUNK_TYPE_AT) != Some(&CHANGE_CHUNK) {
            return Err(BadChange::NotOneChange);
        }
        let owned = bytes.to_vec();
        let parsed = std::panic::catch_unwind(move || Change::from_bytes(owned))
            .map_err(|_| BadChange::Unreadable("it breaks the reader".to_owned()))?;
        let change = parsed.map_err(|e| BadChange::Unreadable(e.to_string()))?;
        if change.raw_bytes() != bytes {
            return Err(BadChange::NotOneChange);
        }
        if change.len() > limits::CHANGE_OPERATIONS_MAX {
            return Err(BadChange::TooLong(change.len()));
        }
        if change.actor_id().to_bytes() != author.as_bytes() {
            return Err(BadChange::ForeignActor);
        }
        Ok(Self(change))
    }

    pub(super) fn own(change: Change) -> Self {
        Self(change)
    }

    pub(super) fn into_inner(self) -> Change {
        self.0
    }

    pub(crate) fn hash(&self) -> automerge::ChangeHash {
        self.0.hash()
    }

    /// Whether it builds on no other.
    pub(crate) fn is_first(&self) -> bool {
        self.0.deps().is_empty()
    }

    /// Hashes of the changes that it builds on.
    pub(crate) fn deps(&self) -> &[automerge::ChangeHash] {
        self.0.deps()
    }

    /// The uncompressed chunk.
    pub fn bytes(&self) -> &[u8] {
        self.0.raw_bytes()
    }
}
