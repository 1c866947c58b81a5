//! Drafts: whatever somebody has typed and not filed, on disk at every keystroke and never sent.
//!
//! A draft is bytes of the app's own making under the identity that the document will have, so that filing it takes the
//! draft away in the same durable write: a crash in between leaves the one or the other, never both and never neither.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::disk::{self, DRAFTS};
use super::engine::Engine;
use super::error::Error;
use super::record::ObservationDraft;
use crate::base::{DocumentId, cbor};
use crate::watch::guard;
use crate::watch::{Invalid, Kind};

/// Most bytes of a draft: as many as a content may have unpacked.
pub const DRAFT_BYTES_MAX: usize = 1 << 20;

/// One draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The document that it will be.
    pub id: DocumentId,
    /// The kind that it will have.
    pub kind: Kind,
    /// When it was saved last, in milliseconds since the Unix epoch.
    pub saved_ms: u64,
    /// What the app saved.
    pub bytes: Vec<u8>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct DraftRow {
    #[n(0)]
    kind: u16,
    #[n(1)]
    saved_ms: u64,
    #[n(2)]
    bytes: ByteVec,
}

impl Engine {
    /// Begins a draft: the identity to save it under. Nothing is written yet.
    pub fn new_draft(&mut self, kind: Kind) -> DocumentId {
        self.new_id(kind)
    }

    /// Saves a draft, sealed, in the place of what was saved before. On disk when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is larger than [`DRAFT_BYTES_MAX`]; errors of the store: then what was saved before is
    /// there.
    pub fn save_draft(&mut self, id: DocumentId, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > DRAFT_BYTES_MAX {
            return Err(Invalid::new("draft", "is larger than a document can be", "shorten it").into());
        }
        let row = DraftRow { kind: kind.0, saved_ms: self.clock.now_ms(), bytes: bytes.to_vec().into() };
        let plain = zeroize::Zeroizing::new(cbor::encode(&row));
        let sealed = self.cipher.seal(&mut self.rng, DRAFTS, id.as_bytes(), &plain)?;
        self.transact(|_, batch| {
            batch.put(DRAFTS, id.as_bytes(), sealed);
            Ok(())
        })
    }

    /// Every draft, the one saved last first.
    ///
    /// # Errors
    /// Errors of the store; [`Error::WrongVault`].
    pub fn drafts(&self) -> Result<Vec<Draft>, Error> {
        let mut drafts = Vec::new();
        for (key, sealed) in self.store.scan(DRAFTS, &[], None, usize::MAX)? {
            let Some(id) = key.first_chunk().copied().map(DocumentId) else { continue };
            drafts.push(self.open_draft(id, &sealed)?);
        }
        drafts.sort_by_key(|draft| (std::cmp::Reverse(draft.saved_ms), draft.id));
        Ok(drafts)
    }

    /// One draft; none if it was filed or discarded.
    ///
    /// # Errors
    /// Errors of the store; [`Error::WrongVault`].
    pub fn draft(&self, id: DocumentId) -> Result<Option<Draft>, Error> {
        self.store.get(DRAFTS, id.as_bytes())?.map(|sealed| self.open_draft(id, &sealed)).transpose()
    }

    /// Throws a draft away.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn discard_draft(&mut self, id: DocumentId) -> Result<(), Error> {
        self.transact(|engine, batch| {
            engine.discard_attached(batch, id)?;
            batch.delete(DRAFTS, id.as_bytes());
            Ok(())
        })
    }

    /// As [`Engine::record`], for a draft that was begun with [`Engine::new_draft`]; the draft goes in the same write, and
    /// the photos that were attached to it come along.
    ///
    /// # Errors
    /// As [`Engine::record`]: then the draft is still there.
    pub fn record_from_draft(
        &mut self,
        draft: DocumentId,
        mut observation: ObservationDraft,
    ) -> Result<DocumentId, Error> {
        self.refresh()?;
        self.must_have_learned()?;
        guard::check_report(&observation.observation, observation.sealed.as_ref())?;
        let id = self.id_for_draft(draft, Kind::OBSERVATION);
        self.transact(|engine, batch| {
            let (clean, originals) = engine.take_attached(batch, draft, &mut observation)?;
            engine.append_draft(batch, id, observation)?;
            engine.queue_chunks(batch, id, &clean)?;
            engine.queue_chunks(batch, engine.sibling(id), &originals)?;
            batch.delete(DRAFTS, draft.as_bytes());
            Ok(())
        })?;
        Ok(id)
    }

    fn open_draft(&self, id: DocumentId, sealed: &[u8]) -> Result<Draft, Error> {
        let plain = self.cipher.open(DRAFTS, id.as_bytes(), sealed)?;
        let row: DraftRow = disk::decode(&plain)?;
        Ok(Draft { id, kind: Kind(row.kind), saved_ms: row.saved_ms, bytes: row.bytes.into() })
    }
}
