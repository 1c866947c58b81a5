//! The PIN, the duress PIN and the wipe: on real files, with disks that fail and a clock that the test sets.

use std::time::Duration;

use super::super::disk::{META, ROWS};
use super::super::testing::draft;
use super::super::{Environment, Filter, FixedVault, SystemClock, WebSocketTransport};
use super::key_file::Step;
use super::*;
use crate::replica::Engine;
use crate::replica::veiled::Veiled;
use crate::storage::{FaultAt, FaultyStore, MemoryStore, Options, SledStore, Store as _, StoreKind};

const PIN: &str = "271828";
const DURESS: &str = "314159";
const OTHER: &str = "577215";

/// Every file below `root`, whole.
fn files(root: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(fs::read(path).unwrap()) }
    }
    found
}

fn contains(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window == bytes)
}

fn holds(root: &Path, bytes: &[u8]) -> bool {
    files(root).iter().any(|file| contains(file, bytes))
}

/// Whether a block looks like ciphertext.
fn is_noise(block: &[u8]) -> bool {
    let mut bytes = block.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len() > block.len() / 2
}

fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn size(at: &Path) -> u64 {
    fs::metadata(beside(at, KEYS)).unwrap().len()
}

fn environment(at: &Path, vault: &Arc<FixedVault>) -> Environment {
    let store = Arc::new(SledStore::open(at, Options::new(StoreKind::Phone)).unwrap());
    Environment { store, ..elsewhere(vault) }
}

/// An environment whose store is in memory.
fn elsewhere(vault: &Arc<FixedVault>) -> Environment {
    Environment {
        store: Arc::new(MemoryStore::new()),
        vault: Arc::clone(vault) as Arc<dyn Vault>,
        clock: Arc::new(SystemClock),
        entropy: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
    }
}

fn keys() -> Keys {
    Keys { store: Secret([1; 32]), device: Secret([3; 32]) }
}

/// A device with a PIN, a group and one report.
async fn device(at: &Path, vault: &Arc<FixedVault>, duress: Option<&str>) {
    let device = Replica::unlock(at, Arc::clone(vault) as Arc<dyn Vault>, PIN).await.unwrap();
    device.found().await.unwrap();
    device.record(draft("somebody's words")).await.unwrap();
    device.set_pins(PIN, duress).await.unwrap();
}

/// Every way in for somebody with the files and the keychain's secret.
#[tokio::test]
async fn the_keychains_secret_alone_opens_nothing_that_has_a_pin() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([7; 32]));
    let keychain = || Arc::clone(&vault) as Arc<dyn Vault>;
    device(&at, &vault, None).await;
    assert!(matches!(Replica::open(&at, keychain()).await, Err(Error::Locked)));
    assert!(matches!(Engine::open(environment(&at, &vault)), Err(Error::WrongVault)));
    // Without the key file the secret is no better.
    let kept = fs::read(beside(&at, KEYS)).unwrap();
    fs::remove_file(beside(&at, KEYS)).unwrap();
    assert!(matches!(Replica::open(&at, keychain()).await, Err(Error::NoKeyFile(_))));
    assert!(matches!(Replica::unlock(&at, keychain(), PIN).await, Err(Error::NoKeyFile(_))));
    // Nor with one that says that there is no PIN, which the secret is enough to write.
    KeyFile::without_pin(&*vault, &keys()).unwrap().write(&at, &*vault).unwrap();
    assert!(matches!(Replica::open(&at, keychain()).await, Err(Error::WrongVault)));
    fs::write(beside(&at, KEYS), kept).unwrap();
    let device = Replica::unlock(&at, keychain(), PIN).await.unwrap();
    assert_eq!(device.list(Filter::default()).await.unwrap().len(), 1);
    drop(device);
    // The PIN without the secret is no better either.
    let other: Arc<dyn Vault> = Arc::new(FixedVault::new([8; 32]));
    assert!(matches!(Replica::unlock(&at, other, PIN).await, Err(Error::WrongVault)));
    // With the store as the secret opens it, no key that the secret gives opens a row of what can be read.
    let file = KeyFile::read(&at, &*vault).unwrap().unwrap();
    let store = || {
        let store = SledStore::open(&at, Options::new(StoreKind::Phone)).unwrap();
        Veiled::new(store, file.store_key())
    };
    let unveiled = Environment { store: Arc::new(store()), ..elsewhere(&vault) };
    assert!(matches!(Engine::open(unveiled), Err(Error::WrongVault)));
    let store = store();
    let rows = [META, ROWS].map(|table| (table, store.scan(table, &[], None, usize::MAX).unwrap()));
    assert!(rows.iter().all(|(_, rows)| !rows.is_empty()));
    let secrets = [Secret([7; 32]), Secret([0; 32]), file.store_key().clone()];
    let ciphers = secrets.map(super::super::disk::DiskCipher::of_device);
    for (table, key, value) in
        rows.iter().flat_map(|(table, rows)| rows.iter().map(|(key, value)| (*table, key, value)))
    {
        assert!(ciphers.iter().all(|cipher| cipher.open(table, key, value).is_err()));
    }
}

/// The disk without the keychain: what a search for anything that identifies finds.
#[tokio::test]
async fn the_files_alone_tell_neither_group_nor_people_nor_words() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([7; 32]));
    let device = Replica::open(&at, Arc::clone(&vault) as Arc<dyn Vault>).await.unwrap();
    let info = device.found().await.unwrap();
    let report = device.record(draft("somebody's words")).await.unwrap();
    device.run(|engine| engine.set_relay_url("wss://relay.example.org/v1/session")).await.unwrap();
    drop(device);
    let needles: [&[u8]; 9] = [
        info.group.as_bytes(),
        info.device.as_bytes(),
        info.member.as_bytes(),
        report.as_bytes(),
        b"somebody's words",
        b"relay.example.org",
        b"identity",
        b"cursor/",
        b"coordinators",
    ];
    for needle in needles {
        assert!(!holds(root.path(), needle), "{}", String::from_utf8_lossy(needle));
    }
    // Control: a store without a veil holds them all but the words.
    let plain = root.path().join("plain");
    let mut engine = Engine::open(environment(&plain, &vault)).unwrap();
    let info = engine.found().unwrap();
    engine.set_relay_url("wss://relay.example.org/v1/session").unwrap();
    for needle in
        [info.group.as_bytes().as_slice(), info.device.as_bytes(), b"identity", b"relay.example.org"]
    {
        assert!(holds(&plain, needle));
    }
}

#[tokio::test]
async fn pins_are_set_changed_and_removed_without_touching_the_store() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([7; 32]));
    let keychain = || Arc::clone(&vault) as Arc<dyn Vault>;
    let device = Replica::open(&at, keychain()).await.unwrap();
    device.record(draft("somebody's words")).await.unwrap();
    assert!(matches!(Replica::unlock(&at, keychain(), PIN).await, Err(Error::NoPin)));
    let without = size(&at);
    for (pin, duress) in [("1234", None), ("000000", None), (PIN, Some("1")), (PIN, Some(PIN))] {
        assert!(matches!(device.set_pins(pin, duress).await, Err(Error::Invalid(_))), "{pin} {duress:?}");
    }
    device.set_pins(PIN, None).await.unwrap();
    device.set_pins(OTHER, Some(DURESS)).await.unwrap();
    assert_eq!(size(&at), without, "a PIN does not show in sizes");
    drop(device);
    assert!(matches!(Replica::unlock(&at, keychain(), PIN).await, Err(Error::WrongPin)));
    let device = Replica::unlock(&at, keychain(), OTHER).await.unwrap();
    device.remove_pins().await.unwrap();
    drop(device);
    let device = Replica::open(&at, keychain()).await.unwrap();
    assert_eq!(device.list(Filter::default()).await.unwrap().len(), 1);
    // A device begins with a PIN that is worth it, or not at all.
    let new = root.path().join("new");
    assert!(matches!(Replica::unlock(&new, keychain(), "1234").await, Err(Error::Invalid(_))));
    assert!(!new.exists() && !beside(&new, KEYS).exists());
}

/// Whatever step of writing the key file fails, the old PIN opens the device or the new one does.
#[test]
fn a_pin_change_that_fails_anywhere_leaves_one_pin_that_opens() {
    let steps = [Step::Create, Step::Write, Step::Sync, Step::Rename, Step::SyncName];
    let vault = FixedVault::new([7; 32]);
    let without = KeyFile::without_pin(&vault, &keys()).unwrap();
    let [first, second] = [(PIN, None), (OTHER, Some(DURESS))]
        .map(|(pin, duress)| KeyFile::with_pin(&vault, &keys(), pin, duress));
    let (first, second) = (first.unwrap(), second.unwrap());
    let is = |file: &KeyFile, other: &KeyFile| file.second_slot() == other.second_slot();
    for (what, before, after) in
        [("set", &without, &first), ("change", &first, &second), ("remove", &second, &without)]
    {
        for fails in steps {
            let root = tempfile::tempdir().unwrap();
            let at = root.path().join("device");
            before.write(&at, &vault).unwrap();
            let mut fault =
                |step| if step == fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) };
            assert!(after.write_unless(&at, &vault, &mut fault).is_err());
            let file = KeyFile::read(&at, &vault).unwrap().unwrap();
            // Only once it has its name is it the new one.
            let now = if fails == Step::SyncName { after } else { before };
            assert!(is(&file, now), "{what}, {fails:?}");
        }
    }
    // And each of them opens with what it was made for, and with nothing else.
    let opens = |file: &KeyFile, pin| matches!(file.enter(&vault, pin).unwrap().0, Entered::Own(opened) if opened == keys());
    assert!(opens(&first, PIN) && !opens(&first, OTHER) && opens(&second, OTHER) && !opens(&second, PIN));
    assert!(without.keys(&vault).is_ok_and(|opened| opened == keys()));
    assert!(matches!(first.keys(&vault), Err(Error::Locked)));
}

#[tokio::test]
async fn a_pin_opens_and_the_duress_pin_leaves_what_a_first_start_leaves() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = Arc::new(FixedVault::new([7; 32]));
    let keychain = || Arc::clone(&vault) as Arc<dyn Vault>;
    device(&at, &vault, Some(DURESS)).await;
    let before = size(&at);
    assert!(matches!(Replica::unlock(&at, keychain(), "000000").await, Err(Error::WrongPin)));
    let device = Replica::unlock(&at, keychain(), PIN).await.unwrap();
    assert_eq!(device.list(Filter::default()).await.unwrap().len(), 1);
    drop(device);
    let secret = vault.secret().unwrap();
    let blocks = files(root.path());

    let empty = Replica::unlock(&at, keychain(), DURESS).await.unwrap();
    assert!(matches!(empty.info().await, Err(Error::NoGroup)));
    assert_eq!(empty.list(Filter::default()).await.unwrap(), []);
    assert_ne!(vault.secret().unwrap(), secret);
    drop(empty);
    // Of what the old files held nothing is in the new ones.
    let noise = blocks.iter().flat_map(|file| file.chunks_exact(64)).filter(|block| is_noise(block));
    let noise: Vec<&[u8]> = noise.step_by(50).take(40).collect();
    assert!(!noise.is_empty() && noise.iter().all(|block| !holds(root.path(), block)));
    assert!(matches!(Replica::unlock(&at, keychain(), PIN).await, Err(Error::WrongPin)));
    drop(Replica::unlock(&at, keychain(), DURESS).await.unwrap());

    // As a device that never was anything else.
    let other = tempfile::tempdir().unwrap();
    let fresh = other.path().join("device");
    drop(Replica::unlock(&fresh, Arc::new(FixedVault::new([8; 32])), DURESS).await.unwrap());
    assert_eq!(names(root.path()), names(other.path()));
    assert_eq!((size(&fresh), size(&at)), (before, before));
}

/// With the keychain's secret and the PIN of the device nobody sees whether there is a duress PIN, and both PINs take as long.
#[test]
fn a_duress_pin_shows_in_nothing_but_its_effect() {
    let vault = FixedVault::new([7; 32]);
    let key = keys();
    let root = tempfile::tempdir().unwrap();
    let mut plains = Vec::new();
    for (name, duress) in [("with", Some(DURESS)), ("without", None)] {
        let at = root.path().join(name);
        KeyFile::with_pin(&vault, &key, PIN, duress).unwrap().write(&at, &vault).unwrap();
        let file = KeyFile::read(&at, &vault).unwrap().unwrap();
        assert!(matches!(file.enter(&vault, PIN).unwrap().0, Entered::Own(_)));
        assert!(matches!(file.enter(&vault, OTHER).unwrap().0, Entered::Wrong));
        plains.push(file);
    }
    assert_eq!(size(&root.path().join("with")), size(&root.path().join("without")));
    // The second slot is 72 bytes without a byte that a random one could not have: no two of many have one in common everywhere.
    let files: Vec<KeyFile> = (0..16)
        .map(|at| KeyFile::with_pin(&vault, &key, PIN, (at % 2 == 0).then_some(DURESS)).unwrap())
        .collect();
    let seconds: Vec<&[u8]> = files.iter().map(|file| file.second_slot()).collect();
    for at in 0..seconds[0].len() {
        assert!(seconds.iter().any(|slot| slot[at] != seconds[0][at]), "byte {at} is always the same");
    }
    // Own, duress and wrong PINs are stretched once each: all the rest takes under a hundredth of that.
    for pin in [PIN, DURESS, OTHER] {
        let before = pin::STRETCHED.with(std::cell::Cell::get);
        plains[0].enter(&vault, pin).unwrap();
        assert_eq!(pin::STRETCHED.with(std::cell::Cell::get), before + 1);
    }
    let before = pin::STRETCHED.with(std::cell::Cell::get);
    let at = root.path().join("with");
    keys_with_pin(&at, &vault, DURESS, &Attempts::new(), Instant::now).unwrap();
    assert_eq!(pin::STRETCHED.with(std::cell::Cell::get), before + 1, "with the wipe and the new device");
}

/// The disk takes nothing any more: nothing has to be written for it to be emptied.
#[tokio::test]
async fn a_wipe_needs_no_working_disk_and_leaves_nothing_to_find() {
    for applies in [0, usize::MAX] {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("device");
        let vault = Arc::new(FixedVault::new([5; 32]));
        let engine = Engine::open(environment(&at, &vault)).unwrap();
        let device = engine.device_id();
        drop(engine);
        assert!(holds(root.path(), b"identity"), "control: the search finds what is there");
        let store = SledStore::open(&at, Options::new(StoreKind::Phone)).unwrap();
        let faulty = FaultyStore::new(store, applies, FaultAt::BeforeWrite);
        let engine = Engine::open(Environment {
            store: Arc::new(faulty),
            vault: Arc::clone(&vault) as Arc<dyn Vault>,
            clock: Arc::new(SystemClock),
            entropy: Box::new(rand_core::UnwrapErr(getrandom::SysRng)),
        })
        .unwrap();
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
    for with_pin in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("device");
        let vault = Arc::new(FixedVault::new([6; 32]));
        let keychain = || Arc::clone(&vault) as Arc<dyn Vault>;
        device(&at, &vault, None).await;
        fs::rename(beside(&at, KEYS), beside(&at, WIPING)).unwrap();
        fs::write(beside(&at, KEYS_NEW), b"half of a count").unwrap();
        vault.destroy().unwrap();
        let device = match with_pin {
            true => Replica::unlock(&at, keychain(), OTHER).await.unwrap(),
            false => Replica::open(&at, keychain()).await.unwrap(),
        };
        assert!(matches!(device.info().await, Err(Error::NoGroup)));
        assert!(!beside(&at, WIPING).exists() && !beside(&at, KEYS_NEW).exists());
        drop(device);
        if with_pin {
            // A keychain that is another's is no reason to delete anything.
            let other: Arc<dyn Vault> = Arc::new(FixedVault::new([9; 32]));
            assert!(matches!(Replica::unlock(&at, other, OTHER).await, Err(Error::WrongVault)));
            drop(Replica::unlock(&at, keychain(), OTHER).await.unwrap());
        }
    }
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
        keys_with_pin(&at, &vault, pin, attempts, || begin + Duration::from_secs(after_s)).map(drop)
    };
    let wait_s = |tried: Result<(), Error>| match tried {
        Err(Error::PinWait { wait_ms }) => wait_ms.div_ceil(1_000),
        other => panic!("{other:?}"),
    };
    enter(&attempts, PIN, 0).unwrap();
    fs::create_dir(&at).unwrap();
    KeyFile::with_pin(&vault, &keys(), PIN, Some(DURESS)).unwrap().write(&at, &vault).unwrap();
    for guess in 0..5 {
        assert!(matches!(enter(&attempts, &format!("{guess}"), 10), Err(Error::WrongPin)));
    }
    for pin in ["5", PIN, DURESS] {
        assert_eq!(wait_s(enter(&attempts, pin, 10)), 60);
    }
    assert_eq!(wait_s(enter(&attempts, PIN, 69)), 1);
    // The app is started again: the wait begins anew.
    let attempts = Attempts::new();
    assert_eq!(wait_s(enter(&attempts, PIN, 70)), 60);
    let mut now_s = 130;
    for (guess, wait) in [(5, 300), (6, 900), (7, 900), (8, 3_600), (9, 3_600)] {
        assert!(matches!(enter(&attempts, &format!("{guess}"), now_s), Err(Error::WrongPin)));
        assert_eq!(wait_s(enter(&attempts, PIN, now_s)), wait);
        now_s += wait;
    }
    enter(&attempts, PIN, now_s).unwrap();
    // A right one begins anew.
    for _ in 0..4 {
        assert!(matches!(enter(&attempts, "0", now_s), Err(Error::WrongPin)));
    }
    enter(&attempts, DURESS, now_s).unwrap();
    assert!(!at.exists(), "the duress PIN wiped it");
    enter(&attempts, DURESS, now_s).unwrap();
}

/// What cannot be counted is not let through, whether it fits or not; the duress PIN needs no disk.
#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_count_lets_only_the_duress_pin_through() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().join("device");
    let vault = FixedVault::new([7; 32]);
    fs::create_dir(&at).unwrap();
    KeyFile::with_pin(&vault, &keys(), PIN, Some(DURESS)).unwrap().write(&at, &vault).unwrap();
    // A directory in its place: the count cannot be written, whoever runs the test.
    let obstacle = beside(&at, KEYS_NEW);
    fs::create_dir(&obstacle).unwrap();
    let attempts = Attempts::new();
    let enter = |pin| keys_with_pin(&at, &vault, pin, &attempts, Instant::now);
    for pin in [PIN, OTHER] {
        assert!(matches!(enter(pin), Err(Error::Store(_))));
    }
    let secret = vault.secret().unwrap();
    // The device is gone; that the new one has no PIN yet is the disk's doing.
    assert!(matches!(enter(DURESS), Err(Error::Store(_))));
    assert!(!at.exists() && vault.secret().unwrap() != secret);
}
