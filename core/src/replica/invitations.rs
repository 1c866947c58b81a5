//! A coordinator's side of an invitation: making it, judging who comes with it, telling the relay (PROTOCOL.md §4.7, §5.5).

mod knocks;

use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::membership::JoinRequest;
use crate::base::{DeviceId, DocumentId, MailboxId, MemberId, RoleId, address, cbor, limits};
use crate::entry::invitation::{Invitation, InvitationSecret};
use crate::entry::link;
use crate::storage::{Batch, Table};
use crate::sync::mailbox::OpenMailbox;
use crate::sync::session::Mail;
use crate::watch::{Invalid, InvitationRecord, Kind};
pub(super) use knocks::KNOCKS;
use knocks::spent;

/// Somebody who came with an invitation of this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// The invitation.
    pub invitation: MailboxId,
    /// The device that knocked.
    pub device: DeviceId,
    /// What the newcomer's screen shows too: to be compared over the phone or face to face before anybody is approved. None
    /// until the two phones have agreed on it, which they do by themselves when they connect, and if the request cannot be
    /// read.
    pub code: Option<String>,
    /// The role that the invitation leads to.
    pub role: RoleId,
    /// When it came, by the relay's clock, in milliseconds since the Unix epoch.
    pub came_ms: u64,
    /// Why it cannot be approved; the newcomer is told so by itself.
    pub problem: Option<String>,
}

/// An invitation that somebody may still come with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenInvitation {
    /// The invitation.
    pub invitation: MailboxId,
    /// The coordinator who made it.
    pub by: MemberId,
    /// Whether that is this device's member.
    pub is_own: bool,
    /// The role that it leads to.
    pub role: RoleId,
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// mailbox → sealed [`InvitationRow`]: what the group's invitation documents say.
pub(super) const INVITATIONS: Table = Table(15);

#[derive(Clone, Encode, Decode)]
#[cbor(map)]
struct InvitationRow {
    #[n(0)]
    document: DocumentId,
    #[n(1)]
    secret: InvitationSecret,
    #[n(2)]
    role: RoleId,
    #[n(3)]
    expiry_ms: u64,
    #[n(4)]
    withdrawn: bool,
}

impl Engine {
    /// Makes an invitation that is open for `lasts_ms` milliseconds, at most 30 days. It works once this device has
    /// synced, and can be judged by every coordinator's device.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::NoRelay`] before the first sync; [`Error::Address`] if the
    /// relay's address is too long; [`Error::Invalid`] for a role or time that cannot be; errors of the store.
    pub fn invite(&mut self, role: RoleId, lasts_ms: u64) -> Result<Invitation, Error> {
        self.must_govern("invite anybody")?;
        let group = self.group()?;
        let relay_url = address::checked(&group.relay.url.clone().ok_or(Error::NoRelay)?)?;
        let id = group.roll.group();
        if !link::fits(&relay_url) {
            return Err(Error::Address("it is too long for an invitation".to_owned()));
        }
        if !(1_000..=limits::INVITATION_MS_MAX).contains(&lasts_ms) {
            let remedy = "choose a time between a second and 30 days";
            return Err(Invalid::new("lasts_ms", "is too short or too long", remedy).into());
        }
        if self.open_invitations()?.len() >= limits::MAILBOXES_MAX {
            let remedy = "wait until some of them have been used or have expired";
            return Err(Invalid::new("invitations", "are open in too great a number", remedy).into());
        }
        let mut secret = InvitationSecret([0; 16]);
        self.rng.fill_bytes(&mut secret.0);
        let expires_s = self.clock.now_ms().saturating_add(lasts_ms) / 1_000;
        let record = InvitationRecord {
            secret: secret.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            role: role.0,
            expiry_ms: i64::try_from(expires_s.saturating_mul(1_000)).unwrap_or(i64::MAX),
            withdrawn: false,
        };
        record.validate()?;
        self.write_new(Kind::INVITATION, &record)?;
        Ok(Invitation { relay_url, group: id, role, secret, expires_s })
    }

    /// The invitations that are open as far as this device has heard, the first to expire first. Empty for a member who does
    /// not govern.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn invitations(&mut self) -> Result<Vec<OpenInvitation>, Error> {
        self.fresh()?;
        let me = self.member_id();
        let spent = spent(&self.knocks()?);
        let mut invitations = Vec::new();
        for (invitation, row) in self.open_invitations()? {
            let Some(document) = self.row(row.document)?.filter(|_| !spent.contains(&invitation)) else {
                continue;
            };
            invitations.push(OpenInvitation {
                invitation,
                by: document.author,
                is_own: document.author == me,
                role: row.role,
                expires_ms: row.expiry_ms,
            });
        }
        invitations.sort_by_key(|open| (open.expires_ms, open.invitation));
        Ok(invitations)
    }

    /// Withdraws an invitation. Every coordinator's device hears of it, and whoever comes with it is refused with that
    /// reason, as is who has come and waits. If nobody has come, nothing else is told.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::Settled`] if there is no such invitation here, or somebody has
    /// been admitted by it; errors of the store.
    pub fn withdraw_invitation(&mut self, invitation: MailboxId) -> Result<(), Error> {
        self.must_govern("withdraw an invitation")?;
        let gone = || Error::Settled("there is no such invitation here");
        let row = self.invitation(invitation)?.ok_or_else(gone)?;
        if self.state()?.invited(invitation).is_some() {
            return Err(Error::Settled("somebody has been admitted by it already"));
        }
        if row.withdrawn {
            return Ok(());
        }
        let mut record: InvitationRecord =
            self.load(row.document)?.read().map_err(|e| Error::Kind(e.to_string()))?;
        record.withdrawn = true;
        self.transact(|engine, batch| {
            engine.mail_mark += 1;
            engine.write(batch, Kind::INVITATION, row.document, &record)
        })
    }

    /// Who has come and waits, earliest first, and who cannot be approved. Empty for a member who does not govern.
    ///
    /// # Errors
    /// [`Error::NoGroup`]; errors of the store.
    pub fn pending(&mut self) -> Result<Vec<PendingRequest>, Error> {
        self.fresh()?;
        let mut pending = Vec::new();
        for (mailbox, device, row) in self.knocks()? {
            let Some(invitation) = self.invitation(mailbox)?.filter(|_| !row.settled) else { continue };
            let Some(judged) = self.judge_knock(mailbox, device, &row, &invitation)? else { continue };
            if row.refused.is_some() && judged.problem.is_none() {
                continue;
            }
            pending.push(PendingRequest {
                invitation: mailbox,
                device,
                code: judged.opened(&row).map(|opened| opened.code.clone()),
                role: invitation.role,
                came_ms: row.came_ms,
                problem: judged.problem,
            });
        }
        pending.sort_by_key(|request| (request.came_ms, request.device));
        Ok(pending)
    }

    /// Admits whoever sent this request, in the role of the invitation, which is used up by it. To be called when two
    /// people have compared the code. If another coordinator was faster, nothing is left to do.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::NoCodeYet`] if there was no code to compare;
    /// [`Error::Approval`] says why the request cannot be approved.
    pub fn approve(&mut self, request: &PendingRequest) -> Result<(), Error> {
        self.must_govern("admit anybody")?;
        let (row, invitation) = self.request_row(request)?;
        let Some(judged) = self.judge_knock(request.invitation, request.device, &row, &invitation)? else {
            return Ok(());
        };
        if row.settled || row.refused.is_some() {
            return Err(Error::Approval("a coordinator has refused it".to_owned()));
        }
        if let Some(problem) = judged.problem {
            return Err(Error::Approval(problem));
        }
        let opened = judged.opened(&row).ok_or(Error::NoCodeYet)?;
        // What was compared is what is approved.
        if request.code.as_ref() != Some(&opened.code) {
            return Err(Error::NoCodeYet);
        }
        let join = JoinRequest::from_bytes(opened.certificate.as_bytes().to_vec());
        self.admit_invited(&join, invitation.role, Some(request.invitation))?;
        self.changed.insert(invitation.document);
        Ok(())
    }

    /// Refuses this request. The newcomer reads the reason, of at most 800 bytes; nobody else does. The invitation is
    /// spent.
    ///
    /// # Errors
    /// [`Error::Role`] unless this member governs; [`Error::Approval`] if there is no such request any more;
    /// [`Error::Settled`] if whoever sent it was admitted.
    pub fn refuse(&mut self, request: &PendingRequest, reason: &str) -> Result<(), Error> {
        self.must_govern("refuse anybody")?;
        let (row, invitation) = self.request_row(request)?;
        if self.judge_knock(request.invitation, request.device, &row, &invitation)?.is_none() {
            return Err(Error::Settled(
                "whoever sent this request has been admitted already, by you or another coordinator: to undo that, remove \
                 the member",
            ));
        }
        if row.settled || row.refused.is_some() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            engine.put_refusal(batch, (request.invitation, request.device), row, &invitation, reason)
        })
    }

    /// What the relay is to be told: mailboxes to be open, answers and countersignatures. Refuses what cannot be approved, and forgets what
    /// is long over. To be called with everything fetched.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn mail(&mut self) -> Result<Vec<Mail>, Error> {
        self.fresh()?;
        if !self.state()?.governs(self.device_id()) {
            return Ok(Vec::new());
        }
        self.refuse_hopeless()?;
        self.lock_commitments()?;
        let spent = spent(&self.knocks()?);
        let open = self.open_invitations()?;
        let open = open.into_iter().filter(|(mailbox, _)| !spent.contains(mailbox));
        let mut mail: Vec<Mail> = open
            .map(|(mailbox, row)| Mail::Open(OpenMailbox { mailbox, expires_ms: row.expiry_ms }))
            .take(limits::MAILBOXES_MAX)
            .collect();
        mail.extend(self.knock_mail()?);
        Ok(mail)
    }

    /// Enters an invitation, from its document, where it is found by its mailbox.
    pub(super) fn put_invitation(
        &mut self,
        batch: &mut Batch,
        document: DocumentId,
        record: &InvitationRecord,
    ) -> Result<(), Error> {
        // One that somebody wrote wrongly opens nothing.
        let Ok(secret) = MailboxId::parse(&record.secret).map(|id| InvitationSecret(id.0)) else {
            return Ok(());
        };
        let mailbox = secret.mailbox(self.group()?.roll.group());
        let expiry_ms = u64::try_from(record.expiry_ms).unwrap_or_default();
        let (role, withdrawn) = (RoleId(record.role), record.withdrawn);
        let row = InvitationRow { document, secret, role, expiry_ms, withdrawn };
        self.put_sealed(batch, INVITATIONS, mailbox.0.to_vec(), &row)
    }

    /// Invitations that are neither used up nor withdrawn nor expired.
    fn open_invitations(&self) -> Result<Vec<(MailboxId, InvitationRow)>, Error> {
        let (state, now_ms) = (Arc::clone(self.state()?), self.clock.now_ms());
        let mut open = Vec::new();
        for (key, sealed) in self.store.scan(INVITATIONS, &[], None, usize::MAX)? {
            let row: InvitationRow = self.open_sealed(INVITATIONS, &key, &sealed)?;
            let mailbox = key.try_into().map(MailboxId);
            open.extend(mailbox.ok().filter(|_| now_ms < row.expiry_ms).map(|mailbox| (mailbox, row)));
        }
        open.retain(|(mailbox, row)| !row.withdrawn && state.invited(*mailbox).is_none());
        Ok(open)
    }

    fn invitation(&self, mailbox: MailboxId) -> Result<Option<InvitationRow>, Error> {
        self.sealed_row(INVITATIONS, &mailbox.0)
    }

    /// Writes a row that must not lie on the disk in the clear.
    pub(super) fn put_sealed<T: Encode<()>>(
        &mut self,
        batch: &mut Batch,
        table: Table,
        key: Vec<u8>,
        row: &T,
    ) -> Result<(), Error> {
        let plain = zeroize::Zeroizing::new(cbor::encode(row));
        let sealed = self.cipher.seal(&mut self.rng, table, &key, &plain)?;
        batch.put(table, key, sealed);
        Ok(())
    }

    /// Reads a row that [`Engine::put_sealed`] wrote.
    pub(super) fn sealed_row<T>(&self, table: Table, key: &[u8]) -> Result<Option<T>, Error>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let sealed = self.store.get(table, key)?;
        sealed.map(|sealed| self.open_sealed(table, key, &sealed)).transpose()
    }

    fn open_sealed<T>(&self, table: Table, key: &[u8], sealed: &[u8]) -> Result<T, Error>
    where
        T: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let plain = self.cipher.open(table, key, sealed)?;
        disk::decode(&plain)
    }
}

#[cfg(test)]
mod tests;
