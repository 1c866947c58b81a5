//! A store that breaks on purpose.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Batch, Pair, Store, StoreError, Table};

/// When the failing `apply` fails. A caller cannot tell the two apart, and must be right for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAt {
    /// Nothing of the batch was written.
    BeforeWrite,
    /// The whole batch was written, but the caller is told it failed.
    AfterWrite,
}

/// Wraps a [`Store`] and makes one `apply` fail with [`StoreError::DiskFull`]; from then on it is
/// fail-stop like any store. "Reopen" by taking the inner store out with
/// [`into_inner`](FaultyStore::into_inner), or by keeping another handle to it.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    fault: FaultAt,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Working { applies_left: usize },
    Stopped,
}

impl<S: Store> FaultyStore<S> {
    /// A store whose first `applies_ok` applies succeed and whose next one fails.
    #[must_use]
    pub fn new(inner: S, applies_ok: usize, fault: FaultAt) -> Self {
        Self { inner, fault, state: Mutex::new(State::Working { applies_left: applies_ok }) }
    }

    /// The wrapped store, with what was written to it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The state, unless the store has stopped.
    fn working(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Working { .. } => Ok(state),
            State::Stopped => Err(StoreError::Stopped { reason: StoreError::DiskFull.to_string() }),
        }
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut state = self.working()?;
        batch.check()?;
        if let State::Working { applies_left } = &mut *state
            && *applies_left > 0
        {
            *applies_left -= 1;
            return self.inner.apply(batch);
        }
        *state = State::Stopped;
        if self.fault == FaultAt::AfterWrite {
            self.inner.apply(batch)?;
        }
        Err(StoreError::DiskFull)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let _working = self.working()?;
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let _working = self.working()?;
        self.inner.scan(table, prefix, after, rows_max)
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        let _working = self.working()?;
        self.inner.last(table, prefix)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        let _working = self.working()?;
        self.inner.size_bytes()
    }
}
