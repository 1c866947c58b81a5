//! Who came with an invitation, as a coordinator's device keeps and judges it (PROTOCOL.md §4.7).
//!
//! Of each mailbox this device goes by one commitment alone: the first that it countersigned, or whose opening it saw. So
//! whoever holds the link has one try at a short code on it.

use std::collections::BTreeSet;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{INVITATIONS, InvitationRow, PendingRequest};
use crate::base::{DeviceId, Hash, MailboxId, RelayId, hash, limits};
use crate::entry::countersignature::{Countersignature, NONCE_BYTES};
use crate::entry::keys::SALT_BYTES;
use crate::entry::knock::{self, Knock, Revealed};
use crate::entry::link::BadLink;
use crate::replica::engine::Engine;
use crate::replica::error::Error;
use crate::storage::{Batch, Table};
use crate::sync::mailbox::{Answer, Countersign, Knocked};
use crate::sync::session::Mail;

/// mailbox ‖ device → sealed [`KnockRow`].
pub(in crate::replica) const KNOCKS: Table = Table(16);

#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct KnockRow {
    #[n(0)]
    pub came_ms: u64,
    /// The relay that handed it over, if it was known by then.
    #[n(1)]
    relay: Option<RelayId>,
    /// The newest knock.
    #[n(2)]
    sealed: ByteVec,
    /// Answered by another coordinator.
    #[n(3)]
    pub settled: bool,
    /// This device's refusal.
    #[n(4)]
    pub refused: Option<String>,
    /// The refusal, sealed, until the relay has it.
    #[n(5)]
    answer: Option<ByteVec>,
    /// The commitment that this device goes by in this mailbox.
    #[n(6)]
    locked: Option<Hash>,
    /// This device's countersignature of it, sealed, until the relay has it.
    #[n(7)]
    countersignature: Option<ByteVec>,
}

/// A knock that was read.
pub(super) struct Judged {
    said: Said,
    pub problem: Option<String>,
}

enum Said {
    Nothing,
    First(Hash),
    Second(Box<Revealed>),
}

impl Judged {
    fn unreadable(why: &dyn std::fmt::Display) -> Self {
        Self { said: Said::Nothing, problem: Some(why.to_string()) }
    }

    fn commitment(&self) -> Option<Hash> {
        match &self.said {
            Said::Nothing => None,
            Said::First(commitment) => Some(*commitment),
            Said::Second(revealed) => Some(revealed.commitment),
        }
    }

    /// What may be shown and approved: the opening of the commitment that this device goes by.
    pub fn opened(&self, row: &KnockRow) -> Option<&Revealed> {
        match &self.said {
            Said::Second(revealed) if row.locked == Some(revealed.commitment) => Some(revealed),
            Said::Nothing | Said::First(_) | Said::Second(_) => None,
        }
    }
}

impl Engine {
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
                    (Some(before), Some(sealed)) if before.sealed == sealed => before.clone(),
                    // What the countersignature answered is over; which commitment it was stays.
                    (Some(before), Some(sealed)) => {
                        KnockRow { relay, sealed, countersignature: None, ..before.clone() }
                    }
                    (None, sealed) if rows < limits::MAILBOXES_MAX => KnockRow {
                        came_ms: knock.at_ms,
                        relay,
                        sealed: sealed.unwrap_or_else(|| ByteVec::from(Vec::new())),
                        settled,
                        refused: None,
                        answer: None,
                        locked: None,
                        countersignature: None,
                    },
                    (None, _) => continue,
                };
                if before.as_ref() == Some(&row) {
                    continue;
                }
                rows += usize::from(before.is_none());
                engine.put_sealed(batch, KNOCKS, key, &row)?;
                // A live session answers it at once.
                engine.mail_mark += 1;
                let invitation = engine.invitation(knock.mailbox)?;
                engine.changed.extend(invitation.map(|invitation| invitation.document));
            }
            Ok(())
        })
    }

    /// The relay has this mailbox's answer, or will never take it.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn answered(&mut self, mailbox: MailboxId) -> Result<(), Error> {
        self.change_knocks(mailbox, |row| KnockRow { answer: None, ..row })
    }

    /// The relay has the countersignature for this mailbox, or will never take it.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn countersigned(&mut self, mailbox: MailboxId) -> Result<(), Error> {
        self.change_knocks(mailbox, |row| KnockRow { countersignature: None, ..row })
    }

    fn change_knocks(
        &mut self,
        mailbox: MailboxId,
        change: impl Fn(KnockRow) -> KnockRow,
    ) -> Result<(), Error> {
        self.fresh()?;
        let rows = self.knocks()?;
        self.transact(|engine, batch| {
            for (_, device, row) in rows.into_iter().filter(|(at, ..)| *at == mailbox) {
                let changed = change(row.clone());
                if changed != row {
                    engine.put_sealed(batch, KNOCKS, knock_key(mailbox, device), &changed)?;
                }
            }
            Ok(())
        })
    }

    /// What the relay is to hand to newcomers.
    pub(super) fn knock_mail(&self) -> Result<Vec<Mail>, Error> {
        let mut mail = Vec::new();
        for (mailbox, _, row) in self.knocks()? {
            mail.extend(row.answer.map(|sealed| Mail::Answer(Answer { mailbox, sealed })));
            let knock = hash::sha256(&row.sealed);
            let signed = row.countersignature.map(|sealed| Countersign { mailbox, knock, sealed });
            mail.extend(signed.map(Mail::Countersign));
        }
        Ok(mail)
    }

    pub(super) fn knocks(&self) -> Result<Vec<(MailboxId, DeviceId, KnockRow)>, Error> {
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

    pub(super) fn request_row(&self, request: &PendingRequest) -> Result<(KnockRow, InvitationRow), Error> {
        let gone = || Error::Approval("it is not here any more".to_owned());
        let row = self.sealed_row(KNOCKS, &knock_key(request.invitation, request.device))?;
        Ok((row.ok_or_else(gone)?, self.invitation(request.invitation)?.ok_or_else(gone)?))
    }

    /// Reads a knock. None if whoever sent it belongs by now.
    pub(super) fn judge_knock(
        &self,
        mailbox: MailboxId,
        device: DeviceId,
        row: &KnockRow,
        invitation: &InvitationRow,
    ) -> Result<Option<Judged>, Error> {
        let group = self.group()?.roll.group();
        let said = match Knock::open(&invitation.secret, group, &row.sealed) {
            Ok(Knock::Commitment(commitment)) => Said::First(commitment),
            Ok(Knock::Reveal(reveal)) => match reveal.check(&invitation.secret, group) {
                Ok(revealed) => Said::Second(Box::new(revealed)),
                Err(why) => return Ok(Some(Judged::unreadable(&why))),
            },
            Err(why) => return Ok(Some(Judged::unreadable(&why))),
        };
        let state = self.state()?;
        let problem = match &said {
            Said::Nothing => None,
            Said::First(_) if state.device(device).is_some() => return Ok(None),
            Said::First(_) => None,
            Said::Second(revealed) => {
                let claims = revealed.certificate.claims();
                let belongs = state.device(claims.device).map(|(device, _)| device.key);
                if claims.device == device && belongs == Some(claims.member) {
                    return Ok(None);
                }
                if claims.device != device {
                    Some("it was handed in by another device than the one it names")
                } else if row.relay.is_some_and(|relay| relay != revealed.relay) {
                    Some("it came by way of another relay than this group's: the invitation was altered")
                } else if belongs.is_some() {
                    Some("this device belongs to another member already")
                } else if !state.governs(revealed.countersigner) {
                    Some(
                        "a device that is no coordinator's answered it first: the invitation fell into wrong hands",
                    )
                } else {
                    None
                }
            }
        };
        let mut judged = Judged { said, problem: None };
        let problem = if problem.is_some() {
            problem
        } else if state.invited(mailbox).is_some() {
            Some("this invitation has been used by somebody else")
        } else if invitation.withdrawn {
            Some("this invitation has been withdrawn: ask the coordinator")
        } else if row.locked.is_some() && row.locked != judged.commitment() {
            Some("the same device has knocked twice, with different words")
        } else if self.another_was_first(mailbox, device, row)? {
            Some("another device came first with this invitation")
        } else {
            None
        };
        let expired = (self.clock.now_ms() >= invitation.expiry_ms).then(|| BadLink::Expired.to_string());
        judged.problem = problem.map(str::to_owned).or(expired);
        Ok(Some(judged))
    }

    /// After a relay lost its store, two devices may have knocked at the same mailbox; one that lies can say so at any time.
    fn another_was_first(&self, mailbox: MailboxId, device: DeviceId, row: &KnockRow) -> Result<bool, Error> {
        if row.locked.is_some() {
            return Ok(false);
        }
        let knocks = self.knocks()?;
        Ok(knocks.iter().any(|(at, other, before)| {
            let is_earlier = (before.came_ms, *other) < (row.came_ms, device);
            *at == mailbox && *other != device && (before.locked.is_some() || is_earlier)
        }))
    }

    /// Goes by the first good commitment of each mailbox from now on, and countersigns it unless another device did.
    pub(super) fn lock_commitments(&mut self) -> Result<(), Error> {
        let now_ms = self.clock.now_ms();
        let mut fresh = Vec::new();
        for (mailbox, device, row) in self.knocks()? {
            let is_open = !row.settled && row.refused.is_none() && row.locked.is_none();
            let Some(invitation) = self.invitation(mailbox)?.filter(|row| is_open && now_ms < row.expiry_ms)
            else {
                continue;
            };
            let judged = self.judge_knock(mailbox, device, &row, &invitation)?;
            if let Some(judged) = judged.filter(|judged| judged.problem.is_none()) {
                fresh.push(((mailbox, device), row, invitation, judged));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.transact(|engine, batch| {
            for ((mailbox, device), row, invitation, judged) in fresh {
                let countersignature = match judged.said {
                    Said::First(commitment) => Some(engine.countersign(mailbox, &invitation, commitment)?),
                    Said::Nothing | Said::Second(_) => None,
                };
                let row = KnockRow { locked: judged.commitment(), countersignature, ..row };
                engine.put_sealed(batch, KNOCKS, knock_key(mailbox, device), &row)?;
                engine.changed.insert(invitation.document);
            }
            Ok(())
        })
    }

    fn countersign(
        &mut self,
        mailbox: MailboxId,
        invitation: &InvitationRow,
        commitment: Hash,
    ) -> Result<ByteVec, Error> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        self.rng.fill_bytes(&mut salt);
        self.rng.fill_bytes(&mut nonce);
        let group = self.group()?.roll.group();
        let signed = Countersignature::sign(self.signer()?, group, mailbox, commitment, nonce);
        Ok(ByteVec::from(knock::seal_countersignature(&invitation.secret, group, salt, &signed)))
    }

    /// Refuses what came and cannot be approved, and forgets what has been over for as long as it could be open.
    pub(super) fn refuse_hopeless(&mut self) -> Result<(), Error> {
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

    pub(super) fn put_refusal(
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
        let refused = Some(reason.to_owned());
        let row = KnockRow { refused, answer: Some(answer), countersignature: None, ..row };
        self.put_sealed(batch, KNOCKS, knock_key(mailbox, device), &row)?;
        self.changed.insert(invitation.document);
        self.mail_mark += 1;
        Ok(())
    }
}

/// Invitations that somebody was refused with.
pub(super) fn spent(knocks: &[(MailboxId, DeviceId, KnockRow)]) -> BTreeSet<MailboxId> {
    let answered = knocks.iter().filter(|(_, _, row)| row.settled || row.refused.is_some());
    answered.map(|(mailbox, ..)| *mailbox).collect()
}

fn knock_key(mailbox: MailboxId, device: DeviceId) -> Vec<u8> {
    [mailbox.0.as_slice(), device.as_bytes()].concat()
}
