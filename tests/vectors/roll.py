"""[4] The roll: who belongs, by what stands of everything that was said. Sets and recursion, with no thought for speed."""

from functools import lru_cache

from formats import (CERTIFICATE, EPOCH, OPERATION, SEALED_KEY, any_bytes, array, b32, boolean, certificate, decode,
                     demand, encode, mapping, number, octets, row, tagged, text, u8, u16, u32, u64, well_formed)

FOUND, ADMIT, KEY_UPDATE, REMOVE, POLICY, ACCEPT, RECOVER, CERTIFY, HOLD, SHRED, END_HOLD = range(11)
UNKNOWN = None

# [4.2] Forms.
SEALED_KEYS = row(b32, any_bytes)
ROTATION = mapping({0: u8, 1: u32, 2: b32, 3: mapping({0: EPOCH, 1: SEALED_KEY})}, optional=(3,))
GRANT = row(b32, u32, SEALED_KEYS)
KEYS = mapping({0: array(ROTATION), 1: array(row(u8, EPOCH)), 2: array(GRANT)})
TARGET = lambda v: row(lambda n: n in (0, 1) and u8(n), row(b32))(v)
MARKS = array(row(row(u8, b32), row(u64, b32)))
SETTINGS = lambda v: type(v) is dict and all(u16(key) and u64(value) for key, value in v.items())
TEMPLATE = mapping({0: array(mapping({0: u8, 1: text, 2: boolean})),
                    1: array(mapping({0: u8, 1: text, 2: array(u8), 3: array(u8)}))})
OPERATIONS = {
    FOUND: mapping({0: TEMPLATE, 1: u8, 2: any_bytes, 3: KEYS, 4: octets(16)}),
    ADMIT: mapping({0: b32, 1: u8, 2: array(any_bytes), 3: KEYS, 4: octets(16)}, optional=(4,)),
    KEY_UPDATE: KEYS,
    REMOVE: mapping({0: TARGET, 1: MARKS, 2: KEYS}),
    POLICY: mapping({0: SETTINGS}),
    ACCEPT: mapping({0: array(b32)}),
    RECOVER: mapping({0: b32, 1: any_bytes, 2: MARKS, 3: KEYS}),
    CERTIFY: mapping({0: any_bytes, 1: KEYS}),
    HOLD: mapping({0: array(b32), 1: u8, 2: u32}, optional=(2,)),
    SHRED: mapping({0: MARKS, 1: b32}, optional=(1,)),
    END_HOLD: mapping({0: array(b32)}),
}
NO_KEYS = {0: [], 1: [], 2: []}


def ascends(items):
    return all(a < b for a, b in zip(items, items[1:]))


def check_template(template):  # [4.1]
    roles, compartments = template[0], template[1]
    demand(len(roles) <= 32 and len(compartments) <= 32, "too many rows")
    demand(all(len(r[1].encode()) <= 64 for r in roles + compartments), "a long name")
    demand(ascends([r[0] for r in roles]) and ascends([r[0] for r in compartments]), "rows out of order")
    demand(any(r[0] == 0 for r in compartments) and any(r[2] for r in roles), "no roll, or nobody governs")
    known = {r[0] for r in roles}
    for r in compartments:
        demand(all(ascends(r[key]) and set(r[key]) <= known for key in (2, 3)), "roles of a compartment")


def check_keys(keys):
    epochs = [(c, tuple(epoch)) for c, epoch in keys[1]]
    demand(len(keys[0]) <= 32 and len(epochs) <= 32 and len(keys[2]) <= 1600, "too many keys")
    demand(ascends(epochs), "epochs out of order")
    for _, mask, (_, ciphertext) in keys[2]:
        demand(0 < mask < 1 << len(epochs), "a mask without epochs")
        demand(len(ciphertext) == 32 * bin(mask).count("1") + 16, "a seal of another size than its mask")


def read_operation(body, group, founders=None):
    """Number, fields, keys and certificates of an operation. `founders` is the certificate of the founding entry."""
    value = well_formed(body)
    demand(type(value) is list and len(value) == 2 and u8(value[0]), "no operation")
    code, fields = value
    if code not in OPERATIONS:
        # Its fields are any one item; the array and the number are as everywhere.
        demand(body.startswith(b"\x82" + encode(code)), "not canonical")
        return UNKNOWN, {}, NO_KEYS, []
    decode(body)
    demand(OPERATIONS[code](fields), "no such operation")
    keys = {FOUND: 3, ADMIT: 3, REMOVE: 2, RECOVER: 3, CERTIFY: 1}.get(code)
    keys = fields if code == KEY_UPDATE else NO_KEYS if keys is None else fields[keys]
    check_keys(keys)
    marks = fields[{REMOVE: 1, RECOVER: 2}[code]] if code in (REMOVE, RECOVER) else []
    demand(len(marks) <= 512 and ascends([tuple(mark[0]) for mark in marks]), "marks")
    demand(code != POLICY or len(fields[0]) <= 64, "settings")
    demand(code not in (HOLD, END_HOLD) or len(fields[0]) <= 1024 and ascends(fields[0]), "held entries")
    demand(code != SHRED or len(fields[0]) <= 512 and ascends([(*log, seq) for log, (seq, _) in fields[0]]), "a shred")
    demand(code != SHRED or fields[0] or 1 in fields, "a shred of nothing")
    demand(code != ACCEPT or len(fields[0]) <= 1024 and ascends(fields[0]), "accepted entries")
    demand(code != CERTIFY or not keys[0], "certify begins no epoch")
    raw = {FOUND: lambda: [fields[2]], ADMIT: lambda: fields[2], RECOVER: lambda: [fields[1]],
           CERTIFY: lambda: [fields[0]]}.get(code, list)()
    demand(len(raw) <= 16, "too many certificates")
    if code == FOUND:
        check_template(fields[0])
        demand(any(r[0] == fields[1] and r[2] for r in fields[0][0]), "the founder does not govern")
    founding = tagged(b"lamppost/1/founding", fields[4]) if code == FOUND else None
    return code, fields, keys, [
        certificate(data, founding) if founding else founders[1] if founders and data == founders[0]
        else certificate(data, group) for data in raw]


class Node:
    """An entry of the roll, with what its own past says of it."""

    def __init__(self, entry, founders):
        h = entry.header
        self.entry, self.hash, self.device, self.kind = entry, entry.hash, h[4], h[7]
        self.parents = frozenset([*h[14], *([h[6]] if 6 in h else [])]) if 2 in h else frozenset()
        self.code, self.fields, self.keys, self.certificates = UNKNOWN, {}, NO_KEYS, []
        if self.kind == CERTIFICATE:
            self.certificates = [certificate(entry.body, entry.group)]
            demand(self.certificates[0][2] == self.device, "another device's certificate")
        elif self.kind == OPERATION:
            self.code, self.fields, self.keys, self.certificates = read_operation(entry.body, entry.group, founders)
        demand((self.code == FOUND) == (2 not in h), "only a founding entry founds")
        demand(self.code != FOUND or self.certificates[0][2] == self.device, "another founder")
        # Decided by its past, once and for all [4.3]:
        self.acts = self.proposes = self.removes = self.by_majority = self.may_be_cited = False
        self.enters = []   # (device, member, key, agreement)
        self.author = None  # Whose device wrote it.
        self.role = None   # What its author was.
        self.rank = None   # The rank of its author, if they govern.
        self.rests_on = set()
        self.effective = []  # Its grants that have an effect, as (device, epochs).
        self.bytes = len(entry.signed) + h[10]
        self.about = None  # What a removal takes out: ("device", device) or ("member", member).
        self.wish = None   # What adds up: the same target, or the same member and new key.
        self.of = None     # The member that a removal or a recovery is about.

    @property
    def order(self):
        return self.depth, self.hash


class Roll:
    def __init__(self, entries):
        founding = next((entry for entry in entries if 2 not in entry.header), None)
        demand(founding, "nobody founds")
        _, fields, _, claims = read_operation(founding.body, None)
        founders = (fields.get(2), *claims)
        self.nodes, waiting = {}, [Node(entry.verify(), founders) for entry in entries]
        while waiting:
            ready = [node for node in waiting if node.parents <= set(self.nodes)]
            demand(ready, "something is missing")
            for node in ready:
                node.past = frozenset(node.parents.union(*(self.nodes[at].past for at in node.parents)))
                node.depth = max((self.nodes[at].depth + 1 for at in node.parents), default=0)
                if node.code == FOUND:
                    self.template = node.fields[0]
                past = View(self, node.past)
                self.judge(node, past)
                # Whose device the author was; of what enters itself, whose it says.
                itself = [entered[1] for entered in node.enters if entered[0] == node.device]
                before = None if node.kind == CERTIFICATE else past.member_of(node.device)
                node.author = itself[0] if itself and before is None else before
                self.nodes[node.hash] = node
                waiting.remove(node)
        self.all = View(self, frozenset(self.nodes))
        cited = {at for node in self.nodes.values() if node.may_be_cited for at in node.parents}
        self.heads = sorted(n.hash for n in self.nodes.values() if n.may_be_cited and n.hash not in cited)[-16:]

    def governs(self, role):
        return any(r[0] == role and r[2] for r in self.template[0])

    def reads(self, role, compartment):
        return compartment == 0 or any(r[0] == compartment and role in r[2] for r in self.template[1])

    def judge(self, node, past):  # [4.3] What an entry may do.
        author = past.member_of(node.device)
        if node.code == FOUND:
            _, member, device, agreement = (node.certificates[0][key] for key in range(4))
            node.enters, node.role, node.rank = [(device, member, member, agreement)], node.fields[1], node.order
            node.effective = past.effective_grants(node, member)
            node.acts = node.may_be_cited = True
            return
        if node.kind == CERTIFICATE:
            claims = node.certificates[0]
            member = past.owner(claims[1])
            role = past.role(member) if member is not None else None
            node.acts = role is not None and len(past.devices_of(member)) < 16 and not past.was_taken_out(node.device) \
                and past.has_room(member, node)
            node.may_be_cited = node.acts
            if node.acts:
                node.enters = [(claims[2], member, claims[1], claims[3])]
            return
        # Its right rests on its author's admission, and on what entered its author's device.
        if author is not None:
            admission = past.admission(author)
            node.rests_on = {past.entered(node.device)} | ({admission} if admission else set())
            node.role = past.role(author)
            node.rank = self.nodes[admission].order if admission and self.governs(node.role) else None
        governs = self.governs(node.role)
        if node.code == ADMIT:
            member, role = node.fields[0], node.fields[1]
            node.acts = governs and any(r[0] == role for r in self.template[0]) \
                and not self.governs(past.role(member))
            node.enters = [(c[2], member, c[1], c[3]) for c in node.certificates if past.owner(c[1]) == member]
        elif node.code == KEY_UPDATE:  # Everybody may hand keys up, to those who govern and may read.
            rotations, epochs, grants = node.keys[0], node.keys[1], node.keys[2]
            roles = [past.role(past.member_of(grant[0])) for grant in grants]
            node.acts = governs or node.role is not None and not rotations and bool(grants) and all(
                self.governs(role) and self.reads(role, epoch[0])
                for role, grant in zip(roles, grants) for bit, epoch in enumerate(epochs) if grant[1] >> bit & 1)
        elif node.code in (POLICY, ACCEPT, HOLD, END_HOLD, UNKNOWN):
            node.acts = governs
        elif node.code == SHRED:  # Everybody may take back their own words.
            own = {entered[0] for n in past.acting() for entered in n.enters if entered[1] == author}
            node.acts = governs or node.role is not None and all(log[1] in own for log, _ in node.fields[0])
        elif node.code == CERTIFY:
            claims = node.certificates[0]
            member = past.owner(claims[1])
            node.acts = (member is not None and past.role(member) is not None and len(past.devices_of(member)) < 16
                         and all(grant[0] == claims[2] for grant in node.keys[2])
                         and (author == member or node.device == claims[2] and not past.was_taken_out(node.device)))
            if node.acts:
                node.enters = [(claims[2], member, claims[1], claims[3])]
                node.rests_on = {past.admission(member)} | ({past.entered(node.device)} if author == member else set())
        else:
            self.judge_removal(node, past, author, governs)
            if node.keys[2] and not governs:  # A removal is no way around what those may hand out.
                node.acts = node.removes = node.proposes = False
        if node.keys[0] and not (governs and all(rotation[1] <= node.depth for rotation in node.keys[0])):
            node.acts = node.removes = node.proposes = False
        itself = [entered[1] for entered in node.enters if entered[0] == node.device]
        member = author if author is not None else itself[0] if itself else None
        is_free = node.code == REMOVE and (node.removes or node.proposes and author not in past.supporters(node.wish, node.of))
        if not is_free and not past.has_room(member, node):
            node.acts = node.removes = node.proposes = False
        if node.acts or node.proposes:
            node.effective = past.effective_grants(node, member)
        if node.code == KEY_UPDATE and not governs and not node.effective:
            node.acts = False
        node.enters = node.enters if node.acts or node.proposes else []
        node.may_be_cited = node.acts or node.proposes

    def judge_removal(self, node, past, author, governs):
        if node.code == REMOVE:
            kind, (target,) = node.fields[0]
            node.about = ("device" if kind else "member", target)
            node.of = past.member_of(target) if kind else target
            node.wish = node.about
        else:
            claims, node.of = node.certificates[0], node.fields[0]
            key = claims[1]
            node.about, node.wish = ("member", node.of), ("recovery", node.of, key)
            # A new key is no member's, and no recovery that stands gave or replaced it.
            if past.role(key) is not None or past.owner(key) != key:
                return
            node.enters = [(claims[2], node.of, key, claims[3])]
        if node.of is None:
            return
        own = author is not None and author == node.of
        if own and node.code == RECOVER:
            return
        role = past.role(node.of)
        if own:
            node.acts = True
        elif governs and role is not None:
            theirs = self.nodes[past.admission(node.of)].order
            if not self.governs(role) or node.rank < theirs:
                node.acts = True
            else:
                supporters = past.supporters(node.wish, node.of) | {author}
                node.by_majority = 2 * len(supporters - {node.of}) > len(past.governing())
                node.acts, node.proposes = node.by_majority, not node.by_majority
        node.removes = node.acts

    def takes_out(self, removal, device, member):
        """Whether a removal takes out this device of this member."""
        kind, target = removal.about
        # A recovery does not take out the device that it enters: that knows it.
        return target == (device if kind == "device" else member)

    def knows(self, after, before):
        return before in self.nodes[after].past


class View:  # [4.4] What stands over a set that holds the past of each of its entries.
    def __init__(self, roll, among):
        self.roll, self.among, self.standing = roll, among, []
        rank = lambda node: (not node.by_majority, node.rank is None, node.rank or (), node.order)
        for removal in sorted((n for n in self.members_of_set() if n.removes), key=rank):
            self.forget()
            if not self.is_void(removal.hash):
                self.standing.append(removal)
        self.forget()

    def forget(self):
        self.is_void, self.acting = lru_cache(None)(self.find_void), lru_cache(None)(self.find_acting)

    def members_of_set(self):
        return [self.roll.nodes[at] for at in self.among]

    def find_void(self, at):
        node = self.roll.nodes[at]
        for removal in self.standing:
            concurrent = removal.hash != at and removal.hash not in node.past and at not in removal.past
            if concurrent and self.roll.takes_out(removal, node.device, node.author):
                return True
        return any(self.is_void(by) for by in node.rests_on)

    def find_acting(self):
        """What acts and is not void, in order."""
        return sorted((n for n in self.members_of_set() if n.acts and not self.is_void(n.hash)), key=lambda n: n.order)

    # Members.

    def admission(self, member):
        removals = [r for r in self.standing if r.code == REMOVE and r.about == ("member", member)]
        last = None
        for node in self.acting():
            admits = node.enters[0][1] if node.code == FOUND else node.fields[0] if node.code == ADMIT else None
            if admits == member and all(r.hash in node.past for r in removals):
                last = node.hash
        return last

    def role(self, member):
        at = self.admission(member)
        return at and self.roll.nodes[at].fields[1]

    def members(self):
        admitted = {n.enters[0][1] if n.code == FOUND else n.fields[0]
                    for n in self.acting() if n.code in (FOUND, ADMIT)}
        return {member: self.role(member) for member in admitted if self.role(member) is not None}

    def governing(self):
        return {member for member, role in self.members().items() if self.roll.governs(role)}

    # Devices.

    def present(self, device):
        """The entry that enters a device, and how: (hash, (device, member, key, agreement)); none if it is not there."""
        for node in self.acting():
            for entered in node.enters:
                if entered[0] == device and all(
                        r.hash == node.hash or r.hash in node.past
                        for r in self.standing if self.roll.takes_out(r, device, entered[1])):
                    return node.hash, entered
        return None

    def entered(self, device):
        return self.present(device)[0]

    def member_of(self, device):
        present = self.present(device)
        return present and present[1][1]

    def was_taken_out(self, device):
        known = any(entered[0] == device for node in self.acting() for entered in node.enters)
        return known and self.present(device) is None

    def devices(self):
        known = {entered[0] for node in self.acting() for entered in node.enters}
        return {device: self.present(device)[1] for device in known if self.present(device)}

    def devices_of(self, member):
        return {device for device, entered in self.devices().items() if entered[1] == member}

    # Keys.

    def owner(self, key):
        """Whose key it is; none if a recovery replaced it."""
        recoveries = sorted((r for r in self.standing if r.code == RECOVER), key=lambda n: n.order)
        newest = {r.of: r.enters[0][2] for r in recoveries}
        holders = [member for member, its_key in newest.items() if its_key == key]
        if holders:
            return min(holders)
        replaced = set(newest) | {r.enters[0][2] for r in recoveries}
        return None if key in replaced else key

    def supporters(self, wish, about):
        asked = {n.author for n in self.members_of_set()
                 if n.wish == wish and (n.acts or n.proposes) and not self.is_void(n.hash)}
        return (asked & self.governing()) - {about}

    # Room and grants [4.3].

    def has_room(self, member, node):
        if member is None:
            return False
        admission = self.admission(member)
        before = self.roll.nodes[admission].past if admission else frozenset()
        written = [n for n in self.members_of_set() if n.author == member and n.hash not in before] + [node]
        entries, size = (32_768, 48 << 20) if self.roll.governs(self.role(member)) else (2_048, 4 << 20)
        return len(written) <= entries and sum(n.bytes for n in written) <= size

    def effective_grants(self, node, member):
        begun = lambda n: {(r[0], (r[1], tagged(b"lamppost/1/epoch", r[2])[:16])) for r in n.keys[0]}
        acting = [n for n in self.members_of_set() if n.acts]
        there = {epoch for n in [*acting, node] for epoch in begun(n)}
        there = {epoch for epoch in there if any(r[0] == epoch[0] for r in self.roll.template[1])}
        given = {(device, epoch) for n in acting if n.author == member for device, named in n.effective for epoch in named}
        effective = []
        for device, mask, _ in node.keys[2]:
            named = [(c, tuple(epoch)) for bit, (c, epoch) in enumerate(node.keys[1]) if mask >> bit & 1]
            if set(named) <= there and any((device, epoch) not in given for epoch in named):
                effective.append((device, named))
                given |= {(device, epoch) for epoch in named}
        return effective

    # What else it says.

    def epochs(self):
        """Compartment to epoch to (public, stands, devices that were granted it)."""
        epochs = {r[0]: {} for r in self.roll.template[1]}
        nodes = sorted((n for n in self.members_of_set() if n.acts), key=lambda n: n.order)
        for node in nodes:
            for rotation in node.keys[0]:
                if rotation[0] in epochs:
                    epoch = (rotation[1], tagged(b"lamppost/1/epoch", rotation[2])[:16])
                    found = epochs[rotation[0]].setdefault(epoch, [rotation[2], False, set()])
                    found[1] |= not self.is_void(node.hash)
        for node in nodes:
            for device, named in node.effective:
                for compartment, epoch in named:
                    found = epochs.get(compartment, {}).get(epoch)
                    if found:
                        found[2].add(device)
        return epochs

    def settings(self):
        settings = {}
        for node in self.acting():
            if node.code == POLICY:
                settings.update(node.fields[0])
        return settings

    def accepted(self):
        return {entry for node in self.acting() if node.code == ACCEPT for entry in node.fields[0]}

    def held(self):  # [4.9]
        """Held entries, and the last day of each."""
        ended = {hold for node in self.acting() if node.code == END_HOLD for hold in node.fields[0]}
        held = {}
        for node in self.acting():
            if node.code == HOLD and node.hash not in ended:
                for entry in node.fields[0]:
                    held[entry] = max(held.get(entry, 0), node.fields.get(2, 2**32 - 1))
        return held

    def shredded(self):
        return {head for node in self.acting() if node.code == SHRED for _, (_, head) in node.fields[0]}

    def invited(self):
        """Invitations that are used up, and who came with each first, void or not."""
        acts = sorted((n for n in self.members_of_set() if n.acts), key=lambda n: n.order)
        used = {}
        for node in acts:
            if node.code == ADMIT and 4 in node.fields:
                used.setdefault(node.fields[4], node.fields[0])
        return used

    def proposals(self):
        """Open wishes: what, about whom, who wants it."""
        found, devices, members = [], self.devices(), self.members()
        for wish in {n.wish for n in self.members_of_set() if n.proposes}:
            is_open = {"member": lambda: wish[1] in members, "device": lambda: wish[1] in devices,
                       "recovery": lambda: wish[1] in members
                       and not any(entered[2] == wish[2] for entered in devices.values())}[wish[0]]()
            about = next(n.of for n in self.members_of_set() if n.wish == wish)
            supporters = self.supporters(wish, about)
            if is_open and supporters:
                found.append((wish[:2], sorted(supporters), len(self.governing()) // 2 + 1))
        return found

    # [4.5] What still counts.

    def covers(self, removal, entry):
        h = entry.header
        for (compartment, device), (seq, head) in removal.fields[1 if removal.code == REMOVE else 2]:
            if (compartment, device) == (h[3], h[4]):
                return h[5] < seq or (h[5] == seq and entry.hash == head)
        return not self.roll.reads(removal.role, h[3])

    def cut_off_by(self, entry):
        """None if an entry counts; otherwise the removals in its way, in order."""
        if entry.hash in self.accepted():
            return None
        past = set(entry.header[14]).union(*(self.roll.nodes[at].past for at in entry.header[14]))
        known, named, device = [n for n in self.acting() if n.hash in past], set(), entry.header[4]
        for node in known:
            for entered in node.enters:
                if entered[0] != device:
                    continue
                against = {r.hash for r in self.standing if self.roll.takes_out(r, device, entered[1])
                           and r.hash != node.hash and r.hash not in node.past and not self.covers(r, entry)}
                named |= against
                if not against and self.is_admitted(entered[1], known, entry, named):
                    return None
        return sorted(named, key=lambda at: self.roll.nodes[at].order)

    def is_admitted(self, member, known, entry, named):
        for node in known:
            admits = node.enters[0][1] if node.code == FOUND else node.fields[0] if node.code == ADMIT else None
            if admits == member:
                against = {r.hash for r in self.standing if r.code == REMOVE and r.about == ("member", member)
                           and r.hash not in node.past and not self.covers(r, entry)}
                named |= against
                if not against:
                    return True
        return False
