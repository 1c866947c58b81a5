//! Observations of the same event, linked by coordinators.
//!
//! A link is never taken out of a document. Un-linking marks it with who did it, so that a device which had not yet
//! heard of a colleague's link cannot remove it by writing what it knows, and so that nothing disappears unseen. The
//! linked observations stay untouched.
//!
//! Two coordinators who link at once get both links, of one observation too: each member's link is one of its own. An
//! observation belongs to the case while any link to it stands. Whoever takes it out takes back the links they see, so
//! that a colleague's link that they had not heard of still stands afterwards.
//!
//! One observation may be in several cases: [`clusters`] says which cases that joins, and [`in_several_cases`] what is in
//! more than one.

use super::check::{Invalid, check_count, check_id};
use super::content::{Summary, WatchDocument, Writer, ids, put_each};
use super::kinds::Kind;
use super::text::{self, LINE_CHARS_MAX};
use autosurgeon::{Hydrate, Reconcile};
use std::collections::{BTreeMap, BTreeSet};

mod clusters;
mod facts;
mod judge;

pub use clusters::{Cluster, clusters, in_several_cases};
pub use facts::{FACT_VALUES_COUNT_MAX, Fact, FactValue, RESOLUTIONS_COUNT_MAX, Resolution};

/// Most links of one case, standing and removed; a longer story is a problem, not a case.
pub const LINKS_COUNT_MAX: usize = 500;

/// One event as the group knows it.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Case {
    /// What the group calls it; never a person's name.
    #[autosurgeon(missing = "Default::default")]
    pub title: String,
    /// Links by [`Link::key`].
    #[autosurgeon(missing = "Default::default", reconcile = "put_each")]
    pub links: BTreeMap<String, Link>,
    /// What was said about the event, each value with who said it, by [`FactValue::key`].
    #[autosurgeon(missing = "Default::default", reconcile = "put_each")]
    pub facts: BTreeMap<String, FactValue>,
    /// Which of several values holds, by [`Resolution::key`].
    #[autosurgeon(missing = "Default::default", reconcile = "put_each")]
    pub resolutions: BTreeMap<String, Resolution>,
}

/// Why an observation belongs to a case, and who says so.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Link {
    /// Id of the observation, as text.
    #[autosurgeon(missing = "Default::default")]
    pub observation: String,
    /// Why it is the same event, such as '40 m and 12 min apart, both vehicle exchange'.
    #[autosurgeon(missing = "Default::default")]
    pub reason: String,
    /// Id of the member who linked it, as text.
    #[autosurgeon(missing = "Default::default")]
    pub by: String,
    /// Id of the member who took the link back, as text; empty while it stands.
    #[autosurgeon(missing = "Default::default")]
    pub removed_by: String,
}

impl Case {
    /// Links an observation, or links it again after the link was taken back.
    pub fn link(&mut self, observation: impl Into<String>, reason: impl Into<String>, by: impl Into<String>) {
        let link = Link {
            observation: observation.into(),
            reason: reason.into(),
            by: by.into(),
            removed_by: String::new(),
        };
        self.links.insert(link.key(), link);
    }

    /// Takes an observation out and leaves the others alone: takes back every link to it that is known here.
    ///
    /// # Errors
    /// When the observation is not linked.
    pub fn unlink(&mut self, observation: &str, by: &str) -> Result<(), Invalid> {
        let links = self.links.values_mut().filter(|link| link.observation == observation && link.stands());
        let taken_back = links.map(|link| by.clone_into(&mut link.removed_by)).count();
        if taken_back > 0 {
            return Ok(());
        }
        Err(Invalid::new(
            "links",
            "do not hold this observation",
            "open the case again: somebody may have taken the link back",
        ))
    }

    /// Ids of the observations that are linked now, each once.
    pub fn observations(&self) -> impl Iterator<Item = &str> {
        let standing = self.links.values().filter(|link| link.stands());
        standing.map(|link| link.observation.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// Judges the author's own input.
    ///
    /// # Errors
    /// When the title is missing or too long, there are too many links, or a link lacks its observation, reason or
    /// member.
    pub fn validate(&self) -> Result<(), Invalid> {
        text::check_required_line("title", &self.title, LINE_CHARS_MAX)?;
        check_count("links", self.links.len(), LINKS_COUNT_MAX)?;
        for (i, (key, link)) in self.links.iter().enumerate() {
            let named = |e: Invalid| e.within(&format!("links[{i}]"));
            link.validate().map_err(named)?;
            if *key != link.key() {
                return Err(named(Invalid::new(
                    "observation",
                    "is filed under another observation or member",
                    "link with `Case::link`",
                )));
            }
        }
        self.validate_facts()
    }
}

impl Link {
    /// What a case files it under: the observation and the member, so that nobody's link stands in another's place.
    pub fn key(&self) -> String {
        format!("{}:{}", self.observation, self.by)
    }

    /// Whether the link has not been taken back.
    pub fn stands(&self) -> bool {
        self.removed_by.is_empty()
    }

    fn validate(&self) -> Result<(), Invalid> {
        check_id("observation", &self.observation)?;
        text::check_required_line("reason", &self.reason, LINE_CHARS_MAX)?;
        check_id("by", &self.by)?;
        if self.stands() {
            return Ok(());
        }
        check_id("removed_by", &self.removed_by)
    }
}

impl WatchDocument for Case {
    const KIND: Kind = Kind::CASE;
    const MADE_BY: Option<&str> = Some("link");
    const JUDGED: bool = true;

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary {
            title: self.title.clone(),
            text: self.links.values().map(|link| link.reason.as_str()).collect::<Vec<_>>().join("; "),
            about: ids(self.observations()),
            ..Summary::default()
        }
    }

    fn check_change(before: Option<&Self>, after: &Self, writer: &Writer) -> Result<(), Invalid> {
        match before {
            Some(before) => before.check_step(after, writer),
            None => Self::default().check_step(after, writer),
        }
    }
}

#[cfg(test)]
mod tests;
