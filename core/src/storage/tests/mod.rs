//! Every backend against the contract, and what is particular to each.

mod kill;
mod model;

use std::fs;
use std::path::Path;

use super::*;

const PHONE: Options = Options::new(StoreKind::Phone);

fn open(path: &Path) -> SledStore {
    SledStore::open(path, PHONE).unwrap()
}

fn put(table: u8, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table(table), key, value);
    batch
}

/// Sled must never spill a page into a file of its own; see `layout.rs`.
fn assert_no_spilled_pages(path: &Path) {
    assert_eq!(fs::read_dir(path.join("blobs")).unwrap().count(), 0);
}

#[test]
fn memory_keeps_the_contract() {
    let store = MemoryStore::new();
    contract::check(&mut || Box::new(store.clone()));
}

#[test]
fn sled_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract::check(&mut || Box::new(open(dir.path())));
    assert_no_spilled_pages(dir.path());
}

#[test]
fn a_faulty_store_keeps_the_contract_until_it_fails() {
    let store = MemoryStore::new();
    contract::check(&mut || Box::new(FaultyStore::new(store.clone(), usize::MAX, FaultAt::BeforeWrite)));
}

#[test]
fn a_faulty_store_fails_as_told_and_stays_stopped() {
    for (fault, written) in [(FaultAt::BeforeWrite, false), (FaultAt::AfterWrite, true)] {
        let store = FaultyStore::new(MemoryStore::new(), 1, fault);
        store.apply(put(1, b"first", b"1")).unwrap();
        assert!(matches!(store.apply(put(1, b"second", b"2")), Err(StoreError::DiskFull)));
        assert!(matches!(store.apply(Batch::default()), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.get(Table(1), b"first"), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.scan(Table(1), b"", None, 1), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.last(Table(1), b""), Err(StoreError::Stopped { .. })));
        assert!(matches!(store.size_bytes(), Err(StoreError::Stopped { .. })));
        let reopened = store.into_inner();
        assert!(reopened.get(Table(1), b"first").unwrap().is_some());
        assert_eq!(reopened.get(Table(1), b"second").unwrap().is_some(), written);
    }
}

#[test]
fn a_second_open_is_told_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let refused = SledStore::open(dir.path(), PHONE).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    first.apply(put(1, b"k", b"v")).unwrap();
    drop(first);
    assert!(open(dir.path()).get(Table(1), b"k").unwrap().is_some());
}

#[test]
fn the_other_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let refused = SledStore::open(dir.path(), Options::new(StoreKind::Relay)).unwrap_err();
    assert!(matches!(refused, StoreError::WrongKind { found: StoreKind::Phone, .. }), "{refused}");
    drop(open(dir.path()));
}

#[test]
fn a_directory_of_something_else_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("holiday.jpg"), "x").unwrap();
    let refused = SledStore::open(dir.path(), PHONE).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let refused = SledStore::open(dir.path().join("holiday.jpg"), PHONE).unwrap_err();
    assert!(matches!(refused, StoreError::NotAStore { .. }), "{refused}");
}

#[test]
fn records_of_newer_formats_and_nonsense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let open_with_record = |record: &[u8]| {
        let store = loop {
            match ::sled::open(dir.path()) {
                Ok(store) => break store,
                Err(_) => std::thread::yield_now(),
            }
        };
        store.insert(layout::RECORD, record).unwrap();
        drop(store);
        SledStore::open(dir.path(), PHONE).unwrap_err()
    };
    let refused = open_with_record(b"\x00\x02anything at all");
    assert!(matches!(refused, StoreError::NewerFormat { found: 2, supported: 1 }), "{refused}");
    for nonsense in [&b""[..], b"\x00", b"\x00\x01fridge"] {
        let refused = open_with_record(nonsense);
        assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
    }
}

#[test]
fn an_interrupted_creation_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("lamppost.store"), "A Lamp").unwrap();
    open(dir.path()).apply(put(1, b"k", b"v")).unwrap();
    assert!(open(dir.path()).get(Table(1), b"k").unwrap().is_some());
}

#[test]
fn an_interrupted_opening_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).apply(put(1, b"k", b"v")).unwrap();
    fs::write(dir.path().join("snap.00000000FFFFFFFF.generating"), "torn").unwrap();
    assert!(open(dir.path()).get(Table(1), b"k").unwrap().is_some());
}

#[test]
fn a_store_whose_files_were_removed_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).apply(put(1, b"k", b"v")).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("lamppost.store") {
            fs::remove_file(path).unwrap();
        }
    }
    let refused = SledStore::open(dir.path(), PHONE).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}

#[test]
fn damaged_files_never_panic_or_show_a_changed_value() {
    for round in 0..24_usize {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for number in 0..200_u8 {
            store.apply(put(1, &[number], &[number; 400])).unwrap();
        }
        drop(store);
        drop(open(dir.path()));
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let chosen = ["db", "conf", "snap"][round % 3];
            if path.is_file() && name.starts_with(chosen) {
                let mut bytes = fs::read(&path).unwrap();
                let at = bytes.len() * round / 24;
                for byte in bytes.iter_mut().skip(at).take(1 << (round % 12)) {
                    *byte ^= 0x5A;
                }
                fs::write(&path, bytes).unwrap();
            }
        }
        let Ok(store) = SledStore::open(dir.path(), PHONE) else {
            continue;
        };
        let Ok(rows) = store.scan(Table(1), b"", None, 999) else {
            assert!(matches!(store.get(Table(1), b""), Err(StoreError::Stopped { .. })));
            continue;
        };
        assert!(rows.iter().all(|(key, value)| *value == [key[0]; 400]));
    }
}

#[test]
fn a_batch_larger_than_the_cache_is_applied_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), Options { cache_bytes: 1 << 20, ..PHONE }).unwrap();
    let mut batch = Batch::default();
    for number in 0..4000_u32 {
        batch.put(Table(1), number.to_be_bytes(), vec![7; 3000]);
    }
    store.apply(batch).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).scan(Table(1), b"", None, 9999).unwrap().len(), 4000);
    assert_no_spilled_pages(dir.path());
}

#[test]
fn the_largest_rows_do_not_spill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (table, rows, value_bytes) in [(1, 5000, 0), (2, 600, 4096)] {
        for first in (0..rows).step_by(200) {
            let mut batch = Batch::default();
            for number in first..first + 200_u32 {
                // Scattered, sharing no prefix, and as long as escaping can make them.
                let head = number.wrapping_mul(0x9E37_79B1).to_be_bytes();
                let key = [&head[..], &[255; KEY_BYTES_MAX - 4]].concat();
                batch.put(Table(table), key, vec![1; value_bytes]);
            }
            store.apply(batch).unwrap();
        }
    }
    assert_no_spilled_pages(dir.path());
}

#[test]
fn the_store_is_shared_as_a_trait_object() {
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(MemoryStore::new());
    store.apply(put(1, b"k", b"v")).unwrap();
    assert_eq!(store.get(Table(1), b"k").unwrap(), Some(b"v".to_vec()));
}
