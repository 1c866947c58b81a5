//! What a newcomer meets: links, what lies in a mailbox, and a relay's words to `sync::knock::Session`, honest or not.
//!
//! A link has one form and one kind. A knock opens for the coordinators exactly if it was made with the invitation. What it
//! reveals is taken exactly if it is what was committed to and countersigned. The code on a newcomer's screen, once there,
//! never changes. A session ends once, and the phone joins by what the town's roll says or not at all.

use std::collections::VecDeque;

use lamppost_core::base::cose::Unverified;
use lamppost_core::base::{CompartmentId, GroupId, Hash, Incarnation, RelayId, RoleId, cbor};
use lamppost_core::entry::countersignature::Countersignature;
use lamppost_core::entry::invitation::InvitationSecret;
use lamppost_core::entry::knock::{Knock, Opening, Reveal, open_answer, seal_answer, seal_countersignature};
use lamppost_core::entry::{Certificate, Scope, Wire};
use lamppost_core::replica::{
    CodeLanguage, Engine, Error, GroupLink, Invitation, JoinRequest, Joining, LinkKind,
};
use lamppost_core::storage::MemoryStore;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Challenge, Entries, Proof, Refusal, Refused, Standing, Welcome};
use lamppost_core::sync::knock::{Effect, Input, Session};
use lamppost_core::sync::mailbox::{Letter, Word};
use lamppost_core::sync::session::Budget;
use minicbor::bytes::ByteVec;

use crate::tape::Tape;
use crate::town::{self, COORDINATOR, Keys, NEWCOMER, NOW_MS, VOLUNTEER, town};

const SECRET: InvitationSecret = InvitationSecret([9; 16]);

/// First byte: a link, a knock, an answer, or a session, and which of the kinds that there are of it.
pub fn joining(data: &[u8]) {
    let mut tape = Tape::new(data);
    let first = usize::from(tape.u8());
    let kind = first / 5 % 3;
    match first % 5 {
        0 => link(&String::from_utf8_lossy(tape.rest())),
        1 => {
            let certificate = Keys::of(NEWCOMER).certificate().as_bytes().to_vec();
            let uri = match kind {
                0 => invitation().to_uri(),
                1 => group_link().to_uri(),
                _ => JoinRequest::from_bytes(certificate).to_uri().expect("it is genuine"),
            };
            let mut uri = uri.into_bytes();
            tape.bend(&mut uri);
            link(&String::from_utf8_lossy(&uri));
        }
        2 => knock(&mut tape),
        3 => {
            let reason = tape.text();
            let mut sealed = seal_answer(&SECRET, town().group, [3; 16], &reason);
            if tape.once_in(2) {
                let before = sealed.clone();
                tape.bend(&mut sealed);
                assert!(before == sealed || open_answer(&SECRET, town().group, &sealed).is_err());
            } else {
                let read = open_answer(&SECRET, town().group, &sealed).expect("what was sealed opens");
                assert!(reason.starts_with(&read));
            }
        }
        _ => door(&mut tape, kind),
    }
}

fn scope() -> Scope {
    Scope::group(town().group)
}

fn group_link() -> GroupLink {
    let Invitation { relay_url, group, .. } = invitation();
    GroupLink { relay_url, group }
}

fn invitation() -> Invitation {
    Invitation {
        relay_url: "wss://relay.example.org/v1/session".to_owned(),
        group: town().group,
        role: RoleId(2),
        secret: SECRET,
        expires_s: NOW_MS / 1_000 + 3_600,
    }
}

fn link(text: &str) {
    let written = [
        Invitation::parse(text).map(|read| (read.to_uri(), read.to_qr())),
        GroupLink::parse(text).map(|read| (read.to_uri(), read.to_qr())),
        JoinRequest::parse(text, town().group).map(|read| {
            assert!(Certificate::verify(read.as_bytes(), scope()).is_ok(), "what is read is genuine");
            (read.to_uri().expect("it is genuine"), read.to_qr().expect("it is genuine"))
        }),
    ];
    let kinds = [LinkKind::Invitation, LinkKind::Group, LinkKind::Request];
    for (written, kind) in written.into_iter().zip(kinds) {
        let Ok((uri, qr)) = written else { continue };
        assert_eq!(uri, text.trim().to_lowercase(), "one thing, one link");
        assert_eq!(qr, uri.to_uppercase());
        assert_eq!(LinkKind::of(text), Ok(kind));
    }
}

/// What two phones say to each other until there is a code, with anything exchanged on the way.
fn knock(tape: &mut Tape<'_>) {
    let mut certificate = Keys::of(3 + tape.below(6) as u64).certificate().as_bytes().to_vec();
    if tape.once_in(3) {
        tape.bend(&mut certificate);
    }
    let genuine = Certificate::verify(&certificate, scope()).is_ok();
    let (group, mailbox) = (town().group, SECRET.mailbox(town().group));
    let relay = RelayId(tape.bytes32());
    let opening = Opening { certificate: ByteVec::from(certificate), relay, nonce: tape.bytes32() };
    let commitment = opening.commitment(group, mailbox);
    let coordinator = Keys::of(COORDINATOR);
    let signed = Countersignature::sign(&coordinator.device, group, mailbox, commitment, tape.bytes32());
    let mut countersignature = signed.as_bytes().to_vec();
    if tape.once_in(4) {
        tape.bend(&mut countersignature);
    }
    let mut reveal = Reveal { opening, countersignature: ByteVec::from(countersignature) };
    match tape.below(8) {
        0 => reveal.opening.nonce = tape.bytes32(),
        1 => reveal.opening.relay = RelayId(tape.bytes32()),
        _ => {}
    }
    let is_whole = reveal.opening.commitment(group, mailbox) == commitment
        && reveal.countersignature.as_slice() == signed.as_bytes();
    let checked = reveal.check(&SECRET, group);
    assert_eq!(checked.is_ok(), is_whole && genuine, "{checked:?}");
    if let Ok(revealed) = checked {
        assert_eq!((revealed.commitment, revealed.relay), (commitment, relay));
        assert_eq!((revealed.countersigner, revealed.code.len()), (coordinator.device_id(), 14));
    }

    let sealed_for = if tape.once_in(8) { GroupId(tape.bytes32()) } else { group };
    let knock = if tape.once_in(2) { Knock::Commitment(commitment) } else { Knock::Reveal(reveal) };
    let mut sealed = knock.seal(&SECRET, sealed_for, [5; 16]);
    let before = sealed.clone();
    if tape.once_in(3) {
        tape.bend(&mut sealed);
    }
    let intact = sealed == before && sealed_for == group;
    assert_eq!(Knock::open(&SECRET, group, &sealed).ok(), Some(knock).filter(|_| intact));
}

/// A newcomer's phone in front of a relay that says what the program says: with an invitation, with a group's link, or with
/// that and the words of a member.
fn door(tape: &mut Tape<'_>, kind: usize) {
    let store = MemoryStore::new();
    let mut engine = town::engine(NEWCOMER, &store);
    if kind == 0 {
        engine.ask_to_join(&invitation()).expect("it is fresh");
    } else {
        engine.join_by_link(&group_link()).expect("it is free");
    }
    if kind == 2 {
        let volunteer = town::engine(VOLUNTEER, &MemoryStore::new());
        let code = volunteer.recovery_code(CodeLanguage::English).expect("its key is there");
        engine.use_recovery_code(code.words()).expect("they are its words");
    }
    let wait = tape.once_in(2);
    let budget = if tape.once_in(4) {
        Budget { span_ms: Some(tape.number(1_000)), bytes: Some(tape.number(90_000)) }
    } else {
        Budget::UNLIMITED
    };
    let (_, plan) = engine.knock_plan(wait, budget).expect("it was kept");
    let mut session = Session::new(plan);
    let (mut now_ms, mut ended) = (0_u64, false);
    let (mut last, mut code) = (None, None);
    for _ in 0..40 {
        if tape.is_over() {
            break;
        }
        let input = match tape.below(12) {
            0 => Input::Heard,
            1 => {
                now_ms = now_ms.saturating_add(tape.number(60_000) % 200_000);
                Input::Tick
            }
            2 => Input::Message(tape.blob(300).to_vec()),
            3 => {
                let (proof, more) = (tape.blob(64).to_vec(), Some(tape.blob(64).to_vec()));
                let (knock, certificate) = if kind == 0 { (more, None) } else { (None, more) };
                Input::Proven { proof, knock, certificate }
            }
            4 => {
                let mut bytes = word(tape).to_bytes();
                tape.bend(&mut bytes);
                Input::Message(bytes)
            }
            5 => Input::Message(countersigned(tape, last.as_deref()).to_bytes()),
            _ => Input::Message(word(tape).to_bytes()),
        };
        ended |= give(&mut engine, &mut session, input, now_ms, ended, &mut last);
        let shown = code_of(&mut engine);
        assert!(code.is_none() || shown.is_none() || code == shown, "a code does not change");
        code = shown.or(code);
    }
    let how = engine.joining().expect("the store works").expect("it was kept");
    if matches!(how, Joining::Done(_)) {
        assert_eq!(engine.group_id(), Some(town().group));
        let member = if kind == 2 { VOLUNTEER } else { NEWCOMER };
        assert_eq!(engine.member_id(), Keys::of(member).member_id());
    }
    assert_eq!(town::engine(NEWCOMER, &store).joining().unwrap(), Some(how), "it is on the disk");
}

/// The code on the newcomer's screen.
fn code_of(engine: &mut Engine) -> Option<String> {
    match engine.joining().expect("the store works") {
        Some(Joining::Waiting { code, .. }) => code,
        _ => None,
    }
}

/// Gives the session an input and whatever follows from it. `last` is the last knock. True if it has ended by that.
fn give(
    engine: &mut Engine,
    session: &mut Session,
    input: Input,
    now_ms: u64,
    ended: bool,
    last: &mut Option<Vec<u8>>,
) -> bool {
    let mut effects = VecDeque::from(session.handle(input, now_ms));
    assert!(!ended || effects.is_empty(), "nothing comes after the end");
    while let Some(effect) = effects.pop_front() {
        match effect {
            Effect::Send(bytes) => {
                let frame = Frame::from_bytes(&bytes).expect("a phone sends frames");
                match frame {
                    Frame::Hello(_) | Frame::Knock(_) => {}
                    Frame::Pull(pull) => {
                        assert!(!pull.live);
                        assert!(pull.cursors.iter().all(|cursor| cursor.compartment == CompartmentId::ROLL));
                    }
                    other => panic!("a newcomer does not say {other:?}"),
                }
            }
            Effect::Prove { payload, relay } => {
                let proven = engine.prove_and_knock(payload, relay).expect("it was kept");
                let Input::Proven { proof, knock, certificate } = &proven else { panic!("{proven:?}") };
                let device = engine.device_id();
                let proof = Unverified::parse(proof).expect("it is signed");
                let claims: Proof = cbor::decode(proof.payload()).expect("a proof");
                assert_eq!((claims.device, claims.verify(&proof)), (device, Ok(())));
                match (knock, certificate) {
                    (Some(knock), None) => {
                        let opened = Knock::open(&SECRET, town().group, knock).expect("it opens");
                        if let Knock::Reveal(reveal) = opened {
                            assert_eq!(reveal.opening.relay, relay, "there is one relay here");
                        }
                        *last = Some(knock.clone());
                    }
                    (None, Some(certificate)) => {
                        let certificate = Certificate::verify(certificate, scope()).expect("it is genuine");
                        assert_eq!(certificate.claims().device, device);
                    }
                    other => panic!("a newcomer shows one of the two: {other:?}"),
                }
                effects.extend(session.handle(proven, now_ms));
            }
            Effect::Reveal(sealed) => {
                let knock = engine.reveal(&sealed).expect("it was kept");
                *last = knock.clone().or(last.take());
                effects.extend(session.handle(Input::Revealed(knock), now_ms));
            }
            Effect::Keep(word) => engine.keep_word(&word).expect("it was kept"),
            Effect::Outside(standing) => engine.keep_outside(standing).expect("it was kept"),
            Effect::Join(relay, roll) => match engine.join_invited(relay, roll) {
                Ok(info) => assert_eq!(info.group, town().group),
                Err(Error::Admission(_) | Error::Unreadable { .. }) => assert_eq!(engine.group_id(), None),
                Err(why) => panic!("joining fails for the roll's sake alone: {why}"),
            },
            Effect::End(_) => {
                assert!(effects.is_empty(), "the end is last");
                return true;
            }
        }
    }
    false
}

/// A countersignature of the last knock if that was the first, by a coordinator's device or anybody's who holds the link, or of
/// something else.
fn countersigned(tape: &mut Tape<'_>, last: Option<&[u8]>) -> Frame {
    let (group, mailbox) = (town().group, invitation().mailbox());
    let first = last.and_then(|knock| Knock::open(&SECRET, group, knock).ok());
    let commitment = match first {
        Some(Knock::Commitment(commitment)) if !tape.once_in(8) => commitment,
        _ => Hash(tape.bytes32()),
    };
    let key = Keys::of(1 + tape.below(8) as u64).device;
    let signed = Countersignature::sign(&key, group, mailbox, commitment, tape.bytes32());
    let mut sealed = seal_countersignature(&SECRET, group, [3; 16], &signed);
    if tape.once_in(8) {
        tape.bend(&mut sealed);
        sealed.truncate(1_024);
    }
    Frame::Letter(Letter { mailbox, word: Word::Countersigned(ByteVec::from(sealed)) })
}

/// A frame that a relay may say, true or not.
fn word(tape: &mut Tape<'_>) -> Frame {
    let mailbox = invitation().mailbox();
    match tape.below(10) {
        0 | 1 => Frame::Challenge(Challenge {
            version: if tape.once_in(8) { tape.u8() } else { 1 },
            nonce: tape.bytes32(),
            relay: RelayId([4; 32]),
            incarnation: Incarnation([5; 16]),
        }),
        2 | 3 => {
            let standing =
                [Standing::UnknownGroup, Standing::UnknownDevice, Standing::Belongs, Standing::Certified];
            let standing = standing[tape.below(4)];
            Frame::Welcome(Welcome { relay_ms: NOW_MS, standing, checkpoint: None, own: Vec::new() })
        }
        4 => Frame::Letter(Letter { mailbox, word: Word::Waiting }),
        5 => Frame::Letter(Letter { mailbox, word: Word::Admitted }),
        6 => {
            let mut sealed = seal_answer(&SECRET, town().group, [3; 16], "no");
            if tape.once_in(3) {
                tape.bend(&mut sealed);
                sealed.truncate(1_024);
            }
            let refused = Refused::new(Refusal(tape.u8() % 20), tape.text());
            let closed = tape.once_in(2);
            let word = if closed { Word::Closed(refused) } else { Word::Refused(ByteVec::from(sealed)) };
            Frame::Letter(Letter { mailbox, word })
        }
        7 | 8 => {
            let mut roll: Vec<Wire> = town().admission.roll.clone();
            match tape.below(6) {
                0 => roll.truncate(tape.below(roll.len())),
                1 => roll.reverse(),
                2 => {
                    let at = tape.below(roll.len());
                    tape.bend(&mut roll[at].signed);
                }
                _ => {}
            }
            let compartment = CompartmentId(if tape.once_in(8) { 2 } else { 0 });
            let (after, left_out) = (tape.below(4) as u64, tape.below(2) as u64);
            let upto = if tape.once_in(4) { tape.number(3) } else { after + left_out + roll.len() as u64 };
            Frame::Entries(Entries { compartment, entries: roll, upto, after, left_out })
        }
        _ if tape.once_in(6) => Frame::Goodbye(Refused::new(Refusal::UNKNOWN_DEVICE, "who is that?")),
        _ => Frame::CaughtUp,
    }
}
