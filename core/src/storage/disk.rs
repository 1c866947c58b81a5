//! The store on disk, on sled 0.34.
//!
//! All tables lie in one sled tree, because `Tree::apply_batch` is atomic across a crash for one
//! tree only. Three things are added to what sled does:
//!
//! - On Linux `flush` ends in `sync_file_range`, which neither writes the file's metadata nor empties
//!   the drive's cache: it survives a kill, not a power loss. An `fdatasync` of the log follows it.
//! - `apply_batch` is not isolated from iterators, so readers and the writer share a gate.
//! - Sled locks its directory on some systems only and asserts on what it reads from damaged files;
//!   here a lock file comes first, and a panic inside sled becomes an error.
//!
//! Sled's background flusher is off: nothing is written but by `apply`, and none wakes a phone.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write as _};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use ::sled::Db;

use super::{Batch, Pair, Store, StoreError, Table, layout};

/// The format version this build writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 1;

/// The default size of the page cache: 8 MiB.
pub const CACHE_BYTES_DEFAULT: u64 = 8 << 20;

/// Names the directory a Lamppost store and carries the lock; empty until creation is complete.
const MARKER_FILE: &str = "lamppost.store";
const MARKER: &[u8] = b"A Lamppost store. Leave its files alone while Lamppost is running.\n";
/// Sled's log, which holds all the data.
const LOG_FILE: &str = "db";

/// A store closed a moment ago may still be held by one of sled's threads: try for half a second.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// Whose data a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A member's phone.
    Phone,
    /// A blind relay.
    Relay,
}

impl StoreKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How to open a [`SledStore`].
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Memory for cached pages, in bytes.
    pub cache_bytes: u64,
    /// Whose data it is; a store of the other kind is refused.
    pub kind: StoreKind,
}

impl Options {
    /// Options for a store of `kind` with a cache of [`CACHE_BYTES_DEFAULT`].
    #[must_use]
    pub const fn new(kind: StoreKind) -> Self {
        Self { cache_bytes: CACHE_BYTES_DEFAULT, kind }
    }
}

/// A [`Store`] in a directory of its own. One per directory; share it by `Arc`.
///
/// It guards against crashes, not against rot: if bits of its files change later, it may fail to
/// open, fail a read, or open with rows missing or older than they were, without a word. What is
/// above must be able to tell, and to sync such rows again.
#[derive(Debug)]
pub struct SledStore {
    // Fields drop in this order: the lock outlives sled.
    db: Db,
    log: File,
    _lock: File,
    gate: RwLock<()>,
    stopped: OnceLock<String>,
}

impl SledStore {
    /// Whether the directory `path` holds a store, of whichever kind and version.
    #[must_use]
    pub fn is_at(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(MARKER_FILE).exists()
    }

    /// Opens the store in the directory `path`, creating it if it is absent or empty.
    ///
    /// Opening after a crash drops the traces of any batch that was not finished.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::NotAStore`], [`StoreError::NewerFormat`],
    /// [`StoreError::WrongKind`], [`StoreError::Corrupt`], [`StoreError::DiskFull`] or
    /// [`StoreError::Io`]; each says what to do about it.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let (mut lock, complete) = claim(path)?;
        let db = start(path, options.cache_bytes)?;
        let log = writable(&path.join(LOG_FILE))?;
        match guarded(|| Ok(db.get(layout::RECORD)?))? {
            Some(record) => check_record(&record, options.kind)?,
            None if complete || !db.is_empty() => {
                return Err(StoreError::Corrupt { what: "its files are missing".to_owned() });
            }
            None => {
                guarded(|| Ok(db.insert(layout::RECORD, record(options.kind))?))?;
                guarded(|| Ok(db.flush()?))?;
            }
        }
        sync_directory(path)?;
        if !complete {
            lock.write_all(MARKER)?;
            lock.sync_all()?;
        }
        Ok(Self { db, log, _lock: lock, gate: RwLock::new(()), stopped: OnceLock::new() })
    }

    fn read<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _shared = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        self.run(work)
    }

    /// Runs `work` unless the store has stopped, and stops the store if it fails.
    fn run<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(reason) = self.stopped.get() {
            return Err(StoreError::Stopped { reason: reason.clone() });
        }
        guarded(work).inspect_err(|error| {
            self.stopped.get_or_init(|| error.to_string());
        })
    }

    fn row(&self, row_key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get(row_key)?.map(|row| row.to_vec()))
    }

    fn pair(&self, table: Table, row_key: &[u8], row: &[u8]) -> Result<Pair, StoreError> {
        let key = layout::key_of(row_key);
        let value = layout::value_of(table, &key, row, |row_key| self.row(row_key))?;
        Ok((key, value))
    }
}

impl Store for SledStore {
    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.run(|| {
            if batch.is_empty() {
                return Ok(());
            }
            let mut writes = ::sled::Batch::default();
            for (key, row) in layout::rows_of(batch, |key| self.row(key))? {
                match row {
                    Some(row) => writes.insert(key, row),
                    None => writes.remove(key),
                }
            }
            self.db.apply_batch(writes)?;
            self.db.flush()?;
            Ok(self.log.sync_data()?)
        })
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|| match self.db.get(layout::row_key(table, key))? {
            Some(row) => layout::value_of(table, key, &row, |key| self.row(key)).map(Some),
            None => Ok(None),
        })
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows_max: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let under = layout::row_key(table, prefix);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(layout::row_key(table, after)),
            _ => Bound::Included(under.clone()),
        };
        self.read(|| {
            let mut pairs = Vec::new();
            for entry in self.db.range((start, Bound::Unbounded)).take(rows_max) {
                let (row_key, row) = entry?;
                if !row_key.starts_with(&under) {
                    break;
                }
                pairs.push(self.pair(table, &row_key, &row)?);
            }
            Ok(pairs)
        })
    }

    fn last(&self, table: Table, prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.read(|| {
            let Some(entry) = self.db.scan_prefix(layout::row_key(table, prefix)).next_back() else {
                return Ok(None);
            };
            let (row_key, row) = entry?;
            self.pair(table, &row_key, &row).map(Some)
        })
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.read(|| Ok(self.db.size_on_disk()?))
    }
}

/// Locks the directory, making it if need be; also says whether the store in it was ever complete.
fn claim(path: &Path) -> Result<(File, bool), StoreError> {
    let not_a_store = || StoreError::NotAStore { path: path.to_owned() };
    if path.exists() && !path.is_dir() {
        return Err(not_a_store());
    }
    fs::create_dir_all(path)?;
    let marker = path.join(MARKER_FILE);
    if !marker.exists() && fs::read_dir(path)?.next().is_some() {
        return Err(not_a_store());
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(marker)?;
    lock(&file, path)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found)?;
    if !MARKER.starts_with(&found) {
        return Err(not_a_store());
    }
    // A half-written marker is finished by writing it again from the start.
    let complete = found == MARKER;
    io::Seek::rewind(&mut file)?;
    Ok((file, complete))
}

fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            // Where files cannot be locked, an app's private directory has to do.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(());
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(StoreError::InUse { path: path.to_owned() })
}

fn start(path: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    // Sled 0.34 reads its `mode` nowhere, so none is chosen.
    let config = ::sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None);
    if let Ok(log) = File::open(path.join(LOG_FILE)) {
        // Sled tries its own lock only once and reports it as any other IO error: wait here instead.
        lock(&log, path)?;
    }
    remove_unfinished_snapshots(path)?;
    guarded(|| Ok(config.open()?))
}

/// Sled writes a snapshot while it opens. If that is cut short, by a kill or a full disk, it takes
/// the torn file for its newest snapshot ever after. The finished one it was to replace is still
/// there.
fn remove_unfinished_snapshots(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Runs `work`, turning a panic into [`StoreError::Corrupt`]: sled asserts on what it reads, so that
/// a damaged file can panic anywhere, and a panic must stop the store like any other failure.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::Corrupt { what: "its files contradict each other".to_owned() }))
}

/// The format record: version (u16, big-endian), then the name of the kind.
fn record(kind: StoreKind) -> Vec<u8> {
    [&FORMAT_VERSION.to_be_bytes(), kind.name().as_bytes()].concat()
}

fn check_record(record: &[u8], expected: StoreKind) -> Result<(), StoreError> {
    let Some((version, name)) = record.split_first_chunk() else {
        return Err(StoreError::Corrupt { what: "its format record is cut short".to_owned() });
    };
    let found = u16::from_be_bytes(*version);
    if found > FORMAT_VERSION {
        return Err(StoreError::NewerFormat { found, supported: FORMAT_VERSION });
    }
    match [StoreKind::Phone, StoreKind::Relay].into_iter().find(|k| k.name().as_bytes() == name) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(StoreError::WrongKind { found, expected }),
        None => Err(StoreError::Corrupt { what: "its format record is unreadable".to_owned() }),
    }
}

/// Makes the files sled created and the names of files durable; sled syncs neither.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            writable(&entry.path())?.sync_all()?;
        }
    }
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
        // An empty parent means the current directory.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Not every system syncs a file opened for reading.
fn writable(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}
