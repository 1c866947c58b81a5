//! Random histories: the backends against a plain map.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(u8, Vec<u8>, Option<Vec<u8>>)>),
    Scan { table: u8, prefix: Vec<u8>, after: Option<Vec<u8>>, rows_max: usize },
    Reopen,
}

/// Few distinct bytes, so that keys collide and are prefixes of one another; some are long.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(1), Just(254), Just(255)];
    prop_oneof![
        4 => vec(byte.clone(), 0..4),
        1 => (byte, 200..=KEY_BYTES_MAX).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop_oneof![4 => 0..40_usize, 1 => 4090..4100_usize, 1 => 4000..14_000_usize];
    (any::<u8>(), bytes).prop_map(|(byte, len)| vec![byte; len])
}

fn step() -> impl Strategy<Value = Step> {
    let table = || prop_oneof![Just(0), Just(1), Just(255)];
    let write = (table(), key(), proptest::option::weighted(0.7, value()));
    prop_oneof![
        5 => vec(write, 0..30).prop_map(Step::Apply),
        3 => (table(), key(), proptest::option::of(key()), 0..20_usize).prop_map(
            |(table, prefix, after, rows_max)| Step::Scan { table, prefix, after, rows_max }
        ),
        1 => Just(Step::Reopen),
    ]
}

fn model_scan(model: &Model, table: u8, prefix: &[u8], after: Option<&[u8]>) -> Vec<Pair> {
    model
        .iter()
        .filter(|((t, key), _)| *t == table && key.starts_with(prefix))
        .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
        .map(|((_, key), value)| (key.clone(), value.clone()))
        .collect()
}

fn assert_same(store: &dyn Store, model: &Model) {
    for table in [0, 1, 255] {
        let expected = model_scan(model, table, b"", None);
        assert!(store.scan(Table(table), b"", None, usize::MAX).unwrap() == expected);
        assert!(store.last(Table(table), b"").unwrap().as_ref() == expected.last());
        for (key, value) in expected {
            assert!(store.get(Table(table), &key).unwrap() == Some(value));
        }
    }
}

fn run(steps: &[Step], reopen: &mut dyn FnMut() -> Box<dyn Store>) {
    let mut model = Model::new();
    let mut store = reopen();
    for step in steps {
        match step {
            Step::Apply(writes) => {
                let mut batch = Batch::default();
                for (table, key, value) in writes.iter().cloned() {
                    match value.clone() {
                        Some(value) => batch.put(Table(table), key.clone(), value),
                        None => batch.delete(Table(table), key.clone()),
                    }
                    match value {
                        Some(value) => model.insert((table, key), value),
                        None => model.remove(&(table, key)),
                    };
                }
                store.apply(batch).unwrap();
            }
            Step::Scan { table, prefix, after, rows_max } => {
                let mut expected = model_scan(&model, *table, prefix, after.as_deref());
                expected.truncate(*rows_max);
                let after = after.as_deref();
                assert!(store.scan(Table(*table), prefix, after, *rows_max).unwrap() == expected);
                let expected = model_scan(&model, *table, prefix, None).pop();
                assert!(store.last(Table(*table), prefix).unwrap() == expected);
            }
            Step::Reopen => {
                drop(store);
                store = reopen();
                assert_same(&*store, &model);
            }
        }
    }
    assert_same(&*store, &model);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn memory_agrees_with_a_map(steps in vec(step(), 1..40)) {
        let store = MemoryStore::new();
        run(&steps, &mut || Box::new(store.clone()));
    }

    #[test]
    fn sled_agrees_with_a_map(steps in vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        run(&steps, &mut || Box::new(open(dir.path())));
        assert_no_spilled_pages(dir.path());
    }
}
