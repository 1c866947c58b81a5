//! What a volunteer saw: the part the group reads, and its sealed sibling for the coordinators.
//!
//! `validate` judges what the author is about to write. What others wrote is not judged: a code that this version does
//! not know is kept and shown as it is. There is no field for a name or for race; what words may say of it is judged by
//! [`guard`](super::guard) before filing.

use super::blur::{self, Cell};
use super::check::{
    Invalid, check_code, check_codes, check_count, check_distinct, check_each, check_id, check_optional_code,
    check_time,
};
use super::codes;
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::media::{self, Medium};
use super::suggest::Point;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};

/// Most activity codes of one observation, as NIBRS allows.
pub const ACTIVITY_COUNT_MAX: usize = 3;

/// Most substances of one observation, as NIBRS allows.
pub const SUBSTANCES_COUNT_MAX: usize = 3;

/// Most entries of people, and of vehicles, in one sealed part.
pub const SEALED_LIST_COUNT_MAX: usize = 20;

/// Most people in one entry.
pub const PEOPLE_COUNT_MAX: u32 = 10_000;

/// Largest quantity: nine digits before the decimal point, as NIBRS allows.
pub const QUANTITY_MAX: f64 = 999_999_999.999;

/// Longest span of one observation in milliseconds: 366 days. What goes on for longer is told in several.
pub const SPAN_MS_MAX: i64 = 366 * 86_400_000;

/// Largest radius of uncertainty of a position in metres; beyond it the position says nothing.
pub const ACCURACY_M_MAX: f64 = 100_000.0;

/// The part of an observation that every volunteer and coordinator of the group may read.
///
/// It never holds an exact position, a plate, a name or an original photo: those live in [`Sealed`].
/// Code fields hold keys of the catalogues in `codes/`. A field that a document lacks is read as its default, so that
/// documents of older and newer versions stay readable.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Observation {
    /// When it happened, as the observer says.
    #[autosurgeon(missing = "Default::default")]
    pub when: When,
    /// Public grid cell, as `blur::cell` makes it; empty if the place is unknown.
    #[autosurgeon(missing = "Default::default")]
    pub cell: String,
    /// NIBRS location code: a key of `codes/nibrs_location.json`; empty if unknown.
    #[autosurgeon(missing = "Default::default")]
    pub location: String,
    /// Where the observer stood: a key of `codes/vantage.json`.
    #[autosurgeon(missing = "Default::default")]
    pub vantage: String,
    /// What was done, as keys of `codes/behaviours.json`; at least one.
    #[autosurgeon(missing = "Default::default")]
    pub behaviours: Vec<String>,
    /// What happened, in the observer's words; never empty.
    #[autosurgeon(missing = "Default::default")]
    pub what_happened: String,
    /// How the observer knows: a key of `codes/basis.json`.
    #[autosurgeon(missing = "Default::default")]
    pub basis: String,
    /// NIBRS activity codes: keys of `codes/nibrs_activity.json`, at most three.
    #[autosurgeon(missing = "Default::default")]
    pub activity: Vec<String>,
    /// Substances named or seen, at most three.
    #[autosurgeon(missing = "Default::default")]
    pub substances: Vec<Substance>,
    /// How much, if known.
    #[autosurgeon(missing = "Default::default")]
    pub quantity: Option<Quantity>,
    /// Circumstances a coordinator should see first: keys of `codes/flags.json`.
    #[autosurgeon(missing = "Default::default")]
    pub flags: Vec<String>,
    /// When emergency services were called, in milliseconds since the Unix epoch.
    #[autosurgeon(missing = "Default::default")]
    pub called_emergency_at_ms: Option<i64>,
    /// Which audiences the author allows this to be passed to: keys of `codes/consent.json`.
    #[autosurgeon(missing = "Default::default")]
    pub consent: Vec<String>,
    /// Clean copies of photos.
    #[autosurgeon(missing = "Default::default")]
    pub media: Vec<Medium>,
}

/// A span of time as a person states it.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct When {
    /// Milliseconds since the Unix epoch.
    #[autosurgeon(missing = "Default::default")]
    pub start_ms: i64,
    /// Milliseconds since the Unix epoch; none if it was a moment or the end was not seen.
    #[autosurgeon(missing = "Default::default")]
    pub end_ms: Option<i64>,
    /// How exact the times are: a key of `codes/precision.json`.
    #[autosurgeon(missing = "Default::default")]
    pub precision: String,
}

/// One substance, by code and by the catalogue the code was taken from.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Substance {
    /// A key of `codes/substances.json`; `unknown` if the observer cannot tell.
    #[key]
    #[autosurgeon(missing = "Default::default")]
    pub code: String,
    /// The catalogue and its version, such as `substances@2026-01`, so that a later one does not change what was said.
    #[autosurgeon(missing = "Default::default")]
    pub catalogue: String,
    /// How the observer knows: a key of `codes/basis.json`.
    #[autosurgeon(missing = "Default::default")]
    pub basis: String,
}

/// An amount with its NIBRS unit.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Quantity {
    /// How many units.
    #[autosurgeon(missing = "Default::default")]
    pub amount: f64,
    /// NIBRS measurement code: a key of `codes/units.json`, such as `GM` or `DU`.
    #[autosurgeon(missing = "Default::default")]
    pub unit: String,
}

/// The sealed sibling: what only coordinators can decrypt.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Sealed {
    /// Document id of the observation this belongs to, as text.
    #[autosurgeon(missing = "Default::default")]
    pub observation: String,
    /// Exact position, if known.
    #[autosurgeon(missing = "Default::default")]
    pub position: Option<Position>,
    /// Street address as the observer wrote it; empty if none.
    #[autosurgeon(missing = "Default::default")]
    pub address: String,
    /// People seen; never a name.
    #[autosurgeon(missing = "Default::default")]
    pub people: Vec<People>,
    /// Vehicles seen.
    #[autosurgeon(missing = "Default::default")]
    pub vehicles: Vec<Vehicle>,
    /// Anything else that must stay with the coordinators.
    #[autosurgeon(missing = "Default::default")]
    pub notes: String,
    /// Photos as they were taken, with all that the camera wrote into them.
    #[autosurgeon(missing = "Default::default")]
    pub originals: Vec<Medium>,
}

/// An exact position.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Position {
    /// WGS 84 latitude in degrees.
    #[autosurgeon(missing = "Default::default")]
    pub lat: f64,
    /// WGS 84 longitude in degrees.
    #[autosurgeon(missing = "Default::default")]
    pub lon: f64,
    /// Radius of uncertainty in metres.
    #[autosurgeon(missing = "Default::default")]
    pub accuracy_m: f64,
    /// How it was found: a key of `codes/position_method.json`.
    #[autosurgeon(missing = "Default::default")]
    pub method: String,
}

/// People described by what they did and wore, not by who they are.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct People {
    /// How many.
    #[autosurgeon(missing = "Default::default")]
    pub count: u32,
    /// Clothing.
    #[autosurgeon(missing = "Default::default")]
    pub clothing: String,
    /// Other features.
    #[autosurgeon(missing = "Default::default")]
    pub features: String,
    /// Where they went.
    #[autosurgeon(missing = "Default::default")]
    pub direction: String,
}

/// A vehicle.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Vehicle {
    /// Colour.
    #[autosurgeon(missing = "Default::default")]
    pub colour: String,
    /// Make.
    #[autosurgeon(missing = "Default::default")]
    pub make: String,
    /// Body type.
    #[autosurgeon(missing = "Default::default")]
    pub body: String,
    /// Plate as seen, possibly partial.
    #[autosurgeon(missing = "Default::default")]
    pub plate: String,
    /// Where it went.
    #[autosurgeon(missing = "Default::default")]
    pub direction: String,
}

impl Observation {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// Names the first field that cannot be filed as it is, and what to do about it.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.when.validate().map_err(|e| e.within("when"))?;
        if !self.cell.is_empty() {
            self.cell.parse::<Cell>()?;
        }
        check_optional_code("location", &self.location, codes::nibrs_location())?;
        check_code("vantage", &self.vantage, codes::vantage())?;
        if self.behaviours.is_empty() {
            return Err(Invalid::new(
                "behaviours",
                "is empty",
                "say what was done; how a person looks is not something to report",
            ));
        }
        let behaviours = codes::behaviours();
        check_codes("behaviours", &self.behaviours, behaviours, behaviours.entries().len())?;
        text::check_required("what_happened", &self.what_happened, TEXT_CHARS_MAX)?;
        check_code("basis", &self.basis, codes::basis())?;
        check_codes("activity", &self.activity, codes::nibrs_activity(), ACTIVITY_COUNT_MAX)?;
        check_count("substances", self.substances.len(), SUBSTANCES_COUNT_MAX)?;
        check_each("substances", &self.substances, Substance::validate)?;
        check_distinct("substances", self.substances.iter().map(|s| s.code.as_str()))?;
        if let Some(quantity) = &self.quantity {
            quantity.validate().map_err(|e| e.within("quantity"))?;
        }
        let flags = codes::flags();
        check_codes("flags", &self.flags, flags, flags.entries().len())?;
        if let Some(called_ms) = self.called_emergency_at_ms {
            check_time("called_emergency_at_ms", called_ms)?;
        }
        let consent = codes::consent();
        check_codes("consent", &self.consent, consent, consent.entries().len())?;
        check_media("media", &self.media)
    }
}

impl When {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When a time is not between 1970 and 2200, the end lies before the start or more than [`SPAN_MS_MAX`] after it, or
    /// the precision is unknown.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_time("start_ms", self.start_ms)?;
        if let Some(end_ms) = self.end_ms {
            check_time("end_ms", end_ms)?;
            if end_ms < self.start_ms {
                return Err(Invalid::new(
                    "end_ms",
                    "lies before the start",
                    "swap the two or leave the end out",
                ));
            }
        }
        if self.end_ms.is_some_and(|end_ms| end_ms - self.start_ms > SPAN_MS_MAX) {
            return Err(Invalid::new(
                "end_ms",
                "lies more than a year after the start",
                "check the year, or write several reports",
            ));
        }
        check_code("precision", &self.precision, codes::precision())
    }
}

impl Substance {
    /// A substance by its code in the catalogue of this version.
    pub fn new(code: impl Into<String>, basis: impl Into<String>) -> Self {
        Self { code: code.into(), catalogue: codes::substances().reference(), basis: basis.into() }
    }

    /// Judges the author's own input. A code of another version of the catalogue is taken at its word, so that an old
    /// report can be amended.
    ///
    /// # Errors
    /// When a code or the catalogue is missing or unknown.
    pub fn validate(&self) -> Result<(), Invalid> {
        let current = codes::substances();
        if self.catalogue == current.reference() {
            check_code("code", &self.code, current)?;
        } else {
            check_id("code", &self.code)?;
            let version = self.catalogue.strip_prefix("substances@").unwrap_or("");
            check_id("catalogue", version)?;
        }
        check_code("basis", &self.basis, codes::basis())
    }
}

impl Quantity {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When the amount is not a positive number up to [`QUANTITY_MAX`] or the unit is unknown.
    pub fn validate(&self) -> Result<(), Invalid> {
        // A range does not contain NaN.
        if self.amount <= 0.0 || !(0.0..=QUANTITY_MAX).contains(&self.amount) {
            return Err(Invalid::new(
                "amount",
                "is not a positive number below a billion",
                "leave the quantity out if it is not known",
            ));
        }
        check_code("unit", &self.unit, codes::units())
    }
}

impl Sealed {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// Names the first field that cannot be filed as it is, and what to do about it.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("observation", &self.observation)?;
        if let Some(position) = &self.position {
            position.validate().map_err(|e| e.within("position"))?;
        }
        text::check_line("address", &self.address, LINE_CHARS_MAX)?;
        check_count("people", self.people.len(), SEALED_LIST_COUNT_MAX)?;
        check_each("people", &self.people, People::validate)?;
        check_count("vehicles", self.vehicles.len(), SEALED_LIST_COUNT_MAX)?;
        check_each("vehicles", &self.vehicles, Vehicle::validate)?;
        text::check("notes", &self.notes, TEXT_CHARS_MAX)?;
        check_media("originals", &self.originals)
    }
}

impl Position {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When it is not on the Earth, is the 0,0 of a missing position, or its accuracy or method makes no sense.
    pub fn validate(&self) -> Result<(), Invalid> {
        blur::check_position(self.lat, self.lon)?;
        if !(0.0..=ACCURACY_M_MAX).contains(&self.accuracy_m) {
            return Err(Invalid::new(
                "accuracy_m",
                "is not a radius between 0 and 100 km",
                "leave the position out if it is not known",
            ));
        }
        check_code("method", &self.method, codes::position_method())
    }
}

impl People {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When the count is zero or too large, or a description is too long or holds a character that is not allowed.
    pub fn validate(&self) -> Result<(), Invalid> {
        if !(1..=PEOPLE_COUNT_MAX).contains(&self.count) {
            return Err(Invalid::new(
                "count",
                format!("is not between 1 and {PEOPLE_COUNT_MAX}"),
                "estimate how many there were, or leave the entry out",
            ));
        }
        check_lines([
            ("clothing", &self.clothing),
            ("features", &self.features),
            ("direction", &self.direction),
        ])
    }
}

impl Vehicle {
    /// Judges the author's own input.
    ///
    /// # Errors
    /// When a description is too long or holds a character that is not allowed.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_lines([
            ("colour", &self.colour),
            ("make", &self.make),
            ("body", &self.body),
            ("plate", &self.plate),
            ("direction", &self.direction),
        ])
    }
}

fn check_media(field: &str, media: &[Medium]) -> Result<(), Invalid> {
    check_count(field, media.len(), media::MEDIA_COUNT_MAX)?;
    check_each(field, media, Medium::validate)?;
    check_distinct(field, media.iter().map(|medium| medium.id.as_str()))
}

fn check_lines<const N: usize>(lines: [(&str, &String); N]) -> Result<(), Invalid> {
    for (field, line) in lines {
        text::check_line(field, line, LINE_CHARS_MAX)?;
    }
    Ok(())
}

impl WatchDocument for Observation {
    const KIND: Kind = Kind::OBSERVATION;
    const MADE_BY: Option<&str> = Some("record");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.behaviours.join(", "),
            text: self.what_happened.clone(),
            when_ms: Some(self.when.start_ms),
            cell: self.cell.clone(),
            codes: self.behaviours.iter().chain(&self.activity).cloned().collect(),
            flags: self.flags.clone(),
            ..Summary::default()
        }
    }
}

impl WatchDocument for Sealed {
    const KIND: Kind = Kind::SEALED;
    const MADE_BY: Option<&str> = Some("record");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        // What a coordinator searches for: the place, the car.
        let cars = self.vehicles.iter().flat_map(|car| [&car.colour, &car.make, &car.body, &car.plate]);
        let said = [&self.address, &self.notes].into_iter().chain(cars).filter(|text| !text.is_empty());
        let point = self.position.as_ref().map(Point::from);
        Summary {
            title: "sealed part".to_owned(),
            text: said.map(String::as_str).collect::<Vec<_>>().join(" "),
            about: ids([&self.observation]),
            position_e7: point.map(|point| (point.lat_e7, point.lon_e7)),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests;
