//! The key file beside a store: its keys, wrapped.
//!
//! The store as a whole lies under a random key, the store's, which the vault's secret opens: a locked device works with it. What
//! can be read lies in the store under another one, the device's. That key is wrapped here in a key derived from the vault's secret
//! and, if there is a PIN, from that. There are two slots of one shape, whichever of them are used: the first wraps the key,
//! the second, under the duress PIN, 32 bytes that open nothing. One that is not used holds random bytes, so that nobody
//! can tell it from one that is, with the vault's secret and the PIN neither.
//!
//! The file is replaced whole: it is the old one or the new one, whatever fails.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::pin::{self, SALT_BYTES, Stretched};
use crate::entry::keys::{Secret, disk_key};
use crate::replica::error::Error;
use crate::replica::vault::Vault;
use crate::storage::StoreError;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Nonce, ciphertext of 32 bytes, tag.
const SLOT_BYTES: usize = NONCE_BYTES + 32 + TAG_BYTES;
/// How many wrong PINs there were since the last right one, big-endian.
const WRONG_BYTES: usize = 4;
const PLAIN_BYTES: usize = 32 + 1 + SALT_BYTES + 2 * SLOT_BYTES + WRONG_BYTES;

/// Binds what is sealed to what it is.
const FILE_AAD: &[u8] = b"lamppost/1/keys";
const SLOT_AAD: [&[u8]; 2] = [b"lamppost/1/keys/0", b"lamppost/1/keys/1"];

pub(super) const KEYS: &str = ".keys";
pub(super) const KEYS_NEW: &str = ".keys-new";

/// The store's directory belongs to the store alone.
pub(super) fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The keys of an unlocked device.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::replica) struct Keys {
    /// Of the store as a whole.
    pub store: Secret,
    /// Of what can be read.
    pub device: Secret,
}

impl Keys {
    /// Draws the keys of a new device.
    pub fn draw() -> Result<Self, Error> {
        Ok(Self { store: Secret(random()?), device: Secret(random()?) })
    }
}

/// A PIN that was entered.
pub(super) enum Entered {
    /// The device's own: the keys that it unwraps.
    Own(Keys),
    Duress,
    Wrong,
}

/// The key file of one store.
pub(super) struct KeyFile {
    store: Secret,
    has_pin: bool,
    salt: [u8; SALT_BYTES],
    slots: [[u8; SLOT_BYTES]; 2],
    /// Wrong PINs since the last right one.
    pub wrong: u32,
}

impl KeyFile {
    /// Wraps a device's keys under the vault's secret alone.
    pub fn without_pin(vault: &dyn Vault, keys: &Keys) -> Result<Self, Error> {
        let salt = random()?;
        let slots = [wrap(vault, None, 0, &keys.device)?, random()?];
        Ok(Self { store: keys.store.clone(), has_pin: false, salt, slots, wrong: 0 })
    }

    /// Wraps a device's keys under the vault's secret, and its own key under a PIN too.
    pub fn with_pin(vault: &dyn Vault, keys: &Keys, pin: &str, duress: Option<&str>) -> Result<Self, Error> {
        let salt = random()?;
        let own = pin::stretched(pin, &salt)?;
        let duress = duress.map(|duress| pin::stretched(duress, &salt)).transpose()?;
        Self::stretched(vault, keys, salt, &own, duress.as_ref())
    }

    fn stretched(
        vault: &dyn Vault,
        keys: &Keys,
        salt: [u8; SALT_BYTES],
        own: &Stretched,
        duress: Option<&Stretched>,
    ) -> Result<Self, Error> {
        let first = wrap(vault, Some(own), 0, &keys.device)?;
        let second = match duress {
            Some(duress) => wrap(vault, Some(duress), 1, &Secret(random()?))?,
            None => random()?,
        };
        Ok(Self { store: keys.store.clone(), has_pin: true, salt, slots: [first, second], wrong: 0 })
    }

    /// Whether a PIN was set.
    pub fn has_pin(&self) -> bool {
        self.has_pin
    }

    /// The key of the store as a whole.
    pub fn store_key(&self) -> &Secret {
        &self.store
    }

    /// The keys, where no PIN was set.
    ///
    /// # Errors
    /// [`Error::Locked`] if one was.
    pub fn keys(&self, vault: &dyn Vault) -> Result<Keys, Error> {
        if self.has_pin {
            return Err(Error::Locked);
        }
        let [first, _] = &self.slots;
        let device = unwrap(vault, None, 0, first)?.ok_or(Error::WrongVault)?;
        Ok(Keys { store: self.store.clone(), device })
    }

    /// Stretches a PIN once, and tries it in both slots, whichever fits.
    pub fn enter(&self, vault: &dyn Vault, pin: &str) -> Result<(Entered, Stretched), Error> {
        let stretched = pin::stretched(pin, &self.salt)?;
        let [first, second] = &self.slots;
        let own = unwrap(vault, Some(&stretched), 0, first)?;
        let duress = unwrap(vault, Some(&stretched), 1, second)?;
        let entered = match (own, duress) {
            (Some(device), _) => Entered::Own(Keys { store: self.store.clone(), device }),
            (None, Some(_)) => Entered::Duress,
            (None, None) => Entered::Wrong,
        };
        Ok((entered, stretched))
    }

    /// The file of a new device under the PIN that was just stretched for this one, which is not stretched again: so a duress
    /// PIN takes no longer than another.
    pub fn reborn(&self, vault: &dyn Vault, keys: &Keys, own: &Stretched) -> Result<Self, Error> {
        Self::stretched(vault, keys, self.salt, own, None)
    }

    #[cfg(test)]
    pub fn second_slot(&self) -> &[u8] {
        let [_, second] = &self.slots;
        second
    }

    /// Reads the file beside a store; none if there is none.
    ///
    /// # Errors
    /// [`Error::WrongVault`] if it was written under another secret, or altered; errors of the disk.
    pub fn read(directory: &Path, vault: &dyn Vault) -> Result<Option<Self>, Error> {
        let sealed = match fs::read(beside(directory, KEYS)) {
            Ok(sealed) => sealed,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(StoreError::from(why).into()),
        };
        let plain = open(&file_key(vault)?, FILE_AAD, &sealed).ok_or(Error::WrongVault)?;
        Self::parse(&plain).map(Some).ok_or(Error::WrongVault)
    }

    fn parse(plain: &[u8]) -> Option<Self> {
        let (store, rest) = plain.split_first_chunk()?;
        let (has_pin, rest) = rest.split_first()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (second, wrong) = rest.split_first_chunk()?;
        let (has_pin, slots) = (*has_pin != 0, [*first, *second]);
        let store = Secret(*store);
        Some(Self { store, has_pin, salt: *salt, slots, wrong: u32::from_be_bytes(wrong.try_into().ok()?) })
    }

    /// Writes the file in the place of the one before, durably.
    ///
    /// # Errors
    /// Errors of the disk: the file is the old one or the new one.
    pub fn write(&self, directory: &Path, vault: &dyn Vault) -> Result<(), Error> {
        self.write_unless(directory, vault, &mut |_| Ok(()))
    }

    /// As [`Self::write`], and fails before a step if `fault` says so.
    pub(super) fn write_unless(
        &self,
        directory: &Path,
        vault: &dyn Vault,
        fault: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), Error> {
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_BYTES));
        plain.extend_from_slice(&self.store.0);
        plain.push(u8::from(self.has_pin));
        plain.extend_from_slice(&self.salt);
        self.slots.iter().for_each(|slot| plain.extend_from_slice(slot));
        plain.extend_from_slice(&self.wrong.to_be_bytes());
        let sealed = seal(&file_key(vault)?, FILE_AAD, &plain)?;
        replace(&beside(directory, KEYS), &beside(directory, KEYS_NEW), &sealed, fault)
            .map_err(|why| StoreError::from(why).into())
    }
}

/// One step of replacing a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Write,
    Sync,
    Rename,
    SyncName,
}

fn replace(
    path: &Path,
    draft: &Path,
    bytes: &[u8],
    fault: &mut dyn FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    fault(Step::Create)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let mut file = File::create(draft)?;
    fault(Step::Write)?;
    file.write_all(bytes)?;
    fault(Step::Sync)?;
    file.sync_all()?;
    fault(Step::Rename)?;
    fs::rename(draft, path)?;
    fault(Step::SyncName)?;
    // The name is on the disk once its directory is: a count that a power cut takes back would be none.
    File::open(parent)?.sync_all()
}

fn file_key(vault: &dyn Vault) -> Result<Secret, Error> {
    Ok(disk_key(&Zeroizing::new(vault.secret()?)[..], b"lamppost/1/disk/keys"))
}

/// The key of a slot: of the vault's secret and the stretched PIN, so that neither opens it without the other.
fn slot_key(vault: &dyn Vault, stretched: Option<&Stretched>) -> Result<Secret, Error> {
    let mut secrets = Zeroizing::new([0; 64]);
    let (first, second) = secrets.split_at_mut(32);
    first.copy_from_slice(&Zeroizing::new(vault.secret()?)[..]);
    if let Some(stretched) = stretched {
        second.copy_from_slice(&stretched.0);
    }
    let label: &[u8] = if stretched.is_some() { b"lamppost/1/disk/pin" } else { b"lamppost/1/disk/no-pin" };
    Ok(disk_key(&secrets[..], label))
}

fn wrap(
    vault: &dyn Vault,
    stretched: Option<&Stretched>,
    slot: usize,
    key: &Secret,
) -> Result<[u8; SLOT_BYTES], Error> {
    let aad = SLOT_AAD.get(slot).copied().unwrap_or_default();
    let sealed = seal(&slot_key(vault, stretched)?, aad, &key.0)?;
    sealed.try_into().map_err(|_| Error::store_damaged(&"a slot is of another length"))
}

fn unwrap(
    vault: &dyn Vault,
    stretched: Option<&Stretched>,
    slot: usize,
    sealed: &[u8; SLOT_BYTES],
) -> Result<Option<Secret>, Error> {
    let aad = SLOT_AAD.get(slot).copied().unwrap_or_default();
    let opened = open(&slot_key(vault, stretched)?, aad, sealed);
    Ok(opened.and_then(|key| key.as_slice().try_into().ok().map(Secret)))
}

fn seal(key: &Secret, aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, Error> {
    let nonce: [u8; NONCE_BYTES] = random()?;
    let cipher = XChaCha20Poly1305::new(&key.0.into());
    #[expect(clippy::expect_used, reason = "see its text")]
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg, aad })
        .expect("sealing works because a key file is small");
    Ok([nonce.as_slice(), &sealed].concat())
}

fn open(key: &Secret, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let cipher = XChaCha20Poly1305::new(&key.0.into());
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad }).ok().map(Zeroizing::new)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|why| Error::Kind(format!("the system gives no random bytes: {why}")))?;
    Ok(bytes)
}
