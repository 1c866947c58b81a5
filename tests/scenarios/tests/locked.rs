//! A phone with a PIN between its owner, a background sync and a thief: real sockets, real files.

use std::path::Path;
use std::sync::Arc;

use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{Error, Filter, FixedVault, Locked, Replica};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::roles;
use lamppost_scenarios::town::{admit, phone, relay, sync};

const PIN: &str = "271828";

async fn texts(phone: &Replica) -> Vec<String> {
    let rows = phone.list(Filter::default()).await.unwrap();
    let mut texts: Vec<String> = rows.into_iter().map(|(row, _)| row.text).collect();
    texts.sort();
    texts
}

/// How often any file below `root` holds these bytes.
fn holds(root: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(root).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        path.is_file() && std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_phone_sends_and_fetches_and_shows_it_after_unlocking() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    let (at, vault) = (root.path().join("volunteer"), Arc::new(FixedVault::new([9; 32])));
    let volunteer = Replica::unlock(&at, vault.clone(), PIN).await.unwrap();
    admit(&coordinator, &[(&volunteer, roles::ROLE_VOLUNTEER)]).await;
    sync(&coordinator, &relay).await.unwrap();
    volunteer.record(draft("written before the lock")).await.unwrap();

    let clone = volunteer.clone();
    let locked = volunteer.lock().await.unwrap();
    assert!(matches!(clone.list(Filter::default()).await, Err(Error::Closed)));
    coordinator.record(draft("written meanwhile")).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let report = locked.sync_once(&relay.url(), Budget::UNLIMITED).await.unwrap();
    assert!(report.caught_up && report.sent > 0 && report.received.kept > 0, "{report:?}");
    assert_eq!((locked.outbox_len().await.unwrap(), report.received.warnings.len()), (0, 0));
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(texts(&coordinator).await, ["written before the lock", "written meanwhile"]);
    drop(locked);

    // Again, by a process that never had the PIN; nothing is due.
    let locked = Locked::open(&at, vault.clone()).await.unwrap();
    assert_eq!(locked.relay_url().await.unwrap(), Some(relay.url()));
    assert!(locked.sync_once(&relay.url(), Budget::UNLIMITED).await.unwrap().caught_up);
    drop(locked);
    assert!(matches!(Replica::open(&at, vault.clone()).await, Err(Error::Locked)));
    for words in [&b"written before the lock"[..], b"written meanwhile", b"127.0.0.1"] {
        assert!(!holds(&at, words), "{}", String::from_utf8_lossy(words));
    }

    let volunteer = Replica::unlock(&at, vault, PIN).await.unwrap();
    assert_eq!(texts(&volunteer).await, ["written before the lock", "written meanwhile"]);
    assert_eq!(volunteer.set_aside().await.unwrap(), []);
    // It goes on as if nothing had been.
    volunteer.record(draft("written afterwards")).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(texts(&coordinator).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_phone_is_refused_behind_the_lock_too() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    let coordinator = phone(root.path(), "coordinator").await;
    coordinator.found().await.unwrap();
    let (at, vault) = (root.path().join("volunteer"), Arc::new(FixedVault::new([9; 32])));
    let volunteer = Replica::unlock(&at, vault.clone(), PIN).await.unwrap();
    admit(&coordinator, &[(&volunteer, roles::ROLE_VOLUNTEER)]).await;
    sync(&coordinator, &relay).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    let member = volunteer.info().await.unwrap().member;
    let locked = volunteer.lock().await.unwrap();
    coordinator.remove(lamppost_core::roll::Target::Member(member)).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    coordinator.record(draft("not for the thief")).await.unwrap();
    sync(&coordinator, &relay).await.unwrap();
    let refused = locked.sync_once(&relay.url(), Budget::UNLIMITED).await;
    assert!(matches!(refused, Err(Error::Removed)), "{refused:?}");
    drop(locked);
    let volunteer = Replica::unlock(&at, vault, PIN).await.unwrap();
    assert!(matches!(volunteer.info().await, Err(Error::Removed)));
    assert_eq!(texts(&volunteer).await, Vec::<String>::new());
}
