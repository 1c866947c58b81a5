//! What is acknowledged is there: after a restart, and never before the write.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::limits;
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Options, SledStore, StoreKind};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Refusal, Standing};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_server::{Query, Relay, RelayStore, Reply, Seed};

use crate::fixture::*;

fn welcome(relay: &Relay, world: &World, person: &Person) -> lamppost_core::sync::frame::Welcome {
    match relay.answer(Query::Open { group: world.id, device: person.device(), key: None }, NOW_MS) {
        Reply::Opened { welcome, .. } => welcome,
        other => panic!("{other:?}"),
    }
}

/// All that the person may read behind 0, in order.
fn read_all(relay: &Relay, world: &World, person: &Person, compartments: &[u8]) -> Vec<Vec<u8>> {
    let mut cursors: BTreeMap<_, _> =
        compartments.iter().map(|c| (lamppost_core::base::CompartmentId(*c), 0)).collect();
    let mut all = Vec::new();
    loop {
        let query =
            Query::Fetch { group: world.id, device: person.device(), key: None, cursors: cursors.clone() };
        match relay.answer(query, NOW_MS) {
            Reply::Fetched(None) => return all,
            Reply::Fetched(Some(entries)) => {
                assert_eq!(entries.after, cursors[&entries.compartment]);
                assert!(entries.covered().is_some());
                assert!(Frame::Entries(entries.clone()).to_bytes().len() <= limits::FRAME_BYTES_MAX);
                cursors.insert(entries.compartment, entries.upto);
                all.extend(entries.entries.into_iter().map(|wire| wire.signed.into()));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_restart_changes_nothing_that_anybody_can_see() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let options = Options { cache_bytes: 1 << 20, kind: StoreKind::Relay };
        Arc::new(SledStore::open(directory.path().join("data"), options).unwrap())
    };
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let seen = |relay: &Relay, volunteer: &Person| {
        (
            relay.id(),
            relay.incarnation(),
            relay.group_count(),
            welcome(relay, &world, volunteer),
            relay.answer(Query::Heads { group: world.id, device: volunteer.device() }, NOW_MS),
            read_all(relay, &world, volunteer, &[0, 2]),
        )
    };
    let relay = relay_in(open(), rules());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let words = world.words(&mut volunteer, GROUP, b"before");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
    let before = seen(&relay, &volunteer);
    drop(relay);

    let seed = Seed { key: [77; 32], incarnation: [77; 16] };
    let relay = Relay::open(RelayStore::new(open()), rules(), &seed, false).unwrap();
    assert_eq!(seen(&relay, &volunteer), before);
    // It goes on where it was: the next position, the next arrival.
    let more = world.words(&mut volunteer, GROUP, b"after");
    let receipt = commit(&relay, push(&world, &volunteer, &more)).ack.receipt.unwrap();
    let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), world.id).unwrap();
    assert_eq!(receipt.receipt().checkpoint.size, 5);
    assert_eq!(read_all(&relay, &world, &world.founder, &[2]).len(), 3);
    drop(relay);

    // After a restored backup the key stays and the life is a new one.
    let relay = Relay::open(RelayStore::new(open()), rules(), &seed, true).unwrap();
    assert_eq!(relay.id(), before.0);
    assert_eq!(relay.incarnation().0, [77; 16]);
}

#[test]
fn every_entry_and_every_rival_of_one_is_known_again_wherever_its_hash_lies() {
    let store = Arc::new(MemoryStore::default());
    let mut world = World::new(1);
    let (mut volunteer, mut copy) = (Person::new(2), Person::new(2));
    world.admit(&volunteer, VOLUNTEER);
    let relay = relay_in(store.clone(), rules());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    // Hashes lie in rows of at most 32, and no row goes on in the next commit.
    let mut all = Vec::new();
    for count in [1, 31, 32, 33, 70, 1] {
        let words: Vec<_> =
            (0..count).flat_map(|n: u8| world.words(&mut volunteer, GROUP, &[count, n])).collect();
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
        all.extend(words);
    }
    let heads = relay.answer(Query::Heads { group: world.id, device: volunteer.device() }, NOW_MS);
    drop(relay);

    let seed = Seed { key: [77; 32], incarnation: [77; 16] };
    let relay = Relay::open(RelayStore::new(store), rules(), &seed, false).unwrap();
    assert_eq!(relay.answer(Query::Heads { group: world.id, device: volunteer.device() }, NOW_MS), heads);
    let again = commit(&relay, push(&world, &volunteer, &all));
    assert!(all_kept(&again));
    let receipt = again.ack.receipt.unwrap();
    let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), world.id).unwrap();
    assert_eq!(receipt.receipt().checkpoint.size, (world.roll.len() + all.len()) as u64);
    let rivals: Vec<_> = (0..168).flat_map(|n| world.words(&mut copy, GROUP, &[0, n])).collect();
    assert_eq!(rivals.len(), all.len());
    // They begin with the same certificate.
    let refused = refusals(&commit(&relay, push(&world, &copy, &rivals)));
    assert_eq!(refused.iter().filter(|refused| refused.is_none()).count(), 1);
    assert_eq!(refused.iter().filter(|refused| **refused == Some(Refusal::FORK)).count(), rivals.len() - 1);
}

#[test]
fn a_failed_write_acknowledges_nothing_whatever_reached_the_disk() {
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        let mut world = World::new(1);
        let mut volunteer = Person::new(2);
        world.admit(&volunteer, VOLUNTEER);
        // The identity and the roll are written, the words are not.
        let store = Arc::new(FaultyStore::new(MemoryStore::default(), 2, fault));
        let relay = relay_in(store.clone(), rules());
        assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
        let words = world.words(&mut volunteer, GROUP, b"words");
        let bulletin = world.founder_words(COMMON, b"bulletin");
        let pushes = vec![push(&world, &volunteer, &words), push(&world, &world.founder, &bulletin)];
        let committed = relay.commit(pushes, NOW_MS);
        for answer in &committed.answers {
            assert_eq!(refusals(answer), [Some(Refusal::STORE), Some(Refusal::STORE)]);
            assert_eq!(answer.ack.receipt, None);
        }
        assert!(relay.has_failed());
        assert!(committed.grown.is_empty());
        assert_eq!(refusals(&commit(&relay, push(&world, &volunteer, &words))), [Some(Refusal::STORE); 2]);
        drop(relay);

        // Opened anew, whatever the disk holds is a sound state to go on from.
        let inner = Arc::into_inner(store).unwrap().into_inner();
        let relay = relay_in(Arc::new(inner), rules());
        let answer = commit(&relay, push(&world, &volunteer, &words));
        assert!(all_kept(&answer));
        let receipt = answer.ack.receipt.unwrap();
        let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), world.id).unwrap();
        let expected = if fault == FaultAt::BeforeWrite { 4 } else { 6 };
        assert_eq!(receipt.receipt().checkpoint.size, expected);
    }
}

#[test]
fn a_question_to_a_failed_store_ends_the_session_with_the_reason() {
    let world = World::new(1);
    let store = FaultyStore::new(MemoryStore::default(), 1, FaultAt::BeforeWrite);
    let relay = relay_in(Arc::new(store), rules());
    commit(&relay, push(&world, &world.founder, &world.roll));
    let reply =
        relay.answer(Query::Open { group: world.id, device: world.founder.device(), key: None }, NOW_MS);
    assert!(matches!(reply, Reply::Refused(why) if why.refusal == Refusal::STORE));
}

#[test]
fn readers_get_what_their_newest_role_may_read_without_their_own() {
    let mut world = World::new(1);
    let (mut volunteer, partner) = (Person::new(2), Person::new(3));
    world.admit(&volunteer, VOLUNTEER);
    world.admit(&partner, PARTNER);
    let relay = relay_of(&world);
    let words = world.words(&mut volunteer, GROUP, b"words");
    commit(&relay, push(&world, &volunteer, &words));
    let fetch = |person: &Person, compartment| {
        let cursors = BTreeMap::from([(compartment, 0)]);
        relay.answer(Query::Fetch { group: world.id, device: person.device(), key: None, cursors }, NOW_MS)
    };
    assert!(matches!(fetch(&world.founder, GROUP), Reply::Fetched(Some(e)) if e.entries == wires(&words)));
    assert!(
        matches!(fetch(&volunteer, GROUP), Reply::Fetched(Some(e)) if e.entries.is_empty() && e.upto == 2)
    );
    // Not refused: they may not have heard of their role yet.
    assert!(matches!(fetch(&partner, GROUP), Reply::Fetched(None)));
    assert!(matches!(fetch(&volunteer, COORDINATORS), Reply::Fetched(None)));
    let stranger = Person::new(9);
    assert!(matches!(fetch(&stranger, ROLL), Reply::Refused(why) if why.refusal == Refusal::UNKNOWN_DEVICE));
    assert_eq!(welcome(&relay, &world, &stranger).standing, Standing::UnknownDevice);
    assert_eq!(welcome(&relay, &World::new(8), &stranger).standing, Standing::UnknownGroup);
}

#[test]
fn a_long_compartment_comes_in_frames_of_bounded_size() {
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let relay = relay_of(&world);
    let mut all = Vec::new();
    for n in 0..40_u8 {
        all.extend(world.words(&mut volunteer, GROUP, &vec![n; 20_000]));
    }
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &all))));
    let read = read_all(&relay, &world, &world.founder, &[2]);
    assert_eq!(read, wires(&all).into_iter().map(|wire| wire.signed.into()).collect::<Vec<Vec<u8>>>());
}
