//! What waits to be sent: read, answered by the relay, or offered anew to a relay that lost it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::disk::{
    self, DOCUMENTS, OUTBOX, OutboxRow, QUARANTINE, RECEIPTS, RECEIVED, ReceivedRow, SetAsideRow,
};
use super::engine::Engine;
use super::error::Error;
use super::receive::StoreLogs;
use super::relay::RollOffered;
use crate::base::{CompartmentId, DocumentId, cbor, limits};
use crate::entry::{LogHead, LogId};
use crate::storage::Batch;
use crate::sync::SignedReceipt;
use crate::sync::frame::{LogHeight, Refused};
use crate::sync::inbox::Logs as _;
use crate::sync::session::Outgoing;

impl Engine {
    /// What the outbox holds behind `after`: a few frames of it.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn outbox(&mut self, after: u64) -> Result<Vec<Outgoing>, Error> {
        self.fresh()?;
        let after = disk::number_key(after);
        let mut outgoing = Vec::new();
        let mut bytes = 0;
        for (key, row) in self.store.scan(OUTBOX, &[], Some(&after), limits::FRAME_ENTRIES_MAX)? {
            let row: OutboxRow = disk::decode(&row)?;
            let Some(entry) = disk::readable_entry(&*self.store, row.log, row.seq)? else { continue };
            bytes += entry.bytes();
            outgoing.push(Outgoing {
                key: disk::parse_number(&key),
                hash: entry.hash(),
                wire: entry.wire().clone(),
            });
            if bytes > limits::FRAME_ENTRIES_BYTES * limits::PUSH_FRAMES_IN_FLIGHT_MAX {
                break;
            }
        }
        Ok(outgoing)
    }

    /// Puts into the outbox whatever is here and not at the relay: the roll first, causes before effects. Of the roll alone,
    /// and what waited before, unless `theirs` is `whole`. Of compartments that this device may not read a relay tells
    /// no more than how far its own logs go: of those it offers what this installation wrote. A log is offered up to the
    /// first entry whose body is missing here, as a relay takes neither that entry nor those behind it; when the body has
    /// come, the next session offers everything again. Answers with how many entries the relay lacks, as far as it was
    /// asked.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn offer(&mut self, theirs: &[LogHeight], whole: bool) -> Result<u64, Error> {
        self.fresh()?;
        let theirs: BTreeMap<LogId, LogHead> =
            theirs.iter().map(|height| (height.log, height.head)).collect();
        let lacks = |log: LogId, seq: u64| theirs.get(&log).is_none_or(|head| head.seq < seq);
        let queued = self.queued()?;
        let mut order: Vec<(LogId, u64)> = Vec::new();
        for entry in self.roll_entries()? {
            let place = (LogId::of(&entry), entry.header().seq);
            if lacks(place.0, place.1) {
                order.push(place);
            }
        }
        let state = Arc::clone(self.state()?);
        let rows = state.template().compartments.iter();
        let logs = rows.filter(|row| whole && row.id != CompartmentId::ROLL).flat_map(|row| {
            // What somebody wrote stays when they are gone.
            let reads = state.may_read(self.device_id(), row.id);
            let devices = state.devices_ever().filter(|(device, _)| reads || self.identity.has_been(*device));
            devices.map(|(device, _)| LogId { compartment: row.id, device }).collect::<Vec<_>>()
        });
        let logs_here = StoreLogs(&*self.store);
        for log in logs {
            let Some(head) = logs_here.head(log)? else { continue };
            let first = theirs.get(&log).map_or(0, |theirs| theirs.seq.saturating_add(1));
            order.extend((first..=head.seq).map(|seq| (log, seq)));
        }
        let mut ends: BTreeMap<LogId, u64> = BTreeMap::new();
        for (log, seq) in self.missed_bodies()? {
            ends.entry(log).and_modify(|end| *end = seq.min(*end)).or_insert(seq);
        }
        let is_taken = |(log, seq): &(LogId, u64)| ends.get(log).is_none_or(|end| seq < end);
        let documents = self.own_documents()?;
        let mut placed = BTreeSet::new();
        let lacking = order.len() as u64;
        self.transact(|engine, batch| {
            let group = engine.fresh()?;
            group.unsent.clear();
            if whole {
                group.relay.offered = group.relay.incarnation;
                if let Some(ended) = group.relay.earlier.last_mut() {
                    ended.lacking.get_or_insert(lacking);
                }
            } else {
                let next = group.next_roll;
                let offered = |incarnation| RollOffered { incarnation, next };
                group.relay.roll_offered = group.relay.incarnation.map(offered);
            }
            engine.put_relay(batch)?;
            queued.values().for_each(|key| batch.delete(OUTBOX, key.clone()));
            // What was queued and is not missing there was sent, and its receipt lost: it is asked for once more.
            for (log, seq) in order.into_iter().chain(queued.into_keys()).filter(is_taken) {
                if placed.insert((log, seq)) {
                    let document = documents.get(&(log, seq)).copied();
                    engine.enqueue(batch, OutboxRow { log, seq, document })?;
                    engine.changed.extend(document);
                }
            }
            Ok(lacking)
        })
    }

    /// Queues this installation's own words anew: what acknowledged them does not have them any more.
    pub(super) fn queue_own_again(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let documents = self.own_documents()?;
        let queued = self.queued()?;
        let (device, own) = (self.device_id(), self.group()?.own.clone());
        for (compartment, head) in own {
            let log = LogId { compartment, device };
            for seq in (0..=head.seq).filter(|seq| !queued.contains_key(&(log, *seq))) {
                let document = documents.get(&(log, seq)).copied();
                self.enqueue(batch, OutboxRow { log, seq, document })?;
            }
        }
        // What it wrote as another device comes with the rest when everything is offered: until then it waits as well.
        for (place, document) in &documents {
            if place.0.device != device && !queued.contains_key(place) {
                let (log, seq) = *place;
                self.enqueue(batch, OutboxRow { log, seq, document: Some(*document) })?;
            }
        }
        for (key, _) in self.store.scan(RECEIVED, &[], None, usize::MAX)? {
            batch.delete(RECEIVED, key);
        }
        self.changed.extend(documents.into_values());
        Ok(())
    }

    /// What the outbox holds, by log and number, with its place there.
    fn queued(&self) -> Result<BTreeMap<(LogId, u64), Vec<u8>>, Error> {
        let mut queued = BTreeMap::new();
        for (key, row) in self.store.scan(OUTBOX, &[], None, usize::MAX)? {
            let row: OutboxRow = disk::decode(&row)?;
            queued.insert((row.log, row.seq), key);
        }
        Ok(queued)
    }

    /// The documents that this installation's own entries belong to, by log and number.
    pub(super) fn own_documents(&self) -> Result<BTreeMap<(LogId, u64), DocumentId>, Error> {
        let mut documents = BTreeMap::new();
        for (key, _) in self.store.scan(DOCUMENTS, &[], None, usize::MAX)? {
            let Some((document, place)) = disk::parse_part_key(&key) else { continue };
            if self.identity.has_been(place.0.device) {
                documents.insert(place, document);
            }
        }
        Ok(documents)
    }

    /// Marks entries as kept by the relay.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn mark_kept(&mut self, keys: &[u64], receipt: &SignedReceipt) -> Result<(), Error> {
        self.fresh()?;
        self.transact(|engine, batch| {
            let group = engine.fresh()?;
            let number = group.next_receipt;
            group.next_receipt += 1;
            batch.put(RECEIPTS, disk::number_key(number), receipt.as_bytes());
            let received = ReceivedRow { received_ms: receipt.receipt().received_ms, receipt: number };
            for key in keys {
                let Some(row) = engine.leave_outbox(batch, *key)? else { continue };
                let key = disk::entry_key(row.log, row.seq);
                batch.put(RECEIVED, key.clone(), cbor::encode(&received));
                let aside = engine.store.get(QUARANTINE, &key)?;
                let aside = aside.map(|row| disk::decode::<SetAsideRow>(&row)).transpose()?;
                match &aside {
                    Some(aside) if aside.by_relay && aside.cut_off => {
                        let aside = SetAsideRow { by_relay: false, ..aside.clone() };
                        batch.put(QUARANTINE, key, cbor::encode(&aside));
                    }
                    Some(aside) if aside.by_relay => batch.delete(QUARANTINE, key),
                    _ => {}
                }
                // What a removal cut off does not count, wherever it lies.
                if let Some(document) = row.document.filter(|_| !aside.is_some_and(|aside| aside.cut_off)) {
                    engine.fresh()?.accept(document, (row.log, row.seq));
                }
            }
            // The first receipt since the last proof stays until the next proof covers it.
            let checkpoint = receipt.receipt().checkpoint;
            engine.note_time(batch, receipt.receipt().received_ms)?;
            engine.chunks_may_go();
            let relay = &mut engine.fresh()?.relay;
            relay.receipted.get_or_insert(checkpoint);
            relay.pin();
            engine.put_relay(batch)
        })
    }

    /// Takes out of the outbox what others wrote of these, which the relay says it has without a receipt. This
    /// installation's own words wait for one.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn mark_unsigned(&mut self, keys: &[u64]) -> Result<(), Error> {
        self.fresh()?;
        self.transact(|engine, batch| {
            for key in keys {
                let Some(row) = engine.store.get(OUTBOX, &disk::number_key(*key))? else { continue };
                let row: OutboxRow = disk::decode(&row)?;
                if !engine.identity.has_been(row.log.device) {
                    engine.leave_outbox(batch, *key)?;
                }
            }
            Ok(())
        })
    }

    /// Takes an entry out of the outbox that the relay refuses for good. The entry itself stays.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn mark_refused(&mut self, key: u64, why: &Refused) -> Result<(), Error> {
        self.fresh()?;
        self.transact(|engine, batch| {
            let Some(row) = engine.leave_outbox(batch, key)? else { return Ok(()) };
            let key = disk::entry_key(row.log, row.seq);
            // Another relay may take what this one refuses: what a removal cut off stays so by itself.
            let before = engine.store.get(QUARANTINE, &key)?;
            let before: Option<SetAsideRow> = before.map(|row| disk::decode(&row)).transpose()?;
            let aside = match before.filter(|row| row.cut_off) {
                Some(cut_off) => {
                    SetAsideRow { by_relay: true, document: cut_off.document.or(row.document), ..cut_off }
                }
                None => SetAsideRow {
                    reason: why.reason.clone(),
                    by_relay: true,
                    document: row.document,
                    cut_off: false,
                },
            };
            if let Some(document) = aside.document {
                engine.fresh()?.refuse(document, (row.log, row.seq));
            }
            batch.put(QUARANTINE, key, cbor::encode(&aside));
            Ok(())
        })
    }

    /// Whether a place in the outbox holds an entry of this device's own.
    pub(super) fn is_own(&self, key: u64) -> Result<bool, Error> {
        let Some(row) = self.store.get(OUTBOX, &disk::number_key(key))? else { return Ok(false) };
        Ok(disk::decode::<OutboxRow>(&row)?.log.device == self.device_id())
    }

    fn leave_outbox(&mut self, batch: &mut Batch, key: u64) -> Result<Option<OutboxRow>, Error> {
        let Some(bytes) = self.store.get(OUTBOX, &disk::number_key(key))? else { return Ok(None) };
        let row: OutboxRow = disk::decode(&bytes)?;
        batch.delete(OUTBOX, disk::number_key(key));
        self.count_out(row.document)?;
        Ok(Some(row))
    }

    /// Counts one entry less of a document that waits to be sent.
    pub(super) fn count_out(&mut self, document: Option<DocumentId>) -> Result<(), Error> {
        let Some(document) = document else { return Ok(()) };
        let group = self.fresh()?;
        let left = group.unsent.get(&document).copied().unwrap_or(1) - 1;
        if left == 0 {
            group.unsent.remove(&document);
        } else {
            group.unsent.insert(document, left);
        }
        self.changed.insert(document);
        Ok(())
    }

    /// Entries that the relay has not acknowledged yet.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn outbox_len(&self) -> Result<usize, Error> {
        Ok(self.store.scan(OUTBOX, &[], None, usize::MAX)?.len())
    }
}
