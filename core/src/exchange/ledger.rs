//! The outcome ledger: what became of all reports of a group, in sums that add up.
//!
//! Every report is counted once, by how far it got. Closed is not the same as fixed: the outcomes say what was done.

use std::collections::{BTreeMap, BTreeSet};

use crate::watch::{Disclosure, Outcome};

/// Every report, once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Reports of the group. Whatever else is counted here adds up to it.
    pub reports: u64,
    /// Not handed to the liaison.
    pub kept: u64,
    /// Handed over and called back, with no answer: none is to come.
    pub recalled: u64,
    /// Handed over, and no answer yet.
    pub unanswered: u64,
    /// Answered and open, by a key of `codes/response_status.json`.
    pub open: BTreeMap<String, u64>,
    /// Closed, by a key of `codes/outcome.json`.
    pub closed: BTreeMap<String, u64>,
}

/// How far a report got, nearest first; of several releases the one that got furthest counts, of equals the latest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing<'a> {
    Kept,
    Recalled,
    Unanswered,
    Open { at_ms: i64, status: &'a str },
    Closed { at_ms: i64, outcome: &'a str },
}

impl Ledger {
    /// Counts reports, given by their ids as text. What is said of an id that is not among them counts nothing. A release
    /// stands where its latest answer puts it, also if it was called back since: what was done was done. `recalled` are ids of
    /// releases that were.
    pub fn count<'a>(
        reports: impl IntoIterator<Item = &'a str>,
        disclosures: &'a [Disclosure],
        outcomes: &'a [Outcome],
        recalled: &BTreeSet<String>,
    ) -> Self {
        let mut standing_by_report: BTreeMap<&str, Standing<'_>> =
            reports.into_iter().map(|report| (report, Standing::Kept)).collect();
        let answer_by_release = latest(outcomes);
        for disclosure in disclosures {
            let answer = answer_by_release.get(disclosure.release.as_str());
            let standing = match answer {
                Some(outcome) => Standing::of(outcome),
                None if recalled.contains(&disclosure.release) => Standing::Recalled,
                None => Standing::Unanswered,
            };
            for report in &disclosure.observations {
                if let Some(known) = standing_by_report.get_mut(report.as_str()) {
                    *known = standing.max(*known);
                }
            }
        }
        let mut ledger = Self::default();
        for standing in standing_by_report.into_values() {
            ledger.reports += 1;
            *ledger.place(standing) += 1;
        }
        ledger
    }

    /// What [`Ledger::reports`] must be equal to.
    pub fn sum(&self) -> u64 {
        self.kept
            + self.recalled
            + self.unanswered
            + self.open.values().sum::<u64>()
            + self.closed.values().sum::<u64>()
    }

    fn place(&mut self, standing: Standing<'_>) -> &mut u64 {
        match standing {
            Standing::Kept => &mut self.kept,
            Standing::Recalled => &mut self.recalled,
            Standing::Unanswered => &mut self.unanswered,
            Standing::Open { status, .. } => self.open.entry(status.to_owned()).or_default(),
            Standing::Closed { outcome, .. } => self.closed.entry(outcome.to_owned()).or_default(),
        }
    }
}

impl<'a> Standing<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let at_ms = outcome.at_ms;
        if outcome.is_closed() {
            Self::Closed { at_ms, outcome: &outcome.outcome }
        } else {
            Self::Open { at_ms, status: &outcome.status }
        }
    }
}

/// The answer to each release that stands, on every phone alike.
fn latest(outcomes: &[Outcome]) -> BTreeMap<&str, &Outcome> {
    let mut latest_by_release: BTreeMap<&str, &Outcome> = BTreeMap::new();
    for outcome in outcomes {
        let latest = latest_by_release.entry(&outcome.release).or_insert(outcome);
        if outcome.order() > latest.order() {
            *latest = outcome;
        }
    }
    latest_by_release
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn handed(release: &str, observations: &[&str]) -> Disclosure {
        let observations = observations.iter().map(ToString::to_string).collect();
        Disclosure { release: release.into(), observations, ..Disclosure::default() }
    }

    fn answer(release: &str, status: &str, outcome: &str, at_ms: i64) -> Outcome {
        Outcome { release: release.into(), status: status.into(), outcome: outcome.into(), at_ms }
    }

    #[test]
    fn every_report_is_counted_once_by_how_far_it_got() {
        let handed = [
            handed("r1", &["a", "b"]),
            handed("r2", &["b", "c"]),
            handed("r3", &["d", "stranger"]),
            handed("r4", &["d", "f"]),
        ];
        let answers = [
            answer("r1", "closed", "warning", 5),
            answer("r1", "received", "", 1),
            answer("r2", "under_review", "", 9),
            answer("r9", "closed", "no_action", 1),
        ];
        let recalled = ["r1", "r4"].map(str::to_owned).into();
        let ledger = Ledger::count(["a", "b", "c", "d", "e", "e", "f"], &handed, &answers, &recalled);
        assert_eq!((ledger.reports, ledger.kept, ledger.recalled, ledger.unanswered), (6, 1, 1, 1));
        assert_eq!(ledger.closed, BTreeMap::from([("warning".to_owned(), 2)]));
        assert_eq!(ledger.open, BTreeMap::from([("under_review".to_owned(), 1)]));
    }

    proptest! {
        #[test]
        fn sums_add_up_in_any_order(
            mut handed in prop::collection::vec(("[rs][0-3]", prop::collection::vec("[a-h]", 0..4)), 0..6),
            mut answers in prop::collection::vec(("[rs][0-3]", "closed|received|scheduled", "x|y|", 0i64..4), 0..8),
            called_back in prop::collection::btree_set("[rs][0-3]", 0..3),
        ) {
            let count = |handed: &[(String, Vec<String>)], answers: &[(String, String, String, i64)]| {
                let disclosures: Vec<Disclosure> = handed.iter().map(|(release, observations)| Disclosure {
                    release: release.clone(), observations: observations.clone(), ..Disclosure::default()
                }).collect();
                let outcomes: Vec<Outcome> =
                    answers.iter().map(|(release, status, outcome, at)| answer(release, status, outcome, *at)).collect();
                Ledger::count(["a", "b", "c", "d", "e"], &disclosures, &outcomes, &called_back)
            };
            let ledger = count(&handed, &answers);
            prop_assert_eq!((ledger.reports, ledger.sum()), (5, 5));
            handed.reverse();
            answers.reverse();
            prop_assert_eq!(count(&handed, &answers), ledger);
        }
    }
}
