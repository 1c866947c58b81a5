//! What became of a report, step by step, as its author sees it.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::Answer;
use super::disk::{self, QUARANTINE, SetAsideRow};
use super::engine::Engine;
use super::error::Error;
use super::record::sealed_part;
use super::view::{Delivery, HistoryRow, Row};
use crate::base::{DocumentId, MemberId};
use crate::watch::correction::RETRACTION;
use crate::watch::{Disclosure, Kind};

/// One step of what became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is on the phone.
    Recorded {
        /// The phone's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The relay acknowledged it.
    AtRelay {
        /// The relay's clock, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// Some of it does not count, or not any more.
    SetAside {
        /// The reason, for people.
        reason: String,
        /// When it was written: the phone's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// Its author corrected it, or took it back.
    Corrected {
        /// Whether it was taken back.
        retracted: bool,
        /// What is right instead, or why.
        text: String,
        /// The author's phone's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A coordinator remarked on it or linked it, or took up that it was contested.
    Seen {
        /// The coordinator.
        by: MemberId,
        /// Their phone's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
        /// What they wrote.
        text: String,
    },
    /// A redacted copy was handed over.
    Released {
        /// The release.
        release: DocumentId,
        /// To whom: a member's id, or in words who is outside the group.
        recipient: String,
        /// What for.
        purpose: String,
        /// The coordinator's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// The liaison answered.
    Answered {
        /// Status code.
        status: String,
        /// Outcome code; empty while open.
        outcome: String,
        /// The liaison's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// A copy was called back: its recipient is not to use it any more.
    Recalled {
        /// The release.
        release: DocumentId,
        /// A key of `codes/recall.json`.
        reason: String,
        /// The coordinator's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
    /// Its author contested an answer.
    Contested {
        /// The outcome that holds the answer.
        outcome: DocumentId,
        /// A key of `codes/contest.json`.
        reason: String,
        /// In the author's words; may be empty.
        text: String,
        /// The author's phone's claim, in milliseconds since the Unix epoch.
        at_ms: u64,
    },
}

impl Step {
    /// When it happened, by the clock of whoever did it, in milliseconds since the Unix epoch.
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Recorded { at_ms }
            | Self::AtRelay { at_ms }
            | Self::SetAside { at_ms, .. }
            | Self::Corrected { at_ms, .. }
            | Self::Seen { at_ms, .. }
            | Self::Released { at_ms, .. }
            | Self::Answered { at_ms, .. }
            | Self::Recalled { at_ms, .. }
            | Self::Contested { at_ms, .. } => *at_ms,
        }
    }

    /// Of what happened at once, the way that a report goes: phone, relay, coordinator, liaison.
    fn station(&self) -> u8 {
        match self {
            Self::Recorded { .. } => 0,
            Self::AtRelay { .. } => 1,
            Self::SetAside { .. } => 2,
            Self::Corrected { .. } => 3,
            Self::Seen { .. } => 4,
            Self::Released { .. } => RELEASED,
            Self::Answered { .. } => ANSWERED,
            Self::Recalled { .. } => RECALLED,
            Self::Contested { .. } => CONTESTED,
        }
    }
}

const RELEASED: u8 = 5;
const ANSWERED: u8 = 6;
const RECALLED: u8 = 7;
const CONTESTED: u8 = 8;

impl Engine {
    pub(super) fn steps(
        &mut self,
        row: &Row,
        history: &[HistoryRow],
        about: &[Row],
    ) -> Result<Vec<Step>, Error> {
        let mut steps = vec![Step::Recorded { at_ms: row.created_ms }];
        if self.delivery(row.id) != Delivery::OnPhone {
            let received = history.iter().filter_map(|entry| entry.received_ms).max();
            steps.extend(received.map(|at_ms| Step::AtRelay { at_ms }));
        }
        steps.extend(self.steps_aside(row)?);
        let Ok(state) = self.state().map(std::sync::Arc::clone) else { return Ok(steps) };
        let (mut releases, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
        for row in about {
            match row.kind {
                Kind::ANNOTATION | Kind::CASE if state.ever_governed(row.author) => steps.push(seen(row)),
                Kind::CORRECTION => steps.push(Step::Corrected {
                    retracted: row.title == RETRACTION,
                    text: row.text.clone(),
                    at_ms: row.created_ms,
                }),
                Kind::CONTEST => {
                    steps.extend(contested(row));
                    let remarks = self.rows_about(row.id)?.into_iter();
                    let remarks = remarks.filter(|row| row.kind == Kind::ANNOTATION);
                    steps.extend(remarks.filter(|row| state.ever_governed(row.author)).map(|row| seen(&row)));
                }
                Kind::DISCLOSURE => {
                    let disclosure: Disclosure =
                        self.load(row.id)?.read().map_err(|e| Error::Kind(e.to_string()))?;
                    if let Ok(release) = DocumentId::parse(&disclosure.release) {
                        let recipient = if disclosure.outside.is_empty() {
                            disclosure.recipient
                        } else {
                            disclosure.outside
                        };
                        // Of all copies of a release together.
                        if releases.insert(release) {
                            let about = self.rows_about(release)?.into_iter();
                            outcomes.extend(about.filter(|row| row.kind == Kind::OUTCOME).map(|row| row.id));
                            steps.extend(self.recalled(release)?);
                        }
                        steps.push(Step::Released {
                            release,
                            recipient,
                            purpose: disclosure.purpose,
                            at_ms: u64::try_from(disclosure.at_ms).unwrap_or_default(),
                        });
                    }
                }
                Kind::OUTCOME => {
                    outcomes.insert(row.id);
                }
                _ => {}
            }
        }
        for outcome in outcomes {
            steps.extend(self.answer_steps(outcome)?);
        }
        Ok(in_order(steps))
    }

    /// What does not count of a document and of its sealed part: each reason once, with the latest entry it is given for.
    fn steps_aside(&self, row: &Row) -> Result<Vec<Step>, Error> {
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for id in [sealed_part(row.author, row.id), row.id] {
            for (log, seq) in self.parts(id)? {
                let Some(aside) = self.store.get(QUARANTINE, &disk::entry_key(log, seq))? else { continue };
                let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
                let latest = reasons.entry(disk::decode::<SetAsideRow>(&aside)?.reason).or_default();
                *latest = entry.header().claimed_ms.max(*latest);
            }
        }
        Ok(reasons.into_iter().map(|(reason, at_ms)| Step::SetAside { reason, at_ms }).collect())
    }

    fn recalled(&self, release: DocumentId) -> Result<Option<Step>, Error> {
        let notice = self.recall_notice(release)?;
        Ok(notice.map(|row| Step::Recalled { release, reason: row.text, at_ms: row.created_ms }))
    }

    /// Every answer of an outcome: it moves on, and what it said before is part of what became of a report.
    fn answer_steps(&mut self, outcome: DocumentId) -> Result<Vec<Step>, Error> {
        let answers = self.answers_of(outcome)?.into_iter();
        Ok(answers
            .map(|Answer { at_ms, status, outcome }| Step::Answered {
                status,
                outcome,
                at_ms: u64::try_from(at_ms).unwrap_or_default(),
            })
            .collect())
    }
}

fn seen(row: &Row) -> Step {
    let text = if row.text.is_empty() || row.kind == Kind::CASE { &row.title } else { &row.text };
    Step::Seen { by: row.author, at_ms: row.created_ms, text: text.clone() }
}

fn contested(row: &Row) -> Option<Step> {
    let (outcome, reason) = (*row.about.first()?, row.title.clone());
    Some(Step::Contested { outcome, reason, text: row.text.clone(), at_ms: row.created_ms })
}

/// Sorts steps by time, and of equal time by the way that a report goes. Nothing comes before it was recorded, no answer
/// or recall before the first copy was handed over, and no contest before the first answer.
fn in_order(mut steps: Vec<Step>) -> Vec<Step> {
    let first = |station: u8| {
        let times = steps.iter().filter(|step| step.station() == station).map(Step::at_ms);
        times.min().unwrap_or_default()
    };
    let recorded = first(0);
    let released = first(RELEASED).max(recorded);
    let answered = first(ANSWERED).max(released);
    steps.sort_by_key(|step| match step.station() {
        0 => (0, 0),
        late @ (ANSWERED | RECALLED) => (step.at_ms().max(released), late),
        CONTESTED => (step.at_ms().max(answered), CONTESTED),
        station => (step.at_ms().max(recorded), station),
    });
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(station: u8, at_ms: u64) -> Step {
        let (by, release) = (MemberId([1; 32]), DocumentId([2; 24]));
        let (reason, text, purpose) = (String::new(), String::new(), String::new());
        let (recipient, status, outcome) = (String::new(), String::new(), String::new());
        match station {
            0 => Step::Recorded { at_ms },
            1 => Step::AtRelay { at_ms },
            2 => Step::SetAside { reason, at_ms },
            3 => Step::Corrected { retracted: false, text, at_ms },
            4 => Step::Seen { by, at_ms, text },
            RELEASED => Step::Released { release, recipient, purpose, at_ms },
            ANSWERED => Step::Answered { status, outcome, at_ms },
            RECALLED => Step::Recalled { release, reason, at_ms },
            _ => Step::Contested { outcome: release, reason, text, at_ms },
        }
    }

    proptest! {
        /// Whatever order they are found in, and whatever the clocks say.
        #[test]
        fn steps_have_one_order(times in prop::collection::vec(0..4_u64, 9), seed in any::<u64>()) {
            let steps: Vec<Step> = (0..).zip(&times).map(|(station, at)| step(station, *at)).collect();
            let mut shuffled = steps.clone();
            shuffled.rotate_left((seed % 9) as usize);
            if seed % 2 == 0 {
                shuffled.reverse();
            }
            let sorted = in_order(steps);
            prop_assert_eq!(&in_order(shuffled), &sorted);
            let at = |station: u8| sorted.iter().position(|step| step.station() == station).unwrap();
            prop_assert_eq!(at(0), 0);
            prop_assert!(at(RELEASED) < at(ANSWERED) && at(RELEASED) < at(RECALLED) && at(ANSWERED) < at(CONTESTED));
            for (one, other) in [(1, 2), (1, 3), (2, 3), (3, 4), (1, 4), (4, 5), (2, 5)] {
                let (earlier, later) = (&sorted[at(one)], &sorted[at(other)]);
                if earlier.at_ms() == later.at_ms() {
                    prop_assert!(at(one) < at(other));
                }
            }
        }
    }
}
