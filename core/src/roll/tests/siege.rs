//! Random hostile histories: a coordinator or a thief with puppets, old heads and hashes of their own choice, against up to
//! five honest coordinators who hear of things in any order. Entries are not signed: the membership log looks at none.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::town::{COORDINATOR, VOLUNTEER, template};
use crate::base::{DeviceId, EntryHash, MemberId};
use crate::entry::{Certificate, Possession, Scope};
use crate::roll::operation::{Admission, Certification, Policy, Recovery, Removal};
use crate::roll::roll_set::{Arrival, Body};
use crate::roll::{Founding, KeyUpdate, Operation, RemovalRight, Roll, State, Target};

/// Histories of each kind in an ordinary run; more with `LAMPPOST_SIEGE`.
const HISTORIES: u64 = 60;

/// Puppets of one attacker.
const PUPPETS_MAX: usize = 20;

const NONCE: [u8; 16] = [7; 16];

/// A person's devices: two of their identity, one of a recovery's key, one that an attacker enters.
type Device = (u8, u8);

const PHONE: u8 = 0;
const TABLET: u8 = 1;
const RECOVERED: u8 = 2;
const ENTERED: u8 = 3;

/// Who attacks, and how that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Siege {
    /// A coordinator whom a senior removes.
    Removed,
    /// The first whom the founder appointed, whom a senior removes.
    Senior,
    /// The founder, whom more than half of the electors remove.
    Founder,
    /// The thief of one device, which a senior of its member removes.
    ThiefAndSenior,
    /// The thief of one device, which another device of its member removes.
    ThiefAndTablet,
    /// The thief of one device of the founder, which more than half of the electors remove.
    ThiefAndMajority,
    /// A coordinator in office, with as many honest ones who want somebody out as leave one vote too few.
    OneVoteShort,
}

const SIEGES: [Siege; 7] = [
    Siege::Removed,
    Siege::Senior,
    Siege::Founder,
    Siege::ThiefAndSenior,
    Siege::ThiefAndTablet,
    Siege::ThiefAndMajority,
    Siege::OneVoteShort,
];

struct Field {
    rng: ChaCha8Rng,
    roll: Roll,
    /// What each entry follows, and itself.
    closures: Vec<BTreeSet<usize>>,
    hashes: Vec<EntryHash>,
    heard: BTreeMap<Device, BTreeSet<usize>>,
    last: BTreeMap<Device, usize>,
    certificates: BTreeMap<Device, Certificate>,
    /// Everybody honest.
    good: Vec<u8>,
    story: Vec<String>,
}

fn key(tag: u8, person: u8, number: u8) -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|i| [tag, person, number].get(i).copied().unwrap_or(9)))
}

fn member(person: u8) -> MemberId {
    MemberId(key(b'm', person, 0).verifying_key().to_bytes())
}

fn device((person, number): Device) -> DeviceId {
    DeviceId(key(b'd', person, number).verifying_key().to_bytes())
}

/// The certificate of a device, by its member's identity or by the key that an attacker's recovery brings.
fn certificate((person, number): Device, by_recovery: bool) -> Certificate {
    let identity = key(b'm', person, u8::from(by_recovery));
    let id = MemberId(identity.verifying_key().to_bytes());
    let scope = Scope::founding(&NONCE);
    Possession::sign(&key(b'd', person, number), id, [person; 32], scope).certify(&identity).unwrap()
}

impl Field {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let own = certificate((0, PHONE), false);
        let founding = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: own.as_bytes().to_vec().into(),
            keys: KeyUpdate::default(),
            nonce: NONCE,
        });
        let slot = crate::entry::seal::Slot {
            group: None,
            compartment: crate::base::CompartmentId::ROLL,
            head: None,
            claimed_ms: rng.next_u64() >> 32,
            expiry_day: None,
            roll_heads: Vec::new(),
            checkpoint: None,
        };
        let body = crate::base::cbor::encode(&founding);
        let device_key = key(b'd', 0, PHONE);
        let founding =
            crate::entry::seal::write_clear(&device_key, &slot, crate::entry::Kind::OPERATION, None, body);
        let founding = founding.unwrap();
        Self {
            rng,
            roll: Roll::found(&founding).unwrap(),
            closures: vec![BTreeSet::from([0])],
            hashes: vec![founding.hash()],
            heard: BTreeMap::from([((0, PHONE), BTreeSet::from([0]))]),
            last: BTreeMap::from([((0, PHONE), 0)]),
            certificates: BTreeMap::new(),
            good: Vec::new(),
            story: Vec::new(),
        }
    }

    fn below(&mut self, count: usize) -> usize {
        self.rng.next_u32() as usize % count
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from[at]
    }

    fn certificate(&mut self, of: Device) -> Certificate {
        // Nobody has the identity of somebody honest, not even the thief of their device.
        let by_recovery = of.1 == RECOVERED || of.1 == ENTERED && self.good.contains(&of.0);
        self.certificates.entry(of).or_insert_with(|| certificate(of, by_recovery)).clone()
    }

    fn all(&self) -> BTreeSet<usize> {
        (0..self.hashes.len()).collect()
    }

    fn hear(&mut self, who: Device, what: &BTreeSet<usize>) {
        self.heard.entry(who).or_default().extend(what);
    }

    /// Writes in knowledge of `known`, of all that it follows, and of what the device wrote before.
    fn write(
        &mut self,
        who: Device,
        operation: Operation,
        carried: &[Device],
        known: &BTreeSet<usize>,
    ) -> usize {
        let mut past: BTreeSet<usize> =
            known.iter().chain(self.last.get(&who)).flat_map(|at| self.closures[*at].clone()).collect();
        let cited: BTreeSet<usize> = past
            .iter()
            .copied()
            .filter(|at| !past.iter().any(|other| other != at && self.closures[*other].contains(at)))
            .collect();
        let parents = cited.iter().map(|at| self.roll.history().at(self.hashes[*at]).unwrap()).collect();
        let mut hash = [0; 32];
        match self.below(4) {
            0 => {}
            1 => hash = [0xff; 32],
            _ => self.rng.fill_bytes(&mut hash),
        }
        let at = self.hashes.len();
        // Otherwise as small or as great as can be, and of this entry alone.
        hash[31] = at as u8;
        hash[30] = (at >> 8) as u8;
        let said = format!("{at}: {who:?} {} on {cited:?}", words(&operation));
        let certificates = carried.iter().map(|of| self.certificate(*of)).collect();
        let body = Body { operation: Some(operation), certificates };
        let previous =
            self.last.get(&who).map(|before| self.roll.history().at(self.hashes[*before]).unwrap());
        let arrival = Arrival {
            hash: EntryHash(hash),
            author: device(who),
            claimed_ms: 0,
            bytes: 400,
            previous,
            parents,
        };
        let became = self.roll.enter(arrival, body);
        self.story.push(format!("{said}: {became:?}"));
        past.insert(at);
        self.closures.push(past.clone());
        self.hashes.push(EntryHash(hash));
        self.last.insert(who, at);
        self.hear(who, &past);
        at
    }

    /// As an honest device does: in knowledge of everything that it has heard.
    fn say(&mut self, who: Device, operation: Operation, carried: &[Device]) -> usize {
        let known = self.heard.get(&who).cloned().unwrap_or_default();
        self.write(who, operation, carried, &known)
    }

    fn state(&self, known: &BTreeSet<usize>) -> std::sync::Arc<State> {
        let hashes: Vec<EntryHash> = known.iter().map(|at| self.hashes[*at]).collect();
        self.roll.state_at(&hashes).unwrap()
    }

    fn fail(&self, siege: Siege, seed: u64, why: &str) -> ! {
        panic!("{siege:?}, seed {seed}: {why}\n{}", self.story.join("\n"))
    }
}

fn words(operation: &Operation) -> String {
    match operation {
        Operation::Admit(admission) => format!("admits {:?} as {:?}", admission.member, admission.role),
        Operation::Remove(removal) => format!("removes {:?}", removal.target),
        Operation::Recover(recovery) => format!("recovers {:?}", recovery.member),
        Operation::Certify(_) => "enters a device".to_owned(),
        _ => "says nothing".to_owned(),
    }
}

fn nothing() -> Operation {
    Operation::Policy(Policy::default())
}

fn admit(person: u8, role: crate::base::RoleId) -> Operation {
    let (member, keys) = (member(person), KeyUpdate::default());
    Operation::Admit(Admission { member, role, certificates: Vec::new(), keys, invitation: None })
}

fn certify() -> Operation {
    Operation::Certify(Certification { certificate: Vec::new().into(), keys: KeyUpdate::default() })
}

fn remove(target: Target) -> Operation {
    Operation::Remove(Removal { target, marks: Vec::new(), keys: KeyUpdate::default() })
}

fn recover(person: u8) -> Operation {
    let (member, keys) = (member(person), KeyUpdate::default());
    Operation::Recover(Recovery { member, certificate: Vec::new().into(), marks: Vec::new(), keys })
}

/// One history. Answers whether the attack was one, by the rules of the siege.
fn play(siege: Siege, seed: u64) -> bool {
    let mut field = Field::new(seed);
    let is_thief = matches!(siege, Siege::ThiefAndSenior | Siege::ThiefAndTablet | Siege::ThiefAndMajority);
    let by_majority = matches!(siege, Siege::Founder | Siege::ThiefAndMajority);
    let honest = 2 + field.below(4) as u8;
    let people = honest + u8::from(!is_thief);
    let villain = match siege {
        Siege::Founder | Siege::ThiefAndMajority => 0,
        Siege::Senior => 1,
        Siege::ThiefAndTablet => field.below(usize::from(people)) as u8,
        Siege::Removed | Siege::ThiefAndSenior | Siege::OneVoteShort => {
            1 + field.below(usize::from(people) - 1) as u8
        }
    };
    let good: Vec<u8> = (0..people).filter(|person| is_thief || *person != villain).collect();
    field.good.clone_from(&good);
    let in_person = by_majority || siege == Siege::OneVoteShort;
    let mut appointed: BTreeMap<u8, usize> = BTreeMap::new();
    // Coordinators, mostly appointed by the founder, now and then at the same time.
    for person in 1..people {
        let by = if in_person || field.chance(75) { 0 } else { field.below(usize::from(person)) as u8 };
        let by = if by == villain && !is_thief { 0 } else { by };
        let all = field.all();
        let phone = (by, PHONE);
        if in_person || field.chance(75) || !field.state(&field.heard[&phone].clone()).governs(device(phone))
        {
            field.hear(phone, &all);
        }
        if field.chance(20) {
            field.say(phone, admit(person, VOLUNTEER), &[(person, PHONE)]);
        }
        appointed.insert(person, field.say(phone, admit(person, COORDINATOR), &[(person, PHONE)]));
        let heard = field.heard[&phone].clone();
        field.hear((person, PHONE), &heard);
    }
    let with_tablet: Vec<u8> = (0..people).filter(|person| *person == villain || field.chance(40)).collect();
    for person in &with_tablet {
        field.say((*person, PHONE), certify(), &[(*person, TABLET)]);
        let heard = field.heard[&(*person, PHONE)].clone();
        field.hear((*person, TABLET), &heard);
    }
    let base = field.all();
    let is_synced = in_person || siege == Siege::ThiefAndSenior || field.chance(70);
    let devices: Vec<Device> = field.heard.keys().copied().collect();
    for who in &devices {
        if is_synced {
            field.hear(*who, &base);
        }
        // Coordinators' devices write when they have heard of an appointment.
        if who.0 == villain && (by_majority || siege == Siege::ThiefAndTablet) {
            field.hear(*who, &base);
            field.say(*who, nothing(), &[]);
        } else if field.chance(40) {
            field.say(*who, nothing(), &[]);
        }
    }
    let start = field.hashes.len();
    let base = field.all();
    let before = field.state(&base);

    // What ends it.
    let stolen = (villain, if field.chance(50) { PHONE } else { TABLET });
    let end = if is_thief { Target::Device(device(stolen)) } else { Target::Member(member(villain)) };
    let mut enders: Vec<Device> = match siege {
        Siege::ThiefAndTablet => vec![(villain, if stolen.1 == PHONE { TABLET } else { PHONE })],
        Siege::Founder | Siege::ThiefAndMajority => {
            let needed = usize::from(people) / 2 + 1;
            let mut voters: Vec<u8> = good.iter().copied().filter(|person| *person != villain).collect();
            if voters.len() < needed {
                return false;
            }
            while voters.len() > needed {
                let at = field.below(voters.len());
                voters.remove(at);
            }
            voters.into_iter().map(|person| (person, PHONE)).collect()
        }
        Siege::Removed | Siege::Senior | Siege::ThiefAndSenior => {
            let may = |person: &u8| {
                *person != villain
                    && field.roll.right_to_remove(device((*person, PHONE)), end) == RemovalRight::Alone
            };
            let seniors: Vec<u8> = good.iter().copied().filter(may).collect();
            if seniors.is_empty() {
                return false;
            }
            vec![(field.pick(&seniors), PHONE)]
        }
        Siege::OneVoteShort => Vec::new(),
    };
    enders.reverse();
    // Whom the honest want out in vain.
    let (unwanted, mut askers) = (field.pick(&good), Vec::new());
    if siege == Siege::OneVoteShort {
        let mut others: Vec<u8> = good.iter().copied().filter(|person| *person != unwanted).collect();
        while askers.len() + 1 < usize::from(people) / 2 && !others.is_empty() {
            let at = field.below(others.len());
            askers.push(others.remove(at));
        }
        let alone = |person: &u8| {
            let target = Target::Member(member(unwanted));
            field.roll.right_to_remove(device((*person, PHONE)), target) == RemovalRight::Alone
        };
        if askers.iter().chain([&villain]).any(alone) {
            return false;
        }
    }
    let wish = |which: usize| match which {
        0 => remove(Target::Device(device((unwanted, PHONE)))),
        1 => recover(unwanted),
        _ => remove(Target::Member(member(unwanted))),
    };
    let wanted = field.below(6);
    let carried = if wanted == 1 { vec![(unwanted, RECOVERED)] } else { Vec::new() };

    let mut hostile: Vec<Device> =
        if is_thief { vec![stolen] } else { vec![(villain, PHONE), (villain, TABLET)] };
    let (mut written, mut puppets, mut ended): (BTreeSet<usize>, u8, Option<usize>) =
        (BTreeSet::new(), 0, None);
    let puppets_max = if field.chance(20) { PUPPETS_MAX } else { 1 + field.below(6) };
    let steps = 4 + field.below(24);
    let mut before_ender: Option<Device> = None;
    for step in 0..steps {
        if (ended.is_some() || siege == Siege::OneVoteShort) && field.chance(30) {
            let (who, from) = (field.pick(&good), field.pick(&hostile));
            let heard = field.heard.get(&from).cloned().unwrap_or_default();
            field.hear((who, PHONE), &heard);
        }
        if siege == Siege::OneVoteShort && !askers.is_empty() && field.chance(25) {
            let who = field.pick(&askers);
            field.say((who, PHONE), wish(wanted), &carried);
        }
        if ended.is_none() && !enders.is_empty() && (step >= steps / 2 || field.chance(30)) {
            let who = enders.pop().unwrap();
            if let Some(earlier) = before_ender.replace(who) {
                let heard = field.heard[&earlier].clone();
                field.hear(who, &heard);
            }
            let at = field.say(who, remove(end), &[]);
            if enders.is_empty() {
                let number = field.roll.history().at(field.hashes[at]).unwrap();
                if !field.roll.history().node(number).removes() {
                    // Whoever ends it may have heard of nobody to remove; but most electors are enough.
                    if by_majority {
                        field.fail(siege, seed, "more than half of the electors do not suffice");
                    }
                    return false;
                }
                ended = Some(at);
            }
            continue;
        }
        let who = field.pick(&hostile);
        let mut known = match field.below(4) {
            0 => field.all(),
            1 => BTreeSet::from([field.below(start)]),
            2 => base.clone(),
            _ => (0..1 + field.below(4)).map(|_| field.below(field.hashes.len())).collect(),
        };
        if field.chance(70) {
            let own: Vec<usize> = written.iter().copied().filter(|_| field.rng.next_u32() % 5 < 3).collect();
            known.extend(own);
        }
        let victim = if field.chance(60) {
            field.pick(&good)
        } else {
            field.below(usize::from(people + puppets)) as u8
        };
        let (operation, carried) = match field.below(10) {
            0..=3 if usize::from(puppets) < puppets_max => {
                let puppet = people + puppets;
                puppets += 1;
                hostile.push((puppet, PHONE));
                (admit(puppet, COORDINATOR), vec![(puppet, PHONE)])
            }
            0 => (nothing(), Vec::new()),
            1..=5 if siege == Siege::OneVoteShort && field.chance(50) => (wish(wanted), carried.clone()),
            1..=5 => (remove(Target::Member(member(victim))), Vec::new()),
            6 => (remove(Target::Device(device((victim, field.below(2) as u8)))), Vec::new()),
            7 => {
                hostile.push((victim, RECOVERED));
                (recover(victim), vec![(victim, RECOVERED)])
            }
            8 => {
                let role = if field.chance(50) { COORDINATOR } else { VOLUNTEER };
                (admit(victim, role), if field.chance(50) { vec![(victim, PHONE)] } else { Vec::new() })
            }
            _ => {
                hostile.push((who.0, ENTERED));
                (certify(), vec![(who.0, ENTERED)])
            }
        };
        written.insert(field.write(who, operation.clone(), &carried, &known));
        // Others of theirs say the same, each in knowledge of the one before.
        if matches!(operation, Operation::Remove(_) | Operation::Recover(_)) {
            for other in hostile.clone() {
                if other != who && field.chance(40) && field.hashes.len() < 150 {
                    known.extend(&written);
                    written.insert(field.write(other, operation.clone(), &carried, &known));
                }
            }
        }
    }

    let mut views = vec![field.all()];
    views.extend(good.iter().map(|person| field.heard[&(*person, PHONE)].clone()));
    for known in views {
        let state = field.state(&known);
        let governs = |person: u8| state.member(member(person)).is_some_and(|held| held.role == COORDINATOR);
        if siege == Siege::OneVoteShort {
            if !governs(unwanted) {
                field.fail(siege, seed, "somebody is out with one vote too few");
            }
            continue;
        }
        let is_ended = ended.is_some_and(|at| known.contains(&at));
        if is_ended && !state.removals().contains(&field.hashes[ended.unwrap()]) {
            field.fail(siege, seed, "the removal that ends it does not stand");
        }
        for person in &good {
            let phone = device((*person, PHONE));
            let is_heard = appointed.get(person).is_none_or(|at| known.contains(at));
            if !before.governs(phone) || !is_heard {
                continue;
            }
            // A villain in office may remove whom they outrank.
            let end_of = Target::Member(member(*person));
            let villains = device((villain, PHONE));
            let right = field.roll.right_to_remove_at(&field.hashes[..start], villains, end_of);
            let is_below = right == RemovalRight::Alone;
            let may_go = !is_ended && (is_below || (is_thief && *person == villain));
            if !governs(*person) && !may_go {
                field.fail(siege, seed, &format!("person {person} is out, person {villain} attacks"));
            }
        }
    }
    ended.is_some() || siege == Siege::OneVoteShort
}

#[test]
fn one_coordinator_never_weighs_as_two() {
    let histories = std::env::var("LAMPPOST_SIEGE").ok().and_then(|count| count.parse().ok());
    let histories = histories.unwrap_or(HISTORIES);
    for siege in SIEGES {
        let attacks = (0..histories).filter(|seed| play(siege, *seed)).count() as u64;
        assert!(attacks * 4 > histories, "{siege:?}: {attacks} of {histories} histories are attacks");
    }
}
