//! The app's keychain: the one secret that Lamppost does not keep itself.

use std::sync::{Arc, Mutex, PoisonError};

use crate::entry::keys::Secret;

/// Gives the secret that everything private on this device's disk is encrypted under.
///
/// An app backs it with the iOS Keychain or the Android Keystore and draws the 32 bytes once, at random. Whoever
/// has the store and this secret has the device.
pub trait Vault: Send + Sync {
    /// The 32 bytes, the same at every call.
    ///
    /// # Errors
    /// [`VaultError`] if the platform does not hand them out, for instance because the phone is locked.
    fn secret(&self) -> Result<[u8; 32], VaultError>;

    /// Destroys the 32 bytes, so that nobody has them any more. [`Vault::secret`] then draws others.
    ///
    /// # Errors
    /// [`VaultError`] if the platform does not.
    fn destroy(&self) -> Result<(), VaultError>;
}

/// The platform did not hand out the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the phone's keychain does not hand out Lamppost's key ({reason}): unlock the phone and try again")]
pub struct VaultError {
    /// What the platform said.
    pub reason: String,
}

/// A vault that holds its secret in memory: for tests, and for platforms that hand over the bytes at start.
#[derive(Clone)]
pub struct FixedVault(Arc<Mutex<Secret>>);

impl FixedVault {
    /// Holds these bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(Secret(secret))))
    }
}

impl Vault for FixedVault {
    fn secret(&self) -> Result<[u8; 32], VaultError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn destroy(&self) -> Result<(), VaultError> {
        let mut fresh = Secret([0; 32]);
        getrandom::fill(&mut fresh.0).map_err(|why| VaultError { reason: why.to_string() })?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}
