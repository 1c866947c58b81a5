//! The PIN, the duress PIN and the wipe: on real files, with disks that fail and a clock that the test sets.

use std::time::Duration;

use super::super::testing::draft;
use super::super::{Environment, Filter, FixedVault, SystemClock, WebSocketTransport};
use super::*;
use crate::replica::Engine;
use crate::storage::{FaultAt, FaultyStore, Options, SledStore, StoreKind};

/// Every file below `root`, whole.
fn files(root: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(fs::read(path).unwrap()) }
    }
    found
}

fn holds(root: &Path, bytes: &[u8]) -> bool {
    files(root).iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_pin_opens_and_the_duress_pin_leaves_what_a_first_start_leaves() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([7; 32]));
    let keychain = || Arc::clone(&vault) as Arc<dyn Vault>;
    let device = Replica::unlock(&at, keychain(), "1234").await.unwrap();
    let group = device.found().await.unwrap().group;
    device.record(draft("somebody's words")).await.unwrap();
    device.set_pins("1234", Some("4321")).await.unwrap();
    assert!(device.set_pins("1", Some("1")).await.is_err());
    let size = fs::metadata(beside(&at, PINS)).unwrap().len();
    drop(device);
    assert!(matches!(Replica::unlock(&at, keychain(), "0000").await, Err(Error::WrongPin)));
    let device = Replica::unlock(&at, keychain(), "1234").await.unwrap();
    assert_eq!(device.list(Filter::default()).await.unwrap().len(), 1);
    drop(device);
    // Something of the old device that a search would find, if it was there still.
    let marker = group.as_bytes();
    let secret = vault.secret().unwrap();
    assert!(holds(root.path(), marker), "control: the search finds what is there");

    let empty = Replica::unlock(&at, keychain(), "4321").await.unwrap();
    assert!(matches!(empty.info().await, Err(Error::NoGroup)));
    assert_eq!(empty.list(Filter::default()).await.unwrap(), []);
    assert!(!holds(root.path(), marker) && vault.secret().unwrap() != secret);
    drop(empty);
    assert!(matches!(Replica::unlock(&at, keychain(), "1234").await, Err(Error::WrongPin)));
    drop(Replica::unlock(&at, keychain(), "4321").await.unwrap());

    // As a device that never was anything else.
    let other = tempfile::tempdir().unwrap();
    let fresh = other.path().join("device");
    drop(Replica::unlock(&fresh, Arc::new(FixedVault::new([8; 32])), "4321").await.unwrap());
    assert_eq!(names(root.path()), names(other.path()));
    assert_eq!(fs::metadata(beside(&fresh, PINS)).unwrap().len(), size);
    assert_eq!(fs::metadata(beside(&at, PINS)).unwrap().len(), size);
}

/// The disk takes nothing any more: nothing has to be written for it to be emptied.
#[tokio::test]
async fn a_wipe_needs_no_working_disk_and_leaves_nothing_to_find() {
    for applies in [0, usize::MAX] {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("device");
        let vault = Arc::new(FixedVault::new([5; 32]));
        let store = SledStore::open(&at, Options::new(StoreKind::Phone)).unwrap();
        let environment = |store| Environment {
            store,
            vault: Arc::clone(&vault) as Arc<dyn Vault>,
            clock: Arc::new(SystemClock),
            entropy: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
        };
        let engine = Engine::open(environment(Arc::new(store))).unwrap();
        let device = engine.device_id();
        drop(engine);
        assert!(holds(root.path(), b"identity"), "control: the search finds what is there");
        let store = SledStore::open(&at, Options::new(StoreKind::Phone)).unwrap();
        let faulty = FaultyStore::new(store, applies, FaultAt::BeforeWrite);
        let engine = Engine::open(environment(Arc::new(faulty))).unwrap();
        assert_eq!(engine.device_id(), device);
        let transport = Arc::new(WebSocketTransport::default());
        let replica = Replica::with_directory(engine, transport, Some(at.clone()));
        let founded = replica.found().await;
        assert_eq!(founded.is_ok(), applies == usize::MAX);
        let clone = replica.clone();
        replica.wipe().await.unwrap();
        assert!(matches!(clone.list(Filter::default()).await, Err(Error::Closed)));
        assert!(matches!(clone.wipe().await, Err(Error::Closed)));
        assert_eq!(files(root.path()), Vec::<Vec<u8>>::new());
        assert_ne!(vault.secret().unwrap(), [5; 32], "the secret is another one");
    }
}

/// Whatever is left of it when the process dies, the next start goes on with it.
#[tokio::test]
async fn a_wipe_that_was_interrupted_is_finished() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([6; 32]));
    let device = Replica::unlock(&at, Arc::clone(&vault) as Arc<dyn Vault>, "11").await.unwrap();
    device.found().await.unwrap();
    drop(device);
    fs::rename(beside(&at, PINS), beside(&at, WIPING)).unwrap();
    fs::write(beside(&at, PINS_NEW), b"half of a count").unwrap();
    vault.destroy().unwrap();
    let device = Replica::unlock(&at, Arc::clone(&vault) as Arc<dyn Vault>, "22").await.unwrap();
    assert!(matches!(device.info().await, Err(Error::NoGroup)));
    assert!(!beside(&at, WIPING).exists() && !beside(&at, PINS_NEW).exists());
    drop(device);
    // A keychain that is another's is no reason to delete anything.
    let other: Arc<dyn Vault> = Arc::new(FixedVault::new([9; 32]));
    assert!(matches!(Replica::unlock(&at, other, "22").await, Err(Error::WrongVault)));
    drop(Replica::unlock(&at, vault, "22").await.unwrap());
}
/// Guesses are counted before they are looked at, the wait is of the time that passed while the app ran, and neither the right
/// PIN nor the duress PIN is told apart from others while it lasts.
#[test]
fn wrong_pins_have_to_wait_longer_and_longer_and_a_restart_helps_nobody() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = FixedVault::new([7; 32]);
    let begin = Instant::now();
    let attempts = Attempts::new();
    let enter = |attempts: &Attempts, pin: &str, after_s: u64| {
        open_door(&at, &vault, pin, attempts, || begin + Duration::from_secs(after_s))
    };
    let wait_s = |tried: Result<(), Error>| match tried {
        Err(Error::PinWait { wait_ms }) => wait_ms.div_ceil(1_000),
        other => panic!("{other:?}"),
    };
    enter(&attempts, "1234", 0).unwrap();
    fs::create_dir(&at).unwrap();
    write_pins(&at, &vault, "1234", Some("4321")).unwrap();
    for guess in 0..5 {
        assert!(matches!(enter(&attempts, &format!("{guess}"), 10), Err(Error::WrongPin)));
    }
    for pin in ["5", "1234", "4321"] {
        assert_eq!(wait_s(enter(&attempts, pin, 10)), 60);
    }
    assert_eq!(wait_s(enter(&attempts, "1234", 69)), 1);
    // The app is started again: the wait begins anew.
    let attempts = Attempts::new();
    assert_eq!(wait_s(enter(&attempts, "1234", 70)), 60);
    let mut now_s = 130;
    for (guess, wait) in [(5, 300), (6, 900), (7, 900), (8, 3_600), (9, 3_600)] {
        assert!(matches!(enter(&attempts, &format!("{guess}"), now_s), Err(Error::WrongPin)));
        assert_eq!(wait_s(enter(&attempts, "1234", now_s)), wait);
        now_s += wait;
    }
    enter(&attempts, "1234", now_s).unwrap();
    // A right one begins anew.
    for _ in 0..4 {
        assert!(matches!(enter(&attempts, "0", now_s), Err(Error::WrongPin)));
    }
    enter(&attempts, "4321", now_s).unwrap();
    assert!(!at.exists(), "the duress PIN wiped it");
    enter(&attempts, "4321", now_s).unwrap();
}

/// What cannot be counted is not let through, whether it fits or not; the duress PIN needs no disk.
#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_count_lets_only_the_duress_pin_through() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = FixedVault::new([7; 32]);
    fs::create_dir(&at).unwrap();
    write_pins(&at, &vault, "1234", Some("4321")).unwrap();
    // A directory in its place: the count cannot be written, whoever runs the test.
    let obstacle = beside(&at, PINS_NEW);
    fs::create_dir(&obstacle).unwrap();
    let attempts = Attempts::new();
    let enter = |pin| open_door(&at, &vault, pin, &attempts, Instant::now);
    for pin in ["1234", "0000"] {
        assert!(matches!(enter(pin), Err(Error::Store(_))));
    }
    let secret = vault.secret().unwrap();
    // The device is gone; that the new one has no PIN yet is the disk's doing.
    assert!(matches!(enter("4321"), Err(Error::Store(_))));
    assert!(!at.exists() && vault.secret().unwrap() != secret);
}
