"""[4] The roll: who belongs, by what stands of everything that was said. Sets and recursion, with no thought for speed."""

from functools import lru_cache

from formats import (CERTIFICATE, EPOCH, OPERATION, SEALED_KEY, any_bytes, array, b32, boolean, certificate, decode,
                     demand, encode, mapping, number, octets, row, tagged, text, u8, u16, u32, u64, well_formed)

FOUND, ADMIT, KEY_UPDATE, REMOVE, POLICY, ACCEPT, RECOVER, CERTIFY, HOLD, SHRED, END_HOLD, WITHDRAW = range(12)
OWN, BY_RANK, BY_MAJORITY = "own", "rank", "majority"
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
    WITHDRAW: mapping({0: array(b32)}),
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
    demand(code not in (HOLD, END_HOLD, WITHDRAW) or len(fields[0]) <= 1024 and ascends(fields[0]), "held entries")
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
        self.acts = self.proposes = self.may_be_cited = False
        self.removes = None  # By what right it removes: OWN, BY_RANK or BY_MAJORITY.
        self.enters = []   # (device, member, key, agreement)
        self.author = None  # Whose device wrote it.
        self.role = None   # What its author was.
        self.effective = []  # Its grants that have an effect, as (device, epochs).
        self.bytes = len(entry.signed) + h[10]
        self.governs = self.appoints = False
        # What gave its author the right, one of each is enough: role, device, and the device's key if a recovery gave it.
        self.roles, self.devices, self.recoveries = frozenset(), frozenset(), frozenset()
        self.levels = frozenset()  # The appointments at whose place a removal is weighed.
        self.asks, self.needed = [], 0  # What each elector wrote who wanted it, and how many it takes.
        self.about = None  # What a removal takes out: ("device", device) or ("member", member).
        self.wish = None   # What adds up: the same target, or the same member and new key.
        self.of = None     # The member that a removal or a recovery is about.

    @property
    def admits(self):
        """The member whom it admits, and as what."""
        if self.code == FOUND:
            return self.enters[0][1], self.fields[1]
        return (self.fields[0], self.fields[1]) if self.code == ADMIT else (None, None)

    @property
    def is_decision(self):
        return (self.acts or self.proposes) and self.kind != CERTIFICATE and self.code != KEY_UPDATE

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
            node.enters, node.role = [(device, member, member, agreement)], node.fields[1]
            node.effective = past.effective_grants(node, member)
            node.acts = node.may_be_cited = node.governs = node.appoints = True
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
                node.recoveries = past.recoveries_to(member, claims[1])
            return
        # Its right rests on its author's admissions, and on what entered its author's device.
        if author is not None:
            node.devices, node.roles = past.entered(node.device), past.admissions(author)
            node.recoveries = past.recoveries_of(node.device)
            node.role = past.role(author)
        governs = node.governs = self.governs(node.role)
        if node.code == ADMIT:
            member, role = node.fields[0], node.fields[1]
            node.acts = governs and any(r[0] == role for r in self.template[0]) \
                and not self.governs(past.role(member))
            node.appoints = self.governs(role)
            node.enters = [(c[2], member, c[1], c[3]) for c in node.certificates if past.owner(c[1]) == member]
        elif node.code == KEY_UPDATE:  # Everybody may hand keys up, to those who govern and may read.
            rotations, epochs, grants = node.keys[0], node.keys[1], node.keys[2]
            roles = [past.role(past.member_of(grant[0])) for grant in grants]
            node.acts = governs or node.role is not None and not rotations and bool(grants) and all(
                self.governs(role) and self.reads(role, epoch[0])
                for role, grant in zip(roles, grants) for bit, epoch in enumerate(epochs) if grant[1] >> bit & 1)
        elif node.code in (POLICY, ACCEPT, HOLD, END_HOLD, WITHDRAW, UNKNOWN):
            node.acts = governs
        elif node.code == SHRED:  # Everybody may take back their own words.
            own = {entered[0] for n in past.acting() for entered in n.enters
                   if entered[1] == author and past.is_entered(entered)}
            node.acts = governs or node.role is not None and all(log[1] in own for log, _ in node.fields[0])
        elif node.code == CERTIFY:
            claims = node.certificates[0]
            member = past.owner(claims[1])
            node.acts = (member is not None and past.role(member) is not None and len(past.devices_of(member)) < 16
                         and all(grant[0] == claims[2] for grant in node.keys[2])
                         and (author == member or node.device == claims[2] and not past.was_taken_out(node.device)))
            if node.acts:
                node.enters = [(claims[2], member, claims[1], claims[3])]
                node.roles, node.recoveries = past.admissions(member), past.recoveries_to(member, claims[1])
                node.devices = past.entered(node.device) if author == member else frozenset()
        else:
            self.judge_removal(node, past, author)
            if node.keys[2] and not governs:  # A removal is no way around what those may hand out.
                node.acts, node.removes, node.proposes = False, None, False
        if node.keys[0] and not (governs and all(rotation[1] <= node.depth for rotation in node.keys[0])):
            node.acts, node.removes, node.proposes = False, None, False
        itself = [entered[1] for entered in node.enters if entered[0] == node.device]
        member = author if author is not None else itself[0] if itself else None
        is_free = node.code == REMOVE and (node.removes or node.proposes and not past.asks(node.wish, author, node.of))
        if not is_free and not past.has_room(member, node):
            node.acts, node.removes, node.proposes = False, None, False
        if node.acts or node.proposes:
            node.effective = past.effective_grants(node, member)
        if node.code == KEY_UPDATE and not governs and not node.effective:
            node.acts = False
        node.enters = node.enters if node.acts or node.proposes else []
        node.may_be_cited = node.acts or node.proposes

    def judge_removal(self, node, past, author):  # [4.3] Rules 1 to 6.
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
        if author is not None and author == node.of:
            if node.code == REMOVE and node.role is not None:
                node.removes = OWN
                node.levels = node.roles if node.governs else frozenset()
        elif node.governs and past.role(node.of) is not None:
            theirs = past.appointments(node.of)
            over = frozenset(at for at in node.roles if self.outranks(at, theirs))
            if over:
                node.removes, node.roles, node.levels = BY_RANK, over, over
            elif past.has_vote(author, node.of):
                asks, needed = past.tally(node.wish, node.of, author)
                if len(asks) >= needed:
                    node.removes, node.levels, node.needed = BY_MAJORITY, theirs, needed
                    node.asks = [asked for member, asked in asks.items() if member != author]
            node.proposes = node.removes is None
        node.acts = node.removes is not None

    def outranks(self, one, others):
        """Whether each of somebody's appointments knows this one."""
        return all(one in self.nodes[other].past for other in others)

    def concurrent(self, one, other):
        return one != other and one not in self.nodes[other].past and other not in self.nodes[one].past

    def takes_out(self, removal, device, member):
        """Whether a removal takes out this device of this member."""
        kind, target = removal.about
        # A recovery does not take out the device that it enters: that knows it.
        return target == (device if kind == "device" else member)

    def knows(self, after, before):
        return before in self.nodes[after].past


class View:  # [4.4] What stands over a set that holds the past of each of its entries.
    def __init__(self, roll, among):
        self.roll, self.among, self.standing, self.fallen = roll, among, [], []
        self.forget()
        # At the place of each appointment that is not void, in three turns.
        left = [n for n in self.members_of_set() if n.removes]
        for level in sorted((n for n in self.members_of_set() if n.acts and n.appoints), key=lambda n: n.order):
            if self.is_void(level.hash):
                continue
            for turn in range(3):
                due = [n for n in left if level.hash in n.levels and turn == self.turn(n)]
                left = [n for n in left if n not in due]
                self.settle(due)
        self.settle(left)

    @staticmethod
    def turn(node):
        return 1 if node.removes == BY_MAJORITY else 0 if node.removes == OWN and node.about[0] == "device" else 2

    def settle(self, due):
        """Of those weighed together: who is voided by another, and does not void it, falls with that one's standing."""
        fallen = [n for n in due if self.is_void(n.hash) or not self.reaches(n) or self.is_late(n)]
        due = [n for n in due if n not in fallen]
        self.fallen += fallen
        self.forget()
        voids = lambda by, node: by is not node and self.find_void(node.hash, by)
        strikers = {n: [by for by in due if voids(by, n) and not voids(n, by)] for n in due}
        stand, fall, undecided = [], [], due
        while undecided:
            fallen = [n for n in undecided if any(by in stand for by in strikers[n])]
            found = [n for n in undecided if n not in fallen and all(by in fall for by in strikers[n])]
            if not fallen and not found:
                found = undecided
            stand, fall = stand + found, fall + fallen
            undecided = [n for n in undecided if n not in found and n not in fallen]
        self.standing, self.fallen = self.standing + stand, self.fallen + fall
        self.forget()

    def reaches(self, removal):
        """Whether a removal by rank outranks each appointment of its target that it does not know and is not known to."""
        if removal.removes != BY_RANK:
            return True
        over = [at for at in removal.roles if not self.is_void(at)]
        return all(any(at in n.past for at in over) for n in self.members_of_set()
                   if n.acts and n.appoints and n.admits[0] == removal.of and not self.is_void(n.hash)
                   and self.roll.concurrent(n.hash, removal.hash))

    def is_late(self, recovery):
        """Whether somebody senior recovered the same member at the same time."""
        return recovery.code == RECOVER and any(
            other.code == RECOVER and other.of == recovery.of and self.roll.concurrent(other.hash, recovery.hash)
            and any(self.roll.outranks(at, recovery.levels) for at in other.levels) for other in self.standing)

    def forget(self):
        self.is_void, self.acting = lru_cache(None)(self.find_void), lru_cache(None)(self.find_acting)

    def members_of_set(self):
        return [self.roll.nodes[at] for at in self.among]

    def find_void(self, at, also=None):
        node = self.roll.nodes[at]
        if node in self.standing or node in self.fallen:
            return node in self.fallen
        for removal in self.standing + ([also] if also else []):
            if self.roll.concurrent(removal.hash, at) and self.roll.takes_out(removal, node.device, node.author):
                return True
        is_void = (lambda by: self.find_void(by, also)) if also else self.is_void
        lost = lambda grounds: bool(grounds) and all(is_void(by) for by in grounds)
        if lost(node.roles) or lost(node.devices) or lost(node.recoveries):
            return True
        return node.removes == BY_MAJORITY and 1 + sum(not lost(asked) for asked in node.asks) < node.needed

    def find_acting(self):
        """What acts and is not void, in order."""
        return sorted((n for n in self.members_of_set() if n.acts and not self.is_void(n.hash)), key=lambda n: n.order)

    # Members.

    def valid(self, member):
        removals = [r for r in self.standing if r.code == REMOVE and r.about == ("member", member)]
        return [n for n in self.acting() if n.admits[0] == member and all(r.hash in n.past for r in removals)]

    def admissions(self, member):
        """The admissions that give a member's role: those to a role that governs, or all."""
        valid = self.valid(member)
        return frozenset(n.hash for n in [n for n in valid if n.appoints] or valid)

    def appointments(self, member):
        return frozenset(n.hash for n in self.valid(member) if n.appoints)

    def role(self, member):
        """The first appointment decides, otherwise the last admission; of several, by the rank of their authors."""
        by = [self.roll.nodes[at] for at in self.admissions(member)]
        first = lambda one, other: one.hash in other.past if one.appoints else other.hash in one.past
        left = [n for n in by if not any(first(other, n) for other in by)]
        senior = lambda one, other: any(self.roll.outranks(at, other.roles) for at in one.roles)
        return min((n.admits[1] for n in left if not any(senior(other, n) for other in left)), default=None)

    def members(self):
        admitted = {n.admits[0] for n in self.acting() if n.admits[0] is not None}
        return {member: self.role(member) for member in admitted if self.role(member) is not None}

    # Votes [4.3].

    def is_by_elder(self, at, about):
        node, theirs = self.roll.nodes[at], self.appointments(about)
        return node.author == about or any(self.roll.outranks(by, theirs) for by in node.roles if not self.is_void(by))

    def makes_elector(self, at, about):
        return self.roll.nodes[at].code == FOUND or self.is_by_elder(at, about)

    def is_elector(self, member, about):
        return member == about or any(self.makes_elector(at, about) for at in self.appointments(member))

    def has_vote(self, member, about):
        return member != about and self.is_elector(member, about) and all(
            self.is_by_elder(r.hash, about) for r in self.standing if r.code == RECOVER and r.of == member)

    def is_asked(self, ask, about):
        """Whether an ask holds: not withdrawn, nobody removed since, and its author has decided little else."""
        since = [r for r in self.standing if r.hash not in ask.past and (
            r.about in (("member", ask.author), ("member", about)) or ask.about[0] == "device" and r.about == ask.about)]
        withdrawn = any(n.code == WITHDRAW and n.author == ask.author and ask.hash in n.fields[0] for n in self.acting())
        decided = [n for n in self.members_of_set()
                   if n.author == ask.author and n.is_decision and ask.hash in n.past]
        return not self.is_void(ask.hash) and not since and not withdrawn and len(decided) < 32

    def asks(self, wish, member, about):
        return any(n.wish == wish and n.author == member and (n.acts or n.proposes) and self.is_asked(n, about)
                   for n in self.members_of_set())

    def tally(self, wish, about, asking=None):
        """Who has a vote and asks, by what they wrote; and how many it takes."""
        asks = {asking: []} if asking else {}
        for n in self.members_of_set():
            if n.wish == wish and (n.acts or n.proposes) and self.has_vote(n.author, about) and self.is_asked(n, about):
                asks.setdefault(n.author, []).append(n.hash)
        admitted = {n.admits[0] for n in self.members_of_set() if n.acts and n.admits[0] is not None} | {about}
        return asks, sum(self.is_elector(member, about) or self.was_removed_by(member, about, asks)
                         for member in admitted) // 2 + 1

    def was_removed_by(self, member, about, asks):
        """Whether somebody was an elector until one of those who ask, or whom they let in, took them out."""
        return any(n.appoints and n.admits[0] == member and self.makes_elector(n.hash, about) for n in self.acting()) \
            and any(r.code == REMOVE and r.about == ("member", member) and self.comes_from(r.hash, asks)
                    for r in self.standing)

    def comes_from(self, at, members):
        node = self.roll.nodes[at]
        return node.author in members or any(self.comes_from(by, members) for by in node.roles | node.devices | node.recoveries)

    # Devices.

    def recoveries_to(self, member, key):
        """The standing recoveries that gave a member this key; none for the identity."""
        return frozenset(r.hash for r in self.standing if r.wish == ("recovery", member, key) and key != member)

    def is_entered(self, entered):
        return entered[1] == entered[2] or bool(self.recoveries_to(entered[1], entered[2]))

    def recoveries_of(self, device):
        own, (_, member, _, _) = self.present(device)
        keys = {entered[2] for at in own for entered in self.roll.nodes[at].enters if entered[0] == device}
        return frozenset() if member in keys else frozenset().union(*(self.recoveries_to(member, key) for key in keys))

    def present(self, device):
        """The entries that enter a device, first to last, and how the first does; none if it is not there."""
        entries = [(node, entered) for node in self.acting() for entered in node.enters
                   if entered[0] == device and self.is_entered(entered) and all(
                       r.hash == node.hash or r.hash in node.past
                       for r in self.standing if self.roll.takes_out(r, device, entered[1]))]
        if not entries:
            return None
        # Of two members it is that one's for whom it was entered before the other, or nobody's.
        member = entries[0][1][1]
        own = frozenset(node.hash for node, entered in entries if entered[1] == member)
        if not all(entered[1] == member or own & node.past for node, entered in entries):
            return None
        return own, entries[0][1]

    def entered(self, device):
        return self.present(device)[0]

    def member_of(self, device):
        present = self.present(device)
        return present and present[1][1]

    def was_taken_out(self, device):
        known = any(entered[0] == device and self.is_entered(entered) for node in self.acting() for entered in node.enters)
        return known and self.present(device) is None

    def devices(self):
        known = {entered[0] for node in self.acting() for entered in node.enters}
        return {device: self.present(device)[1] for device in known if self.present(device)}

    def devices_of(self, member):
        return {device for device, entered in self.devices().items() if entered[1] == member}

    # Keys.

    def owner(self, key):
        """Whose key it is; none if a recovery replaced it."""
        recoveries, newest = [r for r in self.standing if r.code == RECOVER], {}
        for r in recoveries:
            if not any(other.of == r.of and r.hash in other.past for other in recoveries):
                newest.setdefault(r.of, set()).add(r.enters[0][2])
        holders = [member for member, keys in newest.items() if keys == {key}]
        if holders:
            return min(holders)
        return None if key in {r.of for r in recoveries} | {r.enters[0][2] for r in recoveries} else key

    # Room and grants [4.3].

    def has_room(self, member, node):
        if member is None:
            return False
        admissions = [self.roll.nodes[at] for at in self.admissions(member)]
        before = max(admissions, key=lambda n: n.order).past if admissions else frozenset()
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
        """Invitations that are used up, and who came with each: whom the senior author let in, then the first."""
        place = lambda n: (min(self.roll.nodes[at].order for at in n.roles), n.order)
        used = {}
        for node in sorted((n for n in self.acting() if n.code == ADMIT and 4 in n.fields), key=place):
            used.setdefault(node.fields[4], node.fields[0])
        return used

    def proposals(self):
        """Open wishes: what, about whom, who wants it."""
        found, devices, members = [], self.devices(), self.members()
        for wish in {n.wish for n in self.members_of_set() if n.proposes}:
            is_open = {"member": lambda: wish[1] in members, "device": lambda: wish[1] in devices,
                       "recovery": lambda: wish[1] in members
                       and not any(entered[2] == wish[2] for entered in devices.values())}[wish[0]]()
            if not is_open:
                continue
            asks, needed = self.tally(wish, self.member_of(wish[1]) if wish[0] == "device" else wish[1])
            if asks:
                found.append((wish[:2], sorted(asks), needed))
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
                if entered[0] != device or not self.is_entered(entered):
                    continue
                against = {r.hash for r in self.standing if self.roll.takes_out(r, device, entered[1])
                           and r.hash != node.hash and r.hash not in node.past and not self.covers(r, entry)}
                named |= against
                if not against and self.is_admitted(entered[1], known, entry, named):
                    return None
        return sorted(named, key=lambda at: self.roll.nodes[at].order)

    def is_admitted(self, member, known, entry, named):
        for node in known:
            if node.admits[0] == member:
                against = {r.hash for r in self.standing if r.code == REMOVE and r.about == ("member", member)
                           and r.hash not in node.past and not self.covers(r, entry)}
                named |= against
                if not against:
                    return True
        return False
