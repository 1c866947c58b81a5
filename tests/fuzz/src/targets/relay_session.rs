//! The relay's side of sessions, over a relay in memory: it sends one frame at a time, answers every push once, keeps
//! nothing that a phone would have to refuse, and after goodbye it says nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{CompartmentId, DeviceId, EntryHash, GroupId, MailboxId, cbor, limits};
use lamppost_core::entry::{Checkpoint, Kind as EntryKind, Received, Wire};
use lamppost_core::roll::Roll;
use lamppost_core::storage::MemoryStore;
use lamppost_core::sync::SignedReceipt;
use lamppost_core::sync::checkpoint::continues;
use lamppost_core::sync::frame::{
    AskConsistency, Cursor, Frame, Hello, Outcome, Proof, Pull, Push, Refusal, Refused, Standing,
};
use lamppost_core::sync::mailbox::{self, Knock, OpenMailbox, Word};
use lamppost_server::{
    Answer, Done, Effect, Errand, Input, Opening, Pushed, Query, Relay, RelayStore, Reply, Rules, Seed,
    Session,
};
use minicbor::bytes::ByteVec;

use super::operations::write_operation;
use crate::tape::Tape;
use crate::town::{self, Keys, NOW_MS, Pen, Rows, STRANGER, VOLUNTEER, town, verified};

/// Steps of one program at most.
const STEPS_MAX: usize = 80;

/// Sessions at once.
const SESSIONS: usize = 2;

/// A program for two sessions with one relay.
pub fn relay_session(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut house = House::new(&mut tape);
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        house.step(&mut tape);
    }
    house.settle();
}

fn rules() -> Rules {
    Rules {
        open_to_new_groups: true,
        allowed_groups: Vec::new(),
        groups_max: 2,
        group_bytes_max: 200_000,
        group_media_bytes_max: 300_000,
        device_entries_per_minute: 300,
    }
}

fn open(store: &MemoryStore) -> Relay {
    let seed = Seed { key: [5; 32], incarnation: [1; 16] };
    Relay::open(RelayStore::new(Arc::new(store.clone())), rules(), &seed, false).unwrap()
}

/// A relay's store that holds the town but for its last entries.
fn stocked() -> &'static Rows {
    static ROWS: OnceLock<Rows> = OnceLock::new();
    ROWS.get_or_init(|| {
        let store = MemoryStore::new();
        let relay = open(&store);
        let device = Keys::of(town::COORDINATOR).device_id();
        for _ in 0..4 {
            for wires in town().wires.values() {
                let entries = wires[..wires.len() - 1].to_vec();
                relay.commit(vec![Pushed { group: town().group, device, number: 0, entries }], NOW_MS);
            }
        }
        Rows::of(&store)
    })
}

struct House {
    relay: Relay,
    store: MemoryStore,
    now_ms: u64,
    doors: Vec<Door>,
    pens: Vec<Pen>,
    roll: Roll,
    written: Vec<Wire>,
    newest: BTreeMap<GroupId, Checkpoint>,
}

/// One session and the phone behind it.
struct Door {
    session: Session,
    who: u64,
    nonce: [u8; 32],
    /// A frame was sent and not taken yet.
    sending: bool,
    greeted: bool,
    group_full: bool,
    commits: VecDeque<Pushed>,
    answers: VecDeque<Answer>,
    pushes_taken: usize,
    acks: usize,
    follows: Option<GroupId>,
    closed: bool,
    parted: bool,
}

impl House {
    fn new(tape: &mut Tape<'_>) -> Self {
        let empty = tape.once_in(6);
        let store = if empty { MemoryStore::new() } else { stocked().store() };
        let relay = open(&store);
        let people = [VOLUNTEER, town::DEPUTY, town::LIAISON, town::NEWCOMER, STRANGER, town::COORDINATOR];
        let doors = (0..SESSIONS).map(|at| {
            let who = people[tape.below(people.len())];
            let nonce = [u8::try_from(at).unwrap() + 1; 32];
            Door::new(&relay, who, nonce)
        });
        let doors = doors.collect();
        let mut house = Self {
            relay,
            store,
            now_ms: 0,
            doors,
            pens: people.iter().map(|who| Pen::of(*who)).collect(),
            roll: (*town().roll).clone(),
            written: Vec::new(),
            newest: BTreeMap::new(),
        };
        for at in 0..SESSIONS {
            house.give(at, Input::Tick);
        }
        house
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        let at = tape.below(SESSIONS);
        match tape.below(20) {
            way @ (0 | 1) => {
                let proof = self.proof(tape, at);
                let certificate = (way == 1).then(|| self.certificate(at));
                self.say(at, &Frame::Hello(Hello { proof, certificate }));
            }
            2 => {
                let mut cursors: Vec<Cursor> = (0..u8::try_from(1 + tape.below(7)).unwrap())
                    .map(|c| Cursor { compartment: CompartmentId(c), after: tape.number(2) })
                    .collect();
                if tape.once_in(8) {
                    cursors.reverse();
                }
                self.say(at, &Frame::Pull(Pull { cursors, live: tape.once_in(2) }));
            }
            3..=5 => {
                let entries = self.entries(tape);
                self.say(at, &Frame::Push(Push { number: u32::from(tape.u8()), entries }));
            }
            6 => self.say(at, &Frame::AskHeads),
            7 => self.say(at, &Frame::AskConsistency(AskConsistency { from: tape.number(20) })),
            8 => self.taken(at),
            9 => self.commit(tape.below(3)),
            10 => self.commit(0),
            11 => self.answer(at),
            12 if tape.once_in(4) => self.give(at, Input::Heard),
            12 => {
                let frame = mailbox_frame(tape);
                self.say(at, &frame);
            }
            13 => {
                self.now_ms = self.now_ms.saturating_add(tape.number(10_000) % 100_000);
                self.give(at, Input::Tick);
            }
            14 => {
                let bytes = tape.blob(600).to_vec();
                self.message(at, bytes);
            }
            15 => {
                let proof = self.proof(tape, at);
                let certificate =
                    proof.last().is_some_and(|byte| byte % 2 == 0).then(|| self.certificate(at));
                let mut bytes = Frame::Hello(Hello { proof, certificate }).to_bytes();
                tape.bend(&mut bytes);
                self.message(at, bytes);
            }
            16 => self.write(tape),
            17 if tape.once_in(4) => match tape.below(3) {
                0 => self.doors[at].group_full = true,
                1 => self.give(at, Input::Shutdown),
                _ if self.doors[at].session.wants_input() => self.give(at, Input::Unreadable("text")),
                _ => {}
            },
            18 if tape.once_in(4) => self.replace(tape, at),
            _ => self.taken(at),
        }
    }

    fn say(&mut self, at: usize, frame: &Frame) {
        self.message(at, frame.to_bytes());
    }

    /// A message of the phone, if the session takes one now.
    fn message(&mut self, at: usize, bytes: Vec<u8>) {
        if self.doors[at].session.wants_input() {
            self.give(at, Input::Message(bytes));
        }
    }

    fn proof(&self, tape: &mut Tape<'_>, at: usize) -> ByteVec {
        let door = &self.doors[at];
        let keys = Keys::of(door.who);
        let mut proof = Proof {
            version: 1,
            nonce: door.nonce,
            relay: self.relay.id(),
            group: town().group,
            device: keys.device_id(),
            word: None,
        };
        match tape.below(24) {
            0 => proof.version = tape.u8(),
            1 => proof.nonce = tape.bytes32(),
            2 => proof.relay = lamppost_core::base::RelayId(tape.bytes32()),
            3 => proof.group = GroupId(tape.bytes32()),
            4 => proof.device = DeviceId(tape.bytes32()),
            _ => {}
        }
        let purpose = if tape.once_in(16) { Purpose::Entry } else { Purpose::Session };
        ByteVec::from(cose::sign(&keys.device, purpose, cbor::encode(&proof)))
    }

    fn certificate(&self, at: usize) -> ByteVec {
        ByteVec::from(Keys::of(self.doors[at].who).certificate().as_bytes().to_vec())
    }

    /// Entries to push: the town's, what was written here, and what was altered.
    fn entries(&self, tape: &mut Tape<'_>) -> Vec<Wire> {
        let mut entries = Vec::new();
        let authors: Vec<&Vec<Wire>> = town().wires.values().collect();
        match tape.below(6) {
            0 => entries.extend(authors.iter().flat_map(|wires| wires.iter().cloned())),
            1 => entries.extend(tape.pick(&authors).unwrap().iter().cloned()),
            2 | 3 => entries.extend(self.written.iter().rev().take(1 + tape.below(8)).rev().cloned()),
            4 => entries.extend(authors.iter().filter_map(|wires| wires.last().cloned())),
            _ => {}
        }
        if !entries.is_empty() {
            let count = entries.len();
            match tape.below(8) {
                0 => entries.reverse(),
                1 => entries.rotate_left(tape.below(count)),
                2 => drop(entries.remove(tape.below(count))),
                3 => {
                    let again = entries[tape.below(count)].clone();
                    entries.push(again);
                }
                4 => {
                    let at = tape.below(count);
                    tape.bend(&mut entries[at].signed);
                }
                5 => entries[tape.below(count)].body = None,
                _ => {}
            }
        }
        entries
    }

    /// Writes an entry by one of the town, right or wrong.
    fn write(&mut self, tape: &mut Tape<'_>) {
        let at = tape.below(self.pens.len());
        let pen = &mut self.pens[at];
        let before = pen.heads.clone();
        let compartment = CompartmentId(u8::try_from(tape.below(6)).unwrap());
        let mut cited = if tape.once_in(4) { town().roll.heads() } else { self.roll.heads() };
        if tape.once_in(24) {
            cited.push(EntryHash(tape.bytes32()));
            cited.sort_unstable();
        }
        let mut slot = pen.slot(compartment, cited);
        if tape.once_in(8) {
            slot.expiry_day = Some(u32::from(tape.u16()));
        }
        let first = slot.head.is_none();
        let (kind, body) = if first {
            (EntryKind::CERTIFICATE, pen.keys.certificate().as_bytes().to_vec())
        } else if compartment == CompartmentId::ROLL {
            (EntryKind::OPERATION, cbor::encode(&write_operation(tape, &slot.roll_heads)))
        } else {
            (EntryKind(4 + tape.u8() % 16), tape.blob(200).to_vec())
        };
        let wire = pen.write(&pen.header(&slot, kind, None, &body), body);
        if Received::parse(wire.clone()).is_ok() {
            if compartment == CompartmentId::ROLL && !tape.once_in(6) {
                self.roll.insert(&verified(&wire)).ok();
            }
            self.written.push(wire);
        } else {
            pen.heads.clone_from(&before);
        }
        if tape.once_in(16) {
            pen.heads = before;
        }
    }

    /// Gives a session an input and whatever follows from it at once, as the relay's shell does.
    fn give(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let door = &mut self.doors[at];
            if door.closed {
                return;
            }
            for effect in door.session.handle(input, self.now_ms) {
                assert!(!door.closed, "closing is the last that it does");
                match effect {
                    Effect::Send(bytes) => door.sent(&bytes),
                    Effect::Ask(query) => {
                        let reply = self.relay.answer(query.clone(), NOW_MS + self.now_ms);
                        check_reply(&query, &reply);
                        check_served(&self.relay, &query, &reply);
                        inputs.push_back(Input::Reply(reply));
                    }
                    Effect::Commit(pushed) => {
                        door.pushes_taken += 1;
                        door.commits.push_back(pushed);
                        assert!(door.commits.len() + door.answers.len() <= limits::PUSH_FRAMES_IN_FLIGHT_MAX);
                    }
                    Effect::Follow(_) if door.group_full => {
                        inputs.push_back(Input::NoPlace(Refused::new(Refusal::RATE, "no place")))
                    }
                    Effect::Follow(group) => door.follows = Some(group),
                    Effect::Close(last) => {
                        door.closed = true;
                        if let Some(bytes) = last {
                            assert!(matches!(Frame::from_bytes(&bytes), Ok(Frame::Goodbye(_))));
                        }
                    }
                }
            }
        }
    }

    /// The socket has taken the frame.
    fn taken(&mut self, at: usize) {
        if std::mem::take(&mut self.doors[at].sending) {
            self.give(at, Input::Sent);
        }
    }

    fn answer(&mut self, at: usize) {
        if let Some(answer) = self.doors[at].answers.pop_front() {
            self.give(at, Input::Committed(answer));
        }
    }

    /// Commits what waits, of every session in one write.
    fn commit(&mut self, leave: usize) {
        let mut waiting = Vec::new();
        for (at, door) in self.doors.iter_mut().enumerate() {
            let count = door.commits.len().saturating_sub(leave);
            waiting.extend(door.commits.drain(..count).map(|pushed| (at, pushed)));
        }
        let pushes: Vec<Pushed> = waiting.iter().map(|(_, pushed)| pushed.clone()).collect();
        let committed = self.relay.commit(pushes, NOW_MS + self.now_ms);
        assert!(!self.relay.has_failed());
        assert_eq!(committed.answers.len(), waiting.len(), "each push is answered");
        for ((at, pushed), answer) in waiting.into_iter().zip(committed.answers) {
            self.check_answer(&pushed, &answer);
            self.doors[at].answers.push_back(answer);
        }
        for group in committed.grown {
            for at in 0..SESSIONS {
                if self.doors[at].follows == Some(group) {
                    self.give(at, Input::Grown);
                }
            }
        }
    }

    fn check_answer(&mut self, pushed: &Pushed, answer: &Answer) {
        assert_eq!(answer.ack.number, pushed.number);
        assert_eq!(answer.ack.outcomes.len(), pushed.entries.len());
        let kept = pushed.entries.iter().zip(&answer.ack.outcomes).filter(|(_, o)| **o == Outcome::Kept);
        let kept: Vec<EntryHash> = kept
            .map(|(wire, _)| {
                let entry = Received::parse(wire.clone()).expect("what is kept has its form");
                assert_eq!(entry.group(), pushed.group);
                assert!(entry.verify_signature().is_ok(), "what is kept is signed");
                entry.hash()
            })
            .collect();
        assert!(answer.ack.receipt.is_none() || !kept.is_empty());
        assert!(
            answer.ack.receipt.is_some() || kept.is_empty() || !answer.belongs,
            "who belongs has a receipt"
        );
        let Some(receipt) = &answer.ack.receipt else { return };
        let receipt =
            SignedReceipt::verify(receipt, self.relay.id(), self.relay.incarnation(), pushed.group).unwrap();
        assert_eq!(receipt.receipt().entries, kept);
        let new = receipt.receipt().checkpoint;
        let old = self.newest.insert(pushed.group, new);
        if let Some(old) = old.filter(|_| answer.belongs) {
            let Pushed { group, device, .. } = *pushed;
            let reply = self.relay.answer(Query::Consistency { group, device, from: old.size }, NOW_MS);
            let Reply::Consistency(proof) = reply else { panic!("a relay proves its history") };
            assert!(continues(&old, &new, &proof.hashes) || old == new);
        }
    }

    /// A phone that comes back.
    fn replace(&mut self, tape: &mut Tape<'_>, at: usize) {
        if !self.doors[at].commits.is_empty() || !self.doors[at].answers.is_empty() {
            return;
        }
        let who = 1 + tape.below(7) as u64;
        let nonce = [tape.u8(); 32];
        self.doors[at] = Door::new(&self.relay, who, nonce);
        self.give(at, Input::Tick);
    }

    /// Everything that is under way comes to its end, and the relay opens with the same state.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            if self.doors.iter().all(Door::is_idle) {
                break;
            }
            self.commit(0);
            for at in 0..SESSIONS {
                self.answer(at);
                self.taken(at);
            }
        }
        for door in &self.doors {
            assert!(door.is_idle(), "it comes to rest");
            assert!(door.closed || door.acks == door.pushes_taken, "every push is answered once");
        }
        let again = open(&self.store);
        for keys in (1..9).map(Keys::of) {
            for key in [None, Some(keys.member_id())] {
                let query = Query::Open { group: town().group, device: keys.device_id(), key };
                assert_eq!(self.relay.answer(query.clone(), NOW_MS), again.answer(query, NOW_MS));
            }
        }
    }
}

impl Door {
    fn new(relay: &Relay, who: u64, nonce: [u8; 32]) -> Self {
        let opening = Opening {
            relay: relay.id(),
            incarnation: relay.incarnation(),
            nonce,
            handshake_ms: 10_000,
            slow_reader_ms: 30_000,
            stranger_ms: 60_000,
        };
        Self {
            session: Session::new(opening),
            who,
            nonce,
            sending: false,
            greeted: false,
            group_full: false,
            commits: VecDeque::new(),
            answers: VecDeque::new(),
            pushes_taken: 0,
            acks: 0,
            follows: None,
            closed: false,
            parted: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.closed || (!self.sending && self.answers.is_empty() && self.commits.is_empty())
    }

    fn sent(&mut self, bytes: &[u8]) {
        assert!(!self.sending, "one frame at a time");
        assert!(!self.parted, "goodbye is the last word");
        self.sending = true;
        let frame = Frame::from_bytes(bytes).expect("a relay sends frames");
        self.parted = matches!(frame, Frame::Goodbye(_));
        assert_eq!(!self.greeted, matches!(frame, Frame::Challenge(_)));
        self.greeted = true;
        if let Frame::Ack(_) = &frame {
            self.acks += 1;
        }
    }
}

/// About one of three mailboxes, so that phones meet there.
fn mailbox_frame(tape: &mut Tape<'_>) -> Frame {
    let mailbox = MailboxId([tape.u8() % 3; 16]);
    let sealed = ByteVec::from(vec![tape.u8() % 2; 40]);
    match tape.below(5) {
        0 => Frame::Answer(mailbox::Answer { mailbox, sealed }),
        4 => {
            // Of a knock that may lie there.
            let knock = lamppost_core::base::hash::sha256(&[tape.u8() % 2; 40]);
            Frame::Countersign(mailbox::Countersign { mailbox, knock, sealed })
        }
        1 => Frame::OpenMailbox(OpenMailbox { mailbox, expires_ms: NOW_MS + tape.number(10_000) % 100_000 }),
        _ => Frame::Knock(Knock { mailbox, sealed }),
    }
}

/// Who does not belong is served the roll, if anything; and nobody is told of a log that they may not read, but of their
/// own.
fn check_served(relay: &Relay, query: &Query, reply: &Reply) {
    let standing = |group, device| {
        let opened = relay.answer(Query::Open { group, device, key: None }, NOW_MS);
        let Reply::Opened { welcome, .. } = opened else { panic!("{opened:?}") };
        welcome.standing
    };
    match (query, reply) {
        (Query::Fetch { group, device, .. }, Reply::Fetched(Some(entries)))
            if entries.compartment != CompartmentId::ROLL =>
        {
            assert_eq!(standing(*group, *device), Standing::Belongs);
        }
        (Query::Consistency { group, device, .. }, Reply::Consistency(_)) => {
            assert_eq!(standing(*group, *device), Standing::Belongs);
        }
        (Query::Heads { group, device }, Reply::Heads(heads)) => {
            assert_eq!(standing(*group, *device), Standing::Belongs);
            for log in heads.logs.iter().map(|height| height.log).filter(|log| log.device != *device) {
                let cursors = [(log.compartment, 0)].into();
                let fetch = Query::Fetch { group: *group, device: *device, key: None, cursors };
                let served = relay.answer(fetch, NOW_MS);
                assert!(matches!(served, Reply::Fetched(Some(_))), "{log:?} is not for {device:?}");
            }
        }
        (Query::Open { key: None, .. }, Reply::Opened { welcome, .. }) => {
            assert_eq!(welcome.checkpoint.is_some(), welcome.standing == Standing::Belongs);
        }
        _ => {}
    }
}

fn check_reply(query: &Query, reply: &Reply) {
    match (query, reply) {
        (Query::Open { .. }, Reply::Opened { welcome, .. }) => {
            assert!(welcome.own.is_sorted_by(|a, b| a.compartment < b.compartment));
            assert!(welcome.standing == Standing::Belongs || welcome.checkpoint.is_none());
        }
        (Query::Fetch { device, cursors, .. }, Reply::Fetched(Some(entries))) => {
            assert_eq!(entries.after, cursors[&entries.compartment]);
            assert!(entries.covered().is_some(), "{} to {}", entries.after, entries.upto);
            for wire in &entries.entries {
                let entry = Received::parse(wire.clone()).expect("what is served has its form");
                assert_eq!(entry.header().compartment, entries.compartment);
                assert_ne!(entry.header().device, *device, "a phone's own entries are left out");
            }
        }
        (Query::Heads { .. }, Reply::Heads(heads)) => {
            assert!(heads.logs.is_sorted_by(|a, b| a.log < b.log));
        }
        (Query::Consistency { from, .. }, Reply::Consistency(proof)) => assert_eq!(proof.from, *from),
        (Query::Fetch { .. }, Reply::Fetched(None)) | (Query::Knocks { .. }, Reply::Knocks(None)) => {}
        (Query::Mailbox { errand: Errand::Knock(knock), .. }, Reply::Mailbox { done, changed }) => {
            let Done::Letter(letter) = done else { panic!("{done:?} to {knock:?}") };
            assert_eq!(letter.mailbox, knock.mailbox);
            assert!(!changed || letter.word == Word::Waiting, "only a knock that is kept is told of");
        }
        (Query::Mailbox { .. }, Reply::Mailbox { done, changed }) => {
            let Done::Settled(settled) = done else { panic!("{done:?}") };
            assert!(!changed || settled.outcome == Outcome::Kept);
        }
        (Query::Knocks { after, .. }, Reply::Knocks(Some((knocks, last)))) => {
            assert!(last > after && !knocks.knocks.is_empty());
        }
        (Query::Letter { mailbox, .. }, Reply::Letter(letter)) => assert_eq!(letter.mailbox, *mailbox),
        (Query::Chunks { .. }, Reply::Chunks(frame)) => {
            assert!(matches!(frame, Frame::WantedChunks(_) | Frame::ChunkAck(_) | Frame::Chunk(_)));
        }
        (_, Reply::Refused(why)) => {
            assert!(
                [Refusal::MALFORMED, Refusal::UNKNOWN_DEVICE, Refusal::REMOVED].contains(&why.refusal),
                "{why:?}"
            );
        }
        (query, reply) => panic!("{reply:?} to {query:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_holds_the_town() {
        let relay = open(&stocked().store());
        let device = Keys::of(VOLUNTEER).device_id();
        let reply = relay.answer(Query::Open { group: town().group, device, key: None }, NOW_MS);
        let Reply::Opened { welcome, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(welcome.standing, Standing::Belongs);
        assert!(welcome.own.len() >= 2);
    }
}
