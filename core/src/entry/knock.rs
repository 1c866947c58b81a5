//! What lies in a mailbox: a newcomer's knock and the answer to it, sealed so that the relay reads neither, and the code
//! by which two people make sure that they speak of the same device (PROTOCOL.md §4.7).

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::invitation::InvitationSecret;
use super::keys::{self, SALT_BYTES};
use super::{Certificate, Scope};
use crate::base::{GroupId, RelayId, cbor, hash, limits};

/// What a newcomer says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Knock {
    /// The certificate of the newcomer's device.
    #[n(0)]
    pub certificate: ByteVec,
    /// The relay that the newcomer found at the invitation's address.
    #[n(1)]
    pub relay: RelayId,
}

/// What was sealed under another invitation, or altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was made with another invitation, or altered on its way")]
pub struct NotSealedHere;

impl Knock {
    /// Seals it for the coordinators. `salt` is fresh, or that of the same knock before.
    pub fn seal(&self, secret: &InvitationSecret, group: GroupId, salt: [u8; SALT_BYTES]) -> Vec<u8> {
        seal(secret, group, KNOCK, salt, &cbor::encode(self))
    }

    /// Opens a sealed knock and checks the certificate.
    ///
    /// # Errors
    /// [`NotSealedHere`] unless it was made with this invitation and holds the certificate of a device.
    pub fn open(
        secret: &InvitationSecret,
        group: GroupId,
        sealed: &[u8],
    ) -> Result<(Self, Certificate), NotSealedHere> {
        let plain = open(secret, group, KNOCK, sealed)?;
        let knock: Self = cbor::decode(&plain).map_err(|_| NotSealedHere)?;
        let certificate =
            Certificate::verify(&knock.certificate, Scope::group(group)).map_err(|_| NotSealedHere)?;
        Ok((knock, certificate))
    }
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

/// What both screens show: 12 digits in three groups of four.
pub fn short_code(secret: &InvitationSecret, certificate: &[u8]) -> String {
    let hash = hash::tagged(b"lamppost/1/short-code", &[&secret.0, certificate]);
    let number = hash.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)) % 1_000_000_000_000;
    format!("{:04} {:04} {:04}", number / 100_000_000, number / 10_000 % 10_000, number % 10_000)
}

const KNOCK: &[u8] = b"lamppost/1/knock";
const ANSWER: &[u8] = b"lamppost/1/answer";

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

    fn knock() -> Knock {
        let (member, device) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let id = crate::base::MemberId(member.verifying_key().to_bytes());
        let possession = crate::entry::Possession::sign(&device, id, [3; 32], Scope::group(GROUP));
        let certificate = possession.certify(&member).unwrap().as_bytes().to_vec();
        Knock { certificate: ByteVec::from(certificate), relay: RelayId([4; 32]) }
    }

    #[test]
    fn a_knock_opens_with_its_invitation_alone_and_fits_into_a_mailbox() {
        let sealed = knock().seal(&SECRET, GROUP, [5; 16]);
        assert!(sealed.len() < limits::KNOCK_BYTES_MAX / 2, "{}", sealed.len());
        assert_eq!(Knock::open(&SECRET, GROUP, &sealed).unwrap().0, knock());
        assert!(Knock::open(&InvitationSecret([8; 16]), GROUP, &sealed).is_err());
        assert!(Knock::open(&SECRET, GroupId([8; 32]), &sealed).is_err());
        assert!(open_answer(&SECRET, GROUP, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(Knock::open(&SECRET, GROUP, &bent), Err(NotSealedHere), "byte {at}");
        }
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
    fn a_code_is_twelve_digits_of_one_invitation_and_one_device() {
        let code = short_code(&SECRET, &knock().certificate);
        let digits: Vec<_> = code.split(' ').map(str::len).collect();
        assert_eq!(digits, [4, 4, 4]);
        assert_ne!(code, short_code(&InvitationSecret([8; 16]), &knock().certificate));
        assert_ne!(code, short_code(&SECRET, b"another"));
    }
}
