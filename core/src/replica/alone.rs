//! What somebody records before they belong to a group. It comes along when they join, under their membership.

use std::collections::BTreeSet;

use super::disk::{self, DOCUMENTS, ROWS};
use super::engine::Engine;
use super::error::Error;
use super::media;
use super::record::{ObservationDraft, sealed_part};
use super::view::Part;
use crate::base::{CompartmentId, DeviceId, DocumentId, cbor};
use crate::document::{AuthoredChange, Document, is_created_by};
use crate::entry::LogId;
use crate::entry::plaintext::{Content, Form};
use crate::storage::{Batch, Table};
use crate::watch::kinds::rule;
use crate::watch::{Content as Shown, Kind};

/// document ‖ number → sealed: kind and change of what was recorded before there was a group.
pub(super) const ALONE: Table = Table(17);

impl Engine {
    /// Documents that were recorded alone and have not come along yet.
    pub(super) fn stored_alone(&self) -> Result<BTreeSet<DocumentId>, Error> {
        let rows = self.store.scan(ALONE, &[], None, usize::MAX)?;
        let ids = rows.iter().filter_map(|(key, _)| key.first_chunk().copied().map(DocumentId));
        Ok(ids.collect())
    }

    /// The changes of a document that was recorded alone, in order.
    pub(super) fn alone_changes(&self, id: DocumentId) -> Result<Vec<AuthoredChange>, Error> {
        let rows = self.store.scan(ALONE, id.as_bytes(), None, usize::MAX)?;
        rows.iter().map(|(key, sealed)| Ok(self.open_alone(key, sealed)?.1)).collect()
    }

    fn open_alone(&self, key: &[u8], sealed: &[u8]) -> Result<(Kind, AuthoredChange), Error> {
        let plain = self.cipher.open(ALONE, key, sealed)?;
        let (device, content): (DeviceId, Content) = disk::decode(&plain)?;
        let change = AuthoredChange::parse(&content.bytes, device).map_err(|e| Error::store_damaged(&e))?;
        Ok((Kind(content.kind), change))
    }

    /// As [`Engine::write`], without a group: an observation or its sealed part stays here until there is one.
    pub(super) fn write_alone<T>(
        &mut self,
        batch: &mut Batch,
        kind: Kind,
        id: DocumentId,
        value: &T,
    ) -> Result<(), Error>
    where
        T: autosurgeon::Reconcile,
    {
        if ![Kind::OBSERVATION, Kind::SEALED].contains(&kind) {
            return Err(self.no_group());
        }
        let changes = self.alone_changes(id)?;
        let number = changes.len() as u64;
        let mut document =
            Document::load(self.device_id(), changes).map_err(|e| Error::Kind(e.to_string()))?;
        let change = document.write(value).map_err(|e| Error::Kind(e.to_string()))?;
        let Some(change) = change else { return Ok(()) };
        let bytes = change.bytes().to_vec();
        let content = Content { document: id, kind: kind.0, form: Form::CHANGE, bytes };
        let key = [id.as_bytes().as_slice(), &number.to_be_bytes()].concat();
        let plain = zeroize::Zeroizing::new(cbor::encode(&(self.device_id(), content)));
        batch.put(ALONE, key.clone(), self.cipher.seal(&mut self.rng, ALONE, &key, &plain)?);
        self.alone.insert(id);
        let now_ms = self.clock.now_ms();
        let part = Part { author: self.member_id(), claimed_ms: now_ms, came_ms: now_ms };
        let shown = Shown::read(kind, &document).map_err(|e| Error::Kind(e.to_string()))?;
        let before = self.row(id)?;
        match shown {
            Some(shown) => self.put_row(batch, id, kind, &[part], &shown, before).map(drop),
            None => Ok(()),
        }
    }

    /// Brings along what was recorded alone: each document in one durable write. What this member's role may not write,
    /// or nobody could read yet, stays on this device for another time.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) fn bring_along(&mut self) -> Result<(), Error> {
        for id in self.alone.clone() {
            let Some((key, sealed)) = self.store.scan(ALONE, id.as_bytes(), None, 1)?.pop() else { continue };
            let (kind, _) = self.open_alone(&key, &sealed)?;
            let can_be_read = |engine: &Self| {
                let compartment = rule(kind).map(|rule| CompartmentId(rule.compartment));
                let state = engine.state().ok()?;
                Some(
                    compartment
                        .is_some_and(|c| state.newest_epoch(c).is_some() && !state.readers(c).is_empty()),
                )
            };
            let may = self.may_write(kind).is_ok() && self.must_have_learned().is_ok();
            if !may || can_be_read(self) != Some(true) {
                continue;
            }
            if is_created_by(id, self.member_id(), kind.0) {
                self.transact(|engine, batch| engine.sign_alone(batch, id))?;
            } else if kind == Kind::OBSERVATION {
                self.transact(|engine, batch| engine.record_anew(batch, id))?;
            }
        }
        Ok(())
    }

    /// Signs the changes of a document as they are.
    fn sign_alone(&mut self, batch: &mut Batch, id: DocumentId) -> Result<(), Error> {
        for (key, sealed) in self.store.scan(ALONE, id.as_bytes(), None, usize::MAX)? {
            let (kind, change) = self.open_alone(&key, &sealed)?;
            let rule = rule(kind).ok_or_else(|| Error::store_damaged(&"an unknown kind of document"))?;
            let bytes = change.bytes().to_vec();
            let content = Content { document: id, kind: kind.0, form: Form::CHANGE, bytes };
            let expiry_day = self.expiry_of(kind, id, &change, None)?;
            let entry = self.append_content(batch, CompartmentId(rule.compartment), &content, expiry_day)?;
            batch.put(DOCUMENTS, disk::part_key(id, LogId::of(&entry), entry.header().seq), Vec::new());
            batch.delete(ALONE, key);
        }
        self.alone.remove(&id);
        self.changed.insert(id);
        Ok(())
    }

    /// Files an observation again that this device recorded before it was this member's: its identity names another.
    fn record_anew(&mut self, batch: &mut Batch, id: DocumentId) -> Result<(), Error> {
        let content = |engine: &Self, id: DocumentId, kind: Kind| {
            let changes = engine.alone_changes(id)?;
            let document =
                Document::load(engine.device_id(), changes).map_err(|e| Error::Kind(e.to_string()))?;
            Shown::read(kind, &document).map_err(|e| Error::Kind(e.to_string()))
        };
        let Some(Shown::Observation(observation, _)) = content(self, id, Kind::OBSERVATION)? else {
            return Ok(());
        };
        let row = self.row(id)?;
        let mut gone = vec![id];
        let mut sealed = None;
        if let Some(sibling) = row.map(|row| sealed_part(row.author, id))
            && let Some(Shown::Sealed(part)) = content(self, sibling, Kind::SEALED)?
        {
            sealed = Some(part);
            gone.push(sibling);
        }
        let new = self.new_id(Kind::OBSERVATION);
        let clean = media::names_of(&observation.media);
        let originals = media::names_of(sealed.iter().flat_map(|sealed| &sealed.originals));
        self.append_draft(batch, new, ObservationDraft { observation, sealed })?;
        self.move_chunks(batch, new, &clean)?;
        self.move_chunks(batch, self.sibling(new), &originals)?;
        for id in gone {
            for (key, _) in self.store.scan(ALONE, id.as_bytes(), None, usize::MAX)? {
                batch.delete(ALONE, key);
            }
            batch.delete(ROWS, id.as_bytes());
            self.forget_media(batch, id)?;
            self.alone.remove(&id);
            self.gone.insert(id);
        }
        Ok(())
    }
}
