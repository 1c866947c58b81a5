//! Where something happened, as exactly as this device may know it, and what lies around it.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::base::DocumentId;
use crate::watch::Position;
use crate::watch::blur::{Cell, DEGREE_M};

/// Farthest that two reports of one event, or of one pattern, may lie apart, in metres.
pub const APART_M_MAX: u32 = 100;

/// Steps of a [`Point`] in one degree.
const STEPS: f64 = 1e7;

const FULL_TURN: i64 = 3_600_000_000;

/// Height of a tile in steps: a little more than [`APART_M_MAX`], so that only the eight tiles around one matter.
const TILE_HEIGHT: i64 = 9_000;

/// Most documents that are looked at in one tile, on each side in time: a place where more was reported within the time
/// asked for needs no more suggestions.
const TILE_DOCUMENTS_MAX: usize = 200;

/// A position in steps of 1e-7 degrees (WGS 84), about a centimetre.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Latitude in 1e-7 degrees, north positive.
    pub lat_e7: i32,
    /// Longitude in 1e-7 degrees, east positive.
    pub lon_e7: i32,
}

impl Point {
    /// The point of a latitude and a longitude in degrees (WGS 84). What lies outside the Earth is moved to its edge.
    #[expect(clippy::cast_possible_truncation, reason = "180 degrees are 1.8e9 steps, below the largest i32")]
    pub fn new(lat: f64, lon: f64) -> Self {
        let steps = |degrees: f64, max: f64| (degrees.clamp(-max, max) * STEPS).round() as i32;
        Self { lat_e7: steps(lat, 90.0), lon_e7: steps(lon, 180.0) }
    }

    /// Latitude and longitude in degrees (WGS 84).
    pub fn degrees(self) -> (f64, f64) {
        (f64::from(self.lat_e7) / STEPS, f64::from(self.lon_e7) / STEPS)
    }

    /// Distance in metres, on a sphere by the haversine formula.
    pub fn distance_m(self, other: Self) -> f64 {
        let ((lat, lon), (other_lat, other_lon)) = (self.degrees(), other.degrees());
        let (lat, lon) = (lat.to_radians(), lon.to_radians());
        let (other_lat, other_lon) = (other_lat.to_radians(), other_lon.to_radians());
        let half = |difference: f64| (difference / 2.0).sin().powi(2);
        let h = half(other_lat - lat) + lat.cos() * other_lat.cos() * half(other_lon - lon);
        2.0 * h.sqrt().min(1.0).asin().to_degrees() * DEGREE_M
    }
}

impl From<&Position> for Point {
    fn from(position: &Position) -> Self {
        Self::new(position.lat, position.lon)
    }
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The exact position, as coordinators know it, and the public cell if there is one.
    Exact(Point, Option<Cell>),
    /// The public cell alone.
    Cell(Cell),
}

/// How far two places lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// In metres, rounded.
    Metres(u32),
    /// Both lie in one public cell; nothing more is known here.
    SameCell,
}

impl Place {
    /// The public cell, if it has one.
    pub fn cell(&self) -> Option<Cell> {
        match self {
            Self::Exact(_, cell) => *cell,
            Self::Cell(cell) => Some(*cell),
        }
    }

    /// How far another place is, if that is near: within [`APART_M_MAX`] where both are known exactly, in the same
    /// public cell where they are not.
    pub fn near(&self, other: &Self) -> Option<Apart> {
        match (self, other) {
            (Self::Exact(here, _), Self::Exact(there, _)) => {
                let metres = here.distance_m(*there).round();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a distance on the Earth is neither negative nor above 2^32 metres"
                )]
                let metres = metres as u32;
                (metres <= APART_M_MAX).then_some(Apart::Metres(metres))
            }
            (Self::Cell(_), _) | (_, Self::Cell(_)) => {
                let cell = self.cell()?;
                (Some(cell) == other.cell()).then_some(Apart::SameCell)
            }
        }
    }
}

/// A row of tiles and a column in it. Each row has columns of its own width, at least [`APART_M_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tile {
    row: i64,
    column: i64,
}

/// Width of a row's tiles in steps, for the row's edge farther from the equator.
#[expect(clippy::cast_possible_truncation, reason = "at most 1.8e9: the cosine is kept above 1e-5")]
fn tile_width(row: i64) -> i64 {
    let edge = row.abs().max((row + 1).abs()) * TILE_HEIGHT;
    let cosine = (edge as f64 / STEPS).min(90.0).to_radians().cos().max(1e-5);
    (TILE_HEIGHT as f64 / cosine).ceil() as i64
}

impl Tile {
    fn of(point: Point) -> Self {
        let row = i64::from(point.lat_e7).div_euclid(TILE_HEIGHT);
        Self { row, column: i64::from(point.lon_e7).div_euclid(tile_width(row)) }
    }

    /// The tiles that hold whatever lies within [`APART_M_MAX`] of a point, across the antimeridian too.
    fn around(point: Point) -> BTreeSet<Self> {
        let middle = Self::of(point).row;
        let mut tiles = BTreeSet::new();
        for row in middle - 1..=middle + 1 {
            let width = tile_width(row);
            let lon = i64::from(point.lon_e7);
            for turn in [-FULL_TURN, 0, FULL_TURN] {
                let west = (lon + turn - width).max(-FULL_TURN / 2);
                let east = (lon + turn + width).min(FULL_TURN / 2);
                if west <= east {
                    let columns = west.div_euclid(width)..=east.div_euclid(width);
                    tiles.extend(columns.map(|column| Self { row, column }));
                }
            }
        }
        tiles
    }
}

/// Documents by place and, within a place, by time.
#[derive(Debug, Default)]
pub(super) struct ByPlace {
    exact: BTreeSet<(Tile, i64, DocumentId)>,
    /// Whether the place is known exactly comes second: what is, is found by its tile.
    cells: BTreeSet<(Cell, bool, i64, DocumentId)>,
}

impl ByPlace {
    pub fn insert(&mut self, place: &Place, at_ms: i64, id: DocumentId) {
        if let Place::Exact(point, _) = place {
            self.exact.insert((Tile::of(*point), at_ms, id));
        }
        if let Some(cell) = place.cell() {
            self.cells.insert((cell, matches!(place, Place::Exact(..)), at_ms, id));
        }
    }

    pub fn remove(&mut self, place: &Place, at_ms: i64, id: DocumentId) {
        if let Place::Exact(point, _) = place {
            self.exact.remove(&(Tile::of(*point), at_ms, id));
        }
        if let Some(cell) = place.cell() {
            self.cells.remove(&(cell, matches!(place, Place::Exact(..)), at_ms, id));
        }
    }

    /// Documents of a time at or around a place. `at_ms` lies within `times`; the nearest to it in time come first in each
    /// tile and cell. May name some that are not near: ask [`Place::near`].
    pub fn around(&self, place: &Place, at_ms: i64, times: RangeInclusive<i64>) -> Vec<DocumentId> {
        let (first, last) = (DocumentId([0; DocumentId::LEN]), DocumentId([u8::MAX; DocumentId::LEN]));
        let (start, end) = times.into_inner();
        let mut found = Vec::new();
        if let Place::Exact(point, _) = place {
            for tile in Tile::around(*point) {
                let later = self.exact.range((tile, at_ms, first)..=(tile, end, last));
                found.extend(later.take(TILE_DOCUMENTS_MAX).map(|(_, _, id)| *id));
                let earlier = self.exact.range((tile, start, first)..(tile, at_ms, first));
                found.extend(earlier.rev().take(TILE_DOCUMENTS_MAX).map(|(_, _, id)| *id));
            }
        }
        let Some(cell) = place.cell() else { return found };
        let kinds: &[bool] = if matches!(place, Place::Exact(..)) { &[false] } else { &[false, true] };
        for exact in kinds {
            let later = self.cells.range((cell, *exact, at_ms, first)..=(cell, *exact, end, last));
            found.extend(later.take(TILE_DOCUMENTS_MAX).map(|(_, _, _, id)| *id));
            let earlier = self.cells.range((cell, *exact, start, first)..(cell, *exact, at_ms, first));
            found.extend(earlier.rev().take(TILE_DOCUMENTS_MAX).map(|(_, _, _, id)| *id));
        }
        found
    }
}
