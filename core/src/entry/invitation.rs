//! An invitation as people pass it on: a link that is also the text of a QR code (PROTOCOL.md §4.7).
//!
//! Whoever holds it may knock; a coordinator still decides. It names no person.

use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keys::{self, Secret};
use super::link::{self, BadLink, LinkKind};
use crate::base::{GroupId, MailboxId, RoleId, cbor};

/// The one-time secret of an invitation.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Encode, Decode)]
#[cbor(transparent)]
pub struct InvitationSecret(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 16],
);

impl InvitationSecret {
    /// The invitation's public identity, by which a relay keeps its mailbox. Says nothing about the secret.
    pub fn mailbox(&self, group: GroupId) -> MailboxId {
        MailboxId(keys::derive(&self.0, group.as_bytes(), b"lamppost/1/mailbox"))
    }

    /// The key that knocks and answers are sealed under.
    pub fn sealing_key(&self, group: GroupId) -> Secret {
        Secret(keys::derive(&self.0, group.as_bytes(), b"lamppost/1/mailbox-key"))
    }
}

/// What a coordinator hands to somebody who is to join.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The relay's address, such as `wss://relay.example.org/v1/session`.
    pub relay_url: String,
    /// The group.
    pub group: GroupId,
    /// As what.
    pub role: RoleId,
    /// The one-time secret.
    pub secret: InvitationSecret,
    /// Until when, in seconds since the Unix epoch.
    pub expires_s: u64,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Content {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    role: RoleId,
    #[n(2)]
    secret: InvitationSecret,
    #[n(3)]
    expires_s: u64,
    #[n(4)]
    relay: String,
}

impl Invitation {
    /// The link, in lower case: 139 characters for a relay with a name of 17. For a QR code see [`Invitation::to_qr`].
    pub fn to_uri(&self) -> String {
        let content = Content {
            group: self.group,
            role: self.role,
            secret: self.secret.clone(),
            expires_s: self.expires_s,
            relay: link::shorten(&self.relay_url).to_owned(),
        };
        link::write(LinkKind::Invitation, &cbor::encode(&content))
    }

    /// The link in upper case, as a QR code packs it most tightly: alphanumeric mode takes 154 characters in version 6
    /// (41 × 41 modules) at error correction M, 178 in version 7 (ISO/IEC 18004, table 7).
    pub fn to_qr(&self) -> String {
        self.to_uri().to_ascii_uppercase()
    }

    /// Reads a link, in upper or lower case. Whether it has expired, [`Invitation::check_expiry`] says.
    ///
    /// # Errors
    /// [`BadLink`]: something else, damaged, or of a newer version.
    pub fn parse(text: &str) -> Result<Self, BadLink> {
        let content = link::read(text, LinkKind::Invitation)?;
        let content: Content = cbor::decode(&content).map_err(|_| BadLink::Damaged)?;
        let relay_url = link::lengthen(&content.relay)?;
        let Content { group, role, secret, expires_s, .. } = content;
        Ok(Self { relay_url, group, role, secret, expires_s })
    }

    /// Whether it may still be used at `now_ms`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`BadLink::Expired`].
    pub fn check_expiry(&self, now_ms: u64) -> Result<(), BadLink> {
        if now_ms / 1_000 >= self.expires_s { Err(BadLink::Expired) } else { Ok(()) }
    }

    /// Its public identity.
    pub fn mailbox(&self) -> MailboxId {
        self.secret.mailbox(self.group)
    }
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invitation({:?} to {:?})", self.mailbox(), self.group)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE32_NOPAD;

    use super::*;
    use crate::base::hash;

    const SCHEME: &str = "lamppost:";

    fn invitation() -> Invitation {
        Invitation {
            relay_url: "wss://relay.example.org/v1/session".into(),
            group: GroupId([7; 32]),
            role: RoleId(2),
            secret: InvitationSecret([9; 16]),
            expires_s: 1_780_000_000,
        }
    }

    #[test]
    fn a_link_says_what_it_was_made_of_and_suits_an_old_camera() {
        for relay_url in ["wss://relay.example.org/v1/session", "ws://127.0.0.1:7464/v1/session", "wss://a/b"]
        {
            let invitation = Invitation { relay_url: relay_url.into(), ..invitation() };
            let uri = invitation.to_uri();
            assert!(uri.len() < 180, "{uri}");
            assert_eq!(Invitation::parse(&uri), Ok(invitation.clone()));
            assert_eq!(Invitation::parse(&format!(" {}\n", invitation.to_qr())), Ok(invitation));
        }
        let alphanumeric = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || " $%*+-./:".contains(c);
        assert!(invitation().to_qr().len() <= 154 && invitation().to_qr().chars().all(alphanumeric));
        assert_eq!(invitation().to_uri().len(), 139);
    }

    #[test]
    fn whatever_is_altered_or_cut_is_damaged() {
        let uri = invitation().to_uri();
        for at in SCHEME.len()..uri.len() {
            assert_eq!(Invitation::parse(&uri[..at]), Err(BadLink::Damaged), "cut at {at}");
            for other in ["a", "7", "1", "é", ":"] {
                let altered = [&uri[..at], other, &uri[at + 1..]].concat();
                if altered != uri {
                    assert_eq!(Invitation::parse(&altered), Err(BadLink::Damaged), "{altered}");
                }
            }
        }
        assert_eq!(Invitation::parse(&format!("{uri}a")), Err(BadLink::Damaged));
    }

    #[test]
    fn other_texts_other_versions_and_late_comers_are_told_apart() {
        for other in ["", "lamppost", "https://example.org/", "lämppost:a", "wifi:S:home;;"] {
            assert_eq!(Invitation::parse(other), Err(BadLink::NotALink), "{other}");
        }
        let sum = &hash::tagged(b"lamppost/1/invitation", &[&[4, 0xf6]]).0[..4];
        let newer = format!("lamppost:{}", BASE32_NOPAD.encode(&[&[4, 0xf6], sum].concat()));
        assert_eq!(Invitation::parse(&newer), Err(BadLink::Newer));
        let group = link::GroupLink { relay_url: invitation().relay_url, group: GroupId([7; 32]) };
        let other = BadLink::OtherKind { found: LinkKind::Group, wanted: LinkKind::Invitation };
        assert_eq!(Invitation::parse(&group.to_uri()), Err(other));
        assert_eq!(invitation().check_expiry(1_779_999_999_999), Ok(()));
        assert_eq!(invitation().check_expiry(1_780_000_000_000), Err(BadLink::Expired));
    }

    #[test]
    fn an_address_has_one_short_form() {
        for relay_url in ["wss:///v1/session", "wss://a://b/v1/session", "x"] {
            let uri = Invitation { relay_url: relay_url.into(), ..invitation() }.to_uri();
            if let Ok(read) = Invitation::parse(&uri) {
                assert_eq!(read.to_uri(), uri);
            }
        }
    }

    #[test]
    fn mailbox_and_key_are_of_one_group_and_have_nothing_in_common() {
        let secret = InvitationSecret([9; 16]);
        let (one, other) = (GroupId([7; 32]), GroupId([8; 32]));
        assert_ne!(secret.mailbox(one), secret.mailbox(other));
        assert_ne!(secret.sealing_key(one).0[..16], secret.mailbox(one).0);
    }
}
