//! Everything together: one step after the other, and what must hold after each.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lamppost_core::base::{GroupId, RoleId};
use lamppost_core::entry::Received;
use lamppost_core::replica::testing::draft;
use lamppost_core::replica::{
    CaseLink, Delivery, Engine, Error, Filter, HistoryRow, LiaisonAnswer, ReleasePlan, Row, Warning,
};
use lamppost_core::storage::FaultAt;
use lamppost_core::sync::Frame;
use lamppost_core::sync::frame::{Refusal, Refused};
use lamppost_core::sync::receipt::SignedReceipt;
use lamppost_core::sync::session::{
    Budget, Effect as PhoneEffect, End, Input as PhoneInput, Misbehaviour, Session as PhoneSession,
};
use lamppost_core::watch::kinds::rule;
use lamppost_core::watch::{Kind, Redaction, roles};
use lamppost_server::{
    Answer, Effect as RelayEffect, Input as RelayInput, Opening, Reply, Session as RelaySession,
};

use crate::chance::Chance;
use crate::link::{Link, Tampering, pushed};
use crate::model::{MARK, Model};
use crate::phone::Phone;
use crate::relay::RelaySide;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// At which step.
    pub step: u64,
    /// Which, and how.
    pub what: String,
}

/// How much happened in a run, and to how many seeds it happened at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Documents written.
    pub documents: u64,
    /// Connections opened.
    pub links: u64,
    /// Messages carried.
    pub messages: u64,
    /// Entries that the relay acknowledged.
    pub acknowledged: u64,
    /// Phones that lost power.
    pub phone_crashes: u64,
    /// Times the relay lost power.
    pub relay_crashes: u64,
    /// Writes that failed, on phones and relay.
    pub disk_faults: u64,
    /// Connections that broke off.
    pub cuts: u64,
    /// Messages altered, repeated, reordered or swallowed.
    pub tampered: u64,
    /// Relays that lost their disk, or went back to a backup.
    pub relay_losses: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, more: &Self) {
        self.documents += more.documents;
        self.links += more.links;
        self.messages += more.messages;
        self.acknowledged += more.acknowledged;
        self.phone_crashes += more.phone_crashes;
        self.relay_crashes += more.relay_crashes;
        self.disk_faults += more.disk_faults;
        self.cuts += more.cuts;
        self.tampered += more.tampered;
        self.relay_losses += more.relay_losses;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} documents, {} entries acknowledged, {} connections, {} messages; {} phone crashes, {} relay crashes, \
             {} failed writes, {} cuts, {} messages tampered with, {} relay disks lost",
            self.documents,
            self.acknowledged,
            self.links,
            self.messages,
            self.phone_crashes,
            self.relay_crashes,
            self.disk_faults,
            self.cuts,
            self.tampered,
            self.relay_losses,
        )
    }
}

/// How bad it gets: once in so many chances; 0 is never. Each seed has a weather of its own, some of it calm.
struct Weather {
    crash: u64,
    disk: u64,
    cut: u64,
    tamper: u64,
    partition: u64,
    clock: u64,
    relay_loss: u64,
    device_entries_per_minute: u64,
}

impl Weather {
    fn draw(chance: &mut Chance) -> Self {
        let mut often = |choices: &[u64]| choices[chance.index(choices.len())];
        Self {
            crash: often(&[0, 1, 4]),
            disk: often(&[0, 3, 8]),
            cut: often(&[0, 1, 3]),
            tamper: often(&[0, 1, 1, 3]),
            partition: often(&[0, 3]),
            clock: often(&[0, 2]),
            relay_loss: often(&[0, 0, 8]),
            device_entries_per_minute: often(&[1_000_000, 1_000_000, 30]),
        }
    }
}

/// Phones, a relay, and time.
pub struct World {
    chance: Chance,
    weather: Weather,
    now_ms: Arc<AtomicU64>,
    step: u64,
    phones: Vec<Phone>,
    relay: RelaySide,
    links: BTreeMap<u64, Link>,
    links_opened: u64,
    group: Option<GroupId>,
    model: Model,
    trace: DefaultHasher,
    /// Prints what happens.
    aloud: bool,
    /// What happened so far.
    pub tally: Tally,
}

/// 2026-06-01, in milliseconds since the Unix epoch.
const BEGIN_MS: u64 = 1_780_272_000_000;

/// Milliseconds without anything on its way after which a session that still hopes is stuck.
const STUCK_MS: u64 = 400_000;

/// Rounds in which everybody syncs once, at the end, until nothing moves.
const ROUNDS_MAX: usize = 48;

type Step = Result<(), String>;

impl World {
    /// Phones that were never switched on, and a relay that is up.
    pub fn new(seed: u64, aloud: bool) -> Self {
        let mut chance = Chance::new(seed, 0);
        let weather = Weather::draw(&mut chance);
        let now_ms = Arc::new(AtomicU64::new(BEGIN_MS));
        let others = [
            roles::ROLE_COORDINATOR,
            roles::ROLE_LIAISON,
            roles::ROLE_VOLUNTEER,
            roles::ROLE_VOLUNTEER,
            roles::ROLE_VOLUNTEER,
        ];
        let people = 2 + chance.index(others.len());
        let everybody = std::iter::once(roles::ROLE_COORDINATOR).chain(others.into_iter().take(people));
        let phones =
            everybody.enumerate().map(|(at, role)| Phone::new(at, role, seed, Arc::clone(&now_ms))).collect();
        let mut relay = RelaySide::new(weather.device_entries_per_minute);
        relay.start(&mut chance, None, false);
        Self {
            chance,
            weather,
            now_ms,
            step: 0,
            phones,
            relay,
            links: BTreeMap::new(),
            links_opened: 0,
            group: None,
            model: Model::default(),
            trace: DefaultHasher::new(),
            aloud,
            tally: Tally::default(),
        }
    }

    /// Runs `steps` steps and then lets everything heal. Answers with a digest of all that happened.
    pub fn run(&mut self, steps: u64) -> Result<u64, Broken> {
        let outcome = self.found().and_then(|()| {
            for _ in 0..steps {
                self.step += 1;
                self.one_step()?;
            }
            self.settle()
        });
        match outcome {
            Ok(()) => Ok(self.trace.finish()),
            Err(what) => Err(Broken { step: self.step, what }),
        }
    }

    /// The step it is at.
    pub fn step(&self) -> u64 {
        self.step
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn advance_ms(&mut self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        what.hash(&mut self.trace);
        if self.aloud {
            eprintln!("{:>5} {:>9} ms  {what}", self.step, self.now_ms() - BEGIN_MS);
        }
    }

    fn found(&mut self) -> Step {
        let engine = self.phones[0].engine(None).map_err(|e| e.to_string())?;
        self.group = Some(engine.found().map_err(|e| e.to_string())?.group);
        self.phones[0].joined = true;
        Ok(())
    }

    fn one_step(&mut self) -> Step {
        let ms = self.chance.below(300);
        self.advance_ms(ms);
        match self.chance.below(100) {
            0..45 => self.carry_some(),
            45..65 => self.somebody_writes(),
            65..72 => self.somebody_connects(),
            72..84 => self.commit(),
            84..87 => self.tick(),
            _ => self.something_breaks(),
        }
    }

    // ---- People

    fn somebody_writes(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        if !self.phones[at].joined {
            return self.join(at);
        }
        if self.switch_on(at)?.is_none() {
            return Ok(());
        }
        let text = self.model.text(at);
        match (self.phones[at].role, self.chance.below(10)) {
            (roles::ROLE_LIAISON, _) => self.respond(at, text)?,
            (roles::ROLE_COORDINATOR, 0) => self.rotate(at)?,
            (roles::ROLE_COORDINATOR, 1) => self.release(at, text)?,
            (roles::ROLE_COORDINATOR, 2..4) => self.link_case(at, text)?,
            (_, 4..6) => self.annotate(at, text)?,
            (_, 6..8) => self.amend(at, text)?,
            _ => self.record(at, text)?,
        }
        if let Some(link) = self.phones[at].link {
            self.phone_input(link, PhoneInput::OutboxGrew)?;
        }
        self.check_phone(at)
    }

    /// Does something on a phone. A disk that fails takes the phone down; any other error is a broken promise.
    fn act<T>(
        &mut self,
        at: usize,
        what: &str,
        work: impl FnOnce(&mut Engine) -> Result<T, Error>,
    ) -> Result<Option<T>, String> {
        let Some(engine) = self.switch_on(at)? else { return Ok(None) };
        let done = work(engine);
        self.note(|| format!("phone {at} {what}: {}", if done.is_ok() { "done" } else { "failed" }));
        match done {
            Ok(done) => Ok(Some(done)),
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(None)
            }
            Err(why) => Err(format!("phone {at} {what}: {why}")),
        }
    }

    fn disk_failed(&mut self, at: usize) {
        self.tally.disk_faults += 1;
        self.hang_up(at);
        self.phones[at].crash();
        self.note(|| format!("phone {at}'s disk failed; it starts again"));
    }

    /// The engine of a phone, if its disk lets it start.
    fn switch_on(&mut self, at: usize) -> Result<Option<&mut Engine>, String> {
        let fault = self.draw_disk_fault();
        match self.phones[at].engine(fault) {
            Ok(_) => Ok(self.phones[at].running()),
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(None)
            }
            Err(why) => Err(format!("phone {at} does not start again: {why}")),
        }
    }

    fn draw_disk_fault(&mut self) -> Option<(usize, FaultAt)> {
        if !self.chance.one_in(self.weather.disk) {
            return None;
        }
        let at = if self.chance.one_in(2) { FaultAt::BeforeWrite } else { FaultAt::AfterWrite };
        Some((self.chance.index(20), at))
    }

    fn join(&mut self, at: usize) -> Step {
        let coordinators: Vec<usize> = (0..self.phones.len())
            .filter(|at| self.phones[*at].joined && self.phones[*at].role == roles::ROLE_COORDINATOR)
            .collect();
        let by = *self.chance.pick(&coordinators).expect("there is one because the founder is one");
        let role = RoleId(self.phones[at].role);
        let Some(request) = self.act(at, "asks to join", |engine| match engine.request() {
            // Its disk had failed after it wrote: it has joined.
            Err(Error::HasGroup) => Ok(None),
            request => request.map(Some),
        })?
        else {
            return Ok(());
        };
        if let Some(request) = request {
            let Some(admission) = self.act(by, "admits", |engine| engine.admit(&request, role))? else {
                return Ok(());
            };
            if self.act(at, "joins", |engine| engine.join(&admission))?.is_none() {
                return Ok(());
            }
        }
        self.phones[at].joined = true;
        Ok(())
    }

    fn record(&mut self, at: usize, text: String) -> Step {
        if let Some(id) = self.act(at, "records", |engine| engine.record(draft(&text)))? {
            self.tally.documents += 1;
            self.model.wrote(id, at, Kind::OBSERVATION, text);
        }
        Ok(())
    }

    fn amend(&mut self, at: usize, text: String) -> Step {
        let own = self.model.documents.iter().filter(|(_, d)| d.author == at && d.kind == Kind::OBSERVATION);
        let own: Vec<_> = own.map(|(id, _)| *id).collect();
        let Some(id) = self.chance.pick(&own).copied() else { return self.record(at, text) };
        match self.act(at, "amends", |engine| engine.amend(id, draft(&text)))? {
            Some(()) => self.model.wrote(id, at, Kind::OBSERVATION, text),
            None => self.model.failed(id, text),
        }
        Ok(())
    }

    fn annotate(&mut self, at: usize, text: String) -> Step {
        let Some(target) = self.some_row(at, Kind::OBSERVATION)? else { return self.record(at, text) };
        let written = self.act(at, "annotates", |engine| engine.annotate(target.id, &text, "seen"))?;
        if let Some(id) = written {
            self.tally.documents += 1;
            self.model.wrote(id, at, Kind::ANNOTATION, text);
        }
        Ok(())
    }

    fn link_case(&mut self, at: usize, text: String) -> Step {
        let Some(observation) = self.some_row(at, Kind::OBSERVATION)? else { return Ok(()) };
        let case =
            if self.chance.one_in(2) { self.some_row(at, Kind::CASE)?.map(|row| row.id) } else { None };
        let links = [CaseLink { observation: observation.id, reason: "the same corner".to_owned() }];
        self.act(at, "links", |engine| engine.link(case, &text, &links))?;
        Ok(())
    }

    fn release(&mut self, at: usize, text: String) -> Step {
        let Some(observation) = self.some_row(at, Kind::OBSERVATION)? else { return Ok(()) };
        let Some(engine) = self.switch_on(at)? else { return Ok(()) };
        let roster = engine.roster().map_err(|e| e.to_string())?;
        let liaison = roster.into_iter().find(|row| row.role == RoleId(roles::ROLE_LIAISON));
        let Some(liaison) = liaison else { return Ok(()) };
        let plan = ReleasePlan {
            title: text,
            purpose: "to decide about the corner".to_owned(),
            recipient: Some(liaison.member),
            expires_ms: None,
            observations: vec![(observation.id, Redaction::default())],
        };
        self.act(at, "releases", |engine| engine.release(&plan))?;
        Ok(())
    }

    fn respond(&mut self, at: usize, text: String) -> Step {
        let Some(release) = self.some_row(at, Kind::RELEASE)? else { return Ok(()) };
        let answer =
            LiaisonAnswer { status: "closed".to_owned(), outcome: "prevention".to_owned(), reason: text };
        self.act(at, "responds", |engine| engine.respond(release.id, &answer))?;
        Ok(())
    }

    fn rotate(&mut self, at: usize) -> Step {
        let compartments =
            [roles::COMPARTMENT_COMMON, roles::COMPARTMENT_GROUP, roles::COMPARTMENT_COORDINATORS];
        let compartment = compartments[self.chance.index(compartments.len())];
        let compartment = lamppost_core::base::CompartmentId(compartment);
        self.act(at, "rotates", |engine| engine.rotate(compartment))?;
        Ok(())
    }

    fn some_row(&mut self, at: usize, kind: Kind) -> Result<Option<Row>, String> {
        let mut rows = self.rows(at)?;
        rows.retain(|row| row.kind == kind.0);
        rows.sort_by_key(|row| row.id);
        Ok(self.chance.pick(&rows).cloned())
    }

    fn rows(&mut self, at: usize) -> Result<Vec<Row>, String> {
        let Some(engine) = self.switch_on(at)? else { return Ok(Vec::new()) };
        match engine.list(&Filter::default()) {
            Ok(rows) => Ok(rows.into_iter().map(|(row, _)| row).collect()),
            Err(Error::Store(_)) => {
                self.disk_failed(at);
                Ok(Vec::new())
            }
            Err(why) => Err(format!("phone {at} cannot list: {why}")),
        }
    }

    // ---- The network

    fn somebody_connects(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        let phone = &self.phones[at];
        if !phone.joined || !phone.online || phone.link.is_some() {
            return Ok(());
        }
        let live = self.chance.one_in(3);
        let bytes = if self.chance.one_in(4) { Some(4_000 + self.chance.below(40_000)) } else { None };
        self.connect(at, live, Budget { span_ms: None, bytes }).map(drop)
    }

    fn connect(&mut self, at: usize, live: bool, budget: Budget) -> Result<Option<u64>, String> {
        let Some(relay) = self.relay.running() else { return Ok(None) };
        let opening = Opening {
            relay: relay.id(),
            incarnation: relay.incarnation(),
            nonce: self.chance.bytes(),
            handshake_ms: 10_000,
            slow_reader_ms: 30_000,
        };
        let Some(plan) = self.act(at, "connects", |engine| engine.plan(live, budget))? else {
            return Ok(None);
        };
        let id = self.links_opened;
        self.links_opened += 1;
        self.tally.links += 1;
        self.phones[at].link = Some(id);
        self.links.insert(
            id,
            Link {
                phone: at,
                phone_session: Some(PhoneSession::new(plan)),
                relay_session: Some(RelaySession::new(opening)),
                up: Default::default(),
                down: Default::default(),
                report: Default::default(),
                follows: false,
                tampered: false,
            },
        );
        self.relay_input(id, RelayInput::Tick)?;
        self.phone_input(id, PhoneInput::Tick)?;
        Ok(Some(id))
    }

    fn carry_some(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        for _ in 0..=self.chance.below(8) {
            if self.links.contains_key(&id) {
                let up = self.chance.one_in(2);
                self.carry(id, up)?;
            }
        }
        Ok(())
    }

    /// Carries one message over a link. Answers whether there was one.
    fn carry(&mut self, id: u64, up: bool) -> Result<bool, String> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(false) };
        if up {
            // What the relay cannot take now stays in the socket.
            if link.relay_session.as_ref().is_some_and(|session| !session.wants_input()) {
                return Ok(false);
            }
            let Some(message) = link.up.pop_front() else {
                if link.phone_session.is_none() && link.relay_session.take().is_some() {
                    self.close_if_over(id);
                    return Ok(true);
                }
                return Ok(false);
            };
            self.tally.messages += 1;
            self.relay_input(id, RelayInput::Message(message))?;
        } else {
            let Some(message) = link.down.pop_front() else {
                if link.relay_session.is_none() && link.phone_session.take().is_some() {
                    self.close_if_over(id);
                    return Ok(true);
                }
                return Ok(false);
            };
            self.tally.messages += 1;
            let has_socket = link.relay_session.is_some();
            self.phone_input(id, PhoneInput::Message(message))?;
            if has_socket {
                self.relay_input(id, RelayInput::Sent)?;
            }
        }
        Ok(true)
    }

    fn close_if_over(&mut self, id: u64) {
        let Some(link) = self.links.get(&id) else { return };
        let at = link.phone;
        if link.phone_session.is_none() && self.phones[at].link == Some(id) {
            self.phones[at].link = None;
        }
        if link.phone_session.is_none() && link.relay_session.is_none() {
            self.links.remove(&id);
        }
    }

    /// The phone's side of its link is gone; the relay has not heard of it yet.
    fn hang_up(&mut self, at: usize) {
        if let Some(id) = self.phones[at].link.take()
            && let Some(link) = self.links.get_mut(&id)
        {
            link.phone_session = None;
        }
    }

    fn phone_input(&mut self, id: u64, input: PhoneInput) -> Step {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let outcome = self.phone_input_on(id, &mut link, input);
        self.links.insert(id, link);
        self.close_if_over(id);
        outcome
    }

    fn phone_input_on(&mut self, id: u64, link: &mut Link, input: PhoneInput) -> Step {
        let (at, now_ms) = (link.phone, self.now_ms());
        let Some(session) = link.phone_session.as_mut() else { return Ok(()) };
        let mut effects = session.handle(input, now_ms);
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects {
                match effect {
                    PhoneEffect::End(end) => {
                        link.phone_session = None;
                        self.note(|| format!("phone {at} ends link {id}: {end:?}"));
                        return self.judge_end(link, end);
                    }
                    PhoneEffect::Send(message) => {
                        message.hash(&mut self.trace);
                        self.see_upload(&message)?;
                        link.up.push_back(message);
                    }
                    effect => {
                        let Some(engine) = self.phones[at].running() else { return Ok(()) };
                        match engine.carry_out(effect, &mut link.report) {
                            Ok(answer) => answers.extend(answer),
                            Err(why) => {
                                link.phone_session = None;
                                self.phones[at].link = None;
                                self.note(|| format!("phone {at} ends link {id}: {why}"));
                                return match why {
                                    Error::Store(_) => {
                                        self.disk_failed(at);
                                        Ok(())
                                    }
                                    Error::RelayMisbehaved(_) if link.tampered => Ok(()),
                                    // What a welcome says of the phone's own logs is not signed (PROTOCOL.md §11).
                                    Error::RolledBack if link.tampered => Ok(()),
                                    why => Err(format!("phone {at} in a session: {why}")),
                                };
                            }
                        }
                    }
                }
            }
            self.judge_report(link)?;
            let Some(session) = link.phone_session.as_mut() else { return Ok(()) };
            effects = answers.into_iter().flat_map(|input| session.handle(input, now_ms)).collect();
        }
        Ok(())
    }

    /// Nothing readable leaves a phone, and what leaves is what authors wrote.
    fn see_upload(&mut self, message: &[u8]) -> Step {
        if message.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            return Err("a text left a phone in the clear".to_owned());
        }
        for wire in pushed(message) {
            let entry = Received::parse(wire).map_err(|e| format!("a phone sent what is no entry: {e}"))?;
            self.model.authored.insert(entry.hash());
        }
        Ok(())
    }

    fn judge_end(&mut self, link: &Link, end: End) -> Step {
        let at = link.phone;
        match end {
            End::Misbehaved(Misbehaviour::AnotherRelay { .. }) => {
                // People have heard that the relay was lost.
                self.act(at, "trusts the new relay", Engine::trust_new_relay).map(drop)
            }
            End::Misbehaved(_) if link.tampered => Ok(()),
            End::Misbehaved(what) => Err(format!("phone {at} blames an honest relay: {what}")),
            End::Relay(Refused { refusal, .. })
                if !link.tampered
                    && [Refusal::MALFORMED, Refusal::SIGNATURE, Refusal::VERSION].contains(&refusal) =>
            {
                Err(format!("the relay blames an honest phone {at}: {refusal:?}"))
            }
            End::Silence if !link.tampered => Err(format!("phone {at} waits for a relay that is there")),
            End::Done | End::Budget | End::Stopped | End::Silence | End::Relay(_) => Ok(()),
        }
    }

    fn judge_report(&self, link: &Link) -> Step {
        let at = link.phone;
        for warning in &link.report.received.warnings {
            match warning {
                Warning::Fork { .. } => return Err(format!("phone {at} saw a fork: {warning}")),
                Warning::NotGenuine(_) if !link.tampered => {
                    return Err(format!("phone {at} got what is not genuine: {warning}"));
                }
                Warning::NotGenuine(_) | Warning::Withheld { .. } => {}
            }
        }
        match link.report.refused.first() {
            Some(why) if !link.tampered => {
                Err(format!("the relay refuses for good what phone {at} wrote: {why}"))
            }
            _ if link.report.received.set_aside > 0 => {
                Err(format!("phone {at} set aside what an honest phone wrote"))
            }
            _ => Ok(()),
        }
    }

    // ---- The relay

    fn relay_input(&mut self, id: u64, input: RelayInput) -> Step {
        let Some(mut link) = self.links.remove(&id) else { return Ok(()) };
        let outcome = self.relay_input_on(id, &mut link, input);
        self.links.insert(id, link);
        self.close_if_over(id);
        outcome
    }

    fn relay_input_on(&mut self, id: u64, link: &mut Link, input: RelayInput) -> Step {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now_ms = self.now_ms();
            let Some(session) = link.relay_session.as_mut() else { return Ok(()) };
            for effect in session.handle(input, now_ms) {
                let Some(relay) = self.relay.running() else { return Ok(()) };
                match effect {
                    RelayEffect::Send(message) => {
                        message.hash(&mut self.trace);
                        self.see_acknowledgement(&message)?;
                        link.down.push_back(message);
                    }
                    RelayEffect::Ask(query) => {
                        let reply = relay.answer(query, now_ms);
                        if let Reply::Refused(why) = &reply
                            && why.refusal == Refusal::MALFORMED
                            && !link.tampered
                        {
                            return Err(format!("the relay refuses an honest question: {}", why.reason));
                        }
                        inputs.push_back(RelayInput::Reply(reply));
                    }
                    RelayEffect::Commit(push) => self.relay.pushes.push((id, push)),
                    RelayEffect::Follow(_) => link.follows = true,
                    RelayEffect::Close(last_words) => {
                        link.down.extend(last_words);
                        link.relay_session = None;
                        self.note(|| format!("the relay closes link {id}"));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What the relay acknowledges is on its disk by then.
    fn see_acknowledgement(&mut self, message: &[u8]) -> Step {
        let Ok(Frame::Ack(ack)) = Frame::from_bytes(message) else { return Ok(()) };
        let (Some(receipt), Some(group), Some(relay)) = (ack.receipt, self.group, self.relay.running())
        else {
            return Ok(());
        };
        let receipt = SignedReceipt::verify(&receipt, relay.id(), relay.incarnation(), group)
            .map_err(|e| format!("the relay gave a receipt that is none: {e}"))?;
        let named = &receipt.receipt().entries;
        self.tally.acknowledged += named.len() as u64;
        self.model.acknowledged.extend(named);
        self.check_relay()
    }

    fn commit(&mut self) -> Step {
        let waiting = self.relay.pushes.len();
        if waiting == 0 {
            return Ok(());
        }
        let taken = 1 + self.chance.index(waiting);
        self.commit_first(taken)
    }

    fn commit_first(&mut self, taken: usize) -> Step {
        let now_ms = self.now_ms();
        let pushes: Vec<_> = self.relay.pushes.drain(..taken).collect();
        let Some(relay) = self.relay.running() else { return Ok(()) };
        let (links, pushes): (Vec<u64>, Vec<_>) = pushes.into_iter().unzip();
        let committed = relay.commit(pushes, now_ms);
        let failed = relay.has_failed();
        self.note(|| format!("the relay commits {taken} pushes, {} entries", committed.entries));
        for (id, answer) in links.into_iter().zip(committed.answers) {
            self.answer(id, answer)?;
        }
        if !committed.grown.is_empty() {
            let following: Vec<u64> =
                self.links.iter().filter(|(_, l)| l.follows).map(|(id, _)| *id).collect();
            for id in following {
                self.relay_input(id, RelayInput::Grown)?;
            }
        }
        if failed {
            self.tally.disk_faults += 1;
            self.restart_relay(false)?;
        }
        Ok(())
    }

    fn answer(&mut self, id: u64, answer: Answer) -> Step {
        self.relay_input(id, RelayInput::Committed(answer))
    }

    /// Starts the relay again; every connection is cut by it.
    fn restart_relay(&mut self, renew: bool) -> Step {
        self.relay.crash();
        let fault = self.draw_disk_fault();
        self.relay.start(&mut self.chance, fault, renew);
        if self.relay.running().is_none() {
            self.relay.start(&mut self.chance, None, renew);
        }
        self.note(|| "the relay starts again".to_owned());
        let open: Vec<u64> = self.links.keys().copied().collect();
        for id in open {
            if let Some(link) = self.links.get_mut(&id) {
                link.relay_session = None;
                // Some of what it sent may still arrive.
                let kept = self.chance.index(link.down.len() + 1);
                link.down.truncate(kept);
            }
            self.close_if_over(id);
        }
        self.check_relay()
    }

    // ---- What breaks

    fn tick(&mut self) -> Step {
        if self.chance.one_in(4) {
            let ms = self.chance.below(30_000);
            self.advance_ms(ms);
        }
        let open: Vec<u64> = self.links.keys().copied().collect();
        for id in open {
            // A live link that says nothing is kept alive by pings, as the shells send them.
            self.phone_input(id, PhoneInput::Heard)?;
            self.relay_input(id, RelayInput::Heard)?;
            self.phone_input(id, PhoneInput::Tick)?;
            self.relay_input(id, RelayInput::Tick)?;
        }
        Ok(())
    }

    fn something_breaks(&mut self) -> Step {
        let at = self.chance.index(self.phones.len());
        match self.chance.below(8) {
            0..2 if self.chance.one_in(self.weather.crash) => {
                self.tally.phone_crashes += 1;
                self.hang_up(at);
                self.phones[at].crash();
                self.note(|| format!("phone {at} loses power"));
                if self.switch_on(at)?.is_some() && self.phones[at].joined {
                    self.check_phone(at)?;
                }
                Ok(())
            }
            2 if self.chance.one_in(self.weather.crash) => {
                self.tally.relay_crashes += 1;
                self.restart_relay(false)
            }
            3 if self.chance.one_in(self.weather.cut) => self.cut_some_link(),
            4..6 if self.chance.one_in(self.weather.tamper) => self.tamper(),
            6 if self.chance.one_in(self.weather.partition) => {
                self.phones[at].online = !self.phones[at].online;
                if !self.phones[at].online {
                    self.hang_up(at);
                }
                Ok(())
            }
            7 if self.chance.one_in(self.weather.clock) => {
                // Minutes, days, or decades, either way.
                let spans_ms = [60_000, 86_400_000, 1_000_000_000_000];
                let span_ms = spans_ms[self.chance.index(spans_ms.len())];
                let off_ms = self.chance.below(2 * span_ms) as i64 - span_ms as i64;
                self.phones[at].set_clock_off_ms(off_ms);
                Ok(())
            }
            _ if self.chance.one_in(self.weather.relay_loss) => self.lose_relay(),
            _ => Ok(()),
        }
    }

    fn cut_some_link(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        self.tally.cuts += 1;
        self.note(|| format!("link {id} is cut"));
        if let Some(link) = self.links.get_mut(&id) {
            link.phone_session = None;
            link.relay_session = None;
        }
        self.close_if_over(id);
        Ok(())
    }

    fn tamper(&mut self) -> Step {
        let open: Vec<u64> = self.links.keys().copied().collect();
        let Some(id) = self.chance.pick(&open).copied() else { return Ok(()) };
        let tampering = Tampering::ALL[self.chance.index(Tampering::ALL.len())];
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let queue = if self.chance.one_in(2) { &mut link.up } else { &mut link.down };
        if tampering.apply(queue, &mut self.chance) {
            link.tampered = true;
            self.tally.tampered += 1;
            self.note(|| format!("link {id}: {tampering:?}"));
        }
        Ok(())
    }

    fn lose_relay(&mut self) -> Step {
        self.tally.relay_losses += 1;
        let restored = match self.chance.below(3) {
            0 => {
                self.relay.back_up();
                self.note(|| "the relay's operator makes a backup".to_owned());
                return Ok(());
            }
            1 => self.relay.restore(),
            _ => false,
        };
        if !restored {
            self.relay.lose_disk();
        }
        self.note(|| format!("the relay loses its disk; restored: {restored}"));
        // What it promised in its old life, it promised for nothing: phones have to bring it back.
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        self.model.acknowledged.retain(|hash| durable.contains(hash));
        self.restart_relay(restored)
    }

    // ---- What must hold

    /// Everything acknowledged is on the relay's disk, nothing else than what authors wrote, and nothing readable.
    fn check_relay(&mut self) -> Step {
        let group = self.group.expect("there is one because it was founded first");
        let durable = self.relay.durable(group)?;
        if let Some(lost) = self.model.acknowledged.iter().find(|hash| !durable.contains(hash)) {
            return Err(format!("the relay acknowledged {lost:?} and does not have it"));
        }
        if let Some(forged) = durable.iter().find(|hash| !self.model.authored.contains(hash)) {
            return Err(format!("the relay keeps {forged:?}, which nobody wrote"));
        }
        Ok(())
    }

    /// A phone shows what its member wrote, nothing that nobody wrote, and nothing that its role may not read.
    fn check_phone(&mut self, at: usize) -> Step {
        let rows = self.rows(at)?;
        if self.phones[at].running().is_none() {
            return Ok(());
        }
        let role = RoleId(self.phones[at].role);
        let shown: BTreeMap<_, _> = rows.iter().map(|row| (row.id, row)).collect();
        for row in &rows {
            let kind = Kind(row.kind);
            let compartment = rule(kind).ok_or("a row of a kind that nobody writes")?.compartment;
            let template = roles::template_rows().iter().find(|row| row.compartment == compartment);
            // Whoever wrote something keeps it, even where they may not read.
            let own = Some(row.author) == self.phones[at].running().map(|engine| engine.member_id());
            if !own && !template.is_some_and(|template| template.readers.contains(&role.0)) {
                return Err(format!(
                    "phone {at} shows a document of kind {} that its role may not read",
                    row.kind
                ));
            }
            if [Kind::OBSERVATION, Kind::ANNOTATION].contains(&kind) {
                let author = self
                    .model
                    .author_of(&row.text)
                    .ok_or_else(|| format!("phone {at} shows a text that nobody wrote: {row:?}"))?;
                let member = self.phones[author].running().map(|engine| engine.member_id());
                if member.is_some_and(|member| member != row.author) {
                    return Err(format!("phone {at} shows words of phone {author} as somebody else's"));
                }
                if author == at && !self.model.is_current(row.id, &row.text) {
                    return Err(format!("phone {at} shows old words of its own: {:?}", row.text));
                }
            }
        }
        let lost = self.model.documents.iter().find(|(id, d)| d.author == at && !shown.contains_key(id));
        if let Some((id, _)) = lost {
            return Err(format!("phone {at} lost its own {id:?}"));
        }
        self.check_delivery(at)
    }

    /// What a phone shows as being at the relay was acknowledged in the relay's life that the phone knows.
    fn check_delivery(&mut self, at: usize) -> Step {
        let own: Vec<_> =
            self.model.documents.iter().filter(|(_, d)| d.author == at).map(|(id, _)| *id).collect();
        let Some(id) = self.chance.pick(&own).copied() else { return Ok(()) };
        let knows_this_life = self.relay.running().map(|relay| relay.incarnation());
        let Some(engine) = self.phones[at].running() else { return Ok(()) };
        if engine.relay_memory().incarnation != knows_this_life {
            return Ok(());
        }
        let detail = engine.get(id).map_err(|e| format!("phone {at} cannot show its own {id:?}: {e}"))?;
        let acknowledged = |row: &HistoryRow| self.model.acknowledged.contains(&row.entry);
        if detail.delivery == Delivery::AtRelay && !detail.history.iter().all(acknowledged) {
            return Err(format!(
                "phone {at} shows {id:?} as being at the relay, which did not acknowledge it"
            ));
        }
        Ok(())
    }

    /// Everything heals, everybody syncs until nothing moves; then all must agree with each other and with the model.
    fn settle(&mut self) -> Step {
        self.note(|| "everything heals".to_owned());
        self.weather = Weather {
            crash: 0,
            disk: 0,
            cut: 0,
            tamper: 0,
            partition: 0,
            clock: 0,
            relay_loss: 0,
            device_entries_per_minute: 0,
        };
        for at in 0..self.phones.len() {
            self.hang_up(at);
            self.phones[at].crash();
            self.phones[at].online = true;
            if !self.phones[at].joined {
                self.join(at)?;
            }
        }
        self.restart_relay(false)?;
        let mut before = None;
        for _ in 0..ROUNDS_MAX {
            let mut waiting = 0;
            for at in 0..self.phones.len() {
                self.sync_to_the_end(at)?;
                let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
                waiting += engine.outbox_len().map_err(|e| e.to_string())?;
                waiting += usize::from(engine.withheld().map_err(|e| e.to_string())?.is_some());
            }
            // A minute, so that a relay that takes only so much a minute goes on.
            self.advance_ms(61_000);
            let shown: Result<Vec<_>, _> = (0..self.phones.len()).map(|at| self.rows(at)).collect();
            let now = Some((waiting, shown?));
            if waiting == 0 && now == before {
                return self.check_agreement();
            }
            before = now;
        }
        Err(format!("after {ROUNDS_MAX} rounds something still moves or waits: {:?}", before.map(|(w, _)| w)))
    }

    fn sync_to_the_end(&mut self, at: usize) -> Step {
        let Some(id) = self.connect(at, false, Budget::UNLIMITED)? else {
            return Err("the relay is off although nothing breaks".to_owned());
        };
        let mut idle_ms = 0;
        while self.links.contains_key(&id) {
            let mut moved = self.carry(id, true)?;
            moved |= self.carry(id, false)?;
            if !self.relay.pushes.is_empty() {
                self.commit_first(self.relay.pushes.len())?;
                moved = true;
            }
            if moved {
                idle_ms = 0;
                continue;
            }
            idle_ms += 1_000;
            self.advance_ms(1_000);
            if idle_ms > STUCK_MS {
                return Err(format!("the session of phone {at} is stuck"));
            }
        }
        Ok(())
    }

    fn check_agreement(&mut self) -> Step {
        self.check_relay()?;
        if self.relay.holds(MARK.as_bytes()) {
            return Err("a text lies on the relay's disk in the clear".to_owned());
        }
        let mut rows_by_phone = Vec::new();
        for at in 0..self.phones.len() {
            self.check_phone(at)?;
            let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
            if let Some(aside) = engine.set_aside().map_err(|e| e.to_string())?.first() {
                return Err(format!("phone {at} set aside what an honest phone wrote: {}", aside.reason));
            }
            if let Some(withheld) = engine.withheld().map_err(|e| e.to_string())? {
                return Err(format!("phone {at}: {withheld}"));
            }
            let ids: Vec<_> = self.rows(at)?.into_iter().map(|row| row.id).collect();
            let engine = self.switch_on(at)?.ok_or("a phone is off although nothing breaks")?;
            for id in ids {
                engine.get(id).map_err(|e| format!("phone {at} lists {id:?} and cannot show it: {e}"))?;
            }
            let rows: BTreeMap<_, _> = self.rows(at)?.into_iter().map(|row| (row.id, row)).collect();
            rows_by_phone.push(rows);
        }
        for at in 0..self.phones.len() {
            let readers: BTreeSet<u8> = roles::template_rows()
                .iter()
                .filter(|row| row.readers.contains(&self.phones[at].role))
                .map(|row| row.compartment)
                .collect();
            for (other, rows) in rows_by_phone.iter().enumerate() {
                for (id, row) in rows {
                    let compartment = rule(Kind(row.kind)).map(|rule| rule.compartment);
                    if !compartment.is_some_and(|compartment| readers.contains(&compartment)) {
                        continue;
                    }
                    if rows_by_phone[at].get(id) != Some(row) {
                        return Err(format!(
                            "phone {other} shows {row:?}, phone {at} {:?}",
                            rows_by_phone[at].get(id)
                        ));
                    }
                }
            }
            for (id, document) in &self.model.documents {
                let compartment = rule(document.kind).map(|rule| rule.compartment);
                if !compartment.is_some_and(|compartment| readers.contains(&compartment)) {
                    continue;
                }
                let shown = rows_by_phone[at].get(id).map(|row| row.text.as_str());
                if !shown.is_some_and(|shown| self.model.is_current(*id, shown)) {
                    return Err(format!("phone {at} shows {shown:?} where {:?} was written", document.text));
                }
            }
        }
        Ok(())
    }
}
