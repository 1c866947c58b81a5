//! Public grid cells: the only form in which a place is shared with the whole group or handed on.
//!
//! The grid is fixed and the same for everybody, so a place always falls into the same cell and repeated reports of it
//! cannot be averaged to find the spot. It starts at the equator and the prime meridian: rows are bands of `size_m`
//! from south to north, and each row is cut into an even number of columns at least `size_m` wide.
//!
//! A cell is written `g<size_m>:<row>:<column>`, such as `g250:17675:-35908`.

use super::check::Invalid;
use std::fmt;
use std::str::FromStr;

/// Cell size in metres unless the group's policy says otherwise.
pub const CELL_SIZE_M: u32 = 250;

/// Smallest cell size in metres; below it a cell can be a single home.
pub const CELL_SIZE_M_MIN: u32 = 50;

/// Largest cell size in metres.
pub const CELL_SIZE_M_MAX: u32 = 50_000;

/// Metres per degree of latitude on a sphere of the Earth's mean radius, 6,371,008.8 m (IUGG).
pub(super) const DEGREE_M: f64 = 111_195.080_233_532_9;

/// Positions this near to 0,0, in degrees, are taken for a missing position: it is open sea, and what software writes
/// when it knows nothing.
const NULL_ISLAND_DEG: f64 = 0.01;

/// One cell of the public grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    size_m: u32,
    row: i32,
    column: i32,
}

/// The edges of a cell in degrees (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Southern edge, part of the cell.
    pub south: f64,
    /// Northern edge, part of the next cell.
    pub north: f64,
    /// Western edge, part of the cell.
    pub west: f64,
    /// Eastern edge, part of the next cell.
    pub east: f64,
}

/// The cell of a position given in degrees (WGS 84); `to_string` gives the form an observation holds.
///
/// ```
/// use lamppost_core::watch::blur;
///
/// let cell = blur::cell(39.7392, -104.9903, blur::CELL_SIZE_M)?;
/// assert_eq!(cell.to_string(), "g250:17675:-35908");
/// # Ok::<(), lamppost_core::watch::Invalid>(())
/// ```
///
/// # Errors
/// When the position is not on the Earth or is 0,0, or the size is out of range.
pub fn cell(lat: f64, lon: f64, size_m: u32) -> Result<Cell, Invalid> {
    check_position(lat, lon)?;
    check_size(size_m)?;
    let row = floor(lat / row_height_deg(size_m));
    let half = half_columns(size_m, row);
    // 180° east is the same meridian as 180° west.
    let lon = if lon >= 180.0 { -180.0 } else { lon };
    // Rounding can carry a point on the antimeridian one column too far.
    let column = floor(lon / column_width_deg(half)).clamp(-half, half - 1);
    Ok(Cell { size_m, row, column })
}

/// The middle of a cell given as text, as latitude and longitude in degrees (WGS 84).
///
/// # Errors
/// When the text is not a cell.
pub fn center(cell: &str) -> Result<(f64, f64), Invalid> {
    cell.parse::<Cell>().map(|cell| cell.center())
}

/// Accepts a position on the Earth that is not the 0,0 of a missing one.
///
/// # Errors
/// When a coordinate is not a number, out of range, or both are about zero.
pub fn check_position(lat: f64, lon: f64) -> Result<(), Invalid> {
    // A range does not contain NaN.
    if !(-90.0..=90.0).contains(&lat) {
        return Err(Invalid::new(
            "lat",
            "is not a latitude between -90 and 90 degrees",
            "check that latitude and longitude are not swapped",
        ));
    }
    if !(-180.0..=180.0).contains(&lon) {
        return Err(Invalid::new(
            "lon",
            "is not a longitude between -180 and 180 degrees",
            "check that latitude and longitude are not swapped",
        ));
    }
    if lat.abs() < NULL_ISLAND_DEG && lon.abs() < NULL_ISLAND_DEG {
        return Err(Invalid::new(
            "lat",
            "is about 0,0, which means that no position was found",
            "leave the position out if it is not known",
        ));
    }
    Ok(())
}

impl Cell {
    /// Edge length in metres.
    pub fn size_m(self) -> u32 {
        self.size_m
    }

    /// Its edges.
    pub fn bounds(self) -> Bounds {
        let height = row_height_deg(self.size_m);
        let width = column_width_deg(half_columns(self.size_m, self.row));
        Bounds {
            south: (f64::from(self.row) * height).max(-90.0),
            north: (f64::from(self.row + 1) * height).min(90.0),
            west: f64::from(self.column) * width,
            east: f64::from(self.column + 1) * width,
        }
    }

    /// Its middle, as latitude and longitude in degrees (WGS 84).
    pub fn center(self) -> (f64, f64) {
        let b = self.bounds();
        (f64::midpoint(b.south, b.north), f64::midpoint(b.west, b.east))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}:{}:{}", self.size_m, self.row, self.column)
    }
}

impl FromStr for Cell {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let refused = |problem: &str| Invalid::new("cell", problem, "pass a cell as the grid made it");
        let Some(cell) = parse(text) else {
            return Err(refused("is not written g<size>:<row>:<column>"));
        };
        // One cell has one spelling: two texts that differ are two places.
        if cell.to_string() != text {
            return Err(refused("is spelt in an unusual way"));
        }
        check_size(cell.size_m)?;
        let half = half_columns(cell.size_m, cell.row);
        let rows = row_min(cell.size_m)..=row_max(cell.size_m);
        if !rows.contains(&cell.row) || !(-half..half).contains(&cell.column) {
            return Err(refused("lies off the Earth"));
        }
        Ok(cell)
    }
}

fn parse(text: &str) -> Option<Cell> {
    let mut parts = text.strip_prefix('g')?.split(':');
    let cell = Cell {
        size_m: parts.next()?.parse().ok()?,
        row: parts.next()?.parse().ok()?,
        column: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(cell)
}

fn check_size(size_m: u32) -> Result<(), Invalid> {
    if (CELL_SIZE_M_MIN..=CELL_SIZE_M_MAX).contains(&size_m) {
        return Ok(());
    }
    Err(Invalid::new(
        "size_m",
        format!("is not between {CELL_SIZE_M_MIN} and {CELL_SIZE_M_MAX} metres"),
        "use the size of the group's policy",
    ))
}

fn row_height_deg(size_m: u32) -> f64 {
    f64::from(size_m) / DEGREE_M
}

/// The northernmost row; the pole itself belongs to it, as no allowed size divides a quarter of a meridian evenly.
fn row_max(size_m: u32) -> i32 {
    floor(90.0 / row_height_deg(size_m))
}

fn row_min(size_m: u32) -> i32 {
    floor(-90.0 / row_height_deg(size_m))
}

/// Half the number of columns of a row, so that its narrow edge still gives each a width of `size_m`; at least one.
fn half_columns(size_m: u32, row: i32) -> i32 {
    let height = row_height_deg(size_m);
    let edge = f64::from(row).abs().max(f64::from(row.saturating_add(1)).abs()) * height;
    let half_circle_m = 180.0 * DEGREE_M * cos_deg(edge.min(90.0));
    floor(half_circle_m / f64::from(size_m)).max(1)
}

fn column_width_deg(half_columns: i32) -> f64 {
    180.0 / f64::from(half_columns)
}

/// The cosine of 0 to 90 degrees, from sums and products only.
///
/// The platforms' own cosines differ in the last bit, and two phones must never put one place into two cells.
fn cos_deg(degrees: f64) -> f64 {
    let radians = degrees.to_radians();
    let squared = radians * radians;
    // Horner's form of the Taylor series up to the 22nd power: exact to 1e-16 on a quarter circle.
    (1..=11).rev().fold(1.0, |tail, k| {
        let k = f64::from(2 * k);
        1.0 - squared / (k * (k - 1.0)) * tail
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rows and columns stay below a million, and a cast from float saturates"
)]
fn floor(value: f64) -> i32 {
    value.floor() as i32
}

#[cfg(test)]
mod tests;
