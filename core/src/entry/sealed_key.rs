//! Keys sealed to a public key, as they travel. Only devices can look inside (PROTOCOL.md §3.1).

use minicbor::{Decode, Encode};

/// 32 secret bytes sealed to one X25519 public key by HPKE base mode (RFC 9180).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealedKey {
    /// The encapsulated key.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub encapsulated: [u8; 32],
    /// 32 bytes of key and 16 of tag.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub ciphertext: [u8; 48],
}

/// Several secrets of 32 bytes under one seal: what a device gets of an operation costs it one agreement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SealedKeys {
    /// The encapsulated key.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub encapsulated: [u8; 32],
    /// 32 bytes for each key, one after the other, and 16 of tag.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
}

impl SealedKeys {
    /// Whether there is room for exactly `keys` of them.
    pub fn holds(&self, keys: usize) -> bool {
        self.ciphertext.len() == keys * 32 + 16
    }
}
