//! What people hand to each other: a join request, an admission, evidence. Each is what it says or is refused, and a
//! refusal leaves the phone as it was.

use lamppost_core::base::{EntryHash, GroupId, RelayId, RoleId, cbor};
use lamppost_core::entry::evidence::{self, Evidence, commitment};
use lamppost_core::entry::keys::{EntryKey, Secret};
use lamppost_core::entry::{Certificate, Kind, Received, Scope, Wire};
use lamppost_core::replica::{Admission, Error, JoinRequest};
use lamppost_core::storage::MemoryStore;
use minicbor::bytes::ByteVec;

use super::operations::write_operation;
use crate::tape::Tape;
use crate::town::{self, COORDINATOR, Keys, NEWCOMER, Pen, town};

/// First byte: which of them, raw or made from a good one.
pub fn handover(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(6) {
        0 => request(tape.rest().to_vec()),
        1 => {
            let keys = Keys::of(3 + tape.below(6) as u64);
            let certificate = match tape.below(8) {
                0 => keys.certificate_for(Scope::founding(&[0; 16])),
                1 => keys.certificate_for(Scope::group(GroupId(tape.bytes32()))),
                _ => keys.certificate(),
            };
            let mut bytes = certificate.as_bytes().to_vec();
            if tape.once_in(2) {
                tape.bend(&mut bytes);
            }
            request(bytes);
        }
        2 => {
            let bytes = tape.rest();
            if let Ok(admission) = Admission::from_bytes(bytes) {
                assert_eq!(admission.to_bytes(), bytes);
                join(&admission);
            }
        }
        3 => altered_admission(&mut tape),
        4 => {
            let bytes = tape.rest();
            if let Ok(evidence) = cbor::decode::<Evidence>(bytes) {
                assert_eq!(cbor::encode(&evidence), bytes);
                prove(&evidence);
            }
        }
        _ => altered_evidence(&mut tape),
    }
}

fn request(bytes: Vec<u8>) {
    let genuine = Certificate::verify(&bytes, Scope::group(town().group));
    let request = JoinRequest::from_bytes(bytes.clone());
    assert_eq!(request.as_bytes(), bytes);
    let store = town().founder.store();
    let mut engine = town::engine(COORDINATOR, &store);
    let before = engine.info().unwrap();
    match (engine.admit(&request, RoleId(2)), genuine) {
        (Ok(admission), Ok(certificate)) => {
            let member = certificate.claims().member;
            assert!(engine.roster().unwrap().iter().any(|row| row.member == member));
            assert_eq!(Admission::from_bytes(&admission.to_bytes()).ok(), Some(admission));
        }
        (Err(Error::Admission(_) | Error::Unreadable { .. }), _) => {
            assert_eq!(engine.info().unwrap(), before)
        }
        (outcome, genuine) => panic!("{outcome:?} of {genuine:?}"),
    }
    let now = engine.info().unwrap();
    assert_eq!(town::engine(COORDINATOR, &store).info().unwrap(), now);
}

fn join(admission: &Admission) {
    let store = MemoryStore::new();
    let mut engine = town::engine(NEWCOMER, &store);
    match engine.join(admission) {
        Ok(info) => {
            assert_eq!(info.group, admission.group);
            assert_eq!(town::engine(NEWCOMER, &store).info().unwrap(), info);
            let again = engine.admission().unwrap();
            assert_eq!(again.roll.len(), admission.roll.len());
            assert_eq!(town::engine(town::DEPUTY, &MemoryStore::new()).join(&again).is_ok(), {
                let roster = engine.roster().unwrap();
                let deputy = Keys::of(town::DEPUTY).device_id();
                roster.iter().any(|row| row.devices.iter().any(|row| row.device == deputy))
            });
        }
        Err(Error::Admission(_) | Error::Unreadable { .. } | Error::Address(_)) => {
            assert_eq!(engine.group_id(), None);
            // It was not spoilt for the genuine one.
            assert_eq!(engine.join(&town().admission).unwrap().group, town().group);
        }
        Err(why) => panic!("joining fails for the admission's sake alone: {why}"),
    }
}

fn altered_admission(tape: &mut Tape<'_>) {
    let mut admission = town().admission.clone();
    let mut pens: Vec<Pen> = (1..9).map(Pen::of).collect();
    for _ in 0..12 {
        if tape.is_over() {
            break;
        }
        let count = admission.roll.len();
        let at = tape.below(count.max(1));
        match tape.below(10) {
            0 => admission.group = GroupId(tape.bytes32()),
            1 => admission.relay = Some(RelayId(tape.bytes32())),
            2 => admission.relay_url = Some(tape.text()),
            _ if count == 0 => {}
            3 => drop(admission.roll.remove(at)),
            4 => {
                let again = admission.roll[at].clone();
                admission.roll.push(again);
            }
            5 => admission.roll.swap(at, tape.below(count)),
            6 => tape.bend(&mut admission.roll[at].signed),
            7 => admission.roll[at].body = None,
            _ => {
                let wire = more_roll(tape, &mut pens, &admission.roll);
                admission.roll.push(wire);
            }
        }
    }
    let bytes = admission.to_bytes();
    assert_eq!(Admission::from_bytes(&bytes).unwrap(), admission);
    join(&admission);
}

/// Another entry of the roll, by one of the town.
fn more_roll(tape: &mut Tape<'_>, pens: &mut [Pen], roll: &[Wire]) -> Wire {
    let at = tape.below(pens.len());
    let pen = &mut pens[at];
    let hashes: Vec<EntryHash> =
        roll.iter().filter_map(|wire| Received::parse(wire.clone()).ok()).map(|entry| entry.hash()).collect();
    let mut cited: Vec<EntryHash> =
        (0..1 + tape.below(2)).filter_map(|_| tape.pick(&hashes).copied()).collect();
    cited.sort_unstable();
    cited.dedup();
    let slot = pen.slot(lamppost_core::base::CompartmentId::ROLL, cited);
    let (kind, body) = match slot.head {
        None => (Kind(0), pen.keys.certificate().as_bytes().to_vec()),
        Some(_) => (Kind(1), cbor::encode(&write_operation(tape, &hashes))),
    };
    pen.write(&pen.header(&slot, kind, None, &body), body)
}

/// What the town's evidence proves.
fn genuine() -> (Evidence, EntryHash, evidence::Proven) {
    let evidence: Evidence = cbor::decode(&town().evidence[0]).unwrap();
    let entry = Received::parse(evidence.entry.clone()).unwrap().hash();
    let proven = evidence::verify(&evidence, &[commitment(&evidence.salt, entry)]).unwrap();
    (evidence, entry, proven)
}

/// Whatever is accepted proves what the genuine evidence proves: the release commits to that entry alone.
fn prove(evidence: &Evidence) {
    let (genuine, entry, proven) = genuine();
    let committed = [commitment(&genuine.salt, entry)];
    if let Ok(proves) = evidence::verify(evidence, &committed) {
        assert_eq!((proves.entry, &proves.content), (proven.entry, &proven.content));
        assert!(proves.member == proven.member || proves.member == Keys::of(town::VOLUNTEER).member_id());
    }
}

fn altered_evidence(tape: &mut Tape<'_>) {
    let (mut evidence, ..) = genuine();
    for _ in 0..1 + tape.below(3) {
        match tape.below(6) {
            0 => tape.bend(&mut evidence.entry.signed),
            1 => {
                let all: Vec<&Wire> = town().wires.values().flatten().collect();
                evidence.entry = (*tape.pick(&all).unwrap()).clone();
            }
            2 => evidence.key = EntryKey::from_secret(Secret(tape.bytes32())),
            3 => evidence.salt = Secret(tape.bytes32()),
            4 => tape.bend(&mut evidence.certificate),
            _ => {
                let certificate = Keys::of(1 + tape.below(8) as u64).certificate();
                evidence.certificate = ByteVec::from(certificate.as_bytes().to_vec());
            }
        }
    }
    assert!(cbor::decode::<Evidence>(&cbor::encode(&evidence)).is_ok_and(|again| again == evidence));
    prove(&evidence);
}
