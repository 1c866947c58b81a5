//! What tests here and elsewhere file.

use super::ObservationDraft;
use crate::watch::{Observation, Position, Sealed, When};

/// An observation with a sealed part, that says `what`.
pub fn draft(what: &str) -> ObservationDraft {
    let observation = Observation {
        when: When { start_ms: 1_779_990_000_000, end_ms: None, precision: "minute".into() },
        vantage: "public_way".into(),
        behaviours: vec!["hand_to_hand".into()],
        what_happened: what.into(),
        basis: "saw".into(),
        consent: vec!["liaison".into()],
        ..Observation::default()
    };
    let sealed = Sealed {
        position: Some(Position { lat: 39.74, lon: -104.95, accuracy_m: 10.0, method: "gps".into() }),
        address: "12 Invented Street".into(),
        notes: "plate ZZZ-1234".into(),
        ..Sealed::default()
    };
    ObservationDraft { observation, sealed: Some(sealed) }
}
