//! What one member may add to the roll, whatever they sign.

use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::town::{COORDINATOR, VOLUNTEER, template};
use crate::base::{
    CompartmentId, DeviceId, EntryHash, EpochId, GroupId, Hash, MemberId, RoleId, cbor, limits,
};
use crate::entry::seal::{Slot, write_clear};
use crate::entry::{Certificate, Kind, LogHead, LogId, Possession, Scope, SealedKeys, Verified};
use crate::roll::operation::{Admission, Certification, Policy, Removal, Shred};
use crate::roll::{
    EpochName, Founding, Grant, Inserted, KeyUpdate, Operation, Roll, Room, Rotation, State, Target,
};
use crate::sync::inbox::{Logs, Verdict, judge};

/// The nonce of the founding.
const NONCE: [u8; 16] = [1; 16];

/// A device that signs whatever it is told to.
struct Pen {
    group: Option<GroupId>,
    member: SigningKey,
    device: SigningKey,
    head: Option<LogHead>,
}

impl Pen {
    fn new(number: u16) -> Self {
        let member = number.to_be_bytes();
        Self::of_member(
            number,
            SigningKey::from_bytes(&std::array::from_fn(|i| *member.get(i).unwrap_or(&1))),
        )
    }

    fn of_member(number: u16, member: SigningKey) -> Self {
        let bytes = number.to_be_bytes();
        let device = SigningKey::from_bytes(&std::array::from_fn(|i| *bytes.get(i).unwrap_or(&2)));
        Self { group: None, member, device, head: None }
    }

    fn id(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    fn member(&self) -> MemberId {
        MemberId(self.member.verifying_key().to_bytes())
    }

    fn certificate(&self) -> Certificate {
        let scope = self.group.map_or(Scope::founding(&NONCE), Scope::group);
        Possession::sign(&self.device, self.member(), [3; 32], scope).certify(&self.member).unwrap()
    }

    fn write(&mut self, heads: Vec<EntryHash>, kind: Kind, body: Vec<u8>) -> Verified {
        let slot = Slot {
            group: self.group,
            compartment: CompartmentId::ROLL,
            head: self.head,
            claimed_ms: 0,
            expiry_day: None,
            roll_heads: heads,
            checkpoint: None,
        };
        let entry = write_clear(&self.device, &slot, kind, None, body).unwrap();
        self.head = Some(LogHead { seq: entry.header().seq, hash: entry.hash() });
        entry
    }

    fn enter(&mut self, heads: Vec<EntryHash>) -> Verified {
        let body = self.certificate().as_bytes().to_vec();
        self.write(heads, Kind::CERTIFICATE, body)
    }

    fn operate(&mut self, heads: Vec<EntryHash>, operation: &Operation) -> Verified {
        self.write(heads, Kind::OPERATION, cbor::encode(operation))
    }

    /// Writes what cites the roll's heads, and inserts it.
    fn say(&mut self, roll: &mut Roll, operation: &Operation) -> Inserted {
        let entry = self.operate(roll.heads(), operation);
        roll.insert(&entry).unwrap()
    }
}

const GROUP: CompartmentId = CompartmentId(2);

fn epoch(number: u32) -> EpochName {
    EpochName { compartment: GROUP, epoch: EpochId::of(number, &public_key(number)) }
}

fn rotation(number: u32) -> Rotation {
    Rotation { compartment: GROUP, number, public: public_key(number), previous: None }
}

/// Returns a key for the epoch of this number; only its uniqueness matters.
fn public_key(number: u32) -> [u8; 32] {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key
}

fn grants(epochs: &[EpochName], devices: impl IntoIterator<Item = DeviceId>) -> KeyUpdate {
    let mut epochs = epochs.to_vec();
    epochs.sort_unstable();
    let mask = (1 << epochs.len()) - 1;
    let sealed = SealedKeys { encapsulated: [0; 32], ciphertext: vec![0; 32 * epochs.len() + 16] };
    let grants = devices.into_iter().map(|device| Grant { device, mask, sealed: sealed.clone() });
    KeyUpdate { rotations: Vec::new(), epochs, grants: grants.collect() }
}

fn admission(pen: &Pen, role: RoleId) -> Operation {
    Operation::Admit(Admission {
        member: pen.member(),
        role,
        certificates: vec![pen.certificate().as_bytes().to_vec().into()],
        keys: KeyUpdate::default(),
        invitation: None,
    })
}

fn shred(number: u8) -> Operation {
    Operation::Shred(Shred { entries: Vec::new(), document: Some(Hash([number; 32])) })
}

/// A founder, a volunteer who has entered their log, and the roll.
fn group() -> (Pen, Pen, Roll) {
    let mut founder = Pen::new(1);
    let founding = Operation::Found(Founding {
        template: template(),
        role: COORDINATOR,
        certificate: founder.certificate().as_bytes().to_vec().into(),
        keys: KeyUpdate { rotations: vec![rotation(0)], ..KeyUpdate::default() },
        nonce: NONCE,
    });
    let entry = founder.operate(Vec::new(), &founding);
    let mut roll = Roll::found(&entry).unwrap();
    founder.group = Some(entry.group());
    let mut volunteer = Pen::new(2);
    volunteer.group = founder.group;
    assert_eq!(founder.say(&mut roll, &admission(&volunteer, VOLUNTEER)), Inserted::Counts);
    let own = volunteer.enter(roll.heads());
    assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
    (founder, volunteer, roll)
}

/// Writes what has no right until a member's room is full but for one entry.
fn fill_but_one(pen: &mut Pen, roll: &mut Roll, entries: u64) {
    let nothing = Operation::Policy(Policy::default());
    while roll.written(pen.member()).entries + 1 < entries {
        let entry = pen.operate(roll.heads(), &nothing);
        roll.insert(&entry).unwrap();
    }
}

#[test]
fn member_beyond_their_room_has_no_right() {
    let (mut founder, mut volunteer, mut roll) = group();
    fill_but_one(&mut volunteer, &mut roll, limits::MEMBER_ENTRIES_MAX);
    assert_eq!(volunteer.say(&mut roll, &shred(1)), Inserted::Counts);
    let before = roll.state().clone();
    assert_eq!(volunteer.say(&mut roll, &shred(2)), Inserted::WithoutEffect);
    assert_eq!(roll.state().as_ref(), before.as_ref());
    // Another device of theirs has no room of its own.
    let mut tablet = Pen::of_member(3, volunteer.member.clone());
    tablet.group = volunteer.group;
    let own = tablet.enter(roll.heads());
    assert_eq!(roll.insert(&own).unwrap(), Inserted::WithoutEffect);
    // A coordinator can give them new room.
    assert_eq!(founder.say(&mut roll, &admission(&volunteer, VOLUNTEER)), Inserted::Counts);
    assert_eq!(volunteer.say(&mut roll, &shred(3)), Inserted::Counts);
}

#[test]
fn large_operations_fill_the_room_sooner() {
    let (founder, mut volunteer, mut roll) = group();
    let devices =
        (0..1_600u16).map(|number| if number == 0 { founder.id() } else { Pen::new(1_000 + number).id() });
    let flood = Operation::KeyUpdate(grants(&[epoch(0)], devices));
    let mut operations = 0;
    while roll.written(volunteer.member()).fits_into(Room::of_member(false)) {
        let entry = volunteer.operate(roll.heads(), &flood);
        roll.insert(&entry).unwrap();
        operations += 1;
    }
    assert!(operations < 24, "{operations} operations of {} bytes each", limits::BODY_BYTES_MAX);
    assert_eq!(volunteer.say(&mut roll, &shred(1)), Inserted::WithoutEffect);
}

#[test]
fn removal_is_never_out_of_room() {
    let (_, mut volunteer, mut roll) = group();
    let mut stolen = Pen::of_member(3, volunteer.member.clone());
    stolen.group = volunteer.group;
    let own = stolen.enter(roll.heads());
    assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
    fill_but_one(&mut stolen, &mut roll, limits::MEMBER_ENTRIES_MAX + 8);
    let keys = KeyUpdate::default();
    let removal = Removal { target: Target::Device(stolen.id()), marks: Vec::new(), keys };
    assert_eq!(volunteer.say(&mut roll, &Operation::Remove(removal)), Inserted::Counts);
    assert!(roll.state().device(stolen.id()).is_none());
}

#[test]
fn coordinator_beyond_their_room_still_removes() {
    let (mut founder, volunteer, mut roll) = group();
    let mut second = Pen::new(4);
    second.group = founder.group;
    assert_eq!(founder.say(&mut roll, &admission(&second, COORDINATOR)), Inserted::Counts);
    let own = second.enter(roll.heads());
    assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
    // Bytes fill it in fewer entries.
    let devices = (0..1_400u16).map(|number| Pen::new(1_000 + number).id()).collect::<Vec<_>>();
    let flood = Operation::KeyUpdate(grants(&[epoch(0)], devices));
    while roll.written(second.member()).fits_into(Room::of_member(true)) {
        let entry = second.operate(roll.heads(), &flood);
        roll.insert(&entry).unwrap();
    }
    let policy = Operation::Policy(Policy { settings: [(7, 7)].into() });
    assert_eq!(second.say(&mut roll, &policy), Inserted::WithoutEffect);
    let remove = |target| {
        let keys = KeyUpdate { rotations: vec![rotation(1)], ..KeyUpdate::default() };
        Operation::Remove(Removal { target, marks: Vec::new(), keys })
    };
    assert_eq!(second.say(&mut roll, &remove(Target::Member(volunteer.member()))), Inserted::Counts);
    assert!(roll.state().member(volunteer.member()).is_none());
    // Who outranks them is proposed once.
    assert_eq!(second.say(&mut roll, &remove(Target::Member(founder.member()))), Inserted::Counts);
    assert_eq!(second.say(&mut roll, &remove(Target::Member(founder.member()))), Inserted::WithoutEffect);
    assert_eq!(roll.state().proposals().len(), 1);
}

#[test]
fn grant_of_an_unknown_epoch_has_no_effect() {
    let (mut founder, mut volunteer, mut roll) = group();
    for number in 1..40 {
        let flood = Operation::KeyUpdate(grants(&[epoch(number)], [founder.id()]));
        assert_eq!(volunteer.say(&mut roll, &flood), Inserted::WithoutEffect);
    }
    // Beside others or by who governs, it is left out.
    let mixed = Operation::KeyUpdate(grants(&[epoch(7)], [founder.id(), volunteer.id()]));
    assert_eq!(founder.say(&mut roll, &mixed), Inserted::Counts);
    assert_eq!(seals(roll.state(), &founder), 0);
    assert!(roll.state().holders(epoch(7)).is_empty());
    // One that begins in the same operation is there.
    let keys = KeyUpdate { rotations: vec![rotation(1)], ..grants(&[epoch(1)], [founder.id()]) };
    assert_eq!(founder.say(&mut roll, &Operation::KeyUpdate(keys)), Inserted::Counts);
    assert_eq!(seals(roll.state(), &founder), 1);
}

#[test]
fn grant_that_repeats_another_has_no_effect() {
    let (mut founder, mut volunteer, mut roll) = group();
    let twice = grants(&[epoch(0)], [founder.id(), founder.id()]);
    assert_eq!(volunteer.say(&mut roll, &Operation::KeyUpdate(twice.clone())), Inserted::Counts);
    assert_eq!(seals(roll.state(), &founder), 1);
    assert_eq!(volunteer.say(&mut roll, &Operation::KeyUpdate(twice.clone())), Inserted::WithoutEffect);
    // Nor from another device of the same member.
    let mut tablet = Pen::of_member(3, volunteer.member.clone());
    tablet.group = volunteer.group;
    let own = tablet.enter(roll.heads());
    assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
    assert_eq!(tablet.say(&mut roll, &Operation::KeyUpdate(twice.clone())), Inserted::WithoutEffect);
    assert_eq!(seals(roll.state(), &founder), 1);
    // Somebody else's word adds something, and so does a key more.
    assert_eq!(founder.say(&mut roll, &Operation::KeyUpdate(twice)), Inserted::Counts);
    assert_eq!(seals(roll.state(), &founder), 2);
    let begin = KeyUpdate { rotations: vec![rotation(1)], ..KeyUpdate::default() };
    assert_eq!(founder.say(&mut roll, &Operation::KeyUpdate(begin)), Inserted::Counts);
    let more = Operation::KeyUpdate(grants(&[epoch(0), epoch(1)], [founder.id()]));
    assert_eq!(volunteer.say(&mut roll, &more), Inserted::Counts);
    assert_eq!(seals(roll.state(), &founder), 3);
}

#[test]
fn removal_by_a_volunteer_hands_out_nothing() {
    let (founder, mut volunteer, mut roll) = group();
    let keys = grants(&[epoch(0)], [founder.id()]);
    let removal = Removal { target: Target::Device(volunteer.id()), marks: Vec::new(), keys };
    assert_eq!(volunteer.say(&mut roll, &Operation::Remove(removal)), Inserted::WithoutEffect);
    assert!(roll.state().holders(epoch(0)).is_empty());
}

fn seals(state: &State, pen: &Pen) -> usize {
    state.grants_to(pen.id()).count()
}

/// Logs of which nothing is stored.
struct NoLogs;

impl Logs for NoLogs {
    type Error = std::convert::Infallible;

    fn head(&self, _: LogId) -> Result<Option<LogHead>, Self::Error> {
        Ok(None)
    }

    fn hash_at(&self, _: LogId, _: u64) -> Result<Option<EntryHash>, Self::Error> {
        Ok(None)
    }
}

#[test]
fn certificates_of_nobody_are_not_kept() {
    let (mut founder, volunteer, roll) = group();
    let mut roll = Arc::new(roll);
    let entries = (0..60).flat_map(|number| {
        let mut stranger = Pen::new(100 + number);
        stranger.group = founder.group;
        let own = stranger.enter(roll.heads());
        let next = stranger.operate(roll.heads(), &shred(1));
        [own.into_received(), next.into_received()]
    });
    let entries: Vec<_> = entries.collect();
    let before = roll.len();
    let Ok(verdicts) = judge(&mut roll, &NoLogs, entries);
    assert_eq!(roll.len(), before);
    assert_eq!(verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Stranger(_))).count(), 60);
    assert!(verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Stranger(_) | Verdict::Wait(..))));
    // Who was removed is nobody, too; who is admitted again is somebody.
    let roll = Arc::make_mut(&mut roll);
    let keys = KeyUpdate::default();
    let removal = Removal { target: Target::Member(volunteer.member()), marks: Vec::new(), keys };
    assert_eq!(founder.say(roll, &Operation::Remove(removal)), Inserted::Counts);
    let mut tablet = Pen::of_member(3, volunteer.member.clone());
    tablet.group = volunteer.group;
    let own = tablet.enter(roll.heads());
    assert_eq!(roll.enters_itself(&own), Ok(Some(false)));
    assert_eq!(founder.say(roll, &admission(&volunteer, VOLUNTEER)), Inserted::Counts);
    tablet.head = None;
    let own = tablet.enter(roll.heads());
    assert_eq!(roll.enters_itself(&own), Ok(Some(true)));
}

/// Old heads hide what other devices of the member wrote from an entry's past, but not from who has it all.
#[test]
fn old_heads_give_no_new_room_to_a_relay() {
    let (_, volunteer, mut roll) = group();
    let old = roll.heads();
    for number in 0..20 {
        let mut device = Pen::of_member(10 + number, volunteer.member.clone());
        device.group = volunteer.group;
        let own = device.enter(old.clone());
        assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
        let mut stranger = Pen::new(200);
        stranger.group = volunteer.group;
        let certificate = stranger.certificate().as_bytes().to_vec().into();
        let certify = Operation::Certify(Certification { certificate, keys: KeyUpdate::default() });
        let entry = device.operate(old.clone(), &certify);
        assert_eq!(roll.insert(&entry).unwrap(), Inserted::WithoutEffect);
        assert_eq!(roll.charge(own.hash()).map(|charge| charge.member), Some(volunteer.member()));
    }
    assert_eq!(roll.written(volunteer.member()).entries, 41);
}

/// Entries that know nothing of each other fill the places for heads. Whoever writes cites what lets them write all the same.
#[test]
fn flood_of_heads_hides_no_admission() {
    let (mut founder, volunteer, mut roll) = group();
    let old = roll.heads();
    let mut newcomer = Pen::new(6);
    newcomer.group = volunteer.group;
    let admitted = founder.operate(old.clone(), &admission(&newcomer, VOLUNTEER));
    assert_eq!(roll.insert(&admitted).unwrap(), Inserted::Counts);
    for number in 0..200 {
        let mut device = Pen::of_member(1_000 + number, volunteer.member.clone());
        device.group = volunteer.group;
        let own = device.enter(old.clone());
        assert_eq!(roll.insert(&own).unwrap(), Inserted::Counts);
    }
    let belongs = |heads: &[EntryHash]| roll.state_at(heads).unwrap().device(newcomer.id()).is_some();
    assert!(!belongs(&roll.heads()), "the flood has pushed the admission out");
    let heads = roll.heads_for(newcomer.id());
    assert_eq!(heads.len(), limits::ROLL_HEADS_MAX);
    assert!(heads.is_sorted_by(|a, b| a < b) && belongs(&heads));
    // So does a coordinator's next entry.
    assert!(roll.heads_for(founder.id()).contains(&admitted.hash()));
}
