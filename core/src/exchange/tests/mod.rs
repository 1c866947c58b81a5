//! Tests of what goes out and comes in.

mod bad_input;
mod out;
mod round_trip;

use crate::watch::{OpenFact, Quantity, Release, ReleasedItem, Substance, When};

const MAY: i64 = 1_779_990_000_000; // 2026-05-28T17:40:00Z

fn item(what_happened: &str) -> ReleasedItem {
    ReleasedItem {
        when: When { start_ms: MAY, end_ms: Some(MAY + 600_000), precision: "minute".into() },
        cell: "g250:17675:-35908".into(),
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

fn release_of(items: Vec<ReleasedItem>) -> Release {
    Release {
        title: "Exchanges on the 1200 block".into(),
        purpose: "Problem solving with the sector officer".into(),
        recipient: "RECIPIENT".into(),
        created_ms: MAY,
        expires_ms: Some(MAY + 86_400_000),
        revision: 1,
        replaces: String::new(),
        sources_count: 2,
        commitments: vec!["0a".repeat(32), "0b".repeat(32)],
        open_facts: vec![OpenFact { fact: "=vehicle".into(), values: vec!["blue".into(), "<i>red".into()] }],
        items,
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
