//! How many signatures strangers may have checked: for one address and for one group, refilled evenly.
//!
//! A stranger's key is new and costs nothing; so nothing is counted by key. Whoever brings a group's membership log back to
//! a relay that lost it is a stranger, too, and needs the burst.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use lamppost_core::base::GroupId;

use crate::places::Address;
use crate::relay::lock;
use crate::session::STRANGER_ENTRIES_MAX;

/// Signatures at once: the membership log of a large group.
const BURST: u64 = STRANGER_ENTRIES_MAX as u64;

/// Milliseconds in which one signature more may be checked. An hour refills seven eighths of the burst.
const REFILL_MS: u64 = 500;

/// Buckets kept before the full ones, which say nothing, are thrown away.
const BUCKETS_MAX: usize = 10_000;

/// The budgets of all strangers.
#[derive(Default)]
pub struct Budgets {
    by_address: Mutex<Buckets<Address>>,
    by_group: Mutex<Buckets<GroupId>>,
}

impl Budgets {
    /// Takes up to `wanted` signatures at `now_ms`, by a clock that goes forward. Returns how many may be checked.
    pub fn take(&self, group: GroupId, address: Option<Address>, wanted: usize, now_ms: u64) -> usize {
        let granted = match address {
            Some(address) => lock(&self.by_address).take(address, wanted as u64, now_ms),
            None => wanted as u64,
        };
        let of_group = lock(&self.by_group).take(group, granted, now_ms);
        if let Some(address) = address {
            lock(&self.by_address).give_back(address, granted - of_group);
        }
        usize::try_from(of_group).unwrap_or(usize::MAX)
    }

    /// Gives back what was not used.
    pub fn give_back(&self, group: GroupId, address: Option<Address>, unused: usize) {
        if let Some(address) = address {
            lock(&self.by_address).give_back(address, unused as u64);
        }
        lock(&self.by_group).give_back(group, unused as u64);
    }
}

/// Token buckets, by what is counted.
struct Buckets<K>(HashMap<K, Bucket>);

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

struct Bucket {
    left: u64,
    at_ms: u64,
}

impl Bucket {
    fn refill(&mut self, now_ms: u64) {
        let steps = now_ms.saturating_sub(self.at_ms) / REFILL_MS;
        self.left = self.left.saturating_add(steps).min(BURST);
        self.at_ms = self.at_ms.saturating_add(steps * REFILL_MS);
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn take(&mut self, key: K, wanted: u64, now_ms: u64) -> u64 {
        if self.0.len() >= BUCKETS_MAX {
            self.0.retain(|_, bucket| {
                bucket.refill(now_ms);
                bucket.left < BURST
            });
        }
        let bucket = self.0.entry(key).or_insert(Bucket { left: BURST, at_ms: now_ms });
        bucket.refill(now_ms);
        let granted = wanted.min(bucket.left);
        bucket.left -= granted;
        granted
    }

    fn give_back(&mut self, key: K, unused: u64) {
        if let Some(bucket) = self.0.get_mut(&key) {
            bucket.left = bucket.left.saturating_add(unused).min(BURST);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(n: u8) -> Option<Address> {
        Address::of(IpAddr::from([192, 0, 2, n]), &[], None)
    }

    #[test]
    fn one_address_and_one_group_have_so_much() {
        let (budgets, burst) = (Budgets::default(), usize::try_from(BURST).unwrap());
        let group = |n: u8| GroupId([n; 32]);
        assert_eq!(budgets.take(group(1), address(1), burst + 1, 0), burst);
        assert_eq!(budgets.take(group(2), address(1), 1, 0), 0, "the address has none left");
        assert_eq!(budgets.take(group(1), address(2), 1, 0), 0, "the group has none left");
        assert_eq!(budgets.take(group(2), address(2), burst, 0), burst, "what was not granted is not taken");
        assert_eq!(budgets.take(group(1), address(1), 10, 5 * REFILL_MS), 5);
        budgets.give_back(group(1), address(1), 3);
        assert_eq!(budgets.take(group(1), address(1), 10, 5 * REFILL_MS), 3);
    }
}
