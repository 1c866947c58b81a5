//! The PIN in front of a device, the duress PIN that empties it, and the wipe that both an app's button and that PIN do.
//!
//! A PIN opens a door; it encrypts nothing. What lies on the disk is encrypted under the [`Vault`]'s secret, which a few digits
//! would only weaken if they stood in its place. Both PINs are kept as salted Argon2id hashes in one small file beside the store,
//! sealed under that secret, with room for two whether or not there is a duress PIN: so the file does not tell.
//! Wrong PINs are counted in it, and the more there were the longer the next one waits, whichever PIN it is.
//!
//! A wipe destroys the secret first, and then the files. The order matters: flash keeps old blocks for as long as it likes, so that
//! only the loss of the key makes what was written unreadable. What was on the screen, in a backup of the keychain or on other
//! members' phones stays, and so does what the relay holds. Who copied the store *and* the secret before has both. Who may write
//! among the app's files can put an old count of wrong PINs back: to keep them out is the platform's.

mod attempts;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use attempts::Attempts;

use super::app::Replica;
use super::error::Error;
use super::vault::Vault;
use crate::entry::keys::{Secret, disk_key};
use crate::storage::StoreError;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
const SLOT_BYTES: usize = SALT_BYTES + HASH_BYTES;
/// How many wrong PINs there were since the last right one, big-endian.
const WRONG_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;

/// Of every store that this process opens.
static ATTEMPTS: Attempts = Attempts::new();

/// Memory in KiB, passes and lanes: the second choice of OWASP's password storage cheat sheet, which an old phone does in
/// about a second.
const ARGON2: (u32, u32, u32) = (19 * 1_024, 2, 1);

/// Binds the sealed hashes to what they are.
const AAD: &[u8] = b"lamppost/1/pins";

/// What a PIN that was entered is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    Own,
    Duress,
    Wrong,
}

impl Replica {
    /// Opens the device in `directory` with its PIN. Where there is no device yet, makes one, and the PIN is its own from then on.
    /// The duress PIN wipes everything and then does just that: what it opens is a new device, whose PIN it is.
    ///
    /// # Errors
    /// [`Error::WrongPin`]; [`Error::PinWait`] after five wrong ones, and longer after each further one; [`Error::NoPin`] if there is a device and none was set; otherwise as [`Replica::open`]. If a wipe could
    /// not delete every file, an error of the store; the secret is gone even so, and the next call goes on.
    pub async fn unlock(
        directory: impl AsRef<Path>,
        vault: Arc<dyn Vault>,
        pin: &str,
    ) -> Result<Self, Error> {
        let (directory, pin) = (directory.as_ref().to_owned(), Zeroizing::new(pin.to_owned()));
        let (at, keychain) = (directory.clone(), Arc::clone(&vault));
        let opened =
            tokio::task::spawn_blocking(move || open_door(&at, &*keychain, &pin, &ATTEMPTS, Instant::now));
        opened.await.map_err(|_| Error::Closed)??;
        Self::open(directory, vault).await
    }

    /// Sets the PIN, and the duress PIN or that there is none. Neither can be read back.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the two are the same or one is empty; [`Error::Kind`] if the device lives in no directory; errors of
    /// vault and store.
    pub async fn set_pins(&self, pin: &str, duress: Option<&str>) -> Result<(), Error> {
        let pin = Zeroizing::new(pin.to_owned());
        let duress = duress.map(|duress| Zeroizing::new(duress.to_owned()));
        let directory = self.directory();
        self.run(move |engine| {
            let directory =
                directory.ok_or_else(|| Error::Kind("this device has no directory of its own".to_owned()))?;
            write_pins(&directory, &*engine.vault, &pin, duress.as_deref().map(String::as_str))
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

/// Goes on with a wipe that was interrupted, then lets the PIN through or not. Nothing that it does for the duress PIN differs in
/// what is there afterwards from a first start.
fn open_door(
    directory: &Path,
    vault: &dyn Vault,
    pin: &str,
    attempts: &Attempts,
    now: impl Fn() -> Instant,
) -> Result<(), Error> {
    let mut turn = attempts.turn();
    if beside(directory, WIPING).exists() {
        wipe(directory, vault, || ())?;
    }
    match fs::read(beside(directory, PINS)) {
        Ok(sealed) => {
            let mut pins = Pins::open(&sealed, vault)?;
            turn.may_try(directory, pins.wrong, now())?;
            // Counted before it is looked at. A disk that takes nothing stops every PIN but the one that needs no disk.
            pins.wrong = pins.wrong.saturating_add(1);
            let counted = pins.write(directory, vault);
            match pins.weigh(pin)? {
                Pin::Duress => {
                    turn.forget(directory);
                    wipe(directory, vault, || ())?;
                }
                Pin::Own => {
                    counted?;
                    pins.wrong = 0;
                    turn.forget(directory);
                    return pins.write(directory, vault);
                }
                Pin::Wrong => {
                    counted?;
                    turn.was_wrong(directory, pins.wrong, now());
                    return Err(Error::WrongPin);
                }
            }
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            if directory.exists() {
                return Err(Error::NoPin);
            }
        }
        Err(why) => return Err(StoreError::from(why).into()),
    }
    write_pins(directory, vault, pin, None)
}

/// The secret goes first. `close` lets go of the store once nothing can be read with it any more.
fn wipe(directory: &Path, vault: &dyn Vault, close: impl FnOnce()) -> Result<(), Error> {
    let (pins, wiping) = (beside(directory, PINS), beside(directory, WIPING));
    // A note for whoever comes after a crash. A new name needs no room; if there is nothing to rename and no room, none is left.
    if fs::rename(&pins, &wiping).is_err() {
        drop(File::create(&wiping));
    }
    let destroyed = vault.destroy();
    close();
    gone(fs::remove_dir_all(directory))?;
    gone(fs::remove_file(&pins))?;
    gone(fs::remove_file(beside(directory, PINS_NEW)))?;
    destroyed?;
    gone(fs::remove_file(&wiping))
}

fn gone(removed: io::Result<()>) -> Result<(), Error> {
    match removed {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(StoreError::from(why).into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

const PINS: &str = ".pins";
const PINS_NEW: &str = ".pins-new";
const WIPING: &str = ".wiping";

/// The store's directory belongs to the store alone.
fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// What lies beside the store.
struct Pins {
    /// Salt and hash of the PIN, and of the duress PIN.
    slots: Zeroizing<[[u8; SLOT_BYTES]; 2]>,
    wrong: u32,
}

impl Pins {
    fn open(sealed: &[u8], vault: &dyn Vault) -> Result<Self, Error> {
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::WrongVault)?;
        let opened = cipher(vault)?.decrypt(&XNonce::from(*nonce), Payload { msg, aad: AAD });
        let plain = Zeroizing::new(opened.map_err(|_| Error::WrongVault)?);
        let parts = plain.split_last_chunk::<WRONG_BYTES>();
        let Some((&[own, duress], wrong)) = parts.map(|(slots, wrong)| (slots.as_chunks().0, wrong)) else {
            return Err(Error::WrongVault);
        };
        Ok(Self { slots: Zeroizing::new([own, duress]), wrong: u32::from_be_bytes(*wrong) })
    }

    fn write(&self, directory: &Path, vault: &dyn Vault) -> Result<(), Error> {
        let plain = Zeroizing::new([self.slots.as_flattened(), &self.wrong.to_be_bytes()].concat());
        let nonce: [u8; NONCE_BYTES] = random()?;
        #[expect(clippy::expect_used, reason = "see its text")]
        let sealed = cipher(vault)?
            .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: AAD })
            .expect("sealing works because two hashes are small");
        let pins = beside(directory, PINS);
        let (draft, written) = (beside(directory, PINS_NEW), [nonce.as_slice(), &sealed].concat());
        let write = || -> io::Result<()> {
            let mut file = File::create(&draft)?;
            file.write_all(&written)?;
            file.sync_all()?;
            fs::rename(&draft, &pins)?;
            // The name is on the disk once its directory is: a count that a power cut takes back would be none.
            let parent = pins.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|why| StoreError::from(why).into())
    }

    /// Both hashes are worked out and compared, whichever fits.
    fn weigh(&self, pin: &str) -> Result<Pin, Error> {
        let mut fits = [false; 2];
        for (fits, slot) in fits.iter_mut().zip(self.slots.iter()) {
            let (salt, hash) = slot.split_at(SALT_BYTES);
            *fits = hashed(pin, salt)?.as_slice() == hash;
        }
        Ok(match fits {
            [true, _] => Pin::Own,
            [false, true] => Pin::Duress,
            [false, false] => Pin::Wrong,
        })
    }
}

fn write_pins(directory: &Path, vault: &dyn Vault, pin: &str, duress: Option<&str>) -> Result<(), Error> {
    if pin.is_empty() || duress == Some("") || duress == Some(pin) {
        let remedy = "choose two that differ, neither of them empty";
        return Err(crate::watch::Invalid::new("pin", "is empty, or is the duress PIN too", remedy).into());
    }
    let mut slots = Zeroizing::new([[0; SLOT_BYTES]; 2]);
    for (slot, pin) in slots.iter_mut().zip([Some(pin), duress]) {
        let salt: [u8; SALT_BYTES] = random()?;
        let hash = match pin {
            Some(pin) => hashed(pin, &salt)?,
            // Fits nothing, and looks like a hash.
            None => random::<HASH_BYTES>()?,
        };
        let (to_salt, to_hash) = slot.split_at_mut(SALT_BYTES);
        to_salt.copy_from_slice(&salt);
        to_hash.copy_from_slice(&hash);
    }
    Pins { slots, wrong: 0 }.write(directory, vault)
}

fn cipher(vault: &dyn Vault) -> Result<XChaCha20Poly1305, Error> {
    Ok(XChaCha20Poly1305::new(&disk_key(&Secret(vault.secret()?), b"lamppost/1/disk/pins").0.into()))
}

fn hashed(pin: &str, salt: &[u8]) -> Result<[u8; HASH_BYTES], Error> {
    let (memory, passes, lanes) = ARGON2;
    let unusable = |why: argon2::Error| Error::Kind(format!("this PIN cannot be used: {why}"));
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).map_err(unusable)?;
    let mut hash = [0; HASH_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(pin.as_bytes(), salt, &mut hash).map_err(unusable)?;
    Ok(hash)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|why| Error::Kind(format!("the system gives no random bytes: {why}")))?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
