//! A roll some of whose entries cannot be read on a phone: named, fetched again, and not acted on before that.

use super::*;
use crate::entry::{LogId, Received};
use crate::roll::Target;
use crate::storage::Batch;

type Harm = fn(&[u8]) -> Option<Vec<u8>>;

/// What may become of the row of an entry.
const HARMS: [(&str, Harm); 3] = [
    ("it is gone", |_| None),
    ("it is cut short", |row| Some(row[..row.len() / 2].to_vec())),
    ("its body is gone", |row| {
        let wire: Wire = cbor::decode(row).unwrap();
        Some(cbor::encode(&Wire { body: None, ..wire }))
    }),
];

/// Harms the row of an entry.
fn harm(store: &MemoryStore, hash: crate::base::EntryHash, harm: Harm) {
    let rows = store.scan(ENTRIES, &[], None, usize::MAX).unwrap();
    let of_entry = |row: &&(Vec<u8>, Vec<u8>)| Received::from_bytes(&row.1).unwrap().hash() == hash;
    let (key, value) = rows.iter().find(of_entry).unwrap();
    let mut batch = Batch::default();
    match harm(value) {
        Some(value) => batch.put(ENTRIES, key.clone(), value),
        None => batch.delete(ENTRIES, key.clone()),
    }
    store.apply(batch).unwrap();
}

/// Who belongs, with which role.
fn belonging(engine: &Engine) -> Vec<(crate::base::MemberId, RoleId)> {
    engine.state().unwrap().members().map(|(member, held)| (member, held.role)).collect()
}

/// The last roll entry of a device's own.
fn last_of(engine: &Engine) -> crate::base::EntryHash {
    let log = LogId { compartment: crate::base::CompartmentId::ROLL, device: engine.device_id() };
    let (_, bytes) = engine.store.last(ENTRIES, &disk::log_prefix(log)).unwrap().unwrap();
    Received::from_bytes(&bytes).unwrap().hash()
}

#[test]
fn who_was_taken_out_does_not_belong_again_because_the_removal_cannot_be_read() {
    for (what, how) in HARMS {
        let Town { mut carla, vic, mut vera, .. } = town();
        let store = Arc::new(MemoryStore::default());
        let open = || Engine::open(environment(7, Arc::clone(&store) as Arc<dyn Store>)).unwrap();
        let mut cora = open();
        let admission = carla
            .admit(&cora.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
            .unwrap();
        cora.join(&admission).unwrap();
        let mut zed = joined(&mut carla, 8, roles::ROLE_COORDINATOR);
        hand(&carla, &mut cora);
        let own = cora.record(draft("before")).unwrap();
        // Zed is taken out, and does not care.
        carla.remove(Target::Member(zed.member_id())).unwrap();
        let removal = last_of(&carla);
        zed.admit(&engine(9).request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
            .unwrap();
        zed.record(draft("by somebody who was taken out")).unwrap();
        hand(&carla, &mut cora);
        hand(&vic, &mut cora);
        let before = belonging(&cora);
        drop(cora);
        harm(&store, removal, how);

        let mut cora = open();
        assert_eq!(cora.roll_entries_lost(), 1, "{what}");
        // She reads and records.
        assert_eq!(texts(&cora, Kind::OBSERVATION), ["before"]);
        cora.amend(own, draft("amended")).unwrap();
        cora.record(draft("meanwhile")).unwrap();
        assert_eq!(texts(&cora, Kind::OBSERVATION).len(), 2);
        // She decides nothing, hands on nothing, and drops nothing.
        let newcomer = engine(10).request(carla.group_id().unwrap()).unwrap();
        let refused = [
            cora.admit(&newcomer, RoleId(roles::ROLE_VOLUNTEER)).map(drop),
            cora.admission().map(drop),
            cora.remove(Target::Member(vic.member_id())).map(drop),
            cora.set_policy(settings::UNLINKED_DAYS, 1),
            cora.hold(&[own], 1, None),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::RollDamaged { entries: 1 })), "{what}: {refused:?}");
        }
        let rows = store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len();
        cora.mend_keys().unwrap();
        assert_eq!(cora.sweep().unwrap(), Swept::default());
        assert_eq!(store.scan(ENTRIES, &[], None, usize::MAX).unwrap().len(), rows, "{what}");
        // The next session fetches the roll from its beginning, and nothing else.
        let plan = cora.plan(false, Budget::UNLIMITED).unwrap();
        let cursors: Vec<_> = plan.cursors.into_iter().collect();
        assert_eq!(cursors, [(crate::base::CompartmentId::ROLL, 0)], "{what}");
        // What Zed wrote is not taken in, whoever brings it.
        hand(&zed, &mut cora);
        assert_eq!(cora.roll_entries_lost(), 1);
        assert_eq!(texts(&cora, Kind::OBSERVATION).len(), 2, "{what}");

        hand(&carla, &mut cora);
        assert_eq!(cora.roll_entries_lost(), 0, "{what}");
        for _ in 0..2 {
            assert_eq!(belonging(&cora), before, "{what}");
            hand(&zed, &mut cora);
            assert_eq!(belonging(&cora), before, "{what}");
            assert_eq!(texts(&cora, Kind::OBSERVATION).len(), 2, "{what}");
            assert!(cora.plan(false, Budget::UNLIMITED).unwrap().cursors.len() > 1);
            drop(cora);
            cora = open();
        }
        cora.admit(&newcomer, RoleId(roles::ROLE_VOLUNTEER)).unwrap();
        gossip(&mut [&mut carla, &mut cora, &mut vera]);
        assert_eq!(belonging(&carla), belonging(&cora));
    }
}

#[test]
fn an_entry_that_only_resembles_what_is_lost_is_not_put_in_its_place() {
    let Town { mut carla, .. } = town();
    let store = Arc::new(MemoryStore::default());
    let open = || Engine::open(environment(7, Arc::clone(&store) as Arc<dyn Store>)).unwrap();
    let mut cora = open();
    let admission = carla
        .admit(&cora.request(carla.group_id().unwrap()).unwrap(), RoleId(roles::ROLE_COORDINATOR))
        .unwrap();
    cora.join(&admission).unwrap();
    carla.set_policy(settings::HISTORY_DAYS, 30).unwrap();
    let lost = last_of(&carla);
    carla.set_policy(settings::HISTORY_DAYS, 31).unwrap();
    hand(&carla, &mut cora);
    drop(cora);
    let good = store.scan(ENTRIES, &[], None, usize::MAX).unwrap();
    let mut good = good.iter().map(|(_, row)| cbor::decode::<Wire>(row).unwrap());
    let good = good.find(|wire| Received::parse(wire.clone()).unwrap().hash() == lost).unwrap();
    harm(&store, lost, |_| None);
    let mut cora = open();
    let mut unsigned = good.clone();
    *unsigned.signed.last_mut().unwrap() ^= 1;
    let bare = Wire { body: None, ..good.clone() };
    for bad in [unsigned, bare] {
        drop(cora.receive(vec![bad], None));
        assert_eq!(cora.roll_entries_lost(), 1);
    }
    cora.receive(vec![good], None).unwrap();
    assert_eq!(cora.roll_entries_lost(), 0);
}

#[test]
fn without_the_entry_that_founded_the_group_the_store_says_so() {
    let store = Arc::new(MemoryStore::default());
    let mut carla = Engine::open(environment(1, Arc::clone(&store) as Arc<dyn Store>)).unwrap();
    carla.found().unwrap();
    let founding = last_of(&carla);
    drop(carla);
    harm(&store, founding, |_| None);
    let opened = Engine::open(environment(1, store));
    assert!(matches!(opened, Err(Error::StoreDamaged(why)) if why.contains("founded")));
}
