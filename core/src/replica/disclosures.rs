//! Every outbound copy has its record: who received it, why, when, and what of it left.

use super::engine::Engine;
use super::error::Error;
use crate::base::DocumentId;
use crate::storage::Batch;
use crate::watch::recall::RecallDue;
use crate::watch::{AuditEntry, Disclosure, Invalid, Kind, Release, WatchDocument as _};

/// Who outside the group gets a file, and what for: what the log says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// One line: an office rather than a person, such as 'Street lighting, City Hall'.
    pub recipient: String,
    /// What they may use it for.
    pub purpose: String,
}

/// To whom a further copy of a release goes.
pub(super) enum Copy<'a> {
    /// To somebody outside.
    Outside(&'a Outside),
    /// To the member who has the release.
    Recipient,
}

impl Engine {
    /// Writes the record of a copy, and the auditor's, within a write.
    pub(super) fn write_disclosure(
        &mut self,
        batch: &mut Batch,
        disclosure: &Disclosure,
    ) -> Result<(), Error> {
        disclosure.validate()?;
        let id = self.new_id(Kind::DISCLOSURE);
        self.write(batch, Kind::DISCLOSURE, id, disclosure)?;
        // A group that was founded before there was an auditor's compartment has none.
        if !self.can_write(Kind::AUDIT_ENTRY)? {
            return Ok(());
        }
        let audit = AuditEntry::of(disclosure, &self.disclosure_log()?);
        audit.validate()?;
        let id = self.new_id(Kind::AUDIT_ENTRY);
        self.write(batch, Kind::AUDIT_ENTRY, id, &audit)
    }

    /// Records that a further copy of a release leaves, durably: so before it does. On the recipient's device, which does not
    /// keep the log, there is nothing to record: their copy is in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the release was called back or has to be, or it is not said who receives it and why;
    /// [`Error::Role`] if this member neither keeps the log nor is the release's recipient.
    pub(super) fn log_copy(
        &mut self,
        release: DocumentId,
        to: &Copy<'_>,
        what: Vec<String>,
    ) -> Result<(), Error> {
        if !self.can_write(Kind::DISCLOSURE)? {
            let is_recipient = self.read::<Release>(release)?.recipient == self.member_id().to_string();
            return if is_recipient { Ok(()) } else { Err(Error::Role("copy somebody else's release")) };
        }
        self.must_stand(release)?;
        let mut records = self.about::<Disclosure>(release)?.into_iter();
        let record = records.find(|record| record.outside.is_empty()).ok_or(Error::NotHere(release))?;
        let record = Disclosure { at_ms: self.now_ms(), what, ..record };
        let record = match to {
            Copy::Recipient => record,
            Copy::Outside(Outside { recipient, purpose }) => {
                if recipient.trim().is_empty() {
                    let remedy = "say which office gets the file; its reporters are told";
                    return Err(Invalid::new("recipient", "is missing", remedy).into());
                }
                Disclosure {
                    recipient: String::new(),
                    recipient_role: 0,
                    outside: recipient.clone(),
                    purpose: purpose.clone(),
                    ..record
                }
            }
        };
        self.transact(|engine, batch| engine.write_disclosure(batch, &record))
    }

    /// Refuses to copy what was called back, or rests on words that may not be passed on any more.
    fn must_stand(&mut self, release: DocumentId) -> Result<(), Error> {
        let mut about = self.rows_about(release)?.into_iter();
        if about.any(|row| row.kind == Kind::RECALL && row.about.first() == Some(&release)) {
            return Err(Invalid::new("release", "was called back", "hand over what takes its place").into());
        }
        let due = self.recalls_due()?.into_iter().find(|due| due.release == release.to_string());
        let Some(RecallDue { reason, .. }) = due else { return Ok(()) };
        let problem = format!("is to be called back ({reason})");
        Err(Invalid::new("release", problem, "call it back, or revise it, and copy the revision").into())
    }
}
