//! A member whose app signs whatever its owner likes, and strangers who help them.

use lamppost_core::base::{EntryHash, EpochId, limits};
use lamppost_core::entry::SealedKeys;
use lamppost_core::roll::operation::{Admission, Certification, KeyUpdate, Policy, Recovery, Removal};
use lamppost_core::roll::{EpochName, Grant};

use super::*;

/// A setting that nobody who governs touches.
const THEIRS: u16 = 98;

/// Epochs that nobody began and whose keys somebody hands out all the same.
const FLOOD_EPOCHS: usize = 8;

/// Devices that somebody enters in one go.
const FLOOD_DEVICES: usize = 6;

impl World {
    /// One member who does not govern does what is not theirs to do.
    pub(super) fn somebody_attacks(&mut self) -> Step {
        let may_attack = |world: &Self, at: usize| {
            let phone = &world.phones[at];
            phone.joined && phone.belongs() && !phone.is_unsure && phone.role != roles::ROLE_COORDINATOR
        };
        if self.hostile.is_none() {
            let candidates: Vec<usize> = (0..self.phones.len()).filter(|at| may_attack(self, *at)).collect();
            self.hostile = self.malice.pick(&candidates).copied();
        }
        let Some(at) = self.hostile.filter(|at| may_attack(self, *at)) else { return Ok(()) };
        if self.switch_on(at)?.is_none() {
            return Ok(());
        }
        let (roll, own) =
            match self.phones[at].running().map(|engine| (testing::roll(engine), engine.member_id())) {
                Some((Some(roll), own)) => (roll, own),
                _ => return Ok(()),
            };
        if self.malice.one_in(3) {
            return self.somebody_usurps(at);
        }
        let mut stranger = self.stranger();
        let engine = stranger.engine(None).map_err(|e| e.to_string())?;
        let group = self.group.expect("there is one because it was founded first");
        let (strange, request) = (engine.member_id(), engine.request(group).map_err(|e| e.to_string())?);
        let certificate = request.as_bytes().to_vec().into();
        let others: Vec<_> = roll.state().members().map(|(id, _)| id).filter(|id| *id != own).collect();
        let Some(victim) = self.malice.pick(&others).copied() else { return Ok(()) };
        let admission = |member, certificates| {
            let role = RoleId(roles::ROLE_COORDINATOR);
            Operation::Admit(Admission {
                member,
                role,
                certificates,
                keys: KeyUpdate::default(),
                invitation: None,
            })
        };
        let (what, operation) = match self.malice.below(11) {
            0 => ("admits a stranger", admission(strange, vec![certificate])),
            1 => ("makes itself a coordinator", admission(own, Vec::new())),
            2 => {
                let (target, marks, keys) = (Target::Member(victim), Vec::new(), KeyUpdate::default());
                ("removes another", Operation::Remove(Removal { target, marks, keys }))
            }
            3 => {
                let (marks, keys) = (Vec::new(), KeyUpdate::default());
                let recovery = Recovery { member: victim, certificate, marks, keys };
                ("gives another's place to a stranger", Operation::Recover(recovery))
            }
            4 => {
                let keys = KeyUpdate::default();
                ("enters a stranger's device", Operation::Certify(Certification { certificate, keys }))
            }
            5 => {
                let settings = [(THEIRS, 1), (settings::HISTORY_DAYS, 1)].into();
                ("sets what is agreed", Operation::Policy(Policy { settings }))
            }
            6 => return self.attack_by_smuggling(at, stranger, roll.heads()),
            7 => {
                let unheard = EntryHash(self.malice.bytes());
                return self.attack_by_smuggling(at, stranger, vec![unheard]);
            }
            8 => return self.flood_with_devices(at, own),
            9 => return self.flood_with_certificates(at, stranger, &roll.heads()),
            _ => ("hands out keys that are none", self.worthless_grants(roll.state())),
        };
        self.model.strangers.insert(strange);
        self.tally.attacks += 1;
        let signed = self.attempt(at, what, |engine| testing::sign_anyway(engine, &operation))?;
        self.model.overreached.extend(signed.flatten());
        Ok(())
    }

    /// A device that is nobody's says of itself that it belongs, and a member brings it to the relay.
    fn attack_by_smuggling(&mut self, at: usize, mut stranger: Phone, heads: Vec<EntryHash>) -> Step {
        let engine = stranger.engine(None).map_err(|e| e.to_string())?;
        let group = self.group.expect("there is one because it was founded first");
        let request = engine.request(group).map_err(|e| e.to_string())?;
        let certificate = request.as_bytes().to_vec().into();
        let entry = Operation::Certify(Certification { certificate, keys: KeyUpdate::default() });
        let forged = testing::forge(engine, group, heads, &entry).map_err(|e| e.to_string())?;
        self.model.strangers.insert(engine.member_id());
        self.tally.attacks += 1;
        self.act(at, "smuggles", |engine| testing::smuggle(engine, &forged)).map(drop)
    }

    /// Keys of epochs that nobody began, for everybody who governs. None of the seals opens.
    fn worthless_grants(&mut self, state: &State) -> Operation {
        let Some(row) = state.template().compartments.iter().find(|row| row.id != CompartmentId::ROLL) else {
            return Operation::KeyUpdate(KeyUpdate::default());
        };
        let name = |epoch| EpochName { compartment: row.id, epoch };
        let invented = (0..FLOOD_EPOCHS).map(|_| name(EpochId::of(1, &self.malice.bytes())));
        let mut epochs: Vec<EpochName> = invented.collect();
        epochs.sort_unstable();
        self.model.invented.extend(&epochs);
        let devices: Vec<DeviceId> =
            state.devices().map(|(id, ..)| id).filter(|id| state.governs(*id)).collect();
        let mut grants = Vec::new();
        for device in devices {
            for bit in 0..epochs.len() {
                let ciphertext = [self.malice.bytes::<32>().as_slice(), &[0; 16]].concat();
                let sealed = SealedKeys { encapsulated: self.malice.bytes(), ciphertext };
                grants.push(Grant { device, mask: 1 << bit, sealed });
            }
        }
        Operation::KeyUpdate(KeyUpdate { rotations: Vec::new(), epochs, grants })
    }

    /// Certificates of people whom nobody admitted, brought by a member.
    fn flood_with_certificates(&mut self, at: usize, first: Phone, heads: &[EntryHash]) -> Step {
        self.attack_by_smuggling(at, first, heads.to_vec())?;
        for _ in 1..FLOOD_DEVICES {
            let stranger = self.stranger();
            self.attack_by_smuggling(at, stranger, heads.to_vec())?;
        }
        Ok(())
    }

    /// Device after device: each is theirs to enter, until there are too many.
    fn flood_with_devices(&mut self, at: usize, own: MemberId) -> Step {
        let group = self.group.expect("there is one because it was founded first");
        for _ in 0..FLOOD_DEVICES {
            let mut invented = self.stranger();
            let engine = invented.engine(None).map_err(|e| e.to_string())?;
            let request = engine.request_as_device_of(group, own).map_err(|e| e.to_string())?;
            self.attempt(at, "enters a device that is not there", |engine| engine.add_device(&request))?;
        }
        Ok(())
    }

    /// Whether a phone is the hostile member's.
    pub(super) fn is_hostile(&self, at: usize) -> bool {
        self.hostile.is_some_and(|hostile| self.phones[hostile].member == self.phones[at].member)
    }

    pub(super) fn stranger(&mut self) -> Phone {
        self.strangers += 1;
        Phone::new(100 + self.strangers, roles::ROLE_VOLUNTEER, self.seed, Arc::clone(&self.now_ms))
    }

    /// Whatever was signed without a right to has changed nothing that anybody believes.
    pub(super) fn check_attacks(&mut self, truth: &State) -> Step {
        self.check_usurpers(truth)?;
        if let Some((member, _)) = truth.members().find(|(member, _)| self.model.strangers.contains(member)) {
            return Err(format!("{member:?}, whom no coordinator admitted, belongs"));
        }
        if truth.devices_ever().any(|(_, member)| self.model.strangers.contains(&member)) {
            return Err("a device is kept of somebody whom no coordinator admitted".to_owned());
        }
        if self.model.invented.iter().any(|name| !truth.holders(*name).is_empty()) {
            return Err("somebody holds the key of an epoch that nobody began".to_owned());
        }
        let theirs = truth.devices().find(|(_, device, _)| self.model.strangers.contains(&device.key));
        if let Some((device, ..)) = theirs {
            return Err(format!("a stranger's {device:?} belongs to somebody"));
        }
        if truth.removals().iter().any(|removal| self.model.overreached.contains(removal)) {
            return Err("somebody who does not govern has taken somebody out".to_owned());
        }
        let hostile = self.hostile.and_then(|at| self.phones[at].member);
        let promoted = hostile.filter(|member| !self.model.touched.contains(member));
        let role = promoted.and_then(|member| truth.member(member)).map(|held| held.role);
        if role == Some(RoleId(roles::ROLE_COORDINATOR)) {
            return Err("somebody has made themselves a coordinator".to_owned());
        }
        let mut devices_by_member: BTreeMap<MemberId, usize> = BTreeMap::new();
        for (_, device, _) in truth.devices() {
            *devices_by_member.entry(device.member).or_default() += 1;
        }
        if devices_by_member.values().any(|devices| *devices > limits::DEVICES_MAX) {
            return Err("a member has more devices than anybody may".to_owned());
        }
        let history = truth.setting(settings::HISTORY_DAYS).filter(|_| !self.model.history_ends);
        match truth.setting(THEIRS).or(history) {
            Some(_) => Err("somebody who does not govern has set what is agreed".to_owned()),
            None => Ok(()),
        }
    }
}
