//! Vectors of sections 1 to 3 and 6: keys, certificates, entries, bodies, logs, seals, evidence, documents.

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{CompartmentId, EntryHash, EpochId, GroupId, Hash, cbor, hash, limits};
use lamppost_core::document::{AuthoredChange, create_id, is_created_by};
use lamppost_core::entry::certificate::BadCertificate;
use lamppost_core::entry::chain::{verify_one, verify_run};
use lamppost_core::entry::evidence::{self, Evidence};
use lamppost_core::entry::keys::{Agreement, EntryKey, Place, SALT_BYTES, SealPurpose, Secret};
use lamppost_core::entry::plaintext::{self, Content, Form};
use lamppost_core::entry::seal;
use lamppost_core::entry::{
    Certificate, Claims, Header, Kind, Malformed, Received, Scope, SealedKey, SealedKeys, Wire,
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::town::{COMMON, GROUP, NONCE, Party, Town, content_json, flip, hex, sign_header, unhex};

pub fn keys(town: &Town) -> Value {
    let epochs = town.epoch_keys.iter().zip(town.epochs).map(|(key, epoch)| {
        json!({
            "number": epoch.number,
            "secret": hex(&key.secret().0),
            "public": hex(key.public()),
            "id": hex(&epoch.key),
            "derivation_bytes": hex(&epoch.to_bytes()),
        })
    });
    let entry_keys = [(0, 0), (1, 5), (255, u64::MAX)].map(|(compartment, seq)| {
        let place = Place {
            group: town.group,
            compartment: CompartmentId(compartment),
            device: town.vic.device_id(),
            seq,
        };
        let salt = [0x33; SALT_BYTES];
        let key = EntryKey::derive(&town.sender, &salt, &place);
        json!({
            "sender_key": hex(&town.sender.0),
            "salt": hex(&salt),
            "group": place.group.to_string(),
            "compartment": compartment,
            "device": place.device.to_string(),
            "seq": seq.to_string(),
            "entry_key": hex(&key.secret().0),
            "cipher_key": hex(&expand(key.secret(), b"lamppost/1/cipher")),
            "commitment_key": hex(&expand(key.secret(), b"lamppost/1/commitment")),
        })
    });
    json!({
        "parties": [town.carla.json(), town.vic.json(), town.vera.json()],
        "epochs": epochs.collect::<Vec<_>>(),
        "entry_keys": entry_keys,
    })
}

pub fn certificates(town: &Town) -> Value {
    let claims = *town.vic.certificate().claims();
    let signed = |member: &SigningKey, device: &SigningKey, claims: &Claims| {
        let inner = cose::sign(device, Purpose::Possession, cbor::encode(claims));
        cose::sign(member, Purpose::Certificate, inner)
    };
    let (vic, vera) = (&town.vic, &town.vera);
    let good = vic.certificate();
    let purposes = |inner: Purpose, outer: Purpose| {
        let inner = cose::sign(&vic.device, inner, cbor::encode(&claims));
        cose::sign(&vic.member, outer, inner)
    };
    let inside_out = {
        let inner = cose::sign(&vic.member, Purpose::Certificate, cbor::encode(&claims));
        cose::sign(&vic.device, Purpose::Possession, inner)
    };
    let unconfirmed = cose::sign(&vic.device, Purpose::Possession, cbor::encode(&claims));
    let mut more_claims = cbor::encode(&claims);
    more_claims[0] += 1;
    more_claims.extend([5, 0]);
    let more_claims = cose::sign(&vic.device, Purpose::Possession, more_claims);
    let more_claims = cose::sign(&vic.member, Purpose::Certificate, more_claims);
    let elsewhere = |scope: Scope| {
        let certificate = Party { scope, ..vic.with_device_of(vic) }.certificate();
        certificate.as_bytes().to_vec()
    };
    let refused = [
        ("another member signed", signed(&vera.member, &vic.device, &claims)),
        ("another device signed", signed(&vic.member, &vera.device, &claims)),
        ("the member signed as the device too", signed(&vic.member, &vic.member, &claims)),
        ("version 2", signed(&vic.member, &vic.device, &Claims { version: 2, ..claims })),
        ("the member signed for another purpose", purposes(Purpose::Possession, Purpose::Entry)),
        ("the device signed for another purpose", purposes(Purpose::Certificate, Purpose::Certificate)),
        ("the member's signature inside, the device's outside", inside_out),
        ("the device's word alone", unconfirmed),
        ("a claim that is not known", more_claims),
        ("a bit of the inner signature is flipped", flip(good.as_bytes(), 190)),
        ("a bit of the outer signature is flipped", flip(good.as_bytes(), -8)),
        ("a byte follows", [good.as_bytes(), &[0]].concat()),
        ("genuine, for another group", elsewhere(Scope::group(GroupId([9; 32])))),
        ("genuine, for a founding entry", elsewhere(Scope::founding(&NONCE))),
    ];
    for (what, bytes) in &refused {
        assert!(Certificate::verify(bytes, vic.scope).is_err(), "{what}");
    }
    assert_eq!(Certificate::verify(&refused[3].1, vic.scope), Err(BadCertificate::UnknownVersion(2)));
    for (what, bytes) in &refused[refused.len() - 2..] {
        assert_eq!(Certificate::verify(bytes, vic.scope), Err(BadCertificate::OtherGroup), "{what}");
    }
    json!({
        "accepted": [{
            "bytes": hex(good.as_bytes()),
            "version": claims.version,
            "member": claims.member.to_string(),
            "device": claims.device.to_string(),
            "agreement": hex(&claims.agreement),
            "scope": town.group.to_string(),
        }],
        "group": town.group.to_string(),
        "refused": refused.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
    })
}

pub fn entries(town: &Town) -> Value {
    let accepted = [
        ("a founding entry", &town.founding),
        ("a certificate entry", &town.log[0]),
        ("a sender-key entry", &town.log[1]),
        ("a sealed entry", &town.log[2]),
        ("a sealed entry with expiry and checkpoint", &town.log[4]),
    ];
    let expired = Wire { body: None, ..town.log[4].wire().clone() };
    assert!(Received::parse(expired.clone()).is_ok());
    let mut accepted: Vec<Value> =
        accepted.into_iter().map(|(what, entry)| entry_json(what, entry)).collect();
    accepted.push(entry_json("a sealed entry whose body expired", &Received::parse(expired).unwrap()));

    let sealed = town.log[2].header();
    let body = town.log[2].body().unwrap().to_vec();
    let resigned = |header: &Header| sign_header(&town.vic.device, &cbor::encode(header), &body);
    let unsorted = [town.rotation.hash(), EntryHash([0; 32])];
    let mut long_head = cbor::encode(sealed);
    long_head.splice(2..3, [0x18, 0x01]);
    let header = |change: &dyn Fn(&mut Header)| {
        let mut header = sealed.clone();
        change(&mut header);
        resigned(&header)
    };
    let in_the_roll = |h: &mut Header| (h.kind, h.compartment) = (Kind(200), CompartmentId::ROLL);
    let expiring_certificate = {
        let header = Header { expiry_day: Some(20_700), ..town.log[0].header().clone() };
        sign_header(&town.vic.device, &cbor::encode(&header), town.log[0].body().unwrap())
    };
    let bare = |wire: &Wire| Wire { body: None, ..wire.clone() };
    let refused = [
        ("version 2", header(&|h| h.version = 2)),
        ("suite 2", header(&|h| h.suite = 2)),
        ("seq 0 names an entry before it", header(&|h| h.seq = 0)),
        ("seq 2 names none", header(&|h| h.previous = None)),
        ("a certificate behind seq 0", header(&|h| h.kind = Kind::CERTIFICATE)),
        ("an operation outside the roll", header(&|h| h.kind = Kind::OPERATION)),
        ("a sealed entry in the roll", header(&|h| h.compartment = CompartmentId::ROLL)),
        ("a sealed entry without an epoch", header(&|h| h.epoch = None)),
        ("a sealed entry without a commitment", header(&|h| h.commitment = None)),
        ("a sender key with a commitment", header(&|h| h.kind = Kind::SENDER_KEY)),
        ("no group, and not founding", header(&|h| h.group = None)),
        ("roll heads out of order", header(&|h| h.roll_heads = unsorted.to_vec())),
        ("a roll head twice", header(&|h| h.roll_heads = vec![unsorted[0]; 2])),
        ("17 roll heads", header(&|h| h.roll_heads = (0..17).map(|n| EntryHash([n; 32])).collect())),
        ("no roll head", header(&|h| h.roll_heads.clear())),
        ("a body that is stated too large", header(&|h| h.body_bytes = limits::BODY_BYTES_MAX as u32 + 1)),
        (
            "a roll entry of a later kind that expires",
            header(&|h| {
                in_the_roll(h);
                h.expiry_day = Some(20_700);
            }),
        ),
        ("a certificate that expires", expiring_certificate),
        (
            "a sender key that expires",
            header(&|h| (h.kind, h.commitment, h.expiry_day) = (Kind::SENDER_KEY, None, Some(20_700))),
        ),
        ("a roll entry of a later kind without its body", bare(&header(&in_the_roll))),
        ("a founding entry without its body", bare(town.founding.wire())),
        ("a certificate without its body", bare(town.log[0].wire())),
        ("a sender key without its body", bare(town.log[1].wire())),
        ("another body", Wire { body: Some(flip(&body, 3).into()), ..town.log[2].wire().clone() }),
        ("a shorter body", header(&|h| h.body_bytes += 1)),
        ("a header with a long head", sign_header(&town.vic.device, &long_head, &body)),
        (
            "a COSE message with a tag",
            Wire {
                signed: [&[0xd2], town.log[2].wire().signed.as_slice()].concat().into(),
                ..town.log[2].wire().clone()
            },
        ),
    ];
    for (what, wire) in &refused {
        assert!(Received::parse(wire.clone()).is_err(), "{what}");
    }
    assert!(matches!(Received::parse(refused[0].1.clone()), Err(Malformed::UnknownVersion { found: 2 })));
    let later_kind = header(&|h| h.kind = Kind(200));
    let later_kind = Received::parse(later_kind).unwrap();
    accepted.push(entry_json("an entry of a kind that is not known yet", &later_kind));

    let unsigned = Wire { signed: flip(&town.log[2].wire().signed, -8).into(), ..town.log[2].wire().clone() };
    let other_purpose = {
        let signed = cose::sign(&town.vic.device, Purpose::Session, cbor::encode(sealed));
        Wire { signed: signed.into(), ..town.log[2].wire().clone() }
    };
    let unproven =
        [("a bit of the signature is flipped", unsigned), ("signed for another purpose", other_purpose)];
    for (what, wire) in &unproven {
        assert!(verify_one(Received::parse(wire.clone()).unwrap()).is_err(), "{what}");
    }
    json!({
        "accepted": accepted,
        "malformed": refused.map(|(why, wire)| json!({ "why": why, "wire": hex(&cbor::encode(&wire)) })),
        "unproven": unproven.map(|(why, wire)| json!({ "why": why, "wire": hex(&cbor::encode(&wire)) })),
    })
}

pub fn entry_json(what: &str, entry: &Received) -> Value {
    assert!(entry.verify_signature().is_ok());
    let h = entry.header();
    json!({
        "what": what,
        "wire": hex(&entry.to_bytes()),
        "hash": entry.hash().to_string(),
        "group": entry.group().to_string(),
        "header": {
            "version": h.version,
            "suite": h.suite,
            "group": h.group.map(|group| group.to_string()),
            "compartment": h.compartment.0,
            "device": h.device.to_string(),
            "seq": h.seq,
            "previous": h.previous.map(|previous| previous.to_string()),
            "kind": h.kind.0,
            "epoch": h.epoch.map(|epoch| json!([epoch.number, hex(&epoch.key)])),
            "body_hash": h.body_hash.to_string(),
            "body_bytes": h.body_bytes,
            "commitment": h.commitment.map(|commitment| commitment.to_string()),
            "claimed_ms": h.claimed_ms,
            "expiry_day": h.expiry_day,
            "roll_heads": h.roll_heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "checkpoint": h.checkpoint.map(|c| json!([c.size, c.root.to_string()])),
        },
    })
}

pub fn bodies(town: &Town) -> Value {
    let accepted: Vec<Value> = town.log[2..]
        .iter()
        .zip(&town.contents)
        .map(|(entry, content)| {
            let key = town.entry_key(entry);
            assert_eq!(seal::open(entry, &key).as_ref(), Ok(content));
            let plain = plaintext::pack(content).unwrap();
            json!({
                "wire": hex(&entry.to_bytes()),
                "entry_key": hex(&key.secret().0),
                "plaintext": hex(&plain),
                "content": content_json(content),
            })
        })
        .collect();

    let entry = &town.log[2];
    let key = town.entry_key(entry);
    let other_key = town.entry_key(&town.log[3]);
    assert!(seal::open(entry, &other_key).is_err());
    // Its author changed his mind about what the body says, and signed that.
    let uncommitted = Header { commitment: Some(Hash([1; 32])), ..entry.header().clone() };
    let uncommitted = sign_header(&town.vic.device, &cbor::encode(&uncommitted), entry.body().unwrap());
    let uncommitted = Received::parse(uncommitted).unwrap();
    assert_eq!(seal::open(&uncommitted, &key), Err(seal::CannotOpenBody::Commitment));
    let refused =
        [("the key of another entry", &**entry, &other_key), ("another commitment", &uncommitted, &key)];

    let content = Content { document: town.vic_document(), kind: 1, form: Form(9), bytes: vec![b'a'; 400] };
    let compressed = unhex(COMPRESSED);
    assert_eq!(plaintext::unpack(&compressed).as_ref(), Ok(&content));
    let packed = plaintext::pack(&town.contents[0]).unwrap();
    assert_eq!(packed[0], 2, "with the dictionary");
    let edit = |at: usize, byte: u8| {
        let mut bytes = packed.clone();
        bytes[at] = byte;
        bytes
    };
    let bad = [
        ("a codec that is not known", edit(0, 3)),
        ("a length beyond the end", edit(3, 1)),
        ("a stated size that is not that of the content", edit(8, packed[8] + 1)),
        ("a stated size over the limit", edit(5, 1)),
        ("a byte in the padding", edit(packed.len() - 1, 1)),
        ("one byte of padding too many", [packed.as_slice(), &[0]].concat()),
        ("shorter than its frame", packed[..8].to_vec()),
    ];
    for (what, bytes) in &bad {
        assert!(plaintext::unpack(bytes).is_err(), "{what}");
    }
    let lengths = [9, 10, 63, 64, 65, 100, 127, 128, 129, 1_000, 4_096, 4_097, 100_000, 262_144, 262_145];
    json!({
        "dictionary_sha256": hash::sha256(include_bytes!("../../../../core/src/entry/plaintext.zdict")).to_string(),
        "accepted": accepted,
        "refused": refused.map(|(why, entry, key)| {
            json!({ "why": why, "wire": hex(&entry.to_bytes()), "entry_key": hex(&key.secret().0) })
        }),
        "plaintexts": [{ "plaintext": hex(&compressed), "content": content_json(&content) }],
        "bad_plaintexts": bad.map(|(why, bytes)| json!({ "why": why, "plaintext": hex(&bytes) })),
        "padded_bytes": lengths.map(|bytes| json!([bytes, plaintext::padded_bytes(bytes)])),
    })
}

/// What `plaintext::pack` made of 400 times the letter a, once.
pub const COMPRESSED: &str = "0100000031000001b428b52ffd60b4003d0100f0a400581807d56bc63b2f9903cca64587ef5389161001\
    010209035901906102003102355cf0060000";

pub fn chains(town: &Town) -> Value {
    let group = town.group;
    let good: Vec<Received> = town.log.iter().map(|entry| (**entry).clone()).collect();
    let run = verify_run(group, None, good.clone());
    assert!(run.verified.len() == 5 && run.refused.is_none());

    let bent = |at: usize, byte: isize| {
        let mut wires: Vec<Wire> = good.iter().map(|entry| entry.wire().clone()).collect();
        wires[at].signed = flip(&wires[at].signed, byte).into();
        wires
    };
    let wires = |order: &[usize]| order.iter().map(|at| good[*at].wire().clone()).collect::<Vec<_>>();
    let wrong_previous = {
        let header = Header { previous: Some(EntryHash([9; 32])), ..good[3].header().clone() };
        let entry = sign_header(&town.vic.device, &cbor::encode(&header), good[3].body().unwrap());
        let mut wires = wires(&[0, 1, 2, 3, 4]);
        wires[3] = entry;
        wires
    };
    let broken = [
        // The chain covers signatures too, so this one cannot be exchanged for another in the middle.
        ("a bit of the signature of entry 2 is flipped", bent(2, -8), 2),
        ("a bit of the last signature is flipped", bent(4, -8), 4),
        ("entries 2 and 3 are swapped", wires(&[0, 1, 3, 2, 4]), 2),
        ("entry 3 names another entry before it", wrong_previous, 3),
        ("entry 2 is missing", wires(&[0, 1, 3, 4]), 2),
        ("it does not begin at 0", wires(&[1, 2, 3, 4]), 0),
    ];
    let broken = broken.map(|(why, wires, proven)| {
        let entries: Vec<_> = wires.iter().cloned().map(|wire| Received::parse(wire).unwrap()).collect();
        let run = verify_run(group, None, entries);
        assert!(run.refused.is_some(), "{why}");
        assert!(run.verified.len() <= proven, "{why}: {}", run.verified.len());
        json!({
            "why": why,
            "entries": wires.iter().map(|wire| hex(&cbor::encode(wire))).collect::<Vec<_>>(),
            "proven": run.verified.len(),
        })
    });
    json!({
        "group": group.to_string(),
        "entries": good.iter().map(|entry| hex(&entry.to_bytes())).collect::<Vec<_>>(),
        "broken": broken,
    })
}

pub fn sealed_keys(town: &Town) -> Value {
    let [old, new] = town.epochs;
    let [old_key, new_key] = &town.epoch_keys;
    let vic = town.vic.device_id();
    let epoch = |epoch: EpochId| json!([epoch.number, hex(&epoch.key)]);
    let case = |purpose: &Value, key: &Agreement, sealed: Vec<u8>| json!({ "purpose": purpose, "private": hex(&key.secret().0), "sealed": hex(&sealed) });
    let accept = |mut case: Value, opened: &[&Secret]| {
        case["opened"] = json!(opened.iter().map(|secret| hex(&secret.0)).collect::<Vec<_>>());
        case
    };
    let refuse = |why: &str, mut case: Value| {
        case["why"] = json!(why);
        case
    };

    let chain = json!({ "for": "epoch chain", "compartment": GROUP.0, "old": epoch(old), "new": epoch(new) });
    let chain_purpose = SealPurpose::EpochChain { compartment: GROUP, old, new };
    assert!(new_key.open(&chain_purpose, &town.chained).unwrap() == *old_key.secret());
    let sender = json!({
        "for": "sender key", "group": town.group.to_string(), "compartment": GROUP.0, "device": vic.to_string(),
        "epoch": epoch(new),
    });
    let sender_purpose = SealPurpose::SenderKey(town.group, GROUP, vic, new);
    assert!(new_key.open(&sender_purpose, &town.sealed_sender).unwrap() == town.sender);

    let granted = |epochs: &[(CompartmentId, EpochId)]| {
        let epochs: Vec<Value> = epochs.iter().map(|(c, id)| json!([c.0, epoch(*id)])).collect();
        json!({ "for": "epoch keys", "epochs": epochs })
    };
    let epochs = town.granted_epochs;
    let opened = town.vic.agreement.open_epochs(&epochs, &town.granted).unwrap();
    assert!(opened[1] == *old_key.secret());
    let keys = cbor::encode(&town.granted);
    let accepted = [
        accept(
            case(&granted(&epochs), &town.vic.agreement, keys.clone()),
            &opened.iter().collect::<Vec<_>>(),
        ),
        accept(case(&chain, new_key, cbor::encode(&town.chained)), &[old_key.secret()]),
        accept(case(&sender, new_key, cbor::encode(&town.sealed_sender)), &[&town.sender]),
    ];

    let bent = SealedKeys { ciphertext: flip(&town.granted.ciphertext, 0), ..town.granted.clone() };
    let zeros = SealedKeys { encapsulated: [0; 32], ..town.granted.clone() };
    let bent_chain = SealedKey {
        ciphertext: flip(&town.chained.ciphertext, 0).try_into().unwrap(),
        ..town.chained.clone()
    };
    let of_vic = &town.vic.agreement;
    let bad = [
        ("the epochs in another order", [epochs[1], epochs[0]].to_vec(), of_vic, &town.granted),
        ("for another compartment", vec![(GROUP, epochs[0].1), epochs[1]], of_vic, &town.granted),
        ("one epoch of two", vec![epochs[0]], of_vic, &town.granted),
        ("three epochs of two", vec![epochs[0], epochs[1], (COMMON, new)], of_vic, &town.granted),
        ("sealed to another device", epochs.to_vec(), &town.vera.agreement, &town.granted),
        ("a bit is flipped", epochs.to_vec(), of_vic, &bent),
        ("a shared secret of zeros", epochs.to_vec(), of_vic, &zeros),
    ];
    let mut refused = Vec::new();
    for (why, epochs, key, sealed) in bad {
        assert!(key.open_epochs(&epochs, sealed).is_err(), "{why}");
        refused.push(refuse(why, case(&granted(&epochs), key, cbor::encode(sealed))));
    }
    assert!(new_key.open(&chain_purpose, &bent_chain).is_err());
    refused.push(refuse("a bit of a chain is flipped", case(&chain, new_key, cbor::encode(&bent_chain))));
    assert!(new_key.open(&sender_purpose, &town.chained).is_err());
    refused.push(refuse("sealed for another use", case(&sender, new_key, cbor::encode(&town.chained))));
    json!({ "accepted": accepted, "refused": refused })
}

pub fn evidences(town: &Town) -> Value {
    let entry = &town.log[3];
    let salt = Secret([0x77; 32]);
    let committed = [Hash([3; 32]), evidence::commitment(&salt, entry.hash())];
    let certificate = Party::certificate_bytes;
    let good = Evidence {
        entry: entry.wire().clone(),
        key: town.entry_key(entry),
        salt: salt.clone(),
        certificate: certificate(&town.vic),
    };
    let proven = evidence::verify(&good, &committed).unwrap();
    let altered = Wire { signed: flip(&good.entry.signed, -8).into(), ..good.entry.clone() };
    let refused = [
        ("another salt", Evidence { salt: Secret([0x78; 32]), ..good.clone() }),
        ("another entry", Evidence { entry: town.log[2].wire().clone(), ..good.clone() }),
        ("an altered entry", Evidence { entry: altered, ..good.clone() }),
        ("the key of another entry", Evidence { key: town.entry_key(&town.log[2]), ..good.clone() }),
        (
            "the certificate of another device",
            Evidence { certificate: certificate(&town.vera), ..good.clone() },
        ),
    ];
    for (what, evidence) in &refused {
        assert!(evidence::verify(evidence, &committed).is_err(), "{what}");
    }
    json!({
        "commitments": committed.map(|hash| hash.to_string()),
        "accepted": [{
            "evidence": hex(&cbor::encode(&good)),
            "salt": hex(&salt.0),
            "member": proven.member.to_string(),
            "entry": proven.entry.to_string(),
            "content": content_json(&proven.content),
        }],
        "refused": refused.map(|(why, evidence)| json!({ "why": why, "evidence": hex(&cbor::encode(&evidence)) })),
    })
}

pub fn documents(town: &Town) -> Value {
    let member = town.vic.member_id();
    let ids = [(1_u16, [0_u8; 8]), (3, [7; 8]), (u16::MAX, [255; 8])].map(|(kind, nonce)| {
        let id = create_id(member, kind, nonce);
        assert!(is_created_by(id, member, kind) && !is_created_by(id, town.vera.member_id(), kind));
        json!({ "member": member.to_string(), "kind": kind, "nonce": hex(&nonce), "id": id.to_string() })
    });
    let changes = town.contents[..2].iter().map(|content| {
        assert!(AuthoredChange::parse(&content.bytes, town.vic.device_id()).is_ok());
        json!({ "device": town.vic.device_id().to_string(), "bytes": hex(&content.bytes) })
    });
    let change = &town.contents[0].bytes;
    let refused = [
        ("it names another device", &town.vera, change.clone()),
        ("a bit is flipped", &town.vic, flip(change, -1)),
        ("a byte follows", &town.vic, [change.as_slice(), &[0]].concat()),
        ("another type of chunk", &town.vic, {
            let mut bytes = change.clone();
            bytes[8] = 2;
            bytes
        }),
    ];
    let refused = refused.map(|(why, author, bytes)| {
        assert!(AuthoredChange::parse(&bytes, author.device_id()).is_err(), "{why}");
        json!({ "why": why, "device": author.device_id().to_string(), "bytes": hex(&bytes) })
    });
    let not_created = json!({
        "member": town.vera.member_id().to_string(), "kind": 3, "id": town.vic_document().to_string(),
    });
    json!({
        "ids": ids,
        "not_created": [not_created],
        "changes": changes.collect::<Vec<_>>(),
        "bad_changes": refused,
    })
}

pub fn expand(key: &Secret, label: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::from_prk(&key.0).unwrap().expand(label, &mut out).unwrap();
    out
}
