//! What is looked for, and in which order it comes.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::base::{DocumentId, MemberId};
use crate::replica::view::{Delivery, Row};
use crate::watch::blur::Bounds;
use crate::watch::suggest::Point;
use crate::watch::{Cell, Kind};

/// Rows of a page unless a query asks for another number.
pub const PAGE_ROWS: usize = 50;

/// Which documents to find. Whatever is not asked for does not narrow it; the default finds all, latest change first.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Words that all have to begin a word of the document's text, without case or accents; of an observation also of its
    /// sealed part, where this device may read it.
    pub text: String,
    /// Only this kind.
    pub kind: Option<Kind>,
    /// Only what happened in this time, in milliseconds since the Unix epoch; what states no time, when it was written.
    pub time_ms: Option<Range<i64>>,
    /// Only what happened here.
    pub area: Option<Area>,
    /// Only what has one of these codes.
    pub codes: BTreeSet<String>,
    /// Only what has a behaviour of one of these families: keys of `codes/behaviour_families.json`.
    pub families: BTreeSet<String>,
    /// Only what a coordinator gave this status: a key of `codes/annotation_status.json`. The empty text is for what no
    /// coordinator has remarked on or linked.
    pub status: Option<String>,
    /// Only what has left the phone, or has not.
    pub delivery: Option<Delivery>,
    /// Only this member's.
    pub author: Option<MemberId>,
    /// Only observations that are linked in this case.
    pub case: Option<DocumentId>,
    /// The order.
    pub sort: Sort,
    /// Where the page before ended: [`Page::next`].
    pub after: Option<Cursor>,
    /// Most rows of the page.
    pub rows_max: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            text: String::new(),
            kind: None,
            time_ms: None,
            area: None,
            codes: BTreeSet::new(),
            families: BTreeSet::new(),
            status: None,
            delivery: None,
            author: None,
            case: None,
            sort: Sort::default(),
            after: None,
            rows_max: PAGE_ROWS,
        }
    }
}

/// A part of the map.
#[derive(Clone, Debug, PartialEq)]
pub enum Area {
    /// These public cells.
    Cells(BTreeSet<Cell>),
    /// Between these edges; west may lie east of east, across the antimeridian. What is known by its public cell alone is
    /// in it if the cell reaches into it.
    Bounds(Bounds),
}

/// An order of rows. What is alike in it comes in the order of identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// What changed last comes first.
    #[default]
    LatestChange,
    /// What happened last comes first; of what states no time, what was written last.
    Newest,
    /// What happened first comes first.
    Oldest,
    /// What is nearest to a point comes first, by the exact place or the middle of the public cell; what has no place
    /// comes last.
    Nearest(Point),
}

/// A place in an order of rows. It stays where it is when rows come or go, before it or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) key: i64,
    pub(super) id: DocumentId,
}

/// Some of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows, in order.
    pub rows: Vec<(Row, Delivery)>,
    /// Where the next page begins; none if this is the last one.
    pub next: Option<Cursor>,
    /// How many rows all pages have together, now.
    pub rows_total: usize,
}

impl Area {
    pub(super) fn holds(&self, cell: Option<Cell>, exact: Option<Point>) -> bool {
        match self {
            Self::Cells(cells) => cell.is_some_and(|cell| cells.contains(&cell)),
            Self::Bounds(area) => match (exact.map(Point::degrees), cell.map(Cell::bounds)) {
                (Some((lat, lon)), _) => overlap(area, lat, lat, lon, lon),
                (None, Some(cell)) => overlap(area, cell.south, cell.north, cell.west, cell.east),
                (None, None) => false,
            },
        }
    }
}

fn overlap(area: &Bounds, south: f64, north: f64, west: f64, east: f64) -> bool {
    let across = area.west > area.east;
    let (behind, before) = (east >= area.west, west <= area.east);
    north >= area.south && south <= area.north && if across { behind || before } else { behind && before }
}
