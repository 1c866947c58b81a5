//! A city's incident table, in the columns of Denver's open data catalogue.
//!
//! Such a table is what a police record says, not what a neighbour saw: vantage and basis are `told`.

use std::collections::HashMap;

use ::csv::{ReaderBuilder, StringRecord};
use jiff::{
    Zoned,
    civil::{DateTime, Time},
    tz::TimeZone,
};

use super::{CATALOGUE, InputError, Loaded, Planted, Refused, Report, offences};
use lamppost_core::exchange::Unreadable;
use lamppost_core::watch::{Observation, Position, Sealed, Substance, When};

/// Where each column goes. Only those of [`NEEDED`] have to be there.
pub(super) const MAPPING: &[(&str, &str)] = &[
    ("INCIDENT_ID", "sealed.notes; same_event where several rows share it"),
    ("OFFENSE_ID", "sealed.notes; a second row with the same one is refused"),
    ("OFFENSE_CODE", "sealed.notes"),
    ("OFFENSE_CODE_EXTENSION", "sealed.notes"),
    (
        "OFFENSE_TYPE_ID",
        "needed: behaviours, activity, substances, flags, location, what_happened; sealed.notes",
    ),
    ("OFFENSE_CATEGORY_ID", "behaviours (alcohol); sealed.notes"),
    ("FIRST_OCCURRENCE_DATE", "needed: when.start_ms, when.precision, what_happened"),
    ("LAST_OCCURRENCE_DATE", "when.end_ms, what_happened"),
    ("REPORTED_DATE", "comment"),
    ("INCIDENT_ADDRESS", "sealed.address; location 13 if it is a crossing"),
    ("GEO_X", "sealed.notes"),
    ("GEO_Y", "sealed.notes"),
    ("GEO_LON", "sealed.position.lon"),
    ("GEO_LAT", "sealed.position.lat"),
    ("DISTRICT_ID", "sealed.notes"),
    ("PRECINCT_ID", "sealed.notes"),
    ("NEIGHBORHOOD_ID", "what_happened"),
    ("IS_CRIME", "what_happened"),
    ("IS_TRAFFIC", "location 13, what_happened"),
];

/// What and when: without them there is no report.
const NEEDED: &[&str] = &["OFFENSE_TYPE_ID", "FIRST_OCCURRENCE_DATE"];

/// An open quote swallows lines until the next one.
const OPEN_QUOTE: &str = "; a field goes over several lines: is a quote (\") left open here?";

/// The table's times are Denver wall clock without a zone. These are the rules of US Mountain time since 2007;
/// stating them here spares a time zone database. An hour that occurs twice counts as its first occurrence.
const DENVER: &str = "MST7MDT,M3.2.0,M11.1.0";

const WALL_CLOCK: &str = "%m/%d/%Y %I:%M:%S %p";

/// The table gives the middle of a block or a crossing, not a doorstep.
const ACCURACY_M: f64 = 50.0;

/// A geocoder that found nothing writes 0,0: within this many degrees of it is no position.
const NOWHERE_DEG: f64 = 1.0;

/// Reads a whole table.
pub(super) fn parse(text: &str) -> Result<Loaded, InputError> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(header) => Columns::find(header)?,
        Err(_) => return Err(Unreadable::Empty.into()),
    };
    let zone = TimeZone::posix(DENVER).unwrap_or(TimeZone::UTC);
    let mut reports = Vec::new();
    let mut refused = Vec::new();
    let mut line_by_offence: HashMap<String, usize> = HashMap::new();
    let mut rows_by_incident: HashMap<String, usize> = HashMap::new();
    for record in reader.records() {
        let line = line_of(text, &record);
        let result = match &record {
            Ok(record) => columns.row(record).and_then(|row| {
                if let Some((id, first)) = row.offence_id.and_then(|id| Some((id, line_by_offence.get(id)?)))
                {
                    return Err(format!("OFFENSE_ID `{id}` was already on line {first}"));
                }
                let report = row.report(&zone)?;
                if let Some(id) = row.offence_id {
                    line_by_offence.insert(id.to_owned(), line);
                }
                *rows_by_incident.entry(row.incident_id.to_owned()).or_default() += 1;
                Ok(report)
            }),
            Err(error) => Err(error.to_string()),
        };
        match result.and_then(super::acceptable) {
            Ok(report) => reports.push(report),
            Err(what) => refused.push(Refused { line, what }),
        }
    }
    if reports.is_empty() && refused.is_empty() {
        return Err(Unreadable::Empty.into());
    }
    for report in &mut reports {
        report.same_event.take_if(|incident| rows_by_incident.get(incident.as_str()) == Some(&1));
    }
    Ok(Loaded { reports, refused, mapping: MAPPING })
}

/// The line where a row begins: the parser's position is before the line feeds and blank lines that it passes over.
fn line_of(text: &str, record: &Result<StringRecord, ::csv::Error>) -> usize {
    let position = match record {
        Ok(record) => record.position(),
        Err(error) => error.position(),
    };
    let Some(position) = position else { return 0 };
    let at = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let ahead = text.as_bytes().get(at..).unwrap_or_default().iter();
    let passed =
        ahead.take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|byte| **byte == b'\n').count();
    usize::try_from(position.line()).unwrap_or(usize::MAX).saturating_add(passed)
}

fn open_quote(record: &StringRecord) -> &'static str {
    if record.iter().any(|field| field.contains('\n')) { OPEN_QUOTE } else { "" }
}

/// Where the known columns stand in this file, in the order of [`MAPPING`]; none where it lacks one.
struct Columns {
    indexes: Vec<Option<usize>>,
    count: usize,
}

impl Columns {
    fn find(header: &StringRecord) -> Result<Self, InputError> {
        let place = |name: &str| header.iter().position(|found| found.trim().eq_ignore_ascii_case(name));
        let missing: Vec<_> = NEEDED.iter().copied().filter(|name| place(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(InputError::Header { missing, hint: open_quote(header) });
        }
        Ok(Self { indexes: MAPPING.iter().map(|(name, _)| place(name)).collect(), count: header.len() })
    }

    fn row<'a>(&self, record: &'a StringRecord) -> Result<Row<'a>, String> {
        if record.len() != self.count {
            return Err(format!("{} columns, expected {}{}", record.len(), self.count, open_quote(record)));
        }
        let mut values = self.indexes.iter().map(|&index| Some(record.get(index?)?.trim()));
        let mut maybe = || values.next().flatten();
        // The fields stand in the order of MAPPING; a struct literal is evaluated as written.
        let (incident_id, offence_id) = (maybe(), maybe());
        let mut next = || values.next().flatten().unwrap_or_default();
        Ok(Row {
            incident_id: incident_id.unwrap_or_default(),
            offence_id,
            code: next(),
            extension: next(),
            kind: next(),
            category: next(),
            first: next(),
            last: next(),
            reported: next(),
            address: next(),
            x: next(),
            y: next(),
            lon: next(),
            lat: next(),
            district: next(),
            precinct: next(),
            neighborhood: next(),
            is_crime: values.next().flatten(),
            is_traffic: values.next().flatten(),
        })
    }
}

/// One row, by meaning. Where it matters, what its file has no column for is none; elsewhere it is empty.
struct Row<'a> {
    incident_id: &'a str,
    offence_id: Option<&'a str>,
    code: &'a str,
    extension: &'a str,
    kind: &'a str,
    category: &'a str,
    first: &'a str,
    last: &'a str,
    reported: &'a str,
    address: &'a str,
    x: &'a str,
    y: &'a str,
    lon: &'a str,
    lat: &'a str,
    district: &'a str,
    precinct: &'a str,
    neighborhood: &'a str,
    is_crime: Option<&'a str>,
    is_traffic: Option<&'a str>,
}

impl Row<'_> {
    fn report(&self, zone: &TimeZone) -> Result<Report, String> {
        if self.offence_id.is_some_and(str::is_empty) || self.kind.is_empty() {
            return Err("OFFENSE_ID and OFFENSE_TYPE_ID must not be empty".to_owned());
        }
        let first = instant("FIRST_OCCURRENCE_DATE", self.first, zone)?;
        let last = match self.last {
            "" => None,
            last => Some(instant("LAST_OCCURRENCE_DATE", last, zone)?),
        };
        let reported = match self.reported {
            "" => None,
            reported => Some(instant("REPORTED_DATE", reported, zone)?),
        };
        if last.as_ref().is_some_and(|last| *last < first) {
            return Err("LAST_OCCURRENCE_DATE is before FIRST_OCCURRENCE_DATE".to_owned());
        }
        let is_crime = self.is_crime.map_or(Ok(true), |text| yes_no("IS_CRIME", text))?;
        let is_traffic = self.is_traffic.map_or(Ok(false), |text| yes_no("IS_TRAFFIC", text))?;
        let position = self.position()?;
        let offence = offences::translate(self.kind, self.category);

        let on_road = is_traffic || self.address.contains(" / ");
        let location = offence.location.unwrap_or(if on_road { "13" } else { "25" });
        let what_happened = self.what_happened(&offence, &first, last.as_ref(), is_crime, is_traffic);
        let comment = reported.map_or_else(String::new, |reported| {
            format!(
                "Added later: the police took the report on {}, {}.",
                in_words(&reported),
                delay_in_words(&first, &reported)
            )
        });
        let notes = self.notes();

        let mut planted = Planted::default();
        planted.secret(self.address);
        planted.secret(self.offence_id.unwrap_or_default());
        planted.phrases(&what_happened);
        planted.phrases(&comment);
        Ok(Report {
            observation: Observation {
                when: When {
                    start_ms: first.timestamp().as_millisecond(),
                    end_ms: last.map(|last| last.timestamp().as_millisecond()),
                    precision: precision(first.time()).to_owned(),
                },
                location: location.to_owned(),
                vantage: "told".to_owned(),
                behaviours: vec![offence.behaviour.to_owned()],
                what_happened,
                basis: "told".to_owned(),
                activity: owned(offence.activity),
                substances: offence
                    .substance
                    .map(|code| Substance {
                        code: code.to_owned(),
                        catalogue: CATALOGUE.to_owned(),
                        basis: "told".to_owned(),
                    })
                    .into_iter()
                    .collect(),
                flags: owned(offence.flag),
                // Nobody in the record was asked. Counting is harmless; passing on somebody's harm is not.
                consent: if offence.discreet {
                    owned(["statistics"])
                } else {
                    owned(["liaison", "statistics"])
                },
                ..Observation::default()
            },
            sealed: Sealed { position, address: self.address.to_owned(), notes, ..Sealed::default() },
            comment,
            planted: planted.0,
            same_event: Some(self.incident_id.to_owned()).filter(|id| !id.is_empty()),
        })
    }

    fn position(&self) -> Result<Option<Position>, String> {
        if self.lat.is_empty() && self.lon.is_empty() {
            return Ok(None);
        }
        let lat = degrees("GEO_LAT", self.lat, 90.0)?;
        let lon = degrees("GEO_LON", self.lon, 180.0)?;
        if lat.abs() < NOWHERE_DEG && lon.abs() < NOWHERE_DEG {
            return Ok(None);
        }
        Ok(Some(Position { lat, lon, accuracy_m: ACCURACY_M, method: "import".to_owned() }))
    }

    fn what_happened(
        &self,
        offence: &offences::Offence,
        first: &Zoned,
        last: Option<&Zoned>,
        is_crime: bool,
        is_traffic: bool,
    ) -> String {
        let what = if offence.discreet {
            "an incident whose kind stays with the coordinators".to_owned()
        } else if is_traffic {
            format!("{} (road traffic)", offence.words)
        } else {
            offence.words.clone()
        };
        let begun = in_words(first);
        let time = match last.filter(|last| *last != first) {
            Some(last) => format!("between {begun} and {}", in_words(last)),
            None => format!("on {begun}"),
        };
        let counted = if is_crime { "" } else { " The city does not count it as a crime." };
        let place = title(self.neighborhood);
        format!("The city's record says: {what} in {place}, {time}.{counted}")
    }

    fn notes(&self) -> String {
        format!(
            "Offense {} ({}-{}, {}, {}) of incident {}. District {}, precinct {}. State plane {}, {} ft.",
            or_unknown(self.offence_id.unwrap_or_default()),
            or_unknown(self.code),
            or_unknown(self.extension),
            self.kind,
            or_unknown(self.category),
            or_unknown(self.incident_id),
            or_unknown(self.district),
            or_unknown(self.precinct),
            or_unknown(self.x),
            or_unknown(self.y),
        )
    }
}

fn instant(column: &str, text: &str, zone: &TimeZone) -> Result<Zoned, String> {
    DateTime::strptime(WALL_CLOCK, text)
        .and_then(|local| local.to_zoned(zone.clone()))
        .map_err(|_| format!("{column} is `{text}`, expected a time like `6/15/2016 11:31:00 PM`"))
}

fn degrees(column: &str, text: &str, limit: f64) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|value| value.abs() <= limit)
        .ok_or_else(|| format!("{column} is `{text}`, expected degrees within {limit}"))
}

fn yes_no(column: &str, text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("{column} is `{text}`, expected 0 or 1")),
    }
}

/// A time on the full hour was rounded by whoever told it, and midnight stands for 'some time that day'.
fn precision(time: Time) -> &'static str {
    match (time.hour(), time.minute()) {
        (0, 0) => "day",
        (_, 0) => "hour",
        _ => "minute",
    }
}

fn in_words(time: &Zoned) -> String {
    time.strftime("%-d %B %Y at %H:%M").to_string()
}

fn delay_in_words(first: &Zoned, reported: &Zoned) -> String {
    match reported.timestamp().duration_since(first.timestamp()).as_secs() / 60 {
        ..0 => "before the time it is said to have begun".to_owned(),
        0 => "as soon as it had begun".to_owned(),
        minutes @ 1..120 => format!("{minutes} minutes after it began"),
        minutes @ 120..2880 => format!("{} hours after it began", minutes / 60),
        minutes => format!("{} days after it began", minutes / 1440),
    }
}

/// `five-points` as `Five Points`; as short as `cbd`, it is an abbreviation.
fn title(slug: &str) -> String {
    if slug.is_empty() {
        return "an unnamed neighborhood".to_owned();
    }
    if slug.len() <= 3 {
        return slug.to_ascii_uppercase();
    }
    slug.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
                .unwrap_or_default()
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn owned<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
