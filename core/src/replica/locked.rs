//! A device whose PIN was not entered: it carries what is sealed, and reads nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::app::Replica;
use super::effects::SyncReport;
use super::engine::Engine;
use super::error::Error;
use super::lock;
use super::transport::{Transport, WebSocketTransport};
use super::vault::Vault;
use crate::sync::session::Budget;

/// A device as the vault's secret alone opens it, for a background sync behind the lock.
///
/// It sends what was signed and sealed before, fetches ciphertext, keeps it unopened, and follows who belongs to the group. It can
/// read no content, and sign nothing but the answer to a relay's challenge. [`Replica::unlock`] reads what came meanwhile;
/// drop this first.
pub struct Locked(Replica);

impl Locked {
    /// Opens the device in `directory` without its PIN. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Locked`] if there is no device yet; otherwise as [`Replica::open`].
    pub async fn open(directory: impl AsRef<Path>, vault: Arc<dyn Vault>) -> Result<Self, Error> {
        Self::open_over(directory.as_ref(), vault, Arc::new(WebSocketTransport::default())).await
    }

    /// As [`Locked::open`], over a network of one's own.
    ///
    /// # Errors
    /// As [`Locked::open`].
    pub async fn open_over(
        directory: &Path,
        vault: Arc<dyn Vault>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, Error> {
        let open = |directory: &Path, vault: Arc<dyn Vault>| {
            let key = lock::store_key(directory, &*vault)?;
            Engine::open_locked(Replica::environment(directory, vault, &key)?)
        };
        Replica::open_by(directory, vault, transport, open).await.map(Self)
    }

    /// As [`Replica::sync_once`]. What came is counted, and not read.
    ///
    /// # Errors
    /// As [`Replica::sync_once`]; [`Error::Locked`] if the relay has lost its store, or this device's is a restored copy: what is
    /// to be sent again has to be read for that.
    pub async fn sync_once(&self, url: &str, budget: Budget) -> Result<SyncReport, Error> {
        self.0.sync_once(url, budget).await
    }

    /// The relay's address, where the device knows it.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn relay_url(&self) -> Result<Option<String>, Error> {
        self.0.relay_url().await
    }

    /// How many entries the relay has not acknowledged.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn outbox_len(&self) -> Result<usize, Error> {
        self.0.outbox_len().await
    }

    /// As [`Replica::wipe`].
    ///
    /// # Errors
    /// As [`Replica::wipe`].
    pub async fn wipe(&self) -> Result<(), Error> {
        self.0.wipe().await
    }
}

impl Replica {
    /// Locks the device: forgets its keys, once no call is under way. Every later call on this or a clone says that it is closed.
    ///
    /// # Errors
    /// [`Error::Kind`] if the device lives in no directory; as [`Locked::open`].
    pub async fn lock(self) -> Result<Locked, Error> {
        let (directory, transport) = (self.own_directory()?, self.transport());
        let engine = self.take_engine().await?;
        let vault = Arc::clone(&engine.vault);
        // The whole engine goes before the store is opened again, which one process may hold once.
        tokio::task::spawn_blocking(move || drop(engine)).await.map_err(|_| Error::Closed)?;
        Locked::open_over(&directory, vault, transport).await
    }

    /// The directory that this device lives in.
    ///
    /// # Errors
    /// [`Error::Kind`].
    pub(super) fn own_directory(&self) -> Result<PathBuf, Error> {
        self.directory().ok_or_else(|| Error::Kind("this device has no directory of its own".to_owned()))
    }
}
