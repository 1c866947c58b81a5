//! CSV (RFC 4180), for a spreadsheet: UTF-8, CRLF, one line a record unless a text has several.
//!
//! It begins with a byte order mark, without which Excel takes it for another encoding. Several codes in one cell are
//! joined as `D;U`.
//!
//! A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@` as a formula, whoever wrote it. Such a text gets an
//! apostrophe before it, which spreadsheets do not show; reading the file with [`import`](super::import()) takes it off
//! again. The same is done behind each `;` and line end within a text, as where `;` separates columns or quotes are not
//! honoured a cell may begin there (OWASP, 'CSV Injection').

use ::csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::properties::{Properties, SubstanceSeen};
use super::text;
use crate::watch::Release;
use crate::watch::statistics::REPORTS_COUNT_MIN;
use crate::watch::trends::Hotspots;

/// Columns of the `precise` profile. `drug_types` are NIBRS letters, derived from `substances`.
pub const RELEASE_COLUMNS: [&str; 17] = [
    "event",
    "start",
    "end",
    "precision",
    "cell",
    "location",
    "behaviours",
    "what_happened",
    "basis",
    "activity",
    "substances",
    "drug_types",
    "substance_catalogues",
    "substance_bases",
    "quantity",
    "unit",
    "flags",
];

/// Columns of the `research` profile. A row without a cell is the group as a whole.
pub const RESEARCH_COLUMNS: [&str; 7] =
    ["month", "cell", "latitude", "longitude", "family", "reports", "reports_min"];

/// What stands between two codes of one cell.
pub(super) const CODE_SEPARATOR: char = ';';

const BYTE_ORDER_MARK: &str = "\u{FEFF}";

/// A release, one row an event, in the order of the release: what the liaison has, and no more.
pub fn release(release: &Release) -> Vec<u8> {
    let mut table = Table::new(&RELEASE_COLUMNS);
    for (at, item) in release.items.iter().enumerate() {
        let p = Properties::of(item);
        let each = |field: fn(&SubstanceSeen) -> &String| joined(p.substances.iter().map(field));
        let (amount, unit) =
            p.quantity.as_ref().map_or_else(Default::default, |q| (q.amount.to_string(), cell(&q.unit)));
        table.row(&[
            (at + 1).to_string(),
            p.start.clone(),
            p.end.clone().unwrap_or_default(),
            cell(&p.precision),
            cell(&p.cell),
            cell(&p.location),
            joined(&p.behaviours),
            cell(&p.what_happened),
            cell(&p.basis),
            joined(&p.activity),
            each(|s| &s.code),
            each(|s| &s.drug_type),
            each(|s| &s.catalogue),
            each(|s| &s.basis),
            amount,
            unit,
            joined(&p.flags),
        ]);
    }
    table.into_bytes()
}

/// What of many reports may be published: a row for each month's total, and one for each cell and behaviour family with
/// enough reports to be told of. A place is the middle of a public cell, in degrees (WGS 84). No text is in it, and no count of a cell.
pub fn research(months: &[Hotspots]) -> Vec<u8> {
    let mut table = Table::new(&RESEARCH_COLUMNS);
    for Hotspots { month, total, shown } in months {
        let (month, none) = (month.to_string(), String::new);
        let total = total.map(|total| total.to_string()).unwrap_or_default();
        table.row(&[month.clone(), none(), none(), none(), none(), total, none()]);
        for (place, family) in shown {
            let (lat, lon) = place.center();
            let (family, min) = (cell(&text::line(family)), REPORTS_COUNT_MIN.to_string());
            table.row(&[month.clone(), place.to_string(), degrees(lat), degrees(lon), family, none(), min]);
        }
    }
    table.into_bytes()
}

/// A text as a spreadsheet may have it.
pub(super) fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for piece in pieces(text) {
        if is_formula(piece.trim_start_matches('\'')) {
            safe.push('\'');
        }
        safe.push_str(piece);
    }
    safe
}

/// The text that [`cell`] was given.
pub(super) fn restored(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for piece in pieces(cell) {
        let bare = piece.strip_prefix('\'').filter(|_| is_formula(piece.trim_start_matches('\'')));
        text.push_str(bare.unwrap_or(piece));
    }
    text
}

/// Stretches of a text that some spreadsheet may take for a cell.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([CODE_SEPARATOR, '\t', '\n', '\r'])
}

/// Whether a spreadsheet would run it. Some skip white space first, and take full-width signs for plain ones.
fn is_formula(piece: &str) -> bool {
    let first = |text: &str| text.chars().next();
    first(piece).is_some_and(|c| matches!(c, '\t' | '\r'))
        || first(piece.trim_start())
            .is_some_and(|c| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠'))
}

/// Codes in one cell. No catalogue has a code with the separator in it; one that came from elsewhere loses it.
fn joined<'a>(codes: impl IntoIterator<Item = &'a String>) -> String {
    let codes: Vec<String> = codes.into_iter().map(|code| code.replace(CODE_SEPARATOR, "_")).collect();
    cell(&codes.join(&CODE_SEPARATOR.to_string()))
}

/// Degrees to a metre: a public cell is no finer.
fn degrees(degrees: f64) -> String {
    format!("{degrees:.5}")
}

/// Rows of equal length in memory.
struct Table(Writer<Vec<u8>>);

impl Table {
    fn new(columns: &[&str]) -> Self {
        let mut builder = WriterBuilder::new();
        builder.terminator(Terminator::CRLF).quote_style(QuoteStyle::Necessary);
        let mut table = Self(builder.from_writer(BYTE_ORDER_MARK.as_bytes().to_vec()));
        table.row(columns);
        table
    }

    fn row<S: AsRef<[u8]>>(&mut self, cells: &[S]) {
        #[expect(
            clippy::expect_used,
            reason = "memory takes everything, and all rows are written with one length"
        )]
        self.0.write_record(cells).expect("this works because every row has the columns of the header");
    }

    fn into_bytes(self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "memory takes everything")]
        self.0.into_inner().expect("this works because flushing to memory cannot fail")
    }
}
