//! Whether a report may be handed over as its author's words stand: what a coordinator is shown before they choose it.

use super::engine::Engine;
use super::error::Error;
use super::view::Row;
use crate::base::DocumentId;
use crate::watch::correction::RETRACTION;
use crate::watch::guard;
use crate::watch::release::LIAISON_CONSENT;
use crate::watch::{Invalid, Kind, Observation};

/// Why a report may not be handed over to the liaison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeldBack {
    /// Its author took it back.
    #[error("its author took it back: leave it out")]
    Retracted,
    /// Its author allowed it once, and not any more.
    #[error("its author withdrew the consent: leave it out, and call back what rests on it")]
    ConsentWithdrawn,
    /// Its author never allowed it.
    #[error("its author has not allowed it: ask them, or leave it out")]
    NoConsent,
    /// The observer stood in a private place of somebody else. It may leave once a coordinator has reviewed that
    /// ([`Redaction::vantage_reviewed`](crate::watch::Redaction::vantage_reviewed)).
    #[error("the observer was in a private place: ask why they were there, and review it")]
    PrivateVantage,
}

impl Engine {
    /// Why an observation may not be handed over as its author's words stand here; none if it may. For lists to choose from:
    /// [`Engine::get`] says it too, and [`Engine::release`] refuses by it.
    ///
    /// # Errors
    /// [`Error::NotHere`]; errors of the store.
    pub fn held_back(&mut self, observation: DocumentId) -> Result<Option<HeldBack>, Error> {
        let content: Observation = self.read(observation)?;
        let about = self.rows_about(observation)?;
        self.held_back_of(observation, &content, &about)
    }

    /// As [`Engine::held_back`], of what is loaded.
    pub(super) fn held_back_of(
        &mut self,
        id: DocumentId,
        content: &Observation,
        about: &[Row],
    ) -> Result<Option<HeldBack>, Error> {
        if about.iter().any(|row| row.kind == Kind::CORRECTION && row.title == RETRACTION) {
            return Ok(Some(HeldBack::Retracted));
        }
        let allows =
            |content: &Observation| content.consent.iter().any(|audience| audience == LIAISON_CONSENT);
        if !allows(content) {
            let once = self.versions::<Observation>(id)?.iter().any(allows);
            return Ok(Some(if once { HeldBack::ConsentWithdrawn } else { HeldBack::NoConsent }));
        }
        let is_private = guard::judge_vantage(&content.vantage) != guard::Verdict::Pass;
        Ok(is_private.then_some(HeldBack::PrivateVantage))
    }

    /// Refuses to hand over what its author took back. The rest of the reasons, redaction refuses by.
    pub(super) fn must_not_be_retracted(&mut self, observation: DocumentId) -> Result<(), Error> {
        if self.held_back(observation)? == Some(HeldBack::Retracted) {
            let problem = format!("{} was taken back by its author", observation.short());
            return Err(Invalid::new("observation", problem, "leave it out").into());
        }
        Ok(())
    }
}
