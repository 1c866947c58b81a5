//! What a relay signs: 'I hold these since then, and my log had this root at this size' (PROTOCOL.md §5.4).

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::base::cose::{self, Purpose, Unverified};
use crate::base::{EntryHash, GroupId, Incarnation, RelayId, cbor};
use crate::entry::Checkpoint;

/// A relay's word. Without entries it is a bare checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// Who says it.
    #[n(0)]
    pub relay: RelayId,
    /// In which life of its store.
    #[n(1)]
    pub incarnation: Incarnation,
    /// The group.
    #[n(2)]
    pub group: GroupId,
    /// The relay's clock when they arrived, in milliseconds since the Unix epoch.
    #[n(3)]
    pub received_ms: u64,
    /// The entries it keeps, in the order of the push.
    #[n(4)]
    pub entries: Vec<EntryHash>,
    /// All its arrivals in this group, these included.
    #[n(5)]
    pub checkpoint: Checkpoint,
}

/// A receipt whose signature was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    receipt: Receipt,
    bytes: Vec<u8>,
}

/// Why a receipt is worth nothing. Always the relay's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReceipt {
    /// Not readable.
    #[error("the relay's receipt cannot be read")]
    Form,
    /// Not signed by the relay of this session.
    #[error("the relay's receipt is not signed by the relay")]
    Signature,
    /// About something else.
    #[error("the relay's receipt is about another relay, store or group")]
    Other,
}

impl SignedReceipt {
    /// Signs a receipt.
    pub fn sign(key: &SigningKey, receipt: Receipt) -> Self {
        let bytes = cose::sign(key, Purpose::Receipt, cbor::encode(&receipt));
        Self { receipt, bytes }
    }

    /// Reads and checks a receipt of `relay` in its life `incarnation` for `group`.
    ///
    /// # Errors
    /// [`BadReceipt`] if it is not exactly that.
    pub fn verify(
        bytes: &[u8],
        relay: RelayId,
        incarnation: Incarnation,
        group: GroupId,
    ) -> Result<Self, BadReceipt> {
        let sign1 = Unverified::parse(bytes).map_err(|_| BadReceipt::Form)?;
        sign1.verify(relay.as_bytes(), Purpose::Receipt).map_err(|_| BadReceipt::Signature)?;
        let receipt: Receipt = cbor::decode(sign1.payload()).map_err(|_| BadReceipt::Form)?;
        if (receipt.relay, receipt.incarnation, receipt.group) != (relay, incarnation, group) {
            return Err(BadReceipt::Other);
        }
        Ok(Self { receipt, bytes: bytes.to_vec() })
    }

    /// What it says.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The receipt as it travels and is kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
