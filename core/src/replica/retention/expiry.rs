//! The last day of a document's entries: of the first by the group's policy, of the others that of what they build on
//! (PROTOCOL.md §4.9, §6.3). So nobody's words go before those that rest on them.

use std::collections::BTreeMap;

use super::from_ms;
use crate::base::DocumentId;
use crate::document::AuthoredChange;
use crate::entry::LogId;
use crate::replica::disk;
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::replica::membership::settings;
use crate::replica::receive::NewPart;
use crate::watch::bulletin::LASTS_MS_MAX;
use crate::watch::kinds::{last_day, may_expire};
use crate::watch::{Content as Shown, Invalid, Kind};

/// Why nobody goes on with a document.
const OVER: &str = "the last day of this document is over, and it goes everywhere: write a new one";

impl Engine {
    /// Whether parts of a document, stored or new, have different last days.
    pub(in crate::replica) fn days_differ(
        &self,
        kind: Kind,
        stored: &[(LogId, u64)],
        parts: &[NewPart],
    ) -> Result<bool, Error> {
        if !may_expire(kind) {
            return Ok(false);
        }
        let mut days = self.days_of(stored)?;
        days.extend(parts.iter().map(|part| part.day));
        Ok(days.windows(2).any(|pair| pair.first() != pair.last()))
    }

    /// Makes sure that a document may be gone on with: that its time is not over, by the day on which this device drops.
    pub(in crate::replica) fn must_last(&self, kind: Kind, id: DocumentId) -> Result<(), Error> {
        if !may_expire(kind) || self.group.is_none() {
            return Ok(());
        }
        let first = last_day(self.days_of(&self.parts(id)?)?);
        if first.is_some_and(|day| day < self.today()) { Err(Error::Settled(OVER)) } else { Ok(()) }
    }

    fn days_of(&self, places: &[(LogId, u64)]) -> Result<Vec<Option<u32>>, Error> {
        let mut days = Vec::with_capacity(places.len());
        for (log, seq) in places {
            let entry = disk::read_entry(&*self.store, *log, *seq)?;
            days.extend(entry.map(|entry| entry.header().expiry_day));
        }
        Ok(days)
    }

    /// The last day of what a change builds on.
    fn day_behind(&mut self, parts: &[(LogId, u64)], change: &AuthoredChange) -> Result<Option<u32>, Error> {
        let days = self.days_of(parts)?;
        if days.windows(2).all(|pair| pair.first() == pair.last()) {
            return Ok(last_day(days));
        }
        let mut by_change = BTreeMap::new();
        for (log, seq) in parts {
            let Some(entry) = disk::read_entry(&*self.store, *log, *seq)? else { continue };
            if let Some(change) = self.change_of(&entry)? {
                by_change.entry(change.hash()).or_insert(entry.header().expiry_day);
            }
        }
        Ok(last_day(change.deps().iter().filter_map(|dep| by_change.get(dep).copied())))
    }

    /// The day after which a new entry of a document may be dropped: that of what its change builds on, if it has anything.
    pub(in crate::replica) fn expiry_of(
        &mut self,
        kind: Kind,
        id: DocumentId,
        change: &AuthoredChange,
        shown: Option<&Shown>,
    ) -> Result<Option<u32>, Error> {
        let setting = match kind {
            Kind::OBSERVATION | Kind::SEALED | Kind::ANNOTATION => Some(settings::UNLINKED_DAYS),
            Kind::RELEASE | Kind::RESPONSE => Some(settings::LIAISON_DAYS),
            Kind::BULLETIN => None,
            _ => return Ok(None),
        };
        let parts = self.parts(id)?;
        if !parts.is_empty() {
            // A document goes as a whole, whatever the group has agreed on since.
            let day = self.day_behind(&parts, change)?;
            if let (Some(Shown::Bulletin(bulletin)), Some(day)) = (shown, day)
                && from_ms(bulletin.expires_ms) > day
            {
                let remedy = "publish it anew";
                return Err(Invalid::new(
                    "expires_ms",
                    "lies behind the day on which the bulletin goes",
                    remedy,
                )
                .into());
            }
            return Ok(day);
        }
        let state = self.state()?;
        let days = setting.and_then(|setting| {
            let days = state.setting(setting).filter(|days| *days > 0)?;
            let most = if setting == settings::LIAISON_DAYS { settings::LIAISON_DAYS_MAX } else { u64::MAX };
            Some(u32::try_from(days.min(most)).unwrap_or(u32::MAX))
        });
        let ends = match shown {
            Some(Shown::Release(release)) => release.expires_ms.map(from_ms),
            Some(Shown::Bulletin(bulletin)) => Some(from_ms(bulletin.issued_ms.saturating_add(LASTS_MS_MAX))),
            Some(_) | None => None,
        };
        let by_policy = days.map(|days| self.own_day().saturating_add(days));
        Ok(by_policy.into_iter().chain(ends).min())
    }
}
