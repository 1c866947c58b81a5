//! Everything together: one step after the other, and what must hold after each.

mod agreement;
mod breaks;
mod carry;
mod checks;
mod expirer;
mod malice;
mod membership;
mod people;
mod referee;
mod relay_side;
mod usurper;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamppost_core::base::{CompartmentId, DeviceId, GroupId, MemberId, RoleId};
use lamppost_core::entry::{Certificate, Kind as EntryKind, Received, Scope, Verified};
use lamppost_core::replica::testing::{self, draft};
use lamppost_core::replica::{
    CaseLink, CodeLanguage, Concern, Decision, Delivery, Engine, Error, Filter, HistoryRow, LiaisonAnswer,
    ReleasePlan, Row, Warning, settings,
};
use lamppost_core::roll::{Operation, Roll, State, Target};
use lamppost_core::storage::FaultAt;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Refusal, Refused};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_core::sync::session::{
    Budget, Effect as PhoneEffect, End, Input as PhoneInput, Misbehaviour, Session as PhoneSession,
};
use lamppost_core::watch::kinds::rule;
use lamppost_core::watch::{Kind, Redaction, roles};
use lamppost_server::{
    Answer, Effect as RelayEffect, Input as RelayInput, Opening, Query, Reply, Session as RelaySession,
};

use crate::chance::Chance;
use crate::link::{Link, Tampering, pushed};
use crate::model::{Cut, MARK, Model};
use crate::phone::Phone;
use crate::relay::RelaySide;

pub use usurper::Usurpation;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// At which step.
    pub step: u64,
    /// Which, and how.
    pub what: String,
}

/// What people do beside writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// They admit each other and rotate keys.
    Calm,
    /// They also remove each other, change roles, recover, and restore old copies of their phones.
    Unrest,
    /// And the app of one of them signs and sends what is not theirs to.
    Malice,
}

/// How much happened in a run, and to how many seeds it happened at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Documents written.
    pub documents: u64,
    /// Connections opened.
    pub links: u64,
    /// Messages carried.
    pub messages: u64,
    /// Entries that the relay acknowledged.
    pub acknowledged: u64,
    /// Phones that lost power.
    pub phone_crashes: u64,
    /// Times the relay lost power.
    pub relay_crashes: u64,
    /// Writes that failed, on phones and relay.
    pub disk_faults: u64,
    /// Syncs of phones that were locked.
    pub locked_syncs: u64,
    /// Connections that broke off.
    pub cuts: u64,
    /// Messages altered, repeated, reordered or swallowed.
    pub tampered: u64,
    /// Relays that lost their disk, or went back to a backup.
    pub relay_losses: u64,
    /// Members or devices taken out.
    pub removals: u64,
    /// Removals that were only proposed.
    pub proposals: u64,
    /// Roles changed.
    pub roles_changed: u64,
    /// Members and devices that came later: again, recovered, second ones.
    pub arrivals: u64,
    /// Phones that went back to an older copy of their disk.
    pub rollbacks: u64,
    /// Phones that went on as another device.
    pub renewals: u64,
    /// Entries that were cut off and accepted.
    pub accepted: u64,
    /// Roll entries that the relay kept from a phone.
    pub hidden: u64,
    /// Entries that were set aside, on all phones, in the end.
    pub set_aside: u64,
    /// Entries that a phone may read in the end, and whose key went with those who were taken out.
    pub beyond_reach: u64,
    /// Things that a hostile app signed or sent.
    pub attacks: u64,
    /// Bodies that a relay with a wrong day kept back.
    pub kept_back: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, more: &Self) {
        self.documents += more.documents;
        self.links += more.links;
        self.messages += more.messages;
        self.acknowledged += more.acknowledged;
        self.phone_crashes += more.phone_crashes;
        self.relay_crashes += more.relay_crashes;
        self.disk_faults += more.disk_faults;
        self.locked_syncs += more.locked_syncs;
        self.cuts += more.cuts;
        self.tampered += more.tampered;
        self.relay_losses += more.relay_losses;
        self.removals += more.removals;
        self.proposals += more.proposals;
        self.roles_changed += more.roles_changed;
        self.arrivals += more.arrivals;
        self.rollbacks += more.rollbacks;
        self.renewals += more.renewals;
        self.accepted += more.accepted;
        self.hidden += more.hidden;
        self.set_aside += more.set_aside;
        self.beyond_reach += more.beyond_reach;
        self.attacks += more.attacks;
        self.kept_back += more.kept_back;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} documents, {} entries acknowledged, {} connections, {} messages; {} phone crashes, {} relay crashes, \
             {} failed writes, {} syncs behind a lock, {} cuts, {} messages tampered with, {} relay disks lost; {} removals, {} proposals, \
             {} roles changed, {} came later, {} phones went back, {} renewed, {} entries accepted, {} roll entries \
             hidden, {} entries set aside in the end, {} beyond reach; {} attacks, {} bodies kept back",
            self.documents,
            self.acknowledged,
            self.links,
            self.messages,
            self.phone_crashes,
            self.relay_crashes,
            self.disk_faults,
            self.locked_syncs,
            self.cuts,
            self.tampered,
            self.relay_losses,
            self.removals,
            self.proposals,
            self.roles_changed,
            self.arrivals,
            self.rollbacks,
            self.renewals,
            self.accepted,
            self.hidden,
            self.set_aside,
            self.beyond_reach,
            self.attacks,
            self.kept_back,
        )
    }
}

/// How bad it gets: once in so many chances; 0 is never. Each seed has a weather of its own, some of it calm.
struct Weather {
    crash: u64,
    disk: u64,
    cut: u64,
    tamper: u64,
    partition: u64,
    clock: u64,
    relay_loss: u64,
    device_entries_per_minute: u64,
}

impl Weather {
    fn draw(chance: &mut Chance) -> Self {
        let mut often = |choices: &[u64]| choices[chance.index(choices.len())];
        Self {
            crash: often(&[0, 1, 4]),
            disk: often(&[0, 3, 8]),
            cut: often(&[0, 1, 3]),
            tamper: often(&[0, 1, 1, 3]),
            partition: often(&[0, 3]),
            clock: often(&[0, 2]),
            relay_loss: often(&[0, 0, 8]),
            device_entries_per_minute: often(&[1_000_000, 1_000_000, 30]),
        }
    }
}

/// Phones, a relay, and time.
pub struct World {
    chance: Chance,
    /// What people do to each other is drawn apart, so that the calm story of a seed stays the same.
    unrest: Chance,
    malice: Chance,
    lies: Chance,
    /// The relay may say that it is another year, and hand out entries without whatever is over by then.
    wrong_day: bool,
    /// When phones sync behind their locks.
    locks: Chance,
    /// The phone that does so now.
    locked: Option<usize>,
    /// What the expirer does, apart from what other attackers do.
    expirer: Chance,
    story: Story,
    seed: u64,
    weather: Weather,
    now_ms: Arc<AtomicU64>,
    step: u64,
    phones: Vec<Phone>,
    relay: RelaySide,
    links: BTreeMap<u64, Link>,
    links_opened: u64,
    /// Whose app is another than they say.
    hostile: Option<usize>,
    /// A coordinator who should not be one.
    usurper: Option<usurper::Usurper>,
    /// How many keys were made up.
    strangers: usize,
    /// The phone of somebody whose group is at the same relay.
    next_door: Option<Phone>,
    group: Option<GroupId>,
    /// The roll that the relay has on its disk, worked out apart from it.
    heard: Option<Roll>,
    model: Model,
    trace: DefaultHasher,
    /// Prints what happens.
    aloud: bool,
    /// What happened so far.
    pub tally: Tally,
}

/// How far ahead a relay is that has another day, in milliseconds: 70 years.
const YEARS_MS: u64 = 70 * 365 * 86_400_000;

/// 2026-06-01, in milliseconds since the Unix epoch.
const BEGIN_MS: u64 = 1_780_272_000_000;

/// Milliseconds without anything on its way after which a session that still hopes is stuck.
const STUCK_MS: u64 = 400_000;

/// Rounds in which everybody syncs once, at the end, until nothing moves.
const ROUNDS_MAX: usize = 48;

type Step = Result<(), String>;

impl World {
    /// Phones that were never switched on, and a relay that is up.
    pub fn new(seed: u64, story: Story, aloud: bool) -> Self {
        let mut chance = Chance::new(seed, 0);
        let mut weather = Weather::draw(&mut chance);
        let mut lies = Chance::new(seed, 3);
        let wrong_day = lies.one_in(3);
        if wrong_day {
            // What is written under a clock of another year is over in earnest.
            weather.clock = 0;
        }
        let now_ms = Arc::new(AtomicU64::new(BEGIN_MS));
        let others = [
            roles::ROLE_COORDINATOR,
            roles::ROLE_LIAISON,
            roles::ROLE_VOLUNTEER,
            roles::ROLE_VOLUNTEER,
            roles::ROLE_VOLUNTEER,
        ];
        let people = 2 + chance.index(others.len());
        let everybody = std::iter::once(roles::ROLE_COORDINATOR).chain(others.into_iter().take(people));
        let phones =
            everybody.enumerate().map(|(at, role)| Phone::new(at, role, seed, Arc::clone(&now_ms))).collect();
        let mut relay = RelaySide::new(weather.device_entries_per_minute);
        relay.start(&mut chance, None, false);
        Self {
            chance,
            unrest: Chance::new(seed, 1),
            malice: Chance::new(seed, 2),
            lies,
            wrong_day,
            locks: Chance::new(seed, 4),
            locked: None,
            expirer: Chance::new(seed, 5),
            story,
            seed,
            weather,
            now_ms,
            step: 0,
            phones,
            relay,
            links: BTreeMap::new(),
            links_opened: 0,
            hostile: None,
            usurper: None,
            strangers: 0,
            next_door: None,
            group: None,
            heard: None,
            model: Model::default(),
            trace: DefaultHasher::new(),
            aloud,
            tally: Tally::default(),
        }
    }

    /// Runs `steps` steps and then lets everything heal. Answers with a digest of all that happened.
    pub fn run(&mut self, steps: u64) -> Result<u64, Broken> {
        let outcome = self.found().and_then(|()| {
            for _ in 0..steps {
                self.step += 1;
                self.one_step()?;
            }
            self.settle()
        });
        match outcome {
            Ok(()) => Ok(self.trace.finish()),
            Err(what) => Err(Broken { step: self.step, what }),
        }
    }

    /// The step it is at.
    pub fn step(&self) -> u64 {
        self.step
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn advance_ms(&mut self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        what.hash(&mut self.trace);
        if self.aloud {
            eprintln!("{:>5} {:>9} ms  {what}", self.step, self.now_ms() - BEGIN_MS);
        }
    }

    fn found(&mut self) -> Step {
        let engine = self.phones[0].engine(None).map_err(|e| e.to_string())?;
        self.group = Some(engine.found().map_err(|e| e.to_string())?.group);
        if self.wrong_day {
            engine.set_policy(settings::UNLINKED_DAYS, 90).map_err(|e| e.to_string())?;
        }
        self.phones[0].joined = true;
        self.phones[0].note_standing();
        Ok(())
    }

    fn one_step(&mut self) -> Step {
        let ms = self.chance.below(300);
        self.advance_ms(ms);
        if self.story != Story::Calm && self.unrest.one_in(10) {
            self.somebody_decides()?;
        }
        if self.story == Story::Malice && self.malice.one_in(20) {
            self.somebody_attacks()?;
        }
        if self.locks.one_in(40) {
            self.somebody_syncs_behind_the_lock()?;
        }
        if self.story == Story::Malice && self.expirer.one_in(40) {
            self.somebody_expires()?;
        }
        match self.chance.below(100) {
            0..45 => self.carry_some(),
            45..65 => self.somebody_writes(),
            65..72 => self.somebody_connects(),
            72..84 => self.commit(),
            84..87 => self.tick(),
            _ => self.something_breaks(),
        }
    }
}
