//! The way in: entries from a relay or a peer are judged, stored, opened, and become rows, in one durable write.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::disk::{self, BARE, DOCUMENTS, ENTRIES, FORKS, META, QUARANTINE, SetAsideRow, UNOPENED, WAITING};
use super::engine::{Engine, SENDERS, sender_row};
use super::error::Error;
use super::judge::judges;
use super::retention::{SHREDDED, put_expiry};
use super::view::Part;
use crate::base::{CompartmentId, DeviceId, DocumentId, EntryHash, RoleId, cbor, limits};
use crate::document::{AuthoredChange, BadDocument, Document, is_created_by};
use crate::entry::plaintext::{Content, Form};
use crate::entry::{Kind as EntryKind, LogHead, LogId, Received as ReceivedEntry, Verified, Wire, seal};
use crate::roll::State;
use crate::storage::{Batch, Store};
use crate::sync::frame::Covered;
use crate::sync::inbox::{Logs, PASTS_MAX, Quarantine, Verdict, judge};
use crate::watch::kinds::{may_expire, rule};
use crate::watch::{self, Kind};

/// Present while there may be entries that came when the device was locked, and were not looked at since.
const UNREAD: &[u8] = b"unread";

/// Entries that are read in one durable write after the PIN was entered.
const UNREAD_A_WRITE: usize = 256;

/// What became of entries that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Stored and in effect.
    pub kept: usize,
    /// Here before.
    pub known: usize,
    /// Here before without their bodies, which have come now.
    pub mended: usize,
    /// Stored until what they follow arrives.
    pub waiting: usize,
    /// Stored without effect.
    pub set_aside: usize,
    /// What somebody did wrong.
    pub warnings: Vec<Warning>,
    /// Too much waited for what never came: everything is to be fetched again.
    pub start_over: bool,
}

/// Something that no honest party does. Nothing else is disturbed by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The sender passed on what is no entry, or none of this group, or altered.
    #[error("the relay passed on something that is not genuine: {0}")]
    NotGenuine(String),
    /// A device signed two entries for one place. Both are kept as proof.
    #[error("device {} wrote two different entries {seq}: its store was restored or copied", .device.short())]
    Fork {
        /// The device.
        device: DeviceId,
        /// The number of both.
        seq: u64,
    },
    /// The relay says that the time of these is over, and this phone's date says that it is not: one of the two is wrong.
    /// They are asked for again.
    #[error(
        "{entries} entries came without their words: the relay says that their time is over, and by this phone's date it \
         is not. Check the date; if it is right, the relay's is wrong"
    )]
    WithoutWords {
        /// How many there are, counted up to 1,024.
        entries: usize,
    },
    /// Entries of this device's own copy of the roll cannot be read. They are fetched again.
    #[error("{entries} entries of the membership log on this device cannot be read, and are fetched again")]
    RollDamaged {
        /// How many.
        entries: usize,
    },
    /// Entries that everything behind them follows do not come.
    #[error("{entries} entries wait for others that the relay does not hand out")]
    Withheld {
        /// How many wait.
        entries: usize,
    },
}

impl Received {
    /// Adds what became of more entries.
    pub fn add(&mut self, more: Self) {
        self.kept += more.kept;
        self.known += more.known;
        self.mended += more.mended;
        self.waiting += more.waiting;
        self.set_aside += more.set_aside;
        self.warnings.extend(more.warnings);
        self.start_over |= more.start_over;
    }

    /// Whether something came that is not genuine: the good copy is still to be had, so the cursor stays.
    pub fn is_spoilt(&self) -> bool {
        self.warnings.iter().any(|warning| matches!(warning, Warning::NotGenuine(_)))
    }
}

/// The logs as they are stored.
pub(super) struct StoreLogs<'a>(pub &'a dyn Store);

impl Logs for StoreLogs<'_> {
    type Error = Error;

    fn head(&self, log: LogId) -> Result<Option<LogHead>, Error> {
        let Some((key, bytes)) = self.0.last(ENTRIES, &disk::log_prefix(log))? else { return Ok(None) };
        let (_, mut seq) = disk::parse_entry_key(&key).ok_or_else(|| Error::store_damaged(&"a log key"))?;
        if let Ok(entry) = disk::decode_entry(&bytes) {
            return Ok(Some(LogHead { seq, hash: entry.hash() }));
        }
        // What cannot be read is not here: it is to be had again, and what follows it waits for it.
        while let Some(before) = seq.checked_sub(1) {
            seq = before;
            if let Some(hash) = self.hash_at(log, seq)? {
                return Ok(Some(LogHead { seq, hash }));
            }
        }
        Ok(None)
    }

    fn hash_at(&self, log: LogId, seq: u64) -> Result<Option<EntryHash>, Error> {
        Ok(disk::readable_entry(self.0, log, seq)?.map(|entry| entry.hash()))
    }
}

/// A part of a document that came in.
pub(super) struct NewPart {
    pub log: LogId,
    pub seq: u64,
    pub part: Part,
    pub role: RoleId,
    /// The last day of its body.
    pub day: Option<u32>,
    pub change: AuthoredChange,
}

/// What a document's changes amount to.
#[expect(clippy::large_enum_variant, reason = "one at a time is held")]
enum Outcome {
    /// They can be read; a row shows it, unless the kind is of a later version.
    Content(Option<watch::Content>),
    /// Others, which they build on, have not arrived.
    Incomplete,
}

/// What came in and is not in its documents yet.
#[derive(Default)]
pub(super) struct Arrivals {
    pub parts: BTreeMap<DocumentId, (Kind, Vec<NewPart>)>,
    pasts: HashMap<Vec<EntryHash>, Option<Arc<State>>>,
    sender_rows: BTreeSet<Vec<u8>>,
    new_keys: bool,
}

impl Engine {
    /// Takes in entries. If they are all that stood at `covered` and its positions follow those had before, the next
    /// session goes on behind them.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if others hold words of this device that it does not know; errors of the store. What
    /// others did wrong is no error: it is in the report.
    pub fn receive(&mut self, mut wires: Vec<Wire>, covered: Option<Covered>) -> Result<Received, Error> {
        self.fresh()?;
        let mut report = Received::default();
        self.put_back(&mut wires, &mut report)?;
        if self.must_know_roll().is_err() {
            // What stands outside the roll is judged once that is whole, and fetched then.
            wires.retain(|wire| {
                let entry = ReceivedEntry::parse(wire.clone());
                entry.map_or(true, |entry| self.takes_in(entry.header().compartment))
            });
            if covered.is_some_and(|covered| !self.takes_in(covered.compartment)) {
                return Ok(report);
            }
        }
        // A cursor that was set back in the middle of a session stays there for the next.
        let covered_next = match covered {
            Some(covered) if self.cursor(covered.compartment)? == covered.after => Some(covered),
            Some(_) | None => None,
        };
        if let Some(covered) = covered_next.filter(|_| wires.is_empty())
            && self.store.scan(WAITING, &[], None, 1)?.is_empty()
        {
            self.skip_to(covered.compartment, covered.upto)?;
            return Ok(report);
        }
        report.add(self.transact(|engine, batch| {
            let report = engine.take_in(batch, wires, covered.map(|covered| covered.compartment))?;
            if report.start_over {
                engine.forget_cursors(batch)?;
            } else if let Some(covered) = covered_next.filter(|_| !report.is_spoilt()) {
                Self::put_cursor(batch, covered.compartment, covered.upto);
            }
            Ok(report)
        })?);
        self.reweigh()?;
        Ok(report)
    }

    fn take_in(
        &mut self,
        batch: &mut Batch,
        wires: Vec<Wire>,
        compartment: Option<CompartmentId>,
    ) -> Result<Received, Error> {
        let mut report = Received::default();
        let mut entries = Vec::with_capacity(wires.len());
        for wire in wires {
            match ReceivedEntry::parse(wire) {
                // Its hash would stay good, and the copy with the body would be taken for known.
                Ok(entry) if entry.body().is_none() && !self.may_lack_body(&entry)? => {
                    report.warnings.push(Warning::NotGenuine("an entry's body was taken away".to_owned()));
                }
                Ok(entry) => {
                    if compartment.is_some_and(|compartment| compartment != entry.header().compartment) {
                        let what = "an entry stands among those of another compartment";
                        report.warnings.push(Warning::NotGenuine(what.to_owned()));
                    }
                    entries.push(entry);
                }
                Err(why) => report.warnings.push(Warning::NotGenuine(why.to_string())),
            }
        }
        let waiting = self.store.scan(WAITING, &[], None, limits::WAITING_ENTRIES_MAX)?;
        let fresh = entries.len();
        for (_, bytes) in &waiting {
            entries.push(disk::decode_entry(bytes)?.into_received());
        }
        let mut roll = Arc::clone(&self.group()?.roll);
        let verdicts = judge(&mut roll, &StoreLogs(&*self.store), entries)?;
        let roll_grew = !Arc::ptr_eq(&roll, &self.group()?.roll);
        self.fresh()?.roll = roll;
        let mut arrivals = Arrivals::default();
        let mut overflowing = Vec::new();
        if roll_grew {
            self.absorb_keys()?;
            arrivals.new_keys = true;
        }
        let mut waiting_now = waiting.len();
        let mut waiting_bytes: usize = waiting.iter().map(|(_, bytes)| bytes.len()).sum();
        for (at, verdict) in verdicts {
            if let Some((key, _)) = at.checked_sub(fresh).and_then(|at| waiting.get(at))
                && !matches!(verdict, Verdict::Wait(..))
            {
                batch.delete(WAITING, key.clone());
            }
            match verdict {
                Verdict::Keep(entry) => {
                    // Whoever brings back what is over brings the proof that it was there, and no word of it.
                    let entry = self.without_what_is_over(entry)?;
                    self.keep(batch, &entry, false)?;
                    self.note_bare(batch, &entry)?;
                    report.kept += 1;
                    if let Some(aside) = self.take_effect(batch, &entry, &mut arrivals)? {
                        set_aside(batch, &entry, &aside);
                        report.set_aside += 1;
                    }
                }
                Verdict::Quarantine(entry, why) => {
                    let entry = self.without_what_is_over(entry)?;
                    self.keep(batch, &entry, matches!(why, Quarantine::Roll(_)))?;
                    self.note_bare(batch, &entry)?;
                    set_aside(batch, &entry, &SetAsideRow::because(&why));
                    report.set_aside += 1;
                }
                Verdict::Stranger(_) => report.set_aside += 1,
                Verdict::Known(entry) => {
                    report.known += 1;
                    self.mend(batch, entry, &mut arrivals, &mut report)?;
                }
                Verdict::Wait(entry, _) => {
                    // What waits is verified now: later nobody could tell who brought it.
                    if at < fresh
                        && let Err(why) = entry.verify_signature()
                    {
                        report.warnings.push(Warning::NotGenuine(why.to_string()));
                        continue;
                    }
                    if at < fresh {
                        waiting_now += 1;
                        waiting_bytes += entry.bytes();
                        batch.put(WAITING, disk::hash_key(entry.hash()), entry.to_bytes());
                        overflowing.push(entry.hash());
                    }
                    report.waiting += 1;
                }
                Verdict::Fork(entry, _) => {
                    let (device, seq) = (entry.header().device, entry.header().seq);
                    if device == self.device_id() {
                        return Err(Error::RolledBack);
                    }
                    // One rival of a place is proof enough.
                    batch.put(FORKS, disk::entry_key(LogId::of(&entry), seq), entry.to_bytes());
                    report.warnings.push(Warning::Fork { device, seq });
                }
                Verdict::Refuse(_, why) => report.warnings.push(Warning::NotGenuine(why.to_string())),
            }
        }
        if waiting_now > limits::WAITING_ENTRIES_MAX || waiting_bytes > limits::WAITING_BYTES_MAX {
            // Whoever sent them can invent more. The honest ones among them are fetched again from the beginning.
            waiting.iter().for_each(|(key, _)| batch.delete(WAITING, key.clone()));
            overflowing.iter().for_each(|hash| batch.delete(WAITING, disk::hash_key(*hash)));
            report.warnings.push(Warning::Withheld { entries: waiting_now });
            report.start_over = true;
        }
        if self.is_locked() {
            batch.put(META, UNREAD, Vec::new());
        } else if arrivals.new_keys {
            self.retry_unopened(batch, usize::MAX, &mut arrivals, &mut report)?;
        }
        self.update_rows(batch, arrivals.parts, &mut report)?;
        Ok(report)
    }

    /// Remembers that an entry lacks a body that it should still have.
    fn note_bare(&self, batch: &mut Batch, entry: &Verified) -> Result<(), Error> {
        if self.misses_body(entry)? {
            batch.put(BARE, disk::entry_key(LogId::of(entry), entry.header().seq), Vec::new());
        }
        Ok(())
    }

    /// Takes the body of an entry that is here without it. It has the header's hash, as has whatever has passed for an entry.
    fn mend(
        &mut self,
        batch: &mut Batch,
        entry: ReceivedEntry,
        arrivals: &mut Arrivals,
        report: &mut Received,
    ) -> Result<(), Error> {
        let (log, seq) = (LogId::of(&entry), entry.header().seq);
        if entry.body().is_none() || log.compartment == CompartmentId::ROLL {
            return Ok(());
        }
        let Some(here) = disk::read_entry(&*self.store, log, seq)? else { return Ok(()) };
        if here.body().is_some() || here.hash() != entry.hash() {
            return Ok(());
        }
        // The same signed bytes were verified before they were stored.
        let entry = Verified::from_own_store(entry);
        if self.state()?.retention().drops(&entry, self.today()) {
            return Ok(());
        }
        let key = disk::entry_key(log, seq);
        batch.put(ENTRIES, key.clone(), entry.to_bytes());
        batch.delete(BARE, key.clone());
        // The entries behind it were not offered without it: the next session asks for heads, and offers them.
        self.fresh()?.relay.offered = None;
        self.put_relay(batch)?;
        put_expiry(batch, &entry);
        report.mended += 1;
        // What was set aside is looked at again when that is undone.
        if self.store.get(QUARANTINE, &key)?.is_none()
            && let Some(aside) = self.take_effect(batch, &entry, arrivals)?
        {
            set_aside(batch, &entry, &aside);
            report.set_aside += 1;
        }
        Ok(())
    }

    /// Stores a verified entry. One that is `no_operation` is not part of the roll, wherever it stands.
    fn keep(&mut self, batch: &mut Batch, entry: &Verified, no_operation: bool) -> Result<(), Error> {
        let log = LogId::of(entry);
        if log.device == self.device_id() {
            return Err(Error::RolledBack);
        }
        batch.put(ENTRIES, disk::entry_key(log, entry.header().seq), entry.to_bytes());
        put_expiry(batch, entry);
        if log.compartment == CompartmentId::ROLL && !no_operation {
            self.put_roll_row(batch, entry)?;
        }
        Ok(())
    }

    /// Lets a stored entry take effect, or says why it has none.
    pub(super) fn take_effect(
        &mut self,
        batch: &mut Batch,
        entry: &Verified,
        arrivals: &mut Arrivals,
    ) -> Result<Option<SetAsideRow>, Error> {
        let log = LogId::of(entry);
        let header = entry.header();
        if header.kind == EntryKind::SEALED && entry.body().is_none() {
            return Ok(None);
        }
        if let Some(cut_off) = self.cut_off(entry) {
            return Ok(Some(cut_off));
        }
        match (header.kind, header.epoch) {
            (EntryKind::SENDER_KEY, Some(epoch)) => {
                // The first stands: a second would take from readers what was written under it.
                let row = sender_row(log, epoch);
                if !arrivals.sender_rows.contains(&row) && self.store.get(SENDERS, &row)?.is_none() {
                    batch.put(SENDERS, row.clone(), header.seq.to_be_bytes());
                    arrivals.sender_rows.insert(row);
                    self.absorb_sender(entry);
                    arrivals.new_keys = true;
                }
                Ok(None)
            }
            (EntryKind::SEALED, Some(epoch)) => {
                let Some(sender) = self.sender_of(log, epoch)? else {
                    batch.put(UNOPENED, disk::entry_key(log, header.seq), Vec::new());
                    return Ok(None);
                };
                let group = self.group()?.roll.group();
                let opened = seal::entry_key(group, entry, &sender).and_then(|key| seal::open(entry, &key));
                match opened {
                    Ok(content) if self.is_shredded(&content)? => Ok(Some(SetAsideRow::because(&SHREDDED))),
                    Ok(content) => self.take_content(entry, &content, arrivals),
                    Err(why) => Ok(Some(SetAsideRow::because(&why))),
                }
            }
            (_, _) => Ok(None),
        }
    }

    /// Checks a content against the rules of its kind (PROTOCOL.md §6.3) and queues it for its document.
    fn take_content(
        &mut self,
        entry: &Verified,
        content: &Content,
        arrivals: &mut Arrivals,
    ) -> Result<Option<SetAsideRow>, Error> {
        let header = entry.header();
        let kind = Kind(content.kind);
        let heads = &header.roll_heads;
        if !arrivals.pasts.contains_key(heads) {
            if arrivals.pasts.len() >= PASTS_MAX {
                arrivals.pasts.clear();
            }
            arrivals.pasts.insert(heads.clone(), self.group()?.roll.state_at(heads));
        }
        let past = arrivals.pasts.get(heads).and_then(Option::as_ref);
        let Some((past, (device, role))) = past.and_then(|past| Some((past, past.device(header.device)?)))
        else {
            return Ok(Some(SetAsideRow::because(&"its device did not belong to the group")));
        };
        let Some(rule) = rule(kind).filter(|_| content.form == Form::CHANGE) else {
            // Of a later version: kept, and shown by a later version.
            return Ok(None);
        };
        let id = content.document;
        let broken = if rule.compartment != header.compartment.0 {
            Some("its kind belongs into another compartment")
        } else if !rule.writers.contains(&role.0) {
            Some("the role of its author may not write this kind of document")
        } else if (rule.author_only || rule.frozen) && !is_created_by(id, device.member, kind.0) {
            Some("only its author may change this document")
        } else if !is_created_by(id, device.member, kind.0)
            && !past.devices_ever().any(|(_, member)| is_created_by(id, member, kind.0))
        {
            Some("its identity was made for another kind, or by nobody of the group")
        } else if header.expiry_day.is_some() && !may_expire(kind) {
            Some("a document of this kind does not expire")
        } else {
            None
        };
        if let Some(reason) = broken {
            return Ok(Some(SetAsideRow::because(&reason)));
        }
        let change = match AuthoredChange::parse(&content.bytes, header.device) {
            Ok(change) => change,
            Err(why) => return Ok(Some(SetAsideRow::because(&why))),
        };
        let log = LogId::of(entry);
        if rule.frozen && (!change.is_first() || self.has_part_of(log, id, arrivals)?) {
            return Ok(Some(SetAsideRow::because(&"this document is frozen: it cannot be changed")));
        }
        // Else whoever comes later could begin it anew, with another last day.
        if may_expire(kind) && change.is_first() && !is_created_by(id, device.member, kind.0) {
            return Ok(Some(SetAsideRow::because(&"only who made this document may begin it")));
        }
        let came_ms = self.came_ms();
        let part = Part { author: device.member, claimed_ms: header.claimed_ms, came_ms };
        let new = NewPart { log, seq: header.seq, part, role, day: header.expiry_day, change };
        arrivals.parts.entry(id).or_insert_with(|| (kind, Vec::new())).1.push(new);
        Ok(None)
    }

    /// Whether this log has said something of a document already.
    fn has_part_of(&self, log: LogId, id: DocumentId, arrivals: &Arrivals) -> Result<bool, Error> {
        let new = arrivals.parts.get(&id).is_some_and(|(_, parts)| parts.iter().any(|new| new.log == log));
        Ok(new || self.parts(id)?.iter().any(|(stored, _)| *stored == log))
    }

    /// Reads what came while the device was locked. In several durable writes; whatever interrupts them, the next call goes on.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn read_unread(&mut self) -> Result<(), Error> {
        let nothing = self.group.is_none() || self.store.get(META, UNREAD)?.is_none();
        // Who may say what is not known without the whole roll: the sync that brings it back reads on.
        if nothing || self.must_know_roll().is_err() {
            return Ok(());
        }
        loop {
            let opened = self.transact(|engine, batch| {
                let (mut arrivals, mut report) = (Arrivals::default(), Received::default());
                let opened = engine.retry_unopened(batch, UNREAD_A_WRITE, &mut arrivals, &mut report)?;
                engine.update_rows(batch, arrivals.parts, &mut report)?;
                Ok(opened)
            })?;
            if opened < UNREAD_A_WRITE {
                break;
            }
        }
        self.reweigh()?;
        self.transact(|_, batch| {
            batch.delete(META, UNREAD);
            Ok(())
        })
    }

    /// Opens what there are keys for by now, at most so many entries. Answers with how many those were.
    fn retry_unopened(
        &mut self,
        batch: &mut Batch,
        entries_max: usize,
        arrivals: &mut Arrivals,
        report: &mut Received,
    ) -> Result<usize, Error> {
        let mut opened = 0;
        for (key, _) in self.store.scan(UNOPENED, &[], None, usize::MAX)? {
            if opened == entries_max {
                break;
            }
            let Some((log, seq)) = disk::parse_entry_key(&key) else { continue };
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let Some(epoch) = entry.header().epoch else { continue };
            if self.sender_of(log, epoch)?.is_none() {
                continue;
            }
            // What a removal cut off waits for that to be undone, and is opened then.
            let aside = self.store.get(QUARANTINE, &key)?;
            batch.delete(UNOPENED, key);
            opened += 1;
            let aside: Option<SetAsideRow> = aside.map(|row| disk::decode(&row)).transpose()?;
            if aside.is_some_and(|aside| aside.cut_off) {
                continue;
            }
            if let Some(aside) = self.take_effect(batch, &entry, arrivals)? {
                set_aside(batch, &entry, &aside);
                report.set_aside += 1;
            }
        }
        Ok(opened)
    }

    /// Applies new parts to their documents. One that does not fit fails alone.
    pub(super) fn update_rows(
        &mut self,
        batch: &mut Batch,
        documents: BTreeMap<DocumentId, (Kind, Vec<NewPart>)>,
        report: &mut Received,
    ) -> Result<(), Error> {
        for (id, (kind, parts)) in documents {
            let stored = self.parts(id)?;
            if judges(kind) || self.days_differ(kind, &stored, &parts)? {
                self.judge(batch, (id, kind), &stored, parts, report)?;
                continue;
            }
            let (parts, outcome, document) = self.fit(id, kind, &stored, parts, batch, report)?;
            for new in &parts {
                batch.put(DOCUMENTS, disk::part_key(id, new.log, new.seq), Vec::new());
            }
            // What is changed once is likely to be changed again; what is new came with many others.
            if let Some(document) = document.filter(|_| !stored.is_empty()) {
                self.recent.keep(id, document);
            }
            if let Outcome::Content(Some(content)) = outcome {
                let mut uncounted: Vec<Part> = parts.iter().map(|new| new.part).collect();
                let before = if stored.is_empty() { None } else { self.row(id)? };
                if before.is_none() {
                    // What came before the others that it builds on is in no row yet.
                    for (log, seq) in stored {
                        let entry = disk::read_entry(&*self.store, log, seq)?;
                        uncounted.extend(entry.map(|entry| self.part_of(&entry)).transpose()?.flatten());
                    }
                }
                self.put_row(batch, id, kind, &uncounted, &content, before)?;
            }
        }
        Ok(())
    }

    /// Who wrote a stored part of a document, and when.
    pub(super) fn part_of(&self, entry: &Verified) -> Result<Option<Part>, Error> {
        let header = entry.header();
        let past = self.group()?.roll.state_at(&header.roll_heads);
        let author = past.and_then(|past| Some(past.device(header.device)?.0.member));
        let (claimed_ms, came_ms) = (header.claimed_ms, self.came_ms());
        Ok(author.map(|author| Part { author, claimed_ms, came_ms }))
    }

    /// Adds parts to what a document has, each for itself if not all together, and sets aside those that do not fit.
    /// Answers with those that fit, and the document if all do.
    fn fit(
        &mut self,
        id: DocumentId,
        kind: Kind,
        stored: &[(LogId, u64)],
        parts: Vec<NewPart>,
        batch: &mut Batch,
        report: &mut Received,
    ) -> Result<(Vec<NewPart>, Outcome, Option<Document>), Error> {
        let news = |parts: &[NewPart]| parts.iter().map(|new| new.change.clone()).collect::<Vec<_>>();
        if let Some(recent) = self.recent.take(id)
            && let Ok((document, outcome)) = recent.extended(news(&parts)).and_then(|d| read_as(kind, d))
        {
            return Ok((parts, outcome, Some(document)));
        }
        let mut changes = Vec::new();
        for (log, seq) in stored {
            if let Some(entry) = disk::read_entry(&*self.store, *log, *seq)? {
                changes.extend(self.change_of(&entry)?);
            }
        }
        let author = self.device_id();
        let with = |changes: &[AuthoredChange], more: Vec<AuthoredChange>| {
            let all = Document::load(author, changes.iter().cloned().chain(more));
            all.and_then(|document| read_as(kind, document))
        };
        if let Ok((document, outcome)) = with(&changes, news(&parts)) {
            return Ok((parts, outcome, Some(document)));
        }
        let (mut accepted, mut last) = (Vec::new(), Outcome::Incomplete);
        for new in parts {
            match with(&changes, vec![new.change.clone()]) {
                Ok((_, outcome)) => {
                    last = outcome;
                    changes.push(new.change.clone());
                    accepted.push(new);
                }
                Err(why) => {
                    let row = SetAsideRow::because(&why);
                    batch.put(QUARANTINE, disk::entry_key(new.log, new.seq), cbor::encode(&row));
                    report.set_aside += 1;
                }
            }
        }
        Ok((accepted, last, None))
    }
}

/// Reads a document as its kind.
fn read_as(kind: Kind, mut document: Document) -> Result<(Document, Outcome), BadDocument> {
    let outcome = match watch::Content::read(kind, &document) {
        // Read as it is, it would be listed as a report that says nothing.
        Ok(_) if document.is_empty() => Outcome::Incomplete,
        Ok(content) => Outcome::Content(content),
        // What it builds on may still come, from another log.
        Err(_) if document.lacks_changes() => Outcome::Incomplete,
        Err(why) => return Err(why),
    };
    Ok((document, outcome))
}

fn set_aside(batch: &mut Batch, entry: &Verified, why: &SetAsideRow) {
    let key = disk::entry_key(LogId::of(entry), entry.header().seq);
    batch.put(QUARANTINE, key, cbor::encode(why));
}
