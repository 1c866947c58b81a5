//! Tests of suggestions: against the definition, and for whatever order reports come in.

use super::*;
use crate::watch::blur::{self, Cell};
use proptest::prelude::*;

fn id(n: usize) -> DocumentId {
    let mut id = [0; DocumentId::LEN];
    id[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    DocumentId(id)
}

const NOON_MS: i64 = 1_780_000_000_000;
const HOME: (f64, f64) = (39.7392, -104.9903);

/// A report so many metres north and east of home, so many minutes after noon.
fn seen(north_m: f64, east_m: f64, minutes: i64, behaviours: &[&str]) -> Sighting {
    at(
        HOME.0 + north_m / 111_195.0,
        HOME.1 + east_m / 111_195.0 / HOME.0.to_radians().cos(),
        minutes,
        behaviours,
    )
}

fn at(lat: f64, lon: f64, minutes: i64, behaviours: &[&str]) -> Sighting {
    let cell = blur::cell(lat, lon, blur::CELL_SIZE_M).ok();
    Sighting {
        start_ms: NOON_MS + minutes * MINUTE_MS,
        place: Place::Exact(Point::new(lat, lon), cell),
        behaviours: behaviours.iter().map(|b| (*b).to_owned()).collect(),
    }
}

fn blurred(mut sighting: Sighting) -> Sighting {
    sighting.place = Place::Cell(sighting.place.cell().unwrap());
    sighting
}

fn index(sightings: impl IntoIterator<Item = Sighting>) -> SuggestionIndex {
    let mut index = SuggestionIndex::default();
    sightings.into_iter().enumerate().for_each(|(n, sighting)| index.put(id(n), sighting));
    index
}

fn nobody(_: DocumentId) -> bool {
    false
}

#[test]
fn a_suggestion_says_why() {
    let index = index([
        seen(0.0, 0.0, 0, &["vehicle_window_exchange"]),
        seen(40.0, 0.0, 12, &["vehicle_window_exchange", "threat"]),
        seen(0.0, 30.0, 5, &["hand_to_hand"]),
        seen(0.0, 30.0, 3 * 24 * 60, &["hand_to_hand"]),
        seen(0.0, 0.0, 0, &["place_condition"]),
    ]);
    let near = index.near(id(0), nobody);
    let reasons = |lang| near.iter().map(|s| s.reason(lang)).collect::<Vec<_>>();
    assert_eq!(
        reasons("en"),
        [
            "40 m and 12 min apart, both: exchange through a vehicle window",
            "30 m and 5 min apart, both: dealing",
            "30 m and 3 d apart, again: dealing",
        ]
    );
    assert_eq!(
        reasons("es-MX"),
        [
            "a 40 m y 12 min, ambos: intercambio por la ventanilla de un vehículo",
            "a 30 m y 5 min, ambos: venta",
            "a 30 m y 3 d, otra vez: venta",
        ]
    );
    assert_eq!(near[0].reports, [id(0), id(1)]);
    assert_eq!((near[0].apart, near[0].minutes), (Apart::Metres(40), 12));
}

#[test]
fn the_limits_are_a_hundred_metres_two_hours_and_fourteen_days() {
    let likeness = |other: Sighting| {
        let index = index([seen(0.0, 0.0, 0, &["threat"]), other]);
        index.near(id(0), nobody).first().map(|suggestion| suggestion.likeness)
    };
    let (event, pattern) = (Some(Likeness::SameEvent), Some(Likeness::Pattern));
    assert_eq!(likeness(seen(99.0, 0.0, 120, &["weapon_seen"])), event);
    assert_eq!(likeness(seen(101.0, 0.0, 120, &["weapon_seen"])), None);
    assert_eq!(likeness(seen(0.0, -99.0, -121, &["weapon_seen"])), pattern);
    assert_eq!(likeness(seen(0.0, 0.0, 14 * 24 * 60, &["weapon_seen"])), pattern);
    assert_eq!(likeness(seen(0.0, 0.0, 14 * 24 * 60 + 1, &["weapon_seen"])), None);
    assert_eq!(likeness(seen(0.0, 0.0, 0, &["public_use"])), None);
}

#[test]
fn without_the_exact_place_the_public_cell_decides() {
    let index = index([
        blurred(seen(0.0, 0.0, 0, &["threat"])),
        seen(20.0, 0.0, 5, &["threat"]),
        blurred(seen(2_000.0, 0.0, 5, &["threat"])),
    ]);
    let near = index.near(id(0), nobody);
    assert_eq!(near.len(), 1);
    assert_eq!(near[0].apart, Apart::SameCell);
    assert_eq!(near[0].reason("en"), "in the same public cell, 5 min apart, both: threat");
    assert_eq!(near[0].reason("es"), "en la misma celda pública, con 5 min de diferencia, ambos: amenaza");
    assert_eq!(index.near(id(1), nobody)[0].reports, [id(1), id(0)]);
}

#[test]
fn a_place_on_the_antimeridian_and_one_near_the_pole_have_neighbours() {
    for (here, there) in [((-16.8, 179.9998), (-16.8, -179.9998)), ((89.9, 10.0), (89.9, 10.3))] {
        let index = index([at(here.0, here.1, 0, &["threat"]), at(there.0, there.1, 1, &["threat"])]);
        assert_eq!(index.near(id(0), nobody).len(), 1, "{here:?}");
        assert_eq!(index.near(id(1), nobody).len(), 1, "{there:?}");
    }
}

#[test]
fn what_is_settled_or_forgotten_is_not_suggested() {
    let mut index = index((0..3).map(|n| seen(f64::from(n), 0.0, 0, &["threat"])));
    assert_eq!(index.near(id(0), nobody).len(), 2);
    assert_eq!(index.near(id(0), |other| other == id(1)).len(), 1);
    assert_eq!(index.duplicates(|_, _| false).len(), 3);
    index.remove(id(1));
    index.remove(id(1));
    assert_eq!(index.near(id(0), nobody).len(), 1);
    assert_eq!(index.near(id(1), nobody), []);
    // What was moved away is found where it is now.
    index.put(id(2), seen(5_000.0, 0.0, 0, &["threat"]));
    assert_eq!(index.near(id(0), nobody), []);
    assert_eq!(index.len(), 2);
}

#[test]
fn a_crowded_place_gives_the_nearest_suggestions_and_no_more() {
    let index = index((0..2_000).map(|n| seen(0.0, 0.0, n % 100, &["threat"])));
    let near = index.near(id(50), nobody);
    assert_eq!(near.len(), SUGGESTIONS_MAX);
    assert!(near.iter().all(|s| s.minutes <= 1), "{near:?}");
    assert!(index.duplicates(|_, _| false).len() <= 2_000 * SUGGESTIONS_MAX);
}

#[test]
fn a_pattern_is_one_place_again_and_again() {
    let day = 24 * 60;
    let index = index([
        seen(0.0, 0.0, 0, &["hand_to_hand"]),
        seen(60.0, 0.0, 5 * day, &["offer_to_sell"]),
        seen(-60.0, 0.0, 12 * day, &["hand_to_hand", "threat"]),
        // Near the third, and not near the first, around which the pattern lies.
        seen(-120.0, 0.0, 13 * day, &["hand_to_hand"]),
        // Fifteen days after the last one: too late, and by itself no pattern.
        seen(0.0, 0.0, 27 * day, &["hand_to_hand"]),
    ]);
    let patterns = index.patterns();
    assert_eq!(patterns.len(), 1);
    assert_eq!(patterns[0].reports, [id(0), id(1), id(2)]);
    assert_eq!(patterns[0].reason("en"), "3 reports within 100 m in 13 days: dealing");
    assert_eq!(patterns[0].reason("es"), "3 avisos a menos de 100 m en 13 días: venta");
}

fn sightings() -> impl Strategy<Value = Vec<Sighting>> {
    let behaviours =
        proptest::sample::subsequence(vec!["hand_to_hand", "offer_to_sell", "threat", "overdose"], 1..3);
    let place = (-300.0..300.0f64, -300.0..300.0f64, any::<bool>());
    let sighting =
        (place, -30_000i64..30_000, behaviours).prop_map(|((north, east, exact), minutes, behaviours)| {
            // Many within two hours of each other, some far apart.
            let sighting = seen(north, east, minutes / if minutes % 2 == 0 { 100 } else { 1 }, &behaviours);
            if exact { sighting } else { blurred(sighting) }
        });
    proptest::collection::vec(sighting, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every pair that the definition names is suggested from both sides, and no other, up to the most alike.
    #[test]
    fn the_index_finds_what_comparing_each_with_each_finds(sightings in sightings()) {
        let index = index(sightings.clone());
        let mut events = BTreeSet::new();
        for n in 0..sightings.len() {
            let all = (0..sightings.len()).filter(|m| *m != n);
            let expected = best(all.filter_map(|m| index.compare([id(n), id(m)])).collect());
            let same = expected.iter().filter(|s| s.likeness == Likeness::SameEvent);
            events.extend(same.map(|s| BTreeSet::from(s.reports)));
            prop_assert_eq!(index.near(id(n), nobody), expected);
        }
        let pairs = index.duplicates(|_, _| false);
        let found: BTreeSet<_> = pairs.iter().map(|s| BTreeSet::from(s.reports)).collect();
        prop_assert_eq!(found.len(), pairs.len());
        prop_assert!(found.is_superset(&events), "{found:?} lacks one of {events:?}");
        prop_assert!(pairs.iter().all(|s| s.likeness == Likeness::SameEvent));
    }

    /// The order in which reports come, and that they come again, changes nothing.
    #[test]
    fn any_order_gives_the_same(
        (sightings, order) in sightings().prop_flat_map(|s| {
            let order: Vec<usize> = (0..s.len()).chain(0..s.len()).collect();
            (Just(s), Just(order).prop_shuffle())
        }),
    ) {
        let one = index(sightings.clone());
        let mut other = SuggestionIndex::default();
        for n in order {
            other.put(id(n), sightings[n].clone());
        }
        prop_assert_eq!(one.duplicates(|_, _| false), other.duplicates(|_, _| false));
        prop_assert_eq!(one.patterns(), other.patterns());
        for n in 0..sightings.len() {
            prop_assert_eq!(one.near(id(n), nobody), other.near(id(n), nobody));
        }
    }

    #[test]
    fn a_point_is_where_its_degrees_are(lat in -90.0..90.0f64, lon in -180.0..180.0f64) {
        let (read_lat, read_lon) = Point::new(lat, lon).degrees();
        prop_assert!((read_lat - lat).abs() < 1e-7 && (read_lon - lon).abs() < 1e-7);
        prop_assert_eq!(Point::new(lat, lon).distance_m(Point::new(lat, lon)), 0.0);
    }
}

#[test]
fn a_cell_is_the_place_of_what_has_no_other() {
    let cell: Cell = "g250:17675:-35908".parse().unwrap();
    assert_eq!(Place::Cell(cell).near(&Place::Cell(cell)), Some(Apart::SameCell));
    assert_eq!(Place::Exact(Point::new(1.0, 2.0), None).near(&Place::Cell(cell)), None);
}
