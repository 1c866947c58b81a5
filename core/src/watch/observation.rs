//! What a volunteer saw: the part the group reads, and its sealed sibling for the coordinators.

use autosurgeon::{Hydrate, Reconcile};

/// The part of an observation that every volunteer and coordinator of the group may read.
///
/// It never holds an exact position, a plate, a name or an original photo: those live in [`Sealed`].
/// Code fields hold keys of the catalogues in `codes/`; a key this version does not know is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Observation {
    /// When it happened, as the observer says.
    pub when: When,
    /// Public grid cell, as `blur::cell` makes it; empty if the place is unknown.
    pub cell: String,
    /// NIBRS location code, two digits; empty if unknown.
    pub location: String,
    /// Where the observer stood: a key of `codes/vantage.json`.
    pub vantage: String,
    /// What was done, as keys of `codes/behaviours.json`; at least one.
    pub behaviours: Vec<String>,
    /// What happened, in the observer's words; never empty.
    pub what_happened: String,
    /// How the observer knows: a key of `codes/basis.json`.
    pub basis: String,
    /// NIBRS activity codes, at most three.
    pub activity: Vec<String>,
    /// Substances named or seen, at most three.
    pub substances: Vec<Substance>,
    /// How much, if known.
    pub quantity: Option<Quantity>,
    /// Circumstances a coordinator should see first: keys of `codes/flags.json`.
    pub flags: Vec<String>,
    /// When emergency services were called, in milliseconds since the Unix epoch.
    pub called_emergency_at_ms: Option<i64>,
    /// Which audiences the author allows this to be passed to: `liaison`, `referral`, `statistics`.
    pub consent: Vec<String>,
}

/// A span of time as a person states it.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct When {
    /// Milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Milliseconds since the Unix epoch; none if it was a moment or the end was not seen.
    pub end_ms: Option<i64>,
    /// How exact the times are: `minute`, `hour` or `day`.
    pub precision: String,
}

/// One substance, by code and by the catalogue the code was taken from.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Substance {
    /// A key of the substance catalogue; `unknown` is the default.
    pub code: String,
    /// The catalogue and its version, so that a later catalogue does not change what this report said.
    pub catalogue: String,
    /// How the observer knows: a key of `codes/basis.json`.
    pub basis: String,
}

/// An amount with its NIBRS unit.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Quantity {
    /// How many units.
    pub amount: f64,
    /// NIBRS measurement code, such as `GM` or `DU`.
    pub unit: String,
}

/// The sealed sibling: what only coordinators can decrypt.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Sealed {
    /// Document id of the observation this belongs to, as text.
    pub observation: String,
    /// Exact position, if known.
    pub position: Option<Position>,
    /// Street address as the observer wrote it; empty if none.
    pub address: String,
    /// People seen; never a name.
    pub people: Vec<People>,
    /// Vehicles seen.
    pub vehicles: Vec<Vehicle>,
    /// Anything else that must stay with the coordinators.
    pub notes: String,
}

/// An exact position.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Position {
    /// WGS 84 latitude in degrees.
    pub lat: f64,
    /// WGS 84 longitude in degrees.
    pub lon: f64,
    /// Radius of uncertainty in metres.
    pub accuracy_m: f64,
    /// How it was found: `gps`, `map`, `address` or `import`.
    pub method: String,
}

/// People described by what they did and wore, not by who they are.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct People {
    /// How many.
    pub count: u32,
    /// Clothing.
    pub clothing: String,
    /// Other features.
    pub features: String,
    /// Where they went.
    pub direction: String,
}

/// A vehicle.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Vehicle {
    /// Colour.
    pub colour: String,
    /// Make.
    pub make: String,
    /// Body type.
    pub body: String,
    /// Plate as seen, possibly partial.
    pub plate: String,
    /// Where it went.
    pub direction: String,
}
