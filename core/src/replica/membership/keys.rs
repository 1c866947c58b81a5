//! Epoch keys: beginning epochs, handing keys out, and mending what others could not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::removal::settings;
use crate::base::day::DAY_MS;
use crate::base::{CompartmentId, DeviceId, EpochId, RoleId, Template, limits};
use crate::entry::keys::{Agreement, SealPurpose, seal, seal_epochs};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::roll::operation::PreviousKey;
use crate::roll::{EpochName, Grant, KeyUpdate, Operation, Rotation, State};
use crate::storage::Batch;

/// A device, and the key that something is sealed to for it.
pub(super) type ReaderDevice = (DeviceId, [u8; 32]);

/// Bytes of grants in one operation: what else it says takes a quarter of a body at most.
const GRANT_BYTES_MAX: usize = limits::BODY_BYTES_MAX / 4 * 3;

/// Bytes of a grant beside its keys of 32 bytes each.
const GRANT_BYTES: usize = 100;

/// Epochs to begin and keys to hand out, before they are sealed.
#[derive(Default)]
pub(super) struct KeyPlan {
    rotations: Vec<Rotation>,
    keys: BTreeMap<EpochName, Agreement>,
    readers: BTreeMap<DeviceId, ([u8; 32], BTreeSet<EpochName>)>,
}

impl KeyPlan {
    fn hand_out(&mut self, name: EpochName, key: &Agreement, (device, agreement): ReaderDevice) {
        self.keys.entry(name).or_insert_with(|| key.clone());
        self.readers.entry(device).or_insert_with(|| (agreement, BTreeSet::new())).1.insert(name);
    }

    fn is_empty(&self) -> bool {
        self.rotations.is_empty() && self.readers.is_empty()
    }
}

impl Engine {
    /// The first epochs of what the founder's role reads, for the founder.
    pub(super) fn founding_keys(&mut self, template: &Template, role: RoleId) -> Result<KeyUpdate, Error> {
        let reader = (self.device_id(), *self.identity.secrets()?.agreement.public());
        let mut plan = KeyPlan::default();
        for row in template.compartments.iter().filter(|row| row.readers.contains(&role)) {
            if row.id != CompartmentId::ROLL {
                let key = Agreement::draw(&mut self.rng);
                let rotation =
                    Rotation { compartment: row.id, number: 0, public: *key.public(), previous: None };
                plan.hand_out(EpochName { compartment: row.id, epoch: rotation.epoch() }, &key, reader);
                plan.rotations.push(rotation);
            }
        }
        // Of the one device of a founder there is one grant, in one operation.
        self.sealed(plan).pop().ok_or(Error::NoGroup)
    }

    /// Plans a new epoch of a compartment for those of its readers who `stay` and for `newcomers`. Nothing if nobody
    /// would read it.
    pub(super) fn begin_epoch(
        &mut self,
        plan: &mut KeyPlan,
        state: &State,
        compartment: CompartmentId,
        stay: &dyn Fn(DeviceId) -> bool,
        newcomers: &[ReaderDevice],
    ) -> Result<(), Error> {
        let readers = state.readers(compartment).into_iter().filter(|(id, _)| stay(*id));
        let mut readers: BTreeMap<_, _> = readers.map(|(id, device)| (id, device.agreement)).collect();
        readers.extend(newcomers.iter().copied());
        if readers.is_empty() {
            return Ok(());
        }
        let newest = state.epochs(compartment).next_back().map(|(id, _)| id.number);
        let number = newest.map_or(0, |number| number.saturating_add(1));
        let key = Agreement::draw(&mut self.rng);
        let epoch = EpochId::of(number, key.public());
        let previous = self.link_back(state, compartment, epoch, &key)?;
        plan.rotations.push(Rotation { compartment, number, public: *key.public(), previous });
        for reader in readers {
            plan.hand_out(EpochName { compartment, epoch }, &key, reader);
        }
        Ok(())
    }

    /// The key of the newest epoch that this device has, for whoever reads the new one; none if newcomers are not to
    /// read back without end.
    fn link_back(
        &mut self,
        state: &State,
        compartment: CompartmentId,
        new: EpochId,
        key: &Agreement,
    ) -> Result<Option<PreviousKey>, Error> {
        if history_ms(state).is_some() {
            return Ok(None);
        }
        let keys = &self.group()?.epoch_keys;
        let held = |(old, _): (EpochId, _)| Some((old, keys.get(&(compartment, old))?.clone()));
        let Some((old, old_key)) = state.epochs(compartment).rev().find_map(held) else { return Ok(None) };
        let purpose = SealPurpose::EpochChain { compartment, old, new };
        let sealed = seal(&mut self.rng, key.public(), &purpose, old_key.secret());
        let sealed = sealed.map_err(|e| Error::Admission(e.to_string()))?;
        Ok(Some(PreviousKey { epoch: old, sealed }))
    }

    /// Plans that `devices` can read a compartment, back as far as the group has agreed.
    pub(super) fn let_read(
        &mut self,
        plan: &mut KeyPlan,
        state: &State,
        compartment: CompartmentId,
        devices: &[ReaderDevice],
    ) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let keys = &self.group()?.epoch_keys;
        let newest = state.newest_epoch(compartment);
        let held = newest.and_then(|(id, row)| Some((id, row, keys.get(&(compartment, id))?.clone())));
        // Where not even a coordinator reads, a new epoch begins for the newcomer and the readers there are.
        let Some((id, row, key)) = held else {
            return self.begin_epoch(plan, state, compartment, &|_| true, devices);
        };
        let Some(history_ms) = history_ms(state) else {
            let name = EpochName { compartment, epoch: id };
            devices.iter().for_each(|device| plan.hand_out(name, &key, *device));
            return Ok(());
        };
        let is_young = |began_ms: u64| now_ms.saturating_sub(began_ms) <= history_ms;
        if !is_young(row.began_ms) {
            return self.begin_epoch(plan, state, compartment, &|_| true, devices);
        }
        for (epoch, _) in state.epochs(compartment).filter(|(_, row)| is_young(row.began_ms)) {
            if let Some(key) = keys.get(&(compartment, epoch)) {
                let name = EpochName { compartment, epoch };
                devices.iter().for_each(|device| plan.hand_out(name, key, *device));
            }
        }
        Ok(())
    }

    /// Plans that a device of the same member gets the keys that this one has: as many as one operation holds, as who
    /// does not govern has but one.
    pub(super) fn share_keys(
        &mut self,
        plan: &mut KeyPlan,
        state: &State,
        device: ReaderDevice,
    ) -> Result<(), Error> {
        let own = self.device_id();
        for row in state.template().compartments.iter().filter(|row| state.may_read(own, row.id)) {
            // What the newest lead back to needs no grant of its own.
            let mut reached = BTreeSet::new();
            for (epoch, epoch_row) in state.epochs(row.id).rev() {
                let key = self.group()?.epoch_keys.get(&(row.id, epoch));
                let has_room = plan.keys.len() < limits::GRANTED_EPOCHS_MAX;
                let is_reached = reached.contains(&epoch);
                let handed_out = key.filter(|_| has_room && !is_reached);
                if let Some(key) = handed_out {
                    plan.hand_out(EpochName { compartment: row.id, epoch }, key, device);
                }
                if is_reached || handed_out.is_some() {
                    reached.extend(epoch_row.previous.as_ref().map(|previous| previous.epoch));
                }
            }
        }
        Ok(())
    }

    /// Appends an operation with what was planned. What does not fit into it follows in operations of its own.
    pub(super) fn append_with_keys(
        &mut self,
        batch: &mut Batch,
        plan: KeyPlan,
        operation: impl FnOnce(KeyUpdate) -> Operation,
    ) -> Result<(), Error> {
        let mut updates = self.sealed(plan).into_iter();
        self.append_operation(batch, &operation(updates.next().unwrap_or_default()))?;
        updates.try_for_each(|keys| self.append_operation(batch, &Operation::KeyUpdate(keys)))
    }

    /// Seals to each device what it gets: one seal for all its keys in one operation.
    fn sealed(&mut self, plan: KeyPlan) -> Vec<KeyUpdate> {
        let KeyPlan { rotations, keys, readers } = plan;
        let names: Vec<EpochName> = keys.keys().copied().collect();
        let mut updates = vec![KeyUpdate { rotations, ..KeyUpdate::default() }];
        for epochs in names.chunks(limits::GRANTED_EPOCHS_MAX) {
            let mut grants: Vec<Grant> = Vec::new();
            let mut bytes = 0;
            for (device, (agreement, wanted)) in &readers {
                let mask = epochs.iter().enumerate().filter(|(_, name)| wanted.contains(name));
                let mask = mask.fold(0_u32, |mask, (at, _)| mask | 1 << at);
                if mask == 0 {
                    continue;
                }
                let theirs = epochs.iter().filter(|name| wanted.contains(name));
                let theirs: Vec<_> = theirs
                    .filter_map(|name| Some((name.compartment, name.epoch, keys.get(name)?.secret())))
                    .collect();
                // A device with an unusable key harms itself alone.
                let sealed = seal_epochs(&mut self.rng, agreement, &theirs);
                let Ok(sealed) = sealed else { continue };
                if bytes + GRANT_BYTES + 32 * theirs.len() > GRANT_BYTES_MAX
                    || grants.len() == limits::GRANTS_MAX
                {
                    put_grants(&mut updates, epochs, std::mem::take(&mut grants));
                    bytes = 0;
                }
                bytes += GRANT_BYTES + 32 * theirs.len();
                grants.push(Grant { device: *device, mask, sealed });
            }
            put_grants(&mut updates, epochs, grants);
        }
        updates
    }

    /// Mends the keys, as far as this device may and can. One that governs begins new epochs where somebody who was taken
    /// out holds the key to what is written, where the group has agreed that the key is old, or where nobody is left who
    /// could hand this device the key; and hands out the keys that readers lack. Any other hands those who govern the
    /// keys that none of them has: of a group whose only coordinator came back with the recovery words, say.
    ///
    /// Somebody who was admitted while somebody else rotated, neither knowing of the other, is in nobody's grants: who
    /// hears of both mends it (PROTOCOL.md §4.6). To be called with everything fetched, lest it mend what is mended.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn mend_keys(&mut self) -> Result<(), Error> {
        self.fresh()?;
        if self.must_know_roll().is_err() {
            return Ok(());
        }
        let governs = self.state()?.governs(self.device_id());
        if governs {
            self.complete_proposals()?;
        } else if self.state()?.device(self.device_id()).is_none() {
            return Ok(());
        }
        let state = Arc::clone(self.state()?);
        let mut plan = KeyPlan::default();
        let rows = state.template().compartments.iter().map(|row| row.id);
        for compartment in rows.filter(|id| *id != CompartmentId::ROLL) {
            if governs
                && (state.is_exposed(compartment)
                    || self.is_old(&state, compartment)?
                    || self.is_locked_out(&state, compartment)?)
            {
                self.begin_epoch(&mut plan, &state, compartment, &|_| true, &[])?;
            } else {
                self.grant_missing(&mut plan, &state, compartment, governs)?;
            }
        }
        if plan.is_empty() {
            return if governs { self.acknowledge() } else { Ok(()) };
        }
        self.transact(|engine, batch| engine.append_with_keys(batch, plan, Operation::KeyUpdate))?;
        self.absorb_keys()?;
        Ok(())
    }

    /// Writes an entry that changes nothing, if somebody was made a coordinator of whom this device's own entries do not know
    /// yet: from then on nobody who steals this device can cite a past without them (PROTOCOL.md §4.3).
    fn acknowledge(&mut self) -> Result<(), Error> {
        if self.group()?.roll.unacknowledged_since(self.device_id()).is_none() {
            return Ok(());
        }
        let nothing = Operation::KeyUpdate(KeyUpdate::default());
        self.transact(|engine, batch| engine.append_operation(batch, &nothing))
    }

    fn is_old(&self, state: &State, compartment: CompartmentId) -> Result<bool, Error> {
        let Some(days) = state.setting(settings::ROTATE_DAYS).filter(|days| *days > 0) else {
            return Ok(false);
        };
        // Only who reads it: for the others a new epoch would take the old one out of reach.
        let keys = &self.group()?.epoch_keys;
        let newest = state.newest_epoch(compartment).filter(|(id, _)| keys.contains_key(&(compartment, *id)));
        let age_ms = newest.map(|(_, row)| self.clock.now_ms().saturating_sub(row.began_ms));
        Ok(age_ms.is_some_and(|age_ms| age_ms > days.saturating_mul(DAY_MS)))
    }

    /// Whether this device may read a compartment, lacks the key to what is written, and no other member has it who could
    /// hand it out: after the only coordinator came back with the recovery code.
    fn is_locked_out(&self, state: &State, compartment: CompartmentId) -> Result<bool, Error> {
        let (own, me) = (self.device_id(), self.member_id());
        let Some((epoch, _)) = state.newest_epoch(compartment) else { return Ok(false) };
        if !state.may_read(own, compartment) || self.group()?.epoch_keys.contains_key(&(compartment, epoch)) {
            return Ok(false);
        }
        let granted = state.granted(EpochName { compartment, epoch });
        let mut holders = granted.into_iter().filter_map(|device| state.device(device));
        let can_grant = |role| state.template().governs(role);
        Ok(!holders.any(|(device, role)| device.member != me && can_grant(role)))
    }

    /// Plans grants for readers' devices that were not granted an epoch and do not reach it from a newer one, where
    /// this device has the epoch's key. One that does not govern looks to those who do, and leaves to them what another
    /// member among them was given.
    fn grant_missing(
        &self,
        plan: &mut KeyPlan,
        state: &State,
        compartment: CompartmentId,
        governs: bool,
    ) -> Result<(), Error> {
        let keys = &self.group()?.epoch_keys;
        let mut readers = state.readers(compartment);
        readers.retain(|(device, _)| governs || state.governs(*device));
        // Where newcomers do not read back without end, what they lack of the past they lack on purpose.
        let epochs_max = if history_ms(state).is_some() { 1 } else { usize::MAX };
        // From the newest down: whoever has a grant, or gets one now, reaches the epoch before from there.
        let mut reached = BTreeSet::new();
        for (epoch, row) in state.epochs(compartment).rev().take(epochs_max) {
            let name = EpochName { compartment, epoch };
            let is_reached = reached.contains(&epoch);
            let key = keys.get(&(compartment, epoch));
            let granted = if governs { state.granted(name) } else { state.holders(name) };
            let (with, without): (Vec<_>, Vec<_>) =
                readers.iter().partition(|(device, _)| granted.contains(device));
            if let Some(key) = key.filter(|_| !is_reached) {
                for (device, row) in &without {
                    if governs || with.iter().all(|(_, other)| other.member == row.member) {
                        plan.hand_out(name, key, (*device, row.agreement));
                    }
                }
            }
            // From an epoch whose key this device lacks too, not everybody reaches the one before.
            if is_reached || key.is_some() || without.is_empty() {
                reached.extend(row.previous.as_ref().map(|previous| previous.epoch));
            }
        }
        Ok(())
    }

    /// Begins a new epoch of a compartment that this device reads: sealed to its readers, linked to the one before.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs and reads the compartment.
    pub fn rotate(&mut self, compartment: CompartmentId) -> Result<EpochId, Error> {
        self.must_govern("rotate keys")?;
        let state = Arc::clone(self.state()?);
        if !state.may_read(self.device_id(), compartment) || compartment == CompartmentId::ROLL {
            return Err(Error::Role("rotate the key of a compartment that it cannot read"));
        }
        let mut plan = KeyPlan::default();
        self.begin_epoch(&mut plan, &state, compartment, &|_| true, &[])?;
        self.transact(|engine, batch| engine.append_with_keys(batch, plan, Operation::KeyUpdate))?;
        self.absorb_keys()?;
        let newest = self.state()?.newest_epoch(compartment).map(|(epoch, _)| epoch);
        newest.ok_or(Error::Role("rotate the key of a compartment that nobody reads"))
    }
}

fn put_grants(updates: &mut Vec<KeyUpdate>, epochs: &[EpochName], grants: Vec<Grant>) {
    if grants.is_empty() {
        return;
    }
    let epochs = epochs.to_vec();
    match updates.last_mut().filter(|update| update.grants.is_empty()) {
        Some(update) => (update.epochs, update.grants) = (epochs, grants),
        None => updates.push(KeyUpdate { rotations: Vec::new(), epochs, grants }),
    }
}

/// How far back a newcomer may read, in milliseconds; none for without end.
fn history_ms(state: &State) -> Option<u64> {
    state.setting(settings::HISTORY_DAYS).filter(|days| *days > 0).map(|days| days.saturating_mul(DAY_MS))
}
