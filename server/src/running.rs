//! Starts a relay in this process, and stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::serve::ListenerExt as _;
use lamppost_core::base::RelayId;
use lamppost_core::storage::Store;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{self, JoinHandle};
use tokio::time;

use crate::app::{App, Stage};
use crate::committer;
use crate::config::Settings;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::relay::Relay;
use crate::retention::{self, Sweeps};
use crate::routes;
use crate::store::{RelayStore, Seed, StoreFault};

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
    committer: JoinHandle<()>,
    sweeper: JoinHandle<()>,
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
    let (rules, renew) = (settings.rules.clone(), settings.after_restore);
    let relay = task::spawn_blocking(move || Relay::open(RelayStore::new(store), rules, &seed, renew)).await;
    let relay = Arc::new(relay.map_err(|_| StartError::Interrupted)??);

    let (stage, stage_seen) = watch::channel(Stage::Running);
    let (jobs, jobs_out) = mpsc::channel(committer::PUSHES_WAITING_MAX);
    let app = Arc::new(App {
        relay,
        hub: Arc::new(Hub::new(settings.group_sessions_max)),
        metrics: Metrics::default(),
        sweeps: Sweeps::default(),
        jobs,
        connections: Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS))),
        stage: stage_seen.clone(),
        begun: Instant::now(),
        settings,
    });
    let committer = tokio::spawn(committer::run(Arc::clone(&app), jobs_out, stage_seen.clone()));
    let sweeper = tokio::spawn(retention::run(Arc::clone(&app), stage_seen.clone()));
    let router = routes::router(Arc::clone(&app));
    // Frames are whole messages: waiting to fill a packet only adds delay.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let mut draining = stage_seen;
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        let _ = draining.wait_for(|stage| *stage >= Stage::Draining).await;
    });
    let server = tokio::spawn(async move {
        if let Err(why) = serving.await {
            tracing::error!(%why, "the relay stopped listening");
        }
    });
    Ok(Running { address, app, stage, server, committer, sweeper })
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
        let Self { app, stage, server, committer, sweeper, .. } = self;
        stage.send_replace(Stage::Draining);
        let grace = Duration::from_millis(app.settings.shutdown_grace_ms);
        let all = u32::try_from(app.settings.connections_max).unwrap_or(u32::MAX);
        let finished = time::timeout(grace, app.connections.acquire_many(all)).await.is_ok();
        stage.send_replace(Stage::Stopped);
        // Cut sessions let go at once; their pushes under way are still written.
        let _ = time::timeout(Duration::from_secs(2), app.connections.acquire_many(all)).await;
        server.abort();
        let _ = server.await;
        let _ = committer.await;
        let _ = sweeper.await;
        finished
    }
}
