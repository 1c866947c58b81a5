//! The proof that opens a session, and the key that signs it while a phone is locked (PROTOCOL.md §5.2).
//!
//! A device's own key signs entries, and lies under the PIN. So that a locked phone can send what is sealed and fetch
//! ciphertext, the device vouches for a session key, which signs proofs and nothing else.

use ed25519_dalek::SigningKey;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::frame::Proof;
use crate::base::cbor;
use crate::base::cose::{self, BadSign1, Purpose, Unverified};

/// A device's word that this key speaks for it to relays.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Claims {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    key: [u8; 32],
}

/// A key that opens sessions for a device, with the device's word for it.
#[derive(Clone)]
pub struct SessionKey {
    key: SigningKey,
    word: Vec<u8>,
}

impl SessionKey {
    /// Lets `device` vouch for `key`.
    pub fn vouch(device: &SigningKey, key: SigningKey) -> Self {
        let claims = Claims { key: key.verifying_key().to_bytes() };
        let word = cose::sign(device, Purpose::SessionKey, cbor::encode(&claims));
        Self { key, word }
    }

    /// The key of this secret, and what its device said of it.
    pub fn restored(secret: &[u8; 32], word: Vec<u8>) -> Self {
        Self { key: SigningKey::from_bytes(secret), word }
    }

    /// The secret of the key.
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The device's word, a COSE_Sign1.
    pub fn word(&self) -> &[u8] {
        &self.word
    }

    /// Signs a proof, and adds the device's word to it.
    pub fn prove(&self, proof: Proof) -> Vec<u8> {
        let proof = Proof { word: Some(ByteVec::from(self.word.clone())), ..proof };
        cose::sign(&self.key, Purpose::Session, cbor::encode(&proof))
    }
}

impl Proof {
    /// Checks that this proof, which stands in `signed`, was signed by its device, or by a key that the device vouches for.
    ///
    /// # Errors
    /// [`BadSign1`].
    pub fn verify(&self, signed: &Unverified<'_>) -> Result<(), BadSign1> {
        let Some(word) = &self.word else { return signed.verify(self.device.as_bytes(), Purpose::Session) };
        let word = Unverified::parse(word)?;
        let claims: Claims = cbor::decode(word.payload()).map_err(|_| BadSign1::Form)?;
        signed.verify(&claims.key, Purpose::Session)?;
        word.verify(self.device.as_bytes(), Purpose::SessionKey)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::base::{DeviceId, GroupId, RelayId};

    fn proof(device: &SigningKey) -> Proof {
        let device = DeviceId(device.verifying_key().to_bytes());
        Proof {
            version: 1,
            nonce: [1; 32],
            relay: RelayId([2; 32]),
            group: GroupId([3; 32]),
            device,
            word: None,
        }
    }

    fn accepted(bytes: &[u8]) -> bool {
        let signed = Unverified::parse(bytes).unwrap();
        cbor::decode::<Proof>(signed.payload()).unwrap().verify(&signed).is_ok()
    }

    #[test]
    fn a_session_key_speaks_for_the_device_that_vouched_for_it_alone() {
        let [device, other, session, thief] = [1, 2, 3, 4].map(|seed| SigningKey::from_bytes(&[seed; 32]));
        let key = SessionKey::vouch(&device, session.clone());
        assert!(accepted(&key.prove(proof(&device))));
        let restored = SessionKey::restored(&key.secret(), key.word().to_vec());
        assert!(accepted(&restored.prove(proof(&device))));
        assert!(accepted(&cose::sign(&device, Purpose::Session, cbor::encode(&proof(&device)))));
        // For another device, by a key that nobody vouched for, or with a word that vouches for another.
        assert!(!accepted(&key.prove(proof(&other))));
        assert!(!accepted(&cose::sign(&session, Purpose::Session, cbor::encode(&proof(&device)))));
        let taken = SessionKey::restored(&[4; 32], key.word().to_vec());
        assert!(!accepted(&taken.prove(proof(&device))));
        assert!(!accepted(&SessionKey::vouch(&thief, session.clone()).prove(proof(&device))));
        // A word is no proof, and a session key is no device: what it signs is no entry and vouches for nobody.
        let vouched_by_session = SessionKey::vouch(&session, thief);
        assert!(!accepted(&vouched_by_session.prove(proof(&device))));
        let word = Unverified::parse(key.word()).unwrap();
        for purpose in [Purpose::Entry, Purpose::Possession, Purpose::Certificate, Purpose::Session] {
            assert!(word.verify(&device.verifying_key().to_bytes(), purpose).is_err());
        }
    }
}
