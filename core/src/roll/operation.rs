//! The operations of the roll, as they stand in entry bodies (PROTOCOL.md §4.2).

use minicbor::bytes::ByteVec;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

use crate::base::{CompartmentId, DeviceId, EpochId, MailboxId, MemberId, RoleId, Template, limits};
use crate::entry::SealedKey;

/// One change of who belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Founds the group.
    Found(Founding),
    /// Gives a member a role, and optionally brings their devices and keys along.
    Admit(Admission),
    /// Hands epoch keys to devices.
    Grant(Grants),
    /// Begins new epochs.
    Rotate(Rotations),
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
    /// Epoch 0 of each compartment but the roll.
    #[n(3)]
    pub rotations: Vec<Rotation>,
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
    /// As what. A later admission of the same member changes the role.
    #[n(1)]
    pub role: RoleId,
    /// Certificates of their devices.
    #[n(2)]
    pub certificates: Vec<ByteVec>,
    /// Keys for these devices.
    #[n(3)]
    pub grants: Vec<Grant>,
    /// The invitation that the member came with: it is used up.
    #[n(4)]
    pub invitation: Option<MailboxId>,
}

/// Keys for devices.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grants {
    /// The keys.
    #[n(0)]
    pub grants: Vec<Grant>,
}

/// New epochs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rotations {
    /// The epochs.
    #[n(0)]
    pub rotations: Vec<Rotation>,
}

/// One epoch's private key, sealed to one device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// The compartment.
    #[n(0)]
    pub compartment: CompartmentId,
    /// The epoch.
    #[n(1)]
    pub epoch: EpochId,
    /// The device that can open it.
    #[n(2)]
    pub device: DeviceId,
    /// HPKE: encapsulated key (32 bytes) and ciphertext with tag (48 bytes).
    #[n(3)]
    pub sealed: SealedKey,
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
    /// Its private key for each reader device known to the author.
    #[n(3)]
    pub grants: Vec<Grant>,
    /// The private key of the epoch before, sealed to this one. Absent for epoch 0.
    #[n(4)]
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

impl Rotation {
    /// The name of the epoch it begins.
    pub fn epoch(&self) -> EpochId {
        EpochId::of(self.number, &self.public)
    }
}

const FOUND: u8 = 0;
const ADMIT: u8 = 1;
const GRANT: u8 = 2;
const ROTATE: u8 = 3;

impl Operation {
    /// Checks the ceilings. The canonical form is checked where the body is decoded.
    ///
    /// # Errors
    /// The name of the ceiling that is exceeded, or of the rule that is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        let rotations = |rotations: &[Rotation]| {
            let mut named = rotations.iter();
            if rotations.len() > limits::TEMPLATE_ROWS_MAX {
                return Err("too many rotations in one operation");
            }
            if rotations.iter().map(|r| r.grants.len()).sum::<usize>() > limits::GRANTS_MAX {
                return Err("too many keys in one operation");
            }
            if !named.all(|r| {
                let epoch = r.epoch();
                r.grants.iter().all(|g| g.compartment == r.compartment && g.epoch == epoch)
            }) {
                return Err("a rotation grants keys of another epoch");
            }
            Ok(())
        };
        match self {
            Self::Found(founding) => {
                founding.template.check().map_err(|_| "the founding template breaks its rules")?;
                if !founding.template.governs(founding.role) {
                    return Err("the founder's role does not govern");
                }
                rotations(&founding.rotations)
            }
            Self::Admit(admission) if admission.certificates.len() > limits::CERTIFICATES_MAX => {
                Err("too many certificates in one admission")
            }
            Self::Admit(Admission { grants, .. }) | Self::Grant(Grants { grants }) => {
                if grants.len() > limits::GRANTS_MAX {
                    return Err("too many keys in one operation");
                }
                Ok(())
            }
            Self::Rotate(Rotations { rotations: rows }) => rotations(rows),
            Self::Unknown { .. } => Ok(()),
        }
    }
}

impl<C> Encode<C> for Operation {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), EncodeError<W::Error>> {
        e.array(2)?;
        match self {
            Self::Found(founding) => e.u8(FOUND)?.encode_with(founding, ctx)?.ok(),
            Self::Admit(admission) => e.u8(ADMIT)?.encode_with(admission, ctx)?.ok(),
            Self::Grant(grants) => e.u8(GRANT)?.encode_with(grants, ctx)?.ok(),
            Self::Rotate(rotations) => e.u8(ROTATE)?.encode_with(rotations, ctx)?.ok(),
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
            GRANT => d.decode_with(ctx).map(Self::Grant),
            ROTATE => d.decode_with(ctx).map(Self::Rotate),
            number => {
                let from = d.position();
                d.skip()?;
                let cbor = d.input().get(from..d.position()).unwrap_or_default().to_vec();
                Ok(Self::Unknown { number, cbor })
            }
        }
    }
}
