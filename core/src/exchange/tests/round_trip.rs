//! What goes out as CSV or GeoJSON comes in as it was.

use proptest::prelude::*;

use super::*;
use crate::exchange::{csv, geojson};
use crate::exchange::{import, text::plain};
use crate::watch::{Observation, codes};

/// What an import makes of an item: an observation by somebody who was told.
fn expected(item: &ReleasedItem) -> Observation {
    let item = item.clone();
    Observation {
        when: item.when,
        cell: item.cell,
        location: item.location,
        vantage: "told".into(),
        behaviours: item.behaviours,
        what_happened: item.what_happened,
        basis: if item.basis.is_empty() { "told".into() } else { item.basis },
        activity: item.activity,
        substances: item.substances,
        quantity: item.quantity,
        flags: item.flags,
        called_emergency_at_ms: None,
        consent: vec![],
        media: vec![],
    }
}

fn code(catalogue: &'static codes::Catalogue) -> impl Strategy<Value = String> {
    prop::sample::select(catalogue.entries().iter().map(|entry| entry.code.clone()).collect::<Vec<_>>())
}

fn distinct(
    catalogue: &'static codes::Catalogue,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(code(catalogue), count).prop_map(|codes| codes.into_iter().collect())
}

/// Texts that pass as an author's own, and begin as formulas and quotes do.
fn words() -> impl Strategy<Value = String> {
    let piece =
        prop_oneof!["[ =+@',;\"\n-]{0,3}", "\\PC{0,12}", Just("\n=".to_owned()), Just("▮▮▮".to_owned())];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| plain(&pieces.concat())).prop_filter(
        "says something",
        |text| {
            let draft = Observation { what_happened: text.clone(), ..expected(&item("x")) };
            draft.validate().is_ok()
        },
    )
}

prop_compose! {
    fn items()(
        what_happened in words(),
        start_ms in 1..=crate::watch::check::TIME_MS_MAX - 1_000_000,
        lasts in prop::option::of(0..1_000_000_i64),
        precision in code(codes::precision()),
        has_cell: bool,
        location in prop_oneof![Just(String::new()), code(codes::nibrs_location())],
        behaviours in distinct(codes::behaviours(), 1..4),
        basis in prop_oneof![Just(String::new()), code(codes::basis())],
        activity in distinct(codes::nibrs_activity(), 0..4),
        substances in distinct(codes::substances(), 0..4),
        substance_basis in code(codes::basis()),
        amount in prop::option::of(0.001..1e8),
        flags in distinct(codes::flags(), 0..3),
    ) -> ReleasedItem {
        ReleasedItem {
            when: When { start_ms, end_ms: lasts.map(|lasts| start_ms + lasts), precision },
            cell: if has_cell { "g250:17675:-35908".into() } else { String::new() },
            location, behaviours, what_happened, basis, activity,
            substances: substances.into_iter().map(|code| Substance::new(code, &*substance_basis)).collect(),
            quantity: amount.map(|amount| Quantity { amount, unit: "GM".into() }),
            flags,
            media: vec![],
        }
    }
}

fn imported(bytes: &[u8]) -> Vec<Observation> {
    let imported = import(bytes, MAY).unwrap();
    let each = imported.rows.into_iter().map(|row| {
        let draft = row.draft.unwrap_or_else(|what| panic!("row {}: {what}", row.number));
        assert_eq!((draft.sealed, draft.rest.len()), (None, 0));
        draft.observation
    });
    each.collect()
}

proptest! {
    #[test]
    fn what_is_exported_and_imported_again_is_the_same(items in prop::collection::vec(items(), 1..5)) {
        let release = release_of(items.clone());
        let expected: Vec<Observation> = items.iter().map(expected).collect();
        prop_assert_eq!(&imported(&csv::release(&release)), &expected);
        prop_assert_eq!(&imported(&geojson::release(&release)), &expected);
    }

    #[test]
    fn cells_come_back_whatever_they_hold(text: String, more in "[=+@'\t\r\n; -]{0,8}") {
        for text in [text.clone(), format!("{more}{text}"), format!("{text}{more}")] {
            prop_assert_eq!(csv::restored(&csv::cell(&text)), text);
        }
    }

    /// What others wrote was never judged here: it is written all the same, and read as text.
    #[test]
    fn nothing_received_is_too_strange_to_be_written(
        title: String, what_happened: String, code: String, start_ms: i64, amount: f64, cell: String,
    ) {
        let strange = ReleasedItem {
            when: When { start_ms, end_ms: Some(start_ms), precision: code.clone() },
            cell, location: code.clone(), behaviours: vec![code.clone(), code.clone()],
            basis: code.clone(), activity: vec![code.clone()],
            substances: vec![Substance { code: code.clone(), catalogue: code.clone(), basis: code.clone() }],
            quantity: Some(Quantity { amount, unit: code.clone() }),
            flags: vec![code],
            media: vec![],
            what_happened,
        };
        let release = Release { title, ..release_of(vec![strange.clone(), strange]) };
        let table = csv::release(&release);
        let mut reader = ::csv::Reader::from_reader(table.as_slice());
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        prop_assert_eq!(rows.len(), 2);
        prop_assert_eq!(rows[0].len(), csv::RELEASE_COLUMNS.len());
        let json: serde_json::Value = serde_json::from_slice(&geojson::release(&release)).unwrap();
        prop_assert_eq!(json["features"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_spreadsheet_may_have_saved_it_with_semicolons() {
    let table = text(csv::release(&release_of(vec![item("Two cars")])));
    let mut reader = ::csv::Reader::from_reader(table.trim_start_matches('\u{FEFF}').as_bytes());
    let mut writer = ::csv::WriterBuilder::new().delimiter(b';').from_writer(vec![]);
    writer.write_record(reader.headers().unwrap()).unwrap();
    reader.records().for_each(|record| writer.write_record(&record.unwrap()).unwrap());
    assert_eq!(imported(&writer.into_inner().unwrap()), [expected(&item("Two cars"))]);
}
