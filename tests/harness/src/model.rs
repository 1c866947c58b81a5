//! What was promised, kept as plainly as can be: no entries, no chains, no keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lamppost_core::base::{CompartmentId, DeviceId, DocumentId, EntryHash, MemberId};
use lamppost_core::entry::Wire;
use lamppost_core::roll::{EpochName, Roll};
use lamppost_core::watch::Kind;

use crate::world::Usurpation;

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
    /// Members of whom somebody was said to be removed, recovered, or to have another role.
    pub touched: BTreeSet<MemberId>,
    /// The membership log as each phone knew it that let a member in: a removal that it knew does not bind what the member
    /// writes from then on.
    pub let_in_knowing: BTreeMap<MemberId, Vec<Arc<Roll>>>,
    /// Whether newcomers do not read back without end.
    pub history_ends: bool,
    /// Operations that were not their author's to sign.
    pub overreached: BTreeSet<EntryHash>,
    /// What a removed coordinator forged.
    pub usurpations: Vec<Usurpation>,
    /// Members and keys that only a hostile app vouched for.
    pub strangers: BTreeSet<MemberId>,
    /// Epochs that a hostile app made up.
    pub invented: BTreeSet<EpochName>,
    /// Entries of the roll that left a phone.
    pub roll: BTreeMap<EntryHash, Wire>,
    /// Who admitted whom.
    pub admitted_by: BTreeMap<MemberId, BTreeSet<MemberId>>,
    /// Removals that took somebody out, as far as their author had heard.
    pub cuts: BTreeMap<EntryHash, Cut>,
    /// What coordinators accepted.
    pub accepted: BTreeSet<EntryHash>,
}

/// What somebody had seen of those whom they took out.
pub struct Cut {
    /// The devices.
    pub devices: BTreeSet<DeviceId>,
    /// The compartments that its author could read.
    pub readable: BTreeSet<CompartmentId>,
    /// What its author had of these devices.
    pub seen: BTreeSet<EntryHash>,
}

/// One document, as its author knows it.
pub struct Document {
    /// The place of the phone that wrote it.
    pub author: usize,
    /// Its kind.
    pub kind: Kind,
    /// The text its author was last told is on disk.
    pub text: String,
    /// Later texts of which the author was told that they failed: a disk may fail after it wrote. Once its phone went
    /// back to an older copy, everything that it ever said.
    pub maybe: BTreeSet<String>,
    /// Everything it ever said.
    pub said: BTreeSet<String>,
    /// Entries that it was made of when its phone went back to an older copy: where the relay has not acknowledged
    /// them all, it may be gone.
    pub stood_by: Option<Vec<EntryHash>>,
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
        let before = self.documents.remove(&id);
        let (mut said, stood_by) = before.map(|known| (known.said, known.stood_by)).unwrap_or_default();
        let maybe = if stood_by.is_some() { said.clone() } else { BTreeSet::new() };
        said.insert(text.clone());
        self.documents.insert(id, Document { author, kind, text, maybe, said, stood_by });
    }

    /// Notes that the author was told: it failed.
    pub fn failed(&mut self, id: DocumentId, text: String) {
        if let Some(document) = self.documents.get_mut(&id) {
            document.said.insert(text.clone());
            document.maybe.insert(text);
        }
    }

    /// Notes that the author's phone went back to an older copy; `entries` is what this document was made of.
    pub fn went_back(&mut self, id: DocumentId, entries: Vec<EntryHash>) {
        if let Some(document) = self.documents.get_mut(&id) {
            document.maybe = document.said.clone();
            document.stood_by.get_or_insert(entries);
        }
    }

    /// Whether what a document says is certain to be there: not if its phone lost it before the relay had it.
    pub fn is_certain(&self, document: &Document) -> bool {
        let all_there = |entries: &Vec<EntryHash>| {
            !entries.is_empty() && entries.iter().all(|entry| self.acknowledged.contains(entry))
        };
        document.stood_by.as_ref().is_none_or(all_there)
    }

    /// Whether a removal may have cut off what this member wrote, or the role of whoever let them in.
    pub fn may_be_cut_off(&self, member: MemberId) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![member]);
        while let Some(member) = next.pop() {
            if self.touched.contains(&member) {
                return true;
            }
            if seen.insert(member) {
                next.extend(self.admitted_by.get(&member).into_iter().flatten());
            }
        }
        false
    }

    /// Returns whether somebody who knew of a removal has let this member in.
    pub fn was_let_in_again(&self, member: MemberId, removal: EntryHash) -> bool {
        self.let_in_knowing.get(&member).into_iter().flatten().any(|roll| roll.knows(&[removal]))
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
