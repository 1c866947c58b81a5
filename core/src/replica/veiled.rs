//! The store of a device as it lies on its disk: every row sealed, and no identity in a key (PROTOCOL.md §8).
//!
//! The engine looks rows up by prefix and walks along numbers: an entry by its log and then its number, an expiry by its day. So a
//! key is cut into parts. Numbers and days stay as they are and in order; what identifies anything is replaced by a keyed hash
//! of itself and the parts before it, under which a prefix of whole parts is found as before. The key itself is sealed with
//! the value. What is left to see is the number of rows in each table, their sizes, numbers within logs, and days of expiry.
//!
//! The vault's secret alone opens all this, so that a locked device can work: it keeps what lies on the disk from who has the disk,
//! and makes a wipe of the secret one of everything. What can be read is sealed once more, under the PIN.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::alone::ALONE;
use super::chunks::{CHUNKS, CHUNKS_IN, CHUNKS_OUT, NAMED};
use super::disk::{
    ABOUT, BARE, DOCUMENTS, DRAFTS, ENTRIES, EXPIRY, FORKS, META, OUTBOX, QUARANTINE, RECEIPTS, RECEIVED,
    ROWS, UNOPENED, WAITING,
};
use super::engine::{ROLL, SENDERS};
use super::invitations::{INVITATIONS, KNOCKS};
use super::media::{ATTACHED, FILES};
use super::membership::SPENT_SEALS;
use crate::base::DocumentId;
use crate::entry::keys::{Secret, disk_key};
use crate::storage::{Batch, Pair, Store, StoreError, Table};

/// A part of a key.
#[derive(Clone, Copy)]
enum Part {
    /// So many bytes that are looked up and never walked along.
    Hidden(usize),
    /// A name, with its slash if it has one.
    Name,
    /// So many bytes in the order of which rows are read.
    Clear(usize),
}

const DOCUMENT: Part = Part::Hidden(DocumentId::LEN);
/// Compartment and device.
const LOG: Part = Part::Hidden(33);
const HASH: Part = Part::Hidden(32);
const NUMBER: Part = Part::Clear(8);
const MAILBOX: Part = Part::Hidden(16);
const DAY: Part = Part::Clear(4);

/// Bytes that a hidden part becomes.
const HIDDEN_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;

/// The parts of a table's keys. What stands behind the last is hidden.
fn parts(table: Table) -> &'static [Part] {
    match table {
        META => &[Part::Name],
        ENTRIES | QUARANTINE | UNOPENED | FORKS | RECEIVED | BARE => &[LOG, NUMBER],
        DOCUMENTS => &[DOCUMENT, LOG, NUMBER],
        ROWS | DRAFTS => &[DOCUMENT],
        ABOUT => &[DOCUMENT, DOCUMENT],
        OUTBOX | RECEIPTS | ROLL | CHUNKS_OUT | CHUNKS_IN => &[NUMBER],
        WAITING | CHUNKS | SPENT_SEALS => &[HASH],
        SENDERS => &[LOG],
        INVITATIONS | KNOCKS => &[MAILBOX],
        ALONE => &[DOCUMENT, NUMBER],
        EXPIRY => &[DAY, LOG, NUMBER],
        NAMED | FILES | ATTACHED => &[DOCUMENT, HASH],
        _ => &[],
    }
}

/// A store whose rows are veiled.
pub(super) struct Veiled<S> {
    inner: S,
    cipher: XChaCha20Poly1305,
    names: Secret,
}

impl<S: Store> Veiled<S> {
    /// Veils a store under a key.
    pub fn new(inner: S, key: &Secret) -> Self {
        let cipher = XChaCha20Poly1305::new(&disk_key(&key.0, b"lamppost/1/disk/values").0.into());
        Self { inner, cipher, names: disk_key(&key.0, b"lamppost/1/disk/names") }
    }

    /// A key as it lies on the disk.
    fn veil(&self, table: Table, key: &[u8]) -> Vec<u8> {
        let (mut out, at, _) = self.veil_parts(table, key);
        if at < key.len() {
            out.extend_from_slice(&self.hidden(table, key));
        }
        out
    }

    /// What the keys on the disk begin with whose own begin with `prefix`; and whether no others do: a hidden part that is cut in
    /// the middle is not found by its hash.
    fn veil_prefix(&self, table: Table, prefix: &[u8]) -> (Vec<u8>, bool) {
        let (mut out, at, next) = self.veil_parts(table, prefix);
        let rest = prefix.get(at..).unwrap_or_default();
        match next {
            Some(Part::Clear(_)) => out.extend_from_slice(rest),
            Some(Part::Hidden(_) | Part::Name) | None if rest.is_empty() => {}
            Some(Part::Hidden(_) | Part::Name) | None => return (out, false),
        }
        (out, true)
    }

    /// The whole parts of a key, where they end, and which part is not whole.
    fn veil_parts(&self, table: Table, key: &[u8]) -> (Vec<u8>, usize, Option<Part>) {
        let (mut out, mut at) = (Vec::with_capacity(key.len()), 0);
        for part in parts(table) {
            let rest = key.get(at..).unwrap_or_default();
            let len = match part {
                Part::Hidden(len) | Part::Clear(len) => Some(*len),
                Part::Name => rest.iter().position(|byte| *byte == b'/').map(|slash| slash + 1),
            };
            let Some(whole) = len.and_then(|len| rest.get(..len)) else { return (out, at, Some(*part)) };
            at += whole.len();
            match part {
                Part::Clear(_) => out.extend_from_slice(whole),
                Part::Hidden(_) | Part::Name => {
                    out.extend_from_slice(&self.hidden(table, key.get(..at).unwrap_or_default()));
                }
            }
        }
        (out, at, None)
    }

    /// The keyed hash of a part and of those before it.
    fn hidden(&self, table: Table, key: &[u8]) -> [u8; HIDDEN_BYTES] {
        #[expect(clippy::expect_used, reason = "see its text")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.names.0).expect("HMAC takes a key of any length");
        mac.update(&[table.0]);
        mac.update(key);
        let mut out = [0; HIDDEN_BYTES];
        out.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        out
    }

    fn seal(&self, table: Table, veiled: &[u8], key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let len = u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes();
        let plain = Zeroizing::new([&len, key, value].concat());
        let payload = Payload { msg: &plain, aad: &place(table, veiled) };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| damaged("a row is too large to seal"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, table: Table, (veiled, sealed): &Pair) -> Result<Pair, StoreError> {
        let unopened = || damaged("a row does not open under this device's key");
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(unopened)?;
        let payload = Payload { msg, aad: &place(table, veiled) };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| unopened())?;
        let (len, rest) = plain.split_first_chunk().ok_or_else(unopened)?;
        let (key, value) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or_else(unopened)?;
        Ok((key.to_vec(), value.to_vec()))
    }
}

fn place(table: Table, veiled: &[u8]) -> Vec<u8> {
    [&[table.0], veiled].concat()
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt { what: what.to_owned() }
}

impl<S: Store> Store for Veiled<S> {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut veiled = Batch::default();
        for write in batch.into_writes() {
            let key = self.veil(write.table, &write.key);
            match write.value {
                Some(value) => {
                    let sealed = self.seal(write.table, &key, &write.key, &value)?;
                    veiled.put(write.table, key, sealed);
                }
                None => veiled.delete(write.table, key),
            }
        }
        self.inner.apply(veiled)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let veiled = self.veil(table, key);
        let Some(sealed) = self.inner.get(table, &veiled)? else { return Ok(None) };
        Ok(Some(self.open(table, &(veiled, sealed))?.1))
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let (under, whole) = self.veil_prefix(table, prefix);
        let after = after.map(|after| self.veil(table, after));
        let rows_at_once = if whole { rows_max } else { usize::MAX };
        let rows = self.inner.scan(table, &under, after.as_deref(), rows_at_once)?;
        let opened = rows.iter().map(|row| self.open(table, row));
        let fits = |row: &Result<Pair, StoreError>| !matches!(row, Ok((key, _)) if !key.starts_with(prefix));
        opened.filter(fits).take(rows_max).collect()
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        let (under, whole) = self.veil_prefix(table, prefix);
        if !whole {
            return Ok(self.scan(table, prefix, None, usize::MAX)?.pop());
        }
        self.inner.last(table, &under)?.map(|row| self.open(table, &row)).transpose()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::storage::MemoryStore;

    /// Keys as the engine makes them: some parts equal, numbers in no order.
    fn keys(table: Table) -> Vec<Vec<u8>> {
        let mut keys = vec![Vec::new()];
        for part in parts(table) {
            let values: Vec<Vec<u8>> = match part {
                Part::Hidden(len) => [7, 255, 0].map(|byte| vec![byte; *len]).to_vec(),
                Part::Clear(len) => {
                    [3_u8, 1, 255, 2].map(|byte| [vec![0; len - 1], vec![byte]].concat()).to_vec()
                }
                Part::Name => vec![b"identity".to_vec(), b"cursor/\x01".to_vec(), b"cursor/\x02".to_vec()],
            };
            keys = keys
                .iter()
                .flat_map(|key| values.iter().map(|value| [key.as_slice(), value].concat()))
                .collect();
        }
        keys
    }

    #[test]
    fn a_veiled_store_finds_what_a_plain_one_finds() {
        let (plain, veiled) = (MemoryStore::new(), Veiled::new(MemoryStore::new(), &Secret([1; 32])));
        for table in (1..=40).map(Table) {
            for (at, key) in keys(table).iter().enumerate() {
                for store in [&plain as &dyn Store, &veiled] {
                    let mut batch = Batch::default();
                    batch.put(table, key.clone(), at.to_be_bytes());
                    store.apply(batch).unwrap();
                }
            }
        }
        for table in (1..=40).map(Table) {
            for key in keys(table) {
                assert_eq!(veiled.get(table, &key).unwrap(), plain.get(table, &key).unwrap());
                // Every prefix, on a part's edge or not.
                for prefix in (0..=key.len()).map(|len| &key[..len]) {
                    let found = [&plain as &dyn Store, &veiled]
                        .map(|store| store.scan(table, prefix, None, usize::MAX).unwrap());
                    let [wanted, got] =
                        found.each_ref().map(|rows| rows.iter().cloned().collect::<BTreeSet<_>>());
                    assert_eq!(got, wanted, "{table:?} {prefix:?}");
                    let mut paged = Vec::new();
                    while let Some(row) = veiled
                        .scan(table, prefix, paged.last().map(|(key, _): &Pair| key.as_slice()), 1)
                        .unwrap()
                        .pop()
                    {
                        paged.push(row);
                    }
                    assert_eq!(paged, found[1], "{table:?} {prefix:?}");
                }
            }
            // Within a log, numbers are in order, and the last is the greatest.
            let mut logs: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
            if let Some(Part::Clear(len)) = parts(table).last() {
                for (key, _) in veiled.scan(table, &[], None, usize::MAX).unwrap() {
                    let (log, number) = key.split_at(key.len() - len);
                    logs.entry(log.to_vec()).or_default().push(number.to_vec());
                }
            }
            for (log, numbers) in logs {
                assert!(numbers.is_sorted(), "{table:?}");
                let last = veiled.last(table, &log).unwrap().unwrap().0;
                assert_eq!(last, [log.as_slice(), numbers.last().unwrap()].concat());
            }
        }
        let mut batch = Batch::default();
        batch.delete(ROWS, vec![7; DocumentId::LEN]);
        veiled.apply(batch).unwrap();
        assert_eq!(veiled.get(ROWS, &[7; DocumentId::LEN]).unwrap(), None);
    }

    #[test]
    fn nothing_that_identifies_lies_on_the_disk_and_another_key_opens_nothing() {
        let inner = MemoryStore::new();
        let veiled = Veiled::new(inner.clone(), &Secret([1; 32]));
        for table in (1..=40).map(Table) {
            for key in keys(table) {
                let mut batch = Batch::default();
                batch.put(table, key, b"what a row holds".to_vec());
                veiled.apply(batch).unwrap();
            }
        }
        let holds = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        for table in (1..=40).map(Table) {
            for (key, value) in inner.scan(table, &[], None, usize::MAX).unwrap() {
                let both = [key, value].concat();
                for needle in [&[7; 16][..], &[255; 16], b"what a row", b"identity", b"cursor"] {
                    assert!(!holds(&both, needle), "{table:?}");
                }
            }
        }
        let other = Veiled::new(inner.clone(), &Secret([2; 32]));
        assert_eq!(other.get(META, b"identity").unwrap(), None);
        assert!(matches!(other.scan(META, &[], None, 1), Err(StoreError::Corrupt { .. })));
        // A row that was moved to another place does not open there.
        let mut rows = inner.scan(ROWS, &[], None, 2).unwrap();
        let mut batch = Batch::default();
        batch.put(ROWS, rows.remove(0).0, rows.remove(0).1);
        inner.apply(batch).unwrap();
        assert!(veiled.scan(ROWS, &[], None, usize::MAX).is_err());
    }
}
