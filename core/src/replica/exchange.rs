//! Files for other programs, and drafts from them.
//!
//! What is written out is what this device may read. The calls here choose the content; `exchange` knows the formats.

use std::collections::BTreeSet;

use super::app::Replica;
use super::disclosures::{Copy, Outside};
use super::documents::Typed;
use super::engine::Engine;
use super::error::Error;
use super::record::ObservationDraft;
use crate::base::DocumentId;
use crate::exchange::icalendar::{self, Event};
use crate::exchange::open311::{self, Place};
use crate::exchange::{self, Format, Language, Ledger, cap, csv, geojson, page};
use crate::watch::{Bulletin, Disclosure, Invalid, Meeting, Observation, Outcome, Release, Shift};

/// One feature or row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportRow {
    /// Its number in the file, from 1; a header is not counted.
    pub number: usize,
    /// Line of the file where it starts, from 1.
    pub line: usize,
    /// What [`Engine::record`] may file once a person has looked at it, or what is wrong, for whoever keeps the file.
    pub draft: Result<ObservationDraft, String>,
    /// Names of what is in the file and not in the draft.
    pub left_out: Vec<String>,
}

impl Engine {
    /// A release as a file. It holds what the release holds, and neither its recipient nor its sources. On a coordinator's
    /// device it is recorded as a copy that leaves the group, and the reporters are told who got it and why; the liaison's
    /// own copy is in the log already.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Invalid`] if it is not said who gets it and why, or the release was called back, or has
    /// to be; [`Error::Role`] if this member is neither a coordinator nor the recipient.
    pub fn export_release(
        &mut self,
        release: DocumentId,
        format: Format,
        to: &Outside,
    ) -> Result<Vec<u8>, Error> {
        let content: Release = self.read(release)?;
        self.log_copy(release, &Copy::Outside(to), exchange::fields(&content, format))?;
        Ok(exchange::release(&content, format))
    }

    /// What became of all reports that this device holds.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn ledger(&mut self) -> Result<Ledger, Error> {
        let reports: Vec<String> =
            self.all::<Observation>()?.into_iter().map(|report| report.id.to_string()).collect();
        let (mut disclosures, mut recalled) = (Vec::new(), BTreeSet::new());
        for Typed { content, .. } in self.all::<Disclosure>()? {
            let release = DocumentId::parse(&content.release).ok();
            if release.map(|release| self.recall_notice(release)).transpose()?.flatten().is_some() {
                recalled.insert(content.release.clone());
            }
            disclosures.push(content);
        }
        let outcomes: Vec<_> = self.all::<Outcome>()?.into_iter().map(|typed| typed.content).collect();
        Ok(Ledger::count(reports.iter().map(String::as_str), &disclosures, &outcomes, &recalled))
    }

    /// The ledger on a sheet of paper, as HTML.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn export_ledger(&mut self, language: Language) -> Result<Vec<u8>, Error> {
        Ok(page::ledger(&self.ledger()?, self.now_ms(), language).into_bytes())
    }

    /// What was published of many reports ([`Engine::publish_statistics`]): places with many, and totals.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a sheet is asked for; errors of the store.
    pub fn export_research(&mut self, format: Format) -> Result<Vec<u8>, Error> {
        let months = self.hotspots()?;
        match format {
            Format::Csv => Ok(csv::research(&months)),
            Format::GeoJson => Ok(geojson::research(&months)),
            Format::Page(_) => {
                Err(Invalid::new("format", "has no research profile", "choose a table or features").into())
            }
        }
    }

    /// A bulletin as a CAP alert. `sender` is the group's address, as [`cap::Alert::sender`].
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Kind`]; [`Error::Invalid`] if CAP has no form for it.
    pub fn export_bulletin(&mut self, bulletin: DocumentId, sender: &str) -> Result<Vec<u8>, Error> {
        let (revision, changed_ms) = self.changes(bulletin)?;
        let origin =
            cap::Origin { id: bulletin.to_string(), sender: sender.to_owned(), revision, changed_ms };
        Ok(cap::alert(&cap::Alert::of(&self.read::<Bulletin>(bulletin)?, &origin))?)
    }

    /// All meetings and shifts as a calendar. `name` is what the calendar is called.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is none, or one has no form in a calendar; errors of the store.
    pub fn export_calendar(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let mut events = Vec::new();
        for meeting in self.all::<Meeting>()? {
            let (revision, changed_ms) = self.changes(meeting.id)?;
            events.push(Event::of_meeting(&meeting.id.to_string(), &meeting.content, revision, changed_ms));
        }
        for shift in self.all::<Shift>()? {
            let (revision, changed_ms) = self.changes(shift.id)?;
            events.push(Event::of_shift(&shift.id.to_string(), &shift.content, revision, changed_ms));
        }
        events.sort_by(|a, b| (a.starts_ms, &a.uid).cmp(&(b.starts_ms, &b.uid)));
        Ok(icalendar::calendar(name, &events)?)
    }

    /// An event of a release, counted from 0, as a request to the city's services: as [`open311::request`]. It is recorded as
    /// a copy, as that of [`Engine::export_release`] is; the city is named by its jurisdiction or else by the service.
    ///
    /// # Errors
    /// As [`Engine::export_release`]; [`Error::Invalid`] if it is about more than a place.
    pub fn export_place_condition(
        &mut self,
        release: DocumentId,
        event: usize,
        service_code: &str,
        jurisdiction: &str,
        place: &Place,
    ) -> Result<String, Error> {
        let content: Release = self.read(release)?;
        let item = content.items.get(event).ok_or(Error::NotHere(release))?;
        let request = open311::request(item, service_code, jurisdiction, place)?;
        let city = if jurisdiction.is_empty() { service_code } else { jurisdiction };
        let to = Outside { recipient: city.to_owned(), purpose: open311::PURPOSE.to_owned() };
        self.log_copy(release, &Copy::Outside(&to), vec!["what_happened".to_owned()])?;
        Ok(request)
    }

    /// Reads a GeoJSON or CSV file into drafts. Nothing is filed: a person looks at them first.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if nothing of the file can be used.
    pub fn import(&mut self, bytes: &[u8]) -> Result<Vec<ImportRow>, Error> {
        let imported = exchange::import(bytes, self.now_ms())?;
        let rows = imported.rows.into_iter().map(|row| {
            let left_out = row.draft.iter().flat_map(|draft| draft.rest.keys().cloned()).collect();
            let draft = row
                .draft
                .map(|draft| ObservationDraft { observation: draft.observation, sealed: draft.sealed });
            ImportRow { number: row.number, line: row.line, draft, left_out }
        });
        Ok(rows.collect())
    }

    /// How many changes a document is made of, and when the last one was made, in milliseconds since the Unix epoch.
    fn changes(&self, id: DocumentId) -> Result<(u32, i64), Error> {
        let row = self.row(id)?.ok_or(Error::NotHere(id))?;
        Ok((row.entries, i64::try_from(row.updated_ms).unwrap_or(i64::MAX)))
    }
}

impl Replica {
    /// A release as a file, for somebody outside the group.
    ///
    /// # Errors
    /// As [`Engine::export_release`].
    pub async fn export_release(
        &self,
        release: DocumentId,
        format: Format,
        to: Outside,
    ) -> Result<Vec<u8>, Error> {
        self.run(move |engine| engine.export_release(release, format, &to)).await
    }

    /// What became of all reports.
    ///
    /// # Errors
    /// As [`Engine::ledger`].
    pub async fn ledger(&self) -> Result<Ledger, Error> {
        self.run(Engine::ledger).await
    }

    /// The ledger on a sheet of paper, as HTML.
    ///
    /// # Errors
    /// As [`Engine::export_ledger`].
    pub async fn export_ledger(&self, language: Language) -> Result<Vec<u8>, Error> {
        self.run(move |engine| engine.export_ledger(language)).await
    }

    /// What was published of many reports.
    ///
    /// # Errors
    /// As [`Engine::export_research`].
    pub async fn export_research(&self, format: Format) -> Result<Vec<u8>, Error> {
        self.run(move |engine| engine.export_research(format)).await
    }

    /// A bulletin as a CAP alert.
    ///
    /// # Errors
    /// As [`Engine::export_bulletin`].
    pub async fn export_bulletin(&self, bulletin: DocumentId, sender: String) -> Result<Vec<u8>, Error> {
        self.run(move |engine| engine.export_bulletin(bulletin, &sender)).await
    }

    /// All meetings and shifts as a calendar.
    ///
    /// # Errors
    /// As [`Engine::export_calendar`].
    pub async fn export_calendar(&self, name: String) -> Result<Vec<u8>, Error> {
        self.run(move |engine| engine.export_calendar(&name)).await
    }

    /// An event of a release as a request to the city's services.
    ///
    /// # Errors
    /// As [`Engine::export_place_condition`].
    pub async fn export_place_condition(
        &self,
        release: DocumentId,
        event: usize,
        service_code: String,
        jurisdiction: String,
        place: Place,
    ) -> Result<String, Error> {
        self.run(move |engine| {
            engine.export_place_condition(release, event, &service_code, &jurisdiction, &place)
        })
        .await
    }

    /// Reads a GeoJSON or CSV file into drafts.
    ///
    /// # Errors
    /// As [`Engine::import`].
    pub async fn import(&self, bytes: Vec<u8>) -> Result<Vec<ImportRow>, Error> {
        self.run(move |engine| engine.import(&bytes)).await
    }
}
