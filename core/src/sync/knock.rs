//! A newcomer's session, as a machine without IO: (input, now) → effects (PROTOCOL.md §5.5, §5.6).
//!
//! With an invitation it proves who it is, knocks, knocks again once it was countersigned, and waits for the letter; with a group's link it shows its certificate
//! and waits until the relay has heard of it. Once it belongs, or a member's key vouches for it, it fetches the roll, and
//! nothing else: with that it joins, and from then on [`Session`](super::session::Session) is the machine to use.

use minicbor::bytes::ByteVec;

use super::frame::{Cursor, Entries, Frame, Hello, Pull, Refused, Standing};
use super::mailbox::{Knock, Letter, Word};
use super::session::{Budget, Misbehaviour, SILENCE_MS_MAX, name, proof_for};
use crate::base::{CompartmentId, DeviceId, GroupId, MailboxId, RelayId, limits};
use crate::entry::Wire;

/// What a newcomer's session needs to know before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The group of the invitation or link.
    pub group: GroupId,
    /// This device.
    pub device: DeviceId,
    /// The invitation; none for who comes by a group's link.
    pub mailbox: Option<MailboxId>,
    /// Whether to wait until somebody has decided, or the relay has heard of this device.
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
        /// With an invitation: the knock, sealed.
        knock: Option<Vec<u8>>,
        /// With a group's link: the device's certificate, if it has one.
        certificate: Option<Vec<u8>>,
    },
    /// The answer to [`Effect::Reveal`]: the second knock, sealed; none if the countersignature is none.
    Revealed(Option<Vec<u8>>),
    /// Time has passed.
    Tick,
}

/// What the shell is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send a message.
    Send(Vec<u8>),
    /// Sign the payload with the device's key, for [`Purpose::Session`](crate::base::cose::Purpose::Session), and seal a
    /// knock that names this relay if there is an invitation. Answer with [`Input::Proven`].
    Prove {
        /// What is to be signed.
        payload: Vec<u8>,
        /// The relay.
        relay: RelayId,
    },
    /// Keep how it stands: the knock lies in the mailbox, is refused, or finds none.
    Keep(Word),
    /// Keep this countersignature, sealed, unless there was one before, and seal the second knock. Answer with
    /// [`Input::Revealed`].
    Reveal(ByteVec),
    /// Keep that the relay does not know this group, or this device, yet.
    Outside(Standing),
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

/// A newcomer's session.
#[derive(Debug)]
pub struct Session {
    plan: Plan,
    phase: Phase,
    begun_ms: Option<u64>,
    heard_ms: u64,
    bytes: u64,
    relay: Option<RelayId>,
    knock: Option<Vec<u8>>,
    /// Whether the relay was shown a certificate, and says so when it hears of the device.
    is_shown: bool,
    /// How it stood when the relay last said so.
    word: Option<Word>,
    /// The second knock was sent in this session.
    has_revealed: bool,
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
    /// The second knock is being sealed.
    Reveal,
    /// The relay is to say when it hears of this device.
    Outside,
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
            knock: None,
            is_shown: false,
            word: None,
            has_revealed: false,
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
            Input::Proven { proof, knock, certificate } if self.phase == Phase::Proof => {
                self.phase = Phase::Welcome;
                self.knock = knock;
                self.is_shown = certificate.is_some();
                let certificate = certificate.map(ByteVec::from);
                self.send(&Frame::Hello(Hello { proof: ByteVec::from(proof), certificate }), effects);
                Ok(())
            }
            Input::Revealed(knock) if self.phase == Phase::Reveal => {
                let sealed = ByteVec::from(knock.ok_or(End::Done)?);
                self.phase = Phase::Letter;
                self.send_knock(sealed, effects)
            }
            Input::Heard => {
                self.heard_ms = now_ms;
                Ok(())
            }
            Input::Tick if now_ms.saturating_sub(self.heard_ms) > SILENCE_MS_MAX => Err(End::Silence),
            Input::Tick | Input::Proven { .. } | Input::Revealed(_) => Ok(()),
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
            (Phase::Welcome | Phase::Outside, Frame::Welcome(welcome)) => {
                self.welcome(welcome.standing, effects)
            }
            (Phase::Letter, Frame::Letter(letter)) if Some(letter.mailbox) == self.plan.mailbox => {
                self.letter(letter, effects)
            }
            (Phase::Roll, Frame::Entries(entries)) => self.entries(entries),
            (Phase::Roll, Frame::CaughtUp) => {
                let relay = self.relay.ok_or(Misbehaviour::OutOfTurn("'caught up'"))?;
                effects.push(Effect::Join(relay, std::mem::take(&mut self.roll)));
                Err(End::Done)
            }
            // A letter that crossed with the pull, or with the second knock.
            (Phase::Roll | Phase::Reveal, Frame::Letter(_)) => Ok(()),
            (_, frame) => Err(Misbehaviour::OutOfTurn(name(&frame)).into()),
        }
    }

    fn welcome(&mut self, standing: Standing, effects: &mut Vec<Effect>) -> Result<(), End> {
        match (standing, self.plan.mailbox) {
            (Standing::Belongs | Standing::Certified, _) => {
                self.fetch_roll(effects);
                Ok(())
            }
            (_, Some(_)) => {
                self.phase = Phase::Letter;
                let sealed = ByteVec::from(self.knock.take().unwrap_or_default());
                self.send_knock(sealed, effects)
            }
            (outside, None) => {
                self.phase = Phase::Outside;
                effects.push(Effect::Outside(outside));
                // Who has shown nothing is not welcomed again.
                if self.plan.wait && self.is_shown { Ok(()) } else { Err(End::Done) }
            }
        }
    }

    fn letter(&mut self, letter: Letter, effects: &mut Vec<Effect>) -> Result<(), End> {
        if letter.word == Word::Admitted {
            self.fetch_roll(effects);
            return Ok(());
        }
        if let Word::Countersigned(sealed) = letter.word {
            // Said again it changes nothing: it crossed with the second knock, or the relay wants another code.
            if std::mem::replace(&mut self.has_revealed, true) {
                return Ok(());
            }
            self.phase = Phase::Reveal;
            effects.push(Effect::Reveal(sealed));
            return Ok(());
        }
        if self.word.as_ref() != Some(&letter.word) {
            self.word = Some(letter.word.clone());
            effects.push(Effect::Keep(letter.word.clone()));
        }
        if letter.word == Word::Waiting && self.plan.wait { Ok(()) } else { Err(End::Done) }
    }

    fn send_knock(&mut self, sealed: ByteVec, effects: &mut Vec<Effect>) -> Result<(), End> {
        let mailbox = self.plan.mailbox.ok_or(End::Done)?;
        self.send(&Frame::Knock(Knock { mailbox, sealed }), effects);
        Ok(())
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
        if self.roll.len() > limits::ROLL_ENTRIES_MAX || self.roll_bytes > limits::ROLL_BYTES_MAX {
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
        Session::new(Plan { group, device, mailbox: Some(MAILBOX), wait, budget })
    }

    /// A session of one who comes by a group's link, up to the relay's welcome, and what that makes it do.
    fn by_link(wait: bool, certificate: Option<Vec<u8>>, standing: Standing) -> (Session, Vec<Effect>) {
        let (group, device) = (GroupId([1; 32]), DeviceId([2; 32]));
        let plan = Plan { group, device, mailbox: None, wait, budget: Budget::UNLIMITED };
        welcomed_with(Session::new(plan), standing, None, certificate)
    }

    fn say(session: &mut Session, frame: &Frame) -> Vec<Effect> {
        session.handle(Input::Message(frame.to_bytes()), 0)
    }

    fn sent(effects: &[Effect]) -> Vec<Frame> {
        let frame = |effect: &Effect| match effect {
            Effect::Send(bytes) => Frame::from_bytes(bytes).ok(),
            Effect::Prove { .. }
            | Effect::Keep(_)
            | Effect::Reveal(_)
            | Effect::Outside(_)
            | Effect::Join(..)
            | Effect::End(_) => None,
        };
        effects.iter().filter_map(frame).collect()
    }

    fn letter(word: Word) -> Frame {
        Frame::Letter(Letter { mailbox: MAILBOX, word })
    }

    /// A session up to the relay's welcome, and what that makes it do.
    fn welcomed(session: Session, standing: Standing) -> (Session, Vec<Effect>) {
        welcomed_with(session, standing, Some(vec![2; 9]), None)
    }

    fn welcomed_with(
        mut session: Session,
        standing: Standing,
        knock: Option<Vec<u8>>,
        certificate: Option<Vec<u8>>,
    ) -> (Session, Vec<Effect>) {
        let incarnation = Incarnation([4; 16]);
        let challenge = Challenge { version: SESSION_VERSION, nonce: [5; 32], relay: RELAY, incarnation };
        let effects = say(&mut session, &Frame::Challenge(challenge));
        assert!(matches!(effects.as_slice(), [Effect::Prove { relay: RELAY, .. }]), "{effects:?}");
        let shown = certificate.clone().map(ByteVec::from);
        let hello = session.handle(Input::Proven { proof: vec![1], knock, certificate }, 0);
        let [Frame::Hello(hello)] = &sent(&hello)[..] else { panic!("{hello:?}") };
        assert_eq!(hello.certificate, shown);
        let effects = say(&mut session, &welcome(standing));
        (session, effects)
    }

    fn welcome(standing: Standing) -> Frame {
        Frame::Welcome(Welcome { relay_ms: 0, standing, checkpoint: None, own: Vec::new() })
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
    fn countersigned_knock_is_followed_by_the_second_once() {
        let signed = || letter(Word::Countersigned(ByteVec::from(vec![7; 5])));
        let mut session = knocking(true);
        assert_eq!(say(&mut session, &letter(Word::Waiting)), [Effect::Keep(Word::Waiting)]);
        assert_eq!(say(&mut session, &signed()), [Effect::Reveal(ByteVec::from(vec![7; 5]))]);
        assert_eq!(say(&mut session, &letter(Word::Waiting)), [], "one that crossed");
        let effects = session.handle(Input::Revealed(Some(vec![8; 9])), 0);
        let [Frame::Knock(knock)] = &sent(&effects)[..] else { panic!("{effects:?}") };
        assert_eq!((knock.mailbox, knock.sealed.to_vec()), (MAILBOX, vec![8; 9]));
        assert_eq!(say(&mut session, &letter(Word::Waiting)), []);
        let again = letter(Word::Countersigned(ByteVec::from(vec![9; 5])));
        assert_eq!(say(&mut session, &again), [], "a relay that wants another code");
        assert_eq!(say(&mut session, &letter(Word::Admitted)).len(), 1);

        let mut session = knocking(true);
        say(&mut session, &signed());
        assert_eq!(session.handle(Input::Revealed(None), 0), [Effect::End(End::Done)], "it was none");
    }

    #[test]
    fn one_who_was_admitted_meanwhile_does_not_knock() {
        let (_, effects) = welcomed(session(false, Budget::UNLIMITED), Standing::Belongs);
        assert!(matches!(sent(&effects).as_slice(), [Frame::Pull(_)]), "{effects:?}");
    }

    #[test]
    fn one_with_a_groups_link_fetches_the_roll_as_soon_as_the_relay_lets_it_and_never_knocks() {
        for standing in [Standing::Belongs, Standing::Certified] {
            let (_, effects) = by_link(false, Some(vec![3]), standing);
            assert!(matches!(sent(&effects).as_slice(), [Frame::Pull(_)]), "{effects:?}");
        }
        for outside in [Standing::UnknownGroup, Standing::UnknownDevice] {
            // Waiting is of use to one whom the relay can tell: by its certificate.
            for (wait, certificate) in [(false, Some(vec![3])), (true, None)] {
                let (_, effects) = by_link(wait, certificate, outside);
                assert_eq!(effects, [Effect::Outside(outside), Effect::End(End::Done)]);
            }
            let (mut session, effects) = by_link(true, Some(vec![3]), outside);
            assert_eq!(effects, [Effect::Outside(outside)]);
            let effects = say(&mut session, &welcome(Standing::UnknownDevice));
            assert_eq!(effects, [Effect::Outside(Standing::UnknownDevice)]);
            let effects = say(&mut session, &welcome(Standing::Certified));
            assert!(matches!(sent(&effects).as_slice(), [Frame::Pull(_)]), "{effects:?}");
            let effects = say(&mut session, &welcome(Standing::Belongs));
            assert!(matches!(effects.as_slice(), [Effect::End(End::Misbehaved(_))]), "one roll is enough");
        }
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
