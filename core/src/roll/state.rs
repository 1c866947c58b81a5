//! What a set of operations says: members, devices, keys, policy (PROTOCOL.md §4.4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::history::{Aim, At, History, Node, Order};
use super::operation::{EpochName, KeyUpdate, Operation, PreviousKey, Target};
use super::retention::Retention;
use super::view::View;
use crate::base::hash::tagged;
use crate::base::{
    CompartmentId, DeviceId, EntryHash, EpochId, Hash, MailboxId, MemberId, RoleId, Template, limits,
};
use crate::entry::SealedKeys;

/// Members, devices and epochs, as far as a set of operations goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    template: Arc<Template>,
    members: BTreeMap<MemberId, MemberState>,
    devices: BTreeMap<DeviceId, DeviceState>,
    former: BTreeMap<DeviceId, MemberId>,
    /// Keys that recoveries gave or replaced, and whose they are: nobody's, if another has come after.
    recovered: BTreeMap<MemberId, Option<MemberId>>,
    governed: BTreeSet<MemberId>,
    epochs: BTreeMap<CompartmentId, BTreeMap<EpochId, Epoch>>,
    /// The entries that hand out keys.
    handouts: Vec<Arc<Node>>,
    /// As `handouts`, of those who do not govern: nobody who does takes their word for what a device was given.
    handed_up: Vec<Arc<Node>>,
    removals: BTreeSet<EntryHash>,
    proposals: Vec<Proposal>,
    settings: BTreeMap<u16, u64>,
    accepted: BTreeSet<EntryHash>,
    /// Invitations that are used up, and who came with each.
    invited: BTreeMap<MailboxId, MemberId>,
    retention: Retention,
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Their role.
    pub role: RoleId,
    /// The place, in the order of the roll, of the first admission that gives the role. It ends ties of convenience; who
    /// outranks whom, [`Roll::right_to_remove`](super::Roll::right_to_remove) says.
    pub place: (u64, EntryHash),
}

/// One device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Whose it is.
    pub member: MemberId,
    /// The key that its certificate is signed with: the member's identity, or the key of a recovery.
    pub key: MemberId,
    /// The X25519 public key that keys are sealed to.
    pub agreement: [u8; 32],
}

/// One epoch of one compartment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its X25519 public key.
    pub public: [u8; 32],
    /// The way back to the epoch before.
    pub previous: Option<PreviousKey>,
    /// The device that drew its key.
    pub by: DeviceId,
    /// When that device says that it did, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Whether it may be written under. Not if whoever began it had been taken out: then it can be read alone.
    pub stands: bool,
}

/// A removal that its author may not decide alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The member, or the member whose device, is to go; or who is to get a new key.
    pub about: Proposed,
    /// The electors who want it.
    pub supporters: Vec<MemberId>,
    /// How many it takes: more than half of all electors (PROTOCOL.md §4.3).
    pub needed: usize,
}

/// What is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// A removal.
    Removal(Target),
    /// A recovery of this member.
    Recovery(MemberId),
}

impl State {
    pub(super) fn of(history: &History, view: &View<'_>, template: Arc<Template>) -> Self {
        let members: BTreeMap<_, _> = view
            .members()
            .filter_map(|(id, held)| {
                let place = history.node(*held.by.first()?).order();
                Some((id, MemberState { role: held.role, place }))
            })
            .collect();
        let mut state = Self {
            template,
            members,
            devices: BTreeMap::new(),
            former: BTreeMap::new(),
            recovered: view.recovered_keys().into_iter().map(|key| (key, view.owner(key))).collect(),
            governed: BTreeSet::new(),
            epochs: BTreeMap::new(),
            handouts: Vec::new(),
            handed_up: Vec::new(),
            removals: view.standing().map(|at| history.node(at).hash).collect(),
            proposals: Vec::new(),
            settings: BTreeMap::new(),
            accepted: BTreeSet::new(),
            invited: BTreeMap::new(),
            retention: Retention::of(history, view),
        };
        state.enter_devices(history, view);
        state.enter_keys(history, view);
        state.enter_decisions(history, view);
        state
    }

    fn enter_devices(&mut self, history: &History, view: &View<'_>) {
        for (id, entries) in &history.entries_by_device {
            if let Some(present) = view.device(*id) {
                let entered = present.entered;
                let device =
                    DeviceState { member: entered.member, key: entered.key, agreement: entered.agreement };
                self.devices.insert(*id, device);
            } else if let Some(by) = view.among(entries).min_by_key(|at| history.node(*at).order()) {
                let entered = history.node(by).enters.iter().find(|entered| entered.device == *id);
                self.former.extend(entered.map(|entered| (*id, entered.member)));
            }
        }
    }

    fn enter_keys(&mut self, history: &History, view: &View<'_>) {
        let mut updates: Vec<At> = view.among(&history.key_updates).collect();
        updates.sort_by_key(|at| history.node(*at).order());
        for at in updates {
            let node = history.node(at);
            let Some(keys) = node.operation.as_ref().and_then(Operation::keys) else { continue };
            let stands = !view.is_void(at);
            for rotation in &keys.rotations {
                if self.template.compartment(rotation.compartment).is_none() {
                    continue;
                }
                let epochs = self.epochs.entry(rotation.compartment).or_default();
                let epoch = epochs.entry(rotation.epoch()).or_insert_with(|| Epoch {
                    public: rotation.public,
                    previous: rotation.previous.clone(),
                    by: node.author,
                    began_ms: node.claimed_ms,
                    stands,
                });
                epoch.stands |= stands;
            }
            // What opens an epoch is never taken back: something may have been written under it.
            if !keys.grants.is_empty() {
                let is_update = matches!(node.operation, Some(Operation::KeyUpdate(_)));
                let handouts =
                    if is_update && !node.governs { &mut self.handed_up } else { &mut self.handouts };
                handouts.extend(history.shared(at));
            }
        }
    }

    fn enter_decisions(&mut self, history: &History, view: &View<'_>) {
        let in_order = |entries: &[At]| {
            let mut entries: Vec<At> = entries.to_vec();
            entries.sort_by_key(|at| history.node(*at).order());
            entries
        };
        for at in in_order(&view.among(&history.policies).collect::<Vec<_>>()) {
            if let Some(Operation::Policy(policy)) = &history.node(at).operation
                && !view.is_void(at)
            {
                self.settings.extend(&policy.settings);
            }
        }
        for at in view.among(&history.acceptances) {
            if let Some(Operation::Accept(acceptance)) = &history.node(at).operation
                && !view.is_void(at)
            {
                self.accepted.extend(&acceptance.entries);
            }
        }
        self.enter_invitations(history, view);
        let mut aims: Vec<Aim> =
            view.among(&history.proposals).filter_map(|at| history.node(at).aim()).collect();
        aims.sort_unstable();
        aims.dedup();
        for at in view.among(&history.appointments).filter(|at| !view.is_void(*at)) {
            self.governed.extend(history.node(at).admits().map(|(member, _)| member));
        }
        for aim in aims {
            let (about, open) = match aim {
                Aim::Member(member) => {
                    (Proposed::Removal(Target::Member(member)), self.members.contains_key(&member))
                }
                Aim::Device(device) => {
                    (Proposed::Removal(Target::Device(device)), self.devices.contains_key(&device))
                }
                Aim::Recovery(member, key) => {
                    let is_done = self.devices.values().any(|device| device.key == key);
                    (Proposed::Recovery(member), !is_done && self.members.contains_key(&member))
                }
            };
            let Some(target) = view.member_of(aim).filter(|_| open) else { continue };
            let tally = view.tally(aim, target, None);
            let supporters: Vec<MemberId> = tally.asks.into_keys().collect();
            if !supporters.is_empty() {
                self.proposals.push(Proposal { about, supporters, needed: tally.needed });
            }
        }
    }

    /// Enters who used up which invitation: of several whom the senior author let in; of several of one author the first.
    fn enter_invitations(&mut self, history: &History, view: &View<'_>) {
        let admissions = history.admissions_by_member.values().flatten().copied();
        let live: Vec<At> = admissions.filter(|at| view.holds(*at) && !view.is_void(*at)).collect();
        let mut first: BTreeMap<MailboxId, (Vec<Order>, MemberId)> = BTreeMap::new();
        for at in live {
            let node = history.node(at);
            let Some(Operation::Admit(admission)) = &node.operation else { continue };
            let Some(invitation) = admission.invitation else { continue };
            let mut place: Vec<Order> =
                node.grounds.roles.iter().map(|by| history.node(*by).order()).collect();
            place.sort_unstable();
            place.truncate(1);
            place.push(node.order());
            let found = first.entry(invitation).or_insert_with(|| (place.clone(), admission.member));
            if place < found.0 {
                *found = (place, admission.member);
            }
        }
        self.invited = first.into_iter().map(|(invitation, (_, member))| (invitation, member)).collect();
    }

    /// Roles and compartments.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Every member.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, MemberState)> {
        self.members.iter().map(|(id, member)| (*id, *member))
    }

    /// Every device whose member belongs.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, DeviceState, RoleId)> {
        self.devices
            .iter()
            .filter_map(|(id, device)| Some((*id, *device, self.members.get(&device.member)?.role)))
    }

    /// Every device that was ever entered and whose member it was: what it wrote may still count.
    pub fn devices_ever(&self) -> impl Iterator<Item = (DeviceId, MemberId)> {
        let present = self.devices.iter().map(|(id, device)| (*id, device.member));
        present.chain(self.former.iter().map(|(id, member)| (*id, *member)))
    }

    /// Whether a device belonged once and was taken out.
    pub fn was_removed(&self, device: DeviceId) -> bool {
        self.former.contains_key(&device)
    }

    /// Returns the member whose device this is, or was before it was removed.
    pub fn member_of(&self, device: DeviceId) -> Option<MemberId> {
        let present = self.devices.get(&device).map(|device| device.member);
        present.or_else(|| self.former.get(&device).copied())
    }

    /// One member.
    pub fn member(&self, member: MemberId) -> Option<MemberState> {
        self.members.get(&member).copied()
    }

    /// Whose a certificate's device is: the member whose key signed it, who may have no role. None for a key that a
    /// recovery replaced.
    pub fn owner(&self, key: MemberId) -> Option<MemberId> {
        self.recovered.get(&key).copied().unwrap_or(Some(key))
    }

    /// Whether a member belonged once and was taken out, with every device.
    pub fn was_taken_out(&self, member: MemberId) -> bool {
        self.member(member).is_none() && self.former.values().any(|former| *former == member)
    }

    /// One device with its member's role; none if either is unknown or was taken out.
    pub fn device(&self, device: DeviceId) -> Option<(DeviceState, RoleId)> {
        let device = *self.devices.get(&device)?;
        Some((device, self.members.get(&device.member)?.role))
    }

    /// Who came with this invitation; none if it is not used up.
    pub fn invited(&self, invitation: MailboxId) -> Option<MemberId> {
        self.invited.get(&invitation).copied()
    }

    /// Whether `device` may write into `compartment`.
    pub fn may_write(&self, device: DeviceId, compartment: CompartmentId) -> bool {
        self.device(device).is_some_and(|(_, role)| self.template.may_write(role, compartment))
    }

    /// Whether `device` may fetch and decrypt `compartment`.
    pub fn may_read(&self, device: DeviceId, compartment: CompartmentId) -> bool {
        self.device(device).is_some_and(|(_, role)| self.template.may_read(role, compartment))
    }

    /// Whether `device` belongs to a member who governs.
    pub fn governs(&self, device: DeviceId) -> bool {
        self.device(device).is_some_and(|(_, role)| self.template.governs(role))
    }

    /// Devices to seal the keys of a compartment to: those that read it, at most
    /// [`DEVICES_MAX`](limits::DEVICES_MAX) of a member.
    pub fn readers(&self, compartment: CompartmentId) -> Vec<(DeviceId, DeviceState)> {
        let mut count_by_member: BTreeMap<MemberId, usize> = BTreeMap::new();
        let mut readers = Vec::new();
        for (id, device, role) in self.devices() {
            let count = count_by_member.entry(device.member).or_default();
            if self.template.may_read(role, compartment) && *count < limits::DEVICES_MAX {
                *count += 1;
                readers.push((id, device));
            }
        }
        readers
    }

    /// The epoch to write under: of those that stand the greatest by number, then key.
    pub fn newest_epoch(&self, compartment: CompartmentId) -> Option<(EpochId, &Epoch)> {
        self.epochs(compartment).rev().find(|(_, epoch)| epoch.stands)
    }

    /// Every epoch of a compartment, oldest first.
    pub fn epochs(&self, compartment: CompartmentId) -> impl DoubleEndedIterator<Item = (EpochId, &Epoch)> {
        self.epochs.get(&compartment).into_iter().flatten().map(|(id, epoch)| (*id, epoch))
    }

    /// The seals that hand keys to a device, each with the epochs whose keys are inside.
    pub fn grants_to(&self, device: DeviceId) -> impl Iterator<Item = (Vec<EpochName>, &SealedKeys)> {
        keys_of(&self.handouts).chain(keys_of(&self.handed_up)).flat_map(move |keys| {
            let own = keys.grants.iter().filter(move |grant| grant.device == device);
            own.map(|grant| (keys.granted(grant), &grant.sealed))
        })
    }

    /// The devices that were handed the key of an epoch, by who governs or by their own member.
    pub fn granted(&self, name: EpochName) -> BTreeSet<DeviceId> {
        keys_of(&self.handouts).flat_map(|keys| given(keys, name)).collect()
    }

    /// The devices that were handed the key of an epoch, by whomever.
    pub fn holders(&self, name: EpochName) -> BTreeSet<DeviceId> {
        keys_of(&self.handouts).chain(keys_of(&self.handed_up)).flat_map(|keys| given(keys, name)).collect()
    }

    /// Whether somebody holds the key to write under who may not read what is written: a device that was handed it may
    /// not read any more, or whoever drew it has been taken out.
    pub fn is_exposed(&self, compartment: CompartmentId) -> bool {
        self.newest_epoch(compartment).is_some_and(|(epoch, row)| {
            let holders = self.holders(EpochName { compartment, epoch });
            self.device(row.by).is_none()
                || holders.into_iter().any(|device| !self.may_read(device, compartment))
        })
    }

    /// Whether one of these devices was handed the key to write under, or drew it.
    pub fn is_known_to(&self, compartment: CompartmentId, devices: &BTreeSet<DeviceId>) -> bool {
        self.newest_epoch(compartment).is_some_and(|(epoch, row)| {
            devices.contains(&row.by) || !self.holders(EpochName { compartment, epoch }).is_disjoint(devices)
        })
    }

    /// Whether a member governs or once did, by an admission that has kept its effect.
    pub fn ever_governed(&self, member: MemberId) -> bool {
        self.governed.contains(&member)
    }

    /// The removals that stand.
    pub fn removals(&self) -> &BTreeSet<EntryHash> {
        &self.removals
    }

    /// Removals and recoveries that not enough of those who govern want yet.
    pub fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// What the group has agreed on for this setting.
    pub fn setting(&self, setting: u16) -> Option<u64> {
        self.settings.get(&setting).copied()
    }

    /// What is held and what is shredded.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Whether something that was written once may not count any more.
    pub(super) fn takes_back(&self) -> bool {
        !self.removals.is_empty()
    }

    /// Whether an entry counts in spite of a removal.
    pub(super) fn accepts(&self, entry: EntryHash) -> bool {
        self.accepted.contains(&entry)
    }

    /// Names what decides which of the entries written once still count: as long as it is the same, they do.
    pub fn standing(&self) -> Hash {
        let removals = self.removals.iter().map(|hash| hash.as_bytes().as_slice());
        let accepted = self.accepted.iter().map(|hash| hash.as_bytes().as_slice());
        let parts: Vec<&[u8]> = removals.chain([&[][..]]).chain(accepted).collect();
        tagged(b"lamppost/1/standing", &parts)
    }

    /// As [`State::standing`], where nobody was ever taken out.
    pub fn standing_of_none() -> Hash {
        tagged(b"lamppost/1/standing", &[&[]])
    }
}

fn keys_of(entries: &[Arc<Node>]) -> impl Iterator<Item = &KeyUpdate> {
    entries.iter().filter_map(|node| node.operation.as_ref().and_then(Operation::keys))
}

/// The devices to which an operation hands the key of an epoch.
fn given(keys: &KeyUpdate, name: EpochName) -> impl Iterator<Item = DeviceId> {
    let bit = keys.epochs.binary_search(&name).ok();
    let grants = bit.map(|bit| keys.grants.iter().filter(move |grant| grant.mask >> bit & 1 == 1));
    grants.into_iter().flatten().map(|grant| grant.device)
}
