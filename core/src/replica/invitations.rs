//! A coordinator's side of an invitation: making it, judging who comes with it, telling the relay (PROTOCOL.md §4.7, §5.5).

use std::collections::BTreeSet;
use std::sync::Arc;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::disk;
use super::engine::Engine;
use super::error::Error;
use super::membership::JoinRequest;
use crate::base::{DeviceId, DocumentId, MailboxId, MemberId, RelayId, RoleId, address, cbor, limits};
use crate::entry::Certificate;
use crate::entry::invitation::{Invitation, InvitationSecret};
use crate::entry::keys::SALT_BYTES;
use crate::entry::knock::{self, Knock};
use crate::entry::link::{self, BadLink};
use crate::storage::{Batch, Table};
use crate::sync::mailbox::{Answer, Knocked, OpenMailbox};
use crate::sync::session::Mail;
use crate::watch::{Invalid, InvitationRecord, Kind};

/// Somebody who came with an invitation of this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRequest {
    /// The invitation.
    pub invitation: MailboxId,
    /// The device that knocked.
    pub device: DeviceId,
    /// What the newcomer's screen shows too: to be compared over the phone or face to face before anybody is approved.
    /// Empty if the request cannot be read.
    pub code: String,
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
/// mailbox ‖ device → sealed [`KnockRow`].
pub(super) const KNOCKS: Table = Table(16);

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

#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct KnockRow {
    #[n(0)]
    came_ms: u64,
    /// The relay that handed it over, if it was known by then.
    #[n(1)]
    relay: Option<RelayId>,
    #[n(2)]
    sealed: ByteVec,
    /// Answered by another coordinator.
    #[n(3)]
    settled: bool,
    /// This device's refusal.
    #[n(4)]
    refused: Option<String>,
    /// The refusal, sealed, until the relay has it.
    #[n(5)]
    answer: Option<ByteVec>,
}

/// A knock that was read.
struct Judged {
    code: String,
    certificate: Option<Certificate>,
    problem: Option<String>,
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
                code: judged.code,
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
    /// [`Error::Role`] unless this member governs; [`Error::Approval`] says why the request cannot be approved.
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
        let certificate = judged.certificate.map(|certificate| certificate.as_bytes().to_vec());
        let join = JoinRequest::from_bytes(certificate.unwrap_or_default());
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

    /// Keeps who has knocked, as the relay says. What is not opened by an invitation known here is kept until it is.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn keep_knocks(&mut self, knocks: Vec<Knocked>) -> Result<(), Error> {
        self.fresh()?;
        if !self.state()?.governs(self.device_id()) {
            return Ok(());
        }
        let relay = self.group()?.relay.met();
        let mut rows = self.knocks()?.len();
        self.transact(|engine, batch| {
            for knock in knocks {
                let key = knock_key(knock.mailbox, knock.device);
                let before: Option<KnockRow> = engine.sealed_row(KNOCKS, &key)?;
                let settled = knock.sealed.is_none();
                let row = match (&before, knock.sealed) {
                    // Its own refusal comes back to it.
                    (Some(before), None) => KnockRow { settled: before.refused.is_none(), ..before.clone() },
                    (Some(before), Some(_)) if before.settled || before.refused.is_some() => before.clone(),
                    (_, sealed) if before.is_some() || rows < limits::MAILBOXES_MAX => KnockRow {
                        came_ms: knock.at_ms,
                        relay,
                        sealed: sealed.unwrap_or_else(|| ByteVec::from(Vec::new())),
                        settled,
                        refused: None,
                        answer: None,
                    },
                    _ => continue,
                };
                if before.as_ref() == Some(&row) {
                    continue;
                }
                rows += usize::from(before.is_none());
                engine.put_sealed(batch, KNOCKS, key, &row)?;
                let invitation = engine.invitation(knock.mailbox)?;
                engine.changed.extend(invitation.map(|invitation| invitation.document));
            }
            Ok(())
        })
    }

    /// What the relay is to be told: mailboxes to be open, and answers. Refuses what cannot be approved, and forgets what
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
        let knocks = self.knocks()?;
        let spent = spent(&knocks);
        let open = self.open_invitations()?;
        let open = open.into_iter().filter(|(mailbox, _)| !spent.contains(mailbox));
        let mut mail: Vec<Mail> = open
            .map(|(mailbox, row)| Mail::Open(OpenMailbox { mailbox, expires_ms: row.expiry_ms }))
            .take(limits::MAILBOXES_MAX)
            .collect();
        mail.extend(
            knocks
                .into_iter()
                .filter_map(|(mailbox, _, row)| Some(Mail::Answer(Answer { mailbox, sealed: row.answer? }))),
        );
        Ok(mail)
    }

    /// The relay has this mailbox's answer, or will never take it.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn answered(&mut self, mailbox: MailboxId) -> Result<(), Error> {
        self.fresh()?;
        let rows = self.knocks()?;
        self.transact(|engine, batch| {
            for (_, device, row) in
                rows.into_iter().filter(|(at, _, row)| *at == mailbox && row.answer.is_some())
            {
                engine.put_sealed(
                    batch,
                    KNOCKS,
                    knock_key(mailbox, device),
                    &KnockRow { answer: None, ..row },
                )?;
            }
            Ok(())
        })
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

    fn knocks(&self) -> Result<Vec<(MailboxId, DeviceId, KnockRow)>, Error> {
        let mut knocks = Vec::new();
        for (key, sealed) in self.store.scan(KNOCKS, &[], None, usize::MAX)? {
            let row = self.open_sealed(KNOCKS, &key, &sealed)?;
            let parsed = key.split_first_chunk().and_then(|(mailbox, device)| {
                Some((MailboxId(*mailbox), DeviceId(device.try_into().ok()?), row))
            });
            knocks.push(parsed.ok_or_else(|| Error::store_damaged(&"a knock's key"))?);
        }
        Ok(knocks)
    }

    fn request_row(&self, request: &PendingRequest) -> Result<(KnockRow, InvitationRow), Error> {
        let gone = || Error::Approval("it is not here any more".to_owned());
        let row = self.sealed_row(KNOCKS, &knock_key(request.invitation, request.device))?;
        Ok((row.ok_or_else(gone)?, self.invitation(request.invitation)?.ok_or_else(gone)?))
    }

    /// Reads a knock. None if whoever sent it belongs by now.
    fn judge_knock(
        &self,
        mailbox: MailboxId,
        device: DeviceId,
        row: &KnockRow,
        invitation: &InvitationRow,
    ) -> Result<Option<Judged>, Error> {
        let state = self.state()?;
        let group = self.group()?.roll.group();
        let (knock, certificate) = match Knock::open(&invitation.secret, group, &row.sealed) {
            Ok(opened) => opened,
            Err(why) => {
                let problem = Some(why.to_string());
                return Ok(Some(Judged { code: String::new(), certificate: None, problem }));
            }
        };
        let claims = *certificate.claims();
        let belongs = state.device(claims.device).map(|(device, _)| device.key);
        if claims.device == device && belongs == Some(claims.member) {
            return Ok(None);
        }
        let problem = if claims.device != device {
            Some("it was handed in by another device than the one it names")
        } else if row.relay.is_some_and(|relay| relay != knock.relay) {
            Some("it came by way of another relay than this group's: the invitation was altered")
        } else if belongs.is_some() {
            Some("this device belongs to another member already")
        } else if state.invited(mailbox).is_some() {
            Some("this invitation has been used by somebody else")
        } else if invitation.withdrawn {
            Some("this invitation has been withdrawn: ask the coordinator")
        } else if self.another_was_first(mailbox, device, row)? {
            Some("another device came first with this invitation")
        } else {
            None
        };
        let expired = (self.clock.now_ms() >= invitation.expiry_ms).then(|| BadLink::Expired.to_string());
        Ok(Some(Judged {
            code: knock::short_code(&invitation.secret, certificate.as_bytes()),
            certificate: Some(certificate),
            problem: problem.map(str::to_owned).or(expired),
        }))
    }

    /// After a relay lost its store, two devices may have knocked at the same mailbox.
    fn another_was_first(&self, mailbox: MailboxId, device: DeviceId, row: &KnockRow) -> Result<bool, Error> {
        let knocks = self.knocks()?;
        Ok(knocks.iter().any(|(at, other, before)| {
            *at == mailbox && *other != device && (before.came_ms, *other) < (row.came_ms, device)
        }))
    }

    /// Refuses what came and cannot be approved, and forgets what has been over for as long as it could be open.
    fn refuse_hopeless(&mut self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let long_over = |expiry_ms: u64| expiry_ms.saturating_add(limits::INVITATION_MS_MAX) < now_ms;
        let (mut hopeless, mut over) = (Vec::new(), Vec::new());
        for (mailbox, device, row) in self.knocks()? {
            let Some(invitation) = self.invitation(mailbox)? else {
                if long_over(row.came_ms) {
                    over.push((KNOCKS, knock_key(mailbox, device)));
                }
                continue;
            };
            if long_over(invitation.expiry_ms) {
                over.push((KNOCKS, knock_key(mailbox, device)));
                over.push((INVITATIONS, mailbox.0.to_vec()));
            } else if !row.settled && row.refused.is_none() && now_ms < invitation.expiry_ms {
                let judged = self.judge_knock(mailbox, device, &row, &invitation)?;
                if let Some(problem) = judged.and_then(|judged| judged.problem) {
                    hopeless.push(((mailbox, device), row, invitation, problem));
                }
            }
        }
        if hopeless.is_empty() && over.is_empty() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            over.into_iter().for_each(|(table, key)| batch.delete(table, key));
            hopeless.into_iter().try_for_each(|(place, row, invitation, problem)| {
                engine.put_refusal(batch, place, row, &invitation, &problem)
            })
        })
    }

    fn put_refusal(
        &mut self,
        batch: &mut Batch,
        (mailbox, device): (MailboxId, DeviceId),
        row: KnockRow,
        invitation: &InvitationRow,
        reason: &str,
    ) -> Result<(), Error> {
        let mut salt = [0; SALT_BYTES];
        self.rng.fill_bytes(&mut salt);
        let group = self.group()?.roll.group();
        let answer = ByteVec::from(knock::seal_answer(&invitation.secret, group, salt, reason));
        let row = KnockRow { refused: Some(reason.to_owned()), answer: Some(answer), ..row };
        self.put_sealed(batch, KNOCKS, knock_key(mailbox, device), &row)?;
        self.changed.insert(invitation.document);
        self.mail_mark += 1;
        Ok(())
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

/// Invitations that somebody was refused with.
fn spent(knocks: &[(MailboxId, DeviceId, KnockRow)]) -> BTreeSet<MailboxId> {
    let answered = knocks.iter().filter(|(_, _, row)| row.settled || row.refused.is_some());
    answered.map(|(mailbox, ..)| *mailbox).collect()
}

fn knock_key(mailbox: MailboxId, device: DeviceId) -> Vec<u8> {
    [mailbox.0.as_slice(), device.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
