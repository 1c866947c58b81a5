//! A certificate: a member says 'this device is mine', the device says 'I am theirs' (PROTOCOL.md §2.3).

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::base::cose::{self, BadSign1, Purpose, Unverified};
use crate::base::{DeviceId, MemberId, cbor};

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
}

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
}

impl Certificate {
    /// Issues a certificate. Needs both secrets, as neither may claim the other alone.
    pub fn issue(member: &SigningKey, device: &SigningKey, agreement: [u8; 32]) -> Self {
        let claims = Claims {
            version: super::header::VERSION,
            member: MemberId(member.verifying_key().to_bytes()),
            device: DeviceId(device.verifying_key().to_bytes()),
            agreement,
        };
        let inner = cose::sign(member, Purpose::Certificate, cbor::encode(&claims));
        let bytes = cose::sign(device, Purpose::Possession, inner);
        Self { claims, bytes }
    }

    /// Reads and checks a certificate: the device's signature over the member's signature over the claims.
    ///
    /// # Errors
    /// [`BadCertificate`] names the signature or the form that is wrong.
    pub fn verify(bytes: &[u8]) -> Result<Self, BadCertificate> {
        let by = |by| move |why| BadCertificate::Signature { by, why };
        let outer = Unverified::parse(bytes).map_err(by("device"))?;
        let inner = Unverified::parse(outer.payload()).map_err(by("member"))?;
        let claims: Claims = cbor::decode(inner.payload())?;
        if claims.version != super::header::VERSION {
            return Err(BadCertificate::UnknownVersion(claims.version));
        }
        inner.verify(claims.member.as_bytes(), Purpose::Certificate).map_err(by("member"))?;
        outer.verify(claims.device.as_bytes(), Purpose::Possession).map_err(by("device"))?;
        Ok(Self { claims, bytes: bytes.to_vec() })
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

    #[test]
    fn a_certificate_needs_both_signatures() {
        let member = SigningKey::from_bytes(&[1; 32]);
        let device = SigningKey::from_bytes(&[2; 32]);
        let thief = SigningKey::from_bytes(&[3; 32]);
        let good = Certificate::issue(&member, &device, [4; 32]);
        assert_eq!(Certificate::verify(good.as_bytes()), Ok(good.clone()));

        // A member who claims somebody else's device cannot sign for it.
        let inner = cose::sign(
            &thief,
            Purpose::Certificate,
            cbor::encode(&Claims { member: MemberId(thief.verifying_key().to_bytes()), ..*good.claims() }),
        );
        let claimed = cose::sign(&thief, Purpose::Possession, inner);
        assert!(matches!(Certificate::verify(&claimed), Err(BadCertificate::Signature { by: "device", .. })));
    }
}
