//! Frames about chunks of files, one each or by their names (PROTOCOL.md §5.7). The relay sees names and sizes.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::frame::{Outcome, Refused};
use crate::base::hash::sha256;
use crate::base::{ChunkId, limits};

/// Phone: which of these do you lack? Relay, to the same: these.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChunkNames {
    /// The chunks, at most [`limits::CHUNK_NAMES_MAX`].
    #[n(0)]
    pub chunks: Vec<ChunkId>,
}

/// Phone: keep this, for as long as the body of that entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PutChunk {
    /// SHA-256 of the ciphertext.
    #[n(0)]
    pub chunk: ChunkId,
    /// What lies under that name.
    #[n(1)]
    pub ciphertext: ByteVec,
    /// The signed part of an entry of the document that names it.
    #[n(2)]
    pub entry: ByteVec,
}

/// Relay: what became of a chunk that was to be kept. Sent after the durable write.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChunkAck {
    /// The chunk.
    #[n(0)]
    pub chunk: ChunkId,
    /// Whether it is on the relay's disk.
    #[n(1)]
    pub outcome: Outcome,
}

/// Phone: send me this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GetChunk {
    /// The chunk.
    #[n(0)]
    pub chunk: ChunkId,
}

/// Relay: this is it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Chunk {
    /// The chunk.
    #[n(0)]
    pub chunk: ChunkId,
    /// What lies under that name; none if nothing does, or not yet, or the reader may not read what it belongs to.
    #[n(1)]
    pub ciphertext: Option<ByteVec>,
}

/// Bytes of the largest ciphertext: a chunk and its tag.
pub const CIPHERTEXT_BYTES_MAX: usize = limits::CHUNK_BYTES + 16;

/// Whether a ciphertext is what its name says.
pub fn is_named(chunk: ChunkId, ciphertext: &[u8]) -> bool {
    ciphertext.len() <= CIPHERTEXT_BYTES_MAX && sha256(ciphertext).0 == chunk.0
}

impl ChunkAck {
    /// It was not kept.
    pub fn refused(chunk: ChunkId, why: Refused) -> Self {
        Self { chunk, outcome: Outcome::Refused(why) }
    }
}
