//! SHA-256, with and without a domain tag.

use sha2::{Digest, Sha256};

use super::ids::Hash;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// SHA-256 of `tag`, a zero byte, and each part preceded by its length (u32, big-endian).
///
/// The tag separates uses, the lengths keep two different lists of parts from hashing alike.
pub fn tagged(tag: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix(tag);
    hasher.update([0]);
    for part in parts {
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        hasher.update(len.to_be_bytes());
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}
