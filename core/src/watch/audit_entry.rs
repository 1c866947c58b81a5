//! The auditor's copy of the disclosure log: what was handed to whom, why and when, without saying which reports.
//!
//! Each entry cites those before it that nothing had cited yet, so one that is taken out is missed: either a later one cites
//! it, or the release that it was for has none.

use super::check::{Invalid, check_count, check_id, check_time};
use super::content::{Summary, WatchDocument, ids, stored};
use super::disclosure::{Disclosure, LIST_COUNT_MAX, check_recipient};
use super::kinds::Kind;
use super::roles::role_name;
use super::text::{self, LINE_CHARS_MAX, TEXT_CHARS_MAX};
use crate::base::DocumentId;
use std::collections::{BTreeMap, BTreeSet};

/// Most entries that one cites: coordinators who never heard of each other.
pub const CITED_COUNT_MAX: usize = 64;

stored! {
    /// One entry; it does not change.
    pub struct AuditEntry {
        /// Id of what was handed over, as text.
        pub release: String,
        /// Id of the member who received it, as text; empty if nobody of the group did.
        pub recipient: String,
        /// Who received it outside the group, in words; empty for a member.
        pub outside: String,
        /// Id of the role in which a member received it; 0 outside the group.
        pub recipient_role: u8,
        /// What for.
        pub purpose: String,
        /// When, in milliseconds since the Unix epoch, by the coordinator's device.
        pub at_ms: i64,
        /// Names of the fields that left.
        pub what: Vec<String>,
        /// How many observations stood behind it.
        pub observations_count: u32,
        /// Ids of earlier entries, as text.
        pub cites: Vec<String>,
    }
}

/// What is not in order about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// An entry that others cite is not there.
    Missing(DocumentId),
    /// Something was handed over and no entry says so.
    Unlogged(DocumentId),
}

impl AuditEntry {
    /// The auditor's copy of a disclosure, after the entries that are known.
    pub fn of(disclosure: &Disclosure, known: &BTreeMap<DocumentId, AuditEntry>) -> Self {
        let cited: BTreeSet<DocumentId> = known.values().flat_map(|entry| ids(&entry.cites)).collect();
        let heads = known.keys().filter(|id| !cited.contains(id)).take(CITED_COUNT_MAX);
        Self {
            release: disclosure.release.clone(),
            recipient: disclosure.recipient.clone(),
            outside: disclosure.outside.clone(),
            recipient_role: disclosure.recipient_role,
            purpose: disclosure.purpose.clone(),
            at_ms: disclosure.at_ms,
            what: disclosure.what.clone(),
            observations_count: u32::try_from(disclosure.observations.len()).unwrap_or(u32::MAX),
            cites: heads.map(ToString::to_string).collect(),
        }
    }
}

/// Looks a log through: its entries, and what was handed over.
pub fn check_log(
    entries: &BTreeMap<DocumentId, AuditEntry>,
    handed_over: impl IntoIterator<Item = DocumentId>,
) -> BTreeSet<Finding> {
    let cited = entries.values().flat_map(|entry| ids(&entry.cites));
    let missing = cited.filter(|id| !entries.contains_key(id)).map(Finding::Missing);
    let logged: BTreeSet<DocumentId> = entries.values().flat_map(|entry| ids([&entry.release])).collect();
    let unlogged = handed_over.into_iter().filter(|id| !logged.contains(id)).map(Finding::Unlogged);
    missing.chain(unlogged).collect()
}

impl WatchDocument for AuditEntry {
    const KIND: Kind = Kind::AUDIT_ENTRY;
    const MADE_BY: Option<&str> = Some("release");

    fn validate(&self) -> Result<(), Invalid> {
        check_id("release", &self.release)?;
        check_recipient(&self.recipient, &self.outside, self.recipient_role)?;
        text::check_required("purpose", &self.purpose, TEXT_CHARS_MAX)?;
        check_time("at_ms", self.at_ms)?;
        check_count("what", self.what.len(), LIST_COUNT_MAX)?;
        self.what.iter().try_for_each(|field| text::check_required_line("what", field, LINE_CHARS_MAX))?;
        check_count("cites", self.cites.len(), CITED_COUNT_MAX)?;
        self.cites.iter().try_for_each(|id| check_id("cites", id))
    }

    fn summary(&self) -> Summary {
        Summary {
            title: "handed over".to_owned(),
            text: self.purpose.clone(),
            when_ms: Some(self.at_ms),
            codes: role_name(self.recipient_role).map(str::to_owned).into_iter().collect(),
            about: ids([&self.release]),
            ..Summary::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::roles::ROLE_LIAISON;
    use crate::watch::testing::refused;

    fn disclosure(release: DocumentId) -> Disclosure {
        Disclosure {
            release: release.to_string(),
            observations: vec!["OBSERVATION".into(), "other".into()],
            recipient: "officer".into(),
            outside: String::new(),
            recipient_role: ROLE_LIAISON,
            purpose: "Problem solving".into(),
            at_ms: 1_777_593_600_000,
            what: vec!["behaviours".into()],
        }
    }

    #[test]
    fn the_auditors_copy_counts_observations_and_names_none() {
        let entry = AuditEntry::of(&disclosure(DocumentId([1; 24])), &BTreeMap::new());
        assert_eq!(entry.observations_count, 2);
        assert!(!format!("{entry:?}").contains("OBSERVATION"));
        assert_eq!(refused(&entry, |e| e.release.clear()), "release");
        assert_eq!(refused(&entry, |e| e.recipient.clear()), "recipient");
        assert_eq!(refused(&entry, |e| e.recipient_role = 0), "recipient_role");
        assert_eq!(refused(&entry, |e| e.purpose.clear()), "purpose");
        assert_eq!(refused(&entry, |e| e.at_ms = 0), "at_ms");
        assert_eq!(refused(&entry, |e| e.cites = vec!["a b".into()]), "cites");
    }

    #[test]
    fn an_entry_that_is_taken_out_is_missed() {
        let id = |n: u8| DocumentId([n; 24]);
        let mut log = BTreeMap::new();
        for n in 1..=4 {
            let entry = AuditEntry::of(&disclosure(id(100 + n)), &log);
            log.insert(id(n), entry);
        }
        let releases = (101..=104).map(id);
        assert_eq!(check_log(&log, releases.clone()), BTreeSet::new());
        for n in 1..=4 {
            let mut less = log.clone();
            less.remove(&id(n));
            let findings = check_log(&less, releases.clone());
            assert!(findings.contains(&Finding::Unlogged(id(100 + n))));
            assert_eq!(findings.contains(&Finding::Missing(id(n))), n < 4);
        }
    }
}
