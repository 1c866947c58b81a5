//! What a roll costs as a group grows: N devices, ten entries for each, written by four coordinators who hear of each
//! other now and then.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, MemberId, RoleId, cbor};
use lamppost_core::entry::chain::verify_one;
use lamppost_core::entry::seal::{Slot, write_clear};
use lamppost_core::entry::{Certificate, Kind, LogHead, Possession, Scope, SealedKeys, Verified, Wire};
use lamppost_core::replica::{Admission, Engine, Environment, FixedVault, JoinRequest, SystemClock};
use lamppost_core::roll::operation::{Admission as Admit, Certification, Policy, Removal};
use lamppost_core::roll::{EpochName, Grant, KeyUpdate, Operation, Roll, Rotation, State, Target};
use lamppost_core::storage::MemoryStore;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

/// Devices of the groups that are measured: the smallest, and the most that a group is meant to have.
const SIZES: [usize; 3] = [50, 150, 500];

/// Entries of the roll for each device.
const ENTRIES_PER_DEVICE: usize = 10;

/// Beside the founder; they write what is not an admission.
const COORDINATORS: usize = 3;

/// Entries that each writes before they hear of each other.
const APART: usize = 8;

pub const COORDINATOR: RoleId = RoleId(1);
pub const VOLUNTEER: RoleId = RoleId(2);
pub const BUSINESS: RoleId = RoleId(5);
pub const GROUP: CompartmentId = CompartmentId(2);

/// Measures each size and prints a table, or JSON.
///
/// # Errors
/// What the engine refuses: then the measurement is wrong.
pub fn run(as_json: bool, large: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let rows: Result<Vec<Value>, _> = if large {
        super::large_roll::measure()
    } else {
        SIZES.iter().map(|devices| measure(*devices)).collect()
    };
    let rows = rows?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    let names = rows.first().and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name);
    for name in names {
        let values: String =
            rows.iter().map(|row| format!("{:>12.2}", row[name].as_f64().unwrap_or(0.0))).collect();
        println!("{name:<40}{values}");
    }
    Ok(())
}

fn measure(devices: usize) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let mut founder = engine(1)?;
    let (writing, ()) = timed(|| write(&mut founder, devices));

    let mut newcomer = engine(2)?;
    let newcomer_request = newcomer.request(founder.group_id().ok_or("it has founded")?)?;
    let (admitting, admission) = timed(|| founder.admit(&newcomer_request, VOLUNTEER));
    let admission = Admission::from_bytes(&admission?.to_bytes())?;
    let bytes = size(&admission.roll);

    let (signatures, entries) = timed(|| verify(&admission.roll));
    let (last, before) = entries.split_last().ok_or("a roll has a founding entry")?;
    let (inserting, mut roll) = timed(|| insert(before));
    let (first_state, _) = timed(|| black_box(roll.state().standing()));
    let others: Vec<EntryHash> = vec![entries[entries.len() / 2].hash()];
    let (elsewhere, _) = timed(|| black_box(roll.state_at(&others)));
    let (one_more, state) = timed(|| roll.insert(last).map(|_| Arc::clone(roll.state())));
    let state = state?;
    let (joining, joined) = timed(|| newcomer.join(&admission));
    joined?;

    let volunteer = some_volunteer(&state, newcomer.member_id());
    let (removing, removed) = timed(|| founder.remove(Target::Member(volunteer)));
    removed?;
    let after = founder.admission()?.roll;
    let new = after.get(admission.roll.len()..).unwrap_or_default();
    Ok(json!({
        "devices": state.devices().count(),
        "entries": entries.len(),
        "roll_kb": bytes as f64 / 1e3,
        "write_everything_s": writing.as_secs_f64(),
        "verify_signatures_ms": ms(signatures),
        "insert_everything_ms": ms(inserting),
        "state_ms": ms(first_state),
        "state_at_older_heads_ms": ms(elsewhere),
        "insert_one_and_state_ms": ms(one_more),
        "admit_ms": ms(admitting),
        "join_ms": ms(joining),
        "remove_ms": ms(removing),
        "remove_kb": size(new) as f64 / 1e3,
        "remove_operations": new.len(),
    }))
}

/// A coordinator whose entries are written here, without an engine.
struct Writer {
    key: SigningKey,
    head: Option<LogHead>,
    heads: Vec<EntryHash>,
}

/// Fills the founder's roll: everybody is admitted, and then the coordinators govern at the same time.
fn write(founder: &mut Engine, devices: usize) {
    let group = founder.found().expect("an empty store has no group").group;
    let mut writers: Vec<Writer> = (0..COORDINATORS)
        .map(|number| {
            let (key, certificate) = person(Scope::group(group), number, 0);
            admit(founder, &certificate, COORDINATOR);
            Writer { key, head: None, heads: Vec::new() }
        })
        .collect();
    for number in COORDINATORS..devices - 2 {
        admit(founder, &person(Scope::group(group), number, 0).1, VOLUNTEER);
    }
    let mut heads = insert(&verify(&founder.admission().expect("the founder belongs").roll)).heads();
    let mut written = devices;
    while written < devices * ENTRIES_PER_DEVICE {
        let mut wires = Vec::new();
        for (at, writer) in writers.iter_mut().enumerate() {
            writer.heads.clone_from(&heads);
            if writer.head.is_none() {
                let certificate = person(Scope::group(group), at, 0).1.as_bytes().to_vec();
                wires.push(writer.append(group, Kind::CERTIFICATE, certificate));
            }
            for _ in 0..APART {
                written += 1;
                let operation = operation(Scope::group(group), written, devices);
                wires.push(writer.append(group, Kind::OPERATION, cbor::encode(&operation)));
            }
        }
        founder.receive(wires, None).expect("the store is in memory");
        heads = writers.iter().flat_map(|writer| writer.heads.clone()).collect();
        heads.sort_unstable();
    }
}

impl Writer {
    fn append(&mut self, group: GroupId, kind: Kind, body: Vec<u8>) -> Wire {
        let slot = Slot {
            group: Some(group),
            compartment: CompartmentId::ROLL,
            head: self.head,
            claimed_ms: 1_780_000_000_000,
            expiry_day: None,
            roll_heads: self.heads.clone(),
            checkpoint: None,
        };
        let entry = write_clear(&self.key, &slot, kind, None, body).expect("it keeps the rules");
        self.head = Some(LogHead { seq: entry.header().seq, hash: entry.hash() });
        self.heads = vec![entry.hash()];
        entry.into_received().wire().clone()
    }
}

/// What a group does in years: roles change, devices come and go, people leave and come back, keys are handed out.
pub fn operation(scope: Scope, number: usize, devices: usize) -> Operation {
    // Spread over everybody but the coordinators.
    let who = COORDINATORS + number * 7 % (devices - 2 - COORDINATORS);
    let (key, certificate) = person(scope, who, 0);
    let member = MemberId(certificate.claims().member.0);
    let admit = |role| {
        let certificates = vec![certificate.as_bytes().to_vec().into()];
        Operation::Admit(Admit { member, role, certificates, keys: KeyUpdate::default(), invitation: None })
    };
    let keys = KeyUpdate::default();
    match number % 20 {
        0 => Operation::Remove(Removal { target: Target::Member(member), marks: vec![], keys }),
        1 => Operation::Remove(Removal {
            target: Target::Device(DeviceId(key.verifying_key().to_bytes())),
            marks: vec![],
            keys,
        }),
        2 => Operation::KeyUpdate(rotation(number as u32 / 20)),
        3 => Operation::Policy(Policy { settings: [(1, number as u64)].into() }),
        4..=6 => admit(BUSINESS),
        7 | 8 => {
            let certificate =
                person(scope, number % COORDINATORS, 1 + number % 4).1.as_bytes().to_vec().into();
            Operation::Certify(Certification { certificate, keys })
        }
        9..=13 => Operation::KeyUpdate(grant(DeviceId(key.verifying_key().to_bytes()))),
        _ => admit(VOLUNTEER),
    }
}

fn rotation(number: u32) -> KeyUpdate {
    let rotation =
        Rotation { compartment: GROUP, number: number % 8, public: [number as u8; 32], previous: None };
    KeyUpdate { rotations: vec![rotation], ..KeyUpdate::default() }
}

fn grant(device: DeviceId) -> KeyUpdate {
    let sealed = SealedKeys { encapsulated: [9; 32], ciphertext: vec![0; 48] };
    let epoch = lamppost_core::base::EpochId::of(0, &[0; 32]);
    KeyUpdate {
        epochs: vec![EpochName { compartment: GROUP, epoch }],
        grants: vec![Grant { device, mask: 1, sealed }],
        ..KeyUpdate::default()
    }
}

fn admit(founder: &mut Engine, certificate: &Certificate, role: RoleId) {
    let request = JoinRequest::from_bytes(certificate.as_bytes().to_vec());
    founder.admit(&request, role).expect("the founder governs");
}

/// A member's `device`-th device with its certificate for the group of `scope`.
pub fn person(scope: Scope, number: usize, device: usize) -> (SigningKey, Certificate) {
    let key = |tag: u8, device: usize| {
        let mut bytes = [tag; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        bytes[8] = device as u8;
        SigningKey::from_bytes(&bytes)
    };
    let (member, device) = (key(1, 0), key(2, device));
    // Any public key but a few of small order: nothing opens what is sealed to it.
    let agreement = device.verifying_key().to_montgomery().to_bytes();
    let member_id = MemberId(member.verifying_key().to_bytes());
    let possession = Possession::sign(&device, member_id, agreement, scope);
    let certificate = possession.certify(&member).expect("it names this member");
    (device, certificate)
}

fn some_volunteer(state: &State, but: MemberId) -> MemberId {
    let volunteers = state.devices().filter(|(_, row, role)| *role == VOLUNTEER && row.member != but);
    volunteers.map(|(_, row, _)| row.member).next().expect("somebody still volunteers")
}

fn verify(wires: &[Wire]) -> Vec<Verified> {
    let parsed = wires.iter().map(|wire| lamppost_core::entry::Received::parse(wire.clone()));
    parsed
        .map(|entry| verify_one(entry.expect("it was written here")).expect("so was its signature"))
        .collect()
}

fn insert(entries: &[Verified]) -> Roll {
    let mut roll = Roll::found(&entries[0]).expect("the first founds");
    for entry in &entries[1..] {
        roll.insert(entry).expect("it was in a roll");
    }
    roll
}

fn engine(seed: u8) -> Result<Engine, lamppost_core::replica::Error> {
    Engine::open(Environment {
        store: Arc::new(MemoryStore::default()),
        vault: Arc::new(FixedVault::new([seed; 32])),
        clock: Arc::new(SystemClock),
        entropy: Box::new(ChaCha20Rng::seed_from_u64(u64::from(seed))),
    })
}

fn size(wires: &[Wire]) -> usize {
    wires.iter().map(|wire| wire.signed.len() + wire.body.as_ref().map_or(0, |body| body.len())).sum()
}

pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}

pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
