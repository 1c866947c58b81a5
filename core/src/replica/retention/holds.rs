//! Holding what would expire, and shredding what is not to be kept (PROTOCOL.md §4.9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{SHREDDED, Swept};
use crate::base::{DocumentId, EntryHash, MemberId, limits};
use crate::entry::{LogHead, LogId};
use crate::replica::Replica;
use crate::replica::disk::{self, DOCUMENTS, QUARANTINE, SetAsideRow};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::roll::operation::{EndHold, Hold, Shred, Watermark};
use crate::roll::{Operation, Retention};
use crate::storage::Batch;

/// Days before their end that a coordinator's device looks for parts that a hold of their document does not name.
const LOOK_AHEAD_DAYS: u32 = 30;

/// A hold, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// The hold: what to end.
    pub hold: EntryHash,
    /// The documents it keeps, of those that are here.
    pub documents: Vec<DocumentId>,
    /// Why: a number of [`hold_reasons`](crate::roll::operation::hold_reasons).
    pub reason: u8,
    /// Who set it.
    pub by: MemberId,
    /// When they say they did, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// The last day on which it keeps them, since the Unix epoch; none for until it is ended.
    pub until_day: Option<u32>,
}

impl Replica {
    /// Drops what is over now. Every sync does so when it has caught up.
    ///
    /// # Errors
    /// As [`Engine::sweep`].
    pub async fn sweep(&self) -> Result<Swept, Error> {
        self.run(Engine::sweep).await
    }

    /// Keeps documents from expiring.
    ///
    /// # Errors
    /// As [`Engine::hold`].
    pub async fn hold(
        &self,
        documents: Vec<DocumentId>,
        reason: u8,
        until_day: Option<u32>,
    ) -> Result<(), Error> {
        self.run(move |engine| engine.hold(&documents, reason, until_day)).await
    }

    /// Ends holds.
    ///
    /// # Errors
    /// As [`Engine::end_holds`].
    pub async fn end_holds(&self, holds: Vec<EntryHash>) -> Result<(), Error> {
        self.run(move |engine| engine.end_holds(&holds)).await
    }

    /// Takes a document away everywhere.
    ///
    /// # Errors
    /// As [`Engine::shred`].
    pub async fn shred(&self, document: DocumentId) -> Result<(), Error> {
        self.run(move |engine| engine.shred(document)).await
    }

    /// What is held, by whom and why.
    ///
    /// # Errors
    /// As [`Engine::held`].
    pub async fn held(&self) -> Result<Vec<HeldRow>, Error> {
        self.run(Engine::held).await
    }

    /// What expires within so many days.
    ///
    /// # Errors
    /// As [`Engine::expiring`].
    pub async fn expiring(&self, days: u32) -> Result<Vec<(DocumentId, u32)>, Error> {
        self.run(move |engine| engine.expiring(days)).await
    }
}

impl Engine {
    /// Keeps documents from expiring until the hold is ended, or to the end of a day since the Unix epoch. It names the entries
    /// that they are made of, which the relay holds too; the reason is a number of
    /// [`hold_reasons`](crate::roll::operation::hold_reasons).
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::NotHere`]; errors of the store.
    pub fn hold(
        &mut self,
        documents: &[DocumentId],
        reason: u8,
        until_day: Option<u32>,
    ) -> Result<(), Error> {
        self.must_govern("hold what would expire")?;
        let mut entries = BTreeSet::new();
        for id in documents {
            self.row(*id)?.ok_or(Error::NotHere(*id))?;
            for id in self.with_sibling(*id)? {
                entries.extend(self.stored_parts(id)?.iter().map(|entry| entry.hash()));
            }
        }
        self.transact(|engine, batch| engine.append_hold(batch, entries, reason, until_day))
    }

    /// Ends holds. What expired or was shredded meanwhile goes, unless another hold keeps it.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::Membership`] if one of them is no hold; errors of the store.
    pub fn end_holds(&mut self, holds: &[EntryHash]) -> Result<(), Error> {
        self.must_govern("end a hold")?;
        let standing: BTreeSet<EntryHash> = self.state()?.retention().holds().map(|(hold, _)| hold).collect();
        let holds: BTreeSet<EntryHash> = holds.iter().copied().collect();
        if !holds.is_subset(&standing) {
            return Err(Error::Membership(
                "one of these holds is not here, or was ended before: look at them again",
            ));
        }
        let holds: Vec<EntryHash> = holds.into_iter().collect();
        self.transact(|engine, batch| {
            holds.chunks(limits::HELD_MAX).try_for_each(|holds| {
                engine.append_operation(batch, &Operation::EndHold(EndHold { holds: holds.to_vec() }))
            })
        })?;
        self.sweep().map(drop)
    }

    /// Takes a document away everywhere, with its sealed part: every phone that hears of it and the relay drop what it says, and
    /// keep the proof that it was signed. What is held goes when the last hold of it ends.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs or wrote it; [`Error::NotHere`]; errors of the store.
    pub fn shred(&mut self, document: DocumentId) -> Result<(), Error> {
        self.fresh()?;
        let row = self.row(document)?.ok_or(Error::NotHere(document))?;
        if row.author != self.member_id() {
            self.must_govern("shred what somebody else wrote")?;
        }
        self.must_belong()?;
        let governs = self.state()?.governs(self.device_id());
        let own = self.member_id();
        let devices: BTreeSet<_> =
            self.state()?.devices_ever().filter(|(_, member)| *member == own).map(|(id, _)| id).collect();
        let mut shreds = Vec::new();
        for id in self.with_sibling(document)? {
            let named = self.stored_parts(id)?.into_iter().map(|entry| Watermark {
                log: LogId::of(&entry),
                head: LogHead { seq: entry.header().seq, hash: entry.hash() },
            });
            // Of others' changes to one's own document the name takes care.
            let mut entries: Vec<Watermark> =
                named.filter(|named| governs || devices.contains(&named.log.device)).collect();
            entries.sort_unstable_by_key(|named| (named.log, named.head.seq));
            let name = Some(Shred::name(id));
            for entries in entries.chunks(limits::SHREDDED_MAX) {
                shreds.push(Shred { entries: entries.to_vec(), document: name });
            }
        }
        self.transact(|engine, batch| {
            shreds.into_iter().try_for_each(|shred| engine.append_operation(batch, &Operation::Shred(shred)))
        })?;
        self.sweep().map(drop)
    }

    /// The holds, and what each keeps of what is here.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn held(&mut self) -> Result<Vec<HeldRow>, Error> {
        self.fresh()?;
        let state = Arc::clone(self.state()?);
        let mut documents: BTreeMap<EntryHash, DocumentId> = BTreeMap::new();
        if state.retention().holds().next().is_some() {
            for (key, _) in self.store.scan(DOCUMENTS, &[], None, usize::MAX)? {
                let Some((id, (log, seq))) = disk::parse_part_key(&key) else { continue };
                let entry = disk::read_entry(&*self.store, log, seq)?;
                documents.extend(entry.map(|entry| (entry.hash(), id)));
            }
        }
        let rows = state.retention().holds().map(|(hold, standing)| {
            let kept = standing.entries.iter().filter_map(|entry| documents.get(entry).copied());
            HeldRow {
                hold,
                documents: kept.collect::<BTreeSet<_>>().into_iter().collect(),
                reason: standing.reason,
                by: standing.by,
                claimed_ms: standing.claimed_ms,
                until_day: standing.until_day,
            }
        });
        Ok(rows.collect())
    }

    /// Keeps what a case or a release is made of.
    pub(in crate::replica) fn keep_linked(
        &mut self,
        batch: &mut Batch,
        documents: &[DocumentId],
        reason: u8,
    ) -> Result<(), Error> {
        let state = Arc::clone(self.state()?);
        if !state.governs(self.device_id()) {
            return Ok(());
        }
        let mut entries = BTreeSet::new();
        for id in documents {
            for id in self.with_sibling(*id)? {
                let parts = self.stored_parts(id)?.into_iter().filter(|entry| {
                    entry.header().expiry_day.is_some() && !state.retention().holds_on(entry.hash(), u32::MAX)
                });
                entries.extend(parts.map(|entry| entry.hash()));
            }
        }
        self.append_hold(batch, entries, reason, None)
    }

    fn append_hold(
        &mut self,
        batch: &mut Batch,
        entries: BTreeSet<EntryHash>,
        reason: u8,
        until_day: Option<u32>,
    ) -> Result<(), Error> {
        let entries: Vec<EntryHash> = entries.into_iter().collect();
        entries.chunks(limits::HELD_MAX).try_for_each(|entries| {
            let hold = Hold { entries: entries.to_vec(), reason, until_day };
            self.append_operation(batch, &Operation::Hold(hold))
        })
    }

    /// What was added to a document after it was held is held with it, before it expires: by a coordinator's device.
    pub(super) fn extend_holds(&mut self, retention: &Retention, today: u32) -> Result<(), Error> {
        let mut reasons: BTreeMap<EntryHash, (u8, Option<u32>)> = BTreeMap::new();
        for (_, hold) in retention.holds() {
            reasons.extend(hold.entries.iter().map(|entry| (*entry, (hold.reason, hold.until_day))));
        }
        if reasons.is_empty() {
            return Ok(());
        }
        let mut wanted: BTreeMap<(u8, Option<u32>), BTreeSet<EntryHash>> = BTreeMap::new();
        for (_, log, seq) in self.due_by(today.saturating_add(LOOK_AHEAD_DAYS))? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            if entry.body().is_none() || reasons.contains_key(&entry.hash()) {
                continue;
            }
            let Some(id) = self.document_of(&entry)? else { continue };
            let parts = self.stored_parts(id)?;
            let held = parts.iter().filter(|part| retention.holds_on(part.hash(), today));
            let like = held
                .filter_map(|part| reasons.get(&part.hash()))
                .max_by_key(|(_, until)| until.unwrap_or(u32::MAX));
            if let Some(like) = like {
                wanted.entry(*like).or_default().insert(entry.hash());
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            wanted.into_iter().try_for_each(|((reason, until_day), entries)| {
                engine.append_hold(batch, entries, reason, until_day)
            })
        })
    }

    /// What was added to a document by somebody who had not heard that it was shredded goes too: a coordinator's device names
    /// it.
    pub(super) fn shred_latecomers(&mut self) -> Result<(), Error> {
        let retention = Arc::clone(self.state()?);
        if !retention.retention().shreds_documents() {
            return Ok(());
        }
        let mut late = Vec::new();
        for (key, row) in self.store.scan(QUARANTINE, &[], None, usize::MAX)? {
            let row: SetAsideRow = disk::decode(&row)?;
            let Some((log, seq)) = disk::parse_entry_key(&key).filter(|_| row.reason == SHREDDED) else {
                continue;
            };
            let entry = disk::read_entry(&*self.store, log, seq)?.filter(|entry| entry.body().is_some());
            if let Some(entry) = entry.filter(|entry| !retention.retention().shreds(entry)) {
                late.push(Watermark { log, head: LogHead { seq, hash: entry.hash() } });
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            late.chunks(limits::SHREDDED_MAX).try_for_each(|entries| {
                let shred = Shred { entries: entries.to_vec(), document: None };
                engine.append_operation(batch, &Operation::Shred(shred))
            })
        })
    }
}
