//! The frozen, redacted copy that a coordinator hands to the liaison.
//!
//! It carries no author, no vantage point, no id of an observation and no exact position. What proves its sources stays
//! with the coordinators (see [`provenance`](super::provenance)); here are only commitments that reveal nothing.
//! A later change is a new release with the next revision.

use super::blur::Cell;
use super::case::FACT_VALUES_COUNT_MAX;
use super::check::{Invalid, check_count, check_distinct, check_each, check_hex, check_id, check_time};
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::media::Medium;
use super::observation::{Quantity, Substance, When};
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};
use std::collections::BTreeSet;

mod difference;
mod redaction;

pub use difference::{Difference, difference};
pub use redaction::{LIAISON_CONSENT, MASK, OVERDOSE_CONSENT, OptionalField, Redaction, Span, redact};

/// Most items of one release.
pub const ITEMS_COUNT_MAX: usize = 200;

/// Most commitments of one release: several entries (a report and its amendments) may stand behind one item.
pub const COMMITMENTS_COUNT_MAX: usize = 4_000;

/// Most open facts of one release.
pub const OPEN_FACTS_COUNT_MAX: usize = 200;

/// Longest redacted text in characters: a mask may be longer than what it hides.
const REDACTED_CHARS_MAX: usize = 3 * TEXT_CHARS_MAX;

/// A redacted copy for one recipient.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Release {
    /// What it is about; never a person's name.
    #[autosurgeon(missing = "Default::default")]
    pub title: String,
    /// What the recipient may use it for.
    #[autosurgeon(missing = "Default::default")]
    pub purpose: String,
    /// Id of the member it is for, as text.
    #[autosurgeon(missing = "Default::default")]
    pub recipient: String,
    /// When it was made, in milliseconds since the Unix epoch, by the coordinator's device.
    #[autosurgeon(missing = "Default::default")]
    pub created_ms: i64,
    /// When the recipient's copy is to be destroyed, in milliseconds since the Unix epoch; none if policy decides.
    #[autosurgeon(missing = "Default::default")]
    pub expires_ms: Option<i64>,
    /// 1 for the first release of a matter, counting up with each correction.
    #[autosurgeon(missing = "Default::default")]
    pub revision: u32,
    /// Id of the release that this revision takes the place of, as text; empty for the first.
    #[autosurgeon(missing = "Default::default")]
    pub replaces: String,
    /// What happened, one item per event.
    #[autosurgeon(missing = "Default::default")]
    pub items: Vec<ReleasedItem>,
    /// What the reports behind it disagree about and nobody has settled.
    #[autosurgeon(missing = "Default::default")]
    pub open_facts: Vec<OpenFact>,
    /// Commitments to the entries behind it, as lower-case hex.
    #[autosurgeon(missing = "Default::default")]
    pub commitments: Vec<String>,
    /// How many observations stand behind it; not how many people.
    #[autosurgeon(missing = "Default::default")]
    pub sources_count: u32,
}

/// A fact of which several values stand side by side. Whoever reads the release sees them all, and no author.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct OpenFact {
    /// A key of `codes/facts.json`.
    #[autosurgeon(missing = "Default::default")]
    pub fact: String,
    /// What was said, sorted.
    #[autosurgeon(missing = "Default::default")]
    pub values: Vec<String>,
}

/// One event as it is handed over. Fields mean what they mean in [`Observation`]; an empty one was unknown or dropped.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct ReleasedItem {
    /// When it happened.
    #[autosurgeon(missing = "Default::default")]
    pub when: When,
    /// Public grid cell.
    #[autosurgeon(missing = "Default::default")]
    pub cell: String,
    /// NIBRS location code.
    #[autosurgeon(missing = "Default::default")]
    pub location: String,
    /// What was done.
    #[autosurgeon(missing = "Default::default")]
    pub behaviours: Vec<String>,
    /// What happened, with [`MASK`] where text was taken out.
    #[autosurgeon(missing = "Default::default")]
    pub what_happened: String,
    /// How the observer knows.
    #[autosurgeon(missing = "Default::default")]
    pub basis: String,
    /// NIBRS activity codes.
    #[autosurgeon(missing = "Default::default")]
    pub activity: Vec<String>,
    /// Substances named or seen.
    #[autosurgeon(missing = "Default::default")]
    pub substances: Vec<Substance>,
    /// How much.
    #[autosurgeon(missing = "Default::default")]
    pub quantity: Option<Quantity>,
    /// Circumstances.
    #[autosurgeon(missing = "Default::default")]
    pub flags: Vec<String>,
    /// Clean copies of photos, without captions, sealed anew for this release alone.
    #[autosurgeon(missing = "Default::default")]
    pub media: Vec<Medium>,
}

impl Release {
    /// Names of the fields that leave with it, sorted: what a disclosure lists.
    pub fn fields(&self) -> Vec<String> {
        let open = (!self.open_facts.is_empty()).then_some("open_facts");
        let fields: BTreeSet<&str> = self.items.iter().flat_map(ReleasedItem::fields).chain(open).collect();
        fields.into_iter().map(str::to_owned).collect()
    }

    /// Judges the coordinator's own input. Codes are not judged: they are the observers' and may be newer than this
    /// version.
    ///
    /// # Errors
    /// Names the first field that cannot leave as it is, and what to do about it.
    pub fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        text::check_required("purpose", &self.purpose, TEXT_CHARS_MAX)?;
        check_id("recipient", &self.recipient)?;
        check_time("created_ms", self.created_ms)?;
        if let Some(expires_ms) = self.expires_ms {
            check_time("expires_ms", expires_ms)?;
            if expires_ms <= self.created_ms {
                return Err(Invalid::new(
                    "expires_ms",
                    "does not lie after the release was made",
                    "choose a later date or none",
                ));
            }
        }
        if self.revision == 0 {
            return Err(Invalid::new("revision", "is zero", "count revisions from 1"));
        }
        if !self.replaces.is_empty() {
            check_id("replaces", &self.replaces)?;
        }
        if (self.revision > 1) == self.replaces.is_empty() {
            let remedy = "count the first as 1, and name with every later one the release that it replaces";
            return Err(Invalid::new("replaces", "does not fit the revision", remedy));
        }
        if self.items.is_empty() {
            return Err(Invalid::new("items", "is empty", "add what is to be handed over"));
        }
        check_count("items", self.items.len(), ITEMS_COUNT_MAX)?;
        check_each("items", &self.items, ReleasedItem::validate)?;
        check_count("open_facts", self.open_facts.len(), OPEN_FACTS_COUNT_MAX)?;
        check_each("open_facts", &self.open_facts, OpenFact::validate)?;
        check_count("commitments", self.commitments.len(), COMMITMENTS_COUNT_MAX)?;
        for (i, commitment) in self.commitments.iter().enumerate() {
            check_hex(&format!("commitments[{i}]"), commitment)?;
        }
        check_distinct("commitments", self.commitments.iter().map(String::as_str))?;
        let sources = usize::try_from(self.sources_count).unwrap_or(usize::MAX);
        if sources < self.items.len() || sources > self.commitments.len() {
            return Err(Invalid::new(
                "sources_count",
                "does not fit the items and commitments",
                "give each item a source and each source a commitment",
            ));
        }
        Ok(())
    }
}

impl OpenFact {
    fn validate(&self) -> Result<(), Invalid> {
        check_id("fact", &self.fact)?;
        check_count("values", self.values.len(), FACT_VALUES_COUNT_MAX)?;
        check_each("values", &self.values, |value| text::check_required_line("value", value, LINE_CHARS_MAX))
    }
}

impl ReleasedItem {
    /// Names of the fields that are not empty.
    pub fn fields(&self) -> Vec<&'static str> {
        let named = [
            ("when", true),
            ("cell", !self.cell.is_empty()),
            ("location", !self.location.is_empty()),
            ("behaviours", !self.behaviours.is_empty()),
            ("what_happened", !self.what_happened.is_empty()),
            ("basis", !self.basis.is_empty()),
            ("activity", !self.activity.is_empty()),
            ("substances", !self.substances.is_empty()),
            ("quantity", self.quantity.is_some()),
            ("flags", !self.flags.is_empty()),
            ("media", !self.media.is_empty()),
        ];
        named.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect()
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_time("when.start_ms", self.when.start_ms)?;
        if !self.cell.is_empty() {
            self.cell.parse::<Cell>()?;
        }
        if self.behaviours.is_empty() {
            return Err(Invalid::new("behaviours", "is empty", "hand over what was done, not who was there"));
        }
        text::check_required("what_happened", &self.what_happened, REDACTED_CHARS_MAX)?;
        check_each("media", &self.media, Medium::validate)
    }
}

impl WatchDocument for Release {
    const KIND: Kind = Kind::RELEASE;
    const MADE_BY: Option<&str> = Some("release");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.title.clone(),
            text: self.items.iter().map(|item| item.what_happened.as_str()).collect::<Vec<_>>().join("\n"),
            codes: self.items.iter().flat_map(|item| item.behaviours.clone()).collect(),
            about: ids([&self.replaces]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests;
