//! From the properties of a feature, or the cells of a row, to a draft that passes the checks of an author's input.

use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Map, Value};

use super::Draft;
use crate::exchange::properties::{Properties, SealedPart};
use crate::exchange::{text, time};
use crate::watch::{
    Invalid, Observation, People, Position, Quantity, Sealed, Substance, Vehicle, When, codes,
};

/// Where each property goes, to be shown beside an error: name, and the field it fills.
pub const PROPERTIES: &[(&str, &str)] = &[
    ("geometry (Point or null)", "sealed.position"),
    ("start, end", "when.start_ms, when.end_ms (RFC 3339)"),
    ("precision", "when.precision"),
    ("cell", "cell; else made of the position when it is filed"),
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
    ("elsewhere: title, name, …", "what_happened (description first)"),
    ("elsewhere: start, time, date, …", "when.start_ms (or timestamp, datetime); else the day of the file"),
    ("elsewhere: anything else", "sealed.notes"),
];

/// What says what happened, in a feature or row that was not made for us: the first of these that is there.
pub const TEXT_KEYS: &[&str] = &["description", "title", "name"];

/// What says when: the first of these that can be read.
pub const TIME_KEYS: &[&str] = &["start", "time", "timestamp", "datetime", "date"];

/// Where nothing is said about how a point was found, assume a click on a map: a radius in metres.
const ACCURACY_M: f64 = 50.0;

/// Id under which a sealed part is judged before its observation has one.
const NO_ID_YET: &str = "draft";

/// Longest piece of a file that a complaint repeats, in characters.
const COMPLAINT_CHARS_MAX: usize = 200;

/// The draft, or what is wrong for the person who keeps the file.
pub(super) fn of(
    mut properties: Map<String, Value>,
    point: Option<(f64, f64)>,
    undated_ms: i64,
) -> Result<Draft, String> {
    // Other programs write what is absent as null.
    properties.retain(|_, value| !value.is_null());
    properties.values_mut().for_each(tidy);
    let draft = if properties.contains_key("what_happened") {
        let properties =
            serde_json::from_value(Value::Object(properties)).map_err(|error| without_place(&error))?;
        ours(properties, point)?
    } else {
        elsewhere(properties, point, undated_ms)?
    };
    check(&draft).map_err(|invalid| invalid.to_string())?;
    Ok(draft)
}

fn check(draft: &Draft) -> Result<(), Invalid> {
    draft.observation.validate()?;
    draft.sealed.as_ref().map_or(Ok(()), |sealed| {
        let sealed = Sealed { observation: NO_ID_YET.to_owned(), ..sealed.clone() };
        sealed.validate().map_err(|e| e.within("sealed"))
    })
}

/// Text with the line ends of this program; `serde_json` bounds how deep it is nested.
fn tidy(value: &mut Value) {
    match value {
        Value::String(string) => *string = text::line_ends(string),
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => fields.values_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn ours(p: Properties, point: Option<(f64, f64)>) -> Result<Draft, String> {
    if p.what_happened.trim().is_empty() || p.behaviours.is_empty() {
        return Err("expected a text as `what_happened` and at least one of `behaviours`".to_owned());
    }
    let start_ms = instant_ms("start", &p.start)?;
    let optional_ms = |key, text: Option<String>| {
        text.filter(|text| !text.is_empty()).map(|text| instant_ms(key, &text)).transpose()
    };
    let observation = Observation {
        when: When { start_ms, end_ms: optional_ms("end", p.end)?, precision: p.precision },
        cell: p.cell,
        location: p.location,
        vantage: or_told(p.vantage),
        behaviours: p.behaviours,
        what_happened: p.what_happened,
        basis: or_told(p.basis),
        activity: p.activity,
        substances: p
            .substances
            .into_iter()
            .map(|seen| Substance {
                code: seen.code,
                catalogue: or(seen.catalogue, || codes::substances().reference()),
                basis: or_told(seen.basis),
            })
            .collect(),
        quantity: p.quantity.map(|q| Quantity { amount: q.amount, unit: q.unit }),
        flags: p.flags,
        called_emergency_at_ms: optional_ms("called_emergency_at", p.called_emergency_at)?,
        consent: p.consent,
        // A file has no room for photos.
        media: Vec::new(),
    };
    Ok(Draft { observation, sealed: sealed(p.sealed, point), rest: p.rest })
}

/// None if there is nothing to seal.
fn sealed(part: Option<SealedPart>, point: Option<(f64, f64)>) -> Option<Sealed> {
    if part.is_none() && point.is_none() {
        return None;
    }
    let part = part.unwrap_or_default();
    Some(Sealed {
        observation: String::new(),
        originals: Vec::new(),
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
    })
}

/// What was not made for us tells where and, in some words, what. `place_condition` accuses nobody; whatever else it says
/// stays with the coordinators.
fn elsewhere(
    mut properties: Map<String, Value>,
    point: Option<(f64, f64)>,
    undated_ms: i64,
) -> Result<Draft, String> {
    let what_happened = TEXT_KEYS
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
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}: {text}"),
            None => format!("{key}: {value}"),
        })
        .collect::<Vec<_>>()
        .join("\n");
    let observation = Observation {
        when: When { start_ms, end_ms: None, precision: precision.to_owned() },
        location: "25".to_owned(),
        vantage: "told".to_owned(),
        behaviours: vec!["place_condition".to_owned()],
        what_happened,
        basis: "told".to_owned(),
        ..Observation::default()
    };
    let part = SealedPart { notes, ..SealedPart::default() };
    Ok(Draft { observation, sealed: sealed(Some(part), point), rest: Map::new() })
}

/// The parser's words without its line and column, which count from the start of the feature, not of the file.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    text::cut(what, COMPLAINT_CHARS_MAX)
}

fn instant_ms(key: &str, text: &str) -> Result<i64, String> {
    let example = "a time like `2026-05-04T21:40:00-05:00`";
    if text.is_empty() {
        return Err(format!("`{key}` is missing, expected {example}"));
    }
    time::parse(text).ok_or_else(|| format!("`{key}` is `{}`, expected {example}", text::cut(text, 40)))
}

/// A time as others write it: RFC 3339, a bare date, or milliseconds since the Unix epoch.
fn time_of(value: &Value) -> Option<(i64, &'static str)> {
    if let Some(ms) = value.as_i64() {
        return Some((ms, "minute"));
    }
    let text = value.as_str()?.trim();
    if let Some(ms) = time::parse(text) {
        return Some((ms, "minute"));
    }
    let day = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((day.timestamp().as_millisecond(), "day"))
}

/// Whoever does not say how they know, or where they stood, was told it.
fn or_told(text: String) -> String {
    or(text, || "told".to_owned())
}

fn or(text: String, otherwise: impl FnOnce() -> String) -> String {
    if text.is_empty() { otherwise() } else { text }
}
