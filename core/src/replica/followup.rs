//! What is taken up again after it was sent: requests and decisions, corrections, contests, consent.

use super::engine::Engine;
use super::error::Error;
use crate::base::DocumentId;
use crate::watch::correction::RETRACTION;
use crate::watch::decision::{self, APPROVED, REFUSED, Standing};
use crate::watch::guard::{self, Place};
use crate::watch::{Contest, Correction, Decision, Kind, Observation, Request, WatchDocument};

impl Engine {
    /// The liaison asks something of the group. The coordinators decide.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a liaison; [`Error::Invalid`] if it may not be asked.
    pub fn ask(&mut self, request: Request) -> Result<DocumentId, Error> {
        self.create_own(&Request { at_ms: self.now_ms(), ..request })
    }

    /// A coordinator approves or refuses a request.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member is a coordinator; [`Error::NotHere`]; [`Error::Invalid`] without a reason, or if
    /// what is asked may not be approved.
    pub fn decide_request(
        &mut self,
        request: DocumentId,
        approve: bool,
        reason: &str,
    ) -> Result<DocumentId, Error> {
        let asked: Request = self.read(request)?;
        let decision = Decision {
            request: request.to_string(),
            decision: if approve { APPROVED } else { REFUSED }.to_owned(),
            reason: reason.to_owned(),
            at_ms: self.now_ms(),
        };
        decision.validate_on(&asked)?;
        self.create_own(&decision)
    }

    /// Where a request stands.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn request_standing(&mut self, request: DocumentId) -> Result<Standing, Error> {
        self.read::<Request>(request)?;
        Ok(decision::standing(&self.about::<Decision>(request)?))
    }

    /// Corrects something of this member's own that was sent: adds what is right, or takes it back.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Invalid`] without words, if the bias guard holds them, or if it is
    /// somebody else's.
    pub fn correct(&mut self, target: DocumentId, retract: bool, text: &str) -> Result<DocumentId, Error> {
        self.fresh()?;
        self.row(target)?.ok_or(Error::NotHere(target))?;
        guard::check("text", text, Place::Remark)?;
        self.create_own(&Correction {
            target: target.to_string(),
            correction: if retract { RETRACTION } else { "amendment" }.to_owned(),
            text: text.to_owned(),
            at_ms: self.now_ms(),
        })
    }

    /// A reporter contests what became of their report. `reason` is a key of `codes/contest.json`.
    ///
    /// # Errors
    /// [`Error::NotHere`] if the outcome or the report is not here; [`Error::Invalid`] if the report is somebody else's,
    /// or the bias guard holds the text.
    pub fn contest(
        &mut self,
        outcome: DocumentId,
        observation: DocumentId,
        reason: &str,
        text: &str,
    ) -> Result<DocumentId, Error> {
        self.fresh()?;
        for (id, kind) in [(outcome, Kind::OUTCOME), (observation, Kind::OBSERVATION)] {
            self.row(id)?.filter(|row| row.kind == kind).ok_or(Error::NotHere(id))?;
        }
        guard::check("text", text, Place::Remark)?;
        self.create_own(&Contest {
            outcome: outcome.to_string(),
            observation: observation.to_string(),
            reason: reason.to_owned(),
            text: text.to_owned(),
            at_ms: self.now_ms(),
        })
    }

    /// Takes back the consent that a report of this member's own may be passed to an audience, a key of
    /// `codes/consent.json`. It blocks later releases; those that rest on it are among [`Engine::recalls_due`] on the
    /// coordinators' phones; and the report's history says when.
    ///
    /// # Errors
    /// As [`Engine::change`].
    pub fn withdraw_consent(&mut self, observation: DocumentId, audience: &str) -> Result<(), Error> {
        self.change::<Observation>(observation, |content| {
            content.consent.retain(|consent| consent != audience);
            Ok(())
        })
    }

    /// Documents of one kind about a document.
    pub(super) fn about<T: WatchDocument>(&mut self, id: DocumentId) -> Result<Vec<T>, Error> {
        let rows = self.rows_about(id)?.into_iter().filter(|row| row.kind == T::KIND);
        rows.map(|row| self.read(row.id)).collect()
    }
}
