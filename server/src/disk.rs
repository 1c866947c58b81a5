//! The free space on the disk: what the relay still takes hangs on it.
//!
//! A store whose write fails has to be opened anew. So the relay stops taking things before the disk is full, in this
//! order: new groups and photos, then entries, then the membership log; and takes them again once there is room.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::{task, time};

use crate::app::{App, Stage};

/// How often the disk is looked at. So long, at the fastest, a flood may write before it is noticed.
const EVERY: Duration = Duration::from_millis(500);

/// What is kept free for writing the membership log, as a part of the floor.
const LAST_SHARE: u64 = 8;

/// A file that takes up room, to be given up when the store cannot even be opened on a full disk.
const BALLAST: &str = "ballast";

/// Its size: the store writes far less when it opens.
const BALLAST_BYTES: usize = 16 << 20;

/// What a relay takes by the free space on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Plenty,
    /// No new groups and no photos.
    Low,
    /// The membership log alone.
    Scarce,
    /// Nothing: what is here can be read.
    Full,
}

impl Level {
    /// The level at so many free bytes, with a floor of `floor` bytes.
    pub fn of(free: u64, floor: u64) -> Self {
        if free < floor / LAST_SHARE {
            Self::Full
        } else if free < floor {
            Self::Scarce
        } else if free < floor.saturating_mul(2) {
            Self::Low
        } else {
            Self::Plenty
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Plenty,
            1 => Self::Low,
            2 => Self::Scarce,
            _ => Self::Full,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Plenty => 0,
            Self::Low => 1,
            Self::Scarce => 2,
            Self::Full => 3,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Plenty => "everything is taken again",
            Self::Low => "no new groups and no photos are taken",
            Self::Scarce => "only membership logs are taken",
            Self::Full => "nothing is taken, what is here can be read",
        }
    }
}

/// The level, as it was seen last. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU8>);

impl Gauge {
    /// The level that was seen last.
    pub fn level(&self) -> Level {
        Level::from_number(self.0.load(Ordering::Relaxed))
    }

    /// Sets the level. Returns whether it is another one.
    pub fn set(&self, level: Level) -> bool {
        self.0.swap(level.number(), Ordering::Relaxed) != level.number()
    }
}

/// The free bytes, as they were seen last.
#[derive(Debug, Default)]
pub struct Disk(AtomicU64);

impl Disk {
    /// Free bytes; 0 if they are not known.
    pub fn free_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that are free for this user on the disk of a directory; none if the system does not say.
#[cfg(unix)]
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// Looks at the disk until the relay has stopped.
pub async fn run(app: Arc<App>, mut stage: watch::Receiver<Stage>) {
    let mut every = time::interval(EVERY);
    loop {
        tokio::select! {
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => return,
            _ = every.tick() => {}
        }
        let looking = Arc::clone(&app);
        let looked = task::spawn_blocking(move || looking.look_at_disk()).await;
        if looked.is_err() {
            tracing::error!("the disk could not be looked at");
        }
    }
}

impl App {
    /// Looks at the disk, and tells if something else is taken from now on.
    pub fn look_at_disk(&self) {
        let Some(free) = free_bytes(&self.settings.data) else { return };
        self.disk.0.store(free, Ordering::Relaxed);
        let level = Level::of(free, self.settings.disk_free_bytes_min);
        if self.relay.gauge().set(level) {
            tracing::warn!("{free} bytes are free on the disk of the data: {}", level.meaning());
        }
        if level == Level::Plenty
            && let Err(why) = lay_ballast(&self.settings.data)
        {
            tracing::debug!("no ballast: {why}");
        }
    }
}

/// Gives up the ballast if the disk is so full that the store might not open.
pub fn make_room_to_open(data: &Path) {
    if free_bytes(data).is_some_and(|free| free < BALLAST_BYTES as u64) {
        drop(fs::remove_file(data.join(BALLAST)));
    }
}

/// Takes up room while there is plenty. The store is there by now, so that its directory is its own.
fn lay_ballast(data: &Path) -> io::Result<()> {
    let path = data.join(BALLAST);
    if fs::metadata(&path).is_ok_and(|found| found.len() >= BALLAST_BYTES as u64) {
        return Ok(());
    }
    let mut file = File::create(path)?;
    // Written, as a file with holes takes up nothing.
    (0..BALLAST_BYTES / 65_536).try_for_each(|_| file.write_all(&[0xa5; 65_536]))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_free_space() {
        let levels = [0, 99, 100, 799, 800, 1_599, 1_600].map(|free| Level::of(free, 800));
        let expected =
            [Level::Full, Level::Full, Level::Scarce, Level::Scarce, Level::Low, Level::Low, Level::Plenty];
        assert_eq!(levels, expected);
        let gauge = Gauge::default();
        assert!(gauge.set(Level::Full) && !gauge.set(Level::Full));
        assert_eq!(gauge.level(), Level::Full);
    }

    #[test]
    fn ballast_takes_room_once() {
        let directory = tempfile::tempdir().unwrap();
        lay_ballast(directory.path()).unwrap();
        lay_ballast(directory.path()).unwrap();
        assert_eq!(fs::metadata(directory.path().join(BALLAST)).unwrap().len(), BALLAST_BYTES as u64);
        assert!(free_bytes(directory.path()).is_none_or(|free| free > 0));
    }
}
