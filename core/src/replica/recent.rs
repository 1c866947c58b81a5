//! Documents that were in use a moment ago, in memory.
//!
//! To change a document, or to take in a change of it, it is put together from all its entries: each is read, opened,
//! decompressed and applied. Who edits does so again and again, and others see each edit: without this an edit took
//! longer the more edits there had been.

use std::collections::VecDeque;

use crate::base::DocumentId;
use crate::document::Document;

/// Documents kept: at some 17 KB each they take half a megabyte.
const DOCUMENTS_MAX: usize = 32;

/// Documents as they are on disk, the last used first. Whoever changes one takes it out, and keeps it again once it is
/// as it will be on disk; if the write fails, all are forgotten.
#[derive(Default)]
pub(super) struct Recent(VecDeque<(DocumentId, Document)>);

impl Recent {
    /// Takes a document out, if it is here.
    pub fn take(&mut self, id: DocumentId) -> Option<Document> {
        let at = self.0.iter().position(|(recent, _)| *recent == id)?;
        self.0.remove(at).map(|(_, document)| document)
    }

    /// Keeps a document, in the place of the one that was not used for the longest time.
    pub fn keep(&mut self, id: DocumentId, document: Document) {
        self.0.retain(|(recent, _)| *recent != id);
        self.0.push_front((id, document));
        self.0.truncate(DOCUMENTS_MAX);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
