//! The fields of one event by the names that files use: what CSV and GeoJSON have in common, both ways.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{text, time};
use crate::watch::{ReleasedItem, codes};

/// One event. What is empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Properties {
    /// RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub precision: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cell: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub location: String,
    pub behaviours: Vec<String>,
    pub what_happened: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub basis: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub activity: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub substances: Vec<SubstanceSeen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Amount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    // Only ever read: no release holds them.
    #[serde(skip_serializing)]
    pub vantage: String,
    #[serde(skip_serializing)]
    pub called_emergency_at: Option<String>,
    #[serde(skip_serializing)]
    pub consent: Vec<String>,
    #[serde(skip_serializing)]
    pub sealed: Option<SealedPart>,
    /// What has another name.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SubstanceSeen {
    pub code: String,
    pub catalogue: String,
    /// NIBRS letter, derived from the code: written for readers, not read again.
    #[serde(skip_deserializing)]
    pub drug_type: String,
    pub basis: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Amount {
    pub amount: f64,
    pub unit: String,
}

/// What only coordinators read, but for the position, which is the feature's geometry.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct SealedPart {
    pub address: String,
    pub accuracy_m: Option<f64>,
    pub method: Option<String>,
    pub people: Vec<PeopleSeen>,
    pub vehicles: Vec<VehicleSeen>,
    pub notes: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct PeopleSeen {
    pub count: u32,
    pub clothing: String,
    pub features: String,
    pub direction: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct VehicleSeen {
    pub colour: String,
    pub make: String,
    pub body: String,
    pub plate: String,
    pub direction: String,
}

impl Properties {
    /// What a file says of an item, fit to be written.
    pub(super) fn of(item: &ReleasedItem) -> Self {
        let codes = |codes: &[String]| codes.iter().map(|code| text::line(code)).collect();
        Self {
            start: time::rfc3339(item.when.start_ms),
            end: item.when.end_ms.map(time::rfc3339),
            precision: text::line(&item.when.precision),
            cell: text::line(&item.cell),
            location: text::line(&item.location),
            behaviours: codes(&item.behaviours),
            what_happened: text::plain(&item.what_happened),
            basis: text::line(&item.basis),
            activity: codes(&item.activity),
            substances: item
                .substances
                .iter()
                .map(|substance| SubstanceSeen {
                    code: text::line(&substance.code),
                    catalogue: text::line(&substance.catalogue),
                    drug_type: drug_type(&substance.code).to_owned(),
                    basis: text::line(&substance.basis),
                })
                .collect(),
            quantity: item
                .quantity
                .as_ref()
                .map(|quantity| Amount { amount: quantity.amount, unit: text::line(&quantity.unit) }),
            flags: codes(&item.flags),
            ..Self::default()
        }
    }
}

/// NIBRS letter of a substance; `U`, unknown, for one of a newer catalogue.
fn drug_type(code: &str) -> &'static str {
    codes::substances().get(code).and_then(|entry| entry.nibrs.as_deref()).unwrap_or("U")
}
