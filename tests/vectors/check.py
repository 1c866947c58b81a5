"""Checks the golden vectors against core/PROTOCOL.md, whose section numbers stand in brackets.

A second implementation of what a reader checks. It shares no code with the first and knows nothing but the document.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import cbor2
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hmac, hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
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


def decode(data):
    """Reads canonical CBOR: whatever does not come out as it went in is refused."""
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError) as why:
        raise Refused(f"no CBOR: {why}") from None
    demand(cbor2.dumps(value, canonical=True) == data, "not canonical")
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
CLAIMS = mapping({0: u8, 1: b32, 2: b32, 3: b32})
HEADER = mapping({0: u8, 1: u8, 2: b32, 3: u8, 4: b32, 5: u64, 6: b32, 7: u8, 8: EPOCH, 9: b32, 10: u32, 11: b32,
                  12: u64, 13: u32, 14: array(b32), 15: CHECKPOINT}, optional=(2, 6, 8, 11, 13, 15))
CONTENT = mapping({0: octets(24), 1: u16, 2: u8, 3: any_bytes})
EVIDENCE = mapping({0: WIRE, 1: b32, 2: b32, 3: any_bytes})
GRANT = mapping({0: u8, 1: EPOCH, 2: b32, 3: SEALED_KEY})
ROTATION = mapping({0: u8, 1: u32, 2: b32, 3: array(GRANT), 4: mapping({0: EPOCH, 1: SEALED_KEY})}, optional=(4,))
TEMPLATE = mapping({0: array(mapping({0: u8, 1: text, 2: boolean})),
                    1: array(mapping({0: u8, 1: text, 2: array(u8), 3: array(u8)}))})
OPERATIONS = {
    0: mapping({0: TEMPLATE, 1: u8, 2: any_bytes, 3: array(ROTATION), 4: octets(16)}),
    1: mapping({0: b32, 1: u8, 2: array(any_bytes), 3: array(GRANT), 4: octets(16)}, optional=(4,)),
    2: mapping({0: array(GRANT)}),
    3: mapping({0: array(ROTATION)}),
}
RECEIPT = mapping({0: b32, 1: octets(16), 2: b32, 3: u64, 4: array(b32), 5: CHECKPOINT})
PROOF = mapping({0: u8, 1: b32, 2: b32, 3: b32, 4: b32})
REFUSAL = mapping({0: u8, 1: text, 2: u64}, optional=(2,))
KEPT = row(lambda v: v == 0, lambda v: v == [])
OUTCOME = lambda v: KEPT(v) or row(lambda n: n == 1, row(REFUSAL))(v)
KNOCKED = mapping({0: b16, 1: b32, 2: u64, 3: octets_to(2048)}, optional=(3,))
CLOSED = row(lambda n: n == 2, row(REFUSAL))
WORD = lambda v: (row(lambda n: n in (0, 3), lambda w: w == [])(v)
                  or row(lambda n: n == 1, row(octets_to(1024)))(v) or CLOSED(v))
FRAMES = [  # [5.1]
    mapping({0: u8, 1: b32, 2: b32, 3: octets(16)}), mapping({0: any_bytes}),
    mapping({0: u64, 1: lambda v: v in (0, 1, 2), 2: any_bytes, 3: array(row(u8, HEAD))}, optional=(2,)),
    mapping({0: array(row(u8, u64)), 1: boolean}), mapping({0: u8, 1: array(WIRE), 2: u64}), None,
    mapping({0: u32, 1: array(WIRE)}), mapping({0: u32, 1: array(OUTCOME), 2: any_bytes}, optional=(2,)), None,
    mapping({0: array(row(row(u8, b32), HEAD))}), mapping({0: u64}),
    mapping({0: u64, 1: any_bytes, 2: array(b32)}), REFUSAL,
    mapping({0: b16, 1: u64}), mapping({0: b16, 1: octets_to(2048)}),
    mapping({0: lambda v: array(KNOCKED)(v) and len(v) <= 64}), mapping({0: b16, 1: octets_to(1024)}),
    mapping({0: b16, 1: WORD}), mapping({0: b16, 1: OUTCOME})]


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


def certificate(data):  # [2.3]
    inner, by_device = sign1(data)
    claims, by_member = sign1(inner)
    claims = decode(claims)
    demand(CLAIMS(claims) and claims[0] == 1, "no claims of version 1")
    by_member(claims[1], b"certificate")
    by_device(claims[2], b"possession")
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
        self.hash = sha256(self.signed)
        self.group = h.get(2, self.hash)

    def verify(self):
        self.verify_as(self.header[4], b"entry")
        return self


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


def run(group, entries):  # [2.4]
    """How many entries of a run from an empty log are proven."""
    linked, before = [], None
    for entry in entries:
        h = entry.header
        follows = h[5] == 0 if before is None else (h[5], h.get(6)) == (before.header[5] + 1, before.hash)
        if entry.group != group or not follows:
            break
        if h[7] == CERTIFICATE and certificate(entry.body or b"")[2] != h[4]:
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


def open_key(private, sealed, info):  # [3.1]
    demand(SEALED_KEY(sealed), "no sealed key")
    try:
        return HPKE.decrypt(sealed[0] + sealed[1], X25519PrivateKey.from_private_bytes(private), info=info)
    except (InvalidTag, ValueError):
        raise Refused("the key does not open") from None


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
    claims = certificate(value[3])
    demand(claims[2] == entry.header[4], "another device's certificate")
    return claims[1], entry.hash, unpack(open_body(entry, value[1]))


# [4] The roll.

def operation(entry):
    """Number, fields and certificates of a roll entry; number none for a device's own certificate."""
    if entry.header[7] == CERTIFICATE:
        return None, {}, [certificate(entry.body)]
    value = decode(entry.body)
    demand(row(u8, lambda v: True)(value), "no operation")
    code, fields = value
    demand(code not in OPERATIONS or OPERATIONS[code](fields), "no such operation")
    raw = {0: lambda: [fields[2]], 1: lambda: fields[2]}.get(code, list)()
    certificates = [certificate(data) for data in raw]
    demand(code != 0 or certificates[0][2] == entry.header[4], "another founder")
    demand(code != 1 or all(claims[1] == fields[0] for claims in certificates), "somebody else's certificate")
    return code, fields, certificates


class Roll:  # [4.3]
    def __init__(self, entries):
        self.nodes, waiting, citable = {}, [entry.verify() for entry in entries], []
        while waiting:
            ready = [e for e in waiting if all(p in self.nodes for p in self.parents(e))]
            demand(ready, "something is missing")
            for entry in ready:
                depth = max((self.nodes[p][0] + 1 for p in self.parents(entry)), default=0)
                read = operation(entry)
                before = self.state(self.past(self.parents(entry)))
                founding, own = entry.header.get(2) is None, read[0] is None
                counts = founding or own or self.governs(before, entry.header[4])
                if counts and (not own or read[2][0][1] in before["members"]):
                    citable.append(entry)
                self.nodes[entry.hash] = (depth, entry, read, counts)
                waiting.remove(entry)
        cited = {p for entry in citable for p in self.parents(entry)}
        self.heads = sorted({entry.hash for entry in citable} - cited)[-16:]

    @staticmethod
    def parents(entry):
        return [] if 2 not in entry.header else {*entry.header[14], *filter(None, [entry.header.get(6)])}

    def past(self, heads):
        past, waiting = set(), list(heads)
        while waiting:
            at = waiting.pop()
            if at not in past:
                past.add(at)
                waiting.extend(self.parents(self.nodes[at][1]))
        return past

    def order(self, among):
        return sorted(among, key=lambda at: (self.nodes[at][0], at))

    def state(self, among):
        state = {"template": None, "members": {}, "devices": {}, "invited": {}, "epochs": {}}
        for at in self.order(among):
            _, _, (code, fields, certificates), counts = self.nodes[at]
            if not counts:
                continue
            for claims in certificates:
                state["devices"].setdefault(claims[2], (claims[1], claims[3]))
            if code == 0:
                state["template"] = fields[0]
                state["members"][certificates[0][1]] = fields[1]
            if code == 1 and any(role[0] == fields[1] for role in state["template"][0]):
                state["members"][fields[0]] = fields[1]
            if code == 1 and 4 in fields:
                state["invited"].setdefault(fields[4], fields[0])
            for rotation in {0: fields.get(3), 3: fields.get(0)}.get(code) or []:
                epoch = (rotation[1], tagged(b"lamppost/1/epoch", rotation[2])[:16])
                epochs = state["epochs"].setdefault(rotation[0], {})
                if rotation[1] <= max((number + 1 for number, _ in epochs), default=0):
                    epochs.setdefault(epoch, (rotation[2], []))[1].extend(rotation[3])
            for grant in {1: fields.get(3), 2: fields.get(0)}.get(code) or []:
                epochs = state["epochs"].get(grant[0], {})
                if tuple(grant[1]) in epochs:
                    epochs[tuple(grant[1])][1].append(grant)
        return state

    @staticmethod
    def governs(state, device):
        role = state["members"].get(state["devices"].get(device, (None,))[0])
        return any(row[0] == role and row[2] for row in state["template"][0])


# [4.5] Invitations.

INVITATION = row(b32, u8, b16, u64, text)


def link(written):
    uri = written.strip().lower()
    demand(uri.startswith("lamppost:"), "something else")
    encoded = uri[9:].upper()
    try:
        data = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except ValueError:
        raise Refused("damaged") from None
    demand(base64.b32encode(data).decode().rstrip("=") == encoded and len(data) > 4, "damaged")
    demand(tagged(b"lamppost/1/invitation", data[:-4])[:4] == data[-4:], "damaged")
    demand(data[0] == 1, "another version")
    content = decode(data[1:-4])
    demand(INVITATION(content), "damaged")
    relay = content[4] if "://" in content[4] else f"wss://{content[4]}/v1/session"
    host = relay[6:-11] if relay.startswith("wss://") and relay.endswith("/v1/session") else ""
    short = host if host and "://" not in host else relay
    demand(short == content[4] and 0 < len(relay.encode()) <= 128, "damaged")
    return [*content[:4], relay]


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
    certificate(value[0])
    return value


def short_code(secret, data):
    digits = f"{int.from_bytes(tagged(b'lamppost/1/short-code', secret, data)[:8], 'big') % 10**12:012}"
    return " ".join([digits[:4], digits[4:8], digits[8:]])


# [5.4] The tree (RFC 9162, section 2.1).

def root(leaves):
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + root(leaves[:split]) + root(leaves[split:]))


def consistent(old, new, hashes_):  # RFC 9162, section 2.1.4.2
    demand(0 < old[0] <= new[0], "sizes")
    if old[0] == new[0]:
        return demand(old[1] == new[1] and not hashes_, "roots")
    path = ([old[1]] if old[0] & (old[0] - 1) == 0 else []) + hashes_
    demand(path, "no proof")
    fn, sn = old[0] - 1, new[0] - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        demand(sn, "too long")
        if fn & 1 or fn == sn:
            fr, sr = sha256(b"\1" + c + fr), sha256(b"\1" + c + sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = sha256(b"\1" + sr + c)
        fn, sn = fn >> 1, sn >> 1
    demand((fr, sr, sn) == (old[1], new[1], 0), "roots")


def receipt(data, relay, incarnation, group):
    payload, verify = sign1(data)
    verify(relay, b"receipt")
    value = decode(payload)
    demand(RECEIPT(value) and (value[0], value[1], value[2]) == (relay, incarnation, group), "another receipt")
    return value


def session_proof(data, nonce, relay):  # [5.2]
    payload, verify = sign1(data)
    value = decode(payload)
    demand(PROOF(value) and (value[0], value[1], value[2]) == (1, nonce, relay), "another proof")
    verify(value[4], b"session")
    return value


def frame(data):  # [5.1]
    value = decode(data)
    demand(row(u8, array(lambda v: True))(value) and value[0] < len(FRAMES), "no frame")
    shape = FRAMES[value[0]]
    demand(value[1] == [] if shape is None else row(shape)(value[1]), "no such frame")


def change(data, device):  # [6.1]
    demand(data[:4] == b"\x85\x6f\x4a\x83" and data[8:9] == b"\1", "no change")
    demand(sha256(data[8:])[:4] == data[4:8], "checksum")

    def leb(at):
        value = shift = 0
        while True:
            value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
            if not data[at - 1] & 128:
                return value, at

    length, at = leb(9)
    demand(at + length == len(data), "length")
    dependencies, at = leb(at)
    actor, at = leb(at + 32 * dependencies)
    demand(data[at:at + actor] == device, "another actor")


def document_id(member, kind, nonce):  # [6.2]
    return nonce + tagged(b"lamppost/1/document", member, kind.to_bytes(2, "big"), nonce)[:16]


# The vectors.

passed = failed = 0


def equal(what, found, expected):
    global passed, failed
    if found == expected:
        passed += 1
    else:
        failed += 1
        print(f"  FAILED {what}: found {found!r}, expected {expected!r}")


def accepts(what, check, *arguments):
    try:
        return check(*arguments)
    except Refused as why:
        equal(what, f"refused: {why}", "accepted")


def refuses(cases, check):
    for case in cases:
        equal(case["why"], holds(check, case), False)


def unhex(value):
    """JSON with its hexadecimal strings as bytes."""
    if isinstance(value, dict):
        return {key: item if key in ("what", "why", "for") or key.endswith("link") else unhex(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unhex(item) for item in value]
    return bytes.fromhex(value) if isinstance(value, str) else value


def check_keys(v):
    for party in v["parties"]:
        for name in ("member", "device"):
            public = Ed25519PrivateKey.from_private_bytes(party[f"{name}_secret"]).public_key()
            equal(name, public.public_bytes_raw(), party[name])
        public = X25519PrivateKey.from_private_bytes(party["agreement_secret"]).public_key()
        equal("agreement", public.public_bytes_raw(), party["agreement"])
    for e in v["epochs"]:
        public = X25519PrivateKey.from_private_bytes(e["secret"]).public_key().public_bytes_raw()
        equal("epoch key", public, e["public"])
        equal("epoch id", tagged(b"lamppost/1/epoch", public)[:16], e["id"])
        equal("epoch bytes", epoch_bytes((e["number"], e["id"])), e["derivation_bytes"])
    for k in v["entry_keys"]:
        key = entry_key(k["sender_key"], k["salt"], k["group"], k["compartment"], k["device"], k["seq"])
        equal("entry key", key, k["entry_key"])
        equal("cipher key", expand(key, b"lamppost/1/cipher"), k["cipher_key"])
        equal("commitment key", expand(key, b"lamppost/1/commitment"), k["commitment_key"])


def check_certificate(v):
    for case in v["accepted"]:
        claims = accepts("certificate", certificate, case["bytes"])
        equal("claims", claims, {0: case["version"], 1: case["member"], 2: case["device"], 3: case["agreement"]})
    refuses(v["refused"], lambda case: certificate(case["bytes"]))


def check_entries(v):
    names = ["version", "suite", "group", "compartment", "device", "seq", "previous", "kind", "epoch", "body_hash",
             "body_bytes", "commitment", "claimed_ms", "expiry_day", "roll_heads", "checkpoint"]
    for case in v["accepted"]:
        entry = accepts(case["what"], lambda wire: Entry(wire).verify(), case["wire"])
        found = {name: entry.header.get(key) for key, name in enumerate(names)}
        equal(case["what"], (found, entry.hash, entry.group), (case["header"], case["hash"], case["group"]))
    refuses(v["malformed"], lambda case: Entry(case["wire"]))
    for case in v["unproven"]:
        equal("form", holds(Entry, case["wire"]), True)
    refuses(v["unproven"], lambda case: Entry(case["wire"]).verify())


def check_body(v):
    def read(case):
        plain = open_body(Entry(case["wire"]).verify(), case["entry_key"])
        return plain, unpack(plain)

    for case in v["accepted"]:
        equal("body", accepts("body", read, case), (case["plaintext"], content_of(case["content"])))
    refuses(v["refused"], read)
    equal("dictionary", sha256(DICTIONARY_BYTES), v["dictionary_sha256"])
    for case in v["plaintexts"]:
        equal("plaintext", accepts("plaintext", unpack, case["plaintext"]), content_of(case["content"]))
    refuses(v["bad_plaintexts"], lambda case: unpack(case["plaintext"]))
    for length, expected in v["padded_bytes"]:
        equal(f"padded({length})", padded(length), expected)


def content_of(case):
    return {0: case["document"], 1: case["kind"], 2: case["form"], 3: case["bytes"]}


def check_chain(v):
    equal("the run", run(v["group"], [Entry(wire) for wire in v["entries"]]), len(v["entries"]))
    for case in v["broken"]:
        proven = run(v["group"], [Entry(wire) for wire in case["entries"]])
        equal(case["why"], proven, case["proven"])
        equal(case["why"], proven < len(case["entries"]), True)


def check_roll(v):
    for piece in v["slices"]:
        roll, expected = Roll([Entry(wire) for wire in piece["entries"]]), piece["expected"]
        state = roll.state(roll.nodes)
        belonging = {device: it for device, it in state["devices"].items() if it[0] in state["members"]}
        equal("group", {entry.group for _, entry, _, _ in roll.nodes.values()}, {expected["group"]})
        equal("order", roll.order(roll.nodes), expected["order"])
        equal("heads", roll.heads, expected["heads"])
        idle = [at for at in roll.order(roll.nodes) if not roll.nodes[at][3]]
        equal("without effect", idle, expected["without_effect"])
        equal("members", state["members"], {m["member"]: m["role"] for m in expected["members"]})
        equal("devices", belonging, {d["device"]: (d["member"], d["agreement"]) for d in expected["devices"]})
        equal("invited", list(state["invited"].items()), [tuple(i) for i in [expected["invited"]] if i])
        equal("compartments", sorted(state["epochs"]), [e["compartment"] for e in expected["epochs"]])
        for e in expected["epochs"]:
            epochs = state["epochs"][e["compartment"]]
            newest = max(epochs)
            found = (list(newest), epochs[newest][0], [grant[2] for grant in epochs[newest][1]], len(epochs))
            equal("epochs", found, (e["newest"], e["public"], e["granted"], e["epochs"]))


def check_sealed_keys(v):
    def info(p):
        c = bytes([p["compartment"]])
        if p["for"] == "epoch key":
            return b"lamppost/1/epoch-key" + c + epoch_bytes(p["epoch"])
        if p["for"] == "epoch chain":
            return b"lamppost/1/epoch-chain" + c + epoch_bytes(p["old"]) + epoch_bytes(p["new"])
        return b"lamppost/1/sender-key" + p["group"] + c + p["device"] + epoch_bytes(p["epoch"])

    def opened(case):
        return open_key(case["private"], decode(case["sealed"]), info(case["purpose"]))

    for case in v["accepted"]:
        equal(case["purpose"]["for"], accepts(case["purpose"]["for"], opened, case), case["opened"])
    refuses(v["refused"], opened)


def check_document(v):
    for case in v["ids"]:
        equal("id", document_id(case["member"], case["kind"], case["nonce"]), case["id"])
    for case in v["not_created"]:
        equal("creator", document_id(case["member"], case["kind"], case["id"][:8]) == case["id"], False)
    for case in v["changes"]:
        equal("change", holds(change, case["bytes"], case["device"]), True)
    refuses(v["bad_changes"], lambda case: change(case["bytes"], case["device"]))


def check_evidence(v):
    for case in v["accepted"]:
        proven = accepts("evidence", evidence, case["evidence"], v["commitments"])
        equal("evidence", proven, (case["member"], case["entry"], content_of(case["content"])))
    refuses(v["refused"], lambda case: evidence(case["evidence"], v["commitments"]))


def check_relay(v):
    relay, life, group, leaves = v["relay"], v["incarnation"], v["group"], v["arrivals"]
    for case in v["consistency"]:
        equal("old root", root(leaves[:case["old"][0]]), case["old"][1])
        equal("new root", root(leaves[:case["new"][0]]), case["new"][1])
        equal("consistency", holds(consistent, case["old"], case["new"], case["hashes"]), True)
    refuses(v["bad_consistency"], lambda case: consistent(case["old"], case["new"], case["hashes"]))
    for case in v["receipts"]:
        found = accepts("receipt", receipt, case["bytes"], relay, life, group)
        equal("receipt", (found[3], found[4], found[5]), (case["received_ms"], case["entries"], case["checkpoint"]))
    refuses(v["bad_receipts"], lambda case: receipt(case["bytes"], relay, life, group))
    for case in v["session_proofs"]:
        found = accepts("session", session_proof, case["bytes"], case["nonce"], relay)
        equal("session", (found[3], found[4]), (group, case["device"]))
    refuses(v["bad_session_proofs"], lambda case: session_proof(case["bytes"], case["nonce"], relay))


def check_frames(v):
    for case in v["accepted"]:
        equal(case["what"], holds(frame, case["bytes"]), True)
    refuses(v["refused"], lambda case: frame(case["bytes"]))


def check_invitation(v):
    for case in v["links"]:
        expected = [case["group"], case["role"], case["secret"], case["expires_s"], case["relay_link"]]
        for written in (case["link"], case["qr_link"]):
            equal("link", accepts("link", link, written), expected)
    refuses(v["bad_links"], lambda case: link(case["link"]))
    secret, group = v["secret"], v["group"]
    equal("mailbox", derived(secret, group, b"lamppost/1/mailbox", 16), v["mailbox"])
    equal("sealing key", derived(secret, group, b"lamppost/1/mailbox-key"), v["sealing_key"])
    found = accepts("knock", knock, secret, group, v["knock"]["bytes"])
    equal("knock", found, {0: v["knock"]["certificate"], 1: v["knock"]["relay"]})
    refuses(v["bad_knocks"], lambda case: knock(secret, group, case["bytes"]))
    reason = accepts("answer", open_mail, secret, group, b"lamppost/1/answer", v["answer"]["bytes"])
    equal("answer", (len(reason), reason.rstrip(b"\0").decode()), (800, v["answer"]["for"]))
    equal("code", short_code(secret, v["code"]["certificate"]), v["code"]["for"])


def main():
    files = sorted(Path(__file__).parent.glob("*.json"))
    checks = {name[6:]: check for name, check in globals().items() if name.startswith("check_")}
    equal("a check for each file", {path.stem for path in files}, set(checks))
    for path in files:
        before = passed, failed
        vectors = json.loads(path.read_text())
        if path.stem == "keys":
            for key in vectors["entry_keys"]:
                key["seq"] = int(key["seq"])  # Text, because JSON's numbers end at 2**53.
        try:
            checks[path.stem](unhex(vectors))
        except Exception as why:  # A vector that breaks the checker has failed too.
            equal(path.stem, f"{type(why).__name__}: {why}", "no error")
        print(f"{path.name}: {passed - before[0]} passed, {failed - before[1]} failed")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
