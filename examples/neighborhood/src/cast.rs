//! Who takes part, and where their stores lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamppost_core::replica::{Error, FixedVault, Replica, SyncReport, Transport, WebSocketTransport};
use lamppost_core::sync::session::Budget;
use lamppost_server::{Running, Settings, start};

use crate::network::{BadNetwork, Trouble};

/// One person's phone.
pub struct Phone {
    pub name: String,
    pub directory: PathBuf,
    pub replica: Replica,
    strikes: Arc<AtomicU32>,
}

impl Phone {
    /// A phone on a good network.
    pub async fn open(root: &Path, name: &str) -> Result<Self, Error> {
        Self::open_over(root, name, Arc::new(WebSocketTransport::default()), Arc::default()).await
    }

    /// A phone on a network that breaks off three times.
    pub async fn open_on_a_bad_network(root: &Path, name: &str) -> Result<Self, Error> {
        Self::open_in_trouble(root, name, Trouble::BreaksOff(7), 3).await
    }

    /// A phone whose network has this trouble so many times.
    pub async fn open_in_trouble(
        root: &Path,
        name: &str,
        trouble: Trouble,
        times: u32,
    ) -> Result<Self, Error> {
        let network = BadNetwork::new(trouble, times);
        let strikes = Arc::clone(&network.strikes);
        Self::open_over(root, name, Arc::new(network), strikes).await
    }

    async fn open_over(
        root: &Path,
        name: &str,
        transport: Arc<dyn Transport>,
        strikes: Arc<AtomicU32>,
    ) -> Result<Self, Error> {
        let directory = root.join("phones").join(name);
        // An app keeps these bytes in the phone's keychain; this one beside the store, as it has no keychain.
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| Error::Network(e.to_string()))?;
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let keychain = root.join("phones").join(format!("{name}.keychain"));
        let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(keychain, hex));
        written.map_err(|why| Error::Network(format!("cannot write beside the store: {why}")))?;
        let vault = Arc::new(FixedVault::new(secret));
        let replica = Replica::open_over(&directory, vault, transport).await?;
        Ok(Self { name: name.to_owned(), directory, replica, strikes })
    }

    /// How often its network has struck so far.
    pub fn strikes(&self) -> u32 {
        self.strikes.load(Ordering::Relaxed)
    }

    /// Tries until everything is sent and fetched, and says how many connections it took.
    pub async fn sync(&self, url: &str) -> Result<Synced, Error> {
        let mut synced = Synced::default();
        loop {
            synced.connections += 1;
            match self.replica.sync_once(url, Budget::UNLIMITED).await {
                Ok(report) => {
                    synced.bytes = report.bytes;
                    synced.last = report;
                    return Ok(synced);
                }
                Err(Error::Network(_)) if synced.connections < CONNECTIONS_MAX => {}
                Err(why) => return Err(why),
            }
        }
    }
}

/// Connections after which the story gives up on a network.
const CONNECTIONS_MAX: u32 = 50;

/// What it took to sync.
#[derive(Debug, Default)]
pub struct Synced {
    pub connections: u32,
    pub bytes: u64,
    pub last: SyncReport,
}

impl Synced {
    /// Counts another sync to this one.
    pub fn add(&mut self, next: Self) {
        self.connections += next.connections;
        self.bytes += next.bytes;
        self.last = next.last;
    }
}

/// Starts a relay on a free port of this machine, with its store in `root`.
pub async fn relay(root: &Path) -> Result<Running, Box<dyn std::error::Error>> {
    use lamppost_core::storage::{Options, SledStore, StoreKind};
    let directory = root.join("relay");
    let store = SledStore::open(&directory, Options::new(StoreKind::Relay))?;
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let settings = Settings { listen, data: directory, ..Settings::default() };
    Ok(start(settings, Arc::new(store)).await?)
}
