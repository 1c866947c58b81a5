//! Tests: every entry that a person or an app can fill, with everything that should not stand there.

use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use super::{
    Annotation, Invalid, Observation, People, Position, Quantity, Redaction, Release, Sealed, Substance,
    Vehicle, When, blur, redact,
};
use proptest::prelude::*;

const T: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

fn observation() -> Observation {
    Observation {
        media: Vec::new(),
        when: When { start_ms: T, end_ms: Some(T + 60_000), precision: "minute".into() },
        cell: "g250:17675:-35908".into(),
        location: "13".into(),
        vantage: "public_way".into(),
        behaviours: vec!["hand_to_hand".into()],
        what_happened: "Two people swapped a bag for cash.".into(),
        basis: "saw".into(),
        activity: vec!["D".into()],
        substances: vec![Substance::new("unknown", "saw")],
        quantity: Some(Quantity { amount: 1.0, unit: "DU".into() }),
        flags: vec!["minors".into()],
        called_emergency_at_ms: Some(T),
        consent: vec!["liaison".into()],
    }
}

fn sealed() -> Sealed {
    Sealed {
        originals: Vec::new(),
        observation: "obs-1".into(),
        position: Some(Position { lat: 39.7, lon: -104.9, accuracy_m: 8.0, method: "gps".into() }),
        people: vec![People { count: 1, ..People::default() }],
        vehicles: vec![Vehicle::default()],
        ..Sealed::default()
    }
}

fn release() -> Release {
    Release {
        title: "Swaps".into(),
        purpose: "Patrol planning".into(),
        recipient: "officer".into(),
        created_ms: T,
        expires_ms: Some(T + 1),
        revision: 1,
        replaces: String::new(),
        items: vec![redact(&observation(), &Redaction::default()).unwrap()],
        open_facts: Vec::new(),
        commitments: vec!["0a".repeat(32)],
        sources_count: 1,
    }
}

/// A text entry: its path, how many characters it takes, and what is said of a text in it.
type TextEntry = (&'static str, usize, fn(String) -> Result<(), Invalid>);

/// A number or time entry: its path, and what is said of a value in it.
type Entry<T> = (&'static str, fn(T) -> Result<(), Invalid>);

macro_rules! entries {
    ($($path:literal, $max:expr, $whole:expr => ($($field:tt)+));+ $(;)?) => {
        vec![$(($path, $max, {
            let judge: fn(_) -> Result<(), Invalid> = |value| {
                let mut whole = $whole;
                whole.$($field)+ = value;
                whole.validate()
            };
            judge
        })),+]
    };
}

fn free_texts() -> Vec<TextEntry> {
    entries![
        "what_happened", TEXT_CHARS_MAX, observation() => (what_happened);
        "address", LINE_CHARS_MAX, sealed() => (address);
        "notes", TEXT_CHARS_MAX, sealed() => (notes);
        "people[0].clothing", LINE_CHARS_MAX, sealed() => (people[0].clothing);
        "people[0].features", LINE_CHARS_MAX, sealed() => (people[0].features);
        "people[0].direction", LINE_CHARS_MAX, sealed() => (people[0].direction);
        "vehicles[0].colour", LINE_CHARS_MAX, sealed() => (vehicles[0].colour);
        "vehicles[0].make", LINE_CHARS_MAX, sealed() => (vehicles[0].make);
        "vehicles[0].body", LINE_CHARS_MAX, sealed() => (vehicles[0].body);
        "vehicles[0].plate", LINE_CHARS_MAX, sealed() => (vehicles[0].plate);
        "vehicles[0].direction", LINE_CHARS_MAX, sealed() => (vehicles[0].direction);
        "text", TEXT_CHARS_MAX, Annotation { target: "t".into(), ..Annotation::default() } => (text);
        "title", LINE_CHARS_MAX, release() => (title);
        "purpose", TEXT_CHARS_MAX, release() => (purpose);
        "items[0].what_happened", 3 * TEXT_CHARS_MAX, release() => (items[0].what_happened);
    ]
}

fn codes_and_ids() -> Vec<TextEntry> {
    entries![
        "cell", 0, observation() => (cell);
        "location", 0, observation() => (location);
        "vantage", 0, observation() => (vantage);
        "behaviours[0]", 0, observation() => (behaviours[0]);
        "basis", 0, observation() => (basis);
        "activity[0]", 0, observation() => (activity[0]);
        "substances[0].code", 0, observation() => (substances[0].code);
        "substances[0].catalogue", 0, observation() => (substances[0].catalogue);
        "substances[0].basis", 0, observation() => (substances[0].basis);
        "flags[0]", 0, observation() => (flags[0]);
        "consent[0]", 0, observation() => (consent[0]);
        "when.precision", 0, observation() => (when.precision);
        "observation", 0, sealed() => (observation);
        "target", 0, Annotation { text: "t".into(), ..Annotation::default() } => (target);
        "status", 0, Annotation { target: "t".into(), text: "t".into(), ..Annotation::default() } => (status);
        "recipient", 0, release() => (recipient);
        "commitments[0]", 0, release() => (commitments[0]);
    ]
}

/// What must stand in no text, whatever stands around it.
const NEVER: &[&str] = &[
    "\0",
    "\t",
    "\r",
    "\u{7f}",
    "\u{85}",
    "\u{1b}[2J", // controls
    "\u{202A}",
    "\u{202B}",
    "\u{202C}",
    "\u{202D}",
    "\u{202E}", // embeddings and overrides
    "\u{2066}",
    "\u{2067}",
    "\u{2068}",
    "\u{2069}", // isolates
    "\u{200B}",
    "\u{2060}",
    "\u{FEFF}",
    "\u{AD}",
    "\u{180E}",
    "\u{34F}",
    "\u{115F}",
    "\u{3164}", // invisible
    "\u{E0041}",
    "\u{E01EF}", // tags and variation selectors that spell hidden words
];

#[test]
fn no_free_text_takes_what_controls_reorders_or_hides() {
    for (path, _, judge) in free_texts() {
        assert_eq!(judge("plain".into()), Ok(()), "{path}");
        for bad in NEVER {
            for text in [format!("{bad}plain"), format!("pla{bad}in"), format!("plain{bad}")] {
                let refused = judge(text).unwrap_err();
                assert_eq!(refused.field, path, "{bad:?}");
                assert!(!refused.to_string().contains("plain"), "{refused}");
            }
        }
        assert_eq!(judge(format!("e{}", "\u{301}".repeat(200))).unwrap_err().field, path);
    }
}

#[test]
fn no_free_text_is_longer_than_it_may_be_nor_counted_in_bytes() {
    for (path, chars_max, judge) in free_texts() {
        for letter in ["a", "ñ", "漢", "😀"] {
            assert_eq!(judge(letter.repeat(chars_max)), Ok(()), "{path}");
            assert_eq!(judge(letter.repeat(chars_max + 1)).unwrap_err().field, path);
        }
        assert_eq!(judge("a".repeat(50_000_000)).unwrap_err().field, path);
    }
}

#[test]
fn what_must_say_something_is_not_satisfied_by_what_cannot_be_seen() {
    let required = ["what_happened", "text", "title", "purpose", "items[0].what_happened"];
    for (path, _, judge) in free_texts() {
        for blank in [
            "",
            " ",
            "\n\n",
            "\u{a0}\u{2003}",
            "\u{200D}",
            "\u{200E}\u{200F}",
            "\u{2800}",
            "\u{301}",
            "\u{FE0F}",
        ] {
            assert_eq!(
                judge(blank.into()).is_err(),
                required.contains(&path) || blank == "\n\n" && path != "notes",
                "{path} {blank:?}"
            );
        }
    }
}

#[test]
fn writing_systems_that_need_joiners_marks_and_direction_are_free() {
    for (path, _, judge) in free_texts() {
        for fine in ["می‌خواهم", "שלום\u{200F}", "👩\u{200D}👧 ❤\u{FE0F}", "नमस्ते", "Việt Nam", "e\u{301}"]
        {
            assert_eq!(judge(fine.into()), Ok(()), "{path} {fine}");
        }
    }
}

#[test]
fn no_code_or_id_takes_anything_else() {
    for (path, _, judge) in codes_and_ids() {
        let far_too_long = "a".repeat(1_000_000);
        for bad in NEVER.iter().copied().chain([" ", "SAW ", "ｓａｗ", "saw\n", far_too_long.as_str()]) {
            assert_eq!(judge(bad.into()).unwrap_err().field, path, "{bad:.20?}");
        }
    }
}

#[test]
fn no_number_is_off_its_scale() {
    let numbers: Vec<Entry<f64>> = vec![
        ("quantity.amount", |amount| {
            Observation { quantity: Some(Quantity { amount, unit: "GM".into() }), ..observation() }.validate()
        }),
        ("position.lat", |lat| with_position(|p| p.lat = lat)),
        ("position.lon", |lon| with_position(|p| p.lon = lon)),
        ("position.accuracy_m", |accuracy_m| with_position(|p| p.accuracy_m = accuracy_m)),
    ];
    for (path, judge) in numbers {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 1e12, -180.1] {
            assert_eq!(judge(bad).unwrap_err().field, path, "{bad}");
        }
    }
    // Swapped coordinates and the 0,0 of a missing position.
    for (lat, lon) in [(-104.9, 39.7), (0.0, 0.0), (-0.0, 0.001), (90.1, 0.0), (0.5, 180.1)] {
        assert!(with_position(|p| (p.lat, p.lon) = (lat, lon)).is_err(), "{lat}, {lon}");
    }
    for count in [0, u32::MAX] {
        let people = vec![People { count, ..People::default() }];
        assert_eq!(Sealed { people, ..sealed() }.validate().unwrap_err().field, "people[0].count");
    }
}

fn with_position(edit: impl FnOnce(&mut Position)) -> Result<(), Invalid> {
    let mut sealed = sealed();
    edit(sealed.position.as_mut().unwrap());
    sealed.validate()
}

#[test]
fn no_time_is_centuries_away() {
    for (path, judge) in times() {
        for bad in [i64::MIN, -1, 0, super::check::TIME_MS_MAX + 1, i64::MAX] {
            assert_eq!(judge(bad).unwrap_err().field, path, "{bad}");
        }
    }
    let span = |end_ms| {
        let when = When { end_ms: Some(end_ms), ..observation().when };
        Observation { when, ..observation() }.validate()
    };
    assert_eq!(span(T + super::observation::SPAN_MS_MAX), Ok(()));
    assert_eq!(span(T + super::observation::SPAN_MS_MAX + 1).unwrap_err().field, "when.end_ms");
}

fn times() -> Vec<Entry<i64>> {
    vec![
        ("when.start_ms", |start_ms| {
            let when = When { start_ms, end_ms: None, precision: "day".into() };
            Observation { when, ..observation() }.validate()
        }),
        ("when.end_ms", |end_ms| {
            let when = When { end_ms: Some(end_ms), ..observation().when };
            Observation { when, ..observation() }.validate()
        }),
        ("called_emergency_at_ms", |ms| {
            Observation { called_emergency_at_ms: Some(ms), ..observation() }.validate()
        }),
        ("created_ms", |created_ms| Release { created_ms, expires_ms: None, ..release() }.validate()),
        ("expires_ms", |ms| Release { expires_ms: Some(ms), ..release() }.validate()),
        ("items[0].when.start_ms", |start_ms| {
            let mut release = release();
            release.items[0].when.start_ms = start_ms;
            release.validate()
        }),
    ]
}

#[test]
fn no_list_is_endless() {
    let many = |code: &str| vec![code.to_owned(); 100_000];
    let observed = |edit: fn(&mut Observation, Vec<String>), code: &str| {
        let mut observation = observation();
        edit(&mut observation, many(code));
        observation.validate().unwrap_err().field
    };
    assert_eq!(observed(|o, codes| o.behaviours = codes, "threat"), "behaviours");
    assert_eq!(observed(|o, codes| o.activity = codes, "D"), "activity");
    assert_eq!(observed(|o, codes| o.flags = codes, "minors"), "flags");
    assert_eq!(observed(|o, codes| o.consent = codes, "liaison"), "consent");
    let people = vec![People { count: 1, ..People::default() }; 100_000];
    assert_eq!(Sealed { people, ..sealed() }.validate().unwrap_err().field, "people");
    let vehicles = vec![Vehicle::default(); 100_000];
    assert_eq!(Sealed { vehicles, ..sealed() }.validate().unwrap_err().field, "vehicles");
    let commitments = many(&"0a".repeat(32));
    assert_eq!(Release { commitments, ..release() }.validate().unwrap_err().field, "commitments");
}

fn characters() -> impl Strategy<Value = char> {
    let nasty: Vec<char> =
        NEVER.iter().flat_map(|bad| bad.chars()).chain("a ñ\n\u{301}\u{200D}\r\u{2028}".chars()).collect();
    prop_oneof![any::<char>(), prop::sample::select(nasty)]
}

proptest! {
    /// What passes is harmless, and whatever was pasted passes once it is tidied.
    #[test]
    fn tidied_text_passes_and_passing_text_is_tidy(chars in proptest::collection::vec(characters(), 0..80)) {
        let text: String = chars.into_iter().collect();
        let tidied = text::tidy(&text);
        prop_assert_eq!(text::check("t", &tidied, TEXT_CHARS_MAX), Ok(()));
        prop_assert_eq!(&text::tidy(&tidied), &tidied);
        prop_assert_eq!(text::check("t", &text, TEXT_CHARS_MAX).is_ok(), tidied == text);
        for (_, _, judge) in free_texts() {
            if judge(text.clone()).is_ok() {
                prop_assert!(!NEVER.iter().any(|bad| text.contains(bad)));
            }
        }
    }

    #[test]
    fn any_position_is_refused_or_lies_in_its_cell(lat: f64, lon: f64, size_m: u32) {
        for size_m in [size_m, blur::CELL_SIZE_M] {
            if let Ok(cell) = blur::cell(lat, lon, size_m) {
                let bounds = cell.bounds();
                prop_assert!((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon));
                prop_assert!(bounds.south - 1e-9 <= lat && lat <= bounds.north + 1e-9);
            }
        }
    }

    #[test]
    fn any_cell_text_and_time_gets_an_answer(cell: String, start_ms: i64, end_ms: Option<i64>, precision: String) {
        let when = When { start_ms, end_ms, precision };
        let _ = when.validate();
        let seen = Observation { cell: cell.clone(), when, ..observation() };
        let _ = seen.validate();
        let _ = redact(&seen, &Redaction { coarsen_time: true, ..Redaction::default() });
        let _ = cell.parse::<super::Cell>();
    }
}
