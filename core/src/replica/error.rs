//! What can go wrong for an app, who is at fault, and what to do.

use std::path::PathBuf;

use super::transport::TransportError;
use crate::base::DocumentId;
use crate::base::address::BadAddress;
use crate::entry::Malformed;
use crate::entry::certificate::BadCertificate;
use crate::entry::chunk::BadFile;
use crate::entry::link::BadLink;
use crate::storage::StoreError;
use crate::sync::frame::Refusal;
use crate::sync::knock;
use crate::sync::session::{End, Misbehaviour};
use crate::watch::check::Invalid;

/// Who has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The person: what they entered, or what their role may do.
    Input,
    /// This device: its disk, its keychain, its clock.
    Device,
    /// The network.
    Network,
    /// The relay.
    Relay,
    /// Another member's device.
    Peer,
}

/// What an app is told. Nothing that was acknowledged before is lost by any of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was entered cannot be filed.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// A file cannot be imported.
    #[error("{0}")]
    File(#[from] crate::exchange::Unreadable),
    /// The device does not belong to a group yet.
    #[error(
        "this device does not belong to a group yet: found one, or join with an admission from a coordinator"
    )]
    NoGroup,
    /// The member's key is here, from a recovery code, and the device is in no group yet.
    #[error(
        "this device has its member's key and waits to be let in: join with the admission that any other member's device \
         can show"
    )]
    NotLetIn,
    /// It belongs to one already.
    #[error("this store belongs to a group already: use another directory for another group")]
    HasGroup,
    /// No member's key has confirmed this device yet.
    #[error(
        "this device is nobody's yet: confirm it from the member's other device, or use the recovery code"
    )]
    NotCertified,
    /// The device was taken out.
    #[error(
        "this device was removed from the group: what it recorded stays here; ask a coordinator to admit it again"
    )]
    Removed,
    /// The recovery code is not one.
    #[error("the recovery code cannot be read: {0}; compare it with the paper")]
    Code(String),
    /// The member's key is on another device.
    #[error("the key of this member is on another device of theirs: do it there")]
    KeyElsewhere,
    /// Something about who belongs that cannot be.
    #[error("{0}")]
    Membership(&'static str),
    /// The role does not allow it.
    #[error("the role of this device's member may not {0}: ask a coordinator")]
    Role(&'static str),
    /// There is no such document here.
    #[error(
        "there is no document {} on this device: it may not have arrived, or not be meant for this role",
        .0.short()
    )]
    NotHere(DocumentId),
    /// A join request or admission that cannot be used.
    #[error("this cannot be used to join: {0}")]
    Admission(String),
    /// Bytes that are not what they should be. The source says in what way, for developers.
    #[error("this is not {what} of Lamppost, or a part of it is missing: scan or copy it again, whole")]
    Unreadable {
        /// What it should be, for people.
        what: &'static str,
        /// The detail.
        #[source]
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A text that is no link, or one that cannot be used any more.
    #[error("{0}")]
    Invitation(#[from] BadLink),
    /// No invitation was kept.
    #[error("this device holds no invitation: open the link or scan the code again")]
    NotInvited,
    /// An invitation names the relay, and this device knows none yet.
    #[error("this device does not know the relay yet: connect to it once, then invite")]
    NoRelay,
    /// A request to join that cannot be approved.
    #[error("this request cannot be approved ({0}): if the person is to join, send a new invitation")]
    Approval(String),
    /// A request whose code could not have been compared.
    #[error(
        "there is no code to compare yet: the newcomer's phone and a coordinator's agree on one when they connect; sync, and \
         look again"
    )]
    NoCodeYet,
    /// An invitation or request that there is nothing left to decide about.
    #[error("{0}")]
    Settled(&'static str),
    /// Parts of a photo have not arrived.
    #[error(
        "{missing} of {parts} parts of this photo are not on this device: ask for it, and connect to the relay; its author may \
         not have sent all of it yet"
    )]
    PhotoNotHere {
        /// Parts that are not here.
        missing: usize,
        /// Parts that it has.
        parts: usize,
    },
    /// A photo that is not what its author attached.
    #[error("this photo cannot be shown: {0}")]
    Photo(#[from] BadFile),
    /// The document is not of the kind it should be.
    #[error("{0}")]
    Kind(String),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store's content.
    #[error(
        "the store on this device is damaged ({0}): keep the directory, open a new one and join again as a new device"
    )]
    StoreDamaged(String),
    /// Entries of the roll cannot be read, so that nobody knows who belongs.
    #[error(
        "{entries} entries of this device's membership log cannot be read: until they are fetched again, by a sync with the \
         relay, it reads and records, and decides nothing about the group. If syncing does not help, join again as a new device"
    )]
    RollDamaged {
        /// How many.
        entries: usize,
    },
    /// The vault.
    #[error("{0}")]
    Vault(#[from] super::vault::VaultError),
    /// The vault's key does not fit the store.
    #[error(
        "the keychain's key does not open this store: it belongs to another installation; do not delete it"
    )]
    WrongVault,
    /// The address is no relay's.
    #[error(
        "this is not a relay's address ({0}): it looks like wss://relay.example.org/v1/session, or ws:// for a trial \
         on one machine; ask a coordinator for it"
    )]
    Address(String),
    /// Nobody knows the name in the relay's address.
    #[error(
        "there is no such name as {host}: compare the relay's address, letter by letter, with what the coordinator gave \
         you; everything stays on this device and is sent later"
    )]
    NoSuchName {
        /// The name.
        host: String,
    },
    /// The relay cannot be reached.
    #[error("the relay cannot be reached ({0}): everything stays on this device and is sent later")]
    Network(String),
    /// The relay refuses.
    #[error("the relay ended the session: {0}")]
    RelayRefused(String),
    /// The relay breaks the protocol.
    #[error("the relay cannot be trusted: {0}; nothing was lost, tell the coordinators")]
    RelayMisbehaved(Misbehaviour),
    /// The store is older than what the relay has seen, and this happened before.
    #[error(
        "this store is older than what the relay says it has seen of it (a restored backup, a copy, or a relay that \
         lies), and not for the first time: ask the coordinators, then let this installation go on as a new device"
    )]
    RolledBack,
    /// Evidence that proves nothing.
    #[error("the evidence proves nothing: {0}")]
    Evidence(String),
    /// The PIN is another one.
    #[error("this is not the PIN of this device: try again")]
    WrongPin,
    /// Too many wrong PINs: none is looked at for now.
    #[error("too many wrong PINs: try again in {} s", .wait_ms.div_ceil(1_000))]
    PinWait {
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
    /// The device has a PIN, which was not entered.
    #[error("this device is locked: unlock it with its PIN")]
    Locked,
    /// The key file beside the store is gone.
    #[error(
        "the key file {} is missing: put it back from the same backup as the store; nothing in the store can be read without it",
        .0.display()
    )]
    NoKeyFile(PathBuf),
    /// There is a device and no PIN.
    #[error("no PIN was set for this device: open it without one, then set it")]
    NoPin,
    /// The app dropped the replica while it was at work.
    #[error("the replica was closed")]
    Closed,
}

impl From<BadAddress> for Error {
    fn from(why: BadAddress) -> Self {
        Self::Address(why.to_string())
    }
}

impl Error {
    /// Who has to do something about it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Invalid(_)
            | Self::File(_)
            | Self::NoGroup
            | Self::NotLetIn
            | Self::Unreadable { .. }
            | Self::NoSuchName { .. }
            | Self::HasGroup
            | Self::NotCertified
            | Self::Removed
            | Self::KeyElsewhere
            | Self::Membership(_)
            | Self::Code(_)
            | Self::Settled(_)
            | Self::NoCodeYet
            | Self::Role(_)
            | Self::NotHere(_)
            | Self::Kind(_)
            | Self::Invitation(_)
            | Self::NotInvited
            | Self::NoRelay
            | Self::WrongPin
            | Self::PinWait { .. }
            | Self::NoPin
            | Self::Locked
            | Self::Address(_) => Fault::Input,
            Self::Store(_)
            | Self::StoreDamaged(_)
            | Self::RollDamaged { .. }
            | Self::Vault(_)
            | Self::WrongVault
            | Self::NoKeyFile(_)
            | Self::RolledBack
            | Self::Closed => Fault::Device,
            Self::Network(_) | Self::PhotoNotHere { .. } => Fault::Network,
            Self::RelayRefused(_) | Self::RelayMisbehaved(_) => Fault::Relay,
            Self::Admission(_) | Self::Approval(_) | Self::Evidence(_) | Self::Photo(_) => Fault::Peer,
        }
    }

    pub(super) fn unreadable(
        what: &'static str,
        why: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unreadable { what, why: Box::new(why) }
    }

    /// What a newcomer or a new device handed over is no certificate, or of a newer version.
    pub(super) fn of_certificate(what: &'static str, why: BadCertificate) -> Self {
        match why {
            BadCertificate::UnknownVersion(_) | BadCertificate::OtherGroup => {
                Self::Admission(why.to_string())
            }
            BadCertificate::Form(_) | BadCertificate::Signature { .. } => Self::unreadable(what, why),
        }
    }

    /// What should be entries are none, or of a newer version.
    pub(super) fn of_entry(what: &'static str, why: Malformed) -> Self {
        match why {
            Malformed::UnknownVersion { .. } => {
                Self::Admission("it was made by a newer version of the app: update the app".to_owned())
            }
            Malformed::TooLarge { .. }
            | Malformed::Cbor(_)
            | Malformed::Cose(_)
            | Malformed::Rule(_)
            | Malformed::BodyMismatch
            | Malformed::BodyMissing => Self::unreadable(what, why),
        }
    }

    pub(super) fn store_damaged(why: &dyn std::fmt::Display) -> Self {
        Self::StoreDamaged(why.to_string())
    }

    pub(super) fn not_connected(why: TransportError) -> Self {
        match why {
            TransportError::Network(why) => Self::Network(why),
            TransportError::Address(why) => Self::Address(why),
            TransportError::NoSuchName(host) => Self::NoSuchName { host },
        }
    }

    /// What the end of a newcomer's session means for the app; none if it was meant to end.
    pub(super) fn of_knock_end(end: knock::End) -> Option<Self> {
        Self::of_end(match end {
            knock::End::Done => End::Done,
            knock::End::Budget => End::Budget,
            knock::End::Silence => End::Silence,
            knock::End::Relay(why) => End::Relay(why),
            knock::End::Misbehaved(what) => End::Misbehaved(what),
        })
    }

    /// What the end of a session means for the app; none if it was meant to end.
    pub(super) fn of_end(end: End) -> Option<Self> {
        match end {
            End::Done | End::Budget | End::Stopped => None,
            End::Silence => Some(Self::Network("it says nothing any more".to_owned())),
            End::Relay(why) if why.refusal == Refusal::REMOVED => Some(Self::Removed),
            End::Relay(why) => Some(Self::RelayRefused(why.reason)),
            End::Misbehaved(what) => Some(Self::RelayMisbehaved(what)),
        }
    }
}
