//! A certificate: the device says 'I am theirs', the member says 'this device is mine', for one group (PROTOCOL.md §2.3).

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::base::cose::{self, BadSign1, Purpose, Unverified};
use crate::base::{DeviceId, GroupId, MemberId, cbor, hash};

/// The one group that a certificate is for. Made by [`Scope::group`], or for a founding entry by [`Scope::founding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Scope(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    [u8; 32],
);

impl Scope {
    /// The scope of every certificate of this group but the one in its founding entry.
    pub fn group(group: GroupId) -> Self {
        Self(group.0)
    }

    /// The scope of the certificate in the founding entry with this nonce: a group's id is the hash of that entry, so
    /// nothing inside it can name the group.
    pub fn founding(nonce: &[u8; 16]) -> Self {
        Self(hash::tagged(b"lamppost/1/founding", &[nonce]).0)
    }
}

/// What a certificate binds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claims {
    /// Format version.
    #[n(0)]
    pub version: u8,
    /// Whose device it is.
    #[n(1)]
    pub member: MemberId,
    /// The key the device signs with.
    #[n(2)]
    pub device: DeviceId,
    /// The X25519 public key that keys are sealed to.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub agreement: [u8; 32],
    /// The group that it is for.
    #[n(4)]
    pub scope: Scope,
}

/// Bytes of a certificate in its packed form: three keys and two signatures. Whoever reads it knows the scope.
pub const PACKED_BYTES: usize = 3 * 32 + 2 * 64;

/// A certificate whose two signatures were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    claims: Claims,
    bytes: Vec<u8>,
}

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// Not of the form.
    #[error("the certificate is not readable: {0}")]
    Form(#[from] cbor::NotCanonical),
    /// One of the two signatures.
    #[error("the {by}'s signature on the certificate does not hold: {why}")]
    Signature {
        /// `member` or `device`.
        by: &'static str,
        /// What is wrong with it.
        why: BadSign1,
    },
    /// Another format version.
    #[error("the certificate has format version {0}: update the app")]
    UnknownVersion(u8),
    /// A genuine one may still be for another group.
    #[error("the certificate is for another group: it has to be made anew, from this group's link")]
    OtherGroup,
}

/// A device's word that it is a certain member's, which that member has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possession {
    claims: Claims,
    bytes: Vec<u8>,
}

impl Possession {
    /// Signs the claim that this device is `member`'s in the group of `scope`.
    pub fn sign(device: &SigningKey, member: MemberId, agreement: [u8; 32], scope: Scope) -> Self {
        let device_id = DeviceId(device.verifying_key().to_bytes());
        let claims = Claims { version: super::header::VERSION, member, device: device_id, agreement, scope };
        Self { claims, bytes: cose::sign(device, Purpose::Possession, cbor::encode(&claims)) }
    }

    /// Reads and checks a device's word for the group of `scope`.
    ///
    /// # Errors
    /// [`BadCertificate`] names what is wrong with it.
    pub fn verify(bytes: &[u8], scope: Scope) -> Result<Self, BadCertificate> {
        Self::read(bytes, Some(scope))
    }

    fn read(bytes: &[u8], scope: Option<Scope>) -> Result<Self, BadCertificate> {
        let by_device = |why| BadCertificate::Signature { by: "device", why };
        let signed = Unverified::parse(bytes).map_err(by_device)?;
        let claims: Claims = cbor::decode(signed.payload())?;
        if claims.version != super::header::VERSION {
            return Err(BadCertificate::UnknownVersion(claims.version));
        }
        if scope.is_some_and(|scope| scope != claims.scope) {
            return Err(BadCertificate::OtherGroup);
        }
        signed.verify(claims.device.as_bytes(), Purpose::Possession).map_err(by_device)?;
        Ok(Self { claims, bytes: bytes.to_vec() })
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The word as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Confirms it with the member's key; none if it names another member.
    pub fn certify(self, member: &SigningKey) -> Option<Certificate> {
        let Self { claims, bytes } = self;
        let bytes = cose::sign(member, Purpose::Certificate, bytes);
        (claims.member.0 == member.verifying_key().to_bytes()).then_some(Certificate { claims, bytes })
    }
}

impl Certificate {
    /// Reads and checks a certificate for the group of `scope`: the member's signature over the device's signature over
    /// the claims.
    ///
    /// # Errors
    /// [`BadCertificate`] names the signature or the form that is wrong, or says that it is for another group.
    pub fn verify(bytes: &[u8], scope: Scope) -> Result<Self, BadCertificate> {
        Self::read(bytes, Some(scope))
    }

    /// Reads and checks a certificate for whatever group it names. It says nothing about belonging to any.
    ///
    /// # Errors
    /// [`BadCertificate`] names the signature or the form that is wrong.
    #[cfg(feature = "device")]
    pub(crate) fn verify_for_any_group(bytes: &[u8]) -> Result<Self, BadCertificate> {
        Self::read(bytes, None)
    }

    fn read(bytes: &[u8], scope: Option<Scope>) -> Result<Self, BadCertificate> {
        let by_member = |why| BadCertificate::Signature { by: "member", why };
        let outer = Unverified::parse(bytes).map_err(by_member)?;
        let Possession { claims, .. } = Possession::read(outer.payload(), scope)?;
        outer.verify(claims.member.as_bytes(), Purpose::Certificate).map_err(by_member)?;
        Ok(Self { claims, bytes: bytes.to_vec() })
    }

    /// Everything in it that is not the same in each of one group: member, device and agreement key, the device's
    /// signature, the member's.
    pub fn pack(&self) -> [u8; PACKED_BYTES] {
        let mut packed = [0; PACKED_BYTES];
        let Claims { member, device, agreement, .. } = &self.claims;
        let inner = Unverified::parse(&self.bytes).map(|outer| (outer.payload(), outer.signature()));
        let (payload, by_member) = inner.unwrap_or((&[], [0; 64]));
        let by_device = Unverified::parse(payload).map_or([0; 64], |inner| inner.signature());
        let parts = [&member.0[..], &device.0, agreement, &by_device, &by_member].concat();
        packed.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        packed
    }

    /// Reads and checks the packed form of a certificate for the group of `scope`.
    ///
    /// # Errors
    /// [`BadCertificate`] names the signature that is wrong: so it is too if the certificate is for another group.
    pub fn unpack(packed: &[u8; PACKED_BYTES], scope: Scope) -> Result<Self, BadCertificate> {
        let (keys, signatures) = packed.split_at(3 * 32);
        let mut keys = keys.iter().copied();
        let mut key = || std::array::from_fn(|_| keys.next().unwrap_or_default());
        let version = super::header::VERSION;
        let (member, device, agreement) = (MemberId(key()), DeviceId(key()), key());
        let claims = Claims { version, member, device, agreement, scope };
        let mut signatures = signatures.iter().copied();
        let mut signature = || std::array::from_fn(|_| signatures.next().unwrap_or_default());
        let inner = cose::assemble(&cbor::encode(&claims), &signature());
        Self::verify(&cose::assemble(&inner, &signature()), scope)
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The certificate as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: Scope = Scope([7; 32]);

    fn keys() -> [SigningKey; 3] {
        [1, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]))
    }

    fn id(key: &SigningKey) -> MemberId {
        MemberId(key.verifying_key().to_bytes())
    }

    #[test]
    fn a_certificate_needs_both_signatures() {
        let [member, device, thief] = keys();
        let good = Possession::sign(&device, id(&member), [4; 32], SCOPE).certify(&member).unwrap();
        assert_eq!(Certificate::verify(good.as_bytes(), SCOPE), Ok(good.clone()));

        assert_eq!(Certificate::unpack(&good.pack(), SCOPE), Ok(good.clone()));
        for at in 0..PACKED_BYTES {
            let mut bent = good.pack();
            bent[at] ^= 1;
            assert!(Certificate::unpack(&bent, SCOPE).is_err(), "byte {at} counts");
        }

        // A member who claims somebody else's device cannot sign for it.
        let claims = Claims { member: id(&thief), ..*good.claims() };
        let claimed = cose::sign(&thief, Purpose::Possession, cbor::encode(&claims));
        let claimed = cose::sign(&thief, Purpose::Certificate, claimed);
        assert!(matches!(
            Certificate::verify(&claimed, SCOPE),
            Err(BadCertificate::Signature { by: "device", .. })
        ));

        // A device that claims to be somebody's is not, until they say so.
        let claim = Possession::sign(&device, id(&member), [4; 32], SCOPE);
        assert_eq!(claim.clone().certify(&thief), None);
        let confirmed = cose::sign(&thief, Purpose::Certificate, claim.as_bytes().to_vec());
        assert!(matches!(
            Certificate::verify(&confirmed, SCOPE),
            Err(BadCertificate::Signature { by: "member", .. })
        ));
    }

    #[test]
    fn certificate_is_valid_in_its_own_group_alone() {
        let [member, device, _] = keys();
        let (own, other) = (Scope::group(GroupId([1; 32])), Scope::group(GroupId([2; 32])));
        let word = Possession::sign(&device, id(&member), [4; 32], own);
        assert_eq!(Possession::verify(word.as_bytes(), own), Ok(word.clone()));
        assert_eq!(Possession::verify(word.as_bytes(), other), Err(BadCertificate::OtherGroup));
        let certificate = word.certify(&member).unwrap();
        assert_eq!(Certificate::verify(certificate.as_bytes(), own), Ok(certificate.clone()));
        assert_eq!(Certificate::verify(certificate.as_bytes(), other), Err(BadCertificate::OtherGroup));
        assert!(matches!(
            Certificate::unpack(&certificate.pack(), other),
            Err(BadCertificate::Signature { .. })
        ));
        // A group whose id somebody grinds to be a founding scope would need a preimage of SHA-256.
        assert_ne!(Scope::founding(&[1; 16]), Scope::founding(&[2; 16]));
    }
}
