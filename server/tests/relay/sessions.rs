//! The session's machine, driven without a socket: what is sent, asked and closed after each input.

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{GroupId, Incarnation, RelayId, cbor, limits};
use lamppost_core::entry::{LogHead, LogId, Received};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{
    AskConsistency, Challenge, Cursor, Heads, Hello, LogHeight, Proof, Pull, Push, Refusal, Refused,
    SESSION_VERSION, Standing,
};
use lamppost_server::{Effect, Input, Opening, Relay, Reply, Session};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

/// A machine beside its relay, with everything done at once but commits and the taking of frames.
pub struct Rig<'a> {
    relay: &'a Relay,
    session: Session,
    now_ms: u64,
    /// Frames that the socket has taken.
    pub sent: Vec<Frame>,
    /// Whether the phone takes frames.
    takes: bool,
    pushed: Vec<lamppost_server::Pushed>,
    followed: Option<GroupId>,
    closed: bool,
    last_words: Option<Frame>,
}

impl<'a> Rig<'a> {
    pub fn new(relay: &'a Relay) -> Self {
        let opening = Opening {
            relay: relay.id(),
            incarnation: relay.incarnation(),
            nonce: [3; 32],
            handshake_ms: 10_000,
            slow_reader_ms: 30_000,
            stranger_ms: 60_000,
        };
        let mut rig = Self {
            relay,
            session: Session::new(opening),
            now_ms: 1_000,
            sent: Vec::new(),
            takes: true,
            pushed: Vec::new(),
            followed: None,
            closed: false,
            last_words: None,
        };
        rig.give(Input::Tick);
        rig
    }

    /// A session of somebody who has proven who they are.
    pub fn open(relay: &'a Relay, world: &World, person: &Person) -> Self {
        let mut rig = Self::new(relay);
        rig.say(&hello(relay.id(), world.id, &person.key, |_| {}));
        rig
    }

    pub fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while !inputs.is_empty() {
            let input = inputs.remove(0);
            for effect in self.session.handle(input, self.now_ms) {
                match effect {
                    Effect::Send(bytes) => {
                        self.sent.push(Frame::from_bytes(&bytes).unwrap());
                        if self.takes {
                            inputs.push(Input::Sent);
                        }
                    }
                    Effect::Ask(query) => inputs.push(Input::Reply(self.relay.answer(query, NOW_MS))),
                    Effect::Commit(push) => self.pushed.push(push),
                    Effect::Follow(group) => self.followed = Some(group),
                    Effect::Close(last_words) => {
                        self.closed = true;
                        self.last_words = last_words.map(|bytes| Frame::from_bytes(&bytes).unwrap());
                    }
                }
            }
        }
    }

    pub fn say(&mut self, frame: &Frame) {
        assert!(self.session.wants_input());
        self.give(Input::Message(frame.to_bytes()));
    }

    /// Commits what was pushed, all at once.
    pub fn commit(&mut self) {
        let committed = self.relay.commit(std::mem::take(&mut self.pushed), NOW_MS);
        committed.answers.into_iter().for_each(|answer| self.give(Input::Committed(answer)));
    }

    /// Why the relay said goodbye.
    pub fn goodbye(&self) -> Option<Refusal> {
        match self.sent.last() {
            Some(Frame::Goodbye(why)) if self.closed => Some(why.refusal),
            _ => None,
        }
    }
}

fn hello(relay: RelayId, group: GroupId, key: &SigningKey, change: impl FnOnce(&mut Proof)) -> Frame {
    Frame::Hello(Hello { proof: proof_by(relay, group, key, change), certificate: None })
}

/// What a device signs to open a session.
pub fn proof_by(
    relay: RelayId,
    group: GroupId,
    key: &SigningKey,
    change: impl FnOnce(&mut Proof),
) -> ByteVec {
    let device = lamppost_core::base::DeviceId(key.verifying_key().to_bytes());
    let mut proof = Proof { version: SESSION_VERSION, nonce: [3; 32], relay, group, device, word: None };
    change(&mut proof);
    ByteVec::from(cose::sign(key, Purpose::Session, cbor::encode(&proof)))
}

pub fn pull(cursors: &[(lamppost_core::base::CompartmentId, u64)], live: bool) -> Frame {
    let cursors =
        cursors.iter().map(|(compartment, after)| Cursor { compartment: *compartment, after: *after });
    Frame::Pull(Pull { cursors: cursors.collect(), live })
}

#[test]
fn challenge_proof_welcome() {
    let (world, volunteer, relay) = village();
    let rig = Rig::open(&relay, &world, &volunteer);
    let challenge = Challenge {
        version: SESSION_VERSION,
        nonce: [3; 32],
        relay: relay.id(),
        incarnation: Incarnation([2; 16]),
    };
    assert_eq!(rig.sent[0], Frame::Challenge(challenge));
    let Frame::Welcome(welcome) = &rig.sent[1] else { panic!("{:?}", rig.sent) };
    assert_eq!((welcome.standing, welcome.relay_ms), (Standing::Belongs, NOW_MS));
    assert_eq!(rig.followed, Some(world.id));
}

#[test]
fn a_proof_is_for_this_session_relay_version_and_device() {
    let (world, volunteer, relay) = village();
    let verdict = |key: &SigningKey, change: fn(&mut Proof)| {
        let mut rig = Rig::new(&relay);
        rig.say(&hello(relay.id(), world.id, key, change));
        rig.goodbye()
    };
    let thief = SigningKey::from_bytes(&[99; 32]);
    assert_eq!(verdict(&volunteer.key, |_| {}), None);
    assert_eq!(verdict(&volunteer.key, |proof| proof.nonce = [4; 32]), Some(Refusal::SIGNATURE));
    assert_eq!(verdict(&volunteer.key, |proof| proof.relay = RelayId([9; 32])), Some(Refusal::SIGNATURE));
    assert_eq!(verdict(&volunteer.key, |proof| proof.version = 2), Some(Refusal::VERSION));
    let claims_another = |proof: &mut Proof| proof.device = Person::new(2).device();
    assert_eq!(verdict(&thief, claims_another), Some(Refusal::SIGNATURE));
}

#[test]
fn before_the_proof_nothing_but_a_short_proof_is_read() {
    let (world, volunteer, relay) = village();
    for bytes in [vec![], vec![0xff; 10], Frame::AskHeads.to_bytes()] {
        let mut rig = Rig::new(&relay);
        rig.give(Input::Message(bytes));
        assert_eq!(rig.goodbye(), Some(Refusal::MALFORMED));
    }
    let mut long = Rig::new(&relay);
    long.say(&Frame::Hello(Hello { proof: ByteVec::from(vec![0; 1_025]), certificate: None }));
    assert!(matches!(long.sent.last(), Some(Frame::Goodbye(why)) if why.reason.contains("is short")));
    let mut twice = Rig::open(&relay, &world, &volunteer);
    twice.say(&hello(relay.id(), world.id, &volunteer.key, |_| {}));
    assert_eq!(twice.goodbye(), Some(Refusal::MALFORMED));
}

#[test]
fn every_truncation_and_every_flipped_bit_of_a_frame_ends_in_a_reason_or_an_answer() {
    let (world, mut volunteer, relay) = village();
    let words = world.words(&mut volunteer, GROUP, b"words");
    let bytes = Frame::Push(Push { number: 1, entries: wires(&words) }).to_bytes();
    for at in 0..bytes.len() {
        let mut rig = Rig::open(&relay, &world, &volunteer);
        rig.give(Input::Message(bytes[..at].to_vec()));
        assert_eq!(rig.goodbye(), Some(Refusal::MALFORMED), "cut at {at}");
        let mut rig = Rig::open(&relay, &world, &volunteer);
        let mut bent = bytes.clone();
        bent[at] ^= 1 << (at % 8);
        rig.give(Input::Message(bent));
        let answered = rig.pushed.len() == 1;
        assert!(answered || rig.goodbye() == Some(Refusal::MALFORMED), "bent at {at}");
    }
}

#[test]
fn a_pull_brings_the_roll_first_and_says_once_when_that_was_all() {
    let (world, mut volunteer, relay) = village();
    let words = world.words(&mut volunteer, GROUP, b"words");
    commit(&relay, push(&world, &volunteer, &words));
    let mut rig = Rig::open(&relay, &world, &world.founder);
    rig.say(&pull(&[(ROLL, 0), (COMMON, 0), (GROUP, 0)], true));
    let names: Vec<_> = rig.sent[2..]
        .iter()
        .map(|frame| match frame {
            Frame::Entries(entries) => (entries.compartment.0, entries.entries.len(), entries.upto),
            Frame::CaughtUp => (255, 0, 0),
            other => panic!("{other:?}"),
        })
        .collect();
    // The roll is the founder's own: its cursor moves on, its entries are left out.
    assert_eq!(names, [(0, 0, 2), (2, 2, 2), (255, 0, 0)]);

    // Live: what arrives later follows by itself, without another 'caught up'.
    let more = world.words(&mut volunteer, GROUP, b"more");
    commit(&relay, push(&world, &volunteer, &more));
    rig.give(Input::Grown);
    assert!(matches!(rig.sent.last(), Some(Frame::Entries(e)) if e.entries == wires(&more) && e.upto == 3));
    rig.give(Input::Grown);
    assert_eq!(rig.sent.len(), 6);
}

#[test]
fn a_pull_that_is_not_live_ends_at_caught_up() {
    let (world, mut volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &world.founder);
    rig.say(&pull(&[(ROLL, 2), (GROUP, 0)], false));
    assert_eq!(rig.sent.last(), Some(&Frame::CaughtUp));
    let words = world.words(&mut volunteer, GROUP, b"words");
    commit(&relay, push(&world, &volunteer, &words));
    rig.give(Input::Grown);
    assert_eq!(rig.sent.last(), Some(&Frame::CaughtUp));
    rig.say(&pull(&[(ROLL, 2), (GROUP, 0)], false));
    assert!(matches!(&rig.sent[3..], [Frame::Entries(_), Frame::CaughtUp]));
}

#[test]
fn a_pull_of_what_the_role_may_not_read() {
    let (mut world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    let sealed = world.founder_words(COORDINATORS, b"for coordinators");
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &sealed))));
    rig.say(&pull(&[(ROLL, 0), (COORDINATORS, 0)], true));
    assert_eq!(rig.sent.last(), Some(&Frame::CaughtUp));
    assert!(!rig.sent.iter().any(|f| matches!(f, Frame::Entries(e) if e.compartment == COORDINATORS)));
    let mut disordered = Rig::open(&relay, &world, &volunteer);
    disordered.say(&pull(&[(GROUP, 0), (ROLL, 0)], true));
    assert_eq!(disordered.goodbye(), Some(Refusal::MALFORMED));
}

#[test]
fn a_live_stream_is_cut_in_the_step_that_takes_the_role_away() {
    let (mut world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    rig.say(&pull(&[(ROLL, 0), (GROUP, 0)], true));
    let demotion = world.admit(&volunteer, PARTNER);
    let words = world.founder_words(GROUP, b"not for partners");
    commit(&relay, push(&world, &world.founder, &[vec![demotion], words].concat()));
    rig.give(Input::Grown);
    assert!(
        matches!(rig.sent.last(), Some(Frame::Entries(e)) if e.compartment == ROLL),
        "it hears of its new role"
    );
    assert!(!rig.sent.iter().any(|f| matches!(f, Frame::Entries(e) if e.compartment == GROUP)));
}

#[test]
fn a_live_session_ends_in_the_step_that_takes_its_device_out() {
    let (mut world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    rig.say(&pull(&[(ROLL, 0), (GROUP, 0)], true));
    let removal = world.remove(&volunteer);
    let words = world.founder_words(GROUP, b"not for who is gone");
    let pushed = [vec![removal.clone()], words].concat();
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &pushed))));
    let before = rig.sent.len();
    rig.give(Input::Grown);
    assert_eq!(rig.goodbye(), Some(Refusal::REMOVED));
    let [Frame::Entries(proof), Frame::Goodbye(_)] = &rig.sent[before..] else {
        panic!("more than the proof and the goodbye: {:?}", &rig.sent[before..])
    };
    let proof: Vec<_> =
        proof.entries.iter().map(|wire| Received::parse(wire.clone()).unwrap().hash()).collect();
    assert_eq!(proof, [removal.hash()]);
}

#[test]
fn a_reader_that_takes_nothing_gets_nothing_more_and_is_dropped() {
    let (world, mut volunteer, relay) = village();
    for n in 0..30_u8 {
        let words = world.words(&mut volunteer, GROUP, &vec![n; 30_000]);
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
    }
    let mut rig = Rig::open(&relay, &world, &world.founder);
    rig.takes = false;
    rig.say(&pull(&[(ROLL, 2), (GROUP, 0)], true));
    for _ in 0..50 {
        rig.give(Input::Grown);
        rig.now_ms += 500;
        rig.give(Input::Heard);
        rig.give(Input::Tick);
    }
    assert_eq!((rig.sent.len(), rig.closed), (3, false));
    rig.now_ms += 5_000;
    rig.give(Input::Tick);
    assert!(rig.closed);
    assert!(matches!(&rig.last_words, Some(Frame::Goodbye(why)) if why.refusal == Refusal::TOO_SLOW));
    rig.give(Input::Sent);
    assert_eq!(rig.sent.len(), 3);
}

#[test]
fn a_few_pushes_are_under_way_and_then_the_socket_waits() {
    let (world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    for number in 0..limits::PUSH_FRAMES_IN_FLIGHT_MAX as u32 {
        rig.say(&Frame::Push(Push { number, entries: Vec::new() }));
    }
    assert!(!rig.session.wants_input());
    rig.commit();
    assert!(rig.session.wants_input());
    let numbers =
        rig.sent.iter().filter_map(|f| if let Frame::Ack(ack) = f { Some(ack.number) } else { None });
    assert_eq!(numbers.collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_group_is_founded_and_read_in_one_session() {
    let (world, relay) = (World::new(1), relay_with(rules()));
    let mut rig = Rig::open(&relay, &world, &world.founder);
    assert!(matches!(&rig.sent[1], Frame::Welcome(w) if w.standing == Standing::UnknownGroup));
    rig.say(&Frame::Push(Push { number: 0, entries: wires(&world.roll) }));
    rig.commit();
    rig.say(&pull(&[(ROLL, 0)], false));
    assert_eq!(rig.sent.last(), Some(&Frame::CaughtUp));
}

#[test]
fn who_does_not_belong_reads_nothing() {
    let (world, mut volunteer, relay) = village();
    let words = world.words(&mut volunteer, GROUP, b"words");
    commit(&relay, push(&world, &volunteer, &words));
    let mut rig = Rig::open(&relay, &world, &Person::new(9));
    rig.say(&pull(&[(ROLL, 0)], true));
    assert_eq!(rig.goodbye(), Some(Refusal::UNKNOWN_DEVICE));
}

#[test]
fn who_does_not_belong_cannot_push_without_end() {
    let (world, _, relay) = village();
    let mut rig = Rig::open(&relay, &world, &Person::new(9));
    let frame = Frame::Push(Push { number: 0, entries: vec![world.roll[0].wire().clone(); 512] });
    for _ in 0..16 {
        rig.say(&frame);
        rig.commit();
    }
    assert!(!rig.closed);
    rig.say(&frame);
    assert_eq!(rig.goodbye(), Some(Refusal::RATE));
}

#[test]
fn a_history_is_proven_to_continue() {
    let (world, mut volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    let words = world.words(&mut volunteer, GROUP, b"words");
    commit(&relay, push(&world, &volunteer, &words));
    rig.say(&Frame::AskConsistency(AskConsistency { from: 2 }));
    assert!(matches!(rig.sent.last(), Some(Frame::Consistency(proof)) if proof.from == 2));
    rig.say(&Frame::AskConsistency(AskConsistency { from: 5 }));
    assert_eq!(rig.goodbye(), Some(Refusal::MALFORMED));
}

#[test]
fn silence_and_slow_handshakes_end() {
    let (world, volunteer, relay) = village();
    let mut rig = Rig::new(&relay);
    rig.now_ms += 9_999;
    rig.give(Input::Tick);
    assert!(!rig.closed);
    rig.now_ms += 1;
    rig.give(Input::Tick);
    assert_eq!(rig.goodbye(), Some(Refusal::TOO_SLOW));

    let mut rig = Rig::open(&relay, &world, &volunteer);
    for _ in 0..5 {
        rig.now_ms += 59_000;
        rig.give(Input::Tick);
        rig.give(Input::Heard);
    }
    assert!(!rig.closed);
    rig.now_ms += 60_000;
    rig.give(Input::Tick);
    assert_eq!(rig.goodbye(), Some(Refusal::TOO_SLOW));
}

#[test]
fn at_shutdown_what_was_pushed_is_answered_first() {
    let (world, mut volunteer, relay) = village();
    let words = world.words(&mut volunteer, GROUP, b"words");
    let mut rig = Rig::open(&relay, &world, &volunteer);
    rig.say(&Frame::Push(Push { number: 5, entries: wires(&words) }));
    rig.give(Input::Shutdown);
    assert!(!rig.closed && !rig.session.wants_input());
    rig.commit();
    assert!(matches!(&rig.sent[2..], [Frame::Ack(ack), Frame::Goodbye(_)] if ack.number == 5));
    assert_eq!(rig.goodbye(), Some(Refusal::SHUTDOWN));
}

#[test]
fn a_full_group_turns_the_next_session_away() {
    let (world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    rig.give(Input::NoPlace(Refused::new(Refusal::RATE, "no place")));
    assert_eq!(rig.goodbye(), Some(Refusal::RATE));
}

/// A question of three bytes yields half a megabyte: whoever does not read what it gets is not listened to any more.
#[test]
fn answers_that_wait_are_bounded_in_bytes() {
    let (world, volunteer, relay) = village();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    assert!(rig.session.wants_input());
    let log = LogId { compartment: GROUP, device: volunteer.device() };
    let head = LogHead { seq: 1, hash: world.roll[0].hash() };
    let logs = vec![LogHeight { log, head }; 2_000];
    let mut effects = Vec::new();
    for _ in 0..2 {
        let heads = Reply::Heads(Heads { logs: logs.clone() });
        effects.extend(rig.session.handle(Input::Reply(heads), 0));
    }
    // One is on its way, and does not arrive; the other waits.
    assert!(matches!(effects.as_slice(), [Effect::Send(_)]), "{effects:?}");
    assert!(!rig.session.wants_input());
}
