//! What one member of the least role can make a relay keep in the membership log.

use ed25519_dalek::SigningKey;
use lamppost_core::base::{EpochId, cbor, limits};
use lamppost_core::entry::{Kind, SealedKeys, Verified};
use lamppost_core::roll::operation::Shred;
use lamppost_core::roll::{EpochName, Grant, KeyUpdate, Operation};
use lamppost_core::sync::frame::Refusal;
use lamppost_server::{Relay, Rules};

use crate::fixture::*;

/// Pushes in frames and counts what is kept and what is refused for which reason.
fn outcomes(relay: &Relay, world: &World, by: &Person, entries: &[Verified]) -> Vec<Option<Refusal>> {
    let frames = entries.chunks(limits::FRAME_ENTRIES_MAX);
    frames.flat_map(|frame| refusals(&commit(relay, push(world, by, frame)))).collect()
}

fn roomy(world: &World) -> Relay {
    let relay =
        relay_with(Rules { group_bytes_max: 1 << 30, device_entries_per_minute: 1_000_000, ..rules() });
    assert!(all_kept(&commit(&relay, push(world, &world.founder, &world.roll))));
    relay
}

#[test]
fn certificates_of_nobody_are_refused() {
    let (mut world, volunteer, _) = village();
    let relay = roomy(&world);
    let strangers = (3..100).map(|seed| {
        let mut stranger = Person::new(seed);
        let (heads, certificate) = (world.roll_heads(), stranger.certificate(world.id));
        stranger.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate)
    });
    let strangers: Vec<Verified> = strangers.collect();
    let refused = outcomes(&relay, &world, &volunteer, &strangers);
    assert!(refused.iter().all(|why| *why == Some(Refusal::UNKNOWN_DEVICE)), "{refused:?}");
    // Nor those of somebody who was removed.
    let mut former = Person::new(100);
    let (admitted, removed) = (world.admit(&former, VOLUNTEER), world.remove(&former));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admitted, removed]))));
    let mut tablet = former.on_another_device(101);
    for device in [&mut former, &mut tablet] {
        let certificate = device.certificate(world.id);
        let own = device.write(Some(world.id), ROLL, &world.roll_heads(), Kind::CERTIFICATE, certificate);
        let refused = outcomes(&relay, &world, &volunteer, &[own]);
        assert_eq!(
            refused,
            [Some(if device.device() == Person::new(100).device() {
                Refusal::REMOVED
            } else {
                Refusal::UNKNOWN_DEVICE
            })]
        );
    }
}

#[test]
fn devices_on_old_heads_share_the_room_of_their_member() {
    let (mut world, volunteer, _) = village();
    let relay = roomy(&world);
    let old = world.roll_heads();
    // Each is the first entry of its log, and knows of no other.
    let count = limits::MEMBER_ENTRIES_MAX + 100;
    let certificates = (0..count).map(|number| {
        let mut device = volunteer.clone();
        let mut key = [9; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        device.key = SigningKey::from_bytes(&key);
        let certificate = device.certificate(world.id);
        device.write(Some(world.id), ROLL, &old, Kind::CERTIFICATE, certificate)
    });
    let certificates: Vec<Verified> = certificates.collect();
    let answers = outcomes(&relay, &world, &volunteer, &certificates);
    let kept = answers.iter().filter(|why| why.is_none()).count() as u64;
    assert_eq!(kept, limits::MEMBER_ENTRIES_MAX);
    assert!(answers.iter().all(|why| matches!(why, None | Some(Refusal::QUOTA))));
    // Others are not affected, and the member can be removed.
    let newcomer = Person::new(7);
    let (admitted, removed) = (world.admit(&newcomer, VOLUNTEER), world.remove(&volunteer));
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[admitted, removed]))));
}

#[test]
fn flood_of_grants_is_refused() {
    let (world, mut volunteer, _) = village();
    let relay = roomy(&world);
    let certificate = volunteer.certificate(world.id);
    let heads = world.roll_heads();
    let own = volunteer.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate);
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &[own]))));
    let epoch = EpochId::of(0, &[5; 32]);
    let grant = Grant {
        device: world.founder.device(),
        mask: 1,
        sealed: SealedKeys { encapsulated: [1; 32], ciphertext: vec![2; 48] },
    };
    let keys = KeyUpdate {
        rotations: Vec::new(),
        epochs: vec![EpochName { compartment: GROUP, epoch }],
        grants: vec![grant; limits::GRANTS_MAX],
    };
    let body = cbor::encode(&Operation::KeyUpdate(keys));
    let flood = volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, body);
    assert_eq!(outcomes(&relay, &world, &volunteer, &[flood]), [Some(Refusal::ROLE)]);
}

#[test]
fn member_who_fills_their_room_is_refused_and_gets_new_room() {
    let (mut world, mut volunteer, _) = village();
    let relay = roomy(&world);
    let heads = world.roll_heads();
    let mut entries = Vec::new();
    let certificate = volunteer.certificate(world.id);
    entries.push(volunteer.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate));
    let shred = |number: u64| {
        let document = Some(lamppost_core::base::hash::sha256(&number.to_be_bytes()));
        cbor::encode(&Operation::Shred(Shred { entries: Vec::new(), document }))
    };
    for number in 1..limits::MEMBER_ENTRIES_MAX {
        entries.push(volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, shred(number)));
    }
    assert!(outcomes(&relay, &world, &volunteer, &entries).iter().all(Option::is_none));
    let mut beyond = volunteer.clone();
    let one_more = beyond.write(Some(world.id), ROLL, &heads, Kind::OPERATION, shred(0));
    assert_eq!(outcomes(&relay, &world, &volunteer, &[one_more]), [Some(Refusal::ROLE)]);
    // The coordinator has heard of all that.
    world.roll.extend(entries);
    let again = world.admit(&volunteer, VOLUNTEER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[again]))));
    let heads = world.roll_heads();
    let fresh = volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, shred(0));
    assert_eq!(outcomes(&relay, &world, &volunteer, &[fresh]), [None]);
}
