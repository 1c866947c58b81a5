//! A relay some of whose data cannot be read, and phones that bring it back as they sync.

use std::path::Path;
use std::sync::Arc;

use lamppost_core::replica::{Error, WebSocketTransport};
use lamppost_core::storage::{Batch, Options, SledStore, Store, StoreKind, Table};
use lamppost_scenarios::town::{pair, phone, record, relay, relay_with, sync, texts};
use lamppost_server::Settings;

/// Of the relay: entries by position.
const ENTRIES: Table = Table(2);
/// Of the relay: hashes by log.
const LOGS: Table = Table(3);

/// Spoils a row of a group's roll, the `at`th.
fn spoil(directory: &Path, table: Table, group: &[u8], at: usize) {
    let store = SledStore::open(directory, Options::new(StoreKind::Relay)).unwrap();
    let prefix = [group, &[0]].concat();
    let (key, _) = store.scan(table, &prefix, None, usize::MAX).unwrap().swap_remove(at);
    let mut batch = Batch::default();
    batch.put(table, key, b"?".to_vec());
    store.apply(batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_mend_their_group_as_they_sync_and_other_groups_notice_nothing() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("relay");
    let (coordinator, volunteer) = pair(root.path(), Arc::new(WebSocketTransport::default())).await;
    let neighbour = phone(root.path(), "neighbour").await;
    neighbour.found().await.unwrap();
    let mut running = relay(&data).await;
    record(&coordinator, "0").await;
    for phone in [&coordinator, &volunteer, &neighbour] {
        sync(phone, &running).await.unwrap();
    }
    let group = coordinator.info().await.unwrap().group;
    let mut expected = vec!["0".to_owned()];
    for at in 0..2 {
        running.stop().await;
        spoil(&data, ENTRIES, group.as_bytes(), at);
        running = relay(&data).await;
        let text = (at + 1).to_string();
        record(&volunteer, &text).await;
        expected.push(text);
        // Any phone that holds the roll mends it, and is served in the same session.
        let report = sync(&volunteer, &running).await.unwrap();
        assert_eq!(report.received.warnings, []);
        sync(&volunteer, &running).await.unwrap();
        assert_eq!(volunteer.outbox_len().await.unwrap(), 0);
        sync(&coordinator, &running).await.unwrap();
        assert_eq!(texts(&coordinator).await, expected);
        sync(&neighbour, &running).await.unwrap();
    }

    // Beyond what phones mend: they are told, the operator lets the group begin again, and nothing is lost.
    running.stop().await;
    spoil(&data, LOGS, group.as_bytes(), 0);
    running = relay(&data).await;
    record(&coordinator, "meanwhile").await;
    expected.push("meanwhile".to_owned());
    for _ in 0..2 {
        match sync(&coordinator, &running).await {
            Err(Error::RelayRefused(why)) => {
                assert!(why.contains("operator") && why.contains("Nothing on this phone is lost"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        sync(&neighbour, &running).await.unwrap();
    }
    running.stop().await;
    running = relay_with(&data, Settings { begin_again: vec![group], ..Settings::default() }).await;
    for _ in 0..2 {
        for phone in [&coordinator, &volunteer, &neighbour] {
            sync(phone, &running).await.unwrap();
        }
    }
    assert_eq!(texts(&volunteer).await, expected);
    running.stop().await;
}
