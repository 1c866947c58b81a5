//! The app's keychain: the one secret that Lamppost does not keep itself.

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
pub struct FixedVault(Secret);

impl FixedVault {
    /// Holds these bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Secret(secret))
    }
}

impl Vault for FixedVault {
    fn secret(&self) -> Result<[u8; 32], VaultError> {
        Ok(self.0.0)
    }
}
