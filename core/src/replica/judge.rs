//! Documents of kinds whose changes are judged by what they do (PROTOCOL.md §6.4).

use std::collections::BTreeMap;

use super::disk::{self, DOCUMENTS, QUARANTINE, SetAsideRow};
use super::engine::Engine;
use super::error::Error;
use super::receive::{NewPart, Received};
use super::view::Part;
use crate::base::{DocumentId, cbor};
use crate::document::{AuthoredChange, Document};
use crate::entry::{LogId, Verified};
use crate::storage::Batch;
use crate::watch::kinds::{Refused, check_change, is_judged, last_day, rule};
use crate::watch::{Content, Kind, Writer};

/// Whether a change of that kind is judged one by one, once everything it builds on is: where what it does decides, and where
/// several write, as what does not have its shape would otherwise count or not by what came first.
pub(super) fn judges(kind: Kind) -> bool {
    is_judged(kind) || rule(kind).is_some_and(|rule| !rule.author_only)
}

/// A change with where it stands and who wrote it.
struct Placed {
    log: LogId,
    seq: u64,
    part: Part,
    writer: Writer,
    /// The last day of its body.
    day: Option<u32>,
}

impl Engine {
    /// Judges what came in; and everything that there is of the document, if some of it waited for something else. Sets aside
    /// what does not count, alike on every device.
    pub(super) fn judge(
        &mut self,
        batch: &mut Batch,
        (id, kind): (DocumentId, Kind),
        stored: &[(LogId, u64)],
        parts: Vec<NewPart>,
        report: &mut Received,
    ) -> Result<(), Error> {
        let (mut placed, mut changes): (Vec<Placed>, Vec<AuthoredChange>) = (Vec::new(), Vec::new());
        // Where last days differ, each is judged by what it builds on; elsewhere all are right.
        let is_mixed = self.days_differ(kind, stored, &parts)?;
        let base = if is_mixed { None } else { self.settled(id, stored)? };
        let before = if base.is_some() { self.row(id)? } else { None };
        for (log, seq) in stored.iter().copied().filter(|_| base.is_none()) {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let (Some(writer), Some(part), Some(change)) =
                (self.writer_of(&entry, id)?, self.part_of(&entry)?, self.change_of(&entry)?)
            else {
                continue;
            };
            placed.push(Placed { log, seq, part, writer, day: entry.header().expiry_day });
            changes.push(change);
        }
        for NewPart { log, seq, part, role, day, change } in parts {
            placed.push(Placed {
                log,
                seq,
                part,
                writer: Writer { member: part.author, role: role.0, document: id },
                day,
            });
            changes.push(change);
        }
        let writers: Vec<(Writer, Option<u32>)> = placed.iter().map(|it| (it.writer, it.day)).collect();
        let mut days: BTreeMap<_, Option<u32>> = BTreeMap::new();
        for (change, (_, day)) in changes.iter().zip(&writers) {
            // The same change twice stands in one log, and the first counts.
            days.entry(change.hash()).or_insert(*day);
        }
        let base = base.unwrap_or_else(|| Document::new(self.device_id()));
        let judged = base.judge(&changes, |at, before, after| {
            let (Some((writer, day)), Some(change)) = (writers.get(at), changes.get(at)) else {
                return Ok(());
            };
            let built_on = change.deps().iter().filter_map(|dep| days.get(dep).copied());
            if is_mixed && !change.is_first() && last_day(built_on) != *day {
                return Err(Refused::Expiry);
            }
            check_change(kind, before, after, writer)
        });
        let mut counted = Vec::new();
        for (at, Placed { log, seq, part, .. }) in placed.into_iter().enumerate() {
            let key = disk::part_key(id, log, seq);
            if let Some(why) = judged.refused.get(&at) {
                batch.delete(DOCUMENTS, key);
                let row = cbor::encode(&SetAsideRow::because(why));
                batch.put(QUARANTINE, disk::entry_key(log, seq), row);
                report.set_aside += 1;
                continue;
            }
            batch.put(DOCUMENTS, key, Vec::new());
            if judged.accepted.contains(&at) {
                counted.push(part);
            }
        }
        if counted.is_empty() {
            return Ok(());
        }
        // Each by itself has the shape of its kind; together they may not. The row stays, and nothing else is held up.
        if let Ok(Some(content)) = Content::read(kind, &judged.document) {
            self.put_row(batch, id, kind, &counted, &content, before)?;
        }
        // With what waits on disk and not in memory, it would be taken for all there is.
        if judged.waiting.is_empty() {
            self.recent.keep(id, judged.document);
        }
        Ok(())
    }

    /// The document that its stored parts make, if none of them waits for another: then all of them count.
    fn settled(&mut self, id: DocumentId, stored: &[(LogId, u64)]) -> Result<Option<Document>, Error> {
        if stored.is_empty() {
            return Ok(None);
        }
        let mut document = match self.load(id) {
            Ok(document) => document,
            // One that waits does not fit: it is judged, and fails alone.
            Err(Error::Kind(_)) => return Ok(None),
            Err(why) => return Err(why),
        };
        Ok((!document.lacks_changes() && self.row(id)?.is_some()).then_some(document))
    }

    /// Who wrote a stored part of a document, and as what.
    fn writer_of(&self, entry: &Verified, document: DocumentId) -> Result<Option<Writer>, Error> {
        let header = entry.header();
        let past = self.group()?.roll.state_at(&header.roll_heads);
        let author = past.and_then(|past| past.device(header.device));
        Ok(author.map(|(device, role)| Writer { member: device.member, role: role.0, document }))
    }
}
