//! What lies where on a phone's disk, and what of it is encrypted.
//!
//! Entries lie there as they travel, so their bodies are encrypted already. Secrets, summary rows and drafts are
//! sealed here under a key from the app's vault. Identities, numbers and who signed what lie in the clear.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::error::Error;
use crate::base::{CompartmentId, DeviceId, DocumentId, EntryHash, cbor};
use crate::entry::keys::{Secret, disk_key};
use crate::entry::{LogId, Received, Verified};
use crate::storage::{Store, StoreError, Table};

/// One value each, by name.
pub const META: Table = Table(1);
/// compartment ‖ device ‖ seq → entry.
pub const ENTRIES: Table = Table(2);
/// document → sealed row.
pub const ROWS: Table = Table(3);
/// document ‖ compartment ‖ device ‖ seq → nothing: the entries a document is made of.
pub const DOCUMENTS: Table = Table(4);
/// document ‖ document about it → nothing.
pub const ABOUT: Table = Table(5);
/// number → [`OutboxRow`]: what the relay has not acknowledged.
pub const OUTBOX: Table = Table(6);
/// entry hash → entry with a good signature: waits for what it follows.
pub const WAITING: Table = Table(7);
/// compartment ‖ device ‖ seq → [`SetAsideRow`].
pub const QUARANTINE: Table = Table(8);
/// compartment ‖ device ‖ seq → nothing: kept, and not opened for lack of a key.
pub const UNOPENED: Table = Table(9);
/// entry hash → entry: the losing half of a fork, kept as proof.
pub const FORKS: Table = Table(10);
/// number → signed receipt.
pub const RECEIPTS: Table = Table(11);
/// compartment ‖ device ‖ seq → [`ReceivedRow`].
pub const RECEIVED: Table = Table(12);

/// expiry day (4) ‖ compartment ‖ device ‖ seq → nothing: entries whose bodies are to go after that day.
pub const EXPIRY: Table = Table(19);

/// compartment ‖ device ‖ seq → nothing: entries that came without the body that they still should have.
pub const BARE: Table = Table(20);

/// document → sealed draft of it.
pub const DRAFTS: Table = Table(18);

/// One entry that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OutboxRow {
    /// Its log.
    #[n(0)]
    pub log: LogId,
    /// Its number.
    #[n(1)]
    pub seq: u64,
    /// The document it belongs to, if it is this installation's own word.
    #[n(2)]
    pub document: Option<DocumentId>,
}

/// Why an entry has no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SetAsideRow {
    /// The reason, for people.
    #[n(0)]
    pub reason: String,
    /// Whether it was the relay that refused it.
    #[n(1)]
    pub by_relay: bool,
    /// The document, if it is this installation's own word.
    #[n(2)]
    pub document: Option<DocumentId>,
    /// Whether a removal cut it off: then it counts once a coordinator accepts it.
    #[n(3)]
    pub cut_off: bool,
}

impl SetAsideRow {
    /// Set aside for this reason, for good.
    pub fn because(reason: &dyn std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), ..Self::default() }
    }
}

/// When an entry reached the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReceivedRow {
    /// The relay's clock, in milliseconds since the Unix epoch.
    #[n(0)]
    pub received_ms: u64,
    /// The receipt, in [`RECEIPTS`].
    #[n(1)]
    pub receipt: u64,
}

/// The key of an entry.
pub fn entry_key(log: LogId, seq: u64) -> Vec<u8> {
    [log_prefix(log).as_slice(), &seq.to_be_bytes()].concat()
}

/// The key of an entry by its expiry day.
pub fn expiry_key(day: u32, log: LogId, seq: u64) -> Vec<u8> {
    [day.to_be_bytes().as_slice(), &entry_key(log, seq)].concat()
}

/// The day and the entry that such a key names.
pub fn parse_expiry_key(key: &[u8]) -> Option<(u32, (LogId, u64))> {
    let (day, entry) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*day), parse_entry_key(entry)?))
}

/// What the keys of a log's entries begin with.
pub fn log_prefix(log: LogId) -> Vec<u8> {
    [&[log.compartment.0], log.device.as_bytes().as_slice()].concat()
}

/// The entry that `key` names.
pub fn parse_entry_key(key: &[u8]) -> Option<(LogId, u64)> {
    let (compartment, rest) = key.split_first()?;
    let (device, seq) = rest.split_first_chunk::<32>()?;
    let log = LogId { compartment: CompartmentId(*compartment), device: DeviceId(*device) };
    Some((log, u64::from_be_bytes(seq.try_into().ok()?)))
}

/// The key of a document's part.
pub fn part_key(document: DocumentId, log: LogId, seq: u64) -> Vec<u8> {
    [document.as_bytes().as_slice(), &entry_key(log, seq)].concat()
}

/// The document and the entry that a part's key names.
pub fn parse_part_key(key: &[u8]) -> Option<(DocumentId, (LogId, u64))> {
    let (document, entry) = key.split_first_chunk()?;
    Some((DocumentId(*document), parse_entry_key(entry)?))
}

/// Reads one entry. It was verified before it was stored.
pub fn read_entry(store: &dyn Store, log: LogId, seq: u64) -> Result<Option<Verified>, Error> {
    store.get(ENTRIES, &entry_key(log, seq))?.map(|bytes| decode_entry(&bytes)).transpose()
}

/// Reads one entry; none if it is not there or cannot be read.
pub fn readable_entry(store: &dyn Store, log: LogId, seq: u64) -> Result<Option<Verified>, Error> {
    let bytes = match store.get(ENTRIES, &entry_key(log, seq)) {
        // The row alone: a store that is damaged as a whole answers nothing more.
        Err(StoreError::Corrupt { .. }) => None,
        read => read?,
    };
    let entry = bytes.and_then(|bytes| decode_entry(&bytes).ok());
    Ok(entry.filter(|entry| LogId::of(entry) == log && entry.header().seq == seq))
}

/// Decodes an entry from this device's own store.
pub fn decode_entry(bytes: &[u8]) -> Result<Verified, Error> {
    let entry = Received::from_bytes(bytes).map_err(|e| Error::store_damaged(&e))?;
    Ok(Verified::from_own_store(entry))
}

/// Decodes a value from this device's own store.
pub fn decode<'b, T: Decode<'b, ()> + Encode<()>>(bytes: &'b [u8]) -> Result<T, Error> {
    cbor::decode(bytes).map_err(|e| Error::store_damaged(&e))
}

/// A number as a key that sorts.
pub fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Reads a number back.
pub fn parse_number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// The number behind the last one in a table.
pub fn next_number(store: &dyn Store, table: Table) -> Result<u64, Error> {
    Ok(store.last(table, &[])?.map_or(1, |(key, _)| parse_number(&key) + 1))
}

/// An entry hash as a key.
pub fn hash_key(hash: EntryHash) -> Vec<u8> {
    hash.as_bytes().to_vec()
}

/// Seals and opens what must not lie on the disk in the clear. On a locked device there is one without a key.
pub struct DiskCipher(Option<(Secret, XChaCha20Poly1305)>);

/// Bytes of the random nonce before each sealed value.
const NONCE_BYTES: usize = 24;

impl DiskCipher {
    /// The cipher of what can be read, of a device whose key this is.
    pub fn of_device(key: Secret) -> Self {
        Self::of(key, b"lamppost/1/disk/rows")
    }

    /// The cipher of the little that a locked device needs: the vault's secret alone opens it.
    pub fn of_vault(secret: Secret) -> Self {
        Self::of(secret, b"lamppost/1/disk/session")
    }

    /// The cipher of a locked device: opens nothing.
    pub fn locked() -> Self {
        Self(None)
    }

    fn of(key: Secret, label: &[u8]) -> Self {
        let cipher = XChaCha20Poly1305::new(&disk_key(&key.0, label).0.into());
        Self(Some((key, cipher)))
    }

    pub fn is_locked(&self) -> bool {
        self.0.is_none()
    }

    /// The key that it was made of.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn key(&self) -> Result<&Secret, Error> {
        self.0.as_ref().map(|(key, _)| key).ok_or(Error::Locked)
    }

    /// Seals `value` for its place.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn seal(
        &self,
        rng: &mut dyn CryptoRng,
        table: Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (_, cipher) = self.0.as_ref().ok_or(Error::Locked)?;
        let mut nonce = [0; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let aad = place(table, key);
        let payload = Payload { msg: value, aad: &aad };
        #[expect(clippy::expect_used, reason = "see its text")]
        let sealed =
            cipher.encrypt(&XNonce::from(nonce), payload).expect("sealing works because a row is small");
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`Error::WrongVault`] if the key is another or the bytes were altered; [`Error::Locked`].
    pub fn open(&self, table: Table, key: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (_, cipher) = self.0.as_ref().ok_or(Error::Locked)?;
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::WrongVault)?;
        let aad = place(table, key);
        let opened = cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad: &aad });
        opened.map(Zeroizing::new).map_err(|_| Error::WrongVault)
    }
}

fn place(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table.0], key].concat()
}
