//! A device behind its PIN: what it carries unread, what it refuses, and what it shows once it is unlocked.

use std::collections::BTreeSet;

use super::*;
use crate::base::CompartmentId;
use crate::roll::Target;
use crate::sync::frame::Proof;
use crate::sync::session::Input;

fn locked(seed: u64, phone: &Engine) -> Engine {
    Engine::open_locked(environment(seed, Arc::clone(&phone.store))).unwrap()
}

fn unlocked(seed: u64, store: Arc<dyn Store>) -> Engine {
    Engine::open(environment(seed, store)).unwrap()
}

fn copy_of(engine: &Engine) -> MemoryStore {
    let copy = MemoryStore::default();
    let mut batch = crate::storage::Batch::default();
    for table in 0..=u8::MAX {
        for (key, value) in engine.store.scan(crate::storage::Table(table), &[], None, usize::MAX).unwrap() {
            batch.put(crate::storage::Table(table), key, value);
        }
    }
    copy.apply(batch).unwrap();
    copy
}

/// What a phone shows: rows, what is set aside, and what is unopened.
fn shown(phone: &Engine) -> (Vec<String>, usize, usize) {
    let unopened = phone.store.scan(disk::UNOPENED, &[], None, usize::MAX).unwrap().len();
    let mut texts = texts(phone, Kind::OBSERVATION);
    texts.sort();
    (texts, phone.set_aside().unwrap().len(), unopened)
}

#[test]
fn what_comes_behind_the_lock_is_read_after_unlocking_as_if_there_were_none() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    let first = vic.record(draft("first")).unwrap();
    vera.record(draft("unsent")).unwrap();
    hand(&vera, &mut carla);
    hand(&vic, &mut vera);
    // Two phones with the same store: one of them is locked meanwhile.
    let twin = copy_of(&vera);
    let mut open = unlocked(3, Arc::new(twin));
    let mut behind = locked(3, &vera);
    drop(vera);

    vic.amend(first, draft("first, amended")).unwrap();
    vic.record(draft("second")).unwrap();
    hand(&vic, &mut carla);
    carla.annotate(first, "", "seen").unwrap();
    for phone in [&mut open, &mut behind] {
        hand(&carla, phone);
        hand(&vic, phone);
    }
    vic.record(draft("never seen by who removed its author")).unwrap();
    for phone in [&mut open, &mut behind] {
        hand(&vic, phone);
    }
    carla.remove(Target::Member(vic.member_id())).unwrap();
    carla.record(draft("under new keys")).unwrap();
    for phone in [&mut open, &mut behind] {
        hand(&carla, phone);
        phone.carry_out(Effect::CaughtUp, &mut SyncReport::default()).unwrap();
    }
    assert_eq!(behind.outbox_len().unwrap(), open.outbox_len().unwrap());
    let store = Arc::clone(&behind.store);
    drop(behind);
    let mut behind = unlocked(3, store);
    assert_eq!(shown(&behind), shown(&open));
    assert_eq!(shown(&behind).0, ["first, amended", "second", "under new keys", "unsent"]);
    assert!(behind.take_changed().0.contains(&first), "the feed says so");
    assert_eq!(behind.get(first).unwrap().steps, open.get(first).unwrap().steps);
}

/// Whatever write fails while it is read, the next unlocking goes on.
#[test]
fn reading_after_unlocking_goes_on_where_the_disk_failed() {
    let Town { mut carla, mut vic, vera, .. } = town();
    vic.record(draft("seen")).unwrap();
    hand(&vic, &mut carla);
    let mut behind = locked(3, &vera);
    hand(&vic, &mut behind);
    carla.remove(Target::Member(vic.member_id())).unwrap();
    hand(&carla, &mut behind);
    for (writes_ok, fault) in (0..5).flat_map(|n| [(n, FaultAt::BeforeWrite), (n, FaultAt::AfterWrite)]) {
        let faulty = Arc::new(FaultyStore::new(copy_of(&behind), writes_ok, fault));
        let opened = Engine::open(environment(3, Arc::clone(&faulty) as Arc<dyn Store>));
        assert_eq!(opened.is_err(), writes_ok < 4, "read, weighed in two, noted");
        drop(opened);
        let store = Arc::try_unwrap(faulty).unwrap().into_inner();
        let vera = unlocked(3, Arc::new(store));
        assert_eq!(shown(&vera), (vec!["seen".to_owned()], 0, 0), "{fault:?} at write {writes_ok}");
    }
}

/// The thief with files and keychain: each thing that they could want of a device with a PIN.
#[test]
fn a_locked_device_reads_nothing_and_signs_nothing() {
    let Town { mut carla, mut vic, vera, .. } = town();
    let id = DocumentId([1; 24]);
    let report = vic.record(draft("in confidence")).unwrap();
    hand(&vic, &mut carla);
    let outbox = carla.outbox_len().unwrap();
    let entries = carla.store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len();
    let vera_id = vera.member_id();
    let group = carla.group_id().unwrap();
    let mut thief = locked(1, &carla);
    assert!(thief.list(&Filter::default()).is_err() && thief.get(report).is_err());
    let recorded = thief.record(draft("in her name"));
    assert!(matches!(recorded, Err(Error::Locked)), "{recorded:?}");
    assert!(matches!(thief.amend(report, draft("in her name")), Err(Error::Locked)));
    assert!(matches!(thief.annotate(report, "", "seen"), Err(Error::Locked)));
    assert!(matches!(thief.remove(Target::Member(vera_id)), Err(Error::Locked)));
    assert!(matches!(
        thief.admit(&engine(9).request(group).unwrap(), RoleId(roles::ROLE_COORDINATOR)),
        Err(Error::Locked)
    ));
    assert!(matches!(thief.renew(), Err(Error::Locked)));
    assert!(matches!(thief.recovery_code(CodeLanguage::English), Err(Error::Locked)));
    assert!(matches!(thief.save_draft(id, Kind::OBSERVATION, b"x"), Err(Error::Locked)));
    assert!(matches!(thief.info(), Err(Error::Locked)));
    assert_eq!(testing::held_epochs(&thief), BTreeSet::new());
    assert!(matches!(thief.set_card("C", ""), Err(Error::Locked)));
    assert_eq!(thief.outbox_len().unwrap(), outbox);
    let now = thief.store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len();
    assert_eq!(now, entries, "nothing was signed");
    // A session it opens: that is how a background sync works.
    let proof = Proof {
        version: 1,
        nonce: [1; 32],
        relay: RelayId([2; 32]),
        group,
        device: carla.device_id(),
        word: None,
    };
    let signed = [&thief, &carla].map(|phone| phone.sign_session(cbor::encode(&proof)));
    for signed in &signed {
        let signed = crate::base::cose::Unverified::parse(signed).unwrap();
        let proof: Proof = cbor::decode(signed.payload()).unwrap();
        assert_eq!(proof.verify(&signed), Ok(()));
    }
    assert_eq!(signed[0], signed[1], "the relay cannot tell a locked phone from another");
    let mut report = SyncReport::default();
    let mail = thief.carry_out(Effect::LoadMail, &mut report).unwrap();
    assert!(matches!(mail, Some(Input::Mail(mail)) if mail.is_empty()));
    assert!(thief.cursor(CompartmentId::ROLL).is_ok());
}
