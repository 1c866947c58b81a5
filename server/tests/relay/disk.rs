//! A disk that runs full: less is taken, what is here is served, and all is taken again once there is room.

use lamppost_core::base::ChunkId;
use lamppost_core::base::hash::sha256;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_core::sync::media::PutChunk;
use lamppost_server::{ChunkRequest, Level, Query, Relay, Reply};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

fn founds(relay: &Relay, seed: u8) -> Option<Refusal> {
    let world = World::new(seed);
    refusals(&commit(relay, push(&world, &world.founder, &world.roll)))[0]
}

#[test]
fn less_is_taken_as_the_disk_fills_and_all_of_it_afterwards() {
    let (mut world, mut volunteer, relay) = village();
    let mut leaver = Person::new(5);
    let admission = world.admit(&leaver, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admission]))));
    let named = world.words(&mut volunteer, GROUP, b"a photo");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &named))));
    let device = volunteer.device();
    let put = |n: u8| {
        let bytes = vec![n; 1_000];
        let (chunk, entry) = (ChunkId(sha256(&bytes).0), named[1].wire().signed.clone());
        let request = ChunkRequest::Put(PutChunk { chunk, ciphertext: ByteVec::from(bytes), entry });
        let group = world.id;
        match relay.answer(Query::Chunks { group, device, request }, NOW_MS) {
            Reply::Chunks(Frame::ChunkAck(ack)) => match ack.outcome {
                Outcome::Kept => None,
                Outcome::Refused(why) => Some(why.refusal),
            },
            other => panic!("{other:?}"),
        }
    };

    relay.gauge().set(Level::Low);
    assert_eq!((founds(&relay, 7), put(1)), (Some(Refusal::CLOSED), Some(Refusal::QUOTA)));
    let words = world.words(&mut volunteer, GROUP, b"still taken");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))));

    relay.gauge().set(Level::Scarce);
    let later = world.words(&mut leaver, GROUP, b"later");
    let refused = commit(&relay, push(&world, &leaver, &later));
    assert_eq!(refusals(&refused), [Some(Refusal::QUOTA); 2]);
    let Outcome::Refused(why) = &refused.ack.outcomes[0] else { panic!("kept") };
    assert!(why.reason.contains("disk") && why.retry_after_ms.is_some(), "{why:?}");
    let removal = world.clone().remove(&leaver);
    relay.gauge().set(Level::Full);
    let answer = commit(&relay, push(&world, &world.founder, std::slice::from_ref(&removal)));
    assert_eq!(refusals(&answer), [Some(Refusal::QUOTA)]);
    assert!(!relay.has_failed());
    let opened = relay.answer(Query::Open { group: world.id, device: volunteer.device(), key: None }, NOW_MS);
    assert!(matches!(opened, Reply::Opened { .. }), "it can be read");

    relay.gauge().set(Level::Plenty);
    assert!(all_kept(&commit(&relay, push(&world, &leaver, &later))));
    assert_eq!((founds(&relay, 7), put(1)), (None, None));
    relay.gauge().set(Level::Scarce);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[removal]))), "a removal is still kept");
}
