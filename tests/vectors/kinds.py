"""Sections 4.1, 6.2, 6.3 and 6.4: the tables of the document itself, and which changes of judged kinds count."""

import math
import re
from pathlib import Path

from formats import demand, tagged

PROTOCOL = Path(__file__).parents[2] / "core" / "PROTOCOL.md"
EVERYONE = [1, 2, 3, 4, 5, 6]
STAGES = ["scanning", "analysis", "response", "assessment", "closed"]
NOTICE = "42 CFR part 2 prohibits unauthorized use or disclosure of these records."
TIME_MS_MAX = 7_258_118_400_000
CODES = Path(__file__).parents[2] / "core" / "src" / "watch" / "codes"


def table(heading):
    """The cells of the first table below a line that begins so."""
    lines = PROTOCOL.read_text().split(heading, 1)[1].splitlines()[1:]
    start = next(at for at, line in enumerate(lines) if re.match(r"\|[ -|]*---", line))
    rows = []
    for line in lines[start + 1:]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])


def roles(cell):
    return EVERYONE if cell == "all" else [int(role) for role in cell.split(",")]


def rules():  # [6.3]
    yes = lambda cell: cell == "yes"
    return [[int(kind), name.replace(" ", "_"), int(compartment), roles(writers), yes(author), yes(frozen), yes(judged)]
            for kind, name, compartment, writers, author, frozen, judged in table("### 6.3 Rules by kind")]


def template():  # [4.1] without the roll
    rows = table("The template of a watch group:")
    return [[int(number), name, roles(readers), roles(writers)] for number, name, readers, writers, _ in rows[1:]]


def document_id(member, kind, nonce):  # [6.2]
    return nonce + tagged(b"lamppost/1/document", member, kind.to_bytes(2, "big"), nonce)[:16]


def vote_id(member, ballot):  # [6.2]
    return document_id(member, 24, tagged(b"lamppost/1/vote", ballot)[:8])


EXPIRING = [1, 2, 3, 5, 6, 30]  # [6.3] rule 10


def last_day(built_on):  # [6.3] rule 10; None for never
    return min((day for day in built_on if day is not None), default=None)


def answer_id(member, kind, release):  # [6.2]
    return document_id(member, kind, tagged(b"lamppost/1/answer", release)[:8])


# [6.4] Each takes before (or None), after, and the writer: member, role, document.

def said(*texts):
    return all(text.strip() for text in texts)


def number(value):
    return value is not None and math.isfinite(value)


def code(name, value):
    import json
    return any(entry["code"] == value for entry in json.loads((CODES / f"{name}.json").read_text())["entries"])


def own(text, member):
    try:
        wanted = bytes.fromhex(text)
    except ValueError:
        return False
    return any(document_id(member, kind, wanted[:8]) == wanted for kind in range(1, 60))


def correction(before, after, writer):
    demand(own(after["target"], writer["member"]), "not the author's own")


def contest(before, after, writer):
    demand(own(after["observation"], writer["member"]), "not the author's own")


def problem(before, after, writer):
    demand(after["stage"] in STAGES, "no stage")
    stage, found, measured = STAGES.index(after["stage"]), after["analysis"], after["assessment"]
    demand(stage < 1 or said(after["scan"]), "no scan")
    if stage >= 2:
        demand(said(found["offender"], found["victim"], found["place"], measured["measure"]), "no analysis")
        demand(number(measured["baseline"]), "no baseline")
    demand(stage < 3 or after["responses"], "no response")
    if stage == 4:
        demand(number(measured["after"]) and said(measured["displacement"], measured["conclusion"]), "no assessment")
    if before is None:
        opening = after["opening"]
        demand(stage == 0 and said(*(opening[answer] for answer in (
            "several_concerned", "will_not_go_away", "survived_enforcement", "can_be_impacted"))), "not opened")
        return
    was, earlier = STAGES.index(before["stage"]), before["assessment"]
    demand(stage <= was + 1, "a stage is skipped")
    demand((was, stage) != (4, 4) or before == after, "closed")
    if was >= 2 and stage >= 2:
        demand((earlier["measure"], earlier["baseline"]) == (measured["measure"], measured["baseline"]), "moved")


def shift(before, after, writer):
    if writer["role"] == 1:
        return
    demand(before is not None, "a volunteer plans nothing")
    rest = lambda doc: {**doc, "attendance": {who: came for who, came in doc["attendance"].items()
                                               if who != writer["member"].hex()}}
    demand(rest(before) == rest(after), "more than one's own")


def vote(before, after, writer):
    demand(vote_id(writer["member"], bytes.fromhex(after["ballot"])) == writer["document"], "another ballot")


def ballot(before, after, writer):
    if before is None:
        demand(after["closing"] is None, "closed at once")
        return
    demand(before["closing"] is None, "closed")
    demand(all(before[field] == after[field] for field in ("question", "options", "choices_max")), "another question")


def youth_session(before, after, writer):
    demand(code("youth_activity", after["activity"]) and code("age_band", after["ages"]), "no code")
    demand(not after["cell"] or re.fullmatch(r"g\d+:-?\d+:-?\d+", after["cell"]), "no cell")


def referral(before, after, writer):
    consent = after["consent"]
    demand(code("consent_giver", consent["given_by"]) and said(consent["covers"]), "no consent")
    demand(0 < consent["given_ms"] < consent["ends_ms"] <= TIME_MS_MAX, "not at that time")
    demand(after["notice"] == NOTICE, "no notice")
    was_withdrawn = before is not None and before["consent"]["withdrawn_ms"] is not None
    demand(not was_withdrawn or consent["withdrawn_ms"] is not None, "withdrawn")


def key(tag, *parts):  # [6.5]
    return tagged(tag, *(part.encode() for part in parts)).hex()[:32]


def case(before, after, writer):
    by, before = writer["member"].hex(), before or {"links": {}, "facts": {}, "resolutions": {}}
    for field in ("links", "facts", "resolutions"):
        demand(before[field].keys() <= after[field].keys(), "taken out")
    for name, link in after["links"].items():
        was, own, removed = before["links"].get(name), link["by"] == by, link["removed_by"]
        demand(name == f"{link['observation']}:{link['by']}", "misfiled")
        if was is None:
            demand(own and removed in ("", by), "somebody else's link")
            continue
        demand(own or link["reason"] == was["reason"], "somebody else's reason")
        demand(removed == was["removed_by"] or (not was["removed_by"] and removed == by) or (own and not removed),
               "taken back or made again in somebody's name")
    said = after["facts"].keys() | after["resolutions"].keys()
    for name, fact in after["facts"].items():
        own = fact["by"] == by and name == key(b"lamppost/1/fact", fact["fact"], fact["value"], fact["by"])
        demand(before["facts"].get(name) == fact if name in before["facts"] else own, "somebody else's word")
    for name, chosen in after["resolutions"].items():
        filed = key(b"lamppost/1/resolution", chosen["fact"], chosen["choice"], chosen["by"], *chosen["seen"])
        own = chosen["by"] == by and name == filed and chosen["choice"] in after["facts"] and set(chosen["seen"]) <= said
        demand(before["resolutions"].get(name) == chosen if name in before["resolutions"] else own, "not their decision")


def not_duplicates(before, after, writer):
    demand(before is None or all(before[f] == after[f] for f in ("first", "second", "reason")), "another statement")
    was = before["taken_back_by"] if before else ""
    demand(after["taken_back_by"] == was or (not was and after["taken_back_by"] == writer["member"].hex()), "in a name")


JUDGES = {4: case, 16: not_duplicates, 13: correction, 14: contest, 20: problem, 23: shift, 24: vote, 25: ballot, 40: youth_session, 43: referral}


def judge(case):
    writer = {"member": bytes.fromhex(case["member"]), "role": case["role"],
              "document": bytes.fromhex(case["document"])}
    JUDGES[case["kind"]](case["before"], case["after"], writer)
