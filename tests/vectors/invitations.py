"""Sections 4.7 and 4.8: links, mailboxes, knocks and short codes."""

import base64
import ipaddress
import re

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from formats import Refused, any_bytes, b16, b32, certificate, decode, demand, mapping, row, tagged, text, u8, u64

INVITATION = row(b32, u8, b16, u64, text)
GROUP_LINK = row(b32, text)


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
    value = decode(open_mail(secret, group, b"lamppost/1/knock", sealed))
    demand(mapping({0: any_bytes, 1: b32})(value), "no knock")
    certificate(value[0], group)
    return value


def short_code(secret, data):
    digits = f"{int.from_bytes(tagged(b'lamppost/1/short-code', secret, data)[:8], 'big') % 10**12:012}"
    return " ".join([digits[:4], digits[4:8], digits[8:]])
