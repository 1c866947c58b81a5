//! The phone's machine, with a relay that says what the test wants.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;

use super::super::checkpoint::Arrivals;
use super::super::frame::Challenge;
use super::super::media::{Chunk, ChunkAck, ChunkNames, PutChunk};
use super::super::receipt::Receipt;
use super::super::transfer::{Carried, Load};
use super::*;

/// A session of a phone in a known life of the relay, up to the welcome; with what that led to.
fn welcomed(group: GroupId, offered: Option<Incarnation>, standing: Standing) -> (Session, Vec<Effect>) {
    let mut session = Session::new(Plan {
        group,
        device: DeviceId([2; 32]),
        relay: None,
        incarnation: Some(Incarnation([4; 16])),
        offered,
        roll_offered: None,
        checkpoint: None,
        receipted: None,
        cursors: BTreeMap::from([(CompartmentId::ROLL, 0)]),
        live: false,
        budget: Budget::UNLIMITED,
    });
    let challenge = Challenge {
        version: SESSION_VERSION,
        relay: RelayId([3; 32]),
        incarnation: Incarnation([4; 16]),
        nonce: [5; 32],
    };
    say(&mut session, &Frame::Challenge(challenge));
    session.handle(Input::Signed(Vec::new()), 0);
    let welcome = Welcome { relay_ms: 0, standing, checkpoint: None, own: Vec::new() };
    let effects = say(&mut session, &Frame::Welcome(welcome));
    (session, effects)
}

/// A session of a phone that the relay has never heard of, up to where its outbox is asked for.
fn stranger(group: GroupId) -> Session {
    welcomed(group, None, Standing::UnknownGroup).0
}

fn say(session: &mut Session, frame: &Frame) -> Vec<Effect> {
    session.handle(Input::Message(frame.to_bytes()), 0)
}

fn goodbye() -> Frame {
    Frame::Goodbye(Refused::new(Refusal::UNKNOWN_DEVICE, "it has not heard of this device"))
}

#[test]
fn a_relay_closed_to_the_group_is_told_with_the_id_that_its_operator_needs() {
    let group = GroupId([1; 32]);
    let mut session = stranger(group);
    let wire = Wire { signed: ByteVec::from(vec![0]), body: None };
    session.handle(Input::Outbox(vec![Outgoing { key: 1, hash: EntryHash([6; 32]), wire }]), 0);
    let closed = Refused::new(Refusal::CLOSED, "it takes no new groups");
    let ack = Ack { number: 0, outcomes: vec![Outcome::Refused(closed)], receipt: None };
    assert!(say(&mut session, &Frame::Ack(ack)).iter().any(|e| matches!(e, Effect::Postponed { .. })));
    let effects = say(&mut session, &goodbye());
    let [Effect::End(End::Relay(why))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(why.refusal, Refusal::CLOSED);
    assert!(why.reason.starts_with("it takes no new groups"), "{}", why.reason);
    assert!(why.reason.contains(&group.to_string()), "{}", why.reason);
}

/// The session in which the life was new may have been cut off before anything was offered.
#[test]
fn heads_are_asked_for_until_everything_was_offered_in_a_life() {
    let life = Incarnation([4; 16]);
    for (offered, standing, asks) in [
        (None, Standing::Belongs, true),
        (Some(Incarnation([9; 16])), Standing::Belongs, true),
        (Some(life), Standing::Belongs, false),
        // A relay tells nobody heads whom it does not know.
        (None, Standing::UnknownDevice, false),
        (None, Standing::UnknownGroup, false),
    ] {
        let (_, effects) = welcomed(GROUP, offered, standing);
        let heads = Frame::AskHeads.to_bytes();
        let asked = effects.iter().any(|e| matches!(e, Effect::Send(bytes) if *bytes == heads));
        assert_eq!(asked, asks, "{offered:?} {standing:?}: {effects:?}");
    }
}

/// A phone whose device the relay does not know yet, and what it does with its outbox: key, hash, and the relay's answers.
struct Unknown {
    session: Session,
    key: SigningKey,
    arrivals: Arrivals,
}

impl Unknown {
    /// Welcomed with this standing, remembering that the relay had so many arrivals.
    fn new(standing: Standing, remembered: Option<Checkpoint>, offered: bool) -> (Self, Vec<Effect>) {
        let life = Incarnation([4; 16]);
        let key = SigningKey::from_bytes(&[3; 32]);
        let mut session = Session::new(Plan {
            group: GROUP,
            device: DeviceId([2; 32]),
            relay: None,
            incarnation: Some(life),
            offered: None,
            roll_offered: offered.then_some(life),
            checkpoint: remembered,
            receipted: None,
            cursors: BTreeMap::from([(ROLL, 0), (CompartmentId(2), 0)]),
            live: false,
            budget: Budget::UNLIMITED,
        });
        let relay = RelayId(key.verifying_key().to_bytes());
        let nonce = [5; 32];
        let challenge = Challenge { version: SESSION_VERSION, relay, incarnation: life, nonce };
        say(&mut session, &Frame::Challenge(challenge));
        session.handle(Input::Signed(Vec::new()), 0);
        let welcome = Welcome { relay_ms: 0, standing, checkpoint: None, own: Vec::new() };
        let effects = say(&mut session, &Frame::Welcome(welcome));
        (Self { session, key, arrivals: Arrivals::default() }, effects)
    }

    /// Pushes an entry; the relay keeps it, and signs for it or not.
    fn push(&mut self, key: u64, number: u32, signs: bool) -> Vec<Effect> {
        let hash = EntryHash([u8::try_from(key).unwrap(); 32]);
        let wire = Wire { signed: ByteVec::from(vec![0]), body: None };
        self.session.handle(Input::Outbox(vec![Outgoing { key, hash, wire }]), 0);
        self.arrivals.push(hash);
        let receipt = Receipt {
            relay: RelayId(self.key.verifying_key().to_bytes()),
            incarnation: Incarnation([4; 16]),
            group: GROUP,
            received_ms: 0,
            entries: vec![hash],
            checkpoint: self.arrivals.checkpoint().unwrap(),
        };
        let receipt = ByteVec::from(SignedReceipt::sign(&self.key, receipt).as_bytes().to_vec());
        let outcomes = vec![Outcome::Kept];
        say(&mut self.session, &Frame::Ack(Ack { number, outcomes, receipt: signs.then_some(receipt) }))
    }
}

fn asks_for_heads(effects: &[Effect]) -> bool {
    let heads = Frame::AskHeads.to_bytes();
    effects.iter().any(|effect| matches!(effect, Effect::Send(bytes) if *bytes == heads))
}

/// A relay that does not know the device tells it nothing and signs nothing: the phone brings the roll once in each life,
/// relies on nothing that was kept meanwhile, and asks for heads as soon as it is known.
#[test]
fn a_relay_that_does_not_know_the_device_is_brought_the_roll_and_believed_nothing() {
    let offers = |effects: &[Effect]| {
        let offer =
            |effect: &Effect| matches!(effect, Effect::Offer { heads, whole: false } if heads.is_empty());
        effects.iter().filter(|effect| offer(effect)).count()
    };
    let (mut phone, effects) = Unknown::new(Standing::UnknownDevice, None, false);
    assert_eq!((offers(&effects), asks_for_heads(&effects)), (1, false));
    let effects = phone.push(1, 0, false);
    assert!(effects.contains(&Effect::Unsigned(vec![1])), "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Kept { .. })) && !asks_for_heads(&effects));
    let effects = phone.push(2, 1, true);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Kept { keys, .. } if keys == &[2])));
    assert!(asks_for_heads(&effects), "it is known by now: {effects:?}");
    let effects = say(&mut phone.session, &Frame::Heads(Heads { logs: Vec::new() }));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Offer { whole: true, .. })));
    let effects = phone.push(3, 2, false);
    let mismatch = End::Misbehaved(Misbehaviour::ReceiptMismatch);
    assert_eq!(effects, [Effect::End(mismatch)], "from then on nothing is kept without a receipt");

    // What was cut off goes on where it was; and what it brought may lack what others brought.
    let (mut phone, effects) = Unknown::new(Standing::UnknownDevice, None, true);
    assert_eq!(offers(&effects), 0);
    let wire = Wire { signed: ByteVec::from(vec![0]), body: None };
    phone.session.handle(Input::Outbox(vec![Outgoing { key: 1, hash: EntryHash([1; 32]), wire }]), 0);
    let outcomes =
        vec![Outcome::Refused(Refused::new(Refusal::ROLL_UNKNOWN, "it cites what has not arrived"))];
    let effects = say(&mut phone.session, &Frame::Ack(Ack { number: 0, outcomes, receipt: None }));
    assert_eq!((offers(&effects), asks_for_heads(&effects)), (1, false));
}

/// A relay that shows another history cannot hide behind 'I do not know you'.
#[test]
fn what_a_relay_signed_before_is_proven_as_soon_as_it_knows_the_device() {
    let mut before = Arrivals::default();
    before.push(EntryHash([1; 32]));
    let remembered = before.checkpoint();
    let asked = |effects: &[Effect]| {
        let ask = Frame::AskConsistency(AskConsistency { from: 1 }).to_bytes();
        effects.iter().any(|effect| matches!(effect, Effect::Send(bytes) if *bytes == ask))
    };
    // By a receipt, by entries that only who belongs is given, and at the latest when it has caught up.
    let (mut phone, effects) = Unknown::new(Standing::UnknownDevice, remembered, true);
    assert!(!asked(&effects) && !effects.iter().any(|effect| matches!(effect, Effect::End(_))));
    assert!(asked(&phone.push(1, 0, true)));
    for last in [covering(0, 1, 1, 0), Frame::CaughtUp] {
        let (mut phone, _) = Unknown::new(Standing::UnknownDevice, remembered, true);
        let pulled = phone.session.handle(Input::Outbox(Vec::new()), 0);
        assert!(matches!(pulled.as_slice(), [Effect::Send(_)]), "{pulled:?}");
        let effects = say(&mut phone.session, &last);
        assert!(asked(&effects), "{effects:?}");
        assert!(!effects.contains(&Effect::CaughtUp), "nothing is settled before the proof");
    }
    // Whose group it has forgotten it cannot not know.
    let (_, effects) = Unknown::new(Standing::UnknownGroup, remembered, true);
    assert!(effects.contains(&Effect::End(End::Misbehaved(Misbehaviour::TwoHistories))), "{effects:?}");
}

/// With a whole town's words in its outbox it would otherwise run into the relay's limit before it asks for the roll.
#[test]
fn who_does_not_belong_stops_pushing_and_asks_why() {
    let (mut session, _) = welcomed(GROUP, None, Standing::UnknownDevice);
    // Each fills a frame.
    let outgoing = |n: u8| Outgoing {
        key: u64::from(n),
        hash: EntryHash([n; 32]),
        wire: Wire { signed: ByteVec::from(vec![n; 200_000]), body: None },
    };
    let frames = |effects: &[Effect]| -> Vec<Frame> {
        let sent = effects.iter().filter_map(|effect| {
            let Effect::Send(bytes) = effect else { return None };
            Frame::from_bytes(bytes).ok()
        });
        sent.collect()
    };
    let pushed = session.handle(Input::Outbox((1..=20).map(outgoing).collect()), 0);
    let pushes = frames(&pushed).len();
    assert_eq!(pushes, limits::PUSH_FRAMES_IN_FLIGHT_MAX);
    let mut sent = Vec::new();
    for number in 0..u32::try_from(pushes).unwrap() {
        let out = Refused::new(Refusal::REMOVED, "this device was taken out of the group");
        let ack = Ack { number, outcomes: vec![Outcome::Refused(out)], receipt: None };
        sent.extend(frames(&say(&mut session, &Frame::Ack(ack))));
    }
    let [Frame::Pull(_)] = sent.as_slice() else { panic!("{sent:?}") };
}

#[test]
fn a_device_nobody_admitted_is_told_just_that() {
    let mut session = stranger(GroupId([1; 32]));
    session.handle(Input::Outbox(Vec::new()), 0);
    let effects = say(&mut session, &goodbye());
    assert!(
        matches!(effects.as_slice(), [Effect::End(End::Relay(why))] if why.refusal == Refusal::UNKNOWN_DEVICE),
        "{effects:?}"
    );
}

/// A relay, and a phone that has caught up with it: what it wrote to the relay, and what its outbox holds.
struct Scene {
    key: SigningKey,
    session: Session,
    outbox: BTreeMap<u64, EntryHash>,
    now_ms: u64,
    pushed: Vec<Push>,
    arrivals: Arrivals,
    ended: Option<End>,
    media: Load,
}

const GROUP: GroupId = GroupId([1; 32]);
const ROLL: CompartmentId = CompartmentId::ROLL;

impl Scene {
    fn new(live: bool, outbox: u8) -> Self {
        let key = SigningKey::from_bytes(&[3; 32]);
        let session = Session::new(Plan {
            group: GROUP,
            device: DeviceId([2; 32]),
            relay: None,
            incarnation: Some(Incarnation([4; 16])),
            offered: Some(Incarnation([4; 16])),
            roll_offered: None,
            checkpoint: None,
            receipted: None,
            cursors: BTreeMap::from([(ROLL, 3), (CompartmentId(2), 5)]),
            live,
            budget: Budget::UNLIMITED,
        });
        let outbox = (1..=outbox).map(|n| (u64::from(n), EntryHash([n; 32]))).collect();
        let (arrivals, media) = (Arrivals::default(), Load::default());
        let mut scene =
            Self { key, session, outbox, now_ms: 0, pushed: Vec::new(), arrivals, ended: None, media };
        let relay = RelayId(scene.key.verifying_key().to_bytes());
        let incarnation = Incarnation([4; 16]);
        let challenge = Challenge { version: SESSION_VERSION, relay, incarnation, nonce: [5; 32] };
        scene.say(&Frame::Challenge(challenge));
        let standing = Standing::Belongs;
        scene.say(&Frame::Welcome(Welcome { relay_ms: 0, standing, checkpoint: None, own: Vec::new() }));
        scene
    }

    fn say(&mut self, frame: &Frame) -> Vec<Effect> {
        self.give(Input::Message(frame.to_bytes()))
    }

    /// Gives an input, and answers as a shell does. Answers with what the shell does not answer itself.
    fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut inputs = VecDeque::from([input]);
        let mut others = Vec::new();
        while let Some(input) = inputs.pop_front() {
            for effect in self.session.handle(input, self.now_ms) {
                match effect {
                    Effect::Send(bytes) => {
                        if let Frame::Push(push) = Frame::from_bytes(&bytes).unwrap() {
                            self.pushed.push(push);
                        }
                    }
                    Effect::Sign(_) => inputs.push_back(Input::Signed(Vec::new())),
                    Effect::CaughtUp => inputs.push_back(Input::Settled),
                    Effect::LoadOutbox { after } => {
                        let rows = self.outbox.range(after + 1..).take(3);
                        // An entry that fills a frame, so that each is pushed alone.
                        let wire = |key| Wire { signed: ByteVec::from(vec![key; 200_000]), body: None };
                        let outgoing = |(key, hash): (&u64, &EntryHash)| Outgoing {
                            key: *key,
                            hash: *hash,
                            wire: wire(hash.0[0]),
                        };
                        inputs.push_back(Input::Outbox(rows.map(outgoing).collect()));
                    }
                    Effect::Kept { keys, .. } => self.outbox.retain(|key, _| !keys.contains(key)),
                    Effect::End(end) => self.ended = Some(end),
                    Effect::LoadMail => inputs.push_back(Input::Mail(Vec::new())),
                    Effect::LoadMedia { up_after, down_after } => {
                        let behind = |rows: &[Carried], after: u64| {
                            rows.iter().filter(|row| row.key > after).copied().collect()
                        };
                        let up = behind(&self.media.up, up_after);
                        let down = behind(&self.media.down, down_after);
                        inputs.push_back(Input::Media(Load { up, down }));
                    }
                    Effect::LoadChunk(Carried { chunk, .. }) => {
                        let ciphertext = ByteVec::from(chunk.0[..3].to_vec());
                        let put = PutChunk { chunk, ciphertext, entry: ByteVec::from(vec![1]) };
                        inputs.push_back(Input::Chunk(chunk, Some(put)));
                    }
                    other @ (Effect::NewLife(..)
                    | Effect::ChunksKept(_)
                    | Effect::ChunkRefused(_)
                    | Effect::KeepChunk { .. }
                    | Effect::Knocked(_)
                    | Effect::Answered(_)
                    | Effect::Countersigned(_)
                    | Effect::CheckOwn(_)
                    | Effect::Checkpoint(_)
                    | Effect::RelayTime(_)
                    | Effect::Offer { .. }
                    | Effect::Unsigned(_)
                    | Effect::Receive(_)
                    | Effect::Refused { .. }
                    | Effect::Postponed { .. }) => others.push(other),
                }
            }
        }
        others
    }

    /// Answers every push that is under way, and those that follow, as `verdict` says of each entry.
    fn answer(&mut self, verdict: impl Fn(u8) -> Outcome) -> Vec<u8> {
        let mut answered = Vec::new();
        while !self.pushed.is_empty() {
            let under_way: Vec<u8> =
                self.pushed.iter().flat_map(|push| &push.entries).map(|w| w.signed[0]).collect();
            let distinct: BTreeSet<u8> = under_way.iter().copied().collect();
            assert_eq!(distinct.len(), under_way.len(), "nothing is sent twice in flight");
            let push = self.pushed.remove(0);
            let seen: Vec<u8> = push.entries.iter().map(|wire| wire.signed[0]).collect();
            answered.extend(&seen);
            let outcomes: Vec<Outcome> = seen.iter().map(|n| verdict(*n)).collect();
            let kept = seen.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Kept);
            let kept: Vec<EntryHash> = kept.map(|(n, _)| EntryHash([*n; 32])).collect();
            kept.iter().for_each(|hash| self.arrivals.push(*hash));
            let receipt = (!kept.is_empty()).then(|| self.receipt(kept));
            self.say(&Frame::Ack(Ack { number: push.number, outcomes, receipt }));
        }
        answered
    }

    fn receipt(&self, entries: Vec<EntryHash>) -> ByteVec {
        let receipt = Receipt {
            relay: RelayId(self.key.verifying_key().to_bytes()),
            incarnation: Incarnation([4; 16]),
            group: GROUP,
            received_ms: 0,
            entries,
            checkpoint: self.arrivals.checkpoint().unwrap(),
        };
        ByteVec::from(SignedReceipt::sign(&self.key, receipt).as_bytes().to_vec())
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.give(Input::Heard);
        self.give(Input::Tick);
    }
}

fn covering(after: u64, upto: u64, left_out: u64, count: usize) -> Frame {
    let entries = vec![Wire { signed: ByteVec::from(vec![0]), body: None }; count];
    Frame::Entries(Entries { compartment: CompartmentId(2), entries, upto, after, left_out })
}

fn later(retry_after_ms: Option<u64>) -> Outcome {
    Outcome::Refused(Refused { retry_after_ms, ..Refused::new(Refusal::RATE, "too much at once") })
}

#[test]
fn entries_continue_where_the_ones_before_came_to() {
    let mut scene = Scene::new(true, 0);
    for (after, upto, left_out, count) in [(5, 7, 0, 2), (7, 9, 2, 0), (9, 10, 0, 1)] {
        let effects = scene.say(&covering(after, upto, left_out, count));
        assert!(matches!(effects.as_slice(), [Effect::Receive(_)]), "{effects:?}");
    }
    // Swallowed, sent twice, or sent before the one ahead of it: nothing of it is taken.
    for (after, upto) in [(11, 12), (9, 10), (5, 12)] {
        let mut scene = Scene::new(true, 0);
        scene.say(&covering(5, 10, 4, 1));
        let effects = scene.say(&covering(after, upto, 0, 1));
        assert_eq!(effects, []);
        let out_of_place = Misbehaviour::OutOfPlace { expected: 10, found: after };
        assert!(out_of_place.may_be_the_line());
        assert_eq!(scene.ended, Some(End::Misbehaved(out_of_place)));
    }
}

#[test]
fn what_does_not_add_up_is_kept_and_covers_nothing() {
    for (upto, left_out, count) in [(7, 0, 1), (7, 0, 3), (7, 3, 0), (7, u64::MAX, 3), (5, 0, 0), (4, 0, 0)] {
        let mut scene = Scene::new(true, 0);
        let effects = scene.say(&covering(5, upto, left_out, count));
        let [Effect::Receive(entries)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((entries.entries.len(), entries.covered()), (count, None));
        let what = Misbehaviour::DoesNotAddUp { entries: count, left_out, after: 5, upto };
        assert_eq!(scene.ended, Some(End::Misbehaved(what)));
    }
}

#[test]
fn what_was_postponed_is_offered_again_in_the_same_live_session() {
    let mut scene = Scene::new(true, 5);
    scene.say(&Frame::CaughtUp);
    assert_eq!(scene.answer(|n| if n < 3 { Outcome::Kept } else { later(Some(40_000)) }), [1, 2, 3, 4, 5]);
    scene.wait(39_999);
    assert_eq!(scene.pushed.len(), 0, "the relay said when");
    // One frame finds out that it still takes nothing; then the pauses grow.
    let mut pauses = Vec::new();
    let mut since = 0;
    while pauses.len() < 8 {
        scene.wait(1_000);
        since += 1;
        if !scene.pushed.is_empty() {
            assert_eq!(scene.answer(|_| later(None)), [3]);
            pauses.push(since);
            since = 0;
        }
    }
    assert_eq!(pauses, [1, 60, 120, 240, 480, 900, 900, 900]);
    // New words do not wait for it.
    scene.outbox.insert(6, EntryHash([6; 32]));
    scene.give(Input::OutboxGrew);
    assert_eq!(scene.answer(|_| later(None)), [6]);
    scene.wait(900_000);
    assert_eq!(scene.answer(|_| Outcome::Kept), [3, 4, 5, 6]);
    assert!(scene.outbox.is_empty());
    scene.wait(900_000);
    assert_eq!((scene.pushed.len(), scene.ended), (0, None));
}

#[test]
fn a_session_that_does_not_stay_leaves_what_was_postponed_to_the_next() {
    let mut scene = Scene::new(false, 2);
    scene.say(&Frame::CaughtUp);
    scene.answer(|_| later(Some(1_000)));
    assert_eq!((scene.outbox.len(), scene.ended), (2, Some(End::Done)));
}

fn carried(n: u8) -> Carried {
    let chunk = ChunkId(crate::base::hash::sha256(&[n; 9]).0);
    Carried { key: u64::from(n), chunk }
}

fn caught_up_with(live: bool, media: Load) -> Scene {
    let mut scene = Scene::new(live, 0);
    scene.media = media;
    scene.say(&Frame::CaughtUp);
    scene
}

#[test]
fn a_chunk_that_the_relay_has_is_not_sent_again() {
    let up: Vec<Carried> = (1..=3).map(carried).collect();
    let mut scene = caught_up_with(false, Load { up: up.clone(), down: Vec::new() });
    assert_eq!(scene.ended, None, "photos are on their way");
    let wanted = Frame::WantedChunks(ChunkNames { chunks: vec![up[1].chunk] });
    assert_eq!(scene.say(&wanted), [Effect::ChunksKept(vec![1, 3])]);
    scene.media.up.clear();
    let ack = |chunk| Frame::ChunkAck(ChunkAck { chunk, outcome: Outcome::Kept });
    assert_eq!(scene.say(&ack(up[1].chunk)), [Effect::ChunksKept(vec![2])]);
    assert_eq!(scene.ended, Some(End::Done));
}

/// What the relay cannot place, as the words are not there, keeps no other photo from going.
#[test]
fn a_chunk_whose_entry_is_not_there_holds_up_no_other() {
    for (refusal, kept) in [(Refusal::GAP, 1), (Refusal::QUOTA, 0)] {
        let up: Vec<Carried> = (1..=6).map(carried).collect();
        let mut scene = caught_up_with(false, Load { up: up.clone(), down: Vec::new() });
        scene.media.up.clear();
        scene.say(&Frame::WantedChunks(ChunkNames { chunks: up.iter().map(|row| row.chunk).collect() }));
        // Four are under way; the sixth has not been read.
        for row in &up[..4] {
            scene.say(&Frame::ChunkAck(ChunkAck::refused(row.chunk, Refused::new(refusal, "no"))));
        }
        let ack = Frame::ChunkAck(ChunkAck { chunk: up[5].chunk, outcome: Outcome::Kept });
        let effects = scene.say(&ack);
        assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::ChunksKept(_))).count(), kept);
    }
}

#[test]
fn a_chunk_that_is_not_what_its_name_says_ends_the_session() {
    let mut scene = caught_up_with(false, Load { up: Vec::new(), down: vec![carried(1), carried(2)] });
    let frame = |n: u8, bytes: Vec<u8>| {
        Frame::Chunk(Chunk { chunk: carried(n).chunk, ciphertext: Some(ByteVec::from(bytes)) })
    };
    let kept = Effect::KeepChunk { key: 1, chunk: carried(1).chunk, ciphertext: vec![1; 9] };
    assert_eq!(scene.say(&frame(1, vec![1; 9])), [kept]);
    scene.say(&frame(2, vec![1; 9]));
    assert!(matches!(scene.ended, Some(End::Misbehaved(Misbehaviour::NotGenuine(_)))), "{:?}", scene.ended);
}

/// Two documents may name one chunk, and somebody may have meant harm by it.
#[test]
fn a_chunk_that_two_documents_name_is_carried_once_at_a_time() {
    let twice = || vec![carried(1), Carried { key: 9, ..carried(1) }, carried(2)];
    let mut scene = caught_up_with(false, Load { up: Vec::new(), down: twice() });
    scene.media.down.clear();
    for n in [1, 2] {
        let came =
            Frame::Chunk(Chunk { chunk: carried(n).chunk, ciphertext: Some(ByteVec::from(vec![n; 9])) });
        let kept = Effect::KeepChunk { key: n.into(), chunk: carried(n).chunk, ciphertext: vec![n; 9] };
        assert_eq!(scene.say(&came), [kept]);
    }
    assert_eq!(scene.ended, Some(End::Done));

    let mut scene = caught_up_with(false, Load { up: twice(), down: Vec::new() });
    scene.media.up.clear();
    scene.say(&Frame::WantedChunks(ChunkNames { chunks: twice().iter().map(|row| row.chunk).collect() }));
    for n in [1, 2] {
        let ack = Frame::ChunkAck(ChunkAck { chunk: carried(n).chunk, outcome: Outcome::Kept });
        assert_eq!(scene.say(&ack), [Effect::ChunksKept(vec![n.into()])]);
    }
    assert_eq!(scene.ended, Some(End::Done));
}

#[test]
fn a_chunk_that_is_not_there_yet_is_asked_for_again_by_who_stays() {
    let down = vec![carried(1)];
    let absent = Frame::Chunk(Chunk { chunk: carried(1).chunk, ciphertext: None });
    let mut once = caught_up_with(false, Load { up: Vec::new(), down: down.clone() });
    once.say(&absent);
    assert_eq!(once.ended, Some(End::Done));
    let mut live = caught_up_with(true, Load { up: Vec::new(), down });
    live.say(&absent);
    let out_of_turn = live.session.handle(Input::Tick, RETRY_MS.0 - 1);
    assert!(out_of_turn.is_empty(), "{out_of_turn:?}");
    live.now_ms = RETRY_MS.0;
    live.give(Input::Tick);
    let came = Frame::Chunk(Chunk { chunk: carried(1).chunk, ciphertext: Some(ByteVec::from(vec![1; 9])) });
    assert!(matches!(live.say(&came).as_slice(), [Effect::KeepChunk { .. }]));
}
