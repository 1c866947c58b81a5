//! A relay and phones, on real sockets and real stores.

use std::path::Path;
use std::sync::Arc;

use lamppost_core::base::{DocumentId, RoleId};
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{Error, Filter, FixedVault, Replica, SyncReport, Transport, WebSocketTransport};
use lamppost_core::storage::{Options, SledStore, StoreKind};
use lamppost_core::sync::session::Budget;
use lamppost_core::watch::{Kind, roles};
use lamppost_server::{Running, Settings, start};

/// Starts a relay on a free port with its store in `directory`.
pub async fn relay(directory: &Path) -> Running {
    relay_with(directory, Settings::default()).await
}

/// Starts a relay with these settings on a free port, with its store in `directory`.
pub async fn relay_with(directory: &Path, settings: Settings) -> Running {
    let store = SledStore::open(directory, Options::new(StoreKind::Relay)).unwrap();
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings { listen, data: directory.to_owned(), ..settings };
    start(settings, Arc::new(store)).await.unwrap()
}

/// Opens the phone `name` below `root`; the same name opens the same phone.
pub async fn phone(root: &Path, name: &str) -> Replica {
    phone_over(root, name, Arc::new(WebSocketTransport::default())).await
}

/// As [`phone`], over a network of one's own.
pub async fn phone_over(root: &Path, name: &str, transport: Arc<dyn Transport>) -> Replica {
    let vault = Arc::new(FixedVault::new([name.len() as u8; 32]));
    Replica::open_over(&root.join(name), vault, transport).await.unwrap()
}

/// Admits the newcomers and lets them join, each as the role named.
pub async fn admit(coordinator: &Replica, newcomers: &[(&Replica, u8)]) {
    let mut admission = None;
    let group = coordinator.info().await.unwrap().group;
    for (newcomer, role) in newcomers {
        let request = newcomer.request(group).await.unwrap();
        admission = Some(coordinator.admit(request, RoleId(*role)).await.unwrap());
    }
    for (newcomer, _) in newcomers {
        newcomer.join(admission.clone().unwrap()).await.unwrap();
    }
}

/// A coordinator who has founded a group, and a volunteer who has joined it.
pub async fn pair(root: &Path, volunteers_network: Arc<dyn Transport>) -> (Replica, Replica) {
    let coordinator = phone(root, "coordinator").await;
    let volunteer = phone_over(root, "volunteer", volunteers_network).await;
    coordinator.found().await.unwrap();
    admit(&coordinator, &[(&volunteer, roles::ROLE_VOLUNTEER)]).await;
    (coordinator, volunteer)
}

/// One sync without a budget.
pub async fn sync(phone: &Replica, relay: &Running) -> Result<SyncReport, Error> {
    phone.sync_once(&relay.url(), Budget::UNLIMITED).await
}

/// The texts of the observations that a phone lists, sorted.
pub async fn texts(phone: &Replica) -> Vec<String> {
    let filter = Filter { kind: Some(Kind::OBSERVATION), ..Filter::default() };
    let mut texts: Vec<String> =
        phone.list(filter).await.unwrap().into_iter().map(|(row, _)| row.text).collect();
    texts.sort();
    texts
}

/// Records an observation with this text.
pub async fn record(phone: &Replica, what: &str) -> DocumentId {
    phone.record(draft(what)).await.unwrap()
}
