//! The relay's side of a session, as a machine without IO: (input, now) → effects (PROTOCOL.md §5.2).
//!
//! It holds cursors and a few frames, never a backlog of entries: what a reader lacks stays in the store until the
//! reader has taken what was sent before.

use std::collections::{BTreeMap, VecDeque};

use lamppost_core::base::cose::Unverified;
use lamppost_core::base::{CompartmentId, DeviceId, GroupId, Incarnation, MemberId, RelayId, cbor, limits};
use lamppost_core::entry::certificate::{BadCertificate, Certificate, Scope};
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{
    Challenge, Cursor, Entries, Outcome, Proof, Pull, Push, Refusal, Refused, SESSION_VERSION, Standing,
};
use lamppost_core::sync::mailbox::Letter;

use crate::admit::removed;
use crate::chunks::ChunkRequest;
use crate::mailbox::{Done, Errand};
use crate::query::{Query, Reply};
use crate::relay::{Answer, Pushed};

/// Bytes of the only message that is read from somebody who has not proven who they are.
pub const HELLO_BYTES_MAX: usize = 1_024;

/// Entries that a session may push whose device is not known to belong: the roll of a large group, healed at once.
pub const STRANGER_ENTRIES_MAX: usize = 8_192;

/// Frames that wait to be sent before no more is read from the phone.
const FRAMES_WAITING_MAX: usize = 8;

/// Bytes of these frames, for the same. The largest answer comes on top.
const BYTES_WAITING_MAX: usize = 64 * 1_024;

/// Milliseconds without a sign of life after which a session is given up. Both sides send or answer pings every 20 s.
const SILENCE_MS_MAX: u64 = 60_000;

/// What a session is told when it begins.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The relay.
    pub relay: RelayId,
    /// The life of its store.
    pub incarnation: Incarnation,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// Milliseconds in which the phone must have proven who it is.
    pub handshake_ms: u64,
    /// Milliseconds in which the phone must take a frame.
    pub slow_reader_ms: u64,
    /// Milliseconds after which the session of a device ends that does not belong and waits for nothing; ten times as many
    /// if it has shown a certificate.
    pub stranger_ms: u64,
}

/// What the shell tells the machine.
#[derive(Debug)]
pub enum Input {
    /// A message came in. To be given only while [`Session::wants_input`].
    Message(Vec<u8>),
    /// Something came in that is no message of a session.
    Unreadable(&'static str),
    /// A ping or pong came in.
    Heard,
    /// The frame of the last [`Effect::Send`] was taken by the socket.
    Sent,
    /// The answer to [`Effect::Ask`].
    Reply(Reply),
    /// The answer to [`Effect::Commit`].
    Committed(Answer),
    /// The group that is followed has new entries.
    Grown,
    /// There is no place for the session, for this reason.
    NoPlace(Refused),
    /// A message has been on its way for longer than any may be.
    Stalled,
    /// Time has passed.
    Tick,
    /// The relay is to stop.
    Shutdown,
}

/// What the shell is to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message, then say [`Input::Sent`]. There is never more than one under way.
    Send(Vec<u8>),
    /// Ask the relay, then give its [`Input::Reply`].
    Ask(Query),
    /// Commit a push, then give its [`Input::Committed`].
    Commit(Pushed),
    /// Say [`Input::Grown`] from now on whenever the group has grown.
    Follow(GroupId),
    /// Close the connection. Send the last words first if that works at once.
    Close(Option<Vec<u8>>),
}

/// One session.
#[derive(Debug)]
pub struct Session {
    opening: Opening,
    phase: Phase,
    begun_ms: Option<u64>,
    heard_ms: u64,
    peer: Option<(GroupId, DeviceId)>,
    /// The key that signed the phone's certificate, if it showed one.
    key: Option<MemberId>,
    /// What the phone was last told of itself.
    standing: Option<Standing>,
    /// The phone waits to hear of another standing, and it may have one.
    standing_due: bool,
    belongs: bool,
    stranger_entries: usize,
    in_flight: usize,
    pull: Option<Following>,
    fetching: bool,
    /// The fetch under way belongs to a pull that was replaced.
    fetch_is_stale: bool,
    governs: bool,
    /// There may be knocks to tell of, behind the last one told.
    knocks_due: bool,
    /// They are being looked for.
    knocks_asked: bool,
    knocks_after: u64,
    /// Where the phone has knocked, and what it was told last.
    letter: Option<Letter>,
    letter_due: bool,
    waiting: VecDeque<Vec<u8>>,
    sending_since_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello,
    Opening,
    Open,
    /// Nothing more is read; what was pushed is answered, then the relay says why it goes.
    Draining,
    /// The goodbye is the last of the waiting frames.
    Parting,
    Over,
}

/// A pull under way.
#[derive(Debug)]
struct Following {
    cursors: BTreeMap<CompartmentId, u64>,
    live: bool,
    owes_caught_up: bool,
    may_have_more: bool,
}

impl Session {
    /// Prepares a session. The relay speaks first: give it a [`Input::Tick`] to begin.
    pub fn new(opening: Opening) -> Self {
        Self {
            opening,
            phase: Phase::Hello,
            begun_ms: None,
            heard_ms: 0,
            peer: None,
            key: None,
            standing: None,
            standing_due: false,
            belongs: false,
            stranger_entries: 0,
            in_flight: 0,
            pull: None,
            fetching: false,
            fetch_is_stale: false,
            governs: false,
            knocks_due: false,
            knocks_asked: false,
            knocks_after: 0,
            letter: None,
            letter_due: false,
            waiting: VecDeque::new(),
            sending_since_ms: None,
        }
    }

    /// Whether a message of the phone can be taken now. If not, it stays in the socket: that is the backpressure.
    pub fn wants_input(&self) -> bool {
        matches!(self.phase, Phase::Hello | Phase::Open)
            && self.in_flight < limits::PUSH_FRAMES_IN_FLIGHT_MAX
            && self.waiting.len() < FRAMES_WAITING_MAX
            && self.waiting.iter().map(Vec::len).sum::<usize>() < BYTES_WAITING_MAX
    }

    /// Takes one input at the time `now_ms` (any clock that goes forward) and answers with what to do, in order.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.phase == Phase::Over {
            return effects;
        }
        if self.begun_ms.is_none() {
            self.begun_ms = Some(now_ms);
            self.heard_ms = now_ms;
            self.queue(&Frame::Challenge(Challenge {
                version: SESSION_VERSION,
                nonce: self.opening.nonce,
                relay: self.opening.relay,
                incarnation: self.opening.incarnation,
            }));
        }
        // One goodbye is enough.
        if let Err(why) = self.step(input, now_ms, &mut effects)
            && self.phase != Phase::Parting
        {
            self.queue(&Frame::Goodbye(why));
            self.phase = Phase::Parting;
        }
        self.go_on(now_ms, &mut effects);
        effects
    }

    fn step(&mut self, input: Input, now_ms: u64, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        match input {
            Input::Message(bytes) => {
                self.heard_ms = now_ms;
                self.message(&bytes, effects)?;
            }
            Input::Unreadable(what) => return Err(Refused::new(Refusal::MALFORMED, what)),
            Input::Heard => self.heard_ms = now_ms,
            Input::Sent => self.sending_since_ms = None,
            Input::Reply(reply) => self.reply(reply)?,
            Input::Committed(answer) => {
                self.in_flight = self.in_flight.saturating_sub(1);
                let belonged = std::mem::replace(&mut self.belongs, answer.belongs);
                if belonged && answer.is_unsigned() {
                    // Taken out meanwhile: what was kept is nothing that a phone that belongs could rely on.
                    return Err(removed());
                }
                let forged = |outcome: &Outcome| match outcome {
                    Outcome::Refused(why) => why.refusal == Refusal::SIGNATURE,
                    Outcome::Kept => false,
                };
                let is_forger = !self.belongs && answer.ack.outcomes.iter().any(forged);
                if !matches!(self.phase, Phase::Parting) {
                    self.queue(&Frame::Ack(answer.ack));
                }
                if is_forger {
                    // Whoever belongs is held to a rate. Keys of strangers cost nothing, and signatures cost the relay.
                    let reason = "an entry is not signed by the device it names";
                    return Err(Refused::new(Refusal::SIGNATURE, reason));
                }
            }
            Input::Grown => {
                if let Some(pull) = &mut self.pull {
                    pull.may_have_more |= pull.live || pull.owes_caught_up;
                }
                self.knocks_due = self.governs;
                self.letter_due = self.letter.is_some();
                let outside = matches!(self.standing, Some(Standing::UnknownGroup | Standing::UnknownDevice));
                self.standing_due = outside && self.key.is_some();
            }
            Input::NoPlace(why) => return Err(why),
            Input::Stalled => {
                return Err(Refused::new(
                    Refusal::TOO_SLOW,
                    "a message of the phone's took too long to come",
                ));
            }
            Input::Tick => self.tick(now_ms, effects)?,
            Input::Shutdown => {
                if matches!(self.phase, Phase::Hello | Phase::Opening | Phase::Open) {
                    self.phase = Phase::Draining;
                    self.pull = None;
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let since = |at_ms: u64| now_ms.saturating_sub(at_ms);
        if self.sending_since_ms.is_some_and(|at_ms| since(at_ms) >= self.opening.slow_reader_ms) {
            let reason =
                "the phone takes entries more slowly than the relay waits: catch up in a new session";
            let goodbye = Frame::Goodbye(Refused::new(Refusal::TOO_SLOW, reason));
            self.phase = Phase::Over;
            effects.push(Effect::Close(Some(goodbye.to_bytes())));
            return Ok(());
        }
        if self.phase == Phase::Hello && since(self.begun_ms.unwrap_or(now_ms)) >= self.opening.handshake_ms {
            return Err(Refused::new(Refusal::TOO_SLOW, "the answer to the challenge took too long"));
        }
        // Whoever has knocked waits for people; every other stranger has said what it wants by then.
        let stranger_ms = self.opening.stranger_ms.saturating_mul(if self.key.is_some() { 10 } else { 1 });
        let is_stranger = self.phase == Phase::Open && !self.belongs && self.letter.is_none();
        if is_stranger && since(self.begun_ms.unwrap_or(now_ms)) >= stranger_ms {
            let reason =
                "the device does not belong to the group, as far as this relay has heard: come back later";
            return Err(Refused::new(Refusal::RATE, reason));
        }
        if self.wants_input() && since(self.heard_ms) >= SILENCE_MS_MAX {
            return Err(Refused::new(Refusal::TOO_SLOW, "nothing was heard from the phone for a minute"));
        }
        Ok(())
    }

    fn message(&mut self, bytes: &[u8], effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let malformed = |why: &dyn std::fmt::Display| Refused::new(Refusal::MALFORMED, why);
        if self.phase == Phase::Hello && bytes.len() > HELLO_BYTES_MAX {
            return Err(malformed(&"the answer to the challenge comes first, and is short"));
        }
        let frame = Frame::from_bytes(bytes).map_err(|why| malformed(&why))?;
        match (self.phase, self.peer, frame) {
            (Phase::Hello, _, Frame::Hello(hello)) => {
                let proof = check_proof(&self.opening, &hello.proof)?;
                let (group, device) = (proof.group, proof.device);
                let key = hello
                    .certificate
                    .as_ref()
                    .map(|bytes| check_certificate(bytes, group, device))
                    .transpose()?;
                (self.peer, self.key) = (Some((group, device)), key);
                self.phase = Phase::Opening;
                effects.push(Effect::Follow(group));
                effects.push(Effect::Ask(Query::Open { group, device, key }));
                Ok(())
            }
            (Phase::Open, Some(_), Frame::Pull(pull)) => self.pull(pull),
            (Phase::Open, Some((group, device)), Frame::Push(push)) => {
                self.push(group, device, push, effects)
            }
            (Phase::Open, Some((group, device)), Frame::AskHeads) => {
                effects.push(Effect::Ask(Query::Heads { group, device }));
                Ok(())
            }
            (Phase::Open, Some((group, device)), Frame::AskConsistency(ask)) => {
                effects.push(Effect::Ask(Query::Consistency { group, device, from: ask.from }));
                Ok(())
            }
            (Phase::Open, Some((group, device)), Frame::OpenMailbox(open)) => {
                ask(Query::Mailbox { group, device, errand: Errand::Open(open) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::Knock(knock)) => {
                ask(Query::Mailbox { group, device, errand: Errand::Knock(knock) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::Countersign(signed)) => {
                ask(Query::Mailbox { group, device, errand: Errand::Countersign(signed) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::Answer(answer)) => {
                ask(Query::Mailbox { group, device, errand: Errand::Answer(answer) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::OfferChunks(names)) => {
                ask(Query::Chunks { group, device, request: ChunkRequest::Offer(names) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::PutChunk(put)) => {
                ask(Query::Chunks { group, device, request: ChunkRequest::Put(put) }, effects)
            }
            (Phase::Open, Some((group, device)), Frame::GetChunk(get)) => {
                ask(Query::Chunks { group, device, request: ChunkRequest::Get(get) }, effects)
            }
            (Phase::Draining | Phase::Parting | Phase::Over, ..) => Ok(()),
            (Phase::Hello | Phase::Opening | Phase::Open, ..) => {
                Err(malformed(&"a frame that has no place at this point of a session"))
            }
        }
    }

    fn pull(&mut self, pull: Pull) -> Result<(), Refused> {
        if !pull.cursors.is_sorted_by(|a, b| a.compartment < b.compartment) {
            return Err(Refused::new(Refusal::MALFORMED, "cursors ascend by compartment without repetition"));
        }
        let cursors = pull.cursors.into_iter().map(|Cursor { compartment, after }| (compartment, after));
        self.fetch_is_stale = self.fetching;
        self.pull = Some(Following {
            cursors: cursors.collect(),
            live: pull.live,
            owes_caught_up: true,
            may_have_more: true,
        });
        Ok(())
    }

    fn push(
        &mut self,
        group: GroupId,
        device: DeviceId,
        push: Push,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        if !self.belongs {
            self.stranger_entries += push.entries.len();
            if self.stranger_entries > STRANGER_ENTRIES_MAX {
                let reason =
                    "the device does not belong to the group, and has pushed all that is taken from such";
                return Err(Refused::new(Refusal::RATE, reason));
            }
        }
        self.in_flight += 1;
        effects.push(Effect::Commit(Pushed { group, device, number: push.number, entries: push.entries }));
        Ok(())
    }

    fn reply(&mut self, reply: Reply) -> Result<(), Refused> {
        match reply {
            Reply::Opened { welcome, governs } => {
                self.belongs = welcome.standing == Standing::Belongs;
                self.governs = governs;
                self.knocks_due = governs;
                let is_news = self.standing.replace(welcome.standing) != Some(welcome.standing);
                if self.phase == Phase::Opening {
                    self.phase = Phase::Open;
                }
                if self.phase == Phase::Open && is_news {
                    self.queue(&Frame::Welcome(welcome));
                }
            }
            Reply::Fetched(fetched) => {
                self.fetching = false;
                self.fetched(fetched);
            }
            Reply::Heads(heads) => self.queue(&Frame::Heads(heads)),
            Reply::Consistency(proof) => self.queue(&Frame::Consistency(proof)),
            Reply::Mailbox { done: Done::Settled(settled), .. } => self.queue(&Frame::Settled(settled)),
            Reply::Mailbox { done: Done::Letter(letter), .. } => self.tell(letter),
            Reply::Chunks(frame) => self.queue(&frame),
            Reply::Letter(letter) => {
                if self.letter.as_ref() != Some(&letter) {
                    self.tell(letter);
                }
            }
            Reply::Knocks(found) => {
                self.knocks_asked = false;
                let Some((knocks, last)) = found else { return Ok(()) };
                self.knocks_after = last;
                self.knocks_due = true;
                self.queue(&Frame::Knocks(knocks));
            }
            Reply::Refused(why) => return Err(why),
        }
        Ok(())
    }

    fn tell(&mut self, letter: Letter) {
        self.queue(&Frame::Letter(letter.clone()));
        self.letter = Some(letter);
    }

    fn fetched(&mut self, fetched: Option<Entries>) {
        let Some(pull) = self.pull.as_mut().filter(|_| !std::mem::take(&mut self.fetch_is_stale)) else {
            return;
        };
        let frame = match fetched {
            Some(entries) => {
                pull.cursors.insert(entries.compartment, entries.upto);
                pull.may_have_more = true;
                Frame::Entries(entries)
            }
            None if std::mem::take(&mut pull.owes_caught_up) => Frame::CaughtUp,
            None => return,
        };
        self.queue(&frame);
    }

    /// Sends what waits, asks for more entries when nothing waits, and closes when all is said.
    fn go_on(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Draining && self.in_flight == 0 {
            let reason = "the relay is shutting down: try again in a moment";
            self.queue(&Frame::Goodbye(Refused::new(Refusal::SHUTDOWN, reason)));
            self.phase = Phase::Parting;
        }
        if self.phase == Phase::Over || self.sending_since_ms.is_some() {
            return;
        }
        if let Some(bytes) = self.waiting.pop_front() {
            self.sending_since_ms = Some(now_ms);
            effects.push(Effect::Send(bytes));
        } else if self.phase == Phase::Parting {
            self.phase = Phase::Over;
            effects.push(Effect::Close(None));
        } else if let (Phase::Open, Some((group, device))) = (self.phase, self.peer) {
            let pull = self.pull.as_mut().filter(|_| !self.fetching && !self.knocks_asked);
            if std::mem::take(&mut self.standing_due) {
                effects.push(Effect::Ask(Query::Open { group, device, key: self.key }));
            } else if !self.fetching && std::mem::take(&mut self.knocks_due) {
                // Before entries: a phone that has caught up may leave.
                self.knocks_asked = true;
                effects.push(Effect::Ask(Query::Knocks { group, device, after: self.knocks_after }));
            } else if let Some(pull) = pull
                && std::mem::take(&mut pull.may_have_more)
            {
                self.fetching = true;
                let (key, cursors) = (self.key, pull.cursors.clone());
                effects.push(Effect::Ask(Query::Fetch { group, device, key, cursors }));
            } else if let Some(letter) = self.letter.as_ref().filter(|_| self.letter_due) {
                self.letter_due = false;
                let mailbox = letter.mailbox;
                effects.push(Effect::Ask(Query::Letter { group, device, mailbox }));
            }
        }
    }

    fn queue(&mut self, frame: &Frame) {
        self.waiting.push_back(frame.to_bytes());
    }
}

fn ask(query: Query, effects: &mut Vec<Effect>) -> Result<(), Refused> {
    effects.push(Effect::Ask(query));
    Ok(())
}

/// The proof that the phone holds the key of the device it names, made for this session.
fn check_proof(opening: &Opening, bytes: &[u8]) -> Result<Proof, Refused> {
    let malformed = |why: &dyn std::fmt::Display| Refused::new(Refusal::MALFORMED, why);
    let sign1 = Unverified::parse(bytes).map_err(|why| malformed(&why))?;
    let proof: Proof = cbor::decode(sign1.payload()).map_err(|why| malformed(&why))?;
    if proof.version != SESSION_VERSION {
        let reason = format!(
            "the phone speaks session version {}, this relay {SESSION_VERSION}: update the older one",
            proof.version
        );
        return Err(Refused::new(Refusal::VERSION, reason));
    }
    if proof.nonce != opening.nonce || proof.relay != opening.relay {
        return Err(Refused::new(Refusal::SIGNATURE, "the proof was made for another session or relay"));
    }
    proof.verify(&sign1).map_err(|why| Refused::new(Refusal::SIGNATURE, why))?;
    Ok(proof)
}

/// The key that signed the certificate of this device.
fn check_certificate(bytes: &[u8], group: GroupId, device: DeviceId) -> Result<MemberId, Refused> {
    let certificate = Certificate::verify(bytes, Scope::group(group)).map_err(|why| match why {
        BadCertificate::Signature { .. } | BadCertificate::OtherGroup => {
            Refused::new(Refusal::SIGNATURE, why)
        }
        BadCertificate::UnknownVersion(_) => Refused::new(Refusal::VERSION, why),
        BadCertificate::Form(_) => Refused::new(Refusal::MALFORMED, why),
    })?;
    let claims = certificate.claims();
    if claims.device != device {
        return Err(Refused::new(Refusal::SIGNATURE, "the certificate is another device's"));
    }
    Ok(claims.member)
}
