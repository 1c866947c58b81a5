//! The header of an entry: what its device signs (PROTOCOL.md §2.1).

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use crate::base::{CompartmentId, DeviceId, EntryHash, EpochId, GroupId, Hash};

/// The format version this code writes and reads.
pub const VERSION: u8 = 1;

/// The one suite of version 1: Ed25519, SHA-256, HKDF-SHA256, ChaCha20-Poly1305, HPKE over X25519.
pub const SUITE: u8 = 1;

/// What a device signs for each entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Header {
    /// Format version.
    #[n(0)]
    pub version: u8,
    /// Algorithms.
    #[n(1)]
    pub suite: u8,
    /// The group; absent in the founding entry alone, whose hash it is.
    #[n(2)]
    pub group: Option<GroupId>,
    /// The compartment this log belongs to.
    #[n(3)]
    pub compartment: CompartmentId,
    /// The device that wrote and signed it.
    #[n(4)]
    pub device: DeviceId,
    /// Its number in the log, from 0.
    #[n(5)]
    pub seq: u64,
    /// Hash of the entry before it; absent at 0.
    #[n(6)]
    pub previous: Option<EntryHash>,
    /// What the body is.
    #[n(7)]
    pub kind: Kind,
    /// The epoch under which the body can be opened; only for the kinds that need one.
    #[n(8)]
    pub epoch: Option<EpochId>,
    /// SHA-256 of the body.
    #[n(9)]
    pub body_hash: Hash,
    /// Length of the body in bytes.
    #[n(10)]
    pub body_bytes: u32,
    /// Keyed commitment to the padded plaintext; only for [`Kind::SEALED`].
    #[n(11)]
    pub commitment: Option<Hash>,
    /// The device's clock in milliseconds since the Unix epoch. A claim: nothing is decided by it.
    #[n(12)]
    pub claimed_ms: u64,
    /// Day since the Unix epoch after which the body may be dropped.
    #[n(13)]
    pub expiry_day: Option<u32>,
    /// Heads of the roll as the author knew it, ascending.
    #[n(14)]
    pub roll_heads: Vec<EntryHash>,
    /// The last relay checkpoint the author had seen.
    #[n(15)]
    pub checkpoint: Option<Checkpoint>,
}

/// What an entry's body is. Numbers this version does not know are kept and have no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// The author's certificate: seq 0 of every log but the founder's roll log.
    pub const CERTIFICATE: Self = Self(0);
    /// A roll operation, in the clear.
    pub const OPERATION: Self = Self(1);
    /// The author's sender key, sealed to an epoch.
    pub const SENDER_KEY: Self = Self(2);
    /// A document's content, encrypted under an entry key.
    pub const SEALED: Self = Self(3);
}

impl<C> Encode<C> for Kind {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.u8(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Kind {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        d.u8().map(Self)
    }
}

/// The root of a relay's arrivals at a size (PROTOCOL.md §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Checkpoint {
    /// Arrivals under the root.
    #[n(0)]
    pub size: u64,
    /// RFC 9162 root over the entry hashes in order of arrival in the group.
    #[n(1)]
    pub root: Hash,
}

/// Reads the format version alone, so that a newer format is told apart from garbage.
pub(super) fn peek_version(bytes: &[u8]) -> Option<u8> {
    let mut decoder = Decoder::new(bytes);
    decoder.map().ok()??;
    match decoder.u8() {
        Ok(0) => decoder.u8().ok(),
        Ok(_) | Err(_) => None,
    }
}
