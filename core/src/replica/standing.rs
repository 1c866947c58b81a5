//! What a removal cuts off is set aside, and what is accepted counts again: alike on every phone, whatever came first.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{self, DOCUMENTS, ENTRIES, META, QUARANTINE, ROWS, SetAsideRow, UNOPENED};
use super::engine::Engine;
use super::error::Error;
use super::judge::judges;
use super::receive::{Arrivals, Received};
use super::view::{Part, Row};
use crate::base::{CompartmentId, DocumentId, Hash, cbor};
use crate::document::Document;
use crate::entry::{Kind as EntryKind, LogId, Verified, seal};
use crate::roll::CutOff;
use crate::storage::Batch;
use crate::watch::{Content, Kind};

/// The standing that the stored entries were last weighed by.
const WEIGHED: &[u8] = b"weighed";

/// Why what counts again still waits.
const NOT_AT_RELAY: &str = "the relay has refused it before: it is offered again with the next sync";

/// Entries read at once.
const PAGE: usize = 256;

impl Engine {
    /// Weighs stored entries anew if somebody was taken out, or something accepted, since they were weighed last. In two
    /// durable writes; whatever interrupts them, the next call goes on.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn reweigh(&mut self) -> Result<(), Error> {
        self.fresh()?;
        if self.must_know_roll().is_err() {
            return Ok(());
        }
        let standing = self.state()?.standing();
        // To take entries out of their documents is to read them: a locked device does so when it is unlocked.
        if self.is_locked() || self.group()?.weighed == standing {
            return Ok(());
        }
        self.transact(Self::withdraw)?;
        self.transact(|engine, batch| {
            engine.restore(batch)?;
            batch.put(META, WEIGHED, standing.as_bytes());
            engine.fresh()?.weighed = standing;
            Ok(())
        })
    }

    pub(super) fn stored_weighing(&self) -> Result<Hash, Error> {
        let stored = self.store.get(META, WEIGHED)?;
        let stored = stored.and_then(|bytes| bytes.try_into().ok()).map(Hash);
        Ok(stored.unwrap_or_else(crate::roll::State::standing_of_none))
    }

    /// Sets aside what does not count any more, and takes it out of its documents.
    fn withdraw(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let mut withdrawn: BTreeMap<DocumentId, BTreeSet<(LogId, u64)>> = BTreeMap::new();
        let rows = self.state()?.template().compartments.clone();
        for device in self.group()?.roll.devices_cut_off() {
            for row in rows.iter().filter(|row| row.id != CompartmentId::ROLL) {
                let log = LogId { compartment: row.id, device };
                let mut after: Option<Vec<u8>> = None;
                loop {
                    let page = self.store.scan(ENTRIES, &disk::log_prefix(log), after.as_deref(), PAGE)?;
                    let Some((last, _)) = page.last() else { break };
                    after = Some(last.clone());
                    for (key, bytes) in &page {
                        let entry = disk::decode_entry(bytes)?;
                        let Some(mut aside) = self.cut_off(&entry) else { continue };
                        // Where it was set aside for another reason it is judged anew once it counts, as where this came first.
                        let before = self.store.get(QUARANTINE, key)?;
                        let before: Option<SetAsideRow> = before.map(|row| disk::decode(&row)).transpose()?;
                        if before.as_ref().is_some_and(|row| row.cut_off) {
                            continue;
                        }
                        aside.by_relay = before.is_some_and(|row| row.by_relay);
                        let document = self.document_of(&entry)?;
                        if self.identity.has_been(device) {
                            // Nobody loses sight of their own words.
                            aside.document = document;
                            self.changed.extend(document);
                            if let Some(document) = document {
                                self.fresh()?.refuse(document, (log, entry.header().seq));
                            }
                        } else if let Some(document) = document {
                            let place = (log, entry.header().seq);
                            withdrawn.entry(document).or_default().insert(place);
                        }
                        batch.put(QUARANTINE, key.clone(), cbor::encode(&aside));
                    }
                }
            }
        }
        for (document, without) in withdrawn {
            self.take_out_of(batch, document, &without)?;
        }
        Ok(())
    }

    /// Lets take effect what counts again.
    fn restore(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let mut arrivals = Arrivals::default();
        for (key, bytes) in self.store.scan(QUARANTINE, &[], None, usize::MAX)? {
            let row: SetAsideRow = disk::decode(&bytes)?;
            let place = disk::parse_entry_key(&key).filter(|_| row.cut_off);
            let Some((log, seq)) = place else { continue };
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            if self.cut_off(&entry).is_none() {
                batch.delete(QUARANTINE, key.clone());
                if let Some(document) = row.document {
                    self.changed.insert(document);
                    if row.by_relay {
                        // It counts, and is not there: the next session asks for heads, and offers it again.
                        self.fresh()?.relay.offered = None;
                        self.put_relay(batch)?;
                        let aside = SetAsideRow { cut_off: false, reason: NOT_AT_RELAY.to_owned(), ..row };
                        batch.put(QUARANTINE, key, cbor::encode(&aside));
                    } else {
                        self.fresh()?.accept(document, (log, seq));
                    }
                    continue;
                }
                // Its key may have come since it was cut off: opened here, it must not be opened once more.
                batch.delete(UNOPENED, key.clone());
                if let Some(aside) = self.take_effect(batch, &entry, &mut arrivals)? {
                    batch.put(QUARANTINE, key, cbor::encode(&aside));
                }
            }
        }
        self.update_rows(batch, arrivals.parts, &mut Received::default())
    }

    /// Why a sealed entry does not count any more; none if it does.
    pub(super) fn cut_off(&self, entry: &Verified) -> Option<SetAsideRow> {
        if entry.header().kind != EntryKind::SEALED {
            return None;
        }
        let why: CutOff = self.group.as_ref()?.roll.check_standing(entry).err()?;
        Some(SetAsideRow { reason: why.to_string(), cut_off: true, ..SetAsideRow::default() })
    }

    /// The document that a stored entry is part of; none if it cannot be opened here or had no effect.
    pub(super) fn document_of(&mut self, entry: &Verified) -> Result<Option<DocumentId>, Error> {
        let Some(epoch) = entry.header().epoch else { return Ok(None) };
        let log = LogId::of(entry);
        let Some(sender) = self.sender_of(log, epoch)? else { return Ok(None) };
        let group = self.group()?.roll.group();
        let opened = seal::entry_key(group, entry, &sender).and_then(|key| seal::open(entry, &key));
        let Ok(content) = opened else { return Ok(None) };
        let part = disk::part_key(content.document, log, entry.header().seq);
        Ok(self.store.get(DOCUMENTS, &part)?.map(|_| content.document))
    }

    /// Makes a document anew without some of its entries.
    fn take_out_of(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        without: &BTreeSet<(LogId, u64)>,
    ) -> Result<(), Error> {
        for (log, seq) in without {
            batch.delete(DOCUMENTS, disk::part_key(id, *log, *seq));
        }
        drop(self.recent.take(id));
        let Some(row) = self.row(id)? else { return Ok(()) };
        let (mut changes, mut parts) = (Vec::new(), Vec::new());
        let rest: Vec<_> = self.parts(id)?.into_iter().filter(|place| !without.contains(place)).collect();
        for (log, seq) in rest {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            if let (Some(change), Some(part)) = (self.change_of(&entry)?, self.part_of(&entry)?) {
                parts.push((change.clone(), part));
                changes.push(change);
            }
        }
        let kind = row.kind;
        let mut document =
            Document::load(self.device_id(), changes).map_err(|e| Error::Kind(e.to_string()))?;
        // What builds on what is gone waits for it, as where it comes in afterwards.
        parts.retain(|(change, _)| !judges(kind) || document.counts(change));
        let parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
        self.show_anew(batch, id, kind, &parts, &mut document).map(drop)
    }

    /// Writes a document's row from nothing but these parts; takes it off the list if they cannot be read by themselves.
    pub(super) fn show_anew(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        kind: Kind,
        parts: &[Part],
        document: &mut Document,
    ) -> Result<Option<Row>, Error> {
        // What was built on what is gone is there again when that is accepted.
        let is_empty = document.is_empty();
        if let Some(content) = Content::read(kind, document).ok().flatten().filter(|_| !is_empty) {
            // Who claims a time that has not come yet does not move up by being looked at again.
            let stood_ms = self.row(id)?.map(|row| row.ordered_ms);
            let stays = |part: &Part| Part {
                came_ms: stood_ms.filter(|_| part.claimed_ms > part.came_ms).unwrap_or(part.came_ms),
                ..*part
            };
            let parts: Vec<Part> = parts.iter().map(stays).collect();
            return self.put_row(batch, id, kind, &parts, &content, None);
        }
        batch.delete(ROWS, id.as_bytes());
        self.gone.insert(id);
        Ok(None)
    }
}
