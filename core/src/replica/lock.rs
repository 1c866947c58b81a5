//! The PIN of a device, the duress PIN that empties it, and the wipe that both an app's button and that PIN do.
//!
//! What can be read on the disk is encrypted under a random key, which lies in the [key file](key_file) beside the store: wrapped
//! under the [`Vault`]'s secret, and under the PIN too if there is one. Whoever has files and secret but no PIN has to guess it,
//! and each guess costs an Argon2id of 64 MiB. Wrong PINs are counted in the file, and the more there were the longer the next
//! one waits, whichever PIN it is: that binds those who guess on the phone, and nobody who copied the files.
//!
//! A wipe destroys the secret first, and then the files. The order matters: flash keeps old blocks for as long as it likes, so that
//! only the loss of the key makes what was written unreadable. What was on the screen, in a backup of the keychain or on other
//! members' phones stays, and so does what the relay holds. Who copied the store *and* the secret before has both. Who may write
//! among the app's files can put an old count of wrong PINs back: to keep them out is the platform's.

mod attempts;
mod key_file;
mod pin;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use zeroize::Zeroizing;

use attempts::Attempts;
use key_file::{Entered, KEYS, KEYS_NEW, KeyFile, Keys, beside};

use super::app::Replica;
use super::engine::Engine;
use super::error::Error;
use super::transport::{Transport, WebSocketTransport};
use super::vault::Vault;
use crate::entry::keys::Secret;
use crate::storage::{SledStore, StoreError};
use crate::watch::Invalid;

/// Of every store that this process opens.
static ATTEMPTS: Attempts = Attempts::new();

/// Stands beside a store whose wipe has begun.
const WIPING: &str = ".wiping";

impl Replica {
    /// Opens the device in `directory` with its PIN. Where there is no device yet, makes one, and the PIN is its own from then on.
    /// The duress PIN wipes everything and then does just that: what it opens is a new device, whose PIN it is.
    ///
    /// # Errors
    /// [`Error::WrongPin`]; [`Error::PinWait`] after five wrong ones, and longer after each further one; [`Error::NoPin`] if there
    /// is a device and none was set; [`Error::Invalid`] if a new device's PIN is too short or too easily guessed; otherwise as
    /// [`Replica::open`]. If a wipe could not delete every file, an error of the store; the secret is gone even so, and the next
    /// call goes on.
    pub async fn unlock(
        directory: impl AsRef<Path>,
        vault: Arc<dyn Vault>,
        pin: &str,
    ) -> Result<Self, Error> {
        Self::unlock_over(directory.as_ref(), vault, Arc::new(WebSocketTransport::default()), pin).await
    }

    /// As [`Replica::unlock`], over a network of one's own.
    ///
    /// # Errors
    /// As [`Replica::unlock`].
    pub async fn unlock_over(
        directory: &Path,
        vault: Arc<dyn Vault>,
        transport: Arc<dyn Transport>,
        pin: &str,
    ) -> Result<Self, Error> {
        let pin = Zeroizing::new(pin.to_owned());
        Self::open_by(directory, vault, transport, move |directory, vault| {
            let keys = keys_with_pin(directory, &*vault, &pin, &ATTEMPTS, Instant::now)?;
            Engine::open_with_key(Self::environment(directory, vault, &keys.store)?, keys.device)
        })
        .await
    }

    /// Sets the PIN, and the duress PIN or that there is none. Neither can be read back, and what is on the device cannot be read
    /// without one of them: a PIN that is forgotten is a device that is lost. Until the next start nothing changes.
    ///
    /// A PIN has six to 128 characters, which do not count up or down, do not repeat themselves, and are not among those that
    /// most people choose.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of them is no such PIN, or if they are the same; [`Error::Kind`] if the device lives in no
    /// directory; errors of vault and store: then the old PIN stays, unless only the directory could not be made durable.
    pub async fn set_pins(&self, pin: &str, duress: Option<&str>) -> Result<(), Error> {
        let pin = Zeroizing::new(pin.to_owned());
        let duress = duress.map(|duress| Zeroizing::new(duress.to_owned()));
        self.write_key_file(move |vault, keys| {
            let duress = duress.as_deref().map(String::as_str);
            check_pins(&pin, duress)?;
            KeyFile::with_pin(vault, keys, &pin, duress)
        })
        .await
    }

    /// Removes PIN and duress PIN: the vault's secret alone opens the device from then on.
    ///
    /// # Errors
    /// As [`Replica::set_pins`].
    pub async fn remove_pins(&self) -> Result<(), Error> {
        self.write_key_file(KeyFile::without_pin).await
    }

    /// Wraps this device's keys anew, in one durable write.
    async fn write_key_file(
        &self,
        wrap: impl FnOnce(&dyn Vault, &Keys) -> Result<KeyFile, Error> + Send + 'static,
    ) -> Result<(), Error> {
        let directory = self.own_directory()?;
        self.run(move |engine: &mut Engine| {
            let vault = Arc::clone(&engine.vault);
            // Nobody counts a wrong PIN meanwhile, and writes the old slots back.
            let _turn = ATTEMPTS.turn();
            let store = KeyFile::read(&directory, &*vault)?.map(|file| file.store_key().clone());
            let store = store.ok_or_else(|| Error::NoKeyFile(beside(&directory, KEYS)))?;
            let keys = Keys { store, device: engine.cipher.key()?.clone() };
            wrap(&*vault, &keys)?.write(&directory, &*vault)
        })
        .await
    }

    /// Destroys the vault's secret, then the store. Every later call on this device says that it is closed. Writes nothing, so
    /// that it works when the disk is full or broken.
    ///
    /// # Errors
    /// [`Error::Vault`] if the platform does not destroy the secret; errors of the store if a file stays. Whatever fails, the rest
    /// is done all the same.
    pub async fn wipe(&self) -> Result<(), Error> {
        let directory = self.directory();
        let engine = self.take_engine().await?;
        let wiped = tokio::task::spawn_blocking(move || {
            let vault = Arc::clone(&engine.vault);
            match directory {
                Some(directory) => wipe(&directory, &*vault, || drop(engine)),
                None => {
                    drop(engine);
                    Ok(vault.destroy()?)
                }
            }
        });
        wiped.await.map_err(|_| Error::Closed)?
    }
}

/// Checks a PIN and a duress PIN that are to be set.
fn check_pins(pin: &str, duress: Option<&str>) -> Result<(), Error> {
    pin::check(pin)?;
    duress.map(pin::check).transpose()?;
    if duress == Some(pin) {
        return Err(Invalid::new("pin", "is the duress PIN too", "choose two that differ").into());
    }
    Ok(())
}

/// The key of the store as a whole, of the device in `directory`.
///
/// # Errors
/// [`Error::Locked`] if there is none; [`Error::NoKeyFile`]; [`Error::WrongVault`]; errors of the store.
pub(super) fn store_key(directory: &Path, vault: &dyn Vault) -> Result<Secret, Error> {
    let _turn = ATTEMPTS.turn();
    finish_wipe(directory, vault)?;
    match KeyFile::read(directory, vault)? {
        Some(file) if SledStore::is_at(directory) => Ok(file.store_key().clone()),
        Some(_) => Err(Error::Locked),
        None => new_keys(directory).and(Err(Error::Locked)),
    }
}

/// The keys of the device in `directory`, if no PIN was set; new ones where there is no device.
///
/// # Errors
/// [`Error::Locked`]; [`Error::NoKeyFile`]; [`Error::WrongVault`]; errors of the store.
pub(super) fn keys_without_pin(directory: &Path, vault: &dyn Vault) -> Result<Keys, Error> {
    let _turn = ATTEMPTS.turn();
    finish_wipe(directory, vault)?;
    if let Some(file) = KeyFile::read(directory, vault)? {
        return file.keys(vault);
    }
    let keys = new_keys(directory)?;
    KeyFile::without_pin(vault, &keys)?.write(directory, vault)?;
    Ok(keys)
}

/// Goes on with a wipe that was interrupted, then lets the PIN through or not. Nothing that it does for the duress PIN differs in
/// what is there afterwards from a first start, and every PIN is stretched once.
fn keys_with_pin(
    directory: &Path,
    vault: &dyn Vault,
    pin: &str,
    attempts: &Attempts,
    now: impl Fn() -> Instant,
) -> Result<Keys, Error> {
    let mut turn = attempts.turn();
    finish_wipe(directory, vault)?;
    let Some(mut file) = KeyFile::read(directory, vault)? else {
        check_pins(pin, None)?;
        let keys = new_keys(directory)?;
        KeyFile::with_pin(vault, &keys, pin, None)?.write(directory, vault)?;
        return Ok(keys);
    };
    if !file.has_pin() {
        return Err(Error::NoPin);
    }
    turn.may_try(directory, file.wrong, now())?;
    // Counted before it is looked at. A disk that takes nothing stops every PIN but the one that needs no disk.
    file.wrong = file.wrong.saturating_add(1);
    let counted = file.write(directory, vault);
    let (entered, stretched) = file.enter(vault, pin)?;
    match entered {
        Entered::Duress => {
            turn.forget(directory);
            wipe(directory, vault, || ())?;
            let keys = new_keys(directory)?;
            file.reborn(vault, &keys, &stretched)?.write(directory, vault)?;
            Ok(keys)
        }
        Entered::Own(keys) => {
            counted?;
            file.wrong = 0;
            turn.forget(directory);
            file.write(directory, vault)?;
            Ok(keys)
        }
        Entered::Wrong => {
            counted?;
            turn.was_wrong(directory, file.wrong, now());
            Err(Error::WrongPin)
        }
    }
}

/// The keys of a device that is to be made.
fn new_keys(directory: &Path) -> Result<Keys, Error> {
    if SledStore::is_at(directory) {
        return Err(Error::NoKeyFile(beside(directory, KEYS)));
    }
    Keys::draw()
}

fn finish_wipe(directory: &Path, vault: &dyn Vault) -> Result<(), Error> {
    if beside(directory, WIPING).exists() { wipe(directory, vault, || ()) } else { Ok(()) }
}

/// The secret goes first. `close` lets go of the store once nothing can be read with it any more.
fn wipe(directory: &Path, vault: &dyn Vault, close: impl FnOnce()) -> Result<(), Error> {
    let (keys, wiping) = (beside(directory, KEYS), beside(directory, WIPING));
    // A note for whoever comes after a crash. A new name needs no room; if there is nothing to rename and no room, none is left.
    if fs::rename(&keys, &wiping).is_err() {
        drop(File::create(&wiping));
    }
    let destroyed = vault.destroy();
    close();
    gone(fs::remove_dir_all(directory))?;
    gone(fs::remove_file(&keys))?;
    gone(fs::remove_file(beside(directory, KEYS_NEW)))?;
    destroyed?;
    gone(fs::remove_file(&wiping))
}

fn gone(removed: io::Result<()>) -> Result<(), Error> {
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(StoreError::from(why).into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
