//! What a set of operations says about who belongs (PROTOCOL.md §4.3).

use std::collections::BTreeMap;

use super::operation::{Grant, Operation, PreviousKey, Rotation};
use crate::base::{CompartmentId, DeviceId, EpochId, MailboxId, MemberId, RoleId, Template};
use crate::entry::Certificate;

/// Members, devices and epochs, as far as a set of operations goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    template: Template,
    members: BTreeMap<MemberId, MemberState>,
    devices: BTreeMap<DeviceId, DeviceState>,
    epochs: BTreeMap<CompartmentId, BTreeMap<EpochId, Epoch>>,
    /// Invitations that are used up, and who came with each: the first, by the order that everyone derives.
    invited: BTreeMap<MailboxId, MemberId>,
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Their role.
    pub role: RoleId,
}

/// One device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceState {
    /// Whose it is.
    pub member: MemberId,
    /// The X25519 public key that keys are sealed to.
    pub agreement: [u8; 32],
}

/// One epoch of one compartment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Its X25519 public key.
    pub public: [u8; 32],
    /// Its private key, sealed: every grant that names it.
    pub grants: Vec<Grant>,
    /// The way back to the epoch before.
    pub previous: Option<PreviousKey>,
}

impl State {
    pub(super) fn new(template: Template) -> Self {
        Self {
            template,
            members: BTreeMap::new(),
            devices: BTreeMap::new(),
            epochs: BTreeMap::new(),
            invited: BTreeMap::new(),
        }
    }

    /// Applies an operation that counts. Called in causal order, ties by hash, so that later means later for everyone.
    pub(super) fn apply(&mut self, operation: &Operation, certificates: &[Certificate]) {
        for certificate in certificates {
            self.certify(certificate);
        }
        match operation {
            Operation::Found(founding) => {
                if let Some(certificate) = certificates.first() {
                    self.members.insert(certificate.claims().member, MemberState { role: founding.role });
                }
                founding.rotations.iter().for_each(|r| self.rotate(r));
            }
            Operation::Admit(admission) => {
                if self.template.role(admission.role).is_some() {
                    self.members.insert(admission.member, MemberState { role: admission.role });
                }
                if let Some(invitation) = admission.invitation {
                    self.invited.entry(invitation).or_insert(admission.member);
                }
                admission.grants.iter().for_each(|g| self.grant(g));
            }
            Operation::Grant(grants) => grants.grants.iter().for_each(|g| self.grant(g)),
            Operation::Rotate(rotations) => rotations.rotations.iter().for_each(|r| self.rotate(r)),
            Operation::Unknown { .. } => {}
        }
    }

    /// Enters a device. The first certificate of a device stands: it signed that one itself.
    pub(super) fn certify(&mut self, certificate: &Certificate) {
        let claims = certificate.claims();
        self.devices
            .entry(claims.device)
            .or_insert(DeviceState { member: claims.member, agreement: claims.agreement });
    }

    fn rotate(&mut self, rotation: &Rotation) {
        if self.template.compartment(rotation.compartment).is_none() {
            return;
        }
        let epochs = self.epochs.entry(rotation.compartment).or_default();
        // One step at a time: a leap to the last number would leave no room for anybody's next.
        let next = epochs.last_key_value().map_or(0, |(newest, _)| newest.number.saturating_add(1));
        if rotation.number > next {
            return;
        }
        let epoch = epochs.entry(rotation.epoch()).or_insert_with(|| Epoch {
            public: rotation.public,
            grants: Vec::new(),
            previous: rotation.previous.clone(),
        });
        epoch.grants.extend(rotation.grants.iter().cloned());
    }

    fn grant(&mut self, grant: &Grant) {
        let epoch = self.epochs.get_mut(&grant.compartment).and_then(|epochs| epochs.get_mut(&grant.epoch));
        if let Some(epoch) = epoch {
            epoch.grants.push(grant.clone());
        }
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

    /// One member.
    pub fn member(&self, member: MemberId) -> Option<MemberState> {
        self.members.get(&member).copied()
    }

    /// One device with its member's role; none if either is unknown.
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

    /// The epoch to write under: the greatest by number, then key.
    pub fn newest_epoch(&self, compartment: CompartmentId) -> Option<(EpochId, &Epoch)> {
        self.epochs.get(&compartment)?.last_key_value().map(|(id, epoch)| (*id, epoch))
    }

    /// Every epoch of a compartment, oldest first.
    pub fn epochs(&self, compartment: CompartmentId) -> impl DoubleEndedIterator<Item = (EpochId, &Epoch)> {
        self.epochs.get(&compartment).into_iter().flatten().map(|(id, epoch)| (*id, epoch))
    }
}
