//! Chunks of files: who may put and get them, what is refused, and what a cut or a lost store leaves.

use std::sync::Arc;

use lamppost_core::base::hash::sha256;
use lamppost_core::base::{ChunkId, limits};
use lamppost_core::entry::{LogHead, LogId, Verified};
use lamppost_core::roll::Operation;
use lamppost_core::roll::operation::{EndHold, Hold, Shred, Watermark};
use lamppost_core::storage::{FaultAt, FaultyStore, MemoryStore, Store};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_core::sync::media::{ChunkNames, GetChunk, PutChunk};
use lamppost_server::{ChunkRequest, Query, Relay, Reply, Rules};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

const DAY_MS: u64 = 86_400_000;

/// A ciphertext, as far as a relay can tell, and its name.
fn chunk(n: u8) -> (ChunkId, Vec<u8>) {
    let bytes = vec![n; limits::CHUNK_BYTES + 16];
    (ChunkId(sha256(&bytes).0), bytes)
}

fn ask(relay: &Relay, world: &World, who: &Person, request: ChunkRequest) -> Reply {
    relay.answer(Query::Chunks { group: world.id, device: who.device(), request }, NOW_MS)
}

/// A village whose founder has written something that names photos.
fn written() -> (World, Person, Relay, Verified) {
    let (mut world, volunteer, relay) = village();
    let entry = says(&relay, &mut world);
    (world, volunteer, relay, entry)
}

/// The founder's words, which the relay has.
fn says(relay: &Relay, world: &mut World) -> Verified {
    let mut entries = world.founder_words(GROUP, b"there was a van");
    commit(relay, push(world, &world.founder, &entries));
    entries.pop().unwrap()
}

fn put_as(
    relay: &Relay,
    world: &World,
    who: &Person,
    entry: &Verified,
    (name, bytes): (ChunkId, Vec<u8>),
) -> Option<Refusal> {
    let entry = entry.wire().signed.clone();
    let put = PutChunk { chunk: name, ciphertext: ByteVec::from(bytes), entry };
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

fn put(relay: &Relay, world: &World, who: &Person, entry: &Verified, n: u8) -> Option<Refusal> {
    put_as(relay, world, who, entry, chunk(n))
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
fn what_was_put_is_got_by_who_may_read_it_and_asked_for_once() {
    let (world, volunteer, relay, entry) = written();
    assert_eq!(get(&relay, &world, &world.founder, 1), None);
    assert_eq!(lacking(&relay, &world, &volunteer, &[1, 2]), [chunk(1).0, chunk(2).0]);
    assert_eq!(put(&relay, &world, &volunteer, &entry, 1), None);
    assert_eq!(put(&relay, &world, &volunteer, &entry, 1), None, "saying it again changes nothing");
    assert_eq!(lacking(&relay, &world, &volunteer, &[1, 2]), [chunk(2).0]);
    assert_eq!(get(&relay, &world, &world.founder, 1), Some(chunk(1).1));
}

/// A member who may not read a document is not told that its photos are there, even if they know the names.
#[test]
fn an_offer_is_answered_by_what_the_asker_may_read_and_what_it_brought_itself() {
    let (mut world, volunteer, relay, entry) = written();
    let partner = Person::new(5);
    let admitted = world.admit(&partner, PARTNER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admitted]))));
    assert_eq!(put(&relay, &world, &volunteer, &entry, 1), None);
    assert_eq!(lacking(&relay, &world, &partner, &[1, 2]), [chunk(1).0, chunk(2).0]);
    // What it brings all the same is kept once, and what it brought itself it is told of.
    assert_eq!(put(&relay, &world, &partner, &entry, 1), None);
    assert_eq!(put(&relay, &world, &partner, &entry, 2), None);
    assert_eq!(lacking(&relay, &world, &partner, &[1, 2]), [chunk(1).0]);
    assert_eq!(lacking(&relay, &world, &volunteer, &[1, 2]), []);
}

#[test]
fn a_chunk_under_a_wrong_name_is_refused() {
    let (world, volunteer, relay, entry) = written();
    let refused = put_as(&relay, &world, &volunteer, &entry, (chunk(1).0, chunk(2).1));
    assert_eq!(refused, Some(Refusal::MALFORMED));
    let large = vec![1; limits::CHUNK_BYTES + 17];
    let refused = put_as(&relay, &world, &volunteer, &entry, (ChunkId(sha256(&large).0), large));
    assert_eq!(refused, Some(Refusal::MALFORMED));
    assert_eq!(get(&relay, &world, &volunteer, 1), None);
}

#[test]
fn strangers_and_who_was_taken_out_put_and_get_nothing() {
    let (mut world, volunteer, relay, entry) = written();
    let stranger = Person::new(9);
    assert_eq!(put(&relay, &world, &stranger, &entry, 1), Some(Refusal::UNKNOWN_DEVICE));
    assert_eq!(put(&relay, &world, &volunteer, &entry, 1), None);
    let removed = world.remove(&volunteer);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removed]))));
    assert_eq!(put(&relay, &world, &volunteer, &entry, 2), Some(Refusal::REMOVED));
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
fn media_space_is_counted_by_member_and_given_back() {
    let mut world = World::new(1);
    let people: Vec<Person> = (2..=6).map(Person::new).collect();
    for person in &people {
        world.admit(person, VOLUNTEER);
    }
    let one = limits::CHUNK_BYTES as u64 + 16;
    // Room for nine, and something kept for whoever has brought nothing; two from each member.
    let relay = relay_with(Rules { group_media_bytes_max: 11 * one, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let entry = says(&relay, &mut world);
    let mut n = 0;
    let mut brought = Vec::new();
    for person in &people {
        let outcomes: Vec<_> = (0..3)
            .map(|_| {
                n += 1;
                put(&relay, &world, person, &entry, n)
            })
            .collect();
        brought.push(outcomes);
    }
    let full = Some(Refusal::QUOTA);
    assert!(brought[..4].iter().all(|outcomes| *outcomes == [None, None, full]), "{brought:?}");
    assert_eq!(brought[4], [None, full, full], "the group's space is used up");
    // What is over gives its room back, and is not taken again.
    let shred =
        says_of(&mut world, &entry, |head| Operation::Shred(Shred { entries: vec![head], document: None }));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[shred]))));
    assert_eq!(relay.sweep(NOW_MS).unwrap(), 10, "a body and nine chunks");
    assert_eq!(relay.sweep(NOW_MS).unwrap(), 0);
    assert_eq!(put(&relay, &world, &people[0], &entry, 1), None, "who brings it is done with it");
    assert!((1..=n).all(|n| get(&relay, &world, &people[0], n).is_none()));
    let other = says(&relay, &mut world);
    assert_eq!(put(&relay, &world, &people[0], &other, 3), None, "there is room again");
}

/// An operation of the founder's about an entry.
fn says_of(world: &mut World, entry: &Verified, operation: impl Fn(Watermark) -> Operation) -> Verified {
    let head = LogHead { seq: entry.header().seq, hash: entry.hash() };
    world.operation(&operation(Watermark { log: LogId::of(entry), head }))
}

#[test]
fn chunks_stay_as_long_as_their_words_and_reach_no_other_compartment() {
    let (mut world, mut volunteer, relay) = village();
    let today = u32::try_from(NOW_MS / DAY_MS).unwrap();
    volunteer.expiry_day = Some(today);
    let mut words = world.words(&mut volunteer, GROUP, b"a van");
    words.extend(world.words(&mut volunteer, COORDINATORS, b"its plate"));
    let (clean, original) = (words[1].clone(), words[3].clone());
    assert_eq!(put(&relay, &world, &volunteer, &clean, 1), Some(Refusal::GAP), "the words go first");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));
    let certificate = &words[0];
    assert_eq!(
        put(&relay, &world, &volunteer, certificate, 1),
        Some(Refusal::MALFORMED),
        "it would stay for good"
    );
    assert_eq!(
        [put(&relay, &world, &volunteer, &clean, 1), put(&relay, &world, &volunteer, &original, 2)],
        [None; 2]
    );
    assert_eq!(get(&relay, &world, &volunteer, 1), Some(chunk(1).1));
    assert_eq!(
        get(&relay, &world, &volunteer, 2),
        None,
        "who knows the name gets nothing that they may not read"
    );
    assert_eq!(get(&relay, &world, &world.founder, 2), Some(chunk(2).1));

    let hold =
        world.operation(&Operation::Hold(Hold { entries: vec![clean.hash()], reason: 1, until_day: None }));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, std::slice::from_ref(&hold)))));
    assert_eq!(relay.sweep(NOW_MS).unwrap(), 0, "it is their last day");
    assert_eq!(relay.sweep(NOW_MS + DAY_MS).unwrap(), 2, "the plate and its photo");
    assert_eq!([1, 2].map(|n| get(&relay, &world, &world.founder, n).is_some()), [true, false]);
    let end = world.operation(&Operation::EndHold(EndHold { holds: vec![hold.hash()] }));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[end]))));
    assert_eq!(relay.sweep(NOW_MS + DAY_MS).unwrap(), 2);
    assert_eq!(get(&relay, &world, &world.founder, 1), None);
}

#[test]
fn who_sends_too_fast_is_told_when_to_go_on() {
    let (mut world, volunteer, _) = village();
    let relay = relay_with(Rules { device_entries_per_minute: 20, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let entry = says(&relay, &mut world);
    assert_eq!([1, 2].map(|n| put(&relay, &world, &volunteer, &entry, n)), [None, None]);
    assert_eq!(put(&relay, &world, &volunteer, &entry, 3), Some(Refusal::RATE));
}

/// Whatever the disk does, what was acknowledged is there after a restart, under the space that it takes.
#[test]
fn what_was_acknowledged_survives_a_store_that_stops() {
    for fault in [FaultAt::BeforeWrite, FaultAt::AfterWrite] {
        for applies in 3..7 {
            let mut world = World::new(1);
            let volunteer = Person::new(2);
            world.admit(&volunteer, VOLUNTEER);
            let store = Arc::new(FaultyStore::new(MemoryStore::default(), applies, fault));
            let relay = relay_in(Arc::clone(&store) as Arc<dyn Store>, rules());
            commit(&relay, push(&world, &world.founder, &world.roll));
            let entry = says(&relay, &mut world);
            let mut kept = Vec::new();
            for n in 1..=3 {
                let (chunk, bytes) = chunk(n);
                let entry = entry.wire().signed.clone();
                let put = PutChunk { chunk, ciphertext: ByteVec::from(bytes), entry };
                match ask(&relay, &world, &volunteer, ChunkRequest::Put(put)) {
                    Reply::Chunks(Frame::ChunkAck(ack)) if ack.outcome == Outcome::Kept => kept.push(n),
                    Reply::Chunks(Frame::ChunkAck(_)) => {}
                    Reply::Refused(why) => assert_eq!(why.refusal, Refusal::STORE),
                    other => panic!("{other:?}"),
                }
            }
            assert!(kept.len() >= applies.saturating_sub(3).min(3), "{kept:?} of {applies} writes");
            drop(relay);
            let relay = relay_in(Arc::new(Arc::into_inner(store).unwrap().into_inner()), rules());
            for n in kept {
                assert_eq!(get(&relay, &world, &volunteer, n), Some(chunk(n).1));
            }
        }
    }
}
