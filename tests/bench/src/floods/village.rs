//! A founder and a relay's view of what the founder writes: entries made by hand, as fast as a machine can sign them.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::hash::sha256;
use lamppost_core::base::{
    CompartmentId, CompartmentRow, DeviceId, GroupId, MemberId, RoleId, RoleRow, Template, cbor,
};
use lamppost_core::entry::header::{SUITE, VERSION};
use lamppost_core::entry::{Header, Kind, LogHead, Possession, Received, Scope, Wire};
use lamppost_core::roll::{Founding, KeyUpdate, Operation};
use minicbor::bytes::ByteVec;

const WORDS: Kind = Kind(200);

/// Where the founder writes.
pub const COMMON: CompartmentId = CompartmentId(1);

/// A group with one member, who has one device.
#[derive(Clone)]
pub struct Village {
    pub id: GroupId,
    pub founding: Wire,
    member: SigningKey,
    pub key: SigningKey,
    heads: BTreeMap<CompartmentId, LogHead>,
}

impl Village {
    /// A village named by a seed.
    pub fn new(seed: u16) -> Self {
        let key_of = |kind: u8| {
            let [high, low] = seed.to_be_bytes();
            let mut bytes = [kind; 32];
            (bytes[0], bytes[1]) = (high, low);
            SigningKey::from_bytes(&bytes)
        };
        let (member, key) = (key_of(1), key_of(2));
        let role = RoleId(0);
        let row = |id, name: &str| CompartmentRow {
            id,
            name: name.to_owned(),
            readers: vec![role],
            writers: vec![role],
        };
        let roles = vec![RoleRow { id: role, name: "coordinator".to_owned(), governs: true }];
        let compartments = vec![row(CompartmentId::ROLL, "roll"), row(COMMON, "common")];
        let mut village = Self {
            id: GroupId([0; 32]),
            founding: wire(&key, Vec::new(), None),
            member,
            key,
            heads: BTreeMap::new(),
        };
        let found = Operation::Found(Founding {
            template: Template { roles, compartments },
            role,
            certificate: ByteVec::from(village.certificate(Scope::founding(&[7; 16]))),
            keys: KeyUpdate::default(),
            nonce: [7; 16],
        });
        let founding = village.write(None, CompartmentId::ROLL, Kind::OPERATION, cbor::encode(&found));
        village.id = Received::parse(founding.clone()).expect("it was just made").group();
        village.founding = founding;
        village
    }

    pub fn device(&self) -> DeviceId {
        DeviceId(self.key.verifying_key().to_bytes())
    }

    fn certificate(&self, scope: Scope) -> Vec<u8> {
        let member = MemberId(self.member.verifying_key().to_bytes());
        let possession = Possession::sign(&self.key, member, [7; 32], scope);
        possession.certify(&self.member).expect("it is the member's").as_bytes().to_vec()
    }

    /// The next entries of the founder's log of words, each with so many bytes.
    pub fn words(&mut self, count: usize, bytes: usize) -> Vec<Wire> {
        let mut entries = Vec::with_capacity(count);
        if !self.heads.contains_key(&COMMON) {
            let certificate = self.certificate(Scope::group(self.id));
            entries.push(self.write(Some(self.id), COMMON, Kind::CERTIFICATE, certificate));
        }
        while entries.len() < count {
            entries.push(self.write(Some(self.id), COMMON, WORDS, vec![7; bytes]));
        }
        entries
    }

    /// An operation in the founder's name that somebody else has signed.
    pub fn forged(&self, forger: &SigningKey) -> Wire {
        let mut liar = self.clone();
        liar.write_with(forger, Some(self.id), CompartmentId::ROLL, Kind::OPERATION, vec![0; 64])
    }

    fn write(&mut self, group: Option<GroupId>, at: CompartmentId, kind: Kind, body: Vec<u8>) -> Wire {
        let key = self.key.clone();
        self.write_with(&key, group, at, kind, body)
    }

    fn write_with(
        &mut self,
        key: &SigningKey,
        group: Option<GroupId>,
        compartment: CompartmentId,
        kind: Kind,
        body: Vec<u8>,
    ) -> Wire {
        let head = self.heads.get(&compartment).copied();
        let roll_heads = match (group, Received::parse(self.founding.clone())) {
            (Some(_), Ok(founding)) => vec![founding.hash()],
            _ => Vec::new(),
        };
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
            body_bytes: body.len() as u32,
            commitment: None,
            claimed_ms: 1_700_000_000_000,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        };
        let wire = wire(key, cbor::encode(&header), Some(body));
        let hash = Received::parse(wire.clone()).expect("it was just made").hash();
        self.heads.insert(compartment, LogHead { seq: header.seq, hash });
        wire
    }
}

fn wire(key: &SigningKey, header: Vec<u8>, body: Option<Vec<u8>>) -> Wire {
    Wire { signed: ByteVec::from(cose::sign(key, Purpose::Entry, header)), body: body.map(ByteVec::from) }
}
