//! The one suite every [`Store`] is held to.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Batch, KEY_BYTES_MAX, Pair, Store, StoreError, Table, VALUE_BYTES_MAX};

type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

/// Checks the promises of [`Store`] that can be seen from outside.
///
/// `open` opens the same store each time it is called; the first time it must be empty. No two
/// handles are held at once.
///
/// # Panics
///
/// Panics at the first promise the store does not keep.
pub fn check(open: Open<'_>) {
    starts_empty(&*open());
    orders_keys_by_bytes(&*open());
    keeps_tables_apart(&*open());
    pages_with_after(&*open());
    finds_the_last(&*open());
    takes_keys_of_all_ones(&*open());
    forgets_what_is_deleted(&*open());
    applies_operations_in_order(&*open());
    takes_every_size_up_to_the_limits(open);
    refuses_what_is_too_large(&*open());
    keeps_batches_over_a_reopen(open);
    shows_readers_whole_batches(&*open());
}

fn starts_empty(store: &dyn Store) {
    for table in 0..=u8::MAX {
        assert_eq!(store.scan(Table(table), b"", None, 9).unwrap(), [], "a new store is empty");
        assert_eq!(store.last(Table(table), b"").unwrap(), None);
    }
    store.apply(Batch::default()).unwrap();
    store.size_bytes().unwrap();
}

fn orders_keys_by_bytes(store: &dyn Store) {
    let table = Table(1);
    let ascending: [&[u8]; 8] = [b"", &[0], &[0, 0], &[0, 255], &[1], &[127], &[128, 1], &[255, 255]];
    let mut batch = Batch::default();
    for key in ascending.iter().rev() {
        batch.put(table, *key, *key);
    }
    store.apply(batch).unwrap();
    assert_eq!(keys(&store.scan(table, b"", None, 99).unwrap()), ascending);
    assert_eq!(keys(&store.scan(table, &[0], None, 99).unwrap()), &ascending[1..4]);
    assert_eq!(keys(&store.scan(table, &[255], None, 99).unwrap()), &ascending[7..]);
    for key in ascending {
        assert_eq!(store.get(table, key).unwrap().as_deref(), Some(key));
    }
}

fn keeps_tables_apart(store: &dyn Store) {
    let tables = [Table(0), Table(2), Table(3), Table(255)];
    let mut batch = Batch::default();
    for table in tables {
        batch.put(table, [255], [table.0]);
    }
    store.apply(batch).unwrap();
    for table in tables {
        let pair = (vec![255], vec![table.0]);
        assert_eq!(store.scan(table, b"", None, 9).unwrap(), std::slice::from_ref(&pair));
        assert_eq!(store.last(table, b"").unwrap(), Some(pair));
    }
    store.apply(delete(tables[1], &[255])).unwrap();
    assert_eq!(store.get(tables[1], &[255]).unwrap(), None);
    assert_eq!(store.get(tables[2], &[255]).unwrap(), Some(vec![3]));
}

fn pages_with_after(store: &dyn Store) {
    let table = Table(4);
    let mut batch = Batch::default();
    for number in 0..100_u8 {
        batch.put(table, [b'p', number], [number]);
    }
    batch.put(table, "o", "before the prefix");
    batch.put(table, "q", "past the prefix");
    store.apply(batch).unwrap();

    let mut seen: Vec<Pair> = Vec::new();
    loop {
        let after = seen.last().map(|(key, _)| key.clone());
        let page = store.scan(table, b"p", after.as_deref(), 7).unwrap();
        assert!(page.len() <= 7, "a page is no longer than asked");
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let values: Vec<u8> = seen.iter().map(|(_, value)| value[0]).collect();
    assert_eq!(values, (0..100).collect::<Vec<u8>>(), "paging misses and repeats nothing");

    assert_eq!(store.scan(table, b"p", None, 0).unwrap(), []);
    assert_eq!(store.scan(table, b"p", Some(b"a"), 1).unwrap(), seen[..1], "after a lower key");
    assert_eq!(store.scan(table, b"p", Some(b"p"), 1).unwrap(), seen[..1], "after the prefix");
    assert_eq!(store.scan(table, b"p", Some(b"pzz"), 1).unwrap(), [], "after the last");
    assert_eq!(store.scan(table, b"p", Some(b"z"), 1).unwrap(), [], "after a higher key");
}

fn finds_the_last(store: &dyn Store) {
    let table = Table(5);
    let mut batch = Batch::default();
    for key in [&b"a"[..], &[b'b', 1], &[b'b', 255], &[b'b', 255, 255], b"c"] {
        batch.put(table, key, "");
    }
    store.apply(batch).unwrap();
    let last = |prefix: &[u8]| store.last(table, prefix).unwrap().map(|(key, _)| key);
    assert_eq!(last(b""), Some(b"c".to_vec()));
    assert_eq!(last(b"a"), Some(b"a".to_vec()));
    assert_eq!(last(b"b"), Some(vec![b'b', 255, 255]));
    assert_eq!(last(&[b'b', 1]), Some(vec![b'b', 1]));
    assert_eq!(last(b"bb"), None);
    assert_eq!(last(b"d"), None);
}

/// Keys somebody may send to do harm: long runs of the greatest byte just below a prefix's end.
fn takes_keys_of_all_ones(store: &dyn Store) {
    let table = Table(255);
    for group in 0..=u8::MAX {
        let below = |number: u8| [&[group, 0], &[255; 8][..], &[number]].concat();
        let count = group % 40 + 1;
        let mut batch = Batch::default();
        for number in 0..count {
            batch.put(table, below(number), "");
        }
        for number in 0..20 {
            batch.put(table, [group, 1, number], "");
        }
        batch.put(table, [group, 1], "");
        store.apply(batch).unwrap();
        let last = |prefix: &[u8]| store.last(table, prefix).unwrap().map(|(key, _)| key);
        assert_eq!(last(&[group, 0]), Some(below(count - 1)));
        assert_eq!(last(&[group]), Some(vec![group, 1, 19]));
        assert_eq!(store.scan(table, &[group, 0], None, 99).unwrap().len(), usize::from(count));
    }
}

/// As a queue does: written at one end, deleted at the other.
fn forgets_what_is_deleted(store: &dyn Store) {
    let table = Table(13);
    let key = |number: u32| number.to_be_bytes();
    for first in (0..6000).step_by(1000) {
        let mut batch = Batch::default();
        for number in first..first + 1000 {
            batch.put(table, key(number), key(number));
        }
        store.apply(batch).unwrap();
        let mut batch = Batch::default();
        for number in first..first + 990 {
            batch.delete(table, key(number));
        }
        store.apply(batch).unwrap();
        let rows = store.scan(table, b"", None, 9).unwrap();
        assert_eq!(rows.first().map(|(key, _)| key.as_slice()), Some(&key(990)[..]));
        let last = store.last(table, b"").unwrap().map(|(key, _)| key);
        assert_eq!(last, Some(key(first + 999).to_vec()));
        let ends = store.scan(table, b"", Some(&key(first)), 99).unwrap();
        assert_eq!(ends.len(), 10);
    }
    let mut batch = Batch::default();
    for number in 0..6000 {
        batch.delete(table, key(number));
    }
    store.apply(batch).unwrap();
    assert_eq!(store.scan(table, b"", None, 9).unwrap(), []);
    assert_eq!(store.last(table, b"").unwrap(), None);
}

fn applies_operations_in_order(store: &dyn Store) {
    let table = Table(6);
    store.apply(put(table, b"gone", b"0")).unwrap();
    let mut batch = Batch::default();
    batch.put(table, "twice", "first");
    batch.put(table, "twice", "second");
    batch.delete(table, "gone");
    batch.delete(table, "back");
    batch.put(table, "back", "here");
    batch.put(table, "never", "x");
    batch.delete(table, "never");
    batch.delete(table, "unknown");
    assert_eq!((batch.len(), batch.value_bytes()), (8, 16));
    store.apply(batch).unwrap();
    let expected = [(b"back".to_vec(), b"here".to_vec()), (b"twice".to_vec(), b"second".to_vec())];
    assert_eq!(store.scan(table, b"", None, 9).unwrap(), expected);
}

fn takes_every_size_up_to_the_limits(open: Open<'_>) {
    let table = Table(7);
    let long_key = vec![7; KEY_BYTES_MAX];
    // Growing and shrinking one key also has to clear away what was there.
    for bytes in [0, 1, 4095, 4096, 4097, 8192, 100_000, VALUE_BYTES_MAX, 70_000, 5000, 3] {
        let value: Vec<u8> = (0..=250).cycle().take(bytes).collect();
        let mut batch = put(table, &long_key, &value);
        batch.put(table, [8], value.as_slice());
        open().apply(batch).unwrap();
        let store = open();
        assert!(store.get(table, &long_key).unwrap().as_ref() == Some(&value), "{bytes} bytes");
        let pairs = [(long_key.clone(), value.clone()), (vec![8], value)];
        assert!(store.scan(table, b"", None, 9).unwrap() == pairs, "{bytes} bytes");
        assert!(store.last(table, b"").unwrap().as_ref() == pairs.last(), "{bytes} bytes");
    }
    let store = open();
    store.apply(delete(table, &long_key)).unwrap();
    assert_eq!(keys(&store.scan(table, b"", None, 9).unwrap()), [[8]]);
}

fn refuses_what_is_too_large(store: &dyn Store) {
    let table = Table(8);
    let mut long_key = put(table, b"fine", b"");
    long_key.put(table, vec![0; KEY_BYTES_MAX + 1], "");
    let mut long_value = put(table, b"fine", b"");
    long_value.put(table, "big", vec![0; VALUE_BYTES_MAX + 1]);
    for batch in [long_key, long_value] {
        assert!(matches!(store.apply(batch), Err(StoreError::TooLarge { .. })));
        assert_eq!(store.get(table, b"fine").unwrap(), None, "nothing of the batch is there");
    }
    // A key that cannot be stored is merely absent.
    assert_eq!(store.get(table, &[0; KEY_BYTES_MAX + 1]).unwrap(), None);
    store.apply(put(table, b"fine", b"")).unwrap();
}

fn keeps_batches_over_a_reopen(open: Open<'_>) {
    let table = Table(9);
    for round in 0..20_u8 {
        let mut batch = Batch::default();
        for key in 0..50_u8 {
            batch.put(table, [key], [round; 300]);
        }
        batch.delete(table, [round]);
        open().apply(batch).unwrap();
        let rows = open().scan(table, b"", None, 99).unwrap();
        assert_eq!(rows.len(), 49, "round {round}");
        assert!(rows.iter().all(|(key, value)| *key != [round] && *value == [round; 300]));
    }
}

fn shows_readers_whole_batches(store: &dyn Store) {
    const ROUNDS: u8 = 60;
    let table = Table(10);
    let done = AtomicBool::new(false);
    let batch = |round: u8| {
        let mut batch = Batch::default();
        for key in 0..60_u8 {
            batch.put(table, [key], [round]);
        }
        batch.put(table, [60], vec![round; 9000]);
        batch
    };
    store.apply(batch(0)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..ROUNDS {
                store.apply(batch(round)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Acquire) {
                    let rows = store.scan(table, b"", None, 99).unwrap();
                    let round = rows[0].1[0];
                    assert_eq!(rows.len(), 61);
                    let whole = |value: &[u8]| value.iter().all(|&byte| byte == round);
                    assert!(rows.iter().all(|(_, value)| whole(value)), "half a batch was seen");
                    assert!(round >= newest, "a batch came undone");
                    newest = round;
                }
            });
        }
    });
    assert_eq!(store.get(table, &[59]).unwrap(), Some(vec![ROUNDS - 1]));
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(table, key, value);
    batch
}

fn delete(table: Table, key: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.delete(table, key);
    batch
}

fn keys(pairs: &[Pair]) -> Vec<&[u8]> {
    pairs.iter().map(|(key, _)| key.as_slice()).collect()
}
