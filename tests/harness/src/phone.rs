//! A phone: a disk that outlives crashes, a clock that may lie, and the engine that runs on both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use lamppost_core::base::{DeviceId, MemberId};
use lamppost_core::replica::{Clock, Engine, Environment, Error, FixedVault};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore};

use crate::chance::Chance;
use crate::disk::copy;

/// One member's device.
pub struct Phone {
    /// Its place among the phones.
    pub at: usize,
    /// What its member is, as far as it has heard; before it joins, what it is to be admitted as.
    pub role: u8,
    /// The roles that it ever had.
    pub roles_ever: BTreeSet<u8>,
    /// Whose it is, once it belongs to somebody in the group.
    pub member: Option<MemberId>,
    /// The devices that this installation has been.
    pub devices_ever: BTreeSet<DeviceId>,
    /// Whether the relay keeps from it who was removed.
    pub kept_in_the_dark: bool,
    /// Whether it came for a certain member: it joins then, or never.
    pub is_late: bool,
    /// Whether it went back to an older copy and has not met the relay since: what it hands over may fork its log.
    pub is_unsure: bool,
    /// Whether it has joined.
    pub joined: bool,
    /// Whether it can reach the relay at all.
    pub online: bool,
    /// The link it has open.
    pub link: Option<u64>,
    disk: MemoryStore,
    backup: Option<MemoryStore>,
    engine: Option<Engine>,
    clock: Arc<LyingClock>,
    seed: u64,
    /// How often it was opened: a new life draws other randomness.
    lives: u64,
}

/// The world's time, and how far this phone's clock is off.
struct LyingClock {
    world_ms: Arc<AtomicU64>,
    off_ms: AtomicI64,
}

impl Clock for LyingClock {
    fn now_ms(&self) -> u64 {
        self.world_ms.load(Ordering::Relaxed).saturating_add_signed(self.off_ms.load(Ordering::Relaxed))
    }
}

impl Phone {
    /// A phone that was never switched on.
    pub fn new(at: usize, role: u8, seed: u64, world_ms: Arc<AtomicU64>) -> Self {
        Self {
            at,
            role,
            roles_ever: BTreeSet::new(),
            member: None,
            devices_ever: BTreeSet::new(),
            kept_in_the_dark: false,
            is_late: false,
            is_unsure: false,
            joined: false,
            online: true,
            link: None,
            disk: MemoryStore::new(),
            backup: None,
            engine: None,
            clock: Arc::new(LyingClock { world_ms, off_ms: AtomicI64::new(0) }),
            seed,
            lives: 0,
        }
    }

    /// Locks it, as for a background sync, until it is switched off.
    pub fn lock(&mut self) -> Result<(), Error> {
        self.lives += 1;
        self.engine = None;
        self.engine = Some(Engine::open_locked(self.environment(usize::MAX, FaultAt::BeforeWrite))?);
        Ok(())
    }

    fn environment(&self, writes: usize, at: FaultAt) -> Environment {
        let entropy = Chance::new(self.seed, 1_000 * (self.at as u64 + 1) + self.lives).into_rng();
        Environment {
            store: Arc::new(FaultyStore::new(self.disk.clone(), writes, at)),
            vault: Arc::new(FixedVault::new([self.at as u8; 32])),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            entropy: Box::new(entropy),
        }
    }

    /// Its engine, switched on if need be. `fault` is after how many writes its disk fails, and how.
    pub fn engine(&mut self, fault: Option<(usize, FaultAt)>) -> Result<&mut Engine, Error> {
        if self.engine.is_none() {
            self.lives += 1;
            let (writes, at) = fault.unwrap_or((usize::MAX, FaultAt::BeforeWrite));
            self.engine = Some(Engine::open(self.environment(writes, at))?);
        }
        Ok(self.engine.as_mut().expect("there is one because it was opened above"))
    }

    /// Its engine, if it is on.
    pub fn running(&mut self) -> Option<&mut Engine> {
        self.engine.as_mut()
    }

    /// Notes who its engine says it is.
    pub fn note_standing(&mut self) {
        let Some(engine) = self.engine.as_ref() else { return };
        self.devices_ever.insert(engine.device_id());
        if let Some(role) = engine.role() {
            self.role = role.0;
            self.roles_ever.insert(role.0);
            self.member = Some(engine.member_id());
        }
    }

    /// Whether it belongs, as far as it has heard.
    pub fn belongs(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.role().is_some())
    }

    /// Copies its disk.
    pub fn back_up(&mut self) {
        self.backup = Some(copy(&self.disk));
    }

    /// Goes back to the last copy of its disk, if there is one.
    pub fn restore(&mut self) -> bool {
        let Some(backup) = &self.backup else { return false };
        self.disk = copy(backup);
        self.crash();
        true
    }

    /// Loses power: what is not on its disk is gone.
    pub fn crash(&mut self) {
        self.engine = None;
        self.link = None;
    }

    /// Puts its clock off by this much.
    pub fn set_clock_off_ms(&self, off_ms: i64) {
        self.clock.off_ms.store(off_ms, Ordering::Relaxed);
    }
}
