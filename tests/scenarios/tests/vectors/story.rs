//! A group whose coordinators act at the same time: who wrote what in knowledge of what, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use lamppost_core::base::{
    CompartmentId, DeviceId, EntryHash, EpochId, GroupId, Hash, MailboxId, RoleId, cbor, hash,
};
use lamppost_core::entry::seal::{Slot, write_clear};
use lamppost_core::entry::{Header, Kind, LogHead, LogId, Received, Verified};
use lamppost_core::roll::operation::{
    Acceptance, Admission, Certification, Policy, Recovery, Removal, Watermark,
};
use lamppost_core::roll::{
    CutOff, EpochName, Founding, Inserted, KeyUpdate, Operation, Proposed, Roll, State, Target,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

use crate::town::{
    CLAIMED_MS, COMMON, COORDINATOR, COORDINATORS, GROUP, NONCE, Party, VOLUNTEER, begin, hand_out, head_of,
    hex, sign_header, template,
};
use lamppost_core::entry::keys::Agreement;

/// Coordinators A (the founder), B and C in this order of rank, a volunteer V, and people who do not belong yet.
pub struct Story {
    what: &'static str,
    pub rng: ChaCha20Rng,
    pub a: Party,
    pub b: Party,
    pub b_tablet: Party,
    pub c: Party,
    pub v: Party,
    pub v_tablet: Party,
    pub x: Party,
    pub y: Party,
    /// Whom somebody hostile lets in: `p0` to `p4`.
    pub puppets: Vec<Party>,
    /// Epoch 0 of `group`.
    pub epoch: Agreement,
    /// The last entry that everybody knows.
    pub base: EntryHash,
    /// The entry by which A admitted B, before C and V.
    pub admission_of_b: EntryHash,
    group: GroupId,
    entries: Vec<Verified>,
    logs: BTreeMap<DeviceId, LogHead>,
    sealed: Vec<(String, Received)>,
}

impl Story {
    /// A founds the group and admits the others, one after the other.
    pub fn new(what: &'static str) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let [mut a, mut b, mut c, mut v, mut x, mut y, b_tablet, v_tablet] =
            [(); 8].map(|()| Party::draw(&mut rng));
        let mut others = ChaCha20Rng::seed_from_u64(3);
        let mut puppets: Vec<Party> = (0..5).map(|_| Party::draw(&mut others)).collect();
        let epoch = Agreement::draw(&mut rng);
        let common = Agreement::draw(&mut rng);
        let coordinators = Agreement::draw(&mut rng);
        let begun = [(COMMON, 0, &common), (GROUP, 0, &epoch), (COORDINATORS, 0, &coordinators)];
        let founding = Operation::Found(Founding {
            template: template(),
            role: COORDINATOR,
            certificate: a.certificate_bytes(),
            keys: begin(&mut rng, &begun, &[&a]),
            nonce: NONCE,
        });
        let slot = Slot {
            group: None,
            compartment: CompartmentId::ROLL,
            head: None,
            claimed_ms: CLAIMED_MS,
            expiry_day: None,
            roll_heads: Vec::new(),
            checkpoint: None,
        };
        let founding = write_clear(&a.device, &slot, Kind::OPERATION, None, cbor::encode(&founding)).unwrap();
        let group = founding.group();
        [&mut a, &mut b, &mut c, &mut v, &mut x, &mut y].into_iter().for_each(|party| party.enter(group));
        puppets.iter_mut().for_each(|puppet| puppet.enter(group));
        let (b_tablet, v_tablet) = (b.with_device_of(&b_tablet), v.with_device_of(&v_tablet));
        let keys = [&b, &c, &v].map(|newcomer| hand_out(&mut rng, &begun[1..2], &[newcomer]));
        let mut story = Self {
            what,
            rng,
            logs: BTreeMap::from([(a.device_id(), head_of(&founding))]),
            base: founding.hash(),
            admission_of_b: founding.hash(),
            group,
            entries: vec![founding],
            sealed: Vec::new(),
            a,
            b,
            b_tablet,
            c,
            v,
            v_tablet,
            x,
            y,
            puppets,
            epoch,
        };
        let roles = [COORDINATOR, COORDINATOR, VOLUNTEER];
        for ((newcomer, role), keys) in ["b", "c", "v"].into_iter().zip(roles).zip(keys) {
            let admit = admit_with(story.party(newcomer), role, keys);
            story.base = story.write("a", &[story.base], admit);
            if newcomer == "b" {
                story.admission_of_b = story.base;
            }
        }
        story
    }

    /// One of them by name.
    pub fn party(&self, name: &str) -> &Party {
        match name {
            "a" => &self.a,
            "b" => &self.b,
            "b tablet" => &self.b_tablet,
            "c" => &self.c,
            "v" => &self.v,
            "v tablet" => &self.v_tablet,
            "x" => &self.x,
            "y" => &self.y,
            "p0" => &self.puppets[0],
            "p1" => &self.puppets[1],
            "p2" => &self.puppets[2],
            "p3" => &self.puppets[3],
            _ => &self.puppets[4],
        }
    }

    /// Writes an operation in knowledge of `known` and of what its author's device wrote before.
    pub fn write(&mut self, author: &str, known: &[EntryHash], operation: Operation) -> EntryHash {
        operation.check().unwrap();
        self.enter(author, known);
        self.put(author, known, Kind::OPERATION, cbor::encode(&operation))
    }

    /// Begins the log of a device with its certificate, if it has none.
    pub fn enter(&mut self, author: &str, known: &[EntryHash]) -> EntryHash {
        match self.logs.get(&self.party(author).device_id()) {
            Some(head) => head.hash,
            None => {
                let certificate = self.party(author).certificate().as_bytes().to_vec();
                self.put(author, known, Kind::CERTIFICATE, certificate)
            }
        }
    }

    /// Writes an entry of any kind.
    pub fn put(&mut self, author: &str, known: &[EntryHash], kind: Kind, body: Vec<u8>) -> EntryHash {
        let mut roll_heads = known.to_vec();
        roll_heads.sort_unstable();
        let device = self.party(author).device_id();
        let slot = Slot {
            group: Some(self.group),
            compartment: CompartmentId::ROLL,
            head: self.logs.get(&device).copied(),
            claimed_ms: CLAIMED_MS + self.entries.len() as u64,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        };
        let entry = write_clear(&self.party(author).device, &slot, kind, None, body).unwrap();
        self.logs.insert(device, head_of(&entry));
        self.entries.push(entry);
        self.logs[&device].hash
    }

    /// A sealed entry in `compartment`, of which only the header matters: whether it counts is part of the outcome.
    pub fn seal(
        &mut self,
        what: &str,
        author: &str,
        compartment: CompartmentId,
        seq: u64,
        known: &[EntryHash],
    ) -> LogHead {
        let mut roll_heads = known.to_vec();
        roll_heads.sort_unstable();
        let body = vec![0; 40];
        let header = Header {
            version: 1,
            suite: 1,
            group: Some(self.group),
            compartment,
            device: self.party(author).device_id(),
            seq,
            previous: Some(EntryHash([9; 32])),
            kind: Kind::SEALED,
            epoch: Some(EpochId::of(0, self.epoch.public())),
            body_hash: hash::sha256(&body),
            body_bytes: 40,
            commitment: Some(Hash([8; 32])),
            claimed_ms: CLAIMED_MS,
            expiry_day: None,
            roll_heads,
            checkpoint: None,
        };
        let wire = sign_header(&self.party(author).device, &cbor::encode(&header), &body);
        let entry = Received::parse(wire).unwrap();
        let head = LogHead { seq, hash: entry.hash() };
        self.sealed.push((what.to_owned(), entry));
        head
    }

    /// The founding entry.
    pub fn founding(&self) -> EntryHash {
        self.entries[0].hash()
    }

    /// The mark of a log of `author`.
    pub fn mark(&self, author: &str, compartment: CompartmentId, head: LogHead) -> Watermark {
        Watermark { log: LogId { compartment, device: self.party(author).device_id() }, head }
    }

    /// The entries and what follows from them, in whatever order they are inserted.
    pub fn outcome(&self) -> Value {
        let (roll, without_effect) = self.insert(self.entries.iter());
        let (other, again) = self.insert(self.entries.iter().rev());
        assert_eq!(roll.state(), other.state(), "{}", self.what);
        assert_eq!((roll.heads(), &without_effect), (other.heads(), &again), "{}", self.what);
        let sealed = self.sealed.iter().map(|(what, entry)| {
            let (counts, by) = match roll.check_standing(entry) {
                Ok(()) => (true, None),
                Err(CutOff::Removed { by }) => (false, Some(by.to_string())),
                Err(CutOff::Unwarranted) => (false, None),
            };
            json!({ "what": what, "wire": hex(&entry.to_bytes()), "counts": counts, "cut_off_by": by })
        });
        json!({
            "what": self.what,
            "entries": self.entries.iter().map(|entry| hex(&entry.to_bytes())).collect::<Vec<_>>(),
            "expected": {
                "group": roll.group().to_string(),
                "heads": roll.heads().iter().map(ToString::to_string).collect::<Vec<_>>(),
                "without_effect": without_effect.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "state": state_json(roll.state()),
            },
            "sealed": sealed.collect::<Vec<_>>(),
        })
    }

    /// The roll that these entries make, and which of them have no effect.
    pub fn insert<'e>(&self, entries: impl Iterator<Item = &'e Verified>) -> (Roll, BTreeSet<EntryHash>) {
        let mut roll = Roll::found(&self.entries[0]).unwrap();
        let mut without_effect = BTreeSet::new();
        let mut waiting: Vec<&Verified> = entries.collect();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|entry| match roll.insert(entry).unwrap() {
                Inserted::Waits => true,
                Inserted::WithoutEffect => {
                    without_effect.insert(entry.hash());
                    false
                }
                Inserted::Counts | Inserted::Known => false,
            });
            assert!(waiting.len() < before);
        }
        (roll, without_effect)
    }

    /// Who belongs after everything.
    pub fn state(&self) -> State {
        (**self.insert(self.entries.iter()).0.state()).clone()
    }
}

fn state_json(state: &State) -> Value {
    let members = state.members().map(|(id, held)| json!({ "member": id.to_string(), "role": held.role.0 }));
    let devices = state.devices().map(|(id, device, _)| {
        json!({
            "device": id.to_string(),
            "member": device.member.to_string(),
            "key": device.key.to_string(),
            "agreement": hex(&device.agreement),
        })
    });
    let epoch = |epoch: EpochId| json!([epoch.number, hex(&epoch.key)]);
    let epochs = state.template().compartments.iter().map(|row| {
        let epochs = state.epochs(row.id).map(|(id, it)| {
            let granted = state.holders(EpochName { compartment: row.id, epoch: id });
            json!({
                "epoch": epoch(id),
                "public": hex(&it.public),
                "stands": it.stands,
                "granted": granted.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        json!({
            "compartment": row.id.0,
            "newest": state.newest_epoch(row.id).map(|(id, _)| epoch(id)),
            "epochs": epochs.collect::<Vec<_>>(),
        })
    });
    let proposals = state.proposals().iter().map(|proposal| {
        let (what, who) = match proposal.about {
            Proposed::Removal(Target::Member(member)) => ("remove a member", member.to_string()),
            Proposed::Removal(Target::Device(device)) => ("remove a device", device.to_string()),
            Proposed::Recovery(member) => ("recover a member", member.to_string()),
        };
        let supporters: Vec<_> = proposal.supporters.iter().map(ToString::to_string).collect();
        json!({ "for": what, "about": who, "supporters": supporters, "needed": proposal.needed })
    });
    let used = |n: u8| Some((MailboxId([n; 16]), state.invited(MailboxId([n; 16]))?));
    let invited = (0..=u8::MAX).filter_map(used).map(|(by, who)| json!([by.to_string(), who.to_string()]));
    let invited: Vec<_> = invited.collect();
    json!({
        "members": members.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
        "epochs": epochs.collect::<Vec<_>>(),
        "removals": state.removals().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "invited": invited,
        "settings": (0..=u16::MAX).filter_map(|n| state.setting(n).map(|value| (n, value))).collect::<Vec<_>>(),
        "proposals": proposals.collect::<Vec<_>>(),
        "held": state.retention().held().map(|(at, day)| json!([at.to_string(), day])).collect::<Vec<_>>(),
        "shredded": state.retention().shredded().map(|(at, _, _)| at.to_string()).collect::<Vec<_>>(),
    })
}

/// Gives a newcomer a role, and enters their device.
pub fn admit(newcomer: &Party, role: RoleId) -> Operation {
    admit_with(newcomer, role, KeyUpdate::default())
}

fn admit_with(newcomer: &Party, role: RoleId, keys: KeyUpdate) -> Operation {
    let certificates = vec![newcomer.certificate_bytes()];
    Operation::Admit(Admission { member: newcomer.member_id(), role, certificates, keys, invitation: None })
}

pub fn remove(target: Target, mut marks: Vec<Watermark>) -> Operation {
    marks.sort_unstable_by_key(|mark| mark.log);
    Operation::Remove(Removal { target, marks, keys: KeyUpdate::default() })
}

pub fn remove_member(who: &Party) -> Operation {
    remove(Target::Member(who.member_id()), Vec::new())
}

pub fn recover(who: &Party, new: &Party) -> Operation {
    Operation::Recover(Recovery {
        member: who.member_id(),
        certificate: new.certificate_bytes(),
        marks: Vec::new(),
        keys: KeyUpdate::default(),
    })
}

pub fn certify(device: &Party, keys: KeyUpdate) -> Operation {
    Operation::Certify(Certification { certificate: device.certificate_bytes(), keys })
}

pub fn policy(settings: &[(u16, u64)]) -> Operation {
    Operation::Policy(Policy { settings: settings.iter().copied().collect() })
}

pub fn accept(entries: &[LogHead]) -> Operation {
    let mut entries: Vec<EntryHash> = entries.iter().map(|head| head.hash).collect();
    entries.sort_unstable();
    Operation::Accept(Acceptance { entries })
}
