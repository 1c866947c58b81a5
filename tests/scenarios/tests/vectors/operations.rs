//! Vectors of section 4.2: operations as they stand in a body, and those that are refused wherever they are read.

use lamppost_core::base::{CompartmentId, EntryHash, EpochId, GroupId, Hash, cbor, limits};
use lamppost_core::entry::{Certificate, LogHead, LogId, Scope};
use lamppost_core::roll::operation::{
    Acceptance, Admission, Certification, EndHold, Hold, Policy, Recovery, Removal, Shred, Watermark,
    Withdrawal, hold_reasons,
};
use lamppost_core::roll::{Founding, Grant, KeyUpdate, Operation, Target};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use crate::town::{COMMON, COORDINATOR, GROUP, Party, Town, VOLUNTEER, flip, hex};

/// Whether a reader takes it.
fn is_read(group: GroupId, bytes: &[u8]) -> bool {
    let Ok(operation) = cbor::decode::<Operation>(bytes) else { return false };
    let scope = operation.scope(group);
    let are_genuine = operation.certificates().iter().all(|bytes| Certificate::verify(bytes, scope).is_ok());
    assert_eq!(cbor::encode(&operation), bytes);
    operation.check().is_ok() && are_genuine
}

pub fn operations(town: &Town) -> Value {
    let accepted = accepted(town).into_iter().map(|(what, bytes)| {
        assert!(is_read(town.group, &bytes), "{what}");
        json!({ "what": what, "bytes": hex(&bytes) })
    });
    let mut refused = refused(town);
    refused.extend(refused_keys(town));
    let refused = refused.into_iter().map(|(why, bytes)| {
        assert!(!is_read(town.group, &bytes), "{why}");
        json!({ "why": why, "bytes": hex(&bytes) })
    });
    json!({
        "group": town.group.to_string(),
        "accepted": accepted.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
    })
}

type Cases = Vec<(&'static str, Vec<u8>)>;

/// The keys that the town's rotation carries, and a grant of two epochs.
fn keys(town: &Town) -> KeyUpdate {
    let Operation::KeyUpdate(keys) = cbor::decode(town.rotation.body().unwrap()).unwrap() else {
        unreachable!("it is a key update")
    };
    keys
}

fn two_epochs(town: &Town) -> KeyUpdate {
    let Operation::Admit(admission) = cbor::decode(town.admissions[0].body().unwrap()).unwrap() else {
        unreachable!("it is an admission")
    };
    admission.keys
}

fn marks(town: &Town) -> Vec<Watermark> {
    let device = town.vic.device_id();
    let head = LogHead { seq: 4, hash: town.log[4].hash() };
    let mark = |compartment| Watermark { log: LogId { compartment, device }, head };
    vec![mark(COMMON), mark(GROUP)]
}

fn removal(target: Target, marks: Vec<Watermark>, keys: KeyUpdate) -> Vec<u8> {
    cbor::encode(&Operation::Remove(Removal { target, marks, keys }))
}

fn recovery(town: &Town, certificate: ByteVec, marks: Vec<Watermark>) -> Vec<u8> {
    let (member, keys) = (town.vic.member_id(), KeyUpdate::default());
    cbor::encode(&Operation::Recover(Recovery { member, certificate, marks, keys }))
}

fn certification(device: &Party, keys: KeyUpdate) -> Vec<u8> {
    let certificate = device.certificate_bytes();
    cbor::encode(&Operation::Certify(Certification { certificate, keys }))
}

fn acceptance(entries: impl Iterator<Item = u32>) -> Vec<u8> {
    let entry = |n: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        EntryHash(hash)
    };
    cbor::encode(&Operation::Accept(Acceptance { entries: entries.map(entry).collect() }))
}

fn hashes(entries: impl Iterator<Item = u32>) -> Vec<EntryHash> {
    let Operation::Accept(acceptance) = cbor::decode(&acceptance(entries)).unwrap() else {
        unreachable!("it is an acceptance")
    };
    acceptance.entries
}

fn hold(entries: impl Iterator<Item = u32>, until_day: Option<u32>) -> Vec<u8> {
    let reason = hold_reasons::LEGAL;
    cbor::encode(&Operation::Hold(Hold { entries: hashes(entries), reason, until_day }))
}

fn end_hold(holds: impl Iterator<Item = u32>) -> Vec<u8> {
    cbor::encode(&Operation::EndHold(EndHold { holds: hashes(holds) }))
}

fn withdraw(proposals: impl Iterator<Item = u32>) -> Vec<u8> {
    cbor::encode(&Operation::Withdraw(Withdrawal { proposals: hashes(proposals) }))
}

fn shred(entries: Vec<Watermark>, document: Option<Hash>) -> Vec<u8> {
    cbor::encode(&Operation::Shred(Shred { entries, document }))
}

fn policy(settings: impl Iterator<Item = (u16, u64)>) -> Vec<u8> {
    cbor::encode(&Operation::Policy(Policy { settings: settings.collect() }))
}

fn admission(town: &Town, certificates: Vec<ByteVec>) -> Operation {
    Operation::Admit(Admission {
        member: town.vic.member_id(),
        role: VOLUNTEER,
        certificates,
        keys: KeyUpdate::default(),
        invitation: None,
    })
}

fn accepted(town: &Town) -> Cases {
    let vic = &town.vic;
    let member = Target::Member(vic.member_id());
    let not_theirs = vec![vic.certificate_bytes(), town.vera.certificate_bytes()];
    vec![
        ("found", town.founding.body().unwrap().to_vec()),
        ("admit", town.admissions[0].body().unwrap().to_vec()),
        ("admit by an invitation", town.admissions[1].body().unwrap().to_vec()),
        ("admit without a device", cbor::encode(&admission(town, Vec::new()))),
        (
            "admit with another member's certificate, which enters nothing",
            cbor::encode(&admission(town, not_theirs)),
        ),
        ("admit with 16 certificates", cbor::encode(&admission(town, vec![vic.certificate_bytes(); 16]))),
        ("key update", town.rotation.body().unwrap().to_vec()),
        ("key update of nothing", cbor::encode(&Operation::KeyUpdate(KeyUpdate::default()))),
        ("key update of one epoch of two", {
            let mut keys = two_epochs(town);
            keys.grants[0].mask = 2;
            keys.grants[0].sealed.ciphertext.truncate(48);
            cbor::encode(&Operation::KeyUpdate(keys))
        }),
        ("key update of 32 epochs", cbor::encode(&Operation::KeyUpdate(many_epochs(town, 32)))),
        ("remove a member", removal(member, marks(town), keys(town))),
        ("remove a device", removal(Target::Device(vic.device_id()), Vec::new(), KeyUpdate::default())),
        ("remove with 512 marks", removal(member, many_marks(512), KeyUpdate::default())),
        ("policy", policy([(1, 30), (2, 0)].into_iter())),
        ("policy with unknown settings", policy([(0, 1), (3, u64::MAX), (u16::MAX, 0)].into_iter())),
        ("policy of nothing", policy(std::iter::empty())),
        ("policy of 64 settings", policy((0..64).map(|n| (n, 1)))),
        ("accept", acceptance(0..2)),
        ("accept 1024 entries", acceptance(0..1024)),
        ("recover", recovery(town, town.vera.certificate_bytes(), marks(town))),
        ("hold until a day", hold(0..2, Some(20_700))),
        ("hold without end, of 1024 entries", hold(0..1024, None)),
        ("shred a document", shred(marks(town), Some(Shred::name(town.vic_document())))),
        (
            "shred a document of which no entry is named",
            shred(Vec::new(), Some(Shred::name(town.vic_document()))),
        ),
        ("shred 512 entries of no document", shred(many_marks(512), None)),
        ("end holds", end_hold(0..3)),
        ("withdraw proposals", withdraw(0..2)),
        ("certify", certification(vic, two_epochs(town))),
        ("certify without keys", certification(vic, KeyUpdate::default())),
        // Well-formed is enough, as a later version may have other rules.
        ("an operation of a later version, not canonical", vec![0x82, 0x0c, 0x9f, 0x00, 0xff]),
        (
            "an operation of a later version, whose fields are no map",
            vec![0x82, 0x18, 0xff, 0x83, 0x01, 0x61, 0x61, 0xf6],
        ),
    ]
}

fn many_marks(count: u16) -> Vec<Watermark> {
    let mark = |n: u16| {
        let mut device = [0; 32];
        device[..2].copy_from_slice(&n.to_be_bytes());
        let log = LogId { compartment: GROUP, device: lamppost_core::base::DeviceId(device) };
        Watermark { log, head: LogHead { seq: 0, hash: EntryHash([1; 32]) } }
    };
    (0..count).map(mark).collect()
}

fn many_epochs(town: &Town, count: u32) -> KeyUpdate {
    let mut keys = two_epochs(town);
    let name = keys.epochs[0];
    keys.epochs.clear();
    for number in 0..count {
        let epoch = EpochId { number, ..name.epoch };
        keys.epochs.push(lamppost_core::roll::EpochName { epoch, ..name });
    }
    keys.grants[0].mask = u32::MAX;
    keys.grants[0].sealed.ciphertext = vec![7; 32 * 32 + 16];
    keys
}

fn refused(town: &Town) -> Cases {
    let vic = &town.vic;
    let member = Target::Member(vic.member_id());
    let bent = ByteVec::from(flip(&vic.certificate_bytes(), -1));
    let elsewhere =
        Party { scope: Scope::group(GroupId([9; 32])), ..vic.with_device_of(vic) }.certificate_bytes();
    let carla = Party { scope: Scope::founding(&[0; 16]), ..town.carla.with_device_of(&town.carla) };
    let (founded_elsewhere, of_the_group) = (carla.certificate_bytes(), town.carla.certificate_bytes());
    let founding = |change: &dyn Fn(&mut Founding)| {
        let Operation::Found(mut founding) = cbor::decode(town.founding.body().unwrap()).unwrap() else {
            unreachable!("it is a founding")
        };
        change(&mut founding);
        cbor::encode(&Operation::Found(founding))
    };
    let policy_out_of_order = vec![0x82, 0x04, 0xa1, 0x00, 0xa2, 0x02, 0x00, 0x01, 0x00];
    vec![
        ("found with a role that does not govern", founding(&|f| f.role = VOLUNTEER)),
        ("found with a role that does not exist", founding(&|f| f.role.0 = 9)),
        ("found without the roll", founding(&|f| drop(f.template.compartments.remove(0)))),
        (
            "found where nobody governs",
            founding(&|f| f.template.roles.iter_mut().for_each(|r| r.governs = false)),
        ),
        ("found with a role twice", founding(&|f| f.template.roles[1].id = COORDINATOR)),
        ("found with readers that are no role", founding(&|f| f.template.compartments[1].readers[2].0 = 9)),
        ("found with a name of 65 bytes", founding(&|f| f.template.roles[0].name = "n".repeat(65))),
        (
            "found with a bent certificate",
            founding(&|f| f.certificate = ByteVec::from(flip(&f.certificate, -1))),
        ),
        (
            "found with a certificate for another founding",
            founding(&|f| f.certificate = founded_elsewhere.clone()),
        ),
        ("found with a certificate for a group", founding(&|f| f.certificate = of_the_group.clone())),
        (
            "admit with a certificate for another group",
            cbor::encode(&admission(town, vec![elsewhere.clone()])),
        ),
        ("admit with a certificate for a founding", {
            cbor::encode(&admission(town, vec![founded_elsewhere.clone()]))
        }),
        ("recover with a certificate for another group", recovery(town, elsewhere.clone(), Vec::new())),
        ("certify with a certificate for another group", {
            let certification = Certification { certificate: elsewhere.clone(), keys: KeyUpdate::default() };
            cbor::encode(&Operation::Certify(certification))
        }),
        ("admit with a bent certificate", cbor::encode(&admission(town, vec![bent.clone()]))),
        ("admit with 17 certificates", cbor::encode(&admission(town, vec![vic.certificate_bytes(); 17]))),
        ("recover with a bent certificate", recovery(town, bent, Vec::new())),
        ("recover with marks out of order", {
            recovery(town, vic.certificate_bytes(), marks(town).into_iter().rev().collect())
        }),
        ("remove with marks out of order", {
            removal(member, marks(town).into_iter().rev().collect(), KeyUpdate::default())
        }),
        ("remove with a mark twice", { removal(member, vec![marks(town)[0]; 2], KeyUpdate::default()) }),
        ("remove with 513 marks", removal(member, many_marks(513), KeyUpdate::default())),
        ("remove a target of a third kind", {
            let mut bytes = removal(member, Vec::new(), KeyUpdate::default());
            // 82 03 a3 00 82 00 …: the number of the target.
            assert_eq!(bytes[5], 0);
            bytes[5] = 2;
            bytes
        }),
        ("a policy of 65 settings", policy((0..65).map(|n| (n, 1)))),
        ("a policy out of order", policy_out_of_order),
        ("a setting that is no u16", vec![0x82, 0x04, 0xa1, 0x00, 0xa1, 0x1a, 0, 1, 0, 0, 0]),
        ("shred nothing", shred(Vec::new(), None)),
        ("accept out of order", acceptance([2, 1].into_iter())),
        ("accept an entry twice", acceptance([1, 1].into_iter())),
        ("accept 1025 entries", acceptance(0..1025)),
        ("hold out of order", hold([2, 1].into_iter(), None)),
        ("hold 1025 entries", hold(0..1025, None)),
        ("end a hold twice", end_hold([1, 1].into_iter())),
        ("withdraw a proposal twice", withdraw([1, 1].into_iter())),
        ("withdraw 1025 proposals", withdraw(0..1025)),
        ("shred out of order", shred(marks(town).into_iter().rev().collect(), None)),
        ("shred an entry twice", shred(vec![marks(town)[0]; 2], None)),
        ("shred 513 entries", shred(many_marks(513), None)),
        ("certify with a rotation", certification(vic, keys(town))),
        ("a field that is not known", {
            let mut bytes = policy(std::iter::empty());
            bytes[2] += 1;
            bytes.extend([1, 0]);
            bytes
        }),
        ("no array of two", vec![0x81, 0x04]),
        ("an unknown number with a long head", vec![0x82, 0x18, 0x17, 0xa0]),
        ("an unknown number whose fields do not end", vec![0x82, 0x0c, 0xa1, 0x00]),
        ("a byte follows", vec![0x82, 0x0c, 0x00, 0x00]),
    ]
}

fn refused_keys(town: &Town) -> Cases {
    let bent = |change: &dyn Fn(&mut KeyUpdate)| {
        let mut keys = two_epochs(town);
        change(&mut keys);
        cbor::encode(&Operation::KeyUpdate(keys))
    };
    let another = |keys: &mut KeyUpdate, count: usize| {
        let grant: Grant = keys.grants[0].clone();
        keys.grants = vec![grant; count];
    };
    let rotation = keys(town).rotations.remove(0);
    vec![
        (
            "a mask that names no epoch",
            bent(&|k| {
                k.grants[0].mask = 0;
                k.grants[0].sealed.ciphertext.truncate(16);
            }),
        ),
        ("a mask that names an epoch that is not there", bent(&|k| k.grants[0].mask = 0b110)),
        ("a mask of one epoch over a seal of two", bent(&|k| k.grants[0].mask = 1)),
        ("a seal that is a byte short", bent(&|k| k.grants[0].sealed.ciphertext.truncate(79))),
        ("a grant without epochs", bent(&|k| k.epochs.clear())),
        ("epochs out of order", bent(&|k| k.epochs.reverse())),
        ("an epoch twice", bent(&|k| k.epochs[1] = k.epochs[0])),
        (
            "33 epochs",
            cbor::encode(&Operation::KeyUpdate(many_epochs(town, limits::GRANTED_EPOCHS_MAX as u32 + 1))),
        ),
        ("33 rotations", bent(&|k| k.rotations = vec![rotation.clone(); 33])),
        (
            "1601 grants",
            bent(&|k| {
                k.epochs.truncate(1);
                k.grants[0].mask = 1;
                k.grants[0].sealed.ciphertext.truncate(48);
                another(k, 1601);
            }),
        ),
        ("a compartment that is no u8", {
            let text = bent(&|k| k.epochs[0].compartment = CompartmentId(200));
            let at = text.windows(3).position(|three| three == [0x82, 0x18, 200]).unwrap();
            [&text[..at], &[0x82, 0x19, 1, 0], &text[at + 3..]].concat()
        }),
        ("an epoch's key of 15 bytes", {
            let key = Hash([0; 32]).0[..15].to_vec();
            let text = bent(&|k| k.epochs[0].epoch.key = [0xee; 16]);
            let at = text.windows(17).position(|w| w[0] == 0x50 && w[1..] == [0xee; 16]).unwrap();
            [&text[..at], &[0x4f], &key[..], &text[at + 17..]].concat()
        }),
    ]
}
