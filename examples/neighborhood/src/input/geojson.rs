//! GeoJSON (RFC 7946): a FeatureCollection of Points, with our properties or with somebody else's.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{CATALOGUE, InputError, Loaded, Planted, Refused, Report};
use lamppost_core::watch::{Observation, People, Position, Quantity, Sealed, Substance, Vehicle, When};

/// Where each property goes. A feature without `what_happened` is somebody else's: of it, text and time are used.
pub(super) const MAPPING: &[(&str, &str)] = &[
    ("geometry (Point or null)", "sealed.position"),
    ("start, end", "when.start_ms, when.end_ms (RFC 3339)"),
    ("precision", "when.precision"),
    ("location", "location (NIBRS)"),
    ("vantage", "vantage"),
    ("behaviours", "behaviours, at least one"),
    ("what_happened", "what_happened"),
    ("basis", "basis"),
    ("activity", "activity (NIBRS), at most 3"),
    ("substances {code, basis}", "substances, at most 3"),
    ("quantity {amount, unit}", "quantity"),
    ("flags", "flags"),
    ("called_emergency_at", "called_emergency_at_ms (RFC 3339)"),
    ("consent", "consent"),
    ("sealed {address, people, …}", "sealed, field by field: accuracy_m, method, vehicles, notes too"),
    ("comment", "comment"),
    ("planted", "planted, besides what is sealed"),
    ("same_event", "same_event"),
    ("elsewhere: title, name, …", "what_happened (description first)"),
    (
        "elsewhere: start, time, date, …",
        "when.start_ms (or timestamp, datetime); else the day the file was changed",
    ),
    ("elsewhere: anything else", "sealed.notes"),
];

/// NIBRS takes three activities and three drug types; more would be cut off at export.
const CODES_MAX: usize = 3;

/// Where nothing is said about how a foreign point was found, assume a click on a map.
const ACCURACY_M: f64 = 50.0;

const TEXT_KEYS: &[&str] = &["description", "title", "name"];
const TIME_KEYS: &[&str] = &["start", "time", "timestamp", "datetime", "date"];

/// Reads a collection. `undated_ms` is the time of features that name none, in milliseconds since the Unix epoch.
pub(super) fn parse(text: &str, undated_ms: i64) -> Result<Loaded, InputError> {
    if text.trim_start().starts_with('[') {
        return Err(InputError::NotFeatureCollection { found: "it is a list".to_owned() });
    }
    let collection: Collection<'_> = serde_json::from_str(text).map_err(|error| InputError::Json {
        line: error.line(),
        column: error.column(),
        what: without_place(&error),
    })?;
    match collection.kind.as_str() {
        "" | "FeatureCollection" if collection.features.as_ref().is_some_and(Vec::is_empty) => {
            return Err(InputError::NoFeatures);
        }
        "FeatureCollection" => {}
        "" => return Err(InputError::NotFeatureCollection { found: "it has no `type`".to_owned() }),
        other => {
            return Err(InputError::NotFeatureCollection { found: format!("its `type` is `{other}`") });
        }
    }
    let features = collection.features.ok_or(InputError::NoFeatures)?;
    let mut loaded = Loaded { mapping: MAPPING, ..Loaded::default() };
    let mut lines = Lines::of(text);
    for (at, raw) in features.into_iter().enumerate() {
        let line = lines.line_of(raw.get());
        match feature(raw.get(), undated_ms).and_then(super::unheld) {
            Ok(report) => loaded.reports.push(report),
            // A file may be one single line.
            Err(what) => {
                loaded.refused.push(Refused { line, what: format!("feature {}: {what}", at + 1) });
            }
        }
    }
    Ok(loaded)
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

/// The properties of a feature of ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Properties {
    start: String,
    end: Option<String>,
    precision: String,
    location: String,
    vantage: String,
    behaviours: Vec<String>,
    what_happened: String,
    basis: String,
    activity: Vec<String>,
    substances: Vec<SubstanceSeen>,
    quantity: Option<Amount>,
    flags: Vec<String>,
    called_emergency_at: Option<String>,
    consent: Vec<String>,
    sealed: SealedPart,
    comment: String,
    planted: Vec<String>,
    same_event: Option<String>,
}

#[derive(Deserialize)]
struct SubstanceSeen {
    code: String,
    basis: String,
}

#[derive(Deserialize)]
struct Amount {
    amount: f64,
    unit: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SealedPart {
    address: String,
    accuracy_m: Option<f64>,
    method: Option<String>,
    people: Vec<PeopleSeen>,
    vehicles: Vec<VehicleSeen>,
    notes: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PeopleSeen {
    count: u32,
    clothing: String,
    features: String,
    direction: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VehicleSeen {
    colour: String,
    make: String,
    body: String,
    plate: String,
    direction: String,
}

fn feature(text: &str, undated_ms: i64) -> Result<Report, String> {
    let feature: Feature = serde_json::from_str(text).map_err(|error| without_place(&error))?;
    if feature.kind != "Feature" {
        return Err(format!("its `type` is `{}`, expected `Feature`", feature.kind));
    }
    let point = feature.geometry.map(point).transpose()?;
    let properties = feature.properties.unwrap_or_default();
    if properties.contains_key("what_happened") {
        let properties =
            serde_json::from_value(Value::Object(properties)).map_err(|error| without_place(&error))?;
        ours(properties, point)
    } else {
        elsewhere(properties, point, undated_ms)
    }
}

/// Latitude and longitude; GeoJSON writes them the other way round.
fn point(geometry: Geometry) -> Result<(f64, f64), String> {
    if geometry.kind != "Point" {
        return Err(format!("its geometry is a {}, expected a Point", geometry.kind));
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

fn ours(properties: Properties, point: Option<(f64, f64)>) -> Result<Report, String> {
    if properties.what_happened.trim().is_empty() || properties.behaviours.is_empty() {
        return Err("`what_happened` and at least one of `behaviours` are required".to_owned());
    }
    if properties.activity.len() > CODES_MAX || properties.substances.len() > CODES_MAX {
        return Err(format!("more than {CODES_MAX} of `activity` or of `substances`"));
    }
    if properties.precision.is_empty() {
        return Err("`precision` is missing, expected minute, hour or day".to_owned());
    }
    if !matches!(properties.precision.as_str(), "minute" | "hour" | "day") {
        return Err(format!("`precision` is `{}`, expected minute, hour or day", properties.precision));
    }
    let start_ms = instant_ms("start", &properties.start)?;
    let optional_ms = |key, text: Option<String>| text.map(|text| instant_ms(key, &text)).transpose();
    let end_ms = optional_ms("end", properties.end)?;
    if end_ms.is_some_and(|end| end < start_ms) {
        return Err("`end` is before `start`".to_owned());
    }
    let called_emergency_at_ms = optional_ms("called_emergency_at", properties.called_emergency_at)?;
    let sealed = sealed(properties.sealed, point);

    let mut planted = Planted::default();
    planted.secret(&sealed.address);
    for vehicle in &sealed.vehicles {
        planted.secret(&vehicle.plate);
    }
    for secret in &properties.planted {
        planted.secret(secret);
    }
    planted.phrases(&properties.what_happened);
    planted.phrases(&properties.comment);
    planted.phrases(&sealed.notes);
    for people in &sealed.people {
        planted.phrases(&people.clothing);
        planted.phrases(&people.features);
    }
    Ok(Report {
        observation: Observation {
            when: When { start_ms, end_ms, precision: properties.precision },
            cell: String::new(),
            location: properties.location,
            vantage: properties.vantage,
            behaviours: properties.behaviours,
            what_happened: properties.what_happened,
            basis: properties.basis,
            activity: properties.activity,
            substances: properties
                .substances
                .into_iter()
                .map(|seen| Substance { code: seen.code, catalogue: CATALOGUE.to_owned(), basis: seen.basis })
                .collect(),
            quantity: properties.quantity.map(|Amount { amount, unit }| Quantity { amount, unit }),
            flags: properties.flags,
            called_emergency_at_ms,
            consent: properties.consent,
        },
        sealed,
        comment: properties.comment,
        planted: planted.0,
        same_event: properties.same_event,
    })
}

fn sealed(part: SealedPart, point: Option<(f64, f64)>) -> Sealed {
    Sealed {
        observation: String::new(),
        position: point.map(|(lat, lon)| Position {
            lat,
            lon,
            accuracy_m: part.accuracy_m.unwrap_or(ACCURACY_M),
            method: part.method.unwrap_or_else(|| "import".to_owned()),
        }),
        address: part.address,
        people: part
            .people
            .into_iter()
            .map(|seen| People {
                count: seen.count,
                clothing: seen.clothing,
                features: seen.features,
                direction: seen.direction,
            })
            .collect(),
        vehicles: part
            .vehicles
            .into_iter()
            .map(|seen| Vehicle {
                colour: seen.colour,
                make: seen.make,
                body: seen.body,
                plate: seen.plate,
                direction: seen.direction,
            })
            .collect(),
        notes: part.notes,
    }
}

/// A feature that was not made for us tells where and, in some words, what. `place_condition` is the behaviour that
/// accuses nobody; whatever else it says stays with the coordinators.
fn elsewhere(
    mut properties: Map<String, Value>,
    point: Option<(f64, f64)>,
    undated_ms: i64,
) -> Result<Report, String> {
    let text = TEXT_KEYS
        .iter()
        .find_map(|key| {
            let text = properties.get(*key)?.as_str()?.trim().to_owned();
            (!text.is_empty()).then(|| {
                properties.remove(*key);
                text
            })
        })
        .ok_or_else(|| {
            format!("nothing says what happened; expected `what_happened` or one of {}", TEXT_KEYS.join(", "))
        })?;
    if point.is_none() {
        return Err("it has neither a Point nor `what_happened`".to_owned());
    }
    let (start_ms, precision) = TIME_KEYS
        .iter()
        .find_map(|key| {
            let found = time_of(properties.get(*key)?)?;
            properties.remove(*key);
            Some(found)
        })
        .unwrap_or((undated_ms, "day"));
    let notes = properties
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}: {text}"),
            None => format!("{key}: {value}"),
        })
        .collect::<Vec<_>>()
        .join("\n");

    let mut planted = Planted::default();
    planted.phrases(&text);
    planted.phrases(&notes);
    Ok(Report {
        observation: Observation {
            when: When { start_ms, end_ms: None, precision: precision.to_owned() },
            location: "25".to_owned(),
            vantage: "told".to_owned(),
            behaviours: vec!["place_condition".to_owned()],
            what_happened: text,
            basis: "told".to_owned(),
            ..Observation::default()
        },
        sealed: sealed(SealedPart { notes, ..SealedPart::default() }, point),
        planted: planted.0,
        ..Report::default()
    })
}

/// The parser's words without its line and column, which count from the start of the feature, not of the file.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what).to_owned()
}

fn instant_ms(key: &str, text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Err(format!("`{key}` is missing, expected a time like `2026-05-04T21:40:00-05:00`"));
    }
    text.parse::<Timestamp>()
        .map(Timestamp::as_millisecond)
        .map_err(|_| format!("`{key}` is `{text}`, expected a time like `2026-05-04T21:40:00-05:00`"))
}

/// A time as others write it: RFC 3339, a bare date, or milliseconds since the Unix epoch.
fn time_of(value: &Value) -> Option<(i64, &'static str)> {
    if let Some(ms) = value.as_i64() {
        return Some((ms, "minute"));
    }
    let text = value.as_str()?.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some((time.as_millisecond(), "minute"));
    }
    let day = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((day.timestamp().as_millisecond(), "day"))
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
