//! An invitation as people pass it on: a link that is also the text of a QR code (PROTOCOL.md §4.7).
//!
//! Whoever holds it may knock; a coordinator still decides. It names no person.

use data_encoding::BASE32_NOPAD_NOCASE;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keys::{self, Secret};
use crate::base::{GroupId, MailboxId, RoleId, cbor, hash, limits};

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

/// Why a text is not an invitation that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInvitation {
    /// Something else.
    #[error("this is not a Lamppost invitation: such a link begins with lamppost:")]
    NotALink,
    /// Cut, or mistyped.
    #[error("a part of this invitation is missing or mistyped: copy or scan it again, whole")]
    Damaged,
    /// Of a later version.
    #[error("this invitation was made by a newer version of the app: update the app")]
    Newer,
    /// Too late.
    #[error("this invitation has expired: ask the coordinator for a new one")]
    Expired,
}

const SCHEME: &str = "lamppost:";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What most addresses begin and end with. It is left out of the link.
const ADDRESS: (&str, &str) = ("wss://", "/v1/session");

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
            relay: shorten(&self.relay_url).to_owned(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(cbor::encode(&content));
        let sum = checksum(&bytes);
        bytes.extend(sum);
        let mut uri = SCHEME.to_owned();
        uri.push_str(&BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase());
        uri
    }

    /// The link in upper case, as a QR code packs it most tightly: alphanumeric mode takes 154 characters in version 6
    /// (41 × 41 modules) at error correction M, 178 in version 7 (ISO/IEC 18004, table 7).
    pub fn to_qr(&self) -> String {
        self.to_uri().to_ascii_uppercase()
    }

    /// Reads a link, in upper or lower case. Whether it has expired, [`Invitation::check_expiry`] says.
    ///
    /// # Errors
    /// [`BadInvitation`]: something else, damaged, or of a newer version.
    pub fn parse(text: &str) -> Result<Self, BadInvitation> {
        let text = text.trim();
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let encoded = scheme.and_then(|scheme| text.get(scheme.len()..)).ok_or(BadInvitation::NotALink)?;
        if encoded.len() > limits::INVITATION_CHARS_MAX {
            return Err(BadInvitation::Damaged);
        }
        let bytes = BASE32_NOPAD_NOCASE.decode(encoded.as_bytes()).map_err(|_| BadInvitation::Damaged)?;
        let (summed, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadInvitation::Damaged)?;
        // Before the version: a slip of the finger is not to send anybody looking for an update.
        if checksum(summed) != *sum {
            return Err(BadInvitation::Damaged);
        }
        let content: Content = match summed.split_first() {
            Some((&VERSION, content)) => cbor::decode(content).map_err(|_| BadInvitation::Damaged)?,
            Some((0, _)) | None => return Err(BadInvitation::Damaged),
            Some(_) => return Err(BadInvitation::Newer),
        };
        let relay_url = lengthen(&content.relay);
        let (fits, one_form) = (fits(&relay_url), shorten(&relay_url) == content.relay);
        if !fits || !one_form {
            return Err(BadInvitation::Damaged);
        }
        let Content { group, role, secret, expires_s, .. } = content;
        Ok(Self { relay_url, group, role, secret, expires_s })
    }

    /// Whether it may still be used at `now_ms`, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`BadInvitation::Expired`].
    pub fn check_expiry(&self, now_ms: u64) -> Result<(), BadInvitation> {
        if now_ms / 1_000 >= self.expires_s { Err(BadInvitation::Expired) } else { Ok(()) }
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

/// Whether an address of this length may stand in an invitation.
pub fn fits(relay_url: &str) -> bool {
    (1..=limits::RELAY_ADDRESS_BYTES_MAX).contains(&relay_url.len())
}

fn shorten(url: &str) -> &str {
    let host = url.strip_prefix(ADDRESS.0).and_then(|rest| rest.strip_suffix(ADDRESS.1));
    host.filter(|host| !host.is_empty() && !host.contains("://")).unwrap_or(url)
}

fn lengthen(relay: &str) -> String {
    if relay.contains("://") { relay.to_owned() } else { [ADDRESS.0, relay, ADDRESS.1].concat() }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    let hash = hash::tagged(b"lamppost/1/invitation", &[bytes]);
    sum.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Invitation::parse(&uri[..at]), Err(BadInvitation::Damaged), "cut at {at}");
            for other in ["a", "7", "1", "é", ":"] {
                let altered = [&uri[..at], other, &uri[at + 1..]].concat();
                if altered != uri {
                    assert_eq!(Invitation::parse(&altered), Err(BadInvitation::Damaged), "{altered}");
                }
            }
        }
        assert_eq!(Invitation::parse(&format!("{uri}a")), Err(BadInvitation::Damaged));
    }

    #[test]
    fn other_texts_other_versions_and_late_comers_are_told_apart() {
        for other in ["", "lamppost", "https://example.org/", "lämppost:a", "wifi:S:home;;"] {
            assert_eq!(Invitation::parse(other), Err(BadInvitation::NotALink), "{other}");
        }
        let mut bytes = vec![VERSION + 1, 0xf6];
        bytes.extend(checksum(&[VERSION + 1, 0xf6]));
        let newer = format!("lamppost:{}", BASE32_NOPAD_NOCASE.encode(&bytes));
        assert_eq!(Invitation::parse(&newer), Err(BadInvitation::Newer));
        assert_eq!(invitation().check_expiry(1_779_999_999_999), Ok(()));
        assert_eq!(invitation().check_expiry(1_780_000_000_000), Err(BadInvitation::Expired));
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
