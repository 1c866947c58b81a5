//! Which epochs there are and which keys were handed to whom, in any past (PROTOCOL.md §4.3).

use std::collections::{BTreeMap, BTreeSet};

use super::history::At;
use super::operation::{EpochName, KeyUpdate};
use crate::base::{DeviceId, MemberId, Template};

/// Every epoch that an entry begins and every key that one hands out. Names are numbered: a rotation of a large group hands
/// out a thousand keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Handouts {
    epochs: BTreeMap<EpochName, Begun>,
    devices: BTreeMap<DeviceId, u32>,
    members: BTreeMap<MemberId, u32>,
    /// Member, device, epoch, and the entry by which the one handed the key to the other.
    given: BTreeSet<(u32, u32, u32, At)>,
}

#[derive(Clone, Debug)]
struct Begun {
    number: u32,
    by: Vec<At>,
}

impl Handouts {
    /// Notes what an entry of a member begins and hands out.
    pub fn add(&mut self, at: At, member: MemberId, keys: &KeyUpdate) {
        for rotation in &keys.rotations {
            let name = EpochName { compartment: rotation.compartment, epoch: rotation.epoch() };
            let number = next(self.epochs.len());
            self.epochs.entry(name).or_insert_with(|| Begun { number, by: Vec::new() }).by.push(at);
        }
        let number = next(self.members.len());
        let member = *self.members.entry(member).or_insert(number);
        for grant in &keys.grants {
            let number = next(self.devices.len());
            let device = *self.devices.entry(grant.device).or_insert(number);
            for name in keys.granted(grant) {
                if let Some(epoch) = self.epochs.get(&name) {
                    self.given.insert((member, device, epoch.number, at));
                }
            }
        }
    }

    /// Takes out the grants without effect: those that name an epoch which neither the operation nor an entry that its author
    /// `knows` begins, and those of nothing but what the author's member gave the device before.
    pub fn keep_effective(
        &self,
        keys: &mut KeyUpdate,
        member: MemberId,
        template: &Template,
        knows: &dyn Fn(At) -> bool,
    ) {
        let begun: BTreeSet<EpochName> = keys
            .rotations
            .iter()
            .map(|rotation| EpochName { compartment: rotation.compartment, epoch: rotation.epoch() })
            .collect();
        let is_there = |name: &EpochName| {
            let earlier = self.epochs.get(name).into_iter().flat_map(|begun| &begun.by);
            template.compartment(name.compartment).is_some()
                && (begun.contains(name) || earlier.copied().any(knows))
        };
        let there: Vec<bool> = keys.epochs.iter().map(is_there).collect();
        let mut given_here: BTreeSet<(DeviceId, usize)> = BTreeSet::new();
        let epochs = std::mem::take(&mut keys.epochs);
        keys.grants.retain(|grant| {
            let named: Vec<usize> = (0..epochs.len()).filter(|bit| grant.mask >> bit & 1 == 1).collect();
            if !named.iter().all(|bit| there.get(*bit) == Some(&true)) {
                return false;
            }
            let mut adds = false;
            for bit in named {
                let before = epochs.get(bit).is_some_and(|name| self.gave(member, grant.device, name, knows));
                adds |= given_here.insert((grant.device, bit)) && !before;
            }
            adds
        });
        keys.epochs = epochs;
    }

    fn gave(&self, member: MemberId, device: DeviceId, name: &EpochName, knows: &dyn Fn(At) -> bool) -> bool {
        let numbers = self.members.get(&member).zip(self.devices.get(&device)).zip(self.epochs.get(name));
        numbers.is_some_and(|((member, device), epoch)| {
            let of = |at| (*member, *device, epoch.number, at);
            self.given.range(of(0)..=of(At::MAX)).any(|(.., at)| knows(*at))
        })
    }
}

fn next(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
