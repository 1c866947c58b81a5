//! What expires, is held and is shredded, over the real relay: phones whose clocks a test sets, and the relay's own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{
    CaseLink, Clock, Engine, Environment, FixedVault, Replica, Warning, WebSocketTransport, settings,
};
use lamppost_core::storage::{Options, SledStore, StoreKind};
use lamppost_core::watch::roles;
use lamppost_scenarios::town::{admit, record, relay, sync, texts};
use rand_core::SeedableRng as _;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A clock that the test sets.
struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn phone(root: &Path, name: &str, clock: &Arc<AtomicU64>) -> Replica {
    let store = SledStore::open(root.join(name), Options::new(StoreKind::Phone)).unwrap();
    let engine = Engine::open(Environment {
        store: Arc::new(store),
        vault: Arc::new(FixedVault::new([name.len() as u8; 32])),
        clock: Arc::new(SetClock(Arc::clone(clock))),
        entropy: Box::new(rand_chacha::ChaCha20Rng::from_seed(std::array::from_fn(|at| {
            name.as_bytes().get(at).copied().unwrap_or_default()
        }))),
    });
    Replica::with(engine.unwrap(), Arc::new(WebSocketTransport::default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_gone_for_everybody_who_comes_and_nobody_brings_it_back() {
    let root = tempfile::tempdir().unwrap();
    let relay = relay(&root.path().join("relay")).await;
    // Everybody lives a hundred days ago; the relay does not.
    let clock = Arc::new(AtomicU64::new(now_ms() - 100 * DAY_MS));
    let coordinator = phone(root.path(), "coordinator", &clock);
    let volunteer = phone(root.path(), "volunteer", &clock);
    let away = phone(root.path(), "away", &clock);
    coordinator.found().await.unwrap();
    coordinator.set_policy(settings::UNLINKED_DAYS, 90).await.unwrap();
    admit(&coordinator, &[(&volunteer, roles::ROLE_VOLUNTEER), (&away, roles::ROLE_VOLUNTEER)]).await;
    let linked = record(&coordinator, "linked").await;
    record(&coordinator, "over").await;
    let links = vec![CaseLink { observation: linked, reason: "the same car".into() }];
    coordinator.link(None, "The car".into(), links).await.unwrap();
    let stale = record(&away, "over, and never sent").await;
    sync(&coordinator, &relay).await.unwrap();
    // By its own clock nothing is over here: it takes the proof alone, misses the words, and says so.
    let report = sync(&volunteer, &relay).await.unwrap();
    assert!(
        matches!(report.received.warnings[..], [Warning::WithoutWords { entries: 1.. }]),
        "{:?}",
        report.received.warnings
    );
    assert_eq!(texts(&volunteer).await, ["linked"]);
    assert_eq!(texts(&coordinator).await, ["linked", "over"], "its own clock has not come so far");

    clock.store(now_ms(), Ordering::Relaxed);
    // What the relay said while the clock was wrong is no ground to drop anything: what it says now is.
    coordinator.sweep().await.unwrap();
    assert_eq!(texts(&coordinator).await, ["linked", "over"]);
    sync(&coordinator, &relay).await.unwrap();
    assert_eq!(texts(&coordinator).await, ["linked"]);
    let held = volunteer.held().await.unwrap();
    assert!(held.iter().any(|row| row.documents == [linked]), "{held:?}");

    // The phone that was away comes with words that are over, and amends them without having heard.
    away.amend(stale, draft("over, and amended")).await.unwrap();
    sync(&away, &relay).await.unwrap();
    for phone in [&coordinator, &volunteer, &away] {
        let report = sync(phone, &relay).await.unwrap();
        assert_eq!(report.received.warnings, []);
        assert_eq!((report.postponed, report.refused), (vec![], vec![]));
        assert_eq!(texts(phone).await, ["linked"]);
        assert_eq!(phone.outbox_len().await.unwrap(), 0);
    }

    // Shredded by its author, held or not: gone once the hold has ended, for those who come later too.
    let mine = record(&volunteer, "a name that should not stand here").await;
    for phone in [&volunteer, &coordinator, &away] {
        sync(phone, &relay).await.unwrap();
    }
    assert_eq!(texts(&away).await, ["a name that should not stand here", "linked"]);
    volunteer.shred(mine).await.unwrap();
    sync(&volunteer, &relay).await.unwrap();
    let newcomer = phone(root.path(), "newcomer", &clock);
    sync(&coordinator, &relay).await.unwrap();
    admit(&coordinator, &[(&newcomer, roles::ROLE_VOLUNTEER)]).await;
    sync(&coordinator, &relay).await.unwrap();
    for phone in [&newcomer, &away] {
        let report = sync(phone, &relay).await.unwrap();
        assert_eq!(report.received.warnings, []);
        assert_eq!(texts(phone).await, ["linked"]);
    }

    // A relay that starts anew from the same store serves the same.
    relay.stop().await;
    let relay = lamppost_scenarios::town::relay(&root.path().join("relay")).await;
    record(&newcomer, "goes on").await;
    sync(&newcomer, &relay).await.unwrap();
    sync(&away, &relay).await.unwrap();
    assert_eq!(texts(&away).await, ["goes on", "linked"]);
}
