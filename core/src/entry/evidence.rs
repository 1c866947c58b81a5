//! Proof of one source of a release, for somebody who holds nothing but the release (PROTOCOL.md §3.5).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::certificate::{Certificate, Scope};
use super::chain;
use super::keys::{EntryKey, Secret};
use super::plaintext::Content;
use super::seal;
use super::wire::{Received, Wire};
use crate::base::{EntryHash, Hash, MemberId, hash};

/// One source with everything that proves it, and nothing that opens another entry.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Evidence {
    /// The entry as it was signed.
    #[n(0)]
    pub entry: Wire,
    /// Its own key.
    #[n(1)]
    pub key: EntryKey,
    /// The salt of the commitment in the release.
    #[n(2)]
    pub salt: Secret,
    /// The certificate that names the author's membership.
    #[n(3)]
    pub certificate: ByteVec,
}

/// What a piece of evidence proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The member whose device signed it.
    pub member: MemberId,
    /// The entry's hash.
    pub entry: EntryHash,
    /// What it said, under its original signature.
    pub content: Content,
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// The entry is not what its author signed.
    #[error("the entry is not authentic: {0}")]
    Entry(String),
    /// The key does not open the entry.
    #[error("the entry key does not open the entry: {0}")]
    Key(#[from] seal::CannotOpenBody),
    /// The release committed to another entry.
    #[error("the release does not commit to this entry")]
    Commitment,
    /// The certificate is not the author's.
    #[error("the certificate does not belong to the author: {0}")]
    Certificate(String),
}

/// The commitment that a release carries for one source: salted, so that nobody can guess or link sources.
pub fn commitment(salt: &Secret, entry: EntryHash) -> Hash {
    hash::tagged(b"lamppost/1/source", &[&salt.0, entry.as_bytes()])
}

/// Checks evidence against the commitments of a release. Needs nothing else.
///
/// # Errors
/// [`NotProven`] names the part that fails.
pub fn verify(evidence: &Evidence, committed: &[Hash]) -> Result<Proven, NotProven> {
    let entry = Received::parse(evidence.entry.clone()).map_err(|e| NotProven::Entry(e.to_string()))?;
    let entry = chain::verify_one(entry).map_err(|e| NotProven::Entry(e.to_string()))?;
    if !committed.contains(&commitment(&evidence.salt, entry.hash())) {
        return Err(NotProven::Commitment);
    }
    let certificate = Certificate::verify(&evidence.certificate, Scope::group(entry.group()))
        .map_err(|e| NotProven::Certificate(e.to_string()))?;
    if certificate.claims().device != entry.header().device {
        return Err(NotProven::Certificate("it names another device".to_owned()));
    }
    let content = seal::open(&entry, &evidence.key)?;
    Ok(Proven { member: certificate.claims().member, entry: entry.hash(), content })
}
