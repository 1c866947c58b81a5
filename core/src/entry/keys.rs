//! Secrets and what is derived from them (PROTOCOL.md §3). None of them can be printed; all are wiped when dropped.

use hkdf::Hkdf;
use hpke::{Deserializable, Kem as _, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::header::Header;
use super::sealed_key::{SealedKey, SealedKeys};
use crate::base::{CompartmentId, DeviceId, EpochId, GroupId};

type Kem = hpke::kem::X25519HkdfSha256;
type Aead = hpke::aead::ChaCha20Poly1305;
type Kdf = hpke::kdf::HkdfSha256;

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct Secret(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

impl Secret {
    /// Draws a new one.
    pub fn draw(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

/// An X25519 key pair: of a device, or of a compartment's epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct Agreement {
    secret: Secret,
    public: [u8; 32],
}

impl Agreement {
    /// Draws a new pair.
    pub fn draw(rng: &mut dyn CryptoRng) -> Self {
        Self::from_secret(Secret::draw(rng))
    }

    /// The pair of a known secret: the 32 bytes of an X25519 private key (RFC 7748).
    pub fn from_secret(secret: Secret) -> Self {
        #[expect(clippy::expect_used, reason = "see its text")]
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(&secret.0)
            .expect("reading works because any 32 bytes are an X25519 private key");
        let public = Kem::sk_to_pk(&private).to_bytes().into();
        Self { secret, public }
    }

    /// The public half.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The private half.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Opens what was sealed to the public half for this purpose.
    ///
    /// # Errors
    /// [`CannotOpen`] if it was sealed to another key, for another purpose, or altered.
    pub fn open(&self, purpose: &SealPurpose, sealed: &SealedKey) -> Result<Secret, CannotOpen> {
        let opened = self.open_bytes(&purpose.info(), &sealed.encapsulated, &sealed.ciphertext)?;
        opened.as_slice().try_into().map(Secret).map_err(|_| CannotOpen)
    }

    /// Opens the private keys of these epochs, in this order.
    ///
    /// # Errors
    /// [`CannotOpen`] if others were sealed, or to another key, or something was altered.
    pub fn open_epochs(
        &self,
        epochs: &[(CompartmentId, EpochId)],
        sealed: &SealedKeys,
    ) -> Result<Vec<Secret>, CannotOpen> {
        let opened = self.open_bytes(&epochs_info(epochs), &sealed.encapsulated, &sealed.ciphertext)?;
        if opened.len() != epochs.len() * 32 {
            return Err(CannotOpen);
        }
        opened.chunks_exact(32).map(|key| key.try_into().map(Secret).map_err(|_| CannotOpen)).collect()
    }

    fn open_bytes(
        &self,
        info: &[u8],
        encapsulated: &[u8; 32],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(&self.secret.0).map_err(|_| CannotOpen)?;
        let encapped = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| CannotOpen)?;
        let opened = hpke::single_shot_open::<Aead, Kdf, Kem>(
            &OpModeR::Base,
            &private,
            &encapped,
            info,
            ciphertext,
            b"",
        );
        opened.map(Zeroizing::new).map_err(|_| CannotOpen)
    }
}

/// The key does not open under this secret and for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed key cannot be opened by this device")]
pub struct CannotOpen;

/// What a sealed key is for. Becomes HPKE's `info`, so that none can be used as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealPurpose {
    /// The private key of `old`, to the epoch that follows it.
    EpochChain {
        /// The compartment.
        compartment: CompartmentId,
        /// The epoch whose key is sealed.
        old: EpochId,
        /// The epoch it is sealed to.
        new: EpochId,
    },
    /// A device's sender key, to an epoch.
    SenderKey(GroupId, CompartmentId, DeviceId, EpochId),
}

impl SealPurpose {
    fn info(&self) -> Vec<u8> {
        match self {
            Self::EpochChain { compartment, old, new } => {
                [b"lamppost/1/epoch-chain".as_slice(), &[compartment.0], &old.to_bytes(), &new.to_bytes()]
                    .concat()
            }
            Self::SenderKey(group, compartment, device, epoch) => [
                b"lamppost/1/sender-key".as_slice(),
                group.as_bytes(),
                &[compartment.0],
                device.as_bytes(),
                &epoch.to_bytes(),
            ]
            .concat(),
        }
    }
}

/// Seals `secret` to the X25519 key `public`.
///
/// # Errors
/// [`CannotOpen`] if `public` is not a usable key, so that nobody could open it.
pub fn seal(
    rng: &mut dyn CryptoRng,
    public: &[u8; 32],
    purpose: &SealPurpose,
    secret: &Secret,
) -> Result<SealedKey, CannotOpen> {
    let (encapsulated, ciphertext) = seal_bytes(rng, public, &purpose.info(), &secret.0)?;
    Ok(SealedKey { encapsulated, ciphertext: ciphertext.try_into().map_err(|_| CannotOpen)? })
}

/// Seals the private keys of epochs under one seal to the X25519 key `public` of a reader's device.
///
/// # Errors
/// [`CannotOpen`] if `public` is not a usable key, so that nobody could open it.
pub fn seal_epochs(
    rng: &mut dyn CryptoRng,
    public: &[u8; 32],
    keys: &[(CompartmentId, EpochId, &Secret)],
) -> Result<SealedKeys, CannotOpen> {
    let names: Vec<_> = keys.iter().map(|(compartment, epoch, _)| (*compartment, *epoch)).collect();
    let mut plain = Zeroizing::new(Vec::with_capacity(keys.len() * 32));
    keys.iter().for_each(|(_, _, secret)| plain.extend_from_slice(&secret.0));
    let (encapsulated, ciphertext) = seal_bytes(rng, public, &epochs_info(&names), &plain)?;
    Ok(SealedKeys { encapsulated, ciphertext })
}

fn seal_bytes(
    rng: &mut dyn CryptoRng,
    public: &[u8; 32],
    info: &[u8],
    plain: &[u8],
) -> Result<([u8; 32], Vec<u8>), CannotOpen> {
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(public).map_err(|_| CannotOpen)?;
    let (encapped, ciphertext) =
        hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &public, info, plain, b"", &mut {
            rng
        })
        .map_err(|_| CannotOpen)?;
    Ok((encapped.to_bytes().into(), ciphertext))
}

/// HPKE's `info` for the keys of these epochs.
fn epochs_info(epochs: &[(CompartmentId, EpochId)]) -> Vec<u8> {
    let mut info = b"lamppost/1/epoch-keys".to_vec();
    for (compartment, epoch) in epochs {
        info.push(compartment.0);
        info.extend(epoch.to_bytes());
    }
    info
}

/// The key of one entry: opens it, proves its commitment, and does nothing else.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct EntryKey(#[n(0)] Secret);

impl EntryKey {
    /// Derives the key of the entry with this place and salt from its author's sender key (PROTOCOL.md §3.2).
    pub fn derive(sender: &Secret, salt: &[u8; SALT_BYTES], place: &Place) -> Self {
        let mut key = Secret([0; 32]);
        expand(Hkdf::<Sha256>::new(Some(salt), &sender.0), &place.info(), &mut key.0);
        Self(key)
    }

    /// Takes a key that was handed over.
    pub fn from_secret(secret: Secret) -> Self {
        Self(secret)
    }

    /// The secret, to be handed over as evidence.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    pub(super) fn cipher(&self) -> Secret {
        self.sub(b"lamppost/1/cipher")
    }

    pub(super) fn commitment(&self) -> Secret {
        self.sub(b"lamppost/1/commitment")
    }

    fn sub(&self, label: &[u8]) -> Secret {
        let mut key = Secret([0; 32]);
        #[expect(clippy::expect_used, reason = "see its text")]
        let hkdf =
            Hkdf::<Sha256>::from_prk(&self.0.0).expect("it is a key because 32 bytes are the hash's length");
        expand(hkdf, label, &mut key.0);
        key
    }
}

/// Bytes of the salt that a body begins with.
pub const SALT_BYTES: usize = 16;

/// Where an entry stands: what its key is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: GroupId,
    /// The compartment.
    pub compartment: CompartmentId,
    /// The author.
    pub device: DeviceId,
    /// The number in the log.
    pub seq: u64,
}

impl Place {
    /// The place a header names. `group` is given for the sake of the founding entry, which is never encrypted.
    pub fn of(group: GroupId, header: &Header) -> Self {
        Self { group, compartment: header.compartment, device: header.device, seq: header.seq }
    }

    fn info(&self) -> Vec<u8> {
        [
            b"lamppost/1/entry-key".as_slice(),
            self.group.as_bytes(),
            &[self.compartment.0],
            self.device.as_bytes(),
            &self.seq.to_be_bytes(),
        ]
        .concat()
    }
}

/// What is derived from a secret for one use: `salt` names whose secret it is, `info` the use.
pub(super) fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    expand(Hkdf::<Sha256>::new(Some(salt), secret), info, &mut out);
    out
}

/// A key for the device's own disk, derived from the secret that the app's vault keeps.
pub fn disk_key(secret: &[u8], label: &[u8]) -> Secret {
    let mut key = Secret([0; 32]);
    expand(Hkdf::<Sha256>::new(Some(b"lamppost/1/disk"), secret), label, &mut key.0);
    key
}

fn expand(hkdf: Hkdf<Sha256>, info: &[u8], out: &mut [u8]) {
    #[expect(clippy::expect_used, reason = "see its text")]
    hkdf.expand(info, out).expect("expanding works because a few bytes are within HKDF's limit");
}
