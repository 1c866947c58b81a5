//! How much one device may push: a token bucket per device, refilled evenly over a minute.
//!
//! Time is counted in steps of the clock that is given: a clock that is set back adds nothing, and goes on from there.

use std::collections::HashMap;

use lamppost_core::base::{DeviceId, GroupId};

const MINUTE_MS: u64 = 60_000;

/// Buckets kept before the full ones, which say nothing, are thrown away.
const BUCKETS_MAX: usize = 20_000;

/// The buckets of all devices that pushed lately.
pub struct Rates {
    entries_per_minute: u64,
    buckets: HashMap<(GroupId, DeviceId), Bucket>,
    /// Milliseconds by which the clock went forward since the start.
    elapsed_ms: u64,
    /// What the clock said last.
    clock_ms: Option<u64>,
}

/// Tokens are counted in 60,000ths, so that one millisecond adds `entries_per_minute` of them exactly.
struct Bucket {
    parts: u64,
    at_ms: u64,
}

/// How much of what was wanted may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Entries that may be taken now.
    pub entries: usize,
    /// Milliseconds after which as many as were wanted may be taken.
    pub retry_after_ms: u64,
}

impl Rates {
    /// Allows each device `entries_per_minute`, and as many at once after a minute of silence.
    pub fn new(entries_per_minute: u64) -> Self {
        let entries_per_minute = entries_per_minute.clamp(1, u64::from(u32::MAX));
        Self { entries_per_minute, buckets: HashMap::new(), elapsed_ms: 0, clock_ms: None }
    }

    /// Takes up to `wanted` entries out of a device's bucket when the clock says `clock_ms`.
    pub fn take(&mut self, group: GroupId, device: DeviceId, wanted: usize, clock_ms: u64) -> Granted {
        let before_ms = self.clock_ms.replace(clock_ms).unwrap_or(clock_ms);
        self.elapsed_ms = self.elapsed_ms.saturating_add(clock_ms.saturating_sub(before_ms));
        let now_ms = self.elapsed_ms;
        let (rate, full) = (self.entries_per_minute, self.entries_per_minute * MINUTE_MS);
        let refill = |bucket: &Bucket| {
            let span_ms = now_ms.saturating_sub(bucket.at_ms);
            bucket.parts.saturating_add(span_ms.saturating_mul(rate)).min(full)
        };
        if self.buckets.len() >= BUCKETS_MAX {
            self.buckets.retain(|_, bucket| refill(bucket) < full);
        }
        let bucket = self.buckets.entry((group, device)).or_insert(Bucket { parts: full, at_ms: now_ms });
        bucket.parts = refill(bucket);
        bucket.at_ms = now_ms;
        let wanted = wanted as u64;
        let granted = wanted.min(bucket.parts / MINUTE_MS);
        bucket.parts -= granted * MINUTE_MS;
        let lacking = (wanted - granted).min(rate) * MINUTE_MS;
        Granted {
            entries: usize::try_from(granted).unwrap_or(usize::MAX),
            retry_after_ms: lacking.saturating_sub(bucket.parts).div_ceil(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_refills_evenly() {
        let (group, device) = (GroupId([1; 32]), DeviceId([2; 32]));
        let mut rates = Rates::new(60);
        assert_eq!(rates.take(group, device, 50, 0), Granted { entries: 50, retry_after_ms: 0 });
        assert_eq!(rates.take(group, device, 20, 0), Granted { entries: 10, retry_after_ms: 10_000 });
        assert_eq!(rates.take(group, device, 20, 10_000), Granted { entries: 10, retry_after_ms: 10_000 });
        assert_eq!(rates.take(group, device, 100, 10_000_000).entries, 60);
    }

    #[test]
    fn a_clock_set_back_starves_nobody() {
        const YEAR_MS: u64 = 365 * 24 * 60 * MINUTE_MS;
        let (group, device) = (GroupId([1; 32]), DeviceId([2; 32]));
        let mut rates = Rates::new(60);
        assert_eq!(rates.take(group, device, 60, YEAR_MS).entries, 60);
        // Setting it back gives nothing by itself; from then on the bucket refills as it did.
        assert_eq!(rates.take(group, device, 1, 0), Granted { entries: 0, retry_after_ms: 1_000 });
        assert_eq!(rates.take(group, device, 60, 20_000).entries, 20);
    }

    #[test]
    fn one_device_does_not_use_up_anothers_share() {
        let mut rates = Rates::new(10);
        assert_eq!(rates.take(GroupId([1; 32]), DeviceId([2; 32]), 100, 0).entries, 10);
        assert_eq!(rates.take(GroupId([1; 32]), DeviceId([3; 32]), 5, 0).entries, 5);
    }

    #[test]
    fn full_buckets_are_thrown_away() {
        let mut rates = Rates::new(10);
        for n in 0..BUCKETS_MAX {
            let mut device = [0; 32];
            device[..8].copy_from_slice(&n.to_be_bytes());
            rates.take(GroupId([1; 32]), DeviceId(device), 1, 0);
        }
        rates.take(GroupId([1; 32]), DeviceId([9; 32]), 1, MINUTE_MS);
        assert_eq!(rates.buckets.len(), 1);
    }
}
