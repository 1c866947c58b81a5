//! What the group publishes and whom it works with: the front page, lessons, codes, referrals, the auditor's log.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::Typed;
use super::engine::Engine;
use super::error::Error;
use super::membership::settings;
use crate::base::DocumentId;
use crate::watch::audit_entry::check_log;
use crate::watch::catalogue_update::{self, Standing};
use crate::watch::referral::REDISCLOSURE_NOTICE;
use crate::watch::{
    AuditEntry, Bulletin, Catalogue, CatalogueUpdate, Complaint, Finding, Invalid, Kind, Lesson,
    LessonRecord, Referral,
};

impl Engine {
    /// Bulletins that are current, latest change first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn front_page(&mut self) -> Result<Vec<Typed<Bulletin>>, Error> {
        let now_ms = self.now_ms();
        let mut bulletins = self.all::<Bulletin>()?;
        bulletins.retain(|bulletin| bulletin.content.is_current(now_ms));
        Ok(bulletins)
    }

    /// Lessons that can be taken, latest first.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn lessons(&mut self) -> Result<Vec<Typed<Lesson>>, Error> {
        let now_ms = self.now_ms();
        let mut lessons = self.all::<Lesson>()?;
        lessons.retain(|lesson| lesson.content.is_current(now_ms));
        Ok(lessons)
    }

    /// Takes a lesson: grades the answers, one for each question from 0, and records that this member passed. What was
    /// recorded alone and waited for that comes along.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Invalid`] if the answers do not pass, or the lesson has expired; [`Error::Role`].
    pub fn take_lesson(&mut self, lesson: DocumentId, answers: Vec<u32>) -> Result<DocumentId, Error> {
        let content: Lesson = self.read(lesson)?;
        let record = LessonRecord { lesson: lesson.to_string(), answers, at_ms: self.now_ms() };
        record.validate_for(&content)?;
        let id = self.create_own(&record)?;
        self.bring_along()?;
        Ok(id)
    }

    /// Whether this member may report, where the group asks for a lesson first ([`settings::LESSON_FIRST`]): once they have
    /// passed one of those meant for that, or none can be taken any more.
    ///
    /// It binds the member's own device and no other: a record may reach others later than the report, and what counts must
    /// not depend on that.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what to do.
    pub(super) fn must_have_learned(&mut self) -> Result<(), Error> {
        let Ok(state) = self.state() else { return Ok(()) };
        if state.setting(settings::LESSON_FIRST).is_none_or(|asked| asked == 0) {
            return Ok(());
        }
        // This comes before every report: the rows are read for the first alone.
        self.index()?;
        let mut asked = self.all::<Lesson>()?;
        asked.retain(|lesson| lesson.content.before_reporting);
        if asked.is_empty() {
            let remedy = "sync first; what was typed stays in a draft";
            return Err(Invalid::new("lesson", "before a first report has not arrived yet", remedy).into());
        }
        let me = self.member_id();
        let taken = self.of_kind(Kind::LESSON_RECORD)?.into_iter().filter(|(_, author)| *author == me);
        for (id, _) in taken {
            let record: LessonRecord = self.read(id)?;
            let lesson = asked.iter().find(|lesson| lesson.id.to_string() == record.lesson);
            if lesson.is_some_and(|lesson| lesson.content.is_passed(&record.answers)) {
                return Ok(());
            }
        }
        let now_ms = self.now_ms();
        if !asked.iter().any(|lesson| lesson.content.is_current(now_ms)) {
            return Ok(());
        }
        let remedy = "take the lesson first; what was typed stays in a draft";
        Err(Invalid::new("lesson", "before a first report has not been passed", remedy).into())
    }

    /// Whether there is a lesson to take before a first report.
    pub(super) fn has_first_lesson(&mut self) -> Result<bool, Error> {
        Ok(self.lessons()?.iter().any(|lesson| lesson.content.before_reporting))
    }

    /// A catalogue as it stands at a time given in milliseconds since the Unix epoch, with the group's updates.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn catalogue(&mut self, base: &Catalogue, time_ms: i64) -> Result<Standing, Error> {
        let updates = self.all::<CatalogueUpdate>()?;
        Ok(catalogue_update::standing(
            base,
            updates.iter().map(|update| (update.id, &update.content)),
            time_ms,
        ))
    }

    /// Refers somebody who consents. The notice of 42 CFR 2.32 is filled in.
    ///
    /// # Errors
    /// [`Error::Invalid`] without consent; [`Error::Role`].
    pub fn refer(&mut self, referral: Referral) -> Result<DocumentId, Error> {
        self.create_own(&Referral { notice: REDISCLOSURE_NOTICE.to_owned(), ..referral })
    }

    /// Takes back the consent to a referral of this member's own.
    ///
    /// # Errors
    /// As [`Engine::change`].
    pub fn withdraw_referral(&mut self, referral: DocumentId) -> Result<(), Error> {
        let now_ms = self.now_ms();
        self.change::<Referral>(referral, |content| {
            content.withdraw(now_ms);
            Ok(())
        })
    }

    /// Complains, to the coordinators and the auditor.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::Role`] in a group that was founded without the auditor's compartment.
    pub fn complain(&mut self, complaint: Complaint) -> Result<DocumentId, Error> {
        self.create_own(&Complaint { at_ms: self.now_ms(), ..complaint })
    }

    /// The disclosure log, as the auditor and the coordinators have it.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn disclosure_log(&mut self) -> Result<BTreeMap<DocumentId, AuditEntry>, Error> {
        Ok(self.all::<AuditEntry>()?.into_iter().map(|entry| (entry.id, entry.content)).collect())
    }

    /// Looks the disclosure log through: entries that others cite and that are not here, and releases without one.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn audit(&mut self) -> Result<BTreeSet<Finding>, Error> {
        let log = self.disclosure_log()?;
        let releases = self.of_kind(Kind::RELEASE)?.into_iter();
        Ok(check_log(&log, releases.map(|(id, _)| id)))
    }
}
