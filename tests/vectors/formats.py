"""[1] to [3]: values, signatures, certificates, entries and sealed bodies, as core/PROTOCOL.md has them."""

import hashlib
import io
from pathlib import Path

import cbor2
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

CERTIFICATE, OPERATION, SENDER_KEY, SEALED = range(4)

PROJECT = Path(__file__).parents[2]
DICTIONARY_BYTES = (PROJECT / "core/src/entry/plaintext.zdict").read_bytes()
DICTIONARY = zstandard.ZstdCompressionDict(DICTIONARY_BYTES)


class Refused(Exception):
    """What a reader refuses, and why."""


def demand(holds, why):
    if not holds:
        raise Refused(why)


# [1.1] [1.2] Values.

def sha256(data):
    return hashlib.sha256(data).digest()


def tagged(tag, *parts):
    return sha256(tag + b"\0" + b"".join(len(part).to_bytes(4, "big") + part for part in parts))


def epoch_bytes(epoch):
    return epoch[0].to_bytes(4, "big") + epoch[1]


def encode(value):
    return cbor2.dumps(value, canonical=True)


def well_formed(data):
    """Reads one CBOR item, and refuses bytes behind it."""
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except (cbor2.CBORDecodeError, ValueError, TypeError) as why:
        raise Refused(f"no CBOR: {why}") from None
    demand(stream.tell() == len(data), "bytes behind the value")
    return value


def decode(data):
    """Reads canonical CBOR: whatever does not come out as it went in is refused."""
    value = well_formed(data)
    demand(encode(value) == data, "not canonical")
    return value


def number(bits):
    return lambda v: type(v) is int and 0 <= v < 1 << bits


def octets(length=None):
    return lambda v: type(v) is bytes and length in (None, len(v))


def octets_to(most):
    return lambda v: type(v) is bytes and len(v) <= most


def array(item):
    return lambda v: type(v) is list and all(item(x) for x in v)


def row(*items, shortest=None):
    return lambda v: (type(v) is list and (shortest or len(items)) <= len(v) <= len(items)
                      and all(item(x) for item, x in zip(items, v)))


def mapping(fields, optional=()):
    return lambda v: (type(v) is dict and set(fields) - set(optional) <= set(v) <= set(fields)
                      and all(fields[key](x) for key, x in v.items()))


def text(value):
    return type(value) is str


def boolean(value):
    return type(value) is bool


u8, u16, u32, u64, any_bytes = number(8), number(16), number(32), number(64), octets()
b16, b32 = octets(16), octets(32)
EPOCH, CHECKPOINT, HEAD = row(u32, octets(16)), row(u64, b32), row(u64, b32)
SEALED_KEY = row(b32, octets(48))
WIRE = row(any_bytes, any_bytes, shortest=1)
CLAIMS = mapping({0: u8, 1: b32, 2: b32, 3: b32, 4: b32})
HEADER = mapping({0: u8, 1: u8, 2: b32, 3: u8, 4: b32, 5: u64, 6: b32, 7: u8, 8: EPOCH, 9: b32, 10: u32, 11: b32,
                  12: u64, 13: u32, 14: array(b32), 15: CHECKPOINT}, optional=(2, 6, 8, 11, 13, 15))
CONTENT = mapping({0: octets(24), 1: u16, 2: u8, 3: any_bytes})
EVIDENCE = mapping({0: WIRE, 1: b32, 2: b32, 3: any_bytes})
RECEIPT = mapping({0: b32, 1: octets(16), 2: b32, 3: u64, 4: array(b32), 5: CHECKPOINT})
PROOF = mapping({0: u8, 1: b32, 2: b32, 3: b32, 4: b32, 5: any_bytes}, optional=(5,))
SESSION_KEY = mapping({0: b32})
REFUSAL = mapping({0: u8, 1: text, 2: u64}, optional=(2,))
KEPT = row(lambda v: v == 0, lambda v: v == [])
OUTCOME = lambda v: KEPT(v) or row(lambda n: n == 1, row(REFUSAL))(v)
KNOCKED = mapping({0: b16, 1: b32, 2: u64, 3: octets_to(2048)}, optional=(3,))
CLOSED = row(lambda n: n == 2, row(REFUSAL))
WORD = lambda v: (row(lambda n: n in (0, 3), lambda w: w == [])(v)
                  or row(lambda n: n in (1, 4), row(octets_to(1024)))(v) or CLOSED(v))
FRAMES = [  # [5.1]
    mapping({0: u8, 1: b32, 2: b32, 3: octets(16)}), mapping({0: any_bytes, 1: any_bytes}, optional=(1,)),
    mapping({0: u64, 1: lambda v: v in (0, 1, 2, 3), 2: any_bytes, 3: array(row(u8, HEAD))}, optional=(2,)),
    mapping({0: array(row(u8, u64)), 1: boolean}),
    mapping({0: u8, 1: array(WIRE), 2: u64, 3: u64, 4: u64}), None,
    mapping({0: u32, 1: array(WIRE)}), mapping({0: u32, 1: array(OUTCOME), 2: any_bytes}, optional=(2,)), None,
    mapping({0: array(row(row(u8, b32), HEAD))}), mapping({0: u64}),
    mapping({0: u64, 1: any_bytes, 2: array(b32)}), REFUSAL,
    mapping({0: b16, 1: u64}), mapping({0: b16, 1: octets_to(2048)}),
    mapping({0: lambda v: array(KNOCKED)(v) and len(v) <= 64}), mapping({0: b16, 1: octets_to(1024)}),
    mapping({0: b16, 1: WORD}), mapping({0: b16, 1: OUTCOME}),
    mapping({0: lambda v: array(b32)(v) and len(v) <= 576}), mapping({0: lambda v: array(b32)(v) and len(v) <= 576}),
    mapping({0: b32, 1: octets_to(65552), 2: any_bytes}), mapping({0: b32, 1: OUTCOME}), mapping({0: b32}),
    mapping({0: b32, 1: octets_to(65552)}, optional=(1,)), mapping({0: b16, 1: b32, 2: octets_to(1024)})]


# [1.3] Signatures.

P = 2**255 - 19
# The y coordinates of the points of small order.
SMALL_ORDER = {0, 1, P - 1, 2707385501144840649318225287225658788936804267575313519463743609750303402022,
               55188659117513257062467267217118295137698188065244968500265048394206261417927}


def large_order(point):
    return (int.from_bytes(point, "little") & ((1 << 255) - 1)) % P not in SMALL_ORDER


def sign1(data):
    """The payload, and a function that checks the signature."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError) as why:
        raise Refused(f"no CBOR: {why}") from None
    demand(row(any_bytes, lambda v: v == {}, any_bytes, octets(64))(value), "no COSE_Sign1")
    protected, _, payload, signature = value
    demand(protected == b"\xa1\x01\x27" and cbor2.dumps(value, canonical=True) == data, "another form")

    def verify(key, purpose):
        demand(large_order(key) and large_order(signature[:32]), "a key of small order")
        signed = cbor2.dumps(["Signature1", protected, b"lamppost/1/" + purpose, payload])
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
        except (InvalidSignature, ValueError):
            raise Refused(f"the signature for {purpose} does not hold") from None

    return payload, verify


def certificate(data, scope):  # [2.3]
    word, by_member = sign1(data)
    claims, by_device = sign1(word)
    claims = decode(claims)
    demand(CLAIMS(claims), "no claims")
    demand(claims[0] == 1, "another version")
    demand(claims[4] == scope, "another group")
    by_device(claims[2], b"possession")
    by_member(claims[1], b"certificate")
    return claims


# [2] Entries.

class Entry:
    def __init__(self, wire):
        wire = decode(wire) if type(wire) is bytes else wire
        demand(WIRE(wire), "no entry")
        self.signed, self.body = wire[0], wire[1] if len(wire) == 2 else None
        demand(len(self.signed) <= 2048 and len(self.body or b"") <= 262144, "too large")
        payload, self.verify_as = sign1(self.signed)
        self.header = h = decode(payload)
        demand(type(h) is dict and h.get(0) == 1, "another version")
        demand(HEADER(h), "no header")
        rules(h)
        demand(self.body is None or (len(self.body) == h[10] and sha256(self.body) == h[9]), "another body")
        demand(self.body is not None or may_lose_body(h), "no body")
        self.hash = sha256(self.signed)
        self.group = h.get(2, self.hash)

    def verify(self):
        self.verify_as(self.header[4], b"entry")
        return self


def may_lose_body(h):  # [2.1]
    return h[3] != 0 and h[7] >= SEALED


def rules(h):  # [2.1]
    founding, kind, heads = 2 not in h, h[7], h[14]
    demand(h[1] == 1, "another suite")
    demand((h[5] == 0) == (6 not in h), "previous")
    demand(not founding or (h[3], h[5], kind) == (0, 0, OPERATION), "founding")
    demand(founding or (h[5] == 0) == (kind == CERTIFICATE), "seq 0 is the certificate")
    demand(kind != OPERATION or h[3] == 0, "operations belong into the roll")
    demand(kind not in (SENDER_KEY, SEALED) or h[3] != 0, "the roll is in the clear")
    if kind <= SEALED:
        demand((8 in h) == (kind in (SENDER_KEY, SEALED)) and (11 in h) == (kind == SEALED), "epoch, commitment")
    demand(h[10] <= 262144, "body too large")
    demand(len(heads) <= 16 and all(a < b for a, b in zip(heads, heads[1:])), "roll heads")
    demand(heads or founding, "no roll head")
    demand(13 not in h or may_lose_body(h), "it may not expire")


def run(group, entries):  # [2.4]
    """How many entries of a run from an empty log are proven."""
    linked, before = [], None
    for entry in entries:
        h = entry.header
        follows = h[5] == 0 if before is None else (h[5], h.get(6)) == (before.header[5] + 1, before.hash)
        if entry.group != group or not follows:
            break
        if h[7] == CERTIFICATE and certificate(entry.body or b"", group)[2] != h[4]:
            break
        linked.append(entry)
        before = entry
    return next((n for n, entry in enumerate(linked) if not holds(entry.verify)), len(linked))


def holds(check, *arguments):
    try:
        check(*arguments)
        return True
    except Refused:
        return False


# [3] Sealed bodies.

HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def open_keys(private, sealed, info, count):  # [3.1]
    """The secrets under a SealedKey, or under SealedKeys."""
    demand(row(b32, octets(32 * count + 16))(sealed), "no such seal")
    try:
        opened = HPKE.decrypt(sealed[0] + sealed[1], X25519PrivateKey.from_private_bytes(private), info=info)
    except (InvalidTag, ValueError):
        raise Refused("the key does not open") from None
    return [opened[at:at + 32] for at in range(0, len(opened), 32)]


def expand(key, label):
    return HKDFExpand(hashes.SHA256(), 32, label).derive(key)


def entry_key(sender, salt, group, compartment, device, seq):  # [3.2]
    place = b"lamppost/1/entry-key" + group + bytes([compartment]) + device + seq.to_bytes(8, "big")
    return HKDF(hashes.SHA256(), 32, salt, place).derive(sender)


def padded(n):  # [3.3]
    if n < 2:
        return n
    e = n.bit_length() - 1
    mask = (1 << max(e - e.bit_length(), 0)) - 1
    return (n + mask) & ~mask


def unpack(plain):  # [3.3]
    demand(len(plain) >= 9, "no frame")
    packed, raw = int.from_bytes(plain[1:5], "big"), int.from_bytes(plain[5:9], "big")
    demand(9 + packed <= len(plain) == padded(9 + packed) and not any(plain[9 + packed:]), "frame")
    demand(raw <= 1048576 and plain[0] in (0, 1, 2), "too large, or an unknown codec")
    content = plain[9:9 + packed]
    if plain[0] != 0:
        demand(content[:4] == b"\x28\xb5\x2f\xfd", "no frame")
        try:
            frame = zstandard.ZstdDecompressor(dict_data=DICTIONARY if plain[0] == 2 else None).decompressobj()
            content = frame.decompress(content)
        except zstandard.ZstdError:
            raise Refused("compression") from None
        demand(frame.eof and not frame.unused_data, "more than one frame")
    demand(len(content) == raw, "another length than stated")
    content = decode(content)
    demand(CONTENT(content), "no content")
    return content


def open_body(entry, key):  # [3.4]
    demand(entry.header[7] == SEALED and entry.body and len(entry.body) >= 16, "no sealed body")
    try:
        plain = ChaCha20Poly1305(expand(key, b"lamppost/1/cipher")).decrypt(bytes(12), entry.body[16:], None)
    except InvalidTag:
        raise Refused("another key") from None
    mac = hmac.HMAC(expand(key, b"lamppost/1/commitment"), hashes.SHA256())
    mac.update(plain)
    demand(mac.finalize() == entry.header[11], "another commitment")
    return plain


def evidence(data, committed):  # [3.5]
    value = decode(data)
    demand(EVIDENCE(value), "no evidence")
    entry = Entry(value[0]).verify()
    demand(tagged(b"lamppost/1/source", value[2], entry.hash) in committed, "not committed to")
    claims = certificate(value[3], entry.group)
    demand(claims[2] == entry.header[4], "another device's certificate")
    return claims[1], entry.hash, unpack(open_body(entry, value[1]))
