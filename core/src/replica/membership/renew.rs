//! A store that is older than its own words goes on as another device of the same member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::bytes::ByteVec;

use super::keys::KeyPlan;
use crate::base::{CompartmentId, DeviceId, DocumentId};
use crate::document::{AuthoredChange, Document};
use crate::entry::{Kind as EntryKind, LogId, Verified};
use crate::replica::disk::{self, DOCUMENTS, ENTRIES, EXPIRY, META, OUTBOX, OutboxRow, QUARANTINE, RECEIVED};
use crate::replica::engine::{Engine, ROLL, sender_secret_key};
use crate::replica::error::Error;
use crate::replica::view::Part;
use crate::roll::operation::Certification;
use crate::roll::{Operation, Roll};
use crate::storage::Batch;
use crate::watch::kinds::is_judged;
use crate::watch::{Content, Kind};

/// When this installation last became another device by itself, in milliseconds since the Unix epoch.
const RENEWED: &[u8] = b"renewed";

/// Milliseconds between two times that it does so by itself. What a relay says it has seen of a device's log is not
/// proven: one that lies could make a phone enter one device after another.
const RENEW_MS_MIN: u64 = 7 * 24 * 3_600 * 1_000;

/// What was not sent under the old device, to be signed by the new one.
struct Carried {
    /// Entries that are given up.
    places: BTreeSet<(LogId, u64)>,
    operations: Vec<Operation>,
    documents: Vec<CarriedDocument>,
}

/// A document with unsent words: what it is without them, and what they made of it, step by step where each is judged by the
/// one before.
struct CarriedDocument {
    id: DocumentId,
    kind: Kind,
    rest: Document,
    parts: Vec<Part>,
    steps: Vec<Content>,
}

impl Engine {
    /// Makes this installation another device of its member, with everything that it has. To go on as the old device
    /// would fork its log: the store was restored from a backup, or copied, and others have seen more of it.
    ///
    /// What was acknowledged stays the old device's. What was not is signed anew by the new one. The old device is not
    /// taken out: it may be in use elsewhere. Whoever knows that it is gone removes it.
    ///
    /// # Errors
    /// [`Error::KeyElsewhere`] if the member's key is on another device: ask that one to confirm a new installation;
    /// [`Error::Removed`] if the member does not belong any more; errors of the store.
    pub fn renew(&mut self) -> Result<DeviceId, Error> {
        self.fresh()?;
        self.identity.secrets()?.member.as_ref().ok_or(Error::KeyElsewhere)?;
        self.must_belong()?;
        let identity = self.identity.renewed(&mut *self.rng)?;
        let new = identity.device_id;
        let carried = self.carried(new)?;
        self.transact(|engine, batch| {
            engine.give_up(batch, &carried.places)?;
            engine.become_device(batch, identity)?;
            let certificate = engine.certificate_for(engine.group()?.roll.group())?;
            let reader = (new, *engine.identity.secrets()?.agreement.public());
            engine.begin_log(batch, CompartmentId::ROLL)?;
            let state = Arc::clone(engine.state()?);
            let mut plan = KeyPlan::default();
            engine.share_keys(&mut plan, &state, reader)?;
            engine.append_with_keys(batch, plan, |keys| {
                let certificate = ByteVec::from(certificate.as_bytes().to_vec());
                Operation::Certify(Certification { certificate, keys })
            })?;
            for operation in &carried.operations {
                engine.append_operation(batch, operation)?;
            }
            for document in carried.documents {
                engine.write_anew(batch, document)?;
            }
            // The relay leaves out a device's own entries: of the old one's, it has more than are here.
            engine.forget_cursors(batch)
        })?;
        self.absorb_keys()?;
        Ok(new)
    }

    /// As [`Engine::renew`], unless this installation has done so within a week: then somebody has to look.
    ///
    /// # Errors
    /// As [`Engine::renew`]; [`Error::RolledBack`] if it was renewed lately.
    pub fn renew_by_itself(&mut self) -> Result<DeviceId, Error> {
        let now_ms = self.clock.now_ms();
        let last = self.store.get(META, RENEWED)?.map(|bytes| disk::parse_number(&bytes));
        if last.is_some_and(|last| now_ms.abs_diff(last) < RENEW_MS_MIN) {
            return Err(Error::RolledBack);
        }
        let new = self.renew()?;
        self.transact(|_, batch| {
            batch.put(META, RENEWED, disk::number_key(now_ms));
            Ok(new)
        })
    }

    fn carried(&mut self, new: DeviceId) -> Result<Carried, Error> {
        let old = self.device_id();
        let (mut places, mut operations) = (BTreeSet::new(), Vec::new());
        for (_, row) in self.store.scan(OUTBOX, &[], None, usize::MAX)? {
            let row: OutboxRow = disk::decode(&row)?;
            if row.log.device == old {
                places.insert((row.log, row.seq));
            }
        }
        let in_roll = LogId { compartment: CompartmentId::ROLL, device: old };
        let built_on = self.built_on(&places)?;
        places.retain(|(log, seq)| built_on.get(log).is_none_or(|last| seq > last));
        for (log, seq) in places.iter().filter(|(log, _)| log.compartment == CompartmentId::ROLL) {
            let Some(entry) = disk::read_entry(&*self.store, *log, *seq)? else { continue };
            if entry.header().kind == EntryKind::OPERATION && !entry.is_founding() {
                operations.push(disk::decode(entry.body().unwrap_or_default())?);
            }
        }
        // A group that was founded and never sent has nothing that could fork.
        if self.roll_entries()?.first().is_some_and(|entry| places.contains(&(LogId::of(entry), 0))) {
            places.remove(&(in_roll, 0));
        }
        let own = self.own_documents()?.into_iter().filter(|(place, _)| places.contains(place));
        let documents: BTreeSet<DocumentId> = own.map(|(_, id)| id).collect();
        let mut carried = Vec::new();
        for id in documents {
            let Some(row) = self.row(id)? else { continue };
            let kind = row.kind;
            let mut steps = Vec::new();
            steps.extend(Content::read(kind, &self.load(id)?).map_err(|e| Error::Kind(e.to_string()))?);
            let (mut changes, mut parts) = (Vec::new(), Vec::new());
            for (log, seq) in self.parts(id)?.into_iter().filter(|place| !places.contains(place)) {
                if let Some(entry) = disk::read_entry(&*self.store, log, seq)? {
                    changes.extend(self.change_of(&entry)?);
                    parts.extend(self.part_of(&entry)?);
                }
            }
            if is_judged(kind) {
                steps = self.steps_of(id, kind, &changes, &places)?;
            }
            let rest = Document::load(new, changes).map_err(|e| Error::Kind(e.to_string()))?;
            carried.push(CarriedDocument { id, kind, rest, parts, steps });
        }
        Ok(Carried { places, operations, documents: carried })
    }

    /// Of these entries of this device, the last in each log that others cite, or that is before one which the relay
    /// acknowledged. It is there already (in an admission that was handed over, in a push whose answer was lost), so it is
    /// no secret of this store: it and those before it stay as they are.
    fn built_on(&self, places: &BTreeSet<(LogId, u64)>) -> Result<BTreeMap<LogId, u64>, Error> {
        let old = self.device_id();
        let mut unsent = BTreeMap::new();
        for (log, seq) in places {
            let entry = disk::read_entry(&*self.store, *log, *seq)?;
            unsent.extend(entry.map(|entry| (entry.hash(), (*log, *seq))));
        }
        let (mut built_on, mut after): (BTreeMap<LogId, u64>, Option<Vec<u8>>) = (BTreeMap::new(), None);
        while !unsent.is_empty() {
            let rows = self.store.scan(ENTRIES, &[], after.as_deref(), 1_000)?;
            let Some((key, _)) = rows.last() else { break };
            after = Some(key.clone());
            for (key, bytes) in &rows {
                let entry = disk::decode_entry(bytes)?;
                let header = entry.header();
                let is_elsewhere = header.device != old || self.store.get(RECEIVED, key)?.is_some();
                let causes = header.roll_heads.iter().chain(&header.previous).filter(|_| is_elsewhere);
                for (log, seq) in causes.filter_map(|cause| unsent.get(cause)) {
                    let last = built_on.entry(*log).or_insert(*seq);
                    *last = (*last).max(*seq);
                }
            }
        }
        Ok(built_on)
    }

    /// What this device's unsent words made of a document, one after the other.
    fn steps_of(
        &mut self,
        id: DocumentId,
        kind: Kind,
        rest: &[AuthoredChange],
        places: &BTreeSet<(LogId, u64)>,
    ) -> Result<Vec<Content>, Error> {
        let bad = |e: crate::document::BadDocument| Error::Kind(e.to_string());
        let (mut changes, mut steps) = (rest.to_vec(), Vec::new());
        let own: BTreeSet<_> = self.parts(id)?.into_iter().filter(|place| places.contains(place)).collect();
        for (log, seq) in own {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            changes.extend(self.change_of(&entry)?);
            let document = Document::load(self.device_id(), changes.iter().cloned()).map_err(bad)?;
            steps.extend(Content::read(kind, &document).map_err(bad)?);
        }
        Ok(steps)
    }

    /// Takes this device's unsent entries out of the store, and out of the roll.
    fn give_up(&mut self, batch: &mut Batch, places: &BTreeSet<(LogId, u64)>) -> Result<(), Error> {
        for (key, row) in self.store.scan(OUTBOX, &[], None, usize::MAX)? {
            let row: OutboxRow = disk::decode(&row)?;
            if places.contains(&(row.log, row.seq)) {
                batch.delete(OUTBOX, key);
                self.count_out(row.document)?;
            }
        }
        for (log, seq) in places {
            if let Some(entry) = disk::read_entry(&*self.store, *log, *seq)? {
                self.forget_entry(batch, &entry)?;
            }
        }
        for (key, _) in self.store.scan(DOCUMENTS, &[], None, usize::MAX)? {
            if let Some((document, place)) = disk::parse_part_key(&key).filter(|(_, p)| places.contains(p)) {
                batch.delete(DOCUMENTS, key);
                self.fresh()?.accept(document, place);
            }
        }
        let mut roll: Option<Roll> = None;
        for (number, key) in self.store.scan(ROLL, &[], None, usize::MAX)? {
            let place = disk::parse_entry_key(&key).filter(|place| !places.contains(place));
            let entry =
                place.map(|(log, seq)| disk::read_entry(&*self.store, log, seq)).transpose()?.flatten();
            let Some(entry) = entry else {
                batch.delete(ROLL, number);
                continue;
            };
            match &mut roll {
                None => roll = Some(Roll::found(&entry).map_err(|e| Error::store_damaged(&e))?),
                Some(roll) => drop(roll.insert(&entry)),
            }
        }
        let roll = roll.ok_or_else(|| Error::store_damaged(&"the roll is gone"))?;
        let group = self.fresh()?;
        group.roll = Arc::new(roll);
        group.own = BTreeMap::new();
        Ok(())
    }

    /// Takes an entry out of every table that has a row for it: the one that others have in its place is another.
    fn forget_entry(&mut self, batch: &mut Batch, entry: &Verified) -> Result<(), Error> {
        let (log, header) = (LogId::of(entry), entry.header());
        for table in [ENTRIES, RECEIVED, QUARANTINE] {
            batch.delete(table, disk::entry_key(log, header.seq));
        }
        if let Some(day) = header.expiry_day {
            batch.delete(EXPIRY, disk::expiry_key(day, log, header.seq));
        }
        if let (EntryKind::SENDER_KEY, Some(epoch)) = (header.kind, header.epoch) {
            batch.delete(META, sender_secret_key(log, epoch));
            self.fresh()?.senders.remove(&(log, epoch));
        }
        Ok(())
    }

    fn write_anew(&mut self, batch: &mut Batch, document: CarriedDocument) -> Result<(), Error> {
        let CarriedDocument { id, kind, mut rest, parts, steps } = document;
        let mut before = self.show_anew(batch, id, kind, &parts, &mut rest)?;
        for content in steps {
            before = self.write_on(batch, kind, id, rest, before, &content)?;
            rest = self.recent.take(id).unwrap_or_else(|| Document::new(self.device_id()));
        }
        Ok(())
    }
}
