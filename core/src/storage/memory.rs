//! The store in memory, for tests and simulation.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Batch, Pair, Store, StoreError, Table};

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A [`Store`] in memory.
///
/// Clones share the same rows. As every batch is durable once applied, a simulated crash is just to
/// drop one clone with whatever was built on it, and to reopen with another.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: Arc<RwLock<Rows>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, look: impl FnOnce(&Rows) -> T) -> Result<T, StoreError> {
        Ok(look(&*self.rows.read().map_err(stopped)?))
    }
}

impl Store for MemoryStore {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut rows = self.rows.write().map_err(stopped)?;
        for write in batch.into_writes() {
            let key = (write.table, write.key);
            match write.value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|rows| rows.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded((table, after.to_vec())),
            _ => Bound::Included((table, prefix.to_vec())),
        };
        self.read(|rows| {
            rows.range((start, Bound::Unbounded))
                .take_while(|((t, key), _)| *t == table && key.starts_with(prefix))
                .take(rows_max)
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        // No taken key is longer, so this is at or above every key under the prefix.
        let mut end = prefix.to_vec();
        end.resize(end.len().max(super::KEY_BYTES_MAX), u8::MAX);
        self.read(|rows| {
            rows.range(..=(table, end))
                .next_back()
                .filter(|((t, key), _)| *t == table && key.starts_with(prefix))
                .map(|((_, key), value)| (key.clone(), value.clone()))
        })
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.read(|_| 0)
    }
}

fn stopped<T>(_: PoisonError<T>) -> StoreError {
    StoreError::Stopped { reason: "a thread panicked while writing".to_owned() }
}
