//! What leaves a device as a file, and what must be in none.

use super::*;
use crate::exchange::open311::Place;
use crate::exchange::{Format, Language};
use crate::watch::{Bulletin, Disclosure, Keyed, Meeting, Position, PublishedMonth, Said, Sealed, Shift};

const FORMATS: [Format; 4] =
    [Format::Csv, Format::GeoJson, Format::Page(Language::English), Format::Page(Language::Spanish)];

/// March 2026: over for long.
const MARCH: i64 = 1_772_500_000_000;

/// Planted in the sealed part alone.
const PLANTED: [&str; 6] =
    ["Jane Roe", "303-555-0142", "ZZZ-1234", "12 Invented Street", "39.7412345", "104.9512345"];

fn planted(what: &str, consent: &[&str]) -> ObservationDraft {
    let mut planted = draft(what);
    planted.observation.when.start_ms = MARCH;
    planted.observation.vantage = "workplace".into();
    planted.observation.consent = consent.iter().map(ToString::to_string).collect();
    planted.sealed = Some(Sealed {
        position: Some(Position {
            lat: 39.741_234_5,
            lon: -104.951_234_5,
            accuracy_m: 3.0,
            method: "gps".into(),
        }),
        address: "12 Invented Street".into(),
        notes: "Jane Roe, 303-555-0142, plate ZZZ-1234".into(),
        ..Sealed::default()
    });
    planted
}

fn plan(liaison: &Engine, observations: &[DocumentId]) -> ReleasePlan {
    ReleasePlan {
        title: "Swaps".into(),
        purpose: "Patrol planning".into(),
        recipient: Some(liaison.member_id()),
        expires_ms: None,
        observations: observations.iter().map(|id| (*id, Redaction::default())).collect(),
    }
}

fn city() -> Outside {
    Outside { recipient: "Street lighting, City Hall".into(), purpose: "To mend the lamp".into() }
}

#[test]
fn every_copy_that_leaves_has_its_record() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let mut alda = joined(&mut carla, 9, roles::ROLE_AUDITOR);
    let mut lamp = planted("The street lamp at the corner has been out since Monday.", &["liaison"]);
    lamp.observation.behaviours = vec!["place_condition".into()];
    let report = vic.record(lamp).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    let nobody = Outside { recipient: " ".into(), ..city() };
    for nobody in [nobody, Outside { purpose: String::new(), ..city() }] {
        assert!(matches!(carla.export_release(release, Format::Csv, &nobody), Err(Error::Invalid(_))));
    }
    assert_eq!(carla.what_became_of(report).unwrap().len(), 1, "what did not leave is not recorded");
    carla.export_release(release, Format::Csv, &city()).unwrap();
    carla.export_place_condition(release, 0, "LIGHT", "town.example", &Place::Address("Elm".into())).unwrap();
    carla.evidence(release).unwrap();
    let answer = LiaisonAnswer { status: "received".into(), ..LiaisonAnswer::default() };
    gossip(&mut [&mut carla, &mut vic, &mut liaison, &mut alda]);
    liaison.respond(release, &answer).unwrap();
    liaison.export_release(release, Format::Csv, &Outside::default()).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut liaison, &mut alda]);
    let copies = vic.what_became_of(report).unwrap();
    let told = |at: usize| (copies[at].outside.as_str(), copies[at].purpose.as_str(), copies[at].recipient);
    assert_eq!(told(0), ("", "Patrol planning", Some(liaison.member_id())));
    assert_eq!(told(1), ("Street lighting, City Hall", "To mend the lamp", None));
    assert_eq!(told(2), ("town.example", "Open311 service request", None));
    assert_eq!((told(3), copies[3].what.as_slice()), (told(0), &["source_entries".to_owned()][..]));
    assert!(copies[1].what.contains(&"what_happened".to_owned()));
    assert_eq!((copies.len(), copies[0].answer.is_some(), copies[1].answer.is_some()), (4, true, false));
    let steps = vic.get(report).unwrap().steps;
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Released { .. })).count(), 4);
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Answered { .. })).count(), 1, "{steps:?}");
    assert_eq!((alda.disclosure_log().unwrap().len(), alda.audit().unwrap().len()), (4, 0));
    // A consent that was withdrawn stops further copies before the coordinator has called anything back, and afterwards.
    vic.withdraw_consent(report, "liaison").unwrap();
    hand(&vic, &mut carla);
    let refused = |carla: &mut Engine| {
        assert!(matches!(carla.export_release(release, Format::Csv, &city()), Err(Error::Invalid(_))));
        assert!(matches!(carla.evidence(release), Err(Error::Invalid(_))));
    };
    refused(&mut carla);
    carla.recall(release, "consent_withdrawn", "", None).unwrap();
    refused(&mut carla);
    hand(&carla, &mut vic);
    // Also of a copy that the coordinator who called it back had not heard of.
    let mut records = vic.all::<Disclosure>().unwrap().into_iter().map(|record| record.content);
    let mut unheard = records.find(|record| !record.outside.is_empty()).unwrap();
    unheard.outside.push_str(", second floor");
    carla.create_own(&unheard).unwrap();
    hand(&carla, &mut vic);
    let copies = vic.what_became_of(report).unwrap();
    assert!(copies.len() == 5 && copies.iter().all(|copy| copy.recalled.is_some()));
    let steps = vic.get(report).unwrap().steps;
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Recalled { .. })).count(), 1, "{steps:?}");
}

#[test]
fn who_cannot_record_a_copy_makes_none_but_of_their_own() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let mut alda = joined(&mut carla, 9, roles::ROLE_AUDITOR);
    let mut chris = joined(&mut carla, 10, roles::ROLE_COORDINATOR);
    let mut lena = joined(&mut carla, 11, roles::ROLE_LIAISON);
    let report = vic.record(planted("two people swapped a small bag", &["liaison"])).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    gossip(&mut [&mut carla, &mut vic, &mut liaison, &mut alda, &mut chris, &mut lena]);
    carla.change_role(chris.member_id(), RoleId(roles::ROLE_VOLUNTEER)).unwrap();
    hand(&carla, &mut chris);
    assert!(matches!(chris.evidence(release), Err(Error::Role(_))), "not any more");
    for phone in [&mut chris, &mut lena, &mut alda] {
        let copied = phone.export_release(release, Format::Csv, &city());
        assert!(matches!(copied, Err(Error::Role(_))), "{copied:?}");
    }
    liaison.export_release(release, Format::Csv, &Outside::default()).unwrap();
}

#[test]
fn the_log_names_what_the_file_holds() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let report = vic.record(planted("two people swapped a small bag", &["liaison"])).unwrap();
    hand(&vic, &mut carla);
    let case =
        carla.link(None, "Swaps", &[CaseLink { observation: report, reason: "12 min".into() }]).unwrap();
    for place in ["a driveway", "a yard"] {
        carla.state_fact(case, "location", place).unwrap();
    }
    let medium = crate::watch::Medium { id: "ab".repeat(32), ..crate::watch::Medium::default() };
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    let mut content: crate::watch::Release = carla.read(release).unwrap();
    content.items[0].media.push(medium);
    assert!(content.fields().contains(&"media".to_owned()));
    for format in FORMATS {
        let open = if format == Format::Csv { &[][..] } else { &["open_facts"] };
        let fields = crate::exchange::fields(&content, format);
        let told: Vec<&str> = fields.iter().map(String::as_str).collect();
        let here = ["basis", "behaviours", "cell", "what_happened", "when"];
        let mut held: Vec<&str> = here.iter().chain(open).copied().collect();
        held.sort_unstable();
        assert_eq!(told, held, "{format:?}");
        let bytes = String::from_utf8(carla.export_release(release, format, &city()).unwrap()).unwrap();
        assert_eq!(bytes.contains("a yard"), !open.is_empty(), "{format:?}");
        let logged = carla.what_became_of(report).unwrap().pop().unwrap().what;
        assert_eq!(logged, fields, "{format:?}");
    }
    // What was not made is not in the log.
    let copies = carla.what_became_of(report).unwrap().len();
    for (log, seq) in carla.parts(report).unwrap() {
        let mut batch = crate::storage::Batch::default();
        batch.delete(ENTRIES, disk::entry_key(log, seq));
        carla.store.apply(batch).unwrap();
    }
    assert!(matches!(carla.evidence(release), Err(Error::NotHere(_))));
    assert_eq!(carla.what_became_of(report).unwrap().len(), copies);
}

#[test]
fn nothing_sealed_and_nobody_is_in_a_release_that_was_exported() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let report = vic.record(planted("two people swapped a small bag", &["liaison"])).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[report])).unwrap();
    hand(&carla, &mut liaison);
    let people = [
        vic.member_id().to_string(),
        vic.device_id().to_string(),
        carla.member_id().to_string(),
        liaison.member_id().to_string(),
        report.to_string(),
        "workplace".to_owned(),
    ];
    for format in FORMATS {
        let bytes = String::from_utf8(carla.export_release(release, format, &city()).unwrap()).unwrap();
        assert!(bytes.contains("swapped a small bag"), "{format:?}");
        for absent in PLANTED.into_iter().chain(people.iter().map(String::as_str)) {
            assert!(!bytes.contains(absent), "{format:?} holds {absent}");
        }
        assert_eq!(liaison.export_release(release, format, &Outside::default()).unwrap().len(), bytes.len());
    }
    assert!(matches!(vic.export_release(release, Format::Csv, &city()), Err(Error::NotHere(_))));
    assert!(carla.export_release(report, Format::Csv, &city()).is_err(), "a report is no release");
}

/// As if a relay had signed the time at which phones had their two weeks after May.
fn past_may(phone: &mut Engine) {
    phone.clock = Arc::new(TestClock(AtomicU64::new(1_782_000_000_000)));
    phone.heard_time(1_782_000_000_000).unwrap();
}

#[test]
fn research_is_of_those_who_allowed_it_and_holds_no_text() {
    let Town { mut carla, mut vic, mut vera, .. } = town();
    for number in 0..11 {
        vic.record(planted(&format!("two people swapped a bag, number {number}"), &["statistics"])).unwrap();
    }
    let mut elsewhere = planted("two people swapped a bag", &["liaison"]);
    elsewhere.sealed.as_mut().unwrap().position.as_mut().unwrap().lat = 39.9;
    let mut retracted = planted("it was nothing", &["statistics"]);
    retracted.sealed.as_mut().unwrap().position.as_mut().unwrap().lat = 39.8;
    for _ in 0..11 {
        vic.record(elsewhere.clone()).unwrap();
        let wrong = vic.record(retracted.clone()).unwrap();
        vic.correct(wrong, true, "It was nothing").unwrap();
    }
    hand(&vic, &mut carla);
    past_may(&mut carla);
    assert_eq!(carla.publish_statistics().unwrap().len(), 3, "March, April and May");
    hand(&carla, &mut vera);
    past_may(&mut vera);
    for format in [Format::Csv, Format::GeoJson] {
        let bytes = String::from_utf8(vera.export_research(format).unwrap()).unwrap();
        assert_eq!(
            bytes.matches("g250:").count(),
            1,
            "the others did not allow it, or took it back: {bytes}"
        );
        for absent in PLANTED.into_iter().chain(["swapped", "workplace"]) {
            assert!(!bytes.contains(absent), "{format:?} holds {absent}");
        }
    }
    let table = String::from_utf8(vera.export_research(Format::Csv).unwrap()).unwrap();
    assert!(table.contains("2026-03,,,,,11,") && table.contains("2026-03,g250:"), "{table}");
    assert!(matches!(vera.export_research(Format::Page(Language::English)), Err(Error::Invalid(_))));
}

#[test]
fn ten_reports_of_a_month_are_published_as_few() {
    let Town { mut carla, .. } = town();
    let mut april = planted("two people swapped a bag", &["statistics"]);
    april.observation.when.start_ms += 31 * 86_400_000;
    for number in 0..11 {
        carla.record(planted("two people swapped a bag", &["statistics"])).unwrap();
        if number < 10 {
            carla.record(april.clone()).unwrap();
        }
    }
    past_may(&mut carla);
    carla.publish_statistics().unwrap();
    let table = String::from_utf8(carla.export_research(Format::Csv).unwrap()).unwrap();
    let withheld: String = table.lines().filter(|line| line.contains("2026-04")).collect();
    assert!(!withheld.is_empty() && !withheld.contains("g250") && !withheld.contains(",10"), "{table}");
}

#[test]
fn a_month_is_published_once_by_one_coordinator_and_read_back_as_it_was() {
    let Town { mut carla, mut vic, mut vera, mut liaison } = town();
    let mut chris = joined(&mut carla, 9, roles::ROLE_COORDINATOR);
    for _ in 0..11 {
        vic.record(planted("two people swapped a bag", &["statistics"])).unwrap();
    }
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris]);
    chris.mend_keys().unwrap();
    carla.clock = Arc::new(TestClock(AtomicU64::new(1_782_000_000_000)));
    assert_eq!(carla.publish_statistics().unwrap(), [], "a clock alone publishes nothing");
    past_may(&mut carla);
    past_may(&mut chris);
    assert!(matches!(chris.publish_statistics(), Err(Error::Role(_))), "one coordinator publishes");
    assert!(matches!(vic.publish_statistics(), Err(Error::Role(_))));
    assert_eq!(carla.publish_statistics().unwrap().len(), 3);
    let published = carla.hotspots().unwrap();
    assert_eq!((published[2].total, published[2].shown.len()), (Some(11), 1));
    assert_eq!((published[1].total, published[1].shown.len()), (None, 0), "nothing and few look alike");
    gossip(&mut [&mut carla, &mut vic, &mut vera, &mut chris, &mut liaison]);
    for phone in [&mut vic, &mut vera, &mut chris, &mut liaison] {
        past_may(phone);
        assert_eq!(phone.hotspots().unwrap(), published);
    }
    // One report more, or less, changes nothing: asking again tells nothing of it.
    vera.record(planted("two people swapped a bag", &["statistics"])).unwrap();
    hand(&vera, &mut carla);
    assert_eq!(carla.publish_statistics().unwrap(), []);
    carla.distrust_memory();
    assert_eq!(carla.hotspots().unwrap(), published);
    // Who comes to govern longest goes on from what is there. Two tables of a month are told to the coordinators.
    assert_eq!(carla.concerns().unwrap(), []);
    let mut other = carla.all::<PublishedMonth>().unwrap().remove(0).content;
    other.total = Some(12);
    chris.create_own(&other).unwrap();
    gossip(&mut [&mut carla, &mut chris, &mut vera]);
    assert!(matches!(carla.concerns().unwrap()[..], [Concern::PublishedTwice { .. }]));
    assert_eq!(carla.hotspots().unwrap(), vera.hotspots().unwrap());
}

#[test]
fn a_table_of_a_month_that_is_not_over_ends_nothing() {
    let Town { mut carla, .. } = town();
    let mut chris = joined(&mut carla, 9, roles::ROLE_COORDINATOR);
    for _ in 0..11 {
        carla.record(planted("two people swapped a bag", &["statistics"])).unwrap();
    }
    past_may(&mut carla);
    // By a clock that is wrong, or an app that is not this one.
    let far = PublishedMonth { month: "2199-12".into(), at_ms: 7_289_000_000_000, ..Default::default() };
    let month = crate::watch::statistics::Month::parse(&far.month).unwrap();
    let mut batch = crate::storage::Batch::default();
    let id = PublishedMonth::id(chris.member_id(), month);
    chris.write(&mut batch, Kind::PUBLISHED_MONTH, id, &far).unwrap();
    chris.store.apply(batch).unwrap();
    hand(&chris, &mut carla);
    assert_eq!(carla.all::<PublishedMonth>().unwrap().len(), 1);
    assert_eq!(carla.publish_statistics().unwrap().len(), 3, "March, April and May");
    assert_eq!(carla.hotspots().unwrap()[0].month.to_string(), "2026-05");
}

#[test]
fn the_ledger_is_the_sum_of_what_the_liaison_answered() {
    let Town { mut carla, mut vic, mut liaison, .. } = town();
    let reports: Vec<DocumentId> =
        (0..4).map(|_| vic.record(planted("two people swapped a bag", &["liaison"])).unwrap()).collect();
    hand(&vic, &mut carla);
    let first = carla.release(&plan(&liaison, &reports[..2])).unwrap();
    let second = carla.release(&plan(&liaison, &reports[1..3])).unwrap();
    hand(&carla, &mut liaison);
    for (status, outcome) in [("under_review", ""), ("closed", "city_services")] {
        let answer =
            LiaisonAnswer { status: status.into(), outcome: outcome.into(), ..LiaisonAnswer::default() };
        liaison.respond(first, &answer).unwrap();
    }
    hand(&liaison, &mut carla);
    hand(&liaison, &mut vic);
    hand(&carla, &mut vic);
    for engine in [&mut carla, &mut vic] {
        let ledger = engine.ledger().unwrap();
        assert_eq!((ledger.reports, ledger.kept, ledger.unanswered, ledger.sum()), (4, 1, 1, 4));
        assert_eq!(ledger.closed.get("city_services"), Some(&2));
        let page = String::from_utf8(engine.export_ledger(Language::Spanish).unwrap()).unwrap();
        assert!(page.contains("Cerrados: Servicios municipales"), "{page}");
    }
    // Nobody waits for an answer to what was called back; what was answered stays so.
    for release in [first, second] {
        carla.recall(release, "sent_in_error", "", None).unwrap();
    }
    hand(&carla, &mut vic);
    for engine in [&mut carla, &mut vic] {
        let ledger = engine.ledger().unwrap();
        assert_eq!((ledger.kept, ledger.recalled, ledger.unanswered, ledger.sum()), (1, 1, 0, 4));
        assert_eq!(ledger.closed.get("city_services"), Some(&2));
    }
}

#[test]
fn a_file_becomes_drafts_that_can_be_filed_as_they_are() {
    let file = "start,precision,behaviours,what_happened,latitude,longitude,address,ward\n\
        2026-03-04T21:40:00-05:00,minute,hand_to_hand,Two people swapped a small bag,39.7412345,-104.9512345,12 Elm,7\n\
        2026-03-04T21:40:00-05:00,minute,wanted,Two people,,,,\n";
    let mut vic = engine(2);
    let [good, bad] = vic.import(file.as_bytes()).unwrap().try_into().unwrap();
    assert_eq!((bad.number, bad.line), (2, 3));
    assert!(bad.draft.unwrap_err().starts_with("behaviours[0]"));
    assert_eq!(good.left_out, ["ward"]);
    let id = vic.record(good.draft.unwrap()).unwrap();
    let Content::Observation(observation, Some(sealed)) = vic.get(id).unwrap().content else { panic!() };
    assert!(observation.cell.starts_with("g250:"));
    assert_eq!(sealed.address, "12 Elm");
    let unreadable = vic.import(b"\xff").unwrap_err();
    assert_eq!(unreadable.fault(), Fault::Input);
}

#[test]
fn bulletins_calendars_and_places_leave_in_their_own_forms() {
    let Town { mut carla, mut vic, liaison, .. } = town();
    let said = Said { title: "Lamp out".into(), text: "Bring a torch.".into() };
    let bulletin = Bulletin {
        category: "place".into(),
        texts: Keyed::from_iter([("en", said)]),
        issued_ms: MARCH,
        expires_ms: MARCH + 86_400_000,
        ..Bulletin::default()
    };
    let id = carla.create(&bulletin).unwrap();
    let alert = String::from_utf8(carla.export_bulletin(id, "watch@town.example").unwrap()).unwrap();
    assert!(alert.contains(&format!("<identifier>{id}</identifier>")), "{alert}");
    assert!(matches!(carla.export_bulletin(id, "a b"), Err(Error::Invalid(_))));

    assert!(matches!(carla.export_calendar("Watch"), Err(Error::Invalid(_))), "there is nothing in it");
    let meeting = Meeting { title: "Monthly".into(), starts_ms: MARCH, ..Meeting::default() };
    let meeting = carla.create(&meeting).unwrap();
    let shift = Shift {
        title: "Friday".into(),
        starts_ms: MARCH - 7_200_000,
        ends_ms: MARCH,
        cells: vec!["g250:17675:-35908".into()],
        ..Shift::default()
    };
    let shift = carla.create(&shift).unwrap();
    let calendar = |engine: &mut Engine| String::from_utf8(engine.export_calendar("Watch").unwrap()).unwrap();
    let before = calendar(&mut carla).replace("\r\n ", "");
    let uids: Vec<&str> = before.lines().filter_map(|line| line.strip_prefix("UID:")).collect();
    assert_eq!(uids, [shift.to_string(), meeting.to_string()], "by time, under the ids of their documents");
    carla
        .change::<Meeting>(meeting, |meeting| {
            meeting.place = "Library".into();
            Ok(())
        })
        .unwrap();
    let after = calendar(&mut carla).replace("\r\n ", "");
    assert!(after.contains(&format!("UID:{meeting}\r\nSEQUENCE:1\r\n")), "{after}");

    let mut lamp = planted("The street lamp at the corner has been out since Monday.", &["liaison"]);
    lamp.observation.behaviours = vec!["place_condition".into()];
    let lamp = vic.record(lamp).unwrap();
    hand(&vic, &mut carla);
    let release = carla.release(&plan(&liaison, &[lamp])).unwrap();
    let place = Place::Address("Elm / 3rd".into());
    let request = carla.export_place_condition(release, 0, "LIGHT", "", &place).unwrap();
    assert!(request.starts_with("service_code=LIGHT&address_string=Elm"), "{request}");
    assert!(matches!(carla.export_place_condition(release, 1, "LIGHT", "", &place), Err(Error::NotHere(_))));
}
