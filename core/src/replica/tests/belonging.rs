//! Who belongs, and what becomes of the words of those who do not any more.

use super::*;
use crate::base::CompartmentId;
use crate::entry::LogId;
use crate::roll::{Proposed, Target};
use crate::watch::roles::{ROLE_BUSINESS, ROLE_COORDINATOR, ROLE_LIAISON, ROLE_VOLUNTEER};

const GROUP: CompartmentId = CompartmentId(roles::COMPARTMENT_GROUP);

fn observations(engine: &Engine) -> Vec<String> {
    let mut texts = texts(engine, Kind::OBSERVATION);
    texts.sort();
    texts
}

fn cut_off(engine: &Engine) -> Vec<SetAside> {
    let rows = engine.set_aside().unwrap().into_iter();
    rows.filter(|row| row.cut_off && row.compartment == GROUP).collect()
}

/// Whatever comes first, the removal or what it cuts off, every phone shows the same, and what is accepted counts.
#[test]
fn what_a_removed_member_wrote_unseen_is_set_aside_everywhere_until_it_is_accepted() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let mut late = joined(&mut carla, 9, ROLE_VOLUNTEER);
    let seen = vic.record(draft("seen in time")).unwrap();
    hand(&vic, &mut carla);
    vic.amend(seen, draft("seen in time, amended unseen")).unwrap();
    vic.record(draft("unseen")).unwrap();
    hand(&vic, &mut vera);
    assert_eq!(observations(&vera), ["seen in time, amended unseen", "unseen"]);
    let member = vic.member_id();
    assert_eq!(carla.remove(Target::Member(member)).unwrap(), Decision::Done);
    assert_eq!(carla.state().unwrap().member(member), None);
    // One hears of the removal last, one first.
    hand(&carla, &mut vera);
    hand(&carla, &mut late);
    for phone in [&mut carla, &mut late] {
        hand(&vic, phone);
    }
    for phone in [&carla, &vera, &late] {
        assert_eq!(observations(phone), ["seen in time"], "{:?}", phone.set_aside());
        assert_eq!(cut_off(phone).len(), 2);
    }
    // What the removed one writes after hearing of it is nothing at all.
    hand(&carla, &mut vic);
    assert!(matches!(vic.record(draft("after")), Err(Error::Removed)));
    assert!(matches!(vic.info(), Err(Error::Removed)));

    let mut aside = cut_off(&carla);
    aside.sort_by_key(|row| row.seq);
    assert!(matches!(vera.accept(&[aside[1].entry]), Err(Error::Role(_))));
    carla.accept(&[aside[1].entry]).unwrap();
    assert_eq!(observations(&carla), ["seen in time", "unseen"]);
    carla.accept(&[aside[0].entry]).unwrap();
    for phone in [&mut vera, &mut late] {
        hand(&carla, phone);
    }
    for phone in [&carla, &vera, &late] {
        assert_eq!(observations(phone), ["seen in time, amended unseen", "unseen"]);
        assert_eq!(cut_off(phone), []);
    }
    // And it is all the same after a restart.
    let vera = Engine::open(environment(3, Arc::clone(&vera.store))).unwrap();
    assert_eq!(observations(&vera), ["seen in time, amended unseen", "unseen"]);
}

/// A crash between the two writes of weighing anew leaves nothing half done.
#[test]
fn weighing_anew_goes_on_where_the_disk_failed() {
    let Town { mut carla, mut vic, .. } = town();
    vic.record(draft("seen")).unwrap();
    hand(&vic, &mut carla);
    vic.record(draft("unseen")).unwrap();
    let mut vera = joined(&mut carla, 8, ROLE_VOLUNTEER);
    hand(&vic, &mut vera);
    assert_eq!(observations(&vera), ["seen", "unseen"]);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    for (writes_ok, fault) in (0..4).flat_map(|n| [(n, FaultAt::BeforeWrite), (n, FaultAt::AfterWrite)]) {
        let faulty = Arc::new(FaultyStore::new(copy_of(&vera), writes_ok, fault));
        let mut failing = Engine::open(environment(8, Arc::clone(&faulty) as Arc<dyn Store>)).unwrap();
        let went_wrong = failing.receive(entries(&carla, &vera), None).is_err();
        assert_eq!(went_wrong, writes_ok < 3, "one write takes the removal in, two weigh anew");
        drop(failing);
        let store = Arc::try_unwrap(faulty).unwrap().into_inner();
        let mut vera = Engine::open(environment(8, Arc::new(store))).unwrap();
        hand(&carla, &mut vera);
        assert_eq!(observations(&vera), ["seen"], "{fault:?} at write {writes_ok}");
    }
}

fn copy_of(engine: &Engine) -> MemoryStore {
    let copy = MemoryStore::default();
    let mut batch = crate::storage::Batch::default();
    for table in (1..=20).map(crate::storage::Table) {
        for (key, value) in engine.store.scan(table, &[], None, usize::MAX).unwrap() {
            batch.put(table, key, value);
        }
    }
    copy.apply(batch).unwrap();
    copy
}

#[test]
fn of_two_coordinators_who_remove_each_other_the_senior_stays() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut vic]);
    assert_eq!(carla.remove(Target::Member(cosma.member_id())).unwrap(), Decision::Done);
    let wish = cosma.remove(Target::Member(carla.member_id())).unwrap();
    assert_eq!(wish, Decision::Proposed { supporters: 1, needed: 2 });
    gossip(&mut [&mut carla, &mut cosma, &mut vic]);
    for phone in [&carla, &cosma, &vic] {
        let members: Vec<_> = phone.state().unwrap().members().map(|(id, _)| id).collect();
        assert!(members.contains(&carla.member_id()) && !members.contains(&cosma.member_id()));
    }
}

#[test]
fn most_of_the_coordinators_together_remove_the_founder_and_undo_what_the_founder_did_meanwhile() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    let mut clio = joined(&mut carla, 6, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut vic]);
    let founder = carla.member_id();
    assert_eq!(
        cosma.remove(Target::Member(founder)).unwrap(),
        Decision::Proposed { supporters: 1, needed: 2 }
    );
    assert_eq!(cosma.state().unwrap().proposals()[0].about, Proposed::Removal(Target::Member(founder)));
    // Meanwhile the founder takes out both.
    carla.remove(Target::Member(cosma.member_id())).unwrap();
    carla.remove(Target::Member(clio.member_id())).unwrap();
    hand(&cosma, &mut clio);
    assert_eq!(clio.remove(Target::Member(founder)).unwrap(), Decision::Done);
    gossip(&mut [&mut carla, &mut cosma, &mut clio, &mut vic]);
    for phone in [&carla, &cosma, &clio, &vic] {
        let state = phone.state().unwrap();
        assert_eq!(state.member(founder), None);
        assert!(state.member(cosma.member_id()).is_some() && state.member(clio.member_id()).is_some());
    }
}

/// Two wishes that did not know of each other: whoever hears of both completes them.
#[test]
fn concurrent_proposals_are_completed_by_who_hears_of_both() {
    let Town { mut carla, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    let mut clio = joined(&mut carla, 6, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut clio]);
    let founder = carla.member_id();
    cosma.remove(Target::Member(founder)).unwrap();
    clio.remove(Target::Member(founder)).unwrap();
    gossip(&mut [&mut cosma, &mut clio]);
    assert!(cosma.state().unwrap().member(founder).is_some());
    cosma.mend_keys().unwrap();
    gossip(&mut [&mut cosma, &mut clio]);
    assert_eq!(clio.state().unwrap().member(founder), None);
}

#[test]
fn whom_a_removed_coordinator_went_on_admitting_does_not_belong() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut vic]);
    carla.remove(Target::Member(cosma.member_id())).unwrap();
    let mut fake = joined(&mut cosma, 7, ROLE_COORDINATOR);
    let mut fakes_friend = joined(&mut fake, 8, ROLE_VOLUNTEER);
    fakes_friend.record(draft("smuggled in")).unwrap();
    // This phone believes it, until it hears of the removal.
    gossip(&mut [&mut cosma, &mut fake, &mut fakes_friend, &mut vic]);
    assert_eq!(observations(&vic), ["smuggled in"]);
    gossip(&mut [&mut carla, &mut vic]);
    for phone in [&carla, &vic] {
        assert_eq!(observations(phone), [""; 0]);
        let state = phone.state().unwrap();
        assert!(state.member(fake.member_id()).is_none() && state.member(fakes_friend.member_id()).is_none());
    }
}

#[test]
fn a_removed_device_reads_nothing_that_is_written_afterwards() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    vera.record(draft("before")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    let epoch = carla.state().unwrap().newest_epoch(GROUP).unwrap().0;
    assert_eq!(epoch.number, 1, "its key is new in the same operation");
    gossip(&mut [&mut carla, &mut vera]);
    vera.record(draft("after")).unwrap();
    // Even if somebody brings it everything.
    let wires: Vec<Wire> = entries(&vera, &carla);
    vic.receive(wires, None).unwrap();
    assert_eq!(observations(&vic), ["before"]);
    assert!(!vic.group().unwrap().epoch_keys.contains_key(&(GROUP, epoch)));
}

/// The other coordinator's new key went to somebody who was being removed: whoever hears of both begins another.
#[test]
fn a_rotation_that_did_not_know_of_a_removal_is_followed_by_one_that_does() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut vic, &mut vera]);
    cosma.rotate(GROUP).unwrap();
    let theirs = cosma.rotate(GROUP).unwrap();
    carla.remove(Target::Member(vic.member_id())).unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut vera]);
    assert_eq!(vera.state().unwrap().newest_epoch(GROUP).unwrap().0, theirs);
    assert!(vera.state().unwrap().is_exposed(GROUP));
    cosma.mend_keys().unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut vera, &mut vic]);
    assert!(!vera.state().unwrap().is_exposed(GROUP));
    vera.record(draft("for those who stay")).unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut vera, &mut vic]);
    assert_eq!(observations(&cosma), ["for those who stay"]);
    assert_eq!(observations(&vic), [""; 0]);
}

#[test]
fn who_was_removed_can_be_admitted_again() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    vic.record(draft("before")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.record(draft("unseen")).unwrap();
    let member = vic.member_id();
    let request =
        JoinRequest::from_bytes(vic.certificate_for(vic.group_id().unwrap()).unwrap().as_bytes().to_vec());
    carla.remove(Target::Member(member)).unwrap();
    carla.admit(&request, RoleId(ROLE_VOLUNTEER)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.record(draft("after")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    for phone in [&carla, &vera] {
        assert_eq!(observations(phone), ["after", "before"]);
    }
    // Nobody loses sight of their own words.
    let own = vic.list(&Filter { kind: Some(Kind::OBSERVATION), ..Filter::default() }).unwrap();
    let shown: Vec<_> = own.iter().map(|(row, delivery)| (row.text.as_str(), *delivery)).collect();
    assert!(shown.contains(&("unseen", Delivery::Refused)), "{shown:?}");
}

/// A removal is about devices that were lost before, too: what they wrote stays all the same.
#[test]
fn what_a_lost_phone_wrote_before_stays_when_its_member_goes_later() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let mut tablet = engine(9);
    let request = tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    tablet.join(&vic.add_device(&request).unwrap()).unwrap();
    tablet.record(draft("on the tablet")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut tablet]);
    vic.remove(Target::Device(tablet.device_id())).unwrap();
    vic.record(draft("on the phone")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    // What whoever found it writes on is cut off by the first removal, whatever the second has seen.
    tablet.record(draft("by the finder")).unwrap();
    hand(&tablet, &mut carla);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    gossip(&mut [&mut carla, &mut vera]);
    for phone in [&carla, &vera] {
        assert_eq!(observations(phone), ["on the phone", "on the tablet"]);
    }
}

/// The key of somebody who was recovered once is not their identity.
#[test]
fn who_was_recovered_and_then_removed_is_admitted_again_as_the_same_member() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    vic.record(draft("before the loss")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let member = vic.member_id();
    let mut new = engine(7);
    let request = new.request(carla.group_id().unwrap()).unwrap();
    carla.recover(member, &request).unwrap();
    new.join(&carla.admission().unwrap()).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    carla.remove(Target::Member(member)).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    assert!(matches!(new.info(), Err(Error::Removed)));
    // The key that the recovery replaced is nobody's.
    let replaced =
        JoinRequest::from_bytes(vic.certificate_for(vic.group_id().unwrap()).unwrap().as_bytes().to_vec());
    assert!(matches!(carla.admit(&replaced, RoleId(ROLE_VOLUNTEER)), Err(Error::Admission(_))));
    assert!(matches!(carla.recover(vera.member_id(), &replaced), Err(Error::Admission(_))));

    carla.admit(&request, RoleId(ROLE_VOLUNTEER)).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    assert_eq!((new.member_id(), new.role()), (member, Some(RoleId(ROLE_VOLUNTEER))));
    new.record(draft("after")).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    for phone in [&carla, &vera] {
        assert_eq!(phone.state().unwrap().members().count(), 4, "nobody new has come");
        assert_eq!(observations(phone), ["after", "before the loss"]);
    }
}

#[test]
fn who_is_admitted_twice_is_admitted_once() {
    let Town { mut carla, .. } = town();
    for role in [ROLE_COORDINATOR, ROLE_VOLUNTEER] {
        let newcomer = engine(10 + u64::from(role));
        let request = newcomer.request(carla.group_id().unwrap()).unwrap();
        carla.admit(&request, RoleId(role)).unwrap();
        let outbox = carla.outbox_len().unwrap();
        carla.admit(&request, RoleId(role)).unwrap();
        assert_eq!(carla.outbox_len().unwrap(), outbox);
    }
}

#[test]
fn roles_change_and_change_back() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let member = vic.member_id();
    carla.change_role(member, RoleId(ROLE_COORDINATOR)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let newcomer = joined(&mut vic, 7, ROLE_VOLUNTEER);
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    assert!(vera.state().unwrap().member(newcomer.member_id()).is_some());
    // A junior does not change a senior, and nobody themselves.
    assert!(vic.change_role(carla.member_id(), RoleId(ROLE_VOLUNTEER)).is_err());
    assert!(carla.change_role(carla.member_id(), RoleId(ROLE_VOLUNTEER)).is_err());

    // Back to volunteer, while he admits somebody without knowing.
    carla.change_role(member, RoleId(ROLE_VOLUNTEER)).unwrap();
    let unlucky = joined(&mut vic, 8, ROLE_VOLUNTEER);
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    for phone in [&carla, &vic, &vera] {
        let state = phone.state().unwrap();
        assert_eq!(state.member(member).unwrap().role, RoleId(ROLE_VOLUNTEER));
        assert!(state.member(unlucky.member_id()).is_none());
        assert!(state.member(newcomer.member_id()).is_some());
    }
    vic.record(draft("as a volunteer")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    assert_eq!(observations(&vera), ["as a volunteer"]);

    // Who may read less gets no new keys.
    carla.change_role(member, RoleId(ROLE_BUSINESS)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vera.record(draft("not for the shop")).unwrap();
    vic.receive(entries(&vera, &carla), None).unwrap();
    assert_eq!(observations(&vic), ["as a volunteer"]);
}

#[test]
fn a_member_uses_two_devices_and_takes_one_out() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    vic.record(draft("from the phone")).unwrap();
    let mut tablet = engine(7);
    let request = tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    assert!(matches!(vera.add_device(&request), Err(Error::Admission(_))), "it is not hers");
    let admission = vic.add_device(&request).unwrap();
    tablet.join(&admission).unwrap();
    assert_eq!(tablet.member_id(), vic.member_id());
    hand(&vic, &mut tablet);
    assert_eq!(observations(&tablet), ["from the phone"], "it reads at once, without anybody else");
    tablet.record(draft("from the tablet")).unwrap();
    let filter = Filter { kind: Some(Kind::OBSERVATION), ..Filter::default() };
    let id = vic.list(&filter).unwrap()[0].0.id;
    tablet.amend(id, draft("from the phone, amended on the tablet")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut tablet]);
    for phone in [&carla, &vera, &vic] {
        assert_eq!(observations(phone), ["from the phone, amended on the tablet", "from the tablet"]);
    }
    assert!(matches!(tablet.add_device(&request), Err(Error::KeyElsewhere)));

    // The phone is lost: the tablet takes it out, and a coordinator's device renews the keys when it hears of it.
    assert_eq!(tablet.remove(Target::Device(vic.device_id())).unwrap(), Decision::Done);
    vic.record(draft("by the finder")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut tablet]);
    assert!(carla.state().unwrap().is_exposed(GROUP));
    carla.mend_keys().unwrap();
    assert!(!carla.state().unwrap().is_exposed(GROUP));
    gossip(&mut [&mut carla, &mut vera, &mut tablet]);
    vera.record(draft("not for the finder")).unwrap();
    vic.receive(entries(&vera, &carla), None).unwrap();
    gossip(&mut [&mut carla, &mut vera, &mut tablet]);
    let stays = ["from the phone, amended on the tablet", "from the tablet", "not for the finder"];
    for phone in [&carla, &vera, &tablet] {
        assert_eq!(observations(phone), stays);
    }
    assert_eq!(observations(&vic).len(), 3, "{:?}", observations(&vic));
}

#[test]
fn who_lost_everything_comes_back_as_the_same_member() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(draft("before the loss")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let member = vic.member_id();
    let mut new = engine(7);
    assert_eq!(
        carla.recover(member, &new.request(carla.group_id().unwrap()).unwrap()).unwrap(),
        Decision::Done
    );
    new.join(&carla.admission().unwrap()).unwrap();
    assert_eq!(new.member_id(), member);
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    new.amend(id, draft("amended by the same member")).unwrap();
    // Whoever found the phone writes on.
    vic.record(draft("by the finder")).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera, &mut vic]);
    for phone in [&carla, &vera, &new] {
        assert_eq!(observations(phone), ["amended by the same member"]);
        // A relay refuses what a phone sets aside: nothing of the new device's may be.
        let theirs = phone.set_aside().unwrap().into_iter().filter(|row| row.device == new.device_id());
        assert_eq!(theirs.collect::<Vec<_>>(), []);
    }
    // The old key certifies nothing any more.
    let mut thief = engine(8);
    let request = thief.request_as_device_of(vic.group_id().unwrap(), member).unwrap();
    assert!(matches!(vic.add_device(&request), Err(Error::Removed)));
}

#[test]
fn a_newcomer_reads_back_no_further_than_the_group_has_agreed() {
    let Town { mut carla, mut vic, .. } = town();
    carla.set_policy(settings::HISTORY_DAYS, 1).unwrap();
    gossip(&mut [&mut carla, &mut vic]);
    vic.record(draft("long ago")).unwrap();
    gossip(&mut [&mut carla, &mut vic]);
    // Two days later.
    let later = |engine: &Engine, seed| {
        let clock = Arc::new(TestClock(AtomicU64::new(1_780_000_000_000 + 2 * 24 * 3_600 * 1_000)));
        Engine::open(Environment { clock, ..environment(seed, Arc::clone(&engine.store)) }).unwrap()
    };
    let mut carla = later(&carla, 1);
    let mut newcomer = joined(&mut carla, 9, ROLE_VOLUNTEER);
    gossip(&mut [&mut carla, &mut vic, &mut newcomer]);
    vic.record(draft("today")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut newcomer]);
    carla.mend_keys().unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut newcomer]);
    assert_eq!(observations(&newcomer), ["today"]);
    assert_eq!(observations(&carla), ["long ago", "today"]);
}

#[test]
fn a_liaison_hands_over_to_a_successor() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let id = vic.record(draft("a swap at the corner")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut liaison]);
    let open = carla.release(&release_of(id, &liaison)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut liaison]);
    carla.remove(Target::Member(liaison.member_id())).unwrap();
    let mut successor = joined(&mut carla, 7, ROLE_LIAISON);
    gossip(&mut [&mut carla, &mut vic, &mut successor]);
    assert!(successor.get(open).is_ok(), "the open thread is there");
    let next = carla.release(&release_of(id, &successor)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut successor]);
    liaison.receive(entries(&carla, &carla), None).unwrap();
    assert!(successor.get(next).is_ok());
    assert!(matches!(liaison.get(next), Err(Error::NotHere(_))));
}

fn release_of(id: DocumentId, liaison: &Engine) -> ReleasePlan {
    ReleasePlan {
        title: "A swap".into(),
        purpose: "To decide whether the place needs an officer".into(),
        observations: vec![(id, Redaction::default())],
        recipient: Some(liaison.member_id()),
        ..ReleasePlan::default()
    }
}

/// Nobody is left alone: not by leaving, and not by age of keys.
#[test]
fn the_last_coordinator_does_not_leave_and_old_keys_are_renewed() {
    let Town { mut carla, mut vic, .. } = town();
    assert!(matches!(carla.remove(Target::Member(carla.member_id())), Err(Error::Membership(_))));
    assert!(matches!(carla.remove(Target::Device(carla.device_id())), Err(Error::Membership(_))));
    let before = carla.state().unwrap().newest_epoch(GROUP).unwrap().0;
    carla.set_policy(settings::ROTATE_DAYS, 90).unwrap();
    carla.mend_keys().unwrap();
    assert_eq!(carla.state().unwrap().newest_epoch(GROUP).unwrap().0, before);
    let clock = Arc::new(TestClock(AtomicU64::new(1_780_000_000_000 + 91 * 24 * 3_600 * 1_000)));
    let mut carla = Engine::open(Environment { clock, ..environment(1, Arc::clone(&carla.store)) }).unwrap();
    carla.mend_keys().unwrap();
    assert_eq!(carla.state().unwrap().newest_epoch(GROUP).unwrap().0.number, before.number + 1);
    let outbox = carla.outbox_len().unwrap();
    carla.mend_keys().unwrap();
    assert_eq!(carla.outbox_len().unwrap(), outbox);
    // Somebody who does not govern may leave.
    let member = vic.member_id();
    assert_eq!(vic.remove(Target::Member(member)).unwrap(), Decision::Done);
    gossip(&mut [&mut carla, &mut vic]);
    assert_eq!(carla.state().unwrap().member(member), None);
}

/// Opens a copy of a device's store. Its randomness is another.
fn restore(seed: u64, backup: MemoryStore) -> Engine {
    let entropy = Box::new(ChaCha20Rng::seed_from_u64(seed + 100));
    Engine::open(Environment { entropy, ..environment(seed, Arc::new(backup)) }).unwrap()
}

/// A backup is restored: the phone has seen less of its own words than others. It goes on as another device, and forks
/// nothing.
#[test]
fn a_restored_backup_goes_on_as_another_device_and_carries_its_unsent_words_over() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(draft("before the backup")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.acknowledge_all();
    let backup = copy_of(&vic);
    vic.record(draft("after the backup")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);

    let mut restored = restore(2, backup);
    restored.amend(id, draft("amended after the restore")).unwrap();
    restored.record(draft("recorded after the restore")).unwrap();
    let own: Vec<Wire> = entries(&carla, &vera);
    assert!(matches!(restored.receive(own.clone(), None), Err(Error::RolledBack)));
    let old = restored.device_id();
    let new = restored.renew().unwrap();
    assert!(new != old && restored.device_id() == new && restored.member_id() == vic.member_id());
    gossip(&mut [&mut carla, &mut restored, &mut vera]);
    let all = ["after the backup", "amended after the restore", "recorded after the restore"];
    for phone in [&carla, &vera, &restored] {
        assert_eq!(observations(phone), all);
        let forks = phone.store.scan(disk::FORKS, &[], None, 1).unwrap();
        assert_eq!(forks, vec![]);
    }
    // What was given up and signed anew is counted once.
    assert_eq!(restored.row(id).unwrap(), carla.row(id).unwrap());
    // And after a restart, and without the old device.
    restored.remove(Target::Device(old)).unwrap();
    let mut restored = Engine::open(environment(2, Arc::clone(&restored.store))).unwrap();
    gossip(&mut [&mut carla, &mut restored, &mut vera]);
    carla.mend_keys().unwrap();
    gossip(&mut [&mut carla, &mut restored, &mut vera]);
    vera.record(draft("later")).unwrap();
    gossip(&mut [&mut carla, &mut restored, &mut vera]);
    assert_eq!(observations(&restored).len(), 4);
    assert_eq!(observations(&carla), observations(&restored));
}

/// What builds on words that a removal cuts off waits for them, on a phone that showed all of it before as on one that hears of it
/// later.
#[test]
fn what_builds_on_what_is_cut_off_waits_alike() {
    let Town { mut carla, mut vic, .. } = town();
    let [mut cosma, mut chris, mut dora, mut late] =
        [11, 12, 13, 14].map(|seed| joined(&mut carla, seed, ROLE_COORDINATOR));
    let link = |observation: DocumentId| [CaseLink { observation, reason: "the same corner".to_owned() }];
    let seen: Vec<_> = ["one", "two", "three"].map(|text| vic.record(draft(text)).unwrap()).into();
    gossip(&mut [&mut carla, &mut vic, &mut cosma, &mut chris, &mut dora, &mut late]);
    let case = chris.link(None, "a case", &link(seen[0])).unwrap();
    hand(&chris, &mut cosma);
    cosma.link(Some(case), "", &link(seen[1])).unwrap();
    hand(&cosma, &mut chris);
    chris.link(Some(case), "", &link(seen[2])).unwrap();
    for from in [&chris, &cosma] {
        hand(from, &mut dora);
    }
    assert_eq!(dora.row(case).unwrap().map(|row| row.entries), Some(3));
    // She has not heard of a word of it.
    carla.remove(Target::Member(cosma.member_id())).unwrap();
    hand(&carla, &mut late);
    gossip(&mut [&mut carla, &mut chris, &mut dora, &mut late]);
    let shown = dora.row(case).unwrap();
    assert_eq!(shown.as_ref().map(|row| row.entries), Some(1));
    for phone in [&carla, &chris, &late] {
        assert_eq!(phone.row(case).unwrap(), shown);
    }
    let aside: Vec<_> = cut_off(&carla).iter().map(|row| row.entry).collect();
    carla.accept(&aside).unwrap();
    gossip(&mut [&mut carla, &mut chris, &mut dora, &mut late]);
    for phone in [&carla, &chris, &dora, &late] {
        assert_eq!(phone.row(case).unwrap().map(|row| row.entries), Some(3));
    }
}

/// Its key came between the removal and the acceptance: what was not opened before is opened by the one or the other.
#[test]
fn what_was_cut_off_unopened_and_counts_again_is_counted_once() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(draft("seen")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.amend(id, draft("unseen")).unwrap();
    hand(&vic, &mut vera);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    gossip(&mut [&mut carla, &mut vera]);
    let [aside] = &cut_off(&vera)[..] else { panic!("one entry is cut off") };
    let place = LogId { compartment: aside.compartment, device: aside.device };
    let mut batch = crate::storage::Batch::default();
    batch.put(disk::UNOPENED, disk::entry_key(place, aside.seq), Vec::new());
    vera.store.apply(batch).unwrap();
    carla.accept(&[aside.entry]).unwrap();
    hand(&carla, &mut vera);
    carla.rotate(GROUP).unwrap();
    gossip(&mut [&mut carla, &mut vera]);
    assert_eq!(observations(&vera), ["unseen"]);
    assert_eq!(vera.row(id).unwrap().map(|row| row.entries), Some(2));
}

/// Its backup knows of the removal, and not that it was undone: it hears of that first, and goes on as another device then.
#[test]
fn a_backup_of_somebody_who_was_out_at_the_time_is_gone_on_with() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.acknowledge_all();
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut vic);
    let backup = copy_of(&vic);
    let request =
        JoinRequest::from_bytes(vic.certificate_for(vic.group_id().unwrap()).unwrap().as_bytes().to_vec());
    carla.admit(&request, RoleId(ROLE_VOLUNTEER)).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    vic.record(draft("let in again")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let head = vic.group.as_ref().unwrap().own[&GROUP];
    let seen = vec![crate::sync::frame::OwnHead { compartment: GROUP, head }];

    let mut restored = restore(2, backup);
    restored.check_own(seen.clone()).unwrap();
    hand(&carla, &mut restored);
    let caught_up = restored.carry_out(Effect::CaughtUp, &mut SyncReport::default());
    assert!(matches!(caught_up, Err(Error::RolledBack)), "before it writes a word: {caught_up:?}");
    // As if the line had broken instead, in a session before: the device that it becomes is not measured by that.
    restored.own_seen.clone_from(&seen);
    assert!(matches!(restored.check_own(seen), Err(Error::RolledBack)));
    restored.renew().unwrap();
    restored.check_own(Vec::new()).unwrap();
    restored.carry_out(Effect::CaughtUp, &mut SyncReport::default()).unwrap();
    restored.record(draft("after the restore")).unwrap();
    gossip(&mut [&mut carla, &mut restored, &mut vera]);
    for phone in [&carla, &vera, &restored] {
        assert_eq!(observations(phone), ["after the restore", "let in again"]);
    }
}

/// Keys that were sealed to the device that a restored phone was before are not lost to it.
#[test]
fn a_restored_phone_opens_what_was_sealed_to_the_device_it_was() {
    let Town { mut carla, mut vic, .. } = town();
    carla.acknowledge_all();
    let backup = copy_of(&carla);
    carla.rotate(GROUP).unwrap();
    hand(&carla, &mut vic);
    vic.record(draft("under the new key")).unwrap();
    let mut restored = restore(1, backup);
    restored.renew().unwrap();
    hand(&carla, &mut restored);
    hand(&vic, &mut restored);
    assert_eq!(observations(&restored), ["under the new key"]);
    let restored = Engine::open(environment(1, Arc::clone(&restored.store))).unwrap();
    assert_eq!(observations(&restored), ["under the new key"]);
}

/// What a restored phone takes for unsent, and was sent: its new word of a frozen document and the old one both stand, as
/// they say the same, whichever comes first.
#[test]
fn a_frozen_document_that_was_sent_before_the_loss_is_signed_anew_and_harms_nothing() {
    let Town { mut carla, mut vic, liaison: mut lia, .. } = town();
    let id = vic.record(draft("at the corner")).unwrap();
    gossip(&mut [&mut carla, &mut vic]);
    carla.acknowledge_all();
    let plan = ReleasePlan {
        title: "the corner".to_owned(),
        purpose: "to decide about it".to_owned(),
        recipient: Some(lia.member_id()),
        expires_ms: None,
        observations: vec![(id, Redaction::default())],
    };
    carla.release(&plan).unwrap();
    let backup = copy_of(&carla);
    hand(&carla, &mut lia);
    let mut restored = restore(1, backup);
    restored.renew().unwrap();
    // One hears of the old word first, one of the new one.
    let mut late = engine(9);
    late.join(
        &restored.admit(&late.request(restored.group_id().unwrap()).unwrap(), RoleId(ROLE_LIAISON)).unwrap(),
    )
    .unwrap();
    hand(&restored, &mut late);
    gossip(&mut [&mut restored, &mut lia, &mut late, &mut carla]);
    for phone in [&mut restored, &mut lia, &mut late] {
        assert_eq!(phone.set_aside().unwrap(), []);
        let rows = phone.list(&Filter { kind: Some(Kind::RELEASE), ..Filter::default() }).unwrap();
        let [(row, _)] = &rows[..] else { panic!("{rows:?}") };
        let detail = phone.get(row.id).unwrap();
        assert_eq!((detail.history.len(), detail.conflicts), (2, vec![]));
    }
}

/// Where its own unsent sender key stood, others have another: the secret of the one that was given up opens nothing, and
/// must not come back with a restart.
#[test]
fn a_restored_phone_forgets_the_sender_key_that_it_gives_up() {
    let Town { mut carla, mut vic, .. } = town();
    vic.acknowledge_all();
    let backup = copy_of(&vic);
    vic.record(draft("before the loss")).unwrap();
    let mut restored = restore(2, backup);
    restored.record(draft("after the restore")).unwrap();
    restored.renew().unwrap();
    gossip(&mut [&mut restored, &mut vic, &mut carla]);
    let mut restored = Engine::open(environment(2, Arc::clone(&restored.store))).unwrap();
    vic.record(draft("by the other phone")).unwrap();
    gossip(&mut [&mut restored, &mut vic, &mut carla]);
    for phone in [&restored, &carla] {
        assert_eq!(observations(phone), ["after the restore", "before the loss", "by the other phone"]);
        assert_eq!(phone.set_aside().unwrap(), []);
    }
}

/// A roll entry that others cite is theirs already: a renewed phone keeps it as it was, and with it what builds on it.
#[test]
fn a_restored_phone_keeps_the_roll_entries_that_others_cite() {
    let Town { mut carla, mut vic, .. } = town();
    carla.acknowledge_all();
    let mut cora = joined(&mut carla, 9, ROLE_COORDINATOR);
    cora.rotate(GROUP).unwrap();
    hand(&cora, &mut carla);
    let backup = copy_of(&carla);
    carla.record(draft("after the backup")).unwrap();
    gossip(&mut [&mut carla, &mut cora, &mut vic]);
    let mut restored = restore(1, backup);
    restored.renew().unwrap();
    let known = restored.group().unwrap().roll.len();
    let mut restored = Engine::open(environment(1, Arc::clone(&restored.store))).unwrap();
    assert_eq!(restored.group().unwrap().roll.len(), known);
    gossip(&mut [&mut restored, &mut cora, &mut vic]);
    assert_eq!(restored.withheld().unwrap(), None);
    assert_eq!(restored.state().unwrap(), cora.state().unwrap());
    assert_eq!(observations(&restored), ["after the backup"]);
}

/// What waited for the rest of a log that one may not read any more does not wait for ever.
#[test]
fn what_waits_out_of_sight_is_let_go() {
    let Town { mut carla, mut vic, .. } = town();
    let mut cora = joined(&mut carla, 9, ROLE_COORDINATOR);
    vic.record(draft("with a sealed part")).unwrap();
    let first = |wire: &Wire| {
        let header = crate::entry::Received::parse(wire.clone()).unwrap().header().clone();
        header.compartment.0 == roles::COMPARTMENT_COORDINATORS && header.seq == 0
    };
    let without_first: Vec<_> = entries(&vic, &cora).into_iter().filter(|wire| !first(wire)).collect();
    cora.receive(without_first, None).unwrap();
    assert!(cora.withheld().unwrap().is_some() && !cora.retry_withheld().unwrap().is_empty());
    carla.change_role(cora.member_id(), RoleId(ROLE_VOLUNTEER)).unwrap();
    hand(&carla, &mut cora);
    assert_eq!(cora.retry_withheld().unwrap(), []);
    assert_eq!(cora.withheld().unwrap(), None);
}

/// A coordinator's unsent admissions are signed anew too.
#[test]
fn what_a_restored_coordinator_decided_and_did_not_send_is_decided_anew() {
    let Town { mut carla, mut vic, .. } = town();
    carla.acknowledge_all();
    let backup = copy_of(&carla);
    carla.record(draft("the last words before the loss")).unwrap();
    gossip(&mut [&mut carla, &mut vic]);
    let mut restored = restore(1, backup);
    let newcomer = engine(9);
    restored.admit(&newcomer.request(restored.group_id().unwrap()).unwrap(), RoleId(ROLE_VOLUNTEER)).unwrap();
    restored.renew().unwrap();
    gossip(&mut [&mut restored, &mut vic]);
    assert!(vic.state().unwrap().member(newcomer.member_id()).is_some());
    assert_eq!(observations(&restored), ["the last words before the loss"]);
}

#[test]
fn a_recovery_code_makes_a_new_device_the_same_member() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let id = vic.record(draft("before the loss")).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    for language in [CodeLanguage::English, CodeLanguage::Spanish] {
        let code = vic.recovery_code(language).unwrap();
        assert_eq!(code.words().split(' ').count(), 24);
        let mut new = engine(if language == CodeLanguage::English { 7 } else { 8 });
        // What goes wrong when it is read from paper.
        let words: Vec<&str> = code.words().split(' ').collect();
        let mut swapped = words.clone();
        swapped.swap(3, 4);
        let mut mistyped = words.clone();
        mistyped[9] = "lamppost";
        for wrong in [words[..23].join(" "), swapped.join(" "), mistyped.join(" "), String::new()] {
            let why = new.use_recovery_code(&wrong).unwrap_err();
            assert!(matches!(why, Error::Code(_)) && why.fault() == Fault::Input, "{why}");
            assert!(!why.to_string().contains(words[0]), "{why}");
        }
        new.use_recovery_code(&code.words().to_uppercase().replace(' ', "\n ")).unwrap();
        new.join(&vera.admission().unwrap()).unwrap();
        assert_eq!(new.member_id(), vic.member_id());
        gossip(&mut [&mut carla, &mut new, &mut vera]);
        carla.mend_keys().unwrap();
        gossip(&mut [&mut carla, &mut new, &mut vera]);
        assert!(observations(&new).contains(&"before the loss".to_owned()));
        new.amend(id, draft("before the loss")).unwrap();
        new.record(draft("after the loss")).unwrap();
        gossip(&mut [&mut carla, &mut new, &mut vera]);
        assert!(observations(&vera).contains(&"after the loss".to_owned()));
    }
    // Without a place in the group, a key is nothing.
    let mut stranger = engine(9);
    assert!(matches!(stranger.join(&carla.admission().unwrap()), Err(Error::Admission(_))));
    assert!(matches!(stranger.info(), Err(Error::NoGroup)));
}

#[test]
fn what_was_recorded_alone_comes_along() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    // A newcomer who joins as a member of their own.
    let mut new = engine(7);
    let id = new.record(draft("alone")).unwrap();
    new.amend(id, draft("alone, amended")).unwrap();
    let mut new = Engine::open(environment(7, Arc::clone(&new.store))).unwrap();
    assert_eq!(observations(&new), ["alone, amended"]);
    assert_eq!(new.list(&Filter::default()).unwrap()[0].1, Delivery::OnPhone);
    assert!(matches!(new.annotate(id, "?", ""), Err(Error::NoGroup)));
    let admission =
        carla.admit(&new.request(carla.group_id().unwrap()).unwrap(), RoleId(ROLE_VOLUNTEER)).unwrap();
    new.join(&admission).unwrap();
    gossip(&mut [&mut carla, &mut new, &mut vera]);
    for phone in [&mut carla, &mut vera] {
        assert_eq!(observations(phone), ["alone, amended"]);
        assert_eq!(phone.get(id).unwrap().history.len(), 2, "with its history");
    }
    let Content::Observation(_, Some(_)) = carla.get(id).unwrap().content else { panic!("no sealed part") };

    // A tablet that becomes somebody's second device: its words are that member's.
    let mut tablet = engine(8);
    tablet.record(draft("on the tablet")).unwrap();
    let request = tablet.request_as_device_of(vic.group_id().unwrap(), vic.member_id()).unwrap();
    tablet.join(&vic.add_device(&request).unwrap()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut tablet]);
    for phone in [&carla, &vera, &tablet] {
        assert_eq!(observations(phone), ["alone, amended", "on the tablet"]);
    }
    let by_vic = Filter { author: Some(vic.member_id()), kind: Some(Kind::OBSERVATION), ..Filter::default() };
    assert_eq!(carla.list(&by_vic).unwrap().len(), 1);

    // Who may not write it keeps it.
    let mut shop = engine(9);
    shop.record(draft("before it was a shop")).unwrap();
    shop.join(
        &carla.admit(&shop.request(carla.group_id().unwrap()).unwrap(), RoleId(ROLE_BUSINESS)).unwrap(),
    )
    .unwrap();
    assert_eq!(observations(&shop), ["before it was a shop"]);
    assert_eq!(shop.list(&Filter::default()).unwrap()[0].1, Delivery::OnPhone);
}

#[test]
fn people_are_pseudonyms_but_for_coordinators() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    assert!(
        matches!(vic.name_device(vic.device_id(), "old phone"), Err(Error::Membership(_))),
        "no card yet"
    );
    vic.set_card("Victor from number 4", "ring twice").unwrap();
    vic.name_device(vic.device_id(), "old phone").unwrap();
    assert!(vic.name_device(vera.device_id(), "hers").is_err());
    gossip(&mut [&mut carla, &mut vic, &mut vera]);
    let row_of = |engine: &mut Engine, member| {
        let rows = engine.roster().unwrap();
        rows.into_iter().find(|row| row.member == member).unwrap()
    };
    let vics = vic.member_id();
    for engine in [&mut carla, &mut vic] {
        let row = row_of(engine, vics);
        assert_eq!(row.name.as_deref(), Some("Victor from number 4"));
        assert_eq!(row.devices[0].name.as_deref(), Some("old phone"));
    }
    let row = row_of(&mut vera, vic.member_id());
    assert_eq!((row.name, row.devices[0].name.clone()), (None, None));
    assert!(row_of(&mut carla, vic.member_id()).devices[0].last_heard_ms.is_some());
    let liaison = carla.roles().unwrap().into_iter().find(|row| row.role == RoleId(ROLE_LIAISON)).unwrap();
    assert!(!liaison.governs && liaison.reads.iter().all(|words| !words.en.contains("exact places")));

    // What needs attention.
    assert_eq!(carla.concerns().unwrap(), [Concern::OneCoordinator]);
    let mut cosma = joined(&mut carla, 5, ROLE_COORDINATOR);
    gossip(&mut [&mut carla, &mut cosma, &mut vic, &mut vera]);
    vic.record(draft("unseen")).unwrap();
    carla.remove(Target::Device(vic.device_id())).unwrap();
    cosma.remove(Target::Member(carla.member_id())).unwrap();
    cosma.rotate(GROUP).unwrap();
    cosma.rotate(GROUP).unwrap();
    gossip(&mut [&mut carla, &mut cosma, &mut vera]);
    hand(&vic, &mut carla);
    let concerns = carla.concerns().unwrap();
    let told: Vec<String> = concerns.iter().map(ToString::to_string).collect();
    assert!(concerns.contains(&Concern::ExposedKey { compartment: "group".into() }), "{told:#?}");
    assert!(concerns.iter().any(|concern| matches!(concern, Concern::CutOff { entries: 2 })), "{told:#?}");
    assert!(
        concerns.iter().any(|concern| matches!(concern, Concern::Proposal { supporters: 1, needed: 2, .. }))
    );
}

/// Nobody hands keys to the only coordinator, who came back with the recovery code; but new ones begin, and another
/// coordinator's device is waited for.
#[test]
fn a_coordinator_who_came_back_begins_new_keys_only_if_nobody_could_hand_them_over() {
    for with_another in [false, true] {
        let Town { mut carla, mut vic, .. } = town();
        let mut cosma = with_another.then(|| joined(&mut carla, 5, ROLE_COORDINATOR));
        let code = carla.recovery_code(CodeLanguage::English).unwrap();
        let mut new = engine(7);
        new.use_recovery_code(code.words()).unwrap();
        new.join(&carla.admission().unwrap()).unwrap();
        assert_eq!(new.member_id(), carla.member_id());
        let before = new.state().unwrap().newest_epoch(GROUP).map(|(id, _)| id);
        new.mend_keys().unwrap();
        let after = new.state().unwrap().newest_epoch(GROUP).map(|(id, _)| id);
        assert_eq!(before != after, !with_another);
        if let Some(cosma) = &mut cosma {
            hand(&new, cosma);
            cosma.mend_keys().unwrap();
            hand(cosma, &mut new);
        }
        let outbox = new.outbox_len().unwrap();
        new.mend_keys().unwrap();
        assert_eq!(new.outbox_len().unwrap(), outbox, "it is mended");
        hand(&new, &mut vic);
        vic.record(draft("after the loss")).unwrap();
        hand(&vic, &mut new);
        assert_eq!(observations(&new), ["after the loss"]);
    }
}
