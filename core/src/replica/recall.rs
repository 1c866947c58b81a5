//! What became of what was handed over: who has it, what they answered, what has to be called back.

use std::collections::BTreeSet;

use super::answers::Answer;
use super::engine::Engine;
use super::error::Error;
use super::view::Row;
use crate::base::{DocumentId, MemberId};
use crate::storage::Batch;
use crate::watch::recall::recalls_due;
use crate::watch::release::LIAISON_CONSENT;
use crate::watch::{
    Annotation, Case, Disclosure, Kind, Observation, Provenance, Recall, RecallDue, WatchDocument as _,
};

/// [`Annotation::status`] of the word to the group that a copy was called back. The recall itself is read by the liaison and the
/// coordinators alone.
const RECALLED: &str = "recalled";

/// One copy that was made of a report, as its author may know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The release that it is part of.
    pub release: DocumentId,
    /// The member who received it; none if it went outside the group.
    pub recipient: Option<MemberId>,
    /// Who received it outside the group, in words; empty for a member.
    pub outside: String,
    /// Id of the role in which a member did; 0 outside the group.
    pub recipient_role: u8,
    /// What for.
    pub purpose: String,
    /// When, in milliseconds since the Unix epoch, by the coordinator's device.
    pub at_ms: i64,
    /// Names of the fields that left, of this and of whatever else left with it.
    pub what: Vec<String>,
    /// The answer as it stands; none yet, or if it went outside the group.
    pub answer: Option<Answer>,
    /// Why the author contested an answer to it, latest first: keys of `codes/contest.json`.
    pub contested: Vec<String>,
    /// Why it was called back: a key of `codes/recall.json`; none while it stands.
    pub recalled: Option<String>,
}

impl Engine {
    /// Every copy that was made of an observation: who received it, when, why, and what became of it; the first one first.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn what_became_of(&mut self, observation: DocumentId) -> Result<Vec<HandedOver>, Error> {
        self.refresh()?;
        self.row(observation)?
            .filter(|row| row.kind == Kind::OBSERVATION)
            .ok_or(Error::NotHere(observation))?;
        let about = self.rows_about(observation)?;
        let mut copies = Vec::new();
        for row in about.iter().filter(|row| row.kind == Kind::DISCLOSURE) {
            let disclosure: Disclosure = self.read(row.id)?;
            let Ok(release) = DocumentId::parse(&disclosure.release) else { continue };
            let is_outside = !disclosure.outside.is_empty();
            copies.push(HandedOver {
                release,
                recipient: MemberId::parse(&disclosure.recipient).ok(),
                outside: disclosure.outside,
                recipient_role: disclosure.recipient_role,
                purpose: disclosure.purpose,
                at_ms: disclosure.at_ms,
                what: disclosure.what,
                answer: if is_outside { None } else { self.answer_to(release)? },
                contested: if is_outside { Vec::new() } else { self.contests(release, &about)? },
                recalled: self.recall_notice(release)?.map(|row| row.text),
            });
        }
        copies.sort_by_key(|copy| (copy.at_ms, copy.release));
        Ok(copies)
    }

    /// Why answers to a release were contested by the author of a report, among what is about it; latest first.
    fn contests(&self, release: DocumentId, about: &[Row]) -> Result<Vec<String>, Error> {
        let answers: BTreeSet<DocumentId> = self.rows_about(release)?.iter().map(|row| row.id).collect();
        let contests = about.iter().rev().filter(|row| row.kind == Kind::CONTEST);
        let of_these = contests.filter(|row| row.about.iter().any(|outcome| answers.contains(outcome)));
        Ok(of_these.map(|row| row.title.clone()).collect())
    }

    /// The word that a release was called back, and with it every copy of it; none while it stands.
    pub(super) fn recall_notice(&self, release: DocumentId) -> Result<Option<Row>, Error> {
        let Ok(state) = self.state() else { return Ok(None) };
        let is_notice =
            |row: &Row| row.kind == Kind::ANNOTATION && row.codes.iter().any(|code| code == RECALLED);
        for disclosure in self.rows_about(release)?.iter().filter(|row| row.kind == Kind::DISCLOSURE) {
            let mut about = self.rows_about(disclosure.id)?.into_iter();
            if let Some(notice) = about.find(|row| is_notice(row) && state.ever_governed(row.author)) {
                return Ok(Some(notice));
            }
        }
        Ok(None)
    }

    /// Releases that are not recalled yet and rest on a report which was corrected, amended or taken back, whose author withdrew
    /// the consent, or which was taken out of a case since. Where the report is right now, [`Engine::revise`] sends what takes
    /// the place of the release.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn recalls_due(&mut self) -> Result<BTreeSet<RecallDue>, Error> {
        let disclosures = self.all::<Disclosure>()?;
        let handed_over: Vec<(&str, &str)> = disclosures
            .iter()
            .flat_map(|d| d.content.observations.iter().map(|o| (d.content.release.as_str(), o.as_str())))
            .collect();
        let (mut withdrawn, mut retracted) = (BTreeSet::new(), BTreeSet::new());
        for (_, observation) in &handed_over {
            let Ok(id) = DocumentId::parse(observation) else { continue };
            if let Ok(content) = self.read::<Observation>(id)
                && !content.consent.iter().any(|consent| consent == LIAISON_CONSENT)
            {
                withdrawn.insert((*observation).to_owned());
            }
            if self.was_retracted(id)? {
                retracted.insert((*observation).to_owned());
            }
        }
        let recalled = self.all::<Recall>()?.into_iter().map(|recall| recall.content.release).collect();
        let mut due = recalls_due(handed_over, &withdrawn, &retracted, &recalled);
        let known: BTreeSet<String> = due.iter().map(|due| due.release.clone()).chain(recalled).collect();
        for provenance in self.all::<Provenance>()? {
            let release = &provenance.content.release;
            if !known.contains(release)
                && let Some(reason) = self.overtaken(&provenance.content)?
            {
                due.insert(RecallDue { release: release.clone(), reason });
            }
        }
        Ok(due)
    }

    /// Why a release does not say any more what its sources say; none if it does.
    fn overtaken(&mut self, provenance: &Provenance) -> Result<Option<&'static str>, Error> {
        let observations: BTreeSet<&str> =
            provenance.sources.iter().map(|source| source.observation.as_str()).collect();
        for link in &provenance.links {
            let Ok(case) = DocumentId::parse(&link.case) else { continue };
            // A case that has expired here says nothing.
            let Ok(content) = self.read::<Case>(case) else { continue };
            let stands = content
                .links
                .values()
                .any(|now| now.observation == link.observation && now.removed_by.is_empty());
            if !stands {
                return Ok(Some("unlinked"));
            }
        }
        for id in observations.into_iter().filter_map(|id| DocumentId::parse(id).ok()) {
            let rows = self.rows_about(id)?;
            let mut corrections = rows.iter().filter(|row| row.kind == Kind::CORRECTION);
            if corrections.any(|row| !provenance.corrections.contains(&row.id.to_string())) {
                return Ok(Some("corrected"));
            }
            let entries = self.entries_of(id)?;
            if entries.iter().any(|entry| !provenance.sources.iter().any(|source| source.entry == *entry)) {
                return Ok(Some("corrected"));
            }
        }
        Ok(None)
    }

    /// Calls a release back, and lets the reporters know. `reason` is a key of `codes/recall.json`.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`].
    pub fn recall(
        &mut self,
        release: DocumentId,
        reason: &str,
        text: &str,
        replaced_by: Option<DocumentId>,
    ) -> Result<DocumentId, Error> {
        self.fresh()?;
        for id in [Some(release), replaced_by].into_iter().flatten() {
            self.row(id)?.filter(|row| row.kind == Kind::RELEASE).ok_or(Error::NotHere(id))?;
        }
        let id = self.new_id(Kind::RECALL);
        self.transact(|engine, batch| {
            engine.write_recall_at(batch, id, release, (reason, text), replaced_by)
        })?;
        Ok(id)
    }

    /// As [`Engine::recall`], within a write.
    pub(super) fn write_recall(
        &mut self,
        batch: &mut Batch,
        release: DocumentId,
        reason: &str,
        text: &str,
        replaced_by: Option<DocumentId>,
    ) -> Result<(), Error> {
        let id = self.new_id(Kind::RECALL);
        self.write_recall_at(batch, id, release, (reason, text), replaced_by)
    }

    fn write_recall_at(
        &mut self,
        batch: &mut Batch,
        id: DocumentId,
        release: DocumentId,
        (reason, text): (&str, &str),
        replaced_by: Option<DocumentId>,
    ) -> Result<(), Error> {
        let recall = Recall {
            release: release.to_string(),
            reason: reason.to_owned(),
            text: text.to_owned(),
            replaced_by: replaced_by.map(|id| id.to_string()).unwrap_or_default(),
            at_ms: self.now_ms(),
        };
        recall.validate()?;
        self.write(batch, Kind::RECALL, id, &recall)?;
        let about = self.rows_about(release)?;
        for disclosure in about.iter().filter(|row| row.kind == Kind::DISCLOSURE) {
            let notice = Annotation {
                target: disclosure.id.to_string(),
                text: reason.to_owned(),
                status: RECALLED.to_owned(),
            };
            notice.validate()?;
            let id = self.new_id(Kind::ANNOTATION);
            self.write(batch, Kind::ANNOTATION, id, &notice)?;
        }
        Ok(())
    }
}
