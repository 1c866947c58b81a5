//! Places for sessions: those of devices that belong are kept apart from those of strangers, which are few.
//!
//! A stranger is whoever has proven to hold a device's key, and of whom no group here knows that device. Keys cost
//! nothing; so strangers are counted by group and by address, and none takes the place of a device that belongs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use lamppost_core::base::{DeviceId, GroupId};
use lamppost_core::sync::frame::{Refusal, Refused};

use crate::relay::lock;

/// An address as far as one party is counted by it: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(IpAddr);

impl Address {
    /// The address that a connection is counted by; none if that is not known. `forwarded` is what a proxy says: the last
    /// address in it is the one that our proxy has added.
    pub fn of(peer: IpAddr, proxies: &[IpAddr], forwarded: Option<&str>) -> Option<Self> {
        let peer = peer.to_canonical();
        if !peer.is_loopback() && !proxies.iter().any(|proxy| proxy.to_canonical() == peer) {
            return Some(Self::network(peer));
        }
        let last = forwarded?.rsplit(',').next()?.trim();
        last.parse().ok().map(|address: IpAddr| Self::network(address.to_canonical()))
    }

    fn network(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }
}

/// How many places there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// For devices that belong.
    pub members: usize,
    /// For devices of one group that belong to it.
    pub group_members: usize,
    /// For one device that belongs.
    pub device: usize,
    /// For strangers.
    pub strangers: usize,
    /// For strangers who ask for one group.
    pub group_strangers: usize,
    /// For strangers from one address.
    pub address_strangers: usize,
}

/// All places of a relay.
pub struct Places {
    capacity: Capacity,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    members: usize,
    strangers: usize,
    members_by_group: HashMap<GroupId, usize>,
    sessions_by_device: HashMap<(GroupId, DeviceId), usize>,
    strangers_by_group: HashMap<GroupId, usize>,
    strangers_by_address: HashMap<Address, usize>,
}

/// Who takes a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The group.
    pub group: GroupId,
    /// The device.
    pub device: DeviceId,
    /// Where from; none if that is not known.
    pub address: Option<Address>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// All places for devices that belong are taken.
    #[error("the relay has as many sessions as it can hold")]
    Members,
    /// The group's are.
    #[error("the group has as many sessions as this relay allows")]
    Group,
    /// The device's are.
    #[error("this device has as many sessions as this relay allows: close the others")]
    Device,
    /// All places for strangers are taken: in all, of the group or of the address.
    #[error("too many devices that do not belong to a group are here: try again in a minute")]
    Strangers,
}

impl NoPlace {
    /// The name of the reason, in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Group => "group",
            Self::Device => "device",
            Self::Strangers => "strangers",
        }
    }

    /// What the phone is told.
    pub fn refusal(self) -> Refused {
        Refused { retry_after_ms: Some(60_000), ..Refused::new(Refusal::RATE, self) }
    }
}

/// A session's place. Dropping it gives the place back.
pub struct Place {
    places: Arc<Places>,
    guest: Guest,
    belongs: bool,
}

impl Places {
    /// Sets up so many places.
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, taken: Mutex::default() }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// [`NoPlace`]
    pub fn take(self: &Arc<Self>, guest: Guest, belongs: bool) -> Result<Place, NoPlace> {
        lock(&self.taken).add(guest, belongs, &self.capacity)?;
        Ok(Place { places: Arc::clone(self), guest, belongs })
    }

    /// How many sessions there are of devices that belong, and of strangers.
    pub fn counts(&self) -> (usize, usize) {
        let taken = lock(&self.taken);
        (taken.members, taken.strangers)
    }
}

impl Place {
    /// Whether it is the place of a device that belongs.
    pub fn belongs(&self) -> bool {
        self.belongs
    }

    /// Changes places once the device belongs, or does not any more.
    ///
    /// # Errors
    /// [`NoPlace`]; the place stays the one that it was.
    pub fn set_belongs(&mut self, belongs: bool) -> Result<(), NoPlace> {
        if belongs != self.belongs {
            let mut taken = lock(&self.places.taken);
            taken.add(self.guest, belongs, &self.places.capacity)?;
            taken.remove(self.guest, self.belongs);
            self.belongs = belongs;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.taken).remove(self.guest, self.belongs);
    }
}

impl Taken {
    fn add(&mut self, guest: Guest, belongs: bool, capacity: &Capacity) -> Result<(), NoPlace> {
        let Guest { group, device, address } = guest;
        if belongs {
            let of_device = self.sessions_by_device.get(&(group, device)).copied().unwrap_or_default();
            let of_group = self.members_by_group.get(&group).copied().unwrap_or_default();
            if of_device >= capacity.device {
                return Err(NoPlace::Device);
            }
            if of_group >= capacity.group_members {
                return Err(NoPlace::Group);
            }
            if self.members >= capacity.members {
                return Err(NoPlace::Members);
            }
            self.members += 1;
            *self.members_by_group.entry(group).or_default() += 1;
            *self.sessions_by_device.entry((group, device)).or_default() += 1;
            return Ok(());
        }
        let of_group = self.strangers_by_group.get(&group).copied().unwrap_or_default();
        let of_address = address.and_then(|address| self.strangers_by_address.get(&address).copied());
        if self.strangers >= capacity.strangers
            || of_group >= capacity.group_strangers
            || of_address.unwrap_or_default() >= capacity.address_strangers
        {
            return Err(NoPlace::Strangers);
        }
        self.strangers += 1;
        *self.strangers_by_group.entry(group).or_default() += 1;
        if let Some(address) = address {
            *self.strangers_by_address.entry(address).or_default() += 1;
        }
        Ok(())
    }

    fn remove(&mut self, guest: Guest, belongs: bool) {
        let Guest { group, device, address } = guest;
        if belongs {
            self.members -= 1;
            one_less(self.members_by_group.entry(group));
            one_less(self.sessions_by_device.entry((group, device)));
        } else {
            self.strangers -= 1;
            one_less(self.strangers_by_group.entry(group));
            if let Some(address) = address {
                one_less(self.strangers_by_address.entry(address));
            }
        }
    }
}

/// Counts one down, and leaves nothing behind at none.
fn one_less<K>(entry: Entry<'_, K, usize>) {
    if let Entry::Occupied(mut count) = entry {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(group: u8, device: u8, address: Option<[u8; 4]>) -> Guest {
        let address = address.map(|address| Address::network(IpAddr::from(address)));
        Guest { group: GroupId([group; 32]), device: DeviceId([device; 32]), address }
    }

    fn places() -> Arc<Places> {
        Arc::new(Places::new(Capacity {
            members: 6,
            group_members: 4,
            device: 2,
            strangers: 5,
            group_strangers: 3,
            address_strangers: 2,
        }))
    }

    #[test]
    fn strangers_take_no_places_of_members() {
        let places = places();
        let strangers: Vec<_> = (0..9).filter_map(|n| places.take(guest(1, n, None), false).ok()).collect();
        assert_eq!(strangers.len(), 3, "of one group");
        let _others: Vec<_> = (0..9).filter_map(|n| places.take(guest(2, n, None), false).ok()).collect();
        assert_eq!(places.counts(), (0, 5));
        let first = places.take(guest(1, 50, None), true).unwrap();
        let _second = places.take(guest(1, 50, None), true).unwrap();
        assert_eq!(places.take(guest(1, 50, None), true).err(), Some(NoPlace::Device));
        let _more: Vec<_> = (51..53).map(|n| places.take(guest(1, n, None), true).unwrap()).collect();
        assert_eq!(places.take(guest(1, 60, None), true).err(), Some(NoPlace::Group));
        drop((first, strangers));
        places.take(guest(1, 60, None), true).unwrap();
    }

    #[test]
    fn one_address_brings_few_strangers() {
        let places = places();
        let from = |n, address| places.take(guest(n, n, Some(address)), false);
        let _kept = [from(1, [1, 1, 1, 1]).unwrap(), from(2, [1, 1, 1, 1]).unwrap()];
        assert_eq!(from(3, [1, 1, 1, 1]).err(), Some(NoPlace::Strangers));
        from(3, [1, 1, 1, 2]).unwrap();
    }

    #[test]
    fn who_comes_to_belong_changes_places_and_leaves_nothing_behind() {
        let places = places();
        let mut place = places.take(guest(1, 1, Some([1, 1, 1, 1])), false).unwrap();
        place.set_belongs(true).unwrap();
        assert_eq!(places.counts(), (1, 0));
        drop(place);
        let taken = lock(&places.taken);
        assert!(taken.members_by_group.is_empty() && taken.sessions_by_device.is_empty());
        assert!(taken.strangers_by_group.is_empty() && taken.strangers_by_address.is_empty());
    }

    #[test]
    fn addresses_are_those_that_our_proxy_saw() {
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        let network = |text: &str| Some(Address(peer(text)));
        // Whoever connects directly cannot name another address.
        assert_eq!(Address::of(peer("192.0.2.1"), &[], Some("198.51.100.7")), network("192.0.2.1"));
        assert_eq!(Address::of(peer("::ffff:192.0.2.1"), &[], None), network("192.0.2.1"));
        // A proxy adds what it saw behind what it was told.
        let told = Some("10.0.0.1, 198.51.100.7");
        assert_eq!(Address::of(peer("127.0.0.1"), &[], told), network("198.51.100.7"));
        assert_eq!(Address::of(peer("192.0.2.1"), &[peer("192.0.2.1")], told), network("198.51.100.7"));
        assert_eq!(Address::of(peer("127.0.0.1"), &[], None), None);
        let one = Address::of(peer("2001:db8:1:2:3::4"), &[], None);
        assert_eq!(one, Address::of(peer("2001:db8:1:2:ffff::1"), &[], None));
    }
}
