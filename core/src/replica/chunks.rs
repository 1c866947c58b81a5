//! Chunks on a device: what lies there, what the relay may lack, what is to be fetched (PROTOCOL.md §5.7, §8).

use std::collections::{BTreeSet, HashMap};

use minicbor::{Decode, Encode};

use super::disk::{self, OUTBOX, OutboxRow, QUARANTINE};
use super::engine::Engine;
use super::error::Error;
use super::media::{FILES, FileRow, MediaPolicy, file_key};
use crate::base::{ChunkId, DocumentId, Hash, cbor, limits};
use crate::entry::Verified;
use crate::entry::chunk::{Manifest, SealedChunk};
use crate::storage::{Batch, Table};
use crate::sync::media::PutChunk;
use crate::sync::transfer::{Carried, Load};

/// chunk → ciphertext.
pub(super) const CHUNKS: Table = Table(30);
/// number → [`OutRow`]: chunks that the relay has not acknowledged.
pub(super) const CHUNKS_OUT: Table = Table(31);
/// number → [`InRow`]: chunks to be fetched.
pub(super) const CHUNKS_IN: Table = Table(32);
/// document ‖ chunk → nothing: the document names it.
pub(super) const NAMED: Table = Table(35);

/// Rows read at once where all are looked at.
const PAGE_ROWS: usize = 1_024;

#[derive(Encode, Decode)]
#[cbor(map)]
struct OutRow {
    #[n(0)]
    chunk: ChunkId,
    /// Whose entry the relay keeps it under.
    #[n(1)]
    document: DocumentId,
    /// Whether this member wrote that.
    #[n(2)]
    own: bool,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct InRow {
    #[n(0)]
    chunk: ChunkId,
    #[n(1)]
    document: DocumentId,
    #[n(2)]
    file: Hash,
}

/// What is kept in memory of chunks on their way.
#[derive(Default)]
pub(super) struct MediaMemory {
    /// The next number in either list.
    next: u64,
    /// Chunks of this device's own documents that the relay has not acknowledged.
    unsent: HashMap<DocumentId, u32>,
    pub(super) policy: MediaPolicy,
}

impl Engine {
    /// Drops the photos of a document: what is listed to be carried, and every chunk that no other document names.
    pub(super) fn drop_media(&mut self, batch: &mut Batch, document: DocumentId) -> Result<(), Error> {
        let mut doomed: BTreeSet<ChunkId> = BTreeSet::new();
        for (key, _) in self.store.scan(NAMED, document.as_bytes(), None, usize::MAX)? {
            doomed.extend(named_by(&key).map(|(_, chunk)| chunk));
        }
        self.forget_media(batch, document)?;
        if doomed.is_empty() {
            return Ok(());
        }
        let gone = batch.writes().iter().filter(|write| write.table == NAMED && write.value.is_none());
        let gone: BTreeSet<Vec<u8>> = gone.map(|write| write.key.clone()).collect();
        for (key, _) in self.store.scan(NAMED, &[], None, usize::MAX)? {
            if let Some((_, chunk)) = named_by(&key).filter(|_| !gone.contains(&key)) {
                doomed.remove(&chunk);
            }
        }
        for (key, row) in self.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
            if disk::decode::<OutRow>(&row)?.document == document {
                self.leave_out(batch, disk::parse_number(&key))?;
            }
        }
        for (key, row) in self.store.scan(CHUNKS_IN, &[], None, usize::MAX)? {
            if disk::decode::<InRow>(&row)?.document == document {
                batch.delete(CHUNKS_IN, key);
            }
        }
        doomed.iter().for_each(|chunk| batch.delete(CHUNKS, *chunk.as_bytes()));
        Ok(())
    }

    /// Forgets which photos a document names; their chunks stay.
    pub(super) fn forget_media(&self, batch: &mut Batch, document: DocumentId) -> Result<(), Error> {
        for table in [NAMED, FILES] {
            for (key, _) in self.store.scan(table, document.as_bytes(), None, usize::MAX)? {
                batch.delete(table, key);
            }
        }
        Ok(())
    }

    /// Notes which chunks a document names: as long as it does, they stay.
    pub(super) fn refer_to(batch: &mut Batch, document: DocumentId, manifest: &Manifest) {
        for chunk in &manifest.chunks {
            batch.put(NAMED, [document.as_bytes().as_slice(), chunk.as_bytes()].concat(), Vec::new());
        }
    }

    /// A chunk as it travels; none if it is not here.
    pub(super) fn chunk(&self, chunk: ChunkId) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.get(CHUNKS, chunk.as_bytes())?)
    }

    /// A chunk for the relay, with the entry that it keeps it under; none if either is not here any more.
    pub(super) fn chunk_to_put(&self, key: u64, chunk: ChunkId) -> Result<Option<PutChunk>, Error> {
        let Some(row) = self.store.get(CHUNKS_OUT, &disk::number_key(key))? else { return Ok(None) };
        let OutRow { document, .. } = disk::decode(&row)?;
        let entry = self.entry_at_relay(document, &self.unsent_entries()?)?;
        Ok(entry.zip(self.chunk(chunk)?).map(|(entry, ciphertext)| PutChunk {
            chunk,
            ciphertext: ciphertext.into(),
            entry: entry.wire().signed.clone(),
        }))
    }

    /// An entry of a document that the relay has.
    fn entry_at_relay(
        &self,
        document: DocumentId,
        unsent: &BTreeSet<Vec<u8>>,
    ) -> Result<Option<Verified>, Error> {
        for (log, seq) in self.parts(document)? {
            let key = disk::entry_key(log, seq);
            if !unsent.contains(&key) && self.store.get(QUARANTINE, &key)?.is_none() {
                return disk::read_entry(&*self.store, log, seq);
            }
        }
        Ok(None)
    }

    /// The places of what waits in the outbox.
    fn unsent_entries(&self) -> Result<BTreeSet<Vec<u8>>, Error> {
        let rows = self.store.scan(OUTBOX, &[], None, usize::MAX)?.into_iter();
        let keys =
            rows.map(|(_, row)| disk::decode::<OutboxRow>(&row).map(|row| disk::entry_key(row.log, row.seq)));
        keys.collect()
    }

    /// Whether chunks of a document, or of the sealed part of an observation, wait to be sent.
    pub(super) fn waits_with_chunks(&self, document: DocumentId) -> bool {
        let unsent = &self.media.unsent;
        !unsent.is_empty() && [document, self.sibling(document)].iter().any(|id| unsent.contains_key(id))
    }

    /// The relay has heard of entries whose chunks may have waited for that.
    pub(super) fn chunks_may_go(&mut self) {
        if !self.media.unsent.is_empty() {
            self.mail_mark += 1;
        }
    }

    /// What is to be carried behind these places. What the relay lacks the words of waits for them.
    pub(super) fn chunks_to_carry(&self, up_after: u64, down_after: u64) -> Result<Load, Error> {
        let page = |table, after: u64| {
            self.store.scan(table, &[], Some(&disk::number_key(after)), limits::CHUNK_NAMES_MAX)
        };
        let mut load = Load::default();
        let (mut after, mut unsent, mut there) = (up_after, None, HashMap::new());
        while load.up.is_empty() {
            let rows = page(CHUNKS_OUT, after)?;
            let Some((last, _)) = rows.last() else { break };
            after = disk::parse_number(last);
            for (key, row) in rows {
                let OutRow { chunk, document, .. } = disk::decode(&row)?;
                let unsent = match &mut unsent {
                    Some(unsent) => unsent,
                    none => none.insert(self.unsent_entries()?),
                };
                let is_there = match there.get(&document) {
                    Some(known) => *known,
                    None => self.entry_at_relay(document, unsent)?.is_some(),
                };
                there.insert(document, is_there);
                if is_there {
                    load.up.push(Carried { key: disk::parse_number(&key), chunk });
                }
            }
        }
        for (key, row) in page(CHUNKS_IN, down_after)? {
            let chunk = disk::decode::<InRow>(&row)?.chunk;
            load.down.push(Carried { key: disk::parse_number(&key), chunk });
        }
        Ok(load)
    }

    /// The relay has these on its disk.
    pub(super) fn mark_chunks_kept(&mut self, keys: &[u64]) -> Result<(), Error> {
        self.refresh()?;
        self.transact(|engine, batch| keys.iter().try_for_each(|key| engine.leave_out(batch, *key)))
    }

    /// Keeps a chunk that was asked for.
    pub(super) fn keep_chunk(&mut self, key: u64, chunk: ChunkId, ciphertext: &[u8]) -> Result<(), Error> {
        self.refresh()?;
        let place = disk::number_key(key);
        let Some(row) = self.store.get(CHUNKS_IN, &place)? else { return Ok(()) };
        let row: InRow = disk::decode(&row)?;
        if row.chunk != chunk {
            return Ok(());
        }
        self.transact(|engine, batch| {
            batch.delete(CHUNKS_IN, place);
            batch.put(CHUNKS, *chunk.as_bytes(), ciphertext);
            let key = file_key(row.document, row.file);
            if let Some(file) = engine.store.get(FILES, &key)? {
                let mut file: FileRow = disk::decode(&file)?;
                file.missing = file.missing.saturating_sub(1);
                batch.put(FILES, key, cbor::encode(&file));
            }
            engine.changed.insert(row.document);
            Ok(())
        })
    }

    pub(super) fn put_chunks(&self, batch: &mut Batch, chunks: &[SealedChunk]) {
        chunks.iter().for_each(|chunk| batch.put(CHUNKS, *chunk.id.as_bytes(), chunk.ciphertext.clone()));
    }

    /// Lists chunks of a document of this member's own for the relay. The document is not at the relay until they are.
    pub(super) fn queue_chunks(
        &mut self,
        batch: &mut Batch,
        document: DocumentId,
        chunks: &[ChunkId],
    ) -> Result<(), Error> {
        for chunk in chunks {
            self.queue_chunk(batch, OutRow { chunk: *chunk, document, own: true });
        }
        Ok(())
    }

    fn queue_chunk(&mut self, batch: &mut Batch, row: OutRow) {
        let number = self.next_media_number();
        batch.put(CHUNKS_OUT, disk::number_key(number), cbor::encode(&row));
        if row.own {
            *self.media.unsent.entry(row.document).or_default() += 1;
        }
        self.mail_mark += 1;
    }

    /// Chunks that wait belong to another document from now on.
    pub(super) fn move_chunks(
        &mut self,
        batch: &mut Batch,
        document: DocumentId,
        chunks: &[ChunkId],
    ) -> Result<(), Error> {
        for (key, row) in self.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
            let row: OutRow = disk::decode(&row)?;
            if chunks.contains(&row.chunk) {
                self.leave_out(batch, disk::parse_number(&key))?;
                self.queue_chunks(batch, document, &[row.chunk])?;
            }
        }
        Ok(())
    }

    /// Lists every chunk anew, for a relay that may have lost them: it says which it lacks.
    pub(super) fn queue_chunks_again(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let mut queued = BTreeSet::new();
        for (_, row) in self.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
            queued.insert(disk::decode::<OutRow>(&row)?.chunk);
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(NAMED, &[], after.as_deref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, _) in page {
                let Some((document, chunk)) = named_by(&key) else { continue };
                if self.chunk(chunk)?.is_some() && queued.insert(chunk) {
                    let own = self.row(document)?.is_some_and(|row| row.author == self.member_id());
                    self.queue_chunk(batch, OutRow { chunk, document, own });
                }
            }
        }
    }

    pub(super) fn load_media_memory(&mut self) -> Result<(), Error> {
        let next =
            disk::next_number(&*self.store, CHUNKS_OUT)?.max(disk::next_number(&*self.store, CHUNKS_IN)?);
        let mut unsent = HashMap::new();
        for (_, row) in self.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
            let OutRow { document, own, .. } = disk::decode(&row)?;
            if own {
                *unsent.entry(document).or_default() += 1;
            }
        }
        // Numbers that a session still holds are not given out again.
        self.media.next = self.media.next.max(next);
        self.media.unsent = unsent;
        Ok(())
    }

    fn next_media_number(&mut self) -> u64 {
        let number = self.media.next;
        self.media.next += 1;
        number
    }

    fn leave_out(&mut self, batch: &mut Batch, key: u64) -> Result<(), Error> {
        let Some(row) = self.store.get(CHUNKS_OUT, &disk::number_key(key))? else { return Ok(()) };
        let OutRow { document, own, .. } = disk::decode(&row)?;
        batch.delete(CHUNKS_OUT, disk::number_key(key));
        if let Some(left) = self.media.unsent.get_mut(&document).filter(|_| own) {
            *left -= 1;
            if *left == 0 {
                self.media.unsent.remove(&document);
            }
            // Of a sealed part the observation is shown.
            if !self.is_locked() {
                self.changed.extend(self.row(document)?.map(|row| row.about).unwrap_or_default());
            }
            self.changed.insert(document);
        }
        Ok(())
    }

    /// Lists what is lacking of a file to be fetched. Answers with how much that is.
    pub(super) fn ask_for(
        &mut self,
        batch: &mut Batch,
        document: DocumentId,
        manifest: &Manifest,
    ) -> Result<u32, Error> {
        let lacking = self.lacking(batch, manifest)?;
        for chunk in &lacking {
            let number = self.next_media_number();
            let row = InRow { chunk: *chunk, document, file: manifest.hash };
            batch.put(CHUNKS_IN, disk::number_key(number), cbor::encode(&row));
        }
        Ok(lacking.len().try_into().unwrap_or(u32::MAX))
    }

    /// Chunks of a file that are neither here nor about to be.
    pub(super) fn lacking(&self, batch: &Batch, manifest: &Manifest) -> Result<Vec<ChunkId>, Error> {
        let puts = batch.writes().iter().filter(|write| write.table == CHUNKS && write.value.is_some());
        let coming: BTreeSet<&[u8]> = puts.map(|write| write.key.as_slice()).collect();
        let mut lacking = Vec::new();
        for chunk in &manifest.chunks {
            if !coming.contains(chunk.as_bytes().as_slice()) && self.chunk(*chunk)?.is_none() {
                lacking.push(*chunk);
            }
        }
        Ok(lacking)
    }
}

/// The document and the chunk of a row of [`NAMED`].
fn named_by(key: &[u8]) -> Option<(DocumentId, ChunkId)> {
    let (document, chunk) = key.split_first_chunk()?;
    Some((DocumentId(*document), ChunkId(chunk.try_into().ok()?)))
}
