//! A newcomer's request to join, as bytes and as a code to be scanned.

use crate::base::GroupId;
use crate::entry::certificate::BadCertificate;
use crate::entry::link::{self, BadLink, LinkKind};
use crate::entry::{Certificate, Scope};
use crate::replica::error::Error;

/// A newcomer's device and member key, signed by both, for one group. Holds no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest(Vec<u8>);

impl JoinRequest {
    /// The bytes to hand to a coordinator.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes bytes that a newcomer handed over. They are checked when somebody is admitted.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The request as a link, in lower case: always 376 characters.
    ///
    /// # Errors
    /// [`Error::Admission`] if it is not genuine.
    pub fn to_uri(&self) -> Result<String, Error> {
        let certificate =
            Certificate::verify_for_any_group(&self.0).map_err(|e| Error::Admission(e.to_string()))?;
        Ok(link::write(LinkKind::Request, &certificate.pack()))
    }

    /// The link in upper case, as a QR code packs it most tightly: alphanumeric mode takes 395 characters in version 10
    /// (57 × 57 modules) at error correction L, which is enough on a screen, and 419 in version 12 (65 × 65) at M
    /// (ISO/IEC 18004, table 7).
    ///
    /// # Errors
    /// As [`JoinRequest::to_uri`].
    pub fn to_qr(&self) -> Result<String, Error> {
        Ok(self.to_uri()?.to_ascii_uppercase())
    }

    /// Reads a link, in upper or lower case, that is to be a request to join `group`.
    ///
    /// # Errors
    /// [`BadLink`]: something else, damaged, of a newer version, or made for another group.
    pub fn parse(text: &str, group: GroupId) -> Result<Self, BadLink> {
        let packed = link::read(text, LinkKind::Request)?;
        let packed = packed.try_into().map_err(|_| BadLink::Damaged)?;
        let certificate =
            Certificate::unpack(&packed, Scope::group(group)).map_err(|_| BadLink::OtherGroup)?;
        Ok(Self(certificate.as_bytes().to_vec()))
    }

    /// The certificate that it holds, for this group.
    pub(super) fn certificate(&self, group: GroupId) -> Result<Certificate, BadCertificate> {
        Certificate::verify(&self.0, Scope::group(group))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::base::MemberId;
    use crate::entry::Possession;

    /// Characters that a QR code of version 10 holds in alphanumeric mode at error correction L (ISO/IEC 18004, table 7).
    const VERSION_10: usize = 395;

    #[test]
    fn a_request_fits_a_code_and_comes_out_as_it_went_in() {
        let [member, device] = [1, 2].map(|n| SigningKey::from_bytes(&[n; 32]));
        let id = MemberId(member.verifying_key().to_bytes());
        let group = GroupId([7; 32]);
        let certificate =
            Possession::sign(&device, id, [4; 32], Scope::group(group)).certify(&member).unwrap();
        let request = JoinRequest::from_bytes(certificate.as_bytes().to_vec());
        let code = request.to_qr().unwrap();
        assert!(code.len() == 376 && code.len() <= VERSION_10);
        assert!(code.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase() || c == ':'));
        assert_eq!(JoinRequest::parse(&code, group), Ok(request.clone()));
        assert_eq!(JoinRequest::parse(&request.to_uri().unwrap(), group), Ok(request));
        assert_eq!(JoinRequest::parse(&code, GroupId([8; 32])), Err(BadLink::OtherGroup));

        let mut forged = certificate.pack();
        forged[0] ^= 1;
        let forged = link::write(LinkKind::Request, &forged);
        assert_eq!(
            JoinRequest::parse(&forged, group),
            Err(BadLink::OtherGroup),
            "the checksum fits, the signatures do not"
        );
        let short = link::write(LinkKind::Request, &[1; 223]);
        assert_eq!(JoinRequest::parse(&short, group), Err(BadLink::Damaged));
        assert!(matches!(JoinRequest::from_bytes(vec![1]).to_uri(), Err(Error::Admission(_))));
    }
}
