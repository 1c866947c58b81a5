//! The frames of a session, one per binary WebSocket message (PROTOCOL.md §5.1).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::mailbox::{Answer, Countersign, Knock, Knocks, Letter, OpenMailbox, Settled};
use super::media::{self, Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk};
use crate::base::{CompartmentId, DeviceId, GroupId, Hash, Incarnation, RelayId, cbor, limits};
use crate::entry::{LogHead, LogId, Wire};

/// The version of the session.
pub const SESSION_VERSION: u8 = 1;

/// What the two sides say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Frame {
    /// Relay, first: prove who you are.
    #[n(0)]
    Challenge(#[n(0)] Challenge),
    /// Phone: who it is, signed.
    #[n(1)]
    Hello(#[n(0)] Hello),
    /// Relay: what it knows of this phone.
    #[n(2)]
    Welcome(#[n(0)] Welcome),
    /// Phone: send me what came after these positions, and stay live or not.
    #[n(3)]
    Pull(#[n(0)] Pull),
    /// Relay: entries of one compartment.
    #[n(4)]
    Entries(#[n(0)] Entries),
    /// Relay: that was all there is now. Sent once after each pull.
    #[n(5)]
    CaughtUp,
    /// Phone: entries for the relay to keep.
    #[n(6)]
    Push(#[n(0)] Push),
    /// Relay: what became of a push. Sent after the durable write.
    #[n(7)]
    Ack(#[n(0)] Ack),
    /// Phone: how far do you have each log?
    #[n(8)]
    AskHeads,
    /// Relay: that far.
    #[n(9)]
    Heads(#[n(0)] Heads),
    /// Phone: prove that your history continues the one of this size.
    #[n(10)]
    AskConsistency(#[n(0)] AskConsistency),
    /// Relay: the proof.
    #[n(11)]
    Consistency(#[n(0)] Consistency),
    /// Relay, last: why it ends the session.
    #[n(12)]
    Goodbye(#[n(0)] Refused),
    /// Phone that governs: keep a mailbox for an invitation. Saying it again changes nothing.
    #[n(13)]
    OpenMailbox(#[n(0)] OpenMailbox),
    /// Phone of somebody who does not belong yet: hand this to those who decide.
    #[n(14)]
    Knock(#[n(0)] Knock),
    /// Relay, to a phone that governs: who has knocked.
    #[n(15)]
    Knocks(#[n(0)] Knocks),
    /// Phone that governs: hand this to the one who knocked.
    #[n(16)]
    Answer(#[n(0)] Answer),
    /// Relay, to the one who knocked: how it stands. Sent after the durable write, and when it changes.
    #[n(17)]
    Letter(#[n(0)] Letter),
    /// Relay: what became of a mailbox that was opened, of an answer or of a countersignature.
    #[n(18)]
    Settled(#[n(0)] Settled),
    /// Phone: which of these chunks do you lack?
    #[n(19)]
    OfferChunks(#[n(0)] ChunkNames),
    /// Relay: these.
    #[n(20)]
    WantedChunks(#[n(0)] ChunkNames),
    /// Phone: a chunk to keep.
    #[n(21)]
    PutChunk(#[n(0)] PutChunk),
    /// Relay: what became of it. Sent after the durable write.
    #[n(22)]
    ChunkAck(#[n(0)] ChunkAck),
    /// Phone: send me this chunk.
    #[n(23)]
    GetChunk(#[n(0)] GetChunk),
    /// Relay: this is it, or it is not here.
    #[n(24)]
    Chunk(#[n(0)] Chunk),
    /// Phone that governs: hand this to the one who knocked first, so that they knock again.
    #[n(25)]
    Countersign(#[n(0)] Countersign),
}

/// The relay's opening.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Challenge {
    /// Session version the relay speaks.
    #[n(0)]
    pub version: u8,
    /// Fresh random bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// The relay's key.
    #[n(2)]
    pub relay: RelayId,
    /// This life of its store.
    #[n(3)]
    pub incarnation: Incarnation,
}

/// The phone's answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// COSE_Sign1 by the device, or by its session key, over [`Proof`].
    #[n(0)]
    pub proof: ByteVec,
    /// The device's certificate, of one that comes by a group's link: a member's key vouches for it.
    #[n(1)]
    pub certificate: Option<ByteVec>,
}

/// What is signed to open a session: see [`Proof::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proof {
    /// Session version the phone speaks.
    #[n(0)]
    pub version: u8,
    /// The relay's nonce.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// The relay it means to talk to: a proof is of no use to another.
    #[n(2)]
    pub relay: RelayId,
    /// The group.
    #[n(3)]
    pub group: GroupId,
    /// The device.
    #[n(4)]
    pub device: DeviceId,
    /// The device's word for the session key that signed this; none if the device itself did.
    #[n(5)]
    pub word: Option<ByteVec>,
}

/// What the relay knows of the phone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// The relay's clock, in milliseconds since the Unix epoch.
    #[n(0)]
    pub relay_ms: u64,
    /// Whether it knows group and device.
    #[n(1)]
    pub standing: Standing,
    /// Its newest checkpoint, signed; absent before the first arrival.
    #[n(2)]
    pub checkpoint: Option<ByteVec>,
    /// How far it has this device's own logs, ascending by compartment.
    #[n(3)]
    pub own: Vec<OwnHead>,
}

/// How far the relay has one of the phone's own logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OwnHead {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The newest entry.
    #[n(1)]
    pub head: LogHead,
}

/// Whether a relay knows whom it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Standing {
    /// It has never heard of the group. The founding entry may be pushed.
    #[n(0)]
    UnknownGroup,
    /// It has not heard that the device belongs. Roll entries may be pushed.
    #[n(1)]
    UnknownDevice,
    /// It belongs.
    #[n(2)]
    Belongs,
    /// The roll does not name the device, but the key of a member who belongs has certified it: it may fetch the roll.
    #[n(3)]
    Certified,
}

/// What the phone wants.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pull {
    /// One per compartment, ascending.
    #[n(0)]
    pub cursors: Vec<Cursor>,
    /// Whether new entries are to be sent as they arrive.
    #[n(1)]
    pub live: bool,
}

/// How far a phone has one compartment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Cursor {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The last position it has; 0 for none.
    #[n(1)]
    pub after: u64,
}

/// Entries in order of arrival, and which positions they cover.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entries {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The entries. The phone's own are left out.
    #[n(1)]
    pub entries: Vec<Wire>,
    /// The position up to which the compartment is covered by now.
    #[n(2)]
    pub upto: u64,
    /// The position that this continues from: where the frame before it, or the pull, came to.
    #[n(3)]
    pub after: u64,
    /// How many of the positions in between hold entries of the phone's own.
    #[n(4)]
    pub left_out: u64,
}

/// Positions of a compartment that were handed over without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The compartment.
    pub compartment: CompartmentId,
    /// The position before the first of them.
    pub after: u64,
    /// The last of them.
    pub upto: u64,
}

impl Entries {
    /// What it covers; none if its numbers do not add up, so that an entry is missing or too many, or if it covers
    /// nothing.
    pub fn covered(&self) -> Option<Covered> {
        let Self { compartment, after, upto, left_out, .. } = *self;
        let positions = upto.checked_sub(after).filter(|positions| *positions > 0)?;
        let entries = positions.checked_sub(left_out)?;
        (entries == self.entries.len() as u64).then_some(Covered { compartment, after, upto })
    }
}

/// Entries to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Push {
    /// The phone's number for this push, repeated in its acknowledgement.
    #[n(0)]
    pub number: u32,
    /// The entries, each log in order.
    #[n(1)]
    pub entries: Vec<Wire>,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ack {
    /// The push.
    #[n(0)]
    pub number: u32,
    /// One per entry, in its order.
    #[n(1)]
    pub outcomes: Vec<Outcome>,
    /// Signed receipt that names the kept entries; absent if none was kept.
    #[n(2)]
    pub receipt: Option<ByteVec>,
}

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// It is on the relay's disk.
    #[n(0)]
    Kept,
    /// It was not kept.
    #[n(1)]
    Refused(#[n(0)] Refused),
}

/// A refusal with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// Why, for the machine.
    #[n(0)]
    pub refusal: Refusal,
    /// Why, for people.
    #[n(1)]
    pub reason: String,
    /// When to try again, in milliseconds; absent if trying again is of no use, or at any time.
    #[n(2)]
    pub retry_after_ms: Option<u64>,
}

impl Refused {
    /// A refusal without a time to wait.
    pub fn new(refusal: Refusal, reason: impl std::fmt::Display) -> Self {
        let reason = reason.to_string().chars().take(limits::REASON_CHARS_MAX).collect();
        Self { refusal, reason, retry_after_ms: None }
    }
}

/// Why a relay refuses. Numbers this version does not know are treated as [`Refusal::OTHER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Refusal(#[n(0)] pub u8);

impl Refusal {
    /// Something that has no number of its own.
    pub const OTHER: Self = Self(0);
    /// Not an entry or frame of the right form.
    pub const MALFORMED: Self = Self(1);
    /// Not signed by the device it names.
    pub const SIGNATURE: Self = Self(2);
    /// Of another group.
    pub const OTHER_GROUP: Self = Self(3);
    /// The device does not belong.
    pub const UNKNOWN_DEVICE: Self = Self(4);
    /// The device's role may not write there.
    pub const ROLE: Self = Self(5);
    /// The entry before it has not arrived.
    pub const GAP: Self = Self(6);
    /// Another entry stands at its place.
    pub const FORK: Self = Self(7);
    /// It cites roll entries that have not arrived.
    pub const ROLL_UNKNOWN: Self = Self(8);
    /// The group's or device's space is used up.
    pub const QUOTA: Self = Self(9);
    /// Too much at once.
    pub const RATE: Self = Self(10);
    /// The relay takes no new groups.
    pub const CLOSED: Self = Self(12);
    /// The relay cannot write just now.
    pub const STORE: Self = Self(13);
    /// The relay is shutting down.
    pub const SHUTDOWN: Self = Self(14);
    /// The reader was too slow and is to catch up in a new session.
    pub const TOO_SLOW: Self = Self(15);
    /// Another session version.
    pub const VERSION: Self = Self(16);
    /// The relay has no such mailbox.
    pub const MAILBOX_UNKNOWN: Self = Self(17);
    /// The mailbox's time is over.
    pub const MAILBOX_EXPIRED: Self = Self(18);
    /// Another device has knocked there, or was admitted.
    pub const MAILBOX_USED: Self = Self(19);
    /// The device was taken out of the group.
    pub const REMOVED: Self = Self(20);

    /// Whether the same entry may be kept later, so that it stays in the outbox.
    ///
    /// An entry that the phone itself has verified and that reads as malformed, forged or another group's at the relay
    /// was altered on the way: the phone does not give up a word because of it.
    pub fn is_passing(self) -> bool {
        [
            Self::MALFORMED,
            Self::SIGNATURE,
            Self::OTHER_GROUP,
            Self::GAP,
            Self::ROLL_UNKNOWN,
            Self::UNKNOWN_DEVICE,
            Self::QUOTA,
            Self::RATE,
            Self::CLOSED,
            Self::STORE,
            Self::SHUTDOWN,
            Self::TOO_SLOW,
            Self::VERSION,
            Self::REMOVED,
        ]
        .contains(&self)
    }

    /// Whether it says that whoever pushes does not belong.
    pub fn is_of_an_outsider(self) -> bool {
        [Self::UNKNOWN_DEVICE, Self::REMOVED].contains(&self)
    }

    /// Whether what it lacks can be found out by asking how far it has each log.
    pub fn lacks_causes(self) -> bool {
        [Self::GAP, Self::ROLL_UNKNOWN, Self::UNKNOWN_DEVICE, Self::MALFORMED, Self::SIGNATURE]
            .contains(&self)
    }
}

/// How far a party has each log, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Heads {
    /// The logs.
    #[n(0)]
    pub logs: Vec<LogHeight>,
}

/// How far a party has one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogHeight {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// Its newest entry.
    #[n(1)]
    pub head: LogHead,
}

/// A question for consistency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AskConsistency {
    /// The older size, at least 1.
    #[n(0)]
    pub from: u64,
}

/// A proof that one history continues another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Consistency {
    /// The older size.
    #[n(0)]
    pub from: u64,
    /// The newer checkpoint, signed.
    #[n(1)]
    pub checkpoint: ByteVec,
    /// RFC 9162 §2.1.4 proof.
    #[n(2)]
    pub hashes: Vec<Hash>,
}

/// Bytes that are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// More than one frame may take.
    #[error("a frame of {found} bytes where {} are allowed", limits::FRAME_BYTES_MAX)]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// Not a frame.
    #[error("{0}")]
    Cbor(#[from] cbor::NotCanonical),
    /// More items than a frame may hold.
    #[error("a frame with too many {0}")]
    TooMany(&'static str),
}

impl Frame {
    /// The frame's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`BadFrame`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadFrame> {
        if bytes.len() > limits::FRAME_BYTES_MAX {
            return Err(BadFrame::TooLarge { found: bytes.len() });
        }
        let frame: Self = cbor::decode(bytes)?;
        let (count, max, what) = match &frame {
            Self::Entries(entries) => (entries.entries.len(), limits::FRAME_ENTRIES_MAX, "entries"),
            Self::Push(push) => (push.entries.len(), limits::FRAME_ENTRIES_MAX, "entries"),
            Self::Ack(ack) => (ack.outcomes.len(), limits::FRAME_ENTRIES_MAX, "outcomes"),
            Self::Heads(heads) => (heads.logs.len(), limits::LOG_HEADS_MAX, "logs"),
            Self::Welcome(welcome) => (welcome.own.len(), limits::TEMPLATE_ROWS_MAX, "logs"),
            Self::Pull(pull) => (pull.cursors.len(), limits::TEMPLATE_ROWS_MAX, "cursors"),
            Self::Consistency(proof) => (proof.hashes.len(), limits::PROOF_HASHES_MAX, "hashes"),
            Self::Challenge(_)
            | Self::Hello(_)
            | Self::CaughtUp
            | Self::AskHeads
            | Self::AskConsistency(_)
            | Self::Goodbye(_)
            | Self::OpenMailbox(_)
            | Self::ChunkAck(_)
            | Self::GetChunk(_)
            | Self::Settled(_) => (0, 0, ""),
            Self::OfferChunks(names) | Self::WantedChunks(names) => {
                (names.chunks.len(), limits::CHUNK_NAMES_MAX, "chunks")
            }
            Self::PutChunk(put) => (put.ciphertext.len(), media::CIPHERTEXT_BYTES_MAX, "bytes of a chunk"),
            Self::Chunk(chunk) => {
                let bytes = chunk.ciphertext.as_ref().map_or(0, |bytes| bytes.len());
                (bytes, media::CIPHERTEXT_BYTES_MAX, "bytes of a chunk")
            }
            Self::Knock(knock) => (knock.sealed.len(), limits::KNOCK_BYTES_MAX, "bytes of a knock"),
            Self::Countersign(signed) => {
                (signed.sealed.len(), limits::ANSWER_BYTES_MAX, "bytes of a countersignature")
            }
            Self::Answer(answer) => (answer.sealed.len(), limits::ANSWER_BYTES_MAX, "bytes of an answer"),
            Self::Knocks(knocks) if knocks.largest() > limits::KNOCK_BYTES_MAX => {
                (knocks.largest(), limits::KNOCK_BYTES_MAX, "bytes of a knock")
            }
            Self::Knocks(knocks) => (knocks.knocks.len(), limits::KNOCKS_MAX, "knocks"),
            Self::Letter(letter) => (letter.word.bytes(), limits::ANSWER_BYTES_MAX, "bytes of an answer"),
        };
        if count > max {
            return Err(BadFrame::TooMany(what));
        }
        Ok(frame)
    }
}
