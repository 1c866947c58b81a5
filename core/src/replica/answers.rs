//! What the liaison answers: one response per release, which moves on, and what everybody may know of it.

use super::disk;
use super::engine::Engine;
use super::error::Error;
use crate::base::DocumentId;
use crate::document::Document;
use crate::watch::{Kind, Outcome, Response, WatchDocument};

/// What the liaison answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiaisonAnswer {
    /// A key of `codes/response_status.json`.
    pub status: String,
    /// A key of `codes/outcome.json`; empty while open.
    pub outcome: String,
    /// The reason, for the coordinators.
    pub reason: String,
}

/// What everybody may know of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// When, in milliseconds since the Unix epoch, by the liaison's device.
    pub at_ms: i64,
    /// A key of `codes/response_status.json`.
    pub status: String,
    /// A key of `codes/outcome.json`; empty while open.
    pub outcome: String,
}

impl From<&Outcome> for Answer {
    fn from(outcome: &Outcome) -> Self {
        let Outcome { at_ms, status, outcome, .. } = outcome.clone();
        Self { at_ms, status, outcome }
    }
}

impl Engine {
    /// The liaison answers a release, or moves an earlier answer on, also that of an officer before them: in full to the
    /// coordinators, status and outcome to every member. What was answered before stays in the history of both.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a liaison; [`Error::NotHere`]; [`Error::Invalid`].
    pub fn respond(&mut self, release: DocumentId, answer: &LiaisonAnswer) -> Result<DocumentId, Error> {
        self.fresh()?;
        let row = self.row(release)?.filter(|row| row.kind == Kind::RELEASE);
        row.ok_or(Error::NotHere(release))?;
        let response = Response {
            release: release.to_string(),
            status: answer.status.clone(),
            outcome: answer.outcome.clone(),
            reason: answer.reason.clone(),
            at_ms: self.now_ms(),
        };
        response.validate()?;
        let outcome = Outcome::from(&response);
        outcome.validate()?;
        let me = self.member_id();
        let response_id = self.current(release, |response: &Response| Outcome::from(response))?;
        let response_id = response_id.unwrap_or_else(|| Response::id(me, release));
        let outcome_id = self.current(release, Outcome::clone)?;
        let outcome_id = outcome_id.unwrap_or_else(|| Outcome::id(me, release));
        self.transact(|engine, batch| {
            engine.write(batch, Kind::RESPONSE, response_id, &response)?;
            engine.write(batch, Kind::OUTCOME, outcome_id, &outcome)
        })?;
        Ok(response_id)
    }

    /// The answer to a release as it stands; none yet.
    pub(super) fn answer_to(&mut self, release: DocumentId) -> Result<Option<Answer>, Error> {
        let outcomes = self.about::<Outcome>(release)?;
        Ok(outcomes.iter().max_by(|a, b| a.order().cmp(&b.order())).map(Answer::from))
    }

    /// Every answer that an outcome has held, the first one first.
    pub(super) fn answers_of(&mut self, outcome: DocumentId) -> Result<Vec<Answer>, Error> {
        let versions = self.versions::<Outcome>(outcome)?;
        let mut answers: Vec<Answer> = versions.iter().map(Answer::from).collect();
        answers.dedup_by(|now, before| (&now.status, &now.outcome) == (&before.status, &before.outcome));
        Ok(answers)
    }

    /// What a document said after each of its changes, each as its author saw it: in the order in which they build on each
    /// other, and of those that do not, by their claimed times.
    pub(super) fn versions<T: WatchDocument>(&mut self, id: DocumentId) -> Result<Vec<T>, Error> {
        let mut changes = Vec::new();
        for (log, seq) in self.parts(id)? {
            let Some(entry) = disk::read_entry(&*self.store, log, seq)? else { continue };
            let place = (entry.header().claimed_ms, log.device, seq);
            changes.extend(self.change_of(&entry)?.map(|change| (place, change)));
        }
        changes.sort_by_key(|(place, _)| *place);
        let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
        let mut versions = Vec::new();
        Document::new(self.device_id()).judge(&changes, |_, _, after| {
            versions.push(after.read()?);
            Ok::<(), crate::document::BadDocument>(())
        });
        Ok(versions)
    }

    /// Which document of that kind holds the answer that stands: where an officer and their successor, or two at once,
    /// began one each, the latest.
    fn current<T: WatchDocument>(
        &mut self,
        release: DocumentId,
        outcome_of: impl Fn(&T) -> Outcome,
    ) -> Result<Option<DocumentId>, Error> {
        let mut found: Vec<(Outcome, DocumentId)> = Vec::new();
        for row in self.rows_about(release)?.into_iter().filter(|row| row.kind == T::KIND) {
            found.push((outcome_of(&self.read(row.id)?), row.id));
        }
        let latest =
            found.into_iter().max_by(|(a, one), (b, other)| (a.order(), one).cmp(&(b.order(), other)));
        Ok(latest.map(|(_, id)| id))
    }
}
