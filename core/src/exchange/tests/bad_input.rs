//! Files that are not what they should be: what is wrong is said, and the good rows are kept.

use super::text;
use super::{MAY, item, release_of};
use crate::exchange::import::{FILE_BYTES_MAX, ROW_BYTES_MAX, ROWS_COUNT_MAX, Unreadable};
use crate::exchange::{Imported, csv, import};

const HEADER: &str = "start,precision,behaviours,what_happened,latitude,longitude,address\n";
const GOOD: &str = "2026-05-04T21:40:00-05:00,minute,threat;weapon_seen,Shouting,39.7,-104.9,12 Elm\n";

fn table(rows: &str) -> Imported {
    import(format!("{HEADER}{rows}").as_bytes(), MAY).unwrap()
}

fn features(features: &[&str]) -> Imported {
    let text = format!("{{\"type\":\"FeatureCollection\",\"features\":[\n{}\n]}}", features.join(",\n"));
    import(text.as_bytes(), MAY).unwrap()
}

/// Every row but those named is usable; of each named one the number, the line and what is wrong are right.
fn refused(imported: &Imported, expected: &[(usize, usize, &str)]) {
    let wrong =
        imported.rows.iter().filter_map(|row| Some((row.number, row.line, row.draft.as_ref().err()?)));
    let wrong: Vec<_> = wrong.collect();
    assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
    for ((number, line, what), (number_expected, line_expected, part)) in wrong.into_iter().zip(expected) {
        assert_eq!((number, line), (*number_expected, *line_expected), "{what}");
        assert!(what.contains(part), "expected {part:?} in {what:?}");
    }
}

#[test]
fn a_row_becomes_a_draft_in_two_parts() {
    let draft = table(GOOD).rows.remove(0).draft.unwrap();
    assert_eq!(draft.observation.behaviours, ["threat", "weapon_seen"]);
    assert_eq!((draft.observation.vantage.as_str(), draft.observation.basis.as_str()), ("told", "told"));
    let sealed = draft.sealed.unwrap();
    assert_eq!((sealed.address.as_str(), sealed.position.unwrap().lon), ("12 Elm", -104.9));
    assert!(!format!("{:?}", draft.observation).contains("Elm"));
}

#[test]
fn a_row_that_was_not_made_for_us_accuses_nobody() {
    let text = "Title,Date,Lat,Lon,Owner\nBroken lamp,2026-05-04,39.7,-104.9,R. Roe\n";
    let draft = import(text.as_bytes(), MAY).unwrap().rows.remove(0).draft.unwrap();
    assert_eq!(draft.observation.behaviours, ["place_condition"]);
    assert_eq!(draft.observation.what_happened, "Broken lamp");
    assert_eq!(draft.observation.when.precision, "day");
    assert_eq!(draft.sealed.unwrap().notes, "owner: R. Roe");
}

#[test]
fn wrong_cells_are_named_and_the_rest_goes_on() {
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    let broken = [
        (with("2026-05-04T21:40:00-05:00", "yesterday"), "`start` is `yesterday`"),
        (with("2026-05-04T21:40:00-05:00", ""), "`start` is missing"),
        (with("2026", "1926"), "not a time between 1970 and 2200"),
        (with("2026", "2326"), "not a time between 1970 and 2200"),
        (with("2026", "922337203685477"), "`start` is `922337203685477"),
        (with("39.7", "139.7"), "latitude is not within 90"),
        (with("-104.9", "-1049"), "longitude is not within 180"),
        (with("39.7", "north"), "latitude is not a number"),
        (with("39.7", "NaN"), "latitude is not a number"),
        (with("39.7,-104.9", "0,0"), "about 0,0"),
        (with("39.7", ""), "only one of latitude and longitude"),
        (with("minute", "era"), "precision"),
        (with("threat;weapon_seen", "wanted"), "behaviours[0]"),
        (with("threat;weapon_seen", ""), "at least one of `behaviours`"),
        (with("Shouting", ""), "nothing says what happened"),
        (with("Shouting", "a\0b"), "control character U+0000"),
        (with("Shouting", "a\u{1b}[2Jb"), "control character U+001B"),
        (with("Shouting", &"a".repeat(4_001)), "4000 characters are allowed"),
        (with(",12 Elm", ""), "6 columns, expected 7"),
        (with("12 Elm", "12 Elm,more"), "8 columns, expected 7"),
        (HEADER.to_owned(), "the header again"),
        (with("Shouting", &"a".repeat(ROW_BYTES_MAX)), "bytes, at most"),
    ];
    let rows: String = broken.iter().map(|(row, _)| format!("{row}{GOOD}")).collect();
    let expected: Vec<_> =
        broken.iter().enumerate().map(|(at, (_, what))| (2 * at + 1, 2 * at + 2, *what)).collect();
    let imported = table(&rows);
    assert_eq!(imported.rows.len(), 2 * broken.len());
    refused(&imported, &expected);
}

#[test]
fn a_line_as_long_as_the_file_spoils_that_line_alone() {
    let long = "x".repeat(20 << 20);
    let imported = table(&format!("{GOOD}{}{GOOD}", GOOD.replace("Shouting", &long)));
    refused(&imported, &[(2, 3, "bytes, at most")]);
    let larger = "x".repeat(FILE_BYTES_MAX);
    let error = import(format!("{HEADER}{larger}").as_bytes(), MAY).unwrap_err();
    assert!(error.to_string().contains("split it first"), "{error}");
}

#[test]
fn quotes_within_quotes_and_line_ends_of_every_system() {
    let rows =
        GOOD.replace("Shouting", "\"He said \"\"no\"\"; then\r\n\tran\rand =stood\"").replace('\n', "\r\n");
    let imported = import(format!("\u{FEFF}{}{rows}", HEADER.replace('\n', "\r\n")).as_bytes(), MAY).unwrap();
    let text = &imported.rows[0].draft.as_ref().unwrap().observation.what_happened;
    assert!(text.starts_with("He said \"no\"; then\n"), "{text:?}");
    assert!(!text.contains(['\r', '\t']), "{text:?}");
}

#[test]
fn lines_are_counted_with_blank_ones_and_the_ends_of_every_system() {
    for end in ["\n", "\r\n"] {
        let text = format!("\n{HEADER}\n{GOOD}\n\nbroken\n{GOOD}broken\n").replace('\n', end);
        refused(&import(text.as_bytes(), MAY).unwrap(), &[(2, 7, "1 columns"), (4, 9, "1 columns")]);
    }
}

#[test]
fn lines_that_an_open_quote_swallowed_are_read_all_the_same() {
    let open = GOOD.replace("Shouting", "\"Shouting");
    refused(&table(&format!("{open}{GOOD}{GOOD}")), &[(1, 2, "is a quote (\") left open")]);
    let last = GOOD.replace("12 Elm", "\"12 Elm");
    refused(&table(&format!("{last}{GOOD}")), &[(1, 2, "is a quote (\") left open")]);
    refused(&table(&GOOD.replace("Shouting", "\"Shouting\" twice")), &[(1, 2, "is not where one can be")]);
    refused(&table(&GOOD.replace("Shouting", "12\" pipe")), &[]);
    let rows = format!("{GOOD}{open}{GOOD}{open}{GOOD}");
    let imported = table(&rows);
    assert_eq!(imported.rows.iter().filter(|row| row.draft.is_ok()).count(), 3, "{imported:#?}");
    // Reading begins again a few times only: for ever would take the square of the file's length.
    let many = table(&open.repeat(2_000));
    assert!(many.rows.iter().all(|row| row.draft.is_err()));
    assert_eq!(many.rows.len(), 16 + (2_000 - 16) / 2);
}

#[test]
fn files_of_no_known_kind_say_so() {
    let error = |bytes: &[u8]| import(bytes, MAY).unwrap_err();
    for empty in [&b""[..], b" \r\n ", "\u{FEFF}".as_bytes(), HEADER.as_bytes()] {
        assert_eq!(error(empty), Unreadable::Empty, "{empty:?}");
    }
    assert_eq!(error(b"caf\xe9"), Unreadable::NotUtf8 { offset: 3 });
    let unknown = error(b"when,where\n1,2\n").to_string();
    assert!(unknown.contains("what_happened, description, title, name"), "{unknown}");
    assert!(error(b"\"when,where\n1,2\n").to_string().contains("is a quote (\") left open"));
    let twice = error(b"title,Lat, TITLE\nx,1,y\n");
    assert_eq!(twice, Unreadable::DuplicateColumn { first: 0, again: 2 });
    assert!(twice.to_string().contains("column 3 again (it is column 1 already)"), "{twice}");
    assert_eq!(
        error(format!("title\n{}", "x\n".repeat(ROWS_COUNT_MAX + 1)).as_bytes()),
        Unreadable::TooManyRows
    );
    assert!(matches!(error(b"{\"type\": \n!"), Unreadable::Json { line: 2, .. }));
    assert!(matches!(error("[".repeat(100_000).as_bytes()), Unreadable::NotFeatureCollection { .. }));
    let deep = format!("{{\"type\":{}", "[".repeat(100_000));
    assert!(matches!(error(deep.as_bytes()), Unreadable::Json { .. }));
    for other in ["[1]", "{}", r#"{"type": "Feature"}"#] {
        assert!(matches!(error(other.as_bytes()), Unreadable::NotFeatureCollection { .. }), "{other}");
    }
    for empty in [r#"{"features": []}"#, r#"{"type": "FeatureCollection"}"#] {
        assert_eq!(error(empty.as_bytes()), Unreadable::NoFeatures, "{empty}");
    }
}

#[test]
fn wrong_features_are_named_and_the_rest_goes_on() {
    let good = r#"{"type":"Feature","geometry":{"type":"Point","coordinates":[-104.9,39.7]},"properties":{"start":"2026-05-04T21:40:00-05:00","precision":"minute","behaviours":["threat"],"what_happened":"Shouting","end":null,"extra":7}}"#;
    let with = |from: &str, to: &str| good.replace(from, to);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let broken = [
        (with("[-104.9,39.7]", "[39.7,-104.9]"), "is not on Earth"),
        (with("[-104.9,39.7]", "[1e999,1]"), "number out of range"),
        (with("[-104.9,39.7]", "[0,0]"), "about 0,0"),
        (with("[-104.9,39.7]", "[1]"), "fewer than two numbers"),
        (with("[-104.9,39.7]", "\"here\""), "not a list of numbers"),
        (with("Point", "Polygon"), "its geometry is a Polygon"),
        (with("\"Feature\"", "\"Fixture\""), "its `type` is `Fixture`"),
        ("17".into(), "expected struct Feature"),
        (with("[\"threat\"]", "3"), "expected a sequence"),
        (with("[\"threat\"]", &deep), "recursion limit"),
        (with("\"Shouting\"", "{}"), "expected a string"),
        (with("Shouting", "a\\u0000b"), "control character U+0000"),
        (with("2026-05", "1826-05"), "not a time between 1970 and 2200"),
        (with("Shouting", &"a".repeat(ROW_BYTES_MAX)), "bytes, at most"),
        (r#"{"type":"Feature","geometry":null,"properties":{"title":"Glass"}}"#.into(), "neither a Point"),
        (with("\"extra\":7", "\"sealed\":{\"accuracy_m\":-1}"), "sealed.position.accuracy_m"),
    ];
    let all: Vec<&str> = broken.iter().flat_map(|(feature, _)| [feature.as_str(), good]).collect();
    let expected: Vec<_> =
        broken.iter().enumerate().map(|(at, (_, what))| (2 * at + 1, 2 * at + 2, *what)).collect();
    let imported = features(&all);
    refused(&imported, &expected);
    let rest = &imported.rows[1].draft.as_ref().unwrap().rest;
    assert_eq!(rest.get("extra"), Some(&serde_json::json!(7)), "what has no field is not lost");
}

#[test]
fn complaints_repeat_little_of_the_file() {
    let long = "x".repeat(100_000);
    let table = table(&GOOD.replace("2026-05-04T21:40:00-05:00", &long));
    let kind = format!(r#"{{"type":"{long}"}}"#);
    let number =
        format!(r#"{{"type":"Feature","properties":{{"what_happened":"x","behaviours":"{long}"}}}}"#);
    for row in table.rows.iter().chain(&features(&[&kind, &number]).rows) {
        let what = row.draft.as_ref().unwrap_err();
        assert!(what.len() < 400, "{} bytes", what.len());
    }
}

#[test]
fn a_release_that_was_edited_in_between_is_judged_anew() {
    let table = text(csv::release(&release_of(vec![item("x"), item("y")])));
    let edited = table.replacen("fentanyl;unknown", "fentanyl", 1).replacen("2.5", "-2.5", 1);
    refused(&import(edited.as_bytes(), MAY).unwrap(), &[(1, 2, "as many items as substances")]);
}
