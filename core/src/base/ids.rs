//! Identities: one type each, so that none can stand in for another (PROTOCOL.md §1).

use std::fmt;

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

/// A text that should have been an identity of a certain length in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected_chars} hexadecimal digits, found {found:?}: copy the identity whole")]
pub struct NotAnId {
    /// How many digits it takes.
    pub expected_chars: usize,
    /// What was found, shortened.
    pub found: String,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first four bytes in hexadecimal: enough for people to tell two apart on a screen.
            pub fn short(&self) -> String {
                self.0.iter().take(4).map(|b| format!("{b:02x}")).collect()
            }

            /// Reads what `Display` wrote.
            ///
            /// # Errors
            /// [`NotAnId`] unless the text is exactly this identity in lowercase or uppercase hexadecimal.
            pub fn parse(text: &str) -> Result<Self, NotAnId> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), self.short())
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                d.bytes()?
                    .try_into()
                    .map(Self)
                    .map_err(|_| DecodeError::message(concat!("wrong length of ", stringify!($name))).at(at))
            }
        }
    };
}

byte_id!(
    /// A watch group: SHA-256 of its founding entry.
    GroupId, 32
);
byte_id!(
    /// A person's standing in one group: an Ed25519 public key.
    MemberId, 32
);
byte_id!(
    /// One installation of the app in one group: an Ed25519 public key.
    DeviceId, 32
);
byte_id!(
    /// A relay: the Ed25519 public key that signs its receipts.
    RelayId, 32
);
byte_id!(
    /// One life of a relay's store. A new one tells phones that the old arrivals are gone.
    Incarnation, 16
);
byte_id!(
    /// SHA-256 of an entry's signed bytes.
    EntryHash, 32
);
byte_id!(
    /// Any other SHA-256.
    Hash, 32
);
byte_id!(
    /// A chunk of a file: SHA-256 of its ciphertext (PROTOCOL.md §3.6).
    ChunkId, 32
);
byte_id!(
    /// A document: an 8-byte nonce and 16 bytes that bind it to the member who created it (PROTOCOL.md §6.2).
    DocumentId, 24
);

byte_id!(
    /// An invitation, and its mailbox at a relay: derived from the invitation's secret (PROTOCOL.md §4.7).
    MailboxId, 16
);

/// An audience, numbered by the group's founding template. 0 is always the roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct CompartmentId(#[n(0)] pub u8);

impl CompartmentId {
    /// The compartment that says who belongs. The relay reads it too.
    pub const ROLL: Self = Self(0);
}

impl fmt::Display for CompartmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A role, numbered by the group's founding template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RoleId(#[n(0)] pub u8);

/// One generation of a compartment's key pair: its number and the start of its public key's hash.
///
/// Ordered by number, then key: the greatest of concurrent epochs is the one to write under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId {
    /// Counts up from 0 with each rotation.
    pub number: u32,
    /// First 16 bytes of the domain-separated SHA-256 of the epoch's X25519 public key.
    pub key: [u8; 16],
}

impl EpochId {
    /// Names the epoch `number` with this X25519 public key.
    pub fn of(number: u32, public: &[u8; 32]) -> Self {
        let hash = super::hash::tagged(b"lamppost/1/epoch", &[public]);
        let mut key = [0; 16];
        key.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
        Self { number, key }
    }

    /// The 20 bytes that stand for this epoch in key derivations: number (big-endian), key.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes
            .iter_mut()
            .zip(self.number.to_be_bytes().into_iter().chain(self.key))
            .for_each(|(to, from)| *to = from);
        bytes
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({}, {:02x}{:02x}…)", self.number, self.key[0], self.key[1])
    }
}

impl<C> Encode<C> for EpochId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?.u32(self.number)?.bytes(&self.key)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for EpochId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        if d.array()? != Some(2) {
            return Err(DecodeError::message("an epoch is [number, key]").at(at));
        }
        let number = d.u32()?;
        let key =
            d.bytes()?.try_into().map_err(|_| DecodeError::message("an epoch key has 16 bytes").at(at))?;
        Ok(Self { number, key })
    }
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], NotAnId> {
    let refuse = || NotAnId { expected_chars: N * 2, found: text.chars().take(80).collect() };
    if text.len() != N * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refuse());
    }
    let mut bytes = [0; N];
    for (to, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
        *to = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_shows() {
        let id = DocumentId([0xa7; 24]);
        assert_eq!(DocumentId::parse(&id.to_string()), Ok(id));
        assert!(DocumentId::parse("a7").is_err());
        assert!(DocumentId::parse(&"zz".repeat(24)).is_err());
        assert!(DocumentId::parse(&"é".repeat(24)).is_err());
    }

    #[test]
    fn epochs_order_by_number_before_key() {
        let low = EpochId { number: 1, key: [9; 16] };
        let high = EpochId { number: 2, key: [0; 16] };
        assert!(low < high);
    }
}
