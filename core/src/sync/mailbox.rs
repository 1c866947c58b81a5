//! Frames about mailboxes: how somebody with an invitation reaches those who decide (PROTOCOL.md §5.5).
//!
//! The relay sees a mailbox's id, sizes, times and a device; what is sealed it cannot open.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::frame::{Outcome, Refused};
use crate::base::{DeviceId, Hash, MailboxId};

/// A device that governs opens a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OpenMailbox {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// Until when, in milliseconds since the Unix epoch.
    #[n(1)]
    pub expires_ms: u64,
}

/// A newcomer knocks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Knock {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// For the coordinators.
    #[n(1)]
    pub sealed: ByteVec,
}

/// Who has knocked, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Knocks {
    /// The knocks.
    #[n(0)]
    pub knocks: Vec<Knocked>,
}

/// One knock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Knocked {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// The device that knocked.
    #[n(1)]
    pub device: DeviceId,
    /// When, by the relay's clock, in milliseconds since the Unix epoch.
    #[n(2)]
    pub at_ms: u64,
    /// What it sealed; none if the knock has been answered.
    #[n(3)]
    pub sealed: Option<ByteVec>,
}

/// A device that governs refuses a newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// For the newcomer.
    #[n(1)]
    pub sealed: ByteVec,
}

/// A device that governs answers a newcomer's first knock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Countersign {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// SHA-256 of the sealed knock that it answers: a later one is not answered by it.
    #[n(1)]
    pub knock: Hash,
    /// For the newcomer.
    #[n(2)]
    pub sealed: ByteVec,
}

/// What a newcomer finds in the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Letter {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// How it stands.
    #[n(1)]
    pub word: Word,
}

/// How it stands with a newcomer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Word {
    /// The knock is on the relay's disk, and nobody has answered it yet.
    #[n(0)]
    Waiting,
    /// A coordinator has refused.
    #[n(1)]
    Refused(#[n(0)] ByteVec),
    /// The relay has no such mailbox for this device: unknown, expired or used.
    #[n(2)]
    Closed(#[n(0)] Refused),
    /// The device belongs: it may pull.
    #[n(3)]
    Admitted,
    /// The first knock was countersigned: the second may come.
    #[n(4)]
    Countersigned(#[n(0)] ByteVec),
}

/// What became of an [`OpenMailbox`], an [`Answer`] or a [`Countersign`]. Sent after the durable write.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settled {
    /// The mailbox.
    #[n(0)]
    pub mailbox: MailboxId,
    /// What became of it.
    #[n(1)]
    pub outcome: Outcome,
}

impl Knocks {
    /// Bytes of the largest knock.
    pub(super) fn largest(&self) -> usize {
        let sealed = self.knocks.iter().filter_map(|knock| knock.sealed.as_ref());
        sealed.map(|sealed| sealed.len()).max().unwrap_or_default()
    }
}

impl Word {
    /// Bytes of what is sealed in it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Refused(sealed) | Self::Countersigned(sealed) => sealed.len(),
            Self::Waiting | Self::Closed(_) | Self::Admitted => 0,
        }
    }
}
