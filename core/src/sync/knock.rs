//! A newcomer's session, as a machine without IO: (input, now) → effects (PROTOCOL.md §5.5).
//!
//! It proves who it is, knocks and waits for the letter. Once it belongs it fetches the roll, and nothing else: with that
//! it joins, and from then on [`Session`](super::session::Session) is the machine to use.

use minicbor::bytes::ByteVec;

use super::frame::{Cursor, Entries, Frame, Hello, Pull, Refused, Standing};
use super::mailbox::{Knock, Letter, Word};
use super::session::{Budget, Misbehaviour, SILENCE_MS_MAX, name, proof_for};
use crate::base::{CompartmentId, DeviceId, GroupId, MailboxId, RelayId, limits};
use crate::entry::Wire;

/// What a newcomer's session needs to know before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The group of the invitation.
    pub group: GroupId,
    /// This device.
    pub device: DeviceId,
    /// The invitation.
    pub mailbox: MailboxId,
    /// Whether to wait until somebody has decided.
    pub wait: bool,
    /// When to stop, and after how many bytes.
    pub budget: Budget,
}

/// What the shell tells the machine.
#[derive(Debug)]
pub enum Input {
    /// A message came in.
    Message(Vec<u8>),
    /// The relay gave a sign of life that says nothing.
    Heard,
    /// The answer to [`Effect::Prove`].
    Proven {
        /// COSE_Sign1 of the payload.
        proof: Vec<u8>,
        /// The knock, sealed.
        knock: Vec<u8>,
    },
    /// Time has passed.
    Tick,
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send(Vec<u8>),
    /// Sign the payload with the device's key, for [`Purpose::Session`](crate::base::cose::Purpose::Session), and seal a
    /// knock that names this relay. Answer with [`Input::Proven`].
    Prove {
        /// What is to be signed.
        payload: Vec<u8>,
        /// The relay.
        relay: RelayId,
    },
    /// Keep how it stands: the knock lies in the mailbox, is refused, or finds none.
    Keep(Word),
    /// Join with this roll, causes first, from this relay. The session is over after it.
    Join(RelayId, Vec<Wire>),
    /// The session is over. Close the connection.
    End(End),
}

/// How a newcomer's session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All said: what was told to be kept is the newest.
    Done,
    /// The budget is used up.
    Budget,
    /// The relay said nothing for too long.
    Silence,
    /// The relay ended it.
    Relay(Refused),
    /// The relay broke the protocol.
    Misbehaved(Misbehaviour),
}

/// Entries of a roll that a newcomer takes: ten times what a group of the largest size would come to.
const ROLL_ENTRIES_MAX: usize = 65_536;

/// Bytes of a roll that a newcomer takes: an old phone can hold and judge them.
const ROLL_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// A newcomer's session.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    phase: Phase,
    begun_ms: Option<u64>,
    heard_ms: u64,
    bytes: u64,
    relay: Option<RelayId>,
    knock: Vec<u8>,
    /// How it stood when the relay last said so.
    word: Option<Word>,
    roll: Vec<Wire>,
    roll_bytes: usize,
    upto: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Challenge,
    Proof,
    Welcome,
    Letter,
    Roll,
    Over,
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
            knock: Vec::new(),
            word: None,
            roll: Vec::new(),
            roll_bytes: 0,
            upto: 0,
        }
    }

    /// Takes one input at the time `now_ms` (any clock that goes forward) and answers with what to do, in order.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.phase == Phase::Over {
            return effects;
        }
        if self.begun_ms.is_none() {
            self.heard_ms = now_ms;
        }
        let begun_ms = *self.begun_ms.get_or_insert(now_ms);
        let mut stepped = self.step(input, now_ms, &mut effects);
        let budget = self.plan.budget;
        let is_over = budget.span_ms.is_some_and(|span_ms| now_ms.saturating_sub(begun_ms) >= span_ms)
            || budget.bytes.is_some_and(|bytes| self.bytes >= bytes);
        if stepped.is_ok() && is_over {
            stepped = Err(End::Budget);
        }
        if let Err(end) = stepped {
            self.phase = Phase::Over;
            effects.push(Effect::End(end));
        }
        effects
    }

    fn step(&mut self, input: Input, now_ms: u64, effects: &mut Vec<Effect>) -> Result<(), End> {
        match input {
            Input::Message(bytes) => {
                self.heard_ms = now_ms;
                self.bytes += bytes.len() as u64;
                let frame = Frame::from_bytes(&bytes).map_err(Misbehaviour::from)?;
                self.frame(frame, effects)
            }
            Input::Proven { proof, knock } if self.phase == Phase::Proof => {
                self.phase = Phase::Welcome;
                self.knock = knock;
                self.send(&Frame::Hello(Hello { proof: ByteVec::from(proof) }), effects);
                Ok(())
            }
            Input::Heard => {
                self.heard_ms = now_ms;
                Ok(())
            }
            Input::Tick if now_ms.saturating_sub(self.heard_ms) > SILENCE_MS_MAX => Err(End::Silence),
            Input::Tick | Input::Proven { .. } => Ok(()),
        }
    }

    fn frame(&mut self, frame: Frame, effects: &mut Vec<Effect>) -> Result<(), End> {
        match (self.phase, frame) {
            (_, Frame::Goodbye(why)) => Err(End::Relay(why)),
            (Phase::Challenge, Frame::Challenge(challenge)) => {
                let payload = proof_for(&challenge, self.plan.group, self.plan.device).map_err(End::Relay)?;
                self.relay = Some(challenge.relay);
                self.phase = Phase::Proof;
                effects.push(Effect::Prove { payload, relay: challenge.relay });
                Ok(())
            }
            (Phase::Welcome, Frame::Welcome(welcome)) if welcome.standing == Standing::Belongs => {
                self.fetch_roll(effects);
                Ok(())
            }
            (Phase::Welcome, Frame::Welcome(_)) => {
                self.phase = Phase::Letter;
                let sealed = ByteVec::from(std::mem::take(&mut self.knock));
                self.send(&Frame::Knock(Knock { mailbox: self.plan.mailbox, sealed }), effects);
                Ok(())
            }
            (Phase::Letter, Frame::Letter(letter)) if letter.mailbox == self.plan.mailbox => {
                self.letter(letter, effects)
            }
            (Phase::Roll, Frame::Entries(entries)) => self.entries(entries),
            (Phase::Roll, Frame::CaughtUp) => {
                let relay = self.relay.ok_or(Misbehaviour::OutOfTurn("'caught up'"))?;
                effects.push(Effect::Join(relay, std::mem::take(&mut self.roll)));
                Err(End::Done)
            }
            // A letter that crossed with the pull.
            (Phase::Roll, Frame::Letter(_)) => Ok(()),
            (_, frame) => Err(Misbehaviour::OutOfTurn(name(&frame)).into()),
        }
    }

    fn letter(&mut self, letter: Letter, effects: &mut Vec<Effect>) -> Result<(), End> {
        if letter.word == Word::Admitted {
            self.fetch_roll(effects);
            return Ok(());
        }
        if self.word.as_ref() != Some(&letter.word) {
            self.word = Some(letter.word.clone());
            effects.push(Effect::Keep(letter.word.clone()));
        }
        if letter.word == Word::Waiting && self.plan.wait { Ok(()) } else { Err(End::Done) }
    }

    fn fetch_roll(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Roll;
        let cursors = vec![Cursor { compartment: CompartmentId::ROLL, after: 0 }];
        self.send(&Frame::Pull(Pull { cursors, live: false }), effects);
    }

    fn entries(&mut self, entries: Entries) -> Result<(), End> {
        if entries.compartment != CompartmentId::ROLL {
            return Err(Misbehaviour::NotAsked.into());
        }
        if entries.after != self.upto {
            return Err(Misbehaviour::OutOfPlace { expected: self.upto, found: entries.after }.into());
        }
        if entries.covered().is_none() {
            let Entries { left_out, after, upto, .. } = entries;
            let entries = entries.entries.len();
            return Err(Misbehaviour::DoesNotAddUp { entries, left_out, after, upto }.into());
        }
        self.upto = entries.upto;
        let bytes = |wire: &Wire| wire.signed.len() + wire.body.as_ref().map_or(0, |body| body.len());
        self.roll_bytes += entries.entries.iter().map(bytes).sum::<usize>();
        self.roll.extend(entries.entries);
        if self.roll.len() > ROLL_ENTRIES_MAX || self.roll_bytes > ROLL_BYTES_MAX {
            let why = "the roll it hands out is larger than a group can make it".to_owned();
            return Err(Misbehaviour::NotGenuine(why).into());
        }
        Ok(())
    }

    fn send(&mut self, frame: &Frame, effects: &mut Vec<Effect>) {
        let bytes = frame.to_bytes();
        debug_assert!(bytes.len() <= limits::FRAME_BYTES_MAX);
        self.bytes += bytes.len() as u64;
        effects.push(Effect::Send(bytes));
    }
}

impl From<Misbehaviour> for End {
    fn from(what: Misbehaviour) -> Self {
        Self::Misbehaved(what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Challenge, Refusal, SESSION_VERSION, Welcome};
    use super::*;
    use crate::base::Incarnation;

    const MAILBOX: MailboxId = MailboxId([7; 16]);
    const RELAY: RelayId = RelayId([3; 32]);

    fn session(wait: bool, budget: Budget) -> Session {
        let (group, device) = (GroupId([1; 32]), DeviceId([2; 32]));
        Session::new(Plan { group, device, mailbox: MAILBOX, wait, budget })
    }

    fn say(session: &mut Session, frame: &Frame) -> Vec<Effect> {
        session.handle(Input::Message(frame.to_bytes()), 0)
    }

    fn sent(effects: &[Effect]) -> Vec<Frame> {
        let frame = |effect: &Effect| match effect {
            Effect::Send(bytes) => Frame::from_bytes(bytes).ok(),
            Effect::Prove { .. } | Effect::Keep(_) | Effect::Join(..) | Effect::End(_) => None,
        };
        effects.iter().filter_map(frame).collect()
    }

    fn letter(word: Word) -> Frame {
        Frame::Letter(Letter { mailbox: MAILBOX, word })
    }

    /// A session up to the relay's welcome, and what that makes it do.
    fn welcomed(mut session: Session, standing: Standing) -> (Session, Vec<Effect>) {
        let incarnation = Incarnation([4; 16]);
        let challenge = Challenge { version: SESSION_VERSION, nonce: [5; 32], relay: RELAY, incarnation };
        let effects = say(&mut session, &Frame::Challenge(challenge));
        assert!(matches!(effects.as_slice(), [Effect::Prove { relay: RELAY, .. }]), "{effects:?}");
        let hello = session.handle(Input::Proven { proof: vec![1], knock: vec![2; 9] }, 0);
        assert!(matches!(sent(&hello).as_slice(), [Frame::Hello(_)]), "{hello:?}");
        let welcome = Welcome { relay_ms: 0, standing, checkpoint: None, own: Vec::new() };
        let effects = say(&mut session, &Frame::Welcome(welcome));
        (session, effects)
    }

    fn knocking(wait: bool) -> Session {
        let (session, effects) = welcomed(session(wait, Budget::UNLIMITED), Standing::UnknownDevice);
        let [Frame::Knock(knock)] = &sent(&effects)[..] else { panic!("{effects:?}") };
        assert_eq!((knock.mailbox, knock.sealed.to_vec()), (MAILBOX, vec![2; 9]));
        session
    }

    #[test]
    fn it_knocks_waits_and_joins_with_the_roll_alone() {
        let mut session = knocking(true);
        assert_eq!(say(&mut session, &letter(Word::Waiting)), [Effect::Keep(Word::Waiting)]);
        assert_eq!(say(&mut session, &letter(Word::Waiting)), []);
        let effects = say(&mut session, &letter(Word::Admitted));
        let [Frame::Pull(pull)] = &sent(&effects)[..] else { panic!("{effects:?}") };
        assert_eq!(pull.cursors, [Cursor { compartment: CompartmentId::ROLL, after: 0 }]);
        let wire = Wire { signed: ByteVec::from(vec![0]), body: None };
        let entries = Entries {
            compartment: CompartmentId::ROLL,
            entries: vec![wire.clone()],
            upto: 1,
            after: 0,
            left_out: 0,
        };
        assert_eq!(say(&mut session, &Frame::Entries(entries)), []);
        let effects = say(&mut session, &Frame::CaughtUp);
        assert_eq!(effects, [Effect::Join(RELAY, vec![wire]), Effect::End(End::Done)]);
        assert_eq!(say(&mut session, &Frame::CaughtUp), [], "nothing follows the end");
    }

    #[test]
    fn one_who_was_admitted_meanwhile_does_not_knock() {
        let (_, effects) = welcomed(session(false, Budget::UNLIMITED), Standing::Belongs);
        assert!(matches!(sent(&effects).as_slice(), [Frame::Pull(_)]), "{effects:?}");
    }

    #[test]
    fn a_refusal_and_a_closed_mailbox_end_it_and_so_does_the_letter_if_it_does_not_wait() {
        let closed = Word::Closed(Refused::new(Refusal::MAILBOX_EXPIRED, "too late"));
        for word in [Word::Refused(ByteVec::from(vec![1])), closed] {
            let effects = say(&mut knocking(true), &letter(word.clone()));
            assert_eq!(effects, [Effect::Keep(word), Effect::End(End::Done)]);
        }
        let effects = say(&mut knocking(false), &letter(Word::Waiting));
        assert_eq!(effects, [Effect::Keep(Word::Waiting), Effect::End(End::Done)]);
    }

    #[test]
    fn budgets_and_silence_end_it() {
        let budget = Budget { span_ms: Some(1_000), bytes: None };
        let (mut session, _) = welcomed(session(true, budget), Standing::UnknownDevice);
        assert_eq!(session.handle(Input::Tick, 999), []);
        assert_eq!(session.handle(Input::Tick, 1_000), [Effect::End(End::Budget)]);
        let mut session = knocking(true);
        assert_eq!(session.handle(Input::Heard, 10_000), []);
        assert_eq!(session.handle(Input::Tick, 10_000 + SILENCE_MS_MAX), []);
        assert_eq!(session.handle(Input::Tick, 10_001 + SILENCE_MS_MAX), [Effect::End(End::Silence)]);
    }

    #[test]
    fn whatever_has_no_place_is_misbehaviour() {
        let other = Frame::Letter(Letter { mailbox: MailboxId([8; 16]), word: Word::Waiting });
        let group =
            Entries { compartment: CompartmentId(2), entries: Vec::new(), upto: 1, after: 0, left_out: 1 };
        for frame in [other, Frame::CaughtUp, Frame::Entries(group.clone())] {
            let effects = say(&mut knocking(true), &frame);
            assert!(matches!(effects.as_slice(), [Effect::End(End::Misbehaved(_))]), "{effects:?}");
        }
        let (mut session, _) = welcomed(session(false, Budget::UNLIMITED), Standing::Belongs);
        let effects = say(&mut session, &Frame::Entries(group));
        assert!(matches!(effects.as_slice(), [Effect::End(End::Misbehaved(Misbehaviour::NotAsked))]));
    }
}
