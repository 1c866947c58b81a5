//! Addresses of relays: which may be connected to (PROTOCOL.md §4.8).

use core::net::{Ipv4Addr, Ipv6Addr};

/// The reason why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Neither `wss://` nor `ws://` stands in front.
    #[error("it does not begin with wss://")]
    Scheme,
    /// No host, or a name and password before the host.
    #[error("a host name must follow wss://, without a name or password in front of it")]
    Host,
    /// `ws://` to another machine.
    #[error(
        "ws:// is not encrypted, so that everybody on the way sees which group this device belongs to: only wss:// is \
         used, except for a trial on one machine (127.0.0.1, [::1] or localhost)"
    )]
    Unencrypted,
}

/// Checks that an address is encrypted, or leads to this machine, and returns it with its scheme in lower case and
/// without white space around it.
///
/// The host is compared in the form in which it is written: a name that resolves to this machine is not loopback.
///
/// # Errors
/// [`BadAddress`].
pub fn checked(url: &str) -> Result<String, BadAddress> {
    let (scheme, rest) = url.trim().split_once("://").ok_or(BadAddress::Scheme)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "wss" && scheme != "ws" {
        return Err(BadAddress::Scheme);
    }
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host_of(authority).ok_or(BadAddress::Host)?;
    if scheme == "ws" && !is_loopback(host) {
        return Err(BadAddress::Unencrypted);
    }
    Ok([&scheme, "://", rest].concat())
}

/// The host of `host[:port]`. Whatever stands before an `@` could be taken for the host.
fn host_of(authority: &str) -> Option<&str> {
    if authority.contains('@') {
        return None;
    }
    let host = match authority.split_once(']') {
        Some((address, _)) => address.strip_prefix('[')?,
        None => authority.split(':').next()?,
    };
    Some(host).filter(|host| !host.is_empty())
}

/// 127.0.0.0/8, `::1` and `localhost` (RFC 6761 §6.3).
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_reached_without_encryption() {
        for (url, as_used) in [
            ("wss://relay.example.org/v1/session", "wss://relay.example.org/v1/session"),
            (" WsS://relay.example.org:8443/a\n", "wss://relay.example.org:8443/a"),
            ("ws://127.0.0.1:7464/v1/session", "ws://127.0.0.1:7464/v1/session"),
            ("WS://127.8.9.1/", "ws://127.8.9.1/"),
            ("ws://[::1]:7464/v1/session", "ws://[::1]:7464/v1/session"),
            ("ws://LocalHost:1", "ws://LocalHost:1"),
        ] {
            assert_eq!(checked(url), Ok(as_used.to_owned()), "{url}");
        }
        for url in [
            "ws://relay.example.org/v1/session",
            "WS://relay.example.org/v1/session",
            "wS://10.0.0.1/",
            "ws://127.0.0.1.example.org/",
            "ws://localhost.example.org/",
            "ws://example.org/127.0.0.1",
            "ws://example.org?127.0.0.1",
            "ws://example.org#@127.0.0.1",
            "ws://example.org\\@127.0.0.1",
            "ws://127.1/",
            "ws://0x7f000001/",
            "ws://2130706433/",
            "ws://0.0.0.0/",
            "ws://[::ffff:10.0.0.1]/",
            "ws://[::]/",
        ] {
            assert_eq!(checked(url), Err(BadAddress::Unencrypted), "{url}");
        }
        for url in [
            "ws://",
            "wss:///v1/session",
            "ws://127.0.0.1@example.org/",
            "wss://a:b@example.org/",
            "ws://::1]/",
        ] {
            assert_eq!(checked(url), Err(BadAddress::Host), "{url}");
        }
        for url in ["", "relay.example.org", "http://127.0.0.1/", "//127.0.0.1", "wss:127.0.0.1"] {
            assert_eq!(checked(url), Err(BadAddress::Scheme), "{url}");
        }
    }
}
