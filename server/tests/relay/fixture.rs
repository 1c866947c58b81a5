//! A small watch group, made by hand: three roles, three compartments beside the roll.
//!
//! Entries are put together here without the device half of the core, as the relay's own build has none of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::hash::sha256;
use lamppost_core::base::{
    CompartmentId, CompartmentRow, DeviceId, EntryHash, GroupId, MemberId, RoleId, RoleRow, Template, cbor,
};
use lamppost_core::entry::header::{SUITE, VERSION};
use lamppost_core::entry::{Header, Kind, LogHead, Possession, Received, Scope, Verified, Wire};
use lamppost_core::roll::operation::{Admission, Recovery, Removal};
use lamppost_core::roll::{Founding, KeyUpdate, Operation, Target};
use lamppost_core::storage::{MemoryStore, Store};
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_server::{Answer, Pushed, Relay, RelayStore, Rules, Seed};
use minicbor::bytes::ByteVec;

pub const COORDINATOR: RoleId = RoleId(0);
pub const VOLUNTEER: RoleId = RoleId(1);
pub const PARTNER: RoleId = RoleId(2);

pub const ROLL: CompartmentId = CompartmentId::ROLL;
/// Coordinators write, all read.
pub const COMMON: CompartmentId = CompartmentId(1);
/// Volunteers and coordinators write and read.
pub const GROUP: CompartmentId = CompartmentId(2);
/// All write, coordinators read.
pub const COORDINATORS: CompartmentId = CompartmentId(3);

/// The relay's clock in tests: some day in 2023.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// A kind that no version knows: the relay keeps it like any other.
pub const WORDS: Kind = Kind(200);

pub fn template() -> Template {
    let role = |id, name: &str, governs| RoleRow { id, name: name.to_owned(), governs };
    let row = |id, name: &str, readers: &[RoleId], writers: &[RoleId]| CompartmentRow {
        id,
        name: name.to_owned(),
        readers: readers.to_vec(),
        writers: writers.to_vec(),
    };
    let all = [COORDINATOR, VOLUNTEER, PARTNER];
    Template {
        roles: vec![
            role(COORDINATOR, "coordinator", true),
            role(VOLUNTEER, "volunteer", false),
            role(PARTNER, "partner", false),
        ],
        compartments: vec![
            row(ROLL, "roll", &all, &[COORDINATOR]),
            row(COMMON, "common", &all, &[COORDINATOR]),
            row(GROUP, "group", &all[..2], &all[..2]),
            row(COORDINATORS, "coordinators", &all[..1], &all),
        ],
    }
}

/// A member with one device.
#[derive(Clone)]
pub struct Person {
    member: SigningKey,
    pub key: SigningKey,
    heads: BTreeMap<CompartmentId, LogHead>,
    pub claimed_ms: u64,
    /// The last day of the words that it writes from now on.
    pub expiry_day: Option<u32>,
}

impl Person {
    pub fn new(seed: u8) -> Self {
        let member = SigningKey::from_bytes(&[seed; 32]);
        let key = SigningKey::from_bytes(&[seed.wrapping_add(128); 32]);
        Self { member, key, heads: BTreeMap::new(), claimed_ms: NOW_MS, expiry_day: None }
    }

    pub fn device(&self) -> DeviceId {
        DeviceId(self.key.verifying_key().to_bytes())
    }

    pub fn member(&self) -> MemberId {
        MemberId(self.member.verifying_key().to_bytes())
    }

    /// The same member on another device.
    pub fn on_another_device(&self, seed: u8) -> Self {
        Self { member: self.member.clone(), ..Self::new(seed) }
    }

    pub fn certificate(&self, group: GroupId) -> Vec<u8> {
        self.certificate_for(Scope::group(group))
    }

    fn certificate_for(&self, scope: Scope) -> Vec<u8> {
        let possession = Possession::sign(&self.key, self.member(), [7; 32], scope);
        possession.certify(&self.member).unwrap().as_bytes().to_vec()
    }

    pub fn head(&self, compartment: CompartmentId) -> Option<LogHead> {
        self.heads.get(&compartment).copied()
    }

    /// Writes the next entry of a log, without any check of who may.
    pub fn write(
        &mut self,
        group: Option<GroupId>,
        compartment: CompartmentId,
        roll_heads: &[EntryHash],
        kind: Kind,
        body: Vec<u8>,
    ) -> Verified {
        let head = self.head(compartment);
        let header = Header {
            version: VERSION,
            suite: SUITE,
            group,
            compartment,
            device: self.device(),
            seq: head.map_or(0, |head| head.seq + 1),
            previous: head.map(|head| head.hash),
            kind,
            epoch: None,
            body_hash: sha256(&body),
            body_bytes: body.len().try_into().unwrap(),
            commitment: None,
            claimed_ms: self.claimed_ms,
            expiry_day: self.expiry_day.filter(|_| kind == WORDS),
            roll_heads: roll_heads.to_vec(),
            checkpoint: None,
        };
        let signed = ByteVec::from(cose::sign(&self.key, Purpose::Entry, cbor::encode(&header)));
        let entry = Received::parse(Wire { signed, body: Some(ByteVec::from(body)) }).unwrap();
        let entry = Verified::from_own_store(entry);
        let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
        self.heads.insert(compartment, head);
        entry
    }
}

/// A group as its coordinator knows it.
#[derive(Clone)]
pub struct World {
    pub id: GroupId,
    pub founder: Person,
    pub roll: Vec<Verified>,
}

impl World {
    pub fn new(seed: u8) -> Self {
        let mut founder = Person::new(seed);
        let found = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: ByteVec::from(founder.certificate_for(Scope::founding(&[seed; 16]))),
            keys: KeyUpdate::default(),
            nonce: [seed; 16],
        });
        let founding = founder.write(None, ROLL, &[], Kind::OPERATION, cbor::encode(&found));
        Self { id: founding.group(), founder, roll: vec![founding] }
    }

    /// The newest roll entry: the roll of this world is a line.
    pub fn roll_heads(&self) -> Vec<EntryHash> {
        vec![self.roll.last().unwrap().hash()]
    }

    /// The founder admits somebody, or changes their role.
    pub fn admit(&mut self, person: &Person, role: RoleId) -> Verified {
        let operation = admission(self.id, person, role);
        let heads = self.roll_heads();
        let entry =
            self.founder.write(Some(self.id), ROLL, &heads, Kind::OPERATION, cbor::encode(&operation));
        self.roll.push(entry.clone());
        entry
    }

    /// An operation of the founder's.
    pub fn operation(&mut self, operation: &Operation) -> Verified {
        let heads = self.roll_heads();
        let entry = self.founder.write(Some(self.id), ROLL, &heads, Kind::OPERATION, cbor::encode(operation));
        self.roll.push(entry.clone());
        entry
    }

    /// The founder takes somebody out.
    pub fn remove(&mut self, person: &Person) -> Verified {
        let heads = self.roll_heads();
        let body = cbor::encode(&removal(person.member()));
        let entry = self.founder.write(Some(self.id), ROLL, &heads, Kind::OPERATION, body);
        self.roll.push(entry.clone());
        entry
    }

    /// The founder lets somebody go on with another device and a new key.
    pub fn recover(&mut self, person: &Person, new: &Person) -> Verified {
        let (member, certificate) = (person.member(), ByteVec::from(new.certificate(self.id)));
        let (marks, keys) = (Vec::new(), KeyUpdate::default());
        let body = cbor::encode(&Operation::Recover(Recovery { member, certificate, marks, keys }));
        let heads = self.roll_heads();
        let entry = self.founder.write(Some(self.id), ROLL, &heads, Kind::OPERATION, body);
        self.roll.push(entry.clone());
        entry
    }

    /// Somebody writes words, after their certificate if they have not written there before.
    pub fn words(&self, person: &mut Person, compartment: CompartmentId, words: &[u8]) -> Vec<Verified> {
        let heads = self.roll_heads();
        let mut entries = Vec::new();
        if person.head(compartment).is_none() {
            let certificate = person.certificate(self.id);
            entries.push(person.write(Some(self.id), compartment, &heads, Kind::CERTIFICATE, certificate));
        }
        entries.push(person.write(Some(self.id), compartment, &heads, WORDS, words.to_vec()));
        entries
    }

    /// The founder writes words.
    pub fn founder_words(&mut self, compartment: CompartmentId, words: &[u8]) -> Vec<Verified> {
        let mut founder = self.founder.clone();
        let entries = self.words(&mut founder, compartment, words);
        self.founder = founder;
        entries
    }
}

pub fn admission(group: GroupId, person: &Person, role: RoleId) -> Operation {
    Operation::Admit(Admission {
        member: person.member(),
        role,
        certificates: vec![ByteVec::from(person.certificate(group))],
        keys: KeyUpdate::default(),
        invitation: None,
    })
}

pub fn removal(member: MemberId) -> Operation {
    let (marks, keys) = (Vec::new(), KeyUpdate::default());
    Operation::Remove(Removal { target: Target::Member(member), marks, keys })
}

pub fn wires(entries: &[Verified]) -> Vec<Wire> {
    entries.iter().map(|entry| entry.wire().clone()).collect()
}

pub fn push(world: &World, person: &Person, entries: &[Verified]) -> Pushed {
    Pushed { group: world.id, device: person.device(), number: 7, entries: wires(entries) }
}

pub fn rules() -> Rules {
    Rules {
        open_to_new_groups: true,
        allowed_groups: Vec::new(),
        groups_max: 10,
        group_bytes_max: 1 << 24,
        group_media_bytes_max: 1 << 24,
        device_entries_per_minute: 6_000,
    }
}

pub fn relay_in(store: Arc<dyn Store>, rules: Rules) -> Relay {
    Relay::open(RelayStore::new(store), rules, &Seed { key: [1; 32], incarnation: [2; 16] }, false).unwrap()
}

pub fn relay_with(rules: Rules) -> Relay {
    relay_in(Arc::new(MemoryStore::default()), rules)
}

/// A relay that has the world's roll.
pub fn relay_of(world: &World) -> Relay {
    let relay = relay_with(rules());
    let answer = commit(&relay, push(world, &world.founder, &world.roll));
    assert!(all_kept(&answer), "{answer:?}");
    relay
}

/// A world with a volunteer in it, and a relay that has its roll.
pub fn village() -> (World, Person, Relay) {
    let mut world = World::new(1);
    let volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let relay = relay_of(&world);
    (world, volunteer, relay)
}

pub fn commit(relay: &Relay, push: Pushed) -> Answer {
    relay.commit(vec![push], NOW_MS).answers.pop().unwrap()
}

pub fn all_kept(answer: &Answer) -> bool {
    answer.ack.outcomes.iter().all(|outcome| *outcome == Outcome::Kept)
}

/// What became of each entry: none for kept.
pub fn refusals(answer: &Answer) -> Vec<Option<Refusal>> {
    let refusal = |outcome: &Outcome| match outcome {
        Outcome::Kept => None,
        Outcome::Refused(why) => Some(why.refusal),
    };
    answer.ack.outcomes.iter().map(refusal).collect()
}
