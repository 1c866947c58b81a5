//! What can go wrong with a store, told to the person who has to act.

use std::io;
use std::path::PathBuf;

use super::StoreKind;

/// Why a store could not be opened, or a call on it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, has the store open.
    #[error(
        "the data in {path} is already in use: close the other Lamppost that has it open, then try again"
    )]
    InUse {
        /// The directory of the store.
        path: PathBuf,
    },
    /// The path holds something else; it was left untouched.
    #[error(
        "{path} is not a Lamppost store: choose an empty or new directory, or the one Lamppost used before"
    )]
    NotAStore {
        /// The path that was to be opened.
        path: PathBuf,
    },
    /// A newer Lamppost wrote this store; it was left untouched.
    #[error(
        "the data was written by a newer Lamppost (format {found}, this one reads up to {supported}): update the app"
    )]
    NewerFormat {
        /// Format version on disk.
        found: u16,
        /// Newest format version this build reads.
        supported: u16,
    },
    /// A phone was pointed at a relay's store, or the other way round.
    #[error("the data belongs to a {found}, not to a {expected}: choose another directory")]
    WrongKind {
        /// The kind on disk.
        found: StoreKind,
        /// The kind asked for.
        expected: StoreKind,
    },
    /// The files do not say what was written to them.
    #[error(
        "the stored data is damaged ({what}): keep a copy of the directory, then restore a backup or start with an empty directory and sync again"
    )]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// The device has no room left, or the user's quota is used up.
    #[error("the disk is full: free some space, then start Lamppost again")]
    DiskFull,
    /// The operating system refused to read or write.
    #[error(
        "the stored data cannot be read or written ({0}): check the disk and the permissions of the directory, then start Lamppost again"
    )]
    Io(#[source] io::Error),
    /// A key or value is over the limit; nothing was written and the store goes on.
    #[error("a {what} of {bytes} bytes is too large to store: keep it to {bytes_max} bytes or less")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The largest size taken, in bytes.
        bytes_max: usize,
    },
    /// The store stopped at an earlier failure, because it can no longer vouch for its contents.
    #[error("the store stopped after a failure and has to be opened again; it was: {reason}")]
    Stopped {
        /// The message of the failure that stopped it.
        reason: String,
    },
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull;
        }
        Self::Io(error)
    }
}

impl From<::sled::Error> for StoreError {
    fn from(error: ::sled::Error) -> Self {
        match error {
            ::sled::Error::Io(error) => error.into(),
            ::sled::Error::Unsupported(what) | ::sled::Error::ReportableBug(what) => Self::Corrupt { what },
            ::sled::Error::Corruption { .. } | ::sled::Error::CollectionNotFound(_) => {
                Self::Corrupt { what: error.to_string() }
            }
        }
    }
}
