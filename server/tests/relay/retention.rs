//! What the relay drops and what it keeps: bodies that are over go, and everything that proves anything stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::{EntryHash, cbor};
use lamppost_core::entry::{Kind, LogHead, LogId, Verified, Wire};
use lamppost_core::roll::Operation;
use lamppost_core::roll::operation::{EndHold, Hold, Shred, Watermark};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Store};
use lamppost_core::sync::frame::{Refusal, Welcome};
use lamppost_server::{Query, Relay, Reply};

use crate::fixture::*;

const DAY_MS: u64 = 86_400_000;

fn today() -> u32 {
    u32::try_from(NOW_MS / DAY_MS).unwrap()
}

fn welcome(relay: &Relay, world: &World, person: &Person) -> Welcome {
    match relay.answer(Query::Open { group: world.id, device: person.device(), key: None }, NOW_MS) {
        Reply::Opened { welcome, .. } => welcome,
        other => panic!("{other:?}"),
    }
}

/// Everything in `GROUP`, as a member reads it.
fn read(relay: &Relay, world: &World, person: &Person) -> Vec<Wire> {
    let (mut cursors, mut all) = (BTreeMap::from([(GROUP, 0)]), Vec::new());
    loop {
        let device = person.device();
        match relay
            .answer(Query::Fetch { group: world.id, device, key: None, cursors: cursors.clone() }, NOW_MS)
        {
            Reply::Fetched(None) => return all,
            Reply::Fetched(Some(entries)) => {
                cursors.insert(entries.compartment, entries.upto);
                all.extend(entries.entries);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn bodies(wires: &[Wire]) -> Vec<&[u8]> {
    wires.iter().filter_map(|wire| wire.body.as_ref()).map(|body| body.as_slice()).collect()
}

fn holds(store: &MemoryStore, words: &[u8]) -> bool {
    (0..=u8::MAX).map(lamppost_core::storage::Table).any(|table| {
        let rows = store.scan(table, &[], None, usize::MAX).unwrap();
        rows.iter().any(|(_, value)| value.windows(words.len()).any(|window| window == words))
    })
}

/// An operation of somebody's own.
fn says(world: &World, person: &mut Person, operation: &Operation) -> Vec<Verified> {
    let (heads, body) = (world.roll_heads(), cbor::encode(operation));
    let mut entries = Vec::new();
    if person.head(ROLL).is_none() {
        let certificate = person.certificate(world.id);
        entries.push(person.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate));
    }
    entries.push(person.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body));
    entries
}

fn shred(entry: &Verified) -> Operation {
    let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
    Operation::Shred(Shred { entries: vec![Watermark { log: LogId::of(entry), head }], document: None })
}

fn hold(entry: EntryHash, until_day: Option<u32>) -> Operation {
    Operation::Hold(Hold { entries: vec![entry], reason: 1, until_day })
}

/// A village with two entries of a volunteer that expire today, one that does not, and a store to look into.
fn with_words() -> (World, Person, MemoryStore, Relay, Vec<Verified>) {
    let mut world = World::new(1);
    let mut volunteer = Person::new(2);
    world.admit(&volunteer, VOLUNTEER);
    let store = MemoryStore::default();
    let relay = relay_in(Arc::new(store.clone()), rules());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    volunteer.expiry_day = Some(today());
    let mut entries = world.words(&mut volunteer, GROUP, b"first words to go");
    entries.extend(world.words(&mut volunteer, GROUP, b"other words to go"));
    volunteer.expiry_day = None;
    entries.extend(world.words(&mut volunteer, GROUP, b"words to stay"));
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &entries))));
    (world, volunteer, store, relay, entries)
}

#[test]
fn bodies_go_after_their_day_and_proofs_stay() {
    let (world, volunteer, store, relay, entries) = with_words();
    let reader = world.founder.clone();
    let before = (welcome(&relay, &world, &reader), read(&relay, &world, &reader));
    assert_eq!(relay.sweep(NOW_MS).unwrap(), 0, "it is their last day");
    assert_eq!(relay.sweep(NOW_MS + DAY_MS).unwrap(), 2);
    assert_eq!(relay.sweep(NOW_MS + DAY_MS).unwrap(), 0);
    let after = read(&relay, &world, &reader);
    assert_eq!(welcome(&relay, &world, &reader), before.0, "the tree and the logs are the same");
    let signed = |wires: &[Wire]| wires.iter().map(|wire| wire.signed.clone()).collect::<Vec<_>>();
    assert_eq!(signed(&after), signed(&before.1));
    // The certificate has no last day: it says who wrote the rest.
    assert_eq!(bodies(&after), [volunteer.certificate(world.id).as_slice(), b"words to stay"]);
    assert!(!holds(&store, b"words to go") && holds(&store, b"words to stay"));

    // Brought back by a phone that did not hear of it: known, and as it is.
    let again = relay.commit(vec![push(&world, &volunteer, &entries)], NOW_MS + DAY_MS).answers.remove(0);
    assert!(all_kept(&again));
    assert!(!holds(&store, b"words to go"));
    // To another relay: the proof is kept, and no word.
    let other = MemoryStore::default();
    let late = relay_in(Arc::new(other.clone()), rules());
    for (person, entries) in [(&world.founder, &world.roll), (&volunteer, &entries)] {
        let answer = late.commit(vec![push(&world, person, entries)], NOW_MS + DAY_MS).answers.remove(0);
        assert!(all_kept(&answer), "{answer:?}");
    }
    assert!(!holds(&other, b"words to go") && holds(&other, b"words to stay"));
}

#[test]
fn a_sweep_that_is_killed_goes_on_after_a_restart() {
    for at in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        let (world, _, store, relay, _) = with_words();
        let before = welcome(&relay, &world, &world.founder);
        drop(relay);
        let dying = relay_in(Arc::new(FaultyStore::new(store.clone(), 0, at)), rules());
        assert!(dying.sweep(NOW_MS + DAY_MS).is_err() && dying.has_failed());
        drop(dying);
        let relay = relay_in(Arc::new(store.clone()), rules());
        relay.sweep(NOW_MS + DAY_MS).unwrap();
        assert!(!holds(&store, b"words to go") && holds(&store, b"words to stay"));
        assert_eq!(welcome(&relay, &world, &world.founder), before);
    }
}

#[test]
fn the_space_of_what_went_can_be_used_again() {
    let (world, mut volunteer, store, relay, entries) = with_words();
    let used: usize = entries.iter().map(|entry| entry.bytes()).sum();
    drop(relay);
    let freed = b"first words to go".len() + b"other words to go".len();
    // A member may fill a quarter of what the membership log leaves.
    let room = |more: usize| {
        let share = (used - freed + more) as u64;
        rules_with_bytes((4 * share..).find(|all| (all - all / 4) / 4 == share).unwrap())
    };
    volunteer.expiry_day = None;
    let entry = world.words(&mut volunteer, GROUP, b"in their place");
    let bytes: usize = entry.iter().map(|entry| entry.bytes()).sum();
    for (more, expected) in [(bytes, None), (bytes - 1, Some(Refusal::QUOTA))] {
        let relay = relay_in(Arc::new(copy(&store)), room(more));
        relay.sweep(NOW_MS + DAY_MS).unwrap();
        assert_eq!(refusals(&commit(&relay, push(&world, &volunteer, &entry))), [expected]);
    }
}

fn rules_with_bytes(group_bytes_max: u64) -> lamppost_server::Rules {
    lamppost_server::Rules { group_bytes_max, ..rules() }
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let (copy, mut batch) = (MemoryStore::default(), lamppost_core::storage::Batch::default());
    for table in (0..=u8::MAX).map(lamppost_core::storage::Table) {
        for (key, value) in store.scan(table, &[], None, usize::MAX).unwrap() {
            batch.put(table, key, value);
        }
    }
    copy.apply(batch).unwrap();
    copy
}

#[test]
fn what_is_shredded_goes_at_once_and_whoever_holds_it_comes_first() {
    let (mut world, mut volunteer, store, relay, entries) = with_words();
    let stays = entries.last().unwrap();
    let held = hold(stays.hash(), None);
    let mut founder = world.founder.clone();
    let held = says(&world, &mut founder, &held);
    assert!(all_kept(&commit(&relay, push(&world, &founder, &held))));
    world.roll.extend(held.clone());

    let shredding = says(&world, &mut volunteer, &shred(stays));
    let committed = relay.commit(vec![push(&world, &volunteer, &shredding)], NOW_MS);
    assert_eq!(committed.to_sweep, [world.id]);
    assert_eq!(relay.sweep_group(world.id, NOW_MS).unwrap(), 0);
    assert!(holds(&store, b"words to stay"), "it is held");

    world.roll.push(shredding.last().unwrap().clone());
    let end = Operation::EndHold(EndHold { holds: vec![held.last().unwrap().hash()] });
    let end = says(&world, &mut founder, &end);
    assert_eq!(relay.commit(vec![push(&world, &founder, &end)], NOW_MS).to_sweep, [world.id]);
    assert_eq!(relay.sweep_group(world.id, NOW_MS).unwrap(), 1);
    assert!(!holds(&store, b"words to stay"));
    // Without its body it may come back: any phone may hold it like that.
    let mut wire = stays.wire().clone();
    wire.body = None;
    let other = relay_in(Arc::new(MemoryStore::default()), rules());
    let roll: Vec<Verified> = [&world.roll[..], &shredding[..1], &end].concat();
    commit(&other, push(&world, &founder, &roll));
    let mut entries = wires(&entries);
    *entries.last_mut().unwrap() = wire;
    let push = lamppost_server::Pushed { group: world.id, device: volunteer.device(), number: 1, entries };
    let answer = commit(&other, push);
    assert!(all_kept(&answer), "{answer:?}");
}

#[test]
fn a_hold_keeps_what_expires_until_its_own_last_day() {
    let (world, _, store, relay, entries) = with_words();
    let mut founder = world.founder.clone();
    let held = says(&world, &mut founder, &hold(entries[1].hash(), Some(today() + 10)));
    assert!(all_kept(&commit(&relay, push(&world, &founder, &held))));
    assert_eq!(relay.sweep(NOW_MS + 5 * DAY_MS).unwrap(), 1);
    assert!(holds(&store, b"first words to go") && !holds(&store, b"other words to go"));
    assert_eq!(relay.sweep(NOW_MS + 10 * DAY_MS).unwrap(), 0);
    assert_eq!(relay.sweep(NOW_MS + 11 * DAY_MS).unwrap(), 1);
    assert!(!holds(&store, b"first words to go"));
}

#[test]
fn nobody_shreds_or_holds_what_is_not_theirs_to_decide() {
    let (mut world, volunteer, store, relay, entries) = with_words();
    let mut other = Person::new(3);
    let admission = world.admit(&other, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admission]))));
    for operation in [shred(&entries[1]), hold(entries[1].hash(), None)] {
        let mut author = other.clone();
        let said = says(&world, &mut author, &operation);
        let answer = commit(&relay, push(&world, &author, &said));
        assert_eq!(refusals(&answer), [None, Some(Refusal::ROLE)]);
    }
    // Naming one's own device with the hash of somebody else's entry takes nothing away.
    let own = world.words(&mut other, GROUP, b"own");
    assert!(all_kept(&commit(&relay, push(&world, &other, &own))));
    let head = LogHead { seq: 1, hash: entries[1].hash() };
    let named = Watermark { log: LogId { compartment: GROUP, device: other.device() }, head };
    let forged = Operation::Shred(Shred { entries: vec![named], document: None });
    let said = says(&world, &mut other, &forged);
    assert!(all_kept(&commit(&relay, push(&world, &other, &said))));
    assert_eq!(relay.sweep(NOW_MS).unwrap(), 0);
    assert!(holds(&store, b"first words to go") && volunteer.device() != other.device());
}
