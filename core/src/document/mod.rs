//! Floor 1, device: one Automerge document, between its changes and its typed content (PROTOCOL.md §6).
//!
//! Imports `base`. Knows nothing of kinds: the domain brings the types.

mod change;
mod conflict;
mod identity;
mod judge;
mod reader;

use std::panic::AssertUnwindSafe;

use automerge::{ActorId, AutoCommit};
use autosurgeon::{Hydrate, Reconcile, hydrate, reconcile};

pub use change::{AuthoredChange, BadChange};
pub use conflict::Conflict;
pub use identity::{create_id, derive_id, is_created_by};
pub use judge::{Judged, NotAccepted};

use crate::base::DeviceId;

/// A document in memory. Keep few: each takes some 17 KB of heap.
pub struct Document(AutoCommit);

/// Why a document's changes do not make up the content that its kind promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDocument {
    /// The changes do not fit together.
    #[error("the document's changes do not fit together: {0}")]
    Changes(String),
    /// The content has another shape.
    #[error("the document does not have the shape of its kind: {0}")]
    Shape(String),
}

impl Document {
    /// An empty document that `author` is about to fill.
    pub fn new(author: DeviceId) -> Self {
        Self(AutoCommit::new().with_actor(ActorId::from(author.as_bytes().as_slice())))
    }

    /// A document made of changes, which may come in any order. `author` is who may go on to change it.
    ///
    /// # Errors
    /// [`BadDocument::Changes`] if two of them contradict each other.
    pub fn load(
        author: DeviceId,
        changes: impl IntoIterator<Item = AuthoredChange>,
    ) -> Result<Self, BadDocument> {
        Self::new(author).extended(changes)
    }

    /// The document with more changes, which may come in any order.
    ///
    /// # Errors
    /// [`BadDocument::Changes`] if two of them contradict each other.
    pub fn extended(self, changes: impl IntoIterator<Item = AuthoredChange>) -> Result<Self, BadDocument> {
        let changes: Vec<automerge::Change> = changes.into_iter().map(AuthoredChange::into_inner).collect();
        // One document of a hostile member must fail alone, and Automerge still asserts in places what
        // only a well-meant change keeps to. Nothing outlives the failed attempt.
        let extended = std::panic::catch_unwind(AssertUnwindSafe(move || {
            let mut document = self;
            document.0.apply_changes(changes).map(|()| document)
        }));
        match extended {
            Ok(Ok(document)) => Ok(document),
            Ok(Err(why)) => Err(BadDocument::Changes(why.to_string())),
            Err(_) => Err(BadDocument::Changes("they cannot be applied".to_owned())),
        }
    }

    /// Brings the content to `value` and returns the change that does it; none if nothing differs.
    ///
    /// Fields that `value`'s type does not know stay as they are.
    ///
    /// # Errors
    /// [`BadDocument::Shape`] if the document holds something else where `value` has a field.
    pub fn write<T: Reconcile>(&mut self, value: &T) -> Result<Option<AuthoredChange>, BadDocument> {
        reconcile(&mut self.0, value).map_err(|e| BadDocument::Shape(e.to_string()))?;
        // Without a time of its own: the entry's claimed time is the only one, and it is signed.
        if self.0.commit_with(automerge::transaction::CommitOptions::default().with_time(0)).is_none() {
            return Ok(None);
        }
        Ok(self.0.get_last_local_change().map(AuthoredChange::own))
    }

    /// Whether nothing of it can be read yet: what there is builds on changes that are missing.
    pub fn is_empty(&mut self) -> bool {
        self.0.get_heads().is_empty()
    }

    /// Whether changes are missing that others build on.
    pub fn lacks_changes(&mut self) -> bool {
        !self.0.get_missing_deps(&[]).is_empty()
    }

    /// The content.
    ///
    /// # Errors
    /// [`BadDocument::Shape`] if the document does not have `T`'s shape.
    pub fn read<T: Hydrate>(&self) -> Result<T, BadDocument> {
        hydrate(&reader::Reader::new(&self.0)).map_err(|e| BadDocument::Shape(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Default, Hydrate, Reconcile)]
    struct Note {
        text: String,
        pages: u32,
    }

    const ANNA: DeviceId = DeviceId([1; 32]);
    const BEN: DeviceId = DeviceId([2; 32]);

    fn note(text: &str) -> Note {
        Note { text: text.to_owned(), pages: 1 }
    }

    #[test]
    fn changes_make_the_document_in_any_order() {
        let mut document = Document::new(ANNA);
        let first = document.write(&note("a lamp is out")).unwrap().unwrap();
        let second = document.write(&note("it is mended")).unwrap().unwrap();
        assert_eq!(document.write(&note("it is mended")), Ok(None));
        for changes in [[first.clone(), second.clone()], [second, first]] {
            let loaded = Document::load(BEN, changes).unwrap();
            assert_eq!(loaded.read::<Note>(), Ok(note("it is mended")));
        }
    }

    #[test]
    fn what_builds_on_a_missing_change_is_no_content_yet() {
        let mut document = Document::new(ANNA);
        let first = document.write(&note("a lamp is out")).unwrap().unwrap();
        let second = document.write(&note("it is mended")).unwrap().unwrap();
        let mut loaded = Document::load(BEN, [second.clone()]).unwrap();
        assert!(loaded.is_empty() && loaded.lacks_changes());
        let mut loaded = Document::load(BEN, [second, first]).unwrap();
        assert!(!loaded.is_empty() && !loaded.lacks_changes());
    }

    #[test]
    fn a_change_names_its_author_and_no_other() {
        let mut document = Document::new(ANNA);
        let change = document.write(&note("a lamp is out")).unwrap().unwrap();
        let bytes = change.bytes();
        assert!(AuthoredChange::parse(bytes, ANNA).is_ok());
        assert_eq!(AuthoredChange::parse(bytes, BEN), Err(BadChange::ForeignActor));
        assert!(AuthoredChange::parse(&bytes[..bytes.len() - 1], ANNA).is_err());
        let saved = AutoCommit::new().save();
        assert_eq!(AuthoredChange::parse(&saved, ANNA), Err(BadChange::NotOneChange));
    }
}
