//! What an app sees: summary rows, one document in full, and what became of it.

use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use super::consent::HeldBack;
use super::disk::{self, ABOUT, DOCUMENTS, DiskCipher, QUARANTINE, RECEIVED, ROWS, ReceivedRow, SetAsideRow};
use super::engine::Engine;
use super::error::Error;
use super::media::MediumRow;
use super::record::sealed_part;
use super::steps::Step;
use crate::base::{CompartmentId, DeviceId, DocumentId, EntryHash, MemberId, cbor};
use crate::document::{Conflict, Document, is_created_by};
use crate::entry::LogId;
use crate::storage::Batch;
use crate::watch::{Content, Kind, Summary};

/// Rows read at once: half a megabyte. More at once take no less time.
const PAGE_ROWS: usize = 1_000;

/// One document in a list. Made when it changes, sealed on disk, read without loading the document.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Row {
    /// The document.
    #[n(0)]
    pub id: DocumentId,
    /// Its kind.
    #[n(1)]
    pub kind: Kind,
    /// The member who created it, as its identity says, whoever's entry came first.
    #[n(2)]
    pub author: MemberId,
    /// Earliest claimed time of its entries, in milliseconds since the Unix epoch.
    #[n(3)]
    pub created_ms: u64,
    /// Latest claimed time of its entries, in milliseconds since the Unix epoch.
    #[n(4)]
    pub updated_ms: u64,
    /// How many entries it is made of.
    #[n(5)]
    pub entries: u32,
    /// One line that says what it is.
    #[n(6)]
    pub title: String,
    /// The text people read.
    #[n(7)]
    pub text: String,
    /// When it happened, in milliseconds since the Unix epoch; for observations.
    #[n(8)]
    pub when_ms: Option<i64>,
    /// The public cell; for observations.
    #[n(9)]
    pub cell: String,
    /// Codes to filter by: behaviours of an observation, status and outcome of a response.
    #[n(10)]
    pub codes: Vec<String>,
    /// Circumstances to see first.
    #[n(11)]
    pub flags: Vec<String>,
    /// Documents that this one is about.
    #[n(12)]
    pub about: Vec<DocumentId>,
    /// The exact position as latitude and longitude in 1e-7 degrees (WGS 84); for sealed parts.
    #[n(13)]
    pub position_e7: Option<(i32, i32)>,
    /// Where lists have it, in milliseconds since the Unix epoch: the latest claimed time of its entries, none of them later
    /// than when it came to this phone. Another phone may have another.
    #[n(14)]
    pub ordered_ms: u64,
}

/// Whether a document has left the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Some of it is on this phone alone.
    OnPhone,
    /// The relay has acknowledged all of it, its photos too.
    AtRelay,
    /// Some of this member's own words in it do not count: the relay refuses them for good, or a removal cut them off.
    /// The reason is among what is set aside.
    Refused,
}

/// Which rows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this kind; none for every kind that people read by itself ([`Kind::is_content`]).
    pub kind: Option<Kind>,
    /// Where no kind is named, the other kinds too: sealed parts, proofs, identity cards and invitations.
    pub all_kinds: bool,
    /// Only this member's.
    pub author: Option<MemberId>,
    /// At most so many, newest first; none for all.
    pub rows_max: Option<usize>,
}

/// One document in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// Its row.
    pub row: Row,
    /// Whether it has left the phone.
    pub delivery: Delivery,
    /// What it says.
    pub content: Content,
    /// Its photos, and whether they are here.
    pub media: Vec<MediumRow>,
    /// Its entries, oldest claim first.
    pub history: Vec<HistoryRow>,
    /// Documents about it that this device may read.
    pub about: Vec<Row>,
    /// What became of it, in order of time; but nothing before what it follows, whatever the clocks of phones say.
    pub steps: Vec<Step>,
    /// Why a report may not be handed over to the liaison; none if it may, or for other kinds.
    pub held_back: Option<HeldBack>,
    /// Fields in which people who did not know of each other wrote different things.
    pub conflicts: Vec<ConflictRow>,
}

/// A field that holds several values until somebody settles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictRow {
    /// Its path, such as `actions.lamp.owner`.
    pub field: String,
    /// Its values, the one that is shown everywhere first.
    pub values: Vec<ConflictingValue>,
}

/// One of several values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictingValue {
    /// The value, as people read it.
    pub value: String,
    /// The device that wrote it.
    pub device: DeviceId,
    /// Whose device that is or was.
    pub author: Option<MemberId>,
}

/// One entry of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The entry.
    pub entry: EntryHash,
    /// The device that signed it.
    pub device: DeviceId,
    /// Whose device that is or was.
    pub author: Option<MemberId>,
    /// Its number in that device's log.
    pub seq: u64,
    /// When the device says it wrote it, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// When the relay says it had it, in milliseconds since the Unix epoch; for this device's own entries.
    pub received_ms: Option<u64>,
}

/// An entry without effect, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The compartment.
    pub compartment: CompartmentId,
    /// The device that signed it.
    pub device: DeviceId,
    /// Its number in that device's log.
    pub seq: u64,
    /// The reason, for people.
    pub reason: String,
    /// The entry.
    pub entry: EntryHash,
    /// Whether it was the relay that refused it.
    pub by_relay: bool,
    /// Whether a removal cut it off: then a coordinator can accept it.
    pub cut_off: bool,
}

/// Who wrote a part of a document, and when they say they did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub author: MemberId,
    pub claimed_ms: u64,
    /// When it came here.
    pub came_ms: u64,
}

fn open_row(cipher: &DiskCipher, key: &[u8], sealed: &[u8]) -> Result<Row, Error> {
    let plain = cipher.open(ROWS, key, sealed)?;
    // This device encoded and sealed it: nobody else could have given it another form.
    minicbor::decode(&plain).map_err(|e| Error::store_damaged(&e))
}

impl Engine {
    /// Writes the row of a document that has new parts, in the place of the one `before`; none if there are none.
    pub(super) fn put_row(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        kind: Kind,
        parts: &[Part],
        content: &Content,
        before: Option<Row>,
    ) -> Result<Option<Row>, Error> {
        let Some(first) = parts.iter().min_by_key(|part| part.claimed_ms) else { return Ok(None) };
        let latest = parts.iter().map(|part| part.claimed_ms).max().unwrap_or_default();
        // Nobody comes first for ever by claiming the year 2100.
        let ordered_ms = parts.iter().map(|part| part.claimed_ms.min(part.came_ms)).max().unwrap_or_default();
        let before = before.as_ref();
        // Not whose part came first: that differs from phone to phone.
        let mut authors = parts.iter().map(|part| part.author).chain(before.map(|old| old.author));
        let creator = authors.find(|author| is_created_by(id, *author, kind.0));
        let added = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let Summary { title, text, when_ms, cell, codes, flags, about, position_e7 } = content.summary();
        let row = Row {
            id,
            kind,
            author: creator.unwrap_or_else(|| before.map_or(first.author, |old| old.author)),
            created_ms: before.map_or(first.claimed_ms, |old| old.created_ms.min(first.claimed_ms)),
            updated_ms: before.map_or(latest, |old| old.updated_ms.max(latest)),
            entries: before.map_or(0, |old| old.entries).saturating_add(added),
            title,
            text,
            when_ms,
            cell,
            codes,
            flags,
            about,
            position_e7,
            ordered_ms: before.map_or(ordered_ms, |old| old.ordered_ms.max(ordered_ms)),
        };
        for target in &row.about {
            batch.put(ABOUT, [target.as_bytes().as_slice(), id.as_bytes()].concat(), Vec::new());
            self.changed.insert(*target);
        }
        self.note_media(batch, id, content)?;
        if let Content::Invitation(invitation) = content {
            // What the coordinators' devices look up when somebody knocks.
            self.put_invitation(batch, id, invitation)?;
        }
        let plain = zeroize::Zeroizing::new(cbor::encode(&row));
        let sealed = self.cipher.seal(&mut self.rng, ROWS, id.as_bytes(), &plain)?;
        batch.put(ROWS, id.as_bytes(), sealed);
        self.changed.insert(id);
        Ok(Some(row))
    }

    /// The row of a document; none if it is not here or not readable.
    ///
    /// # Errors
    /// Errors of the store; [`Error::WrongVault`].
    pub fn row(&self, id: DocumentId) -> Result<Option<Row>, Error> {
        let sealed = self.store.get(ROWS, id.as_bytes())?;
        sealed.map(|sealed| open_row(&self.cipher, id.as_bytes(), &sealed)).transpose()
    }

    /// Whether a document has left the phone.
    pub(super) fn delivery(&self, id: DocumentId) -> Delivery {
        match &self.group {
            Some(group) if group.refused.contains_key(&id) => Delivery::Refused,
            Some(group)
                if !group.unsent.contains_key(&id)
                    && !self.alone.contains(&id)
                    && !self.waits_with_chunks(id) =>
            {
                Delivery::AtRelay
            }
            Some(_) | None => Delivery::OnPhone,
        }
    }

    /// Lists documents, latest change first, as [`Row::ordered_ms`] has it. Loads no document.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn list(&self, filter: &Filter) -> Result<Vec<(Row, Delivery)>, Error> {
        let mut rows = Vec::new();
        self.each_row(|row| {
            let kind_fits = match filter.kind {
                Some(kind) => kind == row.kind,
                None => filter.all_kinds || row.kind.is_content(),
            };
            if kind_fits && filter.author.is_none_or(|author| author == row.author) {
                let delivery = self.delivery(row.id);
                rows.push((row, delivery));
            }
        })?;
        rows.sort_unstable_by(|(a, _), (b, _)| b.ordered_ms.cmp(&a.ordered_ms).then(a.id.cmp(&b.id)));
        rows.truncate(filter.rows_max.unwrap_or(usize::MAX));
        Ok(rows)
    }

    /// Reads every row, in the order of identities.
    pub(super) fn each_row(&self, mut look: impl FnMut(Row)) -> Result<(), Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cipher = &self.cipher;
        // To open them takes longer than to read them: meanwhile the next pages are read, and opened on other cores.
        std::thread::scope(|scope| {
            let mut opening = VecDeque::new();
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = self.store.scan(ROWS, &[], after.as_deref(), PAGE_ROWS)?;
                after = page.last().map(|(last, _)| last.clone());
                let open = move || -> Result<Vec<Row>, Error> {
                    page.iter().map(|(key, sealed)| open_row(cipher, key, sealed)).collect()
                };
                if after.is_some() {
                    opening.push_back(scope.spawn(open));
                }
                while opening.len() >= cores || after.is_none() {
                    let Some(opened) = opening.pop_front() else { return Ok(()) };
                    let rows = opened.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                    rows.into_iter().for_each(&mut look);
                }
            }
        })
    }

    /// One document in full, with its history and what became of it.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn get(&mut self, id: DocumentId) -> Result<Detail, Error> {
        self.refresh()?;
        let row = self.row(id)?.ok_or(Error::NotHere(id))?;
        let document = self.load(id)?;
        let content = Content::read(row.kind, &document).map_err(|e| Error::Kind(e.to_string()))?;
        let mut content = content.ok_or(Error::NotHere(id))?;
        let conflicts = self.conflicts_of(&document);
        // Who looks at it may be about to change it.
        self.recent.keep(id, document);
        let about = self.rows_about(id)?;
        if let Content::Observation(_, sealed) = &mut content {
            let sibling = sealed_part(row.author, id);
            if self.row(sibling)?.is_some() {
                *sealed = self.load(sibling)?.read().ok();
            }
        }
        let media = self.media_rows(&row, &content)?;
        let history = self.history(id)?;
        let steps = self.steps(&row, &history, &about)?;
        let delivery = self.delivery(id);
        let held_back = if let Content::Observation(observation, _) = &content {
            self.held_back_of(id, observation, &about)?
        } else {
            None
        };
        Ok(Detail { row, delivery, content, media, history, about, steps, held_back, conflicts })
    }

    pub(super) fn rows_about(&self, id: DocumentId) -> Result<Vec<Row>, Error> {
        let keys = self.store.scan(ABOUT, id.as_bytes(), None, usize::MAX)?;
        let mut rows = Vec::new();
        for (key, _) in keys {
            let source = key.get(DocumentId::LEN..).and_then(|bytes| bytes.try_into().ok()).map(DocumentId);
            if let Some(row) = source.map(|source| self.row(source)).transpose()?.flatten() {
                // A link that was taken back leaves its mark in the table, and not in the row.
                if row.about.contains(&id) {
                    rows.push(row);
                }
            }
        }
        rows.sort_by_key(|row| (row.created_ms.min(row.ordered_ms), row.id));
        Ok(rows)
    }

    /// The entries of a document.
    pub(super) fn parts(&self, id: DocumentId) -> Result<Vec<(LogId, u64)>, Error> {
        let keys = self.store.scan(DOCUMENTS, id.as_bytes(), None, usize::MAX)?;
        Ok(keys.iter().filter_map(|(key, _)| Some(disk::parse_part_key(key)?.1)).collect())
    }

    /// The hashes of a document's entries as text, sorted.
    pub(super) fn entries_of(&self, id: DocumentId) -> Result<Vec<String>, Error> {
        let mut entries = Vec::new();
        for (log, seq) in self.parts(id)? {
            let entry = disk::read_entry(&*self.store, log, seq)?;
            entries.extend(entry.map(|entry| entry.hash().to_string()));
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn history(&self, id: DocumentId) -> Result<Vec<HistoryRow>, Error> {
        let mut history = Vec::new();
        for (log, seq) in self.parts(id)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let received = self.store.get(RECEIVED, &disk::entry_key(log, seq))?;
            let received = received.map(|bytes| disk::decode::<ReceivedRow>(&bytes)).transpose()?;
            history.push(HistoryRow {
                entry: entry.hash(),
                device: log.device,
                author: self.owner_of(log.device),
                seq,
                claimed_ms: entry.header().claimed_ms,
                received_ms: received.map(|row| row.received_ms),
            });
        }
        history.sort_by_key(|row| (row.claimed_ms, row.device, row.seq));
        Ok(history)
    }

    fn conflicts_of(&self, document: &Document) -> Vec<ConflictRow> {
        let shown = |conflict: Conflict| ConflictRow {
            field: conflict.field,
            values: conflict
                .values
                .into_iter()
                .map(|(value, device)| ConflictingValue { value, device, author: self.owner_of(device) })
                .collect(),
        };
        document.conflicts().into_iter().map(shown).collect()
    }

    /// Whose device it is, or was.
    fn owner_of(&self, device: DeviceId) -> Option<MemberId> {
        let state = self.state().ok()?;
        let now = state.device(device).map(|(device, _)| device.member);
        now.or_else(|| state.devices_ever().find(|(ever, _)| *ever == device).map(|(_, member)| member))
    }

    /// Entries that have no effect here, and why.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn set_aside(&self) -> Result<Vec<SetAside>, Error> {
        let mut rows = Vec::new();
        for (key, bytes) in self.store.scan(QUARANTINE, &[], None, usize::MAX)? {
            let Some((log, seq)) = disk::parse_entry_key(&key) else { continue };
            let SetAsideRow { reason, by_relay, cut_off, .. } = disk::decode(&bytes)?;
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let (compartment, device, entry) = (log.compartment, log.device, entry.hash());
            rows.push(SetAside { compartment, device, seq, reason, entry, by_relay, cut_off });
        }
        Ok(rows)
    }
}
