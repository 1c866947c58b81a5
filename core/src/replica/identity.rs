//! The identity of a device: its secrets, which lie under the PIN, and what a locked device has of them.

use ed25519_dalek::SigningKey;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::disk::{self, DiskCipher, META};
use super::error::Error;
use crate::base::{DeviceId, MemberId, cbor};
use crate::entry::keys::{Agreement, Secret};
use crate::entry::{Certificate, Possession, Scope};
use crate::storage::{Batch, Store};
use crate::sync::proof::SessionKey;

/// Where the secrets lie in [`META`], sealed under the device's key.
const SECRETS: &[u8] = b"identity";

/// Where the rest lies in [`META`], sealed under the vault's secret alone.
const PUBLIC: &[u8] = b"session";

/// Former devices that are remembered: at one renewal a week, more than two months of bad luck.
const FORMER_MAX: usize = 10;

/// Who this device is.
pub(super) struct Identity {
    pub device_id: DeviceId,
    /// Whose device it is, if a key has said so.
    member: Option<MemberId>,
    /// What the member's key, which is elsewhere, says of this device in its group; none until it has. Where the key is
    /// here, [`Identity::certificate`] signs it anew for each group.
    certificate: Option<Certificate>,
    /// Opens sessions, and signs nothing else.
    pub session: SessionKey,
    /// The devices that this installation was before it was renewed, newest last.
    former: Vec<DeviceId>,
    /// None while the device is locked.
    secrets: Option<Secrets>,
}

/// What signs and opens.
pub(super) struct Secrets {
    /// The member's key. On a device that another one certified it is not: keys never leave a device.
    pub member: Option<SigningKey>,
    pub device: SigningKey,
    pub agreement: Agreement,
    /// Of the devices that this installation was before: keys were sealed to them.
    pub former: Vec<(DeviceId, Agreement)>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredSecrets {
    #[n(0)]
    member: Option<Secret>,
    #[n(1)]
    device: Secret,
    #[n(2)]
    agreement: Secret,
    #[n(3)]
    former: Vec<StoredFormer>,
}

#[derive(Encode, Decode)]
struct StoredFormer {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    agreement: Secret,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct StoredPublic {
    #[n(0)]
    device: DeviceId,
    #[n(1)]
    session: Secret,
    #[n(2)]
    word: ByteVec,
    #[n(3)]
    certificate: Option<ByteVec>,
    #[n(4)]
    former: Vec<DeviceId>,
    #[n(5)]
    member: Option<MemberId>,
}

impl Identity {
    /// Draws a new device; of `member`, whose key lives here, if it does.
    pub fn draw(rng: &mut dyn CryptoRng, member: Option<SigningKey>) -> Self {
        let device = SigningKey::from_bytes(&Secret::draw(rng).0);
        let session = SessionKey::vouch(&device, SigningKey::from_bytes(&Secret::draw(rng).0));
        let agreement = Agreement::draw(rng);
        let device_id = DeviceId(device.verifying_key().to_bytes());
        let member_id = member.as_ref().map(|member| MemberId(member.verifying_key().to_bytes()));
        let secrets = Some(Secrets { member, device, agreement, former: Vec::new() });
        Self { device_id, member: member_id, certificate: None, session, former: Vec::new(), secrets }
    }

    /// Whose device it is, if a key has said so.
    pub fn member_id(&self) -> Option<MemberId> {
        self.member
    }

    /// This device's word that it is `member`'s.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn possession(&self, member: MemberId, scope: Scope) -> Result<Possession, Error> {
        let secrets = self.secrets()?;
        Ok(Possession::sign(&secrets.device, member, *secrets.agreement.public(), scope))
    }

    /// What the member's key says of this device for the group of `scope`: the same bytes each time. None where that key
    /// is elsewhere and has not said so, and while the device is locked.
    pub fn certificate(&self, scope: Scope) -> Option<Certificate> {
        let Some(member) = self.secrets.as_ref().and_then(|secrets| secrets.member.as_ref()) else {
            return self.certificate.clone().filter(|held| held.claims().scope == scope);
        };
        self.possession(MemberId(member.verifying_key().to_bytes()), scope).ok()?.certify(member)
    }

    /// Keeps what the member's key, which is elsewhere, says of this device.
    pub fn certify(&mut self, certificate: Certificate) {
        self.member = Some(certificate.claims().member);
        self.certificate = Some(certificate);
    }

    /// Another device of the same member, for the same installation.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::KeyElsewhere`].
    pub fn renewed(&self, rng: &mut dyn CryptoRng) -> Result<Self, Error> {
        let Secrets { member, agreement, former, .. } = self.secrets()?;
        let member = member.clone().ok_or(Error::KeyElsewhere)?;
        let mut former = former.clone();
        former.push((self.device_id, agreement.clone()));
        former.drain(..former.len().saturating_sub(FORMER_MAX));
        let mut new = Self::draw(rng, Some(member));
        new.former = former.iter().map(|(device, _)| *device).collect();
        if let Some(secrets) = &mut new.secrets {
            secrets.former = former;
        }
        Ok(new)
    }

    /// What signs and opens.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn secrets(&self) -> Result<&Secrets, Error> {
        self.secrets.as_ref().ok_or(Error::Locked)
    }

    /// Whether this installation is the device, or was it before it was renewed.
    pub fn has_been(&self, device: DeviceId) -> bool {
        device == self.device_id || self.former.contains(&device)
    }

    /// Writes both parts.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn put(
        &self,
        batch: &mut Batch,
        (cipher, vault_cipher): (&DiskCipher, &DiskCipher),
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        let secrets = self.secrets()?;
        let former = secrets.former.iter();
        let stored = StoredSecrets {
            member: secrets.member.as_ref().map(|member| Secret(member.to_bytes())),
            device: Secret(secrets.device.to_bytes()),
            agreement: secrets.agreement.secret().clone(),
            former: former
                .map(|(device, agreement)| StoredFormer {
                    device: *device,
                    agreement: agreement.secret().clone(),
                })
                .collect(),
        };
        let plain = Zeroizing::new(cbor::encode(&stored));
        batch.put(META, SECRETS, cipher.seal(rng, META, SECRETS, &plain)?);
        let public = StoredPublic {
            device: self.device_id,
            session: Secret(self.session.secret()),
            word: ByteVec::from(self.session.word().to_vec()),
            certificate: self.certificate.as_ref().map(|held| ByteVec::from(held.as_bytes().to_vec())),
            former: self.former.clone(),
            member: self.member,
        };
        let plain = Zeroizing::new(cbor::encode(&public));
        batch.put(META, PUBLIC, vault_cipher.seal(rng, META, PUBLIC, &plain)?);
        Ok(())
    }

    /// Reads what the ciphers open; none if there is no device yet.
    ///
    /// # Errors
    /// [`Error::WrongVault`] if a cipher does not fit; errors of the store.
    pub fn read(
        store: &dyn Store,
        cipher: &DiskCipher,
        vault_cipher: &DiskCipher,
    ) -> Result<Option<Self>, Error> {
        let Some(sealed) = store.get(META, PUBLIC)? else { return Ok(None) };
        let plain = vault_cipher.open(META, PUBLIC, &sealed)?;
        let public: StoredPublic = disk::decode(&plain)?;
        let certificate = public.certificate.as_ref().map(|bytes| Certificate::verify_for_any_group(bytes));
        let secrets = if cipher.is_locked() { None } else { Some(Secrets::read(store, cipher)?) };
        Ok(Some(Self {
            device_id: public.device,
            member: public.member,
            certificate: certificate.transpose().map_err(|e| Error::store_damaged(&e))?,
            session: SessionKey::restored(&public.session.0, public.word.to_vec()),
            former: public.former,
            secrets,
        }))
    }
}

impl Secrets {
    fn read(store: &dyn Store, cipher: &DiskCipher) -> Result<Self, Error> {
        let gone = || Error::store_damaged(&"the device's keys are gone");
        let sealed = store.get(META, SECRETS)?.ok_or_else(gone)?;
        let plain = cipher.open(META, SECRETS, &sealed)?;
        let stored: StoredSecrets = disk::decode(&plain)?;
        let former = stored.former.iter();
        Ok(Self {
            member: stored.member.as_ref().map(|member| SigningKey::from_bytes(&member.0)),
            device: SigningKey::from_bytes(&stored.device.0),
            agreement: Agreement::from_secret(stored.agreement.clone()),
            former: former
                .map(|former| (former.device, Agreement::from_secret(former.agreement.clone())))
                .collect(),
        })
    }
}
