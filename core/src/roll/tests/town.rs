//! Histories from small numbers: who knows what, and what they write. Any list of steps is one, so that shrinking works.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::model::{Model, Set};
use crate::base::cose::{self, Purpose};
use crate::base::{
    CompartmentId, CompartmentRow, DeviceId, EntryHash, EpochId, GroupId, Hash, MemberId, RoleId, RoleRow,
    Template, cbor,
};
use crate::entry::seal::{Slot, write_clear};
use crate::entry::{
    Certificate, Claims, Header, Kind, LogHead, LogId, Possession, Received, Scope, SealedKeys, Verified,
    Wire,
};
use crate::roll::operation::{
    Acceptance, Admission, Certification, EndHold, Hold, Policy, Recovery, Removal, Shred, Target, Watermark,
    Withdrawal,
};
use crate::roll::{EpochName, Founding, Grant, KeyUpdate, Operation, Rotation};

pub const COORDINATOR: RoleId = RoleId(1);
pub const VOLUNTEER: RoleId = RoleId(2);
const LIAISON: RoleId = RoleId(3);

/// Person 0 founds, 1 to 5 may be coordinators from the start, 6 and 7 are volunteers, 8 and 9 strangers.
const COORDINATORS: u8 = 6;
const PEOPLE: u8 = 10;
/// Of each person: two for their identity, one for each of two keys that a recovery may bring.
const DEVICES: u8 = 4;

/// Who acts how often: coordinators most, others too.
const AUTHORS: [(u8, u8); 32] = [
    (0, 0),
    (0, 0),
    (0, 0),
    (0, 1),
    (1, 0),
    (1, 0),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, 0),
    (2, 0),
    (2, 0),
    (2, 2),
    (3, 0),
    (3, 0),
    (3, 1),
    (4, 0),
    (4, 0),
    (5, 0),
    (5, 0),
    (5, 3),
    (6, 0),
    (6, 0),
    (6, 1),
    (7, 0),
    (7, 2),
    (8, 0),
    (8, 0),
    (8, 1),
    (9, 0),
    (9, 0),
    (6, 0),
];

/// One step of a history.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub who: u8,
    pub what: u8,
    pub x: u8,
    pub y: u8,
    pub z: u8,
}

/// A history: how many coordinators begin, and what happens then.
pub fn history() -> impl Strategy<Value = (u8, Vec<Step>)> {
    let step = any::<(u8, u8, u8, u8, u8)>().prop_map(|(who, what, x, y, z)| Step { who, what, x, y, z });
    (2..=COORDINATORS, proptest::collection::vec(step, 0..56))
}

/// One device as its history goes: what it has heard, and where its log in the roll ends.
#[derive(Default)]
struct Phone {
    known: BTreeSet<usize>,
    head: Option<LogHead>,
}

/// The device, as (person, number), that a step's `who` names.
pub fn author(who: u8) -> (u8, u8) {
    AUTHORS[usize::from(who) % AUTHORS.len()]
}

/// A number that names a person's first device.
pub fn some_author(person: u8) -> u8 {
    (0..=u8::MAX).find(|who| author(*who) == (person, 0)).unwrap()
}

/// What was written, causes first.
pub struct Town {
    pub group: GroupId,
    pub entries: Vec<(Verified, Vec<Claims>)>,
    /// Entries of kind 3.
    pub sealed: Vec<Received>,
    /// In words, for whoever has to understand a failure.
    pub story: Vec<String>,
    index: BTreeMap<EntryHash, usize>,
    phones: BTreeMap<(u8, u8), Phone>,
    logs: BTreeMap<LogId, Vec<LogHead>>,
}

pub fn template() -> Template {
    let role = |id, name: &str, governs| RoleRow { id, name: name.into(), governs };
    let row = |id, readers: &[RoleId], writers: &[RoleId]| CompartmentRow {
        id: CompartmentId(id),
        name: String::new(),
        readers: readers.to_vec(),
        writers: writers.to_vec(),
    };
    let everybody = [COORDINATOR, VOLUNTEER, LIAISON];
    Template {
        roles: vec![
            role(COORDINATOR, "coordinator", true),
            role(VOLUNTEER, "volunteer", false),
            role(LIAISON, "liaison", false),
        ],
        compartments: vec![
            row(0, &everybody, &everybody[..1]),
            row(1, &everybody, &everybody),
            row(2, &everybody[..2], &everybody[..2]),
            row(3, &everybody[..1], &everybody),
            row(4, &[LIAISON], &everybody),
        ],
    }
}

fn key(tag: u8, person: u8, number: u8) -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|i| [tag, person, number].get(i).copied().unwrap_or(7)))
}

/// A person's identity (0), or a key that a recovery brings.
fn person_key(person: u8, number: u8) -> SigningKey {
    key(b'm', person % PEOPLE, number)
}

pub fn member(person: u8, number: u8) -> MemberId {
    MemberId(person_key(person, number).verifying_key().to_bytes())
}

fn device_key((person, number): (u8, u8)) -> SigningKey {
    key(b'd', person % PEOPLE, number)
}

pub fn device(phone: (u8, u8)) -> DeviceId {
    DeviceId(device_key(phone).verifying_key().to_bytes())
}

fn certificate(phone: (u8, u8), key: &SigningKey, scope: Scope) -> Certificate {
    let member = MemberId(key.verifying_key().to_bytes());
    let agreement = [phone.0 * DEVICES + phone.1; 32];
    Possession::sign(&device_key(phone), member, agreement, scope).certify(key).unwrap()
}

/// A device's own certificate: devices 2 and 3 are those of the keys of recoveries.
fn own_certificate((person, number): (u8, u8), scope: Scope) -> Certificate {
    certificate((person, number), &person_key(person, number.saturating_sub(1)), scope)
}

impl Town {
    pub fn play(coordinators: u8, steps: &[Step]) -> Self {
        let certificate = own_certificate((0, 0), Scope::founding(&[1; 16]));
        let founding = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: certificate.as_bytes().to_vec().into(),
            keys: KeyUpdate {
                rotations: (1..4).map(|compartment| rotation(compartment, 0, 0)).collect(),
                ..KeyUpdate::default()
            },
            nonce: [1; 16],
        });
        let slot = Slot {
            group: None,
            compartment: CompartmentId::ROLL,
            head: None,
            claimed_ms: 0,
            expiry_day: None,
            roll_heads: Vec::new(),
            checkpoint: None,
        };
        let body = cbor::encode(&founding);
        let founding = write_clear(&device_key((0, 0)), &slot, Kind::OPERATION, None, body).unwrap();
        let mut town = Self {
            group: founding.group(),
            entries: Vec::new(),
            sealed: Vec::new(),
            story: Vec::new(),
            index: BTreeMap::new(),
            phones: BTreeMap::new(),
            logs: BTreeMap::new(),
        };
        town.push((0, 0), founding, vec![*certificate.claims()]);
        for person in 1..8 {
            let role = if person < coordinators { COORDINATOR } else { VOLUNTEER };
            if person < coordinators || person >= COORDINATORS {
                let certificate = own_certificate((person, 0), town.scope());
                town.admit((0, 0), person, role, &[certificate]);
            }
        }
        let start: BTreeSet<usize> = (0..town.entries.len()).collect();
        for person in 0..PEOPLE {
            for number in 0..DEVICES {
                town.phones.entry((person, number)).or_default().known.extend(&start);
            }
        }
        steps.iter().for_each(|step| town.step(*step));
        town
    }

    fn scope(&self) -> Scope {
        Scope::group(self.group)
    }

    pub fn model(&self) -> Model {
        let (founding, claims) = &self.entries[0];
        let mut model = Model::new(founding, template(), claims.clone());
        self.entries[1..].iter().for_each(|(entry, claims)| model.add(entry, claims.clone()));
        model
    }

    /// What a device has heard.
    pub fn known(&self, who: u8) -> Set {
        let known = self.phones[&author(who)].known.iter();
        known.map(|at| self.entries[*at].0.hash()).collect()
    }

    fn step(&mut self, Step { who, what, x, y, z }: Step) {
        let who = author(who);
        let person = author(x).0;
        let phone = (person, y % DEVICES);
        // Most know a little more before they do something.
        if z % 8 == 7 {
            self.hear(who, author(y));
        }
        match what % 32 {
            0..=5 => self.hear(who, (person, y % DEVICES)),
            6 => (0..PEOPLE).for_each(|person| self.hear((person, 0), who)),
            7..=10 => {
                self.remove(who, Target::Member(member(person, 0)), &[0, 1, 2, 3].map(|n| (person, n)), z)
            }
            11..=13 => self.remove(who, Target::Device(device(phone)), &[phone], z),
            14 | 15 => self.recover(who, person, y, z),
            16 | 17 => {
                let brought =
                    [(person, 0), (person, z % DEVICES)].map(|phone| own_certificate(phone, self.scope()));
                self.admit(who, person, COORDINATOR, &brought[..usize::from(y % 3)]);
            }
            18 | 19 => {
                let brought = [(person, 0), ((person + 1) % PEOPLE, z % DEVICES)]
                    .map(|phone| own_certificate(phone, self.scope()));
                self.admit(who, person, RoleId(y % 4), &brought[..usize::from(z % 3)]);
            }
            20 | 21 => self.certify(who, phone, z),
            22 => self.certify(who, who, z),
            23 => {
                let number = if y % 8 == 7 { 1 << y.min(31) } else { u32::from(y % 8) };
                let rotations = vec![rotation(x % 6, number, z % 4)];
                let keys = KeyUpdate { rotations, ..KeyUpdate::default() };
                self.write(who, Operation::KeyUpdate(keys), vec![]);
            }
            24 => {
                let settings = [(u16::from(x % 3), u64::from(y)), (7, u64::from(z))].into();
                self.write(who, Operation::Policy(Policy { settings }), vec![]);
            }
            25 => {
                let hashes = self.sealed.iter().enumerate().filter(|(at, _)| x >> (at % 8) & 1 == 1);
                let hashes: Set = hashes.map(|(_, entry)| entry.hash()).take(40).collect();
                let entries = hashes.into_iter().collect();
                self.write(who, Operation::Accept(Acceptance { entries }), vec![]);
            }
            28 => {
                let chosen = self.sealed.iter().enumerate().filter(|(at, _)| x >> (at % 8) & 1 == 1);
                let chosen: Vec<&Received> = chosen.map(|(_, entry)| entry).take(20).collect();
                let operation = match z % 4 {
                    0 | 1 => {
                        let entries: Set = chosen.iter().map(|entry| entry.hash()).collect();
                        let until_day = (y % 2 == 1).then(|| u32::from(y));
                        Operation::Hold(Hold { entries: entries.into_iter().collect(), reason: z, until_day })
                    }
                    2 => {
                        let named = chosen.iter().map(|entry| {
                            let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
                            Watermark { log: LogId::of(entry), head }
                        });
                        let mut entries: Vec<Watermark> = named.collect();
                        entries.sort_by_key(|named| (named.log, named.head.seq));
                        entries.dedup_by_key(|named| (named.log, named.head.seq));
                        // A shred of nothing is none: it names some document then.
                        let document = entries.is_empty().then_some(Hash([z; 32]));
                        Operation::Shred(Shred { entries, document })
                    }
                    _ => {
                        let is_hold = |entry: &&Verified| {
                            entry.body().is_some_and(|body| body.starts_with(&[0x82, 0x08]))
                        };
                        let holds = self.entries.iter().map(|(entry, _)| entry).filter(is_hold);
                        let holds: Set = holds.map(|entry| entry.hash()).take(usize::from(x % 4)).collect();
                        Operation::EndHold(EndHold { holds: holds.into_iter().collect() })
                    }
                };
                self.write(who, operation, vec![]);
            }
            26 if z % 2 == 0 => {
                let is_removal =
                    |entry: &&Verified| entry.body().is_some_and(|body| body.starts_with(&[0x82, 0x03]));
                let removals = self.entries.iter().map(|(entry, _)| entry).filter(is_removal);
                let proposals: Set =
                    removals.map(|entry| entry.hash()).take(1 + usize::from(x % 8)).collect();
                let withdrawal = Withdrawal { proposals: proposals.into_iter().collect() };
                self.write(who, Operation::Withdraw(withdrawal), vec![]);
            }
            26 => self.write(who, Operation::Unknown { number: 20 + y % 64, cbor: vec![0xa0] }, vec![]),
            // Several want one out, one after the other, who acts meanwhile.
            27 => {
                let target = x % 3;
                let voters = (0..COORDINATORS).filter(|voter| *voter != target && y >> voter & 1 == 1);
                let voters: Vec<u8> = voters.collect();
                for (at, voter) in voters.iter().enumerate() {
                    let phones = [(target, 0)];
                    if let Some(before) = at.checked_sub(1) {
                        self.hear((*voter, 0), (voters[before], 0));
                    }
                    self.remove((*voter, 0), Target::Member(member(target, 0)), &phones, z);
                    if z >> at & 1 == 1 {
                        self.remove((target, 0), Target::Member(member(*voter, 0)), &[(*voter, 0)], z);
                    }
                }
            }
            29 => {
                let name = |at: u8| EpochName {
                    compartment: CompartmentId(1 + (x.wrapping_add(at)) % 4),
                    epoch: EpochId::of(u32::from(y % 3), &[z % 4; 32]),
                };
                let mut epochs = vec![name(0), name(1)];
                epochs.sort_unstable();
                let mask = 1 + u32::from(z % 3);
                let ciphertext = vec![0; 32 * mask.count_ones() as usize + 16];
                let sealed = SealedKeys { encapsulated: [0; 32], ciphertext };
                let grant = |person: u8| Grant {
                    device: device((person, y % DEVICES)),
                    mask,
                    sealed: sealed.clone(),
                };
                let mut grants = vec![grant(person), grant(z % PEOPLE)];
                grants.sort_by_key(|grant| grant.device);
                grants.dedup_by_key(|grant| grant.device);
                let keys = KeyUpdate { rotations: Vec::new(), epochs, grants };
                self.write(who, Operation::KeyUpdate(keys), vec![]);
            }
            _ => self.seal(who, CompartmentId(1 + x % 4)),
        }
    }

    fn hear(&mut self, who: (u8, u8), from: (u8, u8)) {
        let heard = self.phones.get(&from).map(|phone| phone.known.clone()).unwrap_or_default();
        self.phones.entry(who).or_default().known.extend(heard);
        self.story.push(format!("{who:?} hears {from:?}"));
    }

    /// Newcomers get the roll with their admission.
    fn hand_over(&mut self, who: (u8, u8), person: u8) {
        (0..DEVICES).for_each(|number| self.hear((person, number), who));
    }

    fn admit(&mut self, who: (u8, u8), person: u8, role: RoleId, certificates: &[Certificate]) {
        let claims = certificates.iter().map(|certificate| *certificate.claims()).collect();
        let certificates = certificates.iter().map(|certificate| certificate.as_bytes().to_vec().into());
        let admission = Admission {
            member: member(person, 0),
            role,
            certificates: certificates.collect(),
            keys: KeyUpdate::default(),
            invitation: None,
        };
        self.write(who, Operation::Admit(admission), claims);
        self.hand_over(who, person);
        self.story.push(format!("    … person {person} as {role:?}"));
    }

    fn remove(&mut self, who: (u8, u8), target: Target, phones: &[(u8, u8)], z: u8) {
        let removal = Removal { target, marks: self.marks(phones, z), keys: some_keys(z) };
        self.story.push(format!("    {phones:?}, {} marks:", removal.marks.len()));
        self.write(who, Operation::Remove(removal), vec![]);
    }

    fn recover(&mut self, who: (u8, u8), person: u8, y: u8, z: u8) {
        let scope = self.scope();
        let new = match y % 8 {
            // Not a new key at all.
            0 => certificate((person, 2), &person_key((person + 1) % PEOPLE, 0), scope),
            1 => own_certificate((person, 0), scope),
            2 => certificate((person, 0), &person_key(person, 1), scope),
            y => own_certificate((person, 2 + y % 2), scope),
        };
        let phones = [0, 1, 2, 3].map(|number| (person, number));
        let recovery = Recovery {
            member: member(person, 0),
            certificate: new.as_bytes().to_vec().into(),
            marks: self.marks(&phones, z),
            keys: some_keys(z),
        };
        self.story.push(format!("    person {person} by {:?}:", new.claims()));
        self.write(who, Operation::Recover(recovery), vec![*new.claims()]);
        self.hand_over(who, person);
    }

    fn certify(&mut self, who: (u8, u8), phone: (u8, u8), z: u8) {
        let scope = self.scope();
        let certificate = match z % 8 {
            0 => certificate(phone, &person_key((phone.0 + 1) % PEOPLE, 0), scope),
            1 => certificate(phone, &person_key(phone.0, 1), scope),
            2 => certificate(phone, &person_key(phone.0, 0), scope),
            _ => own_certificate(phone, scope),
        };
        let granted = device(if z % 16 == 15 { ((who.0 + 1) % PEOPLE, 0) } else { phone });
        let grant = Grant {
            device: granted,
            mask: 1,
            sealed: SealedKeys { encapsulated: [0; 32], ciphertext: vec![0; 48] },
        };
        let epochs = vec![EpochName { compartment: CompartmentId(1), epoch: rotation(1, 0, 0).epoch() }];
        let keys = KeyUpdate { rotations: vec![], epochs, grants: vec![grant] };
        let claims = *certificate.claims();
        let certificate = certificate.as_bytes().to_vec().into();
        self.story.push(format!("    {claims:?}:"));
        self.write(who, Operation::Certify(Certification { certificate, keys }), vec![claims]);
    }

    /// How far the logs of these devices shall count: to somewhere, or not named, or to an entry that nobody knows.
    fn marks(&self, phones: &[(u8, u8)], z: u8) -> Vec<Watermark> {
        let devices: BTreeSet<DeviceId> = phones.iter().map(|phone| device(*phone)).collect();
        let logs = self.logs.iter().filter(|(log, _)| devices.contains(&log.device));
        let marks = logs.enumerate().filter_map(|(at, (log, heads))| {
            let choice = usize::from(z >> (at % 4));
            let head = heads[choice % heads.len()];
            match choice % 5 {
                0 => None,
                1 => Some((*log, LogHead { hash: EntryHash([9; 32]), ..head })),
                _ => Some((*log, head)),
            }
        });
        marks.map(|(log, head)| Watermark { log, head }).collect()
    }

    fn write(&mut self, who: (u8, u8), operation: Operation, claims: Vec<Claims>) {
        if self.phones[&who].head.is_none() {
            let certificate = own_certificate(who, self.scope());
            let claims = vec![*certificate.claims()];
            self.append(who, Kind::CERTIFICATE, certificate.as_bytes().to_vec(), claims);
        }
        self.append(who, Kind::OPERATION, cbor::encode(&operation), claims);
    }

    fn append(&mut self, who: (u8, u8), kind: Kind, body: Vec<u8>, claims: Vec<Claims>) {
        let slot = Slot {
            group: Some(self.group),
            compartment: CompartmentId::ROLL,
            head: self.phones[&who].head,
            claimed_ms: self.entries.len() as u64,
            expiry_day: None,
            roll_heads: self.heads(who),
            checkpoint: None,
        };
        let entry = write_clear(&device_key(who), &slot, kind, None, body).unwrap();
        self.push(who, entry, claims);
    }

    fn push(&mut self, who: (u8, u8), entry: Verified, claims: Vec<Claims>) {
        let at = self.entries.len();
        let header = entry.header();
        let body = entry.body().unwrap_or_default();
        let what = if header.kind == Kind::CERTIFICATE { 255 } else { body[1] };
        let cited = header.roll_heads.iter().chain(&header.previous).map(|hash| self.index[hash]);
        let cited: Vec<usize> = cited.collect();
        self.story.push(format!("{at}: {who:?} {what} on {cited:?}, {:?}", entry.hash()));
        let phone = self.phones.entry(who).or_default();
        phone.head = Some(LogHead { seq: header.seq, hash: entry.hash() });
        phone.known.insert(at);
        self.index.insert(entry.hash(), at);
        self.entries.push((entry, claims));
    }

    /// What nothing else that a device has heard builds on.
    fn heads(&self, who: (u8, u8)) -> Vec<EntryHash> {
        let known = self.phones[&who].known.iter().map(|at| &self.entries[*at].0);
        let known: Vec<&Verified> = known.collect();
        let cited =
            known.iter().flat_map(|entry| entry.header().roll_heads.iter().chain(&entry.header().previous));
        let cited: BTreeSet<&EntryHash> = cited.collect();
        let heads: Set =
            known.iter().map(|entry| entry.hash()).filter(|hash| !cited.contains(hash)).collect();
        heads.into_iter().take(16).collect()
    }

    /// A sealed entry as far as the roll looks at it: its header.
    fn seal(&mut self, who: (u8, u8), compartment: CompartmentId) {
        let log = LogId { compartment, device: device(who) };
        let roll_heads = self.heads(who);
        let heads = self.logs.entry(log).or_default();
        let header = Header {
            version: 1,
            suite: 1,
            group: Some(self.group),
            compartment,
            device: log.device,
            seq: heads.len() as u64 + 1,
            previous: Some(heads.last().map_or(EntryHash([0; 32]), |head| head.hash)),
            kind: Kind::SEALED,
            epoch: Some(EpochId::of(0, &[0; 32])),
            body_hash: Hash([0; 32]),
            body_bytes: 0,
            commitment: Some(Hash([0; 32])),
            claimed_ms: 0,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        };
        let signed = cose::sign(&device_key(who), Purpose::Entry, cbor::encode(&header)).into();
        let entry = Received::parse(Wire { signed, body: None }).unwrap();
        heads.push(LogHead { seq: header.seq, hash: entry.hash() });
        self.story.push(format!("    sealed {who:?} {compartment} {}: {:?}", header.seq, entry.hash()));
        self.sealed.push(entry);
    }
}

fn some_keys(z: u8) -> KeyUpdate {
    let rotations = if z % 4 == 3 { vec![rotation(1 + z % 3, 1 + u32::from(z % 2), z)] } else { vec![] };
    KeyUpdate { rotations, ..KeyUpdate::default() }
}

fn rotation(compartment: u8, number: u32, public: u8) -> Rotation {
    Rotation { compartment: CompartmentId(compartment), number, public: [public; 32], previous: None }
}
