//! Chunks on a device: what lies there, what the relay may lack, what is to be fetched (PROTOCOL.md §5.7, §8).

use std::collections::{BTreeSet, HashMap};

use minicbor::{Decode, Encode};

use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::media::{FILES, FileRow, MediaPolicy, file_key};
use crate::base::{ChunkId, DocumentId, Hash, cbor, limits};
use crate::entry::chunk::{Manifest, SealedChunk};
use crate::storage::{Batch, Table};
use crate::sync::transfer::{Carried, Load};

/// chunk → document that this device attached it to (24, zeros for others') ‖ ciphertext.
pub(super) const CHUNKS: Table = Table(30);
/// number → [`OutRow`]: chunks that the relay has not acknowledged.
const CHUNKS_OUT: Table = Table(31);
/// number → [`InRow`]: chunks to be fetched.
const CHUNKS_IN: Table = Table(32);

/// Chunks read at once where all are looked at: a megabyte.
const PAGE_CHUNKS: usize = 16;

const NOBODYS: DocumentId = DocumentId([0; DocumentId::LEN]);

#[derive(Encode, Decode)]
#[cbor(map)]
struct OutRow {
    #[n(0)]
    chunk: ChunkId,
    #[n(1)]
    document: DocumentId,
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

impl MediaMemory {
    pub(super) fn is_unsent(&self, document: DocumentId) -> bool {
        self.unsent.contains_key(&document)
    }
}

impl Engine {
    /// Drops chunks, wherever they are listed. What they were part of cannot be shown any more.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn drop_chunks(&mut self, chunks: &BTreeSet<ChunkId>) -> Result<(), Error> {
        self.refresh()?;
        self.transact(|engine, batch| {
            for (key, row) in engine.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
                if chunks.contains(&disk::decode::<OutRow>(&row)?.chunk) {
                    engine.leave_out(batch, disk::parse_number(&key))?;
                }
            }
            for (key, row) in engine.store.scan(CHUNKS_IN, &[], None, usize::MAX)? {
                if chunks.contains(&disk::decode::<InRow>(&row)?.chunk) {
                    batch.delete(CHUNKS_IN, key);
                }
            }
            chunks.iter().for_each(|chunk| batch.delete(CHUNKS, *chunk.as_bytes()));
            Ok(())
        })
    }

    /// A chunk as it travels; none if it is not here.
    pub(super) fn chunk(&self, chunk: ChunkId) -> Result<Option<Vec<u8>>, Error> {
        let row = self.store.get(CHUNKS, chunk.as_bytes())?;
        Ok(row.map(|mut row| row.split_off(DocumentId::LEN.min(row.len()))))
    }

    /// What is to be carried behind these places.
    pub(super) fn chunks_to_carry(&self, up_after: u64, down_after: u64) -> Result<Load, Error> {
        let page = |table, after: u64| {
            self.store.scan(table, &[], Some(&disk::number_key(after)), limits::CHUNK_NAMES_MAX)
        };
        let mut load = Load::default();
        for (key, row) in page(CHUNKS_OUT, up_after)? {
            let chunk = disk::decode::<OutRow>(&row)?.chunk;
            load.up.push(Carried { key: disk::parse_number(&key), chunk });
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
            batch.put(CHUNKS, *chunk.as_bytes(), [NOBODYS.as_bytes().as_slice(), ciphertext].concat());
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

    pub(super) fn put_chunks(&self, batch: &mut Batch, document: DocumentId, chunks: &[SealedChunk]) {
        for chunk in chunks {
            let row = [document.as_bytes().as_slice(), &chunk.ciphertext].concat();
            batch.put(CHUNKS, *chunk.id.as_bytes(), row);
        }
    }

    /// Lists chunks for the relay. The document is not at the relay until they are.
    pub(super) fn queue_chunks(
        &mut self,
        batch: &mut Batch,
        document: DocumentId,
        chunks: &[ChunkId],
    ) -> Result<(), Error> {
        for chunk in chunks {
            let number = self.next_media_number();
            batch.put(
                CHUNKS_OUT,
                disk::number_key(number),
                cbor::encode(&OutRow { chunk: *chunk, document }),
            );
            if document != NOBODYS {
                *self.media.unsent.entry(document).or_default() += 1;
            }
        }
        self.mail_mark += 1;
        Ok(())
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
        // What only a draft holds has not been filed.
        queued.extend(self.attached_chunks()?);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(CHUNKS, &[], after.as_deref(), PAGE_CHUNKS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, row) in page {
                let (Some(chunk), Some(document)) = (key.first_chunk(), row.first_chunk()) else { continue };
                if !queued.contains(&ChunkId(*chunk)) {
                    self.queue_chunks(batch, DocumentId(*document), &[ChunkId(*chunk)])?;
                }
            }
        }
    }

    pub(super) fn load_media_memory(&mut self) -> Result<(), Error> {
        let next =
            disk::next_number(&*self.store, CHUNKS_OUT)?.max(disk::next_number(&*self.store, CHUNKS_IN)?);
        let mut unsent = HashMap::new();
        for (_, row) in self.store.scan(CHUNKS_OUT, &[], None, usize::MAX)? {
            let document = disk::decode::<OutRow>(&row)?.document;
            if document != NOBODYS {
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
        let document = disk::decode::<OutRow>(&row)?.document;
        batch.delete(CHUNKS_OUT, disk::number_key(key));
        if let Some(left) = self.media.unsent.get_mut(&document) {
            *left -= 1;
            if *left == 0 {
                self.media.unsent.remove(&document);
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
