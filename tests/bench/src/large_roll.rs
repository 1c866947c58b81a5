//! What the largest roll costs: 100,000 entries, in the shape that a group gives it, and in the shape that members who write as
//! much as they may give it, each entry of which cites 16 others.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use lamppost_core::base::hash::sha256;
use lamppost_core::base::{
    CompartmentId, CompartmentRow, EntryHash, GroupId, RoleId, RoleRow, Template, cbor, limits,
};
use lamppost_core::entry::seal::{Slot, write_clear};
use lamppost_core::entry::{Certificate, Kind, LogHead, Scope, Verified};
use lamppost_core::roll::operation::{Admission as Admit, Shred};
use lamppost_core::roll::{Founding, KeyUpdate, Operation, Roll};
use serde_json::{Value, json};

use super::roll::{BUSINESS, COORDINATOR, GROUP, VOLUNTEER, ms, operation, person, timed};

const ENTRIES: usize = 100_000;

/// Members of the honest group; the first govern.
const MEMBERS: usize = 496;
const COORDINATORS: usize = 4;

/// Hostile members, and the devices of each.
const HOSTILE: usize = 48;
const DEVICES: usize = 16;

struct Pen {
    key: SigningKey,
    certificate: Certificate,
    head: Option<LogHead>,
}

impl Pen {
    fn new(scope: Scope, member: usize, device: usize) -> Self {
        let (key, certificate) = person(scope, member, device);
        Self { key, certificate, head: None }
    }

    fn write(&mut self, group: Option<GroupId>, heads: &[EntryHash], kind: Kind, body: Vec<u8>) -> Verified {
        let mut roll_heads = heads.to_vec();
        roll_heads.sort_unstable();
        roll_heads.dedup();
        let slot = Slot {
            group,
            compartment: CompartmentId::ROLL,
            head: self.head,
            claimed_ms: 1_780_000_000_000,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        };
        let entry = write_clear(&self.key, &slot, kind, None, body).expect("it keeps the rules");
        self.head = Some(LogHead { seq: entry.header().seq, hash: entry.hash() });
        entry
    }
}

fn template() -> Template {
    let roles = [COORDINATOR, VOLUNTEER, BUSINESS];
    let row =
        |id| CompartmentRow { id, name: String::new(), readers: roles.to_vec(), writers: roles.to_vec() };
    let role = |id: RoleId| RoleRow { id, name: String::new(), governs: id == COORDINATOR };
    Template { roles: roles.map(role).to_vec(), compartments: vec![row(CompartmentId::ROLL), row(GROUP)] }
}

/// A founder's group with members, as entries.
fn found(members: usize, coordinators: usize) -> (GroupId, Pen, Vec<Verified>) {
    let nonce = [1; 16];
    let mut founder = Pen::new(Scope::founding(&nonce), 0, 0);
    let founding = Operation::Found(Founding {
        template: template(),
        role: COORDINATOR,
        certificate: founder.certificate.as_bytes().to_vec().into(),
        keys: KeyUpdate::default(),
        nonce,
    });
    let first = founder.write(None, &[], Kind::OPERATION, cbor::encode(&founding));
    let group = first.group();
    let mut entries = vec![first];
    for number in 1..members {
        let certificate = person(Scope::group(group), number, 0).1;
        let admission = Operation::Admit(Admit {
            member: certificate.claims().member,
            role: if number < coordinators { COORDINATOR } else { VOLUNTEER },
            certificates: vec![certificate.as_bytes().to_vec().into()],
            keys: KeyUpdate::default(),
            invitation: None,
        });
        let heads = [entries[entries.len() - 1].hash()];
        entries.push(founder.write(Some(group), &heads, Kind::OPERATION, cbor::encode(&admission)));
    }
    (group, founder, entries)
}

/// Coordinators who hear of each other after every eight entries.
fn honest() -> Vec<Verified> {
    let (group, _, mut entries) = found(MEMBERS, COORDINATORS);
    let scope = Scope::group(group);
    let mut pens: Vec<Pen> = (1..COORDINATORS).map(|number| Pen::new(scope, number, 0)).collect();
    let mut heads = vec![entries[entries.len() - 1].hash()];
    while entries.len() < ENTRIES {
        let mut next = Vec::new();
        for pen in &mut pens {
            let mut own = heads.clone();
            for _ in 0..8 {
                let entry = if pen.head.is_none() {
                    let body = pen.certificate.as_bytes().to_vec();
                    pen.write(Some(group), &own, Kind::CERTIFICATE, body)
                } else {
                    let body = cbor::encode(&operation(scope, entries.len(), MEMBERS));
                    pen.write(Some(group), &own, Kind::OPERATION, body)
                };
                own = vec![entry.hash()];
                entries.push(entry);
            }
            next.extend(own);
        }
        heads = next;
    }
    entries
}

/// Members with 16 devices each, all of whom write as much as they may, on the newest entries of 16 others.
fn hostile() -> Vec<Verified> {
    let (group, _, mut entries) = found(HOSTILE + 1, 1);
    let root = vec![entries[entries.len() - 1].hash()];
    let scope = Scope::group(group);
    let devices = |member| (0..DEVICES).map(move |device| Pen::new(scope, member, device));
    let mut pens: Vec<Pen> = (1..=HOSTILE).flat_map(devices).collect();
    for pen in &mut pens {
        let body = pen.certificate.as_bytes().to_vec();
        entries.push(pen.write(Some(group), &root, Kind::CERTIFICATE, body));
    }
    let mut number = 0_usize;
    while entries.len() < ENTRIES {
        // Each round hears of other devices, so that no two pasts are alike.
        for at in 0..pens.len() {
            number += 1;
            let others =
                (0..limits::ROLL_HEADS_MAX).map(|step| (at + 1 + step * (1 + number % 47)) % pens.len());
            let heads: Vec<EntryHash> =
                others.filter_map(|other| pens[other].head.map(|head| head.hash)).collect();
            let document = Some(sha256(&(number as u64).to_be_bytes()));
            let body = cbor::encode(&Operation::Shred(Shred { entries: Vec::new(), document }));
            entries.push(pens[at].write(Some(group), &heads, Kind::OPERATION, body));
        }
    }
    entries
}

/// Measures both shapes.
///
/// # Errors
/// What the roll refuses: then the measurement is wrong.
pub fn measure() -> Result<Vec<Value>, Box<dyn Error + Send + Sync>> {
    [("honest", honest as fn() -> Vec<Verified>), ("hostile", hostile)]
        .into_iter()
        .map(|(shape, write)| one(shape, &write()))
        .collect()
}

fn one(shape: &str, entries: &[Verified]) -> Result<Value, Box<dyn Error + Send + Sync>> {
    let before = resident_mb();
    let (last, rest) = entries.split_last().ok_or("a roll has a founding entry")?;
    let (inserting, roll) = timed(|| {
        let mut roll = Roll::found(&rest[0])?;
        for entry in &rest[1..] {
            roll.insert(entry)?;
        }
        Ok::<_, lamppost_core::roll::NotARoll>(roll)
    });
    let mut roll = Arc::new(roll?);
    let after = resident_mb();
    let (state, _) = timed(|| black_box(roll.state().standing()));
    let (elsewhere, _) = timed(|| black_box(roll.state_at(&[entries[entries.len() / 2].hash()])));
    // As a phone and a relay do for a frame: on a copy.
    let kept = Arc::clone(&roll);
    let (one_more, inserted) = timed(|| Arc::make_mut(&mut roll).insert(last));
    inserted?;
    let (state_again, _) = timed(|| black_box(roll.state().standing()));
    drop(kept);
    let bytes: usize = entries.iter().map(|entry| entry.bytes()).sum();
    Ok(json!({
        "shape": shape,
        "entries": entries.len(),
        "roll_mb": bytes as f64 / 1e6,
        "insert_everything_s": inserting.as_secs_f64(),
        "memory_mb": after - before,
        "state_ms": ms(state),
        "state_at_older_heads_ms": ms(elsewhere),
        "insert_one_ms": ms(one_more),
        "state_again_ms": ms(state_again),
    }))
}

/// Memory of this process that is resident, in megabytes.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1e3
}
