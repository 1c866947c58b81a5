//! What is written, by each format. Whether others can read it, `tests/formats` asks their programs.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::exchange::cap::{Alert, Area, Category, Info, Message, Reference, Status};
use crate::exchange::icalendar::{Event, calendar};
use crate::exchange::open311::{Place, request};
use crate::exchange::{Format, Language, Ledger, cap, csv, geojson, page, release};
use crate::watch::statistics::Month;
use crate::watch::trends::Hotspots;
use crate::watch::{AgendaItem, Bulletin, Keyed, Meeting, Said, Shift};

const FORMATS: [Format; 4] =
    [Format::Csv, Format::GeoJson, Format::Page(Language::English), Format::Page(Language::Spanish)];

#[test]
fn selling_and_using_are_one_cell() {
    let table = text(csv::release(&release_of(vec![item("x")])));
    let row = table.lines().nth(1).unwrap();
    assert!(row.contains(",D;U,fentanyl;unknown,H;U,"), "{row}");
    assert!(
        row.starts_with("1,2026-05-28T17:40:00Z,2026-05-28T17:50:00Z,minute,g250:17675:-35908,13,"),
        "{row}"
    );
}

#[test]
fn no_format_holds_recipient_or_commitment() {
    for format in FORMATS {
        let bytes = text(release(&release_of(vec![item("x")]), format));
        for absent in ["RECIPIENT", "0a0a", "vantage", "consent"] {
            assert!(!bytes.contains(absent), "{format:?} holds {absent}");
        }
    }
}

#[test]
fn formulas_are_not_run_wherever_a_cell_may_begin() {
    let formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "'=1", "''@x"];
    for formula in formulas {
        for text in [formula.to_owned(), format!("seen;{formula}"), format!("seen\n{formula}")] {
            let cell = csv::cell(&text);
            let pieces = cell.split([';', '\n', '\r', '\t']).filter(|piece| !piece.is_empty());
            for piece in pieces {
                assert!(
                    !piece.trim_start().starts_with(['=', '+', '-', '@', '＝']),
                    "{text:?} gave {cell:?}"
                );
            }
            assert_eq!(csv::restored(&cell), text);
        }
    }
    for harmless in ["", "'", "it's", "'quoted'", "a=b", "2-3", "ñ", "'a;b"] {
        assert_eq!(csv::cell(harmless), harmless);
        assert_eq!(csv::restored(harmless), harmless);
    }
    let table = text(csv::release(&release_of(vec![item("=HYPERLINK(\"http://x\",\"y\")")])));
    assert!(table.contains("\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""), "{table}");
}

#[test]
fn codes_that_came_from_elsewhere_stay_one_code() {
    let odd = ReleasedItem { behaviours: vec!["=a;b".into(), "c".into()], ..item("x") };
    let table = text(csv::release(&release_of(vec![odd])));
    assert!(table.contains(",'=a_b;c,"), "{table}");
}

#[test]
fn a_page_runs_nothing_and_fetches_nothing() {
    let hostile = "</td><script>alert(1)</script><img src=https://x/y onerror=\"z\">\u{202E}'&amp;";
    let hostile = ReleasedItem {
        behaviours: vec![hostile.into()],
        location: hostile.into(),
        cell: hostile.into(),
        when: When { precision: hostile.into(), ..item("x").when },
        ..item(hostile)
    };
    let mut release = release_of(vec![hostile]);
    release.title = "<b onclick=x>\"'</title><script src=//x></script>".into();
    release.purpose = "<style>@import url(//x)</style>".into();
    for language in [Language::English, Language::Spanish] {
        let page = page::release(&release, language);
        assert!(page.contains("&lt;i&gt;red"), "what they disagree about is told");
        for absent in ["<i>", "<script", "<img", "<b ", "<style>@import", "\u{202E}", "</title><script"] {
            assert!(!page.contains(absent), "{absent} in {page}");
        }
        assert_eq!(page.matches("<style>").count(), 1);
        assert!(page.contains("default-src 'none'; style-src 'sha256-") && !page.contains("<link"), "{page}");
        assert!(page.contains(&format!("<html lang=\"{}\">", language.tag())));
    }
}

#[test]
fn a_page_is_one_sheet_and_says_what_it_left_out() {
    let long = "a ".repeat(2_000);
    let page = page::release(&release_of(vec![item(&long); 200]), Language::English);
    assert_eq!(page.matches("a a a").count() > 0, page.contains('…'));
    assert!(page.contains("188 more events"), "{page}");
    assert!(page.len() < 12_000, "{} bytes", page.len());
    let few = page::release(&release_of(vec![item("x"); 12]), Language::English);
    assert!(!few.contains("more events"));
}

#[test]
fn sums_on_paper_add_up() {
    let ledger = Ledger {
        reports: 40,
        kept: 20,
        recalled: 1,
        unanswered: 6,
        open: BTreeMap::from([("under_review".into(), 4), ("newer".into(), 1)]),
        closed: BTreeMap::from([("city_services".into(), 5), ("no_action".into(), 2), (String::new(), 1)]),
    };
    assert_eq!(ledger.sum(), ledger.reports);
    let page = page::ledger(&ledger, MAY, Language::Spanish);
    let body = page.split("<tfoot>").next().unwrap();
    let numbers: Vec<u64> = body
        .split("<td class=\"n\">")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!((numbers.len(), numbers.iter().sum::<u64>()), (8, 40));
    assert!(page.contains("<td class=\"n\">40</td>"));
    for label in
        ["Cerrados: Servicios municipales", "abiertos: En revisión", "abiertos: newer", "no se indicó"]
    {
        assert!(page.contains(label), "{label}");
    }
}

#[test]
fn research_holds_places_and_totals_alone() {
    let shown = BTreeSet::from([("g250:17675:-35908".parse().unwrap(), "dealing".to_owned())]);
    let april = Month::of_ms(MAY - 40 * 86_400_000).unwrap();
    let months = [
        Hotspots { month: april, total: None, shown: BTreeSet::new() },
        Hotspots { month: Month::of_ms(MAY).unwrap(), total: Some(40), shown },
    ];
    let table = text(csv::research(&months));
    assert_eq!(
        table.lines().skip(1).collect::<Vec<_>>(),
        ["2026-04,,,,,,", "2026-05,,,,,40,", "2026-05,g250:17675:-35908,39.73984,-104.99098,dealing,,11"]
    );
    let json: serde_json::Value = serde_json::from_slice(&geojson::research(&months)).unwrap();
    assert_eq!(json["features"][1]["properties"], serde_json::json!({ "month": "2026-05", "reports": 40 }));
    assert_eq!(json["features"][2]["properties"]["reports_min"], 11);
}

fn bulletin() -> Alert {
    Alert {
        identifier: "b1".into(),
        sender: "group@watch.example".into(),
        sent_ms: MAY,
        status: Status::Actual,
        message: Message::Alert,
        infos: vec![Info {
            language: "es".into(),
            category: Category::Infra,
            event: "Farola <rota> & \"más\"".into(),
            expires_ms: Some(MAY + 86_400_000),
            sender_name: String::new(),
            headline: "Farola rota\nen el pasaje".into(),
            description: "Sin luz\0 desde el lunes.\nLleve linterna.".into(),
            areas: vec![Area {
                description: "Pasaje".into(),
                cells: vec!["g250:17675:-35908".parse().unwrap()],
            }],
        }],
    }
}

#[test]
fn alerts_escape_and_close_their_polygons() {
    let xml = text(cap::alert(&bulletin()).unwrap());
    assert!(xml.contains("<event>Farola &lt;rota&gt; &amp; &quot;más&quot;</event>"), "{xml}");
    assert!(xml.contains("<headline>Farola rota en el pasaje</headline>") && !xml.contains('\0'));
    assert!(xml.contains("<sent>2026-05-28T17:40:00-00:00</sent>"));
    let polygon = xml.split("<polygon>").nth(1).unwrap().split('<').next().unwrap();
    let corners: Vec<&str> = polygon.split(' ').collect();
    assert_eq!((corners.len(), corners[0]), (5, corners[4]));
}

#[test]
fn alerts_that_others_could_not_read_are_refused() {
    let refused = |edit: fn(&mut Alert)| {
        let mut alert = bulletin();
        edit(&mut alert);
        cap::alert(&alert).unwrap_err().field
    };
    assert_eq!(refused(|a| a.identifier = "a b".into()), "identifier");
    assert_eq!(refused(|a| a.sender = "a,b".into()), "sender");
    assert_eq!(refused(|a| a.sent_ms = 0), "sent_ms");
    assert_eq!(refused(|a| a.message = Message::Cancel(vec![])), "message");
    let odd = Reference { sender: "a&b".into(), identifier: "x".into(), sent_ms: MAY };
    let mut alert = bulletin();
    alert.message = Message::Update(vec![odd]);
    assert_eq!(cap::alert(&alert).unwrap_err().field, "message.sender");
    assert_eq!(refused(|a| a.infos.clear()), "infos");
    assert_eq!(refused(|a| a.infos[0].event.clear()), "event");
    assert_eq!(refused(|a| a.infos[0].areas[0].description = " ".into()), "areas");
    assert_eq!(refused(|a| a.infos[0].expires_ms = Some(i64::MAX)), "expires_ms");
}

#[test]
fn a_bulletin_is_an_alert_in_all_its_languages() {
    let said = |title: &str| Said { title: title.into(), text: "Bring a torch.".into() };
    let bulletin = Bulletin {
        category: "place".into(),
        texts: Keyed::from_iter([("en", said("Lamp out")), ("es", said("Farola rota"))]),
        cell: "g250:17675:-35908".into(),
        issued_ms: MAY,
        expires_ms: MAY + 86_400_000,
        cancelled: false,
    };
    let origin =
        |revision| cap::Origin { id: "b1".into(), sender: "s".into(), revision, changed_ms: MAY + 60_000 };
    let first = Alert::of(&bulletin, &origin(1));
    assert_eq!((first.identifier.as_str(), first.sent_ms, &first.message), ("b1", MAY, &Message::Alert));
    let infos: Vec<_> =
        first.infos.iter().map(|i| (&*i.language, &*i.event, &*i.headline, i.category)).collect();
    let infra = Category::Infra;
    assert_eq!(
        infos,
        [
            ("en", "Condition of a place", "Lamp out", infra),
            ("es", "Estado de un lugar", "Farola rota", infra)
        ]
    );
    let earlier = || vec![Reference { sender: "s".into(), identifier: "b1".into(), sent_ms: MAY }];
    let second = Alert::of(&bulletin, &origin(2));
    assert_eq!((second.identifier.as_str(), &second.message), ("b1.2", &Message::Update(earlier())));
    let gone = Alert::of(&Bulletin { cancelled: true, ..bulletin }, &origin(3));
    assert_eq!((gone.sent_ms, &gone.message), (MAY + 60_000, &Message::Cancel(earlier())));
    for alert in [first, second, gone] {
        cap::alert(&alert).unwrap();
    }
}

#[test]
fn a_meeting_tells_its_agenda_and_a_shift_nobody() {
    let item = |position, title: &str| AgendaItem { position, title: title.into(), about: "SECRET".into() };
    let monthly = Meeting {
        title: "Monthly".into(),
        starts_ms: MAY,
        ends_ms: Some(MAY),
        place: "Library".into(),
        agenda: Keyed::from_iter([("a", item(2, "The lot")), ("b", item(1, "Lamps"))]),
        minutes: "SECRET".into(),
        ..Meeting::default()
    };
    let event = Event::of_meeting("m1", &monthly, 3, MAY);
    assert_eq!(
        (event.description.as_str(), event.ends_ms, event.sequence),
        ("1. Lamps\n2. The lot", None, 2)
    );
    let shift = Shift {
        title: "Friday".into(),
        starts_ms: MAY,
        ends_ms: MAY + 3_600_000,
        cells: vec!["g250:17675:-35908".into()],
        attendance: Keyed::from_iter([("SECRET", crate::watch::Attendance::default())]),
    };
    let ics = text(calendar("Watch", &[event, Event::of_shift("s1", &shift, 1, MAY)]).unwrap());
    assert!(!ics.contains("SECRET") && ics.contains("LOCATION:g250:17675:-35908"), "{ics}");
}

fn meeting() -> Event {
    Event {
        uid: "d0c".into(),
        sequence: 2,
        changed_ms: MAY - 1_000,
        starts_ms: MAY,
        ends_ms: Some(MAY + 5_400_000),
        title: "Réunion; of, the \\ watch".into(),
        description: format!("Agenda:\r\n{}\nEND:VEVENT", "ñ".repeat(200)),
        place: "Library".into(),
    }
}

#[test]
fn calendars_fold_escape_and_name_events_for_ever() {
    let ics = text(calendar("Watch", &[meeting()]).unwrap());
    for line in ics.split("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line:?}");
    }
    assert!(ics.ends_with("END:VCALENDAR\r\n"));
    let unfolded = ics.replace("\r\n ", "");
    assert!(unfolded.contains("\r\nSUMMARY:Réunion\\; of\\, the \\\\ watch\r\n"), "{unfolded}");
    assert!(unfolded.contains(&format!("\r\nDESCRIPTION:Agenda:\\n{}\\nEND:VEVENT\r\n", "ñ".repeat(200))));
    assert_eq!(unfolded.matches("END:VEVENT\r\n").count(), 2, "one of them within the description");
    assert!(
        unfolded.contains(
            "\r\nUID:d0c\r\nSEQUENCE:2\r\nDTSTAMP:20260528T173959Z\r\nDTSTART:20260528T174000Z\r\n"
        )
    );
}

#[test]
fn calendars_that_others_could_not_read_are_refused() {
    assert_eq!(calendar("Watch", &[]).unwrap_err().field, "events");
    let refused = |event: Event| calendar("Watch", &[meeting(), event]).unwrap_err().field;
    assert_eq!(refused(Event { uid: "a\nb".into(), ..meeting() }), "events[1].uid");
    assert_eq!(refused(Event { title: " ".into(), ..meeting() }), "events[1].title");
    assert_eq!(refused(Event { starts_ms: i64::MAX, ..meeting() }), "events[1].starts_ms");
    // Within the same second: there is nothing smaller in a calendar.
    assert_eq!(refused(Event { ends_ms: Some(MAY + 999), ..meeting() }), "events[1].ends_ms");
}

fn lamp() -> ReleasedItem {
    ReleasedItem {
        behaviours: vec!["place_condition".into()],
        activity: vec![],
        substances: vec![],
        quantity: None,
        flags: vec![],
        ..item("The lamp & its pole = bent")
    }
}

#[test]
fn the_city_gets_places_and_no_people() {
    let at = Place::Point { lat: 39.7392, lon: -104.9903 };
    assert_eq!(
        request(&lamp(), "LIGHT", "denver.example", &at).unwrap(),
        "jurisdiction_id=denver.example&service_code=LIGHT&lat=39.739200&long=-104.990300\
         &description=The+lamp+%26+its+pole+%3D+bent"
    );
    let crossing = Place::Address("Elm / 3rd".into());
    assert!(request(&lamp(), "LIGHT", "", &crossing).unwrap().contains("address_string=Elm+%2F+3rd"));
    let refused = |edit: fn(&mut ReleasedItem)| {
        let mut item = lamp();
        edit(&mut item);
        request(&item, "LIGHT", "", &Place::Address("x".into())).unwrap_err().field
    };
    assert_eq!(refused(|i| i.behaviours.push("threat".into())), "behaviours");
    assert_eq!(refused(|i| i.activity.push("D".into())), "behaviours");
    assert_eq!(refused(|i| i.substances.push(Substance::new("unknown", "saw"))), "behaviours");
    assert_eq!(refused(|i| i.flags.push("minors".into())), "behaviours");
    assert_eq!(refused(|i| i.what_happened = "a".repeat(4_001)), "what_happened");
    assert_eq!(
        refused(|i| i.what_happened = "Call Jane Roe, 303-555-0142, about the lamp".into()),
        "what_happened"
    );
    assert_eq!(request(&lamp(), " ", "", &at).unwrap_err().field, "service_code");
    assert_eq!(request(&lamp(), "x", "", &Place::Address(" ".into())).unwrap_err().field, "address");
    assert_eq!(request(&lamp(), "x", "", &Place::Point { lat: 0.0, lon: 0.0 }).unwrap_err().field, "lat");
}
