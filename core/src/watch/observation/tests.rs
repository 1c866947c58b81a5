//! Tests of observations and their sealed siblings.

use super::*;
use crate::watch::testing::{document_of, fork, keeps_what_it_does_not_know, stored};
use automerge::transaction::Transactable;
use automerge::{AutoCommit, ROOT, ReadDoc};
use autosurgeon::{hydrate, reconcile};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const T: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

fn full() -> Observation {
    Observation {
        media: Vec::new(),
        when: When { start_ms: T, end_ms: Some(T + 720_000), precision: "minute".into() },
        cell: "g250:17675:-35908".into(),
        location: "13".into(),
        vantage: "public_way".into(),
        behaviours: vec!["short_stay_traffic".into(), "vehicle_window_exchange".into()],
        what_happened: "A white van stopped behind the bakery for about ten minutes. Four people \
                        walked up to the driver's window one after another, handed something in, \
                        got something back and left on foot towards the park."
            .into(),
        basis: "saw".into(),
        activity: vec!["D".into(), "B".into()],
        substances: vec![Substance::new("unknown", "saw")],
        quantity: Some(Quantity { amount: 4.0, unit: "DU".into() }),
        flags: vec!["minors".into()],
        called_emergency_at_ms: Some(T + 60_000),
        consent: vec!["liaison".into(), "statistics".into()],
    }
}

fn brief() -> Observation {
    Observation {
        media: Vec::new(),
        when: When { start_ms: T, end_ms: None, precision: "hour".into() },
        vantage: "public_way".into(),
        behaviours: vec!["paraphernalia_found".into()],
        what_happened: "Needles next to the swings.".into(),
        basis: "saw".into(),
        ..Observation::default()
    }
}

fn sealed() -> Sealed {
    Sealed {
        originals: Vec::new(),
        observation: "obs-1".into(),
        position: Some(Position { lat: 39.7392, lon: -104.9903, accuracy_m: 8.0, method: "gps".into() }),
        address: "Alley behind 12 Example St".into(),
        people: vec![People { count: 4, clothing: "work clothes".into(), ..People::default() }],
        vehicles: vec![Vehicle { colour: "white".into(), plate: "AB?-12".into(), ..Vehicle::default() }],
        notes: "Camera of the bakery faces the alley.".into(),
    }
}

fn refused(edit: impl FnOnce(&mut Observation)) -> String {
    let mut observation = full();
    edit(&mut observation);
    observation.validate().unwrap_err().field
}

fn refused_sealed(edit: impl FnOnce(&mut Sealed)) -> String {
    let mut sealed = sealed();
    edit(&mut sealed);
    sealed.validate().unwrap_err().field
}

#[test]
fn honest_reports_pass() {
    assert_eq!(full().validate(), Ok(()));
    assert_eq!(brief().validate(), Ok(()));
    assert_eq!(sealed().validate(), Ok(()));
    assert_eq!(Sealed { observation: "obs-1".into(), ..Sealed::default() }.validate(), Ok(()));
}

#[test]
fn an_empty_report_does_not_pass() {
    assert_eq!(Observation::default().validate().unwrap_err().field, "when.start_ms");
    assert_eq!(Sealed::default().validate().unwrap_err().field, "observation");
}

#[test]
fn behaviour_comes_first() {
    assert_eq!(refused(|o| o.behaviours.clear()), "behaviours");
    assert_eq!(refused(|o| o.behaviours[1] = "looked_suspicious".into()), "behaviours[1]");
    assert_eq!(refused(|o| o.behaviours[1] = o.behaviours[0].clone()), "behaviours[1]");
    assert_eq!(refused(|o| o.what_happened = "\n ".into()), "what_happened");
    assert_eq!(refused(|o| o.what_happened = "a".repeat(TEXT_CHARS_MAX + 1)), "what_happened");
    assert_eq!(refused(|o| o.what_happened.push('\t')), "what_happened");
}

#[test]
fn times_are_sane() {
    assert_eq!(refused(|o| o.when.start_ms = -1), "when.start_ms");
    assert_eq!(refused(|o| o.when.start_ms = i64::MAX), "when.start_ms");
    assert_eq!(refused(|o| o.when.end_ms = Some(T - 1)), "when.end_ms");
    assert_eq!(refused(|o| o.when.end_ms = Some(i64::MAX)), "when.end_ms");
    assert_eq!(refused(|o| o.when.precision = "about".into()), "when.precision");
    assert_eq!(refused(|o| o.called_emergency_at_ms = Some(0)), "called_emergency_at_ms");
    let mut moment = full();
    moment.when.end_ms = Some(T);
    assert_eq!(moment.validate(), Ok(()));
}

#[test]
fn codes_are_known_and_few() {
    assert_eq!(refused(|o| o.cell = "behind the bakery".into()), "cell");
    assert_eq!(refused(|o| o.location = "22".into()), "location");
    assert_eq!(refused(|o| o.vantage.clear()), "vantage");
    assert_eq!(refused(|o| o.basis = "guessed".into()), "basis");
    let four = || ["D", "B", "P", "U"].map(String::from).to_vec();
    assert_eq!(refused(|o| o.activity = four()), "activity");
    assert_eq!(refused(|o| o.activity[0] = "Z".into()), "activity[0]");
    assert_eq!(refused(|o| o.flags.push("scary".into())), "flags[1]");
    assert_eq!(refused(|o| o.consent.push("press".into())), "consent[2]");
}

#[test]
fn substances_name_their_catalogue() {
    let substance = |code| Substance::new(code, "saw");
    let four = || ["crack", "heroin", "lsd", "pcp"].map(substance).to_vec();
    assert_eq!(refused(|o| o.substances = four()), "substances");
    assert_eq!(refused(|o| o.substances.push(substance("sugar"))), "substances[1].code");
    assert_eq!(refused(|o| o.substances.push(substance("unknown"))), "substances[1]");
    assert_eq!(refused(|o| o.substances[0].basis.clear()), "substances[0].basis");
    assert_eq!(refused(|o| o.substances[0].catalogue.clear()), "substances[0].catalogue");
    assert_eq!(refused(|o| o.substances[0].catalogue = "list".into()), "substances[0].catalogue");
    let mut old = full();
    old.substances[0] = Substance {
        code: "since_renamed".into(),
        catalogue: "substances@2019-07".into(),
        basis: "told".into(),
    };
    assert_eq!(old.validate(), Ok(()), "an old report can be amended");
}

#[test]
fn quantities_are_positive_numbers_with_a_unit() {
    for amount in [0.0, -1.0, f64::NAN, f64::INFINITY, QUANTITY_MAX * 2.0] {
        let quantity = Some(Quantity { amount, unit: "GM".into() });
        assert_eq!(refused(|o| o.quantity = quantity), "quantity.amount", "{amount}");
    }
    let no_unit = Some(Quantity { amount: 0.5, unit: "bags".into() });
    assert_eq!(refused(|o| o.quantity = no_unit), "quantity.unit");
}

#[test]
fn sealed_positions_are_on_the_earth() {
    let at = |lat, lon| {
        refused_sealed(|s| {
            let position = s.position.as_mut().unwrap();
            (position.lat, position.lon) = (lat, lon);
        })
    };
    assert_eq!(at(f64::NAN, 1.0), "position.lat");
    assert_eq!(at(91.0, 1.0), "position.lat");
    assert_eq!(at(1.0, -180.5), "position.lon");
    assert_eq!(at(0.0, 0.0), "position.lat");
    for accuracy_m in [-1.0, f64::NAN, ACCURACY_M_MAX * 2.0] {
        let field = refused_sealed(|s| s.position.as_mut().unwrap().accuracy_m = accuracy_m);
        assert_eq!(field, "position.accuracy_m");
    }
    assert_eq!(refused_sealed(|s| s.position.as_mut().unwrap().method.clear()), "position.method");
}

#[test]
fn sealed_descriptions_are_short_lines() {
    assert_eq!(refused_sealed(|s| s.address = "a\nb".into()), "address");
    assert_eq!(refused_sealed(|s| s.people[0].count = 0), "people[0].count");
    assert_eq!(refused_sealed(|s| s.people[0].count = PEOPLE_COUNT_MAX + 1), "people[0].count");
    assert_eq!(refused_sealed(|s| s.people[0].features = "a\u{202E}".into()), "people[0].features");
    assert_eq!(refused_sealed(|s| s.people[0].clothing = "a\n".into()), "people[0].clothing");
    assert_eq!(refused_sealed(|s| s.people[0].direction = "a\0".into()), "people[0].direction");
    assert_eq!(refused_sealed(|s| s.people = vec![People::default(); 21]), "people");
    assert_eq!(refused_sealed(|s| s.vehicles = vec![Vehicle::default(); 21]), "vehicles");
    assert_eq!(refused_sealed(|s| s.notes = "a\r".into()), "notes");
    let long = || "a".repeat(LINE_CHARS_MAX + 1);
    assert_eq!(refused_sealed(|s| s.vehicles[0].colour = long()), "vehicles[0].colour");
    assert_eq!(refused_sealed(|s| s.vehicles[0].make = long()), "vehicles[0].make");
    assert_eq!(refused_sealed(|s| s.vehicles[0].body = long()), "vehicles[0].body");
    assert_eq!(refused_sealed(|s| s.vehicles[0].plate = long()), "vehicles[0].plate");
    assert_eq!(refused_sealed(|s| s.vehicles[0].direction = long()), "vehicles[0].direction");
}

#[test]
fn unknown_fields_survive() {
    assert!(keeps_what_it_does_not_know(&full()));
    assert!(keeps_what_it_does_not_know(&sealed()));
}

#[test]
fn codes_of_a_newer_version_are_read_and_written_back() {
    let mut newer = full();
    newer.behaviours.push("drone_drop".into());
    newer.vantage = "balloon".into();
    assert!(newer.validate().is_err());
    let mut doc = document_of(&newer, 1);
    let heads = doc.get_heads();
    let read: Observation = hydrate(&doc).unwrap();
    assert_eq!(read, newer);
    reconcile(&mut doc, &read).unwrap();
    assert_eq!(doc.get_heads(), heads, "writing back what was read changes nothing");
}

#[test]
fn an_unknown_field_of_a_substance_stays_with_its_substance() {
    let mut observation = full();
    observation.substances = vec![Substance::new("crack", "saw"), Substance::new("heroin", "told")];
    let mut doc = document_of(&observation, 1);
    let list = doc.get(ROOT, "substances").unwrap().unwrap().1;
    let heroin = doc.get(&list, 1).unwrap().unwrap().1;
    doc.put(&heroin, "purity", "from the future").unwrap();
    observation.substances.remove(0);
    reconcile(&mut doc, &observation).unwrap();
    let left = doc.get(&list, 0).unwrap().unwrap().1;
    assert_eq!(doc.get(&left, "code").unwrap().unwrap().0.as_str(), Some("heroin"));
    assert_eq!(doc.get(&left, "purity").unwrap().unwrap().0.as_str(), Some("from the future"));
}

#[test]
fn two_devices_of_one_author_amend_different_fields() {
    let mut phone = document_of(&full(), 1);
    let mut tablet = fork(&mut phone, 2);
    let mut on_phone = full();
    on_phone.what_happened.push_str(" It came back at nine.");
    reconcile(&mut phone, &on_phone).unwrap();
    let mut on_tablet = full();
    on_tablet.behaviours.push("threat".into());
    reconcile(&mut tablet, &on_tablet).unwrap();
    phone.merge(&mut tablet).unwrap();
    let both: Observation = hydrate(&phone).unwrap();
    assert_eq!(both.what_happened, on_phone.what_happened);
    assert_eq!(both.behaviours, on_tablet.behaviours);
}

#[test]
fn a_report_fits_into_one_small_entry() {
    let bytes = |doc: &mut AutoCommit| doc.get_last_local_change().unwrap().raw_bytes().len();
    let mut doc = document_of(&full(), 1);
    let created = bytes(&mut doc);
    let mut amended = full();
    amended.location = "18".into();
    reconcile(&mut doc, &amended).unwrap();
    let sizes = [
        created,
        bytes(&mut document_of(&brief(), 1)),
        bytes(&mut doc),
        bytes(&mut document_of(&sealed(), 1)),
    ];
    println!("full, brief, amendment, sealed: {sizes:?} bytes");
    assert!(sizes[0] < 1_200 && sizes[1] < 700 && sizes[2] < 200, "{sizes:?}");
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(any::<String>(), 0..4)
}

fn observations() -> impl Strategy<Value = Observation> {
    let when = (any::<i64>(), any::<Option<i64>>(), any::<String>());
    let when = when.prop_map(|(start_ms, end_ms, precision)| When { start_ms, end_ms, precision });
    let substance = any::<(String, String, String)>();
    let substance = substance.prop_map(|(code, catalogue, basis)| Substance { code, catalogue, basis });
    let quantity = (-1e12..1e12, any::<String>());
    let quantity = quantity.prop_map(|(amount, unit)| Quantity { amount, unit });
    let texts = any::<(String, String, String, String, String)>();
    let lists = (words(), words(), words(), words(), vec(substance, 0..4));
    (when, texts, lists, option::of(quantity), any::<Option<i64>>()).prop_map(
        |(when, texts, lists, quantity, called_emergency_at_ms)| {
            let (cell, location, vantage, what_happened, basis) = texts;
            let (behaviours, activity, flags, consent, substances) = lists;
            Observation {
                media: Vec::new(),
                when,
                cell,
                location,
                vantage,
                behaviours,
                what_happened,
                basis,
                activity,
                substances,
                quantity,
                flags,
                called_emergency_at_ms,
                consent,
            }
        },
    )
}

fn sealeds() -> impl Strategy<Value = Sealed> {
    let position = (-90.0..90.0, -180.0..180.0, 0.0..1e5, any::<String>());
    let position =
        position.prop_map(|(lat, lon, accuracy_m, method)| Position { lat, lon, accuracy_m, method });
    let people = any::<(u32, String, String, String)>();
    let people = people.prop_map(|(count, clothing, features, direction)| People {
        count,
        clothing,
        features,
        direction,
    });
    let vehicle = any::<(String, String, String, String, String)>();
    let vehicle = vehicle.prop_map(|(colour, make, body, plate, direction)| Vehicle {
        colour,
        make,
        body,
        plate,
        direction,
    });
    (any::<(String, String, String)>(), option::of(position), vec(people, 0..4), vec(vehicle, 0..4)).prop_map(
        |((observation, address, notes), position, people, vehicles)| Sealed {
            originals: Vec::new(),
            observation,
            position,
            address,
            people,
            vehicles,
            notes,
        },
    )
}

proptest! {
    // Each example builds and saves whole documents.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn observations_come_back_as_they_were(observation in observations()) {
        prop_assert_eq!(stored(&observation), observation);
    }

    #[test]
    fn sealed_parts_come_back_as_they_were(sealed in sealeds()) {
        prop_assert_eq!(stored(&sealed), sealed);
    }

    #[test]
    fn any_amendment_is_read_back(before in observations(), after in observations()) {
        let mut doc = document_of(&before, 1);
        reconcile(&mut doc, &after).unwrap();
        prop_assert_eq!(hydrate::<_, Observation>(&doc).unwrap(), after);
    }

    #[test]
    fn judging_never_panics(observation in observations(), sealed in sealeds()) {
        let _ = (observation.validate(), sealed.validate());
    }
}
