//! Chunks of files: who may put and get them, what is refused, and what a cut or a lost store leaves.

use std::sync::Arc;

use lamppost_core::base::hash::sha256;
use lamppost_core::base::{ChunkId, limits};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Store};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_core::sync::media::{ChunkNames, GetChunk, PutChunk};
use lamppost_server::{ChunkRequest, Query, Relay, Reply, Rules};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

/// A ciphertext, as far as a relay can tell, and its name.
fn chunk(n: u8) -> (ChunkId, Vec<u8>) {
    let bytes = vec![n; limits::CHUNK_BYTES + 16];
    (ChunkId(sha256(&bytes).0), bytes)
}

fn ask(relay: &Relay, world: &World, who: &Person, request: ChunkRequest) -> Reply {
    relay.answer(Query::Chunks { group: world.id, device: who.device(), request }, NOW_MS)
}

fn put_as(relay: &Relay, world: &World, who: &Person, name: ChunkId, bytes: &[u8]) -> Option<Refusal> {
    let put = PutChunk { chunk: name, ciphertext: ByteVec::from(bytes.to_vec()) };
    match ask(relay, world, who, ChunkRequest::Put(put)) {
        Reply::Chunks(Frame::ChunkAck(ack)) => {
            assert_eq!(ack.chunk, name);
            match ack.outcome {
                Outcome::Kept => None,
                Outcome::Refused(why) => Some(why.refusal),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn put(relay: &Relay, world: &World, who: &Person, n: u8) -> Option<Refusal> {
    let (name, bytes) = chunk(n);
    put_as(relay, world, who, name, &bytes)
}

fn get(relay: &Relay, world: &World, who: &Person, n: u8) -> Option<Vec<u8>> {
    match ask(relay, world, who, ChunkRequest::Get(GetChunk { chunk: chunk(n).0 })) {
        Reply::Chunks(Frame::Chunk(found)) => found.ciphertext.map(Vec::from),
        other => panic!("{other:?}"),
    }
}

fn lacking(relay: &Relay, world: &World, who: &Person, names: &[u8]) -> Vec<ChunkId> {
    let chunks = names.iter().map(|n| chunk(*n).0).collect();
    match ask(relay, world, who, ChunkRequest::Offer(ChunkNames { chunks })) {
        Reply::Chunks(Frame::WantedChunks(names)) => names.chunks,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_put_is_got_by_any_member_and_asked_for_once() {
    let (world, volunteer, relay) = village();
    assert_eq!(get(&relay, &world, &world.founder, 1), None);
    assert_eq!(lacking(&relay, &world, &volunteer, &[1, 2]), [chunk(1).0, chunk(2).0]);
    assert_eq!(put(&relay, &world, &volunteer, 1), None);
    assert_eq!(put(&relay, &world, &volunteer, 1), None, "saying it again changes nothing");
    assert_eq!(lacking(&relay, &world, &volunteer, &[1, 2]), [chunk(2).0]);
    assert_eq!(get(&relay, &world, &world.founder, 1), Some(chunk(1).1));
}

#[test]
fn a_chunk_under_a_wrong_name_is_refused() {
    let (world, volunteer, relay) = village();
    let refused = put_as(&relay, &world, &volunteer, chunk(1).0, &chunk(2).1);
    assert_eq!(refused, Some(Refusal::MALFORMED));
    let large = vec![1; limits::CHUNK_BYTES + 17];
    let refused = put_as(&relay, &world, &volunteer, ChunkId(sha256(&large).0), &large);
    assert_eq!(refused, Some(Refusal::MALFORMED));
    assert_eq!(get(&relay, &world, &volunteer, 1), None);
}

#[test]
fn strangers_and_who_was_taken_out_put_and_get_nothing() {
    let (mut world, volunteer, relay) = village();
    let stranger = Person::new(9);
    assert_eq!(put(&relay, &world, &stranger, 1), Some(Refusal::UNKNOWN_DEVICE));
    assert_eq!(put(&relay, &world, &volunteer, 1), None);
    let removed = world.remove(&volunteer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removed]))));
    assert_eq!(put(&relay, &world, &volunteer, 2), Some(Refusal::REMOVED));
    for (who, refusal) in [(&stranger, Refusal::UNKNOWN_DEVICE), (&volunteer, Refusal::REMOVED)] {
        let get = ChunkRequest::Get(GetChunk { chunk: chunk(1).0 });
        let offer = ChunkRequest::Offer(ChunkNames { chunks: vec![chunk(1).0] });
        for request in [get, offer] {
            let Reply::Refused(why) = ask(&relay, &world, who, request) else { panic!("it was answered") };
            assert_eq!(why.refusal, refusal);
        }
    }
    assert_eq!(get(&relay, &world, &world.founder, 1), Some(chunk(1).1), "what was brought stays");
}

#[test]
fn space_is_counted_by_group_and_device_and_given_back() {
    let mut world = World::new(1);
    let people: Vec<Person> = (2..=6).map(Person::new).collect();
    for person in &people {
        world.admit(person, VOLUNTEER);
    }
    let one = limits::CHUNK_BYTES as u64 + 16;
    // Room for nine; two from each device.
    let relay = relay_with(Rules { group_media_bytes_max: 9 * one, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let mut n = 0;
    let mut brought = Vec::new();
    for person in &people {
        let outcomes: Vec<_> = (0..3)
            .map(|_| {
                n += 1;
                put(&relay, &world, person, n)
            })
            .collect();
        brought.push(outcomes);
    }
    let full = Some(Refusal::QUOTA);
    assert!(brought[..4].iter().all(|outcomes| *outcomes == [None, None, full]), "{brought:?}");
    assert_eq!(brought[4], [None, full, full], "the group's space is used up");
    relay.drop_chunks(world.id, &[chunk(1).0, chunk(99).0]).unwrap();
    assert_eq!(get(&relay, &world, &people[0], 1), None);
    assert_eq!(put(&relay, &world, &people[0], 3), None, "there is room again");
}

#[test]
fn who_sends_too_fast_is_told_when_to_go_on() {
    let (world, volunteer, _) = village();
    let relay = relay_with(Rules { device_entries_per_minute: 20, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    assert_eq!([1, 2].map(|n| put(&relay, &world, &volunteer, n)), [None, None]);
    assert_eq!(put(&relay, &world, &volunteer, 3), Some(Refusal::RATE));
}

/// Whatever the disk does, what was acknowledged is there after a restart, under the space that it takes.
#[test]
fn what_was_acknowledged_survives_a_store_that_stops() {
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        for applies in 2..6 {
            let mut world = World::new(1);
            let volunteer = Person::new(2);
            world.admit(&volunteer, VOLUNTEER);
            let store = Arc::new(FaultyStore::new(MemoryStore::default(), applies, fault));
            let relay = relay_in(Arc::clone(&store) as Arc<dyn Store>, rules());
            commit(&relay, push(&world, &world.founder, &world.roll));
            let mut kept = Vec::new();
            for n in 1..=3 {
                let (chunk, bytes) = chunk(n);
                let put = PutChunk { chunk, ciphertext: ByteVec::from(bytes) };
                match ask(&relay, &world, &volunteer, ChunkRequest::Put(put)) {
                    Reply::Chunks(Frame::ChunkAck(ack)) if ack.outcome == Outcome::Kept => kept.push(n),
                    Reply::Chunks(Frame::ChunkAck(_)) => {}
                    Reply::Refused(why) => assert_eq!(why.refusal, Refusal::STORE),
                    other => panic!("{other:?}"),
                }
            }
            assert!(kept.len() >= applies.saturating_sub(2).min(3), "{kept:?} of {applies} writes");
            drop(relay);
            let relay = relay_in(Arc::new(Arc::into_inner(store).unwrap().into_inner()), rules());
            for n in kept {
                assert_eq!(get(&relay, &world, &volunteer, n), Some(chunk(n).1));
            }
        }
    }
}
