//! The phone's side of a session, as a machine without IO: (input, now) → effects (PROTOCOL.md §5.2).
//!
//! The shell that owns disk, network, clock and keys feeds it and carries out what it answers, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::bytes::ByteVec;

use super::checkpoint;
use super::frame::{
    Ack, AskConsistency, BadFrame, Challenge, Cursor, Entries, Frame, Heads, Hello, LogHeight, Outcome,
    OwnHead, Proof, Pull, Push, Refusal, Refused, SESSION_VERSION, Standing, Welcome,
};
use super::mailbox::{Answer, Countersign, Knocked, Knocks, OpenMailbox};
use super::media::PutChunk;
use super::receipt::SignedReceipt;
use super::transfer::{Carried, Load, Transfer};
use crate::base::{
    ChunkId, CompartmentId, DeviceId, EntryHash, GroupId, Incarnation, MailboxId, RelayId, cbor, limits,
};
use crate::entry::{Checkpoint, Wire};

/// What a session needs to know before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The group.
    pub group: GroupId,
    /// This device.
    pub device: DeviceId,
    /// The relay it expects; none if any will do.
    pub relay: Option<RelayId>,
    /// The life of the relay's store that cursors and receipts belong to; none before the first session.
    pub incarnation: Option<Incarnation>,
    /// The life to which everything was offered that the phone held when that life was new to it.
    pub offered: Option<Incarnation>,
    /// The life to which the roll was offered while it did not know this device.
    pub roll_offered: Option<Incarnation>,
    /// The last checkpoint of that life that was proven to continue the ones before.
    pub checkpoint: Option<Checkpoint>,
    /// The checkpoint of the last receipt of that life, which still has to be proven.
    pub receipted: Option<Checkpoint>,
    /// Compartments to read, ascending, with the last position had.
    pub cursors: BTreeMap<CompartmentId, u64>,
    /// Whether to stay after catching up.
    pub live: bool,
    /// When to stop, and after how many bytes.
    pub budget: Budget,
}

/// How much a session may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Milliseconds from the first input; none for no limit.
    pub span_ms: Option<u64>,
    /// Bytes in both directions; none for no limit.
    pub bytes: Option<u64>,
}

impl Budget {
    /// As long as it takes.
    pub const UNLIMITED: Self = Self { span_ms: None, bytes: None };
}

/// What the shell tells the machine.
#[derive(Debug)]
pub enum Input {
    /// A message came in.
    Message(Vec<u8>),
    /// The relay gave a sign of life that says nothing.
    Heard,
    /// The proof was signed: COSE_Sign1 of [`Effect::Sign`]'s payload.
    Signed(Vec<u8>),
    /// What the outbox holds behind the key last asked for: in order, with each entry's key and hash.
    Outbox(Vec<Outgoing>),
    /// The outbox has grown.
    OutboxGrew,
    /// What [`Effect::CaughtUp`] asks for is done.
    Settled,
    /// The answer to [`Effect::LoadMail`].
    Mail(Vec<Mail>),
    /// The answer to [`Effect::LoadMedia`].
    Media(Load),
    /// The answer to [`Effect::LoadChunk`]; none if it was dropped meanwhile.
    Chunk(ChunkId, Option<PutChunk>),
    /// Time has passed.
    Tick,
    /// The app wants the session to end.
    Stop,
}

/// One entry that the relay does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its place in the outbox.
    pub key: u64,
    /// Its hash.
    pub hash: EntryHash,
    /// The entry.
    pub wire: Wire,
}

/// What a device that governs has to say about mailboxes (PROTOCOL.md §5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mail {
    /// One that is to be open.
    Open(OpenMailbox),
    /// A refusal.
    Answer(Answer),
    /// The answer to a first knock.
    Countersign(Countersign),
}

/// The kinds of [`Mail`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Open,
    Answer,
    Countersignature,
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send(Vec<u8>),
    /// Sign this with the device's key, for [`Purpose::Session`](crate::base::cose::Purpose::Session).
    Sign(Vec<u8>),
    /// The relay's store has begun a new life: forget cursors, receipts of the old one and the checkpoint.
    NewLife(RelayId, Incarnation),
    /// Make sure that this device's own logs hold what the relay has seen of them, and end the session if not: the
    /// store is older than its own words (a restored backup), and to go on would fork its log.
    CheckOwn(Vec<OwnHead>),
    /// The relay's signed word of what time it is, in milliseconds since the Unix epoch.
    RelayTime(u64),
    /// Keep the relay's newest checkpoint.
    Checkpoint(Checkpoint),
    /// Put into the outbox whatever is here and not there, roll first.
    Offer {
        /// What is there.
        heads: Vec<LogHeight>,
        /// Whether that is all; if not, it is of the roll alone, as the relay takes nothing else before it knows this device.
        whole: bool,
    },
    /// Answer with [`Input::Outbox`]: what the outbox holds behind this key.
    LoadOutbox {
        /// The last key had.
        after: u64,
    },
    /// Judge and store these entries, and with them what they cover, if they cover anything.
    Receive(Entries),
    /// Mark these as kept by the relay, with its receipt.
    Kept {
        /// Places in the outbox.
        keys: Vec<u64>,
        /// The relay's word.
        receipt: SignedReceipt,
    },
    /// The relay says that it has these, and gives no receipt, as it has not heard that this device belongs. What others
    /// wrote need not be sent again; the phone's own words wait for a receipt.
    Unsigned(Vec<u64>),
    /// The relay refused one for good: take it out of the outbox and show the reason.
    Refused {
        /// Its place in the outbox.
        key: u64,
        /// Why.
        why: Refused,
    },
    /// The relay refused one for now: it stays in the outbox. Show the reason if it lasts.
    Postponed {
        /// Its place in the outbox.
        key: u64,
        /// Why.
        why: Refused,
    },
    /// Everything there was has been fetched, and everything to send was answered. Do what can only be done now that
    /// everything is known, and answer with [`Input::Settled`]: what it put into the outbox is still sent.
    CaughtUp,
    /// Answer with [`Input::Mail`]: the mailboxes that are to be open, and what the relay does not have of answers
    /// and countersignatures.
    LoadMail,
    /// Keep who has knocked.
    Knocked(Vec<Knocked>),
    /// The relay has this answer on its disk, or will never take it.
    Answered(MailboxId),
    /// Forget this mailbox's countersignature: the relay has it, or will never take it.
    Countersigned(MailboxId),
    /// Answer with [`Input::Media`]: chunks to be carried behind these places.
    LoadMedia {
        /// The last place had of what the relay may lack.
        up_after: u64,
        /// The last place had of what this phone lacks.
        down_after: u64,
    },
    /// Answer with [`Input::Chunk`].
    LoadChunk(Carried),
    /// The relay has these chunks on its disk: their places in the list.
    ChunksKept(Vec<u64>),
    /// The relay did not take a chunk for now.
    ChunkRefused(Refused),
    /// Keep a chunk that came in. It is what its name says.
    KeepChunk {
        /// Its place in the list of what this phone lacks.
        key: u64,
        /// Its name.
        chunk: ChunkId,
        /// What lies under the name.
        ciphertext: Vec<u8>,
    },
    /// The session is over. Close the connection.
    End(End),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All done.
    Done,
    /// The budget is used up; the rest comes next time.
    Budget,
    /// The app wanted it.
    Stopped,
    /// The relay said nothing for too long.
    Silence,
    /// The relay ended it.
    Relay(Refused),
    /// The relay broke the protocol. Nothing it said since is trusted.
    Misbehaved(Misbehaviour),
}

/// What a relay did that no honest relay does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// It signs with another key than the one this group knows.
    #[error(
        "it is not the relay this group knows (expected {expected}, found {found}): if the old one is known to be lost, \
         trust the new one"
    )]
    AnotherRelay {
        /// Known.
        expected: RelayId,
        /// Found.
        found: RelayId,
    },
    /// It sent something that is not a frame.
    #[error("it sent something unreadable: {0}")]
    Garbage(#[from] BadFrame),
    /// It sent a frame that has no place there.
    #[error("it sent {0} out of turn")]
    OutOfTurn(&'static str),
    /// It passed on what its author never signed.
    #[error("{0}")]
    NotGenuine(String),
    /// It spoke of a compartment that was not asked for.
    #[error("it sent entries that were not asked for")]
    NotAsked,
    /// What it sent does not follow what it sent before: something in between was swallowed, or came twice.
    #[error("it sent entries that follow position {found}, where position {expected} was reached")]
    OutOfPlace {
        /// The position that was reached.
        expected: u64,
        /// The position that the entries follow.
        found: u64,
    },
    /// It sent fewer or more entries than it said it did.
    #[error("it sent {entries} entries and left {left_out} out, for positions {after} to {upto}")]
    DoesNotAddUp {
        /// Entries sent.
        entries: usize,
        /// Entries of the phone's own, left out.
        left_out: u64,
        /// The position that they follow.
        after: u64,
        /// The position that they come to.
        upto: u64,
    },
    /// Its receipt is worth nothing.
    #[error("{0}")]
    Receipt(#[from] super::receipt::BadReceipt),
    /// Its receipt does not name what it says it kept.
    #[error("its receipt does not name the entries it says it kept")]
    ReceiptMismatch,
    /// Its history shrank, or another history stands in its place.
    #[error("it shows another history than the one it signed before")]
    TwoHistories,
}

impl Misbehaviour {
    /// Whether frames that were lost, repeated or altered on their way explain it, so that the next session may go well.
    pub fn may_be_the_line(&self) -> bool {
        matches!(
            self,
            Self::Garbage(_) | Self::NotGenuine(_) | Self::OutOfPlace { .. } | Self::DoesNotAddUp { .. }
        )
    }
}

/// Milliseconds of silence after which a session is given up. Relays ping every 20 s.
pub(super) const SILENCE_MS_MAX: u64 = 60_000;

/// First and longest wait before what was postponed is offered again in the same session, in milliseconds.
const RETRY_MS: (u64, u64) = (30_000, 900_000);

/// A session on the phone.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    phase: Phase,
    begun_ms: Option<u64>,
    heard_ms: u64,
    bytes: u64,
    relay: Option<(RelayId, Incarnation)>,
    standing: Standing,
    /// The relay did not know this device when it welcomed it, and knows it by now: it has given a receipt.
    heard_of: bool,
    /// The relay kept something without a receipt, before it knew this device.
    unsigned: bool,
    /// Checkpoints of earlier sessions that are still to be proven: a relay shows none to whom it does not know.
    owed: Vec<Checkpoint>,
    pulled: bool,
    caught_up: bool,
    announced: bool,
    settled: bool,
    /// Questions of consistency that are open: the older checkpoints they are about, in the order asked.
    proofs_open: VecDeque<Checkpoint>,
    /// The checkpoint that the last proof led to.
    proven: Option<Checkpoint>,
    asked_heads: bool,
    heads_open: bool,
    outbox: Outbox,
    /// The last key read from the outbox.
    outbox_after: u64,
    /// Rows were added since it was last asked for.
    outbox_grew: bool,
    queue: Vec<Outgoing>,
    in_flight: BTreeMap<u32, Vec<(u64, EntryHash)>>,
    next_push: u32,
    /// Why the relay takes nothing of this group.
    closed: Option<Refused>,
    /// The relay took nothing of a whole frame, as this device does not belong: so it would be with the rest.
    turned_away: bool,
    /// When what was postponed is offered again, in a session that stays.
    retry_at_ms: Option<u64>,
    /// How long to wait the next time.
    retry_ms: u64,
    /// One frame of what was postponed is offered, to see whether the relay takes it now; with how far the outbox had
    /// been read before.
    probing: Option<u64>,
    /// Mail is to be asked for: once everything else has been said, and again when something was added.
    mail_due: bool,
    mail_loading: bool,
    /// Mail that the relay has not acknowledged, in the order sent.
    mail_open: VecDeque<(MailboxId, Told)>,
    /// Mailboxes that this session has opened.
    mailboxes: BTreeSet<MailboxId>,
    transfer: Transfer,
    /// When chunks that were refused, or not there yet, are tried again, and how long to wait the next time.
    media_retry_at_ms: Option<u64>,
    media_retry_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Challenge,
    Signature,
    Welcome,
    Open,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outbox {
    /// There may be more behind the last key.
    Unread,
    /// The shell was asked for it.
    Loading,
    /// There is none.
    Drained,
}

impl Session {
    /// Prepares a session; the relay speaks first.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            phase: Phase::Challenge,
            begun_ms: None,
            heard_ms: 0,
            bytes: 0,
            relay: None,
            standing: Standing::Belongs,
            heard_of: false,
            unsigned: false,
            owed: Vec::new(),
            pulled: false,
            caught_up: false,
            announced: false,
            settled: false,
            proofs_open: VecDeque::new(),
            proven: None,
            asked_heads: false,
            heads_open: false,
            outbox: Outbox::Unread,
            outbox_after: 0,
            outbox_grew: false,
            queue: Vec::new(),
            in_flight: BTreeMap::new(),
            next_push: 0,
            closed: None,
            turned_away: false,
            retry_at_ms: None,
            retry_ms: RETRY_MS.0,
            probing: None,
            mail_due: true,
            mail_loading: false,
            mail_open: VecDeque::new(),
            mailboxes: BTreeSet::new(),
            transfer: Transfer::new(),
            media_retry_at_ms: None,
            media_retry_ms: RETRY_MS.0,
        }
    }

    /// Takes one input at the time `now_ms` (any clock that goes forward) and answers with what to do, in order.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.phase == Phase::Over {
            return effects;
        }
        let begun_ms = *self.begun_ms.get_or_insert(now_ms);
        if begun_ms == now_ms && self.heard_ms == 0 {
            self.heard_ms = now_ms;
        }
        if let Err(end) = self.step(input, now_ms, &mut effects) {
            self.end(end, &mut effects);
            return effects;
        }
        let span_is_over =
            self.plan.budget.span_ms.is_some_and(|span| now_ms.saturating_sub(begun_ms) >= span);
        // What was sent is on its way and paid for: wait for its answer.
        if span_is_over || (self.budget_is_used_up() && self.in_flight.is_empty() && self.transfer.is_quiet())
        {
            self.end(End::Budget, &mut effects);
        }
        effects
    }

    fn budget_is_used_up(&self) -> bool {
        self.plan.budget.bytes.is_some_and(|budget| self.bytes >= budget)
    }

    /// Bytes carried so far, in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn step(&mut self, input: Input, now_ms: u64, effects: &mut Vec<Effect>) -> Result<(), End> {
        match input {
            Input::Message(bytes) => {
                self.heard_ms = now_ms;
                self.bytes += bytes.len() as u64;
                let frame = Frame::from_bytes(&bytes).map_err(Misbehaviour::from)?;
                self.frame(frame, effects)?;
            }
            Input::Signed(proof) if self.phase == Phase::Signature => {
                self.phase = Phase::Welcome;
                self.send(&Frame::Hello(Hello { proof: ByteVec::from(proof), certificate: None }), effects);
            }
            Input::Outbox(entries) if self.phase == Phase::Open => {
                self.outbox = Outbox::Drained;
                if entries.is_empty() && self.in_flight.is_empty() {
                    self.probing = None;
                }
                let is_vain = self.turned_away && self.probing.is_none();
                if let Some(last) = entries.last().filter(|_| !is_vain) {
                    self.outbox = Outbox::Unread;
                    self.outbox_after = last.key;
                    self.queue.extend(entries);
                }
            }
            Input::Heard => self.heard_ms = now_ms,
            Input::OutboxGrew => {
                self.outbox_grew = true;
                self.mail_due = true;
                self.transfer.retry();
            }
            Input::Media(load) if self.phase == Phase::Open => {
                if let Some(frame) = self.transfer.loaded(load) {
                    self.send(&frame, effects);
                }
            }
            Input::Chunk(chunk, put) if self.phase == Phase::Open => {
                if let Some(frame) = self.transfer.read(chunk, put) {
                    self.send(&frame, effects);
                }
            }
            Input::Mail(mail) if self.phase == Phase::Open => self.send_mail(mail, effects),
            Input::Settled => {
                self.settled = true;
                self.outbox_grew = true;
            }
            Input::Tick if now_ms.saturating_sub(self.heard_ms) > SILENCE_MS_MAX => return Err(End::Silence),
            Input::Tick => {
                self.retry_postponed(now_ms);
                self.retry_media(now_ms);
            }
            Input::Stop => return Err(End::Stopped),
            Input::Signed(_) | Input::Outbox(_) | Input::Mail(_) | Input::Media(_) | Input::Chunk(..) => {}
        }
        if self.phase == Phase::Open {
            self.push(effects);
            self.pull(effects);
            self.load_mail(effects);
            self.carry_chunks(now_ms, effects);
            self.finish(effects)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), End> {
        match (self.phase, frame) {
            (_, Frame::Goodbye(why)) => Err(End::Relay(self.cause_of(why))),
            (Phase::Challenge, Frame::Challenge(challenge)) => {
                let proof = proof_for(&challenge, self.plan.group, self.plan.device).map_err(End::Relay)?;
                if let Some(expected) = self.plan.relay.filter(|expected| *expected != challenge.relay) {
                    return Err(Misbehaviour::AnotherRelay { expected, found: challenge.relay }.into());
                }
                self.relay = Some((challenge.relay, challenge.incarnation));
                self.phase = Phase::Signature;
                effects.push(Effect::Sign(proof));
                Ok(())
            }
            (Phase::Welcome, Frame::Welcome(welcome)) => self.welcome(&welcome, effects),
            (Phase::Open, Frame::Entries(entries)) => {
                let cursor = self.plan.cursors.get_mut(&entries.compartment).filter(|_| self.pulled);
                let cursor = cursor.ok_or(Misbehaviour::NotAsked)?;
                let Entries { after, upto, left_out, compartment, .. } = entries;
                if after != *cursor {
                    return Err(Misbehaviour::OutOfPlace { expected: *cursor, found: after }.into());
                }
                let (count, covered) = (entries.entries.len(), entries.covered().is_some());
                *cursor = upto;
                // Up to its removal even a device that was taken out is handed the roll, and nothing else.
                if compartment != CompartmentId::ROLL {
                    self.ask_what_is_owed(effects);
                }
                // What is good of it is kept in any case.
                effects.push(Effect::Receive(entries));
                self.transfer.grew();
                if !covered {
                    return Err(Misbehaviour::DoesNotAddUp { entries: count, left_out, after, upto }.into());
                }
                Ok(())
            }
            (Phase::Open, Frame::CaughtUp) if self.pulled && !self.caught_up => {
                self.caught_up = true;
                self.ask_what_is_owed(effects);
                Ok(())
            }
            (Phase::Open, Frame::Ack(ack)) => self.ack(ack, effects),
            (Phase::Open, Frame::Heads(Heads { logs })) if self.heads_open => {
                self.heads_open = false;
                self.offer(logs, true, effects);
                Ok(())
            }
            (Phase::Open, Frame::Consistency(proof)) => {
                let Some(old) = self.proofs_open.pop_front().filter(|old| old.size == proof.from) else {
                    return Err(Misbehaviour::OutOfTurn("a proof").into());
                };
                let signed = self.verified(&proof.checkpoint)?;
                let new = signed.receipt().checkpoint;
                if !checkpoint::continues(&old, &new, &proof.hashes) {
                    return Err(Misbehaviour::TwoHistories.into());
                }
                // Two proofs must not lead to two ends.
                if let Some(before) = self.proven.replace(new).filter(|before| *before != new) {
                    if before.size >= new.size {
                        return Err(Misbehaviour::TwoHistories.into());
                    }
                    self.proofs_open.push_back(before);
                    self.send(&Frame::AskConsistency(AskConsistency { from: before.size }), effects);
                }
                if self.proofs_open.is_empty() {
                    self.keep_checkpoint(new, effects);
                }
                Ok(())
            }
            (Phase::Open, Frame::Knocks(Knocks { knocks })) => {
                effects.push(Effect::Knocked(knocks));
                Ok(())
            }
            (Phase::Open, Frame::Settled(settled)) => {
                let (_, told) = self
                    .mail_open
                    .pop_front()
                    .filter(|(mailbox, _)| *mailbox == settled.mailbox)
                    .ok_or(Misbehaviour::OutOfTurn("an acknowledgement"))?;
                // One that it cannot keep just now is sent again in the next session.
                let passing = matches!(&settled.outcome, Outcome::Refused(why) if why.refusal.is_passing());
                match told {
                    Told::Answer if !passing => effects.push(Effect::Answered(settled.mailbox)),
                    Told::Countersignature if !passing => {
                        effects.push(Effect::Countersigned(settled.mailbox));
                    }
                    Told::Open | Told::Answer | Told::Countersignature => {}
                }
                Ok(())
            }
            (Phase::Open, Frame::WantedChunks(names)) => Ok(self.transfer.wanted(&names, effects)?),
            (Phase::Open, Frame::ChunkAck(ack)) => Ok(self.transfer.acked(ack, effects)?),
            (Phase::Open, Frame::Chunk(chunk)) => Ok(self.transfer.came(chunk, effects)?),
            (_, frame) => Err(Misbehaviour::OutOfTurn(name(&frame)).into()),
        }
    }

    /// Chunks go when entries have gone and come: a word is worth more than a picture.
    fn carry_chunks(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let sent = self.queue.is_empty() && self.in_flight.is_empty() && self.outbox == Outbox::Drained;
        if !self.settled || !sent || self.outbox_grew {
            return;
        }
        let left = self.plan.budget.bytes.map_or(u64::MAX, |budget| budget.saturating_sub(self.bytes));
        for frame in self.transfer.go_on(left, effects) {
            self.send(&frame, effects);
        }
        if let Some(wanted_ms) = self.transfer.take_retry().filter(|_| self.plan.live) {
            let wait_ms = wanted_ms.clamp(self.media_retry_ms, RETRY_MS.1);
            self.media_retry_at_ms = self.media_retry_at_ms.max(Some(now_ms.saturating_add(wait_ms)));
        }
    }

    fn retry_media(&mut self, now_ms: u64) {
        if self.media_retry_at_ms.is_some_and(|at_ms| now_ms >= at_ms) && self.transfer.is_done() {
            self.media_retry_at_ms = None;
            self.media_retry_ms = (self.media_retry_ms * 2).min(RETRY_MS.1);
            self.transfer.retry();
        }
    }

    fn load_mail(&mut self, effects: &mut Vec<Effect>) {
        let idle = !self.mail_loading && self.mail_open.is_empty() && !self.budget_is_used_up();
        if self.settled && idle && std::mem::take(&mut self.mail_due) {
            self.mail_loading = true;
            effects.push(Effect::LoadMail);
        }
    }

    fn send_mail(&mut self, mail: Vec<Mail>, effects: &mut Vec<Effect>) {
        self.mail_loading = false;
        for mail in mail {
            match mail {
                Mail::Open(open) if self.mailboxes.insert(open.mailbox) => {
                    self.mail_open.push_back((open.mailbox, Told::Open));
                    self.send(&Frame::OpenMailbox(open), effects);
                }
                Mail::Open(_) => {}
                Mail::Answer(answer) => {
                    self.mail_open.push_back((answer.mailbox, Told::Answer));
                    self.send(&Frame::Answer(answer), effects);
                }
                Mail::Countersign(signed) => {
                    self.mail_open.push_back((signed.mailbox, Told::Countersignature));
                    self.send(&Frame::Countersign(signed), effects);
                }
            }
        }
    }

    fn welcome(&mut self, welcome: &Welcome, effects: &mut Vec<Effect>) -> Result<(), End> {
        let (relay, incarnation) = self.relay.ok_or(Misbehaviour::OutOfTurn("a welcome"))?;
        effects.push(Effect::CheckOwn(welcome.own.clone()));
        self.phase = Phase::Open;
        self.standing = welcome.standing;
        let new_life = self.plan.incarnation != Some(incarnation);
        if new_life {
            self.plan.checkpoint = None;
            self.plan.receipted = None;
            self.plan.cursors.values_mut().for_each(|after| *after = 0);
            effects.push(Effect::NewLife(relay, incarnation));
        }
        let newest = match &welcome.checkpoint {
            Some(bytes) => {
                let signed = self.verified(bytes)?;
                effects.push(Effect::RelayTime(signed.receipt().received_ms));
                Some(signed.receipt().checkpoint)
            }
            None => None,
        };
        let mut signed_before: Vec<Checkpoint> =
            [self.plan.checkpoint, self.plan.receipted].into_iter().flatten().collect();
        let outside = matches!(welcome.standing, Standing::UnknownDevice | Standing::Certified);
        if outside && newest.is_none() {
            self.owed = std::mem::take(&mut signed_before);
        }
        for old in signed_before {
            match newest {
                Some(new) if new.size > old.size => {
                    self.proofs_open.push_back(old);
                    self.send(&Frame::AskConsistency(AskConsistency { from: old.size }), effects);
                }
                new if new == Some(old) => {}
                Some(_) | None => return Err(Misbehaviour::TwoHistories.into()),
            }
        }
        if let Some(new) = newest.filter(|_| self.proofs_open.is_empty()) {
            self.keep_checkpoint(new, effects);
        }
        match welcome.standing {
            // In a new life; and where a session in that life was cut off before the answer.
            Standing::Belongs if self.plan.offered != Some(incarnation) => self.ask_heads(effects),
            Standing::Belongs => {}
            Standing::UnknownGroup => self.offer(Vec::new(), true, effects),
            // How far its roll goes a relay tells nobody whom it does not know. What is left of an offer that was cut off
            // is in the outbox.
            _ if self.plan.roll_offered != Some(incarnation) => self.offer_roll(effects),
            Standing::UnknownDevice | Standing::Certified => {}
        }
        Ok(())
    }

    /// Has everything put into the outbox that is here and not there.
    fn offer(&mut self, heads: Vec<LogHeight>, whole: bool, effects: &mut Vec<Effect>) {
        self.outbox = Outbox::Unread;
        // What is offered again gets new places, and what was postponed another try.
        self.outbox_after = 0;
        self.turned_away = false;
        self.queue.clear();
        effects.push(Effect::Offer { heads, whole });
    }

    /// As [`Self::offer`], of the roll alone, to a relay that takes nothing else before it knows this device.
    fn offer_roll(&mut self, effects: &mut Vec<Effect>) {
        self.asked_heads = true;
        self.offer(Vec::new(), false, effects);
    }

    /// Asks for proof that the relay's history continues those of earlier sessions, now that it has to answer.
    fn ask_what_is_owed(&mut self, effects: &mut Vec<Effect>) {
        for old in std::mem::take(&mut self.owed) {
            self.proofs_open.push_back(old);
            self.send(&Frame::AskConsistency(AskConsistency { from: old.size }), effects);
        }
    }

    /// Sends what the outbox holds, a few frames ahead of their acknowledgements.
    fn push(&mut self, effects: &mut Vec<Effect>) {
        if self.heads_open {
            return;
        }
        let frames = if self.probing.is_some() { 1 } else { limits::PUSH_FRAMES_IN_FLIGHT_MAX };
        while !self.queue.is_empty() && self.in_flight.len() < frames && !self.budget_is_used_up() {
            // Never more than the budget, but for the entry that uses it up: what is sent and not answered was in vain.
            let left = self.plan.budget.bytes.map_or(u64::MAX, |budget| budget.saturating_sub(self.bytes));
            let frame_bytes = usize::try_from(left).unwrap_or(usize::MAX).min(limits::FRAME_ENTRIES_BYTES);
            let mut bytes = 0;
            let mut count = 0;
            for outgoing in self.queue.iter().take(limits::FRAME_ENTRIES_MAX) {
                bytes += outgoing.wire.signed.len() + outgoing.wire.body.as_ref().map_or(0, |b| b.len());
                count += 1;
                if bytes > frame_bytes {
                    break;
                }
            }
            let batch: Vec<Outgoing> = self.queue.drain(..count).collect();
            let number = self.next_push;
            self.next_push = self.next_push.wrapping_add(1);
            self.in_flight.insert(number, batch.iter().map(|o| (o.key, o.hash)).collect());
            let entries = batch.into_iter().map(|o| o.wire).collect();
            self.send(&Frame::Push(Push { number, entries }), effects);
        }
        if self.outbox_grew && self.outbox == Outbox::Drained {
            self.outbox = Outbox::Unread;
            self.outbox_grew = false;
        }
        // Behind what is probed with, nothing is read before the relay has answered.
        let probed = self.probing.is_some() && !self.in_flight.is_empty();
        if self.outbox == Outbox::Unread && self.queue.is_empty() && !probed {
            self.outbox = Outbox::Loading;
            effects.push(Effect::LoadOutbox { after: self.outbox_after });
        }
    }

    /// Asks for entries once the relay knows whom it talks to.
    fn pull(&mut self, effects: &mut Vec<Effect>) {
        // A stranger brings the roll that names them; and where bytes are counted, what comes in meanwhile could not be
        // stopped.
        let sends_first = self.standing != Standing::Belongs || self.plan.budget.bytes.is_some();
        let sending = self.heads_open || self.outbox != Outbox::Drained || !self.in_flight.is_empty();
        if self.pulled || self.budget_is_used_up() || (sends_first && sending) {
            return;
        }
        self.pulled = true;
        let cursors = self.plan.cursors.iter();
        let cursors =
            cursors.map(|(compartment, after)| Cursor { compartment: *compartment, after: *after }).collect();
        self.send(&Frame::Pull(Pull { cursors, live: self.plan.live }), effects);
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) -> Result<(), End> {
        let sent = self.queue.is_empty() && self.in_flight.is_empty();
        let idle = sent && self.outbox == Outbox::Drained && !self.outbox_grew;
        if !self.caught_up || !idle || self.heads_open || !self.proofs_open.is_empty() {
            return Ok(());
        }
        if !self.announced {
            self.announced = true;
            effects.push(Effect::CaughtUp);
            return Ok(());
        }
        let mail_is_sent = !self.mail_due && !self.mail_loading && self.mail_open.is_empty();
        if self.settled && mail_is_sent && self.transfer.is_done() && !self.plan.live {
            return Err(End::Done);
        }
        Ok(())
    }

    fn ack(&mut self, ack: Ack, effects: &mut Vec<Effect>) -> Result<(), End> {
        let sent = self.in_flight.remove(&ack.number).ok_or(Misbehaviour::OutOfTurn("an acknowledgement"))?;
        if sent.len() != ack.outcomes.len() {
            return Err(Misbehaviour::ReceiptMismatch.into());
        }
        let mut kept = Vec::new();
        let (mut lacks_causes, mut lacks_roll) = (false, false);
        let mut made_way = false;
        let mut retry_after_ms = None;
        let outside =
            |outcome: &Outcome| matches!(outcome, Outcome::Refused(why) if why.refusal.is_of_an_outsider());
        if !ack.outcomes.is_empty() && ack.outcomes.iter().all(outside) {
            self.turned_away = true;
            self.queue.clear();
            if self.outbox == Outbox::Unread {
                self.outbox = Outbox::Drained;
            }
        }
        for ((key, hash), outcome) in sent.into_iter().zip(ack.outcomes) {
            match outcome {
                Outcome::Kept => {
                    made_way = true;
                    kept.push((key, hash));
                }
                Outcome::Refused(why) if why.refusal.is_passing() => {
                    lacks_causes |= why.refusal.lacks_causes();
                    lacks_roll |= [Refusal::GAP, Refusal::ROLL_UNKNOWN].contains(&why.refusal);
                    if why.refusal == Refusal::CLOSED {
                        self.closed = Some(why.clone());
                    }
                    retry_after_ms = retry_after_ms.max(Some(why.retry_after_ms.unwrap_or_default()));
                    effects.push(Effect::Postponed { key, why });
                }
                Outcome::Refused(why) => {
                    made_way = true;
                    effects.push(Effect::Refused { key, why });
                }
            }
        }
        let outside = self.standing != Standing::Belongs && !self.heard_of;
        if outside && ack.receipt.is_none() && !kept.is_empty() {
            self.unsigned = true;
            effects.push(Effect::Unsigned(kept.iter().map(|(key, _)| *key).collect()));
        } else if !kept.is_empty() {
            let receipt = self.verified(ack.receipt.as_deref().ok_or(Misbehaviour::ReceiptMismatch)?)?;
            let named = &receipt.receipt().entries;
            if !kept.iter().map(|(_, hash)| hash).eq(named) {
                return Err(Misbehaviour::ReceiptMismatch.into());
            }
            effects.push(Effect::Kept { keys: kept.into_iter().map(|(key, _)| key).collect(), receipt });
            if outside {
                self.heard_of = true;
                self.ask_what_is_owed(effects);
                // A receipt is still due for what it kept before, and from now on it takes everything.
                if self.unsigned || self.standing != Standing::UnknownGroup {
                    self.ask_heads(effects);
                }
            }
        }
        self.plan_retry(made_way, retry_after_ms);
        if self.asked_heads {
            return Ok(());
        }
        match self.standing {
            Standing::UnknownDevice | Standing::Certified if lacks_roll => self.offer_roll(effects),
            Standing::Belongs if lacks_causes => self.ask_heads(effects),
            Standing::UnknownGroup | Standing::UnknownDevice | Standing::Belongs | Standing::Certified => {}
        }
        Ok(())
    }

    /// After an acknowledgement: notes when to offer again what it postponed, if it postponed anything.
    fn plan_retry(&mut self, made_way: bool, retry_after_ms: Option<u64>) {
        let probed = self.probing.take();
        if made_way {
            self.retry_ms = RETRY_MS.0;
            self.turned_away = false;
        } else if let Some(read) = probed {
            // Not yet. What else was postponed stays where it is.
            self.queue.clear();
            self.outbox = Outbox::Drained;
            self.outbox_after = self.outbox_after.max(read);
        }
        let Some(wanted_ms) = retry_after_ms.filter(|_| self.plan.live) else { return };
        let wait_ms = wanted_ms.clamp(self.retry_ms, RETRY_MS.1);
        self.retry_at_ms = self.retry_at_ms.max(Some(self.heard_ms.saturating_add(wait_ms)));
    }

    /// Reads the outbox anew when what was postponed is due: it holds nothing else once everything was answered.
    fn retry_postponed(&mut self, now_ms: u64) {
        let answered = self.queue.is_empty() && self.in_flight.is_empty() && !self.heads_open;
        let due = self.retry_at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        if due && answered && self.outbox == Outbox::Drained {
            self.retry_at_ms = None;
            self.retry_ms = (self.retry_ms * 2).min(RETRY_MS.1);
            self.probing = Some(self.outbox_after);
            self.outbox = Outbox::Unread;
            self.outbox_after = 0;
        }
    }

    /// A relay that is closed to a group does not know its devices either: of the two, people are told the cause.
    fn cause_of(&mut self, why: Refused) -> Refused {
        match self.closed.take() {
            Some(closed) if why.refusal == Refusal::UNKNOWN_DEVICE => {
                let group = self.plan.group;
                let reason = format!("{} (for its setting `allowed_groups`: {group})", closed.reason);
                Refused { reason, ..closed }
            }
            _ => why,
        }
    }

    fn ask_heads(&mut self, effects: &mut Vec<Effect>) {
        self.asked_heads = true;
        self.heads_open = true;
        self.send(&Frame::AskHeads, effects);
    }

    fn keep_checkpoint(&mut self, checkpoint: Checkpoint, effects: &mut Vec<Effect>) {
        self.plan.checkpoint = Some(checkpoint);
        effects.push(Effect::Checkpoint(checkpoint));
    }

    fn verified(&self, bytes: &[u8]) -> Result<SignedReceipt, End> {
        let (relay, incarnation) = self.relay.ok_or(Misbehaviour::OutOfTurn("a receipt"))?;
        let receipt = SignedReceipt::verify(bytes, relay, incarnation, self.plan.group);
        Ok(receipt.map_err(Misbehaviour::from)?)
    }

    fn send(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let bytes = frame.to_bytes();
        self.bytes += bytes.len() as u64;
        effects.push(Effect::Send(bytes));
    }

    fn end(&mut self, end: End, effects: &mut Vec<Effect>) {
        self.phase = Phase::Over;
        effects.push(Effect::End(end));
    }
}

/// What a device signs to answer a relay's challenge.
///
/// # Errors
/// The reason, if the relay speaks another session version.
pub(super) fn proof_for(challenge: &Challenge, group: GroupId, device: DeviceId) -> Result<Vec<u8>, Refused> {
    if challenge.version != SESSION_VERSION {
        let reason = format!(
            "the relay speaks session version {}, this app {SESSION_VERSION}: update the older one",
            challenge.version
        );
        return Err(Refused::new(Refusal::VERSION, reason));
    }
    let Challenge { nonce, relay, .. } = *challenge;
    Ok(cbor::encode(&Proof { version: SESSION_VERSION, nonce, relay, group, device, word: None }))
}

impl From<Misbehaviour> for End {
    fn from(what: Misbehaviour) -> Self {
        Self::Misbehaved(what)
    }
}

pub(super) fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Challenge(_) => "a challenge",
        Frame::Hello(_) => "a hello",
        Frame::Welcome(_) => "a welcome",
        Frame::Pull(_) => "a pull",
        Frame::Entries(_) => "entries",
        Frame::CaughtUp => "'caught up'",
        Frame::Push(_) => "a push",
        Frame::Ack(_) => "an acknowledgement",
        Frame::AskHeads => "a question for heads",
        Frame::Heads(_) => "heads",
        Frame::AskConsistency(_) => "a question for consistency",
        Frame::Consistency(_) => "a proof",
        Frame::Goodbye(_) => "a goodbye",
        Frame::OpenMailbox(_) => "a mailbox",
        Frame::Knock(_) => "a knock",
        Frame::Knocks(_) => "knocks",
        Frame::Answer(_) => "an answer",
        Frame::Countersign(_) => "a countersignature",
        Frame::Letter(_) => "a letter",
        Frame::Settled(_) => "an acknowledgement",
        Frame::OfferChunks(_) | Frame::WantedChunks(_) => "names of chunks",
        Frame::PutChunk(_) | Frame::Chunk(_) => "a chunk",
        Frame::ChunkAck(_) => "an acknowledgement of a chunk",
        Frame::GetChunk(_) => "a question for a chunk",
    }
}

#[cfg(test)]
mod tests;
