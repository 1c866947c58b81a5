//! Storage: an ordered key-value store with atomic, durable batches.
//!
//! Phones and relays keep everything they must not forget here. The room knows nothing about what
//! it stores: no clock, no randomness, no network, no async. It may import `crate::base` and
//! nothing else of the crate.
//!
//! - [`Store`] is the promise; every backend is held to it by the one suite in `contract`.
//! - [`SledStore`] keeps the promise on a disk, [`MemoryStore`] in memory for tests and simulation.
//! - `FaultyStore` breaks on purpose, to test what is built above.
//!
//! A store has one writer at a time. Callers with many small writes should gather them into one
//! [`Batch`]: the price of an `apply` is one wait for the disk, whatever the batch holds.

#[cfg(any(test, feature = "test-util"))]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a contract is a test wherever it is called from"
)]
pub mod contract;
mod disk;
mod error;
#[cfg(any(test, feature = "test-util"))]
mod faulty;
mod layout;
mod memory;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests;

pub use disk::{CACHE_BYTES_DEFAULT, FORMAT_VERSION, Options, SledStore, StoreKind};
pub use error::StoreError;
#[cfg(any(test, feature = "test-util"))]
pub use faulty::{FaultAt, FaultyStore};
pub use memory::MemoryStore;

/// The longest key a store takes, in bytes.
///
/// Short keys keep every page of the disk backend inside its log; see `layout.rs`.
pub const KEY_BYTES_MAX: usize = 255;

/// The largest single value a store takes, in bytes (16 MiB).
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// A key and its value, as [`Store::scan`] and [`Store::last`] return them.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One of up to 256 separate key spaces of a store. Keys in different tables never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(
    /// The name of the table: one byte, chosen by the caller; all 256 are free to use.
    pub u8,
);

/// An ordered key-value store whose batches are atomic and durable.
///
/// # What every backend promises
///
/// - **Order.** Keys are byte strings, ordered byte by byte (`[1] < [1, 0] < [2]`), per table.
/// - **Atomicity.** A batch is applied whole or not at all, also across a crash in the middle of it.
///   Its operations take effect in the order they were added: the last one to name a key wins.
///   Batches are applied one after another.
/// - **Durability.** When [`apply`](Store::apply) returns `Ok`, the batch survives `SIGKILL` and a
///   power loss, as far as the device honours a request to flush its cache. A batch whose `apply`
///   had not returned when the process died is wholly there or wholly absent after reopening.
/// - **Isolation.** A reader sees the state between two batches, never half of one, and never a
///   batch which is not durable yet: writers hold a lock alone from their first write until the
///   disk has confirmed, readers share it. So nobody, a relay's peers included, is ever shown
///   something a crash could take back. The price: a read may wait for one flush. Two calls are two
///   looks; a batch may land between them.
/// - **Errors.** [`StoreError::TooLarge`] refuses a batch before anything is written, and the store
///   goes on. Any other error of a call makes the store *fail-stop*: what reached the disk may be
///   unknowable, so it answers every later call, reads too, with [`StoreError::Stopped`] until it is
///   dropped and opened again. Nothing of a failed batch is shown before that; after it, the batch is
///   wholly there or wholly absent.
/// - **Dropping** closes the store. It loses nothing acknowledged and acknowledges nothing; it need
///   not run at all.
///
/// The trait is object-safe: share a store as `Arc<dyn Store>`. Calls block, some on the disk; async
/// callers belong on a blocking thread.
pub trait Store: Send + Sync {
    /// Applies every operation of `batch` or none, in order, and returns only when they would survive
    /// `SIGKILL` and power loss. An empty batch is a no-op.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] for a key over [`KEY_BYTES_MAX`] or a value over [`VALUE_BYTES_MAX`];
    /// otherwise the store has stopped: [`StoreError::DiskFull`], [`StoreError::Io`],
    /// [`StoreError::Corrupt`], and [`StoreError::Stopped`] from then on.
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;

    /// The value under `key` in `table`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] or [`StoreError::Corrupt`] if it cannot be read, [`StoreError::Stopped`]
    /// after any earlier failure.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `rows_max` pairs of `table` whose key starts with `prefix` and is greater than `after`
    /// (if given), ascending. To page, pass the last key received as the next `after`.
    ///
    /// # Errors
    ///
    /// As [`get`](Store::get).
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// The pair of `table` with the greatest key that starts with `prefix`.
    ///
    /// # Errors
    ///
    /// As [`get`](Store::get).
    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError>;

    /// Bytes on disk, including space held for reuse; 0 for a store in memory.
    ///
    /// # Errors
    ///
    /// As [`get`](Store::get).
    fn size_bytes(&self) -> Result<u64, StoreError>;
}

/// Writes to be applied together. See [`Store::apply`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
    value_bytes: usize,
}

/// One operation of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The table written to.
    pub table: Table,
    /// The key written to.
    pub key: Vec<u8>,
    /// The new value, or `None` to delete the key.
    pub value: Option<Vec<u8>>,
}

impl Batch {
    /// Sets `key` to `value`, replacing what was there.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let value = value.into();
        self.value_bytes += value.len();
        self.push(table, key.into(), Some(value));
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.push(table, key.into(), None);
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of all values put, without keys.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    /// The operations, in the order they were added.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Takes the batch apart into its operations, in the order they were added.
    #[must_use]
    pub fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// Refuses what no backend takes.
    fn check(&self) -> Result<(), StoreError> {
        for write in &self.writes {
            fits("key", write.key.len(), KEY_BYTES_MAX)?;
            fits("value", write.value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)?;
        }
        Ok(())
    }

    fn push(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.writes.push(Write { table, key, value });
    }
}

fn fits(what: &'static str, bytes: usize, bytes_max: usize) -> Result<(), StoreError> {
    if bytes > bytes_max {
        return Err(StoreError::TooLarge { what, bytes, bytes_max });
    }
    Ok(())
}
