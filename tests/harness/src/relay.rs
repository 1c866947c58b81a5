//! The relay: a disk that outlives crashes, and the real relay on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lamppost_core::base::{EntryHash, GroupId};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore};
use lamppost_server::{Pushed, Relay, RelayStore, Rules, Seed};

use crate::chance::Chance;
use crate::disk::{copy, rows};

/// The relay and what it needs to start again.
pub struct RelaySide {
    disk: MemoryStore,
    running: Option<Relay>,
    rules: Rules,
    /// Pushes that wait for the next commit, with the link they came over.
    pub pushes: Vec<(u64, Pushed)>,
    backup: Option<MemoryStore>,
}

impl RelaySide {
    /// A relay with an empty disk, switched off.
    pub fn new(device_entries_per_minute: u64) -> Self {
        let rules = Rules {
            open_to_new_groups: true,
            allowed_groups: Vec::new(),
            groups_max: 4,
            group_bytes_max: 1 << 30,
            group_media_bytes_max: 1 << 30,
            device_entries_per_minute,
        };
        Self { disk: MemoryStore::new(), running: None, rules, pushes: Vec::new(), backup: None }
    }

    /// The relay, if it is on.
    pub fn running(&self) -> Option<&Relay> {
        self.running.as_ref()
    }

    /// Switches it on. `renew` says that its store was restored from a backup.
    pub fn start(&mut self, chance: &mut Chance, fault: Option<(usize, FaultAt)>, renew: bool) {
        let seed = Seed { key: chance.bytes(), incarnation: chance.bytes() };
        let (writes, at) = fault.unwrap_or((usize::MAX, FaultAt::BeforeWrite));
        let store = RelayStore::new(Arc::new(FaultyStore::new(self.disk.clone(), writes, at)));
        // A disk that fails while the relay starts leaves it off.
        self.running = Relay::open(store, self.rules.clone(), &seed, renew).ok();
    }

    /// Loses power: what is not on its disk is gone.
    pub fn crash(&mut self) {
        self.running = None;
        self.pushes.clear();
    }

    /// Loses its disk.
    pub fn lose_disk(&mut self) {
        self.crash();
        self.disk = MemoryStore::new();
        self.backup = None;
    }

    /// Copies its disk, as a careful operator does.
    pub fn back_up(&mut self) {
        self.backup = Some(copy(&self.disk));
    }

    /// Loses its disk and gets the last backup back, if there is one.
    pub fn restore(&mut self) -> bool {
        self.crash();
        let Some(backup) = &self.backup else { return false };
        self.disk = copy(backup);
        true
    }

    /// Every entry on its disk.
    pub fn durable(&self, group: GroupId) -> Result<BTreeSet<EntryHash>, String> {
        let mut durable = BTreeSet::new();
        let store = RelayStore::new(Arc::new(self.disk.clone()));
        store
            .each_arrival(group, |hash| {
                durable.insert(hash);
            })
            .map_err(|e| e.to_string())?;
        Ok(durable)
    }

    /// Whether these bytes stand anywhere on its disk.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let has = |row: &[u8]| row.windows(bytes.len()).any(|window| window == bytes);
        rows(&self.disk).iter().any(|(_, key, value)| has(key) || has(value))
    }
}
