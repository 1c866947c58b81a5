//! Copies of disks: backups, and what is restored from them.

use lamppost_core::storage::{Batch, MemoryStore, Store as _, Table};

/// Tables that a store may have.
const TABLES: u8 = 20;

/// Everything on a disk.
pub fn rows(disk: &MemoryStore) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let of = |table| disk.scan(table, &[], None, usize::MAX).expect("memory works because nothing can break");
    (0..TABLES).map(Table).flat_map(|t| of(t).into_iter().map(move |(k, v)| (t, k, v))).collect()
}

/// A disk with the same on it.
pub fn copy(disk: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    let mut batch = Batch::default();
    rows(disk).into_iter().for_each(|(table, key, value)| batch.put(table, key, value));
    copy.apply(batch).expect("memory works because nothing can break");
    copy
}
