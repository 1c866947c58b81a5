//! Who learns what: that somebody has written is told to those who may read it, and how much has arrived to those who
//! belong.

use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::base::hash::sha256;
use lamppost_core::base::{CompartmentId, EntryHash, cbor};
use lamppost_core::entry::header::{SUITE, VERSION};
use lamppost_core::entry::{Header, Kind, LogId, Wire};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{AskConsistency, LogHeight, Outcome, Push, Refusal, Standing, Welcome};
use lamppost_server::{Input, Relay};
use minicbor::bytes::ByteVec;

use crate::fixture::*;
use crate::sessions::Rig;

/// A volunteer who has written for the group and for the coordinators, and a partner who reads neither.
fn town() -> (World, Person, Person, Relay) {
    let (mut world, mut volunteer, relay) = village();
    let mut partner = Person::new(5);
    let admitted = world.admit(&partner, PARTNER);
    let common = world.founder_words(COMMON, b"for all");
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[vec![admitted], common].concat()))));
    let report = world.words(&mut volunteer, GROUP, b"a report");
    let complaint = world.words(&mut volunteer, COORDINATORS, b"a complaint");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &[report, complaint].concat()))));
    let referral = world.words(&mut partner, COORDINATORS, b"a referral");
    assert!(all_kept(&commit(&relay, push(&world, &partner, &referral))));
    (world, volunteer, partner, relay)
}

fn heads(relay: &Relay, world: &World, person: &Person) -> Option<Vec<LogHeight>> {
    let mut rig = Rig::open(relay, world, person);
    rig.say(&Frame::AskHeads);
    match rig.sent.last() {
        Some(Frame::Heads(heads)) => Some(heads.logs.clone()),
        _ => {
            assert!(rig.goodbye().is_some_and(Refusal::is_of_an_outsider));
            None
        }
    }
}

/// Compartments and authors of the logs that somebody is told of.
fn told(relay: &Relay, world: &World, person: &Person) -> Vec<LogId> {
    heads(relay, world, person).unwrap().into_iter().map(|height| height.log).collect()
}

fn welcome(relay: &Relay, world: &World, person: &Person) -> Welcome {
    let rig = Rig::open(relay, world, person);
    let Some(Frame::Welcome(welcome)) = rig.sent.last() else { panic!("{:?}", rig.sent) };
    welcome.clone()
}

#[test]
fn heads_are_told_of_what_the_asker_may_read_and_of_its_own_logs() {
    let (mut world, volunteer, partner, relay) = town();
    let log = |compartment, person: &Person| LogId { compartment, device: person.device() };
    let founder = world.founder.clone();
    let sorted = |mut logs: Vec<LogId>| {
        logs.sort_unstable();
        logs
    };
    let partners = vec![log(ROLL, &founder), log(COMMON, &founder), log(COORDINATORS, &partner)];
    assert_eq!(told(&relay, &world, &partner), partners);
    let volunteers =
        [log(ROLL, &founder), log(COMMON, &founder), log(GROUP, &volunteer), log(COORDINATORS, &volunteer)];
    assert_eq!(told(&relay, &world, &volunteer), volunteers);
    let everything = [
        log(ROLL, &founder),
        log(COMMON, &founder),
        log(GROUP, &volunteer),
        log(COORDINATORS, &volunteer),
        log(COORDINATORS, &partner),
    ];
    assert_eq!(told(&relay, &world, &founder), sorted(everything.to_vec()));

    // Asked after each write, the partner sees nothing of what the volunteer writes.
    let before = heads(&relay, &world, &partner);
    let mut author = volunteer.clone();
    for compartment in [GROUP, COORDINATORS, GROUP] {
        let words = world.words(&mut author, compartment, b"once more");
        assert!(all_kept(&commit(&relay, push(&world, &author, &words))));
        assert_eq!(heads(&relay, &world, &partner), before);
    }
    // By the newest role, as the relay has heard it.
    let demoted = world.admit(&volunteer, PARTNER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[demoted]))));
    let own =
        [log(ROLL, &founder), log(COMMON, &founder), log(GROUP, &volunteer), log(COORDINATORS, &volunteer)];
    assert_eq!(told(&relay, &world, &author), own, "what it wrote itself it is told of");
    let other = world.founder_words(GROUP, b"not for partners");
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &other))));
    assert_eq!(told(&relay, &world, &author), own);
}

#[test]
fn who_does_not_belong_is_told_neither_heads_nor_how_much_has_arrived() {
    let (mut world, volunteer, _, relay) = town();
    let stranger = Person::new(9);
    let another = volunteer.on_another_device(40);
    let out = volunteer.clone();
    let taken_out = world.remove(&volunteer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[taken_out]))));
    for outside in [&stranger, &another, &out] {
        let welcome = welcome(&relay, &world, outside);
        assert_eq!((welcome.standing, welcome.checkpoint), (Standing::UnknownDevice, None));
        let own: Vec<CompartmentId> = welcome.own.iter().map(|own| own.compartment).collect();
        let had = if outside.device() == out.device() { vec![GROUP, COORDINATORS] } else { Vec::new() };
        assert_eq!(own, had, "its own words at the most");
        assert_eq!(heads(&relay, &world, outside), None);
        let mut rig = Rig::open(&relay, &world, outside);
        rig.say(&Frame::AskConsistency(AskConsistency { from: 1 }));
        assert!(rig.goodbye().is_some_and(Refusal::is_of_an_outsider), "{:?}", rig.sent.last());

        // Nor by a receipt: what it brings is kept if it is to be kept, and nothing is signed.
        let mut rig = Rig::open(&relay, &world, outside);
        rig.say(&Frame::Push(Push { number: 1, entries: wires(&world.roll) }));
        rig.commit();
        let Some(Frame::Ack(ack)) = rig.sent.last() else { panic!("{:?}", rig.sent) };
        assert!(ack.outcomes.iter().all(|outcome| *outcome == Outcome::Kept) && ack.receipt.is_none());
    }
    // Who is inside is told, and so is who brings what lets them in, and who brings their leave.
    assert!(welcome(&relay, &world, &world.founder).checkpoint.is_some());
    let newcomer = Person::new(10);
    let admitted = world.admit(&newcomer, VOLUNTEER);
    let answer = commit(&relay, push(&world, &newcomer, &[admitted]));
    assert!(all_kept(&answer) && answer.ack.receipt.is_some() && answer.belongs);
    let mut leaving = newcomer.clone();
    let (heads, certificate) = (world.roll_heads(), leaving.certificate(world.id));
    let leave = [
        leaving.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate),
        leaving.write(
            Some(world.id),
            ROLL,
            &heads,
            Kind::OPERATION,
            cbor::encode(&removal(leaving.member())),
        ),
    ];
    let answer = commit(&relay, push(&world, &leaving, &leave));
    assert!(all_kept(&answer) && answer.ack.receipt.is_some() && !answer.belongs, "{answer:?}");
}

/// An acknowledgement without a receipt is nothing for a phone that believes that it belongs.
#[test]
fn a_push_that_crosses_with_the_removal_of_who_pushes_is_answered_by_goodbye() {
    let (mut world, volunteer, _, relay) = town();
    let mut rig = Rig::open(&relay, &world, &volunteer);
    rig.say(&Frame::Push(Push { number: 1, entries: wires(&world.roll[..1]) }));
    let removal = world.remove(&volunteer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal]))));
    rig.commit();
    assert_eq!(rig.goodbye(), Some(Refusal::REMOVED));
    assert!(!rig.sent.iter().any(|frame| matches!(frame, Frame::Ack(_))));
    rig.give(Input::Tick);
}

/// An entry that names somebody else's device, at any place, with a signature of the forger's.
fn invented(world: &World, forger: &Person, log: LogId, seq: u64, heads: &[EntryHash]) -> Wire {
    let body = b"invented".to_vec();
    let header = Header {
        version: VERSION,
        suite: SUITE,
        group: Some(world.id),
        compartment: log.compartment,
        device: log.device,
        seq,
        previous: (seq > 0).then_some(EntryHash([8; 32])),
        kind: if seq == 0 { Kind::CERTIFICATE } else { WORDS },
        epoch: None,
        body_hash: sha256(&body),
        body_bytes: body.len().try_into().unwrap(),
        commitment: None,
        claimed_ms: NOW_MS,
        expiry_day: None,
        roll_heads: heads.to_vec(),
        checkpoint: None,
    };
    let signed = ByteVec::from(cose::sign(&forger.key, Purpose::Entry, cbor::encode(&header)));
    Wire { signed, body: Some(ByteVec::from(body)) }
}

/// Whatever stands at a place, an invention for it is answered alike: otherwise a dozen pushes would tell how much
/// somebody has written where the pusher reads nothing.
#[test]
fn inventions_do_not_feel_their_way_along_a_log() {
    let (world, mut volunteer, partner, relay) = town();
    for _ in 0..3 {
        let words = world.words(&mut volunteer, COORDINATORS, b"and another");
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
    }
    let (stranger, device) = (Person::new(9), volunteer.device());
    let founder = world.founder.device();
    // The log's head is at 4: in front of it, at it, behind it, and far behind.
    for (pusher, log) in [
        (&partner, LogId { compartment: COORDINATORS, device }),
        (&partner, LogId { compartment: GROUP, device }),
        (&volunteer, LogId { compartment: COORDINATORS, device: partner.device() }),
        (&stranger, LogId { compartment: ROLL, device: founder }),
        (&stranger, LogId { compartment: COORDINATORS, device }),
    ] {
        for heads in [world.roll_heads(), vec![EntryHash([7; 32])]] {
            let entries: Vec<Wire> =
                (0..9).map(|seq| invented(&world, &stranger, log, seq, &heads)).collect();
            let mut answers = Vec::new();
            for (seq, entry) in entries.into_iter().enumerate() {
                let mut rig = Rig::open(&relay, &world, pusher);
                rig.say(&Frame::Push(Push { number: 1, entries: vec![entry] }));
                rig.commit();
                // A stranger who forges hears a goodbye behind it.
                let mut acks = rig.sent.iter().filter_map(|frame| match frame {
                    Frame::Ack(ack) => Some(ack),
                    _ => None,
                });
                let ack = acks.next_back().unwrap_or_else(|| panic!("{:?}", rig.sent));
                let Outcome::Refused(why) = &ack.outcomes[0] else { panic!("an invention was kept") };
                let reason = why.reason.replace(&format!("entry {seq} "), "entry n ");
                answers.push((why.refusal, reason));
            }
            answers.dedup();
            assert_eq!(answers.len(), 1, "{log:?}: {answers:?}");
        }
    }
}
