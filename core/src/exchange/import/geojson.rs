//! GeoJSON (RFC 7946): a FeatureCollection of points, with our properties or with somebody else's.

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::draft::{self, without_place};
use super::{Draft, Imported, ImportedRow, ROW_BYTES_MAX, ROWS_COUNT_MAX, Unreadable};

pub(super) fn parse(text: &str, undated_ms: i64) -> Result<Imported, Unreadable> {
    if text.trim_start().starts_with('[') {
        return Err(Unreadable::NotFeatureCollection { found: "it is a list".to_owned() });
    }
    let collection: Collection<'_> = serde_json::from_str(text).map_err(|error| Unreadable::Json {
        line: error.line(),
        column: error.column(),
        what: without_place(&error),
    })?;
    match collection.kind.as_str() {
        "" | "FeatureCollection" if collection.features.as_ref().is_some_and(Vec::is_empty) => {
            return Err(Unreadable::NoFeatures);
        }
        "FeatureCollection" => {}
        "" => return Err(Unreadable::NotFeatureCollection { found: "it has no `type`".to_owned() }),
        other => {
            return Err(Unreadable::NotFeatureCollection {
                found: format!("its `type` is `{}`", cut(other)),
            });
        }
    }
    let features = collection.features.ok_or(Unreadable::NoFeatures)?;
    if features.len() > ROWS_COUNT_MAX {
        return Err(Unreadable::TooManyRows);
    }
    let mut lines = Lines::of(text);
    let rows = features.into_iter().enumerate().map(|(at, raw)| ImportedRow {
        number: at + 1,
        line: lines.line_of(raw.get()),
        draft: feature(raw.get(), undated_ms),
    });
    Ok(Imported { rows: rows.collect() })
}

/// Features are kept as raw text at first, so that one bad feature does not spoil the file.
#[derive(Deserialize)]
struct Collection<'a> {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(borrow)]
    features: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(rename = "type", default)]
    kind: String,
    geometry: Option<Geometry>,
    properties: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Geometry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    coordinates: Value,
}

fn feature(text: &str, undated_ms: i64) -> Result<Draft, String> {
    if text.len() > ROW_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {ROW_BYTES_MAX} are read", text.len()));
    }
    let feature: Feature = serde_json::from_str(text).map_err(|error| without_place(&error))?;
    if feature.kind != "Feature" {
        return Err(format!("its `type` is `{}`, expected `Feature`", cut(&feature.kind)));
    }
    let properties = feature.properties.unwrap_or_default();
    // The outline of a public cell says no more than its name does.
    let names_cell = properties.get("cell").and_then(Value::as_str).is_some_and(|cell| !cell.is_empty());
    let geometry = feature.geometry.filter(|geometry| !(names_cell && geometry.kind == "Polygon"));
    draft::of(properties, geometry.map(point).transpose()?, undated_ms)
}

/// Latitude and longitude; GeoJSON writes them the other way round.
fn point(geometry: Geometry) -> Result<(f64, f64), String> {
    if geometry.kind != "Point" {
        return Err(format!("its geometry is a {}, expected a Point", cut(&geometry.kind)));
    }
    let coordinates: Vec<f64> = serde_json::from_value(geometry.coordinates)
        .map_err(|_| "its coordinates are not a list of numbers".to_owned())?;
    match coordinates.as_slice() {
        [lon, lat, ..] if lat.abs() <= 90.0 && lon.abs() <= 180.0 => Ok((*lat, *lon)),
        [lon, lat, ..] => {
            Err(format!("[{lon}, {lat}] is not on Earth, expected [longitude, latitude] in degrees"))
        }
        [] | [_] => Err("its coordinates have fewer than two numbers".to_owned()),
    }
}

/// As much of a name as a complaint repeats.
fn cut(name: &str) -> String {
    crate::exchange::text::cut(name, 40)
}

/// Turns slices of the text, asked for in order, into line numbers without counting twice.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, offset: 0, line: 1 }
    }

    fn line_of(&mut self, part: &str) -> usize {
        // The parser lends out slices of `text`, so their distance is an offset into it.
        let offset = part.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        let passed = self.text.as_bytes().get(self.offset..offset).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.offset = self.offset.max(offset);
        self.line
    }
}
