//! The set of operations and the order that everyone derives from it (PROTOCOL.md §4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::operation::Operation;
use super::state::State;
use crate::base::{DeviceId, EntryHash, GroupId, cbor};
use crate::entry::{Certificate, Kind, Received, Verified, chain};

/// Who belongs to one group, as far as this party has heard.
///
/// Entries may come in any order that brings causes before effects; the state is the same for the same set.
#[derive(Clone, Debug)]
pub struct Roll {
    group: GroupId,
    nodes: BTreeMap<EntryHash, Node>,
    heads: BTreeSet<EntryHash>,
    /// What may not be cited and stands in no head's past: it is in the set, and in nobody's past.
    loose: BTreeSet<EntryHash>,
    state: Arc<State>,
    /// The state of the heads' past: that of the whole set, but for what is loose.
    state_at_heads: Arc<State>,
}

#[derive(Clone, Debug)]
struct Node {
    author: DeviceId,
    /// Longest way to the founding entry. Causes have a smaller one than their effects.
    depth: u64,
    parents: Vec<EntryHash>,
    /// None for a device's own certificate entry.
    operation: Option<Operation>,
    certificates: Vec<Certificate>,
    counts: bool,
}

/// What became of an entry that was offered to the roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the set, and counts.
    Counts,
    /// It is in the set and changes nothing: its author did not govern in its causal past.
    WithoutEffect,
    /// It was there before.
    Known,
    /// It cites entries that are not here yet. It was not taken.
    Waits,
}

/// Why an entry cannot be part of this roll at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARoll {
    /// The body is absent or breaks a rule.
    #[error("the roll entry cannot be read: {0}")]
    Body(String),
    /// A founding entry of another group, or a first entry that founds nothing.
    #[error("this roll entry does not belong to the group")]
    OtherGroup,
}

impl Roll {
    /// Begins a roll with its founding entry.
    ///
    /// # Errors
    /// [`NotARoll`] if the entry does not found a group.
    pub fn found(entry: &Verified) -> Result<Self, NotARoll> {
        let (operation, certificates) = read(entry)?;
        let Some(Operation::Found(founding)) = &operation else {
            return Err(NotARoll::OtherGroup);
        };
        let author = entry.header().device;
        if certificates.first().is_none_or(|c| c.claims().device != author) {
            return Err(NotARoll::Body("the founder's certificate is not the author's".to_owned()));
        }
        let mut state = State::new(founding.template.clone());
        if let Some(operation) = &operation {
            state.apply(operation, &certificates);
        }
        let node = Node { author, depth: 0, parents: Vec::new(), operation, certificates, counts: true };
        let state = Arc::new(state);
        Ok(Self {
            group: entry.group(),
            nodes: BTreeMap::from([(entry.hash(), node)]),
            heads: BTreeSet::from([entry.hash()]),
            loose: BTreeSet::new(),
            state_at_heads: Arc::clone(&state),
            state,
        })
    }

    /// Offers an entry of the roll compartment.
    ///
    /// # Errors
    /// [`NotARoll`] if it can never belong here.
    pub fn insert(&mut self, entry: &Verified) -> Result<Inserted, NotARoll> {
        if entry.group() != self.group {
            return Err(NotARoll::OtherGroup);
        }
        let hash = entry.hash();
        if self.nodes.contains_key(&hash) {
            return Ok(Inserted::Known);
        }
        let header = entry.header();
        let mut parents = header.roll_heads.clone();
        parents.extend(header.previous.filter(|previous| !header.roll_heads.contains(previous)));
        if !self.knows(&parents) {
            return Ok(Inserted::Waits);
        }
        let (operation, certificates) = read(entry)?;
        let author = header.device;
        let counts = match &operation {
            None => true,
            Some(Operation::Found(_)) => return Err(NotARoll::OtherGroup),
            Some(_) => self.state_at(&parents).is_some_and(|past| past.governs(author)),
        };
        let depth = parents.iter().filter_map(|p| self.nodes.get(p)).map(|n| n.depth + 1).max().unwrap_or(0);
        // What has no effect is cited by nobody: else a stranger's entry, which honest relays refuse, would keep
        // everything that cites it from them.
        let cited = match certificates.first() {
            Some(own) if operation.is_none() => {
                self.state_at(&parents).is_some_and(|past| past.member(own.claims().member).is_some())
            }
            Some(_) | None => counts,
        };
        if cited {
            for parent in &parents {
                self.heads.remove(parent);
            }
            self.heads.insert(hash);
            self.tie(&parents);
        } else {
            self.loose.insert(hash);
        }
        let newest = self.nodes.iter().map(|(hash, node)| (node.depth, *hash)).max();
        let node = Node { author, depth, parents, operation, certificates, counts };
        let in_order = newest.is_none_or(|newest| newest < (depth, hash));
        if in_order {
            apply(Arc::make_mut(&mut self.state), &node);
        }
        self.nodes.insert(hash, node);
        if !in_order {
            self.state = Arc::new(self.fold(self.nodes.keys().copied().collect()));
        }
        self.state_at_heads = if self.loose.is_empty() {
            Arc::clone(&self.state)
        } else {
            Arc::new(self.fold(self.past(self.heads.iter().copied().collect())))
        };
        Ok(if counts { Inserted::Counts } else { Inserted::WithoutEffect })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The state of everything heard.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Entries that no other entry cites, ascending: what a new entry cites. At most
    /// [`ROLL_HEADS_MAX`](crate::base::limits::ROLL_HEADS_MAX), the greatest.
    pub fn heads(&self) -> Vec<EntryHash> {
        let skip = self.heads.len().saturating_sub(crate::base::limits::ROLL_HEADS_MAX);
        self.heads.iter().skip(skip).copied().collect()
    }

    /// Whether all these entries are here.
    pub fn knows(&self, hashes: &[EntryHash]) -> bool {
        hashes.iter().all(|hash| self.nodes.contains_key(hash))
    }

    /// The state that somebody saw who knew exactly `heads` and what they cite; none if one is not here.
    pub fn state_at(&self, heads: &[EntryHash]) -> Option<Arc<State>> {
        if !self.knows(heads) {
            return None;
        }
        if heads.len() == self.heads.len() && heads.iter().all(|head| self.heads.contains(head)) {
            return Some(Arc::clone(&self.state_at_heads));
        }
        Some(Arc::new(self.fold(self.past(heads.to_vec()))))
    }

    /// These entries and all that they cite.
    fn past(&self, mut open: Vec<EntryHash>) -> BTreeSet<EntryHash> {
        let mut past = BTreeSet::new();
        while let Some(hash) = open.pop() {
            if past.insert(hash)
                && let Some(node) = self.nodes.get(&hash)
            {
                open.extend(&node.parents);
            }
        }
        past
    }

    /// Something that may be cited cites these: they are in somebody's past by that.
    fn tie(&mut self, cited: &[EntryHash]) {
        let mut open = cited.to_vec();
        while let Some(hash) = open.pop() {
            if self.loose.remove(&hash)
                && let Some(node) = self.nodes.get(&hash)
            {
                open.extend(&node.parents);
            }
        }
    }

    /// How many entries the set holds.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a roll begins with its founding entry.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Hashes in the order that everyone derives: causes first, ties by hash.
    pub fn order(&self) -> Vec<EntryHash> {
        let mut order: Vec<_> = self.nodes.iter().map(|(hash, node)| (node.depth, *hash)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, hash)| hash).collect()
    }

    fn fold(&self, hashes: BTreeSet<EntryHash>) -> State {
        let mut order: Vec<_> =
            hashes.into_iter().filter_map(|hash| Some((self.nodes.get(&hash)?.depth, hash))).collect();
        order.sort_unstable();
        let mut state = State::new(self.state.template().clone());
        for node in order.iter().filter_map(|(_, hash)| self.nodes.get(hash)) {
            apply(&mut state, node);
        }
        state
    }
}

fn apply(state: &mut State, node: &Node) {
    match &node.operation {
        Some(operation) if node.counts => state.apply(operation, &node.certificates),
        Some(_) => {}
        // A device speaks for itself; it belongs as soon as its member does.
        None => node.certificates.iter().for_each(|c| {
            debug_assert_eq!(c.claims().device, node.author);
            state.certify(c);
        }),
    }
}

fn read(entry: &Received) -> Result<(Option<Operation>, Vec<Certificate>), NotARoll> {
    let body = entry.body().ok_or_else(|| NotARoll::Body("its body is missing".to_owned()))?;
    let refuse = |why: &dyn std::fmt::Display| NotARoll::Body(why.to_string());
    if entry.header().kind == Kind::CERTIFICATE {
        let certificate = chain::certificate_of(entry).map_err(|e| refuse(&e))?;
        return Ok((None, vec![certificate]));
    }
    if entry.header().kind != Kind::OPERATION {
        return Ok((Some(Operation::Unknown { number: u8::MAX, cbor: Vec::new() }), Vec::new()));
    }
    let operation: Operation = cbor::decode(body).map_err(|e| refuse(&e))?;
    operation.check().map_err(|e| refuse(&e))?;
    let bytes = match &operation {
        Operation::Found(founding) => std::slice::from_ref(&founding.certificate),
        Operation::Admit(admission) => admission.certificates.as_slice(),
        Operation::Grant(_) | Operation::Rotate(_) | Operation::Unknown { .. } => &[],
    };
    let certificates: Result<Vec<_>, _> = bytes.iter().map(|b| Certificate::verify(b)).collect();
    let certificates = certificates.map_err(|e| refuse(&e))?;
    if let Operation::Admit(admission) = &operation
        && certificates.iter().any(|c| c.claims().member != admission.member)
    {
        return Err(NotARoll::Body("an admission carries the certificate of somebody else".to_owned()));
    }
    Ok((Some(operation), certificates))
}
