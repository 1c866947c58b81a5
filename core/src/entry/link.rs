//! Links: what people pass on so that somebody may come in. Each is text that is also that of a QR code
//! (PROTOCOL.md §4.7, §4.8).

use data_encoding::BASE32_NOPAD_NOCASE;
use minicbor::{Decode, Encode};

use crate::base::address::{self, BadAddress};
use crate::base::{GroupId, cbor, hash, limits};

/// What a link is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkKind {
    /// A one-time secret that lets its holder ask to join.
    Invitation = 1,
    /// Where a group is. Holds no secret.
    Group = 2,
    /// A newcomer's certificate.
    Request = 3,
}

/// Why a text is not a link that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    /// Something else.
    #[error("this is not a Lamppost link: such a link begins with lamppost:")]
    NotALink,
    /// Cut, or mistyped.
    #[error("a part of this link is missing or mistyped: copy or scan it again, whole")]
    Damaged,
    /// A link, but of another kind.
    #[error("this is {found}, where {wanted} is needed: scan the other code")]
    OtherKind {
        /// What it is.
        found: LinkKind,
        /// What was looked for.
        wanted: LinkKind,
    },
    /// Of a later version.
    #[error("this link was made by a newer version of the app: update the app")]
    Newer,
    /// Its relay may not be connected to.
    #[error("the relay's address in this link cannot be used ({0}): ask the coordinator for another link")]
    Address(BadAddress),
    /// Too late.
    #[error("this invitation has expired: ask the coordinator for a new one")]
    Expired,
    /// A request to join whose signatures are not for this group.
    #[error(
        "this request to join was made for another group: let the newcomer scan this group's code first, then scan theirs"
    )]
    OtherGroup,
}

const SCHEME: &str = "lamppost:";
const CHECKSUM_BYTES: usize = 4;

/// What most addresses begin and end with. It is left out of a link.
const ADDRESS: (&str, &str) = ("wss://", "/v1/session");

impl LinkKind {
    /// What this text is, for an app that has one scanner for all of them.
    ///
    /// # Errors
    /// [`BadLink`]: something else, damaged, or of a newer version.
    pub fn of(text: &str) -> Result<Self, BadLink> {
        Ok(split(text)?.0)
    }
}

impl std::fmt::Display for LinkKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Invitation => "an invitation",
            Self::Group => "the link of a group",
            Self::Request => "a request to join",
        })
    }
}

/// The link of this kind and content, in lower case. In upper case it is the text of a QR code in alphanumeric mode.
pub(crate) fn write(kind: LinkKind, content: &[u8]) -> String {
    let mut bytes = vec![kind as u8];
    bytes.extend(content);
    let sum = checksum(&bytes);
    bytes.extend(sum);
    let mut uri = SCHEME.to_owned();
    uri.push_str(&BASE32_NOPAD_NOCASE.encode(&bytes).to_ascii_lowercase());
    uri
}

/// The content of a link of this kind.
pub(crate) fn read(text: &str, wanted: LinkKind) -> Result<Vec<u8>, BadLink> {
    let (found, content) = split(text)?;
    if found == wanted { Ok(content) } else { Err(BadLink::OtherKind { found, wanted }) }
}

fn split(text: &str) -> Result<(LinkKind, Vec<u8>), BadLink> {
    let text = text.trim();
    let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let encoded = scheme.and_then(|scheme| text.get(scheme.len()..)).ok_or(BadLink::NotALink)?;
    if encoded.len() > limits::LINK_CHARS_MAX {
        return Err(BadLink::Damaged);
    }
    let bytes = BASE32_NOPAD_NOCASE.decode(encoded.as_bytes()).map_err(|_| BadLink::Damaged)?;
    let (summed, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadLink::Damaged)?;
    // Before the kind: a slip of the finger is not to send anybody looking for an update.
    if checksum(summed) != *sum {
        return Err(BadLink::Damaged);
    }
    let (kind, content) = match summed.split_first() {
        Some((1, content)) => (LinkKind::Invitation, content),
        Some((2, content)) => (LinkKind::Group, content),
        Some((3, content)) => (LinkKind::Request, content),
        Some((0, _)) | None => return Err(BadLink::Damaged),
        Some(_) => return Err(BadLink::Newer),
    };
    Ok((kind, content.to_vec()))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    let hash = hash::tagged(b"lamppost/1/invitation", &[bytes]);
    sum.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
    sum
}

/// Whether an address of this length may stand in a link.
pub fn fits(relay_url: &str) -> bool {
    (1..=limits::RELAY_ADDRESS_BYTES_MAX).contains(&relay_url.len())
}

/// An address as it stands in a link.
pub(crate) fn shorten(url: &str) -> &str {
    let host = url.strip_prefix(ADDRESS.0).and_then(|rest| rest.strip_suffix(ADDRESS.1));
    host.filter(|host| !host.is_empty() && !host.contains("://")).unwrap_or(url)
}

/// The address that stands in a link, if it is in its one form and of a length that fits.
pub(crate) fn lengthen(relay: &str) -> Result<String, BadLink> {
    let url = if relay.contains("://") { relay.to_owned() } else { [ADDRESS.0, relay, ADDRESS.1].concat() };
    if !fits(&url) || shorten(&url) != relay {
        return Err(BadLink::Damaged);
    }
    let used = address::checked(&url).map_err(BadLink::Address)?;
    // A scheme in upper case would make two links of one address.
    if used == url { Ok(url) } else { Err(BadLink::Damaged) }
}

/// Where a group is: enough for a device that a member's key has certified, or that was admitted, to come in by itself.
///
/// Holds no secret. Whoever hands it out decides which group and relay the newcomer turns to.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupLink {
    /// The relay's address, such as `wss://relay.example.org/v1/session`.
    pub relay_url: String,
    /// The group.
    pub group: GroupId,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct GroupContent {
    #[n(0)]
    group: GroupId,
    #[n(1)]
    relay: String,
}

impl GroupLink {
    /// The link, in lower case: 102 characters for a relay with a name of 17. For a QR code see [`GroupLink::to_qr`].
    pub fn to_uri(&self) -> String {
        let relay = shorten(&self.relay_url).to_owned();
        write(LinkKind::Group, &cbor::encode(&GroupContent { group: self.group, relay }))
    }

    /// The link in upper case, as a QR code packs it most tightly: alphanumeric mode takes 122 characters in version 5
    /// (37 × 37 modules) at error correction M, and 311, more than the longest of these links has, in version 10
    /// (ISO/IEC 18004, table 7).
    pub fn to_qr(&self) -> String {
        self.to_uri().to_ascii_uppercase()
    }

    /// Reads a link, in upper or lower case.
    ///
    /// # Errors
    /// [`BadLink`]: something else, damaged, or of a newer version.
    pub fn parse(text: &str) -> Result<Self, BadLink> {
        let content = read(text, LinkKind::Group)?;
        let GroupContent { group, relay } = cbor::decode(&content).map_err(|_| BadLink::Damaged)?;
        Ok(Self { relay_url: lengthen(&relay)?, group })
    }
}

impl std::fmt::Debug for GroupLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupLink({:?} at {})", self.group, self.relay_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(relay_url: &str) -> GroupLink {
        GroupLink { relay_url: relay_url.to_owned(), group: GroupId([7; 32]) }
    }

    /// Characters that a QR code holds in alphanumeric mode at error correction M (ISO/IEC 18004, table 7).
    const VERSION_5: usize = 122;
    const VERSION_10: usize = 311;

    #[test]
    fn a_groups_link_says_where_it_is_and_suits_an_old_camera() {
        let long = format!("wss://{}/v1/session", "a".repeat(limits::RELAY_ADDRESS_BYTES_MAX - 17));
        for url in
            ["wss://relay.example.org/v1/session", "ws://127.0.0.1:7464/v1/session", "wss://a/b", &long]
        {
            let link = link(url);
            assert_eq!(GroupLink::parse(&link.to_uri()), Ok(link.clone()));
            assert_eq!(GroupLink::parse(&format!(" {}\n", link.to_qr())), Ok(link.clone()));
            assert!(link.to_qr().len() <= VERSION_10, "{}", link.to_qr().len());
            let alphanumeric =
                |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || " $%*+-./:".contains(c);
            assert!(link.to_qr().chars().all(alphanumeric));
        }
        let usual = link("wss://relay.example.org/v1/session").to_qr();
        assert!(usual.len() == 102 && usual.len() <= VERSION_5);
    }

    #[test]
    fn a_link_to_a_relay_without_encryption_is_refused() {
        for url in ["ws://relay.example.org/v1/session", "wS://10.0.0.1/", "ws://127.0.0.1.example.org/"] {
            let refused = GroupLink::parse(&link(url).to_uri());
            assert_eq!(refused, Err(BadLink::Address(BadAddress::Unencrypted)), "{url}");
        }
        // One address has one link.
        assert_eq!(GroupLink::parse(&link("WSS://a/b").to_uri()), Err(BadLink::Damaged));
    }

    #[test]
    fn what_is_cut_altered_of_another_kind_or_too_long_is_no_groups_link() {
        let uri = link("wss://relay.example.org/v1/session").to_uri();
        for at in SCHEME.len()..uri.len() {
            assert_eq!(GroupLink::parse(&uri[..at]), Err(BadLink::Damaged), "cut at {at}");
            let other = if &uri[at..=at] == "a" { "b" } else { "a" };
            let altered = [&uri[..at], other, &uri[at + 1..]].concat();
            assert_eq!(GroupLink::parse(&altered), Err(BadLink::Damaged), "{altered}");
        }
        let too_long = link(&format!("ws://{}", "a".repeat(limits::RELAY_ADDRESS_BYTES_MAX)));
        assert_eq!(GroupLink::parse(&too_long.to_uri()), Err(BadLink::Damaged));
        let request = write(LinkKind::Request, &[1, 2, 3]);
        let other = BadLink::OtherKind { found: LinkKind::Request, wanted: LinkKind::Group };
        assert_eq!(GroupLink::parse(&request), Err(other));
        assert_eq!(LinkKind::of(&request.to_ascii_uppercase()), Ok(LinkKind::Request));
        assert_eq!(LinkKind::of("https://example.org/"), Err(BadLink::NotALink));
    }
}
