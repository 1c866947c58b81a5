//! A coordinator's device signs what a newcomer has committed to, with a number of its own: from then on neither side can
//! choose the short code that both screens show (PROTOCOL.md §4.7).

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::base::cose::{self, BadSign1, Purpose, Unverified};
use crate::base::{DeviceId, GroupId, Hash, MailboxId, cbor};

/// Bytes of the random number that each side adds to a short code.
pub const NONCE_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Claims {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    mailbox: MailboxId,
    #[n(2)]
    commitment: Hash,
    #[n(3)]
    device: DeviceId,
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    nonce: [u8; NONCE_BYTES],
}

/// The signature of a device over one commitment. Which devices may give it, the roll says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Countersignature {
    device: DeviceId,
    bytes: Vec<u8>,
}

/// Why bytes are not the countersignature of a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCountersignature {
    /// Not of the form, or not signed by the device it names.
    #[error("the countersignature does not hold: {0}")]
    Signature(#[from] BadSign1),
    /// Not readable.
    #[error("the countersignature is not readable")]
    Form,
    /// Made for another knock.
    #[error("the countersignature was made for another knock")]
    OtherKnock,
}

impl Countersignature {
    /// Signs a commitment. `nonce` is fresh: a device signs one commitment per mailbox, once.
    pub fn sign(
        key: &SigningKey,
        group: GroupId,
        mailbox: MailboxId,
        commitment: Hash,
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        let device = DeviceId(key.verifying_key().to_bytes());
        let claims = Claims { group, mailbox, commitment, device, nonce };
        Self { device, bytes: cose::sign(key, Purpose::Countersignature, cbor::encode(&claims)) }
    }

    /// Reads and checks the countersignature of this commitment.
    ///
    /// # Errors
    /// [`BadCountersignature`] says what is wrong with it.
    pub fn verify(
        bytes: &[u8],
        group: GroupId,
        mailbox: MailboxId,
        commitment: Hash,
    ) -> Result<Self, BadCountersignature> {
        let signed = Unverified::parse(bytes)?;
        let claims: Claims = cbor::decode(signed.payload()).map_err(|_| BadCountersignature::Form)?;
        if (claims.group, claims.mailbox, claims.commitment) != (group, mailbox, commitment) {
            return Err(BadCountersignature::OtherKnock);
        }
        signed.verify(claims.device.as_bytes(), Purpose::Countersignature)?;
        Ok(Self { device: claims.device, bytes: bytes.to_vec() })
    }

    /// The device that signed.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The countersignature as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countersignature_fits_one_commitment_of_one_mailbox() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (group, mailbox, commitment) = (GroupId([2; 32]), MailboxId([3; 16]), Hash([4; 32]));
        let good = Countersignature::sign(&key, group, mailbox, commitment, [5; NONCE_BYTES]);
        let check = |bytes: &[u8], group, mailbox, commitment| {
            Countersignature::verify(bytes, group, mailbox, commitment)
        };
        assert_eq!(check(good.as_bytes(), group, mailbox, commitment), Ok(good.clone()));
        let other = Err(BadCountersignature::OtherKnock);
        assert_eq!(check(good.as_bytes(), GroupId([9; 32]), mailbox, commitment), other);
        assert_eq!(check(good.as_bytes(), group, MailboxId([9; 16]), commitment), other);
        assert_eq!(check(good.as_bytes(), group, mailbox, Hash([9; 32])), other);
        for at in 0..good.as_bytes().len() {
            let mut bent = good.as_bytes().to_vec();
            bent[at] ^= 1;
            assert!(check(&bent, group, mailbox, commitment).is_err(), "byte {at} counts");
        }
    }
}
