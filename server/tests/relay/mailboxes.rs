//! Mailboxes: who may open one, who is heard, what is told to whom, and what survives.

use std::sync::Arc;

use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::hash::sha256;
use lamppost_core::base::{DeviceId, MailboxId, cbor, limits};
use lamppost_core::entry::{Kind, Verified};
use lamppost_core::roll::Operation;
use lamppost_core::roll::operation::Admission;
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Store};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Hello, Outcome, Proof, Refusal, SESSION_VERSION};
use lamppost_core::sync::mailbox::{Answer, Countersign, Knock, Knocked, OpenMailbox, Word};
use lamppost_server::{Done, Effect, Errand, Input, Opening, Query, Relay, Reply, Rules, Session};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

const BOX: MailboxId = MailboxId([1; 16]);
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Asks at a time that is a so many milliseconds behind the fixture's.
fn ask_at(relay: &Relay, world: &World, who: &Person, errand: Errand, after_ms: u64) -> (Done, bool) {
    let query = Query::Mailbox { group: world.id, device: who.device(), errand };
    match relay.answer(query, NOW_MS + after_ms) {
        Reply::Mailbox { done, changed } => (done, changed),
        other => panic!("{other:?}"),
    }
}

fn open_at(relay: &Relay, world: &World, who: &Person, at: MailboxId, after_ms: u64) -> Option<Refusal> {
    let open = OpenMailbox { mailbox: at, expires_ms: NOW_MS + after_ms + DAY_MS };
    outcome(ask_at(relay, world, who, Errand::Open(open), after_ms))
}

fn open(relay: &Relay, world: &World, who: &Person, at: MailboxId) -> Option<Refusal> {
    open_at(relay, world, who, at, 0)
}

fn knock_at(relay: &Relay, world: &World, who: &Person, words: &[u8], after_ms: u64) -> (Word, bool) {
    let knock = Knock { mailbox: BOX, sealed: ByteVec::from(words.to_vec()) };
    match ask_at(relay, world, who, Errand::Knock(knock), after_ms) {
        (Done::Letter(letter), changed) => (letter.word, changed),
        other => panic!("{other:?}"),
    }
}

fn knock(relay: &Relay, world: &World, who: &Person, words: &[u8]) -> (Word, bool) {
    knock_at(relay, world, who, words, 0)
}

fn answer(relay: &Relay, world: &World, who: &Person, words: &[u8]) -> Option<Refusal> {
    let answer = Answer { mailbox: BOX, sealed: ByteVec::from(words.to_vec()) };
    outcome(ask_at(relay, world, who, Errand::Answer(answer), 0))
}

/// Countersigns the knock of these words.
fn countersign(relay: &Relay, world: &World, who: &Person, knock: &[u8], words: &[u8]) -> Option<Refusal> {
    let (knock, sealed) = (sha256(knock), ByteVec::from(words.to_vec()));
    let signed = Countersign { mailbox: BOX, knock, sealed };
    outcome(ask_at(relay, world, who, Errand::Countersign(signed), 0))
}

fn outcome((done, _): (Done, bool)) -> Option<Refusal> {
    match done {
        Done::Settled(settled) => match settled.outcome {
            Outcome::Kept => None,
            Outcome::Refused(why) => Some(why.refusal),
        },
        Done::Letter(letter) => panic!("{letter:?}"),
    }
}

fn closed(word: &Word) -> Refusal {
    match word {
        Word::Closed(why) => why.refusal,
        other => panic!("{other:?}"),
    }
}

fn knocks(relay: &Relay, world: &World, who: &Person, after: u64) -> (Vec<Knocked>, u64) {
    let query = Query::Knocks { group: world.id, device: who.device(), after };
    match relay.answer(query, NOW_MS) {
        Reply::Knocks(found) => found.map(|(knocks, last)| (knocks.knocks, last)).unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// The founder admits somebody who came with the invitation.
fn admit_invited(world: &mut World, person: &Person) -> Verified {
    let admission = Admission {
        member: person.member(),
        role: VOLUNTEER,
        certificates: vec![ByteVec::from(person.certificate(world.id))],
        keys: lamppost_core::roll::KeyUpdate::default(),
        invitation: Some(BOX),
    };
    let heads = world.roll_heads();
    let body = cbor::encode(&Operation::Admit(admission));
    let entry = world.founder.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body);
    world.roll.push(entry.clone());
    entry
}

#[test]
fn only_who_governs_opens_a_mailbox_and_answers() {
    let mut world = World::new(1);
    let (volunteer, stranger) = (Person::new(2), Person::new(3));
    world.admit(&volunteer, VOLUNTEER);
    let relay = relay_of(&world);
    assert_eq!(open(&relay, &world, &volunteer, BOX), Some(Refusal::ROLE));
    assert_eq!(open(&relay, &world, &stranger, BOX), Some(Refusal::UNKNOWN_DEVICE));
    assert_eq!(closed(&knock(&relay, &world, &stranger, b"me").0), Refusal::MAILBOX_UNKNOWN);
    assert_eq!(open(&relay, &world, &world.founder, BOX), None);
    assert_eq!(open(&relay, &world, &world.founder, BOX), None);
    assert_eq!(
        answer(&relay, &world, &world.founder, b"no"),
        Some(Refusal::MAILBOX_UNKNOWN),
        "nobody knocked"
    );
    assert_eq!(knock(&relay, &world, &stranger, b"me"), (Word::Waiting, true));
    assert_eq!(answer(&relay, &world, &volunteer, b"no"), Some(Refusal::ROLE));
    assert_eq!(answer(&relay, &world, &stranger, b"no"), Some(Refusal::UNKNOWN_DEVICE));
    assert_eq!(knocks(&relay, &world, &volunteer, 0).0, []);
    assert_eq!(knocks(&relay, &world, &stranger, 0).0, []);
    assert_eq!(knocks(&relay, &world, &world.founder, 0).0.len(), 1);
    // A group that the relay does not know has no mailboxes either.
    let elsewhere = World::new(9);
    assert_eq!(open(&relay, &elsewhere, &elsewhere.founder, BOX), Some(Refusal::MAILBOX_UNKNOWN));
    assert_eq!(closed(&knock(&relay, &elsewhere, &stranger, b"me").0), Refusal::MAILBOX_UNKNOWN);
}

#[test]
fn the_first_knock_wins_and_the_first_answer_stands() {
    let world = World::new(1);
    let (newcomer, thief) = (Person::new(2), Person::new(3));
    let relay = relay_of(&world);
    open(&relay, &world, &world.founder, BOX);
    assert_eq!(knock(&relay, &world, &newcomer, b"me"), (Word::Waiting, true));
    assert_eq!(knock(&relay, &world, &newcomer, b"me"), (Word::Waiting, false), "nothing is written");
    assert_eq!(closed(&knock(&relay, &world, &thief, b"me too").0), Refusal::MAILBOX_USED);
    assert_eq!(knock(&relay, &world, &newcomer, b"me again"), (Word::Waiting, true));
    let (told, last) = knocks(&relay, &world, &world.founder, 0);
    let sealed = Some(ByteVec::from(b"me again".to_vec()));
    assert_eq!(told, [Knocked { mailbox: BOX, device: newcomer.device(), at_ms: NOW_MS, sealed }]);
    assert_eq!(knocks(&relay, &world, &world.founder, last).0, []);
    assert_eq!(answer(&relay, &world, &world.founder, b"no"), None);
    assert_eq!(answer(&relay, &world, &world.founder, b"yes"), None);
    let refused = Word::Refused(ByteVec::from(b"no".to_vec()));
    assert_eq!(knock(&relay, &world, &newcomer, b"me"), (refused, false));
    assert_eq!(closed(&knock(&relay, &world, &thief, b"me too").0), Refusal::MAILBOX_USED);
    // The others who govern hear that it is answered, whether they had heard of it before or not.
    for after in [0, last] {
        let told = knocks(&relay, &world, &world.founder, after).0;
        assert!(matches!(told.as_slice(), [Knocked { sealed: None, .. }]), "{told:?}");
    }
}

#[test]
fn knock_is_countersigned_once_and_then_replaced_by_the_second() {
    let mut world = World::new(1);
    let (volunteer, newcomer) = (Person::new(2), Person::new(3));
    world.admit(&volunteer, VOLUNTEER);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let relay = relay_in(Arc::clone(&store), rules());
    commit(&relay, push(&world, &world.founder, &world.roll));
    open(&relay, &world, &world.founder, BOX);
    let nobody = countersign(&relay, &world, &world.founder, b"first", b"signed");
    assert_eq!(nobody, Some(Refusal::MAILBOX_UNKNOWN), "nobody knocked");
    assert_eq!(knock(&relay, &world, &newcomer, b"first"), (Word::Waiting, true));
    for (who, why) in [(&volunteer, Refusal::ROLE), (&newcomer, Refusal::UNKNOWN_DEVICE)] {
        assert_eq!(countersign(&relay, &world, who, b"first", b"mine"), Some(why));
    }
    let other = countersign(&relay, &world, &world.founder, b"another", b"signed");
    assert_eq!(other, Some(Refusal::MAILBOX_UNKNOWN), "it answers one knock alone");
    assert_eq!(countersign(&relay, &world, &world.founder, b"first", b"signed"), None);
    assert_eq!(countersign(&relay, &world, &world.founder, b"first", b"again"), None);
    let signed = Word::Countersigned(ByteVec::from(b"signed".to_vec()));
    drop(relay);
    // The first stands, on the disk.
    let relay = relay_in(store, rules());
    assert_eq!(knock(&relay, &world, &newcomer, b"first"), (signed, false));
    assert_eq!(knock(&relay, &world, &newcomer, b"second"), (Word::Waiting, true));
    assert_eq!(knock(&relay, &world, &newcomer, b"second"), (Word::Waiting, false));
    // Another coordinator's phone is late: what it answers is not there any more.
    let late = countersign(&relay, &world, &world.founder, b"first", b"late");
    assert_eq!(late, Some(Refusal::MAILBOX_UNKNOWN));
    assert_eq!(knock(&relay, &world, &newcomer, b"second"), (Word::Waiting, false));
    assert_eq!(answer(&relay, &world, &world.founder, b"no"), None);
    assert_eq!(countersign(&relay, &world, &world.founder, b"second", b"late"), None);
    let refused = Word::Refused(ByteVec::from(b"no".to_vec()));
    assert_eq!(knock(&relay, &world, &newcomer, b"second"), (refused, false));
}

#[test]
fn a_mailbox_closes_when_the_roll_names_its_invitation() {
    let mut world = World::new(1);
    let (newcomer, thief) = (Person::new(2), Person::new(3));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let relay = relay_in(Arc::clone(&store), rules());
    commit(&relay, push(&world, &world.founder, &world.roll));
    open(&relay, &world, &world.founder, BOX);
    knock(&relay, &world, &newcomer, b"me");
    let (_, last) = knocks(&relay, &world, &world.founder, 0);
    let admitted = admit_invited(&mut world, &newcomer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admitted]))));
    // Opened anew, it finds the same on its disk.
    for relay in [&relay, &relay_in(store, rules())] {
        assert_eq!(knocks(relay, &world, &world.founder, 0).0, []);
        assert_eq!(knock(relay, &world, &newcomer, b"me"), (Word::Admitted, false));
        assert_eq!(closed(&knock(relay, &world, &thief, b"me").0), Refusal::MAILBOX_USED);
        assert_eq!(open(relay, &world, &world.founder, BOX), Some(Refusal::MAILBOX_USED));
        assert_eq!(answer(relay, &world, &world.founder, b"no"), Some(Refusal::MAILBOX_USED));
    }
    // What comes next has a number that no session has had.
    let other = MailboxId([2; 16]);
    open(&relay, &world, &world.founder, other);
    let next = Knock { mailbox: other, sealed: ByteVec::from(b"me".to_vec()) };
    ask_at(&relay, &world, &thief, Errand::Knock(next), 0);
    assert_eq!(knocks(&relay, &world, &world.founder, last).0.len(), 1);
}

#[test]
fn time_closes_a_mailbox_and_makes_room() {
    let world = World::new(1);
    let newcomer = Person::new(2);
    let relay = relay_of(&world);
    let founder = &world.founder;
    let late = OpenMailbox { mailbox: BOX, expires_ms: NOW_MS };
    assert_eq!(
        outcome(ask_at(&relay, &world, founder, Errand::Open(late), 0)),
        Some(Refusal::MAILBOX_EXPIRED)
    );
    for n in 0..limits::MAILBOXES_MAX {
        let at = MailboxId(u128::try_from(n).unwrap().to_be_bytes());
        assert_eq!(open(&relay, &world, founder, at), None);
    }
    assert_eq!(open(&relay, &world, founder, BOX), Some(Refusal::QUOTA));
    assert_eq!(open_at(&relay, &world, founder, BOX, DAY_MS), None, "the others are over by then");
    assert_eq!(knock_at(&relay, &world, &newcomer, b"me", 2 * DAY_MS - 1).0, Word::Waiting);
    let word = knock_at(&relay, &world, &newcomer, b"me", 2 * DAY_MS).0;
    assert_eq!(closed(&word), Refusal::MAILBOX_EXPIRED);
    // No phone's clock keeps one open for longer than the relay allows.
    let forever = OpenMailbox { mailbox: MailboxId([3; 16]), expires_ms: u64::MAX };
    assert_eq!(outcome(ask_at(&relay, &world, founder, Errand::Open(forever), 2 * DAY_MS)), None);
    let knock = Knock { mailbox: forever.mailbox, sealed: ByteVec::from(b"me".to_vec()) };
    let (done, _) = ask_at(&relay, &world, &newcomer, Errand::Knock(knock), 32 * DAY_MS);
    let Done::Letter(letter) = done else { panic!("{done:?}") };
    assert_eq!(closed(&letter.word), Refusal::MAILBOX_EXPIRED);
}

#[test]
fn what_is_said_is_on_the_disk_and_what_cannot_be_written_is_not_said() {
    let world = World::new(1);
    let newcomer = Person::new(2);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let relay = relay_in(Arc::clone(&store), rules());
    commit(&relay, push(&world, &world.founder, &world.roll));
    open(&relay, &world, &world.founder, BOX);
    knock(&relay, &world, &newcomer, b"me");
    drop(relay);
    let relay = relay_in(Arc::clone(&store), rules());
    assert_eq!(knocks(&relay, &world, &world.founder, 0).0.len(), 1);
    answer(&relay, &world, &world.founder, b"no");
    drop(relay);
    let relay = relay_in(store, rules());
    assert_eq!(knock(&relay, &world, &newcomer, b"me").0, Word::Refused(ByteVec::from(b"no".to_vec())));

    // Identity, roll and mailbox are written; the knock is not.
    let faulty = FaultyStore::new(MemoryStore::default(), 3, FaultAt::BeforeWrite);
    let relay = relay_in(Arc::new(faulty), rules());
    commit(&relay, push(&world, &world.founder, &world.roll));
    open(&relay, &world, &world.founder, BOX);
    let knock = Knock { mailbox: BOX, sealed: ByteVec::from(b"me".to_vec()) };
    let query = Query::Mailbox { group: world.id, device: newcomer.device(), errand: Errand::Knock(knock) };
    let reply = relay.answer(query, NOW_MS);
    assert!(matches!(&reply, Reply::Refused(why) if why.refusal == Refusal::STORE), "{reply:?}");
}

#[test]
fn a_device_that_asks_too_often_waits() {
    let world = World::new(1);
    let newcomer = Person::new(2);
    let relay = relay_with(Rules { device_entries_per_minute: 3, ..rules() });
    commit(&relay, push(&world, &world.founder, &world.roll));
    open(&relay, &world, &world.founder, BOX);
    for words in [b"a", b"b", b"c"] {
        assert_eq!(knock(&relay, &world, &newcomer, words), (Word::Waiting, true));
    }
    assert_eq!(closed(&knock(&relay, &world, &newcomer, b"d").0), Refusal::RATE);
    assert_eq!(knock(&relay, &world, &newcomer, b"c").0, Word::Waiting, "what is there costs nothing");
}

/// A session up to its welcome, with everything done at once, and the frames it has sent.
struct Door<'a> {
    relay: &'a Relay,
    session: Session,
    sent: Vec<Frame>,
}

impl<'a> Door<'a> {
    fn open(relay: &'a Relay, world: &World, person: &Person) -> Self {
        let (id, incarnation, nonce) = (relay.id(), relay.incarnation(), [3; 32]);
        let opening = Opening {
            relay: id,
            incarnation,
            nonce,
            handshake_ms: 10_000,
            slow_reader_ms: 30_000,
            stranger_ms: 60_000,
        };
        let mut door = Self { relay, session: Session::new(opening), sent: Vec::new() };
        door.give(Input::Tick);
        let device = DeviceId(person.key.verifying_key().to_bytes());
        let proof = Proof { version: SESSION_VERSION, nonce, relay: id, group: world.id, device, word: None };
        let proof = ByteVec::from(cose::sign(&person.key, Purpose::Session, cbor::encode(&proof)));
        door.say(&Frame::Hello(Hello { proof, certificate: None }));
        door
    }

    fn say(&mut self, frame: &Frame) {
        self.give(Input::Message(frame.to_bytes()));
    }

    fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            for effect in self.session.handle(inputs.remove(0), 1_000) {
                match effect {
                    Effect::Send(bytes) => {
                        self.sent.push(Frame::from_bytes(&bytes).unwrap());
                        inputs.push(Input::Sent);
                    }
                    Effect::Ask(query) => inputs.push(Input::Reply(self.relay.answer(query, NOW_MS))),
                    Effect::Follow(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.sent)
    }
}

#[test]
fn sessions_tell_of_knocks_and_letters_once_and_when_they_change() {
    let mut world = World::new(1);
    let newcomer = Person::new(2);
    let relay = relay_of(&world);
    let mut founder = Door::open(&relay, &world, &world.founder);
    let mut guest = Door::open(&relay, &world, &newcomer);
    founder.take();
    guest.take();
    founder.say(&Frame::OpenMailbox(OpenMailbox { mailbox: BOX, expires_ms: NOW_MS + DAY_MS }));
    assert!(matches!(founder.take().as_slice(), [Frame::Settled(s)] if s.outcome == Outcome::Kept));
    guest.say(&Frame::Knock(Knock { mailbox: BOX, sealed: ByteVec::from(b"me".to_vec()) }));
    assert!(matches!(guest.take().as_slice(), [Frame::Letter(l)] if l.word == Word::Waiting));
    // As the hub does after each change, and after changes of something else.
    for _ in 0..2 {
        founder.give(Input::Grown);
        guest.give(Input::Grown);
    }
    assert!(matches!(founder.take().as_slice(), [Frame::Knocks(k)] if k.knocks.len() == 1));
    assert_eq!(guest.take(), []);
    let (knock, sealed) = (sha256(b"me"), ByteVec::from(b"signed".to_vec()));
    founder.say(&Frame::Countersign(Countersign { mailbox: BOX, knock, sealed }));
    assert!(matches!(founder.take().as_slice(), [Frame::Settled(s)] if s.outcome == Outcome::Kept));
    for _ in 0..2 {
        founder.give(Input::Grown);
        guest.give(Input::Grown);
    }
    assert_eq!(founder.take(), [], "the knock is the same");
    assert!(
        matches!(guest.take().as_slice(), [Frame::Letter(l)] if matches!(l.word, Word::Countersigned(_)))
    );
    guest.say(&Frame::Knock(Knock { mailbox: BOX, sealed: ByteVec::from(b"me again".to_vec()) }));
    assert!(matches!(guest.take().as_slice(), [Frame::Letter(l)] if l.word == Word::Waiting));
    founder.give(Input::Grown);
    assert!(matches!(founder.take().as_slice(), [Frame::Knocks(k)] if k.knocks.len() == 1));
    let admitted = admit_invited(&mut world, &newcomer);
    commit(&relay, push(&world, &world.founder, &[admitted]));
    guest.give(Input::Grown);
    assert!(matches!(guest.take().as_slice(), [Frame::Letter(l)] if l.word == Word::Admitted));
    // A session that comes later is told at once.
    let other = MailboxId([2; 16]);
    open(&relay, &world, &world.founder, other);
    let knock = Knock { mailbox: other, sealed: ByteVec::from(b"me".to_vec()) };
    ask_at(&relay, &world, &Person::new(3), Errand::Knock(knock), 0);
    let frames = Door::open(&relay, &world, &world.founder).take();
    assert!(matches!(frames.as_slice(), [_, Frame::Welcome(_), Frame::Knocks(_)]), "{frames:?}");
    let frames = Door::open(&relay, &world, &newcomer).take();
    assert!(matches!(frames.as_slice(), [_, Frame::Welcome(_)]), "{frames:?}");
}
