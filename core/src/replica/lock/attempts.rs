//! How soon a PIN may be tried again after wrong ones.
//!
//! The number of wrong ones lies on the disk and is counted before a PIN is looked at, so that killing the app saves none. The wait
//! is measured by the time that passes while the app runs, which no calendar changes, and begins anew when the app does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::replica::error::Error;

/// For each store, after how many wrong PINs somebody waits since when.
pub(super) struct Attempts(Mutex<BTreeMap<PathBuf, (u32, Instant)>>);

/// One attempt at a time, whichever the store: two at once would be counted as one.
pub(super) struct Turn<'a>(MutexGuard<'a, BTreeMap<PathBuf, (u32, Instant)>>);

impl Attempts {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    pub(super) fn turn(&self) -> Turn<'_> {
        Turn(self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Turn<'_> {
    /// Whether a PIN may be tried after `wrong` ones.
    ///
    /// # Errors
    /// [`Error::PinWait`].
    pub(super) fn may_try(&mut self, store: &Path, wrong: u32, now: Instant) -> Result<(), Error> {
        let waiting = self.0.entry(store.to_owned()).or_insert((wrong, now));
        if waiting.0 != wrong {
            *waiting = (wrong, now);
        }
        match wait_after(wrong).checked_sub(now.saturating_duration_since(waiting.1)) {
            Some(left) if !left.is_zero() => {
                Err(Error::PinWait { wait_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1) })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The PIN was wrong: the wait begins.
    pub(super) fn was_wrong(&mut self, store: &Path, wrong: u32, now: Instant) {
        self.0.insert(store.to_owned(), (wrong, now));
    }

    pub(super) fn forget(&mut self, store: &Path) {
        self.0.remove(store);
    }
}

/// The delays of iOS between passcode attempts (Apple Platform Security, 'Passcodes and passwords'), the last of them for every
/// further attempt: ten thousand PINs take more than a year. Nothing is erased: what was not sent would be lost to a child's play,
/// and there is a PIN for that.
fn wait_after(wrong: u32) -> Duration {
    let minutes = match wrong {
        0..=4 => 0,
        5 => 1,
        6 => 5,
        7 | 8 => 15,
        _ => 60,
    };
    Duration::from_secs(60 * minutes)
}
