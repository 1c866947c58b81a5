//! The phone's side of a session against a relay that says whatever the program wants: it ends once, sends only frames
//! that keep the limits, believes no receipt that does not hold, and with an honest relay it catches up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::{
    CompartmentId, DeviceId, EntryHash, Hash, Incarnation, MailboxId, RelayId, limits,
};
use lamppost_core::entry::{Checkpoint, LogHead, LogId, Received, Wire};
use lamppost_core::sync::checkpoint::Arrivals;
use lamppost_core::sync::frame::{
    Ack, Challenge, Consistency, Entries, Frame, Heads, LogHeight, Outcome, OwnHead, Push, Refusal, Refused,
    Standing, Welcome,
};
use lamppost_core::sync::mailbox::{Answer, Countersign, Knocked, Knocks, OpenMailbox, Settled};
use lamppost_core::sync::session::{Budget, Effect, End, Input, Mail, Outgoing, Plan, Session};
use lamppost_core::sync::transfer::Load;
use lamppost_core::sync::{Receipt, SignedReceipt};
use minicbor::bytes::ByteVec;

use crate::tape::Tape;
use crate::town::{Keys, NOW_MS, VOLUNTEER, town, verified};

/// Steps of one program at most.
const STEPS_MAX: usize = 120;

/// As what a relay may welcome a phone, rightly or not.
const STANDINGS: [Standing; 4] =
    [Standing::UnknownGroup, Standing::UnknownDevice, Standing::Belongs, Standing::Certified];

/// First what the phone remembers, then steps: an honest word of the relay, or another.
pub fn phone_session(data: &[u8]) {
    let mut tape = Tape::new(data);
    let mut street = Street::new(&mut tape);
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        street.step(&mut tape);
    }
    street.settle();
}

/// A phone, what its shell keeps, and the relay that it talks to.
struct Street {
    session: Session,
    plan: Plan,
    now_ms: u64,
    ended: Option<End>,
    /// Every word of the relay was an honest one, and the phone remembers nothing false.
    honest: bool,
    outbox: BTreeMap<u64, Outgoing>,
    next_key: u64,
    /// What the shell handed to the machine and has not come back as a push.
    handed: BTreeSet<u64>,
    /// Frames of the phone that the relay has not answered.
    asked: VecDeque<Frame>,
    /// Something was refused for now.
    postponed: bool,
    /// Pushes that nobody has acknowledged.
    pushes: BTreeMap<u32, Vec<EntryHash>>,
    /// Numbers of pushes that were given out.
    numbers: BTreeSet<u32>,
    caught_up: u32,
    /// Mailboxes and answers that were sent and not acknowledged.
    mail: VecDeque<MailboxId>,
    /// How many entries catching up puts into the outbox.
    settling: u8,
    relay: Stall,
}

/// A relay that keeps what it is given without judging it.
struct Stall {
    key: SigningKey,
    incarnation: Incarnation,
    arrivals: Arrivals,
    roots: Vec<Checkpoint>,
    kept: BTreeMap<LogId, LogHead>,
    hashes: BTreeSet<EntryHash>,
    upto: BTreeMap<CompartmentId, u64>,
    standing: Standing,
    /// It has heard by now that the device belongs.
    knows: bool,
    greeted: bool,
    welcomed: bool,
    pulled: bool,
    /// A phone is refused so often in passing at most: honest relays relent.
    refusals_left: u8,
}

impl Stall {
    fn id(&self) -> RelayId {
        RelayId(self.key.verifying_key().to_bytes())
    }

    fn keep(&mut self, hash: EntryHash) {
        if self.hashes.insert(hash) {
            self.arrivals.push(hash);
            self.roots.extend(self.arrivals.checkpoint());
        }
    }

    fn sign(&self, entries: Vec<EntryHash>, checkpoint: Checkpoint) -> ByteVec {
        let receipt = Receipt {
            relay: self.id(),
            incarnation: self.incarnation,
            group: town().group,
            received_ms: NOW_MS,
            entries,
            checkpoint,
        };
        ByteVec::from(SignedReceipt::sign(&self.key, receipt).as_bytes().to_vec())
    }
}

impl Street {
    fn new(tape: &mut Tape<'_>) -> Self {
        let mut relay = Stall {
            key: SigningKey::from_bytes(&[5; 32]),
            incarnation: Incarnation([1; 16]),
            arrivals: Arrivals::default(),
            roots: Vec::new(),
            kept: BTreeMap::new(),
            hashes: BTreeSet::new(),
            upto: BTreeMap::new(),
            standing: STANDINGS[tape.below(4)],
            knows: false,
            greeted: false,
            welcomed: false,
            pulled: false,
            refusals_left: 3,
        };
        relay.knows = relay.standing == Standing::Belongs;
        let had = if relay.standing == Standing::UnknownGroup { 0 } else { tape.u8() % 20 };
        (0..had).for_each(|n| relay.keep(EntryHash([n; 32])));
        let mut honest = true;
        let mut remembered = |tape: &mut Tape<'_>| match tape.below(4) {
            0 | 1 => tape.pick(&relay.roots).copied(),
            2 => None,
            _ => {
                honest = false;
                Some(Checkpoint { size: tape.number(9), root: Hash(tape.bytes32()) })
            }
        };
        let (checkpoint, receipted) = (remembered(tape), remembered(tape));
        let known = tape.u8();
        let incarnation = match known & 6 {
            0 => None,
            2 => Some(Incarnation([2; 16])),
            _ => Some(relay.incarnation),
        };
        let plan = Plan {
            group: town().group,
            device: Keys::of(VOLUNTEER).device_id(),
            relay: (known & 1 == 0).then(|| relay.id()),
            incarnation,
            offered: incarnation.filter(|_| known & 16 == 0),
            roll_offered: incarnation.filter(|_| known & 32 == 0),
            checkpoint,
            receipted,
            cursors: [0, 1, 2].map(|c| (CompartmentId(c), u64::from(known >> 4))).into(),
            live: known & 8 == 8,
            budget: match tape.below(8) {
                0 => Budget { span_ms: Some(tape.number(60_000)), bytes: None },
                1 => Budget { span_ms: None, bytes: Some(tape.number(10_000)) },
                _ => Budget::UNLIMITED,
            },
        };
        let mut street = Self {
            session: Session::new(plan.clone()),
            plan,
            now_ms: tape.number(0),
            ended: None,
            honest,
            outbox: BTreeMap::new(),
            next_key: 1,
            handed: BTreeSet::new(),
            asked: VecDeque::new(),
            postponed: false,
            pushes: BTreeMap::new(),
            numbers: BTreeSet::new(),
            caught_up: 0,
            mail: VecDeque::new(),
            settling: if tape.once_in(3) { tape.u8() % 9 } else { 0 },
            relay,
        };
        // The clock of a session goes forward, and nothing lives to its end.
        street.now_ms = street.now_ms.min(u64::MAX >> 8);
        street.grow(tape.u8() % 40);
        street.give(Input::Tick);
        street
    }

    fn grow(&mut self, count: u8) {
        for _ in 0..count {
            let all = town().wires.values().flatten();
            let wire = all.cycle().nth(usize::try_from(self.next_key).unwrap() % 64).unwrap().clone();
            let hash = verified(&wire).hash();
            self.outbox.insert(self.next_key, Outgoing { key: self.next_key, hash, wire });
            self.next_key += 1;
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.below(20) {
            0..=7 => self.honest_word(tape),
            8 => {
                self.grow(tape.u8() % 30);
                self.give(Input::OutboxGrew);
            }
            9 => {
                let span_ms = tape.number(60_000) % 200_000;
                self.now_ms = self.now_ms.saturating_add(span_ms);
                self.give(Input::Tick);
            }
            10 => self.give(Input::Heard),
            11 if tape.once_in(4) => {
                self.honest = false;
                self.give(Input::Stop);
            }
            12 => {
                self.honest = false;
                self.give(Input::Message(tape.blob(600).to_vec()));
            }
            13 => {
                self.honest = false;
                let mut bytes = self.lie(tape).to_bytes();
                tape.bend(&mut bytes);
                self.give(Input::Message(bytes));
            }
            14..=17 => {
                self.honest = false;
                let frame = self.lie(tape);
                self.say(&frame);
            }
            18 => {
                // What the shell never does: an answer that nobody waits for.
                self.honest = false;
                self.give(Input::Signed(tape.blob(64).to_vec()));
            }
            _ => self.live_entries(tape),
        }
    }

    fn say(&mut self, frame: &Frame) {
        self.give(Input::Message(frame.to_bytes()));
    }

    /// What an honest relay says next.
    fn honest_word(&mut self, tape: &mut Tape<'_>) {
        if !self.relay.greeted {
            self.relay.greeted = true;
            let (relay, incarnation) = (self.relay.id(), self.relay.incarnation);
            return self.say(&Frame::Challenge(Challenge { version: 1, nonce: [7; 32], relay, incarnation }));
        }
        let Some(frame) = self.asked.pop_front() else { return };
        match frame {
            Frame::Hello(_) => {
                self.relay.welcomed = true;
                let newest = self.relay.roots.last().copied().filter(|_| self.relay.knows);
                let checkpoint = newest.map(|newest| self.relay.sign(Vec::new(), newest));
                let (standing, own) = (self.relay.standing, Vec::new());
                self.say(&Frame::Welcome(Welcome { relay_ms: NOW_MS, standing, checkpoint, own }));
            }
            Frame::Pull(pull) => {
                self.relay.pulled = true;
                // Somebody else has brought what names the device, at the latest.
                self.relay.knows = true;
                self.relay.upto = pull.cursors.iter().map(|c| (c.compartment, c.after)).collect();
                if tape.once_in(2) {
                    self.live_entries(tape);
                }
                self.say(&Frame::CaughtUp);
            }
            Frame::Push(push) => self.acknowledge(push, tape.u8()),
            Frame::AskHeads => {
                assert!(self.relay.knows || !self.honest, "nobody asks who is not known");
                let logs = self.relay.kept.iter();
                let logs = logs.map(|(log, head)| LogHeight { log: *log, head: *head }).collect();
                self.say(&Frame::Heads(Heads { logs }));
            }
            Frame::AskConsistency(ask) => {
                assert!(self.relay.knows || !self.honest, "nobody asks who is not known");
                let Some(hashes) = self.relay.arrivals.prove_from(ask.from) else {
                    self.honest = false;
                    return;
                };
                let newest = *self.relay.roots.last().unwrap();
                let checkpoint = self.relay.sign(Vec::new(), newest);
                self.say(&Frame::Consistency(Consistency { from: ask.from, checkpoint, hashes }));
            }
            Frame::OpenMailbox(OpenMailbox { mailbox, .. })
            | Frame::Answer(Answer { mailbox, .. })
            | Frame::Countersign(Countersign { mailbox, .. }) => {
                self.say(&Frame::Settled(Settled { mailbox, outcome: Outcome::Kept }));
            }
            other => panic!("a phone does not say {other:?}"),
        }
    }

    fn acknowledge(&mut self, push: Push, mood: u8) {
        let mut kept = Vec::new();
        let mut outcomes = Vec::new();
        for (at, wire) in push.entries.iter().enumerate() {
            let entry = verified(wire);
            let moody = mood & 1 << (at % 7) != 0 && mood > 128;
            if moody && self.relay.refusals_left > 0 {
                self.relay.refusals_left -= 1;
                let refusal = [Refusal::GAP, Refusal::FORK, Refusal::RATE, Refusal::ROLL_UNKNOWN][at % 4];
                outcomes.push(Outcome::Refused(Refused::new(refusal, "not now")));
                continue;
            }
            self.relay.keep(entry.hash());
            let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
            let log = self.relay.kept.entry(LogId::of(&entry)).or_insert(head);
            if log.seq < head.seq {
                *log = head;
            }
            kept.push(entry.hash());
            outcomes.push(Outcome::Kept);
        }
        self.relay.knows |= mood.is_multiple_of(3) && !kept.is_empty();
        let newest = self.relay.roots.last().copied().filter(|_| self.relay.knows);
        let receipt = newest.filter(|_| !kept.is_empty()).map(|newest| self.relay.sign(kept, newest));
        self.say(&Frame::Ack(Ack { number: push.number, outcomes, receipt }));
    }

    /// Entries that arrived, if the phone has asked for any.
    fn live_entries(&mut self, tape: &mut Tape<'_>) {
        if !self.relay.pulled {
            return;
        }
        let compartment = CompartmentId(u8::try_from(tape.below(3)).unwrap());
        let after = self.relay.upto.get(&compartment).copied().unwrap_or_default();
        let left_out = 1 + u64::from(tape.u8() % 4);
        let entries = some_wires(tape);
        let upto = after + entries.len() as u64 + left_out;
        self.relay.upto.insert(compartment, upto);
        let frame = Frame::Entries(Entries { compartment, entries, upto, after, left_out });
        self.say(&frame);
    }

    /// A frame that is well formed, and need not be true.
    fn lie(&mut self, tape: &mut Tape<'_>) -> Frame {
        let key = if tape.once_in(6) { SigningKey::from_bytes(&[6; 32]) } else { self.relay.key.clone() };
        let relay = if tape.once_in(8) { RelayId(tape.bytes32()) } else { self.relay.id() };
        let incarnation = if tape.once_in(8) { Incarnation([2; 16]) } else { self.relay.incarnation };
        let signed = |tape: &mut Tape<'_>, entries: Vec<EntryHash>| {
            let some = tape.pick(&self.relay.roots).copied();
            let checkpoint = match some.filter(|_| !tape.once_in(4)) {
                Some(some) => some,
                None => Checkpoint { size: tape.number(20), root: Hash(tape.bytes32()) },
            };
            let receipt = Receipt {
                relay,
                incarnation,
                group: town().group,
                received_ms: tape.number(NOW_MS),
                entries,
                checkpoint,
            };
            ByteVec::from(SignedReceipt::sign(&key, receipt).as_bytes().to_vec())
        };
        match tape.below(12) {
            0 => {
                let version = if tape.once_in(4) { tape.u8() } else { 1 };
                Frame::Challenge(Challenge { version, nonce: tape.bytes32(), relay, incarnation })
            }
            1 | 2 => {
                let own = (0..tape.below(3))
                    .map(|_| some_head(tape))
                    .map(|(log, head)| OwnHead { compartment: log.compartment, head });
                let own = own.collect();
                let standing = STANDINGS[tape.below(4)];
                let checkpoint = (!tape.once_in(3)).then(|| signed(tape, Vec::new()));
                Frame::Welcome(Welcome { relay_ms: tape.number(NOW_MS), standing, checkpoint, own })
            }
            3 => Frame::Entries(Entries {
                compartment: CompartmentId(u8::try_from(tape.below(5)).unwrap()),
                entries: some_wires(tape),
                upto: tape.number(10),
                after: tape.number(10),
                left_out: tape.number(5),
            }),
            4 => Frame::CaughtUp,
            5..=7 => {
                let numbers: Vec<u32> = self.pushes.keys().copied().collect();
                let number = tape.pick(&numbers).copied().filter(|_| !tape.once_in(6));
                let number = number.unwrap_or(u32::from(tape.u8()));
                let hashes = self.pushes.get(&number).cloned().unwrap_or_default();
                let mut kept = Vec::new();
                let mut outcomes = Vec::new();
                for hash in hashes {
                    if tape.once_in(3) {
                        outcomes.push(Outcome::Refused(some_refusal(tape)));
                    } else {
                        kept.push(hash);
                        outcomes.push(Outcome::Kept);
                    }
                }
                match tape.below(8) {
                    0 => drop(kept.pop()),
                    1 => kept.reverse(),
                    2 => outcomes.push(Outcome::Kept),
                    _ => {}
                }
                let receipt = (!kept.is_empty() || tape.once_in(4)).then(|| signed(tape, kept));
                Frame::Ack(Ack { number, outcomes, receipt })
            }
            8 => {
                let logs = (0..tape.below(6)).map(|_| some_head(tape));
                Frame::Heads(Heads { logs: logs.map(|(log, head)| LogHeight { log, head }).collect() })
            }
            9 => {
                let asked = self.asked.iter().find_map(|frame| match frame {
                    Frame::AskConsistency(ask) => Some(ask.from),
                    _ => None,
                });
                let from = asked.unwrap_or_else(|| tape.number(9));
                let hashes = self.relay.arrivals.prove_from(from).unwrap_or_default();
                let hashes = if tape.once_in(4) { vec![Hash(tape.bytes32())] } else { hashes };
                Frame::Consistency(Consistency { from, checkpoint: signed(tape, Vec::new()), hashes })
            }
            10 if tape.once_in(4) => Frame::Goodbye(some_refusal(tape)),
            10 if tape.once_in(3) => Frame::AskHeads,
            10 if tape.once_in(2) => Frame::Knocks(Knocks {
                knocks: (0..tape.below(4))
                    .map(|_| Knocked {
                        mailbox: MailboxId([tape.u8(); 16]),
                        device: DeviceId(tape.bytes32()),
                        at_ms: tape.number(NOW_MS),
                        sealed: tape.once_in(2).then(|| ByteVec::from(tape.blob(90).to_vec())),
                    })
                    .collect(),
            }),
            10 => {
                let mailbox = self.mail.front().copied().filter(|_| !tape.once_in(4));
                let mailbox = mailbox.unwrap_or(MailboxId([tape.u8(); 16]));
                let refused = tape.once_in(2).then(|| Outcome::Refused(some_refusal(tape)));
                Frame::Settled(Settled { mailbox, outcome: refused.unwrap_or(Outcome::Kept) })
            }
            _ => Frame::Push(Push { number: tape.number(0) as u32, entries: some_wires(tape) }),
        }
    }

    fn give(&mut self, input: Input) {
        // Bent bytes may still be an acknowledgement.
        if let Input::Message(bytes) = &input
            && let Ok(Frame::Ack(ack)) = Frame::from_bytes(bytes)
        {
            self.pushes.remove(&ack.number);
        }
        if let Input::Message(bytes) = &input
            && let Ok(Frame::Settled(settled)) = Frame::from_bytes(bytes)
            && self.mail.front() == Some(&settled.mailbox)
        {
            self.mail.pop_front();
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let effects = self.session.handle(input, self.now_ms);
            if self.ended.is_some() {
                assert!(effects.is_empty(), "nothing comes after the end");
                continue;
            }
            let count = effects.len();
            for (at, effect) in effects.into_iter().enumerate() {
                if let Effect::End(end) = effect {
                    assert_eq!(at + 1, count, "the end is last");
                    self.ended = Some(end);
                    break;
                }
                inputs.extend(self.carry_out(effect));
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Send(bytes) => self.sent(&bytes),
            Effect::Sign(payload) => {
                let proof = cose::sign(&Keys::of(VOLUNTEER).device, Purpose::Session, payload);
                return Some(Input::Signed(proof));
            }
            Effect::NewLife(relay, incarnation) => {
                assert_ne!(self.plan.incarnation, Some(incarnation));
                assert!(self.plan.relay.is_none_or(|known| known == relay));
                self.plan.cursors.values_mut().for_each(|after| *after = 0);
            }
            Effect::CheckOwn(_) | Effect::RelayTime(_) => {}
            Effect::Checkpoint(checkpoint) => {
                let grows = self.plan.checkpoint.is_none_or(|old| old.size <= checkpoint.size);
                let new_life = self.plan.incarnation.is_none() || !self.honest;
                assert!(grows || new_life || self.plan.incarnation != Some(self.relay.incarnation));
            }
            Effect::Offer { .. } => {
                // Everything the relay lacks gets a new place, in its order.
                self.handed.clear();
                for mut outgoing in std::mem::take(&mut self.outbox).into_values() {
                    outgoing.key = self.next_key;
                    self.outbox.insert(self.next_key, outgoing);
                    self.next_key += 1;
                }
            }
            Effect::LoadOutbox { after } => {
                // What was postponed is handed over again, and held back while the relay does not take it.
                if after == 0 || self.postponed {
                    self.handed.clear();
                }
                assert!(self.handed.is_empty(), "what was handed over is sent before more is asked for");
                let behind = self.outbox.range(after + 1..).map(|(_, outgoing)| outgoing.clone());
                let mut bytes = 0;
                let outgoing: Vec<Outgoing> = behind
                    .take_while(|outgoing| {
                        bytes += outgoing.wire.signed.len();
                        bytes < 40_000
                    })
                    .collect();
                self.handed = outgoing.iter().map(|outgoing| outgoing.key).collect();
                return Some(Input::Outbox(outgoing));
            }
            Effect::Receive(entries) => {
                let had = self.plan.cursors.get_mut(&entries.compartment).expect("it was asked for");
                match entries.covered() {
                    Some(covered) => {
                        assert_eq!(covered.after, *had, "nothing is passed over");
                        *had = covered.upto;
                    }
                    None => assert!(!self.honest),
                }
            }
            Effect::Kept { keys, receipt } => {
                assert_eq!(keys.len(), receipt.receipt().entries.len());
                for (key, hash) in keys.iter().zip(&receipt.receipt().entries) {
                    if let Some(outgoing) = self.outbox.remove(key) {
                        assert_eq!(outgoing.hash, *hash);
                    }
                }
            }
            Effect::Unsigned(keys) => {
                assert!(!self.relay.knows || !self.honest, "who is known is given a receipt");
                // Others' words; its own stay.
                keys.iter().filter(|key| **key % 2 == 0).for_each(|key| drop(self.outbox.remove(key)));
            }
            Effect::Refused { key, why } => {
                assert!(!why.refusal.is_passing());
                self.outbox.remove(&key);
            }
            Effect::Postponed { why, .. } => {
                assert!(why.refusal.is_passing());
                self.postponed = true;
            }
            Effect::CaughtUp => {
                self.caught_up += 1;
                assert_eq!(self.caught_up, 1, "said once");
                assert!(self.pushes.is_empty(), "everything was answered");
                if self.settling > 0 {
                    // Keys that were handed out late, say: they are to be sent before the session ends.
                    self.grow(self.settling);
                }
                return Some(Input::Settled);
            }
            Effect::LoadMail => {
                assert_eq!(self.caught_up, 1, "mail comes after everything else");
                assert!(self.mail.is_empty(), "what was sent is answered before more is asked for");
                let mailbox = MailboxId([self.settling; 16]);
                let open = Mail::Open(OpenMailbox { mailbox, expires_ms: NOW_MS });
                let answer = Mail::Answer(Answer { mailbox, sealed: ByteVec::from(vec![1; 9]) });
                let (knock, sealed) = (Hash([2; 32]), ByteVec::from(vec![3; 9]));
                let signed = Mail::Countersign(Countersign { mailbox, knock, sealed });
                let mail = vec![open, signed, answer];
                return Some(Input::Mail(if self.settling > 2 { mail } else { Vec::new() }));
            }
            Effect::Knocked(knocks) => assert!(knocks.len() <= limits::KNOCKS_MAX),
            Effect::Answered(mailbox) | Effect::Countersigned(mailbox) => {
                assert_eq!(mailbox, MailboxId([self.settling; 16]));
            }
            // This phone has no photos: whatever a relay says of them is out of turn.
            Effect::LoadMedia { .. } => return Some(Input::Media(Load::default())),
            Effect::LoadChunk(_)
            | Effect::ChunksKept(_)
            | Effect::ChunkRefused(_)
            | Effect::KeepChunk { .. } => {
                unreachable!("nothing was offered or asked for")
            }
            Effect::End(_) => unreachable!("looked at above"),
        }
        None
    }

    fn sent(&mut self, bytes: &[u8]) {
        let frame = Frame::from_bytes(bytes).expect("a phone sends frames");
        match &frame {
            Frame::Push(push) => {
                assert!(!push.entries.is_empty() && push.entries.len() <= limits::FRAME_ENTRIES_MAX);
                let hashes: Vec<EntryHash> =
                    push.entries.iter().map(|wire| Received::parse(wire.clone()).unwrap().hash()).collect();
                // Places come back in the order in which they were handed over.
                for hash in &hashes {
                    let first = *self.handed.first().expect("only what was handed over is sent");
                    assert!(self.outbox.get(&first).is_none_or(|outgoing| outgoing.hash == *hash));
                    self.handed.remove(&first);
                }
                assert!(self.numbers.insert(push.number), "each push has its own number");
                self.pushes.insert(push.number, hashes);
            }
            Frame::Pull(pull) => {
                assert!(pull.cursors.is_sorted_by(|a, b| a.compartment < b.compartment));
                assert_eq!(pull.cursors.len(), self.plan.cursors.len());
            }
            Frame::AskConsistency(ask) => {
                assert!(ask.from > 0 || !self.honest);
            }
            Frame::OpenMailbox(OpenMailbox { mailbox, .. })
            | Frame::Answer(Answer { mailbox, .. })
            | Frame::Countersign(Countersign { mailbox, .. }) => {
                self.mail.push_back(*mailbox);
            }
            Frame::Hello(_) | Frame::AskHeads => {}
            other => panic!("a phone does not say {other:?}"),
        }
        self.asked.push_back(frame);
        assert!(self.pushes.len() <= limits::PUSH_FRAMES_IN_FLIGHT_MAX);
    }

    /// With a relay that was honest all along, the session comes to where it wants to be.
    fn settle(&mut self) {
        if !self.honest {
            return;
        }
        for _ in 0..1_000 {
            if self.ended.is_some() || (self.caught_up > 0 && self.asked.is_empty()) {
                break;
            }
            let zeros = &mut Tape::new(&[]);
            self.honest_word(zeros);
        }
        match &self.ended {
            None => assert!(
                self.caught_up == 1 && self.plan.live,
                "an honest relay is caught up with: {:?}",
                self.session
            ),
            Some(End::Done) => {
                assert!(self.caught_up == 1 && !self.plan.live);
                assert!(self.pushes.is_empty() && self.handed.is_empty(), "all is sent before the end");
            }
            Some(End::Budget) => assert_ne!(self.plan.budget, Budget::UNLIMITED),
            Some(End::Silence) => {}
            Some(other) => panic!("an honest relay is no reason to end: {other:?}"),
        }
    }
}

fn some_refusal(tape: &mut Tape<'_>) -> Refused {
    let retry_after_ms = tape.once_in(3).then(|| tape.number(1_000));
    Refused { refusal: Refusal(tape.u8() % 20), reason: tape.text(), retry_after_ms }
}

fn some_head(tape: &mut Tape<'_>) -> (LogId, LogHead) {
    let heads: Vec<_> = town().heads.iter().collect();
    let (log, head) = *tape.pick(&heads).unwrap();
    (*log, LogHead { seq: tape.number(head.seq), ..*head })
}

fn some_wires(tape: &mut Tape<'_>) -> Vec<Wire> {
    let all: Vec<&Wire> = town().wires.values().flatten().collect();
    (0..tape.below(4)).filter_map(|_| tape.pick(&all).map(|wire| (*wire).clone())).collect()
}
