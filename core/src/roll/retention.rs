//! What is held and what is shredded, and so whose body may go (PROTOCOL.md §4.9). Relay and phones decide alike.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{At, History};
use super::operation::{Operation, Shred};
use super::view::View;
use crate::base::hash::tagged;
use crate::base::{DocumentId, EntryHash, Hash, MemberId};
use crate::entry::wire::may_lose_body;
use crate::entry::{LogId, Received};

/// What the roll says of bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    holds: BTreeMap<EntryHash, StandingHold>,
    /// The last day on which an entry is held.
    held_until: BTreeMap<EntryHash, u32>,
    shredded: BTreeSet<(EntryHash, LogId, u64)>,
    /// By name of the document, who shredded it, and whether they governed.
    documents: BTreeMap<Hash, BTreeSet<(MemberId, bool)>>,
    /// The operations that say all this.
    said_by: BTreeSet<EntryHash>,
}

/// A hold that nobody has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingHold {
    /// Whoever set it.
    pub by: MemberId,
    /// When they say they did, in milliseconds since the Unix epoch.
    pub claimed_ms: u64,
    /// Why: a number of [`hold_reasons`](super::operation::hold_reasons).
    pub reason: u8,
    /// The last day, since the Unix epoch, on which it keeps them; none for until it is ended.
    pub until_day: Option<u32>,
    /// What it keeps.
    pub entries: Vec<EntryHash>,
}

impl Retention {
    pub(super) fn of(history: &History, view: &View<'_>) -> Self {
        let mut retention = Self::default();
        let counting: Vec<At> = view.among(&history.retentions).filter(|at| !view.is_void(*at)).collect();
        let mut ended: BTreeSet<EntryHash> = BTreeSet::new();
        for at in counting {
            let node = history.node(at);
            let Some(by) = node.member else { continue };
            retention.said_by.insert(node.hash);
            match &node.operation {
                Some(Operation::Hold(hold)) => {
                    let standing = StandingHold {
                        by,
                        claimed_ms: node.claimed_ms,
                        reason: hold.reason,
                        until_day: hold.until_day,
                        entries: hold.entries.clone(),
                    };
                    retention.holds.insert(node.hash, standing);
                }
                Some(Operation::EndHold(end)) => ended.extend(end.holds.iter().copied()),
                Some(Operation::Shred(shred)) => {
                    let named = shred.entries.iter();
                    let named = named.map(|named| (named.head.hash, named.log, named.head.seq));
                    retention.shredded.extend(named);
                    if let Some(document) = shred.document {
                        let governs = node.role.is_some_and(|role| view.template().governs(role));
                        retention.documents.entry(document).or_default().insert((by, governs));
                    }
                }
                Some(_) | None => {}
            }
        }
        // What ends a hold names it: one that was set at the same time by somebody else goes on.
        retention.holds.retain(|hash, _| !ended.contains(hash));
        for hold in retention.holds.values() {
            let until = hold.until_day.unwrap_or(u32::MAX);
            for entry in &hold.entries {
                let held = retention.held_until.entry(*entry).or_default();
                *held = until.max(*held);
            }
        }
        retention
    }

    /// Whether the body of an entry is to go on this day, since the Unix epoch: it expired or was shredded, and nobody
    /// holds it. Not of certificates, operations and keys: what they say stays.
    pub fn drops(&self, entry: &Received, today: u32) -> bool {
        may_go(entry)
            && !self.holds_on(entry.hash(), today)
            && (has_expired(entry, today) || self.shreds(entry))
    }

    /// Whether an entry may be without its body, for whoever thinks that it is this day.
    pub fn excuses(&self, entry: &Received, today: u32) -> bool {
        may_go(entry) && (has_expired(entry, today) || self.shreds(entry))
    }

    /// Whether somebody holds an entry on this day.
    pub fn holds_on(&self, entry: EntryHash, day: u32) -> bool {
        self.held_until.get(&entry).is_some_and(|until| day <= *until)
    }

    /// Whether an entry was shredded.
    pub fn shreds(&self, entry: &Received) -> bool {
        !self.shredded.is_empty()
            && self.shredded.contains(&(entry.hash(), LogId::of(entry), entry.header().seq))
    }

    /// Whether any document was shredded as a whole.
    pub fn shreds_documents(&self) -> bool {
        !self.documents.is_empty()
    }

    /// Whether a document was shredded as a whole, by who governed or by who made it, as `made_by` says.
    pub fn shreds_document(&self, document: DocumentId, made_by: impl Fn(MemberId) -> bool) -> bool {
        !self.documents.is_empty()
            && self.documents.get(&Shred::name(document)).is_some_and(|shredders| {
                shredders.iter().any(|(member, governed)| *governed || made_by(*member))
            })
    }

    /// The holds, by the entry of the roll that set each.
    pub fn holds(&self) -> impl Iterator<Item = (EntryHash, &StandingHold)> {
        self.holds.iter().map(|(hash, hold)| (*hash, hold))
    }

    /// The entries that were shredded, with their places.
    pub fn shredded(&self) -> impl Iterator<Item = (EntryHash, LogId, u64)> {
        self.shredded.iter().copied()
    }

    /// The entries that are held, and the last day on which each is.
    pub fn held(&self) -> impl Iterator<Item = (EntryHash, u32)> {
        self.held_until.iter().map(|(entry, until)| (*entry, *until))
    }

    /// Names all that it says of holds and shreds: as long as it is the same, only time takes bodies away.
    pub fn name(&self) -> Hash {
        let said_by: Vec<&[u8]> = self.said_by.iter().map(|hash| hash.as_bytes().as_slice()).collect();
        tagged(b"lamppost/1/retention", &said_by)
    }
}

/// Whether the body of an entry may go at all.
pub fn may_go(entry: &Received) -> bool {
    may_lose_body(entry.header())
}

/// Whether the last day that an entry's header grants its body is over.
pub fn has_expired(entry: &Received, today: u32) -> bool {
    entry.header().expiry_day.is_some_and(|day| day < today)
}
