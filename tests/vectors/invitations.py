"""Sections 4.7 and 4.8: links, mailboxes, knocks and short codes."""

import base64
import ipaddress
import re

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats import (Refused, any_bytes, b16, b32, certificate, decode, demand, mapping, row, sign1, tagged, text, u8,
                     u64)

INVITATION = row(b32, u8, b16, u64, text)
GROUP_LINK = row(b32, text)
OPENING = mapping({0: any_bytes, 1: b32, 2: b32})
KNOCKS = {0: row(b32), 1: row(mapping({0: OPENING, 1: any_bytes}))}
COUNTERSIGNED = mapping({0: b32, 1: b16, 2: b32, 3: b32, 4: b32})


def link(written, kind):
    """The content of a link of this kind."""
    uri = written.strip().lower()
    demand(uri.startswith("lamppost:"), "something else")
    encoded = uri[9:].upper()
    try:
        data = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except ValueError:
        raise Refused("damaged") from None
    demand(base64.b32encode(data).decode().rstrip("=") == encoded and len(data) > 4, "damaged")
    demand(tagged(b"lamppost/1/invitation", data[:-4])[:4] == data[-4:], "damaged")
    demand(data[0] == kind, "another kind, or a later version")
    return data[1:-4]


def address(written):
    relay = written if "://" in written else f"wss://{written}/v1/session"
    host = relay[6:-11] if relay.startswith("wss://") and relay.endswith("/v1/session") else ""
    short = host if host and "://" not in host else relay
    demand(short == written and 0 < len(relay.encode()) <= 128, "damaged")
    scheme, rest = relay.split("://", 1)
    authority = re.split(r"[/?#\\]", rest)[0]
    host = authority[1:].split("]")[0] if authority.startswith("[") else authority.split(":")[0]
    demand(host and "@" not in authority, "no host")
    demand(scheme == "wss" or scheme == "ws" and loopback(host), "not encrypted")
    return relay


def loopback(host):
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def invitation(written):
    content = decode(link(written, 1))
    demand(INVITATION(content), "damaged")
    return [*content[:4], address(content[4])]


def group_link(written):
    content = decode(link(written, 2))
    demand(GROUP_LINK(content), "damaged")
    return [content[0], address(content[1])]


def request(written, group):
    """The certificate that a request to join this group stands for."""
    packed = link(written, 3)
    demand(len(packed) == 224, "damaged")
    cuts = (0, 32, 64, 96, 160, 224)
    member, device, agreement, by_device, by_member = (packed[a:b] for a, b in zip(cuts, cuts[1:]))
    claims = cbor2.dumps({0: 1, 1: member, 2: device, 3: agreement, 4: group}, canonical=True)
    inner = cbor2.dumps([b"\xa1\x01\x27", {}, claims, by_device], canonical=True)
    data = cbor2.dumps([b"\xa1\x01\x27", {}, inner, by_member], canonical=True)
    certificate(data, group)
    return data


def derived(secret, salt, info, length=32):
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def open_mail(secret, group, purpose, sealed):
    key = derived(derived(secret, group, b"lamppost/1/mailbox-key"), sealed[:16], purpose)
    try:
        box = derived(secret, group, b"lamppost/1/mailbox", 16)
        return ChaCha20Poly1305(key).decrypt(bytes(12), sealed[16:], box)
    except InvalidTag:
        raise Refused("another invitation") from None


def knock(secret, group, sealed):
    """Index and content of a knock."""
    value = decode(open_mail(secret, group, b"lamppost/1/knock", sealed))
    demand(type(value) is list and len(value) == 2 and value[0] in KNOCKS, "no knock")
    demand(KNOCKS[value[0]](value[1]), "no knock")
    return value[0], value[1][0]


def commitment(secret, group, opening):
    box = derived(secret, group, b"lamppost/1/mailbox", 16)
    return tagged(b"lamppost/1/knock-commitment", group, box, opening[0], opening[1], opening[2])


def countersignature(secret, group, committed, data):
    """The device that signed."""
    payload, verify = sign1(data)
    claims = decode(payload)
    demand(COUNTERSIGNED(claims), "no claims")
    box = derived(secret, group, b"lamppost/1/mailbox", 16)
    demand((claims[0], claims[1], claims[2]) == (group, box, committed), "another knock's")
    verify(claims[3], b"countersignature")
    return claims[3], claims[4]


def reveal(secret, group, sealed):
    """The code of a second knock, and the device that countersigned the first."""
    index, value = knock(secret, group, sealed)
    demand(index == 1, "a first knock")
    opening, signed = value[0], value[1]
    certificate(opening[0], group)
    device, _ = countersignature(secret, group, commitment(secret, group, opening), signed)
    return short_code(secret, opening, signed), device


def short_code(secret, opening, signed):
    number = tagged(b"lamppost/1/short-code", secret, opening[0], opening[1], opening[2], signed)[:8]
    digits = f"{int.from_bytes(number, 'big') % 10**12:012}"
    return " ".join([digits[:4], digits[4:8], digits[8:]])
