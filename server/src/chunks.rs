//! Chunks of files: put and got by their names, and dropped with the entry that they are kept under (PROTOCOL.md §5.7).
//!
//! A name is the hash of what lies under it, so that nothing has to be judged but who asks and how much there is. Only
//! who reads a document knows the names in it, and only who belongs may ask.

use std::sync::Arc;

use lamppost_core::base::day::day_of;
use lamppost_core::base::{DeviceId, EntryHash, GroupId};
use lamppost_core::entry::{LogId, Received, Wire};
use lamppost_core::roll::retention::may_go;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal, Refused};
use lamppost_core::sync::media::{Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk, is_named};
use minicbor::bytes::ByteVec;

use crate::admit::outsider;
use crate::disk::Level;
use crate::relay::{Relay, disk_full, lock};
use crate::space::{Account, NOBODY, Part, payer};
use crate::store::{Arrived, StoreFault, StoredChunk};

/// What a chunk takes of the entries that a device may push in a minute: as much of the disk's time as so many.
const CHUNK_ENTRIES: usize = 8;

/// Entries with chunks that are looked at in one read.
const ENTRIES_AT_ONCE: usize = 64;

/// Chunks dropped in one durable write: 16 MiB.
const CHUNKS_AT_ONCE: usize = 256;

/// What a phone wants of chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkRequest {
    /// Which of these are lacking?
    Offer(ChunkNames),
    /// Keep this.
    Put(PutChunk),
    /// Send this.
    Get(GetChunk),
}

impl Relay {
    /// Does what a device asks, and answers with a frame, or with the reason why the session ends. What it says was kept is
    /// durable.
    pub(crate) fn carry(
        &self,
        group: GroupId,
        device: DeviceId,
        request: ChunkRequest,
        now_ms: u64,
    ) -> Result<Result<Frame, Refused>, StoreFault> {
        match request {
            ChunkRequest::Offer(ChunkNames { chunks }) => {
                if let Some(why) = self.stranger(group, device)? {
                    return Ok(Err(why));
                }
                let member = self.with_group(group, |group| payer(group.roll.state(), device, device))?;
                let member = member.unwrap_or(NOBODY);
                let mut lacking = Vec::new();
                for chunk in chunks {
                    // Whoever may not read what it belongs to is told no more than that they brought it themselves.
                    let told = match self.store.chunk(group, chunk)? {
                        Some(found) => found.member == member || self.may_read(group, device, &found)?,
                        None => false,
                    };
                    if !told {
                        lacking.push(chunk);
                    }
                }
                Ok(Ok(Frame::WantedChunks(ChunkNames { chunks: lacking })))
            }
            ChunkRequest::Put(put) => {
                let chunk = put.chunk;
                let outcome = self.put_chunk(group, device, put, now_ms)?;
                Ok(Ok(Frame::ChunkAck(ChunkAck { chunk, outcome })))
            }
            ChunkRequest::Get(GetChunk { chunk }) => {
                if let Some(why) = self.stranger(group, device)? {
                    return Ok(Err(why));
                }
                let found = self.store.chunk(group, chunk)?;
                let ciphertext = match found {
                    Some(chunk) if self.may_read(group, device, &chunk)? => {
                        Some(ByteVec::from(chunk.ciphertext))
                    }
                    Some(_) | None => None,
                };
                Ok(Ok(Frame::Chunk(Chunk { chunk, ciphertext })))
            }
        }
    }

    /// Drops the chunks of a group whose entries are over, and gives back the space that they took. Answers with how many
    /// those were. In many durable writes; whatever interrupts them, the next call goes on.
    pub(crate) fn sweep_chunks(&self, group: GroupId, now_ms: u64) -> Result<u64, StoreFault> {
        let (mut dropped, mut after) = (0, None);
        loop {
            let rows = self.store.chunk_entries(group, after, ENTRIES_AT_ONCE)?;
            let Some((last, _)) = rows.last() else { return Ok(dropped) };
            after = Some(*last);
            for (hash, signed) in rows {
                let wire = Wire { signed: ByteVec::from(signed), body: None };
                let Ok(entry) = Received::parse(wire) else {
                    // It is passed by, and its chunks stay: nobody can tell how long they may.
                    self.damages.note(
                        group,
                        &StoreFault::Damaged("an entry that chunks are kept under cannot be read"),
                    );
                    continue;
                };
                loop {
                    let count = self.drop_under(group, hash, &entry, now_ms)?;
                    dropped += count as u64;
                    if count < CHUNKS_AT_ONCE {
                        break;
                    }
                }
            }
        }
    }

    /// Drops some of the chunks under an entry, if that is over. Answers with how many.
    fn drop_under(
        &self,
        group: GroupId,
        hash: EntryHash,
        entry: &Received,
        now_ms: u64,
    ) -> Result<usize, StoreFault> {
        let _turn = lock(&self.committing);
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        let seen = self.with_group(group, |group| (Arc::clone(&group.roll), group.space.clone()))?;
        let Some((roll, space)) = seen else { return Ok(0) };
        if !roll.state().retention().drops(entry, day_of(now_ms)) {
            return Ok(0);
        }
        let chunks = self.store.chunks_under(group, hash, CHUNKS_AT_ONCE)?;
        let mut write = Arrived::default();
        let mut account = Account::new(space);
        for name in &chunks {
            let Some(chunk) = self.store.chunk(group, *name)? else { continue };
            account.give_back(Part::Media, chunk.member, chunk.ciphertext.len() as u64);
            write.drop_chunk(group, *name, hash);
        }
        account.changes().for_each(|(part, member, used)| write.space(group, part, member, used));
        if chunks.len() < CHUNKS_AT_ONCE {
            write.drop_chunk_entry(group, hash);
        }
        self.write(write)?;
        self.change_group(group, |group| group.space = account.space);
        Ok(chunks.len())
    }

    fn put_chunk(
        &self,
        group: GroupId,
        device: DeviceId,
        put: PutChunk,
        now_ms: u64,
    ) -> Result<Outcome, StoreFault> {
        if let Some(why) = self.stranger(group, device)? {
            return Ok(Outcome::Refused(why));
        }
        if !is_named(put.chunk, &put.ciphertext) {
            let reason = "the part of a photo is not what its name says: it was altered on its way";
            return Ok(Outcome::Refused(Refused::new(Refusal::MALFORMED, reason)));
        }
        let entry = Received::parse(Wire { signed: put.entry, body: None });
        let entry = match entry {
            Ok(entry) if may_go(&entry) && entry.group() == group => entry,
            Ok(_) | Err(_) => {
                let reason = "what the part of a photo is to be kept under is no entry of this group's";
                return Ok(Outcome::Refused(Refused::new(Refusal::MALFORMED, reason)));
            }
        };
        let _turn = lock(&self.committing);
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        if self.store.chunk(group, put.chunk)?.is_some() {
            return Ok(Outcome::Kept);
        }
        if self.store.hash_at(group, LogId::of(&entry), entry.header().seq)? != Some(entry.hash()) {
            let reason = "the words that the photo belongs to have not arrived";
            return Ok(Outcome::Refused(Refused::new(Refusal::GAP, reason)));
        }
        if self.gauge().level() >= Level::Low {
            return Ok(Outcome::Refused(disk_full(Refusal::QUOTA)));
        }
        let seen = self.with_group(group, |group| (Arc::clone(&group.roll), group.space.clone()))?;
        let Some((roll, space)) = seen else { return Err(StoreFault::Damaged("a group vanished")) };
        if roll.state().retention().drops(&entry, day_of(now_ms)) {
            // As an entry that comes with a body that is over: who brings it is done with it.
            return Ok(Outcome::Kept);
        }
        let (member, bytes) = (payer(roll.state(), device, device), put.ciphertext.len() as u64);
        if let Err(full) = space.check(self.limits(), Part::Media, member, bytes) {
            return Ok(Outcome::Refused(full));
        }
        let granted = lock(&self.rates).take(group, device, CHUNK_ENTRIES, now_ms);
        if granted.entries < CHUNK_ENTRIES {
            let reason = "this device sends photos faster than the relay allows";
            let retry_after_ms = Some(granted.retry_after_ms);
            return Ok(Outcome::Refused(Refused { retry_after_ms, ..Refused::new(Refusal::RATE, reason) }));
        }
        let mut write = Arrived::default();
        write.chunk(group, put.chunk, member, &entry, &put.ciphertext);
        write.space(group, Part::Media, member, space.used(Part::Media, member).saturating_add(bytes));
        self.write(write)?;
        self.change_group(group, |group| group.space.add(Part::Media, member, bytes));
        Ok(Outcome::Kept)
    }

    fn may_read(&self, group: GroupId, device: DeviceId, chunk: &StoredChunk) -> Result<bool, StoreFault> {
        let may = self.with_group(group, |group| group.roll.state().may_read(device, chunk.compartment))?;
        Ok(may.unwrap_or_default())
    }

    /// Why a device may not: it does not belong, or not any more.
    fn stranger(&self, group: GroupId, device: DeviceId) -> Result<Option<Refused>, StoreFault> {
        let refusal = self.with_group(group, |group| {
            let state = group.roll.state();
            state.device(device).is_none().then(|| outsider(state, device))
        })?;
        Ok(refusal.unwrap_or_else(|| {
            Some(Refused::new(Refusal::UNKNOWN_DEVICE, "the relay has never heard of the group"))
        }))
    }
}
