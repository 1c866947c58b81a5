//! What the relay keeps of a push and what it refuses, with the reason.

use ed25519_dalek::SigningKey;
use lamppost_core::base::cose::{self, Purpose, Unverified};
use lamppost_core::base::{GroupId, cbor, limits};
use lamppost_core::entry::{Header, Kind, Verified, Wire};
use lamppost_core::sync::frame::{Outcome, Refusal};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_server::{Pushed, Query, Relay, Reply, Rules};
use minicbor::bytes::ByteVec;

use crate::fixture::*;

fn one(relay: &Relay, world: &World, person: &Person, wire: Wire) -> Option<Refusal> {
    let push = Pushed { group: world.id, device: person.device(), number: 0, entries: vec![wire] };
    refusals(&commit(relay, push))[0]
}

/// The entry with another signed part, made from its header by `change` and signed by `key`.
fn resigned(entry: &Verified, key: &SigningKey, change: impl FnOnce(&mut Header)) -> Wire {
    let mut header = entry.header().clone();
    change(&mut header);
    let signed = ByteVec::from(cose::sign(key, Purpose::Entry, cbor::encode(&header)));
    Wire { signed, ..entry.wire().clone() }
}

#[test]
fn a_receipt_names_what_was_kept_and_the_history_with_it() {
    let (world, mut volunteer, relay) = village();
    let entries = world.words(&mut volunteer, GROUP, b"a light on the corner");
    let answer = commit(&relay, push(&world, &volunteer, &entries));
    assert!(all_kept(&answer) && answer.belongs);
    let receipt = answer.ack.receipt.unwrap();
    let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), world.id).unwrap();
    assert_eq!(receipt.receipt().entries, entries.iter().map(|e| e.hash()).collect::<Vec<_>>());
    assert_eq!(receipt.receipt().checkpoint.size, 4);
}

#[test]
fn pushing_again_changes_nothing_and_is_acknowledged_again() {
    let (world, mut volunteer, relay) = village();
    let mut entries = world.words(&mut volunteer, GROUP, b"once");
    let first = commit(&relay, push(&world, &volunteer, &entries)).ack;
    entries.extend(entries.clone());
    let committed = relay.commit(vec![push(&world, &volunteer, &entries)], NOW_MS);
    assert_eq!((committed.entries, committed.grown.len()), (0, 0));
    assert!(all_kept(&committed.answers[0]));
    let checkpoint = |receipt: &ByteVec| {
        let signed = SignedReceipt::verify(receipt, relay.id(), relay.incarnation(), world.id).unwrap();
        (signed.receipt().checkpoint, signed.receipt().entries.len())
    };
    let again = checkpoint(committed.answers[0].ack.receipt.as_ref().unwrap());
    assert_eq!(again, (checkpoint(&first.receipt.unwrap()).0, 4));
}

#[test]
fn one_push_may_hold_an_entry_twice() {
    let (world, mut volunteer, relay) = village();
    let entries = world.words(&mut volunteer, GROUP, b"twice");
    let twice = [entries.clone(), entries].concat();
    let committed = relay.commit(vec![push(&world, &volunteer, &twice)], NOW_MS);
    assert!(all_kept(&committed.answers[0]));
    assert_eq!(committed.entries, 2);
}

#[test]
fn two_sessions_with_the_same_entries_in_one_commit() {
    let (world, mut volunteer, relay) = village();
    let entries = world.words(&mut volunteer, GROUP, b"both");
    let pushes = vec![push(&world, &volunteer, &entries), push(&world, &world.founder, &entries)];
    let committed = relay.commit(pushes, NOW_MS);
    assert!(committed.answers.iter().all(all_kept));
    assert_eq!((committed.entries, committed.grown), (2, vec![world.id]));
}

#[test]
fn forged_and_altered_entries() {
    let (world, mut volunteer, relay) = village();
    let certificate = world.words(&mut volunteer, GROUP, b"words").remove(0);
    let thief = SigningKey::from_bytes(&[99; 32]);
    // Signed by another key, of another form, with another body.
    assert_eq!(
        one(&relay, &world, &volunteer, resigned(&certificate, &thief, |_| {})),
        Some(Refusal::SIGNATURE)
    );
    let garbage = Wire { signed: ByteVec::from(vec![1, 2, 3]), body: None };
    assert_eq!(one(&relay, &world, &volunteer, garbage), Some(Refusal::MALFORMED));
    let other_body = Wire { body: Some(ByteVec::from(b"other".to_vec())), ..certificate.wire().clone() };
    assert_eq!(one(&relay, &world, &volunteer, other_body), Some(Refusal::MALFORMED));
    let mut truncated = certificate.wire().clone();
    truncated.signed.pop();
    assert_eq!(one(&relay, &world, &volunteer, truncated), Some(Refusal::MALFORMED));
    let oversized =
        Wire { body: Some(ByteVec::from(vec![0; limits::BODY_BYTES_MAX + 1])), ..certificate.wire().clone() };
    assert_eq!(one(&relay, &world, &volunteer, oversized), Some(Refusal::MALFORMED));
    let newer = resigned(&certificate, &volunteer.key, |header| header.version = 2);
    assert_eq!(one(&relay, &world, &volunteer, newer), Some(Refusal::VERSION));
    // After all that, the honest entry is kept.
    assert_eq!(one(&relay, &world, &volunteer, certificate.wire().clone()), None);
}

#[test]
fn a_body_may_be_missing_only_after_it_expired() {
    let (world, mut volunteer, relay) = village();
    let certificate = world.words(&mut volunteer, GROUP, b"words").remove(0);
    assert_eq!(one(&relay, &world, &volunteer, certificate.wire().clone()), None);
    let entry = &world.words(&mut volunteer, GROUP, b"more")[0];
    let yesterday = u32::try_from(NOW_MS / 86_400_000 - 1).unwrap();
    let previous = certificate.hash();
    for (day, expected) in [
        (None, Some(Refusal::MALFORMED)),
        (Some(yesterday + 1), Some(Refusal::MALFORMED)),
        (Some(yesterday), None),
    ] {
        let mut wire = resigned(entry, &volunteer.key, |header| {
            (header.seq, header.previous, header.expiry_day) = (1, Some(previous), day);
        });
        wire.body = None;
        assert_eq!(one(&relay, &world, &volunteer, wire), expected, "{day:?}");
    }
}

#[test]
fn one_bad_entry_fails_alone() {
    let (mut world, mut volunteer, relay) = village();
    let good = world.words(&mut volunteer, GROUP, b"good");
    let mut entries = wires(&good);
    entries.insert(0, Wire { signed: ByteVec::from(vec![0]), body: None });
    entries.extend(wires(&world.founder_words(COMMON, b"bulletin")));
    let answer = commit(&relay, Pushed { group: world.id, device: volunteer.device(), number: 0, entries });
    assert_eq!(refusals(&answer), [Some(Refusal::MALFORMED), None, None, None, None]);
}

#[test]
fn gaps_and_forks() {
    let (world, mut volunteer, relay) = village();
    let mut rival = volunteer.clone();
    let entries = world.words(&mut volunteer, GROUP, b"first");
    let later = world.words(&mut volunteer, GROUP, b"second");
    assert_eq!(one(&relay, &world, &volunteer, later[0].wire().clone()), Some(Refusal::GAP));
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &entries))));
    assert_eq!(one(&relay, &world, &volunteer, later[0].wire().clone()), None);

    let forked = world.words(&mut rival, GROUP, b"another first");
    assert_eq!(refusals(&commit(&relay, push(&world, &rival, &forked))), [None, Some(Refusal::FORK)]);
}

#[test]
fn entries_of_another_group_or_chain() {
    let (world, mut volunteer, relay) = village();
    let other = World::new(5);
    let foreign = other.words(&mut volunteer.clone(), GROUP, b"foreign");
    assert_eq!(one(&relay, &world, &volunteer, foreign[0].wire().clone()), Some(Refusal::OTHER_GROUP));
    assert_eq!(one(&relay, &world, &volunteer, other.roll[0].wire().clone()), Some(Refusal::OTHER_GROUP));

    let entries = world.words(&mut volunteer, GROUP, b"words");
    let unchained = resigned(&entries[1], &SigningKey::from_bytes(&[9; 32]), |header| {
        header.previous = Some(world.roll[0].hash());
    });
    let pushed = vec![entries[0].wire().clone(), unchained];
    let push = Pushed { group: world.id, device: volunteer.device(), number: 0, entries: pushed };
    assert_eq!(refusals(&commit(&relay, push)), [None, Some(Refusal::SIGNATURE)]);
}

#[test]
fn a_role_writes_where_it_may_and_nowhere_else() {
    let (world, mut volunteer, relay) = village();
    let bulletin = world.words(&mut volunteer, COMMON, b"not mine to write");
    let refused = refusals(&commit(&relay, push(&world, &volunteer, &bulletin)));
    assert_eq!(refused, [Some(Refusal::ROLE); 2]);
    let sealed = world.words(&mut volunteer, COORDINATORS, b"for coordinators");
    assert!(all_kept(&commit(&relay, push(&world, &volunteer, &sealed))));

    let mut stranger = Person::new(9);
    let words = world.words(&mut stranger, GROUP, b"let me in");
    let refused = refusals(&commit(&relay, push(&world, &volunteer, &words)));
    assert_eq!(refused[0], Some(Refusal::UNKNOWN_DEVICE));
    let operation = cbor::encode(&admission(world.id, &stranger, COORDINATOR));
    let certificate = volunteer.certificate(world.id);
    let heads = world.roll_heads();
    let usurped = [
        volunteer.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate),
        volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, operation),
    ];
    assert_eq!(refusals(&commit(&relay, push(&world, &volunteer, &usurped))), [None, Some(Refusal::ROLE)]);
}

#[test]
fn a_refused_roll_entry_leaves_no_trace() {
    let (mut world, mut volunteer, relay) = village();
    let stranger = Person::new(9);
    let certificate = volunteer.certificate(world.id);
    let heads = world.roll_heads();
    let certified = volunteer.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate);
    let operation = cbor::encode(&admission(world.id, &stranger, COORDINATOR));
    let usurped = volunteer.write(Some(world.id), ROLL, &heads, Kind::OPERATION, operation);
    // The coordinator has heard of it and cites it: the relay cannot take what rests on what it refused.
    let citing = world.founder.write(
        Some(world.id),
        ROLL,
        &[usurped.hash()],
        Kind::OPERATION,
        cbor::encode(&admission(world.id, &stranger, VOLUNTEER)),
    );
    let answer = commit(&relay, push(&world, &volunteer, &[certified, usurped, citing]));
    assert_eq!(refusals(&answer), [None, Some(Refusal::ROLE), Some(Refusal::ROLL_UNKNOWN)]);
    let heads = relay.answer(Query::Heads { group: world.id, device: volunteer.device() }, NOW_MS);
    let Reply::Heads(heads) = heads else { panic!("{heads:?}") };
    assert_eq!(heads.logs.iter().map(|log| log.head.seq).sum::<u64>(), 1, "{heads:?}");
}

#[test]
fn the_newest_role_binds_its_author_and_nobody_who_carries_older_words() {
    let (mut world, mut volunteer, relay) = village();
    let written_before = world.words(&mut volunteer, GROUP, b"as a volunteer");
    let demotion = world.admit(&volunteer, PARTNER);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &[demotion]))));
    let own = refusals(&commit(&relay, push(&world, &volunteer, &written_before)));
    assert_eq!(own, [Some(Refusal::ROLE); 2]);
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &written_before))));
}

#[test]
fn who_does_not_belong_brings_the_roll_and_nothing_else() {
    let (mut world, mut volunteer, relay) = village();
    let newcomer = Person::new(4);
    let admitted = world.admit(&newcomer, VOLUNTEER);
    let words = world.words(&mut volunteer, GROUP, b"words");
    let stranger = Person::new(9);
    let both = [vec![admitted], words].concat();
    let answer = commit(&relay, push(&world, &stranger, &both));
    assert_eq!(refusals(&answer), [None, Some(Refusal::UNKNOWN_DEVICE), Some(Refusal::UNKNOWN_DEVICE)]);
    assert!(!answer.belongs);
    // The admission it brought counts for the one it admits, in the very push that brings it.
    let mut late = Person::new(5);
    let admitted = world.admit(&late, VOLUNTEER);
    let words = world.words(&mut late, GROUP, b"hello");
    let answer = commit(&relay, push(&world, &late, &[vec![admitted], words].concat()));
    assert!(all_kept(&answer) && answer.belongs);
}

#[test]
fn a_certificate_alone_brings_nobody_in() {
    let (world, volunteer, relay) = village();
    let mut stranger = Person::new(9);
    let (heads, certificate) = (world.roll_heads(), stranger.certificate(world.id));
    let certified = [stranger.write(Some(world.id), ROLL, &heads, Kind::CERTIFICATE, certificate)];
    for carrier in [&stranger, &volunteer] {
        let refused = refusals(&commit(&relay, push(&world, carrier, &certified)));
        assert_eq!(refused, [Some(Refusal::UNKNOWN_DEVICE)]);
    }
}

/// A wrong clock cannot be mended in what was already signed: to refuse it would strand the phone's words for years.
#[test]
fn a_clock_years_off_strands_nobody() {
    let (world, mut volunteer, relay) = village();
    for claimed_ms in [0, NOW_MS + 70 * 365 * 24 * 3_600_000, u64::MAX] {
        volunteer.claimed_ms = claimed_ms;
        let words = world.words(&mut volunteer, GROUP, b"whenever");
        assert!(all_kept(&commit(&relay, push(&world, &volunteer, &words))), "{claimed_ms}");
    }
}

#[test]
fn a_group_that_is_full_keeps_what_it_has() {
    let mut world = World::new(1);
    // Three sixteenths for the entries of one member.
    let relay = relay_with(Rules { group_bytes_max: 1 << 16, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let small = world.founder_words(COMMON, b"small");
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &small))));
    let large = world.founder_words(COMMON, &[0; 12_000]);
    let both = [small, large].concat();
    let answer = commit(&relay, push(&world, &world.founder, &both));
    assert_eq!(refusals(&answer), [None, None, Some(Refusal::QUOTA)]);
}

#[test]
fn too_much_at_once_is_told_when_to_come_back() {
    let mut world = World::new(1);
    let relay = relay_with(Rules { device_entries_per_minute: 3, ..rules() });
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
    let entries = [world.founder_words(COMMON, b"one"), world.founder_words(COMMON, b"two")].concat();
    let answer = commit(&relay, push(&world, &world.founder, &entries));
    assert_eq!(refusals(&answer), [None, None, Some(Refusal::RATE)]);
    let Outcome::Refused(why) = &answer.ack.outcomes[2] else { panic!("kept") };
    assert_eq!(why.retry_after_ms, Some(20_000));
    let later = relay.commit(vec![push(&world, &world.founder, &entries[2..])], NOW_MS + 20_000);
    assert!(all_kept(&later.answers[0]));
}

#[test]
fn new_groups_come_as_the_operator_allows() {
    let (first, second, third) = (World::new(1), World::new(2), World::new(3));
    let found =
        |relay: &Relay, world: &World| refusals(&commit(relay, push(world, &world.founder, &world.roll)))[0];

    let closed = relay_with(Rules { open_to_new_groups: false, allowed_groups: vec![second.id], ..rules() });
    assert_eq!(found(&closed, &first), Some(Refusal::CLOSED));
    assert_eq!(found(&closed, &second), None);

    let small = relay_with(Rules { groups_max: 1, ..rules() });
    let both = vec![push(&first, &first.founder, &first.roll), push(&third, &third.founder, &third.roll)];
    let answers = small.commit(both, NOW_MS).answers;
    assert_eq!((refusals(&answers[0])[0], refusals(&answers[1])[0]), (None, Some(Refusal::CLOSED)));
    assert_eq!(small.group_count(), 1);
}

#[test]
fn a_group_begins_with_its_own_founding_entry() {
    let mut world = World::new(1);
    let admitted = world.admit(&Person::new(2), VOLUNTEER);
    let relay = relay_with(rules());
    let refused = refusals(&commit(&relay, push(&world, &world.founder, &[admitted])));
    assert_eq!(refused, [Some(Refusal::ROLL_UNKNOWN)]);
    let other = World::new(3);
    assert_eq!(one(&relay, &world, &world.founder, other.roll[0].wire().clone()), Some(Refusal::OTHER_GROUP));

    // The same words under a thief's signature found another group, and under the right name none.
    let thief = SigningKey::from_bytes(&[99; 32]);
    let forged = resigned(&world.roll[0], &thief, |_| {});
    let forged_id = GroupId(lamppost_core::base::hash::sha256(&forged.signed).0);
    let push_forged =
        Pushed { group: forged_id, device: world.founder.device(), number: 0, entries: vec![forged] };
    assert_eq!(refusals(&commit(&relay, push_forged)), [Some(Refusal::SIGNATURE)]);
    assert_eq!(relay.group_count(), 0);
    assert!(Unverified::parse(&world.roll[0].wire().signed).is_ok());
    assert!(all_kept(&commit(&relay, push(&world, &world.founder, &world.roll))));
}

#[test]
fn a_relay_that_lost_everything_is_healed_by_any_member() {
    let (mut world, mut volunteer, _) = village();
    let words = world.words(&mut volunteer, GROUP, b"words");
    let everything = [world.roll.clone(), words, world.founder_words(COMMON, b"bulletin")].concat();
    let empty = relay_with(rules());
    let answer = commit(&empty, push(&world, &volunteer, &everything));
    assert!(all_kept(&answer) && answer.belongs, "{answer:?}");
}
