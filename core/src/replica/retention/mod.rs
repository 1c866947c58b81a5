//! What this device drops: bodies that expired or were shredded, and all that it made of them (PROTOCOL.md §4.9).
//!
//! No clock decides alone. A body goes when this device's clock and a day that a relay signed both say that its time
//! is over: a phone that believes it is 2090 drops nothing that a relay did not see the end of.

mod expiry;
mod holds;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::disk::{
    self, ABOUT, DOCUMENTS, DRAFTS, ENTRIES, EXPIRY, META, QUARANTINE, ROWS, SetAsideRow, UNOPENED,
};
use super::engine::Engine;
use super::error::Error;
use super::record::sealed_part;
use crate::base::day::{DAY_MS, day_of};
use crate::base::{DocumentId, cbor, limits};
use crate::document::is_created_by;
use crate::entry::plaintext::Content;
use crate::entry::{LogId, Received as ReceivedEntry, Verified};
use crate::roll::Retention;
use crate::roll::retention::may_go;
use crate::storage::Batch;
use crate::watch::Kind;

pub use holds::HeldRow;

/// The day that the relay signed last.
const RELAY_DAY: &[u8] = b"relay_day";

/// Days by which a relay's day may be ahead of this phone's own: a zone's clock, and one that is set by hand.
const AHEAD_DAYS: u32 = 2;

/// What was swept last: the name of the roll's retention and the day.
const SWEPT: &[u8] = b"swept";

/// Why a part of a shredded document has no effect.
pub(super) const SHREDDED: &str = "its document was shredded";

/// Documents dropped in one durable write.
const DOCUMENTS_A_WRITE: usize = 64;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Bodies that were dropped.
    pub bodies: usize,
    /// Documents that are not shown any more.
    pub documents: usize,
}

/// What is to go.
struct Over {
    documents: BTreeSet<DocumentId>,
    /// Entries of no document that can be read here.
    alone: BTreeSet<(LogId, u64)>,
}

impl Engine {
    /// Drops what is over: bodies that expired or were shredded and that nobody holds, and rows, index and drafts of
    /// documents that are made of nothing else. Costs one look if nothing has changed since the last time. In several durable
    /// writes; whatever interrupts them, the next call goes on. Sessions call it when they have caught up.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn sweep(&mut self) -> Result<Swept, Error> {
        self.refresh()?;
        // A hold may be among what cannot be read.
        if self.group.is_none() || self.must_know_roll().is_err() {
            return Ok(Swept::default());
        }
        if self.state()?.governs(self.device_id()) {
            self.shred_latecomers()?;
        }
        let (state, today) = (Arc::clone(self.state()?), self.today());
        let mark = [state.retention().name().as_bytes().as_slice(), &today.to_be_bytes()].concat();
        if self.store.get(META, SWEPT)?.as_ref() == Some(&mark) {
            return Ok(Swept::default());
        }
        if state.governs(self.device_id()) {
            self.extend_holds(state.retention(), today)?;
        }
        let mut swept = Swept::default();
        let Over { documents, alone } = self.what_is_over(state.retention(), today)?;
        let alone: Vec<(LogId, u64)> = alone.into_iter().collect();
        for places in alone.chunks(limits::FRAME_ENTRIES_MAX) {
            self.transact(|engine, batch| {
                places.iter().try_for_each(|place| engine.drop_body(batch, *place, &mut swept))
            })?;
        }
        let documents: Vec<DocumentId> = documents.into_iter().collect();
        for ids in documents.chunks(DOCUMENTS_A_WRITE) {
            self.transact(|engine, batch| {
                ids.iter().try_for_each(|id| engine.drop_document(batch, *id, &mut swept))
            })?;
        }
        // What the holds of this sweep itself changed is looked at by the next.
        self.transact(|_, batch| {
            batch.put(META, SWEPT, mark);
            Ok(())
        })?;
        Ok(swept)
    }

    /// Documents that expire within `days`, each with its last day since the Unix epoch, the first to go first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn expiring(&mut self, days: u32) -> Result<Vec<(DocumentId, u32)>, Error> {
        self.fresh()?;
        let state = Arc::clone(self.state()?);
        let until = self.own_day().saturating_add(days);
        let mut soon = BTreeSet::new();
        for (day, log, seq) in self.due_by(until)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            if state.retention().holds_on(entry.hash(), day) {
                continue;
            }
            if let Some(id) = self.document_of(&entry)?
                && self.row(id)?.is_some()
            {
                soon.insert((day, id));
            }
        }
        Ok(soon.into_iter().map(|(day, id)| (id, day)).collect())
    }

    /// The day by which this device drops: its own clock's, but none that no relay has signed.
    pub(super) fn today(&self) -> u32 {
        let signed = self.group.as_ref().and_then(|group| group.relay_day).unwrap_or_default();
        signed.min(self.own_day())
    }

    fn own_day(&self) -> u32 {
        day_of(self.clock.now_ms())
    }

    /// Notes a relay's signed time. The last one counts, so that a wrong one is forgotten with the next; and no day that is
    /// more than two days ahead of this phone's own.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn heard_time(&mut self, at_ms: u64) -> Result<(), Error> {
        let within = self.within_reach(day_of(at_ms));
        let group = self.fresh()?;
        group.said_day = Some(day_of(at_ms));
        if group.relay_day == Some(within) {
            return Ok(());
        }
        self.transact(|engine, batch| engine.note_time(batch, at_ms))
    }

    pub(super) fn note_time(&mut self, batch: &mut Batch, at_ms: u64) -> Result<(), Error> {
        let day = self.within_reach(day_of(at_ms));
        let group = self.fresh()?;
        // Within a session a relay's clock goes forward.
        group.said_day = group.said_day.max(Some(day_of(at_ms)));
        if group.relay_day != Some(day) {
            group.relay_day = Some(day);
            batch.put(META, RELAY_DAY, day.to_be_bytes());
        }
        Ok(())
    }

    /// Forgets what day a relay said it was: another one is the group's, or the store of this one has begun anew.
    pub(super) fn forget_time(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let group = self.fresh()?;
        (group.relay_day, group.said_day) = (None, None);
        batch.delete(META, RELAY_DAY);
        Ok(())
    }

    /// When something comes in, in milliseconds since the Unix epoch: by this phone's clock, unless that is days behind the
    /// relay's. Otherwise all that comes to a phone whose clock stands in 1970 would end up below what it had before.
    pub(super) fn came_ms(&self) -> u64 {
        let said = self.group.as_ref().and_then(|group| group.said_day).unwrap_or_default();
        let behind = said > self.own_day().saturating_add(AHEAD_DAYS);
        if behind { (u64::from(said) + 1).saturating_mul(DAY_MS) } else { self.clock.now_ms() }
    }

    fn within_reach(&self, day: u32) -> u32 {
        day.min(self.own_day().saturating_add(AHEAD_DAYS))
    }

    pub(super) fn stored_relay_day(&self) -> Result<Option<u32>, Error> {
        let stored = self.store.get(META, RELAY_DAY)?;
        Ok(stored.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes))
    }

    /// Whether an entry may come without its body: by either clock, as another's may be ahead. If it is by the relay's word
    /// alone, it [is missed](Self::misses_body), so that nothing is lost by a relay that is years ahead and nobody is shut
    /// out by a phone that is years behind.
    pub(super) fn may_lack_body(&self, entry: &ReceivedEntry) -> Result<bool, Error> {
        let said = self.group()?.said_day.unwrap_or_default();
        Ok(!self.misses_body(entry)? || self.state()?.retention().excuses(entry, said))
    }

    /// Whether an entry lacks a body that it should still have: by this phone's day, and a relay's that is near it.
    pub(super) fn misses_body(&self, entry: &ReceivedEntry) -> Result<bool, Error> {
        let signed = self.within_reach(self.group()?.relay_day.unwrap_or_default());
        let excused = self.state()?.retention().excuses(entry, self.own_day().max(signed));
        Ok(entry.body().is_none() && !excused)
    }

    /// An entry that came in, without its body if that is over.
    pub(super) fn without_what_is_over(&self, entry: Verified) -> Result<Verified, Error> {
        let is_over = self.state()?.retention().drops(&entry, self.today());
        Ok(if is_over { entry.without_body() } else { entry })
    }

    /// Whether a content belongs to a document that was shredded.
    pub(super) fn is_shredded(&self, content: &Content) -> Result<bool, Error> {
        let (id, kind) = (content.document, content.kind);
        Ok(self.state()?.retention().shreds_document(id, |member| is_created_by(id, member, kind)))
    }

    /// What is to go.
    fn what_is_over(&mut self, retention: &Retention, today: u32) -> Result<Over, Error> {
        let (mut documents, mut alone) = (BTreeSet::new(), BTreeSet::new());
        let due = self.due_by(today)?.into_iter().map(|(_, log, seq)| (log, seq));
        let shredded = retention.shredded().map(|(_, log, seq)| (log, seq));
        for (log, seq) in due.chain(shredded) {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            if entry.body().is_none() || !retention.drops(&entry, today) {
                continue;
            }
            match self.document_of(&entry)? {
                Some(id) => _ = documents.insert(id),
                None => _ = alone.insert((LogId::of(&entry), entry.header().seq)),
            }
        }
        let mut shredded = BTreeSet::new();
        let any = retention.shreds_documents();
        let rows = if any { self.store.scan(ROWS, &[], None, usize::MAX)? } else { Vec::new() };
        for (key, _) in rows {
            let Some(id) = key.first_chunk().copied().map(DocumentId) else { continue };
            // Whose it is matters to few: the row is opened for those alone.
            if retention.shreds_document(id, |_| true)
                && let Some(row) = self.row(id)?
                && retention.shreds_document(id, |member| is_created_by(id, member, row.kind.0))
            {
                shredded.insert(id);
            }
        }
        documents.extend(&shredded);
        let mut over = BTreeSet::new();
        for id in documents {
            let parts = self.stored_parts(id)?;
            let with_bodies = parts.iter().filter(|part| part.body().is_some());
            let goes = |part: &Verified| {
                let named = shredded.contains(&id) && !retention.holds_on(part.hash(), today);
                named || retention.drops(part, today)
            };
            // As a whole or not at all: what is left could not be read.
            if with_bodies.clone().all(goes) {
                over.insert(id);
            }
        }
        Ok(Over { documents: over, alone })
    }

    /// Places of entries with a last day before `day`, and that day.
    fn due_by(&self, day: u32) -> Result<Vec<(u32, LogId, u64)>, Error> {
        let mut due = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(EXPIRY, &[], after.as_deref(), limits::FRAME_ENTRIES_MAX)?;
            let Some((last, _)) = page.last() else { return Ok(due) };
            after = Some(last.clone());
            for (key, _) in &page {
                let Some((its_day, (log, seq))) = disk::parse_expiry_key(key) else { continue };
                if its_day >= day {
                    return Ok(due);
                }
                due.push((its_day, log, seq));
            }
        }
    }

    fn drop_body(
        &mut self,
        batch: &mut Batch,
        (log, seq): (LogId, u64),
        swept: &mut Swept,
    ) -> Result<(), Error> {
        let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { return Ok(()) };
        if let Some(day) = entry.header().expiry_day {
            batch.delete(EXPIRY, disk::expiry_key(day, log, seq));
        }
        let key = disk::entry_key(log, seq);
        batch.delete(UNOPENED, key.clone());
        if entry.body().is_some() {
            swept.bodies += 1;
            batch.put(ENTRIES, key, entry.without_body().to_bytes());
        }
        Ok(())
    }

    /// Drops a document: the bodies of its entries, and what was made of them.
    fn drop_document(&mut self, batch: &mut Batch, id: DocumentId, swept: &mut Swept) -> Result<(), Error> {
        let (state, today) = (Arc::clone(self.state()?), self.today());
        for place in self.parts(id)? {
            let part = disk::read_entry(&*self.store, place.0, place.1)?;
            if part.is_some_and(|part| part.body().is_some() && !state.retention().drops(&part, today)) {
                // Nobody would take it without its body, as no shred names it yet.
                let aside = cbor::encode(&SetAsideRow::because(&SHREDDED));
                batch.put(QUARANTINE, disk::entry_key(place.0, place.1), aside);
            } else {
                self.drop_body(batch, place, swept)?;
            }
            batch.delete(DOCUMENTS, disk::part_key(id, place.0, place.1));
        }
        if let Some(row) = self.row(id)? {
            for target in &row.about {
                batch.delete(ABOUT, [target.as_bytes().as_slice(), id.as_bytes()].concat());
                self.changed.insert(*target);
            }
            swept.documents += 1;
        }
        for (key, _) in self.store.scan(ABOUT, id.as_bytes(), None, usize::MAX)? {
            batch.delete(ABOUT, key);
        }
        batch.delete(ROWS, id.as_bytes());
        batch.delete(DRAFTS, id.as_bytes());
        self.discard_attached(batch, id)?;
        self.drop_media(batch, id)?;
        drop(self.recent.take(id));
        self.gone.insert(id);
        Ok(())
    }

    /// A document, and the sealed part that its author wrote with it, if that is here.
    fn with_sibling(&self, id: DocumentId) -> Result<Vec<DocumentId>, Error> {
        let Some(row) = self.row(id)?.filter(|row| row.kind == Kind::OBSERVATION) else {
            return Ok(vec![id]);
        };
        let sibling = self.row(sealed_part(row.author, id))?.map(|row| row.id);
        Ok([id].into_iter().chain(sibling).collect())
    }

    fn stored_parts(&self, id: DocumentId) -> Result<Vec<Verified>, Error> {
        let places = self.parts(id)?.into_iter();
        let entries = places.map(|(log, seq)| disk::read_entry(&*self.store, log, seq));
        entries.filter_map(Result::transpose).collect()
    }
}

/// Remembers when the body of an entry is to go.
pub(super) fn put_expiry(batch: &mut Batch, entry: &Verified) {
    let header = entry.header();
    if let (Some(day), true, Some(_)) = (header.expiry_day, may_go(entry), entry.body()) {
        batch.put(EXPIRY, disk::expiry_key(day, LogId::of(entry), header.seq), Vec::new());
    }
}

/// The day of a time in a document.
fn from_ms(at_ms: i64) -> u32 {
    day_of(u64::try_from(at_ms).unwrap_or_default())
}
