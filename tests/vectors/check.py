"""Checks the golden vectors against core/PROTOCOL.md, whose section numbers stand in brackets.

A second implementation of what a reader checks. It shares no code with the first and knows nothing but the document.
`formats` has sections 1 to 3, `roll` section 4; the rest is here.
"""

import json
import random
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from formats import (DICTIONARY_BYTES, FRAMES, PROOF, RECEIPT, Entry, Refused, SESSION_KEY, array, certificate, decode, demand,
                     entry_key, epoch_bytes, evidence, expand, holds, open_body, open_keys, padded, row, run, sha256,
                     sign1, tagged, u8, unpack)
from invitations import (commitment, countersignature, derived, group_link, invitation, knock, open_mail, request,
                         reveal)
import kinds
import media
from roll import Roll, read_operation

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
    if 5 not in value:
        verify(value[4], b"session")
        return value
    word, verify_word = sign1(value[5])
    claims = decode(word)
    demand(SESSION_KEY(claims), "no word for a session key")
    verify(claims[0], b"session")
    verify_word(value[4], b"session-key")
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
        claims = accepts("certificate", certificate, case["bytes"], case["scope"])
        equal("claims", claims, {0: case["version"], 1: case["member"], 2: case["device"], 3: case["agreement"],
                                4: case["scope"]})
    refuses(v["refused"], lambda case: certificate(case["bytes"], v["group"]))


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


def check_operations(v):
    for case in v["accepted"]:
        equal(case["what"], holds(read_operation, case["bytes"], v["group"]), True)
    refuses(v["refused"], lambda case: read_operation(case["bytes"], v["group"]))


def check_roll(v):
    for history in v["histories"]:
        entries = [Entry(wire) for wire in history["entries"]]
        orders = [entries, entries[::-1], random.Random(1).sample(entries, len(entries))]
        for order in orders:
            accepts(history["what"], compare_history, Roll(order), history)
    refuses(v["refused"], lambda case: Roll([Entry(wire) for wire in case["entries"]]))


def compare_history(roll, history):
    what, expected, now = history["what"], history["expected"], roll.all
    state = expected["state"]
    equal(f"{what}: group", {node.entry.group for node in roll.nodes.values()}, {expected["group"]})
    equal(f"{what}: heads", roll.heads, expected["heads"])
    idle = sorted(node.hash for node in roll.nodes.values() if not node.acts and not node.proposes)
    equal(f"{what}: without effect", idle, expected["without_effect"])
    members = now.members()
    equal(f"{what}: members", members, {m["member"]: m["role"] for m in state["members"]})
    belonging = {device: it for device, it in now.devices().items() if it[1] in members}
    equal(f"{what}: devices", belonging,
          {d["device"]: (d["device"], d["member"], d["key"], d["agreement"]) for d in state["devices"]})
    epochs = now.epochs()
    equal(f"{what}: compartments", sorted(epochs), [c["compartment"] for c in state["epochs"]])
    for c in state["epochs"]:
        its = epochs[c["compartment"]]
        newest = max((epoch for epoch, (_, stands, _) in its.items() if stands), default=None)
        equal(f"{what}: newest", newest and list(newest), c["newest"])
        found = [{"epoch": list(epoch), "public": public, "stands": stands, "granted": sorted(granted)}
                 for epoch, (public, stands, granted) in sorted(its.items())]
        equal(f"{what}: epochs", found, c["epochs"])
    equal(f"{what}: removals", sorted(removal.hash for removal in now.standing), state["removals"])
    equal(f"{what}: invited", now.invited(), dict(map(tuple, state["invited"])))
    equal(f"{what}: settings", now.settings(), dict(map(tuple, state["settings"])))
    equal(f"{what}: held", now.held(), dict(map(tuple, state["held"])))
    equal(f"{what}: shredded", sorted(now.shredded()), sorted(state["shredded"]))
    kinds = {"member": "remove a member", "device": "remove a device", "recovery": "recover a member"}
    proposals = [{"for": kinds[kind], "about": about, "supporters": supporters, "needed": needed}
                 for (kind, about), supporters, needed in now.proposals()]
    by_whom = lambda proposal: (proposal["for"], proposal["about"], proposal["supporters"])
    equal(f"{what}: proposals", sorted(proposals, key=by_whom), sorted(state["proposals"], key=by_whom))
    for case in history["sealed"]:
        named = now.cut_off_by(Entry(case["wire"]).verify())
        equal(f"{what}: {case['what']}", named is None, case["counts"])
        equal(f"{what}: {case['what']}: why", named[0] if named else None, case["cut_off_by"])


def check_sealed_keys(v):
    def info(p):
        if p["for"] == "epoch keys":
            return b"lamppost/1/epoch-keys" + b"".join(bytes([c]) + epoch_bytes(e) for c, e in p["epochs"])
        c = bytes([p["compartment"]])
        if p["for"] == "epoch chain":
            return b"lamppost/1/epoch-chain" + c + epoch_bytes(p["old"]) + epoch_bytes(p["new"])
        return b"lamppost/1/sender-key" + p["group"] + c + p["device"] + epoch_bytes(p["epoch"])

    def opened(case):
        purpose = case["purpose"]
        return open_keys(case["private"], decode(case["sealed"]), info(purpose), len(purpose.get("epochs", [0])))

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


def check_kinds(v):
    equal("rules by kind", v["rules"], kinds.rules())
    equal("template", v["template"], kinds.template())
    equal("judged kinds", sorted(kinds.JUDGES), [rule[0] for rule in v["rules"] if rule[6]])
    for case in v["votes"]:
        equal("vote", kinds.vote_id(bytes.fromhex(case["member"]), bytes.fromhex(case["ballot"])).hex(), case["id"])
    for case in v["answers"]:
        ids = bytes.fromhex(case["member"]), case["kind"], bytes.fromhex(case["release"])
        equal("answer", kinds.answer_id(*ids).hex(), case["id"])
    equal("kinds that expire", kinds.EXPIRING, v["expiring"])
    for case in v["last_days"]:
        equal("last day", kinds.last_day(case["built_on"]), case["day"])
    for case in v["judged"]:
        equal(case["why"], holds(kinds.judge, case), case["counts"])


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
            equal("link", accepts("link", invitation, written), expected)
    refuses(v["bad_links"], lambda case: invitation(case["link"]))
    for case in v["group_links"]:
        for written in (case["link"], case["qr_link"]):
            found = accepts("group's link", group_link, written)
            equal("group's link", found, [case["group"], case["relay_link"]])
    refuses(v["bad_group_links"], lambda case: group_link(case["link"]))
    for case in v["requests"]:
        for written in (case["link"], case["qr_link"]):
            equal("request", accepts("request", request, written, v["group"]), case["certificate"])
    refuses(v["bad_requests"], lambda case: request(case["link"], v["group"]))
    secret, group = v["secret"], v["group"]
    equal("mailbox", derived(secret, group, b"lamppost/1/mailbox", 16), v["mailbox"])
    equal("sealing key", derived(secret, group, b"lamppost/1/mailbox-key"), v["sealing_key"])
    knocks_of(v["knocks"], secret, group)
    reason = accepts("answer", open_mail, secret, group, b"lamppost/1/answer", v["answer"]["bytes"])
    equal("answer", (len(reason), reason.rstrip(b"\0").decode()), (800, v["answer"]["for"]))


def knocks_of(v, secret, group):
    opening = {number: v["opening"][name] for number, name in enumerate(("certificate", "relay", "nonce"))}
    equal("commitment", commitment(secret, group, opening), v["commitment"])
    equal("first knock", accepts("first knock", knock, secret, group, v["first"]), (0, v["commitment"]))

    def countersigned(sealed):
        plain = open_mail(secret, group, b"lamppost/1/countersignature", sealed)
        return plain, *countersignature(secret, group, v["commitment"], plain)

    signed = v["countersignature"]
    found = accepts("countersignature", countersigned, signed["sealed"])
    equal("countersignature", found, (signed["signed"], signed["device"], signed["nonce"]))
    refuses(v["bad_countersignatures"], lambda case: countersigned(case["bytes"]))
    second = accepts("second knock", knock, secret, group, v["second"])
    equal("second knock", second, (1, {0: opening, 1: signed["signed"]}))
    equal("code", accepts("reveal", reveal, secret, group, v["second"]), (v["code"]["for"], signed["device"]))
    refuses(v["bad_knocks"], lambda case: knock(secret, group, case["bytes"]))
    refuses(v["bad_reveals"], lambda case: reveal(secret, group, case["bytes"]))


def check_media(v):
    def file(length):
        return bytes((n * 7 + n // 256) % 256 for n in range(length))

    for case in v["files"]:
        value = accepts("manifest", media.manifest, case["manifest"])
        sealed = media.seal(value[1], file(case["length"]), value[4], value.get(6))
        equal("sealed file", sealed, case["manifest"])
    opened = accepts("chunk", media.open_file, v["opened"]["manifest"], [v["opened"]["chunk"]])
    equal("opened file", opened, file(v["opened"]["length"]))
    refuses(v["bad_manifests"], lambda case: media.manifest(case["manifest"]))
    refuses(v["bad_chunks"], lambda case: media.open_file(case["manifest"], [case["chunk"]]))


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
            # Contents of documents are text.
            checks[path.stem](vectors if path.stem == "kinds" else unhex(vectors))
        except Exception as why:  # A vector that breaks the checker has failed too.
            equal(path.stem, f"{type(why).__name__}: {why}", "no error")
        print(f"{path.name}: {passed - before[0]} passed, {failed - before[1]} failed")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
