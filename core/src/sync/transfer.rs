//! The phone's part in carrying chunks (PROTOCOL.md §5.7), as a part of a session's machine.
//!
//! Chunks go after entries, and one by one: what was acknowledged is never sent again.

use std::collections::{BTreeMap, VecDeque};

use super::frame::{Frame, Outcome, Refusal};
use super::media::{Chunk, ChunkAck, ChunkNames, GetChunk, PutChunk, is_named};
use super::session::{Effect, Misbehaviour};
use crate::base::{ChunkId, limits};

/// A chunk to be carried, with its place in the phone's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its place.
    pub key: u64,
    /// The chunk.
    pub chunk: ChunkId,
}

/// What a phone has to carry, behind the places last asked for: a few frames of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// What the relay may lack.
    pub up: Vec<Carried>,
    /// What this phone lacks.
    pub down: Vec<Carried>,
}

/// The chunks under way in one session.
#[derive(Debug)]
pub(super) struct Transfer {
    /// There may be more behind the last places.
    due: bool,
    loading: bool,
    up_after: u64,
    down_after: u64,
    /// What the relay was asked about and has not answered.
    offered: Vec<Carried>,
    up: VecDeque<Carried>,
    reading: BTreeMap<ChunkId, u64>,
    putting: BTreeMap<ChunkId, u64>,
    down: VecDeque<Carried>,
    getting: BTreeMap<ChunkId, u64>,
    /// Something was refused or is not there yet: worth another try, after so many milliseconds at the least.
    retry_after_ms: Option<u64>,
    /// The relay takes none for now.
    blocked: bool,
}

impl Transfer {
    pub(super) fn new() -> Self {
        Self {
            due: true,
            loading: false,
            up_after: 0,
            down_after: 0,
            offered: Vec::new(),
            up: VecDeque::new(),
            reading: BTreeMap::new(),
            putting: BTreeMap::new(),
            down: VecDeque::new(),
            getting: BTreeMap::new(),
            retry_after_ms: None,
            blocked: false,
        }
    }

    /// There may be something new to carry.
    pub(super) fn grew(&mut self) {
        self.due = true;
    }

    /// Everything is looked at anew.
    pub(super) fn retry(&mut self) {
        (self.due, self.blocked) = (true, false);
        (self.up_after, self.down_after) = (0, 0);
    }

    /// How long to wait before [`Transfer::retry`], if there is a reason to. Asked once.
    pub(super) fn take_retry(&mut self) -> Option<u64> {
        self.retry_after_ms.take()
    }

    /// Nothing is under way, and nothing left to ask for.
    pub(super) fn is_done(&self) -> bool {
        !self.due && !self.loading && self.up.is_empty() && self.down.is_empty() && self.is_quiet()
    }

    /// Nothing waits for an answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.offered.is_empty() && self.under_way() == 0
    }

    fn under_way(&self) -> usize {
        self.reading.len() + self.putting.len() + self.getting.len()
    }

    /// Goes on, as far as `bytes_left` carry. Answers with frames to send.
    pub(super) fn go_on(&mut self, mut bytes_left: u64, effects: &mut Vec<Effect>) -> Vec<Frame> {
        let mut frames = Vec::new();
        let nothing_queued = self.up.is_empty() && self.down.is_empty();
        if nothing_queued && self.is_quiet() && !self.loading && self.due && bytes_left > 0 {
            (self.due, self.loading) = (false, true);
            effects.push(Effect::LoadMedia { up_after: self.up_after, down_after: self.down_after });
        }
        let coming = (self.reading.len() + self.getting.len()) as u64;
        bytes_left = bytes_left.saturating_sub(coming * limits::CHUNK_BYTES as u64);
        while self.under_way() < limits::CHUNKS_IN_FLIGHT_MAX && bytes_left > 0 {
            // A name that two rows have is carried once at a time: answers name the chunk alone.
            if let Some(Carried { key, chunk }) = self.up.pop_front() {
                if self.reading.contains_key(&chunk) || self.putting.contains_key(&chunk) {
                    continue;
                }
                self.reading.insert(chunk, key);
                effects.push(Effect::LoadChunk(Carried { key, chunk }));
            } else if let Some(Carried { key, chunk }) = self.down.pop_front() {
                if self.getting.contains_key(&chunk) {
                    continue;
                }
                self.getting.insert(chunk, key);
                frames.push(Frame::GetChunk(GetChunk { chunk }));
            } else {
                break;
            }
            bytes_left = bytes_left.saturating_sub(limits::CHUNK_BYTES as u64);
        }
        frames
    }

    /// The answer to [`Effect::LoadMedia`].
    pub(super) fn loaded(&mut self, load: Load) -> Option<Frame> {
        self.loading = false;
        let last = |rows: &[Carried], before: u64| rows.last().map_or(before, |row| row.key);
        (self.up_after, self.down_after) = (last(&load.up, self.up_after), last(&load.down, self.down_after));
        // There may be more behind these.
        self.due |= !load.up.is_empty() || !load.down.is_empty();
        self.down.extend(load.down);
        if self.blocked || load.up.is_empty() {
            return None;
        }
        let chunks = load.up.iter().map(|row| row.chunk).collect();
        self.offered = load.up;
        Some(Frame::OfferChunks(ChunkNames { chunks }))
    }

    /// The answer to [`Effect::LoadChunk`].
    pub(super) fn read(&mut self, chunk: ChunkId, put: Option<PutChunk>) -> Option<Frame> {
        let key = self.reading.remove(&chunk)?;
        let put = put?;
        self.putting.insert(chunk, key);
        Some(Frame::PutChunk(put))
    }

    pub(super) fn wanted(
        &mut self,
        names: &ChunkNames,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Misbehaviour> {
        if self.offered.is_empty() {
            return Err(Misbehaviour::OutOfTurn("names of chunks"));
        }
        let offered = std::mem::take(&mut self.offered);
        let (wanted, kept): (Vec<_>, Vec<_>) =
            offered.into_iter().partition(|row| names.chunks.contains(&row.chunk));
        self.up.extend(wanted);
        if !kept.is_empty() {
            effects.push(Effect::ChunksKept(kept.into_iter().map(|row| row.key).collect()));
        }
        Ok(())
    }

    pub(super) fn acked(&mut self, ack: ChunkAck, effects: &mut Vec<Effect>) -> Result<(), Misbehaviour> {
        let key = self.putting.remove(&ack.chunk);
        let key = key.ok_or(Misbehaviour::OutOfTurn("an acknowledgement of a chunk"))?;
        match ack.outcome {
            Outcome::Kept => effects.push(Effect::ChunksKept(vec![key])),
            Outcome::Refused(why) => {
                // What the relay lacks an entry of says nothing about the others.
                if why.refusal != Refusal::GAP {
                    self.blocked = true;
                    self.up.clear();
                }
                self.try_again(why.retry_after_ms.unwrap_or_default());
                effects.push(Effect::ChunkRefused(why));
            }
        }
        Ok(())
    }

    pub(super) fn came(&mut self, chunk: Chunk, effects: &mut Vec<Effect>) -> Result<(), Misbehaviour> {
        let Chunk { chunk, ciphertext } = chunk;
        let key = self.getting.remove(&chunk).ok_or(Misbehaviour::OutOfTurn("a chunk"))?;
        match ciphertext.map(Vec::from) {
            Some(ciphertext) if is_named(chunk, &ciphertext) => {
                effects.push(Effect::KeepChunk { key, chunk, ciphertext });
            }
            Some(_) => {
                let why = "a part of a photo is not what its name says";
                return Err(Misbehaviour::NotGenuine(why.to_owned()));
            }
            // Its author has sent the entry, and not yet this.
            None => self.try_again(0),
        }
        Ok(())
    }

    fn try_again(&mut self, after_ms: u64) {
        self.retry_after_ms = self.retry_after_ms.max(Some(after_ms));
    }
}
