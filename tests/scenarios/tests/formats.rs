//! Files for other programs: what is written from one release, ledger, bulletin and calendar with everything in it that
//! has ever broken a reader.
//!
//! `tests/formats/*` is compared byte for byte; `LAMPPOST_WRITE_FORMATS=1` writes the files anew. Whether the programs of
//! others read them, `tests/formats/check.py` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use lamppost_core::exchange::cap::{self, Alert, Origin};
use lamppost_core::exchange::icalendar::{self, Event};
use lamppost_core::exchange::open311::{self, Place};
use lamppost_core::exchange::{Format, Language, Ledger, csv, geojson, import, page, release};
use lamppost_core::watch::statistics::Month;
use lamppost_core::watch::trends::Hotspots;
use lamppost_core::watch::{
    AgendaItem, Bulletin, Keyed, Meeting, OpenFact, Quantity, Release, ReleasedItem, Said, Shift, Substance,
    When,
};

const MAY: i64 = 1_779_990_000_000; // 2026-05-28T17:40:00Z
const DAY: i64 = 86_400_000;
const CELL: &str = "g250:17675:-35908";

/// Text that has broken readers of each kind.
const HOSTILE: &str = "=cmd|' /C calc'!A0; +1\n@SUM(A1) \"quoted\", \\;\r\n</td><script>alert(1)</script> ]]> & ñ 👩‍👩‍👧 \
     \u{202E}\0END:VEVENT";

#[test]
fn files_are_what_the_code_writes() {
    let writes = std::env::var_os("LAMPPOST_WRITE_FORMATS").is_some();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../formats");
    let mut differing = Vec::new();
    for (name, bytes) in files() {
        let path = folder.join(name);
        if writes {
            std::fs::write(&path, &bytes).unwrap();
        }
        if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
            differing.push(name);
        }
    }
    assert!(differing.is_empty(), "the code writes these otherwise: {differing:?}; LAMPPOST_WRITE_FORMATS=1");
}

#[test]
fn what_was_written_is_read_again() {
    let files = files();
    for name in ["release.csv", "release.geojson"] {
        let imported = import(&files[name], MAY).unwrap();
        let texts: Vec<String> =
            imported.rows.into_iter().map(|row| row.draft.unwrap().observation.what_happened).collect();
        assert_eq!(texts.len(), 3, "{name}");
        assert!(texts[1].starts_with("=cmd|' /C calc'!A0; +1\n@SUM(A1) \"quoted\""), "{name}: {}", texts[1]);
    }
}

fn files() -> BTreeMap<&'static str, Vec<u8>> {
    let handed = handed();
    let ledger = Ledger {
        reports: 40,
        kept: 20,
        recalled: 1,
        unanswered: 6,
        open: BTreeMap::from([("under_review".into(), 4), ("<b>newer".into(), 1)]),
        closed: BTreeMap::from([
            ("city_services".into(), 5),
            ("no_action".into(), 2),
            ("cannot_say".into(), 1),
        ]),
    };
    let (english, spanish) = (Language::English, Language::Spanish);
    let alert = |bulletin: &Bulletin, revision| {
        let origin =
            Origin { id: "b1".into(), sender: "watch@town.example".into(), revision, changed_ms: MAY + DAY };
        cap::alert(&Alert::of(bulletin, &origin)).unwrap()
    };
    let at = Place::Point { lat: 39.7392, lon: -104.9903 };
    BTreeMap::from([
        ("release.csv", release(&handed, Format::Csv)),
        ("release.geojson", release(&handed, Format::GeoJson)),
        ("release.en.html", release(&handed, Format::Page(english))),
        ("release.es.html", release(&handed, Format::Page(spanish))),
        ("ledger.en.html", page::ledger(&ledger, MAY, english).into_bytes()),
        ("ledger.es.html", page::ledger(&ledger, MAY, spanish).into_bytes()),
        ("research.csv", csv::research(&published())),
        ("research.geojson", geojson::research(&published())),
        ("alert.xml", alert(&bulletin(), 1)),
        ("alert.cancelled.xml", alert(&Bulletin { cancelled: true, ..bulletin() }, 2)),
        ("calendar.ics", icalendar::calendar("Watch, of the 12th; street", &events()).unwrap()),
        ("open311.txt", open311::request(&lamp(), "LIGHT", "town.example", &at).unwrap().into_bytes()),
    ])
}

fn item(what_happened: &str) -> ReleasedItem {
    ReleasedItem {
        when: When { start_ms: MAY, end_ms: Some(MAY + 600_000), precision: "minute".into() },
        cell: CELL.into(),
        location: "13".into(),
        behaviours: vec!["offer_to_sell".into(), "public_use".into()],
        what_happened: what_happened.into(),
        basis: "saw".into(),
        activity: vec!["D".into(), "U".into()],
        substances: vec![Substance::new("fentanyl", "told"), Substance::new("unknown", "saw")],
        quantity: Some(Quantity { amount: 2.5, unit: "GM".into() }),
        flags: vec!["in_progress".into()],
        media: vec![],
    }
}

fn handed() -> Release {
    let bare = ReleasedItem {
        when: When { start_ms: MAY, end_ms: None, precision: "day".into() },
        behaviours: vec!["threat".into()],
        what_happened: "▮▮▮".into(),
        ..ReleasedItem::default()
    };
    Release {
        title: "Exchanges on the <1200> block & \"beyond\"".into(),
        purpose: "Problem solving\nwith the sector officer".into(),
        recipient: "RECIPIENT".into(),
        created_ms: MAY,
        expires_ms: Some(MAY + 30 * DAY),
        revision: 1,
        replaces: String::new(),
        items: vec![item("Two cars, four short visits."), item(HOSTILE), bare],
        open_facts: vec![OpenFact {
            fact: "vehicle_colour".into(),
            values: vec!["blue".into(), "<i>red".into()],
        }],
        commitments: vec!["0a".repeat(32)],
        sources_count: 4,
    }
}

fn published() -> Vec<Hotspots> {
    let shown = BTreeSet::from([(CELL.parse().unwrap(), "dealing".to_owned())]);
    let month = |ms| Month::of_ms(ms).unwrap();
    vec![
        Hotspots { month: month(MAY), total: Some(40), shown },
        Hotspots { month: month(MAY - 40 * DAY), total: None, shown: BTreeSet::new() },
    ]
}

fn bulletin() -> Bulletin {
    let said = |title: &str| Said { title: title.into(), text: HOSTILE.into() };
    Bulletin {
        category: "place".into(),
        texts: Keyed::from_iter([("en", said("Lamp <out> & more")), ("es-MX", said("Farola rota"))]),
        cell: CELL.into(),
        issued_ms: MAY,
        expires_ms: MAY + DAY,
        cancelled: false,
    }
}

fn events() -> Vec<Event> {
    let agenda = |position, title: &str| AgendaItem { position, title: title.into(), about: String::new() };
    let long = "ñandú ".repeat(40);
    let meeting = Meeting {
        title: "Monthly meeting; of, the \\ watch".into(),
        starts_ms: MAY,
        ends_ms: Some(MAY + 5_400_000),
        place: "Library, room 2".into(),
        agenda: Keyed::from_iter([("a", agenda(2, &long)), ("b", agenda(1, HOSTILE))]),
        ..Meeting::default()
    };
    let shift = Shift {
        title: "Friday evening".into(),
        starts_ms: MAY + DAY,
        ends_ms: MAY + DAY + 7_200_000,
        cells: vec![CELL.into()],
        ..Shift::default()
    };
    let open = Meeting { ends_ms: None, agenda: Keyed::default(), ..meeting.clone() };
    vec![
        Event::of_meeting("m1", &meeting, 3, MAY - DAY),
        Event::of_shift("s1", &shift, 1, MAY - DAY),
        Event::of_meeting("m2", &open, 1, MAY - DAY),
    ]
}

fn lamp() -> ReleasedItem {
    ReleasedItem {
        behaviours: vec!["place_condition".into()],
        what_happened: "The lamp & its pole = bent,\n100% dark.".into(),
        ..ReleasedItem { activity: vec![], substances: vec![], quantity: None, flags: vec![], ..item("") }
    }
}
