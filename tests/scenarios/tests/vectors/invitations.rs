//! Vectors of sections 4.7 and 4.8: links of every kind, mailboxes, knocks and short codes.

use lamppost_core::base::address::BadAddress;
use lamppost_core::base::{GroupId, Hash, RelayId, cbor, hash};
use lamppost_core::entry::countersignature::{Countersignature, NONCE_BYTES};
use lamppost_core::entry::invitation::{Invitation, InvitationSecret};
use lamppost_core::entry::keys::SALT_BYTES;
use lamppost_core::entry::knock::{
    Knock, Opening, Reveal, open_answer, open_countersignature, seal_answer, seal_countersignature,
};
use lamppost_core::entry::link::{BadLink, GroupLink, LinkKind};
use lamppost_core::entry::{Certificate, Scope};
use lamppost_core::replica::JoinRequest;
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

use crate::town::{CLAIMED_MS, Party, Town, VOLUNTEER, flip, hex};

pub fn invitations(town: &Town) -> Value {
    let secret = InvitationSecret([0x5e; 16]);
    let of = |relay_url: &str| Invitation {
        relay_url: relay_url.to_owned(),
        group: town.group,
        role: VOLUNTEER,
        secret: secret.clone(),
        expires_s: CLAIMED_MS / 1_000,
    };
    let addresses = [
        "wss://relay.example.org/v1/session",
        "ws://127.0.0.1:7464/v1/session",
        "wss://relay.example.org:8443/a",
    ];
    let links = addresses.map(|relay_url| {
        let (invitation, link) = (of(relay_url), of(relay_url).to_uri());
        assert_eq!(Invitation::parse(&link), Ok(invitation.clone()));
        json!({
            "link": link,
            "qr_link": invitation.to_qr(),
            "relay_link": relay_url,
            "group": invitation.group.to_string(),
            "role": invitation.role.0,
            "secret": hex(&invitation.secret.0),
            "expires_s": invitation.expires_s,
        })
    });
    let good = of(addresses[0]).to_uri();
    let refused = [
        ("something else", "https://example.org/".to_owned(), BadLink::NotALink),
        ("cut", good[..good.len() - 2].to_owned(), BadLink::Damaged),
        (
            "mistyped",
            good.replacen(&good[20..21], if &good[20..21] == "a" { "b" } else { "a" }, 1),
            BadLink::Damaged,
        ),
        ("of a newer version", linked(&[4, 0xf6]), BadLink::Newer),
        ("an address in its long form", linked(&long_form(&of(addresses[0]))), BadLink::Damaged),
        ("a relay without encryption", of("ws://relay.example.org/v1/session").to_uri(), {
            BadLink::Address(BadAddress::Unencrypted)
        }),
        ("a scheme in upper case", of("WSS://relay.example.org/a").to_uri(), BadLink::Damaged),
        ("the link of a group", group_link(addresses[0], town).to_uri(), {
            BadLink::OtherKind { found: LinkKind::Group, wanted: LinkKind::Invitation }
        }),
    ];
    for (what, link, why) in &refused {
        assert_eq!(Invitation::parse(link), Err(*why), "{what}");
    }
    let certificate = town.vic.certificate().as_bytes().to_vec();
    let (group_links, bad_group_links) = group_links(town, &addresses, good);
    let (request, bad_requests) = requests(town.group, &certificate);
    let knocks = knocks(town, &secret);
    let reason = "The code was another one. ¿Quién es?";
    let answer = seal_answer(&secret, town.group, [0x5b; SALT_BYTES], reason);
    assert_eq!(open_answer(&secret, town.group, &answer).unwrap(), reason);
    json!({
        "links": links,
        "bad_links": refused.map(|(why, link, _)| json!({ "why": why, "link": link })),
        "group_links": group_links,
        "bad_group_links": bad_group_links,
        "requests": [request],
        "bad_requests": bad_requests,
        "group": town.group.to_string(),
        "secret": hex(&secret.0),
        "mailbox": secret.mailbox(town.group).to_string(),
        "sealing_key": hex(&secret.sealing_key(town.group).0),
        "knocks": knocks,
        "answer": { "bytes": hex(&answer), "for": reason },
    })
}

/// What a newcomer and a coordinator's device say to each other until there is a code, and what is no part of that.
fn knocks(town: &Town, secret: &InvitationSecret) -> Value {
    let (group, mailbox) = (town.group, secret.mailbox(town.group));
    let relay = RelayId(town.relay.verifying_key().to_bytes());
    let opening = Opening { certificate: town.vic.certificate_bytes(), relay, nonce: [0x6e; NONCE_BYTES] };
    let commitment = opening.commitment(group, mailbox);
    let first = Knock::Commitment(commitment).seal(secret, group, [0x5a; SALT_BYTES]);
    let sign = |commitment: Hash| {
        Countersignature::sign(&town.carla.device, group, mailbox, commitment, [0x6f; NONCE_BYTES])
    };
    let signed = sign(commitment);
    let sealed = seal_countersignature(secret, group, [0x5c; SALT_BYTES], &signed);
    assert_eq!(open_countersignature(secret, group, &sealed, commitment).as_ref(), Ok(&signed));
    let countersignature = ByteVec::from(signed.as_bytes().to_vec());
    let reveal = Reveal { opening: opening.clone(), countersignature };
    let revealed = reveal.check(secret, group).unwrap();
    let knock = Knock::Reveal(reveal.clone());
    let second = knock.seal(secret, group, [0x5d; SALT_BYTES]);
    assert_eq!(Knock::open(secret, group, &second), Ok(knock.clone()));

    let answer = seal_answer(secret, group, [0x5b; SALT_BYTES], "no");
    let bad_knocks = [
        ("a bit is flipped", flip(&second, -1)),
        ("the salt is another", flip(&second, 0)),
        ("an answer is no knock", answer.clone()),
        ("a countersignature is no knock", sealed.clone()),
        ("made with another secret", knock.seal(&InvitationSecret([0; 16]), group, [0x5d; SALT_BYTES])),
        ("made for another group", knock.seal(secret, GroupId([0; 32]), [0x5d; SALT_BYTES])),
    ];
    for (what, bytes) in &bad_knocks {
        assert!(Knock::open(secret, group, bytes).is_err(), "{what}");
    }
    let elsewhere = Party { scope: Scope::group(GroupId([9; 32])), ..town.vic.with_device_of(&town.vic) };
    let elsewhere = Opening { certificate: elsewhere.certificate_bytes(), ..opening.clone() };
    let of_elsewhere = ByteVec::from(sign(elsewhere.commitment(group, mailbox)).as_bytes().to_vec());
    let reveals = [
        (
            "the nonce is another than was committed to",
            Reveal { opening: Opening { nonce: [0; NONCE_BYTES], ..opening.clone() }, ..reveal.clone() },
        ),
        (
            "the certificate is another",
            Reveal {
                opening: Opening { certificate: town.vera.certificate_bytes(), ..opening.clone() },
                ..reveal.clone()
            },
        ),
        (
            "the relay is another",
            Reveal { opening: Opening { relay: RelayId([0; 32]), ..opening.clone() }, ..reveal.clone() },
        ),
        (
            "the certificate is for another group",
            Reveal { opening: elsewhere, countersignature: of_elsewhere },
        ),
        (
            "a bit of the countersignature is flipped",
            Reveal { countersignature: ByteVec::from(flip(&reveal.countersignature, -1)), ..reveal.clone() },
        ),
    ];
    let bad_reveals = reveals.map(|(why, reveal)| {
        assert!(reveal.check(secret, group).is_err(), "{why}");
        let sealed = Knock::Reveal(reveal).seal(secret, group, [0x5d; SALT_BYTES]);
        json!({ "why": why, "bytes": hex(&sealed) })
    });
    let other = seal_countersignature(secret, group, [0x5c; SALT_BYTES], &sign(Hash([0; 32])));
    let bad_countersignatures =
        [("a bit is flipped", flip(&sealed, -1)), ("of another commitment", other), ("an answer", answer)];
    for (what, bytes) in &bad_countersignatures {
        assert!(open_countersignature(secret, group, bytes, commitment).is_err(), "{what}");
    }
    let listed = |cases: &[(&str, Vec<u8>)]| -> Vec<Value> {
        cases.iter().map(|(why, bytes)| json!({ "why": why, "bytes": hex(bytes) })).collect()
    };
    json!({
        "opening": {
            "certificate": hex(&opening.certificate),
            "relay": relay.to_string(),
            "nonce": hex(&opening.nonce),
        },
        "commitment": commitment.to_string(),
        "first": hex(&first),
        "countersignature": {
            "sealed": hex(&sealed),
            "signed": hex(signed.as_bytes()),
            "device": signed.device().to_string(),
            "nonce": hex(&[0x6f; NONCE_BYTES]),
        },
        "bad_countersignatures": listed(&bad_countersignatures),
        "second": hex(&second),
        "code": { "for": revealed.code },
        "bad_knocks": listed(&bad_knocks),
        "bad_reveals": bad_reveals,
    })
}

fn group_link(relay_url: &str, town: &Town) -> GroupLink {
    GroupLink { relay_url: relay_url.to_owned(), group: town.group }
}

/// Good links of a group, and bad ones. `invitation` is a link of another kind.
fn group_links(town: &Town, addresses: &[&str; 3], invitation: String) -> (Value, Value) {
    let links = addresses.map(|relay_url| {
        let link = group_link(relay_url, town);
        assert_eq!(GroupLink::parse(&link.to_qr()), Ok(link.clone()));
        json!({
            "link": link.to_uri(),
            "qr_link": link.to_qr(),
            "relay_link": relay_url,
            "group": link.group.to_string(),
        })
    });
    let good = links[0]["link"].as_str().unwrap_or_default();
    let long_form = cbor::encode(&(town.group, addresses[0].to_owned()));
    let refused = [
        ("cut", good[..good.len() - 1].to_owned()),
        ("an invitation", invitation),
        ("an address in its long form", linked(&[&[2][..], &long_form].concat())),
        ("a relay without encryption", group_link("ws://10.0.0.1/v1/session", town).to_uri()),
        ("a host that begins as loopback", group_link("ws://127.0.0.1.example.org/", town).to_uri()),
        ("a name in front of the host", group_link("ws://127.0.0.1@example.org/", town).to_uri()),
        ("another scheme", group_link("http://127.0.0.1/", town).to_uri()),
        ("no address", linked(&[&[2][..], &cbor::encode(&(town.group, String::new()))].concat())),
        (
            "a field too many",
            linked(&[&[2][..], &cbor::encode(&(town.group, "a.b".to_owned(), 1_u8))].concat()),
        ),
    ];
    for (what, link) in &refused {
        assert!(GroupLink::parse(link).is_err(), "{what}");
    }
    (json!(links), json!(refused.map(|(why, link)| json!({ "why": why, "link": link }))))
}

/// A good request to join, and bad ones.
fn requests(group: GroupId, certificate: &[u8]) -> (Value, Value) {
    let request = JoinRequest::from_bytes(certificate.to_vec());
    let link = request.to_uri().unwrap();
    assert_eq!(JoinRequest::parse(&link, group), Ok(request.clone()));
    let packed = Certificate::verify(certificate, Scope::group(group)).unwrap().pack();
    let of = |change: fn(&mut Vec<u8>)| {
        let mut content = [&[3][..], &packed].concat();
        change(&mut content);
        linked(&content)
    };
    let refused = [
        ("a bit of the device's key is flipped", of(|content| content[40] ^= 1)),
        ("a bit of the member's signature is flipped", of(|content| content[224] ^= 1)),
        ("a byte is missing", of(|content| content.truncate(224))),
        ("a byte too many", of(|content| content.push(0))),
        ("of another kind", of(|content| content[0] = 2)),
    ];
    for (what, link) in &refused {
        assert!(JoinRequest::parse(link, group).is_err(), "{what}");
    }
    let good = json!({ "link": link, "qr_link": request.to_qr().unwrap(), "certificate": hex(certificate) });
    (good, json!(refused.map(|(why, link)| json!({ "why": why, "link": link }))))
}

/// A link of any content, with its checksum.
fn linked(content: &[u8]) -> String {
    let sum = hash::tagged(b"lamppost/1/invitation", &[content]);
    let bytes = [content, &sum.0[..4]].concat();
    format!("lamppost:{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// What a writer must not write: an address whose beginning and end should have been left out.
fn long_form(invitation: &Invitation) -> Vec<u8> {
    let fields = (
        invitation.group,
        invitation.role,
        invitation.secret.clone(),
        invitation.expires_s,
        invitation.relay_url.clone(),
    );
    [vec![1], cbor::encode(&fields)].concat()
}
