//! What lies in a mailbox: a newcomer's two knocks and the answers to them, sealed so that the relay reads none, and the
//! code by which two people make sure that they speak of the same device (PROTOCOL.md §4.7).

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::certificate::BadCertificate;
use super::countersignature::{BadCountersignature, Countersignature, NONCE_BYTES};
use super::invitation::InvitationSecret;
use super::keys::{self, SALT_BYTES};
use super::{Certificate, Scope};
use crate::base::{DeviceId, GroupId, Hash, MailboxId, RelayId, cbor, hash, limits};

/// What a newcomer says: first that there is something to say, and what it is only when the other side can no longer choose
/// its own part of the short code.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Knock {
    /// First: the hash of the opening ([`Opening::commitment`]).
    #[n(0)]
    Commitment(#[n(0)] Hash),
    /// Then: the opening, and the countersignature that it answers.
    #[n(1)]
    Reveal(#[n(0)] Reveal),
}

/// What a newcomer commits to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Opening {
    /// The certificate of the newcomer's device.
    #[n(0)]
    pub certificate: ByteVec,
    /// The relay that the newcomer found at the invitation's address.
    #[n(1)]
    pub relay: RelayId,
    /// Fresh random bytes: nobody guesses the opening from its hash.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; NONCE_BYTES],
}

/// A newcomer's second knock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reveal {
    /// What was committed to.
    #[n(0)]
    pub opening: Opening,
    /// The first countersignature that came.
    #[n(1)]
    pub countersignature: ByteVec,
}

/// A second knock that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revealed {
    /// The first knock.
    pub commitment: Hash,
    /// The certificate of the newcomer's device.
    pub certificate: Certificate,
    /// The relay that the newcomer found at the invitation's address.
    pub relay: RelayId,
    /// The device that countersigned. Whether it may, the roll says.
    pub countersigner: DeviceId,
    /// What both screens show.
    pub code: String,
}

/// What was sealed under another invitation, or altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was made with another invitation, or altered on its way")]
pub struct NotSealedHere;

/// Why a second knock is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReveal {
    /// The certificate in it.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// The countersignature in it.
    #[error(transparent)]
    Countersignature(#[from] BadCountersignature),
}

impl Opening {
    /// The first knock: says nothing of the opening, and fits no other.
    pub fn commitment(&self, group: GroupId, mailbox: MailboxId) -> Hash {
        let Self { certificate, relay, nonce } = self;
        hash::tagged(
            b"lamppost/1/knock-commitment",
            &[group.as_bytes(), &mailbox.0, certificate, &relay.0, nonce],
        )
    }
}

impl Reveal {
    /// Checks the certificate, and that the countersignature is one of this opening's commitment.
    ///
    /// # Errors
    /// [`BadReveal`] says what is wrong with it.
    pub fn check(&self, secret: &InvitationSecret, group: GroupId) -> Result<Revealed, BadReveal> {
        let mailbox = secret.mailbox(group);
        let commitment = self.opening.commitment(group, mailbox);
        let certificate = Certificate::verify(&self.opening.certificate, Scope::group(group))?;
        let countersigned = Countersignature::verify(&self.countersignature, group, mailbox, commitment)?;
        let countersigner = countersigned.device();
        let relay = self.opening.relay;
        Ok(Revealed { commitment, certificate, relay, countersigner, code: self.code(secret) })
    }

    /// What both screens show: 12 digits in three groups of four.
    pub fn code(&self, secret: &InvitationSecret) -> String {
        let Opening { certificate, relay, nonce } = &self.opening;
        let hash = hash::tagged(
            b"lamppost/1/short-code",
            &[&secret.0, certificate, &relay.0, nonce, &self.countersignature],
        );
        let number = hash.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)) % 1_000_000_000_000;
        format!("{:04} {:04} {:04}", number / 100_000_000, number / 10_000 % 10_000, number % 10_000)
    }
}

impl Knock {
    /// Seals it for the coordinators. `salt` is fresh; a knock that is repeated is the same bytes.
    pub fn seal(&self, secret: &InvitationSecret, group: GroupId, salt: [u8; SALT_BYTES]) -> Vec<u8> {
        seal(secret, group, KNOCK, salt, &cbor::encode(self))
    }

    /// Opens a sealed knock. [`Reveal::check`] checks what a second one says.
    ///
    /// # Errors
    /// [`NotSealedHere`] unless it was made with this invitation.
    pub fn open(secret: &InvitationSecret, group: GroupId, sealed: &[u8]) -> Result<Self, NotSealedHere> {
        let plain = open(secret, group, KNOCK, sealed)?;
        cbor::decode(&plain).map_err(|_| NotSealedHere)
    }
}

/// Seals a countersignature for the newcomer.
pub fn seal_countersignature(
    secret: &InvitationSecret,
    group: GroupId,
    salt: [u8; SALT_BYTES],
    countersignature: &Countersignature,
) -> Vec<u8> {
    seal(secret, group, COUNTERSIGNATURE, salt, countersignature.as_bytes())
}

/// Opens a sealed countersignature of this commitment, and checks it.
///
/// # Errors
/// [`NotSealedHere`] unless it was made with this invitation, for this commitment.
pub fn open_countersignature(
    secret: &InvitationSecret,
    group: GroupId,
    sealed: &[u8],
    commitment: Hash,
) -> Result<Countersignature, NotSealedHere> {
    let plain = open(secret, group, COUNTERSIGNATURE, sealed)?;
    Countersignature::verify(&plain, group, secret.mailbox(group), commitment).map_err(|_| NotSealedHere)
}

/// Seals a refusal for the newcomer: the reason, for people. Longer ones are cut; all have the same length.
pub fn seal_answer(
    secret: &InvitationSecret,
    group: GroupId,
    salt: [u8; SALT_BYTES],
    reason: &str,
) -> Vec<u8> {
    let mut end = reason.len().min(limits::ANSWER_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut plain = reason.as_bytes().get(..end).unwrap_or_default().to_vec();
    plain.resize(limits::ANSWER_REASON_BYTES_MAX, 0);
    seal(secret, group, ANSWER, salt, &plain)
}

/// Opens a refusal.
///
/// # Errors
/// [`NotSealedHere`] unless it was made with this invitation.
pub fn open_answer(
    secret: &InvitationSecret,
    group: GroupId,
    sealed: &[u8],
) -> Result<String, NotSealedHere> {
    let plain = open(secret, group, ANSWER, sealed)?;
    let text = String::from_utf8(plain).map_err(|_| NotSealedHere)?;
    Ok(text.trim_end_matches('\0').to_owned())
}

const KNOCK: &[u8] = b"lamppost/1/knock";
const ANSWER: &[u8] = b"lamppost/1/answer";
const COUNTERSIGNATURE: &[u8] = b"lamppost/1/countersignature";

fn cipher(
    secret: &InvitationSecret,
    group: GroupId,
    purpose: &[u8],
    salt: &[u8],
) -> (ChaCha20Poly1305, Vec<u8>) {
    let key: [u8; 32] = keys::derive(&secret.sealing_key(group).0, salt, purpose);
    (ChaCha20Poly1305::new(&key.into()), secret.mailbox(group).0.to_vec())
}

/// Salt and ciphertext. As for entries, the salt makes a key for each message, so the nonce may be constant.
fn seal(
    secret: &InvitationSecret,
    group: GroupId,
    purpose: &[u8],
    salt: [u8; SALT_BYTES],
    plain: &[u8],
) -> Vec<u8> {
    let (cipher, aad) = cipher(secret, group, purpose, &salt);
    #[expect(clippy::expect_used, reason = "see its text")]
    let sealed = cipher
        .encrypt(&Nonce::default(), Payload { msg: plain, aad: &aad })
        .expect("sealing works because a knock is small");
    [salt.as_slice(), &sealed].concat()
}

fn open(
    secret: &InvitationSecret,
    group: GroupId,
    purpose: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, NotSealedHere> {
    let (salt, msg) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(NotSealedHere)?;
    let (cipher, aad) = cipher(secret, group, purpose, salt);
    cipher.decrypt(&Nonce::default(), Payload { msg, aad: &aad }).map_err(|_| NotSealedHere)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    const SECRET: InvitationSecret = InvitationSecret([9; 16]);
    const GROUP: GroupId = GroupId([7; 32]);

    fn opening(scope: Scope, nonce: u8) -> Opening {
        let (member, device) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let id = crate::base::MemberId(member.verifying_key().to_bytes());
        let possession = crate::entry::Possession::sign(&device, id, [3; 32], scope);
        let certificate = possession.certify(&member).unwrap().as_bytes().to_vec();
        let certificate = ByteVec::from(certificate);
        Opening { certificate, relay: RelayId([4; 32]), nonce: [nonce; NONCE_BYTES] }
    }

    fn countersigned(opening: &Opening, nonce: u8) -> Countersignature {
        let commitment = opening.commitment(GROUP, SECRET.mailbox(GROUP));
        let key = SigningKey::from_bytes(&[6; 32]);
        Countersignature::sign(&key, GROUP, SECRET.mailbox(GROUP), commitment, [nonce; NONCE_BYTES])
    }

    fn reveal(nonce: u8, theirs: u8) -> Reveal {
        let opening = opening(Scope::group(GROUP), nonce);
        let countersignature = ByteVec::from(countersigned(&opening, theirs).as_bytes().to_vec());
        Reveal { opening, countersignature }
    }

    #[test]
    fn a_knock_opens_with_its_invitation_alone_and_fits_into_a_mailbox() {
        let commitment = opening(Scope::group(GROUP), 1).commitment(GROUP, SECRET.mailbox(GROUP));
        for knock in [Knock::Commitment(commitment), Knock::Reveal(reveal(1, 2))] {
            let sealed = knock.seal(&SECRET, GROUP, [5; 16]);
            assert!(sealed.len() < limits::KNOCK_BYTES_MAX / 2, "{}", sealed.len());
            assert_eq!(Knock::open(&SECRET, GROUP, &sealed), Ok(knock));
            assert!(Knock::open(&InvitationSecret([8; 16]), GROUP, &sealed).is_err());
            assert!(Knock::open(&SECRET, GroupId([8; 32]), &sealed).is_err());
            assert!(open_answer(&SECRET, GROUP, &sealed).is_err());
            for at in 0..sealed.len() {
                let mut bent = sealed.clone();
                bent[at] ^= 1;
                assert_eq!(Knock::open(&SECRET, GROUP, &bent), Err(NotSealedHere), "byte {at}");
            }
        }
    }

    #[test]
    fn reveal_needs_the_groups_certificate_and_its_own_countersignature() {
        let good = reveal(1, 2);
        let checked = good.check(&SECRET, GROUP).unwrap();
        assert_eq!(checked.commitment, good.opening.commitment(GROUP, SECRET.mailbox(GROUP)));
        assert_eq!(checked.certificate.as_bytes(), good.opening.certificate.as_slice());
        assert_eq!(checked.code, good.code(&SECRET));

        let other_group = opening(Scope::group(GroupId([8; 32])), 1);
        let countersignature = ByteVec::from(countersigned(&other_group, 2).as_bytes().to_vec());
        let other_group = Reveal { opening: other_group, countersignature };
        let not_here = BadReveal::Certificate(BadCertificate::OtherGroup);
        assert_eq!(other_group.check(&SECRET, GROUP), Err(not_here));
        // Whatever of the opening is exchanged after the countersignature is another commitment.
        let not_its_own = BadReveal::Countersignature(BadCountersignature::OtherKnock);
        for exchanged in [
            Opening { nonce: [7; NONCE_BYTES], ..good.opening.clone() },
            Opening { relay: RelayId([7; 32]), ..good.opening.clone() },
        ] {
            let exchanged = Reveal { opening: exchanged, ..good.clone() };
            assert_eq!(exchanged.check(&SECRET, GROUP), Err(not_its_own.clone()));
        }
    }

    #[test]
    fn sealed_countersignature_opens_for_its_commitment() {
        let opening = opening(Scope::group(GROUP), 1);
        let commitment = opening.commitment(GROUP, SECRET.mailbox(GROUP));
        let good = countersigned(&opening, 2);
        let sealed = seal_countersignature(&SECRET, GROUP, [5; 16], &good);
        assert!(sealed.len() <= limits::ANSWER_BYTES_MAX / 2, "{}", sealed.len());
        assert_eq!(open_countersignature(&SECRET, GROUP, &sealed, commitment), Ok(good));
        assert!(open_countersignature(&SECRET, GROUP, &sealed, Hash([0; 32])).is_err());
        assert!(open_answer(&SECRET, GROUP, &sealed).is_err());
        let refusal = seal_answer(&SECRET, GROUP, [5; 16], "no");
        assert!(open_countersignature(&SECRET, GROUP, &refusal, commitment).is_err());
    }

    #[test]
    fn an_answer_says_the_reason_and_its_length_says_nothing() {
        for reason in ["", "I do not know this code.", &"é".repeat(600)] {
            let sealed = seal_answer(&SECRET, GROUP, [5; 16], reason);
            assert_eq!(sealed.len(), 832);
            let read = open_answer(&SECRET, GROUP, &sealed).unwrap();
            assert!(reason.starts_with(&read) && (read == reason || read.len() == 800), "{read}");
            assert!(Knock::open(&SECRET, GROUP, &sealed).is_err());
        }
    }

    #[test]
    fn code_is_twelve_digits_and_depends_on_both_numbers() {
        let code = reveal(1, 2).code(&SECRET);
        let digits: Vec<_> = code.split(' ').map(str::len).collect();
        assert_eq!(digits, [4, 4, 4]);
        assert_ne!(code, reveal(1, 2).code(&InvitationSecret([8; 16])));
        assert_ne!(code, reveal(3, 2).code(&SECRET), "the newcomer's");
        assert_ne!(code, reveal(1, 3).code(&SECRET), "the coordinator's");
    }
}
