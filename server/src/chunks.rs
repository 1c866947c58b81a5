//! Chunks of files: put, got and dropped by their names (PROTOCOL.md §5.7).
//!
//! A name is the hash of what lies under it, so that nothing has to be judged but who asks and how much there is. Only
//! who reads a document knows the names in it, and only who belongs may ask.

use lamppost_core::base::{ChunkId, DeviceId, GroupId};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal, Refused};
use lamppost_core::sync::media::{Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk, is_named};
use minicbor::bytes::ByteVec;

use crate::admit::outsider;
use crate::relay::{Relay, lock};
use crate::store::{Arrived, StoreFault};

/// What a chunk takes of the entries that a device may push in a minute: as much of the disk's time as so many.
const CHUNK_ENTRIES: usize = 8;

/// One device may bring this part of what a group may keep, so that a stolen phone cannot fill it.
const DEVICE_SHARE: u64 = 4;

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
                let mut lacking = Vec::new();
                for chunk in chunks {
                    if self.store.chunk(group, chunk)?.is_none() {
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
                let ciphertext = self.store.chunk(group, chunk)?.map(|(_, bytes)| ByteVec::from(bytes));
                Ok(Ok(Frame::Chunk(Chunk { chunk, ciphertext })))
            }
        }
    }

    /// Takes chunks away and gives back the space that they took. What is not here is passed over.
    ///
    /// # Errors
    /// [`StoreFault`] if nothing of it may be relied on.
    pub fn drop_chunks(&self, group: GroupId, chunks: &[ChunkId]) -> Result<(), StoreFault> {
        let _turn = lock(&self.committing);
        for chunk in chunks {
            let Some((device, ciphertext)) = self.store.chunk(group, *chunk)? else { continue };
            let (of_group, of_device) = self.store.chunk_bytes(group, device)?;
            let bytes = ciphertext.len() as u64;
            let mut write = Arrived::default();
            write.drop_chunk(group, *chunk);
            let left = (of_group.saturating_sub(bytes), of_device.saturating_sub(bytes));
            write.chunk_bytes(group, device, left);
            self.store.write(write)?;
        }
        Ok(())
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
        let _turn = lock(&self.committing);
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        if self.store.chunk(group, put.chunk)?.is_some() {
            return Ok(Outcome::Kept);
        }
        let (of_group, of_device) = self.store.chunk_bytes(group, device)?;
        let bytes = put.ciphertext.len() as u64;
        let (of_group, of_device) = (of_group.saturating_add(bytes), of_device.saturating_add(bytes));
        let most = self.media_bytes_max();
        if of_group > most || of_device > most / DEVICE_SHARE {
            let whose = if of_group > most { "the group's" } else { "this device's" };
            let reason =
                format!("{whose} space for photos at this relay is used up: ask the operator, or drop some");
            return Ok(Outcome::Refused(Refused::new(Refusal::QUOTA, reason)));
        }
        let granted = lock(&self.rates).take(group, device, CHUNK_ENTRIES, now_ms);
        if granted.entries < CHUNK_ENTRIES {
            let reason = "this device sends photos faster than the relay allows";
            let retry_after_ms = Some(granted.retry_after_ms);
            return Ok(Outcome::Refused(Refused { retry_after_ms, ..Refused::new(Refusal::RATE, reason) }));
        }
        let mut write = Arrived::default();
        write.chunk(group, put.chunk, device, &put.ciphertext);
        write.chunk_bytes(group, device, (of_group, of_device));
        self.store.write(write)?;
        Ok(Outcome::Kept)
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
