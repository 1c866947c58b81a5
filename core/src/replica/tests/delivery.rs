//! What a phone says of where its words are.

use ed25519_dalek::SigningKey;

use super::*;
use crate::roll::Target;
use crate::sync::SignedReceipt;
use crate::sync::checkpoint::Arrivals;
use crate::sync::frame::{Refusal, Refused};
use crate::sync::receipt::Receipt;

/// What the outbox holds, in order: its places and entries.
fn queued(phone: &mut Engine) -> Vec<(u64, crate::base::EntryHash)> {
    phone.outbox(0).unwrap().into_iter().map(|outgoing| (outgoing.key, outgoing.hash)).collect()
}

/// As if a relay had acknowledged all that waits.
pub(super) fn acknowledge(phone: &mut Engine, life: Incarnation) {
    let all = queued(phone);
    keep_in(phone, &all, life);
}

/// As if a relay had acknowledged these.
fn keep(phone: &mut Engine, which: &[(u64, crate::base::EntryHash)]) {
    keep_in(phone, which, Incarnation([4; 16]));
}

fn keep_in(phone: &mut Engine, which: &[(u64, crate::base::EntryHash)], incarnation: Incarnation) {
    let (keys, entries): (Vec<u64>, Vec<_>) = which.iter().copied().unzip();
    let (key, mut arrivals) = (SigningKey::from_bytes(&[5; 32]), Arrivals::default());
    entries.iter().for_each(|entry| arrivals.push(*entry));
    let receipt = Receipt {
        relay: RelayId(key.verifying_key().to_bytes()),
        incarnation,
        group: phone.info().unwrap().group,
        received_ms: 1_780_000_000_000,
        entries,
        checkpoint: arrivals.checkpoint().unwrap(),
    };
    phone.mark_kept(&keys, &SignedReceipt::sign(&key, receipt)).unwrap();
}

fn refuse(phone: &mut Engine, (key, _): (u64, crate::base::EntryHash)) {
    phone.mark_refused(key, &Refused::new(Refusal::ROLE, "not now")).unwrap();
}

/// As it is now, and as it is after a restart.
fn shown(seed: u64, phone: &Engine, id: DocumentId) -> Delivery {
    let now = phone.delivery(id);
    let group = phone.group.as_ref().unwrap();
    let (unsent, refused) = (group.unsent.clone(), group.refused.clone());
    let again = Engine::open(environment(seed, Arc::clone(&phone.store))).unwrap();
    let group = again.group.as_ref().unwrap();
    assert_eq!((&group.unsent, &group.refused), (&unsent, &refused));
    now
}

#[test]
fn a_document_is_not_at_the_relay_while_a_part_of_it_is_refused() {
    let Town { mut vic, .. } = town();
    vic.acknowledge_all();
    let id = vic.record(draft("first")).unwrap();
    let first = queued(&mut vic);
    vic.amend(id, draft("second")).unwrap();
    let [.., second] = queued(&mut vic)[..] else { panic!("nothing is queued") };
    assert_eq!(shown(2, &vic, id), Delivery::OnPhone);
    refuse(&mut vic, second);
    assert_eq!(shown(2, &vic, id), Delivery::Refused);
    // Whatever is acknowledged afterwards is another part.
    keep(&mut vic, &first);
    assert_eq!(shown(2, &vic, id), Delivery::Refused);
    vic.offer(&[], true).unwrap();
    let all = queued(&mut vic);
    keep(&mut vic, &all);
    assert_eq!(shown(2, &vic, id), Delivery::AtRelay);
    assert_eq!(vic.set_aside().unwrap(), []);
}

/// What counts again after a removal was undone is offered again, and said to be there once it is.
#[test]
fn what_was_cut_off_and_counts_again_is_not_at_the_relay_that_refused_it() {
    let Town { mut carla, mut vic, .. } = town();
    vic.acknowledge_all();
    let id = vic.record(draft("unseen")).unwrap();
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut vic);
    let waits = queued(&mut vic);
    waits.iter().for_each(|place| refuse(&mut vic, *place));
    assert_eq!(shown(2, &vic, id), Delivery::Refused);
    hand(&vic, &mut carla);
    let cut_off: Vec<_> = carla.set_aside().unwrap().iter().map(|row| row.entry).collect();
    carla.accept(&cut_off).unwrap();
    let request =
        JoinRequest::from_bytes(vic.certificate_for(vic.group_id().unwrap()).unwrap().as_bytes().to_vec());
    carla.admit(&request, RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    hand(&carla, &mut vic);
    assert_eq!(shown(2, &vic, id), Delivery::Refused);
    let aside = vic.set_aside().unwrap();
    let of_it = aside.iter().find(|row| row.reason.contains("offered again"));
    assert!(of_it.is_some_and(|row| row.by_relay && !row.cut_off), "{aside:?}");
    let plan = vic.plan(false, Budget::UNLIMITED).unwrap();
    assert_eq!(plan.offered, None, "the next session asks for heads");
    vic.offer(&[], true).unwrap();
    let all = queued(&mut vic);
    keep(&mut vic, &all);
    assert_eq!(shown(2, &vic, id), Delivery::AtRelay);
}

#[test]
fn what_a_renewed_phone_wrote_before_is_its_own_when_it_is_offered_again() {
    let Town { mut carla, mut vic, .. } = town();
    let id = vic.record(draft("before")).unwrap();
    gossip(&mut [&mut carla, &mut vic]);
    vic.acknowledge_all();
    vic.renew().unwrap();
    let all = queued(&mut vic);
    keep(&mut vic, &all);
    assert_eq!(shown(2, &vic, id), Delivery::AtRelay);
    // A relay that lost everything; the line breaks before it says what it has.
    vic.new_relay_life(RelayId([5; 32]), Incarnation([6; 16])).unwrap();
    assert_eq!(shown(2, &vic, id), Delivery::OnPhone);
    vic.offer(&[], true).unwrap();
    assert_eq!(shown(2, &vic, id), Delivery::OnPhone);
    // Renewed once more, it still waits.
    vic.renew().unwrap();
    assert_eq!(shown(2, &vic, id), Delivery::OnPhone);
    let all = queued(&mut vic);
    keep(&mut vic, &all);
    assert_eq!(shown(2, &vic, id), Delivery::AtRelay);
}

/// The answer to a push was lost, and that to the next was not: what is before an acknowledged entry is at the relay too, and
/// is not given up.
#[test]
fn a_renewed_phone_keeps_what_its_acknowledged_words_build_on() {
    let Town { mut carla, mut vic, .. } = town();
    hand(&carla, &mut vic);
    carla.acknowledge_all();
    carla.set_policy(99, 1).unwrap();
    let id = carla.record(draft("under it")).unwrap();
    carla.set_policy(99, 2).unwrap();
    let all = queued(&mut carla);
    keep(&mut carla, &all[all.len() - 1..]);
    hand(&carla, &mut vic);
    carla.renew().unwrap();
    assert_eq!(shown(1, &carla, id), Delivery::OnPhone);
    hand(&vic, &mut carla);
    hand(&carla, &mut vic);
    assert_eq!((carla.withheld().unwrap(), vic.withheld().unwrap()), (None, None));
    assert_eq!(carla.state().unwrap(), vic.state().unwrap());
    assert_eq!(carla.row(id).unwrap(), vic.row(id).unwrap());
}

/// A relay that does not know this device says of nothing but the roll how far it has come, and takes nothing else from it: what
/// others wrote is offered once it does.
#[test]
fn to_a_relay_that_does_not_know_it_a_phone_offers_the_roll_and_what_waits() {
    let Town { mut carla, mut vic, .. } = town();
    carla.record(draft("of the coordinator")).unwrap();
    hand(&carla, &mut vic);
    vic.acknowledge_all();
    vic.new_relay_life(RelayId([5; 32]), Incarnation([6; 16])).unwrap();
    let own = vic.record(draft("on this phone")).unwrap();
    vic.offer(&[], false).unwrap();
    let compartments = |phone: &mut Engine| -> Vec<(u8, bool)> {
        let own = phone.device_id();
        let outgoing = phone.outbox(0).unwrap().into_iter();
        let headers = outgoing.map(|o| crate::entry::Received::parse(o.wire).unwrap().header().clone());
        headers.map(|header| (header.compartment.0, header.device == own)).collect()
    };
    let offered = compartments(&mut vic);
    assert!(
        offered.contains(&(0, false)) && offered.iter().all(|(compartment, own)| *compartment == 0 || *own)
    );
    assert_eq!(shown(2, &vic, own), Delivery::OnPhone);
    assert_eq!(vic.relay_memory().offered, None);
    vic.offer(&[], true).unwrap();
    assert!(compartments(&mut vic).iter().any(|(compartment, own)| *compartment != 0 && !own));
    assert_eq!(vic.relay_memory().offered, Some(Incarnation([6; 16])));
}
