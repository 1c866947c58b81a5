//! The entries of a roll and who cites whom: a graph in which causes come before effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::handouts::Handouts;
use super::operation::{Operation, Target};
use super::past::{Past, Spot};
use super::room::{Ledger, Room};
use crate::base::{DeviceId, EntryHash, MemberId, RoleId};

/// The number of an entry: the order in which this party heard of it. Nothing that parties agree on depends on it.
pub(super) type At = usize;

/// The order that everybody derives: causes first, ties by hash.
pub(super) type Order = (u64, EntryHash);

/// One entry of the roll, with what its own past says of it. That never changes, whatever else is heard of.
#[derive(Debug)]
pub(super) struct Node {
    pub hash: EntryHash,
    pub author: DeviceId,
    /// Whose device the author was in its past; none for a stranger's.
    pub member: Option<MemberId>,
    /// What the author was in its past.
    pub role: Option<RoleId>,
    /// Whether that role governs.
    pub governs: bool,
    /// Longest way to the founding entry.
    pub depth: u64,
    /// Every entry that it follows, near and far.
    pub past: Past,
    /// Bytes of its signed part and its body.
    pub bytes: u64,
    /// Without the grants that have no effect. None for a device's certificate entry.
    pub operation: Option<Operation>,
    /// Devices that it enters.
    pub enters: Vec<Entered>,
    pub power: Power,
    pub grounds: Grounds,
    /// The member whom a removal, a recovery or a proposal of one is about, by its own past.
    pub about: Option<MemberId>,
    /// Whether it admits somebody to a role that governs.
    pub appoints: bool,
    /// When its author says that it was written.
    pub claimed_ms: u64,
}

/// A device, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub device: DeviceId,
    pub member: MemberId,
    /// The member's key that certified it: the member's identity, or the key of a recovery.
    pub key: MemberId,
    pub agreement: [u8; 32],
}

/// The entries that the right to an entry rests on. The right is lost when every entry of one of the lists is void; an
/// empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grounds {
    /// Admissions of the author that give the role. Of a removal by rank: those by which the author outranks its target.
    pub roles: Vec<At>,
    /// Entries that enter the author's device.
    pub devices: Vec<At>,
    /// Recoveries that made the key the member's by which the device is entered; empty if it is the member's identity.
    pub keys: Vec<At>,
}

impl Grounds {
    pub fn lists(&self) -> [&[At]; 3] {
        [&self.roles, &self.devices, &self.keys]
    }
}

/// What an entry may do, by its own past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Power {
    /// Nothing: its author had no right to it.
    #[default]
    Nothing,
    /// What it says.
    Acts,
    /// It takes somebody out.
    Removes(Removes),
    /// It asks for somebody to be taken out whom its author does not outrank.
    Proposes,
}

/// The right by which an entry takes somebody out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removes {
    /// Its author goes, or a device of theirs.
    Own,
    /// Its author outranks its target.
    ByRank,
    /// Most electors asked for it.
    ByMajority(Majority),
}

/// The votes for a removal by a majority of the electors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Majority {
    /// The target's admissions to a role that governs.
    pub levels: Vec<At>,
    /// What each of the others asked, a list for each elector.
    pub asks: Vec<Vec<At>>,
    /// How many electors it takes, its author included.
    pub needed: usize,
}

/// What a removal, a recovery or a proposal of one is about. Proposals of the same add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aim {
    Member(MemberId),
    Device(DeviceId),
    Recovery(MemberId, MemberId),
}

impl Aim {
    pub fn of(target: Target) -> Self {
        match target {
            Target::Member(member) => Self::Member(member),
            Target::Device(device) => Self::Device(device),
        }
    }
}

/// An entry is what its hash says.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Node {}

impl Node {
    pub fn order(&self) -> Order {
        (self.depth, self.hash)
    }

    /// Whether it takes something away: these are the entries whose standing has to be weighed.
    pub fn removes(&self) -> bool {
        matches!(self.power, Power::Removes(_))
    }

    /// Whether it has the effect that it names, unless a removal voids it.
    pub fn acts(&self) -> bool {
        matches!(self.power, Power::Acts | Power::Removes(_))
    }

    /// Whether a person decided it: everything but certificates and keys, which devices write by themselves.
    pub fn is_decision(&self) -> bool {
        let by_hand = !matches!(self.operation, Some(Operation::KeyUpdate(_)) | None);
        by_hand && self.power != Power::Nothing
    }

    pub fn aim(&self) -> Option<Aim> {
        match self.operation.as_ref()? {
            Operation::Remove(removal) => Some(Aim::of(removal.target)),
            // The new key is that of the one device that a recovery enters.
            Operation::Recover(recovery) => {
                Some(Aim::Recovery(recovery.member, self.enters.first().map_or(recovery.member, |e| e.key)))
            }
            Operation::Found(_)
            | Operation::Admit(_)
            | Operation::KeyUpdate(_)
            | Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::Shred(_)
            | Operation::EndHold(_)
            | Operation::Certify(_)
            | Operation::Withdraw(_)
            | Operation::Unknown { .. } => None,
        }
    }

    /// The member and the role that it gives them.
    pub fn admits(&self) -> Option<(MemberId, RoleId)> {
        match self.operation.as_ref()? {
            Operation::Found(founding) => Some((self.enters.first()?.member, founding.role)),
            Operation::Admit(admission) => Some((admission.member, admission.role)),
            Operation::KeyUpdate(_)
            | Operation::Remove(_)
            | Operation::Policy(_)
            | Operation::Accept(_)
            | Operation::Hold(_)
            | Operation::Shred(_)
            | Operation::EndHold(_)
            | Operation::Recover(_)
            | Operation::Certify(_)
            | Operation::Withdraw(_)
            | Operation::Unknown { .. } => None,
        }
    }
}

/// The place of an entry in the sets that are pasts.
#[derive(Clone, Copy, Debug)]
struct Place {
    spot: Spot,
    /// Removals on its chain, up to the entry.
    removals: u32,
}

/// A run of entries, each the previous entry of the next.
#[derive(Clone, Copy, Debug)]
struct Chain {
    length: u32,
    removals: u32,
}

/// Every entry heard of, and where to look for which.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    nodes: Vec<Arc<Node>>,
    places: Vec<Place>,
    chains: Vec<Chain>,
    /// Everything heard of.
    whole: Past,
    at_by_hash: BTreeMap<EntryHash, At>,
    pub admissions_by_member: BTreeMap<MemberId, Vec<At>>,
    pub entries_by_device: BTreeMap<DeviceId, Vec<At>>,
    pub devices_by_member: BTreeMap<MemberId, BTreeSet<DeviceId>>,
    /// Admissions to roles that govern.
    pub appointments: Vec<At>,
    pub removals: Vec<At>,
    pub proposals: Vec<At>,
    pub withdrawals: Vec<At>,
    /// What each member decided, by whichever device.
    pub decisions_by_member: BTreeMap<MemberId, Vec<At>>,
    /// The last entry of each device.
    pub last_by_device: BTreeMap<DeviceId, At>,
    /// Entries that begin epochs or hand out keys.
    pub key_updates: Vec<At>,
    pub policies: Vec<At>,
    pub acceptances: Vec<At>,
    /// Holds, ends of holds, and shreds.
    pub retentions: Vec<At>,
    pub handouts: Handouts,
    ledger: Ledger,
}

impl History {
    /// Adds an entry. `previous` is the entry before it in its log.
    pub fn push(&mut self, node: Node, previous: Option<At>) -> At {
        let at = self.nodes.len();
        let place = self.find_place(&node, previous);
        self.places.push(place);
        self.whole.insert(place.spot, place.removals);
        if let Some(member) = node.member {
            self.ledger.add(member, place.spot, node.bytes);
        }
        self.at_by_hash.insert(node.hash, at);
        self.last_by_device.insert(node.author, at);
        if node.acts() {
            if let Some((member, _)) = node.admits() {
                self.admissions_by_member.entry(member).or_default().push(at);
                if node.appoints {
                    self.appointments.push(at);
                }
            }
            if let (Some(member), Some(keys)) =
                (node.member, node.operation.as_ref().and_then(Operation::keys))
            {
                self.handouts.add(at, member, keys);
            }
            match &node.operation {
                Some(Operation::Policy(_)) => self.policies.push(at),
                Some(Operation::Accept(_)) => self.acceptances.push(at),
                Some(Operation::Withdraw(_)) => self.withdrawals.push(at),
                Some(Operation::Hold(_) | Operation::Shred(_) | Operation::EndHold(_)) => {
                    self.retentions.push(at);
                }
                Some(operation) if operation.keys().is_some_and(|keys| !keys.is_empty()) => {
                    self.key_updates.push(at);
                }
                Some(_) | None => {}
            }
            for entered in &node.enters {
                let entries = self.entries_by_device.entry(entered.device).or_default();
                if entries.last() != Some(&at) {
                    entries.push(at);
                }
                self.devices_by_member.entry(entered.member).or_default().insert(entered.device);
            }
        }
        if node.removes() {
            self.removals.push(at);
        }
        if node.power == Power::Proposes {
            self.proposals.push(at);
        }
        if let Some(member) = node.member.filter(|_| node.is_decision()) {
            self.decisions_by_member.entry(member).or_default().push(at);
        }
        self.nodes.push(Arc::new(node));
        at
    }

    /// The next place on the chain of the previous entry; on a new one, if another entry follows that already.
    fn find_place(&mut self, node: &Node, previous: Option<At>) -> Place {
        let removals = u32::from(node.removes() || node.appoints && node.acts());
        let before = previous.and_then(|at| self.places.get(at));
        let next = before.map(|before| Spot { index: before.spot.index.saturating_add(1), ..before.spot });
        if let Some(spot) = next
            && let Some(chain) = self.chains.get_mut(spot.chain as usize)
            && chain.length == spot.index
        {
            chain.length += 1;
            chain.removals += removals;
            return Place { spot, removals: chain.removals };
        }
        let chain = u32::try_from(self.chains.len()).unwrap_or(u32::MAX);
        self.chains.push(Chain { length: 1, removals });
        Place { spot: Spot { chain, index: 0 }, removals }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn at(&self, hash: EntryHash) -> Option<At> {
        self.at_by_hash.get(&hash).copied()
    }

    #[expect(clippy::indexing_slicing, reason = "a number names an entry that was pushed before")]
    pub fn node(&self, at: At) -> &Node {
        &self.nodes[at]
    }

    /// As [`History::node`], to be kept.
    pub fn shared(&self, at: At) -> Option<Arc<Node>> {
        self.nodes.get(at).cloned()
    }

    /// What a member wrote in a past after the admission that gives their role there, if they have one.
    pub fn written(&self, member: MemberId, past: &Past, admission: Option<At>) -> Room {
        let all = self.ledger.written(member, past);
        let before = admission.map(|at| self.ledger.written(member, &self.node(at).past));
        all.without(before.unwrap_or_default())
    }

    /// Whether a set holds an entry.
    pub fn is_in(&self, set: &Past, at: At) -> bool {
        self.places.get(at).is_some_and(|place| set.contains(place.spot))
    }

    /// Whether `after` was written in knowledge of `before`.
    pub fn knows(&self, after: At, before: At) -> bool {
        self.is_in(&self.node(after).past, before)
    }

    /// Whether neither was written in knowledge of the other.
    pub fn are_concurrent(&self, one: At, other: At) -> bool {
        one != other && !self.knows(one, other) && !self.knows(other, one)
    }

    /// These entries and all that they follow.
    pub fn closure(&self, heads: &BTreeSet<At>) -> Past {
        let mut past = Past::default();
        // A later one may follow an earlier one, and never the other way round.
        for head in heads.iter().rev().filter_map(|at| Some((*at, self.places.get(*at)?))) {
            let (at, place) = head;
            if !past.contains(place.spot) {
                past.union_with(&self.node(at).past);
                past.insert(place.spot, place.removals);
            }
        }
        past
    }

    /// Everything.
    pub fn all(&self) -> &Past {
        &self.whole
    }
}
