//! A device that no roll names yet, and that shows the certificate of a member's key: it is served the roll, and nothing else.

use lamppost_core::base::MailboxId;
use lamppost_core::entry::Kind;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Hello, Outcome, Push, Refusal, Standing};
use lamppost_core::sync::mailbox::{Knock, OpenMailbox, Word};
use lamppost_server::{Input, Relay};
use minicbor::bytes::ByteVec;

use crate::fixture::*;
use crate::sessions::{Rig, proof_by, pull};

/// A session of this person, who shows these bytes as their certificate.
fn showing<'a>(relay: &'a Relay, world: &World, person: &Person, certificate: Vec<u8>) -> Rig<'a> {
    let mut rig = Rig::new(relay);
    let proof = proof_by(relay.id(), world.id, &person.key, |_| {});
    rig.say(&Frame::Hello(Hello { proof, certificate: Some(ByteVec::from(certificate)) }));
    rig
}

fn coming<'a>(relay: &'a Relay, world: &World, person: &Person) -> Rig<'a> {
    showing(relay, world, person, person.certificate(world.id))
}

/// How the relay sees who has just come; the refusal if it wants to hear no more.
fn standing(rig: &Rig<'_>) -> Result<Standing, Refusal> {
    match rig.sent.last() {
        Some(Frame::Welcome(welcome)) => Ok(welcome.standing),
        _ => Err(rig.goodbye().unwrap()),
    }
}

#[test]
fn a_members_new_device_fetches_the_roll_and_nothing_else_until_it_has_entered_itself() {
    let (mut world, mut volunteer, relay) = village();
    let words = world.words(&mut volunteer, GROUP, b"for the group");
    commit(&relay, push(&world, &volunteer, &words));
    let mut new = volunteer.on_another_device(40);
    let mut rig = coming(&relay, &world, &new);
    assert_eq!(standing(&rig), Ok(Standing::Certified));
    assert!(matches!(rig.sent.last(), Some(Frame::Welcome(w)) if w.checkpoint.is_none() && w.own.is_empty()));
    let mut asking = coming(&relay, &world, &new);
    asking.say(&Frame::AskHeads);
    assert_eq!(
        asking.goodbye(),
        Some(Refusal::UNKNOWN_DEVICE),
        "it pulls the roll, and asks for nothing else"
    );
    rig.say(&pull(&[(ROLL, 0), (COMMON, 0), (GROUP, 0), (COORDINATORS, 0)], true));
    assert_eq!(rig.sent.last(), Some(&Frame::CaughtUp));
    let served = rig.sent.iter().filter_map(|frame| match frame {
        Frame::Entries(entries) => Some((entries.compartment, entries.upto)),
        _ => None,
    });
    assert_eq!(served.collect::<Vec<_>>(), [(ROLL, 2)]);
    // What comes later it gets of the roll alone, too.
    let admitted = world.admit(&Person::new(5), VOLUNTEER);
    let more = [vec![admitted], world.founder_words(GROUP, b"more")].concat();
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &more))));
    rig.give(Input::Grown);
    assert!(matches!(rig.sent.last(), Some(Frame::Entries(e)) if (e.compartment, e.upto) == (ROLL, 3)));
    // Mailboxes are as closed to it as to anybody, and words are not taken from it.
    let (mailbox, sealed) = (MailboxId([6; 16]), ByteVec::from(vec![1; 40]));
    rig.say(&Frame::OpenMailbox(OpenMailbox { mailbox, expires_ms: NOW_MS + 1_000 }));
    let Some(Frame::Settled(settled)) = rig.sent.last() else { panic!("{:?}", rig.sent) };
    assert!(matches!(&settled.outcome, Outcome::Refused(why) if why.refusal == Refusal::UNKNOWN_DEVICE));
    rig.say(&Frame::Knock(Knock { mailbox, sealed }));
    assert!(matches!(rig.sent.last(), Some(Frame::Letter(letter)) if matches!(letter.word, Word::Closed(_))));
    let early = world.words(&mut new.clone(), GROUP, b"too early");
    rig.say(&Frame::Push(Push { number: 1, entries: wires(&early) }));
    rig.commit();
    let Some(Frame::Ack(ack)) = rig.sent.last() else { panic!("{:?}", rig.sent) };
    assert!(ack.outcomes.iter().all(|outcome| *outcome != Outcome::Kept), "{ack:?}");
    // Its certificate in the roll is what makes it belong.
    let (heads, certificate) = (world.roll_heads(), new.certificate(world.id));
    let entered = new.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate);
    rig.say(&Frame::Push(Push { number: 2, entries: wires(&[entered]) }));
    rig.commit();
    assert_eq!(standing(&coming(&relay, &world, &new)), Ok(Standing::Belongs));
}

#[test]
fn a_certificate_that_is_no_members_opens_nothing_and_a_wrong_one_ends_the_session() {
    let (world, volunteer, relay) = village();
    let (new, stranger) = (volunteer.on_another_device(40), Person::new(9));
    let mut rig = coming(&relay, &world, &stranger);
    assert_eq!(standing(&rig), Ok(Standing::UnknownDevice));
    rig.say(&pull(&[(ROLL, 0)], false));
    assert_eq!(rig.goodbye(), Some(Refusal::UNKNOWN_DEVICE));
    assert_eq!(standing(&coming(&relay, &World::new(8), &new)), Ok(Standing::UnknownGroup));
    // Somebody else's certificate, one with a bent signature, and something else.
    let mut bent = new.certificate(world.id);
    *bent.last_mut().unwrap() ^= 1;
    for (shown, why) in [
        (new.certificate(world.id), Refusal::SIGNATURE),
        (bent, Refusal::SIGNATURE),
        (stranger.certificate(World::new(8).id), Refusal::SIGNATURE),
        (vec![1, 2, 3], Refusal::SIGNATURE),
    ] {
        assert_eq!(standing(&showing(&relay, &world, &stranger, shown)), Err(why));
    }
}

#[test]
fn who_was_taken_out_or_holds_a_key_that_was_replaced_is_told_so_at_once() {
    let (mut world, volunteer, relay) = village();
    let (new, recovered) = (volunteer.on_another_device(40), Person::new(41));
    let found = world.recover(&volunteer, &recovered);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[found]))));
    assert_eq!(standing(&coming(&relay, &world, &volunteer)), Err(Refusal::REMOVED));
    let rig = coming(&relay, &world, &new);
    assert_eq!(standing(&rig), Err(Refusal::UNKNOWN_DEVICE));
    assert!(matches!(rig.sent.last(), Some(Frame::Goodbye(why)) if why.reason.contains("new key")));
    // By the new key another device may come, until the member is taken out.
    let another = recovered.on_another_device(42);
    assert_eq!(standing(&coming(&relay, &world, &another)), Ok(Standing::Certified));
    let mut live = coming(&relay, &world, &another);
    live.say(&pull(&[(ROLL, 0)], true));
    let removal = world.remove(&volunteer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal]))));
    live.give(Input::Grown);
    assert_eq!(live.goodbye(), Some(Refusal::REMOVED));
    assert_eq!(standing(&coming(&relay, &world, &another)), Err(Refusal::REMOVED));
    // Without a certificate nothing is said that was not said before.
    let mut silent = Rig::new(&relay);
    let proof = proof_by(relay.id(), world.id, &another.key, |_| {});
    silent.say(&Frame::Hello(Hello { proof, certificate: None }));
    assert_eq!(standing(&silent), Ok(Standing::UnknownDevice));
}

#[test]
fn one_who_waits_is_welcomed_again_when_the_roll_names_it_and_not_before() {
    let (mut world, volunteer, relay) = village();
    let newcomer = Person::new(5);
    let mut waiting = coming(&relay, &world, &newcomer);
    assert_eq!(standing(&waiting), Ok(Standing::UnknownDevice));
    let mut silent = Rig::new(&relay);
    let proof = proof_by(relay.id(), world.id, &newcomer.key, |_| {});
    silent.say(&Frame::Hello(Hello { proof, certificate: None }));
    let other = world.admit(&Person::new(6), VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[other]))));
    let before = waiting.sent.len();
    waiting.give(Input::Grown);
    assert_eq!(waiting.sent.len(), before, "it was not about it");
    let admitted = world.admit(&newcomer, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admitted]))));
    for _ in 0..3 {
        waiting.give(Input::Grown);
    }
    assert_eq!(standing(&waiting), Ok(Standing::Belongs));
    assert_eq!(waiting.sent.len(), before + 1, "and is told once");
    silent.give(Input::Grown);
    assert!(matches!(silent.sent.last(), Some(Frame::Welcome(w)) if w.standing == Standing::UnknownDevice));
    // One that may fetch the roll is told nothing of the kind: it may have begun to pull.
    let new = volunteer.on_another_device(40);
    let mut certified = coming(&relay, &world, &new);
    let before = certified.sent.len();
    let entered = world.admit(&new, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[entered]))));
    assert_eq!(standing(&coming(&relay, &world, &new)), Ok(Standing::Belongs));
    certified.give(Input::Grown);
    assert_eq!(certified.sent.len(), before);
}
