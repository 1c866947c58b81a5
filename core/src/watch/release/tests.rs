//! Tests of releases and of redaction.

use super::redaction::{HOUR_MS, mask};
use super::*;
use crate::watch::observation::Observation;
use crate::watch::testing::{document_of, keeps_what_it_does_not_know, stored};
use proptest::prelude::*;

const T: i64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

fn observation() -> Observation {
    Observation {
        media: Vec::new(),
        when: When { start_ms: T + 50_520_000, end_ms: Some(T + 52_000_000), precision: "minute".into() },
        cell: "g250:17675:-35908".into(),
        location: "13".into(),
        vantage: "own_property".into(),
        behaviours: vec!["hand_to_hand".into()],
        what_happened: "Señor Núñez in No. 12 passed a bag to a driver".into(),
        basis: "saw".into(),
        activity: vec!["D".into()],
        substances: vec![Substance::new("unknown", "saw")],
        quantity: Some(Quantity { amount: 2.0, unit: "DU".into() }),
        flags: vec!["in_progress".into()],
        called_emergency_at_ms: Some(T + 51_000_000),
        consent: vec!["liaison".into()],
    }
}

fn release() -> Release {
    Release {
        title: "Exchanges on the 1200 block".into(),
        purpose: "Problem solving with the sector officer".into(),
        recipient: "officer".into(),
        created_ms: T,
        expires_ms: Some(T + 1),
        revision: 1,
        replaces: String::new(),
        items: vec![redact(&observation(), &Redaction::default()).unwrap()],
        open_facts: vec![OpenFact { fact: "weapon".into(), values: vec!["a knife".into(), "none".into()] }],
        commitments: vec!["0a".repeat(32), "0b".repeat(32)],
        sources_count: 2,
    }
}

#[test]
fn a_redacted_item_holds_nothing_of_the_observer() {
    let mut private = observation();
    private.vantage = "VANTAGE".into();
    private.called_emergency_at_ms = Some(1_234_567);
    private.consent.push("CONSENT".into());
    let item = redact(&private, &Redaction { vantage_reviewed: true, ..Redaction::default() }).unwrap();
    let shown = format!("{item:?}");
    for absent in ["VANTAGE", "CONSENT", "1234567"] {
        assert!(!shown.contains(absent), "{absent}");
    }
}

#[test]
fn masked_words_are_absent_from_the_bytes() {
    let spans = spans(&[(0, 11), (15, 21)]);
    let item = redact(&observation(), &Redaction { spans, ..Redaction::default() }).unwrap();
    assert_eq!(item.what_happened, "▮▮▮ in ▮▮▮ passed a bag to a driver");
    let release = Release { items: vec![item], ..release() };
    let bytes = document_of(&release, 1).save_nocompress();
    let holds = |needle: &str| bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
    assert!(holds("passed a bag"));
    assert!(!holds("Núñez") && !holds("No. 12"));
}

fn spans(pairs: &[(usize, usize)]) -> Vec<Span> {
    pairs.iter().map(|&(start, end)| Span { start, end }).collect()
}

#[test]
fn spans_that_touch_or_overlap_become_one_mask() {
    let masked = |text, pairs: &[(usize, usize)]| mask(text, &spans(pairs)).unwrap();
    for pairs in [
        [(2, 4), (4, 6)],
        [(2, 5), (3, 6)],
        [(2, 6), (3, 4)],
        [(3, 4), (2, 6)],
        [(2, 6), (2, 6)],
        [(4, 6), (2, 4)],
    ] {
        assert_eq!(masked("ab1234cd", &pairs), "ab▮▮▮cd", "{pairs:?}");
    }
    assert_eq!(masked("ab1234cd", &[(2, 3), (5, 6)]), "ab▮▮▮23▮▮▮cd");
    assert_eq!(masked("ab", &[(0, 2)]), MASK);
    assert_eq!(masked("ab", &[]), "ab");
}

#[test]
fn spans_beyond_the_text_are_refused() {
    // The wrong way round, empty, past the end in characters though not in bytes, and wholly outside.
    for bad in [(5, 3), (1, 1), (0, 6), (6, 7)] {
        let refused = mask("ñandú", &spans(&[(0, 1), bad])).unwrap_err();
        assert_eq!(refused.field, "spans[1]", "{bad:?}");
    }
    assert!(mask("ñandú", &spans(&[(0, 5)])).is_ok());
    assert_eq!(mask("", &spans(&[(0, 1)])).unwrap_err().field, "spans[0]");
}

#[test]
fn dropped_fields_are_empty_and_the_others_stay() {
    let all = redact(&observation(), &Redaction::default()).unwrap();
    for (field, name) in [
        (OptionalField::Cell, "cell"),
        (OptionalField::Location, "location"),
        (OptionalField::Basis, "basis"),
        (OptionalField::Activity, "activity"),
        (OptionalField::Substances, "substances"),
        (OptionalField::Quantity, "quantity"),
        (OptionalField::Flags, "flags"),
    ] {
        let drop_fields = BTreeSet::from([field]);
        let item = redact(&observation(), &Redaction { drop_fields, ..Redaction::default() }).unwrap();
        let mut expected = all.fields();
        expected.retain(|kept| *kept != name);
        assert_eq!(item.fields(), expected, "{name}");
    }
    assert_eq!(all.fields().len(), 10);
}

#[test]
fn times_are_coarsened_to_the_hour() {
    let redaction = Redaction { coarsen_time: true, ..Redaction::default() };
    let item = redact(&observation(), &redaction).unwrap();
    assert_eq!(item.when.start_ms, T + 14 * HOUR_MS);
    assert_eq!(item.when.end_ms, Some(T + 14 * HOUR_MS));
    assert_eq!(item.when.precision, "hour");
    let mut absurd = observation();
    absurd.when.start_ms = i64::MIN;
    assert_eq!(redact(&absurd, &redaction).unwrap().when.start_ms, i64::MIN);
    let mut vague = observation();
    vague.when.precision = "day".into();
    assert_eq!(redact(&vague, &redaction).unwrap().when.precision, "day");
    assert_eq!(redact(&observation(), &Redaction::default()).unwrap().when, observation().when);
}

#[test]
fn a_private_vantage_point_is_reviewed_before_anything_leaves() {
    for (vantage, free) in [
        ("public_way", true),
        ("own_property", true),
        ("workplace", true),
        ("camera", true),
        ("told", true),
        ("invited", false),
        ("", false),
        ("from_a_newer_version", false),
    ] {
        let seen = Observation { vantage: vantage.into(), ..observation() };
        let refused = redact(&seen, &Redaction::default()).map_err(|refused| refused.field);
        assert_eq!(refused.is_ok(), free, "{vantage}: {refused:?}");
        assert!(redact(&seen, &Redaction { vantage_reviewed: true, ..Redaction::default() }).is_ok());
    }
}

#[test]
fn of_an_overdose_nothing_leaves_that_tells_of_the_person() {
    let by_flag = Observation { flags: vec!["overdose".into(), "minors".into()], ..observation() };
    let by_behaviour =
        Observation { behaviours: vec!["public_use".into(), "overdose".into()], ..observation() };
    for overdose in [by_flag, by_behaviour] {
        let item = redact(&overdose, &Redaction::default()).unwrap();
        assert_eq!(item.fields(), ["when", "cell", "location", "behaviours", "what_happened"]);
        assert_eq!(
            (item.what_happened.as_str(), item.behaviours.as_slice()),
            (MASK, &["overdose".to_owned()][..])
        );
        assert_eq!(item.when.precision, "hour");
        let items = vec![item];
        assert_eq!(Release { items, ..release() }.validate(), Ok(()));

        let mut allowed = overdose.clone();
        allowed.consent.push(OVERDOSE_CONSENT.into());
        let item = redact(&allowed, &Redaction::default()).unwrap();
        assert_eq!(item.what_happened, allowed.what_happened);
        assert_eq!(item.substances, allowed.substances);
        // Neither consent alone is enough: the liaison is asked for first.
        let only = Observation { consent: vec![OVERDOSE_CONSENT.into()], ..overdose };
        assert_eq!(redact(&only, &Redaction::default()).unwrap_err().field, "consent");
    }
}

#[test]
fn without_consent_nothing_is_made() {
    let mut withdrawn = observation();
    withdrawn.consent = vec!["referral".into(), "statistics".into()];
    assert_eq!(redact(&withdrawn, &Redaction::default()).unwrap_err().field, "consent");
}

#[test]
fn a_cell_that_is_no_cell_does_not_leave() {
    let mut precise = observation();
    precise.cell = "39.7392,-104.9903".into();
    assert_eq!(redact(&precise, &Redaction::default()).unwrap_err().field, "cell");
    let drop_fields = BTreeSet::from([OptionalField::Cell]);
    let item = redact(&precise, &Redaction { drop_fields, ..Redaction::default() }).unwrap();
    assert_eq!(item.cell, "");
}

#[test]
fn refusals_name_the_field() {
    let refused = |edit: fn(&mut Release)| {
        let mut release = release();
        assert_eq!(release.validate(), Ok(()));
        edit(&mut release);
        release.validate().unwrap_err().field
    };
    assert_eq!(refused(|r| r.title.clear()), "title");
    assert_eq!(refused(|r| r.purpose = " ".into()), "purpose");
    assert_eq!(refused(|r| r.recipient.clear()), "recipient");
    assert_eq!(refused(|r| r.created_ms = 0), "created_ms");
    assert_eq!(refused(|r| r.expires_ms = Some(T)), "expires_ms");
    assert_eq!(refused(|r| r.revision = 0), "revision");
    assert_eq!(refused(|r| r.items.clear()), "items");
    assert_eq!(refused(|r| r.items = vec![r.items[0].clone(); ITEMS_COUNT_MAX + 1]), "items");
    assert_eq!(refused(|r| r.items[0].when.start_ms = 0), "items[0].when.start_ms");
    assert_eq!(refused(|r| r.items[0].cell = "here".into()), "items[0].cell");
    assert_eq!(refused(|r| r.items[0].behaviours.clear()), "items[0].behaviours");
    assert_eq!(refused(|r| r.items[0].what_happened.clear()), "items[0].what_happened");
    assert_eq!(refused(|r| r.commitments[1] = "0B".repeat(32)), "commitments[1]");
    assert_eq!(refused(|r| r.commitments[1] = "0a".repeat(32)), "commitments[1]");
    assert_eq!(refused(|r| r.sources_count = 0), "sources_count");
    assert_eq!(refused(|r| r.sources_count = 3), "sources_count");
}

#[test]
fn the_longest_text_can_be_released_with_every_other_letter_masked() {
    let mut long = observation();
    long.what_happened = "a".repeat(TEXT_CHARS_MAX);
    let spans = (0..TEXT_CHARS_MAX).step_by(2).map(|start| Span { start, end: start + 1 }).collect();
    let item = redact(&long, &Redaction { spans, ..Redaction::default() }).unwrap();
    assert_eq!(item.validate(), Ok(()));
}

#[test]
fn codes_of_a_newer_version_can_be_released() {
    let mut newer = observation();
    newer.behaviours = vec!["drone_drop".into()];
    let items = vec![redact(&newer, &Redaction::default()).unwrap()];
    assert_eq!(Release { items, ..release() }.validate(), Ok(()));
}

#[test]
fn a_release_names_the_fields_that_leave_with_it() {
    let mut two = release();
    two.items.push(ReleasedItem { flags: vec![], cell: String::new(), ..two.items[0].clone() });
    let fields = two.fields();
    assert_eq!(fields.len(), 11);
    assert!(fields.is_sorted());
    two.items.remove(0);
    assert!(!two.fields().contains(&"cell".to_owned()));
}

#[test]
fn unknown_fields_survive() {
    assert!(keeps_what_it_does_not_know(&release()));
}

proptest! {
    #[test]
    fn comes_back_as_it_was(
        (title, purpose, recipient) in any::<(String, String, String)>(),
        created_ms: i64, expires_ms: Option<i64>, revision: u32, sources_count: u32,
        texts in proptest::collection::vec(any::<String>(), 0..4),
        commitments in proptest::collection::vec(any::<String>(), 0..4),
    ) {
        let item = redact(&observation(), &Redaction::default()).unwrap();
        let items = texts.into_iter()
            .map(|what_happened| ReleasedItem { what_happened, ..item.clone() })
            .collect();
        let release = Release {
            title, purpose, recipient, created_ms, expires_ms, revision, items, commitments, sources_count,
            ..release()
        };
        prop_assert_eq!(stored(&release), release);
    }

    /// A plain model: mark each character, then write one mask per run of marked ones.
    #[test]
    fn masking_agrees_with_marking_each_character(
        text in "[a-zñ]{1,30}",
        spans in proptest::collection::vec((0usize..30, 1usize..8), 0..6),
    ) {
        let chars: Vec<char> = text.chars().collect();
        let spans: Vec<Span> = spans.into_iter()
            .map(|(start, len)| Span { start, end: start + len })
            .filter(|span| span.end <= chars.len())
            .collect();
        let hidden = |i: usize| spans.iter().any(|span| (span.start..span.end).contains(&i));
        let mut expected = String::new();
        for (i, c) in chars.iter().enumerate() {
            match (hidden(i), i > 0 && hidden(i - 1)) {
                (false, _) => expected.push(*c),
                (true, false) => expected.push_str(MASK),
                (true, true) => {}
            }
        }
        prop_assert_eq!(mask(&text, &spans).unwrap(), expected);
    }
}
