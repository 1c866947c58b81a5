//! A small town with fixed keys, and how its entries are written.

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{
    CompartmentId, CompartmentRow, DeviceId, DocumentId, EntryHash, EpochId, GroupId, Hash, MailboxId,
    MemberId, RoleId, RoleRow, Template, cbor,
};
use lamppost_core::document::{Document, create_id};
use lamppost_core::entry::keys::{Agreement, EntryKey, SALT_BYTES, SealPurpose, Secret, seal, seal_epochs};
use lamppost_core::entry::plaintext::{Content, Form};
use lamppost_core::entry::seal::{self, Slot, write_clear, write_sealed};
use lamppost_core::entry::{
    Certificate, Checkpoint, Kind, LogHead, Possession, Received, Scope, SealedKey, SealedKeys, Verified,
    Wire,
};
use lamppost_core::roll::operation::{Admission, PreviousKey};
use lamppost_core::roll::{EpochName, Founding, Grant, KeyUpdate, Operation, Rotation};
use lamppost_core::watch::Annotation;
use minicbor::bytes::ByteVec;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

pub const COORDINATOR: RoleId = RoleId(1);
pub const VOLUNTEER: RoleId = RoleId(2);
pub const LIAISON: RoleId = RoleId(3);
pub const COMMON: CompartmentId = CompartmentId(1);
pub const GROUP: CompartmentId = CompartmentId(2);
pub const COORDINATORS: CompartmentId = CompartmentId(3);
pub const CLAIMED_MS: u64 = 1_780_000_000_000;
/// An invitation.
pub const INVITED: MailboxId = MailboxId([0x4d; 16]);

/// The nonce of every founding entry.
pub const NONCE: [u8; 16] = [0x5a; 16];

/// One person with one device.
pub struct Party {
    pub member: SigningKey,
    pub device: SigningKey,
    pub agreement: Agreement,
    pub secrets: [[u8; 32]; 3],
    /// The group that its certificates are for.
    pub scope: Scope,
}

impl Party {
    pub fn draw(rng: &mut ChaCha20Rng) -> Self {
        let secrets = [Secret::draw(rng).0, Secret::draw(rng).0, Secret::draw(rng).0];
        Self {
            member: SigningKey::from_bytes(&secrets[0]),
            device: SigningKey::from_bytes(&secrets[1]),
            agreement: Agreement::from_secret(Secret(secrets[2])),
            secrets,
            scope: Scope::founding(&NONCE),
        }
    }

    pub fn member_id(&self) -> MemberId {
        MemberId(self.member.verifying_key().to_bytes())
    }

    pub fn device_id(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    /// For the founding entry until [`Party::enter`], for the group from then on.
    pub fn certificate(&self) -> Certificate {
        let agreement = *self.agreement.public();
        let possession = Possession::sign(&self.device, self.member_id(), agreement, self.scope);
        possession.certify(&self.member).unwrap()
    }

    /// Makes every later certificate one for this group.
    pub fn enter(&mut self, group: GroupId) {
        self.scope = Scope::group(group);
    }

    pub fn certificate_bytes(&self) -> ByteVec {
        ByteVec::from(self.certificate().as_bytes().to_vec())
    }

    /// Another device of the same member.
    pub fn with_device_of(&self, other: &Self) -> Self {
        let secrets = [self.secrets[0], other.secrets[1], other.secrets[2]];
        Self {
            member: self.member.clone(),
            device: other.device.clone(),
            agreement: other.agreement.clone(),
            secrets,
            scope: self.scope,
        }
    }

    pub fn json(&self) -> Value {
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
pub struct Town {
    pub carla: Party,
    pub vic: Party,
    pub vera: Party,
    pub relay: SigningKey,
    pub group: GroupId,
    /// Epoch 0 and 1 of `group`.
    pub epoch_keys: [Agreement; 2],
    pub epochs: [EpochId; 2],
    pub founding: Verified,
    pub admissions: [Verified; 2],
    pub rotation: Verified,
    pub sender: Secret,
    /// The log of Vic's device in `group`: certificate, sender key, three sealed entries.
    pub log: Vec<Verified>,
    pub contents: Vec<Content>,
    pub chained: SealedKey,
    /// Epoch 0 of `common` and of `group`, to Vic.
    pub granted: SealedKeys,
    pub granted_epochs: [(CompartmentId, EpochId); 2],
    pub sealed_sender: SealedKey,
}

impl Town {
    pub fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let rng = &mut rng;
        let [mut carla, mut vic, mut vera] = [Party::draw(rng), Party::draw(rng), Party::draw(rng)];
        let relay = SigningKey::from_bytes(&Secret::draw(rng).0);
        let epoch_keys = [Agreement::draw(rng), Agreement::draw(rng)];
        let epochs = [EpochId::of(0, epoch_keys[0].public()), EpochId::of(1, epoch_keys[1].public())];
        let common = Agreement::draw(rng);

        let begun = [(COMMON, 0, &common), (GROUP, 0, &epoch_keys[0])];
        let founding = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: carla.certificate_bytes(),
            keys: begin(rng, &begun, &[&carla]),
            nonce: NONCE,
        });
        let founding = operation(&carla, None, &[], 0, &founding);
        let group = founding.group();
        [&mut carla, &mut vic, &mut vera].into_iter().for_each(|party| party.enter(group));

        let mut admissions = Vec::new();
        let mut last = founding.clone();
        for (n, newcomer) in [&vic, &vera].into_iter().enumerate() {
            let admit = Operation::Admit(Admission {
                member: newcomer.member_id(),
                role: VOLUNTEER,
                certificates: vec![newcomer.certificate_bytes()],
                keys: hand_out(rng, &begun, &[newcomer]),
                invitation: (n == 1).then_some(INVITED),
            });
            last = operation(&carla, Some(&last), &[last.hash()], n as u64 + 1, &admit);
            admissions.push(last.clone());
        }
        let granted_epochs = [(COMMON, EpochId::of(0, common.public())), (GROUP, epochs[0])];
        let granted = hand_out(rng, &begun, &[&vic]).grants.remove(0).sealed;
        let purpose = SealPurpose::EpochChain { compartment: GROUP, old: epochs[0], new: epochs[1] };
        let chained = seal(rng, epoch_keys[1].public(), &purpose, epoch_keys[0].secret()).unwrap();
        let mut rotate = begin(rng, &[(GROUP, 1, &epoch_keys[1])], &[&carla, &vic, &vera]);
        rotate.rotations[0].previous = Some(PreviousKey { epoch: epochs[0], sealed: chained.clone() });
        let rotate = Operation::KeyUpdate(rotate);
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
            granted_epochs,
            sealed_sender,
        }
    }

    pub fn entry_key(&self, entry: &Received) -> EntryKey {
        seal::entry_key(self.group, entry, &self.sender).unwrap()
    }

    pub fn vic_document(&self) -> DocumentId {
        self.contents[0].document
    }
}

/// Epochs that begin, with their keys for the devices of `readers`.
pub fn begin(
    rng: &mut ChaCha20Rng,
    epochs: &[(CompartmentId, u32, &Agreement)],
    readers: &[&Party],
) -> KeyUpdate {
    let begins = |(compartment, number, key): &(CompartmentId, u32, &Agreement)| Rotation {
        compartment: *compartment,
        number: *number,
        public: *key.public(),
        previous: None,
    };
    KeyUpdate { rotations: epochs.iter().map(begins).collect(), ..hand_out(rng, epochs, readers) }
}

/// Keys of epochs, which stand in order, for the devices of `readers`.
pub fn hand_out(
    rng: &mut ChaCha20Rng,
    epochs: &[(CompartmentId, u32, &Agreement)],
    readers: &[&Party],
) -> KeyUpdate {
    let keys = epochs.iter().map(|(c, number, key)| (*c, EpochId::of(*number, key.public()), key.secret()));
    let keys: Vec<_> = keys.collect();
    let mask = u32::MAX >> (32 - u32::try_from(keys.len()).unwrap());
    let grants = readers.iter().map(|reader| Grant {
        device: reader.device_id(),
        mask,
        sealed: seal_epochs(rng, reader.agreement.public(), &keys).unwrap(),
    });
    let grants = grants.collect();
    let epochs = keys.iter().map(|(c, epoch, _)| EpochName { compartment: *c, epoch: *epoch }).collect();
    KeyUpdate { rotations: Vec::new(), epochs, grants }
}

/// A document that its author writes and amends: two Automerge changes.
pub fn changes(author: &Party) -> Vec<Content> {
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

pub fn template() -> Template {
    let row = |id, name: &str, readers: &[RoleId], writers: &[RoleId]| CompartmentRow {
        id: CompartmentId(id),
        name: name.to_owned(),
        readers: readers.to_vec(),
        writers: writers.to_vec(),
    };
    let all = [COORDINATOR, VOLUNTEER, LIAISON];
    let role = |id, name: &str, governs| RoleRow { id, name: name.to_owned(), governs };
    Template {
        roles: vec![
            role(COORDINATOR, "coordinator", true),
            role(VOLUNTEER, "volunteer", false),
            role(LIAISON, "liaison", false),
        ],
        compartments: vec![
            row(0, "roll", &all, &all[..1]),
            row(1, "common", &all, &all[..1]),
            row(2, "group", &all[..2], &all[..2]),
            row(3, "coordinators", &all[..1], &all),
        ],
    }
}

pub fn operation(
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

pub fn head_of(entry: &Verified) -> LogHead {
    LogHead { seq: entry.header().seq, hash: entry.hash() }
}

pub fn sign_header(key: &SigningKey, header: &[u8], body: &[u8]) -> Wire {
    let signed = cose::sign(key, Purpose::Entry, header.to_vec());
    Wire { signed: signed.into(), body: Some(body.to_vec().into()) }
}

pub fn content_json(content: &Content) -> Value {
    json!({
        "document": content.document.to_string(),
        "kind": content.kind,
        "form": content.form.0,
        "bytes": hex(&content.bytes),
    })
}

pub fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!([checkpoint.size, checkpoint.root.to_string()])
}

/// Flips one bit of the byte at `at`, counted from the end if negative.
pub fn flip(bytes: &[u8], at: isize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.rem_euclid(bytes.len() as isize) as usize;
    bytes[at] ^= 1;
    bytes
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
