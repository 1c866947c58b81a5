//! What was promised, kept as plainly as can be: no entries, no chains, no keys.

use std::collections::{BTreeMap, BTreeSet};

use lamppost_core::base::{DocumentId, EntryHash};
use lamppost_core::watch::Kind;

/// Stands in every text that somebody writes: what must not be found where it cannot be read.
pub const MARK: &str = "mark-";

/// The truth to compare with.
#[derive(Default)]
pub struct Model {
    /// Documents whose author was told that they are on disk.
    pub documents: BTreeMap<DocumentId, Document>,
    /// Who wrote, or tried to write, the text with this number.
    authors: BTreeMap<u64, usize>,
    /// Entries that left a phone as their author made them.
    pub authored: BTreeSet<EntryHash>,
    /// Entries that the relay acknowledged.
    pub acknowledged: BTreeSet<EntryHash>,
}

/// One document, as its author knows it.
pub struct Document {
    /// The place of the phone that wrote it.
    pub author: usize,
    /// Its kind.
    pub kind: Kind,
    /// The text its author was last told is on disk.
    pub text: String,
    /// Later texts of which the author was told that they failed: a disk may fail after it wrote.
    pub maybe: BTreeSet<String>,
}

impl Model {
    /// A new text for this author.
    pub fn text(&mut self, author: usize) -> String {
        let number = self.authors.len() as u64;
        self.authors.insert(number, author);
        format!("{MARK}{number} seen by the phone at {author}")
    }

    /// Notes that the author was told: it is on disk.
    pub fn wrote(&mut self, id: DocumentId, author: usize, kind: Kind, text: String) {
        self.documents.insert(id, Document { author, kind, text, maybe: BTreeSet::new() });
    }

    /// Notes that the author was told: it failed.
    pub fn failed(&mut self, id: DocumentId, text: String) {
        if let Some(document) = self.documents.get_mut(&id) {
            document.maybe.insert(text);
        }
    }

    /// The author of the first marked text in `text`.
    pub fn author_of(&self, text: &str) -> Option<usize> {
        let rest = text.split(MARK).nth(1)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        self.authors.get(&digits.parse().ok()?).copied()
    }

    /// Whether the author's own phone may show this text.
    pub fn is_current(&self, id: DocumentId, text: &str) -> bool {
        self.documents.get(&id).is_none_or(|known| known.text == text || known.maybe.contains(text))
    }
}
