"""Asks the programs of others whether they read the files beside this one, which tests/scenarios/tests/formats.rs writes.

Each format has a reader that somebody else keeps, in its strictest mode, and a few files that the same reader must refuse:
a check that cannot fail proves nothing. Open311 has no validator: of it the documented names alone are compared.
"""

import base64
import csv
import hashlib
import io
import re
import urllib.parse
from pathlib import Path

import html5lib
import icalendar
from cap_tools import Alert, AlertState
from geojson_pydantic import FeatureCollection
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer
from xml.etree import ElementTree

HERE = Path(__file__).parent
TIME = "%Y%m%dT%H%M%SZ"

opened, spoilt = set(), 0


class Wrong(Exception):
    """A file is not what its standard says."""


def demand(holds, what):
    if not holds:
        raise Wrong(what)


# CSV: RFC 4180, and what a spreadsheet makes of a cell.

def check_csv(data):
    demand(data.startswith(b"\xef\xbb\xbf"), "a byte order mark, for Excel")
    text = data[3:].decode()
    outside = re.sub(r'"(?:[^"]|"")*"', "", text)
    demand(outside.count("\n") == outside.count("\r\n") == outside.count("\r"), "CRLF between records")
    demand(text.endswith("\r\n"), "an end of the last record")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    demand(len({len(row) for row in rows}) == 1, "rows of equal length")
    number = re.compile(r"-?\d+(\.\d+)?")
    for cell in (cell for row in rows for cell in row if not number.fullmatch(cell)):
        # Also where a semicolon or a line end within a text begins a cell of its own.
        for piece in re.split(r"(?<=[;\r\n\t])", cell):
            demand(not re.match(r"[\t\r]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", piece), f"a formula: {piece!r}")
    return [dict(zip(rows[0], row)) for row in rows[1:]]


# GeoJSON: RFC 7946.

def check_geojson(data):
    collection = FeatureCollection.model_validate_json(data)
    for feature in collection.features:
        if feature.geometry is None:
            continue
        for ring in feature.geometry.coordinates:
            demand(ring[0] == ring[-1], "a closed ring")
            area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:]))
            demand(area > 0, "an exterior ring that runs counterclockwise (section 3.1.6)")
            demand(all(-180 <= lon <= 180 and -90 <= lat <= 90 for lon, lat in ring), "longitude, latitude")
    return collection


# HTML: parsed without a single error, and with nothing in it that runs or fetches.

def check_html(data):
    text = data.decode()
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(text)
    allowed = set("html head meta title style body main h1 h2 p table thead tbody tfoot tr th td".split())
    attributes = {"lang", "dir", "charset", "http-equiv", "name", "content", "scope", "class"}
    for element in tree.iter():
        demand(element.tag in allowed, f"element {element.tag}")
        demand(set(element.attrib) <= attributes, f"attributes {element.attrib}")
    demand(tree.get("lang") in ("en", "es"), "a language")
    policy = tree.find("head/meta[@http-equiv='Content-Security-Policy']").get("content")
    style = tree.find("head/style").text
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    demand(f"default-src 'none'; style-src 'sha256-{digest}';" in policy, "a policy that allows this style alone")
    demand("url(" not in style and "@import" not in style, "a style that fetches nothing")
    demand(len(tree.findall(".//style")) == 1 and tree.find("head/title").text, "one style, one title")
    return tree


def check_ledger(data):
    tree = check_html(data)
    numbers = [int(cell.text) for cell in tree.findall(".//tbody/tr/td[@class='n']")]
    total = int(tree.find(".//tfoot/tr/td[@class='n']").text)
    demand(len(numbers) > 3 and sum(numbers) == total, f"a sum: {numbers} of {total}")


# CAP 1.2: read by bindings made of its schema, which know each element, and written back by them in the schema's order.

def check_cap(data):
    config = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True,
                          fail_on_converter_warnings=True)
    alert = XmlParser(config=config).from_bytes(data, Alert)

    def leaves(xml):
        return [(element.tag, (element.text or "").strip()) for element in ElementTree.fromstring(xml).iter()]

    ours = [leaf for leaf in leaves(data) if not leaf[0].endswith("}sent") and not leaf[0].endswith("}expires")]
    theirs = leaves(XmlSerializer().render(alert, ns_map={None: "urn:oasis:names:tc:emergency:cap:1.2"}))
    theirs = [leaf for leaf in theirs if not leaf[0].endswith("}sent") and not leaf[0].endswith("}expires")]
    demand(ours == theirs, "every element, in the order of the schema")
    times = re.findall(rb"<(?:sent|expires)>([^<]*)<", data)
    for time in times:  # section 3.3.2: whole seconds, an offset in digits, never Z
        demand(re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d", time), f"a time: {time}")
    for polygon in (polygon for info in alert.infos for area in info.areas for polygon in area.polygons):
        points = polygon.split(" ")
        demand(len(points) >= 4 and points[0] == points[-1], "a closed polygon of four points or more")
    return alert


def check_cancellation(first, cancelled):
    state = AlertState()
    state.ingest(first)
    demand(len(state.alerts) == 1, "an alert")
    state.ingest(cancelled)
    demand(first not in state.alerts, "a cancellation that names it")


# iCalendar: RFC 5545.

def check_ics(data):
    lines = data.split(b"\r\n")
    demand(lines[-1] == b"" and not any(b"\n" in line or b"\r" in line for line in lines), "CRLF")
    demand(all(len(line) <= 75 for line in lines), "lines of at most 75 octets (section 3.1)")
    for line in lines:
        line.decode()  # a fold never splits a character
    calendar = icalendar.Calendar.from_ical(data)
    demand(calendar["VERSION"] == "2.0" and calendar["PRODID"], "a version and a product")
    unfolded = [text.replace(b"\r\n ", b"").split(b"\r\n") for text in (data, calendar.to_ical(sorted=False))]
    demand(sorted(unfolded[0]) == sorted(unfolded[1]), "the same lines, written back")
    events = calendar.walk("VEVENT")
    for component in [calendar, *events]:
        demand(component.errors == [], f"no errors: {component.errors}")
    for event in events:
        demand(all(event.get(name) is not None for name in ("UID", "DTSTAMP", "DTSTART", "SUMMARY")), "needed")
        for name in ("DTSTAMP", "DTSTART", "DTEND"):
            if name in event:
                demand(event[name].dt.utcoffset().total_seconds() == 0, "UTC")
        if "DTEND" in event:
            demand(event["DTEND"].dt > event["DTSTART"].dt, "an end after the start")
    demand(len({str(event["UID"]) for event in events}) == len(events), "an identity of its own for each")
    return events


# Open311 GeoReport v2, POST Service Request: documented names alone.

def check_open311(data):
    documented = {"jurisdiction_id", "service_code", "lat", "long", "address_string", "address_id", "email", "device_id",
                  "account_id", "first_name", "last_name", "phone", "description", "media_url"}
    of_persons = {"email", "device_id", "account_id", "first_name", "last_name", "phone"}
    fields = dict(urllib.parse.parse_qsl(data.decode("ascii"), strict_parsing=True, keep_blank_values=True))
    demand(set(fields) <= documented and not set(fields) & of_persons, f"names: {sorted(fields)}")
    demand(fields["service_code"] and {"lat", "long"} <= set(fields), "a service and a place")
    return fields


def refuses(check, data, changes):
    """Each change must make a file that the reader refuses."""
    global spoilt
    for old, new in changes:
        demand(old in data, f"{old} is in the file")
        try:
            check(data.replace(old, new, 1))
        except Exception:  # whatever the reader of others raises
            spoilt += 1
            continue
        raise Wrong(f"{check.__name__} does not notice {old} become {new}")


def read(name):
    opened.add(name)
    return (HERE / name).read_bytes()


def main():
    table = check_csv(read("release.csv"))
    demand([row["activity"] for row in table] == ["D;U", "D;U", ""], "selling and using are D;U")
    demand(table[0]["drug_types"] == "H;U", "fentanyl is H")
    refuses(check_csv, read("release.csv"), [(b"'=cmd", b"=cmd"), (b";' +1", b"; +1"), (b"\r\n1,", b"\n1,"), (b",D;U,", b",D;U"),
                                             (b'""quoted""', b'"quoted"')])
    research = check_csv(read("research.csv"))
    demand({row["reports"] for row in research} == {"", "40"}, "a total, and no count of a cell")

    release = check_geojson(read("release.geojson"))
    demand(release.features[1].properties["what_happened"].startswith("=cmd|' /C calc'!A0; +1\n@SUM(A1) \"quoted\""), "text")
    demand(release.features[2].geometry is None, "no place")
    check_geojson(read("research.geojson"))
    refuses(check_geojson, read("release.geojson"), [(b'"Polygon"', b'"Polygone"'), (b'"features"', b'"feature"'),
                                                     (b"[[[", b"[[[[0,0],["), (b"-104.", b"-204.")])

    for name in ("release.en.html", "release.es.html"):
        check_html(read(name))
        refuses(check_html, read(name), [(b"&lt;script", b"<script"), (b"</h1>", b""), (b"<!DOCTYPE html>", b""), (b"10pt", b"11pt"),
                                         (b"<h1 ", b"<h1 onclick=x "), (b' lang="', b' xlang="')])
    for name in ("ledger.en.html", "ledger.es.html"):
        check_ledger(read(name))
        refuses(check_ledger, read(name), [(b">20<", b">19<")])

    first, cancelled = check_cap(read("alert.xml")), check_cap(read("alert.cancelled.xml"))
    check_cancellation(first, cancelled)
    demand([info.language for info in first.infos] == ["en", "es-MX"], "both languages")
    demand("<script>alert(1)</script> ]]> & ñ" in first.infos[0].description, "text")
    refuses(check_cap, read("alert.xml"), [
        (b"<status>Actual", b"<status>Real"), (b"<scope>Public</scope>", b""), (b"<event>", b"<happening>"), (b"-00:00", b"Z"),
        (b"<urgency>Unknown</urgency>\n    <severity>Unknown</severity>",
         b"<severity>Unknown</severity>\n    <urgency>Unknown</urgency>"), (b"cap:1.2", b"cap:1.3"), (b"&lt;", b"<")])
    refuses(lambda data: check_cancellation(first, check_cap(data)), read("alert.cancelled.xml"), [(b",b1,", b",b2,")])

    meeting, shift, open_end = check_ics(read("calendar.ics"))
    demand(str(meeting["SUMMARY"]) == "Monthly meeting; of, the \\ watch", "text")
    demand("quoted" in meeting["DESCRIPTION"] and "ñandú ñandú" in meeting["DESCRIPTION"], "a folded text")
    demand(shift["DTSTART"].dt.strftime(TIME) == "20260529T174000Z" and "DTEND" not in open_end, "times")
    refuses(check_ics, read("calendar.ics"), [
        (b"DTSTART:2026", b"DTSTART:x2026"), (b"\r\n ", b"\r\n"), (b"\r\nEND:VEVENT", b"\r\nEND:VTODO"), (b"UID:m2", b"UID:m1"),
        (b"\r\nSUMMARY", b"\nSUMMARY"), (b"DTEND:2026", b"DTEND:2025"), (b"VERSION:2.0", b"VERSION:1.0")])

    request = check_open311(read("open311.txt"))
    demand(request["description"] == "The lamp & its pole = bent,\n100% dark.", "text")
    refuses(check_open311, read("open311.txt"), [(b"service_code", b"servicecode"), (b"&lat=", b"&email=")])
    files = {path.name for path in HERE.iterdir()} - {"check.py", "requirements.txt", "__pycache__"}
    demand(opened == files, f"every file is looked at: {files ^ opened}")
    print(f"tests/formats: {len(opened)} files are read, {spoilt} spoilt ones are refused")


if __name__ == "__main__":
    main()
