//! GeoJSON (RFC 7946): a FeatureCollection for a map.
//!
//! A place is the public cell as a polygon, as nobody shall take the middle of a cell for the spot. Members of the
//! collection that RFC 7946 does not name (section 6.1) say what it is.

use serde::Serialize;

use super::properties::Properties;
use super::{text, time};
use crate::watch::statistics::REPORTS_COUNT_MIN;
use crate::watch::trends::Hotspots;
use crate::watch::{Cell, OpenFact, Release};

/// A release, one feature an event, in the order of the release. A feature without a public cell has no geometry.
pub fn release(release: &Release) -> Vec<u8> {
    let features = release.items.iter().map(|item| {
        let geometry = item.cell.parse().ok().map(Polygon::of);
        Feature { kind: "Feature", geometry, properties: Properties::of(item) }
    });
    let about = About {
        title: text::line(&release.title),
        purpose: text::plain(&release.purpose),
        created: time::rfc3339(release.created_ms),
        expires: release.expires_ms.map(time::rfc3339),
        revision: release.revision,
        open_facts: release.open_facts.iter().map(Open::of).collect(),
    };
    written(&Collection { kind: "FeatureCollection", release: Some(about), features: features.collect() })
}

/// What of many reports may be published: a feature without geometry for each month's total, and one for each cell and
/// behaviour family with enough reports to be told of. No text is in it, and no count of a cell.
pub fn research(months: &[Hotspots]) -> Vec<u8> {
    let features = months.iter().flat_map(|Hotspots { month, total, shown }| {
        let month = month.to_string();
        let whole = Published { month: month.clone(), reports: *total, ..Published::default() };
        let cells = shown.iter().map(move |(cell, family)| {
            let properties = Published {
                month: month.clone(),
                cell: Some(cell.to_string()),
                family: Some(text::line(family)),
                reports: None,
                reports_min: Some(REPORTS_COUNT_MIN),
            };
            Feature { kind: "Feature", geometry: Some(Polygon::of(*cell)), properties }
        });
        std::iter::once(Feature { kind: "Feature", geometry: None, properties: whole }).chain(cells)
    });
    written(&Collection { kind: "FeatureCollection", release: None, features: features.collect() })
}

#[derive(Serialize)]
struct Collection<P> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<About>,
    features: Vec<Feature<P>>,
}

/// What the release says of itself.
#[derive(Serialize)]
struct About {
    title: String,
    purpose: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    revision: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    open_facts: Vec<Open>,
}

/// What the reports behind it disagree about.
#[derive(Serialize)]
struct Open {
    fact: String,
    values: Vec<String>,
}

impl Open {
    fn of(open: &OpenFact) -> Self {
        let values = open.values.iter().map(|value| text::plain(value)).collect();
        Self { fact: text::line(&open.fact), values }
    }
}

#[derive(Serialize)]
struct Feature<P> {
    #[serde(rename = "type")]
    kind: &'static str,
    geometry: Option<Polygon>,
    properties: P,
}

#[derive(Default, Serialize)]
struct Published {
    month: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports_min: Option<u64>,
}

#[derive(Serialize)]
struct Polygon {
    #[serde(rename = "type")]
    kind: &'static str,
    /// One ring of longitudes and latitudes.
    coordinates: [[[f64; 2]; 5]; 1],
}

impl Polygon {
    /// Counterclockwise, and closed (RFC 7946, section 3.1.6). No cell crosses the antimeridian.
    fn of(cell: Cell) -> Self {
        let b = cell.bounds();
        let south_west = [b.west, b.south];
        let ring = [south_west, [b.east, b.south], [b.east, b.north], [b.west, b.north], south_west];
        Self { kind: "Polygon", coordinates: [ring.map(|corner| corner.map(to_a_centimetre))] }
    }
}

/// Seven decimals of a degree: more say nothing (RFC 7946, section 11.2).
fn to_a_centimetre(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}

fn written<P: Serialize>(collection: &Collection<P>) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "memory takes everything, and a float that is no number is written as null"
    )]
    serde_json::to_vec(collection).expect("this works because all keys are text")
}
