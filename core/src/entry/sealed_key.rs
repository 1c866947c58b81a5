//! A key sealed to a public key, as it travels. Only devices can look inside (PROTOCOL.md §3.1).

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
