//! Mailboxes: where somebody with an invitation leaves a knock for those who decide, and finds the answer
//! (PROTOCOL.md §5.5).
//!
//! Only a device that governs opens one, so that nobody without an invitation can fill the relay. What lies in it is
//! sealed; the relay sees an id, sizes, times and a device.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use lamppost_core::base::{DeviceId, GroupId, MailboxId, hash, limits};
use lamppost_core::sync::frame::{Outcome, Refusal, Refused};
use lamppost_core::sync::mailbox::{
    Answer, Countersign, Knock, Knocked, Knocks, Letter, OpenMailbox, Settled, Word,
};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::disk::Level;
use crate::group::Group;
use crate::relay::{Relay, disk_full, lock};
use crate::store::{Arrived, StoreFault};

/// A mailbox as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mailbox {
    /// Until when, in milliseconds since the Unix epoch.
    #[n(0)]
    pub expires_ms: u64,
    /// The knock of the first device that came, and of no other.
    #[n(1)]
    pub knock: Option<StoredKnock>,
}

/// A knock as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StoredKnock {
    /// Numbers the group's knocks and answers in the order in which they came.
    #[n(0)]
    pub number: u64,
    /// Who knocked.
    #[n(1)]
    pub device: DeviceId,
    /// When, in milliseconds since the Unix epoch.
    #[n(2)]
    pub at_ms: u64,
    /// For the coordinators.
    #[n(3)]
    pub sealed: ByteVec,
    /// For the one who knocked: a refusal.
    #[n(4)]
    pub answer: Option<ByteVec>,
    /// For the one who knocked: the countersignature of this knock.
    #[n(5)]
    pub countersigned: Option<ByteVec>,
}

/// What a phone wants of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// It is to be open.
    Open(OpenMailbox),
    /// A newcomer is at the door.
    Knock(Knock),
    /// A newcomer is refused.
    Answer(Answer),
    /// A newcomer's knock is countersigned.
    Countersign(Countersign),
}

/// What came of an errand. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Of an opened mailbox, an answer or a countersignature.
    Settled(Settled),
    /// Of a knock.
    Letter(Letter),
}

impl Relay {
    /// Does an errand for a device. Says whether those who follow the group have something to look at.
    pub(crate) fn run_errand(
        &self,
        group: GroupId,
        device: DeviceId,
        errand: Errand,
        now_ms: u64,
    ) -> Result<(Done, bool), StoreFault> {
        match errand {
            Errand::Open(open) => {
                let (outcome, changed) = self.open_mailbox(group, device, open, now_ms)?;
                Ok((Done::Settled(Settled { mailbox: open.mailbox, outcome }), changed))
            }
            Errand::Answer(Answer { mailbox, sealed }) => {
                let (outcome, changed) = self.answer_knock(group, device, mailbox, sealed, now_ms)?;
                Ok((Done::Settled(Settled { mailbox, outcome }), changed))
            }
            Errand::Countersign(signed) => {
                let mailbox = signed.mailbox;
                let (outcome, changed) = self.countersign_knock(group, device, signed, now_ms)?;
                Ok((Done::Settled(Settled { mailbox, outcome }), changed))
            }
            Errand::Knock(Knock { mailbox, sealed }) => {
                let (word, changed) = self.take_knock(group, device, mailbox, sealed, now_ms)?;
                Ok((Done::Letter(Letter { mailbox, word }), changed))
            }
        }
    }

    fn open_mailbox(
        &self,
        id: GroupId,
        device: DeviceId,
        open: OpenMailbox,
        now_ms: u64,
    ) -> Result<(Outcome, bool), StoreFault> {
        let _turn = lock(&self.committing);
        let refusal = self.with_group(id, |group| {
            if let Some(why) = may_not_govern(group, device) {
                return Some(why);
            }
            if group.roll.state().invited(open.mailbox).is_some() {
                return Some(used());
            }
            if open.expires_ms <= now_ms {
                return Some(expired());
            }
            let living = group.mailboxes.values().filter(|mailbox| mailbox.expires_ms > now_ms).count();
            let is_known = group.mailboxes.contains_key(&open.mailbox);
            (!is_known && living >= limits::MAILBOXES_MAX).then(|| {
                Refused::new(Refusal::QUOTA, "the group has as many invitations open as a relay keeps")
            })
        })?;
        if let Some(why) = refusal.unwrap_or_else(|| Some(unknown())) {
            return Ok((Outcome::Refused(why), false));
        }
        if self.with_group(id, |group| group.mailboxes.contains_key(&open.mailbox))? == Some(true) {
            return Ok((Outcome::Kept, false));
        }
        if let Some(why) = self.may_not_write(id, device, now_ms) {
            return Ok((Outcome::Refused(why), false));
        }
        let expires_ms = open.expires_ms.min(now_ms.saturating_add(limits::INVITATION_MS_MAX));
        self.write_mailbox(id, open.mailbox, Mailbox { expires_ms, knock: None }, now_ms)?;
        Ok((Outcome::Kept, false))
    }

    fn take_knock(
        &self,
        id: GroupId,
        device: DeviceId,
        mailbox: MailboxId,
        sealed: ByteVec,
        now_ms: u64,
    ) -> Result<(Word, bool), StoreFault> {
        let _turn = lock(&self.committing);
        let stored = self.store.mailbox(id, mailbox)?;
        let word = self.word(id, device, mailbox, stored.as_ref(), now_ms)?;
        let may_knock = matches!(word, Word::Waiting | Word::Countersigned(_));
        let Some(before) = stored.filter(|_| may_knock) else { return Ok((word, false)) };
        if before.knock.as_ref().is_some_and(|knock| knock.sealed == sealed) {
            return Ok((word, false));
        }
        if let Some(why) = self.may_not_write(id, device, now_ms) {
            return Ok((Word::Closed(why), false));
        }
        let number = self.next_knock(id)?;
        let knock =
            Some(StoredKnock { number, device, at_ms: now_ms, sealed, answer: None, countersigned: None });
        self.write_mailbox(id, mailbox, Mailbox { knock, ..before }, now_ms)?;
        Ok((Word::Waiting, true))
    }

    /// Keeps the first countersignature of a knock. One of a knock that another has replaced comes too late.
    fn countersign_knock(
        &self,
        id: GroupId,
        device: DeviceId,
        signed: Countersign,
        now_ms: u64,
    ) -> Result<(Outcome, bool), StoreFault> {
        let _turn = lock(&self.committing);
        let Countersign { mailbox, knock: answered, sealed } = signed;
        let (Mailbox { expires_ms, .. }, knock) = match self.knock_to_answer(id, device, mailbox, now_ms)? {
            Ok(found) => found,
            Err(why) => return Ok((Outcome::Refused(why), false)),
        };
        if hash::sha256(&knock.sealed) != answered {
            return Ok((Outcome::Refused(unknown()), false));
        }
        if knock.answer.is_some() || knock.countersigned.is_some() {
            return Ok((Outcome::Kept, false));
        }
        if let Some(why) = self.may_not_write(id, device, now_ms) {
            return Ok((Outcome::Refused(why), false));
        }
        // Its number stays: those who govern have seen the knock.
        let knock = Some(StoredKnock { countersigned: Some(sealed), ..knock });
        self.write_mailbox(id, mailbox, Mailbox { expires_ms, knock }, now_ms)?;
        Ok((Outcome::Kept, true))
    }

    /// The knock in this mailbox, for a device that may answer it. The caller holds the turn to commit.
    fn knock_to_answer(
        &self,
        id: GroupId,
        device: DeviceId,
        mailbox: MailboxId,
        now_ms: u64,
    ) -> Result<Result<(Mailbox, StoredKnock), Refused>, StoreFault> {
        let refusal = self.with_group(id, |group| {
            let is_used = group.roll.state().invited(mailbox).is_some();
            may_not_govern(group, device).or_else(|| is_used.then(used))
        })?;
        if let Some(why) = refusal.unwrap_or_else(|| Some(unknown())) {
            return Ok(Err(why));
        }
        let stored = self.store.mailbox(id, mailbox)?.filter(|mailbox| mailbox.expires_ms > now_ms);
        let found = stored.and_then(|stored| Some((stored.clone(), stored.knock?)));
        Ok(found.ok_or_else(unknown))
    }

    fn answer_knock(
        &self,
        id: GroupId,
        device: DeviceId,
        mailbox: MailboxId,
        sealed: ByteVec,
        now_ms: u64,
    ) -> Result<(Outcome, bool), StoreFault> {
        let _turn = lock(&self.committing);
        let (Mailbox { expires_ms, .. }, knock) = match self.knock_to_answer(id, device, mailbox, now_ms)? {
            Ok(found) => found,
            Err(why) => return Ok((Outcome::Refused(why), false)),
        };
        // The first answer stands.
        if knock.answer.is_some() {
            return Ok((Outcome::Kept, false));
        }
        if let Some(why) = self.may_not_write(id, device, now_ms) {
            return Ok((Outcome::Refused(why), false));
        }
        let number = self.next_knock(id)?;
        let knock = Some(StoredKnock { number, answer: Some(sealed), ..knock });
        self.write_mailbox(id, mailbox, Mailbox { expires_ms, knock }, now_ms)?;
        Ok((Outcome::Kept, true))
    }

    /// How it stands with one who has knocked.
    pub(crate) fn letter(
        &self,
        id: GroupId,
        device: DeviceId,
        mailbox: MailboxId,
        now_ms: u64,
    ) -> Result<Letter, StoreFault> {
        let stored = self.store.mailbox(id, mailbox)?;
        Ok(Letter { mailbox, word: self.word(id, device, mailbox, stored.as_ref(), now_ms)? })
    }

    fn word(
        &self,
        id: GroupId,
        device: DeviceId,
        mailbox: MailboxId,
        stored: Option<&Mailbox>,
        now_ms: u64,
    ) -> Result<Word, StoreFault> {
        let known = self.with_group(id, |group| {
            let state = group.roll.state();
            (state.device(device).is_some(), state.invited(mailbox).is_some())
        })?;
        Ok(match (known, stored) {
            (Some((true, _)), _) => Word::Admitted,
            (Some((_, true)), _) => Word::Closed(used()),
            (None, _) | (_, None) => Word::Closed(unknown()),
            (_, Some(mailbox)) if mailbox.expires_ms <= now_ms => Word::Closed(expired()),
            (_, Some(Mailbox { knock: Some(knock), .. })) if knock.device != device => Word::Closed(used()),
            (_, Some(Mailbox { knock: Some(StoredKnock { answer: Some(answer), .. }), .. })) => {
                Word::Refused(answer.clone())
            }
            (_, Some(Mailbox { knock: Some(StoredKnock { countersigned: Some(signed), .. }), .. })) => {
                Word::Countersigned(signed.clone())
            }
            (_, Some(_)) => Word::Waiting,
        })
    }

    /// Knocks and answers behind number `after`, for a device that governs, and the number of the last of them; none if
    /// there are none.
    pub(crate) fn knocks(
        &self,
        id: GroupId,
        device: DeviceId,
        after: u64,
        now_ms: u64,
    ) -> Result<Option<(Knocks, u64)>, StoreFault> {
        let numbered = self.with_group(id, |group| {
            let governs = group.roll.state().governs(device);
            let living = group.mailboxes.iter().filter(|(_, mailbox)| governs && mailbox.expires_ms > now_ms);
            let numbered = living.filter_map(|(id, mailbox)| Some((mailbox.number?, *id)));
            numbered.filter(|(number, _)| *number > after).collect::<BTreeMap<_, _>>()
        })?;
        let mut found = None;
        let mut knocks = Vec::new();
        for (number, mailbox) in numbered.unwrap_or_default().into_iter().take(limits::KNOCKS_MAX) {
            // Closed in between.
            let Some(knock) = self.store.mailbox(id, mailbox)?.and_then(|mailbox| mailbox.knock) else {
                continue;
            };
            let StoredKnock { device, at_ms, sealed, answer, .. } = knock;
            let sealed = Some(sealed).filter(|_| answer.is_none());
            knocks.push(Knocked { mailbox, device, at_ms, sealed });
            found = Some(number);
        }
        Ok(found.map(|last| (Knocks { knocks }, last)))
    }

    /// Greater than any that a session of this relay was told: a mailbox that has closed takes its number along.
    fn next_knock(&self, id: GroupId) -> Result<u64, StoreFault> {
        let stored = self.with_group(id, |group| group.mailboxes.values().filter_map(|m| m.number).max())?;
        let last = stored.flatten().unwrap_or_default().max(self.last_knock.load(Ordering::Relaxed));
        self.last_knock.store(last + 1, Ordering::Relaxed);
        Ok(last + 1)
    }

    /// Why a device may not have something written: the disk is full, or the device asks too often. A durable write takes its
    /// share of what the device may push.
    fn may_not_write(&self, group: GroupId, device: DeviceId, now_ms: u64) -> Option<Refused> {
        if self.gauge().level() == Level::Full {
            return Some(disk_full(Refusal::QUOTA));
        }
        let granted = lock(&self.rates).take(group, device, 1, now_ms);
        (granted.entries == 0).then(|| Refused {
            retry_after_ms: Some(granted.retry_after_ms),
            ..Refused::new(Refusal::RATE, "this device asks more often than the relay allows")
        })
    }

    /// Writes one mailbox and drops those whose time is over. The caller holds the turn to commit.
    fn write_mailbox(
        &self,
        id: GroupId,
        at: MailboxId,
        mailbox: Mailbox,
        now_ms: u64,
    ) -> Result<(), StoreFault> {
        if self.has_failed() {
            return Err(StoreFault::Failed);
        }
        let over = self.with_group(id, |group| {
            let over = group.mailboxes.iter().filter(|(_, mailbox)| mailbox.expires_ms <= now_ms);
            over.map(|(id, _)| *id).collect::<Vec<_>>()
        })?;
        let over = over.unwrap_or_default();
        let mut write = Arrived::default();
        over.iter().for_each(|over| write.close_mailbox(id, *over));
        write.mailbox(id, at, &mailbox);
        self.write(write)?;
        self.change_group(id, |group| {
            group.mailboxes.retain(|_, mailbox| mailbox.expires_ms > now_ms);
            group.mailboxes.insert(at, OpenBox::of(&mailbox));
        });
        Ok(())
    }
}

/// What is kept in memory of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenBox {
    /// Until when, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The number of its knock or answer.
    pub number: Option<u64>,
}

impl OpenBox {
    /// What is kept in memory of this one.
    pub fn of(mailbox: &Mailbox) -> Self {
        Self { expires_ms: mailbox.expires_ms, number: mailbox.knock.as_ref().map(|knock| knock.number) }
    }
}

fn may_not_govern(group: &Group, device: DeviceId) -> Option<Refused> {
    let state = group.roll.state();
    if state.device(device).is_none() {
        let reason = "the relay has not heard that this device belongs to the group";
        return Some(Refused::new(Refusal::UNKNOWN_DEVICE, reason));
    }
    let reason = "only who governs may open a mailbox or answer a knock";
    (!state.governs(device)).then(|| Refused::new(Refusal::ROLE, reason))
}

fn unknown() -> Refused {
    let reason = "this relay does not know the invitation: the coordinator's phone may not have connected since it was \
                  made; ask the coordinator to connect, or for a new invitation";
    Refused::new(Refusal::MAILBOX_UNKNOWN, reason)
}

fn expired() -> Refused {
    Refused::new(Refusal::MAILBOX_EXPIRED, "the invitation has expired: ask the coordinator for a new one")
}

fn used() -> Refused {
    let reason = "another device has used this invitation: tell the coordinator, who can make a new one";
    Refused::new(Refusal::MAILBOX_USED, reason)
}
