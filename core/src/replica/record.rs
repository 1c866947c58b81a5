//! The way out: what a person entered becomes a document's change, a sealed entry, a row, and a place in the outbox,
//! in one durable write.

use crate::base::{DocumentId, MemberId};
use crate::document::{AuthoredChange, Document, create_id};
use crate::entry::Verified;
use crate::entry::plaintext::{Content, Form};
use crate::entry::seal;
use crate::roll::operation::hold_reasons;
use crate::storage::Batch;
use crate::watch::blur;
use crate::watch::guard::{self, Place};
use crate::watch::kinds::{Kind, Rule, rule};
use crate::watch::{Annotation, Case, Content as Shown, Observation, Sealed};

use super::disk::{self, DOCUMENTS};
use super::engine::Engine;
use super::error::Error;
use super::view::{Part, Row};

/// What a volunteer is about to file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservationDraft {
    /// The part for the group. An empty `cell` is filled from the sealed position.
    pub observation: Observation,
    /// The part for the coordinators alone; its `observation` field is filled in.
    pub sealed: Option<Sealed>,
}

/// Why an observation belongs to a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseLink {
    /// The observation.
    pub observation: DocumentId,
    /// The reason, for people.
    pub reason: String,
}

impl Engine {
    /// Files an observation and, if there is one, its sealed part. On disk when this returns. Without a group it stays
    /// on this device and comes along when there is one.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field and what to do, which may be to take a lesson first or to answer the question that
    /// the bias guard ([`guard`](crate::watch::guard)) asks; the draft stays with the app until it is answered.
    /// [`Error::Role`]; errors of the store.
    pub fn record(&mut self, draft: ObservationDraft) -> Result<DocumentId, Error> {
        self.must_have_learned()?;
        let id = self.new_id(Kind::OBSERVATION);
        self.write_draft(id, draft)?;
        Ok(id)
    }

    /// Changes an observation of this member's own. The earlier words stay in its history.
    ///
    /// # Errors
    /// As [`Engine::record`]; [`Error::NotHere`] if there is none; [`Error::Role`] if it is somebody else's.
    pub fn amend(&mut self, id: DocumentId, draft: ObservationDraft) -> Result<(), Error> {
        self.refresh()?;
        let row = self.row(id)?.ok_or(Error::NotHere(id))?;
        if row.kind != Kind::OBSERVATION {
            return Err(Error::Kind(format!("{} is not an observation", id.short())));
        }
        if row.author != self.member_id() {
            return Err(Error::Role("change somebody else's observation; annotate it instead"));
        }
        self.write_draft(id, draft)
    }

    fn write_draft(&mut self, id: DocumentId, draft: ObservationDraft) -> Result<(), Error> {
        guard::check_report(&draft.observation, draft.sealed.as_ref())?;
        self.transact(|engine, batch| engine.append_draft(batch, id, draft))
    }

    /// Writes an observation and its sealed part, within a transaction.
    pub(super) fn append_draft(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        draft: ObservationDraft,
    ) -> Result<(), Error> {
        let ObservationDraft { mut observation, mut sealed } = draft;
        if let Some(position) = sealed.as_ref().and_then(|sealed| sealed.position.as_ref())
            && observation.cell.is_empty()
        {
            observation.cell = blur::cell(position.lat, position.lon, blur::CELL_SIZE_M)?.to_string();
        }
        observation.validate()?;
        if let Some(sealed) = &mut sealed {
            sealed.observation = id.to_string();
            sealed.validate()?;
        }
        let sibling = self.sibling(id);
        self.write(batch, Kind::OBSERVATION, id, &observation)?;
        sealed.map_or(Ok(()), |sealed| self.write(batch, Kind::SEALED, sibling, &sealed))
    }

    /// Remarks on a document.
    ///
    /// # Errors
    /// [`Error::NotHere`] if the target is not here; [`Error::Invalid`]; errors of the store.
    pub fn annotate(&mut self, target: DocumentId, text: &str, status: &str) -> Result<DocumentId, Error> {
        self.fresh()?;
        self.row(target)?.ok_or(Error::NotHere(target))?;
        let annotation =
            Annotation { target: target.to_string(), text: text.to_owned(), status: status.to_owned() };
        annotation.validate()?;
        guard::check("text", text, Place::Remark)?;
        self.write_new(Kind::ANNOTATION, &annotation)
    }

    /// Links observations that are the same event into a case: a new one, or the one given.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`].
    pub fn link(
        &mut self,
        case: Option<DocumentId>,
        title: &str,
        links: &[CaseLink],
    ) -> Result<DocumentId, Error> {
        self.fresh()?;
        for link in links {
            let row = self.row(link.observation)?.ok_or(Error::NotHere(link.observation))?;
            if row.kind != Kind::OBSERVATION {
                return Err(Error::Kind(format!("{} is not an observation", link.observation.short())));
            }
        }
        let id = case.unwrap_or_else(|| self.new_id(Kind::CASE));
        let mut content: Case = match case {
            Some(id) => self.case(id)?,
            None => Case::default(),
        };
        if !title.is_empty() {
            title.clone_into(&mut content.title);
        }
        let by = self.member_id().to_string();
        for link in links {
            content.link(link.observation.to_string(), link.reason.clone(), by.clone());
        }
        content.validate()?;
        guard::check("title", title, Place::Remark)?;
        for link in links {
            guard::check("reason", &link.reason, Place::Remark)?;
        }
        self.transact(|engine, batch| {
            engine.write(batch, Kind::CASE, id, &content)?;
            let linked: Vec<DocumentId> = links.iter().map(|link| link.observation).collect();
            engine.keep_linked(batch, &linked, hold_reasons::CASE)
        })?;
        Ok(id)
    }

    /// A new identity for a document of this member's own.
    pub(super) fn new_id(&mut self, kind: Kind) -> DocumentId {
        let mut nonce = [0; 8];
        self.rng.fill_bytes(&mut nonce);
        create_id(self.member_id(), kind.0, nonce)
    }

    /// The sealed part of an observation of this member's own.
    pub(super) fn sibling(&self, observation: DocumentId) -> DocumentId {
        sealed_part(self.member_id(), observation)
    }

    /// Writes a document of one entry, durably.
    pub(super) fn write_new<T>(&mut self, kind: Kind, value: &T) -> Result<DocumentId, Error>
    where
        T: autosurgeon::Reconcile,
    {
        let id = self.new_id(kind);
        self.transact(|engine, batch| engine.write(batch, kind, id, value))?;
        Ok(id)
    }

    /// Brings a document to `value`: one sealed entry, its row, its place in the outbox.
    pub(super) fn write<T>(
        &mut self,
        batch: &mut Batch,
        kind: Kind,
        id: DocumentId,
        value: &T,
    ) -> Result<(), Error>
    where
        T: autosurgeon::Reconcile,
    {
        self.refresh()?;
        if self.group.is_none() {
            return self.write_alone(batch, kind, id, value);
        }
        self.must_last(kind, id)?;
        let (document, before) = (self.load(id)?, self.row(id)?);
        self.write_on(batch, kind, id, document, before, value).map(drop)
    }

    /// As [`Engine::write`], on what the document is without this, shown by the row `before`. Answers
    /// with the row that shows it now.
    pub(super) fn write_on<T>(
        &mut self,
        batch: &mut Batch,
        kind: Kind,
        id: DocumentId,
        mut document: Document,
        before: Option<Row>,
        value: &T,
    ) -> Result<Option<Row>, Error>
    where
        T: autosurgeon::Reconcile,
    {
        let rule = self.may_write(kind)?;
        let change = document.write(value).map_err(|e| Error::Kind(e.to_string()))?;
        let Some(change) = change else {
            self.recent.keep(id, document);
            return Ok(before);
        };
        let content =
            Content { document: id, kind: kind.0, form: Form::CHANGE, bytes: change.bytes().to_vec() };
        let shown = Shown::read(kind, &document).map_err(|e| Error::Kind(e.to_string()))?;
        let expiry_day = self.expiry_of(kind, id, &change, shown.as_ref())?;
        let compartment = crate::base::CompartmentId(rule.compartment);
        let entry = self.append_content(batch, compartment, &content, expiry_day)?;
        let log = crate::entry::LogId::of(&entry);
        batch.put(DOCUMENTS, disk::part_key(id, log, entry.header().seq), Vec::new());
        let claimed_ms = entry.header().claimed_ms;
        let part = Part { author: self.member_id(), claimed_ms, came_ms: claimed_ms };
        let row = match shown {
            Some(shown) => self.put_row(batch, id, kind, &[part], &shown, before)?,
            None => before,
        };
        self.recent.keep(id, document);
        Ok(row)
    }

    pub(super) fn may_write(&mut self, kind: Kind) -> Result<&'static Rule, Error> {
        self.fresh()?;
        let rule = rule(kind).ok_or_else(|| Error::Kind("this version cannot write that kind".to_owned()))?;
        let role = self.must_belong()?;
        let compartment = crate::base::CompartmentId(rule.compartment);
        if !rule.writers.contains(&role.0) || !self.state()?.template().may_write(role, compartment) {
            return Err(Error::Role("write this kind of document"));
        }
        Ok(rule)
    }

    /// Takes a document from those recently used, or loads it from its entries; empty if there are none.
    pub(super) fn load(&mut self, id: DocumentId) -> Result<Document, Error> {
        if let Some(document) = self.recent.take(id) {
            return Ok(document);
        }
        let mut changes = Vec::new();
        for (log, seq) in self.parts(id)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            changes.extend(self.change_of(&entry)?);
        }
        if self.alone.contains(&id) {
            changes.extend(self.alone_changes(id)?);
        }
        Document::load(self.device_id(), changes).map_err(|e| Error::Kind(e.to_string()))
    }

    /// The change inside a stored entry; none if it cannot be opened here.
    pub(super) fn change_of(&mut self, entry: &Verified) -> Result<Option<AuthoredChange>, Error> {
        let Some(epoch) = entry.header().epoch else { return Ok(None) };
        let Some(sender) = self.sender_of(crate::entry::LogId::of(entry), epoch)? else { return Ok(None) };
        let group = self.group()?.roll.group();
        let opened = seal::entry_key(group, entry, &sender).and_then(|key| seal::open(entry, &key));
        let change = opened.ok().and_then(|c| AuthoredChange::parse(&c.bytes, entry.header().device).ok());
        Ok(change)
    }
}
/// The sealed part of an observation, by the author of both: anybody may write one that names it, and nobody else one with this
/// identity.
pub(in crate::replica) fn sealed_part(author: MemberId, observation: DocumentId) -> DocumentId {
    let mut nonce = [0; 8];
    nonce.iter_mut().zip(observation.0).for_each(|(to, from)| *to = from);
    create_id(author, Kind::SEALED.0, nonce)
}
