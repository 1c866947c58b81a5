//! What proves the sources of a release, should that ever be needed.
//!
//! A release carries commitments that reveal nothing. The coordinators keep, for each, the entry it stands for and the
//! salt that opens it. Handing those over is a decision of its own, per source.

use super::check::{Invalid, check_count, check_distinct, check_each, check_hex, check_id};
use super::content::{Summary, WatchDocument, ids};
use super::kinds::Kind;
use super::release::COMMITMENTS_COUNT_MAX;
use autosurgeon::{Hydrate, Reconcile};

/// The sources of one release.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Provenance {
    /// Id of the release, as text.
    #[autosurgeon(missing = "Default::default")]
    pub release: String,
    /// Its sources, one per commitment.
    #[autosurgeon(missing = "Default::default")]
    pub sources: Vec<Source>,
    /// Which of its observations were linked in which cases when it was made.
    #[autosurgeon(missing = "Default::default")]
    pub links: Vec<LinkedIn>,
    /// Ids of the corrections that it takes into account, as text.
    #[autosurgeon(missing = "Default::default")]
    pub corrections: Vec<String>,
}

/// An observation that was linked in a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hydrate, Reconcile)]
pub struct LinkedIn {
    /// Id of the case, as text.
    #[autosurgeon(missing = "Default::default")]
    pub case: String,
    /// Id of the observation, as text.
    #[autosurgeon(missing = "Default::default")]
    pub observation: String,
}

/// One signed entry behind a release.
#[derive(Clone, Debug, Default, PartialEq, Hydrate, Reconcile)]
pub struct Source {
    /// Hash of the entry, as lower-case hex.
    #[key]
    #[autosurgeon(missing = "Default::default")]
    pub entry: String,
    /// Salt of the commitment, as lower-case hex.
    #[autosurgeon(missing = "Default::default")]
    pub salt: String,
    /// Commitment as the release carries it, as lower-case hex.
    #[autosurgeon(missing = "Default::default")]
    pub commitment: String,
    /// Id of the observation the entry belongs to, as text.
    #[autosurgeon(missing = "Default::default")]
    pub observation: String,
}

impl Provenance {
    /// Judges the coordinator's own input.
    ///
    /// # Errors
    /// When the release or the sources are missing, or a source is incomplete or listed twice.
    pub fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        if self.sources.is_empty() {
            return Err(Invalid::new("sources", "is empty", "list the entries the release was made from"));
        }
        check_count("sources", self.sources.len(), COMMITMENTS_COUNT_MAX)?;
        check_each("sources", &self.sources, Source::validate)?;
        check_distinct("sources", self.sources.iter().map(|s| s.entry.as_str()))?;
        // One salt for two commitments would let the holder of one test guesses about the other.
        check_distinct("sources", self.sources.iter().map(|s| s.salt.as_str()))
    }
}

impl Source {
    fn validate(&self) -> Result<(), Invalid> {
        check_hex("entry", &self.entry)?;
        check_hex("salt", &self.salt)?;
        check_hex("commitment", &self.commitment)?;
        check_id("observation", &self.observation)
    }
}

impl WatchDocument for Provenance {
    const KIND: Kind = Kind::PROVENANCE;
    const MADE_BY: Option<&str> = Some("release");

    fn validate(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn summary(&self) -> Summary {
        Summary { title: "provenance".to_owned(), about: ids([&self.release]), ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::testing::{keeps_what_it_does_not_know, stored};
    use proptest::prelude::*;

    fn source(n: u8) -> Source {
        Source {
            entry: format!("{n:02x}").repeat(32),
            salt: format!("{:02x}", n + 100).repeat(16),
            commitment: format!("{:02x}", n + 200).repeat(32),
            observation: format!("obs-{n}"),
        }
    }

    fn provenance() -> Provenance {
        Provenance { release: "rel-1".into(), sources: vec![source(1), source(2)], ..Provenance::default() }
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(provenance().validate(), Ok(()));
        let refused = |edit: fn(&mut Provenance)| {
            let mut provenance = provenance();
            edit(&mut provenance);
            provenance.validate().unwrap_err().field
        };
        assert_eq!(refused(|p| p.release.clear()), "release");
        assert_eq!(refused(|p| p.sources.clear()), "sources");
        assert_eq!(refused(|p| p.sources[1].entry.clear()), "sources[1].entry");
        assert_eq!(refused(|p| p.sources[1].salt = "xy".into()), "sources[1].salt");
        assert_eq!(refused(|p| p.sources[0].commitment = "AB".repeat(32)), "sources[0].commitment");
        assert_eq!(refused(|p| p.sources[0].observation.clear()), "sources[0].observation");
        assert_eq!(refused(|p| p.sources[1].entry = source(1).entry), "sources[1]");
        assert_eq!(refused(|p| p.sources[1].salt = source(1).salt), "sources[1]");
    }

    #[test]
    fn unknown_fields_survive() {
        assert!(keeps_what_it_does_not_know(&provenance()));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(
            release: String,
            sources in proptest::collection::vec(any::<(String, String, String, String)>(), 0..6),
            links in proptest::collection::vec(any::<(String, String)>(), 0..3),
            corrections in proptest::collection::vec(any::<String>(), 0..3),
        ) {
            let sources = sources.into_iter()
                .map(|(entry, salt, commitment, observation)| Source { entry, salt, commitment, observation })
                .collect();
            let links = links.into_iter().map(|(case, observation)| LinkedIn { case, observation }).collect();
            let provenance = Provenance { release, sources, links, corrections };
            prop_assert_eq!(stored(&provenance), provenance);
        }
    }
}
