//! PROTOCOL.md §4.3 to §4.5 once more, as plainly as it can be said: sets of hashes, everything looked at each time.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{CompartmentId, DeviceId, EntryHash, EpochId, MemberId, RoleId, Template, limits};
use crate::entry::{Claims, Kind, LogId, Received};
use crate::roll::{EpochName, Grant, KeyUpdate, Operation, Target};

pub type Set = BTreeSet<EntryHash>;

/// Causes before effects, alike for everybody (§4.3).
type Order = (usize, EntryHash);

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
    rank: Option<Order>,
    pub right: Right,
    enters: Vec<Claims>,
    rests_on: Set,
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
    /// Acts because most of those who govern asked for it.
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
    pub members: BTreeMap<MemberId, (RoleId, EntryHash)>,
    /// Whose a device is, and what entered it.
    pub devices: BTreeMap<DeviceId, (MemberId, EntryHash)>,
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
        let present = before.devices.get(&header.device).copied();
        let held = present.and_then(|(member, _)| before.members.get(&member).copied());
        let mut new = Entry {
            hash: entry.hash(),
            author: header.device,
            parents,
            past,
            depth,
            kind: header.kind,
            operation,
            certificates,
            member: present.map(|(member, _)| member),
            role: held.map(|(role, _)| role),
            rank: held.map(|(_, by)| self.order(by)),
            right: Right::None,
            enters: Vec::new(),
            rests_on: present.map(|(_, by)| by).into_iter().chain(held.map(|(_, by)| by)).collect(),
            owner: None,
            handed_out: BTreeSet::new(),
        };
        self.decide(&mut new, &before);
        if let Some(owner) = new.owner
            && new.enters.iter().any(|claims| claims.device == new.author)
            && (new.member.is_none() || new.operation.is_none())
        {
            new.member = Some(owner);
            new.role = before.members.get(&owner).map(|(role, _)| *role);
        }
        self.entries.insert(new.hash, new);
    }

    pub fn entry(&self, hash: EntryHash) -> &Entry {
        &self.entries[&hash]
    }

    pub fn depth(&self, hash: EntryHash) -> u64 {
        self.entries[&hash].depth as u64
    }

    /// These entries and all their ancestors.
    pub fn past_of(&self, heads: &Set) -> Set {
        heads.iter().flat_map(|head| self.entries[head].past.iter().copied().chain([*head])).collect()
    }

    fn order(&self, hash: EntryHash) -> Order {
        (self.entries[&hash].depth, hash)
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
        let governs = entry.role.is_some_and(|role| self.template.governs(role));
        let key = entry.certificates.first().map(|claims| claims.member);
        // Whose key the first certificate is signed with, in the past.
        let owner = key.and_then(|key| self.owner(before, key));
        let devices_of = |member| before.devices.values().filter(|(whose, _)| *whose == member).count();
        let has_room = |member| devices_of(member) < limits::DEVICES_MAX;
        // Entered once, and not present: somebody took it out.
        let was_entered = self.in_order(&entry.past).into_iter().any(|earlier| {
            !before.void.contains(&earlier.hash)
                && earlier.entered().any(|(device, _)| device == entry.author)
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
                entry.rests_on.clear();
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
                entry.rests_on = by.map(|(_, by)| *by).into_iter().chain(role.map(|(_, by)| *by)).collect();
                owner.is_some_and(|owner| before.members.contains_key(&owner) && has_room(owner))
                    && certification.keys.grants.iter().all(|grant| grant.device == claims.device)
                    && (entry.member == owner || entry.author == claims.device && !is_out)
            }
            (Some(Operation::Remove(_) | Operation::Recover(_)), _) => {
                entry.right = self.right_to_remove(entry, before, governs);
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
                            && earlier
                                .entered()
                                .any(|entered| Some(entered) == entry.member.map(|m| (device, m)))
                    })
                };
                governs || entry.role.is_some() && shred.entries.iter().all(|named| is_own(named.log.device))
            }
            (Some(Operation::KeyUpdate(keys)), _) => {
                let may_read = |device: &DeviceId, compartment| {
                    let member = before.devices.get(device).map(|(member, _)| *member);
                    let role = member.and_then(|member| before.members.get(&member)).map(|(role, _)| *role);
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
    fn right_to_remove(&self, entry: &Entry, before: &Outcome, governs: bool) -> Right {
        let (Some(author), Some(_), Some(wish)) = (entry.member, entry.role, entry.wish()) else {
            return Right::None;
        };
        let about = match wish {
            Wish::Remove(Target::Member(member)) | Wish::Recover(member, _) => Some(member),
            Wish::Remove(Target::Device(device)) => before.devices.get(&device).map(|(member, _)| *member),
        };
        let Some(about) = about else { return Right::None };
        if let Wish::Recover(_, key) = wish
            && (author == about || key == about || !self.is_new(before, key))
        {
            return Right::None;
        }
        if author == about {
            return Right::Acts;
        }
        if !governs || !before.members.contains_key(&about) {
            return Right::None;
        }
        if !self.governs(before, about) {
            return Right::Acts;
        }
        let rank = |member| self.order(before.members[&member].1);
        if rank(author) < rank(about) {
            return Right::Acts;
        }
        let mut wanted_by = self.wanted_by(before, &entry.past, wish);
        wanted_by.insert(author);
        wanted_by.remove(&about);
        if wanted_by.len() * 2 > self.governing(before).len() { Right::Majority } else { Right::Proposes }
    }

    /// Whether some device that is present was certified with this key.
    pub fn is_entered_by(&self, outcome: &Outcome, key: MemberId) -> bool {
        outcome.devices.iter().any(|(device, (_, by))| {
            let mut enters = self.entries[by].enters.iter();
            enters.find(|claims| claims.device == *device).is_some_and(|claims| claims.member == key)
        })
    }

    /// Who asked for this and governs.
    pub fn wanted_by(&self, outcome: &Outcome, set: &Set, wish: Wish) -> BTreeSet<MemberId> {
        let asked = self.in_order(set).into_iter();
        let asked = asked.filter(|entry| entry.right != Right::None && entry.wish() == Some(wish));
        let asked = asked.filter(|entry| !outcome.void.contains(&entry.hash));
        asked.filter_map(|entry| entry.member).filter(|member| self.governs(outcome, *member)).collect()
    }

    pub fn governs(&self, outcome: &Outcome, member: MemberId) -> bool {
        outcome.members.get(&member).is_some_and(|(role, _)| self.template.governs(*role))
    }

    pub fn governing(&self, outcome: &Outcome) -> BTreeSet<MemberId> {
        outcome.members.keys().copied().filter(|member| self.governs(outcome, *member)).collect()
    }

    /// A key that is neither the identity of somebody with a role, nor anybody's by a recovery, nor was.
    fn is_new(&self, before: &Outcome, key: MemberId) -> bool {
        self.owner(before, key) == Some(key) && !before.members.contains_key(&key)
    }

    /// The standing recoveries, in order: whose, and to which key.
    fn recoveries(&self, outcome: &Outcome) -> impl Iterator<Item = (MemberId, MemberId)> {
        let standing = self.in_order(&outcome.standing).into_iter();
        standing.filter_map(|entry| match entry.wish() {
            Some(Wish::Recover(member, key)) => Some((member, key)),
            Some(Wish::Remove(_)) | None => None,
        })
    }

    /// Whose key this is.
    pub fn owner(&self, outcome: &Outcome, key: MemberId) -> Option<MemberId> {
        let newest: BTreeMap<MemberId, MemberId> = self.recoveries(outcome).collect();
        if let Some((member, _)) = newest.iter().find(|(_, newest)| **newest == key) {
            return Some(*member);
        }
        let replaced = newest.contains_key(&key) || self.recoveries(outcome).any(|(_, old)| old == key);
        (!replaced).then_some(key)
    }

    // ---- §4.4: what stands

    pub fn outcome(&self, set: &Set) -> Outcome {
        let entries = self.in_order(set);
        let mut outcome = Outcome::default();
        let mut removals: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.removes()).collect();
        removals.sort_by_key(|entry| {
            let governs = entry.role.is_some_and(|role| self.template.governs(role));
            let class = match entry.right {
                Right::Majority => 0,
                Right::None | Right::Proposes | Right::Acts if governs => 1,
                Right::None | Right::Proposes | Right::Acts => 2,
            };
            (class, entry.rank.filter(|_| governs), entry.depth, entry.hash)
        });
        for removal in removals {
            if !self.void(&entries, &outcome.standing).contains(&removal.hash) {
                outcome.standing.insert(removal.hash);
            }
        }
        outcome.void = self.void(&entries, &outcome.standing);
        let counts = |entry: &&Entry| entry.acts() && !outcome.void.contains(&entry.hash);
        let counting: Vec<&Entry> = entries.iter().copied().filter(counts).collect();

        for entry in &counting {
            if let Some((member, role)) = entry.admits()
                && self.removals_of(&outcome, member).all(|removal| self.knows(entry.hash, removal.hash))
            {
                outcome.members.insert(member, (role, entry.hash));
            }
            for (device, member) in entry.entered() {
                let present = self
                    .taking_out(&outcome, device, member)
                    .all(|removal| entry.hash == removal.hash || self.knows(entry.hash, removal.hash));
                if present {
                    outcome.devices.entry(device).or_insert((member, entry.hash));
                }
            }
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

    fn void(&self, entries: &[&Entry], standing: &Set) -> Set {
        let mut void = Set::new();
        for entry in entries {
            let cut_off = standing.iter().any(|removal| {
                self.entries[removal].takes_out(entry.author, entry.member)
                    && *removal != entry.hash
                    && !self.knows(entry.hash, *removal)
                    && !self.knows(*removal, entry.hash)
            });
            if cut_off || entry.rests_on.iter().any(|cause| void.contains(cause)) {
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
                self.taking_out(&outcome, device, member).all(|removal| is_let(entering, removal))
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
        matches!(self.right, Right::Acts | Right::Majority)
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
