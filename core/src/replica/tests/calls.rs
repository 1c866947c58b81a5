//! What an app is told about its own standing, and in which words.

use std::error::Error as _;

use super::*;
use crate::roll::Target;
use crate::sync::frame::{Refusal, Refused};
use crate::sync::session::{Budget, End};
use crate::watch::roles::{ROLE_COORDINATOR, ROLE_VOLUNTEER};

const RELAY: RelayId = RelayId([5; 32]);

fn reopened(seed: u64, engine: &Engine) -> Engine {
    Engine::open(environment(seed, Arc::clone(&engine.store))).unwrap()
}

/// A relay ends a session with these words.
fn goodbye(phone: &mut Engine, refusal: Refusal) {
    let end = Effect::End(End::Relay(Refused::new(refusal, "go away")));
    phone.carry_out(end, &mut SyncReport::default()).unwrap();
}

fn catch_up(phone: &mut Engine) {
    phone.carry_out(Effect::CaughtUp, &mut SyncReport::default()).unwrap();
}

#[test]
fn what_the_roll_says_of_a_removal_is_final_until_it_says_otherwise() {
    let Town { mut carla, mut vic, .. } = town();
    let id = vic.record(draft("before")).unwrap();
    hand(&vic, &mut carla);
    vic.record(draft("not sent")).unwrap();
    assert_eq!(vic.removal().unwrap(), None);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut vic);
    let by_carla = |phone: &Engine| match phone.removal().unwrap() {
        Some(RemovalNotice::Signed { by, at_ms }) => by == carla.member_id() && at_ms >= 1_780_000_000_000,
        other => panic!("{other:?}"),
    };
    let mut vic = reopened(2, &vic);
    assert!(by_carla(&vic));
    assert!(matches!(vic.info(), Err(Error::Removed)));
    for outcome in
        [vic.record(draft("after")).map(drop), vic.amend(id, draft("after")), vic.set_card("V", "")]
    {
        let why = outcome.unwrap_err();
        assert!(matches!(why, Error::Removed) && why.to_string().contains("ask a coordinator"), "{why}");
    }
    // No relay talks it out of that, and what it has is still there to be read.
    catch_up(&mut vic);
    assert!(by_carla(&vic));
    let shown = vic.list(&Filter::default()).unwrap();
    let shown: Vec<_> = shown.iter().map(|(row, delivery)| (row.text.as_str(), *delivery)).collect();
    assert_eq!(shown, [("not sent", Delivery::Refused), ("before", Delivery::OnPhone)]);

    carla.admit(&vic.request(carla.group_id().unwrap()).unwrap(), RoleId(ROLE_VOLUNTEER)).unwrap();
    hand(&carla, &mut vic);
    assert_eq!(vic.removal().unwrap(), None);
    vic.info().unwrap();
    vic.record(draft("after")).unwrap();
    assert!(matches!(vic.request(carla.group_id().unwrap()), Err(Error::HasGroup)));
}

#[test]
fn who_was_let_in_by_somebody_removed_hears_by_whom() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    hand(&carla, &mut cosma);
    carla.remove(Target::Member(cosma.member_id())).unwrap();
    let mut friend = joined(&mut cosma, 7, ROLE_VOLUNTEER);
    // One more device of the same member, which the friend entered.
    let mut tablet = engine(8);
    let request = tablet.request_as_device_of(friend.group_id().unwrap(), friend.member_id()).unwrap();
    tablet.join(&friend.add_device(&request).unwrap()).unwrap();
    for phone in [&mut friend, &mut tablet] {
        hand(&carla, phone);
        let notice = phone.removal().unwrap();
        assert!(
            matches!(notice, Some(RemovalNotice::Signed { by, .. }) if by == carla.member_id()),
            "{notice:?}"
        );
        assert!(matches!(phone.record(draft("?")), Err(Error::Removed)));
    }
}

#[test]
fn the_mere_word_of_a_relay_is_told_and_stops_nobody_from_writing() {
    let Town { mut vic, .. } = town();
    goodbye(&mut vic, Refusal::RATE);
    assert_eq!(vic.removal().unwrap(), None);
    goodbye(&mut vic, Refusal::REMOVED);
    let mut vic = reopened(2, &vic);
    let notice = vic.removal().unwrap();
    assert!(matches!(notice, Some(RemovalNotice::Said { .. })), "{notice:?}");
    assert_eq!(vic.info().unwrap().removal, notice);
    vic.record(draft("written all the same")).unwrap();
    let group = vic.group_id().unwrap();
    vic.request(group).unwrap();
    assert!(matches!(vic.request(crate::base::GroupId([9; 32])), Err(Error::HasGroup)));
    // It serves this device again, or another one does.
    catch_up(&mut vic);
    assert_eq!(vic.removal().unwrap(), None);
    goodbye(&mut vic, Refusal::REMOVED);
    vic.trust_new_relay().unwrap();
    let vic = reopened(2, &vic);
    assert_eq!((vic.removal().unwrap(), vic.info().unwrap().removal), (None, None));
}

#[test]
fn a_relay_is_the_groups_once_it_has_served_it() {
    let mut carla = engine(1);
    carla.found().unwrap();
    let expected = |phone: &mut Engine| phone.plan(false, Budget::UNLIMITED).unwrap().relay;
    for stranger in [RelayId([6; 32]), RELAY] {
        carla.new_relay_life(stranger, Incarnation([6; 16])).unwrap();
        let mut carla = reopened(1, &carla);
        assert_eq!((expected(&mut carla), carla.relay_memory().relay), (None, None));
    }
    catch_up(&mut carla);
    let mut carla = reopened(1, &carla);
    assert_eq!(expected(&mut carla), Some(RELAY));
    // A new life of the same relay is the same relay; another one is nobody until it is named.
    carla.new_relay_life(RELAY, Incarnation([7; 16])).unwrap();
    assert_eq!(expected(&mut carla), Some(RELAY));
    carla.expect_relay(RelayId([8; 32])).unwrap();
    assert_eq!(carla.relay_memory().incarnation, None);
    assert_eq!(expected(&mut reopened(1, &carla)), Some(RelayId([8; 32])));
}

#[test]
fn a_device_without_keys_says_what_it_waits_for() {
    let Town { mut carla, mut vic, .. } = town();
    assert_eq!(vic.info().unwrap().waits_for_keys_of, [""; 0]);
    assert_eq!(vic.concerns().unwrap(), []);
    let code = vic.recovery_code(CodeLanguage::English).unwrap();
    let mut new = engine(7);
    new.use_recovery_code(code.words()).unwrap();
    let new_again = reopened(7, &new);
    let why = new_again.info().unwrap_err();
    assert!(matches!(why, Error::NotLetIn) && why.to_string().contains("waits to be let in"), "{why}");
    assert!(matches!(new.annotate(DocumentId([0; 24]), "?", ""), Err(Error::NotLetIn)));
    let info = new.join(&carla.admission().unwrap()).unwrap();
    assert_eq!(info.waits_for_keys_of, ["common", "group"]);
    let told: Vec<String> = new.concerns().unwrap().iter().map(ToString::to_string).collect();
    assert!(told.len() == 2 && told[1].contains("'group' (reports with a blurred place"), "{told:?}");
    hand(&new, &mut carla);
    carla.mend_keys().unwrap();
    hand(&carla, &mut new);
    assert_eq!(new.info().unwrap().waits_for_keys_of, [""; 0]);
    assert_eq!(new.concerns().unwrap(), []);
    // Nor is a device that nobody has confirmed told to found a group.
    let mut tablet = engine(8);
    tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    assert!(matches!(tablet.info(), Err(Error::NotCertified)));
}

#[test]
fn a_list_shows_by_default_what_people_read_by_itself() {
    let Town { mut carla, mut vic, .. } = town();
    vic.set_card("Victor from number 4", "ring twice").unwrap();
    vic.record(draft("with a sealed part")).unwrap();
    hand(&vic, &mut carla);
    carla.set_relay_url("wss://relay.example.org/v1/session").unwrap();
    carla.invite(RoleId(ROLE_VOLUNTEER), 3_600_000).unwrap();
    let kinds = |filter: Filter| {
        let mut kinds: Vec<Kind> = carla.list(&filter).unwrap().iter().map(|(row, _)| row.kind).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(Filter::default()), [Kind::OBSERVATION]);
    let all = [Kind::OBSERVATION, Kind::SEALED, Kind::IDENTITY_CARD, Kind::INVITATION];
    assert_eq!(kinds(Filter { all_kinds: true, ..Filter::default() }), all);
    for kind in all {
        assert_eq!(kinds(Filter { kind: Some(kind), ..Filter::default() }), [kind]);
    }
}

#[test]
fn what_was_set_aside_is_a_step_of_the_report() {
    let Town { mut carla, mut vic, .. } = town();
    let id = vic.record(draft("seen in time")).unwrap();
    hand(&vic, &mut carla);
    vic.amend(id, draft("unseen")).unwrap();
    carla.annotate(id, "thank you", "seen").unwrap();
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut vic);
    let steps = vic.get(id).unwrap().steps;
    let aside: Vec<&String> = steps
        .iter()
        .filter_map(|step| if let Step::SetAside { reason, .. } = step { Some(reason) } else { None })
        .collect();
    assert!(aside.len() == 1 && aside[0].contains("after its author was removed"), "{steps:?}");
    assert!(matches!(steps.first(), Some(Step::Recorded { .. })));
    let unheard = carla.get(id).unwrap().steps;
    assert!(!unheard.iter().any(|step| matches!(step, Step::SetAside { .. })), "nobody else has the entry");
}

#[test]
fn bytes_that_are_something_else_are_told_in_plain_words() {
    let Town { mut carla, mut vic, .. } = town();
    let mut newcomer = engine(9);
    let mut admission = carla.admission().unwrap();
    admission.roll[0].signed = vec![7; 9].into();
    let outcomes = [
        Admission::from_bytes(b"BEGIN:VCARD").map(drop),
        newcomer.join(&admission).map(drop),
        carla.admit(&JoinRequest::from_bytes(b"https://example.org".to_vec()), RoleId(2)).map(drop),
        carla.recover(vic.member_id(), &JoinRequest::from_bytes(vec![0; 40])).map(drop),
        vic.add_device(&DeviceRequest::from_bytes(vec![0x84])).map(drop),
    ];
    for outcome in outcomes {
        let why = outcome.unwrap_err();
        let told = why.to_string();
        assert!(matches!(why, Error::Unreadable { .. }) && why.fault() == Fault::Input, "{told}");
        assert!(told.starts_with("this is not a") && told.contains("scan or copy it again"), "{told}");
        let jargon = ["CBOR", "cbor", "COSE", "decod", "type", "bytes", "position"];
        assert!(!jargon.iter().any(|word| told.contains(word)), "{told}");
        assert!(!why.source().unwrap().to_string().is_empty());
    }
}

#[test]
fn texts_name_people_by_their_pseudonyms_and_concern_who_can_act() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    for phone in [&mut vic, &mut cosma] {
        hand(&carla, phone);
    }
    cosma.remove(Target::Member(carla.member_id())).unwrap();
    hand(&cosma, &mut carla);
    hand(&cosma, &mut vic);
    let told = |phone: &mut Engine| -> Vec<String> {
        phone.concerns().unwrap().iter().map(ToString::to_string).collect()
    };
    let wish =
        format!("1 of the 2 coordinators that it takes want member {} taken out", carla.member_id().short());
    assert_eq!(told(&mut carla), [wish]);
    assert_eq!(told(&mut vic), [""; 0], "nothing that a volunteer could do");
    carla.remove(Target::Member(cosma.member_id())).unwrap();
    hand(&carla, &mut vic);
    assert_eq!(told(&mut vic), [""; 0]);
    assert!(told(&mut carla).iter().any(|concern| concern.contains("one coordinator only")));

    let missing = DocumentId([9; 24]);
    let why = carla.get(missing).unwrap_err().to_string();
    assert!(why.contains(&format!("no document {} ", missing.short())), "{why}");
    let mut tablet = engine(7);
    let request = tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    tablet.join(&vic.add_device(&request).unwrap()).unwrap();
    assert!(matches!(tablet.renew(), Err(Error::KeyElsewhere)));
}
