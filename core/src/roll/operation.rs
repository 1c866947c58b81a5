//! The operations of the roll, as they stand in entry bodies (PROTOCOL.md §4.2).

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use crate::base::hash::tagged;
use crate::base::{
    CompartmentId, DeviceId, DocumentId, EntryHash, EpochId, GroupId, Hash, MailboxId, MemberId, RoleId,
    Template, limits,
};
use crate::entry::{LogHead, LogId, Scope, SealedKey, SealedKeys};

/// One change of who belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Founds the group.
    Found(Founding),
    /// Gives a member a role, and optionally brings their devices and keys along.
    Admit(Admission),
    /// Begins epochs and hands out their keys.
    KeyUpdate(KeyUpdate),
    /// Takes a member or a device out.
    Remove(Removal),
    /// Sets what the group has agreed on.
    Policy(Policy),
    /// Lets entries count although a removal cut them off.
    Accept(Acceptance),
    /// Gives a member who lost every device a new key and a new device.
    Recover(Recovery),
    /// Enters a device of the author's own member.
    Certify(Certification),
    /// Keeps entries from losing their bodies.
    Hold(Hold),
    /// Takes the bodies of entries away, everywhere.
    Shred(Shred),
    /// Ends holds.
    EndHold(EndHold),
    /// Takes back what the author's member proposed.
    Withdraw(Withdrawal),
    /// An operation of a later version: kept, passed on, without effect.
    Unknown {
        /// Its number.
        number: u8,
        /// Its canonical CBOR.
        cbor: Vec<u8>,
    },
}

/// The first entry of a group.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Founding {
    /// Roles and compartments.
    #[n(0)]
    pub template: Template,
    /// The founder's role. It must govern.
    #[n(1)]
    pub role: RoleId,
    /// The founder's certificate.
    #[n(2)]
    pub certificate: ByteVec,
    /// Epoch 0 of each compartment that the founder reads.
    #[n(3)]
    pub keys: KeyUpdate,
    /// Random: two groups founded alike differ.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 16],
}

/// A member's role.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admission {
    /// Who.
    #[n(0)]
    pub member: MemberId,
    /// As what. A later admission of a member who does not govern changes the role.
    #[n(1)]
    pub role: RoleId,
    /// Certificates of their devices.
    #[n(2)]
    pub certificates: Vec<ByteVec>,
    /// Keys for these devices.
    #[n(3)]
    pub keys: KeyUpdate,
    /// The invitation that the member came with: it is used up.
    #[n(4)]
    pub invitation: Option<MailboxId>,
}

/// New epochs, and epoch keys for devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyUpdate {
    /// Epochs that begin.
    #[n(0)]
    pub rotations: Vec<Rotation>,
    /// Epochs whose private keys are handed out, ascending: what the masks of the grants speak of.
    #[n(1)]
    pub epochs: Vec<EpochName>,
    /// Who gets which of them.
    #[n(2)]
    pub grants: Vec<Grant>,
}

/// A compartment and one of its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct EpochName {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The epoch.
    #[n(1)]
    pub epoch: EpochId,
}

/// Private keys of epochs, sealed to one device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Grant {
    /// The device that can open it.
    #[n(0)]
    pub device: DeviceId,
    /// Bit i: the key of `epochs[i]` is inside. Their keys stand in that order.
    #[n(1)]
    pub mask: u32,
    /// The keys under one seal.
    #[n(2)]
    pub sealed: SealedKeys,
}

/// A new epoch of one compartment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rotation {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// One more than the epoch before.
    #[n(1)]
    pub number: u32,
    /// The epoch's X25519 public key.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub public: [u8; 32],
    /// The private key of the epoch before, sealed to this one. Absent where newcomers may not read back.
    #[n(3)]
    pub previous: Option<PreviousKey>,
}

/// The link back from an epoch to the one before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PreviousKey {
    /// The epoch before.
    #[n(0)]
    pub epoch: EpochId,
    /// Its private key under the new public key.
    #[n(1)]
    pub sealed: SealedKey,
}

/// The end of a member's or a device's belonging.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Removal {
    /// Who or what goes.
    #[n(0)]
    pub target: Target,
    /// How far the logs of the devices that go count, of those that its author can read. A log without a mark does not
    /// count at all.
    #[n(1)]
    pub marks: Vec<Watermark>,
    /// New epochs of what they could read.
    #[n(2)]
    pub keys: KeyUpdate,
}

/// Whom a removal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Target {
    /// A member, with every device.
    #[n(0)]
    Member(#[n(0)] MemberId),
    /// One device.
    #[n(1)]
    Device(#[n(0)] DeviceId),
}

/// How far a log counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Watermark {
    /// The log.
    #[n(0)]
    pub log: LogId,
    /// Its last entry that counts.
    #[n(1)]
    pub head: LogHead,
}

/// What a group has agreed on, by number. Unknown numbers are kept and have no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Policy {
    /// Setting to value.
    #[n(0)]
    pub settings: BTreeMap<u16, u64>,
}

/// Entries that count although a removal cut them off.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Acceptance {
    /// Their hashes, ascending.
    #[n(0)]
    pub entries: Vec<EntryHash>,
}

/// A new key for a member, in place of the one that is lost. Their devices so far go; the role stays.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recovery {
    /// Whose.
    #[n(0)]
    pub member: MemberId,
    /// The certificate of their new device, by their new key.
    #[n(1)]
    pub certificate: ByteVec,
    /// As in a [`Removal`] of every device so far.
    #[n(2)]
    pub marks: Vec<Watermark>,
    /// New epochs of what the old devices could read, and keys for the new one.
    #[n(3)]
    pub keys: KeyUpdate,
}

/// One more device of the author's own member, or a device that enters itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certification {
    /// The device's certificate.
    #[n(0)]
    pub certificate: ByteVec,
    /// Keys for that device alone.
    #[n(1)]
    pub keys: KeyUpdate,
}

/// Entries whose bodies stay, whatever their expiry says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hold {
    /// Their hashes, ascending.
    #[n(0)]
    pub entries: Vec<EntryHash>,
    /// Why, as a number of [`hold_reasons`]: the relay reads it, so it is no text.
    #[n(1)]
    pub reason: u8,
    /// The last day, since the Unix epoch, on which it keeps them; absent for until it is ended.
    #[n(2)]
    pub until_day: Option<u32>,
}

/// Why entries are held (PROTOCOL.md §4.9). Others are of a later version, and hold as well.
pub mod hold_reasons {
    /// Somebody asked for them by law: a court, a request for records.
    pub const LEGAL: u8 = 1;
    /// Somebody contests or complains of what they say.
    pub const DISPUTE: u8 = 2;
    /// They are part of a case.
    pub const CASE: u8 = 3;
    /// A release was made of them: they prove its sources.
    pub const RELEASE: u8 = 4;
    /// They were reviewed and are still needed.
    pub const REVIEWED: u8 = 5;
}

/// Entries whose bodies everybody drops.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Shred {
    /// Their places and hashes, ascending by log and number.
    #[n(0)]
    pub entries: Vec<Watermark>,
    /// [`Shred::name`] of the document that they make up: nothing is added to it any more.
    #[n(1)]
    pub document: Option<Hash>,
}

impl Shred {
    /// The name of a document in a shred. Who does not know the document's identity learns nothing from it.
    pub fn name(document: DocumentId) -> Hash {
        tagged(b"lamppost/1/shred", &[document.as_bytes()])
    }
}

/// Holds that end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EndHold {
    /// The entries of the roll that are the holds, ascending. Others of the same entries go on.
    #[n(0)]
    pub holds: Vec<EntryHash>,
}

/// Removals and recoveries that the author's member proposed and does not want any more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Withdrawal {
    /// The hashes of the removals and recoveries, ascending. Those of other members stay as they are.
    #[n(0)]
    pub proposals: Vec<EntryHash>,
}

impl Rotation {
    /// The name of the epoch it begins.
    pub fn epoch(&self) -> EpochId {
        EpochId::of(self.number, &self.public)
    }
}

impl KeyUpdate {
    /// The epochs that a grant holds the keys of, in the order of the keys.
    pub fn granted(&self, grant: &Grant) -> Vec<EpochName> {
        let named = self.epochs.iter().enumerate();
        named.filter(|(at, _)| grant.mask >> at & 1 == 1).map(|(_, name)| *name).collect()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.rotations.is_empty() && self.grants.is_empty()
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.rotations.len() > limits::TEMPLATE_ROWS_MAX {
            return Err("too many rotations in one operation");
        }
        if self.epochs.len() > limits::GRANTED_EPOCHS_MAX || !self.epochs.is_sorted_by(|a, b| a < b) {
            return Err("too many epochs in one operation, or not in order");
        }
        if self.grants.len() > limits::GRANTS_MAX {
            return Err("too many grants in one operation");
        }
        let fits = |grant: &Grant| {
            let named = grant.mask.count_ones() as usize;
            let count = u32::try_from(self.epochs.len()).unwrap_or(u32::MAX);
            let beyond = grant.mask.checked_shr(count).unwrap_or(0);
            named > 0 && beyond == 0 && grant.sealed.holds(named)
        };
        if !self.grants.iter().all(fits) {
            return Err("a grant does not hold the keys that it names");
        }
        Ok(())
    }
}

const FOUND: u8 = 0;
const ADMIT: u8 = 1;
const KEY_UPDATE: u8 = 2;
const REMOVE: u8 = 3;
const POLICY: u8 = 4;
const ACCEPT: u8 = 5;
const RECOVER: u8 = 6;
const CERTIFY: u8 = 7;
const HOLD: u8 = 8;
const SHRED: u8 = 9;
const END_HOLD: u8 = 10;
const WITHDRAW: u8 = 11;

impl Operation {
    /// Checks the ceilings. The canonical form is checked where the body is decoded.
    ///
    /// # Errors
    /// The name of the ceiling that is exceeded, or of the rule that is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        if let Some(keys) = self.keys() {
            keys.check()?;
        }
        match self {
            Self::Found(founding) => {
                founding.template.check().map_err(|_| "the founding template breaks its rules")?;
                if !founding.template.governs(founding.role) {
                    return Err("the founder's role does not govern");
                }
                Ok(())
            }
            Self::Admit(admission) if admission.certificates.len() > limits::CERTIFICATES_MAX => {
                Err("too many certificates in one admission")
            }
            Self::Remove(Removal { marks, .. }) | Self::Recover(Recovery { marks, .. }) => {
                if marks.len() > limits::WATERMARKS_MAX || !marks.is_sorted_by(|a, b| a.log < b.log) {
                    return Err("too many watermarks in one operation, or not in order");
                }
                Ok(())
            }
            Self::Policy(policy) if policy.settings.len() > limits::SETTINGS_MAX => {
                Err("too many settings in one policy")
            }
            Self::Accept(acceptance) => {
                if acceptance.entries.len() > limits::ACCEPTED_MAX
                    || !acceptance.entries.is_sorted_by(|a, b| a < b)
                {
                    return Err("too many entries in one acceptance, or not in order");
                }
                Ok(())
            }
            Self::Withdraw(Withdrawal { proposals }) => {
                if proposals.len() > limits::HELD_MAX || !proposals.is_sorted_by(|a, b| a < b) {
                    return Err("too many proposals in one withdrawal, or not in order");
                }
                Ok(())
            }
            Self::Hold(Hold { entries: named, .. }) | Self::EndHold(EndHold { holds: named }) => {
                if named.len() > limits::HELD_MAX || !named.is_sorted_by(|a, b| a < b) {
                    return Err("too many entries in one hold or its end, or not in order");
                }
                Ok(())
            }
            Self::Shred(shred) => {
                let place = |named: &Watermark| (named.log, named.head.seq);
                if shred.entries.len() > limits::SHREDDED_MAX
                    || !shred.entries.is_sorted_by(|a, b| place(a) < place(b))
                {
                    return Err("too many entries in one shred, or not in order");
                }
                if shred.entries.is_empty() && shred.document.is_none() {
                    return Err("a shred that names neither an entry nor a document");
                }
                Ok(())
            }
            Self::Certify(certification) if !certification.keys.rotations.is_empty() => {
                Err("entering a device begins no epoch")
            }
            Self::Admit(_)
            | Self::KeyUpdate(_)
            | Self::Policy(_)
            | Self::Certify(_)
            | Self::Unknown { .. } => Ok(()),
        }
    }

    /// The epochs it begins and the keys it hands out.
    pub fn keys(&self) -> Option<&KeyUpdate> {
        match self {
            Self::Found(founding) => Some(&founding.keys),
            Self::Admit(admission) => Some(&admission.keys),
            Self::KeyUpdate(keys) => Some(keys),
            Self::Remove(removal) => Some(&removal.keys),
            Self::Recover(recovery) => Some(&recovery.keys),
            Self::Certify(certification) => Some(&certification.keys),
            Self::Policy(_)
            | Self::Accept(_)
            | Self::Hold(_)
            | Self::Shred(_)
            | Self::EndHold(_)
            | Self::Withdraw(_)
            | Self::Unknown { .. } => None,
        }
    }

    /// As [`Operation::keys`], to take out what has no effect.
    pub(super) fn keys_mut(&mut self) -> Option<&mut KeyUpdate> {
        match self {
            Self::Found(founding) => Some(&mut founding.keys),
            Self::Admit(admission) => Some(&mut admission.keys),
            Self::KeyUpdate(keys) => Some(keys),
            Self::Remove(removal) => Some(&mut removal.keys),
            Self::Recover(recovery) => Some(&mut recovery.keys),
            Self::Certify(certification) => Some(&mut certification.keys),
            Self::Policy(_)
            | Self::Accept(_)
            | Self::Hold(_)
            | Self::Shred(_)
            | Self::EndHold(_)
            | Self::Withdraw(_)
            | Self::Unknown { .. } => None,
        }
    }

    /// The scope of the certificates that it carries in the roll of `group`. One that repeats the founding entry's
    /// certificate has that one's scope instead.
    pub fn scope(&self, group: GroupId) -> Scope {
        if let Self::Found(founding) = self { Scope::founding(&founding.nonce) } else { Scope::group(group) }
    }

    /// The certificates it carries.
    pub fn certificates(&self) -> &[ByteVec] {
        match self {
            Self::Found(founding) => std::slice::from_ref(&founding.certificate),
            Self::Admit(admission) => &admission.certificates,
            Self::Recover(recovery) => std::slice::from_ref(&recovery.certificate),
            Self::Certify(certification) => std::slice::from_ref(&certification.certificate),
            Self::KeyUpdate(_)
            | Self::Remove(_)
            | Self::Policy(_)
            | Self::Accept(_)
            | Self::Hold(_)
            | Self::Shred(_)
            | Self::EndHold(_)
            | Self::Withdraw(_)
            | Self::Unknown { .. } => &[],
        }
    }
}

impl<C> Encode<C> for Operation {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?;
        match self {
            Self::Found(founding) => e.u8(FOUND)?.encode_with(founding, ctx)?.ok(),
            Self::Admit(admission) => e.u8(ADMIT)?.encode_with(admission, ctx)?.ok(),
            Self::KeyUpdate(keys) => e.u8(KEY_UPDATE)?.encode_with(keys, ctx)?.ok(),
            Self::Remove(removal) => e.u8(REMOVE)?.encode_with(removal, ctx)?.ok(),
            Self::Policy(policy) => e.u8(POLICY)?.encode_with(policy, ctx)?.ok(),
            Self::Accept(acceptance) => e.u8(ACCEPT)?.encode_with(acceptance, ctx)?.ok(),
            Self::Recover(recovery) => e.u8(RECOVER)?.encode_with(recovery, ctx)?.ok(),
            Self::Certify(certification) => e.u8(CERTIFY)?.encode_with(certification, ctx)?.ok(),
            Self::Hold(hold) => e.u8(HOLD)?.encode_with(hold, ctx)?.ok(),
            Self::Shred(shred) => e.u8(SHRED)?.encode_with(shred, ctx)?.ok(),
            Self::EndHold(end) => e.u8(END_HOLD)?.encode_with(end, ctx)?.ok(),
            Self::Withdraw(withdrawal) => e.u8(WITHDRAW)?.encode_with(withdrawal, ctx)?.ok(),
            Self::Unknown { number, cbor } => {
                e.u8(*number)?.writer_mut().write_all(cbor).map_err(EncodeError::write)
            }
        }
    }
}

impl<'b, C> Decode<'b, C> for Operation {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
        if d.array()? != Some(2) {
            return Err(DecodeError::message("an operation is [number, fields]"));
        }
        match d.u8()? {
            FOUND => d.decode_with(ctx).map(Self::Found),
            ADMIT => d.decode_with(ctx).map(Self::Admit),
            KEY_UPDATE => d.decode_with(ctx).map(Self::KeyUpdate),
            REMOVE => d.decode_with(ctx).map(Self::Remove),
            POLICY => d.decode_with(ctx).map(Self::Policy),
            ACCEPT => d.decode_with(ctx).map(Self::Accept),
            RECOVER => d.decode_with(ctx).map(Self::Recover),
            CERTIFY => d.decode_with(ctx).map(Self::Certify),
            HOLD => d.decode_with(ctx).map(Self::Hold),
            SHRED => d.decode_with(ctx).map(Self::Shred),
            END_HOLD => d.decode_with(ctx).map(Self::EndHold),
            WITHDRAW => d.decode_with(ctx).map(Self::Withdraw),
            number => {
                let from = d.position();
                d.skip()?;
                let cbor = d.input().get(from..d.position()).unwrap_or_default().to_vec();
                Ok(Self::Unknown { number, cbor })
            }
        }
    }
}
