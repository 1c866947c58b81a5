//! Rows that cannot be read: their group fails alone, is named, and is mended by whoever brings what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lamppost_core::base::{CompartmentId, GroupId};
use lamppost_core::entry::{LogId, Verified, Wire};
use lamppost_core::storage::{Batch, MemoryStore, Store, Table};
use lamppost_core::sync::frame::{Entries, Heads, Refusal, Refused, Standing, Welcome};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_server::{Query, Relay, RelayStore, Reply};

use crate::fixture::*;

const DAY_MS: u64 = 86_400_000;

const ENTRIES: Table = Table(2);
const LOGS: Table = Table(3);

type Harm = fn(&[u8]) -> Option<Vec<u8>>;

/// What may become of a row.
const HARMS: [(&str, Harm); 4] = [
    ("it is gone", |_| None),
    ("it is cut short", |row| Some(row[..row.len() / 2].to_vec())),
    ("nothing is left of it", |_| Some(Vec::new())),
    ("its body is another", |row| {
        let mut row = row.to_vec();
        *row.last_mut().unwrap() ^= 1;
        Some(row)
    }),
];

/// Harms the row of a table for a group, the `at`th.
fn harm(store: &MemoryStore, table: Table, prefix: &[u8], at: usize, harm: Harm) {
    let (key, value) = store.scan(table, prefix, None, usize::MAX).unwrap().swap_remove(at);
    let mut batch = Batch::default();
    match harm(&value) {
        Some(value) => batch.put(table, key, value),
        None => batch.delete(table, key),
    }
    store.apply(batch).unwrap();
}

fn rows_of(group: GroupId, compartment: u8) -> Vec<u8> {
    [group.as_bytes().as_slice(), &[compartment]].concat()
}

fn open(relay: &Relay, world: &World, person: &Person) -> Result<Welcome, Refused> {
    match relay.answer(Query::Open { group: world.id, device: person.device(), key: None }, NOW_MS) {
        Reply::Opened { welcome, .. } => Ok(welcome),
        Reply::Refused(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn standing(relay: &Relay, world: &World, person: &Person) -> Standing {
    open(relay, world, person).unwrap().standing
}

fn fetch(
    relay: &Relay,
    world: &World,
    person: &Person,
    cursors: &[(u8, u64)],
) -> Result<Option<Entries>, Refused> {
    let cursors = cursors.iter().map(|(c, after)| (CompartmentId(*c), *after));
    let cursors: BTreeMap<_, _> = cursors.collect();
    let query = Query::Fetch { group: world.id, device: person.device(), key: None, cursors };
    match relay.answer(query, NOW_MS) {
        Reply::Fetched(entries) => Ok(entries),
        Reply::Refused(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

fn heads(relay: &Relay, world: &World, person: &Person) -> Heads {
    match relay.answer(Query::Heads { group: world.id, device: person.device() }, NOW_MS) {
        Reply::Heads(heads) => heads,
        other => panic!("{other:?}"),
    }
}

fn is_whole_elsewhere(relay: &Relay, other: &mut World) {
    assert_eq!(standing(relay, other, &other.founder), Standing::Belongs);
    let words = other.founder_words(COMMON, b"goes on");
    assert!(all_kept(&commit(relay, push(other, &other.founder, &words))), "another group goes on");
    assert!(!relay.has_failed());
}

/// Two groups in one store. Of the first the volunteer was let in and taken out again.
fn two_groups() -> (MemoryStore, World, Person, World) {
    let (mut world, other, volunteer) = (World::new(1), World::new(5), Person::new(2));
    world.admit(&volunteer, VOLUNTEER);
    world.remove(&volunteer);
    let store = MemoryStore::default();
    let relay = relay_in(Arc::new(store.clone()), rules());
    for world in [&world, &other] {
        assert!(all_kept(&commit(&relay, push(world, &world.founder, &world.roll))));
    }
    let words = world.founder_words(COMMON, b"before");
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &words))));
    (store, world, volunteer, other)
}

#[test]
fn a_roll_that_cannot_be_read_stops_its_group_alone_and_its_phones_bring_it_back() {
    for (what, how) in HARMS {
        for at in 0..3 {
            let (store, mut world, volunteer, mut other) = two_groups();
            let before = {
                let relay = relay_in(Arc::new(store.clone()), rules());
                open(&relay, &world, &world.founder).unwrap()
            };
            harm(&store, ENTRIES, &rows_of(world.id, 0), at, how);
            // It is so after each start, and a sweep meets it first.
            for _ in 0..2 {
                let relay = relay_in(Arc::new(store.clone()), rules());
                relay.sweep(NOW_MS + DAY_MS).unwrap();
                assert_eq!(relay.damaged_groups(), [world.id], "{what}, row {at}");
                is_whole_elsewhere(&relay, &mut other);
            }
            let relay = relay_in(Arc::new(store.clone()), rules());
            // Nobody belongs, not even who was taken out by what is missing; and nobody is served.
            for person in [&world.founder, &volunteer] {
                assert_eq!(standing(&relay, &world, person), Standing::UnknownDevice, "{what}, row {at}");
                let why = fetch(&relay, &world, person, &[(0, 0), (1, 0)]).unwrap_err();
                assert_eq!(why.refusal, Refusal::STORE);
                assert!(
                    why.reason.contains("operator") && why.reason.contains("Nothing on this phone is lost")
                );
            }
            assert_eq!(relay.damaged_groups(), [world.id]);
            let words = world.founder_words(COMMON, b"meanwhile");
            let answer = commit(&relay, push(&world, &world.founder, &words));
            assert_eq!(
                refusals(&answer),
                [Some(Refusal::ROLL_UNKNOWN)],
                "which makes a phone offer its roll"
            );
            is_whole_elsewhere(&relay, &mut other);

            // Whoever holds the roll offers all of it, and is told nothing.
            let query = Query::Heads { group: world.id, device: world.founder.device() };
            assert!(
                matches!(relay.answer(query, NOW_MS), Reply::Refused(why) if why.refusal == Refusal::STORE)
            );
            let mut pushed = push(&world, &world.founder, &world.roll);
            pushed.entries.insert(0, Wire { body: None, ..pushed.entries[at].clone() });
            let committed = relay.commit(vec![pushed], NOW_MS);
            assert_eq!(committed.grown, [world.id]);
            let expected = [Some(Refusal::MALFORMED), None, None, None];
            assert_eq!(refusals(&committed.answers[0]), expected, "{what}, row {at}");
            let receipt = committed.answers[0].ack.receipt.clone().unwrap();
            let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), world.id).unwrap();
            assert_eq!(receipt.receipt().entries.len(), 3);

            assert_eq!(relay.damaged_groups(), []);
            assert_eq!(open(&relay, &world, &world.founder).unwrap(), before, "its history is the same");
            assert!(all_kept(&commit(&relay, push(&world, &world.founder, &words))));
            assert_ne!(
                standing(&relay, &world, &volunteer),
                Standing::Belongs,
                "who was taken out stays out"
            );
            drop(relay);
            let relay = relay_in(Arc::new(store), rules());
            let roll = fetch(&relay, &world, &Person::new(9), &[(0, 0)]);
            assert_eq!(roll.unwrap_err().refusal, Refusal::UNKNOWN_DEVICE);
            assert_eq!(standing(&relay, &world, &world.founder), Standing::Belongs);
        }
    }
}

#[test]
fn nobody_slips_anything_else_into_a_broken_group() {
    let (store, world, volunteer, _) = two_groups();
    harm(&store, ENTRIES, &rows_of(world.id, 0), 2, |_| None);
    let relay = relay_in(Arc::new(store), rules());
    // The founder's store went back and has written something else in the place of the removal.
    let mut rival = World::new(1);
    rival.admit(&volunteer, VOLUNTEER);
    rival.admit(&Person::new(8), COORDINATOR);
    assert_eq!(rival.id, world.id);
    let answer = commit(&relay, push(&rival, &volunteer, &rival.roll));
    assert_eq!(refusals(&answer), [None, None, Some(Refusal::ROLL_UNKNOWN)]);
    assert_eq!(answer.ack.receipt, None);
    assert_eq!(relay.damaged_groups(), [world.id]);
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &world.roll))), "a stranger may mend it");
    assert_eq!(standing(&relay, &world, &world.founder), Standing::Belongs);
}

#[test]
fn words_that_cannot_be_read_are_passed_by_and_brought_again() {
    for (what, how) in HARMS {
        let (mut world, mut volunteer) = (World::new(1), Person::new(2));
        world.admit(&volunteer, VOLUNTEER);
        let store = MemoryStore::default();
        let relay = relay_in(Arc::new(store.clone()), rules());
        assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
        let today = u32::try_from(NOW_MS / DAY_MS).unwrap();
        let mut words: Vec<Verified> = world.words(&mut volunteer, GROUP, b"first");
        words.extend(world.words(&mut volunteer, GROUP, b"second"));
        volunteer.expiry_day = Some(today);
        words.extend(world.words(&mut volunteer, GROUP, b"last, and to go"));
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
        drop(relay);
        harm(&store, ENTRIES, &rows_of(world.id, 2), 2, how);

        let relay = relay_in(Arc::new(store.clone()), rules());
        assert_eq!(relay.sweep(NOW_MS + DAY_MS).unwrap(), 1, "{what}: what is behind it is swept");
        assert_eq!(relay.damaged_groups(), [world.id], "{what}");
        let read = fetch(&relay, &world, &world.founder, &[(2, 0)]).unwrap().unwrap();
        assert_eq!((read.entries.len(), read.left_out, read.upto), (3, 1, 4), "{what}");
        // Who asks for heads is told of what stands before it, and so offers what stands behind.
        let log = LogId { compartment: GROUP, device: volunteer.device() };
        assert_eq!(standing(&relay, &world, &volunteer), Standing::Belongs, "{what}");
        let told = heads(&relay, &world, &volunteer).logs;
        let told = told.iter().find(|height| height.log == log).unwrap();
        assert_eq!(told.head.seq, 1, "{what}");
        let more = world.words(&mut volunteer, GROUP, b"more");
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &more))), "the group goes on");
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words[2..]))));
        assert_eq!(relay.damaged_groups(), [], "{what}");
        for relay in [relay, relay_in(Arc::new(store.clone()), rules())] {
            let read = fetch(&relay, &world, &world.founder, &[(2, 0)]).unwrap().unwrap();
            let bodies = read.entries.iter().filter(|wire| wire.body.is_some()).count();
            assert_eq!((read.entries.len(), bodies, read.left_out), (5, 4, 0), "{what}");
        }
    }
}

#[test]
fn a_group_whose_order_is_lost_is_refused_alone_and_begins_again_if_the_operator_says_so() {
    let (store, world, _, mut other) = two_groups();
    harm(&store, LOGS, world.id.as_bytes(), 0, |row| Some(row[1..].to_vec()));
    let relay = relay_in(Arc::new(store.clone()), rules());
    relay.sweep(NOW_MS).unwrap();
    assert_eq!(relay.damaged_groups(), [world.id]);
    assert_eq!(open(&relay, &world, &world.founder).unwrap_err().refusal, Refusal::STORE);
    let answer = commit(&relay, push(&world, &world.founder, &world.roll));
    assert_eq!(refusals(&answer), [Some(Refusal::STORE); 3]);
    is_whole_elsewhere(&relay, &mut other);
    drop(relay);

    RelayStore::new(Arc::new(store.clone())).begin_again(world.id).unwrap();
    let relay = relay_in(Arc::new(store.clone()), rules());
    assert_eq!(standing(&relay, &world, &world.founder), Standing::UnknownGroup);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    assert_eq!(standing(&relay, &world, &world.founder), Standing::Belongs);
    is_whole_elsewhere(&relay, &mut other);
}
