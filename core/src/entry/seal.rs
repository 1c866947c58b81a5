//! Writing entries and opening sealed bodies (PROTOCOL.md §3).

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use ed25519_dalek::SigningKey;
use hmac::{Hmac, Mac as _};
use minicbor::bytes::ByteVec;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::chain::{LogHead, Verified};
use super::header::{Checkpoint, Header, Kind, SUITE, VERSION};
use super::keys::{EntryKey, Place, SALT_BYTES, Secret};
use super::plaintext::{self, BadPlaintext, Content};
use super::wire::{Malformed, Received, Wire};
use crate::base::cose::{self, Purpose};
use crate::base::{CompartmentId, EntryHash, EpochId, GroupId, Hash, cbor, hash};

/// Where the next entry of one's own log goes, and what its author knows at that moment.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The group; none while founding it.
    pub group: Option<GroupId>,
    /// The compartment.
    pub compartment: CompartmentId,
    /// The entry before; none for the first.
    pub head: Option<LogHead>,
    /// The device's clock, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// Day since the Unix epoch after which the body may go.
    pub expiry_day: Option<u32>,
    /// Heads of the roll as known.
    pub roll_heads: Vec<EntryHash>,
    /// The last relay checkpoint seen.
    pub checkpoint: Option<Checkpoint>,
}

/// Why an entry could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSeal {
    /// The content does not fit.
    #[error("what is to be recorded does not fit into one entry: {0}")]
    Plaintext(#[from] BadPlaintext),
    /// The entry would break a rule that its readers check.
    #[error("the entry would be refused by its readers: {0}")]
    Malformed(#[from] Malformed),
}

/// Writes an entry whose body is in the clear: a certificate, an operation, a sealed sender key.
///
/// # Errors
/// [`CannotSeal::Malformed`] if readers would refuse it.
pub fn write_clear(
    key: &SigningKey,
    slot: &Slot,
    kind: Kind,
    epoch: Option<EpochId>,
    body: Vec<u8>,
) -> Result<Verified, CannotSeal> {
    sign(key, slot, kind, epoch, body, None)
}

/// Writes an entry whose body only readers of the epoch can open.
///
/// `salt` must be fresh random bytes.
///
/// # Errors
/// [`CannotSeal`] if the content is too large.
pub fn write_sealed(
    key: &SigningKey,
    slot: &Slot,
    group: GroupId,
    epoch: EpochId,
    sender: &Secret,
    salt: [u8; SALT_BYTES],
    content: &Content,
) -> Result<Verified, CannotSeal> {
    let place = Place {
        group,
        compartment: slot.compartment,
        device: crate::base::DeviceId(key.verifying_key().to_bytes()),
        seq: next_seq(slot),
    };
    let entry_key = EntryKey::derive(sender, &salt, &place);
    let plain = Zeroizing::new(plaintext::pack(content)?);
    let cipher = ChaCha20Poly1305::new(&entry_key.cipher().0.into());
    #[expect(clippy::expect_used, reason = "see its text")]
    let ciphertext = cipher
        .encrypt(&Nonce::default(), plain.as_slice())
        .expect("encrypting works because the plaintext is far below the cipher's limit of 256 GiB");
    let commitment = commit(&entry_key, &plain);
    sign(key, slot, Kind::SEALED, Some(epoch), [&salt, ciphertext.as_slice()].concat(), Some(commitment))
}

/// Why a sealed body stays closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpenBody {
    /// The entry is of a kind that is not sealed, or its body expired.
    #[error("there is no sealed body to open")]
    NoBody,
    /// Wrong key, or altered.
    #[error("the body does not open under this key")]
    Key,
    /// It opens, but the author had committed to other words.
    #[error("the body is not what its author committed to: do not trust it")]
    Commitment,
    /// It opens, and cannot be read.
    #[error("{0}")]
    Plaintext(#[from] BadPlaintext),
}

/// The key of `entry`, derived from its author's sender key.
///
/// # Errors
/// [`CannotOpenBody::NoBody`] if the body is gone, and the salt with it.
pub fn entry_key(group: GroupId, entry: &Received, sender: &Secret) -> Result<EntryKey, CannotOpenBody> {
    let (salt, _) = split(entry)?;
    Ok(EntryKey::derive(sender, salt, &Place::of(group, entry.header())))
}

/// Opens a sealed body with its entry key: decrypts, checks the commitment, unpacks.
///
/// # Errors
/// [`CannotOpenBody`] names what failed.
pub fn open(entry: &Received, key: &EntryKey) -> Result<Content, CannotOpenBody> {
    let (_, ciphertext) = split(entry)?;
    let cipher = ChaCha20Poly1305::new(&key.cipher().0.into());
    let plain = cipher.decrypt(&Nonce::default(), ciphertext).map_err(|_| CannotOpenBody::Key)?;
    let plain = Zeroizing::new(plain);
    // ChaCha20-Poly1305 alone lets a forger find two keys that open one body to two texts.
    let committed = entry.header().commitment.ok_or(CannotOpenBody::NoBody)?;
    commitment_mac(key, &plain).verify_slice(&committed.0).map_err(|_| CannotOpenBody::Commitment)?;
    Ok(plaintext::unpack(&plain)?)
}

fn commit(key: &EntryKey, plain: &[u8]) -> Hash {
    Hash(commitment_mac(key, plain).finalize().into_bytes().into())
}

fn commitment_mac(key: &EntryKey, plain: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "see its text")]
    let mut mac =
        Hmac::<Sha256>::new_from_slice(&key.commitment().0).expect("HMAC takes a key of any length");
    mac.update(plain);
    mac
}

fn split(entry: &Received) -> Result<(&[u8; SALT_BYTES], &[u8]), CannotOpenBody> {
    if entry.header().kind != Kind::SEALED {
        return Err(CannotOpenBody::NoBody);
    }
    entry.body().and_then(|body| body.split_first_chunk()).ok_or(CannotOpenBody::NoBody)
}

fn next_seq(slot: &Slot) -> u64 {
    slot.head.map_or(0, |head| head.seq + 1)
}

fn sign(
    key: &SigningKey,
    slot: &Slot,
    kind: Kind,
    epoch: Option<EpochId>,
    body: Vec<u8>,
    commitment: Option<Hash>,
) -> Result<Verified, CannotSeal> {
    let header = Header {
        version: VERSION,
        suite: SUITE,
        group: slot.group,
        compartment: slot.compartment,
        device: crate::base::DeviceId(key.verifying_key().to_bytes()),
        seq: next_seq(slot),
        previous: slot.head.map(|head| head.hash),
        kind,
        epoch,
        body_hash: hash::sha256(&body),
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
        commitment,
        claimed_ms: slot.claimed_ms,
        expiry_day: slot.expiry_day,
        roll_heads: slot.roll_heads.clone(),
        checkpoint: slot.checkpoint,
    };
    let signed = ByteVec::from(cose::sign(key, Purpose::Entry, cbor::encode(&header)));
    let entry = Received::parse(Wire { signed, body: Some(ByteVec::from(body)) })?;
    // Signed in the line above by the device that it names.
    Ok(Verified::from_own_store(entry))
}
