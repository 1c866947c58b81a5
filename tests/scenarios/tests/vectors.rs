//! Golden vectors: bytes of the format, from fixed seeds, with what a reader must make of them.
//!
//! `tests/vectors/*.json` is compared byte for byte; `LAMPPOST_WRITE_VECTORS=1` writes the files anew. A second
//! implementation, `tests/vectors/check.py`, reads the same files.
//!
//! Three libraries take part in the bytes: a new release of `hpke` may draw its randomness in another way, one of
//! `automerge` may encode a change differently, and one of `zstd` may compress differently. Such a difference is no
//! change of the format: readers of the old vectors must still pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{
    CompartmentId, CompartmentRow, DeviceId, EntryHash, EpochId, GroupId, Hash, Incarnation, MailboxId,
    MemberId, RelayId, RoleId, RoleRow, Template, cbor, hash, limits,
};
use lamppost_core::document::{AuthoredChange, Document, create_id, is_created_by};
use lamppost_core::entry::certificate::BadCertificate;
use lamppost_core::entry::chain::{verify_one, verify_run};
use lamppost_core::entry::evidence::{self, Evidence};
use lamppost_core::entry::invitation::{BadInvitation, Invitation, InvitationSecret};
use lamppost_core::entry::keys::{Agreement, EntryKey, Place, SALT_BYTES, SealPurpose, Secret, seal};
use lamppost_core::entry::knock::{Knock, open_answer, seal_answer, short_code};
use lamppost_core::entry::plaintext::{self, Content, Form};
use lamppost_core::entry::seal::{self, Slot, write_clear, write_sealed};
use lamppost_core::entry::{
    Certificate, Checkpoint, Claims, Header, Kind, LogHead, Malformed, Received, SealedKey, Verified, Wire,
};
use lamppost_core::roll::operation::{Admission, Grants, PreviousKey, Rotations};
use lamppost_core::roll::{Founding, Grant, Inserted, Operation, Roll, Rotation, State};
use lamppost_core::sync::checkpoint::{Arrivals, continues};
use lamppost_core::sync::frame::{
    Ack, AskConsistency, Challenge, Consistency, Cursor, Entries, Frame, Heads, Hello, LogHeight, Outcome,
    OwnHead, Proof, Pull, Push, Refusal, Refused, SESSION_VERSION, Standing, Welcome,
};
use lamppost_core::sync::mailbox::{self, Knocked, Knocks, Letter, OpenMailbox, Settled, Word};
use lamppost_core::sync::receipt::{BadReceipt, Receipt, SignedReceipt};
use lamppost_core::watch::Annotation;
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use sha2::Sha256;

const COORDINATOR: RoleId = RoleId(1);
const VOLUNTEER: RoleId = RoleId(2);
const COMMON: CompartmentId = CompartmentId(1);
const GROUP: CompartmentId = CompartmentId(2);
const CLAIMED_MS: u64 = 1_780_000_000_000;
/// The invitation that an admission of the roll names.
const INVITED: MailboxId = MailboxId([0x4d; 16]);

#[test]
fn vectors_are_what_the_code_writes() {
    let writes = std::env::var_os("LAMPPOST_WRITE_VECTORS").is_some();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut differing = Vec::new();
    for (name, value) in vectors() {
        let path = folder.join(format!("{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&value).unwrap());
        if writes {
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
            differing.push(name);
        }
    }
    assert!(
        differing.is_empty(),
        "the code writes or reads these otherwise than the vectors say: {differing:?}. A format that is in use \
         does not change: it gets a new version"
    );
}

fn vectors() -> BTreeMap<&'static str, Value> {
    let town = Town::new();
    BTreeMap::from([
        ("keys", keys(&town)),
        ("certificate", certificates(&town)),
        ("entries", entries(&town)),
        ("body", bodies(&town)),
        ("chain", chains(&town)),
        ("roll", rolls(&town)),
        ("sealed_keys", sealed_keys(&town)),
        ("document", documents(&town)),
        ("evidence", evidences(&town)),
        ("relay", relay(&town)),
        ("frames", frames(&town)),
        ("invitation", invitations(&town)),
    ])
}

/// One person with one device.
struct Party {
    member: SigningKey,
    device: SigningKey,
    agreement: Agreement,
    secrets: [[u8; 32]; 3],
}

impl Party {
    fn draw(rng: &mut ChaCha20Rng) -> Self {
        let secrets = [Secret::draw(rng).0, Secret::draw(rng).0, Secret::draw(rng).0];
        Self {
            member: SigningKey::from_bytes(&secrets[0]),
            device: SigningKey::from_bytes(&secrets[1]),
            agreement: Agreement::from_secret(Secret(secrets[2])),
            secrets,
        }
    }

    fn member_id(&self) -> MemberId {
        MemberId(self.member.verifying_key().to_bytes())
    }

    fn device_id(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    fn certificate(&self) -> Certificate {
        Certificate::issue(&self.member, &self.device, *self.agreement.public())
    }

    fn json(&self) -> Value {
        json!({
            "member_secret": hex(&self.secrets[0]),
            "member": self.member_id().to_string(),
            "device_secret": hex(&self.secrets[1]),
            "device": self.device_id().to_string(),
            "agreement_secret": hex(&self.secrets[2]),
            "agreement": hex(self.agreement.public()),
        })
    }
}

/// The first days of a small group: founded, two admitted, one compartment rotated, a few words written.
struct Town {
    carla: Party,
    vic: Party,
    vera: Party,
    relay: SigningKey,
    group: GroupId,
    /// Epoch 0 and 1 of `group`.
    epoch_keys: [Agreement; 2],
    epochs: [EpochId; 2],
    founding: Verified,
    admissions: [Verified; 2],
    rotation: Verified,
    sender: Secret,
    /// The log of Vic's device in `group`: certificate, sender key, three sealed entries.
    log: Vec<Verified>,
    contents: Vec<Content>,
    chained: SealedKey,
    granted: SealedKey,
    sealed_sender: SealedKey,
}

impl Town {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let rng = &mut rng;
        let [carla, vic, vera] = [Party::draw(rng), Party::draw(rng), Party::draw(rng)];
        let relay = SigningKey::from_bytes(&Secret::draw(rng).0);
        let epoch_keys = [Agreement::draw(rng), Agreement::draw(rng)];
        let epochs = [EpochId::of(0, epoch_keys[0].public()), EpochId::of(1, epoch_keys[1].public())];
        let common = Agreement::draw(rng);

        let grant = |rng: &mut ChaCha20Rng, compartment, number, key: &Agreement, to: &Party| {
            let epoch = EpochId::of(number, key.public());
            let purpose = SealPurpose::EpochKey(compartment, epoch);
            let sealed = seal(rng, to.agreement.public(), &purpose, key.secret()).unwrap();
            Grant { compartment, epoch, device: to.device_id(), sealed }
        };
        let mut rotations = Vec::new();
        for (compartment, key) in [(COMMON, &common), (GROUP, &epoch_keys[0])] {
            let grants = vec![grant(rng, compartment, 0, key, &carla)];
            rotations.push(Rotation {
                compartment,
                number: 0,
                public: *key.public(),
                grants,
                previous: None,
            });
        }
        let founding = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: ByteVec::from(carla.certificate().as_bytes().to_vec()),
            rotations,
            nonce: [0x5a; 16],
        });
        let founding = operation(&carla, None, &[], 0, &founding);
        let group = founding.group();

        let mut admissions = Vec::new();
        let mut last = founding.clone();
        for (n, newcomer) in [&vic, &vera].into_iter().enumerate() {
            let admit = Operation::Admit(Admission {
                member: newcomer.member_id(),
                role: VOLUNTEER,
                certificates: vec![ByteVec::from(newcomer.certificate().as_bytes().to_vec())],
                grants: vec![
                    grant(rng, COMMON, 0, &common, newcomer),
                    grant(rng, GROUP, 0, &epoch_keys[0], newcomer),
                ],
                invitation: None,
            });
            last = operation(&carla, Some(&last), &[last.hash()], n as u64 + 1, &admit);
            admissions.push(last.clone());
        }
        let granted = grant(rng, GROUP, 0, &epoch_keys[0], &vic).sealed;
        let purpose = SealPurpose::EpochChain { compartment: GROUP, old: epochs[0], new: epochs[1] };
        let chained = seal(rng, epoch_keys[1].public(), &purpose, epoch_keys[0].secret()).unwrap();
        let grants = [&carla, &vic, &vera].map(|to| grant(rng, GROUP, 1, &epoch_keys[1], to)).to_vec();
        let rotate = Operation::Rotate(Rotations {
            rotations: vec![Rotation {
                compartment: GROUP,
                number: 1,
                public: *epoch_keys[1].public(),
                grants,
                previous: Some(PreviousKey { epoch: epochs[0], sealed: chained.clone() }),
            }],
        });
        let rotation = operation(&carla, Some(&last), &[last.hash()], 3, &rotate);

        let sender = Secret::draw(rng);
        let purpose = SealPurpose::SenderKey(group, GROUP, vic.device_id(), epochs[1]);
        let sealed_sender = seal(rng, epoch_keys[1].public(), &purpose, &sender).unwrap();
        let mut log: Vec<Verified> = Vec::new();
        let slot = |log: &[Verified]| Slot {
            group: Some(group),
            compartment: GROUP,
            head: log.last().map(head_of),
            claimed_ms: CLAIMED_MS + 60_000 + log.len() as u64,
            expiry_day: (log.len() == 4).then_some(20_700),
            roll_heads: vec![rotation.hash()],
            checkpoint: (log.len() == 4).then_some(Checkpoint { size: 4, root: Hash([0xc4; 32]) }),
        };
        let certificate = vic.certificate().as_bytes().to_vec();
        log.push(write_clear(&vic.device, &slot(&log), Kind::CERTIFICATE, None, certificate).unwrap());
        let body = cbor::encode(&sealed_sender);
        log.push(write_clear(&vic.device, &slot(&log), Kind::SENDER_KEY, Some(epochs[1]), body).unwrap());
        let mut contents = changes(&vic);
        contents.push(Content {
            form: Form(9),
            bytes: b"of a later version".to_vec(),
            ..contents[0].clone()
        });
        for (n, content) in contents.iter().enumerate() {
            let salt = [0xa0 + n as u8; SALT_BYTES];
            let slot = slot(&log);
            log.push(write_sealed(&vic.device, &slot, group, epochs[1], &sender, salt, content).unwrap());
        }
        let admissions = admissions.try_into().unwrap();
        Self {
            carla,
            vic,
            vera,
            relay,
            group,
            epoch_keys,
            epochs,
            founding,
            admissions,
            rotation,
            sender,
            log,
            contents,
            chained,
            granted,
            sealed_sender,
        }
    }

    fn entry_key(&self, entry: &Received) -> EntryKey {
        seal::entry_key(self.group, entry, &self.sender).unwrap()
    }

    fn vic_document(&self) -> lamppost_core::base::DocumentId {
        self.contents[0].document
    }
}

/// A document that its author writes and amends: two Automerge changes.
fn changes(author: &Party) -> Vec<Content> {
    let id = create_id(author.member_id(), 3, [7; 8]);
    let mut document = Document::new(author.device_id());
    let mut contents = Vec::new();
    for text in ["The lamp at the corner is out.", "The lamp at the corner is out again."] {
        let annotation = Annotation { target: "lamp-7".into(), text: text.into(), status: String::new() };
        let change = document.write(&annotation).unwrap().unwrap();
        contents.push(Content { document: id, kind: 3, form: Form::CHANGE, bytes: change.bytes().to_vec() });
    }
    contents
}

fn template() -> Template {
    let row = |id, name: &str, readers: &[RoleId], writers: &[RoleId]| CompartmentRow {
        id: CompartmentId(id),
        name: name.to_owned(),
        readers: readers.to_vec(),
        writers: writers.to_vec(),
    };
    let both = [COORDINATOR, VOLUNTEER];
    Template {
        roles: vec![
            RoleRow { id: COORDINATOR, name: "coordinator".to_owned(), governs: true },
            RoleRow { id: VOLUNTEER, name: "volunteer".to_owned(), governs: false },
        ],
        compartments: vec![
            row(0, "roll", &both, &[COORDINATOR]),
            row(1, "common", &both, &[COORDINATOR]),
            row(2, "group", &both, &both),
        ],
    }
}

fn operation(
    author: &Party,
    before: Option<&Verified>,
    heads: &[EntryHash],
    n: u64,
    operation: &Operation,
) -> Verified {
    let slot = Slot {
        group: before.map(|entry| entry.group()),
        compartment: CompartmentId::ROLL,
        head: before.map(head_of),
        claimed_ms: CLAIMED_MS + n,
        expiry_day: None,
        roll_heads: heads.to_vec(),
        checkpoint: None,
    };
    operation.check().unwrap();
    write_clear(&author.device, &slot, Kind::OPERATION, None, cbor::encode(operation)).unwrap()
}

fn head_of(entry: &Verified) -> LogHead {
    LogHead { seq: entry.header().seq, hash: entry.hash() }
}

fn keys(town: &Town) -> Value {
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

fn certificates(town: &Town) -> Value {
    let claims = *town.vic.certificate().claims();
    let signed = |member: &SigningKey, device: &SigningKey, claims: &Claims| {
        let inner = cose::sign(member, Purpose::Certificate, cbor::encode(claims));
        cose::sign(device, Purpose::Possession, inner)
    };
    let (vic, vera) = (&town.vic, &town.vera);
    let good = vic.certificate();
    let wrong_purpose = {
        let inner = cose::sign(&vic.member, Purpose::Entry, cbor::encode(&claims));
        cose::sign(&vic.device, Purpose::Possession, inner)
    };
    let refused = [
        ("another member signed", signed(&vera.member, &vic.device, &claims)),
        ("another device signed", signed(&vic.member, &vera.device, &claims)),
        ("the member signed for another purpose", wrong_purpose),
        ("version 2", signed(&vic.member, &vic.device, &Claims { version: 2, ..claims })),
        ("a bit of the inner signature is flipped", flip(good.as_bytes(), 190)),
        ("a byte follows", [good.as_bytes(), &[0]].concat()),
    ];
    for (what, bytes) in &refused {
        assert!(Certificate::verify(bytes).is_err(), "{what}");
    }
    assert_eq!(Certificate::verify(&refused[3].1), Err(BadCertificate::UnknownVersion(2)));
    json!({
        "accepted": [{
            "bytes": hex(good.as_bytes()),
            "version": claims.version,
            "member": claims.member.to_string(),
            "device": claims.device.to_string(),
            "agreement": hex(&claims.agreement),
        }],
        "refused": refused.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
    })
}

fn entries(town: &Town) -> Value {
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

fn entry_json(what: &str, entry: &Received) -> Value {
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

fn sign_header(key: &SigningKey, header: &[u8], body: &[u8]) -> Wire {
    let signed = cose::sign(key, Purpose::Entry, header.to_vec());
    Wire { signed: signed.into(), body: Some(body.to_vec().into()) }
}

fn bodies(town: &Town) -> Value {
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
        "dictionary_sha256": hash::sha256(include_bytes!("../../../core/src/entry/plaintext.zdict")).to_string(),
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
const COMPRESSED: &str = "0100000031000001b428b52ffd60b4003d0100f0a400581807d56bc63b2f9903cca64587ef5389161001\
    010209035901906102003102355cf0060000";

fn content_json(content: &Content) -> Value {
    json!({
        "document": content.document.to_string(),
        "kind": content.kind,
        "form": content.form.0,
        "bytes": hex(&content.bytes),
    })
}

fn chains(town: &Town) -> Value {
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

fn rolls(town: &Town) -> Value {
    let slice = [&town.founding, &town.admissions[0], &town.admissions[1], &town.rotation];
    let roll = insert_all(&slice);
    assert_eq!(roll.heads(), [town.rotation.hash()]);

    // A volunteer operates, a later version operates, and Vera's device speaks for itself; all at once.
    let vera_first = {
        let slot = Slot {
            group: Some(town.group),
            compartment: CompartmentId::ROLL,
            head: None,
            claimed_ms: CLAIMED_MS + 9,
            expiry_day: None,
            roll_heads: vec![town.admissions[0].hash()],
            checkpoint: None,
        };
        let body = town.vera.certificate().as_bytes().to_vec();
        write_clear(&town.vera.device, &slot, Kind::CERTIFICATE, None, body).unwrap()
    };
    let promote = |member: &Party| {
        Operation::Admit(Admission {
            member: member.member_id(),
            role: COORDINATOR,
            certificates: Vec::new(),
            grants: Vec::new(),
            invitation: Some(INVITED),
        })
    };
    let mut heads = [vera_first.hash(), town.rotation.hash()];
    heads.sort();
    let grab = operation(&town.vera, Some(&vera_first), &heads, 10, &promote(&town.vera));
    let later = Operation::Unknown { number: 4, cbor: vec![0xa1, 0x00, 0x01] };
    let later = operation(&town.carla, Some(&town.rotation), &[town.rotation.hash()], 11, &later);
    let promotion = operation(&town.carla, Some(&later), &[later.hash()], 12, &promote(&town.vic));
    let unknown_grant = Operation::Grant(Grants {
        grants: vec![Grant {
            compartment: GROUP,
            epoch: EpochId { number: 7, key: [7; 16] },
            device: town.vic.device_id(),
            sealed: town.granted.clone(),
        }],
    });
    let unknown_grant = operation(&town.carla, Some(&promotion), &[promotion.hash()], 13, &unknown_grant);
    let all =
        [slice[0], slice[1], slice[2], slice[3], &vera_first, &grab, &later, &promotion, &unknown_grant];
    let whole = insert_all(&all);
    assert!(!whole.state().governs(town.vera.device_id()) && whole.state().governs(town.vic.device_id()));
    let reversed: Vec<&Verified> = all.into_iter().rev().collect();
    assert_eq!(insert_all(&reversed).state(), whole.state());
    json!({
        "slices": [
            {
                "what": "found, admit, admit, rotate",
                "entries": slice.map(|entry| hex(&entry.to_bytes())),
                "expected": roll_json(&roll, &[]),
            },
            {
                "what": "operations of a volunteer, of a later version, and a promotion",
                "entries": reversed.iter().map(|entry| hex(&entry.to_bytes())).collect::<Vec<_>>(),
                "expected": roll_json(&whole, &[grab.hash()]),
            },
        ],
    })
}

/// Inserts entries, in whatever order they come, until each is in.
fn insert_all(entries: &[&Verified]) -> Roll {
    let founding = entries.iter().find(|entry| entry.is_founding()).unwrap();
    let mut roll = Roll::found(founding).unwrap();
    let mut waiting = entries.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|entry| matches!(roll.insert(entry), Ok(Inserted::Waits)));
        assert!(waiting.len() < before);
    }
    roll
}

fn roll_json(roll: &Roll, without_effect: &[EntryHash]) -> Value {
    let state: &State = roll.state();
    let members =
        state.members().map(|(id, member)| json!({ "member": id.to_string(), "role": member.role.0 }));
    let devices = state.devices().map(|(id, device, _)| {
        json!({
            "device": id.to_string(),
            "member": device.member.to_string(),
            "agreement": hex(&device.agreement),
        })
    });
    let epochs = state.template().compartments.iter().filter_map(|row| {
        let (epoch, it) = state.newest_epoch(row.id)?;
        Some(json!({
            "compartment": row.id.0,
            "newest": [epoch.number, hex(&epoch.key)],
            "public": hex(&it.public),
            "granted": it.grants.iter().map(|grant| grant.device.to_string()).collect::<Vec<_>>(),
            "epochs": state.epochs(row.id).count(),
        }))
    });
    json!({
        "group": roll.group().to_string(),
        "order": roll.order().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "heads": roll.heads().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "without_effect": without_effect.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
        "invited": state.invited(INVITED).map(|member| json!([INVITED.to_string(), member.to_string()])),
        "epochs": epochs.collect::<Vec<_>>(),
    })
}

fn sealed_keys(town: &Town) -> Value {
    let [old, new] = town.epochs;
    let [old_key, new_key] = &town.epoch_keys;
    let vic = town.vic.device_id();
    let epoch = |epoch: EpochId| json!([epoch.number, hex(&epoch.key)]);
    let cases = [
        (
            json!({ "for": "epoch key", "compartment": GROUP.0, "epoch": epoch(old) }),
            SealPurpose::EpochKey(GROUP, old),
            &town.vic.agreement,
            &town.granted,
            old_key.secret(),
        ),
        (
            json!({ "for": "epoch chain", "compartment": GROUP.0, "old": epoch(old), "new": epoch(new) }),
            SealPurpose::EpochChain { compartment: GROUP, old, new },
            new_key,
            &town.chained,
            old_key.secret(),
        ),
        (
            json!({
                "for": "sender key", "group": town.group.to_string(), "compartment": GROUP.0,
                "device": vic.to_string(), "epoch": epoch(new),
            }),
            SealPurpose::SenderKey(town.group, GROUP, vic, new),
            new_key,
            &town.sealed_sender,
            &town.sender,
        ),
    ];
    let accepted = cases.clone().map(|(purpose, seal_purpose, key, sealed, secret)| {
        assert!(key.open(&seal_purpose, sealed).unwrap() == *secret);
        json!({
            "purpose": purpose,
            "private": hex(&key.secret().0),
            "sealed": hex(&cbor::encode(sealed)),
            "opened": hex(&secret.0),
        })
    });
    let (_, _, _, sealed, _) = &cases[0];
    let bent = SealedKey { ciphertext: flip(&sealed.ciphertext, 0).try_into().unwrap(), ..(*sealed).clone() };
    let purpose =
        |compartment: u8| json!({ "for": "epoch key", "compartment": compartment, "epoch": epoch(old) });
    let refused = [
        (
            "for another compartment",
            purpose(1),
            &town.vic.agreement,
            (*sealed).clone(),
            SealPurpose::EpochKey(COMMON, old),
        ),
        (
            "sealed to another device",
            purpose(2),
            &town.vera.agreement,
            (*sealed).clone(),
            SealPurpose::EpochKey(GROUP, old),
        ),
        ("a bit is flipped", purpose(2), &town.vic.agreement, bent, SealPurpose::EpochKey(GROUP, old)),
    ];
    let refused = refused.map(|(why, purpose, key, sealed, seal_purpose)| {
        assert!(key.open(&seal_purpose, &sealed).is_err(), "{why}");
        json!({
            "why": why,
            "purpose": purpose,
            "private": hex(&key.secret().0),
            "sealed": hex(&cbor::encode(&sealed)),
        })
    });
    json!({ "accepted": accepted, "refused": refused })
}

fn documents(town: &Town) -> Value {
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

fn evidences(town: &Town) -> Value {
    let entry = &town.log[3];
    let salt = Secret([0x77; 32]);
    let committed = [Hash([3; 32]), evidence::commitment(&salt, entry.hash())];
    let certificate = |of: &Party| ByteVec::from(of.certificate().as_bytes().to_vec());
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

fn relay(town: &Town) -> Value {
    let relay = RelayId(town.relay.verifying_key().to_bytes());
    let incarnation = Incarnation([0x1c; 16]);
    let arrived: Vec<EntryHash> =
        (0_u8..7).map(|n| EntryHash(hash::sha256(&[n]).0)).chain(town.log.iter().map(|e| e.hash())).collect();
    let mut arrivals = Arrivals::default();
    let mut checkpoints = Vec::new();
    for entry in &arrived {
        arrivals.push(*entry);
        checkpoints.push(arrivals.checkpoint().unwrap());
    }
    let new = arrivals.checkpoint().unwrap();
    let proofs = checkpoints.iter().map(|old| {
        let hashes = arrivals.prove_from(old.size).unwrap();
        assert!(continues(old, &new, &hashes));
        json!({
            "old": checkpoint_json(old),
            "new": checkpoint_json(&new),
            "hashes": hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let old = checkpoints[4];
    let hashes = arrivals.prove_from(old.size).unwrap();
    let forged = Checkpoint { root: Hash([9; 32]), ..old };
    let mut bent = hashes.clone();
    bent[0].0[0] ^= 1;
    let bad_proofs = [
        ("another history", forged, new, hashes.clone()),
        ("a bit of the proof is flipped", old, new, bent),
        ("a hash is missing", old, new, hashes[1..].to_vec()),
        ("a hash too many", old, new, [hashes.as_slice(), &[Hash([0; 32])]].concat()),
        ("a history that shrank", new, old, hashes),
        ("the same size, another root", Checkpoint { root: Hash([9; 32]), ..new }, new, Vec::new()),
    ];
    let bad_proofs = bad_proofs.map(|(why, old, new, hashes)| {
        assert!(!continues(&old, &new, &hashes), "{why}");
        json!({
            "why": why,
            "old": checkpoint_json(&old),
            "new": checkpoint_json(&new),
            "hashes": hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    });
    let receipt = receipt_of(town);
    let signed = SignedReceipt::sign(&town.relay, receipt.clone());
    let verify = |bytes: &[u8]| SignedReceipt::verify(bytes, relay, incarnation, town.group);
    assert_eq!(verify(signed.as_bytes()), Ok(signed.clone()));
    let other = Receipt { incarnation: Incarnation([0; 16]), ..receipt.clone() };
    let bad_receipts = [
        ("a bit of the signature is flipped", flip(signed.as_bytes(), -1)),
        ("of another life", SignedReceipt::sign(&town.relay, other).as_bytes().to_vec()),
        (
            "signed by somebody else",
            SignedReceipt::sign(&town.vic.device, receipt.clone()).as_bytes().to_vec(),
        ),
    ];
    for (what, bytes) in &bad_receipts {
        assert!(verify(bytes).is_err(), "{what}");
    }
    assert_eq!(verify(&bad_receipts[1].1), Err(BadReceipt::Other));
    let proof = proof_of(town);
    let bare = cose::sign(&town.vic.device, Purpose::Session, cbor::encode(&proof));
    let bad_proof = cose::sign(&town.vic.device, Purpose::Entry, cbor::encode(&proof));
    json!({
        "relay_secret": hex(&town.relay.to_bytes()),
        "relay": relay.to_string(),
        "incarnation": incarnation.to_string(),
        "group": town.group.to_string(),
        "arrivals": arrived.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "consistency": proofs.collect::<Vec<_>>(),
        "bad_consistency": bad_proofs,
        "receipts": [{
            "bytes": hex(signed.as_bytes()),
            "received_ms": receipt.received_ms,
            "entries": receipt.entries.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "checkpoint": checkpoint_json(&receipt.checkpoint),
        }],
        "bad_receipts": bad_receipts.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
        "session_proofs": [{
            "bytes": hex(&bare), "nonce": hex(&proof.nonce), "device": proof.device.to_string(),
        }],
        "bad_session_proofs": [{
            "why": "signed for another purpose", "bytes": hex(&bad_proof), "nonce": hex(&proof.nonce),
        }],
    })
}

fn receipt_of(town: &Town) -> Receipt {
    let entries: Vec<EntryHash> = town.log.iter().map(|entry| entry.hash()).collect();
    let mut arrivals = Arrivals::default();
    (0_u8..7).for_each(|n| arrivals.push(EntryHash(hash::sha256(&[n]).0)));
    entries.iter().for_each(|entry| arrivals.push(*entry));
    Receipt {
        relay: RelayId(town.relay.verifying_key().to_bytes()),
        incarnation: Incarnation([0x1c; 16]),
        group: town.group,
        received_ms: CLAIMED_MS + 90_000,
        entries,
        checkpoint: arrivals.checkpoint().unwrap(),
    }
}

fn proof_of(town: &Town) -> Proof {
    Proof {
        version: SESSION_VERSION,
        nonce: [0x42; 32],
        relay: RelayId(town.relay.verifying_key().to_bytes()),
        group: town.group,
        device: town.vic.device_id(),
    }
}

fn frames(town: &Town) -> Value {
    let receipt = ByteVec::from(SignedReceipt::sign(&town.relay, receipt_of(town)).as_bytes().to_vec());
    let bare = Receipt { entries: Vec::new(), ..receipt_of(town) };
    let bare = ByteVec::from(SignedReceipt::sign(&town.relay, bare).as_bytes().to_vec());
    let proof = cose::sign(&town.vic.device, Purpose::Session, cbor::encode(&proof_of(town)));
    let head = |entry: &Verified| head_of(entry);
    let log = lamppost_core::entry::LogId { compartment: GROUP, device: town.vic.device_id() };
    let later = Refused { retry_after_ms: Some(10_000), ..Refused::new(Refusal::RATE, "too much at once") };
    let entries = vec![town.log[0].wire().clone(), Wire { body: None, ..town.log[4].wire().clone() }];
    let sealed = |bytes: usize| ByteVec::from(vec![0xab; bytes]);
    let letter = |word: Word| Frame::Letter(Letter { mailbox: INVITED, word });
    let frames = [
        (
            "challenge",
            Frame::Challenge(Challenge {
                version: SESSION_VERSION,
                nonce: [0x42; 32],
                relay: RelayId(town.relay.verifying_key().to_bytes()),
                incarnation: Incarnation([0x1c; 16]),
            }),
        ),
        ("hello", Frame::Hello(Hello { proof: proof.into() })),
        (
            "welcome",
            Frame::Welcome(Welcome {
                relay_ms: CLAIMED_MS,
                standing: Standing::Belongs,
                checkpoint: Some(bare.clone()),
                own: vec![OwnHead { compartment: GROUP, head: head(&town.log[4]) }],
            }),
        ),
        (
            "welcome to an unknown group",
            Frame::Welcome(Welcome {
                relay_ms: CLAIMED_MS,
                standing: Standing::UnknownGroup,
                checkpoint: None,
                own: Vec::new(),
            }),
        ),
        (
            "pull",
            Frame::Pull(Pull {
                cursors: vec![
                    Cursor { compartment: CompartmentId::ROLL, after: 0 },
                    Cursor { compartment: GROUP, after: 300 },
                ],
                live: true,
            }),
        ),
        ("entries", Frame::Entries(Entries { compartment: GROUP, entries: entries.clone(), upto: 305 })),
        ("caught up", Frame::CaughtUp),
        ("push", Frame::Push(Push { number: 3, entries })),
        (
            "ack",
            Frame::Ack(Ack {
                number: 3,
                outcomes: vec![Outcome::Kept, Outcome::Refused(later.clone())],
                receipt: Some(receipt),
            }),
        ),
        ("ask heads", Frame::AskHeads),
        ("heads", Frame::Heads(Heads { logs: vec![LogHeight { log, head: head(&town.log[4]) }] })),
        ("ask consistency", Frame::AskConsistency(AskConsistency { from: 5 })),
        (
            "consistency",
            Frame::Consistency(Consistency { from: 5, checkpoint: bare, hashes: vec![Hash([1; 32])] }),
        ),
        ("goodbye", Frame::Goodbye(Refused::new(Refusal::SHUTDOWN, "back in a moment"))),
        ("open mailbox", Frame::OpenMailbox(OpenMailbox { mailbox: INVITED, expires_ms: CLAIMED_MS })),
        ("knock", Frame::Knock(mailbox::Knock { mailbox: INVITED, sealed: sealed(40) })),
        (
            "knocks",
            Frame::Knocks(Knocks {
                knocks: [Some(sealed(40)), None]
                    .map(|sealed| Knocked {
                        mailbox: INVITED,
                        device: town.vic.device_id(),
                        at_ms: CLAIMED_MS,
                        sealed,
                    })
                    .to_vec(),
            }),
        ),
        ("answer", Frame::Answer(mailbox::Answer { mailbox: INVITED, sealed: sealed(1_024) })),
        ("letter: waiting", letter(Word::Waiting)),
        ("letter: refused", letter(Word::Refused(sealed(40)))),
        ("letter: closed", letter(Word::Closed(Refused::new(Refusal::MAILBOX_USED, "used")))),
        ("letter: admitted", letter(Word::Admitted)),
        ("settled", Frame::Settled(Settled { mailbox: INVITED, outcome: Outcome::Kept })),
    ];
    let refused = [
        ("an index that is not known", vec![0x82, 0x13, 0x80]),
        (
            "an answer that is too large",
            Frame::Answer(mailbox::Answer { mailbox: INVITED, sealed: sealed(1_025) }).to_bytes(),
        ),
        ("a knock that is too large", {
            Frame::Knock(mailbox::Knock { mailbox: INVITED, sealed: sealed(2_049) }).to_bytes()
        }),
        ("a unit frame without its empty array", vec![0x81, 0x05]),
        ("a key that is not known", vec![0x82, 0x0a, 0x81, 0xa2, 0x00, 0x05, 0x01, 0x00]),
        ("a bare index", vec![0x05]),
    ];
    for (what, bytes) in &refused {
        assert!(Frame::from_bytes(bytes).is_err(), "{what}");
    }
    json!({
        "accepted": frames.map(|(what, frame)| {
            let bytes = frame.to_bytes();
            assert_eq!(Frame::from_bytes(&bytes).as_ref(), Ok(&frame));
            json!({ "what": what, "bytes": hex(&bytes) })
        }),
        "refused": refused.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
    })
}

fn invitations(town: &Town) -> Value {
    let secret = InvitationSecret([0x5e; 16]);
    let of = |relay_url: &str| Invitation {
        relay_url: relay_url.to_owned(),
        group: town.group,
        role: VOLUNTEER,
        secret: secret.clone(),
        expires_s: CLAIMED_MS / 1_000,
    };
    let addresses = [
        "wss://relay.example.org/v1/session",
        "ws://127.0.0.1:7464/v1/session",
        "wss://relay.example.org:8443/a",
    ];
    let links = addresses.map(|relay_url| {
        let (invitation, link) = (of(relay_url), of(relay_url).to_uri());
        assert_eq!(Invitation::parse(&link), Ok(invitation.clone()));
        json!({
            "link": link,
            "qr_link": invitation.to_qr(),
            "relay_link": relay_url,
            "group": invitation.group.to_string(),
            "role": invitation.role.0,
            "secret": hex(&invitation.secret.0),
            "expires_s": invitation.expires_s,
        })
    });
    let good = of(addresses[0]).to_uri();
    let refused = [
        ("something else", "https://example.org/".to_owned(), BadInvitation::NotALink),
        ("cut", good[..good.len() - 2].to_owned(), BadInvitation::Damaged),
        (
            "mistyped",
            good.replacen(&good[20..21], if &good[20..21] == "a" { "b" } else { "a" }, 1),
            BadInvitation::Damaged,
        ),
        ("of a newer version", linked(&[2, 0xf6]), BadInvitation::Newer),
        ("an address in its long form", linked(&long_form(&of(addresses[0]))), BadInvitation::Damaged),
    ];
    for (what, link, why) in &refused {
        assert_eq!(Invitation::parse(link), Err(*why), "{what}");
    }
    let certificate = town.vic.certificate().as_bytes().to_vec();
    let relay = RelayId(town.relay.verifying_key().to_bytes());
    let knock = Knock { certificate: ByteVec::from(certificate.clone()), relay };
    let sealed = knock.seal(&secret, town.group, [0x5a; SALT_BYTES]);
    assert_eq!(Knock::open(&secret, town.group, &sealed).unwrap().0, knock);
    let reason = "The code was another one. ¿Quién es?";
    let answer = seal_answer(&secret, town.group, [0x5b; SALT_BYTES], reason);
    assert_eq!(open_answer(&secret, town.group, &answer).unwrap(), reason);
    let bad_knocks = [
        ("a bit is flipped", flip(&sealed, -1)),
        ("the salt is another", flip(&sealed, 0)),
        ("an answer is no knock", answer.clone()),
        ("made with another secret", knock.seal(&InvitationSecret([0; 16]), town.group, [0x5a; SALT_BYTES])),
        ("made for another group", knock.seal(&secret, GroupId([0; 32]), [0x5a; SALT_BYTES])),
    ];
    for (what, bytes) in &bad_knocks {
        assert!(Knock::open(&secret, town.group, bytes).is_err(), "{what}");
    }
    json!({
        "links": links,
        "bad_links": refused.map(|(why, link, _)| json!({ "why": why, "link": link })),
        "group": town.group.to_string(),
        "secret": hex(&secret.0),
        "mailbox": secret.mailbox(town.group).to_string(),
        "sealing_key": hex(&secret.sealing_key(town.group).0),
        "knock": { "bytes": hex(&sealed), "certificate": hex(&certificate), "relay": relay.to_string() },
        "bad_knocks": bad_knocks.map(|(why, bytes)| json!({ "why": why, "bytes": hex(&bytes) })),
        "answer": { "bytes": hex(&answer), "for": reason },
        "code": { "for": short_code(&secret, &certificate), "certificate": hex(&certificate) },
    })
}

/// A link of any content, with its checksum.
fn linked(content: &[u8]) -> String {
    let sum = hash::tagged(b"lamppost/1/invitation", &[content]);
    let bytes = [content, &sum.0[..4]].concat();
    format!("lamppost:{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// What a writer must not write: an address whose beginning and end should have been left out.
fn long_form(invitation: &Invitation) -> Vec<u8> {
    let fields = (
        invitation.group,
        invitation.role,
        invitation.secret.clone(),
        invitation.expires_s,
        invitation.relay_url.clone(),
    );
    [vec![1], cbor::encode(&fields)].concat()
}

fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!([checkpoint.size, checkpoint.root.to_string()])
}

fn expand(key: &Secret, label: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::from_prk(&key.0).unwrap().expand(label, &mut out).unwrap();
    out
}

/// Flips one bit of the byte at `at`, counted from the end if negative.
fn flip(bytes: &[u8], at: isize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.rem_euclid(bytes.len() as isize) as usize;
    bytes[at] ^= 1;
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
