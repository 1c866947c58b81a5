//! Opening the epoch keys that the roll hands to this installation.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::hash::tagged;
use crate::base::{EpochId, Hash, cbor};
use crate::entry::keys::{Agreement, SealPurpose};
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::storage::{Batch, Store, Table};

/// Name of a seal → nothing: it was tried and gave not every key that it names.
pub(in crate::replica) const SPENT_SEALS: Table = Table(21);

/// Seals that are not tried again. Anybody who belongs can hand out worthless ones, and each costs a key agreement.
#[derive(Default)]
pub(in crate::replica) struct SpentSeals {
    names: BTreeSet<Hash>,
    /// Not on disk yet.
    fresh: Vec<Hash>,
    /// Seals tried since the store was opened.
    pub tried: u64,
}

impl SpentSeals {
    /// Reads those of a store.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn load(store: &dyn Store) -> Result<Self, Error> {
        let rows = store.scan(SPENT_SEALS, &[], None, usize::MAX)?;
        let names = rows.iter().filter_map(|(key, _)| Some(Hash(key.as_slice().try_into().ok()?)));
        Ok(Self { names: names.collect(), ..Self::default() })
    }

    /// Tries a seal unless it is spent. It is spent if `open` says so: by giving not every key that it names.
    fn try_once(&mut self, name: Hash, open: impl FnOnce() -> bool) {
        if self.names.contains(&name) {
            return;
        }
        self.tried += 1;
        if !open() {
            self.names.insert(name);
            self.fresh.push(name);
        }
    }

    fn save(&mut self, store: &dyn Store) -> Result<(), Error> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        self.fresh.iter().for_each(|name| batch.put(SPENT_SEALS, name.as_bytes().to_vec(), Vec::new()));
        store.apply(batch)?;
        self.fresh.clear();
        Ok(())
    }
}

impl Engine {
    /// Opens every epoch key that the roll hands to this device, and through the chains the ones before. Each seal is tried
    /// once: what it is worth depends on its bytes and this device's key alone, so that spent ones are written at once,
    /// whatever becomes of the write under way.
    ///
    /// # Errors
    /// Errors of the store.
    pub(in crate::replica) fn absorb_keys(&mut self) -> Result<(), Error> {
        let Some(group) = self.group.as_mut() else { return Ok(()) };
        // A locked device has no key to open any with.
        let Ok(secrets) = self.identity.secrets() else { return Ok(()) };
        let state = Arc::clone(group.roll.state());
        let (keys, spent) = (&mut group.epoch_keys, &mut group.spent_seals);
        let devices = secrets.former.iter().map(|(device, agreement)| (*device, agreement));
        let devices = devices.chain([(self.identity.device_id, &secrets.agreement)]);
        let grants = devices.flat_map(|(device, agreement)| {
            state.grants_to(device).map(move |(epochs, sealed)| (agreement, epochs, sealed))
        });
        for (agreement, epochs, sealed) in grants {
            let names: Vec<_> = epochs.iter().map(|name| (name.compartment, name.epoch)).collect();
            if names.iter().all(|name| keys.contains_key(name)) {
                continue;
            }
            let (public, named) = (agreement.public().as_slice(), cbor::encode(&epochs));
            let seal = tagged(SEAL, &[public, &named, &sealed.encapsulated, &sealed.ciphertext]);
            spent.try_once(seal, || {
                let secrets = agreement.open_epochs(&names, sealed).unwrap_or_default();
                // A key that does not fit its epoch was granted in error or in malice.
                for (name, secret) in names.iter().zip(secrets) {
                    let key = Agreement::from_secret(secret);
                    if EpochId::of(name.1.number, key.public()) == name.1 {
                        keys.entry(*name).or_insert(key);
                    }
                }
                names.iter().all(|name| keys.contains_key(name))
            });
        }
        for row in &state.template().compartments {
            for (id, epoch) in state.epochs(row.id).rev() {
                let (Some(key), Some(previous)) = (keys.get(&(row.id, id)), &epoch.previous) else {
                    continue;
                };
                let old = previous.epoch;
                if keys.contains_key(&(row.id, old)) {
                    continue;
                }
                let (key, sealed) = (key.clone(), &previous.sealed);
                let place = [&[row.id.0][..], &old.to_bytes(), &id.to_bytes()].concat();
                let public = key.public().as_slice();
                let seal = tagged(SEAL, &[public, &place, &sealed.encapsulated, &sealed.ciphertext]);
                spent.try_once(seal, || {
                    let purpose = SealPurpose::EpochChain { compartment: row.id, old, new: id };
                    let opened = key.open(&purpose, sealed).map(Agreement::from_secret).ok();
                    let fits = opened.filter(|key| EpochId::of(old.number, key.public()) == old);
                    fits.map(|old_key| keys.insert((row.id, old), old_key)).is_some()
                });
            }
        }
        spent.save(&*self.store)
    }
}

const SEAL: &[u8] = b"lamppost/1/spent-seal";
