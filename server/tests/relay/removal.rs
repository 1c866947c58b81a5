//! What becomes of somebody who was taken out, at the relay.

use std::collections::BTreeMap;

use lamppost_core::base::cbor;
use lamppost_core::entry::{Kind, Received};
use lamppost_core::sync::frame::Refusal;
use lamppost_server::{Query, Relay, Reply};

use crate::fixture::*;

fn take_out(world: &mut World, relay: &Relay, person: &Person) {
    let removal = world.remove(person);
    assert!(all_kept(&commit(relay, push(world, &world.founder, &[removal]))));
}

#[test]
fn nothing_is_taken_from_a_device_that_was_removed_and_it_is_told_so() {
    let (mut world, mut volunteer, relay) = village();
    let before = world.words(&mut volunteer, GROUP, b"before");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &before))));
    // Words that cite what came before the removal, and words that know of it.
    let unaware = world.words(&mut volunteer, GROUP, b"unaware");
    take_out(&mut world, &relay, &volunteer);
    let answer = commit(&relay, push(&world, &volunteer, &unaware));
    assert_eq!(refusals(&answer), [Some(Refusal::REMOVED)]);
    assert!(!answer.belongs && Refusal::REMOVED.is_passing(), "the phone keeps them for another day");
    // Another member may bring what the removed one wrote: phones set it aside.
    let carried = commit(&relay, push(&world, &world.founder, &unaware));
    assert!(all_kept(&carried));
    // Back in, they go on.
    let back = world.admit(&volunteer, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[back]))));
    let after = world.words(&mut volunteer, GROUP, b"after");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &after))));
}

#[test]
fn a_removed_device_fetches_the_roll_up_to_its_removal_and_nothing_else() {
    let (mut world, mut volunteer, relay) = village();
    let (group, device) = (world.id, volunteer.device());
    let fetch = |cursors: &BTreeMap<_, _>| {
        relay.answer(Query::Fetch { group, device, key: None, cursors: cursors.clone() }, NOW_MS)
    };
    let words = world.words(&mut volunteer, GROUP, b"before");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
    let removal = world.remove(&volunteer);
    let later = world.admit(&Person::new(7), VOLUNTEER);
    // In one push, and in a relay that has read its roll from the disk.
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal.clone(), later.clone()]))));
    let mut cursors: BTreeMap<_, _> = [(ROLL, 0), (GROUP, 0)].into();
    let mut handed = Vec::new();
    let why = loop {
        match fetch(&cursors) {
            Reply::Fetched(Some(entries)) => {
                assert_eq!(entries.compartment, ROLL);
                cursors.insert(ROLL, entries.upto);
                handed.extend(entries.entries.into_iter().map(|wire| Received::parse(wire).unwrap().hash()));
            }
            Reply::Refused(why) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(handed.last(), Some(&removal.hash()));
    assert!(!handed.contains(&later.hash()));
    assert!(!relay.has_nothing_new(&Query::Fetch { group, device, key: None, cursors }));
    // Who never belonged is handed nothing at all.
    let stranger =
        Query::Fetch { group, device: Person::new(8).device(), key: None, cursors: [(ROLL, 0)].into() };
    let Reply::Refused(unknown) = relay.answer(stranger, NOW_MS) else { panic!("it was handed something") };
    assert_eq!(unknown.refusal, Refusal::UNKNOWN_DEVICE);
    assert_eq!(why.refusal, Refusal::REMOVED);
    assert!(why.reason.contains("ask a coordinator"), "{}", why.reason);
}

#[test]
fn a_removed_coordinator_governs_nothing_any_more_but_the_last_of_a_majority_comes_back() {
    let mut world = World::new(1);
    let (mut beth, mut cleo) = (Person::new(2), Person::new(3));
    world.admit(&beth, COORDINATOR);
    world.admit(&cleo, COORDINATOR);
    let relay = relay_of(&world);
    let heads = world.roll_heads();
    let founder = world.founder.member();
    let write = |person: &mut Person, heads: &[_], operation: Option<_>| {
        let (kind, body) = match operation {
            Some(operation) => (Kind::OPERATION, cbor::encode(&operation)),
            None => (Kind::CERTIFICATE, person.certificate(world.id)),
        };
        person.write(Some(world.id), ROLL, heads, kind, body)
    };
    // Both wish the founder gone, one knowing of the other; meanwhile the founder takes both out.
    let beths = [write(&mut beth, &heads, None), write(&mut beth, &heads, Some(removal(founder)))];
    let cleos_first = write(&mut cleo, &heads, None);
    let mut cited = vec![beths[1].hash(), cleos_first.hash()];
    cited.sort_unstable();
    let cleos = [cleos_first, write(&mut cleo, &cited, Some(removal(founder)))];
    // What Beth signs as if nothing had happened has no effect, and is not taken from her.
    let stubborn = write(&mut beth, &heads, Some(admission(world.id, &Person::new(9), COORDINATOR)));
    take_out(&mut world, &relay, &beth);
    take_out(&mut world, &relay, &cleo);
    assert_eq!(
        refusals(&commit(&relay, push(&world, &beth, std::slice::from_ref(&stubborn))))[0],
        Some(Refusal::GAP)
    );
    let answer = commit(&relay, push(&world, &beth, &[beths[0].clone(), beths[1].clone(), stubborn.clone()]));
    assert!(refusals(&answer).iter().all(Option::is_some), "{answer:?}");
    // Cleo brings the wish that knows of the other: with it most of the three took the founder out.
    let answer = commit(&relay, push(&world, &cleo, &[beths.as_slice(), &cleos].concat()));
    assert!(all_kept(&answer) && answer.belongs, "{answer:?}");
    let words = world.words(&mut world.founder.clone(), GROUP, b"by the founder");
    let answer = commit(&relay, push(&world, &world.founder, &words));
    assert_eq!(refusals(&answer)[0], Some(Refusal::REMOVED));
    // And Beth is back.
    assert!(all_kept(&commit(&relay, push(&world, &beth, &[stubborn]))));
}

#[test]
fn who_leaves_brings_what_they_wrote_before_together_with_the_leave() {
    for leave_first in [false, true] {
        let (world, mut volunteer, relay) = village();
        let words = world.words(&mut volunteer, GROUP, b"before I go");
        let (heads, certificate) = (world.roll_heads(), volunteer.certificate(world.id));
        let body = cbor::encode(&removal(volunteer.member()));
        let leave = [
            volunteer.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate),
            volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body),
        ];
        let all = if leave_first { [&leave[..], &words].concat() } else { [&words[..], &leave].concat() };
        let answer = commit(&relay, push(&world, &volunteer, &all));
        assert!(all_kept(&answer) && !answer.belongs, "leave first: {leave_first}, {answer:?}");
        // The leave has its force from then on.
        let after = world.words(&mut volunteer, GROUP, b"one more thing");
        assert_eq!(refusals(&commit(&relay, push(&world, &volunteer, &after))), [Some(Refusal::REMOVED)]);
        assert!(
            all_kept(&commit(&relay, push(&world, &volunteer, &words))),
            "what is here is acknowledged again"
        );
    }
}

#[test]
fn what_a_coordinator_signed_before_hearing_of_another_role_is_taken_and_void_and_may_be_cited() {
    let mut world = World::new(1);
    let (mut beth, mut xena) = (Person::new(2), Person::new(9));
    world.admit(&beth, COORDINATOR);
    let relay = relay_of(&world);
    let (heads, certificate) = (world.roll_heads(), beth.certificate(world.id));
    let body = cbor::encode(&admission(world.id, &xena, VOLUNTEER));
    let unaware = [
        beth.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate),
        beth.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body),
    ];
    let demotion = [world.remove(&beth), world.admit(&beth, VOLUNTEER)];
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &demotion))));
    let answer = commit(&relay, push(&world, &beth, &unaware));
    assert!(all_kept(&answer) && answer.belongs, "{answer:?}");
    // Nobody came in by it.
    let words = world.words(&mut xena, GROUP, b"hello");
    assert_eq!(refusals(&commit(&relay, push(&world, &xena, &words)))[0], Some(Refusal::REMOVED));
    // Her phone has heard by now, and what it writes cites both.
    let mut cited = [world.roll_heads(), vec![unaware[1].hash()]].concat();
    cited.sort_unstable();
    let certificate = beth.certificate(world.id);
    let after = [
        beth.write(Some(world.id), GROUP, &cited, Kind::CERTIFICATE, certificate),
        beth.write(Some(world.id), GROUP, &cited, WORDS, b"as a volunteer".to_vec()),
    ];
    assert!(all_kept(&commit(&relay, push(&world, &beth, &after))));
    // What she signs as a coordinator in knowledge of it is refused.
    let body = cbor::encode(&admission(world.id, &xena, VOLUNTEER));
    let stubborn = beth.write(Some(world.id), ROLL, &cited, Kind::OPERATION, body);
    assert_eq!(refusals(&commit(&relay, push(&world, &beth, &[stubborn]))), [Some(Refusal::ROLE)]);
}
