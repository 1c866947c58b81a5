//! An entry as it travels: signed part and detachable body (PROTOCOL.md §2.2).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::header::{self, Header, Kind};
use crate::base::cose::{BadSign1, Purpose, Signer, Unverified};
use crate::base::{CompartmentId, EntryHash, GroupId, cbor, hash, limits};

/// The two byte strings of an entry on the wire and on disk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Wire {
    /// The header as COSE_Sign1.
    #[n(0)]
    pub signed: ByteVec,
    /// The body; absent once it expired or was shredded.
    #[n(1)]
    pub body: Option<ByteVec>,
}

/// Why bytes are not an entry. Nothing was signed wrongly: they are not of this form at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Larger than any entry may be.
    #[error("an entry part of {found} bytes where {allowed} are allowed")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// Not CBOR of the expected shape.
    #[error("{0}")]
    Cbor(#[from] cbor::NotCanonical),
    /// Not COSE_Sign1.
    #[error("{0}")]
    Cose(#[from] BadSign1),
    /// Another format version.
    #[error("the entry has format version {found}, this app reads {}: update the app", header::VERSION)]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// A header that breaks a rule of PROTOCOL.md §2.1.
    #[error("the header breaks a rule: {0}")]
    Rule(&'static str),
    /// The body is not the one the header names.
    #[error("the body is not the one that was signed")]
    BodyMismatch,
    /// The body is absent, and it is of an entry that never loses it.
    #[error("the body is missing, and entries of this kind always have theirs")]
    BodyMissing,
}

/// An entry of correct form. Nobody has checked who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    hash: EntryHash,
    header: Header,
    wire: Wire,
    checked: Checked,
}

/// Whether the signature was verified. Not part of what an entry is: two copies of an entry are equal either way.
#[derive(Clone, Copy, Debug, Default)]
struct Checked(bool);

impl PartialEq for Checked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Checked {}

impl Received {
    /// Checks form, sizes, header rules and the body: that it is the signed one, or absent where it may be.
    ///
    /// # Errors
    /// [`Malformed`] names what is wrong.
    pub fn parse(wire: Wire) -> Result<Self, Malformed> {
        let too_large = |found, allowed| Err(Malformed::TooLarge { found, allowed });
        if wire.signed.len() > limits::SIGNED_BYTES_MAX {
            return too_large(wire.signed.len(), limits::SIGNED_BYTES_MAX);
        }
        if let Some(body) = &wire.body
            && body.len() > limits::BODY_BYTES_MAX
        {
            return too_large(body.len(), limits::BODY_BYTES_MAX);
        }
        let unverified = Unverified::parse(&wire.signed)?;
        if let Some(found) = header::peek_version(unverified.payload())
            && found != header::VERSION
        {
            return Err(Malformed::UnknownVersion { found });
        }
        let header: Header = cbor::decode(unverified.payload())?;
        check_rules(&header).map_err(Malformed::Rule)?;
        if let Some(body) = &wire.body
            && (body.len() as u64 != u64::from(header.body_bytes) || hash::sha256(body) != header.body_hash)
        {
            return Err(Malformed::BodyMismatch);
        }
        // Its hash is that of the whole entry: taken once, it would keep its place from the good copy.
        if wire.body.is_none() && !may_lose_body(&header) {
            return Err(Malformed::BodyMissing);
        }
        let hash = EntryHash(hash::sha256(&wire.signed).0);
        Ok(Self { hash, header, wire, checked: Checked::default() })
    }

    /// Reads what [`Received::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::parse(cbor::decode(bytes)?)
    }

    /// The entry as one CBOR array.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_bytes());
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the entry as one CBOR array.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        cbor::encode_into(&self.wire, bytes);
    }

    /// Bytes of the entry as one CBOR array, at most.
    pub fn encoded_bytes(&self) -> usize {
        // Heads: of the array, and of two byte strings of less than 64 KiB and 4 GiB.
        self.bytes() + 1 + 3 + 5
    }

    /// SHA-256 of the signed part. The next entry of the log names it.
    pub fn hash(&self) -> EntryHash {
        self.hash
    }

    /// What the author claims, as far as one may believe it before verification.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The body, if it is still there.
    pub fn body(&self) -> Option<&[u8]> {
        self.wire.body.as_deref().map(|b| b as &[u8])
    }

    /// The entry without its body: proof that it was signed, and nothing of what it says.
    pub fn without_body(mut self) -> Self {
        self.wire.body = None;
        self
    }

    /// The two byte strings.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The group: the one named, or the one this founding entry founds.
    pub fn group(&self) -> GroupId {
        self.header.group.unwrap_or(GroupId(self.hash.0))
    }

    /// Whether this entry founds a group.
    pub fn is_founding(&self) -> bool {
        self.header.group.is_none()
    }

    /// Bytes it takes on the wire, without framing.
    pub fn bytes(&self) -> usize {
        self.wire.signed.len() + self.wire.body.as_ref().map_or(0, |b| b.len())
    }

    /// Checks this one signature, strictly, and remembers that it is good: later checks cost nothing.
    ///
    /// # Errors
    /// As [`Self::verify_signature`].
    pub fn check_signature(&mut self) -> Result<(), BadSign1> {
        self.verify_signature()?;
        self.checked = Checked(true);
        Ok(())
    }

    /// Checks this one signature, strictly.
    ///
    /// # Errors
    /// [`BadSign1`] if the named device did not sign exactly these bytes.
    pub fn verify_signature(&self) -> Result<(), BadSign1> {
        if self.checked.0 {
            return Ok(());
        }
        self.verify_signature_by(&Signer::new(self.header.device.as_bytes())?)
    }

    /// As [`Self::verify_signature`]; `signer` is the key of the named device.
    pub(super) fn verify_signature_by(&self, signer: &Signer) -> Result<(), BadSign1> {
        if self.checked.0 {
            return Ok(());
        }
        Unverified::parse(&self.wire.signed)?.verify_by(signer, Purpose::Entry)
    }
}

/// Whether an entry's body may go, once it expired or was shredded. What the roll, certificates and keys say stays for good:
/// others rest on it.
pub fn may_lose_body(header: &Header) -> bool {
    header.compartment != CompartmentId::ROLL && header.kind.0 >= Kind::SEALED.0
}

/// The rules of PROTOCOL.md §2.1 that need nothing but the header.
fn check_rules(header: &Header) -> Result<(), &'static str> {
    let founding = header.group.is_none();
    if header.suite != header::SUITE {
        return Err("the suite is unknown: update the app");
    }
    if (header.seq == 0) != header.previous.is_none() {
        return Err("the entry before it is named from seq 1 on, and not at 0");
    }
    if founding
        && (header.compartment != CompartmentId::ROLL || header.seq != 0 || header.kind != Kind::OPERATION)
    {
        return Err("only the first operation of a roll may leave out the group");
    }
    if !founding && (header.seq == 0) != (header.kind == Kind::CERTIFICATE) {
        return Err("seq 0 of a log, and only it, is the author's certificate");
    }
    if header.kind == Kind::OPERATION && header.compartment != CompartmentId::ROLL {
        return Err("operations belong into the roll");
    }
    if header.compartment == CompartmentId::ROLL && [Kind::SEALED, Kind::SENDER_KEY].contains(&header.kind) {
        return Err("nothing in the roll is encrypted");
    }
    if header.kind.0 <= Kind::SEALED.0 {
        let keyed = [Kind::SEALED, Kind::SENDER_KEY].contains(&header.kind);
        if keyed != header.epoch.is_some() || (header.kind == Kind::SEALED) != header.commitment.is_some() {
            return Err("epoch and commitment stand where, and only where, the kind needs them");
        }
    }
    if header.body_bytes as usize > limits::BODY_BYTES_MAX {
        return Err("the body is too large");
    }
    if header.roll_heads.len() > limits::ROLL_HEADS_MAX {
        return Err("it cites too many roll heads");
    }
    if !header.roll_heads.is_sorted_by(|a, b| a < b) {
        return Err("roll heads ascend without repetition");
    }
    if header.roll_heads.is_empty() && !founding {
        return Err("it cites no roll head");
    }
    if header.expiry_day.is_some() && !may_lose_body(header) {
        return Err("the roll, certificates and keys do not expire");
    }
    Ok(())
}
