//! Starts a relay in this process, and stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use lamppost_core::base::RelayId;
use lamppost_core::storage::Store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinHandle};
use tokio::time;

use crate::app::{App, Stage};
use crate::budget::Budgets;
use crate::config::Settings;
use crate::disk::{self, Disk};
use crate::door::{self, Door};
use crate::hub::Hub;
use crate::inflow::{GroupPool, Pool};
use crate::metrics::Metrics;
use crate::notices::{self, Notices};
use crate::places::{Capacity, Places};
use crate::queue::{self, Queue};
use crate::relay::Relay;
use crate::retention::{self, Sweeps};
use crate::routes;
use crate::store::{RelayStore, Seed, StoreFault};
use crate::{admin, committer};

/// Why a relay does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {why}. Is another relay running there? Choose another address with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// The store cannot be read or written.
    #[error("cannot use the data: {0}")]
    Store(#[from] StoreFault),
    /// The system gives no random bytes, which the relay needs for its key.
    #[error("the system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
    /// Opening the store did not end as it should.
    #[error("opening the data was interrupted")]
    Interrupted,
}

/// A relay that serves. Dropping it without [`Running::stop`] leaves it serving until the process or runtime ends.
pub struct Running {
    address: SocketAddr,
    app: Arc<App>,
    stage: watch::Sender<Stage>,
    server: JoinHandle<()>,
    /// Everything else that runs until the relay has stopped.
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a relay that listens on `settings.listen` (port 0 takes any free one) and keeps its data in `store`.
///
/// # Errors
/// [`StartError`] says what to do about it.
pub async fn start(settings: Settings, store: Arc<dyn Store>) -> Result<Running, StartError> {
    let address = settings.listen;
    let listening = |why| StartError::Listen { address, why };
    let listener = TcpListener::bind(address).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let mut seed = Seed { key: [0; 32], incarnation: [0; 16] };
    getrandom::fill(&mut seed.key).map_err(StartError::Entropy)?;
    getrandom::fill(&mut seed.incarnation).map_err(StartError::Entropy)?;
    let (rules, begin_again) = (settings.rules.clone(), settings.begin_again.clone());
    let renew = settings.after_restore || !begin_again.is_empty();
    let opening = move || {
        let store = RelayStore::new(store);
        for group in begin_again {
            store.begin_again(group)?;
            tracing::warn!(%group, "everything that was kept of this group is deleted: its phones bring it again");
        }
        Relay::open(store, rules, &seed, renew)
    };
    let relay = task::spawn_blocking(opening).await;
    let relay = Arc::new(relay.map_err(|_| StartError::Interrupted)??);

    let (stage, stage_seen) = watch::channel(Stage::Running);
    let places = Places::new(Capacity {
        members: settings.connections_max,
        group_members: settings.group_sessions_max,
        device: settings.device_sessions_max,
        strangers: settings.strangers_max,
        group_strangers: settings.group_strangers_max,
        address_strangers: settings.address_strangers_max,
    });
    let app = Arc::new(App {
        relay,
        hub: Arc::new(Hub::default()),
        metrics: Metrics::default(),
        sweeps: Sweeps::default(),
        queue: Queue::default(),
        commits: AtomicBool::new(true),
        budgets: Budgets::default(),
        door: Arc::new(Door::new(settings.unproven_max, settings.address_unproven_max)),
        places: Arc::new(places),
        pool: Pool::default(),
        strangers_pool: GroupPool::default(),
        disk: Disk::default(),
        notices: Notices::default(),
        open: watch::Sender::new(0),
        stage: stage_seen.clone(),
        begun: Instant::now(),
        settings,
    });
    let looking = Arc::clone(&app);
    // Before the first push comes.
    task::spawn_blocking(move || looking.look_at_disk()).await.map_err(|_| StartError::Interrupted)?;
    let socket = admin::Socket::open(&app.settings.data);
    let (ready, ready_out) = mpsc::channel(committer::READY_MAX);
    let mut tasks = vec![
        tokio::spawn(committer::run(Arc::clone(&app), ready_out)),
        tokio::spawn(retention::run(Arc::clone(&app), stage_seen.clone())),
        tokio::spawn(admin::run(Arc::clone(&app), socket, stage_seen.clone())),
        tokio::spawn(disk::run(Arc::clone(&app), stage_seen.clone())),
        tokio::spawn(notices::run(Arc::clone(&app), stage_seen.clone())),
    ];
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    tasks.extend(
        (0..workers).map(|_| tokio::spawn(queue::run(Arc::clone(&app), ready.clone(), stage_seen.clone()))),
    );
    drop(ready);
    let router = routes::router(Arc::clone(&app));
    let server = tokio::spawn(door::run(Arc::clone(&app), listener, router, stage_seen));
    Ok(Running { address, app, stage, server, tasks })
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The key by which phones know it.
    pub fn relay(&self) -> RelayId {
        self.app.relay.id()
    }

    /// Where phones connect to, without TLS: for the same machine, and for a proxy.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/session", self.address)
    }

    /// How many groups it keeps.
    pub fn group_count(&self) -> u64 {
        self.app.relay.group_count()
    }

    /// Stops: takes no new sessions, lets those that are open finish their pushes for as long as the settings grant,
    /// then releases the store. Answers whether all sessions finished.
    pub async fn stop(self) -> bool {
        let Self { app, stage, server, tasks, .. } = self;
        stage.send_replace(Stage::Draining);
        let grace = Duration::from_millis(app.settings.shutdown_grace_ms);
        let mut open = app.open.subscribe();
        let finished = time::timeout(grace, open.wait_for(|open| *open == 0)).await.is_ok();
        stage.send_replace(Stage::Stopped);
        // Cut sessions let go at once; their pushes under way are still written.
        let _ = time::timeout(Duration::from_secs(2), open.wait_for(|open| *open == 0)).await;
        let _ = server.await;
        for task in tasks {
            let _ = task.await;
        }
        finished
    }
}
