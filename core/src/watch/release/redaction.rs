//! What is taken out of an observation before a copy of it leaves.

use super::ReleasedItem;
use crate::watch::blur::Cell;
use crate::watch::check::Invalid;
use crate::watch::emergency::concerns_overdose;
use crate::watch::guard;
use crate::watch::media::Medium;
use crate::watch::observation::{Observation, When};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// What stands in place of each redacted span. Its length is fixed, so it does not tell the length of what was there.
pub const MASK: &str = "▮▮▮";

/// Key of `codes/consent.json` by which an author allows a report to be passed to the liaison.
pub const LIAISON_CONSENT: &str = "liaison";

/// Key of `codes/consent.json` by which an author allows what concerns the person of an overdose to be passed on.
pub const OVERDOSE_CONSENT: &str = "liaison_overdose";

pub(super) const HOUR_MS: i64 = 3_600_000;

/// What to take out of an observation before it leaves the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Redaction {
    /// Fields to leave empty.
    #[n(0)]
    pub drop_fields: BTreeSet<OptionalField>,
    /// Spans of `what_happened` to replace by [`MASK`]. Spans that touch or overlap become one mask.
    #[n(1)]
    pub spans: Vec<Span>,
    /// Whether to give times to the hour only (UTC hours).
    #[n(2)]
    pub coarsen_time: bool,
    /// Whether a coordinator reviewed a private vantage point: the observer was a guest there for a reason of their own,
    /// and nobody had asked them to look ([`guard::judge_vantage`]).
    #[n(3)]
    pub vantage_reviewed: bool,
    /// Whether the report only counts among the sources and none of its words leave: thirty reports of one thing are one
    /// item with thirty sources.
    #[n(4)]
    pub only_counted: bool,
    /// Ids of the photos that leave. None does that is not named here, and never an original.
    #[n(5)]
    pub media: BTreeSet<String>,
}

/// A stretch of text, counted in characters (Unicode scalar values).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Span {
    /// First character.
    #[n(0)]
    pub start: usize,
    /// First character after it.
    #[n(1)]
    pub end: usize,
}

/// A field that an item can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum OptionalField {
    /// `cell`
    #[n(0)]
    Cell,
    /// `location`
    #[n(1)]
    Location,
    /// `basis`
    #[n(2)]
    Basis,
    /// `activity`
    #[n(3)]
    Activity,
    /// `substances`
    #[n(4)]
    Substances,
    /// `quantity`
    #[n(5)]
    Quantity,
    /// `flags`
    #[n(6)]
    Flags,
}

/// The copy of an observation that may leave the group.
///
/// Medical first: of an overdose nothing leaves that tells of the person, unless the author also allowed
/// [`OVERDOSE_CONSENT`]. What is left is that there was one, where, and when to the hour.
///
/// ```
/// use lamppost_core::watch::{Observation, Redaction, Span, redact};
///
/// let observation = Observation {
///     vantage: "public_way".into(),
///     what_happened: "Mr. Roe in No. 12 passed a bag to a driver".into(),
///     consent: vec!["liaison".into()],
///     ..Observation::default()
/// };
/// let redaction = Redaction {
///     spans: vec![Span { start: 0, end: 17 }],
///     ..Redaction::default()
/// };
/// let item = redact(&observation, &redaction)?;
/// assert_eq!(item.what_happened, "▮▮▮ passed a bag to a driver");
/// # Ok::<(), lamppost_core::watch::Invalid>(())
/// ```
///
/// # Errors
/// When the author does not allow it to be passed to the liaison, the observer stood in a private place and nobody
/// reviewed that, a span does not lie within the text, or the cell is no public grid cell.
pub fn redact(observation: &Observation, redaction: &Redaction) -> Result<ReleasedItem, Invalid> {
    if !observation.consent.iter().any(|c| c == LIAISON_CONSENT) {
        return Err(Invalid::new(
            "consent",
            "does not include the liaison",
            "ask the author, or leave this observation out",
        ));
    }
    if guard::judge_vantage(&observation.vantage) != guard::Verdict::Pass && !redaction.vantage_reviewed {
        return Err(Invalid::new(
            "vantage",
            "is a private place of somebody else",
            "ask the author why they were there, review it, or leave this observation out",
        ));
    }
    let keeps = |field| !redaction.drop_fields.contains(&field);
    // The author's device made the cell; a copy that leaves must not rely on it being a blurred one.
    if keeps(OptionalField::Cell) && !observation.cell.is_empty() {
        observation.cell.parse::<Cell>()?;
    }
    let o = observation;
    if concerns_overdose(o) && !o.consent.iter().any(|c| c == OVERDOSE_CONSENT) {
        mask(&o.what_happened, &redaction.spans)?;
        return Ok(ReleasedItem {
            when: to_the_hour(&o.when),
            cell: kept(keeps(OptionalField::Cell), &o.cell),
            location: kept(keeps(OptionalField::Location), &o.location),
            behaviours: vec!["overdose".to_owned()],
            what_happened: MASK.to_owned(),
            ..ReleasedItem::default()
        });
    }
    Ok(ReleasedItem {
        when: if redaction.coarsen_time { to_the_hour(&o.when) } else { o.when.clone() },
        cell: kept(keeps(OptionalField::Cell), &o.cell),
        location: kept(keeps(OptionalField::Location), &o.location),
        behaviours: o.behaviours.clone(),
        what_happened: mask(&o.what_happened, &redaction.spans)?,
        basis: kept(keeps(OptionalField::Basis), &o.basis),
        activity: kept(keeps(OptionalField::Activity), &o.activity),
        substances: kept(keeps(OptionalField::Substances), &o.substances),
        quantity: kept(keeps(OptionalField::Quantity), &o.quantity),
        flags: kept(keeps(OptionalField::Flags), &o.flags),
        media: chosen(&o.media, &redaction.media)?,
    })
}

fn kept<T: Clone + Default>(keeps: bool, value: &T) -> T {
    if keeps { value.clone() } else { T::default() }
}

/// The photos that were chosen to leave. What their author said of them stays: it may tell who that is.
fn chosen(media: &[Medium], ids: &BTreeSet<String>) -> Result<Vec<Medium>, Invalid> {
    if let Some(id) = ids.iter().find(|id| media.iter().all(|medium| medium.id != **id)) {
        let problem = format!("names {id}, which is no photo of the observation");
        return Err(Invalid::new("media", problem, "choose again: the observation may have been amended"));
    }
    let leaving = media.iter().filter(|medium| ids.contains(&medium.id));
    Ok(leaving.map(|medium| Medium { caption: String::new(), ..medium.clone() }).collect())
}

/// Start and end fall to the beginning of their hours; a day stays a day.
fn to_the_hour(when: &When) -> When {
    // Received times may be anything; those at the end of the range stay there.
    let hour = |ms: i64| ms.saturating_sub(ms.rem_euclid(HOUR_MS));
    When {
        start_ms: hour(when.start_ms),
        end_ms: when.end_ms.map(hour),
        precision: if when.precision == "day" { when.precision.clone() } else { "hour".to_owned() },
    }
}

pub(super) fn mask(text: &str, spans: &[Span]) -> Result<String, Invalid> {
    let chars = text.chars().count();
    for (i, span) in spans.iter().enumerate() {
        if span.start >= span.end || span.end > chars {
            return Err(Invalid::new(
                format!("spans[{i}]"),
                format!("is empty or reaches beyond the {chars} characters of the text"),
                "select the words again: the text may have been amended",
            ));
        }
    }
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();

    let mut masked = String::with_capacity(text.len());
    let mut rest = text.chars();
    let mut at = 0;
    let mut last_end = None;
    for span in sorted {
        if last_end.is_none_or(|end| span.start > end) {
            masked.extend(rest.by_ref().take(span.start - at));
            masked.push_str(MASK);
            at = span.start;
        }
        if span.end > at {
            rest.by_ref().take(span.end - at).for_each(drop);
            at = span.end;
        }
        last_end = Some(at);
    }
    masked.extend(rest);
    Ok(masked)
}
