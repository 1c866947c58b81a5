//! What the relay keeps, as typed rows over the ordered store.
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | name | signing key (32 bytes), incarnation (16 bytes) |
//! | groups | group | when its newest entry arrived, u64 big-endian, milliseconds since the Unix epoch |
//! | entries | group, compartment, position | author (32 bytes), wire as CBOR |
//! | logs | group, compartment, device, seq of the last | entry hashes (32 bytes each) of a run |
//! | arrivals | group, number of the first, from 0 | entry hashes (32 bytes each) in order of arrival |
//! | mailboxes | group, mailbox | mailbox as CBOR |
//! | chunks | group, chunk | the member who brought it (32 bytes), the compartment and hash of its entry (1 and 32), ciphertext |
//! | space | group, part (1), member | bytes that the member has used of that part of the group's space, u64 big-endian |
//! | chunk entries | group, entry | the signed part of an entry that chunks are kept under |
//! | chunks under | group, entry, chunk | nothing |
//! | allowed | group | nothing: the operator has allowed the group to come |
//! | expiries | group | when the group is to be deleted, u64 big-endian, milliseconds since the Unix epoch |
//! | forgotten | group | nothing: the group's rows are being deleted |
//!
//! Numbers in keys are u64 big-endian, so that the store's order is theirs. A commit writes hashes by the run: a row
//! for each took more of the relay's time than all else but the signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lamppost_core::base::{
    ChunkId, CompartmentId, DeviceId, EntryHash, GroupId, Incarnation, MailboxId, MemberId, RelayId, cbor,
};
use lamppost_core::entry::{LogHead, LogId, Received, Verified, Wire};
use lamppost_core::storage::{Batch, Store, StoreError, Table};

use crate::mailbox::Mailbox;
use crate::space::{Part, Space};

const META: Table = Table(0);
const GROUPS: Table = Table(1);
const ENTRIES: Table = Table(2);
const LOGS: Table = Table(3);
const ARRIVALS: Table = Table(4);
const MAILBOXES: Table = Table(5);
const CHUNKS: Table = Table(6);
const SPACE: Table = Table(7);
const CHUNK_ENTRIES: Table = Table(8);
const CHUNKS_UNDER: Table = Table(9);
const ALLOWED: Table = Table(10);
const EXPIRIES: Table = Table(11);
const FORGOTTEN: Table = Table(12);

/// Tables whose keys begin with the group that a row is about, and which go with it.
const OF_A_GROUP: [Table; 8] =
    [ENTRIES, LOGS, ARRIVALS, MAILBOXES, CHUNKS, SPACE, CHUNK_ENTRIES, CHUNKS_UNDER];

/// Rows of a group that are deleted in one durable write. Of the largest, chunks, 64 take 4 MiB to read.
const DELETED_ROWS: usize = 64;

/// Entry hashes of one row: 1 KiB, as most entries have. The store writes a leaf of 16 rows anew after every ten changes,
/// so that large rows make the small ones beside them dear.
const ROW_HASHES_MAX: usize = 32;

/// Rows read at once where all rows of a range are wanted. So many rows of hashes take 512 KiB.
const SCAN_ROWS: usize = 512;

/// Why the relay's store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The store itself failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It answered with a row that this relay never wrote.
    #[error("the relay's data is damaged: {0}")]
    Damaged(&'static str),
    /// A write failed before, and what is on disk is uncertain until the store is opened anew.
    #[error("a write failed before; start the relay again")]
    Failed,
}

/// Who this relay is.
pub struct Identity {
    /// Signs receipts and checkpoints.
    pub key: SigningKey,
    /// Its public half, by which phones know the relay.
    pub relay: RelayId,
    /// This life of the store.
    pub incarnation: Incarnation,
}

/// Fresh random bytes for a store that has no identity yet.
pub struct Seed {
    /// Becomes the signing key.
    pub key: [u8; 32],
    /// Becomes the incarnation.
    pub incarnation: [u8; 16],
}

/// One stored entry on its way to a reader.
pub struct StoredEntry {
    /// Its place in the compartment's order of arrival.
    pub position: u64,
    /// Who wrote it.
    pub author: DeviceId,
    wire: Vec<u8>,
}

impl StoredEntry {
    /// The entry.
    ///
    /// # Errors
    /// [`StoreFault::Damaged`] if the row is not an entry.
    pub fn entry(&self) -> Result<Received, StoreFault> {
        Received::parse(self.wire()?).map_err(|_| StoreFault::Damaged("an entry cannot be read"))
    }

    /// The entry as it travels, not looked at.
    ///
    /// # Errors
    /// [`StoreFault::Damaged`] if the row does not have the form of an entry.
    pub fn wire(&self) -> Result<Wire, StoreFault> {
        minicbor::decode(&self.wire).map_err(|_| StoreFault::Damaged("an entry cannot be read"))
    }

    /// Bytes it adds to a frame.
    pub fn bytes(&self) -> usize {
        self.wire.len()
    }
}

/// A chunk of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// The member whose device brought it, and whose share of the space it takes up.
    pub member: MemberId,
    /// The compartment of its entry: who may read that gets it.
    pub compartment: CompartmentId,
    /// It is kept for as long as the body of this entry.
    pub entry: EntryHash,
    /// What travels.
    pub ciphertext: Vec<u8>,
}

/// The relay's rows. Cloning shares the store.
#[derive(Clone)]
pub struct RelayStore(Arc<dyn Store>);

impl RelayStore {
    /// Wraps a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Reads the identity, or writes `seed` as the identity of an empty store.
    ///
    /// `renew` begins a new life: to be used after a backup was restored, because phones have seen arrivals since.
    ///
    /// # Errors
    /// [`StoreFault`] if it cannot be read or written.
    pub fn identity(&self, seed: &Seed, renew: bool) -> Result<Identity, StoreFault> {
        let key = self.0.get(META, b"key")?;
        let incarnation = self.0.get(META, b"incarnation")?.filter(|_| !renew);
        let mut batch = Batch::default();
        if key.is_none() {
            batch.put(META, b"key", seed.key);
        }
        if incarnation.is_none() {
            batch.put(META, b"incarnation", seed.incarnation);
        }
        if !batch.is_empty() {
            self.0.apply(batch)?;
        }
        let unreadable = |_| {
            StoreFault::Damaged(
                "its own key cannot be read. Restore a backup of the directory; if there is none, start with an empty one: \
                 phones bring everything back, and coordinators give out the new relay id",
            )
        };
        let key = array(key.as_deref().unwrap_or(&seed.key)).map_err(unreadable)?;
        let key = SigningKey::from_bytes(&key);
        let incarnation = array(incarnation.as_deref().unwrap_or(&seed.incarnation)).map_err(unreadable)?;
        let relay = RelayId(key.verifying_key().to_bytes());
        Ok(Identity { key, relay, incarnation: Incarnation(incarnation) })
    }

    /// How many groups there are.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn group_count(&self) -> Result<u64, StoreFault> {
        let mut count = 0;
        self.each(GROUPS, b"", |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    /// Every group.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn groups(&self) -> Result<Vec<GroupId>, StoreFault> {
        let mut groups = Vec::new();
        self.each(GROUPS, b"", |key, _| {
            // A key of another length is no group's, and keeps no group from being looked at.
            groups.extend(array(key).ok().map(GroupId));
            Ok(())
        })?;
        Ok(groups)
    }

    /// When the newest entry of a group arrived, in milliseconds since the Unix epoch; none if the relay has never heard of
    /// the group.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn newest_ms(&self, group: GroupId) -> Result<Option<u64>, StoreFault> {
        let value = self.0.get(GROUPS, group.as_bytes())?;
        value.map(|value| Ok(u64::from_be_bytes(array(&value)?))).transpose()
    }

    /// Entries of a compartment behind `after`, in order of arrival, `rows_max` at most.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn entries(
        &self,
        group: GroupId,
        compartment: CompartmentId,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<StoredEntry>, StoreFault> {
        let prefix = compartment_key(group, compartment);
        let after = [prefix.as_slice(), &after.to_be_bytes()].concat();
        let rows = self.0.scan(ENTRIES, &prefix, Some(&after), rows_max)?;
        rows.into_iter()
            .map(|(key, value)| {
                // One that is too short is no entry, and harms no other.
                let (author, wire) = value.split_first_chunk().unwrap_or((&[0; DeviceId::LEN], &[]));
                let (author, wire) = (DeviceId(*author), wire.to_vec());
                Ok(StoredEntry { position: number_of(&key)?, author, wire })
            })
            .collect()
    }

    /// The newest position of a compartment; 0 for none.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn last_position(&self, group: GroupId, compartment: CompartmentId) -> Result<u64, StoreFault> {
        let last = self.0.last(ENTRIES, &compartment_key(group, compartment))?;
        last.map_or(Ok(0), |(key, _)| number_of(&key))
    }

    /// The hash of the entry at a place of a log.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn hash_at(&self, group: GroupId, log: LogId, seq: u64) -> Result<Option<EntryHash>, StoreFault> {
        let log_prefix = log_prefix(group, log);
        let before = seq.checked_sub(1).map(|before| log_key(group, log, before));
        // Rows are named by the last of a run: the first row that ends there or later has it.
        let row = self.0.scan(LOGS, &log_prefix, before.as_deref(), 1)?.pop();
        let Some((key, row)) = row else { return Ok(None) };
        let from_end = number_of(&key)?.checked_sub(seq).and_then(|behind| usize::try_from(behind).ok());
        let hash = hashes_of(&row)?.iter().rev().nth(from_end.unwrap_or(usize::MAX));
        hash.map(|hash| Some(EntryHash(*hash))).ok_or(StoreFault::Damaged("a log has a gap"))
    }

    /// The newest entry of each log of a group. Costs two look-ups per log, however long it is.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn heads(&self, group: GroupId) -> Result<BTreeMap<LogId, LogHead>, StoreFault> {
        let mut heads = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        while let Some((key, _)) = self.0.scan(LOGS, group.as_bytes(), after.as_deref(), 1)?.pop() {
            let prefix_bytes = key.len().saturating_sub(8);
            let prefix = key.get(..prefix_bytes).unwrap_or_default();
            let Some((last, value)) = self.0.last(LOGS, prefix)? else {
                return Err(StoreFault::Damaged("a log vanished while it was read"));
            };
            let hash = hashes_of(&value)?.last().copied().unwrap_or_default();
            let head = LogHead { seq: number_of(&last)?, hash: EntryHash(hash) };
            heads.insert(log_of(prefix)?, head);
            after = Some([prefix, &u64::MAX.to_be_bytes()].concat());
        }
        Ok(heads)
    }

    /// Every entry of a compartment's logs: its log, its number and its hash.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn each_logged(
        &self,
        group: GroupId,
        compartment: CompartmentId,
        mut take: impl FnMut(LogId, u64, EntryHash),
    ) -> Result<(), StoreFault> {
        self.each(LOGS, &compartment_key(group, compartment), |key, value| {
            let log = log_of(key.get(..key.len().saturating_sub(8)).unwrap_or_default())?;
            let last = number_of(key)?;
            for (behind, hash) in (0..).zip(hashes_of(value)?.iter().rev()) {
                let seq = last.checked_sub(behind).ok_or(StoreFault::Damaged("a log has a gap"))?;
                take(log, seq, EntryHash(*hash));
            }
            Ok(())
        })
    }

    /// Every arrival of a group, in order.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn each_arrival(&self, group: GroupId, mut take: impl FnMut(EntryHash)) -> Result<(), StoreFault> {
        self.each(ARRIVALS, group.as_bytes(), |_, value| {
            hashes_of(value)?.iter().for_each(|hash| take(EntryHash(*hash)));
            Ok(())
        })
    }

    /// One mailbox of a group.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn mailbox(&self, group: GroupId, mailbox: MailboxId) -> Result<Option<Mailbox>, StoreFault> {
        let value = self.0.get(MAILBOXES, &mailbox_key(group, mailbox))?;
        value.map(|value| mailbox_row(&value)).transpose()
    }

    /// Every mailbox of a group.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn each_mailbox(
        &self,
        group: GroupId,
        mut take: impl FnMut(MailboxId, Mailbox),
    ) -> Result<(), StoreFault> {
        self.each(MAILBOXES, group.as_bytes(), |key, value| {
            take(MailboxId(array(key.get(GroupId::LEN..).unwrap_or_default())?), mailbox_row(value)?);
            Ok(())
        })
    }

    /// A chunk; none if it is not here.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn chunk(&self, group: GroupId, chunk: ChunkId) -> Result<Option<StoredChunk>, StoreFault> {
        let Some(value) = self.0.get(CHUNKS, &chunk_key(group, chunk))? else { return Ok(None) };
        let parts = value.split_first_chunk::<{ MemberId::LEN }>().and_then(|(member, rest)| {
            let (compartment, rest) = rest.split_first()?;
            let (entry, ciphertext) = rest.split_first_chunk::<{ EntryHash::LEN }>()?;
            Some(StoredChunk {
                member: MemberId(*member),
                compartment: CompartmentId(*compartment),
                entry: EntryHash(*entry),
                ciphertext: ciphertext.to_vec(),
            })
        });
        parts.map(Some).ok_or(StoreFault::Damaged("a chunk is too short"))
    }

    /// The signed parts of the entries that chunks of a group are kept under, behind `after`, `rows_max` at most.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn chunk_entries(
        &self,
        group: GroupId,
        after: Option<EntryHash>,
        rows_max: usize,
    ) -> Result<Vec<(EntryHash, Vec<u8>)>, StoreFault> {
        let after = after.map(|after| [group.as_bytes().as_slice(), after.as_bytes()].concat());
        let rows = self.0.scan(CHUNK_ENTRIES, group.as_bytes(), after.as_deref(), rows_max)?;
        let named = |(key, signed): (Vec<u8>, Vec<u8>)| {
            Ok((EntryHash(array(key.get(GroupId::LEN..).unwrap_or_default())?), signed))
        };
        rows.into_iter().map(named).collect()
    }

    /// Chunks that are kept under an entry, `rows_max` at most.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn chunks_under(
        &self,
        group: GroupId,
        entry: EntryHash,
        rows_max: usize,
    ) -> Result<Vec<ChunkId>, StoreFault> {
        let prefix = [group.as_bytes().as_slice(), entry.as_bytes()].concat();
        let rows = self.0.scan(CHUNKS_UNDER, &prefix, None, rows_max)?;
        rows.iter().map(|(key, _)| Ok(ChunkId(array(key.get(prefix.len()..).unwrap_or_default())?))).collect()
    }

    /// What each member has used of a group's space.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn space(&self, group: GroupId) -> Result<Space, StoreFault> {
        let mut space = Space::default();
        self.each(SPACE, group.as_bytes(), |key, value| {
            let (number, member) = key.get(GroupId::LEN..).and_then(<[u8]>::split_first).unwrap_or((&0, &[]));
            let part =
                Part::from_number(*number).ok_or(StoreFault::Damaged("a part of the space is unknown"))?;
            space.add(part, MemberId(array(member)?), u64::from_be_bytes(array(value)?));
            Ok(())
        })?;
        Ok(space)
    }

    /// The groups that the operator has allowed to come.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn allowed(&self) -> Result<BTreeSet<GroupId>, StoreFault> {
        self.groups_in(ALLOWED).map(|groups| groups.into_keys().collect())
    }

    /// The groups that are being deleted.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn forgotten(&self) -> Result<BTreeSet<GroupId>, StoreFault> {
        self.groups_in(FORGOTTEN).map(|groups| groups.into_keys().collect())
    }

    /// When groups are to be deleted, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn expiries(&self) -> Result<BTreeMap<GroupId, u64>, StoreFault> {
        let rows = self.groups_in(EXPIRIES)?.into_iter();
        rows.map(|(group, value)| Ok((group, u64::from_be_bytes(array(&value)?)))).collect()
    }

    /// Allows a group to come. Durable on return, like all that follows.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn allow(&self, group: GroupId) -> Result<(), StoreFault> {
        let mut batch = Batch::default();
        batch.put(ALLOWED, *group.as_bytes(), Vec::new());
        Ok(self.0.apply(batch)?)
    }

    /// Sets when a group is to be deleted, in milliseconds since the Unix epoch; none for never.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn set_expiry(&self, group: GroupId, at_ms: Option<u64>) -> Result<(), StoreFault> {
        let mut batch = Batch::default();
        match at_ms {
            Some(at_ms) => batch.put(EXPIRIES, *group.as_bytes(), at_ms.to_be_bytes()),
            None => batch.delete(EXPIRIES, *group.as_bytes()),
        }
        Ok(self.0.apply(batch)?)
    }

    /// Makes a group unknown. [`RelayStore::drop_page`] then drops its rows.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn forget(&self, group: GroupId) -> Result<(), StoreFault> {
        let mut batch = Batch::default();
        for table in [GROUPS, ALLOWED, EXPIRIES] {
            batch.delete(table, *group.as_bytes());
        }
        batch.put(FORGOTTEN, *group.as_bytes(), Vec::new());
        Ok(self.0.apply(batch)?)
    }

    /// Drops some rows of a group that was forgotten. Returns whether those were the last.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn drop_page(&self, group: GroupId) -> Result<bool, StoreFault> {
        let mut batch = Batch::default();
        for table in OF_A_GROUP {
            let rows = self.0.scan(table, group.as_bytes(), None, DELETED_ROWS - batch.len())?;
            rows.into_iter().for_each(|(key, _)| batch.delete(table, key));
            if batch.len() == DELETED_ROWS {
                self.0.apply(batch)?;
                return Ok(false);
            }
        }
        batch.delete(FORGOTTEN, *group.as_bytes());
        self.0.apply(batch)?;
        Ok(true)
    }

    fn groups_in(&self, table: Table) -> Result<BTreeMap<GroupId, Vec<u8>>, StoreFault> {
        let mut groups = BTreeMap::new();
        self.each(table, b"", |key, value| {
            groups.insert(GroupId(array(key)?), value.to_vec());
            Ok(())
        })?;
        Ok(groups)
    }

    /// Writes what arrived, all of it or nothing. Durable on return.
    ///
    /// # Errors
    /// [`StoreFault`] if nothing of it may be relied on.
    pub fn write(&self, arrivals: Arrived) -> Result<(), StoreFault> {
        Ok(self.0.apply(arrivals.into_batch())?)
    }

    /// Deletes everything of a group, and lets it come again. Whatever interrupts it, it goes on when it is called again.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn begin_again(&self, group: GroupId) -> Result<(), StoreFault> {
        self.forget(group)?;
        while !self.drop_page(group)? {}
        self.allow(group)
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// [`StoreFault`]
    pub fn size_bytes(&self) -> Result<u64, StoreFault> {
        Ok(self.0.size_bytes()?)
    }

    fn each(
        &self,
        table: Table,
        prefix: &[u8],
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), StoreFault>,
    ) -> Result<(), StoreFault> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.0.scan(table, prefix, after.as_deref(), SCAN_ROWS)?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (key, value) in &rows {
                take(key, value)?;
            }
        }
    }
}

/// One durable write in the making.
#[derive(Default)]
pub struct Arrived {
    batch: Batch,
    runs: BTreeMap<(GroupId, LogId), Run>,
    arrivals: BTreeMap<GroupId, Run>,
}

/// Consecutive hashes that are not in the batch yet.
#[derive(Default)]
struct Run {
    last: u64,
    hashes: Vec<EntryHash>,
}

impl Run {
    fn push(&mut self, number: u64, hash: EntryHash) {
        self.last = number;
        self.hashes.push(hash);
    }

    /// The number of the first, the number of the last, and their hashes.
    fn take(&mut self) -> Option<(u64, u64, Vec<u8>)> {
        let others = self.hashes.len().checked_sub(1)?;
        let hashes = std::mem::take(&mut self.hashes);
        let bytes = hashes.iter().flat_map(|hash| hash.0).collect();
        Some((self.last - others as u64, self.last, bytes))
    }
}

impl Arrived {
    /// Adds an entry with its place in the compartment and its number among the group's arrivals. Entries of a log come
    /// in its order, and so do numbers.
    pub fn entry(&mut self, group: GroupId, entry: &Verified, position: u64, number: u64) {
        let header = entry.header();
        self.again(group, entry, position);
        let log = LogId::of(entry);
        let run = self.runs.entry((group, log)).or_default();
        run.push(header.seq, entry.hash());
        if run.hashes.len() == ROW_HASHES_MAX {
            put_run(&mut self.batch, group, log, run);
        }
        let arrivals = self.arrivals.entry(group).or_default();
        arrivals.push(number, entry.hash());
        if arrivals.hashes.len() == ROW_HASHES_MAX {
            put_arrivals(&mut self.batch, group, arrivals);
        }
    }

    /// Writes an entry anew, where it stands.
    pub fn again(&mut self, group: GroupId, entry: &Verified, position: u64) {
        let (key, value) = entry_row(group, entry, position);
        self.batch.put(ENTRIES, key, value);
    }

    /// Sets a mailbox.
    pub fn mailbox(&mut self, group: GroupId, at: MailboxId, mailbox: &Mailbox) {
        self.batch.put(MAILBOXES, mailbox_key(group, at), cbor::encode(mailbox));
    }

    /// Takes a mailbox away.
    pub fn close_mailbox(&mut self, group: GroupId, at: MailboxId) {
        self.batch.delete(MAILBOXES, mailbox_key(group, at));
    }

    /// Sets a chunk, brought by a device of `member`, under an entry.
    pub fn chunk(
        &mut self,
        group: GroupId,
        chunk: ChunkId,
        member: MemberId,
        entry: &Received,
        ciphertext: &[u8],
    ) {
        let (hash, compartment) = (entry.hash(), [entry.header().compartment.0]);
        let value = [member.as_bytes().as_slice(), &compartment, hash.as_bytes(), ciphertext].concat();
        self.batch.put(CHUNKS, chunk_key(group, chunk), value);
        self.batch.put(CHUNKS_UNDER, under_key(group, hash, chunk), Vec::new());
        let signed: Vec<u8> = entry.wire().signed.to_vec();
        self.batch.put(CHUNK_ENTRIES, [group.as_bytes().as_slice(), hash.as_bytes()].concat(), signed);
    }

    /// Takes a chunk away.
    pub fn drop_chunk(&mut self, group: GroupId, chunk: ChunkId, entry: EntryHash) {
        self.batch.delete(CHUNKS, chunk_key(group, chunk));
        self.batch.delete(CHUNKS_UNDER, under_key(group, entry, chunk));
    }

    /// Forgets an entry that no chunk is kept under any more.
    pub fn drop_chunk_entry(&mut self, group: GroupId, entry: EntryHash) {
        self.batch.delete(CHUNK_ENTRIES, [group.as_bytes().as_slice(), entry.as_bytes()].concat());
    }

    /// Sets what a member has used of a part of a group's space.
    pub fn space(&mut self, group: GroupId, part: Part, member: MemberId, bytes: u64) {
        let key = [group.as_bytes().as_slice(), &[part.number()], member.as_bytes()].concat();
        self.batch.put(SPACE, key, bytes.to_be_bytes());
    }

    /// Sets when a group's newest entry arrived.
    pub fn newest_ms(&mut self, group: GroupId, newest_ms: u64) {
        self.batch.put(GROUPS, *group.as_bytes(), newest_ms.to_be_bytes());
    }

    fn into_batch(mut self) -> Batch {
        for ((group, log), mut run) in self.runs {
            put_run(&mut self.batch, group, log, &mut run);
        }
        for (group, mut arrivals) in self.arrivals {
            put_arrivals(&mut self.batch, group, &mut arrivals);
        }
        self.batch
    }
}

fn put_run(batch: &mut Batch, group: GroupId, log: LogId, run: &mut Run) {
    if let Some((_, last, hashes)) = run.take() {
        batch.put(LOGS, log_key(group, log, last), hashes);
    }
}

fn put_arrivals(batch: &mut Batch, group: GroupId, arrivals: &mut Run) {
    if let Some((first, _, hashes)) = arrivals.take() {
        batch.put(ARRIVALS, [group.as_bytes().as_slice(), &first.to_be_bytes()].concat(), hashes);
    }
}

fn entry_row(group: GroupId, entry: &Verified, position: u64) -> (Vec<u8>, Vec<u8>) {
    let header = entry.header();
    let key = [compartment_key(group, header.compartment).as_slice(), &position.to_be_bytes()].concat();
    let mut value = Vec::with_capacity(DeviceId::LEN + entry.encoded_bytes());
    value.extend(header.device.as_bytes());
    entry.encode_into(&mut value);
    (key, value)
}

fn compartment_key(group: GroupId, compartment: CompartmentId) -> Vec<u8> {
    [group.as_bytes().as_slice(), &[compartment.0]].concat()
}

fn log_prefix(group: GroupId, log: LogId) -> Vec<u8> {
    [group.as_bytes().as_slice(), &[log.compartment.0], log.device.as_bytes()].concat()
}

fn log_key(group: GroupId, log: LogId, seq: u64) -> Vec<u8> {
    [log_prefix(group, log).as_slice(), &seq.to_be_bytes()].concat()
}

fn mailbox_key(group: GroupId, mailbox: MailboxId) -> Vec<u8> {
    [group.as_bytes().as_slice(), mailbox.as_bytes()].concat()
}

fn chunk_key(group: GroupId, chunk: ChunkId) -> Vec<u8> {
    [group.as_bytes().as_slice(), chunk.as_bytes()].concat()
}

fn under_key(group: GroupId, entry: EntryHash, chunk: ChunkId) -> Vec<u8> {
    [group.as_bytes().as_slice(), entry.as_bytes(), chunk.as_bytes()].concat()
}

fn mailbox_row(value: &[u8]) -> Result<Mailbox, StoreFault> {
    cbor::decode(value).map_err(|_| StoreFault::Damaged("a mailbox cannot be read"))
}

fn log_of(prefix: &[u8]) -> Result<LogId, StoreFault> {
    let rest = prefix.get(GroupId::LEN..).unwrap_or_default();
    match rest.split_first() {
        Some((compartment, device)) => {
            Ok(LogId { compartment: CompartmentId(*compartment), device: DeviceId(array(device)?) })
        }
        None => Err(StoreFault::Damaged("a log's key is too short")),
    }
}

fn hashes_of(row: &[u8]) -> Result<&[[u8; EntryHash::LEN]], StoreFault> {
    match row.as_chunks() {
        (hashes, []) if !hashes.is_empty() => Ok(hashes),
        _ => Err(StoreFault::Damaged("a row of hashes is cut short")),
    }
}

fn number_of(key: &[u8]) -> Result<u64, StoreFault> {
    key.last_chunk().map(|last| u64::from_be_bytes(*last)).ok_or(StoreFault::Damaged("a key is too short"))
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreFault> {
    bytes.try_into().map_err(|_| StoreFault::Damaged("a value has another length than this relay writes"))
}
