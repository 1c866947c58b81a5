//! COSE_Sign1 with Ed25519 (RFC 9052, RFC 9053), in the one form Lamppost allows (PROTOCOL.md §1.3).

use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::bytes::ByteSlice;
use minicbor::{Decode, Encode};

use super::cbor;

/// The protected header: `{1: -8}`.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x27];

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
    /// A device's word that a key may answer for it.
    SessionKey,
    /// A relay's receipt or checkpoint.
    Receipt,
    /// A coordinator's device's answer to a newcomer's commitment.
    Countersignature,
}

impl Purpose {
    /// The external additional data of the signature.
    pub fn context(self) -> &'static [u8] {
        match self {
            Self::Entry => b"lamppost/1/entry",
            Self::Certificate => b"lamppost/1/certificate",
            Self::Possession => b"lamppost/1/possession",
            Self::Session => b"lamppost/1/session",
            Self::SessionKey => b"lamppost/1/session-key",
            Self::Receipt => b"lamppost/1/receipt",
            Self::Countersignature => b"lamppost/1/countersignature",
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

/// The one allowed form: protected `{1: -8}` (EdDSA), nothing unprotected, payload attached, 64 bytes of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Sign1<'a> {
    #[b(0)]
    protected: &'a ByteSlice,
    #[n(1)]
    unprotected: Nothing,
    #[b(2)]
    payload: &'a ByteSlice,
    #[b(3)]
    signature: &'a ByteSlice,
}

/// An empty map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Nothing {}

/// What is signed (RFC 9052 §4.4).
#[derive(Encode)]
#[cbor(array)]
struct SigStructure<'a> {
    #[n(0)]
    context: &'a str,
    #[n(1)]
    protected: &'a ByteSlice,
    #[n(2)]
    external: &'a ByteSlice,
    #[n(3)]
    payload: &'a ByteSlice,
}

/// A COSE_Sign1 whose form was checked and whose signature was not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unverified<'a> {
    payload: &'a [u8],
    signature: Signature,
}

impl<'a> Unverified<'a> {
    /// Reads the one allowed form: protected `{1: -8}`, nothing unprotected, payload attached, 64 bytes of signature.
    ///
    /// # Errors
    /// [`BadSign1::Form`] for any other bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BadSign1> {
        let sign1: Sign1<'a> = cbor::decode(bytes).map_err(|_| BadSign1::Form)?;
        if **sign1.protected != PROTECTED {
            return Err(BadSign1::Form);
        }
        let signature = Signature::from_slice(sign1.signature).map_err(|_| BadSign1::Form)?;
        Ok(Self { payload: sign1.payload, signature })
    }

    /// What was signed, as far as one may believe it before [`Self::verify`].
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The signature's 64 bytes.
    pub fn signature(&self) -> [u8; 64] {
        self.signature.to_bytes()
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
    /// [`BadSign1::Signature`].
    pub fn verify_by(&self, signer: &Signer, purpose: Purpose) -> Result<(), BadSign1> {
        let structure = SigStructure {
            context: "Signature1",
            protected: (&PROTECTED[..]).into(),
            external: purpose.context().into(),
            payload: self.payload.into(),
        };
        let mut signed = Vec::with_capacity(self.payload.len() + 64);
        cbor::encode_into(&structure, &mut signed);
        signer.0.verify_strict(&signed, &self.signature).map_err(|_| BadSign1::Signature)
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

/// Puts a COSE_Sign1 together of a payload and a signature that somebody made before. Proves nothing: see
/// [`Unverified::verify`].
pub fn assemble(payload: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let (protected, signature) = (PROTECTED[..].into(), signature[..].into());
    cbor::encode(&Sign1 { protected, unprotected: Nothing {}, payload: payload.into(), signature })
}

fn protected() -> coset::Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build()
}

#[cfg(test)]
mod tests {
    use coset::CoseSign1;
    use proptest::prelude::*;

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

    proptest! {
        /// A library that knows nothing of our one form agrees on every form that is taken, and on every signature.
        #[test]
        fn what_is_taken_is_what_the_library_writes(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            bent in any::<(u16, u8)>(),
        ) {
            let key = SigningKey::from_bytes(&[7; 32]);
            let mut bytes = sign(&key, Purpose::Entry, payload.clone());
            prop_assert_eq!(Unverified::parse(&bytes).unwrap().payload(), &payload);
            let at = usize::from(bent.0) % bytes.len();
            bytes[at] = bent.1;
            let library = CoseSign1::from_slice(&bytes).ok().filter(|sign1| {
                sign1.protected.header == protected()
                    && sign1.unprotected.is_empty()
                    && sign1.signature.len() == 64
                    && sign1.clone().to_vec().is_ok_and(|written| written == bytes)
            });
            let ours = Unverified::parse(&bytes);
            prop_assert_eq!(ours.is_ok(), library.as_ref().is_some_and(|sign1| sign1.payload.is_some()));
            if let (Ok(ours), Some(library)) = (ours, library) {
                let public = key.verifying_key();
                prop_assert_eq!(Some(ours.payload()), library.payload.as_deref());
                let theirs = library.verify_signature(Purpose::Entry.context(), |signature, signed| {
                    public.verify_strict(signed, &Signature::from_slice(signature).unwrap())
                });
                prop_assert_eq!(ours.verify(public.as_bytes(), Purpose::Entry).is_ok(), theirs.is_ok());
            }
        }

        #[test]
        fn a_length_has_one_form(payload in proptest::collection::vec(any::<u8>(), 24..200)) {
            let bytes = sign(&SigningKey::from_bytes(&[7; 32]), Purpose::Entry, payload);
            let long = [&bytes[..6], &[0x59, 0x00], &bytes[7..]].concat();
            prop_assert_eq!(Unverified::parse(&long), Err(BadSign1::Form));
            let behind = [bytes.as_slice(), &[0]].concat();
            prop_assert_eq!(Unverified::parse(&behind), Err(BadSign1::Form));
        }
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
