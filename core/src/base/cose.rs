//! COSE_Sign1 with Ed25519 (RFC 9052, RFC 9053), in the one form Lamppost allows (PROTOCOL.md §1.3).

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// What a signature is for: the external data it also covers, so that none can be replayed as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An entry's header.
    Entry,
    /// A member's word that a device is theirs.
    Certificate,
    /// A device's word that it is that member's.
    Possession,
    /// The answer to a relay's challenge.
    Session,
    /// A relay's receipt or checkpoint.
    Receipt,
}

impl Purpose {
    /// The external additional data of the signature.
    pub fn context(self) -> &'static [u8] {
        match self {
            Self::Entry => b"lamppost/1/entry",
            Self::Certificate => b"lamppost/1/certificate",
            Self::Possession => b"lamppost/1/possession",
            Self::Session => b"lamppost/1/session",
            Self::Receipt => b"lamppost/1/receipt",
        }
    }
}

/// Why bytes are not a valid signature of the expected key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSign1 {
    /// Not COSE_Sign1 in the one allowed form.
    #[error("not a COSE_Sign1 of the expected form")]
    Form,
    /// The key is not a point that may sign.
    #[error("the signer's identity is not a usable Ed25519 key")]
    Key,
    /// The signature does not verify.
    #[error("the signature is not the named signer's")]
    Signature,
}

/// A signer's public key, read once: finding the point costs a tenth of a verification.
pub struct Signer(VerifyingKey);

impl Signer {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`BadSign1::Key`] if it is not a point.
    pub fn new(public: &[u8; 32]) -> Result<Self, BadSign1> {
        VerifyingKey::from_bytes(public).map(Self).map_err(|_| BadSign1::Key)
    }
}

/// A COSE_Sign1 whose form was checked and whose signature was not.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified(CoseSign1);

impl Unverified {
    /// Reads the one allowed form: protected `{1: -8}`, nothing unprotected, payload attached, 64 bytes of signature.
    ///
    /// # Errors
    /// [`BadSign1::Form`] for any other bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSign1> {
        let sign1 = CoseSign1::from_slice(bytes).map_err(|_| BadSign1::Form)?;
        let expected = CoseSign1Builder::new()
            .protected(protected())
            .payload(sign1.payload.clone().ok_or(BadSign1::Form)?)
            .signature(sign1.signature.clone())
            .build();
        let canonical = expected.to_vec().map_err(|_| BadSign1::Form)?;
        if canonical != bytes || sign1.signature.len() != Signature::BYTE_SIZE {
            return Err(BadSign1::Form);
        }
        Ok(Self(sign1))
    }

    /// What was signed, as far as one may believe it before [`Self::verify`].
    pub fn payload(&self) -> &[u8] {
        self.0.payload.as_deref().unwrap_or_default()
    }

    /// Checks the signature strictly: no small-order keys, no malleable forms.
    ///
    /// # Errors
    /// [`BadSign1::Key`] or [`BadSign1::Signature`].
    pub fn verify(&self, signer: &[u8; 32], purpose: Purpose) -> Result<(), BadSign1> {
        self.verify_by(&Signer::new(signer)?, purpose)
    }

    /// As [`Self::verify`], for a signer whose key was read before.
    ///
    /// # Errors
    /// [`BadSign1::Signature`], or [`BadSign1::Form`] if there are not 64 bytes of it.
    pub fn verify_by(&self, signer: &Signer, purpose: Purpose) -> Result<(), BadSign1> {
        let signature = Signature::from_slice(&self.0.signature).map_err(|_| BadSign1::Form)?;
        let key = &signer.0;
        key.verify_strict(&self.0.tbs_data(purpose.context()), &signature).map_err(|_| BadSign1::Signature)
    }
}

/// Signs `payload` and returns the COSE_Sign1.
pub fn sign(key: &SigningKey, purpose: Purpose, payload: Vec<u8>) -> Vec<u8> {
    let sign1 = CoseSign1Builder::new()
        .protected(protected())
        .payload(payload)
        .create_signature(purpose.context(), |tbs| key.sign(tbs).to_vec())
        .build();
    #[expect(clippy::expect_used, reason = "see its text")]
    sign1.to_vec().expect("serialising works because every field is set")
}

fn protected() -> coset::Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_for_one_key_and_one_purpose() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let bytes = sign(&key, Purpose::Entry, b"words".to_vec());
        let sign1 = Unverified::parse(&bytes).unwrap();
        let public = key.verifying_key().to_bytes();
        assert_eq!(sign1.payload(), b"words");
        assert_eq!(sign1.verify(&public, Purpose::Entry), Ok(()));
        assert_eq!(sign1.verify(&public, Purpose::Session), Err(BadSign1::Signature));
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
        assert_eq!(sign1.verify(&other, Purpose::Entry), Err(BadSign1::Signature));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let bytes = sign(&key, Purpose::Entry, b"words".to_vec());
        for at in 0..bytes.len() * 8 {
            let mut bent = bytes.clone();
            bent[at / 8] ^= 1 << (at % 8);
            let verdict = Unverified::parse(&bent).and_then(|s| s.verify(&public, Purpose::Entry));
            assert!(verdict.is_err(), "bit {at}");
        }
    }

    #[test]
    fn small_order_keys_sign_nothing() {
        // The identity point as a key accepts a zero signature under the lax equation.
        let mut identity = [0; 32];
        identity[0] = 1;
        let key = SigningKey::from_bytes(&[7; 32]);
        let bytes = sign(&key, Purpose::Entry, b"words".to_vec());
        let sign1 = Unverified::parse(&bytes).unwrap();
        assert!(sign1.verify(&identity, Purpose::Entry).is_err());
    }
}
