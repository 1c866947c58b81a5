//! The expirer: a member whose program gives a last day to what others rest on.

use std::sync::Arc;

use lamppost_core::base::cbor;
use lamppost_core::base::cose::{self, Purpose};
use lamppost_core::entry::{Kind, LogHead, LogId, Wire};
use lamppost_core::roll::Operation;
use lamppost_core::roll::operation::{Shred, Watermark};
use lamppost_core::storage::MemoryStore;
use lamppost_core::sync::frame::{Refusal, Standing};
use lamppost_server::{Pushed, Query, Relay, Reply};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

const DAY_MS: u64 = 86_400_000;

fn standing(relay: &Relay, world: &World, person: &Person) -> Standing {
    match relay.answer(Query::Open { group: world.id, device: person.device(), key: None }, NOW_MS) {
        Reply::Opened { welcome, .. } => welcome.standing,
        other => panic!("{other:?}"),
    }
}

/// A roll entry of the founder's, of a later kind, whose last day was yesterday.
fn expired_roll_entry(world: &mut World) -> Wire {
    let entry = {
        let mut founder = world.founder.clone();
        founder.write(Some(world.id), ROLL, &world.roll_heads(), Kind(4), b"rested on".to_vec())
    };
    let mut header = entry.header().clone();
    header.expiry_day = Some(u32::try_from(NOW_MS / DAY_MS - 1).unwrap());
    let signed = cose::sign(&world.founder.key, Purpose::Entry, cbor::encode(&header));
    Wire { signed: ByteVec::from(signed), body: entry.wire().body.clone() }
}

#[test]
fn nothing_in_the_roll_expires_and_no_group_stops_by_it() {
    let mut world = World::new(1);
    let mut other = World::new(5);
    let store = MemoryStore::default();
    let relay = relay_in(Arc::new(store.clone()), rules());
    for world in [&world, &other] {
        assert!(all_kept(&commit(&relay, push(world, &world.founder, &world.roll))));
    }
    let expired = expired_roll_entry(&mut world);
    let bare = Wire { body: None, ..expired.clone() };
    let entries = vec![expired, bare];
    let pushed = Pushed { group: world.id, device: world.founder.device(), number: 0, entries };
    assert_eq!(refusals(&commit(&relay, pushed)), [Some(Refusal::MALFORMED); 2]);
    relay.sweep(NOW_MS + DAY_MS).unwrap();
    drop(relay);
    let relay = relay_in(Arc::new(store), rules());
    relay.sweep(NOW_MS + DAY_MS).unwrap();
    for world in [&mut world, &mut other] {
        assert_eq!(standing(&relay, world, &world.founder), Standing::Belongs);
        let words = world.founder_words(COMMON, b"goes on");
        assert!(all_kept(&commit(&relay, push(world, &world.founder, &words))));
    }
}

#[test]
fn a_shred_takes_nothing_from_the_roll() {
    let mut world = World::new(1);
    let volunteer = Person::new(2);
    let admission = world.admit(&volunteer, VOLUNTEER);
    let store = MemoryStore::default();
    let relay = relay_in(Arc::new(store.clone()), rules());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    // Of a later kind, and the admission.
    let later = {
        let mut founder = world.founder.clone();
        let entry = founder.write(Some(world.id), ROLL, &world.roll_heads(), Kind(4), b"rested on".to_vec());
        world.founder = founder;
        world.roll.push(entry.clone());
        entry
    };
    let named = [admission, later.clone()].map(|entry| {
        let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
        Watermark { log: LogId::of(&entry), head }
    });
    let shred = world.operation(&Operation::Shred(Shred { entries: named.to_vec(), document: None }));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[later, shred]))));
    relay.sweep_group(world.id, NOW_MS).unwrap();
    drop(relay);
    let relay = relay_in(Arc::new(store), rules());
    assert_eq!(standing(&relay, &world, &volunteer), Standing::Belongs);
    assert_eq!(standing(&relay, &world, &world.founder), Standing::Belongs);
}
