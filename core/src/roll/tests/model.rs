//! PROTOCOL.md §4.3 to §4.5 once more, as plainly as it can be said: sets of hashes, everything looked at each time.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{CompartmentId, DeviceId, EntryHash, EpochId, MemberId, RoleId, Template, limits};
use crate::entry::{Claims, Kind, LogId, Received};
use crate::roll::{EpochName, Grant, KeyUpdate, Operation, Target};

pub type Set = BTreeSet<EntryHash>;

/// Every entry there is. A party's roll is a subset that holds the past of each of its entries.
pub struct Model {
    pub template: Template,
    entries: BTreeMap<EntryHash, Entry>,
}

/// What an entry says, and what it may do, which its own past decides once.
pub struct Entry {
    hash: EntryHash,
    author: DeviceId,
    parents: Set,
    past: Set,
    depth: usize,
    kind: Kind,
    operation: Option<Operation>,
    certificates: Vec<Claims>,
    /// Whose device the author was, and as what.
    member: Option<MemberId>,
    role: Option<RoleId>,
    governs: bool,
    pub right: Right,
    enters: Vec<Claims>,
    /// What gave the author the role, and what entered their device: one of each is enough.
    roles: Set,
    devices: Set,
    /// The recoveries that gave the keys by which the device is entered; none if it is by an identity.
    keys: Set,
    /// Whom a removal or a recovery is about.
    about: Option<MemberId>,
    /// Of a majority: the target's appointments, what each elector asked, and how many electors it takes.
    levels: Set,
    asks: Vec<Set>,
    needed: usize,
    /// For whom its devices are entered.
    owner: Option<MemberId>,
    /// The keys that it hands out with effect.
    handed_out: BTreeSet<(DeviceId, EpochName)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    None,
    Proposes,
    Acts,
    /// Removes its author or a device of theirs.
    Own,
    /// Removes somebody whom its author outranks.
    Rank,
    /// Removes because most electors asked for it.
    Majority,
}

/// Whom a removal or a recovery is about, and what makes two the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    Remove(Target),
    Recover(MemberId, MemberId),
}

/// What stands over a set (§4.4).
#[derive(Default)]
pub struct Outcome {
    pub standing: Set,
    pub void: Set,
    /// The role, the admissions that give it, and whether it governs.
    pub members: BTreeMap<MemberId, (RoleId, Set, bool)>,
    /// Whose a device is, and what enters it.
    pub devices: BTreeMap<DeviceId, (MemberId, Set)>,
    pub settings: BTreeMap<u16, u64>,
    pub accepted: Set,
    /// The last day on which an entry is held.
    pub held: BTreeMap<EntryHash, u32>,
    pub shredded: Set,
    pub epochs: BTreeMap<CompartmentId, BTreeMap<EpochId, bool>>,
    pub heads: Set,
}

impl Model {
    pub fn new(founding: &Received, template: Template, certificates: Vec<Claims>) -> Self {
        let mut model = Self { template, entries: BTreeMap::new() };
        model.add(founding, certificates);
        model
    }

    /// Takes an entry whose parents are there.
    pub fn add(&mut self, entry: &Received, certificates: Vec<Claims>) {
        let header = entry.header();
        let parents: Set = header.roll_heads.iter().copied().chain(header.previous).collect();
        let past = self.past_of(&parents);
        let depth = parents.iter().map(|parent| self.entries[parent].depth + 1).max().unwrap_or(0);
        let operation = (header.kind == Kind::OPERATION)
            .then(|| crate::base::cbor::decode(entry.body().unwrap_or_default()).unwrap());
        let before = self.outcome(&past);
        let present = before.devices.get(&header.device).cloned();
        let held = present.as_ref().and_then(|(member, _)| before.members.get(member).cloned());
        let (role, roles, governs) = match held {
            Some((role, by, governs)) => (Some(role), by, governs),
            None => (None, Set::new(), false),
        };
        let mut new = Entry {
            hash: entry.hash(),
            author: header.device,
            parents,
            past,
            depth,
            kind: header.kind,
            operation,
            certificates,
            member: present.as_ref().map(|(member, _)| *member),
            role,
            governs,
            right: Right::None,
            enters: Vec::new(),
            roles,
            keys: self.keys_of(&before, header.device),
            devices: present.map(|(_, by)| by).unwrap_or_default(),
            about: None,
            levels: Set::new(),
            asks: Vec::new(),
            needed: 0,
            owner: None,
            handed_out: BTreeSet::new(),
        };
        self.decide(&mut new, &before);
        if let Some(owner) = new.owner
            && new.enters.iter().any(|claims| claims.device == new.author)
            && (new.member.is_none() || new.operation.is_none())
        {
            new.member = Some(owner);
            new.role = before.members.get(&owner).map(|(role, ..)| *role);
            new.governs = self.governs(&before, owner);
        }
        self.entries.insert(new.hash, new);
    }

    pub fn entry(&self, hash: EntryHash) -> &Entry {
        &self.entries[&hash]
    }

    /// The place of the first of these in the order.
    pub fn first(&self, set: &Set) -> (u64, EntryHash) {
        let first = self.in_order(set)[0];
        (first.depth as u64, first.hash)
    }

    /// These entries and all their ancestors.
    pub fn past_of(&self, heads: &Set) -> Set {
        heads.iter().flat_map(|head| self.entries[head].past.iter().copied().chain([*head])).collect()
    }

    fn knows(&self, one: EntryHash, other: EntryHash) -> bool {
        self.entries[&one].past.contains(&other)
    }

    fn in_order(&self, set: &Set) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = set.iter().map(|hash| &self.entries[hash]).collect();
        entries.sort_by_key(|entry| (entry.depth, entry.hash));
        entries
    }

    // ---- §4.3: the right to do something

    fn decide(&self, entry: &mut Entry, before: &Outcome) {
        let governs = entry.governs;
        let key = entry.certificates.first().map(|claims| claims.member);
        // Whose key the first certificate is signed with, in the past.
        let owner = key.and_then(|key| self.owner(before, key));
        let devices_of = |member| before.devices.values().filter(|(whose, _)| *whose == member).count();
        let has_room = |member| devices_of(member) < limits::DEVICES_MAX;
        // Entered once, and not present: somebody took it out.
        let was_entered = self.in_order(&entry.past).into_iter().any(|earlier| {
            !before.void.contains(&earlier.hash)
                && earlier.entered().any(|(device, member)| {
                    device == entry.author && self.is_by_live_key(before, earlier, device, member)
                })
        });
        let is_out = was_entered && !before.devices.contains_key(&entry.author);
        let acts = match (&entry.operation, entry.kind) {
            (Some(Operation::Found(_)), _) => {
                entry.owner = key;
                entry.enters = entry.certificates.clone();
                true
            }
            (None, Kind::CERTIFICATE) => {
                entry.owner = owner;
                entry.roles.clear();
                entry.devices.clear();
                entry.keys = self.recoveries_to(before, owner, key);
                entry.enters = entry.certificates.clone();
                let has_role = |owner| before.members.contains_key(&owner);
                owner.is_some_and(|owner| has_role(owner) && has_room(owner)) && !is_out
            }
            (Some(Operation::Admit(admission)), _) => {
                let owned = |key| self.owner(before, key) == Some(admission.member);
                entry.owner = Some(admission.member);
                entry.enters =
                    entry.certificates.iter().copied().filter(|claims| owned(claims.member)).collect();
                governs
                    && self.template.role(admission.role).is_some()
                    && !self.governs(before, admission.member)
            }
            (Some(Operation::Certify(certification)), _) => {
                let claims = entry.certificates[0];
                entry.owner = owner;
                entry.enters = vec![claims];
                let by = before.devices.get(&entry.author).filter(|(member, _)| Some(*member) == owner);
                let role = owner.and_then(|owner| before.members.get(&owner));
                entry.devices = by.map(|(_, by)| by.clone()).unwrap_or_default();
                entry.roles = role.map(|(_, by, _)| by.clone()).unwrap_or_default();
                entry.keys = self.recoveries_to(before, owner, key);
                owner.is_some_and(|owner| before.members.contains_key(&owner) && has_room(owner))
                    && certification.keys.grants.iter().all(|grant| grant.device == claims.device)
                    && (entry.member == owner || entry.author == claims.device && !is_out)
            }
            (Some(Operation::Remove(_) | Operation::Recover(_)), _) => {
                self.right_to_remove(entry, before);
                if let Some(Operation::Recover(recovery)) = &entry.operation {
                    entry.owner = Some(recovery.member);
                    entry.enters = entry.certificates.clone();
                }
                entry.removes()
            }
            (Some(Operation::Shred(shred)), _) => {
                let is_own = |device| {
                    self.in_order(&entry.past).into_iter().any(|earlier| {
                        earlier.acts()
                            && !before.void.contains(&earlier.hash)
                            && earlier.entered().any(|entered| {
                                Some(entered) == entry.member.map(|m| (device, m))
                                    && self.is_by_live_key(before, earlier, device, entered.1)
                            })
                    })
                };
                governs || entry.role.is_some() && shred.entries.iter().all(|named| is_own(named.log.device))
            }
            (Some(Operation::KeyUpdate(keys)), _) => {
                let may_read = |device: &DeviceId, compartment| {
                    let member = before.devices.get(device).map(|(member, _)| *member);
                    let role = member.and_then(|member| before.members.get(&member)).map(|(role, ..)| *role);
                    role.is_some_and(|role| {
                        self.template.governs(role) && self.template.may_read(role, compartment)
                    })
                };
                let handed_up = |grant: &Grant| {
                    let bits = keys.epochs.iter().enumerate().filter(|(bit, _)| grant.mask >> bit & 1 == 1);
                    bits.into_iter().all(|(_, name)| may_read(&grant.device, name.compartment))
                };
                let is_handed_up = keys.rotations.is_empty() && !keys.grants.is_empty();
                governs || entry.role.is_some() && is_handed_up && keys.grants.iter().all(handed_up)
            }
            (
                Some(
                    Operation::Policy(_)
                    | Operation::Accept(_)
                    | Operation::Hold(_)
                    | Operation::EndHold(_)
                    | Operation::Withdraw(_)
                    | Operation::Unknown { .. },
                )
                | None,
                _,
            ) => governs,
        };
        let founding = matches!(entry.operation, Some(Operation::Found(_)));
        let rotates = entry.keys().is_some_and(|keys| !keys.rotations.is_empty());
        let in_reach = |keys: &KeyUpdate| keys.rotations.iter().all(|row| row.number as usize <= entry.depth);
        let may_rotate = founding || !rotates || governs && entry.keys().is_some_and(in_reach);
        let is_removal = entry.wish().is_some();
        let grants_unasked =
            !governs && is_removal && entry.keys().is_some_and(|keys| !keys.grants.is_empty());
        let handed_out = self.with_effect(entry);
        let is_update = matches!(entry.operation, Some(Operation::KeyUpdate(_)));
        if !may_rotate || grants_unasked || is_update && !governs && handed_out.is_empty() {
            entry.right = Right::None;
        } else if acts && !entry.removes() {
            entry.right = Right::Acts;
        }
        if !entry.acts() {
            entry.enters.clear();
        } else {
            entry.handed_out = handed_out;
        }
    }

    /// The keys of the grants that name epochs which are there, and add something.
    fn with_effect(&self, entry: &Entry) -> BTreeSet<(DeviceId, EpochName)> {
        let acting: Vec<&Entry> =
            self.in_order(&entry.past).into_iter().filter(|earlier| earlier.acts()).collect();
        let member = entry.member.or_else(|| {
            let enters_itself = entry.enters.iter().any(|claims| claims.device == entry.author);
            entry.owner.filter(|_| enters_itself)
        });
        let is_there = |name: &EpochName| {
            let begins = |entry: &Entry| {
                entry.keys().is_some_and(|keys| {
                    let mut rows = keys.rotations.iter();
                    rows.any(|row| row.compartment == name.compartment && row.epoch() == name.epoch)
                })
            };
            self.template.compartment(name.compartment).is_some()
                && (begins(entry) || acting.iter().any(|earlier| begins(earlier)))
        };
        let by_member = acting.iter().filter(|earlier| earlier.member == member);
        let mut given: BTreeSet<(DeviceId, EpochName)> =
            by_member.flat_map(|earlier| earlier.handed_out.iter().copied()).collect();
        let mut handed_out = BTreeSet::new();
        for grant in entry.keys().map_or(&[][..], |keys| &keys.grants) {
            let named = entry.keys().map(|keys| keys.granted(grant)).unwrap_or_default();
            let named: BTreeSet<(DeviceId, EpochName)> =
                named.into_iter().map(|name| (grant.device, name)).collect();
            if named.iter().all(|(_, name)| is_there(name)) && !named.is_subset(&given) {
                given.extend(&named);
                handed_out.extend(named);
            }
        }
        handed_out
    }

    /// Who was handed which key by somebody.
    pub fn holders(&self, set: &Set) -> BTreeSet<(DeviceId, EpochName)> {
        let acting = set.iter().map(|hash| &self.entries[hash]).filter(|entry| entry.acts());
        acting.flat_map(|entry| entry.handed_out.iter().copied()).collect()
    }

    /// Rules 1 to 6.
    fn right_to_remove(&self, entry: &mut Entry, before: &Outcome) {
        let (Some(author), Some(_), Some(wish)) = (entry.member, entry.role, entry.wish()) else { return };
        let about = match wish {
            Wish::Remove(Target::Member(member)) | Wish::Recover(member, _) => Some(member),
            Wish::Remove(Target::Device(device)) => before.devices.get(&device).map(|(member, _)| *member),
        };
        let Some(about) = about else { return };
        if let Wish::Recover(_, key) = wish
            && (author == about || key == about || !self.is_new(before, key))
        {
            return;
        }
        entry.about = Some(about);
        if author == about {
            entry.right = Right::Own;
            return;
        }
        if !entry.governs || !before.members.contains_key(&about) {
            return;
        }
        let theirs = self.appointments(before, about);
        let over: Set = entry.roles.iter().copied().filter(|by| self.outranks(*by, &theirs)).collect();
        if !over.is_empty() {
            entry.roles = over;
            entry.right = Right::Rank;
            return;
        }
        entry.right = Right::Proposes;
        if self.has_vote(before, author, about) {
            let (mut asks, needed) = self.tally(before, &entry.past, wish, about, Some(author));
            if asks.len() >= needed {
                asks.remove(&author);
                entry.right = Right::Majority;
                entry.levels = theirs;
                entry.asks = asks.into_values().collect();
                entry.needed = needed;
            }
        }
    }

    /// The admissions by which a member governs.
    fn appointments(&self, outcome: &Outcome, member: MemberId) -> Set {
        let held = outcome.members.get(&member).filter(|(_, _, governs)| *governs);
        held.map(|(_, by, _)| by.clone()).unwrap_or_default()
    }

    /// Whether each of somebody's appointments was written in knowledge of this one.
    fn outranks(&self, one: EntryHash, others: &Set) -> bool {
        others.iter().all(|other| self.knows(*other, one))
    }

    /// Whether an entry was written by the target, or by somebody who outranks the target.
    fn is_by_elder(&self, outcome: &Outcome, entry: EntryHash, about: MemberId) -> bool {
        let theirs = self.appointments(outcome, about);
        let entry = &self.entries[&entry];
        let mut by = entry.roles.iter().filter(|by| !outcome.void.contains(*by));
        entry.member == Some(about) || by.any(|by| self.outranks(*by, &theirs))
    }

    fn makes_elector(&self, outcome: &Outcome, admission: EntryHash, about: MemberId) -> bool {
        matches!(self.entries[&admission].operation, Some(Operation::Found(_)))
            || self.is_by_elder(outcome, admission, about)
    }

    fn is_elector(&self, outcome: &Outcome, member: MemberId, about: MemberId) -> bool {
        let mut by = self.appointments(outcome, member).into_iter();
        member == about || by.any(|by| self.makes_elector(outcome, by, about))
    }

    fn has_vote(&self, outcome: &Outcome, member: MemberId, about: MemberId) -> bool {
        let recoveries = outcome.standing.iter().filter(|hash| {
            matches!(self.entries[hash].wish(), Some(Wish::Recover(recovered, _)) if recovered == member)
        });
        member != about
            && self.is_elector(outcome, member, about)
            && recoveries.into_iter().all(|recovery| self.is_by_elder(outcome, *recovery, about))
    }

    /// Who asks for something and has a vote on it, by what; and how many it takes.
    pub fn tally(
        &self,
        outcome: &Outcome,
        set: &Set,
        wish: Wish,
        about: MemberId,
        asking: Option<MemberId>,
    ) -> (BTreeMap<MemberId, Set>, usize) {
        let mut asks: BTreeMap<MemberId, Set> =
            asking.into_iter().map(|member| (member, Set::new())).collect();
        for entry in self.in_order(set) {
            if let Some(member) = entry.member
                && entry.right != Right::None
                && entry.wish() == Some(wish)
                && self.has_vote(outcome, member, about)
                && self.is_asked(outcome, set, entry, member, about)
            {
                asks.entry(member).or_default().insert(entry.hash);
            }
        }
        let everybody: BTreeSet<MemberId> = self
            .in_order(set)
            .into_iter()
            .filter_map(|entry| entry.admits())
            .map(|(member, _)| member)
            .collect();
        let counts = |member: &MemberId| {
            self.is_elector(outcome, *member, about)
                || self.in_order(set).into_iter().any(|entry| {
                    entry.acts()
                        && !outcome.void.contains(&entry.hash)
                        && entry
                            .admits()
                            .is_some_and(|(who, role)| who == *member && self.template.governs(role))
                        && self.makes_elector(outcome, entry.hash, about)
                }) && self.removals_of(outcome, *member).any(|removal| {
                    let asking: BTreeSet<MemberId> = asks.keys().copied().collect();
                    self.comes_from(removal, &asking)
                })
        };
        let number = everybody.iter().filter(|member| counts(member)).count();
        (asks, number / 2 + 1)
    }

    /// Whether an entry was written by one of these, or the right to it comes from one of them.
    fn comes_from(&self, entry: &Entry, members: &BTreeSet<MemberId>) -> bool {
        entry.member.is_some_and(|member| members.contains(&member))
            || entry.roles.iter().chain(&entry.devices).any(|by| self.comes_from(&self.entries[by], members))
    }

    fn is_asked(&self, outcome: &Outcome, set: &Set, ask: &Entry, member: MemberId, about: MemberId) -> bool {
        let since = |hash: &&EntryHash| {
            let removal = &self.entries[*hash];
            let of_device = match (removal.wish(), ask.wish()) {
                (Some(Wish::Remove(Target::Device(one))), Some(Wish::Remove(Target::Device(other)))) => {
                    one == other
                }
                _ => false,
            };
            let of_member = match removal.wish() {
                Some(Wish::Remove(Target::Member(of)) | Wish::Recover(of, _)) => of == member || of == about,
                _ => false,
            };
            (of_device || of_member) && !self.knows(ask.hash, **hash)
        };
        let later = self.in_order(set).into_iter().filter(|entry| self.knows(entry.hash, ask.hash));
        let later: Vec<&Entry> =
            later.filter(|entry| entry.member == Some(member) && entry.right != Right::None).collect();
        let decided = later
            .iter()
            .filter(|entry| {
                entry.operation.is_some() && !matches!(entry.operation, Some(Operation::KeyUpdate(_)))
            })
            .count();
        let mut withdrawn = self.in_order(set).into_iter().filter(|entry| match &entry.operation {
            Some(Operation::Withdraw(withdrawal)) => {
                entry.acts()
                    && entry.member == Some(member)
                    && withdrawal.proposals.contains(&ask.hash)
                    && !outcome.void.contains(&entry.hash)
            }
            _ => false,
        });
        !outcome.void.contains(&ask.hash)
            && outcome.standing.iter().find(since).is_none()
            && withdrawn.next().is_none()
            && decided < limits::PROPOSAL_DECISIONS_MAX
    }

    /// Whether some device that is present was certified with this key.
    pub fn is_entered_by(&self, outcome: &Outcome, key: MemberId) -> bool {
        outcome.devices.iter().any(|(device, (_, by))| {
            let first = self.in_order(by)[0];
            let mut enters = first.enters.iter();
            enters.find(|claims| claims.device == *device).is_some_and(|claims| claims.member == key)
        })
    }

    pub fn governs(&self, outcome: &Outcome, member: MemberId) -> bool {
        outcome.members.get(&member).is_some_and(|(_, _, governs)| *governs)
    }

    /// A key that is neither the identity of somebody with a role, nor anybody's by a recovery, nor was.
    fn is_new(&self, before: &Outcome, key: MemberId) -> bool {
        self.owner(before, key) == Some(key) && !before.members.contains_key(&key)
    }

    /// The standing recoveries: whose, and to which key.
    fn recoveries(&self, outcome: &Outcome) -> Vec<(&Entry, MemberId, MemberId)> {
        let standing = self.in_order(&outcome.standing).into_iter();
        let recoveries = standing.filter_map(|entry| match entry.wish() {
            Some(Wish::Recover(member, key)) => Some((entry, member, key)),
            Some(Wish::Remove(_)) | None => None,
        });
        recoveries.collect()
    }

    /// The standing recoveries that gave a member this key.
    fn recoveries_to(&self, outcome: &Outcome, member: Option<MemberId>, key: Option<MemberId>) -> Set {
        let recoveries = self.recoveries(outcome).into_iter();
        let to = recoveries.filter(|(_, of, to)| Some(*of) == member && Some(*to) == key && member != key);
        to.map(|(recovery, _, _)| recovery.hash).collect()
    }

    /// Whether the key by which an entry enters a device is the member's identity, or a recovery that stands gave it.
    fn is_by_live_key(&self, outcome: &Outcome, by: &Entry, device: DeviceId, member: MemberId) -> bool {
        let key = by.enters.iter().find(|claims| claims.device == device).map(|claims| claims.member);
        key == Some(member) || !self.recoveries_to(outcome, Some(member), key).is_empty()
    }

    fn keys_of(&self, outcome: &Outcome, device: DeviceId) -> Set {
        let Some((member, by)) = outcome.devices.get(&device) else { return Set::new() };
        let entered = by.iter().flat_map(|by| &self.entries[by].enters);
        let keys: BTreeSet<MemberId> =
            entered.filter(|claims| claims.device == device).map(|claims| claims.member).collect();
        if keys.contains(member) {
            return Set::new();
        }
        keys.into_iter().flat_map(|key| self.recoveries_to(outcome, Some(*member), Some(key))).collect()
    }

    /// Whose key this is.
    pub fn owner(&self, outcome: &Outcome, key: MemberId) -> Option<MemberId> {
        let recoveries = self.recoveries(outcome);
        let is_last = |recovery: &Entry, of: MemberId| {
            recoveries
                .iter()
                .all(|(other, member, _)| *member != of || !self.knows(other.hash, recovery.hash))
        };
        let mut newest: BTreeMap<MemberId, BTreeSet<MemberId>> = BTreeMap::new();
        for (recovery, member, key) in &recoveries {
            if is_last(recovery, *member) {
                newest.entry(*member).or_default().insert(*key);
            }
        }
        if let Some((member, _)) = newest.iter().find(|(_, keys)| **keys == BTreeSet::from([key])) {
            return Some(*member);
        }
        let replaced = recoveries.iter().any(|(_, member, new)| *member == key || *new == key);
        (!replaced).then_some(key)
    }

    // ---- §4.4: what stands

    pub fn outcome(&self, set: &Set) -> Outcome {
        let entries = self.in_order(set);
        let mut outcome = Outcome::default();
        outcome.standing = self.weigh(&entries);
        let fallen: Set = entries.iter().filter(|entry| entry.removes()).map(|entry| entry.hash).collect();
        let fallen = fallen.difference(&outcome.standing).copied().collect();
        outcome.void = self.void(&entries, &outcome.standing, &fallen);
        let counts = |entry: &&Entry| entry.acts() && !outcome.void.contains(&entry.hash);
        let counting: Vec<&Entry> = entries.iter().copied().filter(counts).collect();

        let admitted: BTreeSet<MemberId> =
            counting.iter().filter_map(|entry| entry.admits()).map(|(member, _)| member).collect();
        for member in admitted {
            let by = counting.iter().copied().filter(|entry| {
                entry.admits().is_some_and(|(admitted, _)| admitted == member)
                    && self.removals_of(&outcome, member).all(|removal| self.knows(entry.hash, removal.hash))
            });
            let by: Vec<&Entry> = by.collect();
            if let Some((role, by, governs)) = self.deciding(&by) {
                outcome.members.insert(member, (role, by, governs));
            }
        }
        let entered: BTreeSet<DeviceId> =
            counting.iter().flat_map(|entry| entry.entered()).map(|(device, _)| device).collect();
        for device in entered {
            let mut by: BTreeMap<MemberId, Set> = BTreeMap::new();
            for (entry, (_, member)) in counting
                .iter()
                .flat_map(|entry| entry.entered().map(move |entered| (entry, entered)))
                .filter(|(_, (entered, _))| *entered == device)
            {
                let is_of_member = self.is_by_live_key(&outcome, entry, device, member);
                let present = is_of_member
                    && self
                        .taking_out(&outcome, device, member)
                        .all(|removal| entry.hash == removal.hash || self.knows(entry.hash, removal.hash));
                if present {
                    by.entry(member).or_default().insert(entry.hash);
                }
            }
            // Nobody's, if two claim it and neither was before the other.
            let knows_one = |after: &EntryHash, of: &Set| of.iter().any(|one| self.knows(*after, *one));
            let owner = by.iter().find(|(member, own)| {
                by.iter()
                    .all(|(other, theirs)| other == *member || theirs.iter().all(|hash| knows_one(hash, own)))
            });
            if let Some((member, own)) = owner {
                outcome.devices.insert(device, (*member, own.clone()));
            }
        }
        for entry in &counting {
            match &entry.operation {
                Some(Operation::Policy(policy)) => outcome.settings.extend(&policy.settings),
                Some(Operation::Accept(acceptance)) => outcome.accepted.extend(&acceptance.entries),
                Some(Operation::Hold(hold)) => {
                    let is_ended = counting.iter().any(|other| match &other.operation {
                        Some(Operation::EndHold(end)) => end.holds.contains(&entry.hash),
                        _ => false,
                    });
                    for held in hold.entries.iter().filter(|_| !is_ended) {
                        let until = outcome.held.entry(*held).or_default();
                        *until = (*until).max(hold.until_day.unwrap_or(u32::MAX));
                    }
                }
                Some(Operation::Shred(shred)) => {
                    outcome.shredded.extend(shred.entries.iter().map(|named| named.head.hash));
                }
                _ => {}
            }
        }
        for entry in entries.iter().filter(|entry| entry.acts()) {
            let stands = !outcome.void.contains(&entry.hash);
            let rotations = entry.keys().map_or(&[][..], |keys| &keys.rotations);
            for row in rotations.iter().filter(|row| self.template.compartment(row.compartment).is_some()) {
                let epochs = outcome.epochs.entry(row.compartment).or_default();
                *epochs.entry(row.epoch()).or_default() |= stands;
            }
        }
        let citable: Vec<&Entry> = entries.iter().copied().filter(|entry| self.may_be_cited(entry)).collect();
        let cited: Set = citable.iter().flat_map(|entry| entry.parents.iter().copied()).collect();
        outcome.heads = citable.iter().map(|entry| entry.hash).filter(|hash| !cited.contains(hash)).collect();
        while outcome.heads.len() > limits::ROLL_HEADS_MAX {
            outcome.heads.pop_first();
        }
        outcome
    }

    /// The role of a member by these admissions of theirs, and which of them give it.
    fn deciding(&self, admissions: &[&Entry]) -> Option<(RoleId, Set, bool)> {
        let role = |entry: &Entry| entry.admits().unwrap().1;
        let appoints: Vec<&Entry> =
            admissions.iter().copied().filter(|entry| self.template.governs(role(entry))).collect();
        let governs = !appoints.is_empty();
        let by = if governs { appoints } else { admissions.to_vec() };
        // The first of appointments, the last of others.
        let comes_before = |one: &Entry, other: &Entry| {
            if governs { self.knows(other.hash, one.hash) } else { self.knows(one.hash, other.hash) }
        };
        let first: Vec<&Entry> =
            by.iter().copied().filter(|one| !by.iter().any(|other| comes_before(other, one))).collect();
        let is_senior =
            |one: &Entry, other: &Entry| one.roles.iter().any(|role| self.outranks(*role, &other.roles));
        let left = first.iter().filter(|one| !first.iter().any(|other| is_senior(other, one)));
        let role = left.map(|entry| role(entry)).min()?;
        Some((role, by.iter().map(|entry| entry.hash).collect(), governs))
    }

    /// The removals that stand: at the place of each appointment that is not void, in three turns.
    fn weigh(&self, entries: &[&Entry]) -> Set {
        let (mut standing, mut fallen) = (Set::new(), Set::new());
        let mut left: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.removes()).collect();
        let appointments = entries.iter().filter(|entry| {
            entry.acts() && entry.admits().is_some_and(|(_, role)| self.template.governs(role))
        });
        for level in appointments {
            if self.void(entries, &standing, &fallen).contains(&level.hash) {
                continue;
            }
            for turn in 0..3 {
                let is_due = |removal: &&Entry| {
                    let is_device = matches!(removal.wish(), Some(Wish::Remove(Target::Device(_))));
                    let at = removal.levels().contains(&level.hash);
                    at && turn
                        == match removal.right {
                            Right::Own if is_device => 0,
                            Right::Majority => 1,
                            _ => 2,
                        }
                };
                let (due, others) = left.into_iter().partition(is_due);
                left = others;
                self.settle(entries, &mut standing, &mut fallen, due);
            }
        }
        self.settle(entries, &mut standing, &mut fallen, left);
        standing
    }

    fn settle(&self, entries: &[&Entry], standing: &mut Set, fallen: &mut Set, mut turn: Vec<&Entry>) {
        let all: Set = turn.iter().map(|removal| removal.hash).collect();
        let void = self.void(entries, standing, fallen);
        turn.retain(|removal| !void.contains(&removal.hash));
        turn.retain(|removal| removal.right != Right::Rank || self.reaches(entries, &void, removal));
        turn.retain(|removal| !self.comes_too_late(standing, removal));
        let left: Set = turn.iter().map(|removal| removal.hash).collect();
        let before: Set = fallen.union(&all.difference(&left).copied().collect()).copied().collect();
        let voids = |by: &Entry, removal: &Entry| {
            let with: Set = standing.iter().copied().chain([by.hash]).collect();
            by.hash != removal.hash && self.void(entries, &with, &before).contains(&removal.hash)
        };
        let strikes = |by: &Entry, removal: &Entry| voids(by, removal) && !voids(removal, by);
        let (mut stand, mut fall) = (Set::new(), Set::new());
        let mut open = turn.clone();
        while !open.is_empty() {
            let mut undecided = Vec::new();
            for removal in &open {
                let mut by = turn.iter().filter(|by| strikes(by, removal));
                if by.clone().any(|by| stand.contains(&by.hash)) {
                    fall.insert(removal.hash);
                } else if by.all(|by| fall.contains(&by.hash)) {
                    stand.insert(removal.hash);
                } else {
                    undecided.push(*removal);
                }
            }
            if undecided.len() == open.len() {
                stand.extend(undecided.drain(..).map(|removal| removal.hash));
            }
            open = undecided;
        }
        standing.extend(stand);
        fallen.extend(all.difference(standing));
    }

    /// Whether the author outranks the target by each appointment that is not void and concurrent with the removal.
    fn reaches(&self, entries: &[&Entry], void: &Set, removal: &Entry) -> bool {
        let concurrent = entries.iter().filter(|entry| {
            entry.acts()
                && entry.admits().is_some_and(|(member, role)| {
                    Some(member) == removal.about && self.template.governs(role)
                })
                && !void.contains(&entry.hash)
                && self.are_concurrent(entry.hash, removal.hash)
        });
        let by: Set = removal.roles.iter().copied().filter(|role| !void.contains(role)).collect();
        concurrent.into_iter().all(|entry| by.iter().any(|role| self.knows(entry.hash, *role)))
    }

    /// Whether somebody senior recovered the same member at the same time.
    fn comes_too_late(&self, standing: &Set, removal: &Entry) -> bool {
        let Some(Wish::Recover(member, _)) = removal.wish() else { return false };
        standing.iter().map(|hash| &self.entries[hash]).any(|other| {
            matches!(other.wish(), Some(Wish::Recover(of, _)) if of == member)
                && self.are_concurrent(other.hash, removal.hash)
                && other.levels().iter().any(|level| self.outranks(*level, removal.levels()))
        })
    }

    fn are_concurrent(&self, one: EntryHash, other: EntryHash) -> bool {
        one != other && !self.knows(one, other) && !self.knows(other, one)
    }

    fn void(&self, entries: &[&Entry], standing: &Set, fallen: &Set) -> Set {
        let mut void = Set::new();
        for entry in entries.iter().filter(|entry| !standing.contains(&entry.hash)) {
            let cut_off = standing.iter().any(|removal| {
                self.entries[removal].takes_out(entry.author, entry.member)
                    && self.are_concurrent(*removal, entry.hash)
            });
            let is_lost = |grounds: &Set| !grounds.is_empty() && grounds.iter().all(|by| void.contains(by));
            let left = 1 + entry.asks.iter().filter(|asked| !is_lost(asked)).count();
            let outvoted = entry.right == Right::Majority && left < entry.needed;
            let lists = [&entry.roles, &entry.devices, &entry.keys];
            if fallen.contains(&entry.hash) || cut_off || lists.into_iter().any(is_lost) || outvoted {
                void.insert(entry.hash);
            }
        }
        void
    }

    fn may_be_cited(&self, entry: &Entry) -> bool {
        entry.right != Right::None
    }

    /// The standing removals of the member.
    fn removals_of<'a>(&'a self, outcome: &'a Outcome, member: MemberId) -> impl Iterator<Item = &'a Entry> {
        let standing = outcome.standing.iter().map(|hash| &self.entries[hash]);
        standing.filter(move |removal| removal.wish() == Some(Wish::Remove(Target::Member(member))))
    }

    fn taking_out<'a>(
        &'a self,
        outcome: &'a Outcome,
        device: DeviceId,
        member: MemberId,
    ) -> impl Iterator<Item = &'a Entry> {
        let standing = outcome.standing.iter().map(|hash| &self.entries[hash]);
        standing.filter(move |removal| removal.takes_out(device, Some(member)))
    }

    // ---- §4.5: what still counts

    /// Whether an entry of kind 3 counts in a party's set.
    pub fn counts(&self, set: &Set, entry: &Received) -> bool {
        let outcome = self.outcome(set);
        if outcome.accepted.contains(&entry.hash()) {
            return true;
        }
        let past = self.past_of(&entry.header().roll_heads.iter().copied().collect());
        let past = self.in_order(&past).into_iter();
        let past: Vec<&Entry> =
            past.filter(|entry| entry.acts() && !outcome.void.contains(&entry.hash)).collect();
        let device = entry.header().device;
        let is_let = |by: &Entry, removal: &Entry| {
            by.hash == removal.hash || self.knows(by.hash, removal.hash) || self.covers(removal, entry)
        };
        past.iter().any(|entering| {
            let owners =
                entering.entered().filter(|(entered, _)| *entered == device).map(|(_, member)| member);
            owners.into_iter().any(|member| {
                self.is_by_live_key(&outcome, entering, device, member)
                    && self.taking_out(&outcome, device, member).all(|removal| is_let(entering, removal))
                    && past.iter().any(|admission| {
                        admission.admits().is_some_and(|(admitted, _)| admitted == member)
                            && self.removals_of(&outcome, member).all(|removal| is_let(admission, removal))
                    })
            })
        })
    }

    fn covers(&self, removal: &Entry, entry: &Received) -> bool {
        let marks = match &removal.operation {
            Some(Operation::Remove(removal)) => &removal.marks[..],
            Some(Operation::Recover(recovery)) => &recovery.marks[..],
            _ => &[],
        };
        let header = entry.header();
        match marks.iter().find(|mark| mark.log == LogId::of(entry)) {
            Some(mark) => {
                header.seq < mark.head.seq || header.seq == mark.head.seq && entry.hash() == mark.head.hash
            }
            None => !removal.role.is_some_and(|role| self.template.may_read(role, header.compartment)),
        }
    }
}

impl Entry {
    fn acts(&self) -> bool {
        !matches!(self.right, Right::None | Right::Proposes)
    }

    /// At the place of which appointments a removal is weighed.
    fn levels(&self) -> &Set {
        static NONE: Set = Set::new();
        match self.right {
            Right::Majority => &self.levels,
            Right::Own | Right::Rank if self.governs => &self.roles,
            _ => &NONE,
        }
    }

    /// Whether it takes somebody out, by its own past.
    fn removes(&self) -> bool {
        self.acts() && self.wish().is_some()
    }

    /// Whether its author asks for the removal of themselves.
    pub fn is_about_its_author(&self) -> bool {
        self.removes() && self.takes_out(self.author, self.member)
    }

    pub fn wish(&self) -> Option<Wish> {
        match &self.operation {
            Some(Operation::Remove(removal)) => Some(Wish::Remove(removal.target)),
            Some(Operation::Recover(recovery)) => {
                Some(Wish::Recover(recovery.member, self.certificates[0].member))
            }
            _ => None,
        }
    }

    fn takes_out(&self, device: DeviceId, member: Option<MemberId>) -> bool {
        match self.wish() {
            Some(Wish::Remove(Target::Device(target))) => target == device,
            Some(Wish::Remove(Target::Member(target)) | Wish::Recover(target, _)) => Some(target) == member,
            None => false,
        }
    }

    fn admits(&self) -> Option<(MemberId, RoleId)> {
        match &self.operation {
            Some(Operation::Found(founding)) => Some((self.certificates[0].member, founding.role)),
            Some(Operation::Admit(admission)) => Some((admission.member, admission.role)),
            _ => None,
        }
    }

    fn entered(&self) -> impl Iterator<Item = (DeviceId, MemberId)> {
        self.enters.iter().filter_map(|claims| Some((claims.device, self.owner?)))
    }

    fn keys(&self) -> Option<&KeyUpdate> {
        self.operation.as_ref().and_then(Operation::keys)
    }
}
