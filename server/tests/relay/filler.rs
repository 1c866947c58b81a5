//! A member who fills the group's space: others go on, and the member can be removed.

use std::sync::Arc;

use lamppost_core::base::hash::sha256;
use lamppost_core::base::{ChunkId, cbor};
use lamppost_core::entry::{Kind, LogHead, LogId, Verified};
use lamppost_core::roll::Operation;
use lamppost_core::roll::operation::{Policy, Shred, Watermark};
use lamppost_core::storage::{MemoryStore, Store as _};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_core::sync::media::PutChunk;
use lamppost_server::{ChunkRequest, Query, Relay, Reply, Rules};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

const GROUP_BYTES_MAX: u64 = 4 << 20;

fn small() -> Rules {
    Rules { group_bytes_max: GROUP_BYTES_MAX, group_media_bytes_max: GROUP_BYTES_MAX, ..rules() }
}

/// A group of two devices of one volunteer and another volunteer, on a relay with little space.
fn village_of_two() -> (World, [Person; 2], Person, MemoryStore, Relay) {
    let mut world = World::new(1);
    let (filler, other) = (Person::new(2), Person::new(4));
    let second = filler.on_another_device(3);
    world.admit(&filler, VOLUNTEER);
    world.admit(&second, VOLUNTEER);
    world.admit(&other, VOLUNTEER);
    let store = MemoryStore::default();
    let relay = relay_in(Arc::new(store.clone()), small());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    (world, [filler, second], other, store, relay)
}

/// Pushes entries of 100 kB until the relay takes no more. Returns what it kept.
fn fill(relay: &Relay, world: &World, person: &mut Person) -> Vec<Verified> {
    let mut kept = Vec::new();
    for n in 0..100_u8 {
        let before = person.clone();
        let words = world.words(person, GROUP, &vec![n; 100_000]);
        let answer = commit(relay, push(world, person, &words));
        if !all_kept(&answer) {
            assert_eq!(refusals(&answer).last(), Some(&Some(Refusal::QUOTA)));
            *person = before;
            break;
        }
        kept.extend(words);
    }
    kept
}

fn put(relay: &Relay, world: &World, who: &Person, entry: &Verified, n: u8) -> Option<Refusal> {
    let bytes = vec![n; 60_000];
    let chunk = ChunkId(sha256(&bytes).0);
    let put = PutChunk { chunk, ciphertext: ByteVec::from(bytes), entry: entry.wire().signed.clone() };
    let request = ChunkRequest::Put(put);
    match relay.answer(Query::Chunks { group: world.id, device: who.device(), request }, NOW_MS) {
        Reply::Chunks(Frame::ChunkAck(ack)) => match ack.outcome {
            Outcome::Kept => None,
            Outcome::Refused(why) => Some(why.refusal),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn filler_is_refused_while_others_report_and_remove() {
    let (mut world, [mut filler, mut second], mut other, store, relay) = village_of_two();
    let filled = fill(&relay, &world, &mut filler);
    let bytes = |entries: &[Verified]| entries.iter().map(|entry| entry.bytes() as u64).sum::<u64>();
    assert!(bytes(&filled) <= GROUP_BYTES_MAX / 4 && !filled.is_empty());
    assert!(fill(&relay, &world, &mut second).is_empty(), "a second device has no share of its own");

    // Counted anew from the disk.
    drop(relay);
    let relay = relay_in(Arc::new(store.clone()), small());
    assert!(fill(&relay, &world, &mut filler).is_empty());
    let report = world.words(&mut other, GROUP, &[7; 100_000]);
    assert!(all_kept(&commit(&relay, push(&world, &other, &report))));

    let removal = world.remove(&filler);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal]))));
    let report = world.words(&mut other, GROUP, b"quiet since then");
    assert!(all_kept(&commit(&relay, push(&world, &other, &report))));

    // What the filler left is shredded, and its space comes back.
    let size = |store: &MemoryStore| {
        let rows = store.scan(lamppost_core::storage::Table(2), &[], None, usize::MAX).unwrap();
        rows.iter().map(|(_, value)| value.len()).sum::<usize>()
    };
    let before = size(&store);
    let named = filled.iter().filter(|entry| entry.header().kind == WORDS).map(|entry| Watermark {
        log: LogId::of(entry),
        head: LogHead { seq: entry.header().seq, hash: entry.hash() },
    });
    let shred = world.operation(&Operation::Shred(Shred { entries: named.collect(), document: None }));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[shred]))));
    assert!(relay.sweep_group(world.id, NOW_MS).unwrap() > 0);
    assert!(size(&store) + 500_000 < before);
}

#[test]
fn filler_of_media_leaves_room_for_others() {
    let (world, [mut filler, second], other, _, relay) = village_of_two();
    let words = world.words(&mut filler, GROUP, b"a photo");
    assert!(all_kept(&commit(&relay, push(&world, &filler, &words))));
    let entry = words.last().unwrap();
    let outcomes: Vec<_> = (0..20).map(|n| put(&relay, &world, &filler, entry, n)).collect();
    assert_eq!(outcomes.last(), Some(&Some(Refusal::QUOTA)));
    assert_eq!(put(&relay, &world, &second, entry, 100), Some(Refusal::QUOTA), "the share is the member's");
    assert_eq!(put(&relay, &world, &other, entry, 101), None);
}

#[test]
fn removal_is_kept_when_coordinators_filled_the_membership_log() {
    let mut world = World::new(1);
    let puppets: Vec<Person> = (2..8).map(Person::new).collect();
    puppets.iter().for_each(|puppet| drop(world.admit(puppet, COORDINATOR)));
    let relay = relay_with(small());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let heads = world.roll_heads();
    for mut puppet in puppets.iter().cloned() {
        for n in 0..200 {
            let mut entries = Vec::new();
            if puppet.head(ROLL).is_none() {
                let certificate = puppet.certificate(world.id);
                entries.push(puppet.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate));
            }
            let settings = (0..64).map(|setting| (setting + 100, u64::MAX - n)).collect();
            let policy = cbor::encode(&Operation::Policy(Policy { settings }));
            entries.extend(
                (0..10).map(|_| puppet.write(Some(world.id), ROLL, &heads, Kind::OPERATION, policy.clone())),
            );
            let answer = commit(&relay, push(&world, &puppet, &entries));
            if !all_kept(&answer) {
                assert!(refusals(&answer).contains(&Some(Refusal::QUOTA)), "{answer:?}");
                break;
            }
            assert!(n < 199, "nothing stops them");
        }
    }
    for puppet in &puppets {
        let removal = world.remove(puppet);
        assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal]))));
    }
}
